"""What the log tells of modems, calls and policies, with which fields, and how often."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dialupd import events
from dialupd.chronicle import FIRST_PAUSE, FREE, LONGEST_PAUSE, QUIET, Chronicle, Thinner
from dialupd.events import Event
from dialupd.model import (
    CallState,
    CallView,
    Direction,
    EndReason,
    ModemState,
    ModemView,
    SessionState,
    Transport,
)

S = ModemState
RACK = ModemView(
    "usb_1", "rack", Transport.CDC_ACM, device="/dev/ttyACM0", state=S.PROBING, state_reason="found", policy="uplink"
)
CALL = CallView(
    12, "usb_1", Direction.OUTGOING, number="0,xxxx", policy="uplink", session="internet", start_time=1_000_000
)
ALWAYS = {"MODEM": "usb_1", "MODEM_NAME": "rack", "POLICY": "uplink"}
OF_CALL = {
    "MODEM": "usb_1", "CALL": "12", "DIRECTION": "outgoing", "NUMBER": "0,xxxx", "POLICY": "uplink",
    "SESSION": "internet",
}  # fmt: skip


@dataclass
class Daemon:
    """What the chronicle asks."""

    config_error: str = ""
    told: dict[str, str] = field(default_factory=dict)

    def policies(self) -> list[tuple[str, str, str]]:
        return [(name, "originate", status) for name, status in self.told.items()]


class Book:
    """A chronicle, its clock and what it has logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "dialupd.chronicle")
        self._caplog = caplog
        self.now = 1000.0
        self.daemon = Daemon()
        self.chronicle = Chronicle(self.daemon, lambda: self.now)

    def records(self) -> list[logging.LogRecord]:
        found = list(self._caplog.records)
        self._caplog.clear()
        return found

    def one(self) -> logging.LogRecord:
        (record,) = self.records()
        return record

    def moves(self, *states: tuple[ModemState, str]) -> None:
        view = RACK
        for state, reason in states:
            old, view = view, replace(view, state=state, state_reason=reason)
            self.chronicle.modem_changed(old, view)


@pytest.fixture
def book(caplog: pytest.LogCaptureFixture) -> Book:
    return Book(caplog)


def said(record: logging.LogRecord, event: Event) -> Mapping[str, Any]:
    """The fields but for those that name the event."""
    fields = dict(record.__dict__["fields"])
    assert (fields.pop("MESSAGE_ID"), fields.pop("EVENT")) == (event.id, event.name)
    return fields


def test_a_modem_comes_and_goes(book: Book) -> None:
    book.chronicle.modem_added(RACK)
    record = book.one()
    assert said(record, events.MODEM_FOUND) == ALWAYS | {"DEVICE": "/dev/ttyACM0", "STATE": "probing"}
    assert record.getMessage() == "usb_1: rack found on /dev/ttyACM0"
    book.chronicle.modem_removed(RACK)
    record = book.one()
    assert said(record, events.MODEM_GONE) == ALWAYS | {"DEVICE": "/dev/ttyACM0"}
    assert record.getMessage() == "usb_1: gone"


def test_a_device_that_is_none_is_told_at_once(book: Book) -> None:
    book.chronicle.modem_added(replace(RACK, state=S.UNSUPPORTED, state_reason="a network stick"))
    found, unsupported = book.records()
    assert said(found, events.MODEM_FOUND)
    assert said(unsupported, events.MODEM_UNSUPPORTED)["REASON"] == "a network stick"
    assert unsupported.levelno == logging.WARNING


@pytest.mark.parametrize(
    ("state", "event", "level"),
    [
        (S.READY, events.MODEM_STATE, logging.INFO),
        (S.CONNECTED, events.MODEM_STATE, logging.INFO),
        (S.FAILED, events.MODEM_FAILED, logging.WARNING),
        (S.UNSUPPORTED, events.MODEM_UNSUPPORTED, logging.WARNING),
        (S.BLOCKED, events.POLICY_BLOCKED, logging.WARNING),
    ],
)
def test_a_change_of_state(book: Book, state: ModemState, event: Event, level: int) -> None:
    book.moves((state, "because"))
    record = book.one()
    assert said(record, event) == ALWAYS | {"STATE": state, "OLD_STATE": "probing", "REASON": "because"}
    assert record.levelno == level
    assert record.getMessage() == f"usb_1: probing -> {state} (because)"


def test_what_is_no_change_of_state_is_not_told(book: Book) -> None:
    book.chronicle.modem_changed(RACK, replace(RACK, state_reason="other", rings=3, attempts=4))
    assert not book.records()


def test_a_state_during_a_call_names_the_call(book: Book) -> None:
    book.chronicle.modem_changed(RACK, replace(RACK, state=S.DIALING, call=12))
    assert said(book.one(), events.MODEM_STATE)["CALL"] == "12"


