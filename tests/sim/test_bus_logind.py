"""The sleep of the machine: told, missed, by somebody else, and with a logind that comes, goes or refuses."""

from __future__ import annotations

import asyncio
import logging
import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from bus_control import open_fds
from log_lines import Log, log_of
from private_bus import PrivateBus, bus_fixture, private_bus

from dialupd.bus.connection import Connection
from dialupd.bus.logind import Sleep
from dialupd.bus.wire import BUS_NAME, Message, Variant, error_reply, reply, signal

__all__ = ["bus_fixture"]

LOGIND = "org.freedesktop.login1"
PATH = "/org/freedesktop/login1"
MANAGER = f"{LOGIND}.Manager"


class FakeLogind:
    """Gives delay locks, each the writing end of a pipe, and notices when they are let go of."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.preparing: Variant = Variant("b", False)
        self.patience: Variant = Variant("t", 5_000_000)
        self.refusal = ""
        self.descriptors = 1
        self.shape = "h"
        self.asked: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.pipes: list[int] = []
        connection.on_call = self._on_call

    def _on_call(self, message: Message) -> None:
        if message.member == "Get":
            assert message.body[0] == MANAGER
            value = {"PreparingForSleep": self.preparing, "InhibitDelayMaxUSec": self.patience}[message.body[1]]
            self.connection.send(reply(message, "v", [value]))
            return
        assert (message.path, message.interface, message.member) == (PATH, MANAGER, "Inhibit")
        if self.refusal:
            self.connection.send(error_reply(message, self.refusal, "Permission denied"))
        else:
            given = []
            for _ in range(self.descriptors):
                reader, writer = os.pipe()
                self.pipes.append(reader)
                given.append(writer)
            self.connection.send(reply(message, self.shape, [0] * len(self.shape), given))
        self.asked.put_nowait(message.body)

    def prepare(self, sleeps: bool) -> None:
        self.connection.send(signal(PATH, MANAGER, "PrepareForSleep", "b", [sleeps]))

    def held(self) -> int:
        """How many locks are held, by us or by a bus that still carries them."""
        return len(self.pipes) - len(select.select(self.pipes, [], [], 0)[0])

    async def released(self) -> None:
        """Return when no lock is held any more."""
        loop = asyncio.get_running_loop()
        for reader in self.pipes:
            done = asyncio.Event()
            loop.add_reader(reader, done.set)
            await done.wait()
            loop.remove_reader(reader)

    async def close(self) -> None:
        await self.connection.close()
        for reader in self.pipes:
            os.close(reader)
        self.pipes.clear()


async def fake_logind(bus: PrivateBus) -> FakeLogind:
    fake = FakeLogind(await Connection.open(bus.address))
    await fake.connection.request_name(LOGIND)
    return fake


@dataclass
class Daemon:
    """What `Sleep` calls."""

    told: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def before(self) -> None:
        self.told.put_nowait("before")
        try:
            await self.ready.wait()
        except asyncio.CancelledError:
            self.told.put_nowait("cut")
            raise
        self.told.put_nowait("ready")

    def after(self) -> None:
        self.told.put_nowait("after")


@pytest.fixture
def log() -> Iterator[Log]:
    with log_of("dialupd.bus.logind") as found:
        yield found


@asynccontextmanager
async def watching(bus: PrivateBus, daemon: Daemon) -> AsyncIterator[Sleep]:
    sleep = Sleep(bus.address, daemon.before, daemon.after)
    task = asyncio.create_task(sleep.run())
    try:
        yield sleep
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


Scenario = Callable[[Daemon, FakeLogind], Awaitable[None]]


@pytest.fixture
def play(bus: PrivateBus) -> Callable[[Scenario], None]:
    """Run a scenario that begins with a logind of whom the first lock has been got."""

    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            before, daemon = open_fds(), Daemon()
            async with asyncio.timeout(20):
                fake = await fake_logind(bus)
                async with watching(bus, daemon):
                    assert await fake.asked.get() == [
                        "sleep",
                        "dialupd",
                        "Calls are ended before the machine sleeps",
                        "delay",
                    ]
                    await scenario(daemon, fake)
                await fake.released()
                await fake.close()
            assert daemon.told.empty()
            assert len(asyncio.all_tasks()) == 1
            assert open_fds() == before

        asyncio.run(whole())

    return run


def test_the_machine_sleeps_and_wakes(play: Callable[[Scenario], None]) -> None:
    async def scenario(daemon: Daemon, fake: FakeLogind) -> None:
        for _ in range(2):
            daemon.ready.clear()
            fake.prepare(True)
            assert await daemon.told.get() == "before"
            assert fake.held() == 1
            daemon.ready.set()
            assert await daemon.told.get() == "ready"
            await fake.released()
            assert daemon.told.empty()
            fake.prepare(False)
            assert await daemon.told.get() == "after"
            await fake.asked.get()

    play(scenario)


def test_the_same_told_twice(play: Callable[[Scenario], None]) -> None:
    async def scenario(daemon: Daemon, fake: FakeLogind) -> None:
        daemon.ready.set()
        # Awake already: only the lock is taken anew.
        fake.prepare(False)
        await fake.asked.get()
        fake.prepare(True)
        fake.prepare(True)
        fake.prepare(False)
        assert [await daemon.told.get() for _ in range(3)] == ["before", "ready", "after"]
        await fake.asked.get()

    play(scenario)


def test_waking_comes_while_it_is_made_ready(play: Callable[[Scenario], None]) -> None:
    """logind's patience was over, and the machine has slept in the middle."""

    async def scenario(daemon: Daemon, fake: FakeLogind) -> None:
        fake.prepare(True)
        assert await daemon.told.get() == "before"
        fake.prepare(False)
        await fake.connection.ask_bus("GetId")
        assert daemon.told.empty()
        daemon.ready.set()
        assert [await daemon.told.get() for _ in range(2)] == ["ready", "after"]
        await fake.asked.get()

    play(scenario)


