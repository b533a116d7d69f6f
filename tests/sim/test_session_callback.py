"""Callback with real logins: who proves who he is, what he reads, and that nobody else is called."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from modem_stage import Stage, Stream, entry
from modem_stage import stage as stage
from session_line import FACTS, Record, line, run
from test_session_login import accounts as accounts
from test_session_login import log_in
from unit_stage import UnitStage

from dialupd.config.values import LoginSession
from dialupd.io.fdstore import FdStore
from dialupd.io.notify import Notifier
from dialupd.model import CallState, Direction, EndReason, ModemState, SessionState
from dialupd.sessions import login_front, protocol
from dialupd.sessions.base import CallFacts, Line, Progress, RuntimePaths, Session, SessionEnd
from dialupd.sessions.getty import agetty
from dialupd.sessions.protocol import Ended, Kind, News
from dialupd.sessions.start import make_session
from dialupd.sessions.starting import Starting
from dialupd.sessions.unit import COUNTS, SOCKET, UnitSession

NUMBER = "5550000"
CONFIG = LoginSession("console", callback=(("ann", NUMBER), ("old", NUMBER), ("root", NUMBER)))
WORDS = b"You will be called back at the number that is on file; hang up now.\r\n"


def make(pty: Line, record: Record, config: LoginSession = CONFIG, facts: CallFacts = FACTS) -> Session:
    return make_session(config, pty, facts, record, RuntimePaths("/nonexistent"))


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("hangs_up", [False, True])
def test_who_proves_who_he_is_is_told_to_hang_up(accounts: None, root: bool, hangs_up: bool) -> None:
    async def test() -> None:
        record = Record()
        with line() as pty:
            running = asyncio.create_task(make(pty, record, replace(CONFIG, root=root)).run())
            await log_in(pty, "ann", "sesame")
            got = await pty.receive(lambda got: got.endswith(WORDS))
            assert NUMBER.encode() not in got
            if hangs_up:
                pty.hang_up()
            end = await running
        assert (end.call_back, end.detail) == ("ann", "ann is to be called back")
        assert end.reason is (EndReason.REMOTE_HANGUP if hangs_up else EndReason.SESSION_ENDED)
        assert SessionState.RUNNING not in record.states

    run(test)


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "wrong"), ("old", "sesame"), ("root", "toor"), ("none", ""), ("nobody-here", "x")]
)
def test_nobody_else_is_called(accounts: None, name: str, password: str) -> None:
    """A wrong password, an account that has expired, root where root may not log in, no password, and no account."""

    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(pty, Record()).run())
            for _ in range(login_front.TRIES):
                await log_in(pty, name, password)
            got = await pty.receive(lambda got: b"incorrect\r\n" in got)
            assert WORDS not in got
            end = await running
        assert (end.reason, end.call_back) == (EndReason.PEER_AUTH_FAILED, "")

    run(test)


def test_root_where_root_may(accounts: None) -> None:
    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(pty, Record(), replace(CONFIG, root=True)).run())
            await log_in(pty, "root", "toor")
            await pty.receive(lambda got: got.endswith(WORDS))
            pty.hang_up()
            assert (await running).call_back == "root"
        with line() as pty:
            config = replace(CONFIG, root=True, callback=(("ann", NUMBER),))
            running = asyncio.create_task(make(pty, Record(), config).run())
            await log_in(pty, "root", "toor")
            await pty.receive(lambda got: got.endswith(b"# "))
            await pty.send(b"exit\r")
            assert (await running).call_back == ""

    run(test)


@pytest.mark.parametrize("how", ["another user", "a call of ours"])
def test_others_log_in_and_can_name_nobody(accounts: None, how: str) -> None:
    async def test() -> None:
        ours = how == "a call of ours"
        facts = replace(FACTS, direction=Direction.OUTGOING, number=NUMBER) if ours else FACTS
        config = CONFIG if ours else replace(CONFIG, callback=(("bob", NUMBER),))
        with line() as pty:
            running = asyncio.create_task(make(pty, Record(), config, facts).run())
            await log_in(pty, "ann", "sesame")
            await pty.receive(lambda got: got.endswith(b"$ "))
            await pty.send(b"ls -l /proc/$$/fd; echo en''ough\r")
            got = await pty.receive(lambda got: b"enough\r\n" in got)
            assert b"pts" in got
            assert b"pipe" not in got
            await pty.send(b"exit\r")
            end = await running
        assert (end.reason, end.call_back) == (EndReason.SESSION_ENDED, "")

    run(test)


def test_a_call_that_we_end_calls_nobody(accounts: None) -> None:
    async def test() -> None:
        with line() as pty:
            session = make(pty, Record())
            running = asyncio.create_task(session.run())
            await log_in(pty, "ann", "sesame")
            await pty.receive(lambda got: got.endswith(WORDS))
            session.stop(EndReason.LOCAL_HANGUP)
            end = await running
        assert (end.reason, end.call_back) == (EndReason.LOCAL_HANGUP, "")

    run(test)


def test_only_names_are_in_the_command() -> None:
    command = " ".join(agetty(CONFIG, FACTS, 7))
    assert " - 7 ann,old,root " in command
    assert NUMBER not in command


OFFICE = (
    """
