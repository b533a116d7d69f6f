"""One direction of a relay: what one descriptor gives, another gets, through a bounded buffer.

A sink that takes nothing stops the reading of its source, so the kernel and then the modem's flow control hold the
sender back.  The end of the source is not the end at once: what was read from it is still delivered, as long as the
sink takes it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import Final

from dialupd.io.port import hung_up
from dialupd.sessions.output import STALL

_log = logging.getLogger(__name__)

# What a pseudo-terminal can hold at most; more would come from a program that still writes.
TERMINAL_HOLDS: Final = 65536


class Pump:
    """One direction.  `on_end` is called once: the source ended and all of it is delivered, or cannot be."""

    def __init__(
        self, source: int, sink: int, limit: int, on_count: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        self.taken = 0
        self.given = 0
        self.paused = False
        self.translate: Callable[[bytes], bytes] | None = None
        self._choked = False
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._sink = sink
        self._limit = limit
        self._on_count = on_count
        self._on_end = on_end
        self._on_data: Callable[[bytes], None] | None = None
        self._buffer = bytearray()
        self._held = False
        self._reading = False
        self._writing = False
        self._source_ended = False
        self._sink_lost = False
        self._source_gone = False
        self._last_read = False
        self._last_bytes = TERMINAL_HOLDS
        self._stall: asyncio.TimerHandle | None = None

    def start(self, early: bytes = b"", on_data: Callable[[bytes], None] | None = None) -> None:
        self._on_data = on_data
        self._read(True)
        if early:
            self._take(early)

    def hold(self, returned: bytes) -> None:
        self._held = True
        if not self._sink_lost:
            self._buffer[:0] = returned
        self._write(False)

    def release(self) -> None:
        if self._held:
            self._held = False
            self._flush()

    @property
    def waiting(self) -> int:
        """Bytes that the sink has not taken."""
        return len(self._buffer)

    def add(self, data: bytes) -> None:
        """Give the sink what does not come from the source, behind what came from it."""
        if not self._sink_lost:
            self._buffer += data
        self._flush()

    def choke(self, on: bool) -> None:
        """Read nothing from the source meanwhile."""
        if on != self._choked:
            self._choked = on
            self._resume()

    def last_read(self) -> None:
        """Nothing more will be written to the source; end when it is empty."""
        if self._source_ended:
            return
        self._last_read = True
        self.source_gone()
        self._readable()

    def source_gone(self) -> None:
        """The source ends soon: what is undelivered gets only so long as the sink still takes it."""
        self._source_gone = True
        if self._buffer:
            self._wait_for_progress()

    def end(self) -> None:
        """Take the source for ended."""
        if not self._source_ended:
            self._source_ended = True
            self._read(False)
            self._flush()

    def close(self) -> None:
        """Neither descriptor is touched any more: their numbers may soon be others'."""
        self._source_ended = self._sink_lost = True
        self._buffer.clear()
        self._read(False)
        self._write(False)
        if self._stall is not None:
            self._stall.cancel()

    def _readable(self) -> None:
        while not self._source_ended and not self._choked and len(self._buffer) < self._limit:
            try:
                data = os.read(self._source, self._limit - len(self._buffer))
            except BlockingIOError:
                if self._last_read or hung_up(self._source):
                    self.end()
                return
            except OSError as error:  # EIO: hung up; ECONNRESET and the like: the service is gone
                if error.errno != errno.EIO:
                    _log.debug("reading ended: %s", error)
                data = b""
            if not data:
                self.end()
                return
            self._take(data)
            if not self._last_read:
                return
            self._last_bytes -= len(data)
            if self._last_bytes <= 0:
                self.end()

    def _take(self, data: bytes) -> None:
        self.taken += len(data)
        if self._on_data is not None:
            self._on_data(data)
        if self.translate is not None:
            data = self.translate(data)
        if not self._sink_lost:
            self._buffer += data
        self._flush()

    def _flush(self) -> None:
        before = len(self._buffer)
        try:
            while self._buffer and not self._held:
                count = os.write(self._sink, self._buffer)
                self.given += count
                del self._buffer[:count]
        except BlockingIOError:
            pass
        except OSError as error:  # its own pump learns from reading that it ended
            _log.debug("writing ended: %s", error)
            self._sink_lost = True
            self._buffer.clear()
        self._on_count()
        self._write(bool(self._buffer) and not self._held)
        self._resume()
        if self._stall is not None and len(self._buffer) < before:
            self._stall.cancel()
            self._stall = None
        if self._last_read and not self._source_ended and before and not self.paused:
            self._loop.call_soon(self._readable)
        if self._buffer and (self._source_ended or self._source_gone):
            self._wait_for_progress()
        elif self._source_ended:
            self._on_end()

    def _resume(self) -> None:
        self.paused = self._choked or len(self._buffer) >= self._limit
        self._read(not self.paused and not self._source_ended)

    def _wait_for_progress(self) -> None:
        if self._stall is None:
            self._stall = self._loop.call_later(STALL, self._on_end)

    def _read(self, on: bool) -> None:
        if on != self._reading:
            self._reading = on
            if on:
                self._loop.add_reader(self._source, self._readable)
            else:
                self._loop.remove_reader(self._source)

    def _write(self, on: bool) -> None:
        if on != self._writing:
            self._writing = on
            if on:
                self._loop.add_writer(self._sink, self._flush)
            else:
                self._loop.remove_writer(self._sink)