def test_logind_waits_no_longer(play: Callable[[Scenario], None], log: Log) -> None:
    async def scenario(daemon: Daemon, fake: FakeLogind) -> None:
        fake.patience = Variant("t", 400_000)
        fake.prepare(False)
        await fake.asked.get()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        fake.prepare(True)
        assert [await daemon.told.get() for _ in range(2)] == ["before", "cut"]
        await fake.released()
        # Half of a patience that is this short; without one it would be 4 s.
        assert 0.19 < loop.time() - begun < 2.0
        await log.until("logind waits no longer")
        fake.prepare(False)
        assert await daemon.told.get() == "after"
        await fake.asked.get()

    play(scenario)


def test_signals_of_others_do_not_count(play: Callable[[Scenario], None], bus: PrivateBus) -> None:
    async def scenario(daemon: Daemon, fake: FakeLogind) -> None:
        stranger = await Connection.open(bus.address)
        stranger.send(signal(PATH, MANAGER, "PrepareForSleep", "b", [True]))
        (names,) = await stranger.ask_bus("ListNames")
        assert isinstance(names, list)
        for name in names:
            forged = signal(PATH, MANAGER, "PrepareForSleep", "b", [True])
            forged.destination = name
            stranger.send(forged)
        await stranger.ask_bus("GetId")
        # Nor one of logind's own with another meaning.
        fake.connection.send(signal(PATH, MANAGER, "PrepareForSleep", "s", ["yes"]))
        fake.connection.send(signal(PATH, MANAGER, "PrepareForShutdown", "b", [True]))
        fake.prepare(False)
        await fake.asked.get()
        assert daemon.told.empty()
        await stranger.close()

    play(scenario)


def test_logind_comes_later_goes_and_comes_again(bus: PrivateBus, log: Log) -> None:
    async def scenario() -> None:
        before, daemon = open_fds(), Daemon()
        async with asyncio.timeout(20), watching(bus, daemon) as sleep:
            await log.until("logind does not run")
            fake = await fake_logind(bus)
            await fake.asked.get()
            fake.prepare(True)
            assert await daemon.told.get() == "before"
            daemon.ready.set()
            assert await daemon.told.get() == "ready"
            # Without logind nobody would tell that the machine is awake.
            await fake.close()
            assert await daemon.told.get() == "after"
            assert sleep._lock == -1
            # It comes while the machine is about to sleep, and with another patience.
            again = FakeLogind(await Connection.open(bus.address))
            again.preparing = Variant("b", True)
            await again.connection.request_name(LOGIND)
            assert [await daemon.told.get() for _ in range(2)] == ["before", "ready"]
            again.prepare(False)
            assert await daemon.told.get() == "after"
            await again.asked.get()
        await again.close()
        assert open_fds() == before

    asyncio.run(scenario())
    lines = [record.getMessage() for record in log.records]
    assert lines.count("logind does not run: nobody tells when this machine is about to sleep") == 2
    assert {record.levelno for record in log.records} == {logging.INFO}


