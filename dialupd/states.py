"""The modem's and the call's states, each as one table with every state in it.

An event that a state's row does not hold is not defined there: `modem_next` and `call_next` raise `Undefined`, which is
a defect of the caller, never of a modem.  Requests of a person are checked beforehand with `allows`, so that they get a
clear refusal.  What must be done on a change (hang up, initialise, tell the bus) follows the change and stands
elsewhere.
"""

from __future__ import annotations

from enum import Enum

from dialupd.model import CallState, ModemState


class Undefined(Exception):
    """An event came in a state that does not define it."""


class ModemEvent(Enum):
    BIND = "the device has no driver and is to get one"
    FOUND = "a port is there and is to be probed"
    OPEN = "the line, which rests, is wanted"
    PROBED = "the modem answered and is initialised"
    RING = "the line rings"
    RINGS_END = "the rings have stopped"
    ANSWER = "answer the call"
    DIAL = "place a call"
    CONNECT = "the modems are connected"
    CALL_FAILED = "the call was not established"
    CARRIER_LOST = "the far end is gone"
    HANG_UP = "end the call"
    HUNG_UP = "the modem is back in command state"
    RESET = "initialise from the ground up"
    DISABLE = "leave the modem alone"
    ENABLE = "take charge again"
    INHIBIT = "the port is lent to another program"
    RELEASE = "the port is back"
    BLOCK = "no call by itself until somebody clears it"
    UNBLOCK = "calls again"
    UNSUPPORTED = "this device can never work here"
    FAULT = "the modem or its port does not work; a next attempt follows"
    RETRY = "the next attempt is due"


E, S = ModemEvent, ModemState

_FAULT = {E.FAULT: S.FAILED}
_TAKEN_AWAY = {E.DISABLE: S.DISABLED, E.INHIBIT: S.INHIBITED, **_FAULT}
# During a call nothing takes the modem away: the call is hung up first.

MODEM: dict[ModemState, dict[ModemEvent, ModemState]] = {
    S.BINDING: {E.FOUND: S.PROBING, E.UNSUPPORTED: S.UNSUPPORTED, **_TAKEN_AWAY},
    S.PROBING: {
        E.PROBED: S.READY,
        E.UNSUPPORTED: S.UNSUPPORTED,
        E.RESET: S.RESETTING,
        **_TAKEN_AWAY,
    },
    S.READY: {
        E.OPEN: S.PROBING,
        E.RING: S.RINGING,
        E.DIAL: S.DIALING,
        E.RESET: S.RESETTING,
        E.BLOCK: S.BLOCKED,
        **_TAKEN_AWAY,
    },
    S.RINGING: {
        E.RING: S.RINGING,
        E.RINGS_END: S.READY,
        E.ANSWER: S.ANSWERING,
        E.HANG_UP: S.HANGING_UP,
        **_FAULT,
    },
    S.ANSWERING: {E.CONNECT: S.CONNECTED, E.CALL_FAILED: S.HANGING_UP, E.HANG_UP: S.HANGING_UP, **_FAULT},
    S.DIALING: {E.CONNECT: S.CONNECTED, E.CALL_FAILED: S.HANGING_UP, E.HANG_UP: S.HANGING_UP, **_FAULT},
    S.CONNECTED: {E.CARRIER_LOST: S.HANGING_UP, E.HANG_UP: S.HANGING_UP, **_FAULT},
    S.HANGING_UP: {E.HUNG_UP: S.READY, **_FAULT},
    S.RESETTING: {E.PROBED: S.READY, E.UNSUPPORTED: S.UNSUPPORTED, **_TAKEN_AWAY},
    S.DISABLED: {E.ENABLE: S.PROBING, E.BIND: S.BINDING, E.INHIBIT: S.INHIBITED},
    S.INHIBITED: {E.RELEASE: S.PROBING, E.DISABLE: S.DISABLED, E.FAULT: S.FAILED},
    S.BLOCKED: {
        E.OPEN: S.PROBING,
        E.UNBLOCK: S.READY,
        E.RING: S.RINGING,
        E.DIAL: S.DIALING,
        E.RESET: S.RESETTING,
        **_TAKEN_AWAY,
    },
    S.UNSUPPORTED: {E.RETRY: S.PROBING, E.DISABLE: S.DISABLED},
    S.FAILED: {E.RETRY: S.PROBING, E.BIND: S.BINDING, E.RESET: S.RESETTING, **_TAKEN_AWAY},
}

IDLE = frozenset({S.READY, S.BLOCKED})
"""States in which the modem waits for a call."""
IN_CALL = frozenset({S.RINGING, S.ANSWERING, S.DIALING, S.CONNECTED, S.HANGING_UP})
"""States in which a call is under way or being ended."""

OPENING = frozenset({S.PROBING, S.RESETTING})
"""States in which the line may be on its way."""
BOUNDED = frozenset({S.BINDING, S.PROBING, S.RINGING, S.ANSWERING, S.DIALING, S.HANGING_UP, S.RESETTING})
"""States that end by themselves in a time that is known, whatever the modem does."""


class CallEvent(Enum):
    ANSWER = "the call is being answered"
    CONNECT = "the modems are connected"
    END = "it is over, for whatever reason"


CALL: dict[CallState, dict[CallEvent, CallState]] = {
    CallState.DIALING: {CallEvent.CONNECT: CallState.CONNECTED, CallEvent.END: CallState.ENDED},
    CallState.RINGING: {CallEvent.ANSWER: CallState.ANSWERING, CallEvent.END: CallState.ENDED},
    CallState.ANSWERING: {CallEvent.CONNECT: CallState.CONNECTED, CallEvent.END: CallState.ENDED},
    CallState.CONNECTED: {CallEvent.END: CallState.ENDED},
    CallState.ENDED: {},
}


def allows(state: ModemState, event: ModemEvent) -> bool:
    """Is the event defined in the state?"""
    return event in MODEM[state]


def modem_next(state: ModemState, event: ModemEvent) -> ModemState:
    """The state after the event; raises Undefined where the table has none."""
    try:
        return MODEM[state][event]
    except KeyError:
        raise Undefined(f"a modem that is {state} does not expect: {event.value}") from None


def call_next(state: CallState, event: CallEvent) -> CallState:
    """The call's state after the event; raises Undefined where the table has none."""
    try:
        return CALL[state][event]
    except KeyError:
        raise Undefined(f"a call that is {state} does not expect: {event.value}") from None
