"""A line to a modem, on the loop: read, write, hand-over to a session, loss.

What all lines have in common is here; `TtyPort` is a serial port, `RadioPort` a Bluetooth link.  Only the descriptor is
used, with `os.read` and `os.write`.

- `start_reading` gives what arrives to a callback, `chunk` bytes at most at a time.  With `chunk = 1` whatever follows
  the byte at which the callback stops reading stays in the kernel, so that a session finds the whole of it.
- `on_lost` is called once when the line is gone or was hung up, whether we read or not.  The descriptor is closed by
  then.
- A port without modem lines is a port like any other: `lines()` gives None.
- For a session: `prepare_handover`, then it opens the node itself or gets `dup_fd`; after it, `take_back`.
"""

from __future__ import annotations

import asyncio
import os
import select
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

# Read at most this much at a time when nobody asked for less; the kernel's own buffer is as large.
READ_BYTES = 4096

# A session that writes beyond this without waiting has lost its measure.
WRITE_LIMIT = 256 * 1024


class PortFault(StrEnum):
    LOCKED = "locked"
    BUSY = "busy"
    GONE = "gone"
    DENIED = "denied"
    NOT_A_TTY = "not-a-tty"
    UNREACHABLE = "unreachable"  # there is no radio link to the phone
    IO = "io"