def test_a_ring(book: Book) -> None:
    book.chronicle.ringing("usb_1", {"rings": 1})
    record = book.one()
    assert said(record, events.RING) == {"MODEM": "usb_1", "RINGS": "1"}
    assert record.getMessage() == "usb_1: ring 1"
    book.chronicle.ringing("usb_1", {"rings": 2, "caller-id": "5551212", "caller-name": "DEMO"})
    record = book.one()
    fields = {"MODEM": "usb_1", "RINGS": "2", "CALLER_ID": "5551212", "CALLER_NAME": "DEMO"}
    assert said(record, events.RING) == fields
    assert record.getMessage() == "usb_1: ring 2 from 5551212 DEMO"


def test_a_whole_call(book: Book) -> None:
    book.chronicle.call_added(CALL)
    record = book.one()
    assert said(record, events.CALL_BEGUN) == OF_CALL | {"STATE": "dialing"}
    assert record.getMessage() == "usb_1: call 12 begun: dialling 0,xxxx by the policy uplink"

    up = replace(
        CALL, state=CallState.CONNECTED, connect_time=2_000_000, line_rate=33600, port_rate=115200, modulation="V.34"
    )
    book.chronicle.call_changed(CALL, up)
    record = book.one()
    line = {"LINE_RATE": "33600", "PORT_RATE": "115200", "MODULATION": "V.34"}
    assert said(record, events.CALL_CONNECTED) == OF_CALL | {"STATE": "connected"} | line
    assert record.getMessage() == "usb_1: call 12 connected: 33600 bit/s, V.34, session internet"

    book.chronicle.call_changed(up, replace(up, session_state=SessionState.ESTABLISH))
    assert not book.records()
    running = replace(
        up, session_state=SessionState.RUNNING, interface="ppp0", local_address="10.0.0.2", remote_address="10.0.0.1"
    )
    book.chronicle.call_changed(up, running)
    record = book.one()
    link = {"INTERFACE": "ppp0", "LOCAL_ADDRESS": "10.0.0.2", "REMOTE_ADDRESS": "10.0.0.1"}
    assert said(record, events.SESSION_RUNNING) == OF_CALL | {"STATE": "connected"} | link
    assert record.getMessage() == "usb_1: call 12: the session internet runs on ppp0, 10.0.0.2 to 10.0.0.1"

    over = replace(
        running, state=CallState.ENDED, session_state=SessionState.NONE, end_reason=EndReason.REMOTE_HANGUP,
        end_time=36_500_000, rx_bytes=70, tx_bytes=80, detail="the carrier is gone",
    )  # fmt: skip
    book.chronicle.call_changed(running, over)
    record = book.one()
    end = {
        "STATE": "ended", "REASON": "remote-hangup", "DETAIL": "the carrier is gone", "DURATION": "34",
        "RX_BYTES": "70", "TX_BYTES": "80",
    }  # fmt: skip
    assert said(record, events.CALL_ENDED[EndReason.REMOTE_HANGUP]) == OF_CALL | end
    expected = "call 12 ended after 34 s, 70 bytes received and 80 sent: remote-hangup (the carrier is gone)"
    assert record.getMessage() == f"usb_1: {expected}"
    book.chronicle.call_changed(over, replace(over, rx_bytes=71))
    assert not book.records()


def test_a_call_that_rings_and_is_not_taken(book: Book) -> None:
    rings = CallView(13, "usb_1", Direction.INCOMING, state=CallState.RINGING)
    book.chronicle.call_added(rings)
    assert book.one().getMessage() == "usb_1: call 13 begun: the line rings"
    book.chronicle.call_changed(rings, replace(rings, state=CallState.ENDED, end_reason=EndReason.NO_ANSWER))
    assert book.one().getMessage() == "usb_1: call 13 ended without a connection: no-answer"


def test_a_call_that_outlived_the_daemon_does_not_begin_again(book: Book) -> None:
    book.chronicle.call_added(replace(CALL, state=CallState.CONNECTED))
    record = book.one()
    assert said(record, events.CALL_RESUMED)
    assert record.getMessage() == "usb_1: call 12 goes on: it has outlived a restart of the daemon"


@pytest.mark.parametrize("reason", [reason for reason in EndReason if reason])
def test_each_end_has_its_event_and_some_are_warnings(book: Book, reason: EndReason) -> None:
    book.chronicle.call_changed(CALL, replace(CALL, state=CallState.ENDED, end_reason=reason))
    record = book.one()
    assert said(record, events.CALL_ENDED[reason])["REASON"] == reason
    troubles = "auth-failed modem-error session-failed no-dialtone digital-line modem-lost"
    plain = "busy no-answer local-hangup remote-hangup idle session-ended shutdown max-duration rejected"
    if reason in troubles.split():
        assert record.levelno == logging.WARNING
    if reason in plain.split():
        assert record.levelno == logging.INFO


