"""Units and jobs: systemd as it answers, fails, comes anew, is not there, and is played by somebody else."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bus_control import open_fds
from private_bus import PrivateBus, bus_fixture, private_bus

from dialupd.bus.connection import Connection
from dialupd.bus.systemd import Systemd, unit_path
from dialupd.bus.wire import BUS_NAME, Message, Variant, error_reply, reply, signal
from dialupd.units import UnitError

__all__ = ["bus_fixture"]

SYSTEMD = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{SYSTEMD}.Manager"
UNIT = "dialupd-ppp@7.service"
JOB = f"{PATH}/job/41"

Answer = Callable[["FakeSystemd", Message], None]


class FakeSystemd:
    """Answers as `answers` says for each method; what else is called, is an error."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.calls: list[tuple[str, list[Any]]] = []
        self.called: asyncio.Queue[str] = asyncio.Queue()
        self.answers: dict[str, Answer] = {"Subscribe": give("")}
        connection.on_call = self._on_call

    def _on_call(self, message: Message) -> None:
        self.calls.append((message.member, message.body))
        answer = self.answers.get(message.member)
        if answer is None:
            self.connection.send(error_reply(message, f"{SYSTEMD}.NoSuchThing", f"{message.member} is not played"))
        else:
            answer(self, message)
        self.called.put_nowait(message.member)

    async def when(self, member: str) -> None:
        """Return when the method has been called."""
        while await self.called.get() != member:
            pass

    def job_removed(self, result: str, *, job: str = JOB, unit: str = UNIT) -> None:
        self.connection.send(signal(PATH, MANAGER, "JobRemoved", "uoss", [41, job, unit, result]))

    def facts(self, unit: str = UNIT, interface: str = f"{SYSTEMD}.Service", **facts: tuple[str, object]) -> None:
        values = {name: Variant(kind, value) for name, (kind, value) in facts.items()}
        body = [interface, values, []]
        message = signal(unit_path(unit), f"{BUS_NAME}.Properties", "PropertiesChanged", "sa{sv}as", body)
        self.connection.send(message)


def give(signature: str, *body: object) -> Answer:
    return lambda fake, message: void(fake.connection.send(reply(message, signature, body)))


def refuse(name: str, text: str) -> Answer:
    return lambda fake, message: void(fake.connection.send(error_reply(message, name, text)))


def queue_job(result: str = "", **facts: tuple[str, object]) -> Answer:
    """Answer with the job; with a result, the job is over right behind the answer."""

    def answer(fake: FakeSystemd, message: Message) -> None:
        fake.connection.send(reply(message, "o", [JOB]))
        if facts:
            fake.facts(message.body[0], **facts)
        if result:
            fake.job_removed(result, unit=message.body[0])

    return answer


def silence(_: FakeSystemd, __: Message) -> None:
    """No answer."""


def void(_: object) -> None:
    """An expression for its effect."""


@asynccontextmanager
async def fake_systemd(bus: PrivateBus) -> AsyncIterator[FakeSystemd]:
    connection = await Connection.open(bus.address)
    fake = FakeSystemd(connection)
    await connection.request_name(SYSTEMD)
    try:
        yield fake
    finally:
        await connection.close()


Scenario = Callable[[FakeSystemd, Systemd], Awaitable[None]]


@pytest.fixture
def play(bus: PrivateBus) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            before = open_fds()
            async with asyncio.timeout(20), fake_systemd(bus) as fake:
                systemd = Systemd(bus.address)
                await scenario(fake, systemd)
                assert systemd._link is None, "nothing is waited for, and a connection is left"
            assert len(asyncio.all_tasks()) == 1
            assert open_fds() == before

        asyncio.run(whole())

    return run


async def trouble(awaitable: Awaitable[Any]) -> str:
    with pytest.raises(UnitError) as caught:
        await awaitable
    return str(caught.value)


