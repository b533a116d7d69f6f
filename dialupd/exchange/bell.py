"""The bell of a called modem: when it rings, when RI is on, and when the caller's number comes."""

from __future__ import annotations

from typing import Protocol

from .timing import Alarm, Scheduler, Timing


class Ringing(Protocol):
    """What the bell tells its modem; any of these may stop the bell."""

    def rang(self, count: int) -> None: ...

    def ring_over(self, count: int) -> None:
        """RI is off; the silence between two rings, in which a caller id is sent, begins."""


class Bell:
    """Rings at once and then every `ring_interval`, until stopped."""

    def __init__(self, scheduler: Scheduler, timing: Timing, modem: Ringing) -> None:
        self._timing = timing
        self._modem = modem
        self._next = Alarm(scheduler)
        self.count = 0

    def start(self) -> None:
        """The first ring comes from the scheduler, never from within this call."""
        self.stop()
        self._next.set(0.0, self._ring)

    def stop(self) -> None:
        """Silence; the count starts anew."""
        self.count = 0
        self._next.stop()

    def _ring(self) -> None:
        self.count += 1
        self._next.set(self._timing.ring_interval / 3, self._pause)
        self._modem.rang(self.count)

    def _pause(self) -> None:
        self._next.set(self._timing.ring_interval * 2 / 3, self._ring)
        self._modem.ring_over(self.count)
