"""The client's side of telnet, for a caller who knows nothing of it: bytes in, bytes out, no descriptor and no clock.

Between the caller's clean line and a telnet service stand the doubled IAC, the NUL behind a CR (RFC 854) and options.
Nothing is asked for of our own accord; what the service asks is granted if it is in the tables below and else refused,
and an answer is given to changes only, so no loop can come of it (RFC 1143 with the states that are left then).  Binary
is granted each way for itself (RFC 856): a service that wants to move files turns it on, as it does for any client.

The result does not depend on how the stream is cut.  What a service can make us keep is bounded: a subnegotiation
beyond `LONGEST` is dropped.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

# RFC 854
SE, SB, WILL, WONT, DO, DONT, IAC = 240, 250, 251, 252, 253, 254, 255
# RFC 856, 857, 858, 1091, 1073
BINARY, ECHO, SUPPRESS_GO_AHEAD, TERMINAL_TYPE, WINDOW_SIZE = 0, 1, 3, 24, 31

# What the service may do, and what we do if it asks.
ITS: Final = frozenset({BINARY, ECHO, SUPPRESS_GO_AHEAD})
OURS: Final = frozenset({BINARY, SUPPRESS_GO_AHEAD, TERMINAL_TYPE, WINDOW_SIZE})

LONGEST: Final = 64
"""Bytes of a subnegotiation; the one that we know has two."""

_TYPE_IS, _TYPE_SEND = 0, 1
_TYPE: Final = bytes((IAC, SB, TERMINAL_TYPE, _TYPE_IS)) + b"VT100" + bytes((IAC, SE))
_TYPE_WANTED: Final = bytes((TERMINAL_TYPE, _TYPE_SEND))
_SIZE: Final = bytes((IAC, SB, WINDOW_SIZE, 0, 80, 0, 24, IAC, SE))
_CR, _NUL = 13, 0
_PLAIN: Final = re.compile(rb"[^\xff\r]+")
_PLAIN_BINARY: Final = re.compile(rb"[^\xff]+")


class _At(Enum):
    """Where in the service's stream we are."""

    DATA = "data"
    CR = "behind a CR"
    COMMAND = "behind an IAC"
    OPTION = "behind WILL, WONT, DO or DONT"
    WITHIN = "in a subnegotiation"
    WITHIN_IAC = "behind an IAC in a subnegotiation"


class Telnet:
    """One connection.  `sent` and `received` translate the two ways."""

    def __init__(self) -> None:
        self._at = _At.DATA
        self._verb = 0
        self._its: set[int] = set()
        self._ours: set[int] = set()
        self._sub = bytearray()

    def sent(self, data: bytes) -> bytes:
        """What the service is to get for the caller's bytes."""
        data = data.replace(b"\xff", b"\xff\xff")
        # A CR by itself is none of RFC 854's; an LF behind it is the caller's own and passes as it is.
        return data if BINARY in self._ours else data.replace(b"\r", b"\r\0")

    def received(self, data: bytes) -> tuple[bytes, bytes]:
        """The caller's bytes, and our answers to the service."""
        text, answers = bytearray(), bytearray()
        at = 0
        while at < len(data):
            if self._at is _At.DATA:
                plain = (_PLAIN_BINARY if BINARY in self._its else _PLAIN).match(data, at)
                if plain is not None:
                    text += plain[0]
                    at = plain.end()
                    continue
            self._take(data[at], text, answers)
            at += 1
        return bytes(text), bytes(answers)

    def _take(self, byte: int, text: bytearray, answers: bytearray) -> None:
        match self._at:
            case _At.DATA | _At.CR:
                self._data(byte, text)
            case _At.COMMAND:
                self._command(byte, text)
            case _At.OPTION:
                self._at = _At.DATA
                if self._verb in (WILL, WONT):
                    self._option(byte, self._verb == WILL, ITS, self._its, answers)
                else:
                    self._option(byte, self._verb == DO, OURS, self._ours, answers)
            case _At.WITHIN:
                if byte == IAC:
                    self._at = _At.WITHIN_IAC
                else:
                    self._keep(byte)
            case _At.WITHIN_IAC:
                self._within(byte, text, answers)

    def _data(self, byte: int, text: bytearray) -> None:
        behind_cr, self._at = self._at is _At.CR, _At.DATA
        if byte == IAC:
            self._at = _At.COMMAND
        elif not (behind_cr and byte == _NUL):
            text.append(byte)
            if byte == _CR and BINARY not in self._its:
                self._at = _At.CR

    def _command(self, byte: int, text: bytearray) -> None:
        """The byte behind IAC; commands without an option ask nothing of us."""
        self._at = _At.DATA
        if byte == IAC:
            text.append(byte)
        elif byte == SB:
            self._sub.clear()
            self._at = _At.WITHIN
        elif byte in (WILL, WONT, DO, DONT):
            self._verb = byte
            self._at = _At.OPTION

    def _within(self, byte: int, text: bytearray, answers: bytearray) -> None:
        self._at = _At.WITHIN
        if byte == IAC:
            self._keep(byte)
        elif byte == SE:
            self._at = _At.DATA
            if self._sub == _TYPE_WANTED and TERMINAL_TYPE in self._ours:
                answers += _TYPE
        else:  # its end was forgotten
            self._command(byte, text)

    def _keep(self, byte: int) -> None:
        if len(self._sub) < LONGEST:
            self._sub.append(byte)

    def _option(self, option: int, wanted: bool, granted: frozenset[int], on: set[int], answers: bytearray) -> None:
        yes, no = (DO, DONT) if on is self._its else (WILL, WONT)
        if wanted and option not in granted:
            answers += bytes((IAC, no, option))
        elif wanted and option not in on:
            on.add(option)
            answers += bytes((IAC, yes, option))
            if option == WINDOW_SIZE:
                answers += _SIZE
        elif not wanted and option in on:
            on.discard(option)
            answers += bytes((IAC, no, option))