def test_a_unit_is_started_and_stopped(play: Callable[[Scenario], None]) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers |= {"StartUnit": queue_job("done"), "StopUnit": queue_job("done")}
        await systemd.start(UNIT)
        await systemd.stop(UNIT)
        # A start takes nobody's place, a stop takes that of a start.
        assert fake.calls == [
            ("Subscribe", []),
            ("StartUnit", [UNIT, "fail"]),
            ("Subscribe", []),
            ("StopUnit", [UNIT, "replace"]),
        ]

    play(scenario)


def test_start_returns_only_when_the_job_is_over(play: Callable[[Scenario], None]) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = queue_job()
        starting = asyncio.create_task(systemd.start(UNIT))
        await fake.when("StartUnit")

        async def all_is_delivered() -> None:
            probe = asyncio.create_task(systemd.start("dialupd-exec@1.service"))
            await fake.when("StartUnit")
            fake.job_removed("done", unit="dialupd-exec@1.service")
            await probe

        await all_is_delivered()
        # Other jobs of the unit, the same job's number at another unit, and what is no JobRemoved.
        fake.job_removed("failed", job=f"{PATH}/job/40")
        fake.job_removed("failed", unit="dialupd-ppp@8.service")
        fake.connection.send(signal(PATH, MANAGER, "JobRemoved", "s", ["done"]))
        fake.connection.send(signal(PATH, MANAGER, "JobNew", "uoss", [41, JOB, UNIT, "failed"]))
        await all_is_delivered()
        assert not starting.done()
        fake.job_removed("done")
        await starting

    play(scenario)


def test_the_job_is_over_before_its_reply(play: Callable[[Scenario], None]) -> None:
    def early(fake: FakeSystemd, message: Message) -> None:
        fake.job_removed("done", job=f"{PATH}/job/40")
        fake.job_removed("canceled")
        fake.connection.send(reply(message, "o", [JOB]))

    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = early
        assert "another request for the unit took its place" in await trouble(systemd.start(UNIT))

    play(scenario)


@pytest.mark.parametrize(
    ("result", "facts", "words"),
    [
        (
            "failed",
            {
                "Result": ("s", "exit-code"),
                "ExecMainStatus": ("i", 3),
                "StatusText": ("s", "not\nour\tpeer" + "!" * 300),
            },
            f"its program ended with status 3 (its last word was: not our peer{'!' * 188});",
        ),
        ("failed", {"Result": ("s", "signal"), "ExecMainStatus": ("i", 11)}, "signal 11 ended its program;"),
        ("failed", {"Result": ("s", "core-dump"), "ExecMainStatus": ("i", 6)}, "signal 6 ended its program;"),
        ("failed", {"Result": ("s", "timeout"), "StatusText": ("s", "")}, "it was not ready in time;"),
        ("failed", {"Result": ("s", "protocol")}, "it ended before it was ready;"),
        ("failed", {"Result": ("s", "new-word")}, "systemd says 'new-word';"),
        ("failed", {"Result": ("u", 3)}, "systemd says 'failed';"),
        ("failed", {}, "systemd says 'failed';"),
        ("dependency", {"Result": ("s", "success")}, "a unit that it needs did not start;"),
        ("timeout", {}, "it took too long;"),
        ("unheard-of", {}, "systemd says 'unheard-of';"),
    ],
)
def test_why_a_start_failed(
    play: Callable[[Scenario], None], result: str, facts: dict[str, tuple[str, object]], words: str
) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = queue_job(result, **facts)
        text = await trouble(systemd.start(UNIT))
        assert text == f"{UNIT} was not started: {words} journalctl -u {UNIT} tells more"

    play(scenario)


