"""A session's helper and a daemon that is not to be trusted."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from dialupd.config.values import AutoSession, Config, ExecSession, PlainSession, PppSession, Role
from dialupd.helper.session import Helper, Refused
from dialupd.model import Direction, EndReason
from dialupd.sessions import protocol
from dialupd.sessions.base import CallFacts, SessionEnd
from dialupd.sessions.protocol import Begin, Ended, Kind
from dialupd.sessions.unit import TALLY

CALL = 7


def _begun(line: int, call: int, directory: Path) -> SessionEnd:
    """What a helper of call 7 answers to a daemon that gives this line and speaks of this call."""
    began = directory / "began"
    config = Config(sessions={"shell": ExecSession("shell", command=("/bin/touch", str(began)))})

    async def body() -> SessionEnd:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near, far:
            near.setblocking(False)
            helper = asyncio.create_task(
                Helper(near, Kind.EXEC, CALL, getpass.getuser()).run(lambda: config, str(directory))
            )
            with ExitStack() as stack:
                tally = os.memfd_create("tally")
                stack.callback(os.close, tally)
                os.truncate(tally, TALLY.size)
                facts = CallFacts(call, "modem", "/dev/ttyS0", Direction.INCOMING, session="shell")
                protocol.send(far, Begin(facts, True, b"what root is to write"), [line, tally])
            while True:
                received = await asyncio.to_thread(protocol.receive, far)
                assert received is not None
                if isinstance(received[0], Ended):
                    break
            far.shutdown(socket.SHUT_RDWR)
            await helper
        assert began.exists() is (received[0].end.reason is EndReason.SESSION_ENDED)
        return received[0].end

    return asyncio.run(asyncio.wait_for(body(), 10))


def _socket_pair(kind: str) -> tuple[socket.socket, socket.socket]:
    if kind != "tcp":
        return socket.socketpair(socket.AF_UNIX, getattr(socket, f"SOCK_{kind.upper()}"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        return server.accept()[0], far


@pytest.mark.parametrize("kind", ["stream", "dgram", "seqpacket", "tcp"])
def test_no_socket_but_a_bluetooth_link_is_a_line(kind: str, tmp_path: Path) -> None:
    near, far = _socket_pair(kind)
    with near, far:
        end = _begun(near.fileno(), CALL, tmp_path)
        assert end == SessionEnd(EndReason.SESSION_FAILED, "what the daemon gave is no line")
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(100)


def test_a_bluetooth_link_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = socket.socketpair()
    with near, far:
        for place in ("dialupd.helper.session", "dialupd.sessions.output"):
            monkeypatch.setattr(f"{place}.is_rfcomm", lambda fd: os.path.sameopenfile(fd, near.fileno()))
        assert _begun(near.fileno(), CALL, tmp_path).reason is EndReason.SESSION_ENDED


def test_a_unit_takes_the_line_of_no_other_call(tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        end = _begun(slave, CALL + 1, tmp_path)
    finally:
        os.close(master)
        os.close(slave)
    assert end.reason is EndReason.SESSION_FAILED
    assert "call 8 to the unit of call 7" in end.detail


@pytest.mark.parametrize(
    ("login", "kind", "found"),
    [
        ("menu", Kind.PPP, "dialin"),
        ("menu", Kind.EXEC, "menu"),
        ("menu", Kind.LOGIN, None),
        ("", Kind.LOGIN, "who"),
        ("", Kind.EXEC, None),
        ("gone", Kind.EXEC, None),
    ],
)
def test_of_an_auto_session_a_unit_gets_only_what_is_of_its_kind(login: str, kind: Kind, found: str | None) -> None:
    """Whatever the daemon says that it has heard."""
    config = Config(
        sessions={
            "who": AutoSession("who", ppp="dialin", login=login),
            "dialin": PppSession("dialin", role=Role.SERVER),
            "menu": ExecSession("menu", ("/bin/true",)),
        }
    )

    async def body() -> PlainSession:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near, far:
            return Helper(near, kind, CALL, getpass.getuser())._config("who", lambda: config)

    if found is None:
        with pytest.raises(Refused, match="another kind"):
            asyncio.run(body())
    else:
        assert asyncio.run(body()).name == found
