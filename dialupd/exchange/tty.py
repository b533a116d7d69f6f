"""A modem on a real serial port: this machine plays the modem for the computer at the other end of a null-modem
cable.

The cable crosses the circuits: what we show as DTR arrives as the computer's DSR and DCD, what we show as RTS
as its CTS, and its DTR comes in as our DSR and DCD.  So DTR here means "carrier": a computer that wants DSR
without a carrier is out of luck.  RI has no wire. The kernel wakes us on a change only in a blocking call
(TIOCMIWAIT), so a thread of its own waits in it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
import threading
import tty

from .fd import FdStream, StreamWire
from .port import Dce

_TIOCMIWAIT = 0x545C
_CARRIES = termios.TIOCM_DSR | termios.TIOCM_CD
_RATE = termios.B115200


class TtyModem(StreamWire):
    """The carrier; raises OSError when the port cannot be used."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dce: Dce, path: str) -> None:
        self.path = path
        self._loop = loop
        self._dce = dce
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            self._set_up()
        except (OSError, termios.error) as error:
            os.close(self._fd)
            raise OSError(f"{path} is no tty that can be used: {error}") from error
        self.has_circuits = self._modem_bits() is not None
        self._stream = FdStream(loop, self._fd, received=dce.received, drained=dce.writable, closed=self._gone)
        self._attached = True
        dce.attached(self)
        if self.has_circuits:
            self._report_dtr()
            threading.Thread(target=self._watch, name=f"circuits of {path}", daemon=True).start()
        self._stream.accept(True)

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        if self.has_circuits and self._stream.open:
            for bit, on in ((termios.TIOCM_DTR, dcd), (termios.TIOCM_RTS, cts)):
                fcntl.ioctl(self._fd, termios.TIOCMBIS if on else termios.TIOCMBIC, struct.pack("i", bit))

    def speed(self) -> int:
        return 115200

    def close(self) -> None:
        """Unplug it."""
        if self._attached:
            self._attached = False
            self._dce.detached()
            self._stream.close()

    def _set_up(self) -> None:
        tty.setraw(self._fd)
        attributes = termios.tcgetattr(self._fd)
        attributes[2] |= termios.CLOCAL | termios.CREAD
        attributes[4] = attributes[5] = _RATE
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def _modem_bits(self) -> int | None:
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCMGET, bytes(4)))[0])
        except OSError:
            return None

    def _report_dtr(self) -> None:
        bits = self._modem_bits() if self._stream.open else None
        if bits is not None:
            self._dce.dtr(bool(bits & _CARRIES))

    def _watch(self) -> None:
        # A descriptor of its own: the loop's may be closed and its number used again while this thread waits.
        fd = os.dup(self._fd)
        try:
            while self._attached:
                fcntl.ioctl(fd, _TIOCMIWAIT, _CARRIES)
                self._loop.call_soon_threadsafe(self._report_dtr)
        except (OSError, RuntimeError):
            # No such ioctl, the port is gone, or the loop is closed: nothing is left to watch.
            pass
        finally:
            os.close(fd)

    def _gone(self) -> None:
        self.close()
