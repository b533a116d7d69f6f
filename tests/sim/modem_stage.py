"""A registry with modems of the simulated exchange, in the loop of the test.

    def test_it(stage: Stage) -> None:
        async def body() -> None:
            caller, answerer = await stage.modems("100", "200")
            call = await stage.desk.dial(caller, "200", DialOptions())
            await stage.ended(call)

        stage.run(body)

A second is SECOND long here: for the exchange, for what the configuration says and, by `QUICK`, for the AT dialogue.
Nothing waits for a fixed time: `until` looks again at each thing that the registry tells.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from dialupd.config.load import load
from dialupd.config.values import Config, Flow, Policy
from dialupd.control import Desk
from dialupd.daemon import Historian
from dialupd.exchange.exchange import Exchange
from dialupd.exchange.modem import SimModem
from dialupd.exchange.port import Wire
from dialupd.exchange.pty import PtyModem
from dialupd.exchange.timing import Timing
from dialupd.io.notify import Notifier
from dialupd.io.port import Port
from dialupd.io.store import Store
from dialupd.io.ttyport import TtyPort
from dialupd.io.udev import Devices
from dialupd.model import (
    CallState,
    CallView,
    Device,
    DialOptions,
    HistoryFilter,
    ModemState,
    ModemView,
    Transport,
)
from dialupd.modem import timing
from dialupd.radio import Radio
from dialupd.registry import Registry
from dialupd.runtime import Quiet
from dialupd.sessions import relay
from dialupd.sessions.base import RuntimePaths
from dialupd.system import ByHand

PATIENCE = 20.0
SECOND = 0.02

# The ratios of the real ones, as far as they matter; what a modem of this exchange takes is a few milliseconds.
QUICK = {
    "SYNC": 0.25,
    "SYNC_TRIES": 2,
    "GUARD": 0.05,
    "HANG_UP_REPLY": 0.5,
    "DTR_SETTLE": 0.03,
    "VOICE_CLEARS": 0.02,
    "RING_TIMEOUT": 0.5,
    "STALE": 0.001,
    "RETRY_FIRST": 0.05,
    "RETRY_MAX": 0.4,
    "SESSION_STOP": 2.0,
    "SHUTDOWN": 8.0,
    "CALL_BACK_PAUSE": 0.1,
    "CALL_BACK_AGAIN": 0.2,
}
EXCHANGE = Timing(
    ring_interval=0.1, connect_time=0.02, dial_time=0.005, answer_delay=0.01, second=SECOND, abort_grace=0.002
)


class Told(Quiet):
    """Everything that the registry tells, in order: what and its values."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.states: dict[str, list[str]] = {}
        self._more = asyncio.Event()

    def _add(self, what: str, value: object) -> None:
        self.events.append((what, value))
        self._more.set()

    def modem_added(self, view: ModemView) -> None:
        self.states[view.id] = [view.state.value]
        self._add("modem added", view)

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        if old.state is not new.state:
            self.states[new.id].append(new.state.value)
        self._add("modem", new)

    def modem_removed(self, view: ModemView) -> None:
        self._add("modem removed", view)

    def ringing(self, modem_id: str, info: Mapping[str, str | int]) -> None:
        self._add("ringing", dict(info))

    def call_added(self, view: CallView) -> None:
        self._add("call added", view)

    def call_changed(self, old: CallView, new: CallView) -> None:
        self._add("call", new)

    def call_removed(self, view: CallView) -> None:
        self._add("call removed", view)

    def manager_changed(self) -> None:
        self._add("manager", None)

    def look_again(self) -> None:
        """For `until`, when something else may have changed."""
        self._more.set()

    def all(self, what: str) -> list[Any]:
        return [value for name, value in self.events if name == what]

    async def until(self, true: Callable[[], object], what: str = "") -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not true():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            last = "\n".join(f"{name} {value}" for name, value in self.events[-12:])
            raise AssertionError(f"it did not come{': ' + what if what else ''}; told last:\n{last}") from None


class TestRegistry(Registry):
    """Its locks are the test's own, and opening can be held up or refused."""

    __test__ = False
    locks = ""
    open_gate: Callable[[str], Awaitable[None]] | None = None

    async def open_port(self, device: Device, speed: int, flow: Flow) -> Port:
        if self.open_gate is not None:
            await self.open_gate(device.node)
        if device.radio:
            return await super().open_port(device, speed, flow)
        return await TtyPort.open(device.node, speed, flow, lock_directory=self.locks)


