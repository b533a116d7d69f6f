"""The session type `exec`: a program has the line as its terminal.

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
import struct
import termios
import time
from collections.abc import Mapping
from typing import Final

from dialupd.config.values import ExecSession
from dialupd.io.child import Child, SpawnError
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
_LONGEST: Final = 80
# Seconds from the closing of its terminal to a program's exit, before it is told by signals.
_LEAVING: Final = 2.0


class ExecCall:
    def __init__(self, config: ExecSession, line: Line, facts: CallFacts, report: Report) -> None:
        self._config = config
        self._line = line
        self._facts = facts
        self._report = report
        self._stop = StopRequest()
        self._relay: Relay | None = None

    async def run(self) -> SessionEnd:
        self._report(Progress(session_state=SessionState.STARTING))
        if self._stop:
            return SessionEnd(self._stop.reason)
        master, slave = os.openpty()
        try:
            relay = self._relay = Relay.of(self._line, master)
        except LINE_LOST:
            os.close(slave)
            return NEVER_BEGAN
        try:
            _prepare(slave, self._config.user)
            child = Child.spawn(
                self._config.command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                controlling_tty=True,
                env=environment(self._facts, self._config.name),
                user=self._config.user or None,
            )
        except (SpawnError, OSError) as error:
            relay.close()
            await tell(self._line, "The service is not available now. Please call again later.")
            return SessionEnd(EndReason.SESSION_FAILED, str(error))
        finally:
            os.close(slave)
        self._report(Progress(session_state=SessionState.RUNNING))
        try:
            return await self._join(child, relay)
        finally:
            relay.close()
            await child.stop(())
            self._report(Progress(rx_bytes=relay.rx, tx_bytes=relay.tx))

    def stop(self, reason: EndReason) -> None:
        self._stop.set(reason)

    def counts(self) -> tuple[int, int]:
        return self._relay.counts if self._relay is not None else (0, 0)

    def open(self) -> int:
        raise not_a_stream()

    async def _join(self, child: Child, relay: Relay) -> SessionEnd:
        async with asyncio.TaskGroup() as group:
            relaying = group.create_task(relay.run(), name=f"call {self._facts.call} relay")
            waiting = group.create_task(child.wait(), name=f"call {self._facts.call} program")
            both = group.create_task(asyncio.wait({relaying, waiting}, return_when=asyncio.FIRST_COMPLETED))
            if await self._stop.before(both):
                await child.stop()
            elif relaying.done():
                # Its terminal is closed now: the kernel has told it by SIGHUP.
                await asyncio.wait({waiting}, timeout=_LEAVING)
                await child.stop()
            relay.other_ended()
            closed = await relaying
            status = await waiting
        if self._stop:
            return SessionEnd(self._stop.reason)
        if closed is Closed.LINE:
            return SessionEnd(EndReason.REMOTE_HANGUP, "the line was hung up")
        return SessionEnd(EndReason.SESSION_ENDED, f"{os.path.basename(self._config.command[0])}: {status}")


def environment(facts: CallFacts, session: str) -> Mapping[str, str]:
    """All that the program inherits: mgetty's names, ours, and what a terminal program needs."""
    incoming = facts.direction is Direction.INCOMING
    now = time.localtime()
    return {
        "PATH": PATH,
        "TERM": "vt100",
        "HOME": os.environ.get("HOME", "/"),
        "CALLER_ID": _printable(facts.caller_id) or "none",
        "CALLER_NAME": _printable(facts.caller_name),
        "CALLED_ID": "" if incoming else _printable(facts.number),
        "CALL_DATE": time.strftime("%m%d", now),
        "CALL_TIME": time.strftime("%H%M", now),
        "CONNECT": _printable(facts.connect),
        "DEVICE": facts.device.removeprefix("/dev/"),
        "DIALUPD_CALL": str(facts.call),
        "DIALUPD_MODEM": facts.modem,
        "DIALUPD_DIRECTION": facts.direction.value,
        "DIALUPD_POLICY": facts.policy,
        "DIALUPD_SESSION": session,
        "DIALUPD_LINE_RATE": str(facts.line_rate),
        "DIALUPD_PORT_RATE": str(facts.port_rate),
    }


def _prepare(slave: int, user: str) -> None:
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.fchmod(slave, 0o600)
    if user and os.geteuid() == 0:
        try:
            os.fchown(slave, pwd.getpwnam(user).pw_uid, -1)
        except KeyError:  # the spawn says it better
            _log.debug("user %r does not exist", user)


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:_LONGEST]
