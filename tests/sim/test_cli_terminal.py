"""dialupctl terminal as a person and as a script use it, with a real daemon on the simulated telephone network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import sys
import termios
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from private_bus import PrivateBus
from private_bus import bus_fixture as bus
from test_daemon import daemon, exchange, states

from dialupd.cli.commands import parse
from dialupd.cli.front import front
from dialupd.cli.remote import Remote
from dialupd.cli.terminal import terminal

__all__ = ["bus"]

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
END_OF_CALL = re.compile(rb"(\+\+\+)?(\r\nNO CARRIER\r\n)?\Z")
"""How a call ends on pseudo-terminals, which have no modem lines: the other side escapes, and the modem says so."""
FILE = random.Random(3).randbytes(64 * 1024)
CONFIG = """
[daemon]
state-directory = "{state}"
[[modem]]
name = "one"
match = {{ device = "{one}" }}
policy = "out"
[[modem]]
name = "two"
match = {{ device = "{two}" }}
policy = "{policy}"
[policy.out]
mode = "originate"
when = "manual"
numbers = ["200"]
session = "service"
[policy.in]
mode = "answer"
rings = 1
session = "service"
[policy.by-hand]
mode = "manual"
[session.service]
type = "tcp"
address = "127.0.0.1:{port}"
"""


@dataclass
class Town:
    """Two modems in the charge of a daemon; what calls the second one reaches `far`."""

    bus: str
    server: socket.socket
    remote: Remote

    async def far(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            end, _ = await loop.sock_accept(self.server)
        end.setblocking(False)
        return end

    def argv(self, *argv: str) -> list[str]:
        return [sys.executable, "-m", "dialupd.ctl", "--bus", self.bus, "terminal", *argv]


@contextlib.asynccontextmanager
async def town(bus: PrivateBus, place: Path, policy: str = "in") -> AsyncIterator[Town]:
    async with contextlib.AsyncExitStack() as stack:
        _, one, two = await stack.enter_async_context(exchange())
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.setblocking(False)
        config = place / "dialupd.toml"
        port = server.getsockname()[1]
        config.write_text(CONFIG.format(state=place, one=one, two=two, port=port, policy=policy))
        running = await stack.enter_async_context(daemon("--config", str(config), "--bus", bus.address))
        await running.until("is ready on the bus")
        remote = await stack.enter_async_context(Remote(bus.address))
        await states(remote, "ready", "ready")
        yield Town(bus.address, server, remote)
        await states(remote, "ready", "ready")
        assert await running.end() == 0
        assert "Traceback" not in "".join(running.said)


class Person:
    """dialupctl on a terminal of its own."""

    def __init__(self, process: asyncio.subprocess.Process, master: int, slave: int, before: list[Any]) -> None:
        self.process = process
        self.seen = ""
        self._master = master
        self._slave = slave
        self._before = before
        self._more = asyncio.Event()
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._readable)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            self.seen += os.read(self._master, 65536).decode("latin-1")
        self._more.set()

    async def sees(self, words: str) -> None:
        """Until the words are on the screen; what stood before them is forgotten."""
        try:
            async with asyncio.timeout(PATIENCE):
                while words not in self.seen:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} is not in {self.seen!r}") from None
        self.seen = self.seen.partition(words)[2]

    def types(self, text: str) -> None:
        os.write(self._master, text.encode("latin-1"))

    @property
    def raw(self) -> bool:
        return not termios.tcgetattr(self._slave)[3] & termios.ICANON

    async def ends(self) -> int:
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
        assert termios.tcgetattr(self._slave) == self._before, "the terminal is not as it was"
        self._readable()
        return code


@contextlib.asynccontextmanager
async def person(town: Town, *argv: str, cwd: Path = ROOT, under: tuple[str, ...] = ()) -> AsyncIterator[Person]:
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    process = await asyncio.create_subprocess_exec(
        "setsid", "--ctty", *under, *town.argv(*argv),
        stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield Person(process, master, slave, before)
    finally:
        asyncio.get_running_loop().remove_reader(master)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(master)
        os.close(slave)


async def until(got: bytearray, end: socket.socket, words: bytes) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        while words not in got:
            data = await loop.sock_recv(end, 65536)
            assert data, f"the far end heard {bytes(got)!r} and then nothing more"
            got += data


async def the_end(end: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    got = b""
    async with asyncio.timeout(PATIENCE):
        while data := await loop.sock_recv(end, 65536):
            got += data
    return END_OF_CALL.sub(b"", got, count=1)


def play(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def test_a_person_talks_and_ends(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with town(bus, tmp_path) as place, person(place, "one", "200") as me:
            await me.sees("dialling 200 on one")
            await me.sees("connected on one")
            await me.sees("~. ends it")
            with await place.far() as far:
                await asyncio.get_running_loop().sock_sendall(far, b"login: \xff")
                await me.sees("login: \xff")
                assert me.raw
                got = bytearray()
                me.types("a~.\x03\r~~x\r~yes\r")
                await until(got, far, b"yes\r")
                assert bytes(got) == b"a~.\x03\r~x\r~yes\r"
                me.types("~?")
                await me.sees("run a command with the line")
                me.types("last words\r~.")
                assert await the_end(far) == b"last words\r"
            assert await me.ends() == 0
            assert re.search(r"call \d+ ended: hung up on this side", me.seen)

    play(body)


def test_the_far_end_hangs_up(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with town(bus, tmp_path) as place, person(place, "out") as me:
            with await place.far() as far:
                await me.sees("~. ends it")
                await asyncio.get_running_loop().sock_sendall(far, b"x" * 5000 + b"bye")
            await me.sees("bye")
            assert await me.ends() == 0
            assert "the far end hung up" in me.seen

    play(body)


@pytest.mark.parametrize(
    ("how", "when"),
    [
        (signal.SIGTERM, "connected"),
        (signal.SIGHUP, "connected"),
        (signal.SIGINT, "connected"),
        (signal.SIGTERM, "in-a-command"),
    ],
)
def test_a_signal_restores_the_terminal_and_hangs_up(
    how: signal.Signals, when: str, bus: PrivateBus, tmp_path: Path
) -> None:
    async def body() -> None:
        async with town(bus, tmp_path) as place, person(place, "one", "200") as me:
            with await place.far() as far:
                await asyncio.get_running_loop().sock_sendall(far, b"hello")
                await me.sees("hello")
                if when == "in-a-command":
                    me.types("~Cecho here; exec sleep 600\r")
                    await until(bytearray(), far, b"here")
                os.kill(me.process.pid, how)  # setsid(1) has become dialupctl
                await the_end(far)
            assert await me.ends() == (130 if how is signal.SIGINT else 128 + how)

    play(body)


def test_interrupted_while_it_dials(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with town(bus, tmp_path, "by-hand") as place, person(place, "one", "200") as me:
            await states(place.remote, "dialing", "ringing")
            me.types("\x03")
            assert await me.ends() == 130
            assert "hanging up" in me.seen

    play(body)


def test_suspended_and_continued(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        # Only a shell with job control can stop anything.
        shell = ("bash", "-mc", '"$@"; echo it is stopped; read -r; fg', "-")
        async with town(bus, tmp_path) as place, person(place, "one", "200", under=shell) as me:
            with await place.far() as far:
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(far, b"hello")
                await me.sees("hello")
                me.types("~\x1a")
                await me.sees("it is stopped")
                assert not me.raw
                await loop.sock_sendall(far, b"meanwhile")
                me.types("\r")
                await me.sees("meanwhile")
                assert me.raw
                me.types("\r~.")
                await the_end(far)
            assert await me.ends() == 0

    play(body)


def blocking(end: socket.socket) -> int:
    end.setblocking(True)
    return end.fileno()


async def transfer(*argv: str, end: socket.socket, cwd: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=blocking(end), stdout=end, stderr=asyncio.subprocess.DEVNULL, cwd=cwd
    )
    try:
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    end.setblocking(False)


@pytest.mark.skipif(shutil.which("sz") is None, reason="lrzsz is not installed")
@pytest.mark.parametrize("way", ["there", "back"])
@pytest.mark.parametrize("asked", ["by-escape", "as-program"])
def test_a_file_goes_over_the_line(way: str, asked: str, bus: PrivateBus, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
    ours = here if way == "there" else there
    (ours / "file").write_bytes(FILE)
    send, receive = ("sz", "-b", "file"), ("rz", "-b")
    mine, its = (send, receive) if way == "there" else (receive, send)

    async def body() -> None:
        async with town(bus, tmp_path) as place:
            program = ("--", *mine) if asked == "as-program" else ()
            async with person(place, "one", "200", *program, cwd=here) as me:
                with await place.far() as far:
                    if not program:
                        await asyncio.get_running_loop().sock_sendall(far, b"now\r\n")
                        await me.sees("now")
                        me.types("~C")
                        await me.sees("Command on the line: ")
                        assert not me.raw
                        me.types(f"{' '.join(mine)}\r")
                    await transfer(*its, end=far, cwd=there)
                    if not program:
                        await asyncio.get_running_loop().sock_sendall(far, b"thanks")
                        await me.sees("thanks")
                        assert me.raw
                        me.types("\r~.")
                    await the_end(far)
                assert await me.ends() == 0, me.seen

    play(body)
    arrived = (there if way == "there" else here) / "file"
    assert arrived.read_bytes() == FILE


def test_a_program_gives_the_exit_code(bus: PrivateBus, tmp_path: Path) -> None:
    cases = {("sh", "-c", "echo hi; exit 7"): 7, ("sh", "-c", "kill -9 $$"): 137, ("no-such",): 127, ("/",): 126}

    async def body() -> None:
        async with town(bus, tmp_path) as place:
            for program, code in cases.items():
                async with person(place, "one", "200", "--", *program) as me:
                    with await place.far() as far:
                        assert await the_end(far) == (b"hi\n" if code == 7 else b"")
                    assert await me.ends() == code
                await states(place.remote, "ready", "ready")

    play(body)


@contextlib.asynccontextmanager
async def script(town: Town, *argv: str, stdin: int | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *town.argv(*argv), cwd=ROOT, stdin=pipe if stdin is None else stdin, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output_of(process: asyncio.subprocess.Process) -> tuple[bytes, str]:
    assert process.stdout is not None and process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
        await process.wait()
    return END_OF_CALL.sub(b"", out, count=1), err.decode()


def test_a_pipe_that_ends_still_hears_the_far_end(bus: PrivateBus, tmp_path: Path) -> None:
    sent, answer = bytes(range(256)) * 200 + b"\r~.\r", b"answer \xff\x00" * 5000

    async def body() -> None:
        async with town(bus, tmp_path) as place, script(place, "one", "200") as process:
            assert process.stdin is not None
            process.stdin.write(sent)
            process.stdin.close()
            with await place.far() as far:
                got = bytearray()
                await until(got, far, sent[-300:])
                assert bytes(got) == sent
                await asyncio.get_running_loop().sock_sendall(far, answer)
            out, err = await output_of(process)
            assert out == answer
            assert process.returncode == 0
            assert "the far end hung up" in err

    play(body)


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_hang_up_at_the_end_of_input(kind: str, bus: PrivateBus, tmp_path: Path) -> None:
    sent = bytes(range(256)) * 300
    (tmp_path / "input").write_bytes(sent)

    async def body() -> None:
        async with contextlib.AsyncExitStack() as stack:
            place = await stack.enter_async_context(town(bus, tmp_path))
            stdin = stack.enter_context((tmp_path / "input").open("rb")).fileno() if kind == "file" else None
            process = await stack.enter_async_context(script(place, "one", "200", "--hang-up-at-eof", stdin=stdin))
            with await place.far() as far:
                if process.stdin is not None and process.stdout is not None:
                    # A file is sent as soon as there is a line; a pipe waits until the far end has been heard.
                    await asyncio.get_running_loop().sock_sendall(far, b"welcome")
                    async with asyncio.timeout(PATIENCE):
                        assert await process.stdout.readexactly(7) == b"welcome"
                    process.stdin.write(sent)
                    process.stdin.close()
                assert await the_end(far) == sent
            out, err = await output_of(process)
            assert out == b""
            assert (process.returncode, "hung up on this side" in err) == (0, True)

    play(body)


def test_a_reader_that_stops_holds_the_far_end_back(bus: PrivateBus, tmp_path: Path) -> None:
    """Nobody reads the standard output: nothing is kept without bound, and it all comes when he goes on."""
    blob = random.Random(5).randbytes(600_000)

    async def body() -> None:
        async with town(bus, tmp_path) as place, script(place, "one", "200") as process:
            with await place.far() as far:
                await asyncio.get_running_loop().sock_sendall(far, blob)
            out, _ = await output_of(process)
            assert out == blob

    play(body)


def test_what_does_not_come_about(bus: PrivateBus, tmp_path: Path) -> None:
    cases = [
        (("one", "999"), 1, "ended: no modem took the call"),
        (("one", "x"), 1, "a dial string cannot hold"),
        (("three", "200"), 1, "no modem 'three'"),
        (("one", "--speed", "12345"), 1, "12345 is not a serial port's speed"),
        (("one", "200", "--"), 2, "say which program"),
        (("one", "200", "--json"), 2, "no --json"),
    ]

    async def body() -> None:
        async with town(bus, tmp_path) as place:
            for argv, code, told in cases:
                async with script(place, *argv) as process:
                    out, err = await output_of(process)
                    assert (process.returncode, out) == (code, b""), argv
                    assert told in err
                    assert "Traceback" not in err
                await states(place.remote, "ready", "ready")

    play(body)


def test_the_modem_itself(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with town(bus, tmp_path, "by-hand") as place, person(place, "one") as me:
            await me.sees("this is the modem itself")
            await me.sees("OK")
            await states(place.remote, "inhibited", "ready")
            me.types("ATI3\r")
            await me.sees("ATI3\r\r\n")
            await me.sees("OK\r\n")
            me.types("~.")
            assert await me.ends() == 0
            assert "one: given back" in me.seen
            await states(place.remote, "ready", "ready")

    play(body)


def test_a_call_that_rings_is_answered(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with town(bus, tmp_path, "by-hand") as place, person(place, "one", "200") as me:
            await states(place.remote, "dialing", "ringing")
            async with person(place, "two") as you:
                await you.sees("~. ends it")
                await me.sees("~. ends it")
                me.types("hello\r")
                await you.sees("hello\r")
                you.types("hello yourself\r")
                await me.sees("yourself\r")
                async with script(place, "two") as third:
                    _, err = await output_of(third)
                    assert (third.returncode, "is taken already" in err) == (1, True)
                you.types("~.")
                assert await you.ends() == 0
                assert await me.ends() == 0
                assert "the far end hung up" in me.seen

    play(body)


@pytest.mark.parametrize(("name", "shown"), [("nokia", "nokia"), ("x; reboot", "'x; reboot'")])
def test_a_phone_by_bluetooth_has_no_port_to_open(capsys: pytest.CaptureFixture[str], name: str, shown: str) -> None:
    """It is not even borrowed, which would close its line."""

    async def body() -> None:
        remote = Remote("unix:path=/nonexistent")
        phone = {"id": "bluetooth_00_1D_6E_12_34_56", "name": name, "device": "bluetooth:00:1D:6E:12:34:56"}
        remote.modems["/org/dialupd1/modem/bluetooth_00_1D_6E_12_34_56"] = {**phone, "state": "ready"}
        assert await terminal(front(parse(["terminal", name])), remote) == 1

    play(body)
    assert f"no port to open: use dialupctl command {shown} AT" in capsys.readouterr().err