class Stage:
    """What one test plays on; everything but `run` is for its body."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.text = ""
        self.registry: TestRegistry
        self.desk: Desk
        self.exchange: Exchange
        self.told: Told
        self.loan = -1
        self.radio: Radio | None = None
        """Set before `run` where the machine has Bluetooth."""
        self.carriers: list[PtyModem] = []

    def run(self, body: Callable[[], Coroutine[Any, Any, None]], config: str = "") -> None:
        """Play the body; afterwards no task is left."""
        self.text = config
        asyncio.run(self._play(body))

    async def _play(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with Exchange(timing=EXCHANGE) as exchange:
            self.exchange = exchange
            self.registry = registry = TestRegistry(
                "test.toml",
                self._config,
                ByHand(RuntimePaths(str(self.directory)), Notifier({})),
                _no_udev,
                radio=self.find_radio,
            )
            self.desk = Desk(registry)
            registry.locks = str(self.directory)
            self.told = Told()
            store = Store(str(self.directory))
            try:
                registry.load()
                assert registry.config_error == ""
                registry.subscribe(Historian(store))
                registry.subscribe(self.told)
                await registry.start(store)
                await body()
            finally:
                await registry.close()
                await store.close()
                for carrier in self.carriers:
                    carrier.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "tasks are left"

    @property
    def find_radio(self) -> Callable[[], Radio] | None:
        """What makes the registry's radio."""
        radio = self.radio
        return None if radio is None else lambda: radio

    def _config(self) -> Config:
        config = load([("test.toml", self.text.encode())])
        policies = {name: _hurried(policy) for name, policy in config.policies.items()}
        modems = tuple(replace(one, disconnect_after=one.disconnect_after * SECOND) for one in config.modems)
        return replace(config, modems=modems, policies=MappingProxyType(policies))

    # -- modems

    async def modem(self, number: str, *, transport: Transport = Transport.CDC_ACM, **how: Any) -> str:
        """Add a modem with that number and plug it in; the registry's id for it."""
        self.exchange.modem(number, **how)
        return await self.plug(number, transport)

    async def plug(self, number: str, transport: Transport = Transport.CDC_ACM) -> str:
        return self._present(number, await self.exchange.on_pty(number), transport)

    def _present(self, number: str, path: str, transport: Transport) -> str:
        self.registry.fleet.present(self.device(number, path, transport))
        return next(view.id for view in self.registry.modems() if view.serial == number)

    async def modems(self, *numbers: str, **how: Any) -> list[str]:
        """So many modems, all ready."""
        found = [await self.modem(number, **how) for number in numbers]
        for modem in found:
            await self.state(modem, ModemState.READY)
        return found

    def device(self, number: str, path: str, transport: Transport = Transport.CDC_ACM) -> Device:
        """As udev would tell of it."""
        return Device(f"/sys/test/{number}", path, transport, vendor="0572", product="1340", serial=number)

    async def scripted(
        self, number: str, answers: Mapping[str, str] | None = None, kind: type[Scripted] | None = None
    ) -> tuple[str, Scripted]:
        """A ready modem that says what the test says."""
        dce = (kind or Scripted)(answers)
        carrier = PtyModem(asyncio.get_running_loop(), dce)
        self.carriers.append(carrier)
        modem = self._present(number, carrier.path, Transport.CDC_ACM)
        await self.state(modem, ModemState.READY)
        return modem, dce

    async def settle(self, modem: str) -> None:
        """Until the registry has heard all that the ready modem has said."""
        await self.desk.command(modem, "AT", 2.0)

    def sim(self, number: str) -> SimModem:
        return self.exchange.modems[number]

    def view(self, modem: str) -> ModemView:
        return next(view for view in self.registry.modems() if view.id == modem)

    async def state(self, modem: str, *states: ModemState) -> ModemView:
        """Wait until the modem is in one of the states."""
        await self.told.until(lambda: self.view(modem).state in states, f"{modem} {', '.join(states)}")
        return self.view(modem)

    async def gone(self, modem: str) -> None:
        await self.told.until(lambda: all(view.id != modem for view in self.registry.modems()), f"{modem} gone")

    # -- calls

    def call(self, number: int) -> CallView:
        return next(view for view in self.desk.calls() if view.call == number)

    async def ended(self, number: int) -> CallView:
        await self.told.until(lambda: self.call(number).state is CallState.ENDED, f"end of call {number}")
        return self.call(number)

    async def calls(self, count: int, modem: str = "") -> list[CallView]:
        """Wait until so many calls (of the modem) have ended; all of them."""

        def over() -> list[CallView]:
            return [
                view
                for view in self.desk.calls()
                if view.state is CallState.ENDED and (not modem or view.modem == modem)
            ]

        await self.told.until(lambda: len(over()) >= count, f"{count} ended calls")
        return over()

    async def connect(self, modem: str, number: str, **options: Any) -> int:
        """Dial and wait until the call is connected."""
        call = await self.desk.dial(modem, number, DialOptions(**options))
        await self.told.until(lambda: self.call(call).state in (CallState.CONNECTED, CallState.ENDED), "CONNECT")
        assert self.call(call).state is CallState.CONNECTED, f"{self.call(call).end_reason} {self.call(call).detail}"
        return call

    async def dialled(self, modem: str, number: str, **options: Any) -> CallView:
        """Dial, and wait until the call has ended and the modem rests; the call."""
        call = await self.desk.dial(modem, number, DialOptions(**options))
        view = await self.ended(call)
        await self.state(modem, ModemState.READY, ModemState.BLOCKED, ModemState.FAILED)
        return view

    async def rows(self) -> list[CallView]:
        return list(await self.desk.history(HistoryFilter()))

    def incoming(self) -> CallView:
        return next(view for view in reversed(list(self.desk.calls())) if view.direction == "incoming")


