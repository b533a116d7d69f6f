"""The session type `ppp`: pppd(8) on the line.

pppd runs as `pppd notty` behind a relay.  Given the device's name it would open it again, which flushes what the far
end has already sent (its first frames), needs the device's permissions and quarrels with TIOCEXCL.  With notty too it
loses what comes before its line discipline is in place: its character shunt reads from the start, and the terminal
behind that is flushed once more.  So the relay holds back what the far end sends until pppd says "Connect:".  The
relay also sees the end of the line, by the kernel's hang-up or by the text NO CARRIER, and pppd then the end of its
stream.

What pppd says comes through its log (logfd 2), read by the tables of pppd_words; `debug` is on until the link is up,
because only then pppd tells its phases, and is toggled off then, or every echo would be logged for years.  That waits
for a silence: pppd's handler of SIGUSR1 takes the lock of syslog(3), and a pppd that is just logging would wait for
itself for ever.  Signals go to pppd alone and never to its group: the character shunt would die of SIGTERM, and LCP's
terminate request would not leave.

A far end may say our password back, in a message that pppd tells: it is hidden there too.

Routes and name servers are set by `Network` once the link is up; what does not vanish with the interface it takes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import termios
from dataclasses import replace
from typing import Final

from dialupd.config.values import PppSession
from dialupd.io.child import LINES, Child, SpawnError
from dialupd.io.secret import SecretError, read_credential, read_file
from dialupd.model import EndReason, SessionState
from dialupd.sessions.admission import Admission
from dialupd.sessions.autologin import AutoLogin
from dialupd.sessions.base import (
    LINE_LOST,
    NEVER_BEGAN,
    CallFacts,
    Line,
    Progress,
    Report,
    RuntimePaths,
    SessionEnd,
    StopRequest,
    not_a_stream,
)
from dialupd.sessions.callfile import CallFile
from dialupd.sessions.dialogue import Dialogue, Steps
from dialupd.sessions.network import Network, tool_environment
from dialupd.sessions.pool import FullError
from dialupd.sessions.ppp_login import LoginError, log_in
from dialupd.sessions.pppd_options import LONGEST_NAME, Granted, options_file
from dialupd.sessions.pppd_words import Said, changes, hear, is_detail, verdict
from dialupd.sessions.relay import FROM_LINE, Relay

_log = logging.getLogger(__name__)

# LCP asks twice to terminate, a second each, and the scripts of /etc/ppp/ip-down get five from pppd.
_TERMINATING: Final = 7.0
# Without a line for this many seconds pppd sits in select(2), not in syslog(3), even where the journal is slow.
_QUIET: Final = 2.0
_BEHIND_A_HANGUP: Final = frozenset({EndReason.AUTH_FAILED, EndReason.PEER_AUTH_FAILED, EndReason.NEGOTIATION_FAILED})
# Shorter passwords are hidden by pppd only: as parts of other words they would leave nothing of its messages.
_HIDDEN_FROM: Final = 4


class PppCall:
    def __init__(self, config: PppSession, line: Line, facts: CallFacts, report: Report, paths: RuntimePaths) -> None:
        self._config = config
        self._line = line
        self._facts = facts
        self._report = report
        self._file = CallFile(paths.run_directory, facts.call, "options")
        self._admission = Admission(config, facts, paths)
        self._granted = Granted()
        self._turned_away = ""
        self._stop = StopRequest()
        self._said = Said()
        self._secret = ""
        self._network = Network(config, f"call {facts.call}", paths.resolv_conf)
        self._child: Child | None = None
        self._relay: Relay | None = None
        self._talkative = "debug" not in config.options
        self._hush: asyncio.TimerHandle | None = None

    async def run(self) -> SessionEnd:
        self._report(Progress(session_state=SessionState.STARTING))
        try:
            password = _password(self._config)
            self._check(password)
            self._secret = (password or b"").decode("utf-8", "replace")
            self._granted = self._admission.enter()
        except SecretError as error:
            return SessionEnd(EndReason.SESSION_FAILED, str(error), hopeless=True)
        except FullError as error:
            return SessionEnd(EndReason.REJECTED, str(error))
        except OSError as error:
            return SessionEnd(EndReason.SESSION_FAILED, f"{error.filename}: {error.strerror}")
        try:
            return await self._admitted(password)
        finally:
            self._admission.leave()

    async def _admitted(self, password: bytes | None) -> SessionEnd:
        ours, theirs = socket.socketpair()
        try:
            relay = self._relay = Relay.of(self._line, ours.detach())
        except LINE_LOST:
            theirs.close()
            return NEVER_BEGAN
        with contextlib.closing(relay):
            try:
                return await self._behind_relay(relay, theirs.detach(), password)
            finally:
                rx, tx = self.counts()
                self._report(Progress(rx_bytes=rx, tx_bytes=tx))

    async def _behind_relay(self, relay: Relay, stream: int, password: bytes | None) -> SessionEnd:
        async with asyncio.TaskGroup() as group:
            # The relay ends with either side: pppd sees a lost line as the end of its stream, the relay pppd's end.
            relaying = group.create_task(relay.run(), name=f"call {self._facts.call} relay")
            end = await self._on_stream(relay, stream, password)
            await relaying
        return end

    def stop(self, reason: EndReason) -> None:
        self._stop.set(reason)

    def counts(self) -> tuple[int, int]:
        """The line's bytes while pppd runs, pppd's own numbers as soon as it has told them."""
        if self._said.rx_bytes or self._said.tx_bytes:
            return self._said.rx_bytes, self._said.tx_bytes
        return self._relay.counts if self._relay is not None else (0, 0)

    def open(self) -> int:
        raise not_a_stream()

    def _check(self, password: bytes | None) -> None:
        for what, text in (("user", self._config.user.encode()), ("password", password or b"")):
            if len(text) > LONGEST_NAME:
                who = f"the {what} of session {self._config.name}"
                raise SecretError(f"{who} has {len(text)} bytes; pppd takes at most {LONGEST_NAME}")

    async def _on_stream(self, relay: Relay, stream: int, password: bytes | None) -> SessionEnd:
        """PPP on a descriptor, which is ours and closed here as soon as pppd has it."""
        try:
            heard = await self._log_in(stream, password or b"")
            if self._stop:
                return SessionEnd(self._stop.reason)
            flow = _software_flow(self._line)
            self._file.write(
                options_file(self._config, self._facts, password, software_flow=flow, granted=self._granted)
            )
            relay.hold(heard + _unread(stream))
            child = Child.spawn(
                ["pppd", "file", self._file.path],
                stdin=stream,
                stdout=stream,
                stderr=LINES,
                on_line=self._heard,
                env=tool_environment(),
            )
        except LoginError as error:
            return SessionEnd(error.reason, str(error))
        except SpawnError as error:
            self._file.remove()
            missing = shutil.which("pppd", path=tool_environment()["PATH"]) is None
            return SessionEnd(EndReason.SESSION_FAILED, f"{error} (Debian: the package ppp)", hopeless=missing)
        except OSError as error:
            self._file.remove()
            return SessionEnd(EndReason.SESSION_FAILED, f"{self._file.path}: {error.strerror}")
        finally:
            os.close(stream)
        return await self._until_end(child)

    async def _log_in(self, stream: int, password: bytes) -> bytes:
        """The dialogue before PPP, if there is one; what of PPP was heard in it. Raises LoginError."""
        dialogue = _dialogue(self._config, password)
        if dialogue is None:
            return b""
        self._report(Progress(session_state=SessionState.LOGIN))
        os.set_blocking(stream, False)
        asking = asyncio.create_task(log_in(stream, dialogue), name=f"call {self._facts.call} login")
        try:
            return b"" if await self._stop.before(asking) else asking.result()
        finally:
            asking.cancel()
            await asyncio.wait({asking})

    async def _until_end(self, child: Child) -> SessionEnd:
        self._child = child
        call = f"call {self._facts.call}"
        waiting = asyncio.create_task(child.wait(), name=f"{call} pppd")
        network = asyncio.create_task(self._network.run(), name=f"{call} network")
        try:
            if await self._stop.before(waiting):
                self._signal(signal.SIGTERM)
                await asyncio.wait({waiting}, timeout=_TERMINATING)
            status = await child.stop(())
        finally:
            self._talkative = False
            self._hush_when_quiet()
            network.cancel()
            waiting.cancel()
            try:
                await child.stop(())
                await asyncio.wait({network, waiting})
            finally:  # the owner's patience may end here too
                self._file.remove()
                await self._network.down()
        _log.info("%s: pppd ended: %s", call, status)
        end = verdict(-status.signal if status.signal else status.code, self._said)
        # Who sees the carrier go first asks for the end with that; pppd may know why the far end hung up.
        knows_better = end.reason in _BEHIND_A_HANGUP and self._stop.reason is EndReason.REMOTE_HANGUP
        if self._stop and not knows_better:
            return SessionEnd(self._stop.reason, self._turned_away)
        return self._admission.judged(end, self._said.radius)

    def _heard(self, line: str) -> None:
        level = logging.DEBUG if is_detail(line) else logging.INFO
        _log.log(level, "call %d: pppd: %s", self._facts.call, self._hide(line))
        old, said = self._said, hear(self._said, line)
        self._said = replace(said, trouble=self._hide(said.trouble))
        self._hush_when_quiet()
        progress = changes(old, self._said)
        if progress is None:
            return
        if self._said.state is not SessionState.STARTING and self._relay is not None:
            self._relay.release()
        if self._said.interface:
            # It has read all of its options by now.
            self._file.remove()
        if self._said.remote != old.remote:
            self._settle()
        if self._said.state is SessionState.RUNNING and not self._turned_away:
            self._network.up(self._said.interface, self._said.dns)
        self._report(progress)

    def _settle(self) -> None:
        try:
            self._admission.settle(self._said.remote)
        except (FullError, OSError) as error:
            self._turned_away = str(error)
            self._stop.set(EndReason.REJECTED)

    def _hide(self, text: str) -> str:
        return text.replace(self._secret, "****") if len(self._secret) >= _HIDDEN_FROM else text

    def _hush_when_quiet(self) -> None:
        if self._hush is not None:
            self._hush.cancel()
        if self._said.state is SessionState.RUNNING and self._talkative:
            self._hush = asyncio.get_running_loop().call_later(_QUIET, self._hush_now)

    def _hush_now(self) -> None:
        self._talkative = False
        self._signal(signal.SIGUSR1)

    def _signal(self, number: signal.Signals) -> None:
        # Until it is reaped its number is nobody else's; a pppd that is setuid root may not be signalled by others.
        if self._child is not None and self._child.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._child.pid, number)


def _password(config: PppSession) -> bytes | None:
    """The password of the session, None where it has none; raises SecretError."""
    if config.password_file:
        return read_file("password-file", config.password_file)
    if config.password_credential:
        return read_credential("password-credential", config.password_credential, "dialupd-ppp@.service")
    return None


def _dialogue(config: PppSession, password: bytes) -> Dialogue | None:
    if config.auto_login:
        return AutoLogin(config.login_abort, config.login_timeout, config.user, password)
    if config.login:
        return Steps(config.login, config.login_abort, config.login_timeout, config.user, password)
    return None


def _unread(stream: int) -> bytes:
    """What the login has left of what the far end said."""
    os.set_blocking(stream, False)
    left = b""
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while data := os.read(stream, FROM_LINE):
            left += data
    os.set_blocking(stream, True)
    return left


def _software_flow(line: Line) -> bool:
    try:
        fd = line.dup()
    except LINE_LOST:  # the relay finds that out too, and ends
        return False
    try:
        return bool(termios.tcgetattr(fd)[0] & termios.IXON)
    except termios.error:  # a socket, or hung up just now
        return False
    finally:
        os.close(fd)
