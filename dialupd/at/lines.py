"""Bytes from a modem become lines.

A line ends with CR, LF or CR LF, whatever the chunking; blank lines vanish.  A trailing CR is not yet an end, because
the LF that belongs to it may be on its way, and after CONNECT the next byte is the far end's: `next()` then says
UNSURE, and the owner calls `flush()` when nothing has followed for a moment.  A lone digit and a CR is a V0 result and
has no LF to wait for.  What follows the line is never touched: after CONNECT, `take_rest()` hands it over.

A line is capped.  One that is longer vanishes up to its end, however it was cut, so garbage without an end of line
takes no room; `overflows` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MAX_LINE = 512
"""Bytes; the longest lines in use (raw MDMF caller ID in hex, CGMM of chatty sticks) stay under 350."""


class Wait(Enum):
    """There is no line, and why."""

    NEED_MORE = "need more"
    UNSURE = "a CR came last: a line, unless its LF is on the way"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end, printable text only: other bytes are shown as `·`."""

    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """`> ` at the start of a line: the modem waits for text (AT+CMGS and its like), and no end of line comes."""


Token = Line | Prompt | Wait

_CR, _LF = 0x0D, 0x0A
_PROMPT = b"> "
_PRINTABLE = str.maketrans({chr(n): "·" for n in range(256) if not (0x20 <= n < 0x7F)} | {"\t": " "})


def printable(data: bytes) -> str:
    """Text for a person and for matching: ASCII stays, a tab is a blank, every other byte shows as `·`."""
    return data.decode("latin-1").translate(_PRINTABLE)


class Lexer:
    """Feed it bytes, ask it for tokens until it waits."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._skipping = False
        self.overflows = 0

    def feed(self, data: bytes) -> None:
        """Add bytes as they came."""
        self._buffer += data

    def next(self) -> Token:
        """The next line or prompt, or why there is none yet."""
        return self._next(final=False)

    def flush(self) -> Token:
        """Like `next()`, for an owner who knows that nothing more is coming for now: a trailing CR ends its line."""
        return self._next(final=True)

    def take_rest(self) -> bytes:
        """Everything after the last line given: the far end's bytes after CONNECT. The lexer is empty then."""
        rest = bytes(self._buffer)
        self.clear()
        return rest

    def clear(self) -> None:
        """Forget what came: the port was flushed."""
        self._buffer.clear()
        self._scanned = 0
        self._skipping = False

    def _next(self, *, final: bool) -> Token:
        buffer = self._buffer
        while True:
            if not self._skipping and buffer.startswith(_PROMPT):
                del buffer[: len(_PROMPT)]
                self._scanned = 0
                return Prompt()
            end = self._find_end()
            if end < 0:
                return self._unfinished()
            if buffer[end] == _CR and end + 1 == len(buffer) and not final:
                if end == 0 or not (end == 1 and 0x30 <= buffer[0] <= 0x39):
                    return Wait.UNSURE if end else Wait.NEED_MORE
                after = end + 1
            elif buffer[end] == _CR and end + 1 < len(buffer) and buffer[end + 1] == _LF:
                after = end + 2
            else:
                after = end + 1
            raw = bytes(buffer[:end])
            del buffer[:after]
            self._scanned = 0
            if len(raw) > MAX_LINE and not self._skipping:
                self.overflows += 1
            elif self._skipping:
                self._skipping = False
            elif text := printable(raw).rstrip():
                return Line(text)

    def _find_end(self) -> int:
        for index in range(self._scanned, len(self._buffer)):
            if self._buffer[index] in (_CR, _LF):
                self._scanned = index
                return index
        self._scanned = len(self._buffer)
        return -1

    def _unfinished(self) -> Wait:
        if len(self._buffer) > MAX_LINE or (self._skipping and self._buffer):
            if not self._skipping:
                self.overflows += 1
            self._skipping = True
            self._buffer.clear()
            self._scanned = 0
        return Wait.NEED_MORE
