"""The connected line: two pipes, each with a rate, a delay and a bounded buffer.

A pipe carries bytes from one `Tap` to the other.  It never drops one: above its mark it asks the source to
hold, and what the sink has no room for stays.  A source may overshoot by what it had in hand.  With a rate, a
chunk arrives when its last byte would; with a delay, that much later.  A pipe with nothing to carry has no
timer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from .timing import Scheduler, Timer

HIGH = 32 * 1024
"""Bytes in a pipe at which its source is asked to hold."""
LOW = 8 * 1024
"""Bytes at which it may go on."""
QUANTUM = 0.02
"""Seconds of line time in one chunk."""
DRAIN = 5.0
"""Seconds that the last bytes of a call may take when the sink does not read."""


class Tap(Protocol):
    """Who is at an end of the line."""

    def room(self) -> int:
        """Bytes that it can take now."""

    def take(self, data: bytes) -> None:
        """Bytes from the far end, no more than `room()`."""

    def hold(self, on: bool) -> None:
        """True: the line towards the far end is full; False: go on."""


class Pipe:
    """One direction."""

    def __init__(self, scheduler: Scheduler, source: Tap, sink: Tap, *, rate: float, delay: float) -> None:
        self._scheduler = scheduler
        self._source = source
        self._sink = sink
        self._rate = rate
        self._delay = delay
        self._waiting = bytearray()
        self._flying: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._free_at = 0.0
        self._timer: Timer | None = None
        self._patience: Timer | None = None
        self._held = False
        self._pumping = False
        self._open = True
        self._drained: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        """Bytes from the source."""
        if not self._open or self._drained is not None or not data:
            return
        if not self._waiting:
            self._free_at = max(self._free_at, self._scheduler.time())
        self._waiting += data
        self._size += len(data)
        self.pump()
        if self._size > HIGH and not self._held:
            self._held = True
            self._source.hold(True)

    def pump(self) -> None:
        """Move on what can move: called by the clock, and by the sink when it has room again."""
        if self._pumping or not self._open:
            return
        self._pumping = True
        try:
            now = self._scheduler.time()
            self._transmit(now)
            blocked = self._deliver(now)
        finally:
            self._pumping = False
        self._rearm(blocked=blocked)
        if self._held and self._size <= LOW:
            self._held = False
            self._source.hold(False)
        if self._drained is not None and not self._size:
            self._finish()

    def finish(self, drained: Callable[[], None]) -> None:
        """Nothing more will be written; `drained` is called when all has arrived or the sink waits too long."""
        self._drained = drained
        if not self._size:
            self._finish()
            return
        patience = DRAIN + self._delay + (len(self._waiting) / self._rate if self._rate else 0.0)
        self._patience = self._scheduler.call_later(patience, self._finish)

    def close(self) -> None:
        """What is on its way is lost."""
        self._open = False
        self._stop_timer()
        if self._patience is not None:
            self._patience.cancel()
        self._waiting.clear()
        self._flying.clear()
        self._size = 0

    def _finish(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and self._open:
            self.close()
            drained()

    def _transmit(self, now: float) -> None:
        if not self._rate:
            if self._waiting:
                self._flying.append((now + self._delay, bytes(self._waiting)))
                self._waiting.clear()
            return
        step = max(1, int(self._rate * QUANTUM))
        while self._waiting and self._free_at <= now:
            chunk = bytes(self._waiting[:step])
            del self._waiting[:step]
            self._free_at += len(chunk) / self._rate
            self._flying.append((self._free_at + self._delay, chunk))

    def _deliver(self, now: float) -> bool:
        """True: something is due and the sink has no room for it."""
        while self._flying and self._flying[0][0] <= now:
            room = self._sink.room()
            if room <= 0:
                return True
            due, chunk = self._flying.popleft()
            if len(chunk) > room:
                self._flying.appendleft((due, chunk[room:]))
                chunk = chunk[:room]
            self._size -= len(chunk)
            self._sink.take(chunk)
        return False

    def _rearm(self, *, blocked: bool) -> None:
        self._stop_timer()
        now = self._scheduler.time()
        due = [self._free_at] if self._waiting else []
        # Who is blocked is called by the sink when it has room: no timer for that.
        if self._flying and not blocked:
            due.append(self._flying[0][0])
        if due and self._open:
            self._timer = self._scheduler.call_later(max(0.0, min(due) - now), self.pump)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LineEnd:
    """One end of a connected line, for the `Tap` that is there."""

    def __init__(self, out: Pipe, inward: Pipe) -> None:
        self._out = out
        self._inward = inward

    def send(self, data: bytes) -> None:
        """Bytes for the far end; `Tap.hold` says when to pause."""
        self._out.write(data)

    def pump(self) -> None:
        """There is room again at this end."""
        self._inward.pump()


class Line:
    """Both directions between two taps."""

    def __init__(self, scheduler: Scheduler, one: Tap, other: Tap, *, rate: float, delay: float) -> None:
        forth = Pipe(scheduler, one, other, rate=rate, delay=delay)
        back = Pipe(scheduler, other, one, rate=rate, delay=delay)
        self._pipes = {id(one): (forth, back), id(other): (back, forth)}

    def end(self, tap: Tap) -> LineEnd:
        """The end of that tap."""
        return LineEnd(*self._pipes[id(tap)])

    def leave(self, tap: Tap, gone: Callable[[], None]) -> None:
        """That tap hangs up: what it sent still arrives, then `gone` is called; what was coming to it is lost."""
        out, inward = self._pipes[id(tap)]
        inward.close()
        out.finish(gone)

    def close(self) -> None:
        """The line is cut: everything on its way is lost."""
        for pipe in self._pipes[next(iter(self._pipes))]:
            pipe.close()
