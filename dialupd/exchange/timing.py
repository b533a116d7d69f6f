"""How long things take on the simulated network, and who keeps the time.

The modems know no event loop: they are given a `Scheduler`, which an asyncio loop is as it stands and a test
replaces by a clock that it winds by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Timer(Protocol):
    """What `call_later` gives back."""

    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """The part of an asyncio loop that is used here."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds.  The defaults are those of a telephone line, but for a shorter training of the modems."""

    ring_interval: float = 6.0
    """From one RING to the next; the bell sounds for the first third of it."""
    connect_time: float = 3.0
    """From the answer to CONNECT on both sides; 10 to 25 s in life."""
    dial_time: float = 1.0
    """From ATD to the first ring: dial tone, tones, switching."""
    answer_delay: float = 1.0
    """How long a service lets it ring before it answers."""
    second: float = 1.0
    """How long a second of the S-registers is: S7, S8, and S12 for the guard time."""
    abort_grace: float = 0.125
    """Characters so soon after ATD or ATA do not abort it (V.250 section 5.6.1)."""

    @staticmethod
    def quick() -> Timing:
        """For tests: a call is up within a tenth of a second."""
        return Timing(
            ring_interval=0.1,
            connect_time=0.02,
            dial_time=0.005,
            answer_delay=0.01,
            second=0.05,
            abort_grace=0.02,
        )


class Alarm:
    """One time limit at a time: a new one takes the place of the old."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._timer: Timer | None = None

    def set(self, delay: float, then: Callable[[], object]) -> None:
        """Call `then` after so many seconds."""
        self.stop()
        self._timer = self._scheduler.call_later(delay, then)

    def stop(self) -> None:
        """Call nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
