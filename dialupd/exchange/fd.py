"""A byte stream on a non-blocking descriptor: what ptys, serial ports and programs have in common.

Reads only while it may; queues what the kernel does not take.  A pty whose other side is closed reads as EIO:
that is the end, as b"" is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

CHUNK = 16 * 1024
"""Bytes of one read; a pty gives 4 KiB at most."""
LOW = 4 * 1024
"""Bytes queued at which the writer may go on."""


class FdStream:
    """Owns the descriptor; every method but `close` is for the loop's thread while it is open."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        *,
        received: Callable[[bytes], None],
        drained: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._received = received
        self._drained = drained
        self._closed = closed
        self._queue = bytearray()
        self._writing = False
        self._reading = False
        os.set_blocking(fd, False)

    @property
    def open(self) -> bool:
        return self._fd >= 0

    def accept(self, more: bool) -> None:
        """Read, or leave what comes in the kernel's buffer."""
        if self._fd < 0 or more == self._reading:
            return
        self._reading = more
        if more:
            self._loop.add_reader(self._fd, self._on_readable)
        else:
            self._loop.remove_reader(self._fd)

    def send(self, data: bytes) -> None:
        """Write or queue."""
        if self._fd < 0:
            return
        if self._queue:
            self._queue += data
            return
        written = self._write(data)
        if written < len(data) and self._fd >= 0:
            self._queue += data[written:]
            self._writing = True
            self._loop.add_writer(self._fd, self._on_writable)

    def backlog(self) -> int:
        """Bytes queued here, those in the kernel not counted."""
        return len(self._queue)

    def close(self) -> None:
        """Lose what is queued; `closed` is not called."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._queue.clear()

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            # The other side is gone; the reader learns of it too, and says so once.
            return len(data)

    def _on_writable(self) -> None:
        # A slice, as a pty takes 4 KiB at a time and the queue is longer.
        del self._queue[: self._write(self._queue[:CHUNK])]
        if not self._queue:
            self._loop.remove_writer(self._fd)
        if len(self._queue) <= LOW:
            self._drained()

    def _on_readable(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self.close()
            self._closed()


class StreamWire:
    """What carriers (`port.Wire`) have in common whose bytes go by an `FdStream`; it has no circuits and no speed."""

    has_circuits = False
    _stream: FdStream

    def send(self, data: bytes) -> None:
        self._stream.send(data)

    def backlog(self) -> int:
        return self._stream.backlog()

    def accept(self, more: bool) -> None:
        self._stream.accept(more)

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        """There are none."""

    def speed(self) -> int:
        return 0
