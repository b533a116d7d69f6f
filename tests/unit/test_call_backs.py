"""Whom a modem calls back, when, and when it gives up."""

from __future__ import annotations

import pytest

from dialupd.model import EndReason
from dialupd.modem import timing
from dialupd.modem.callback import AGAIN, PER_HOUR, TRIES, CallBacks, Counted

PAUSE, BETWEEN, LATEST = timing.CALL_BACK_PAUSE, timing.CALL_BACK_AGAIN, timing.CALL_BACK_LATEST


def wanting(now: float = 0.0, counted: Counted | None = None) -> CallBacks:
    calls = CallBacks("usb", Counted() if counted is None else counted)
    calls.wanted("ann", "line", "in", now)
    return calls


def dial(calls: CallBacks, now: float, reason: EndReason, *, connected: bool = False) -> None:
    calls.begun(now)
    assert calls.wish is None
    calls.ended(reason, now + 1.0, connected=connected)


def test_after_a_pause() -> None:
    calls = wanting(100.0)
    assert calls.wish is not None
    assert (calls.wish.user, calls.wish.session, calls.wish.policy) == ("ann", "line", "in")
    assert calls.pause(100.0) == PAUSE
    assert calls.pause(100.0 + PAUSE + 50.0) == PAUSE, "the line was busy, and may be free since now only"


def test_nobody_is_called_twice() -> None:
    calls = wanting()
    dial(calls, PAUSE, EndReason.REMOTE_HANGUP, connected=True)
    assert calls.pause(PAUSE + 1.0) is None


def test_what_may_pass_is_tried_again_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    calls, now = wanting(), PAUSE
    for tried in range(1, TRIES):
        dial(calls, now, EndReason.BUSY)
        assert calls.wish is not None
        assert calls.wish.tries == tried
        assert calls.pause(now + 1.0) == BETWEEN
        now += BETWEEN
    assert not caplog.records
    dial(calls, now, EndReason.NO_ANSWER)
    assert calls.wish is None
    (record,) = caplog.records
    assert record.message == "usb: ann is not called back: 3 calls have failed, the last one with no-answer"
    assert record.fields["EVENT"] == "call-back-failed"  # type: ignore[attr-defined]


@pytest.mark.parametrize("reason", sorted(set(EndReason) - AGAIN - {EndReason.NONE}))
def test_what_a_person_must_see_to_is_not(reason: EndReason, caplog: pytest.LogCaptureFixture) -> None:
    calls = wanting()
    dial(calls, PAUSE, reason)
    assert calls.wish is None
    assert f"the call has ended with {reason}" in caplog.text


def test_other_calls_meanwhile_change_nothing() -> None:
    calls = wanting()
    calls.ended(EndReason.LOCAL_HANGUP, 1.0, connected=False)
    calls.ended(EndReason.NO_ANSWER, 2.0, connected=False)
    assert calls.wish is not None
    assert calls.wish.tries == 0


def test_a_line_that_stays_busy_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    calls = wanting()
    assert calls.pause(LATEST) == PAUSE
    assert calls.pause(LATEST + 0.1) is None
    assert "not free within 600 s" in caplog.text


def test_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    calls = wanting()
    calls.cancel("the modem is disabled")
    calls.cancel("again")
    assert calls.pause(0.0) is None
    assert [record.message for record in caplog.records] == ["usb: ann is not called back: the modem is disabled"]


def test_the_newer_wish_stands(caplog: pytest.LogCaptureFixture) -> None:
    calls = wanting()
    calls.wanted("bob", "line", "in", 1.0)
    assert calls.wish is not None
    assert calls.wish.user == "bob"
    assert "ann is not called back" in caplog.text


def test_who_logs_in_twice_is_called_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    calls = wanting()
    calls.wanted("ann", "other", "in", 1.0)
    assert calls.wish is not None
    assert calls.wish.session == "other"
    assert not caplog.records


def test_who_logs_in_while_he_is_dialled_is_called_once() -> None:
    calls = wanting()
    calls.begun(PAUSE)
    calls.wanted("ann", "line", "in", PAUSE + 1.0)
    calls.ended(EndReason.BUSY, PAUSE + 2.0, connected=False)
    assert calls.wish is not None
    assert calls.wish.tries == 0
    assert calls.pause(PAUSE + 2.0) == PAUSE


def test_calls_by_the_hour(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted()
    for number in range(PER_HOUR):
        dial(wanting(number, counted), float(number), EndReason.REMOTE_HANGUP, connected=True)
    caplog.clear()
    assert wanting(3599.9, counted).wish is None
    assert "he was called 10 times within an hour" in caplog.text
    assert wanting(3600.0, counted).wish is not None, "the first of them is an hour ago"
    bob = CallBacks("usb", counted)
    bob.wanted("bob", "line", "in", 100.0)
    assert bob.wish is not None


def test_the_hour_s_last_call_is_not_tried_again() -> None:
    counted = Counted()
    for number in range(PER_HOUR - 1):
        dial(wanting(number, counted), float(number), EndReason.REMOTE_HANGUP, connected=True)
    calls = wanting(20.0, counted)
    dial(calls, 30.0, EndReason.BUSY)
    assert calls.wish is None