class PortError(Exception):
    """The port cannot do it: what for programs, and the place and the mend for a person."""

    def __init__(self, reason: PortFault, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Lost(StrEnum):
    """Why a port ended.

    Of a serial port: unplugged; or hung up, by carrier or by unplugging, which `reopen` will tell.  Of a Bluetooth
    link: out of reach; or hung up by the phone.
    """

    GONE = "gone"
    HUNG_UP = "hung-up"


@dataclass(frozen=True, slots=True)
class Lines:
    """The modem's output circuits."""

    dcd: bool
    dsr: bool
    cts: bool
    ri: bool


class Port(ABC):
    """An open line.  `path` names the device for programs, `label` in sentences for a person."""

    closing_hangs_up: ClassVar[bool] = False
    """To close the line ends the call on it, and nothing else need be done for that."""

    def __init__(self, path: str, label: str) -> None:
        self.path = path
        self.chunk = READ_BYTES
        self.on_lost: Callable[[Lost], None] | None = None
        self.has_lines = False
        self._label = label
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._watch = select.epoll()
        self._reader: Callable[[bytes], None] | None = None
        self._out = bytearray()
        self._drained: asyncio.Event = asyncio.Event()
        self._closed = False

    def leave(self) -> None:
        """Forget the port without a trace on the line: another descriptor of it is kept elsewhere."""
        if self._closed:
            return
        self._closed = True
        if self._fd >= 0:
            os.close(self._forget_fd())
        self._left()
        self._end_watch()

    async def reopen(self) -> None:
        """Open again after a loss or for a fresh start; reading is stopped.  PortError when that cannot be."""
        if self._closed:
            raise PortError(PortFault.GONE, f"{self._label} is closed")
        self._drop_fd()
        fd = await self._open_again()
        if self._closed:
            self._put_away(fd)
            raise PortError(PortFault.GONE, f"{self._label} was closed while it was being opened")
        self._adopt(fd)

    def close(self) -> None:
        """Stop everything and let go of the line; as often as you like."""
        if self._closed:
            return
        self._closed = True
        if self._fd >= 0:
            self._put_away(self._forget_fd(), self._left)
        else:
            self._left()
        self._end_watch()

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def fileno(self) -> int:
        """The descriptor; raises PortError when there is none."""
        if self._fd < 0:
            raise PortError(PortFault.GONE, f"{self._label} is not open")
        return self._fd

    # -- reading and writing

    def start_reading(self, callback: Callable[[bytes], None], chunk: int = READ_BYTES) -> None:
        """Give what arrives to `callback`, `chunk` bytes at most at a time."""
        fd = self.fileno()
        self.chunk = chunk
        if self._reader is None:
            # Reading itself sees the end, and after the last byte; the watch would see it before.
            self._watch.unregister(fd)
        self._reader = callback
        self._loop.add_reader(fd, self._readable)

    def stop_reading(self) -> None:
        """Leave what arrives in the kernel; a loss is still seen."""
        if self._reader is None or self._fd < 0:
            return
        self._reader = None
        self._loop.remove_reader(self._fd)
        self._watch_fd()

    def write(self, data: bytes) -> None:
        """Send, or keep what the kernel does not take yet; raises PortError when closed or far behind."""
        fd = self.fileno()
        if len(self._out) + len(data) > WRITE_LIMIT:
            raise PortError(PortFault.IO, f"{self._label} has not taken {len(self._out)} bytes: flow control is stuck")
        idle = not self._out
        self._out += data
        if not idle:
            return
        self._drained.clear()
        self._writable()
        if self._out:
            self._loop.add_writer(fd, self._writable)

    async def drain(self, within: float | None = None) -> None:
        """Wait until the kernel has taken everything; raises PortError when it does not, or the port ends.

        The driver may still hold a little: no event tells when the last byte is on the wire.
        """
        try:
            async with asyncio.timeout(within):
                await self._drained.wait()
        except TimeoutError:
            raise PortError(
                PortFault.IO, f"{self._label} took nothing for {within} s: flow control is stuck or the modem hangs"
            ) from None
        self.fileno()

    @abstractmethod
    def flush_input(self) -> None:
        """Throw away what has arrived and was not read."""

    # -- modem lines

    @abstractmethod
    def lines(self) -> Lines | None:
        """The modem's circuits, None where the port has none; raises PortError when the port is gone."""

    @abstractmethod
    def set_dtr(self, up: bool) -> None:
        """Raise or drop DTR; does nothing where the port has no lines."""

    @abstractmethod
    def carrier_watch(self, on: bool) -> None:
        """Let the kernel hang the port up when carrier goes (`on_lost` then says so; `reopen` follows), or not."""

    # -- hand-over to a session

    @abstractmethod
    def prepare_handover(self) -> None:
        """Stop reading and let a session have the line, with all that waits in it; a watch stays."""

    @abstractmethod
    def dup_fd(self) -> int:
        """A non-blocking descriptor for a session, between `prepare_handover` and `take_back`; the taker closes it."""

    @abstractmethod
    def take_back(self, *, flush: bool = False) -> None:
        """Make the port ours again as at the start, whatever the session did to it; reading is not started."""

    # -- what the kinds differ in

    @abstractmethod
    async def _open_again(self) -> int:
        """A new descriptor, ready for `_adopt`; PortError.  What is cancelled leaves nothing open."""

    @abstractmethod
    def _put_away(self, fd: int, then: Callable[[], None] = lambda: None) -> None:
        """Close the descriptor, without waiting on the loop, then call `then`."""

    @abstractmethod
    def _lose(self) -> None:
        """The line has ended: drop it and see that `on_lost` is told; does nothing when there is none."""

    @abstractmethod
    def _left(self) -> None:
        """The port is closed or left: let go of all else that it has."""

    # -- inside

    def _adopt(self, fd: int) -> None:
        self._fd = fd
        self._out.clear()
        self._drained.set()
        self._loop.add_reader(self._watch.fileno(), self._watched)
        self._watch_fd()

    def _tell(self, lost: Lost) -> None:
        if self.on_lost is not None:
            self.on_lost(lost)

    def _watch_fd(self) -> None:
        # A hang-up wakes with EPOLLIN only; the edge keeps a session's data from waking us for each look.
        self._watch.register(self._fd, select.EPOLLIN | select.EPOLLET)

    def _watched(self) -> None:
        for _, events in self._watch.poll(0):
            if events & (select.EPOLLHUP | select.EPOLLERR):
                self._lose()

    def _end_watch(self) -> None:
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, self.chunk)
        except BlockingIOError:
            if not hung_up(self._fd):
                return
            data = b""
        except OSError:  # EIO and its kin: hung up
            data = b""
        if not data:
            self._lose()
        elif self._reader is not None:
            self._reader(data)

    def _writable(self) -> None:
        try:
            del self._out[: os.write(self._fd, self._out)]
        except BlockingIOError:
            return
        except OSError:
            # Reading or the watch may not have told yet, and the caller must not find itself called back.
            self._out.clear()
            self._loop.call_soon(self._lose_if, self._fd)
        if not self._out:
            self._loop.remove_writer(self._fd)
            self._drained.set()

    def _lose_if(self, fd: int) -> None:
        if fd == self._fd:
            self._lose()

    def _drop_fd(self) -> None:
        """Close the descriptor; whoever waits for `drain` goes on."""
        if self._fd >= 0:
            self._put_away(self._forget_fd())

    def _forget_fd(self) -> int:
        """Watch it no longer; it is the caller's to close."""
        fd, self._fd = self._fd, -1
        if self._reader is None:
            self._watch.unregister(fd)
        self._reader = None
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._out.clear()
        self._drained.set()
        return fd


def hung_up(fd: int) -> bool:
    """Has the line ended, though reading says that there is nothing just now?

    An RFCOMM socket tells its end by an error, and that to one reader alone; whoever else holds it reads "nothing yet"
    for ever and would be woken for ever.
    """
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