def test_an_error_in_the_configuration_is_told_when_it_is_new(book: Book) -> None:
    book.daemon.config_error = "dialupd.toml: modem.nmae: is not a known key"
    book.chronicle.manager_changed()
    book.chronicle.manager_changed()
    record = book.one()
    assert not said(record, events.CONFIG_ERROR)
    assert record.levelno == logging.ERROR
    assert "modem.nmae" in record.getMessage()
    book.daemon.config_error = ""
    book.chronicle.manager_changed()
    book.daemon.config_error = "dialupd.toml: modem.nmae: is not a known key"
    book.chronicle.manager_changed()
    assert said(book.one(), events.CONFIG_ERROR) == {}


def test_a_policy_is_suspended_and_resumed(book: Book) -> None:
    book.daemon.told = {"uplink": "active", "night": "blocked: suspended"}
    book.chronicle.manager_changed()
    assert not book.records()
    book.daemon.told["uplink"] = "suspended"
    book.chronicle.manager_changed()
    assert said(book.one(), events.POLICY_SUSPENDED) == {"POLICY": "uplink"}
    book.chronicle.manager_changed()
    assert not book.records()
    book.daemon.told["uplink"] = "no modem"
    book.chronicle.manager_changed()
    assert said(book.one(), events.POLICY_RESUMED) == {"POLICY": "uplink"}


def test_a_modem_that_fails_for_a_month_is_told_of_once_a_day(book: Book) -> None:
    end = book.now + 30 * 86400.0
    while book.now < end:
        book.moves((S.FAILED, f"no answer to AT in {book.now:.0f} s"))
        book.now += 600.0
    told = [record for record in book.records() if record.levelno > logging.DEBUG]
    assert 30 <= len(told) < 30 + 15
    assert [record.getMessage() for record in told[:2]] == [
        "usb_1: probing -> failed (no answer to AT in 1000 s)",
        "usb_1: probing -> failed (no answer to AT in 1600 s)",
    ]
    assert told[-1].getMessage().endswith("; 143 times more in the 24 hours before")
    assert said(told[-1], events.MODEM_FAILED)["REPEATED"] == "143"
    assert sum(int(record.__dict__["fields"].get("REPEATED", 0)) + 1 for record in told) > 29 * 143


def test_what_is_left_out_is_there_at_level_debug(book: Book) -> None:
    for _ in range(FREE + 3):
        book.chronicle.modem_removed(RACK)
    levels = [record.levelno for record in book.records()]
    assert levels == [logging.INFO] * FREE + [logging.DEBUG] * 3


def test_another_modem_and_another_reason_are_told(book: Book) -> None:
    for _ in range(50):
        book.moves((S.FAILED, "no answer"))
    book.records()
    book.moves((S.FAILED, "the port is held by another program"))
    book.chronicle.modem_changed(
        replace(RACK, id="usb_2"), replace(RACK, id="usb_2", state=S.FAILED, state_reason="no answer")
    )
    assert [record.levelno for record in book.records()] == [logging.WARNING] * 2


def test_calls_are_never_left_out(book: Book) -> None:
    for _ in range(50):
        book.moves((S.DIALING, "dialling"), (S.HANGING_UP, "busy"), (S.READY, "the line is free"))
        book.chronicle.call_added(CALL)
        book.chronicle.call_changed(CALL, replace(CALL, state=CallState.ENDED, end_reason=EndReason.NO_DIALTONE))
    assert all(record.levelno > logging.DEBUG for record in book.records())


def test_after_a_quiet_time_it_is_new_again() -> None:
    thinner = Thinner()
    for _ in range(FREE):
        assert thinner.take(("x",), 0.0) is not None
    assert thinner.take(("x",), FIRST_PAUSE - 1) is None
    later = FIRST_PAUSE + QUIET
    assert thinner.take(("x",), later) == (1, later)
    assert [thinner.take(("x",), later + 1) for _ in range(FREE)] == [(0, 1.0)] + [(0, 0.0)] * (FREE - 2) + [None]


def test_the_pause_grows_to_a_day_and_no_further() -> None:
    thinner, now, told = Thinner(), 0.0, []
    while now < 40 * LONGEST_PAUSE:
        if thinner.take(("x",), now) is not None:
            told.append(now)
        now += 60.0
    gaps = [b - a for a, b in zip(told[FREE - 1 :], told[FREE:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] == FIRST_PAUSE
    assert gaps[-1] == LONGEST_PAUSE


def test_the_memory_is_bounded_and_forgets_what_is_oldest() -> None:
    thinner = Thinner()
    for n in range(10_000):
        for _ in range(FREE + 1):
            thinner.take(("often",), 0.0)
        assert thinner.take((str(n),), 0.0) is not None
    assert thinner.take(("often",), 0.0) is None
    assert len(thinner) <= 500
