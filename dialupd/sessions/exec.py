"""The session type `exec`: a configured program has the line as its terminal.

In a unit of its own we are the session's user already, and the configuration that comes here names none.
"""

from __future__ import annotations

import os
import pwd

from dialupd.config.values import ExecSession
from dialupd.io.child import ExitStatus
from dialupd.model import EndReason, SessionState
from dialupd.sessions.base import CallFacts, Line, Progress, Report, SessionEnd
from dialupd.sessions.terminal import Program, TerminalCall, environment


class ExecCall(TerminalCall):
    def __init__(self, config: ExecSession, line: Line, facts: CallFacts, report: Report) -> None:
        super().__init__(line, facts, report)
        self._config = config

    def _program(self) -> Program:
        facts = environment(self._facts, self._config.name)
        return Program(self._config.command, {"HOME": "/", **facts}, self._config.user or _who_we_are())

    def _began(self, terminal: str) -> None:
        self._report(Progress(session_state=SessionState.RUNNING))

    def _spoke(self, data: bytes) -> None:
        pass

    def _verdict(self, status: ExitStatus) -> SessionEnd:
        return SessionEnd(EndReason.SESSION_ENDED, f"{os.path.basename(self._config.command[0])}: {status}")


def _who_we_are() -> str:
    """Our name, "" where we have none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