def test_a_logind_that_replaces_another(play: Callable[[Scenario], None], bus: PrivateBus) -> None:
    """It restarted while the machine slept, and the waking was told to nobody."""

    async def scenario(daemon: Daemon, fake: FakeLogind) -> None:
        daemon.ready.set()
        fake.prepare(True)
        assert [await daemon.told.get() for _ in range(2)] == ["before", "ready"]
        other = FakeLogind(await Connection.open(bus.address))
        await other.connection.ask_bus("RequestName", "su", [LOGIND, 0])
        await fake.connection.ask_bus("ReleaseName", "s", [LOGIND])
        assert await daemon.told.get() == "after"
        await other.asked.get()
        await other.close()

    play(scenario)


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("refusal", f"{BUS_NAME}.Error.AccessDenied", "calls may be cut: Permission denied"),
        ("shape", "hu", "calls may be cut: org.freedesktop.login1 answered Inhibit with something else"),
        ("descriptors", 0, "calls may be cut: its delay lock came without a descriptor"),
        ("patience", Variant("s", "long"), "answered Get InhibitDelayMaxUSec with something else"),
        ("preparing", Variant("s", "perhaps"), "does not say whether the machine is about to sleep"),
    ],
)
def test_logind_refuses_or_talks_nonsense(bus: PrivateBus, log: Log, attribute: str, value: Any, words: str) -> None:
    """Calls are ended all the same, as far as the machine waits."""

    async def scenario() -> None:
        before, daemon = open_fds(), Daemon()
        daemon.ready.set()
        async with asyncio.timeout(20):
            fake = FakeLogind(await Connection.open(bus.address))
            setattr(fake, attribute, value)
            await fake.connection.request_name(LOGIND)
            async with watching(bus, daemon):
                await log.until(words)
                for _ in range(2):
                    fake.prepare(True)
                    fake.prepare(False)
                    assert [await daemon.told.get() for _ in range(3)] == ["before", "ready", "after"]
                    await fake.connection.ask_bus("GetId")
            await fake.close()
        assert len([record for record in log.records if record.levelno >= logging.WARNING]) == 1
        assert open_fds() == before

    asyncio.run(scenario())


def test_more_descriptors_than_asked_for(play: Callable[[Scenario], None]) -> None:
    async def scenario(daemon: Daemon, fake: FakeLogind) -> None:
        fake.descriptors = 3
        fake.prepare(False)
        await fake.asked.get()
        # The next lock is asked for when the one before is held, so by then the others are closed.
        fake.descriptors = 1
        fake.prepare(False)
        await fake.asked.get()
        assert fake.held() <= 2
        fake.prepare(False)
        await fake.asked.get()

    play(scenario)


def test_the_bus_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock outlives the bus, and a waking that was missed is found on the next one."""
    monkeypatch.setattr("dialupd.bus.logind._RECONNECT_FIRST", 0.01)

    async def scenario() -> None:
        before, daemon = open_fds(), Daemon()
        daemon.ready.set()
        with private_bus() as first, private_bus() as second:
            async with asyncio.timeout(20):
                fake = await fake_logind(first)
                async with watching(first, daemon) as sleep:
                    await fake.asked.get()
                    fake.prepare(False)
                    await fake.asked.get()
                    later = await fake_logind(second)
                    sleep._bus = second.address
                    first.kill()
                    await later.asked.get()
                    later.prepare(True)
                    assert [await daemon.told.get() for _ in range(2)] == ["before", "ready"]
                    assert fake.held() == 0
                    await later.connection.close()
                    assert await daemon.told.get() == "after"
                    sleep._bus = "unix:path=/nowhere"
                    second.kill()
            assert daemon.told.empty()
            await fake.close()
            await later.close()
        assert open_fds() == before

    asyncio.run(scenario())


def test_a_sleep_over_the_loss_of_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.bus.logind._RECONNECT_FIRST", 0.01)

    async def scenario() -> None:
        daemon = Daemon()
        daemon.ready.set()
        with private_bus() as first, private_bus() as second:
            async with asyncio.timeout(20):
                fake, later = await fake_logind(first), await fake_logind(second)
                async with watching(first, daemon) as sleep:
                    await fake.asked.get()
                    fake.prepare(True)
                    assert [await daemon.told.get() for _ in range(2)] == ["before", "ready"]
                    sleep._bus = second.address
                    first.kill()
                    assert await daemon.told.get() == "after"
                    await later.asked.get()
                await fake.close()
                await later.close()

    asyncio.run(scenario())