[session.console]
type = "login"
callback = { ann = "100" }

[session.line]
type = "client"

[policy.in]
mode = "answer"
rings = 1
session = "console"

[policy.home]
mode = "answer"
rings = 1
session = "line"
"""
    + entry("200", "in")
    + entry("100", "home")
)


LISTENING = (
    OFFICE.replace('rings = 1\nsession = "console"', 'rings = 1\nsession = "any"')
    + """
[session.any]
type = "auto"
ppp = "dialin"
login = "console"

[session.dialin]
type = "ppp"
role = "server"
local = "172.16.1.1"
remote = "172.16.1.2"
auth = ["chap"]
"""
)


@pytest.mark.parametrize("first", ["login", "auto"])
@pytest.mark.parametrize("runner", ["by hand", "in units"])
def test_from_the_first_call_to_the_shell(
    accounts: None, stage: Stage, tmp_path: Path, runner: str, first: str
) -> None:
    if runner == "in units":
        stage = UnitStage(tmp_path)

    async def log_in(stream: Stream) -> None:
        await stream.until(b"login: ")
        stream.send(b"ann\r")
        await stream.until(b"assword: ")
        stream.send(b"sesame\r")

    async def body() -> None:
        home, office = await stage.modems("100", "200")
        call = await stage.connect(home, "200", session="client")
        stream = Stream(await stage.desk.open_call(call))
        if first == "auto":
            stream.send(b"\r")
        await log_in(stream)
        await stream.until(WORDS)
        await stage.desk.hang_up_call(call)
        await stream.end()
        await stage.state(home, ModemState.CONNECTED)
        back = max(view.call for view in stage.desk.calls() if view.modem == home)
        stream = Stream(await stage.desk.open_call(back))
        await log_in(stream)
        await stream.until(b"$ ")
        stream.send(b"echo $DIALUPD_DIRECTION $CALLED_ID $CALLER_ID; exit\r")
        await stream.until(b"outgoing 100 none\r\n")
        await stream.end()
        ours = [view for view in await stage.rows() if view.modem == office and view.state is CallState.ENDED]
        assert [(view.direction, view.number) for view in ours] == [("outgoing", "100"), ("incoming", "")]

    stage.run(body, OFFICE if first == "login" else LISTENING)


@pytest.mark.parametrize("kind", list(Kind))
def test_only_the_unit_of_a_login_says_who_is_called(kind: Kind) -> None:
    """And none of them under which session: that is what the number is looked up by."""

    async def test() -> None:
        record = Record()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        session = UnitSession(Keeps(), FdStore(Notifier({}), keeps=False), kind, 3, record)
        session.resumed({SOCKET: ours.detach(), COUNTS: os.memfd_create("counts")})
        running = asyncio.create_task(session.run())
        with theirs:
            protocol.send(theirs, News(Progress(session="console", session_state=SessionState.RUNNING)))
            protocol.send(theirs, Ended(SessionEnd(EndReason.SESSION_ENDED, call_back="ann")))
            end = await running
        assert end.call_back == ("ann" if kind is Kind.LOGIN else "")
        assert record.all.session_state is SessionState.RUNNING
        assert record.all.session is None

    run(test)


class Keeps:
    """A `Keeper` of a unit that needs nothing."""

    def start(self, kind: Kind, call: int) -> Starting:
        raise AssertionError("it runs already")

    def give_up(self, starting: Starting) -> None:
        raise AssertionError("none was prepared")

    def end(self, unit: str) -> None:
        raise AssertionError("it ends by itself")


def test_another_spelling_of_a_name_is_the_same_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories such as Active Directory take any case; who is called back must not get in by it."""

    class Pam:
        def pam_get_item(self, handle: object, item: int, found: Any) -> int:
            found._obj.value = b"ANN"
            return 0

        def __getattr__(self, name: str) -> Any:
            return mock.Mock(return_value=0)

    ann = pwd.struct_passwd(("ann", "x", 4242, 4242, "", "/", "/bin/sh"))
    monkeypatch.setattr(login_front.ctypes, "CDLL", lambda _: Pam())
    monkeypatch.setattr(login_front.pwd, "getpwnam", lambda _: ann)
    monkeypatch.setattr(login_front.os, "ttyname", lambda _: "/dev/pts/9")
    assert login_front.authenticate("ANN", "", frozenset({"ann"}), root_may=False) == "ann"
