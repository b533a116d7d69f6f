"""A call between two parties, from the dialling to the end.

The caller places it; the exchange finds the `Station` of the number, which gives a `Party` for this call or is
busy.  The called party answers, both train, and each gets its end of the line.  Either may hang up at any
moment; the other then hears of it once, after the bytes that were on their way to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from .answers import Caller
from .carriers import FULL_RATE, Ability, Agreed, agree
from .line import Line, LineEnd, Tap
from .timing import Scheduler, Timer, Timing

log = logging.getLogger("dialupd.exchange")


class Tone(Enum):
    """What the caller hears before a carrier."""

    RINGBACK = "ringing"
    BUSY = "busy"
    UNOBTAINABLE = "no such number"
    VOICE = "a voice"
    ANSWER = "a modem"


class Party(Tap, Protocol):
    """One who takes part in a call."""

    number: str

    def ability(self) -> Ability | None:
        """What it can do on a data line; None is a human, or a modem that does not train."""

    def heard(self, tone: Tone) -> None:
        """For the caller: how the call is getting on."""

    def connected(self, line: LineEnd, agreed: Agreed) -> None:
        """Both have trained: data may pass."""

    def ended(self) -> None:
        """The far end has hung up, or the carrier is gone. Not called for one's own hanging up."""


class Station(Protocol):
    """What a number leads to."""

    def ring(self, call: Call) -> Party | None:
        """It rings; None: the line is engaged."""


class _Phase(Enum):
    NEW = "new"
    RINGING = "ringing"
    TRAINING = "training"
    UP = "up"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Network:
    """What every call is given by its exchange."""

    scheduler: Scheduler
    timing: Timing
    find: Callable[[str], Station | None]
    now: Callable[[], datetime]
    """The wall clock, for the date and time of a caller id."""
    line_rate: int = 0
    """bit/s; 0 is no pacing."""
    delay: float = 0.0
    """Seconds from one end to the other."""


class Call:
    """One call."""

    def __init__(self, network: Network, caller: Party, who: Caller, number: str, *, speech: bool = False) -> None:
        self._network = network
        self.caller = caller
        self.who = who
        self.number = number
        self.speech = speech
        """A person calls, or a phone that has no modem: what a mobile network tells the phone that is called."""
        self.callee: Party | None = None
        self._phase = _Phase.NEW
        self._line: Line | None = None
        self._timer: Timer | None = None

    @property
    def state(self) -> str:
        """For a person: ringing, training, up."""
        return self._phase.value

    @property
    def answered(self) -> bool:
        return self._phase in (_Phase.TRAINING, _Phase.UP)

    def place(self) -> None:
        """Reach the number; the caller hears at once what became of it."""
        station = self._network.find(self.number)
        if station is None:
            log.info("%s dials %s, which nobody has", self.caller.number, self.number)
            self._refused(Tone.UNOBTAINABLE)
            return
        self._phase = _Phase.RINGING
        log.info("%s dials %s", self.caller.number, self.number)
        self.callee = station.ring(self)
        if self.callee is None:
            log.info("%s is busy", self.number)
            self._refused(Tone.BUSY)
        elif self._phase is _Phase.RINGING:
            self.caller.heard(Tone.RINGBACK)

    def answer(self, tone: Tone) -> None:
        """The called party goes off hook, with the answer tone of a modem or with a voice."""
        if self._phase is not _Phase.RINGING or self.callee is None:
            return
        self._phase = _Phase.TRAINING
        log.info("%s answers %s", self.number, self.caller.number)
        if tone is Tone.ANSWER:
            self._timer = self._network.scheduler.call_later(self._network.timing.connect_time, self._trained)
        self.caller.heard(tone)

    def hang_up(self, by: Party) -> None:
        """One party leaves; the other is told."""
        if self._phase is _Phase.OVER:
            return
        other = self.callee if by is self.caller else self.caller
        line, phase = self._line, self._phase
        self._end()
        log.info("%s hangs up (%s)", by.number, "connected" if phase is _Phase.UP else phase.value)
        if other is None:
            return
        if line is not None:
            line.leave(by, other.ended)
        else:
            other.ended()

    def cut(self) -> None:
        """The network loses the call: both are told, what was on its way is lost."""
        if self._phase is _Phase.OVER:
            return
        line = self._line
        self._end()
        log.info("%s and %s lose their line", self.caller.number, self.number)
        if line is not None:
            line.close()
        for party in (self.caller, self.callee):
            if party is not None:
                party.ended()

    def _refused(self, tone: Tone) -> None:
        self._end()
        self.caller.heard(tone)

    def _trained(self) -> None:
        if self.callee is None:
            return
        ours, theirs = self.caller.ability(), self.callee.ability()
        if ours is None or theirs is None:
            log.info("%s and %s do not train", self.caller.number, self.number)
            self.cut()
            return
        agreed = agree(ours, theirs)
        network = self._network
        bits = network.line_rate
        if bits:
            # A network above V.34 is a fast one for all modems that nobody has slowed down.
            bits = min(bits, agreed.rate) if agreed.rate < FULL_RATE else bits
            agreed = Agreed(agreed.modulation, bits, agreed.correction, agreed.compression)
        self._phase = _Phase.UP
        # Eight bits a byte: V.42 leaves out start and stop bits.
        self._line = Line(network.scheduler, self.caller, self.callee, rate=bits / 8, delay=network.delay)
        log.info("%s and %s are connected at %d bit/s", self.caller.number, self.number, agreed.rate)
        callee, line = self.callee, self._line
        callee.connected(line.end(callee), agreed)
        if self._phase is _Phase.UP:
            self.caller.connected(line.end(self.caller), agreed)

    def _end(self) -> None:
        self._phase = _Phase.OVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
