"""When a modem dials by itself: the policies of one modem with a clock."""

from __future__ import annotations

from dataclasses import replace

from dialupd.config.values import Mode, Policy, Retry, When
from dialupd.model import EndReason
from dialupd.modem.redialer import Entry, Redialer
from dialupd.policy import Rest, Stop

UP = Policy("up", Mode.ORIGINATE, numbers=("1", "2"), retry=Retry(first=5.0, max=20.0, attempts=0, per_day=4))
TODAY = 700_000


def due(redialer: Redialer, policy: Policy, now: float, today: int = TODAY, calls: int = 0) -> tuple[float, int]:
    entry = redialer.plan(policy, calls, now, today)
    assert isinstance(entry, Entry)
    assert entry.due is not None
    return entry.due, entry.number


def test_at_once_then_with_pauses_and_the_next_number() -> None:
    redialer = Redialer()
    assert due(redialer, UP, 100.0) == (100.0, 0)
    assert due(redialer, UP, 101.0) == (100.0, 0), "asking again changes nothing"
    redialer.ended(UP, EndReason.BUSY, 0.0, 110.0, TODAY)
    assert due(redialer, UP, 110.0) == (115.0, 1)
    assert redialer.attempts(UP) == 1
    redialer.ended(UP, EndReason.BUSY, 0.0, 120.0, TODAY)
    assert due(redialer, UP, 120.0) == (130.0, 0)
    assert redialer.number(UP, 0, TODAY) == "1"


def test_the_day_s_limit_counts_what_was_dialled_before_the_start() -> None:
    redialer = Redialer()
    assert isinstance(redialer.plan(UP, 4, 0.0, TODAY), Stop)
    assert isinstance(redialer.number(UP, 4, TODAY), Stop)
    assert due(redialer, UP, 0.0, TODAY + 1) == (0.0, 0), "a new day"


def test_a_changed_policy_keeps_the_day_s_count_and_nothing_else() -> None:
    redialer = Redialer()
    for _ in range(3):
        redialer.ended(UP, EndReason.BUSY, 0.0, 0.0, TODAY)
    other = replace(UP, numbers=("3",))
    assert redialer.attempts(UP) == 3
    assert due(redialer, other, 50.0) == (50.0, 0)
    assert redialer.attempts(other) == 0
    redialer.ended(other, EndReason.BUSY, 0.0, 0.0, TODAY)
    assert isinstance(redialer.plan(other, 0, 0.0, TODAY), Stop), "the fourth of the day"


def test_what_never_succeeds_stops_until_somebody_resumes() -> None:
    redialer = Redialer()
    redialer.ended(UP, EndReason.AUTH_FAILED, 9.0, 0.0, TODAY)
    stop = redialer.plan(UP, 0, 0.0, TODAY)
    assert isinstance(stop, Stop)
    assert not stop.for_today
    assert isinstance(redialer.plan(UP, 0, 0.0, TODAY + 9), Stop)
    redialer.resume(UP, TODAY)
    assert due(redialer, UP, 7.0) == (7.0, 0)


def test_an_idle_end_is_followed_by_the_first_pause() -> None:
    redialer = Redialer()
    for now in (100.0, 200.0, 300.0):
        redialer.ended(UP, EndReason.IDLE, 10.0, now, TODAY)
        assert due(redialer, UP, now) == (now + 5.0, 0)
        assert redialer.attempts(UP) == 0


def test_a_shutdown_rests_until_somebody_asks() -> None:
    redialer = Redialer()
    redialer.ended(UP, EndReason.SHUTDOWN, 100.0, 0.0, TODAY)
    assert isinstance(redialer.plan(UP, 0, 0.0, TODAY), Rest)
    redialer.resume(UP, TODAY)
    assert due(redialer, UP, 1.0) == (1.0, 0)


def test_other_modes_rest() -> None:
    redialer = Redialer()
    assert isinstance(redialer.plan(replace(UP, mode=Mode.ANSWER), 0, 0.0, TODAY), Rest)
    assert isinstance(redialer.plan(replace(UP, when=When.MANUAL), 0, 0.0, TODAY), Rest)
    assert redialer.number(replace(UP, when=When.MANUAL), 0, TODAY) == "1"


def test_policies_do_not_mix() -> None:
    redialer = Redialer()
    redialer.ended(UP, EndReason.AUTH_FAILED, 0.0, 0.0, TODAY)
    assert due(redialer, replace(UP, name="down"), 3.0) == (3.0, 0)


def test_what_a_person_must_mend_stops_with_its_words() -> None:
    redialer = Redialer()
    redialer.ended(UP, EndReason.SESSION_FAILED, 3.0, 0.0, TODAY, hopeless="there is no pppd")
    assert redialer.plan(UP, 0, 0.0, TODAY) == Stop("there is no pppd")
    redialer.resume(UP, TODAY)
    assert due(redialer, UP, 10.0) == (10.0, 0)
