"""What the session types `exec` and `login` share: a program has the line as its terminal.

The program gets a pseudo-terminal, joined to the line, as stdin, stdout, stderr and controlling terminal, and not
the line itself.  When the leader of a terminal session exits, the kernel hangs up its terminal: a serial port would
lose the program's last words and its owner the descriptor.  A pseudo-terminal spares the line that, starts cooked
and sane (echo, line editing, CR to NL) while the line stays raw with its flow control, and its hang-up tells the
program of a lost carrier on every kind of port.

What a caller sent (number, name) reaches the program in the environment only, printable and bounded, never in argv.
The names are those of mgetty, so its programs run unchanged.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import pwd
import signal
import struct
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dialupd.io.child import Child, ExitStatus, SpawnError, hang_up
from dialupd.model import Direction, EndReason, SessionState
from dialupd.sessions.base import (
    LINE_LOST,
    NEVER_BEGAN,
    CallFacts,
    Line,
    Progress,
    Report,
    SessionEnd,
    StopRequest,
    not_a_stream,
)
from dialupd.sessions.output import tell
from dialupd.sessions.relay import Closed, Relay

_log = logging.getLogger(__name__)

PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
TERM: Final = "vt100"
_LONGEST: Final = 80
# Seconds from the closing of its terminal, with which the kernel sends SIGHUP, to SIGTERM and then to SIGKILL.
_LEAVING: Final = 2.0
_DYING: Final = 3.0


@dataclass(frozen=True, slots=True)
class Program:
    """What runs on the terminal, with its whole environment; `user` "" is ours, who are not changed.

    `descriptors` are for the program besides, under the numbers that they have here.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    user: str = ""
    descriptors: tuple[int, ...] = ()


class TerminalCall(ABC):
    """A session whose program is said by the type that derives from it."""

    def __init__(self, line: Line, facts: CallFacts, report: Report) -> None:
        self._line = line
        self._facts = facts
        self._report = report
        self._stop = StopRequest()
        self._relay: Relay | None = None

    @abstractmethod
    def _program(self) -> Program:
        """What to run; raises SpawnError where it cannot be."""

    @abstractmethod
    def _began(self, terminal: str) -> None:
        """The program runs on the terminal."""

    @abstractmethod
    def _spoke(self, data: bytes) -> None:
        """The program has said something."""

    @abstractmethod
    def _verdict(self, status: ExitStatus) -> SessionEnd:
        """Why the session ended, when the program ended by itself."""

    async def run(self) -> SessionEnd:
        self._report(Progress(session_state=SessionState.STARTING))
        if self._stop:
            return SessionEnd(self._stop.reason)
        terminal = _Terminal()
        try:
            relay = self._relay = Relay.of(self._line, terminal.dup())
        except LINE_LOST:
            terminal.close()
            return NEVER_BEGAN
        try:
            program = self._program()
            _prepare(terminal.slave, program.user, self._facts.port_rate)
            child = Child.spawn(
                program.argv,
                stdin=terminal.slave,
                stdout=terminal.slave,
                stderr=terminal.slave,
                controlling_tty=True,
                env=program.environment,
                user=program.user or None,
                pass_fds=program.descriptors,
            )
        except (SpawnError, OSError) as error:
            relay.close()
            terminal.close()
            await tell(self._line, "The service is not available now. Please call again later.")
            return SessionEnd(EndReason.SESSION_FAILED, str(error))
        terminal.program = child.pid
        try:
            self._began(terminal.name)
            relay.on_output(self._spoke)
            return await self._join(child, relay, terminal)
        finally:
            relay.close()
            terminal.close()
            await child.stop(())
            self._report(Progress(rx_bytes=relay.rx, tx_bytes=relay.tx))

    def stop(self, reason: EndReason) -> None:
        self._stop.set(reason)

    def counts(self) -> tuple[int, int]:
        return self._relay.counts if self._relay is not None else (0, 0)

    def open(self) -> int:
        raise not_a_stream()

    async def _join(self, child: Child, relay: Relay, terminal: _Terminal) -> SessionEnd:
        async with asyncio.TaskGroup() as group:
            relaying = group.create_task(relay.run(), name=f"call {self._facts.call} relay")
            waiting = group.create_task(child.wait(), name=f"call {self._facts.call} program")
            both = group.create_task(asyncio.wait({relaying, waiting}, return_when=asyncio.FIRST_COMPLETED))
            if await self._stop.before(both):
                terminal.hang_up()
                await child.stop()
            elif relaying.done():
                terminal.close()
                await asyncio.wait({waiting}, timeout=_LEAVING)
                # The kernel has told the leader and the foreground only.
                await child.stop(((signal.SIGHUP, 0.0), (signal.SIGTERM, _DYING)))
            relay.other_ended()
            closed = await relaying
            status = await waiting
        if self._stop:
            return SessionEnd(self._stop.reason)
        if closed is Closed.LINE:
            return SessionEnd(EndReason.REMOTE_HANGUP, "the line was hung up")
        return self._verdict(status)


