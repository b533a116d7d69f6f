"""From a configured session to a running one."""

from __future__ import annotations

from typing import assert_never

from dialupd.config.values import ClientSession, ExecSession, LoginSession, PlainSession, PppSession, TcpSession
from dialupd.sessions.base import CallFacts, Line, Report, RuntimePaths, Session
from dialupd.sessions.client import ClientCall
from dialupd.sessions.exec import ExecCall
from dialupd.sessions.getty import GettyCall
from dialupd.sessions.ppp import PppCall
from dialupd.sessions.tcp import TcpCall


def make_session(config: PlainSession, line: Line, facts: CallFacts, report: Report, paths: RuntimePaths) -> Session:
    """The session that `config` asks for; to be made on the loop, when the line is connected."""
    match config:
        case PppSession():
            return PppCall(config, line, facts, report, paths)
        case TcpSession():
            return TcpCall(config, line, facts, report)
        case LoginSession():
            return GettyCall(config, line, facts, report)
        case ExecSession():
            return ExecCall(config, line, facts, report)
        case ClientSession():
            return ClientCall(line, facts, report)
        case _:
            assert_never(config)
