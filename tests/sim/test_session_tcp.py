"""The session tcp against real sockets and real transfer programs: both ways, both ends, plain and telnet."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import random
import shutil
import socket
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from session_line import FACTS, PtyLine, Record, line, run

from dialupd.config.values import TcpSession
from dialupd.model import EndReason
from dialupd.sessions import output
from dialupd.sessions.base import RuntimePaths, SessionEnd
from dialupd.sessions.relay import Relay
from dialupd.sessions.start import make_session
from dialupd.sessions.telnet import Telnet

Service = Callable[[socket.socket], Awaitable[None]]

IAC_WILL, IAC_DO, BINARY, ECHO = b"\xff\xfb", b"\xff\xfd", b"\0", b"\1"
FILE = random.Random(7).randbytes(256 * 1024)
PATIENCE = 20.0


@contextlib.asynccontextmanager
async def call(
    service: Service, *, telnet: bool = False
) -> AsyncIterator[tuple[PtyLine, asyncio.Task[SessionEnd], asyncio.Task[None]]]:
    """A caller's line joined to one connection of the service: the line, the session, and what the service does."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, line() as pty:
        server.setblocking(False)

        async def serve() -> None:
            connection, _ = await loop.sock_accept(server)
            with connection:
                await service(connection)

        serving = asyncio.create_task(serve())
        config = TcpSession("bbs", "127.0.0.1", server.getsockname()[1], telnet)
        session = make_session(config, pty, FACTS, Record(), RuntimePaths("/nonexistent"))
        running = asyncio.create_task(session.run())
        try:
            yield pty, running, serving
        finally:
            for task in (serving, running):
                task.cancel()
            await asyncio.wait({serving, running})


async def all_of(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    got = b""
    while data := await loop.sock_recv(connection, 65536):
        got += data
    return got


def test_a_service_that_only_sends() -> None:
    """It shuts down its sending side: the caller gets all that it sent, then the call ends."""
    words = b"x" * 200_000 + b"goodbye"

    async def service(connection: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(connection, words)
        connection.shutdown(socket.SHUT_WR)
        assert await all_of(connection) == b"thanks"

    async def test() -> None:
        async with call(service) as (pty, running, serving):
            await pty.send(b"thanks")
            assert await pty.receive(lambda got: got.endswith(b"goodbye")) == words
            end = await running
            assert end.reason is EndReason.SESSION_ENDED
            assert "closed the connection" in end.detail
            await serving

    run(test)


def test_a_caller_who_hangs_up() -> None:
    """The service gets all that was sent and then an end, not a reset, though it talks on that nobody hears it."""
    words = b"y" * 100_000 + b"the end"
    got: list[bytes] = []

    async def service(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, b"z" * 20_000)  # more than the line takes at once
        got.append(await all_of(connection))

    async def test() -> None:
        async with call(service) as (pty, running, serving):
            await pty.send(words)
            # What the kernel still holds of the line at a hang-up is lost with it: so not before it is read.
            async with asyncio.timeout(PATIENCE):
                while fill(pty):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP
            await serving
            assert got == [words]

    run(test)


def fill(pty: PtyLine) -> int:
    """Bytes that the far end has sent and nobody has read."""
    fd = pty.dup()
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0])
    finally:
        os.close(fd)


def test_a_service_that_ignores_the_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LINGER", 0.05)

    async def service(connection: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(connection, b"hello")
        await asyncio.Event().wait()

    async def test() -> None:
        async with call(service) as (pty, running, _):
            await pty.receive(lambda got: got == b"hello")
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)


def test_a_service_that_writes_faster_than_we_read_leaves_others_their_turn() -> None:
    reads = 0

    class Endless(socket.socket):
        def recv(self, size: int, flags: int = 0) -> bytes:
            nonlocal reads
            reads += 1
            assert reads < 1000
            return bytes(size)

    with Endless() as end:
        ended = asyncio.Event()
        output._discard(end, ended)
        assert not ended.is_set()


