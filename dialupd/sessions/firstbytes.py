"""What a caller's first bytes mean: PPP, a person, or a fax machine.

A machine that speaks PPP begins with an LCP frame (RFC 1662 section 3.1): flag, address, control and the protocol
C0 21.  Each byte may be escaped, some peers leave address and control out, and the very first flag may be lost in the
modem's hand-over.  That begin is binary enough that no person types it by accident, so it decides as soon as the
protocol's last byte is there.  What came before it is noise, or the rest of a frame that the peer repeats.

ENTER is CR, LF or both.  A CR LF may also begin a report of the modem, which has one on either side (V.250 section
5.7.1) and comes in one go; and a CR alone may come from a dialling script, whose last word it often is before its
machine begins PPP.  Then the verdict is UNSURE, and ENTER if nothing follows for `patience` seconds.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

SETTLES: Final = 0.1
"""Seconds: what a modem reports, and the LF behind a CR, come within a few milliseconds."""
PPP_FOLLOWS: Final = 2.0
"""Seconds from the last CR of a chat(8) script to its pppd's first frame: pppd itself waits for 1 s (`connect-delay` in
pppd(8)), and the rest is for the modems between us."""
MOST: Final = 512
"""Bytes that are neither PPP nor a line: no name is that long, and no peer's first frames are."""


class Heard(Enum):
    """What the bytes are so far; the first two ask for more."""

    NOTHING = "neither PPP nor a whole line yet"
    UNSURE = "a line was ended, unless the modem reports something or a script makes way for PPP"
    PPP = "a PPP frame has begun"
    ENTER = "a line was ended"
    FAX = "the modem says that a fax machine calls"
    CARRIER_LOST = "the modem says that the carrier is gone, or the caller has typed it"


def _either(byte: int) -> bytes:
    """The byte, plain or escaped (RFC 1662 section 4.2)."""
    return b"(?:\\x%02x|\\x7d\\x%02x)" % (byte, byte ^ 0x20)


_ADDRESS_CONTROL = _either(0xFF) + _either(0x03)
_LCP = _either(0xC0) + _either(0x21)
FRAME = re.compile(b"(?:\\x7e(?:%b)?|%b)%b" % (_ADDRESS_CONTROL, _ADDRESS_CONTROL, _LCP))
"""The begin of a peer's first frame, at most 9 bytes."""
# Modems of class 1, 2 and 2.0 that recognise the kind of call themselves (+FAA, T.31 and T.32), and their numeric form.
_FAX = re.compile(rb"\r\n(?:\+FCON?|\+?FCERROR|\+F44?|FAX|CONNECT FAX)\r\n")
_CARRIER_LOST = b"\r\nNO CARRIER\r\n"
_REPORT_BEGINS = re.compile(rb"\r\n?(?:[+A-Z][+A-Z0-9 ]{0,15}\r?)?\Z")
_ENDS = b"\r\n"
_NOTHING_TYPED = b"\r\n\0"


class FirstBytes:
    """Fed with what arrives, until the verdict is neither NOTHING nor UNSURE."""

    def __init__(self) -> None:
        self._heard = bytearray()
        self._frame = -1

    @property
    def count(self) -> int:
        """Bytes heard."""
        return len(self._heard)

    def feed(self, data: bytes) -> Heard:
        """The verdict with these bytes behind those before."""
        self._heard += data
        if frame := FRAME.search(self._heard):
            self._frame = frame.start()
            return Heard.PPP
        if _FAX.search(self._heard):
            return Heard.FAX
        if self._heard.endswith(_CARRIER_LOST):
            return Heard.CARRIER_LOST
        return self._line()

    @property
    def patience(self) -> float:
        """Seconds of silence that make UNSURE an ENTER."""
        return SETTLES if self._heard.strip(_NOTHING_TYPED) else PPP_FOLLOWS

    def frames(self) -> bytes:
        """All that was heard from the begin of the first frame on."""
        assert self._frame >= 0, "no frame was heard"
        return bytes(self._heard[self._frame :])

    def typed(self) -> bytes:
        """What the caller typed, with the ENTER that ended it, and what came behind that; without empty lines."""
        text = bytes(self._heard).lstrip(_NOTHING_TYPED)
        line, ended, rest = _first_line(text)
        return line + ended + rest if len(line) < MOST else b""

    def _line(self) -> Heard:
        if self.count >= MOST:
            return Heard.ENTER
        ends = [at for at in map(self._heard.find, (b"\r", b"\n")) if at >= 0]
        if not ends:
            return Heard.NOTHING
        return Heard.UNSURE if _REPORT_BEGINS.match(self._heard, min(ends)) else Heard.ENTER


def _first_line(text: bytes) -> tuple[bytes, bytes, bytes]:
    """The line, one CR for its end if it has one, and the rest."""
    end = next((at for at, byte in enumerate(text) if byte in _ENDS), len(text))
    rest = text[end:]
    if rest.startswith(b"\r\n"):
        return text[:end], b"\r", rest[2:]
    return text[:end], b"\r" if rest else b"", rest[1:]
