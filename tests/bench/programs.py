"""The programs under measurement, ours and those beside it: started, looked at through /proc, ended.

Each writes its output into a file of the place, whose end explains a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from dialupd.bus.client import Client, Follower, OwnerChanged, Signal
from dialupd.bus.values import CALL, MODEM

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0

T = TypeVar("T")


class Missed(Exception):
    """A measurement could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: wake-ups and CPU seconds of each thread since its start; its memory now in KiB."""

    wakeups: Mapping[str, int]
    cpu: Mapping[str, float]
    rss: int
    pss: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        process = Path(f"/proc/{pid}")
        tasks = list((process / "task").iterdir())
        return cls(
            {task.name: _field(task / "status", "voluntary_ctxt_switches") for task in tasks},
            {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks},
            _field(process / "status", "VmRSS"),
            _field(process / "smaps_rollup", "Pss"),
        )

    def since(self, before: Usage) -> tuple[int, float]:
        """Wake-ups and CPU seconds between; those of a thread that has ended meanwhile are gone with it."""
        wakeups = sum(count - before.wakeups.get(task, 0) for task, count in self.wakeups.items())
        return wakeups, sum(spent - before.cpu.get(task, 0.0) for task, spent in self.cpu.items())


def _field(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise Missed(f"{file} has no {name}")


class Program:
    """A child process; ends with the `async with` block."""

    def __init__(self, name: str, argv: Sequence[str], place: Path, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = place / f"{name}.log"
        self._argv = argv
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Program:
        with self.log.open("wb") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise Missed(f"{self._argv[0]} is not installed") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(20):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it has left behind

    async def wait(self, within: float = PATIENCE_S) -> int:
        """Its exit status."""
        assert self._process is not None
        async with asyncio.timeout(within):
            return await self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-2000:]

    async def needed(self, what: str, wait: Awaitable[T]) -> T:
        """A wait whose failure shows what the program said."""
        try:
            return await wait
        except TimeoutError:
            raise Missed(f"{self.name}: {what} did not come; it says\n{self.said()}") from None


class Dialupd:
    """The daemon on a bus, and what it tells there."""

    def __init__(self, place: Path, bus: str, config: str) -> None:
        self.bus = bus
        self._file = place / "dialupd.toml"
        self._head = f'[daemon]\nstate-directory = "{place / "state"}"\n'
        (place / "state").mkdir(exist_ok=True)
        self.write(config)
        argv = [sys.executable, "-m", "dialupd", "--config", str(self._file), "--bus", bus, "--log-level", "warning"]
        run = place / "run"
        run.mkdir(exist_ok=True)
        # What it starts, such as pppd, may be the measurement's own.
        path = f"{place / 'bin'}:{os.environ['PATH']}"
        self.program = Program("dialupd", argv, place, {"RUNTIME_DIRECTORY": str(run), "PATH": path})
        self.states: dict[str, str] = {}
        """The modems' states by the name of their device."""
        self.calls: dict[str, str] = {}
        self.paths: dict[str, str] = {}
        """Their object paths by the name of their device."""
        self.client: Client
        self._stack = contextlib.AsyncExitStack()
        self._changed = asyncio.Event()

    def write(self, config: str) -> None:
        self._file.write_text(self._head + config)

    async def __aenter__(self) -> Dialupd:
        self.client = await self._stack.enter_async_context(await Client.connect(self.bus))
        follower = await self.client.follow()
        await self._stack.enter_async_context(self.program)
        following = asyncio.create_task(self._follow(follower), name="follow dialupd")
        self._stack.callback(following.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _follow(self, follower: Follower) -> None:
        async for item in follower:
            match item:
                case OwnerChanged(owner) if owner:
                    self.calls[""] = "present"
                case Signal(_, _, "InterfacesAdded", [str(path), dict(interfaces)]):
                    if MODEM in interfaces:
                        device = str(interfaces[MODEM]["Device"])
                        self.paths[device] = path
                        self.states[device] = str(interfaces[MODEM]["State"])
                    if CALL in interfaces:
                        self.calls[path] = str(interfaces[CALL]["State"])
                case Signal(path, interface, "StateChanged", [_, str(new), _]):
                    if interface == MODEM:
                        device = next(device for device, its in self.paths.items() if its == path)
                        self.states[device] = new
                    elif interface == CALL:
                        self.calls[path] = new
                case _:
                    continue
            self._changed.set()

    async def until(self, what: str, happened: Callable[[], bool], within: float = PATIENCE_S) -> None:
        """Wait until what the daemon has told fits; Missed with what it logged."""
        try:
            async with asyncio.timeout(within):
                while not happened():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Missed(f"dialupd: {what} did not come; it says\n{self.program.said()}") from None

    async def present(self) -> None:
        await self.until("its name on the bus", lambda: "" in self.calls)

    async def ready(self, *paths: str) -> None:
        """Until the modems on these ttys are ready."""
        await self.until(f"ready on {paths}", lambda: all(self.states.get(path) == "ready" for path in paths))
