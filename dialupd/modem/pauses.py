"""When a failed modem is tried again.

Each failure doubles the pause, and only a line that has held for a while makes the pauses begin anew: a phone may take
a line only to close it.  What keeps us from trying, such as a bluetoothd that is away, counts for itself: the radio may
have fallen because the phone was looked for, so its return must not wipe out how often that was in vain.
"""

from __future__ import annotations

import math

from dialupd.modem import timing


class Pauses:
    """Of one modem; all times are the loop's."""

    def __init__(self) -> None:
        self.failures = 0
        """In a row, of the modem itself or of the way to it."""
        self.until = 0.0
        """Before this it is not tried by itself."""
        self._barred = 0
        self._good_since = math.inf
        self._showed_up = -math.inf

    def failed(self, now: float, *, barred: bool) -> tuple[int, float]:
        """It has failed, or could not be tried (`barred`): how often that was so in a row, and when it is tried again.

        One that was tried before its time, at somebody's wish, waits for the rest of the pause.
        """
        self._good_since = math.inf
        if barred:
            self._barred += 1
            return self._barred, now + _pause(self._barred)
        self._barred = 0
        if now >= self.until:
            self.failures += 1
            self.until = now + _pause(self.failures)
        return self.failures, self.until

    def opened(self, now: float, *, wanted: bool) -> None:
        """The modem is set up; `wanted`: somebody asked for its line, so what he does about a failure is up to him."""
        self._good_since = self.until = now
        if wanted:
            self.failures = 0

    def closed(self, now: float) -> None:
        """Its line was closed, or lost."""
        if now - self._good_since >= timing.HELD:
            self.failures = 0
        self._good_since = math.inf

    def shows_up(self, now: float) -> bool:
        """Is it tried at once because it is there?  Not often: its link may come and go for another's sake."""
        if now - self._showed_up < timing.SHOWS_UP:
            return False
        self._showed_up = now
        return True


def _pause(times: int) -> float:
    return min(timing.RETRY_FIRST * 2.0 ** min(times - 1, 32), timing.RETRY_MAX)