def test_only_the_facts_of_the_unit_count(play: Callable[[Scenario], None]) -> None:
    def answer(fake: FakeSystemd, message: Message) -> None:
        fake.facts("dialupd-ppp@8.service", Result=("s", "signal"), ExecMainStatus=("i", 9))
        fake.facts(UNIT, f"{SYSTEMD}.Unit", Result=("s", "watchdog"))
        queue_job("failed")(fake, message)

    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = answer
        # Both units' facts are asked for, since both are started.
        other = asyncio.create_task(systemd.start("dialupd-ppp@8.service"))
        assert "systemd says 'failed'" in await trouble(systemd.start(UNIT))
        assert "signal 9 ended" in await trouble(other)

    play(scenario)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (f"{BUS_NAME}.Error.AccessDenied", "Permission denied", "org.dialupd1.rules is not installed, or polkit"),
        (f"{BUS_NAME}.Error.InteractiveAuthorizationRequired", "no", "org.dialupd1.rules is not installed, or polkit"),
        (f"{SYSTEMD}.NoSuchUnit", "Unit x not found.", "the unit is not installed"),
        (f"{SYSTEMD}.UnitMasked", "Unit x is masked.", "Unit x is masked."),
    ],
)
def test_a_start_is_refused(play: Callable[[Scenario], None], name: str, text: str, words: str) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = refuse(name, text)
        message = await trouble(systemd.start(UNIT))
        assert message.startswith(f"{UNIT} cannot be started: ")
        assert words in message

    play(scenario)


def test_what_is_not_loaded_is_stopped(play: Callable[[Scenario], None]) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StopUnit"] = refuse(f"{SYSTEMD}.NoSuchUnit", "Unit x not loaded.")
        await systemd.stop(UNIT)
        fake.answers["StopUnit"] = refuse(f"{BUS_NAME}.Error.AccessDenied", "no")
        assert "cannot be stopped" in await trouble(systemd.stop(UNIT))
        fake.answers["StopUnit"] = queue_job("canceled")
        assert "was not stopped: another request" in await trouble(systemd.stop(UNIT))

    play(scenario)


@pytest.mark.parametrize("answer", [give(""), give("s", JOB), give("oo", JOB, JOB)])
def test_a_reply_of_another_kind(play: Callable[[Scenario], None], answer: Answer) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = answer
        assert "answered StartUnit with something else" in await trouble(systemd.start(UNIT))

    play(scenario)


def test_a_reply_with_descriptors_leaves_none_open(play: Callable[[Scenario], None]) -> None:
    def generous(fake: FakeSystemd, message: Message) -> None:
        fake.connection.send(reply(message, "oh", [JOB, 0], [os.open("/dev/null", os.O_RDONLY)]))

    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = generous
        await trouble(systemd.start(UNIT))

    play(scenario)


def test_signals_of_others_do_not_count(play: Callable[[Scenario], None], bus: PrivateBus) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = queue_job()
        starting = asyncio.create_task(systemd.start(UNIT))
        await fake.when("StartUnit")
        assert systemd._link is not None
        stranger = await Connection.open(bus.address)
        body = [41, JOB, UNIT, "done"]
        forged = signal(PATH, MANAGER, "JobRemoved", "uoss", body)
        forged.destination = systemd._link._connection.unique_name
        stranger.send(forged)
        lie = signal("/org/freedesktop/DBus", BUS_NAME, "NameOwnerChanged", "sss", [SYSTEMD, "", stranger.unique_name])
        lie.destination = forged.destination
        stranger.send(lie)
        stranger.send(signal(PATH, MANAGER, "JobRemoved", "uoss", body))
        await stranger.ask_bus("GetId")
        fake.facts(Result=("s", "watchdog"))
        fake.job_removed("failed")
        assert "its watchdog was not fed" in await trouble(starting)
        await stranger.close()

    play(scenario)


def test_systemd_runs_itself_anew(play: Callable[[Scenario], None], bus: PrivateBus) -> None:
    """A reexec gives the name another owner, keeps jobs and subscriptions, and loses calls that are not answered."""

    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers |= {"StartUnit": queue_job(), "StopUnit": silence}
        starting = asyncio.create_task(systemd.start(UNIT))
        await fake.when("StartUnit")
        stopping = asyncio.create_task(systemd.stop("dialupd-exec@1.service"))
        await fake.when("StopUnit")
        connection = await Connection.open(bus.address)
        anew = FakeSystemd(connection)
        anew.answers["StopUnit"] = queue_job("done")
        # As systemd does, it waits in the queue for the name before the old one goes.
        await connection.ask_bus("RequestName", "su", [SYSTEMD, 0])
        await fake.connection.close()
        await stopping
        assert anew.calls == [("StopUnit", ["dialupd-exec@1.service", "replace"])]
        assert not starting.done()
        anew.job_removed("done")
        await starting
        await connection.close()

    play(scenario)


