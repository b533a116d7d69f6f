"""Joins the line to another descriptor, both ways, until one of them ends.

Each direction is a pump with a bounded buffer: a sink that takes nothing stops the reading of its source, so the kernel
and then the modem's flow control hold the sender back.  Nothing is looked for in the data but the text NO CARRIER, and
that only on ports that cannot show loss of carrier otherwise: it counts as the end only if the line then stays silent,
because a caller may type the same text.

The end of one side is not the end at once: what was read from it is still delivered, as long as the other side takes
it.  After the end of `other` the kernel's and the driver's output is waited for too, or hanging up would cut
the last words.

The relay owns both descriptors and closes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import select
from array import array
from collections.abc import Callable, MutableSequence
from enum import Enum
from typing import Final

from dialupd.sessions.base import Line
from dialupd.sessions.output import STALL, output_sent

_log = logging.getLogger(__name__)

CARRIER_LOST_TEXT: Final = b"\r\nNO CARRIER\r\n"
# Seconds of silence that tell the modem's last word from the same text within data.
SILENCE: Final = 0.5
# To the line little is held, or a keystroke waits behind a minute of output; from it a whole burst fits.
TO_LINE: Final = 4096
FROM_LINE: Final = 16384
# What a pseudo-terminal can hold at most; more would come from a program that still writes.
TERMINAL_HOLDS: Final = 65536


class Closed(Enum):
    """Which side ended the relay."""

    LINE = "line"
    OTHER = "other"
    STOPPED = "stopped"


class CarrierText:
    """Watches a stream for the modem's NO CARRIER at its very end."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> bool:
        """Whether the stream ends with the text now."""
        self._tail = (self._tail + data)[-len(CARRIER_LOST_TEXT) :]
        return self._tail == CARRIER_LOST_TEXT


class Relay:
    """One use of `run`; `rx` counts bytes taken from the line, `tx` bytes given to it."""

    def __init__(
        self,
        line: int,
        other: int,
        *,
        early: bytes = b"",
        watch_text: bool = False,
        tally: MutableSequence[int] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tally: MutableSequence[int] = array("Q", (0, 0)) if tally is None else tally
        self._before = self._tally[0], self._tally[1]
        self._line = line
        self._other = other
        for fd in (line, other):
            os.set_blocking(fd, False)
        self._done: asyncio.Future[Closed] = self._loop.create_future()
        self._from_line = _Pump(line, other, FROM_LINE, self._count, lambda: self._ended(Closed.LINE))
        self._to_line = _Pump(other, line, TO_LINE, self._count, lambda: self._ended(Closed.OTHER))
        self._text = CarrierText() if watch_text else None
        self._timer: asyncio.TimerHandle | None = None
        self._hangup = select.epoll()
        self._early = early
        self._on_output: Callable[[bytes], None] | None = None
        self._closed = False
        self._stop = asyncio.Event()

    @classmethod
    def of(cls, line: Line, other: int) -> Relay:
        """The relay between a lent line and `other`, which is closed where the line is lost already (`LINE_LOST`)."""
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, other)
            fd = line.dup()
            opened.callback(os.close, fd)
            relay = cls(fd, other, early=line.early, watch_text=not line.shows_carrier, tally=line.tally)
            opened.pop_all()
        return relay

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def rx(self) -> int:
        return self._from_line.taken

    @property
    def tx(self) -> int:
        return self._to_line.given

    @property
    def counts(self) -> tuple[int, int]:
        return self.rx, self.tx

    async def run(self) -> Closed:
        """Until one side has ended and its last bytes are delivered; both descriptors are closed then."""
        try:
            self._watch_hangup()
            self._from_line.start(self._early, self._heard)
            self._to_line.start(on_data=self._on_output)
            closed = await self._done
            if closed is Closed.OTHER:
                await output_sent(self._line, self._stop)
            return closed
        finally:
            self.close()

    def close(self) -> None:
        """Both descriptors; needed by whoever made a relay that may never have run."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._from_line.close()
        self._to_line.close()
        self._loop.remove_reader(self._hangup.fileno())
        self._hangup.close()
        os.close(self._line)
        os.close(self._other)

    def hold(self, returned: bytes = b"") -> None:
        """Give `other` nothing more until `release`; `returned` is what it got and did not use."""
        self._from_line.hold(returned)

    def release(self) -> None:
        """Give `other` what was held, and all that comes."""
        self._from_line.release()

    def on_output(self, told: Callable[[bytes], None]) -> None:
        """Have `told` what comes from `other`; to be said before `run`."""
        self._on_output = told

    def stop(self) -> None:
        """End now; what is buffered is lost."""
        self._stop.set()
        if not self._done.done():
            self._done.set_result(Closed.STOPPED)

    def other_ended(self) -> None:
        """Take `other` for ended as soon as nothing is left in it: a terminal whose program is gone, yet which a
        background process holds open."""
        self._to_line.last_read()

    def _count(self) -> None:
        self._tally[0] = self._before[0] + self._from_line.taken
        self._tally[1] = self._before[1] + self._to_line.given

    def _ended(self, side: Closed) -> None:
        if not self._done.done():
            self._done.set_result(side)

    def _heard(self, data: bytes) -> None:
        if self._text is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._text.feed(data):
            self._timer = self._loop.call_later(SILENCE, self._silent)

    def _silent(self) -> None:
        if self._from_line.paused and _readable(self._line):  # not silence: nobody listens
            self._timer = self._loop.call_later(SILENCE, self._silent)
            return
        _log.debug("the line said NO CARRIER and then nothing")
        self._from_line.end()

    def _watch_hangup(self) -> None:
        # A paused pump does not read and so would not learn that its source is gone: an epoll still reports that,
        # without being asked to, and is itself readable then.
        for fd, events in ((self._line, 0), (self._other, select.EPOLLRDHUP)):
            with contextlib.suppress(PermissionError):  # not a kind of file that can be waited for
                self._hangup.register(fd, events)
        self._loop.add_reader(self._hangup.fileno(), self._hung_up)

    def _hung_up(self) -> None:
        for fd, _ in self._hangup.poll(0):
            self._hangup.unregister(fd)
            (self._from_line if fd == self._line else self._to_line).source_gone()


class _Pump:
    """One direction.  `on_end` is called once: the source ended and all of it is delivered, or cannot be."""

    def __init__(
        self, source: int, sink: int, limit: int, on_count: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        self.taken = 0
        self.given = 0
        self.paused = False
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
        self._buffer[:0] = returned
        self._write(False)

    def release(self) -> None:
        if self._held:
            self._held = False
            self._flush()

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
        self._source_ended = True
        self._read(False)
        self._write(False)
        if self._stall is not None:
            self._stall.cancel()

    def _readable(self) -> None:
        while not self._source_ended and len(self._buffer) < self._limit:
            try:
                data = os.read(self._source, self._limit - len(self._buffer))
            except BlockingIOError:
                if self._last_read:
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
        self.paused = len(self._buffer) >= self._limit
        self._read(not self.paused and not self._source_ended)
        if self._stall is not None and len(self._buffer) < before:
            self._stall.cancel()
            self._stall = None
        if self._last_read and not self._source_ended and before and not self.paused:
            self._loop.call_soon(self._readable)
        if self._buffer and (self._source_ended or self._source_gone):
            self._wait_for_progress()
        elif self._source_ended:
            self._on_end()

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


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
