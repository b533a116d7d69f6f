"""The session type `login`: agetty(8) and login(1) have the line as their terminal.

agetty shows /etc/issue, asks for the name and writes the terminal into utmp.  The caller's number is the host, for
utmp, wtmp and PAM, as `tel:NUMBER`: with the colon no resolver takes it for a name or an address to ask the network
about.  login(1) does the rest: the password by PAM's service `login`, account, session, utmp, wtmp, ownership of the
terminal, the shell.

Debian's login lets root in everywhere, and asks for another name after a wrong password, so who may not log in cannot
be kept out in front of it.  Without `root = true` the password is therefore asked for by `login_front`, in login's
place and by the same service of PAM; login follows with `-f`, once somebody has proved who he is who is not root.

The front is there for callbacks too: it tells us through a pipe who has proved that he is to be called back, and ends.
Only the name leaves this session; what number that is, the daemon reads in its own configuration.  A call that was
placed by us calls nobody back: there the user logs in for good.

login takes the call's environment with it (`-p`): it is all made here, and login sets PATH, HOME and the like itself.
That somebody is in is seen by the terminal, which login gives to him; that root is, is not seen.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from dataclasses import replace
from typing import Final

from dialupd.config.values import LoginSession
from dialupd.io import logins
from dialupd.io.child import ExitStatus, SpawnError
from dialupd.model import Direction, EndReason, SessionState
from dialupd.sessions import login_front
from dialupd.sessions.base import CallFacts, Line, Progress, Report, SessionEnd
from dialupd.sessions.terminal import Program, TerminalCall, environment

_LONGEST_HOST: Final = 40
_LONGEST_NAME: Final = 64
_DIGITS: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+*#-")


class GettyCall(TerminalCall):
    def __init__(self, config: LoginSession, line: Line, facts: CallFacts, report: Report) -> None:
        super().__init__(line, facts, report)
        self._config = config
        self._terminal = ""
        self._held = -1
        """The terminal, so that nobody else gets one of its name before its records are closed."""
        self._logged_in = False
        self._told = -1
        """The front's end of the pipe; -1 where nobody is called back."""

    async def run(self) -> SessionEnd:
        try:
            return await self._run()
        finally:
            if self._held >= 0:
                logins.close(self._terminal)
                os.close(self._held)

    async def _run(self) -> SessionEnd:
        if not called_back(self._config, self._facts):
            return await super().run()
        heard, self._told = os.pipe()
        try:
            os.set_blocking(heard, False)
            end = await super().run()
            user = _name_in(heard)
        finally:
            os.close(heard)
            os.close(self._told)
        if not user or (self._stop and self._stop.reason is not EndReason.REMOTE_HANGUP):
            return end
        return replace(end, detail=f"{user} is to be called back", call_back=user)

    def _program(self) -> Program:
        if os.geteuid() != 0:
            raise SpawnError("a session of type login needs root: run dialupd as the system's service")
        known = environment(self._facts, self._config.name)
        return Program(
            agetty(self._config, self._facts, self._told),
            {**known, "TERM": self._config.terminal},
            descriptors=(self._told,) if self._told >= 0 else (),
        )

    def _began(self, terminal: str) -> None:
        self._terminal = terminal
        self._held = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self._report(Progress(session_state=SessionState.LOGIN))
        if self._relay is not None:
            self._relay.hold()  # agetty forgets what comes before its prompt: a name that was typed ahead

    def _spoke(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.release()
        if not self._logged_in and _has_an_owner(self._terminal):
            self._logged_in = True
            self._report(Progress(session_state=SessionState.RUNNING))

    def _verdict(self, status: ExitStatus) -> SessionEnd:
        if status.signal == signal.SIGALRM and not self._logged_in:
            return SessionEnd(EndReason.TIMEOUT, f"nobody logged in within {self._config.login_timeout:.0f} s")
        if self._logged_in or self._config.root or status.ok:
            return SessionEnd(EndReason.SESSION_ENDED, f"login: {status}")
        return SessionEnd(EndReason.PEER_AUTH_FAILED, f"nobody logged in ({status})")


def called_back(config: LoginSession, facts: CallFacts) -> tuple[str, ...]:
    """The users who are called back when they log in on this call."""
    return tuple(user for user, _ in config.callback) if facts.direction is Direction.INCOMING else ()


def agetty(config: LoginSession, facts: CallFacts, told: int = -1) -> tuple[str, ...]:
    """The command, for the terminal on its standard input; `told` gets the name of who is to be called back."""
    argv = ["agetty", "--8bits", "--noclear", "--nohints", "--timeout", str(math.ceil(config.login_timeout))]
    host = caller_host(facts.caller_id)
    if host:
        argv += ["--host", host]
    if config.issue_file:
        argv += ["--issue-file", config.issue_file]
    users = called_back(config, facts)
    if config.root and not users:
        argv += ["--login-options", rf"-p -h {host} -- \u" if host else r"-p -- \u"]
    else:
        until = time.monotonic() + config.login_timeout
        root = "root" if config.root else "-"
        who = f"{told} {','.join(users)}" if users else "- -"
        argv += ["--login-program", sys.executable]
        argv += ["--login-options", rf"-I {login_front.__file__} {until:.1f} {root} {who} {host or '-'} \u"]
    return (*argv, "-", config.terminal)


def caller_host(caller_id: str) -> str:
    """The caller as utmp's host, "" for none."""
    number = "".join(c for c in caller_id if c in _DIGITS)
    return f"tel:{number}"[:_LONGEST_HOST] if number else ""


def _name_in(pipe: int) -> str:
    """What the front has told, "" for nothing."""
    try:
        return os.read(pipe, _LONGEST_NAME).decode()
    except BlockingIOError:
        return ""


def _has_an_owner(terminal: str) -> bool:
    try:
        return os.stat(terminal).st_uid != 0
    except OSError:  # it is gone already
        return False
