"""Sessions over a line that is a socket, as a Bluetooth link is: data both ways, and both ways in which it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from session_line import FACTS, PATIENCE, Record, SocketLine, joined, run

from dialupd.config.values import AutoSession, ClientSession, ExecSession, PlainSession, PppSession, Role, TcpSession
from dialupd.config.values import Session as SessionConfig
from dialupd.model import EndReason
from dialupd.sessions import output
from dialupd.sessions.auto import AutoCall
from dialupd.sessions.base import RuntimePaths, Session
from dialupd.sessions.relay import Closed, Relay
from dialupd.sessions.start import make_session

ECHO = ExecSession("menu", ("/bin/sh", "-c", "stty raw -echo; echo go; exec cat"))
PPPD = """#!/bin/sh
echo 'Using interface ppp7' >&2; echo 'Connect: ppp7 <--> /dev/pts/3' >&2
trap '' HUP
printf go
cat
exit 16
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in PATH with a stand-in for pppd, which says back what it hears."""
    pppd = tmp_path / "pppd"
    pppd.write_text(PPPD)
    pppd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@contextlib.contextmanager
def socket_line(*, ends_quietly: bool) -> Iterator[SocketLine]:
    made = SocketLine(ends_quietly=ends_quietly)
    with contextlib.closing(made):
        yield made


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"go")
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("ends_quietly", [False, True])
@pytest.mark.parametrize("kind", ["ppp", "exec", "tcp"])
def test_a_session_on_a_socket(kind: str, ends_quietly: bool, programs: Path) -> None:
    async def test() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        configs: dict[str, PlainSession] = {
            "ppp": PppSession("net"),
            "exec": ECHO,
            "tcp": TcpSession("bbs", "127.0.0.1", server.sockets[0].getsockname()[1]),
        }
        async with server:
            with socket_line(ends_quietly=ends_quietly) as line:
                session = make_session(configs[kind], line, FACTS, Record(), RuntimePaths(str(programs)))
                running = asyncio.create_task(session.run())
                await line.receive(lambda got: b"go" in got)
                await line.send(b"\xff\x00~both ways")
                assert await line.receive(lambda got: len(got) == 12) == b"\xff\x00~both ways"
                line.hang_up()
                assert (await running).reason is EndReason.REMOTE_HANGUP
                assert session.counts()[0] == 12

    run(test)


@pytest.mark.parametrize("ends_quietly", [False, True])
def test_a_client_on_a_socket(ends_quietly: bool) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        with socket_line(ends_quietly=ends_quietly) as line:
            session = make_session(ClientSession("stream"), line, FACTS, Record(), RuntimePaths("/nonexistent"))
            running = asyncio.create_task(session.run())
            await line.send(b"hello")
            with socket.socket(fileno=await _opened(session)) as stream:
                stream.setblocking(False)
                assert await loop.sock_recv(stream, 100) == b"hello"
                await loop.sock_sendall(stream, b"you too")
                assert await line.receive(lambda got: len(got) == 7) == b"you too"
                line.hang_up()
                assert await loop.sock_recv(stream, 100) == b""
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)


async def _opened(session: Session) -> int:
    await asyncio.sleep(0)  # until it runs
    return session.open()


def test_the_end_of_the_line_is_seen_while_nobody_takes_what_it_said() -> None:
    """The line is not read then, and reads as empty afterwards."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        with socket_line(ends_quietly=True) as line:
            other, stream = joined()
            relay = Relay(line.dup(), other)
            running = asyncio.create_task(relay.run())
            sent = 0
            while not relay._from_line.paused:
                await line.send(bytes(100))
                await asyncio.sleep(0)
                sent += 100
            line.hang_up()
            with stream:
                got = 0
                while data := await loop.sock_recv(stream, 65536):
                    got += len(data)
            assert sent - 100 < got <= sent  # a datagram may have been cut by the last read
            assert await running is Closed.LINE

    run(test)


@pytest.mark.parametrize("ends_quietly", [False, True])
def test_auto_on_a_socket(ends_quietly: bool) -> None:
    async def test() -> None:
        known: dict[str, SessionConfig] = {"dialin": PppSession("dialin", role=Role.SERVER), "menu": ECHO}

        def begin(config: PlainSession, line: object, facts: object) -> Session:
            raise AssertionError("nobody has said anything")

        with socket_line(ends_quietly=ends_quietly) as line:
            config = AutoSession("who", ppp="dialin", login="menu", wait=PATIENCE)
            call = AutoCall(config, known.get, line, FACTS, Record(), begin)  # type: ignore[arg-type]
            running = asyncio.create_task(call.run())
            await asyncio.sleep(0)
            line.hang_up()
            end = await running
            assert (end.reason, end.detail) == (
                EndReason.REMOTE_HANGUP,
                "the caller hung up before he said what he wants",
            )

    run(test)


@pytest.mark.parametrize("is_rfcomm", [False, True])
def test_of_a_bluetooth_link_it_is_not_asked_what_is_left_to_send(
    is_rfcomm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would tell what it could still take, which is never nothing."""
    monkeypatch.setattr(output, "STALL", 1000.0)
    monkeypatch.setattr(output, "is_rfcomm", lambda fd: is_rfcomm)

    async def test() -> None:
        with socket_line(ends_quietly=False) as line:
            fd = line.dup()
            os.write(fd, b"nobody reads this")
            stop = asyncio.Event()
            sending = asyncio.create_task(output.output_sent(fd, stop))
            await asyncio.sleep(0)
            if not is_rfcomm:
                assert not sending.done()
                stop.set()
            await sending
            os.close(fd)

    run(test)
