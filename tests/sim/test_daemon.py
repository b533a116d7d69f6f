"""The daemon as a process of its own: start, signals, the end, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from private_bus import PrivateBus
from private_bus import bus_fixture as bus

from dialupd import __version__
from dialupd import daemon as program
from dialupd.cli.remote import Remote
from dialupd.cli.rows import text
from dialupd.exchange.answers import Caller
from dialupd.exchange.exchange import Exchange
from dialupd.exchange.timing import Timing

__all__ = ["bus"]

PATIENCE = 30.0

CONFIG = """
[daemon]
state-directory = "{state}"

[[modem]]
name = "one"
match = {{ device = "{one}" }}

[[modem]]
name = "two"
match = {{ device = "{two}" }}
policy = "in"

[policy.in]
mode = "answer"
rings = 1
session = "line"

[session.line]
type = "exec"
command = ["/bin/cat"]
"""


class Daemon:
    """A running `python3 -m dialupd`; `said` is its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def until(self, words: str) -> str:
        """Read the log up to a line with the words."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                self.said.append(line)
                if words in line:
                    return line
        raise AssertionError(f"it never said {words!a}:\n{''.join(self.said)}")

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            self.said.append((await self.process.stderr.read()).decode())
            return await self.process.wait()


@asynccontextmanager
async def daemon(*arguments: str, **environment: str) -> AsyncIterator[Daemon]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dialupd", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    running = Daemon(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def play(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


@asynccontextmanager
async def exchange() -> AsyncIterator[tuple[Exchange, str, str]]:
    """Two modems, plugged in."""
    timing = Timing(
        ring_interval=0.1, connect_time=0.02, dial_time=0.01, answer_delay=0.01, second=0.5, abort_grace=0.01
    )
    async with Exchange(timing=timing) as town:
        town.modem("100")
        town.modem("200")
        yield town, await town.on_pty("100"), await town.on_pty("200")


async def states(remote: Remote, *wanted: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while sorted(text(modem, "state") for modem in remote.modems.values()) != sorted(wanted):
            await remote.next_event()


def rows(state: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(state / "history.sqlite") as database:
        found = database.execute("select direction, end_reason from calls order by call").fetchall()
    database.close()
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_a_call_hangs_up_and_ends(bus: PrivateBus, tmp_path: Path, how: signal.Signals) -> None:
    async def body() -> None:
        async with exchange() as (town, one, two):
            config = tmp_path / "dialupd.toml"
            config.write_text(CONFIG.format(state=tmp_path, one=one, two=two))
            async with daemon("--config", str(config), "--bus", bus.address) as running:
                assert __version__ in await running.until("is ready on the bus")
                async with Remote(bus.address) as remote:
                    await states(remote, "ready", "ready")
                    caller = next(modem for modem in remote.modems.values() if modem["name"] == "one")
                    await remote.dial(caller, "200", {"session": "line"})
                    await states(remote, "connected", "connected")
                assert await running.end(how) == 0, running.said
            assert [modem.peer for modem in town.modems.values()] == ["", ""]
        ends = rows(tmp_path)
        assert {direction for direction, _ in ends} == {"outgoing", "incoming"}
        assert {end for _, end in ends} <= {"shutdown", "remote-hangup"}
        assert "Traceback" not in "".join(running.said)

    play(body)


def test_killed_in_a_call_the_rows_are_closed_at_the_next_start(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with exchange() as (_, one, two):
            config = tmp_path / "dialupd.toml"
            config.write_text(CONFIG.format(state=tmp_path, one=one, two=two))
            arguments = ("--config", str(config), "--bus", bus.address)
            async with daemon(*arguments) as running:
                await running.until("is ready on the bus")
                async with Remote(bus.address) as remote:
                    await states(remote, "ready", "ready")
                    caller = next(modem for modem in remote.modems.values() if modem["name"] == "one")
                    await remote.dial(caller, "200", {"session": "line"})
                    await states(remote, "connected", "connected")
                await running.end(signal.SIGKILL)
            async with daemon(*arguments) as running:
                await running.until("is ready on the bus")
                async with Remote(bus.address) as remote:
                    # The line is still up behind each modem: it is hung up before it is used again.
                    await states(remote, "ready", "ready")
                    history = await remote.history({})
                    assert {text(row, "end-reason") for row in history} == {"shutdown"}
                    caller = next(modem for modem in remote.modems.values() if modem["name"] == "one")
                    await remote.dial(caller, "999", {"session": "line"})
                    await states(remote, "dialing", "ready")
                    await states(remote, "ready", "ready")
                    assert len(await remote.history({})) == 3
                assert await running.end() == 0
        assert [end for _, end in rows(tmp_path)] == ["shutdown", "shutdown", "no-carrier"], "numbers go on"

    play(body)


def test_sighup_reads_the_configuration_again(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with exchange() as (_, one, two):
            config = tmp_path / "dialupd.toml"
            good = CONFIG.format(state=tmp_path, one=one, two="/dev/none")
            config.write_text(good)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(str(tmp_path / "notify"))
                manager.setblocking(False)
                told: list[bytes] = []  # read at once: the queue of such a socket is short
                asyncio.get_running_loop().add_reader(manager, lambda: told.append(manager.recv(4096)))
                environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
                async with daemon("--config", str(config), "--bus", bus.address, **environment) as running:
                    await running.until("is ready on the bus")
                    async with Remote(bus.address) as remote:
                        await states(remote, "ready")
                        config.write_text("[policy.x]\nmode = 'dance'\n")
                        running.process.send_signal(signal.SIGHUP)
                        await running.until("dance")
                        assert len(remote.modems) == 1
                        config.write_text(CONFIG.format(state=tmp_path, one=one, two=two))
                        running.process.send_signal(signal.SIGHUP)
                        await states(remote, "ready", "ready")
                    assert await running.end() == 0
                asyncio.get_running_loop().remove_reader(manager)
                every = b"\n".join(told)
                assert every.index(b"READY=1") < every.index(b"RELOADING=1") < every.index(b"STOPPING=1")
                assert b"STATUS=configuration: " in every

    play(body)


def test_what_it_says_when_it_cannot_start(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        config = tmp_path / "dialupd.toml"
        config.write_text(f'[daemon]\nstate-directory = "{tmp_path}"\n')
        async with daemon("--config", str(config), "--bus", f"unix:path={tmp_path}/none") as running:
            assert await running.ended() == 1
            (line,) = running.said[-1].splitlines()[-1:]
            assert line.startswith("dialupd: there is no bus")
            assert "Traceback" not in running.said[-1]
        async with daemon("--config", str(config), "--bus", bus.address) as first:
            await first.until("is ready on the bus")
            async with daemon("--config", str(config), "--bus", bus.address) as second:
                assert await second.ended() == 1
                assert "another dialupd runs" in second.said[-1]
                assert "Traceback" not in second.said[-1]
            assert await first.end() == 0

    play(body)


def test_it_runs_on_without_a_configuration_and_says_so(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        config = tmp_path / "dialupd.toml"
        config.write_text(f'[daemon]\nstate-directory = "{tmp_path}"\nprobe-unknow = true\n')
        async with daemon("--config", str(config), "--bus", bus.address) as running:
            await running.until("probe-unknow")
            await running.until("is ready on the bus")
            assert await running.end() == 0

    play(body)


def test_modems_go_on_while_the_bus_is_away(bus: PrivateBus, tmp_path: Path) -> None:
    async def body() -> None:
        async with exchange() as (town, one, two):
            config = tmp_path / "dialupd.toml"
            config.write_text(CONFIG.format(state=tmp_path, one=one, two=two))
            async with daemon("--config", str(config), "--bus", bus.address) as running:
                await running.until("is ready on the bus")
                async with Remote(bus.address) as remote:
                    await states(remote, "ready", "ready")
                bus.kill()
                await running.until("the bus is gone")
                town.ring("200", Caller("5551212"), rings=20)
                await running.until("ringing -> answering")
                assert await running.end() == 0
        assert rows(tmp_path)[0][0] == "incoming"

    play(body)


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ('[[modem]]\nname = "rack"\nmatch = { vendor = "0572", product = "1340" }\n', 0, "rack"),
        ("[daemon]\nprobe-unknow = true\n", 1, "probe-unknown"),
    ],
)
def test_check(tmp_path: Path, config: str, code: int, said: str) -> None:
    async def body() -> None:
        file = tmp_path / "dialupd.toml"
        file.write_text(config)
        async with daemon("--check", "--config", str(file)) as running:
            output, errors = await running.process.communicate()
            assert running.process.returncode == code
            assert said in (output + errors).decode()

    play(body)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose directory in /run it is")
@pytest.mark.parametrize(("owner", "mode", "taken"), [(0, 0o700, True), (65534, 0o700, False), (0, 0o770, False)])
def test_root_keeps_nothing_in_a_directory_of_another_user(
    owner: int, mode: int, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    directory.chmod(mode)
    os.chown(directory, owner, owner)
    monkeypatch.setattr(program, "RUN_DIRECTORY", directory)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    with program._run_directory() as used:
        assert (used == str(directory)) is taken
        assert os.stat(used).st_uid == 0 and os.stat(used).st_mode & 0o022 == 0
