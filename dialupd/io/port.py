"""One serial port on the loop: open, read, write, modem lines, hand-over to a session, loss.

pyserial opens and configures; from then on only its descriptor is used, with `os.read` and `os.write`, because
pyserial's own calls wait with select().  Who else wants the port is kept out in three ways, since no two programs
agree on one: the UUCP lock file, flock, TIOCEXCL (not on ptys).

- `start_reading` gives what arrives to a callback, `chunk` bytes at most at a time.  With `chunk = 1` whatever follows
  the byte at which the callback stops reading stays in the kernel, so that a session finds the whole of it.
- `on_lost` is called once when the port is gone or the kernel has hung it up, whether we read or not.  The descriptor
  is closed by then: a modem that comes back while a dead descriptor is held gets another node.
- A port without modem lines (a pty, usbserial's generic driver) is a port like any other: `lines()` gives None.
- For a session: `prepare_handover`, then it opens the node itself or gets `dup_fd`; after it, `take_back`.  login(1)
  hangs its terminal up at its start, and the kernel does when a session leader on a real port ends: `on_lost` then
  says HUNG_UP though the call may go on, and `reopen` takes the place of `take_back`.
- Only opening may wait for hardware, so it is done in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import select
import struct
import termios
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial

from dialupd.config.values import Flow
from dialupd.io.lock import LOCK_DIRECTORY, LockHeldError, UucpLock
from dialupd.io.tty import (
    UNSUPPORTED,
    Lines,
    PortError,
    PortFault,
    discard_output,
    make_ours,
    modem_bits,
    normal_discipline,
    open_tty,
    port_error,
    set_raw,
)

log = logging.getLogger(__name__)

__all__ = ["READ_BYTES", "Flow", "Lines", "Lost", "Port", "PortError", "PortFault"]

# Read at most this much at a time when nobody asked for less; the kernel's own buffer is as large.
READ_BYTES = 4096

# A session that writes beyond this without waiting has lost its measure.
WRITE_LIMIT = 256 * 1024

# struct serial_icounter_struct <linux/serial.h>: 20 ints, the third counts RI.
ICOUNT_BYTES = 80
RING_OFFSET = 8


class Lost(StrEnum):
    """Why a port ended: unplugged; or hung up, by carrier or by unplugging, which `reopen` will tell."""

    GONE = "gone"
    HUNG_UP = "hung-up"


class Port:
    """An open port; made by `open`."""

    def __init__(self, path: str, speed: int, flow: Flow, lock: UucpLock, fd: int) -> None:
        self.path = path
        self.speed = speed
        self.flow = flow
        self.chunk = READ_BYTES
        self.on_lost: Callable[[Lost], None] | None = None
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._watch = select.epoll()
        self._reader: Callable[[bytes], None] | None = None
        self._out = bytearray()
        self._drained: asyncio.Event = asyncio.Event()
        self._closed = False
        self._carrier_counts = False
        self.has_lines = False
        self._adopt(fd)

    @classmethod
    async def open(
        cls, path: str, speed: int = 115200, flow: Flow = Flow.NONE, *, lock_directory: str = LOCK_DIRECTORY
    ) -> Port:
        """Lock, open and set the port to raw 8N1 with DTR up; raises PortError."""
        try:
            lock = UucpLock.take(path, lock_directory)
        except LockHeldError as error:
            raise PortError(PortFault.LOCKED, f"{path}: {error}; end that program") from None
        try:
            return cls(path, speed, flow, lock, await _open_in_thread(path, speed, flow))
        except BaseException:
            lock.release()
            raise

    @classmethod
    def adopt(
        cls,
        path: str,
        speed: int,
        flow: Flow,
        fd: int,
        *,
        carrier_counts: bool,
        lock_directory: str = LOCK_DIRECTORY,
    ) -> Port:
        """A port that was kept open over a restart of the daemon, lent to a session; settings are left as they are."""
        try:
            lock = UucpLock.take(path, lock_directory)
        except LockHeldError as error:
            log.warning("%s: %s; it is ours nevertheless, with a call on it", path, error)
            lock = UucpLock(None)
        os.set_blocking(fd, False)
        port = cls(path, speed, flow, lock, fd)
        port._carrier_counts = carrier_counts
        return port

    def leave(self) -> None:
        """Forget the port without a trace on the line: another descriptor of it is kept elsewhere."""
        if self._closed:
            return
        self._closed = True
        if self._fd >= 0:
            os.close(self._forget_fd())
        self._lock.release()
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()

    async def reopen(self) -> None:
        """Open again after a loss or for a fresh start; the lock is kept, reading is stopped, DTR drops between."""
        if self._closed:
            raise PortError(PortFault.GONE, f"{self.path} is closed")
        self._drop_fd()
        fd = await _open_in_thread(self.path, self.speed, self.flow)
        if self._closed:
            os.close(fd)
            raise PortError(PortFault.GONE, f"{self.path} was closed while it was being opened")
        self._adopt(fd)

    def close(self) -> None:
        """Stop everything, drop DTR, free the lock; as often as you like."""
        if self._closed:
            return
        self._closed = True
        self._drop_fd(self._lock.release)
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def fileno(self) -> int:
        """The descriptor; raises PortError when there is none."""
        if self._fd < 0:
            raise PortError(PortFault.GONE, f"{self.path} is not open")
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
            raise PortError(PortFault.IO, f"{self.path} has not taken {len(self._out)} bytes: flow control is stuck")
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
                PortFault.IO, f"{self.path} took nothing for {within} s: flow control is stuck or the modem hangs"
            ) from None
        self.fileno()

    def flush_input(self) -> None:
        """Throw away what has arrived and was not read."""
        with self._faults():
            termios.tcflush(self.fileno(), termios.TCIFLUSH)

    # -- modem lines

    def lines(self) -> Lines | None:
        """The modem's circuits, None where the port has none; raises PortError when the port is gone."""
        if not self.has_lines:
            return None
        with self._faults():
            bits = modem_bits(self.fileno())
        return Lines.from_bits(bits)

    def set_dtr(self, up: bool) -> None:
        """Raise or drop DTR; does nothing where the port has no lines."""
        fd = self.fileno()
        if self.has_lines:
            request = termios.TIOCMBIS if up else termios.TIOCMBIC
            with self._faults():
                fcntl.ioctl(fd, request, struct.pack("i", termios.TIOCM_DTR))

    def ring_count(self) -> int | None:
        """How often RI has come since the driver began, None where it does not count."""
        try:
            counts = fcntl.ioctl(self.fileno(), termios.TIOCGICOUNT, bytes(ICOUNT_BYTES))
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return None
            raise self._fault(error) from error
        return int(struct.unpack_from("i", counts, RING_OFFSET)[0])

    def carrier_watch(self, on: bool) -> None:
        """Let the kernel hang the port up when carrier goes (`on_lost` then says so; `reopen` follows), or not."""
        fd = self.fileno()
        with self._faults():
            attributes = termios.tcgetattr(fd)
            attributes[2] = attributes[2] & ~termios.CLOCAL if on else attributes[2] | termios.CLOCAL
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        self._carrier_counts = on

    # -- hand-over to a session

    def prepare_handover(self) -> None:
        """Let another program open the port by its path and read all that waits; the lock file and a watch stay."""
        fd = self.fileno()
        self.stop_reading()
        with self._faults():
            fcntl.ioctl(fd, termios.TIOCNXCL)
            fcntl.flock(fd, fcntl.LOCK_UN)
        self._carrier_counts = True  # the session may have it counted; pppd does

    def dup_fd(self) -> int:
        """A descriptor for a child or a client, opened anew and blocking, between `prepare_handover` and `take_back`.

        A plain duplicate would share O_NONBLOCK with ours, and its holder could make our own calls wait.
        """
        with self._faults():
            fd = os.open(f"/proc/self/fd/{self.fileno()}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(fd, True)
        return fd

    def take_back(self, *, flush: bool = False) -> None:
        """Make the port ours again as at the start, whatever the session did to it; reading is not started."""
        fd = self.fileno()
        with self._faults():
            normal_discipline(fd)
            make_ours(fd)
            set_raw(fd, self.speed, self.flow)
            if flush:
                termios.tcflush(fd, termios.TCIOFLUSH)
        self._carrier_counts = False

    # -- inside

    def _adopt(self, fd: int) -> None:
        self._fd = fd
        self._out.clear()
        self._drained.set()
        self._carrier_counts = False
        try:
            modem_bits(fd)
            self.has_lines = True
        except OSError:
            self.has_lines = False
        self._loop.add_reader(self._watch.fileno(), self._watched)
        self._watch_fd()

    def _watch_fd(self) -> None:
        # A hang-up wakes with EPOLLIN only; the edge keeps a session's data from waking us for each look.
        self._watch.register(self._fd, select.EPOLLIN | select.EPOLLET)

    def _watched(self) -> None:
        for _, events in self._watch.poll(0):
            if events & (select.EPOLLHUP | select.EPOLLERR):
                self._lose()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, self.chunk)
        except BlockingIOError:
            return
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

    def _lose(self) -> None:
        if self._fd < 0:
            return
        reason = Lost.HUNG_UP if self._carrier_counts else Lost.GONE
        self._drop_fd()
        if self.on_lost is not None:
            self.on_lost(reason)

    def _drop_fd(self, then: Callable[[], None] = lambda: None) -> None:
        """Close the descriptor, then call `then`; whoever waits for `drain` goes on."""
        if self._fd < 0:
            then()
            return
        fd = self._forget_fd()
        with contextlib.suppress(OSError):  # a session, or systemd, may hold the port longer than we
            fcntl.flock(fd, fcntl.LOCK_UN)
            fcntl.ioctl(fd, termios.TIOCNXCL)
        if discard_output(fd):
            _close(fd, then)
        else:
            # The kernel may wait up to 30 s on the last close for output that the modem does not take.
            self._loop.run_in_executor(None, _close, fd, then)

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

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, termios.error) as error:  # termios.error is no OSError
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> PortError:
        return port_error(self.path, error.args[0] if error.args else 0, str(error))


async def _open_in_thread(path: str, speed: int, flow: Flow) -> int:
    """Open without waiting on the loop; when cancelled, what is opened later is closed again."""
    opening = asyncio.get_running_loop().run_in_executor(None, partial(open_tty, path, speed, flow))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_opened)
        raise


def _close_opened(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _close(fd: int, then: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
    then()