class _Terminal:
    """A pseudo-terminal, which is there until we close it, whoever else does.

    Our slave is for login(1), which has the terminal hung up and opens it anew: without one that is open meanwhile,
    that were its end.  Our master is for `close`, where the terminal's end must not come before its jobs are told.
    """

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        self.name = os.ttyname(self.slave)
        self.program = 0
        self._open = True

    def dup(self) -> int:
        return os.dup(self._master)

    def hang_up(self) -> None:
        """Tell those on the terminal whom the program, or a shell of its, has given groups of their own."""
        hang_up(self._master, self.program)

    def close(self) -> None:
        """Hang up; the kernel takes the terminal from all who are on it, and tells some of them."""
        if self._open:
            self._open = False
            self.hang_up()
            os.close(self.slave)
            os.close(self._master)


def environment(facts: CallFacts, session: str) -> Mapping[str, str]:
    """What the program learns of the call: mgetty's names and ours, and what a terminal program needs."""
    incoming = facts.direction is Direction.INCOMING
    now = time.localtime()
    return {
        "PATH": PATH,
        "TERM": TERM,
        "CALLER_ID": printable(facts.caller_id) or "none",
        "CALLER_NAME": printable(facts.caller_name),
        "CALLED_ID": "" if incoming else printable(facts.number),
        "CALL_DATE": time.strftime("%m%d", now),
        "CALL_TIME": time.strftime("%H%M", now),
        "CONNECT": printable(facts.connect),
        "DEVICE": facts.device.removeprefix("/dev/"),
        "DIALUPD_CALL": str(facts.call),
        "DIALUPD_MODEM": facts.modem,
        "DIALUPD_DIRECTION": facts.direction.value,
        "DIALUPD_POLICY": facts.policy,
        "DIALUPD_SESSION": session,
        "DIALUPD_LINE_RATE": str(facts.line_rate),
        "DIALUPD_PORT_RATE": str(facts.port_rate),
    }


def printable(text: str) -> str:
    """What a far end or a network delivered, as a program may have it."""
    return "".join(c for c in text if c.isprintable())[:_LONGEST]


def _prepare(slave: int, user: str, speed: int) -> None:
    if code := getattr(termios, f"B{speed}", 0) if speed else 0:
        # What stty(1) shows, agetty's \b prints and file transfers reckon with; a pseudo-terminal's own is made up.
        set_to = termios.tcgetattr(slave)
        set_to[4:6] = [code, code]
        termios.tcsetattr(slave, termios.TCSANOW, set_to)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.fchmod(slave, 0o600)
    if user:
        try:
            owner = pwd.getpwnam(user).pw_uid
        except KeyError:  # the spawn says it better
            _log.debug("user %r does not exist", user)
            return
        if owner != os.geteuid():
            os.fchown(slave, owner, -1)
