"""Joins the line to another descriptor, both ways, until one of them ends.

Each direction is a `Pump`.  Nothing is looked for in the data but the text NO CARRIER, and that only on ports that
cannot show loss of carrier otherwise: it counts as the end only if the line then stays silent, because a caller may
type the same text.  Where `other` speaks a protocol of its own, a `Translation` stands between; if `other` does not
take its answers, it is not read from.

The end of one side is not the end at once: what was read from it is still delivered, as long as the other side takes
it.  After the end of `other` the kernel's and the driver's output is waited for too, or hanging up would cut
the last words; after the end of the line a service has all of it before its connection is closed.

The relay owns both descriptors and closes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
from array import array
from collections.abc import Callable, MutableSequence
from enum import Enum
from typing import Final, Protocol

from dialupd.sessions.base import Line
from dialupd.sessions.output import closed_in_order, output_sent
from dialupd.sessions.pump import Pump

_log = logging.getLogger(__name__)

CARRIER_LOST_TEXT: Final = b"\r\nNO CARRIER\r\n"
# Seconds of silence that tell the modem's last word from the same text within data.
SILENCE: Final = 0.5
# To the line little is held, or a keystroke waits behind a minute of output; from it a whole burst fits.
TO_LINE: Final = 4096
FROM_LINE: Final = 16384
# Bytes for `other` at which it is read no more while its answers are translated into them.
ANSWERS: Final = 2 * FROM_LINE


class Closed(Enum):
    """Which side ended the relay."""

    LINE = "line"
    OTHER = "other"
    STOPPED = "stopped"


class Translation(Protocol):
    """Between the line's plain bytes and the protocol of `other`."""

    def sent(self, data: bytes) -> bytes:
        """The line's bytes as `other` is to get them."""

    def received(self, data: bytes) -> tuple[bytes, bytes]:
        """What `other` said, for the line, and what it is to be answered."""


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
        translation: Translation | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tally: MutableSequence[int] = array("Q", (0, 0)) if tally is None else tally
        self._before = self._tally[0], self._tally[1]
        self._line = line
        self._other = other
        for fd in (line, other):
            os.set_blocking(fd, False)
        self._done: asyncio.Future[Closed] = self._loop.create_future()
        self._from_line = Pump(line, other, FROM_LINE, self._count, lambda: self._ended(Closed.LINE))
        self._to_line = Pump(other, line, TO_LINE, self._count, lambda: self._ended(Closed.OTHER))
        if translation is not None:
            self._from_line.translate = translation.sent
            self._to_line.translate = self._understand
        self._translation = translation
        self._text = CarrierText() if watch_text else None
        self._timer: asyncio.TimerHandle | None = None
        self._hangup = select.epoll()
        self._early = early
        self._on_output: Callable[[bytes], None] | None = None
        self._closed = False
        self._stop = asyncio.Event()

    @classmethod
    def of(cls, line: Line, other: int, translation: Translation | None = None) -> Relay:
        """The relay between a lent line and `other`, which is closed where the line is lost already (`LINE_LOST`)."""
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, other)
            fd = line.dup()
            opened.callback(os.close, fd)
            relay = cls(
                fd,
                other,
                early=line.early,
                watch_text=not line.shows_carrier,
                tally=line.tally,
                translation=translation,
            )
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
            elif closed is Closed.LINE:
                self._to_line.close()
                await closed_in_order(self._other, self._stop)
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
        if self._translation is not None:
            self._to_line.choke(self._from_line.waiting > ANSWERS)

    def _understand(self, data: bytes) -> bytes:
        assert self._translation is not None
        text, answers = self._translation.received(data)
        if answers:
            self._from_line.add(answers)
        return text

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


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