class Scripted:
    """A modem of the test's own, a `Dce`: OK to every command line, and whatever the test makes it say."""

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        self.heard = ""
        self._answers = answers or {}
        self._wire: Wire | None = None

    def say(self, text: str) -> None:
        assert self._wire is not None
        self._wire.send(text.encode("latin-1"))

    def attached(self, wire: Wire) -> None:
        self._wire = wire

    def detached(self) -> None:
        self._wire = None

    def received(self, data: bytes) -> None:
        for byte in data.decode("latin-1"):
            if byte != "\r":
                self.heard += byte
                continue
            line, self.heard = self.heard, ""
            self.say(self._answers.get(line, "\r\nOK\r\n"))

    def dtr(self, up: bool) -> None:
        """There is none."""

    def writable(self) -> None:
        """Nothing waits."""


class Stream:
    """A call's data stream, as a program has it that has called Open."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.got = bytearray()
        self.over = False
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()
        self._loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, 65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.over = True
            self._loop.remove_reader(self.fd)
        self.got += data
        self._more.set()

    def send(self, data: bytes) -> None:
        assert os.write(self.fd, data) == len(data)

    async def until(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            while data not in self.got:
                self._more.clear()
                await self._more.wait()

    async def end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.over:
                self._more.clear()
                await self._more.wait()
        self.close()

    def close(self) -> None:
        self._loop.remove_reader(self.fd)
        os.close(self.fd)


def _no_udev(present: Callable[[Device], None], gone: Callable[[str], None]) -> Devices:
    def none() -> Any:
        raise OSError("none in this test")

    return Devices(present, gone, none)


def _hurried(policy: Policy) -> Policy:
    retry = replace(policy.retry, first=policy.retry.first * SECOND, max=policy.retry.max * SECOND)
    hurried = {name: getattr(policy, name) * SECOND for name in ("timeout", "max_duration", "ring_back")}
    return replace(policy, **hurried, retry=retry)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(timing, name, seconds)
    monkeypatch.setattr(relay, "SILENCE", 0.05)
    yield Stage(tmp_path)


ANSWER = """
[session.line]
type = "client"

[policy.in]
mode = "answer"
rings = 1
session = "line"
"""


def entry(number: str, policy: str = "", more: str = "") -> str:
    """A [[modem]] for the modem with that number."""
    said = f'policy = "{policy}"\n' if policy else ""
    match = f'{{ vendor = "0572", product = "1340", serial = "{number}" }}'
    return f'\n[[modem]]\nname = "m{number}"\nmatch = {match}\n{said}{more}\n'
