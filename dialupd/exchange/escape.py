"""The way out of data state: silence, three escape characters, silence (S2 and S12; TIES-less, as Hayes has it).

The characters are data too and have gone to the far end when the modem learns what they meant.
"""

from __future__ import annotations

ESCAPES = 3


class EscapeDetector:
    """Tell it what passes and when; it says when the closing silence is worth waiting for."""

    def __init__(self) -> None:
        self._count = 0
        self._last = float("-inf")

    def restart(self, now: float) -> None:
        """Data state begins now, which is no silence."""
        self._count = 0
        self._last = now

    def passed(self, data: bytes, now: float, *, char: int, guard: float) -> bool:
        """True: three escape characters after a silence; if `guard` seconds of silence follow, leave data state."""
        silent = now - self._last >= guard
        self._last = now
        if char > 127 or len(data) > ESCAPES or data != bytes([char]) * len(data):
            self._count = 0
        elif silent:
            self._count = len(data)
        elif self._count:
            self._count += len(data)
        if self._count > ESCAPES:
            self._count = 0
        return self._count == ESCAPES
