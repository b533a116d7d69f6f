"""A number that runs a program: the far end of a real call, such as pppd behind *99#.

Each call gets a pty and a process of its own, in a session of its own whose terminal the pty is (pppd without a
device takes it). The pty is raw: the line is the program's to set.  When the program ends, what it has written
still arrives and the line goes down; when the caller hangs up, the program gets SIGHUP from the pty, and
SIGKILL after `GRACE`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tty
from collections.abc import Callable, Sequence

from .call import Call, Party, Tone
from .carriers import DIGITAL, Ability, Agreed
from .fd import FdStream
from .line import LineEnd
from .stations import Answering
from .timing import Timing

log = logging.getLogger("dialupd.exchange")

GRACE = 5.0
"""Seconds that a program has to end after SIGHUP."""
MARK = 16 * 1024
"""Bytes queued towards a program at which no more is taken from the line."""


class Service:
    """The station; any number of calls at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timing: Timing, argv: Sequence[str]) -> None:
        self._loop = loop
        self._timing = timing
        self._argv = list(argv)
        self._runs: set[_Run] = set()

    def ring(self, call: Call) -> Party | None:
        """A new run for this call."""
        run = _Run(self._loop, self._timing, call, self._argv, self._runs.discard)
        self._runs.add(run)
        return run

    async def close(self) -> None:
        """End every program and wait for it."""
        for run in list(self._runs):
            await run.end()


class _Run(Answering):
    """One call and its program."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timing: Timing,
        call: Call,
        argv: list[str],
        over: Callable[[_Run], None],
    ) -> None:
        super().__init__(call.number, loop, timing, call, Tone.ANSWER)
        self._loop = loop
        self._argv = argv
        self._over = over
        self._line: LineEnd | None = None
        self._stream: FdStream | None = None
        self._pid = 0
        self._pidfd = -1
        self._kill_timer: asyncio.TimerHandle | None = None
        self._exited = asyncio.Event()

    def ability(self) -> Ability | None:
        return DIGITAL

    def connected(self, line: LineEnd, agreed: Agreed) -> None:
        self._line = line
        master, slave = os.openpty()
        try:
            tty.setraw(slave)
            self._spawn(os.ttyname(slave), agreed)
        except OSError as error:
            log.error("%s cannot run %s: %s", self.number, self._argv[0], error.strerror or error)
            os.close(master)
            self._over(self)
            self._loop.call_soon(self.call.hang_up, self)
            return
        finally:
            os.close(slave)
        self._stream = FdStream(self._loop, master, received=line.send, drained=line.pump, closed=self._program_closed)
        self._stream.accept(True)
        line.pump()

    def _spawn(self, path: str, agreed: Agreed) -> None:
        # The first tty that a session leader opens becomes its controlling terminal; setsid comes before that.
        who = self.call.who
        environment = dict(os.environ, CALLER=who.number, CALLED=self.number, LINE_RATE=str(agreed.rate), TERM="dumb")
        self._pid = os.posix_spawnp(
            self._argv[0],
            self._argv,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
        self._pidfd = os.pidfd_open(self._pid)
        self._loop.add_reader(self._pidfd, self._reap)
        log.info("%s runs %s for %s (pid %d)", self.number, self._argv[0], who.number or "someone", self._pid)

    def ended(self) -> None:
        """The caller has hung up."""
        super().ended()
        self._line = None
        if self._stream is not None:
            self._stream.close()
        if self._pidfd < 0:
            self._over(self)
        else:
            self._kill_timer = self._loop.call_later(GRACE, self._kill)

    def room(self) -> int:
        return MARK - self._stream.backlog() if self._stream is not None else 0

    def take(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.send(data)

    def hold(self, on: bool) -> None:
        if self._stream is not None:
            self._stream.accept(not on)

    async def end(self) -> None:
        """Hang up, and see the program end."""
        self.call.hang_up(self)
        self.ended()
        if self._pidfd >= 0:
            await self._exited.wait()

    def _program_closed(self) -> None:
        """Every process has let go of the terminal, and all that they wrote has been read."""
        if self._line is not None:
            self._line = None
            self.call.hang_up(self)
        if self._pidfd < 0:
            self._over(self)
        else:
            self._kill_timer = self._loop.call_later(GRACE, self._kill)

    def _kill(self) -> None:
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _reap(self) -> None:
        _, status = os.waitpid(self._pid, 0)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self._exited.set()
        log.info("%s: %s ends with %d", self.number, self._argv[0], os.waitstatus_to_exitcode(status))
        if self._stream is None or not self._stream.open:
            self._over(self)
