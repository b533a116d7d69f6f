"""What a person types, with the escapes taken out: pure.

As in ssh and cu: a `~` at the beginning of a line, the first one included, is held back, and the character behind it
decides.  Where the line begins is known from what was typed, not from what the far end shows.
"""

from __future__ import annotations

from enum import Enum

TILDE = b"~"
_NEWLINES = (b"\r", b"\n")


class Escape(Enum):
    """What a person can ask for; the value is the character behind the tilde."""

    END = b"."
    HELP = b"?"
    COMMAND = b"C"
    SUSPEND = b"\x1a"


HELP = (
    "~.   end the call",
    "~C   run a command with the line as its input and output, such as: sz FILE, or rz",
    "~^Z  suspend dialupctl",
    "~?   this",
    "~~   send one ~",
    "They count at the beginning of a line only.",
)


class Typed:
    """One terminal's input, in any pieces."""

    def __init__(self) -> None:
        self._at_line_start = True
        self._tilde = False

    def feed(self, data: bytes) -> tuple[bytes, Escape | None, bytes]:
        """What to send, and the escape behind that with the rest, which is to be fed again."""
        text = bytearray()
        for at in range(len(data)):
            char = data[at : at + 1]
            if self._tilde:
                self._tilde = False
                try:
                    escape = Escape(char)
                except ValueError:
                    if char != TILDE:
                        text += TILDE
                else:
                    self._at_line_start = True
                    return bytes(text), escape, data[at + 1 :]
            elif char == TILDE and self._at_line_start:
                self._tilde = True
                continue
            text += char
            self._at_line_start = char in _NEWLINES
        return bytes(text), None, b""
