"""The command state's ear: bytes from the computer become echo and command lines (V.250 section 5.2).

A line is `AT`, a body and the character of S3; what comes before `AT` is noise.  S5 takes back a character of
the body.  `A/` repeats the last body at once, without S3.  The body is capped: a longer line is an error as a
whole.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_BODY = 255
"""Characters; V.250 asks for 40, makers give 60 to 255."""


@dataclass(frozen=True, slots=True)
class Heard:
    """How many bytes were used, what to echo, and a complete line's body (None: it was too long)."""

    used: int
    echo: bytes
    complete: bool
    body: str | None


class CommandReader:
    """`feed` until everything is used; a complete line is to be carried out before the next call."""

    def __init__(self) -> None:
        self._prefix = ""
        self._body = bytearray()
        self._last = ""
        self._overflow = False

    def clear(self) -> None:
        """Forget a half-typed line; the last one stays for A/."""
        self._prefix = ""
        self._body.clear()
        self._overflow = False

    def feed(self, data: bytes, *, end: int, backspace: int) -> Heard:
        """Read up to the first complete line; `end` and `backspace` are S3 and S5."""
        for index, byte in enumerate(data):
            char = chr(byte & 0x7F).upper()
            if self._prefix == "AT":
                if byte & 0x7F == end:
                    return self._done(data[: index + 1])
                self._edit(byte & 0x7F, backspace)
            elif self._prefix == "A" and char == "/":
                self.clear()
                return Heard(index + 1, data[: index + 1], True, self._last)
            elif self._prefix == "A" and char == "T":
                self._prefix = "AT"
            else:
                self._prefix = "A" if char == "A" else ""
        return Heard(len(data), data, False, None)

    def _edit(self, byte: int, backspace: int) -> None:
        if byte == backspace:
            del self._body[-1:]
        elif byte >= 0x20:
            if len(self._body) < MAX_BODY:
                self._body.append(byte)
            else:
                self._overflow = True

    def _done(self, data: bytes) -> Heard:
        body = None if self._overflow else self._body.decode("ascii")
        if body is not None:
            self._last = body
        self.clear()
        return Heard(len(data), data, True, body)
