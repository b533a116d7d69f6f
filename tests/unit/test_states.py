"""The tables of states: every pair of state and event, ways out, ways back."""

from __future__ import annotations

import pytest

from dialupd.model import CallState, ModemState
from dialupd.states import (
    CALL,
    IDLE,
    IN_CALL,
    MODEM,
    OPENING,
    CallEvent,
    ModemEvent,
    Undefined,
    allows,
    call_next,
    modem_next,
)

E, S = ModemEvent, ModemState


@pytest.mark.parametrize("state", ModemState)
def test_every_event_in_a_modem_s_state(state: ModemState) -> None:
    for event in ModemEvent:
        if event in MODEM[state]:
            assert allows(state, event)
            assert modem_next(state, event) is MODEM[state][event]
        else:
            assert not allows(state, event)
            with pytest.raises(Undefined, match=state.value):
                modem_next(state, event)


@pytest.mark.parametrize("state", CallState)
def test_every_event_in_a_call_s_state(state: CallState) -> None:
    for event in CallEvent:
        if event in CALL[state]:
            assert call_next(state, event) is CALL[state][event]
        else:
            with pytest.raises(Undefined, match=state.value):
                call_next(state, event)


def test_the_tables_hold_every_state() -> None:
    assert set(MODEM) == set(ModemState)
    assert set(CALL) == set(CallState)
    used = {event for row in MODEM.values() for event in row}
    assert used == set(ModemEvent), "an event that no state defines"
    assert set(ModemState) >= IDLE | IN_CALL


def reachable(start: ModemState) -> set[ModemState]:
    seen, open_ = {start}, [start]
    while open_:
        for state in MODEM[open_.pop()].values():
            if state not in seen:
                seen.add(state)
                open_.append(state)
    return seen


def test_there_is_a_way_to_every_state_and_from_every_state_to_ready() -> None:
    assert reachable(S.PROBING) | reachable(S.BINDING) == set(ModemState)
    for state in ModemState:
        assert S.READY in reachable(state), state


def test_an_ended_call_stays_ended() -> None:
    assert CALL[CallState.ENDED] == {}
    for state in CallState:
        assert state is CallState.ENDED or CALL[state][CallEvent.END] is CallState.ENDED


def test_nothing_takes_a_modem_away_during_a_call() -> None:
    for state in IN_CALL:
        assert not MODEM[state].keys() & {E.DISABLE, E.INHIBIT, E.RESET, E.BLOCK}, state
        assert MODEM[state][E.FAULT] is S.FAILED
    for state in IN_CALL - {S.HANGING_UP}:
        assert MODEM[state][E.HANG_UP] is S.HANGING_UP, "every call can be hung up"


def test_a_call_leaves_by_hanging_up_alone() -> None:
    """But for a ring, where nothing has been done yet that must be undone."""
    for state in IN_CALL - {S.RINGING, S.HANGING_UP}:
        assert {new for new in MODEM[state].values() if new not in IN_CALL} == {S.FAILED}, state
    assert MODEM[S.HANGING_UP].keys() == {E.HUNG_UP, E.FAULT}


def test_a_line_that_rests_is_opened_from_idle_states_alone() -> None:
    for state in ModemState:
        assert allows(state, E.OPEN) is (state in IDLE), state
    for state in IDLE:
        assert modem_next(state, E.OPEN) in OPENING
