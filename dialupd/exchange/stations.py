"""Numbers that lead to something other than a modem, and callers that are none.

`Unattended` is a bell that nobody hears; `VoiceStation` a human with a telephone; `EchoStation` a modem that
sends everything back; `Telephone` a human who calls.  Programs as far ends are in service.py.
"""

from __future__ import annotations

from collections.abc import Callable

from .call import Call, Party, Tone
from .carriers import DIGITAL, Ability, Agreed
from .line import LineEnd
from .timing import Scheduler, Timer, Timing


class Unattended:
    """A party that never answers."""

    def __init__(self, number: str) -> None:
        self.number = number

    def ability(self) -> Ability | None:
        return None

    def heard(self, tone: Tone) -> None:
        pass

    def connected(self, line: LineEnd, agreed: Agreed) -> None:
        pass

    def ended(self) -> None:
        pass

    def room(self) -> int:
        return 0

    def take(self, data: bytes) -> None:
        pass

    def hold(self, on: bool) -> None:
        pass


class Answering(Unattended):
    """A party that answers after a delay."""

    def __init__(self, number: str, scheduler: Scheduler, timing: Timing, call: Call, tone: Tone) -> None:
        super().__init__(number)
        self.call = call
        self._timer = scheduler.call_later(timing.answer_delay, lambda: call.answer(tone))

    def ended(self) -> None:
        self._timer.cancel()


class Telephone(Unattended):
    """A human who calls and lets it ring so many times."""

    def __init__(self, number: str, scheduler: Scheduler, timing: Timing, rings: int) -> None:
        super().__init__(number)
        self._scheduler = scheduler
        self._patience = timing.ring_interval * (rings - 0.5)
        self._timer: Timer | None = None

    def call(self, call: Call) -> None:
        """Place it; hang up when nobody answers."""
        self._timer = self._scheduler.call_later(self._patience, lambda: call.hang_up(self))
        call.place()

    def heard(self, tone: Tone) -> None:
        if tone in (Tone.BUSY, Tone.UNOBTAINABLE):
            self.ended()

    def ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class BusyStation:
    """Always engaged."""

    def ring(self, call: Call) -> Party | None:
        return None


class SilentStation:
    """Rings for ever."""

    def ring(self, call: Call) -> Party | None:
        return Unattended(call.number)


class VoiceStation:
    """A human answers."""

    def __init__(self, scheduler: Scheduler, timing: Timing) -> None:
        self._scheduler = scheduler
        self._timing = timing

    def ring(self, call: Call) -> Party | None:
        return Answering(call.number, self._scheduler, self._timing, call, Tone.VOICE)


class _Echo(Answering):
    """Sends back what comes; takes nothing while the way back is full."""

    _line: LineEnd | None = None
    _full = False

    def ability(self) -> Ability | None:
        return DIGITAL

    def connected(self, line: LineEnd, agreed: Agreed) -> None:
        self._line = line

    def ended(self) -> None:
        super().ended()
        self._line = None

    def room(self) -> int:
        return 0 if self._full or self._line is None else 4096

    def take(self, data: bytes) -> None:
        if self._line is not None:
            self._line.send(data)

    def hold(self, on: bool) -> None:
        self._full = on
        if self._line is not None and not on:
            self._line.pump()


class EchoStation:
    """Any number of callers at once."""

    def __init__(self, scheduler: Scheduler, timing: Timing) -> None:
        self._scheduler = scheduler
        self._timing = timing

    def ring(self, call: Call) -> Party | None:
        return _Echo(call.number, self._scheduler, self._timing, call, Tone.ANSWER)


Maker = Callable[[Scheduler, Timing], "BusyStation | SilentStation | VoiceStation | EchoStation"]

SPECIAL: dict[str, Maker] = {
    "busy": lambda _scheduler, _timing: BusyStation(),
    "no-answer": lambda _scheduler, _timing: SilentStation(),
    "voice": VoiceStation,
    "echo": EchoStation,
}
"""What a number can be by name."""