def test_systemd_goes_and_does_not_answer(play: Callable[[Scenario], None]) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = silence
        starting = asyncio.create_task(systemd.start(UNIT))
        await fake.when("StartUnit")
        await fake.connection.close()
        assert "disconnected" in await trouble(starting)
        assert f"{SYSTEMD} is not on this bus" in await trouble(systemd.start(UNIT))

    play(scenario)


def test_the_bus_is_lost_and_comes_back(bus: PrivateBus) -> None:
    async def scenario() -> None:
        before = open_fds()
        async with asyncio.timeout(20), fake_systemd(bus) as fake:
            systemd = Systemd(bus.address)
            fake.answers |= {"StartUnit": queue_job(), "StopUnit": silence}
            starting = asyncio.create_task(systemd.start(UNIT))
            await fake.when("StartUnit")
            stopping = asyncio.create_task(systemd.stop("dialupd-exec@1.service"))
            await fake.when("StopUnit")
            bus.kill()
            assert "cannot be started, or nobody knows whether it was: the bus is gone" in await trouble(starting)
            assert "cannot be stopped, or nobody knows whether it was: the bus is gone" in await trouble(stopping)
            assert "cannot reach the bus" in await trouble(systemd.start(UNIT))
            assert await systemd.own_job() == ""
        with private_bus() as other:
            systemd._bus = other.address
            async with asyncio.timeout(20), fake_systemd(other) as fake:
                fake.answers["StartUnit"] = queue_job("done")
                await systemd.start(UNIT)
        assert open_fds() == before

    asyncio.run(scenario())


def test_a_lost_connection_is_replaced_while_others_still_leave_it(play: Callable[[Scenario], None]) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = queue_job()
        first = asyncio.create_task(systemd.start(UNIT))
        await fake.when("StartUnit")
        assert systemd._link is not None
        # It runs before the first one is told.
        second = asyncio.create_task(systemd.start(UNIT))
        systemd._link._connection._end("torn")
        assert "torn" in await trouble(first)
        await fake.when("StartUnit")
        third = asyncio.create_task(systemd.start(UNIT))
        await fake.when("StartUnit")
        fake.job_removed("done")
        await second
        await third
        assert [member for member, _ in fake.calls].count("Subscribe") == 2

    play(scenario)


def test_patience_has_an_end(bus: PrivateBus) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), fake_systemd(bus) as fake:
            systemd = Systemd(bus.address, patience=0.2)
            fake.answers |= {"StartUnit": queue_job(), "StopUnit": silence}
            assert "was not started: it takes longer than 0.2 s" in await trouble(systemd.start(UNIT))
            assert "was not stopped: it takes longer than 0.2 s" in await trouble(systemd.stop(UNIT))
            assert systemd._link is None
            bus.pause()
            assert "was not started: it takes longer than 0.2 s" in await trouble(systemd.start(UNIT))
            bus.go_on()

    asyncio.run(scenario())


def test_one_who_waits_no_longer(play: Callable[[Scenario], None]) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["StartUnit"] = queue_job()
        starting = asyncio.create_task(systemd.start(UNIT))
        other = asyncio.create_task(systemd.start("dialupd-exec@1.service"))
        await fake.when("StartUnit")
        await fake.when("StartUnit")
        starting.cancel()
        await asyncio.wait({starting})
        assert starting.cancelled()
        assert systemd._link is not None
        assert [watch.unit for watch in systemd._link._watches] == ["dialupd-exec@1.service"]
        fake.job_removed("done", unit="dialupd-exec@1.service")
        await other

    play(scenario)


