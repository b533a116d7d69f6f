"""A stage whose sessions run in processes of their own, as in units, and whose daemon can be restarted in mid-call.

`Manager` plays systemd: it starts `dialupd.helper` for a unit's name, and keeps descriptors over a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

from dialupd.config.values import Config
from dialupd.control import Desk
from dialupd.daemon import Historian
from dialupd.exchange.exchange import Exchange
from dialupd.io.notify import Notifier
from dialupd.io.store import Store
from dialupd.io.udev import Devices
from dialupd.model import Device
from dialupd.sessions.runners import InUnits
from dialupd.system import AsService
from dialupd.units import UnitError
from dialupd.wishes import WishKeeper
from tests.sim.modem_stage import EXCHANGE, PATIENCE, Stage, TestRegistry, Told

UNIT = re.compile(r"dialupd-(ppp|login|exec)@([0-9]+)\.service")


class Manager:
    """systemd, as far as the daemon sees it; `refuses` is why no unit starts, `busy`: it reads nothing."""

    HELPER: ClassVar[tuple[str, ...]] = ("-m", "dialupd.helper")

    def __init__(self, directory: Path) -> None:
        self.kept: dict[str, int] = {}
        self.started: list[str] = []
        self.refuses = ""
        self.busy = False
        self.heard: Callable[[], None] = lambda: None
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._directory = directory
        self._address = str(directory / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self._address)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._heard)

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self._address}

    def look(self) -> dict[str, int]:
        """What is kept now."""
        self._heard()
        return self.kept

    def given(self) -> dict[str, int]:
        """What the next daemon gets."""
        self._heard()
        return {name: os.dup(fd) for name, fd in self.kept.items()}

    def _heard(self) -> None:
        while not self.busy:
            try:
                text, found, _, _ = socket.recv_fds(self._socket, 4096, 1)
            except BlockingIOError:
                return
            words = dict(line.split("=", 1) for line in text.decode().split("\n"))
            name = words.get("FDNAME", "")
            if "FDSTORE" in words:
                self.kept[name] = found[0]
            elif "FDSTOREREMOVE" in words:
                os.close(self.kept.pop(name))
            self.heard()

    async def start(self, unit: str) -> None:
        if unit == "dialupd-config.service":
            return
        if self.refuses:
            raise UnitError(f"{unit}: {self.refuses}")
        found = UNIT.fullmatch(unit)
        assert found is not None, unit
        self.started.append(unit)
        self.heard()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
            address = str(self._directory / f"ready-{found[2]}-{found[1]}")
            notify.bind(address)
            process = self.running[unit] = self._spawn(unit, found[1], found[2], address)
            await self._begun(unit, process, notify)

    async def _begun(self, unit: str, process: subprocess.Popen[bytes], notify: socket.socket) -> None:
        """Type=notify: until it says that it is ready, or has ended."""
        said, ended = asyncio.Event(), os.pidfd_open(process.pid)
        for fd in (notify.fileno(), ended):
            self._loop.add_reader(fd, said.set)
        try:
            await said.wait()
            with contextlib.suppress(BlockingIOError):
                if notify.recv(4096) == b"READY=1":
                    return
        finally:
            for fd in (notify.fileno(), ended):
                self._loop.remove_reader(fd)
            os.close(ended)
        raise UnitError(f"{unit} was not started: its program ended with status {process.wait()}")

    def _spawn(self, unit: str, kind: str, call: str, notify: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, *self.HELPER, "--config", str(self._directory / "dialupd.toml")]
        argv += [
            "--run-directory",
            str(self._directory),
            "--daemon",
            getpass.getuser(),
            "--user",
            getpass.getuser(),
            kind,
            call,
        ]
        own = self._directory / f"unit-{call}"
        own.mkdir(mode=0o700, exist_ok=True)
        with open(self._directory / f"{unit}.log", "wb") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "RUNTIME_DIRECTORY": str(own), "NOTIFY_SOCKET": notify},
            )

    async def stop(self, unit: str) -> None:
        process = self.running.get(unit)
        if process is not None:
            process.terminate()

    async def ended(self, unit: str) -> int:
        """The status of a unit that ends by itself."""
        process = self.running.pop(unit)
        return await asyncio.wait_for(asyncio.to_thread(process.wait), PATIENCE)

    def log(self, unit: str) -> str:
        return (self._directory / f"{unit}.log").read_text()

    def empty(self) -> None:
        """As at `systemctl stop`."""
        self._heard()
        while self.kept:
            os.close(self.kept.popitem()[1])

    async def close(self) -> None:
        self.empty()
        for unit in list(self.running):
            await self.ended(unit)
        self._loop.remove_reader(self._socket)
        self._socket.close()


class UnitStage(Stage):
    """A `Stage` on which `restart` is another life of the daemon."""

    manager: Manager
    system: AsService
    _store: Store

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._devices: dict[str, Device] = {}
        self.last_good: Callable[[], Config | None] = lambda: None

    async def _play(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        (self.directory / "dialupd.toml").write_text(self.text)
        self.manager = Manager(self.directory)
        async with Exchange(timing=EXCHANGE) as exchange:
            self.exchange = exchange
            try:
                await self.begin()
                await body()
            finally:
                await self.end(keep=False)
                await self.manager.close()
                for carrier in self.carriers:
                    carrier.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "tasks are left"

    async def begin(self) -> None:
        """A daemon's life begins."""
        notifier = self._notifier = Notifier(self.manager.environment)
        self.system = AsService(self.manager, str(self.directory), notifier, self.manager.given())
        self.registry = TestRegistry(
            "test.toml", self._config, self.system, self._udev, last_good=self.last_good, radio=self.find_radio
        )
        self.registry.locks = str(self.directory)
        self.desk = Desk(self.registry)
        self.told = Told()
        self.manager.heard = self.told.look_again
        self._store = Store(str(self.directory))
        self.registry.load()
        keeper = WishKeeper(str(self.directory), self.registry.wishes)
        self.registry.wish(keeper.read())
        self.registry.subscribe(keeper)
        self.registry.subscribe(Historian(self._store))
        self.registry.subscribe(self.told)
        await self.registry.start(self._store)

    async def end(self, *, keep: bool) -> None:
        """It ends, in order."""
        await self.registry.close(keep_calls=keep)
        await self.system.close()
        await self._store.close()
        self._notifier.close()

    async def restart(self) -> None:
        await self.end(keep=True)
        await self.begin()

    def unplug(self, number: str) -> None:
        """The next daemon does not find the modem."""
        del self._devices[number]

    async def prepared(self, call: int) -> None:
        """Wait until the unit that was started early for the call waits for its line."""
        runner = self.system.runner
        assert isinstance(runner, InUnits)
        await self.told.until(lambda: any(f"@{call}." in unit for unit in self.manager.started), "its start")
        await runner._prepared[call].asked()

    def kill(self, unit: str) -> None:
        os.kill(self.manager.running[unit].pid, signal.SIGKILL)

    def _present(self, number: str, path: str, transport: Any) -> str:
        self._devices[number] = self.device(number, path, transport)
        return super()._present(number, path, transport)

    def _udev(self, present: Callable[[Device], None], gone: Callable[[str], None]) -> Devices:
        return _Known(present, gone, self._devices)


class _Known(Devices):
    """At the start it finds what the test has plugged in."""

    def __init__(
        self, present: Callable[[Device], None], gone: Callable[[str], None], devices: dict[str, Device]
    ) -> None:
        def none() -> Any:
            raise OSError("none in this test")

        super().__init__(present, gone, none)
        self._present_all = present
        self._plugged = devices

    def start(self) -> None:
        for device in list(self._plugged.values()):
            self._present_all(device)
