"""One serial port on the loop: opening, modem lines, who else may have it.

pyserial opens and configures; from then on only its descriptor is used, because pyserial's own calls wait with
select().  Who else wants the port is kept out in three ways, since no two programs agree on one: the UUCP lock file,
flock, TIOCEXCL (not on ptys).

- After a loss the descriptor is closed at once: a modem that comes back while a dead descriptor is held gets another
  node.
- login(1) hangs its terminal up at its start, and the kernel does when a session leader on a real port ends: `on_lost`
  then says HUNG_UP though the call may go on, and `reopen` takes the place of `take_back`.
- Ptys and usbserial's generic driver have no modem lines.
- Only opening may wait for hardware, so it is done in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import struct
import termios
from collections.abc import Callable, Iterator
from functools import partial

from dialupd.config.values import Flow
from dialupd.io.lock import LOCK_DIRECTORY, LockHeldError, UucpLock
from dialupd.io.port import Lines, Lost, Port, PortError, PortFault
from dialupd.io.tty import (
    discard_output,
    make_ours,
    modem_bits,
    modem_lines,
    normal_discipline,
    open_tty,
    port_error,
    set_raw,
)

log = logging.getLogger(__name__)


class TtyPort(Port):
    """An open serial port; made by `open`, or by `adopt`."""

    def __init__(self, path: str, speed: int, flow: Flow, lock: UucpLock, fd: int) -> None:
        super().__init__(path, path)
        self._speed = speed
        self._flow = flow
        self._lock = lock
        self._carrier_counts = False
        self._adopt(fd)

    @classmethod
    async def open(
        cls, path: str, speed: int = 115200, flow: Flow = Flow.NONE, *, lock_directory: str = LOCK_DIRECTORY
    ) -> TtyPort:
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
    ) -> TtyPort:
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

    def flush_input(self) -> None:
        with self._faults():
            termios.tcflush(self.fileno(), termios.TCIFLUSH)

    def lines(self) -> Lines | None:
        if not self.has_lines:
            return None
        with self._faults():
            return modem_lines(self.fileno())

    def set_dtr(self, up: bool) -> None:
        fd = self.fileno()
        if self.has_lines:
            request = termios.TIOCMBIS if up else termios.TIOCMBIC
            with self._faults():
                fcntl.ioctl(fd, request, struct.pack("i", termios.TIOCM_DTR))

    def carrier_watch(self, on: bool) -> None:
        fd = self.fileno()
        with self._faults():
            attributes = termios.tcgetattr(fd)
            attributes[2] = attributes[2] & ~termios.CLOCAL if on else attributes[2] | termios.CLOCAL
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        self._carrier_counts = on

    def prepare_handover(self) -> None:
        """Let another program open the port by its path and read all that waits; the lock file and a watch stay."""
        fd = self.fileno()
        self.stop_reading()
        with self._faults():
            fcntl.ioctl(fd, termios.TIOCNXCL)
            fcntl.flock(fd, fcntl.LOCK_UN)
        self._carrier_counts = True  # the session may have it counted; pppd does

    def dup_fd(self) -> int:
        """Opened anew: a plain duplicate would share O_NONBLOCK with ours, and its holder could make our calls wait."""
        with self._faults():
            return os.open(f"/proc/self/fd/{self.fileno()}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def take_back(self, *, flush: bool = False) -> None:
        fd = self.fileno()
        with self._faults():
            normal_discipline(fd)
            make_ours(fd)
            set_raw(fd, self._speed, self._flow)
            if flush:
                termios.tcflush(fd, termios.TCIOFLUSH)
        self._carrier_counts = False

    # -- inside

    def _adopt(self, fd: int) -> None:
        self._carrier_counts = False
        try:
            modem_bits(fd)
            self.has_lines = True
        except OSError:
            self.has_lines = False
        super()._adopt(fd)

    async def _open_again(self) -> int:
        """The lock is kept; DTR has dropped by the closing."""
        return await _open_in_thread(self.path, self._speed, self._flow)

    def _put_away(self, fd: int, then: Callable[[], None] = lambda: None) -> None:
        with contextlib.suppress(OSError):  # a session, or systemd, may hold the port longer than we
            fcntl.flock(fd, fcntl.LOCK_UN)
            fcntl.ioctl(fd, termios.TIOCNXCL)
        if discard_output(fd):
            _close(fd, then)
        else:
            # The kernel may wait up to 30 s on the last close for output that the modem does not take.
            self._loop.run_in_executor(None, _close, fd, then)

    def _lose(self) -> None:
        if self._fd < 0:
            return
        lost = Lost.HUNG_UP if self._carrier_counts else Lost.GONE
        self._drop_fd()
        self._tell(lost)

    def _left(self) -> None:
        self._lock.release()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, termios.error) as error:  # termios.error is no OSError
            raise port_error(self.path, error.args[0] if error.args else 0, str(error)) from error


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
