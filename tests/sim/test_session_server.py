"""The session ppp for callers, with a stand-in for pppd: who gets which address, who is turned away, and why."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from session_line import FACTS, Record, line, run

from dialupd.config.values import PppSession, Radius, Role
from dialupd.model import EndReason, SessionState
from dialupd.sessions.base import Line, RuntimePaths, Session, SessionEnd
from dialupd.sessions.start import make_session

POOL = ("172.16.1.10", "172.16.1.11")
SERVER = PppSession("in", Role.SERVER, local="172.16.1.1", pool=POOL)
RADIUS = Radius((("10.0.0.1", 1812), ("10.0.0.2", 1812)))

PRELUDE = """#!/bin/sh
say() { for line; do echo "$line" >&2; done; }
up() {
    say 'Using interface ppp7' 'Connect: ppp7 <--> /dev/pts/3'
    say 'local  IP address 172.16.1.1' "remote IP address $1"
}
stay() { trap 'exit 5' TERM; trap '' USR1; while :; do sleep 0.02; done; }
given=$(sed -n 's/^172.16.1.1://p' "$2")
"""

Make = Callable[..., Session]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A session whose pppd is a script, each call with a number of its own."""
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "bin").mkdir()
    (tmp_path / "secret").write_text("testing-123\n")
    (tmp_path / "secret").chmod(0o600)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    calls = iter(range(3, 99))

    def of(config: PppSession, pty: Line, record: Record, script: str) -> Session:
        file = tmp_path / "bin" / "pppd"
        file.write_text(PRELUDE + script)
        file.chmod(0o755)
        if config.radius is not None:
            config = replace(config, radius=replace(config.radius, secret_file=str(tmp_path / "secret")))
        paths = RuntimePaths(str(tmp_path / "run"), str(tmp_path / "shared"))
        return make_session(config, pty, replace(FACTS, call=next(calls)), record, paths)

    return of


def test_each_caller_has_an_address_of_his_own(make: Make, tmp_path: Path) -> None:
    async def test() -> None:
        records = [Record(), Record()]
        with line() as one, line() as two, line() as three:
            sessions = []
            running = []
            for pty, record in zip((one, two), records, strict=True):
                sessions.append(make(SERVER, pty, record, 'up "$given"; stay'))
                running.append(asyncio.create_task(sessions[-1].run()))
                await record.state(SessionState.RUNNING)
            assert {record.all.remote_address for record in records} == set(POOL)
            end = await make(SERVER, three, Record(), f"touch {tmp_path}/started").run()
            assert end == SessionEnd(EndReason.REJECTED, "all addresses of 172.16.1.10-172.16.1.11 are taken")
            sessions[0].stop(EndReason.LOCAL_HANGUP)
            await running[0]
            again = Record()
            third = make(SERVER, three, again, 'up "$given"; stay')
            running.append(asyncio.create_task(third.run()))
            await again.state(SessionState.RUNNING)
            assert again.all.remote_address == records[0].all.remote_address
            for session in (sessions[1], third):
                session.stop(EndReason.LOCAL_HANGUP)
            await asyncio.gather(*running)

    run(test)
    assert not (tmp_path / "started").exists(), "pppd does not even begin"
    assert list((tmp_path / "run").iterdir()) == []


def test_the_callers_own_address_is_another_calls(make: Make) -> None:
    async def test() -> None:
        bob, alice = Record(), Record()
        with line() as one, line() as two:
            first = make(SERVER, one, bob, 'up "$given"; stay')
            running = asyncio.create_task(first.run())
            await bob.state(SessionState.RUNNING)
            taken = bob.all.remote_address
            end = await make(SERVER, two, alice, f"up {taken}; stay").run()
            assert end == SessionEnd(EndReason.REJECTED, f"the caller's own address {taken} is another call's")
            assert not running.done()
            first.stop(EndReason.LOCAL_HANGUP)
            await running

    run(test)


@pytest.mark.parametrize(
    ("says", "reason", "detail"),
    [
        (
            ("no reply from RADIUS server a:1812", "no reply from RADIUS server b:1812"),
            EndReason.SESSION_FAILED,
            "no RADIUS server answered (no reply from RADIUS server a:1812; no reply from RADIUS server b:1812)",
        ),
        (("no reply from RADIUS server a:1812",), EndReason.PEER_AUTH_FAILED, "the far end did not prove who it is"),
        ((), EndReason.PEER_AUTH_FAILED, "the far end did not prove who it is"),
    ],
)
def test_a_silent_server_is_no_refusal(make: Make, says: tuple[str, ...], reason: EndReason, detail: str) -> None:
    lines = " ".join(f"'rc_send_server: {words}'" for words in says)
    script = f"say 'Connect: ppp7 <--> /dev/pts/3' {lines} 'PAP peer authentication failed for \"bob\"'; exit 11"

    async def test() -> None:
        with line() as pty:
            end = await make(replace(SERVER, radius=RADIUS), pty, Record(), script).run()
        assert (end.reason, end.detail[: len(detail)]) == (reason, detail)

    run(test)


def test_an_answer_with_another_secret(make: Make) -> None:
    words = "rc_check_reply: received invalid reply digest from RADIUS server"
    script = f"say 'Connect: ppp7 <--> /dev/pts/3' '{words}' 'PAP peer authentication failed for \"bob\"'; exit 11"

    async def test() -> None:
        with line() as pty:
            end = await make(replace(SERVER, radius=RADIUS), pty, Record(), script).run()
        assert end.reason is EndReason.SESSION_FAILED
        assert "does not fit the secret" in end.detail

    run(test)


def test_files_for_radius_outlive_the_options(make: Make, tmp_path: Path) -> None:
    script = f"""
    directory=$(dirname "$2")
    up "$given"
    while [ -e "$2" ]; do sleep 0.02; done
    ls "$directory" >{tmp_path}/left
    echo 17 >"$directory/radius.seq"
    say 'Connect time expired'
    stay
    """

    async def test() -> None:
        record = Record()
        with line() as pty:
            session = make(replace(SERVER, radius=RADIUS), pty, record, script)
            running = asyncio.create_task(session.run())
            await record.state(SessionState.TERMINATE)
            session.stop(EndReason.LOCAL_HANGUP)
            await running

    run(test)
    assert (tmp_path / "left").read_text().split() == ["radius.conf", "radius.dictionary", "radius.servers"]
    assert list((tmp_path / "run").iterdir()) == []


def test_a_secret_that_cannot_be_had(make: Make, tmp_path: Path) -> None:
    async def test() -> None:
        with line() as pty:
            session = make(replace(SERVER, radius=RADIUS), pty, Record(), "exit 0")
            (tmp_path / "secret").chmod(0o644)
            end = await session.run()
            assert (end.reason, "is open to others" in end.detail) == (EndReason.SESSION_FAILED, True)
            assert list((tmp_path / "run").iterdir()) == []
            (tmp_path / "secret").chmod(0o600)
            alone = replace(SERVER, remote=POOL[0], pool=("", ""))
            assert (await make(alone, pty, Record(), "exit 0").run()).reason is EndReason.SESSION_ENDED

    run(test)
