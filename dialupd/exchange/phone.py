"""What a simulated mobile phone has beside its modem: speech, and what it tells of itself and of its call.  Pure.

It tells by +CSQ, +CBC, +CIND, +CIEV, +CPAS and +CLCC, whose numbers are those of 3GPP TS 27.007, sections 7.18, 8.1,
8.4, 8.5 and 8.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from .call import Call, Party
from .commands import Extended, Op
from .faults import Fault
from .kinds import Kind

FULL = 100
GOOD = 20
_NO_SIGNAL = 99
_BARS = 5


class Stage(Enum):
    """How far a call has come, as +CLCC has it."""

    ACTIVE = 0
    DIALING = 2
    ALERTING = 3
    INCOMING = 4


@dataclass(frozen=True, slots=True)
class Talk:
    """The call that a phone has."""

    number: str
    stage: Stage
    voice: bool
    incoming: bool = False


def _talk(call: Call | None, dialled: str, *, incoming: bool, voice: bool) -> Talk:
    """What a phone knows of its call, which is None while it is still about to be placed."""
    if call is None:
        return Talk(dialled, Stage.DIALING, voice)
    number = call.who.number if incoming else call.number
    if call.answered:
        return Talk(number, Stage.ACTIVE, voice, incoming)
    return Talk(number, Stage.INCOMING if incoming else Stage.ALERTING, voice, incoming)


@dataclass(frozen=True, slots=True)
class Levels:
    """Percent of the battery's charge; the signal as +CSQ counts it."""

    battery: int = FULL
    signal: int = GOOD

    @staticmethod
    def of(faults: Mapping[Fault, float]) -> Levels:
        """A phone's, by its faults."""
        return Levels(int(faults.get(Fault.BATTERY, FULL)), int(faults.get(Fault.SIGNAL, GOOD)))

    def bars(self) -> tuple[int, int]:
        """The two on the phone's display."""
        signal = 0 if self.signal == _NO_SIGNAL else self.signal
        return min(_BARS, round(self.battery * _BARS / 100)), min(_BARS, round(signal * _BARS / 31))


class Handset:
    """The phone's side of one modem; of one that is no phone it tells nothing."""

    def __init__(self, kind: Kind, faults: Mapping[Fault, float]) -> None:
        self.voice = False
        """A voice call is up, or on its way."""
        self._kind = kind
        self._faults = faults

    @property
    def has_modem(self) -> bool:
        return self._kind.data and Fault.VOICE_ONLY not in self._faults

    def is_for_a_person(self, call: Call) -> bool:
        """Does it ring for a person?"""
        return self._kind.phone and (call.speech or not self.has_modem)

    def tells(self, command: Extended, call: Call | None, me: Party, dialled: str | None) -> tuple[str, ...] | None:
        """The answer of a phone to one of the commands above; None: it is another one.

        `me` is the phone in its `call`; `dialled` the number that it is dialling or has called by voice.
        """
        if not self._kind.phone:
            return None
        talk = None
        if call is not None or dialled is not None:
            incoming = call is not None and call.caller is not me
            voice = self.voice or (call is not None and self.is_for_a_person(call))
            talk = _talk(call, dialled or "", incoming=incoming, voice=voice)
        return _tells(command, Levels.of(self._faults), talk)


def _tells(command: Extended, levels: Levels, talk: Talk | None) -> tuple[str, ...] | None:
    """The answer to one of the commands above; None: it is another one."""
    match command:
        case Extended("+CSQ", Op.ACT):
            return (f"+CSQ: {levels.signal},99",)
        case Extended("+CBC", Op.ACT):
            return (f"+CBC: 0,{levels.battery}",)
        case Extended("+CIND", Op.READ):
            battery, signal = levels.bars()
            return (f"+CIND: {battery},{signal},1,{int(talk is not None and talk.stage is Stage.ACTIVE)}",)
        case Extended("+CPAS", Op.ACT):
            return ("+CPAS: 0" if talk is None else "+CPAS: 3" if talk.stage is Stage.INCOMING else "+CPAS: 4",)
        case Extended("+CLCC", Op.ACT):
            return () if talk is None else (_listed(talk),)
        case _:
            return None


def changes(before: Levels, after: Levels, reporting: str) -> list[str]:
    """What is said by itself of changed bars, `reporting` being what +CMER is set to."""
    mode, *_, on = (reporting.split(",") + [""] * 4)[:4]
    if mode in ("", "0") or on not in ("1", "2"):
        return []
    pairs = zip(before.bars(), after.bars(), strict=True)
    return [f"+CIEV: {place},{new}" for place, (old, new) in enumerate(pairs, 1) if old != new]


def _listed(talk: Talk) -> str:
    plan = 145 if talk.number.startswith("+") else 129
    return f'+CLCC: 1,{talk.incoming:d},{talk.stage.value},{int(not talk.voice)},0,"{talk.number}",{plan}'