def test_backpressure_both_ways() -> None:
    """Whoever does not read holds the other back: no side can make us keep more than the buffers hold."""
    held = asyncio.Event()

    async def service(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        loop = asyncio.get_running_loop()
        blob = memoryview(b"b" * 20_000_000)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(blob):
                async with asyncio.timeout(0.5):  # it goes at once, or nobody takes it
                    await loop.sock_sendall(connection, blob[sent : sent + 65536])
                sent += 65536
        assert sent < 8_000_000  # what the kernel's two socket buffers grow to, at most
        held.set()
        await asyncio.Event().wait()

    async def test() -> None:
        async with call(service) as (pty, running, _):
            filling = asyncio.create_task(pty.send(b"f" * 20_000_000))
            async with asyncio.timeout(PATIENCE):
                await held.wait()
            assert not filling.done()
            assert not running.done()
            filling.cancel()
            await asyncio.wait({filling})

    run(test)


def test_telnet_is_answered_and_the_caller_sees_none_of_it() -> None:
    heard = bytearray()

    async def service(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, IAC_WILL + ECHO + b"login: \xff\xff\r\0!")
        while not heard.endswith(b"\r\0"):
            heard.extend(await loop.sock_recv(connection, 100))

    async def test() -> None:
        async with call(service, telnet=True) as (pty, running, serving):
            assert await pty.receive(lambda got: got.endswith(b"!")) == b"login: \xff\r!"
            await pty.send(b"a\xff\r")
            await serving
            assert bytes(heard) == IAC_DO + ECHO + b"a\xff\xff\r\0"
            assert (await running).reason is EndReason.SESSION_ENDED

    run(test)


def test_telnet_answers_are_bounded() -> None:
    """A service that asks for ever and reads no answer is not read from any more."""
    held = asyncio.Event()

    async def service(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        questions = (IAC_DO + b"\x06") * 20_000
        with pytest.raises(TimeoutError):
            while True:
                async with asyncio.timeout(0.5):
                    await loop.sock_sendall(connection, questions)
        held.set()
        await all_of(connection)

    async def test() -> None:
        async with call(service, telnet=True) as (pty, running, serving):
            async with asyncio.timeout(PATIENCE):
                await held.wait()
            assert not running.done()
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP
            await serving

    run(test)


async def transfer(*argv: str, fd: int, cwd: Path) -> None:
    """One end of a ZMODEM transfer on a descriptor."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=fd, stdout=fd, stderr=asyncio.subprocess.PIPE, cwd=cwd, start_new_session=True
    )
    try:
        async with asyncio.timeout(2 * PATIENCE):
            _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def plain(*argv: str, cwd: Path) -> Service:
    async def service(connection: socket.socket) -> None:
        connection.setblocking(True)
        await transfer(*argv, fd=connection.fileno(), cwd=cwd)

    return service


def behind_telnet(*argv: str, cwd: Path, binary: bool) -> Service:
    """A telnet server that runs the program."""

    async def service(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        near.setblocking(False)
        with near, far:
            telnet = Telnet()
            if binary:  # agreed before the first byte: what is under way meanwhile is not binary yet
                await loop.sock_sendall(connection, IAC_WILL + BINARY + IAC_DO + BINARY)
                for _ in range(6):
                    telnet.received(await loop.sock_recv(connection, 1))

            async def there() -> None:
                while data := await loop.sock_recv(near, 4096):
                    await loop.sock_sendall(connection, telnet.sent(data))

            async def back() -> None:
                while data := await loop.sock_recv(connection, 4096):
                    text, answers = telnet.received(data)
                    await loop.sock_sendall(connection, answers)
                    await loop.sock_sendall(near, text)

            async with asyncio.TaskGroup() as group:
                relaying = [group.create_task(there()), group.create_task(back())]
                await transfer(*argv, fd=far.fileno(), cwd=cwd)
                far.shutdown(socket.SHUT_WR)
                await relaying[0]
                relaying[1].cancel()

    return service


@pytest.mark.skipif(shutil.which("sz") is None, reason="lrzsz is not installed")
@pytest.mark.parametrize("kind", ["plain", "telnet", "telnet-binary"])
@pytest.mark.parametrize("caller", ["sends", "receives"])
def test_zmodem_through_it_is_intact(kind: str, caller: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    sender, receiver = ("sz", "--quiet", "--binary", "file"), ("rz", "--quiet", "--binary")
    ours, theirs = (sender, receiver) if caller == "sends" else (receiver, sender)
    for directory in (here, there):
        directory.mkdir()
    ((here if caller == "sends" else there) / "file").write_bytes(FILE)
    service = (
        plain(*theirs, cwd=there)
        if kind == "plain"
        else behind_telnet(*theirs, cwd=there, binary=kind == "telnet-binary")
    )

    async def test() -> None:
        async with call(service, telnet=kind != "plain") as (pty, running, serving):
            # Not on the pseudo-terminal: lrzsz flushes a terminal at its end, and with it its own last words.
            near, far = socket.socketpair()
            with far:
                relaying = asyncio.create_task(Relay(pty.far_dup(), near.detach()).run())
                await transfer(*ours, fd=far.fileno(), cwd=here)
                assert (await running).reason is EndReason.SESSION_ENDED
                await serving
            await relaying

    run(test)
    arrived = (there if caller == "sends" else here) / "file"
    assert hashlib.sha256(arrived.read_bytes()).digest() == hashlib.sha256(FILE).digest()