def test_closing_ends_all_waiting(play: Callable[[Scenario], None]) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        await systemd.close()
        fake.answers["StartUnit"] = queue_job()
        starting = asyncio.create_task(systemd.start(UNIT))
        await fake.when("StartUnit")
        await systemd.close()
        assert "the bus is gone: closed" in await trouble(starting)

    play(scenario)


def test_many_at_once_are_not_too_many_for_the_bus(play: Callable[[Scenario], None]) -> None:
    """The system bus lets a connection of an ordinary user wait for 128 replies."""

    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        waiting: list[Message] = []
        most = 0
        fake.answers["StartUnit"] = lambda _, message: waiting.append(message)

        async def answer() -> None:
            nonlocal most
            while True:
                await fake.when("StartUnit")
                # Whatever was asked at the same time has come when these are answered.
                for _ in range(3):
                    await fake.connection.ask_bus("GetId")
                most = max(most, len(waiting))
                for message in waiting:
                    queue_job("done")(fake, message)
                waiting.clear()

        answering = asyncio.create_task(answer())
        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(systemd.start(f"dialupd-exec@{number}.service"))
        answering.cancel()
        await asyncio.wait({answering})
        assert 1 < most <= 32
        assert [member for member, _ in fake.calls].count("Subscribe") == 1

    play(scenario)


def own_unit(job: list[object], kind: str = "restart") -> dict[str, Answer]:
    unit = unit_path("dialupd.service")

    def get(fake: FakeSystemd, message: Message) -> None:
        asked = (message.path, *message.body)
        if asked == (unit, f"{SYSTEMD}.Unit", "Job"):
            value = Variant("(uo)", job)
        else:
            assert asked == (JOB, f"{SYSTEMD}.Job", "JobType")
            value = Variant("s", kind)
        fake.connection.send(reply(message, "v", [value]))

    return {"GetUnitByPID": give("o", unit), "Get": get}


@pytest.mark.parametrize("kind", ["restart", "stop", "start"])
def test_our_own_job(play: Callable[[Scenario], None], kind: str) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers |= own_unit([41, JOB], kind)
        assert await systemd.own_job() == kind
        assert ("GetUnitByPID", [0]) in fake.calls

    play(scenario)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (own_unit([0, "/"]), ""),
        (own_unit([41, JOB]) | {"GetUnitByPID": refuse(f"{SYSTEMD}.NoUnitForPID", "no unit")}, "no unit"),
        (own_unit([41, JOB]) | {"Get": give("v", Variant("u", 7))}, "answered Get Job with something else"),
        (own_unit([41, JOB]) | {"Get": give("s", "restart")}, "answered Get with something else"),
        (
            own_unit([41, JOB]) | {"Get": refuse(f"{BUS_NAME}.Error.UnknownObject", "the job is over")},
            "the job is over",
        ),
    ],
)
def test_no_job_of_ours_is_known(
    play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture, answers: dict[str, Answer], says: str
) -> None:
    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers |= answers
        with caplog.at_level(logging.INFO, "dialupd"):
            assert await systemd.own_job() == ""
        assert [says in record.message for record in caplog.records] == [True] * bool(says)

    play(scenario)


def test_a_bus_that_hangs_does_not_keep_us_from_ending(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dialupd.bus.systemd.OWN_JOB_S", 0.2)

    async def scenario(fake: FakeSystemd, systemd: Systemd) -> None:
        fake.answers["GetUnitByPID"] = silence
        with caplog.at_level(logging.INFO, "dialupd"):
            assert await systemd.own_job() == ""
        assert "it does not answer" in caplog.text

    play(scenario)


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        ("dialupd-ppp@7.service", "dialupd_2dppp_407_2eservice"),
        ("dialupd-usbserial@0421-04ff.service", "dialupd_2dusbserial_400421_2d04ff_2eservice"),
    ],
)
def test_the_object_of_a_unit(unit: str, path: str) -> None:
    """As systemd's own bus_label_escape writes it; the first was seen on the bus of a real one."""
    assert unit_path(unit) == f"{PATH}/unit/{path}"
    assert re.sub("_(..)", lambda found: chr(int(found[1], 16)), path) == unit
