"""The session type `login`: agetty(8) and login(1) have the line as their terminal.

agetty shows /etc/issue, asks for the name and writes the terminal into utmp, with the caller's number as the host, as
`tel:NUMBER`: with the colon no resolver takes it for a name or an address to ask the network about.  login(1) does the
rest: the password by PAM's service `login`, account, session, utmp, wtmp, ownership of the terminal, the shell.

Debian's login lets root in everywhere, and asks for another name after a wrong password, so who may not log in cannot
be kept out in front of it.  Without `root = true` the password is therefore asked for by `nologin_root`, in login's
place and by the same service of PAM; login follows with `-f`, once somebody has proved who he is who is not root.

login takes the call's environment with it (`-p`): it is all made here, and login sets PATH, HOME and the like itself.
That somebody is in is seen by the terminal, which login gives to him; that root is, is not seen.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from typing import Final

from dialupd.config.values import LoginSession
from dialupd.io.child import ExitStatus, SpawnError
from dialupd.model import EndReason, SessionState
from dialupd.sessions import nologin_root
from dialupd.sessions.base import CallFacts, Line, Progress, Report, SessionEnd
from dialupd.sessions.terminal import TERM, Program, TerminalCall, environment

_LONGEST_HOST: Final = 40
_DIGITS: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+*#-")


class GettyCall(TerminalCall):
    def __init__(self, config: LoginSession, line: Line, facts: CallFacts, report: Report) -> None:
        super().__init__(line, facts, report)
        self._config = config
        self._terminal = ""
        self._logged_in = False

    def _program(self) -> Program:
        if os.geteuid() != 0:
            raise SpawnError("a session of type login needs root: run dialupd as the system's service")
        return Program(agetty(self._config, self._facts), environment(self._facts, self._config.name))

    def _began(self, terminal: str) -> None:
        self._terminal = terminal
        self._report(Progress(session_state=SessionState.LOGIN))

    def _spoke(self, data: bytes) -> None:
        if not self._logged_in and _has_an_owner(self._terminal):
            self._logged_in = True
            self._report(Progress(session_state=SessionState.RUNNING))

    def _verdict(self, status: ExitStatus) -> SessionEnd:
        if self._logged_in or self._config.root or status.ok:
            return SessionEnd(EndReason.SESSION_ENDED, f"login: {status}")
        if status.signal == signal.SIGALRM:
            return SessionEnd(EndReason.TIMEOUT, f"nobody logged in within {self._config.login_timeout:.0f} s")
        return SessionEnd(EndReason.PEER_AUTH_FAILED, f"nobody logged in ({status})")


def agetty(config: LoginSession, facts: CallFacts) -> tuple[str, ...]:
    """The command, for the terminal on its standard input."""
    argv = ["agetty", "--8bits", "--noclear", "--nohints", "--timeout", str(math.ceil(config.login_timeout))]
    if number := caller_host(facts.caller_id):
        argv += ["--host", number]
    if config.root:
        argv += ["--login-options", r"-p -- \u"]
    else:
        until = time.monotonic() + config.login_timeout
        argv += ["--login-program", sys.executable]
        argv += ["--login-options", rf"-I {nologin_root.__file__} {until:.1f} \u"]
    return (*argv, "-", TERM)


def caller_host(caller_id: str) -> str:
    """The caller as utmp's host, "" for none."""
    number = "".join(c for c in caller_id if c in _DIGITS)
    return f"tel:{number}"[:_LONGEST_HOST] if number else ""


def _has_an_owner(terminal: str) -> bool:
    try:
        return os.stat(terminal).st_uid != 0
    except OSError:  # it is gone already
        return False
