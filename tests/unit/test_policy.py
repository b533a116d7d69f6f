"""Answering and redialling."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.config.values import Mode, Policy, Retry, When
from dialupd.model import EndReason
from dialupd.policy import (
    BLACKLISTED_PAUSE,
    DELAYED_PAUSE,
    FIRST_RINGS,
    HUMAN_PAUSE,
    LINE_PAUSE,
    NEVER_GOOD,
    RESTING,
    RULES,
    WANTED,
    Answer,
    FirstCall,
    Next,
    Redial,
    Reject,
    Rest,
    Stop,
    Wait,
    answer_decision,
    caller_fits,
    first_call,
)

IN = Policy("in", Mode.ANSWER, rings=2)
OUT = Policy("out", Mode.ORIGINATE, numbers=("1", "2", "3"))
FREE = Retry(per_day=0)
TODAY = 700_000
FAILED = [EndReason.BUSY, EndReason.NO_ANSWER, EndReason.NO_CARRIER, EndReason.TIMEOUT]

# -- answering


@pytest.mark.parametrize(
    ("policy", "rings", "caller", "decision"),
    [
        (IN, 1, None, Wait),
        (IN, 1, "555", Wait),
        (IN, 2, None, Answer),
        (IN, 3, None, Answer),
        (replace(IN, rings=1), 1, None, Answer),
        (replace(IN, mode=Mode.MANUAL), 9, "555", Wait),
        (OUT, 9, "555", Wait),
        # with a list of callers the number is waited for, until the second ring
        (replace(IN, rings=1, allow_callers=("555",)), 1, None, Wait),
        (replace(IN, rings=1, allow_callers=("555",)), 1, "555", Answer),
        (replace(IN, rings=1, allow_callers=("555",)), 2, None, Reject),
        (replace(IN, allow_callers=("555",)), 1, "555", Wait),
        (replace(IN, allow_callers=("555",)), 2, "555", Answer),
        (replace(IN, allow_callers=("555",)), 1, "556", Reject),
        (replace(IN, allow_callers=("555",)), 1, "", Reject),
        (replace(IN, allow_callers=("none",)), 2, "", Answer),
        (replace(IN, allow_callers=("none",)), 2, None, Answer),
        (replace(IN, allow_callers=("none",)), 2, "555", Reject),
        (replace(IN, deny_callers=("none",)), 2, None, Reject),
        (replace(IN, deny_callers=("555",)), 2, None, Answer),
        (replace(IN, allow_callers=("*",), deny_callers=("555",)), 2, "555", Reject),
        (replace(IN, allow_callers=("*",), deny_callers=("555",)), 2, "556", Answer),
    ],
)
def test_answering(policy: Policy, rings: int, caller: str | None, decision: type) -> None:
    assert type(answer_decision(policy, rings, caller)) is decision


TWICE = replace(IN, ring_back=60.0)


@pytest.mark.parametrize(
    ("policy", "rings", "caller", "began", "first", "decision"),
    [
        (TWICE, 1, None, 0.0, None, Wait),
        (TWICE, 9, "555", 0.0, None, Wait),
        # a first call without a number: whoever rings next, at once
        (TWICE, 1, None, 99.0, FirstCall("", 100.0), Answer),
        (TWICE, 1, "555", 100.0, FirstCall("", 100.0), Answer),
        (TWICE, 1, None, 100.1, FirstCall("", 100.0), Wait),
        (TWICE, 9, None, 100.1, FirstCall("", 100.0), Wait),
        # with a number: the same one, as soon as it has come
        (TWICE, 1, "555", 99.0, FirstCall("555", 100.0), Answer),
        (TWICE, 1, None, 99.0, FirstCall("555", 100.0), Wait),
        (TWICE, 2, "555", 99.0, FirstCall("555", 100.0), Answer),
        (TWICE, 2, "556", 99.0, FirstCall("555", 100.0), Wait),
        (TWICE, 2, "", 99.0, FirstCall("555", 100.0), Wait),
        (TWICE, 2, None, 99.0, FirstCall("555", 100.0), Wait),
        # the lists of callers come first
        (replace(TWICE, deny_callers=("555",)), 1, "555", 99.0, FirstCall("555", 100.0), Reject),
        (replace(TWICE, allow_callers=("555",)), 1, None, 99.0, FirstCall("", 100.0), Wait),
        (replace(TWICE, allow_callers=("555",)), 1, "555", 99.0, FirstCall("", 100.0), Answer),
        # taken away meanwhile
        (IN, 1, None, 99.0, FirstCall("", 100.0), Wait),
        (replace(TWICE, mode=Mode.MANUAL), 1, None, 99.0, FirstCall("", 100.0), Wait),
    ],
)
def test_answering_a_second_call_only(
    policy: Policy, rings: int, caller: str | None, began: float, first: FirstCall | None, decision: type
) -> None:
    assert type(answer_decision(policy, rings, caller, began, first)) is decision


@pytest.mark.parametrize(
    ("policy", "rings", "first"),
    [
        (TWICE, 1, FirstCall("555", 67.0)),
        (TWICE, FIRST_RINGS, FirstCall("555", 67.0)),
        (TWICE, FIRST_RINGS + 1, None),
        (IN, 1, None),
        (OUT, 1, None),
        (replace(TWICE, mode=Mode.MANUAL), 1, None),
        (None, 1, None),
    ],
)
def test_what_announces_a_second_call(policy: Policy | None, rings: int, first: FirstCall | None) -> None:
    assert first_call(policy, rings, "555", 7.0) == first


def test_a_rejection_says_why() -> None:
    policy = replace(IN, allow_callers=("1*",), deny_callers=("15",))
    assert answer_decision(policy, 2, "15") == Reject("the caller 15 is in deny-callers of the policy in")
    assert answer_decision(policy, 2, "2") == Reject("the caller 2 is not in allow-callers of the policy in")
    assert answer_decision(policy, 2, "") == Reject(
        "a caller without a number is not in allow-callers of the policy in"
    )


@pytest.mark.parametrize(
    ("pattern", "caller", "fits"),
    [
        ("+1555*", "+15551234", True),
        ("+1555*", "15551234", False),
        ("+1555*", "0+15551234", False),
        ("555?", "5551", True),
        ("555?", "555", False),
        ("*", "555", True),
        ("*", "", False),
        ("none", "", True),
        ("none", "none", False),
    ],
)
def test_caller_patterns(pattern: str, caller: str, fits: bool) -> None:
    assert caller_fits([pattern], caller) is fits


# -- redialling


def run(policy: Policy, *ends: tuple[EndReason, float]) -> tuple[Redial, list[Next | Rest | Stop]]:
    state, verdicts = Redial.of(policy, TODAY), []
    for reason, connected in ends:
        state, verdict = state.after(reason, connected, TODAY)
        verdicts.append(verdict)
    return state, verdicts


def test_the_first_call_is_dialled_at_once() -> None:
    assert Redial.of(OUT, TODAY).first(TODAY) == Next(0.0, 0)


def test_pauses_double_and_numbers_take_turns() -> None:
    _, verdicts = run(OUT, *[(EndReason.BUSY, 0.0)] * 9)
    assert verdicts == [
        Next(delay, number)
        for delay, number in zip(
            (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0), (1, 2, 0, 1, 2, 0, 1, 2, 0), strict=True
        )
    ]


def test_a_good_call_begins_anew() -> None:
    state, verdicts = run(OUT, *[(EndReason.BUSY, 0.0)] * 5, (EndReason.REMOTE_HANGUP, 45.0))
    assert verdicts[-1] == Next(5.0, 0)
    assert (state.failures, state.number) == (0, 0)


def test_a_short_call_is_a_failure() -> None:
    _, verdicts = run(OUT, (EndReason.REMOTE_HANGUP, 44.9), (EndReason.REMOTE_HANGUP, 44.9))
    assert verdicts == [Next(5.0, 1), Next(10.0, 2)]


@pytest.mark.parametrize(
    "reason",
    [
        EndReason.NO_DIALTONE,
        EndReason.LINE_IN_USE,
        EndReason.MODEM_LOST,
        EndReason.MODEM_ERROR,
        EndReason.COLLISION,
        EndReason.DELAYED,
    ],
)
def test_what_is_not_the_number_s_fault_keeps_it(reason: EndReason) -> None:
    _, (verdict,) = run(OUT, (reason, 0.0))
    assert isinstance(verdict, Next)
    assert verdict.number == 0


@pytest.mark.parametrize(
    ("reason", "pause"),
    [
        (EndReason.BLACKLISTED, BLACKLISTED_PAUSE),
        (EndReason.DELAYED, DELAYED_PAUSE),
        (EndReason.LINE_IN_USE, LINE_PAUSE),
        (EndReason.VOICE, HUMAN_PAUSE),
        (EndReason.FAX, HUMAN_PAUSE),
        (EndReason.BUSY, 5.0),
    ],
)
def test_some_failures_wait_longer(reason: EndReason, pause: float) -> None:
    _, (verdict,) = run(replace(OUT, numbers=("1",)), (reason, 0.0))
    assert verdict == Next(pause, 0)


def test_a_pause_that_one_number_asks_for_does_not_hold_up_the_others() -> None:
    _, verdicts = run(OUT, (EndReason.VOICE, 0.0), (EndReason.BUSY, 0.0), (EndReason.BUSY, 0.0), (EndReason.BUSY, 0.0))
    assert verdicts == [Next(5.0, 1), Next(10.0, 2), Next(HUMAN_PAUSE, 0), Next(40.0, 1)]


@pytest.mark.parametrize("reason", [EndReason.AUTH_FAILED, EndReason.NO_MODULATOR, EndReason.DIGITAL_LINE])
@pytest.mark.parametrize("connected", [0.0, 3600.0])
def test_what_can_never_succeed_stops_at_once(reason: EndReason, connected: float) -> None:
    state, (verdict,) = run(OUT, (reason, connected))
    assert isinstance(verdict, Stop)
    assert verdict.reason
    assert state.blocked(TODAY) == verdict
    assert state.first(TODAY + 1) == verdict
    assert state.resumed(TODAY).first(TODAY) == Next(0.0, 0)


@pytest.mark.parametrize(
    "reason",
    [EndReason.PEER_NOT_PPP, EndReason.NEGOTIATION_FAILED, EndReason.SESSION_FAILED, EndReason.PEER_AUTH_FAILED],
)
def test_what_fails_in_the_same_way_stops_after_a_few(reason: EndReason) -> None:
    _, verdicts = run(OUT, *[(reason, 30.0)] * 5)
    assert [type(verdict) for verdict in verdicts] == [Next] * 4 + [Stop]
    _, verdicts = run(OUT, *[(reason, 30.0)] * 4, (EndReason.BUSY, 0.0), (reason, 30.0))
    assert isinstance(verdicts[-1], Next)


@pytest.mark.parametrize("reason", [EndReason.SESSION_FAILED, EndReason.SESSION_ENDED])
def test_what_a_person_must_mend_stops_at_once(reason: EndReason) -> None:
    """However long the call was and whatever it ended with, until a person resumes."""
    state, verdict = Redial.of(OUT, TODAY).after(reason, 500.0, TODAY, "the kernel has no PPP")
    assert verdict == Stop("the kernel has no PPP")
    assert state.blocked(TODAY + 9) == verdict
    assert state.resumed(TODAY).first(TODAY) == Next(0.0, 0)


def test_a_session_that_ran_and_then_failed_was_a_good_call() -> None:
    _, verdicts = run(OUT, *[(EndReason.SESSION_FAILED, 3600.0)] * 9)
    assert verdicts == [Next(5.0, 0)] * 9


def test_attempts_are_counted_in_a_row() -> None:
    policy = replace(OUT, retry=Retry(attempts=3))
    state, verdicts = run(policy, *[(EndReason.BUSY, 0.0)] * 3)
    assert [type(verdict) for verdict in verdicts] == [Next, Next, Stop]
    assert verdicts[-1] == Stop("3 calls in a row failed, the last one with busy: the limit is retry.attempts")
    assert isinstance(state.first(TODAY + 5), Stop)
    _, verdicts = run(policy, *[(EndReason.BUSY, 0.0), (EndReason.BUSY, 0.0), (EndReason.REMOTE_HANGUP, 99.0)] * 3)
    assert not any(isinstance(verdict, Stop) for verdict in verdicts)


def test_calls_of_a_day_are_counted_good_or_not() -> None:
    policy = replace(OUT, retry=Retry(per_day=3))
    state, verdicts = run(policy, *[(EndReason.REMOTE_HANGUP, 99.0)] * 3)
    stop = Stop("3 calls were dialled today: the limit is retry.per-day", for_today=True)
    assert verdicts == [Next(5.0, 0), Next(5.0, 0), stop]
    assert state.first(TODAY) == stop
    assert state.resumed(TODAY).first(TODAY) == Next(0.0, 0)
    assert state.first(TODAY + 1) == Next(0.0, 0)
    state, verdict = state.after(EndReason.BUSY, 0.0, TODAY + 1)
    assert (state.calls, verdict) == (1, Next(5.0, 1))


def test_a_restart_does_not_forgive_the_calls_of_the_day() -> None:
    policy = replace(OUT, retry=Retry(per_day=3))
    assert isinstance(Redial.of(policy, TODAY, calls=3).first(TODAY), Stop)
    assert isinstance(Redial.of(policy, TODAY, calls=2).first(TODAY), Next)


def test_no_limits_are_no_limits() -> None:
    _, verdicts = run(replace(OUT, retry=FREE), *[(EndReason.BUSY, 0.0)] * 500)
    assert verdicts[-1] == Next(600.0, 500 % 3)


def test_a_shutdown_is_not_undone() -> None:
    state, (verdict,) = run(OUT, (EndReason.SHUTDOWN, 3.0))
    assert verdict == Rest()
    assert state.failures == 0


@pytest.mark.parametrize("reason", sorted(WANTED - RESTING))
def test_a_wanted_end_is_no_failure_and_the_first_pause_follows(reason: EndReason) -> None:
    policy = replace(OUT, retry=Retry(attempts=3, per_day=0))
    state, verdicts = run(policy, *[(EndReason.BUSY, 0.0)] * 2, *[(reason, 3.0)] * 20)
    assert verdicts[2:] == [Next(5.0, 0)] * 20
    assert (state.failures, state.reason) == (0, reason)
    _, (verdict,) = run(replace(policy, when=When.MANUAL), (reason, 3.0))
    assert verdict == Rest()


def test_dialling_that_was_given_up_changes_nothing() -> None:
    policy = replace(OUT, retry=Retry(attempts=3))
    before, _ = run(policy, *[(EndReason.BUSY, 0.0)] * 2)
    after, verdict = before.after(EndReason.LOCAL_HANGUP, 0.0, TODAY)
    assert verdict == Next(10.0, 2)
    assert after == replace(before, calls=3)


def test_the_day_s_limit_counts_wanted_ends_too() -> None:
    _, verdicts = run(replace(OUT, retry=Retry(per_day=2)), *[(EndReason.IDLE, 60.0)] * 2)
    assert [type(verdict) for verdict in verdicts] == [Next, Stop]


def test_by_hand_only_the_number_moves_on() -> None:
    policy = replace(OUT, when=When.MANUAL)
    assert Redial.of(policy, TODAY).first(TODAY) == Rest()
    state, (verdict,) = run(policy, (EndReason.BUSY, 0.0))
    assert (verdict, state.number) == (Rest(), 1)


def test_by_hand_the_limits_hold_too() -> None:
    state, (verdict,) = run(replace(OUT, when=When.MANUAL), (EndReason.AUTH_FAILED, 3.0))
    assert isinstance(verdict, Stop)
    assert state.blocked(TODAY) == verdict


@pytest.mark.parametrize("numbers", [(), ("1", "2")])
def test_a_policy_that_is_not_to_dial_never_does(numbers: tuple[str, ...]) -> None:
    policy = Policy("hand", Mode.MANUAL, numbers=numbers)
    assert Redial.of(policy, TODAY).first(TODAY) == Rest()
    state, (verdict,) = run(policy, (EndReason.BUSY, 0.0))
    assert (verdict, state.number) == (Rest(), 1 if numbers else 0)


def test_every_end_reason_has_its_rule() -> None:
    assert set(RULES) == set(EndReason)
    assert {reason for reason, rule in RULES.items() if rule.limit} - NEVER_GOOD == {EndReason.SESSION_FAILED}
    assert all(rule.text for rule in RULES.values() if rule.limit)


@given(
    st.lists(st.tuples(st.sampled_from(list(EndReason)), st.sampled_from([0.0, 44.0, 45.0, 1e6]), st.integers(0, 2))),
    st.builds(Retry, st.just(5.0), st.floats(5.0, 1e6), st.integers(0, 5), st.integers(0, 5)),
    st.integers(1, 4),
)
def test_whatever_happens_pauses_and_limits_hold(
    ends: list[tuple[EndReason, float, int]], retry: Retry, numbers: int
) -> None:
    state = Redial.of(replace(OUT, numbers=("1",) * numbers, retry=retry), TODAY)
    day, calls = TODAY, 0
    for reason, connected, days in ends:
        if days:
            day, calls = day + days, 0
        match state.first(day):
            case Next():
                pass
            case _:
                state, calls = state.resumed(day), 0
        state, verdict = state.after(reason, connected, day)
        calls += 1
        if isinstance(verdict, Next):
            assert retry.first <= verdict.delay <= max(retry.max, BLACKLISTED_PAUSE)
            assert 0 <= verdict.number < numbers
            assert not retry.per_day or calls < retry.per_day
            assert not retry.attempts or state.failures < retry.attempts
