"""Phones that bluetoothd knows: which are devices, which modems, and what is said of those that are none."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from exchange_radio import ExchangeRadio, SocketModem
from fake_bluez import FakeBluez
from fake_radio import NOKIA, FakeRadio
from modem_stage import Scripted, Told
from modem_stage import Stage as Exchange
from modem_stage import stage as stage
from private_bus import PrivateBus
from private_bus import bus_fixture as bus

from dialupd.bus.bluez import Bluez
from dialupd.config.load import load
from dialupd.config.values import Config, Flow, Match, ModemEntry
from dialupd.control import Desk
from dialupd.io.notify import Notifier
from dialupd.io.port import Lost, PortError, PortFault
from dialupd.io.store import Store
from dialupd.io.udev import Devices
from dialupd.model import DeviceClass, EndReason, ModemState, Transport
from dialupd.phones import Phones, device_of, problems
from dialupd.radio import Phone, Radio, RadioError, RadioFault, Service
from dialupd.registry import Registry
from dialupd.sessions.base import RuntimePaths
from dialupd.system import ByHand, System

__all__ = ["bus"]

ADDRESS = NOKIA.address
PLACE = f"bluetooth:{ADDRESS}"
ID = "bluetooth_00_11_22_33_44_55"
ENTRY = f'[[modem]]\nname = "nokia"\nmatch.address = "{ADDRESS}"\n'


@dataclass
class Stage:
    """Phones without a fleet: what they tell is noted."""

    radio: FakeRadio
    config: Config
    told: asyncio.Queue[object] = field(default_factory=asyncio.Queue)
    in_use: bool = False

    def __post_init__(self) -> None:
        self.phones = Phones(
            lambda: self.radio,
            lambda: self.config,
            lambda: self.in_use,
            self.told.put_nowait,
            lambda sys_path: self.told.put_nowait(("gone", sys_path)),
            lambda sys_path: self.told.put_nowait(("news", sys_path)),
            lambda: self.told.put_nowait(("problems", self.phones.problems)),
        )

    def read(self, text: str) -> None:
        self.config = load([("test.toml", text.encode())])
        self.phones.attend()

    def news(self) -> list[object]:
        """All that was told since the last time."""
        return [self.told.get_nowait() for _ in range(self.told.qsize())]

    async def next(self) -> object:
        async with asyncio.timeout(10):
            return await self.told.get()


def play(body: Callable[[Stage], Awaitable[None]], text: str = ENTRY, *phones: Phone) -> None:
    async def whole() -> None:
        stage = Stage(FakeRadio(*phones), Config())
        try:
            stage.read(text)
            await stage.phones.looked()
            await body(stage)
        finally:
            await stage.phones.close()
        assert not stage.radio.looking
        assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left"

    asyncio.run(whole())


def test_facts_of_a_phone() -> None:
    device = device_of(NOKIA)
    assert (device.sys_path, device.node, device.transport) == (PLACE, PLACE, Transport.BLUETOOTH)
    assert (device.bus, device.driver, device.path, device.address) == ("bluetooth", "dun", "hci0", ADDRESS)
    assert (device.model, device.device_class) == ("Nokia 6310i", DeviceClass.PHONE)
    assert device.radio
    assert device.on_demand


def test_a_phone_is_a_device_while_it_is_paired() -> None:
    async def body(stage: Stage) -> None:
        radio = stage.radio
        radio.put(replace(NOKIA, paired=False))
        radio.remove(ADDRESS)
        assert stage.news() == []
        radio.put(NOKIA)
        radio.put(NOKIA)
        assert stage.news() == [device_of(NOKIA)]
        radio.change(ADDRESS, name="mine", service=Service.SERIAL)
        assert stage.news() == [device_of(replace(NOKIA, name="mine", service=Service.SERIAL))]
        radio.change(ADDRESS, paired=False)
        assert stage.news() == [("gone", PLACE)]
        radio.change(ADDRESS, paired=True)
        stage.news()
        radio.remove(ADDRESS)
        assert stage.news() == [("gone", PLACE)]

    play(body)


def test_that_a_phone_shows_up_is_told_once() -> None:
    async def body(stage: Stage) -> None:
        stage.news()
        stage.radio.change(ADDRESS, connected=True)
        stage.radio.change(ADDRESS, connected=True)
        assert stage.news() == [("news", PLACE)]
        stage.radio.change(ADDRESS, connected=False)
        assert stage.news() == []
        stage.radio.change(ADDRESS, connected=True)
        stage.radio.trouble_is("the adapter is off")
        assert stage.news() == [("news", PLACE), ("news", "")]

    play(body, ENTRY, NOKIA)


@pytest.mark.parametrize("text", ["", '[[modem]]\nmatch.device = "/dev/rfcomm0"\n', '[[modem]]\nmatch.bus = "usb"\n'])
def test_bluetoothd_is_not_asked_without_need(text: str) -> None:
    async def body(stage: Stage) -> None:
        assert stage.radio.starts == 0
        assert stage.phones.trouble() == ""
        assert stage.news() == []
        stage.phones.rescan()
        stage.read("[daemon]\nprobe-unknown = true")
        assert stage.radio.looking
        assert stage.news() == [device_of(NOKIA)]

    play(body, text, NOKIA)


def test_a_reload_switches_it_off_and_on() -> None:
    async def body(stage: Stage) -> None:
        stage.read("")
        assert stage.phones.trouble() == "", "nobody asks any more"
        stage.read(ENTRY)  # while it is being switched off
        await stage.radio.until(2, 1)
        await stage.phones.looked()
        stage.news()
        stage.read("")
        await stage.radio.until(2, 2)
        stage.radio.remove(ADDRESS)
        assert stage.news() == []
        stage.read(ENTRY)
        await stage.phones.looked()
        assert stage.news() == [("gone", PLACE)], "it went while nobody looked"
        assert (stage.radio.starts, stage.radio.closes) == (3, 2)

    play(body, ENTRY, NOKIA)


def test_bluetoothd_is_asked_on_while_a_call_is_on_a_phone() -> None:
    async def body(stage: Stage) -> None:
        stage.in_use = True
        stage.read("")
        assert stage.radio.looking
        stage.in_use = False
        stage.phones.attend()
        await stage.radio.until(1, 1)

    play(body, ENTRY, NOKIA)


def test_looking_again_tells_every_difference() -> None:
    async def body(stage: Stage) -> None:
        stage.news()
        other = replace(NOKIA, address="00:11:22:33:44:66")
        stage.radio.known = {other.address: other}
        stage.phones.rescan()
        assert stage.news() == [("gone", PLACE), device_of(other)]

    play(body, ENTRY, NOKIA)


# -- lines


def test_a_line_that_cannot_be_had_says_why() -> None:
    async def body(stage: Stage) -> None:
        stage.radio.refusal = RadioError(RadioFault.OUT_OF_RANGE, "Nokia 6310i is out of range")
        with pytest.raises(PortError, match="Nokia 6310i is out of range") as caught:
            await stage.phones.open(device_of(NOKIA))
        assert caught.value.reason is PortFault.UNREACHABLE

    play(body, ENTRY, NOKIA)


@pytest.mark.parametrize(("gone", "lost"), [(True, Lost.GONE), (False, Lost.HUNG_UP)])
def test_how_a_line_is_lost_is_asked_of_the_radio(gone: bool, lost: Lost) -> None:
    async def body(stage: Stage) -> None:
        stage.radio.gone = gone
        port = await stage.phones.open(device_of(NOKIA))
        assert port.path == PLACE
        told: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        port.on_lost = told.set_result
        (await stage.radio.lines.get()).close()
        async with asyncio.timeout(10):
            assert await told is lost
        await port.reopen()
        far = await stage.radio.lines.get()
        port.close()
        assert far.recv(1) == b""
        far.close()

    play(body, ENTRY, NOKIA)


# -- problems

UNPAIRED = replace(NOKIA, paired=False)
NO_SERVICE = replace(NOKIA, service=Service.NONE)
BY_ADDRESS = ModemEntry("nokia", Match(address=ADDRESS))
BY_NAME = ModemEntry(match=Match(name="Nokia *"))
BY_CLASS = ModemEntry("any", Match(device_class=DeviceClass.PHONE))
BY_BUS = ModemEntry(match=Match(bus="bluetooth"))


def nobody_has(service: Service) -> str:
    return ""


@pytest.mark.parametrize(
    ("entry", "phones", "begin", "end"),
    [
        (BY_ADDRESS, [NOKIA], "", ""),
        (BY_ADDRESS, [replace(NOKIA, service=Service.SERIAL)], "", ""),
        (BY_NAME, [NOKIA], "", ""),
        (BY_CLASS, [UNPAIRED, replace(NOKIA, address="00:11:22:33:44:66")], "", ""),
        (BY_BUS, [NO_SERVICE, replace(NOKIA, address="00:11:22:33:44:66")], "", ""),
        (BY_ADDRESS, [], f"nokia ({ADDRESS}): bluetoothd does not know", f"then bluetoothctl pair {ADDRESS}"),
        (replace(BY_ADDRESS, name=""), [], f"{ADDRESS}: bluetoothd does not know", f"bluetoothctl pair {ADDRESS}"),
        (
            BY_ADDRESS,
            [UNPAIRED],
            f"nokia ({ADDRESS}): bluetoothd knows",
            f"bluetoothctl pair {ADDRESS}, and confirm it on the phone",
        ),
        (BY_ADDRESS, [NO_SERVICE], f"nokia ({ADDRESS}): the phone is paired, but", f"bluetoothctl connect {ADDRESS}"),
        (BY_NAME, [], 'name = "Nokia *": no phone with name = "Nokia *" is paired', "that it shows"),
        (BY_NAME, [UNPAIRED], f"{ADDRESS}: bluetoothd knows", "on the phone"),
        (BY_NAME, [replace(UNPAIRED, name="other")], 'name = "Nokia *": no phone', "that it shows"),
        (BY_CLASS, [UNPAIRED], 'any: no phone with class = "phone" is paired', "that it shows"),
        (BY_BUS, [], 'bus = "bluetooth": no phone', "that it shows"),
        (
            ModemEntry("nokia", Match(address=ADDRESS, driver="spp")),
            [NOKIA],
            f"nokia ({ADDRESS}): the phone has the service dun by the adapter hci0, and match.driver",
            "asks for another",
        ),
    ],
)
def test_what_is_said_of_an_entry(entry: ModemEntry, phones: list[Phone], begin: str, end: str) -> None:
    found = problems([entry], phones, "", nobody_has)
    assert len(found) == bool(begin)
    for problem in found:
        assert problem.startswith(begin)
        assert problem.endswith(end)


def test_what_keeps_all_phones_away_is_said_once_and_first() -> None:
    entries = [BY_ADDRESS, BY_NAME, BY_CLASS]
    assert problems(entries, [], "no bluetoothd", nobody_has) == ("no bluetoothd",)
    first, *others = problems([*entries, BY_ADDRESS], [UNPAIRED], "it is off", nobody_has)
    assert first == "it is off"
    assert [other.partition(": ")[0] for other in others] == [f"nokia ({ADDRESS})", ADDRESS]


def test_a_service_that_another_program_has_is_a_problem_of_the_phones_that_need_it() -> None:
    others = {Service.DIAL_UP: "another program has it: end it"}
    serial = replace(NOKIA, address="00:11:22:33:44:66", service=Service.SERIAL)

    def taken(service: Service) -> str:
        return others.get(service, "")

    entries = [BY_ADDRESS, ModemEntry("serial", Match(address=serial.address)), BY_CLASS]
    wanted = f"nokia ({ADDRESS}): another program has it: end it"
    assert problems(entries, [NOKIA, serial], "", taken) == (wanted,)
    assert problems(entries, [NOKIA, serial], "it is off", taken) == ("it is off",)


def test_a_problem_is_told_when_it_has_lasted_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dialupd.phones.SETTLE", 0.0)
    caplog.set_level(logging.INFO, "dialupd.phones")

    async def body(stage: Stage) -> None:
        (unknown,) = problems(stage.config.modems, [], "", nobody_has)
        assert await stage.next() == ("problems", (unknown,))
        for _ in range(3):
            stage.radio.put(NOKIA)
            assert stage.news() == [device_of(NOKIA), ("problems", ())]
            stage.radio.remove(ADDRESS)
            assert stage.news() == [("gone", PLACE)], "not at once"
            assert await stage.next() == ("problems", (unknown,))
        stage.radio.trouble_is("bluetoothd does not run")
        assert stage.news() == [("news", ""), ("problems", ())]
        assert await stage.next() == ("problems", ("bluetoothd does not run",))
        assert [record.getMessage() for record in caplog.records] == [unknown], "the radio tells its trouble itself"
        assert caplog.records[0].__dict__["fields"]["EVENT"] == "problem"

    play(body)


def test_a_crowd_of_strangers_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(stage: Stage) -> None:
        looks: list[int] = []

        def counted(entries: object, phones: Sequence[Phone], trouble: str, taken: object) -> tuple[str, ...]:
            looks.append(len(phones))
            return ()

        monkeypatch.setattr("dialupd.phones.problems", counted)
        monkeypatch.setattr("dialupd.phones.SETTLE", 0.0)
        for number in range(100):
            stage.radio.put(replace(UNPAIRED, address=f"00:00:00:00:00:{number:02X}"))
        stage.radio.remove("00:00:00:00:00:00")
        assert looks == []
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.0, settled.set_result, None)
        await settled
        assert looks == [100]

    play(body, ENTRY, NOKIA)


def test_what_is_over_in_time_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.phones.SETTLE", 0.0)

    async def body(stage: Stage) -> None:
        stage.news()
        stage.radio.change(ADDRESS, service=Service.NONE)
        stage.radio.change(ADDRESS, service=Service.DIAL_UP)
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.0, settled.set_result, None)
        await settled
        assert stage.news() == [device_of(replace(NOKIA, service=Service.NONE)), device_of(NOKIA)]

    play(body, ENTRY, NOKIA)


# -- in the fleet


class Daemon:
    """A registry with a radio, and no udev."""

    def __init__(self, directory: Path, text: str, radio: Radio) -> None:
        self.text = text
        self._radio = radio
        self.told = Told()
        self.system = ByHand(RuntimePaths(str(directory)), Notifier({}))
        self.store = Store(str(directory))

    async def start(self, system: System | None = None) -> None:
        self.registry = Registry(
            "test.toml",
            lambda: load([("test.toml", self.text.encode())]),
            system or self.system,
            lambda present, gone: Devices(present, gone, _no_udev),
            radio=lambda: self._radio,
        )
        self.registry.load()
        assert self.registry.config_error == ""
        self.registry.subscribe(self.told)
        await self.registry.start(self.store)

    @property
    def radio(self) -> FakeRadio:
        assert isinstance(self._radio, FakeRadio)
        return self._radio

    def reload(self, text: str) -> None:
        self.text = text
        self.registry.load()
        assert self.registry.config_error == ""

    async def state(self, state: ModemState) -> None:
        await self.told.until(lambda: [view.state for view in self.registry.modems()] == [state], state)

    async def none_is_left(self) -> None:
        await self.told.until(lambda: not self.registry.modems(), "no modem")


def _no_udev() -> Any:
    raise OSError("none here")


def in_fleet(tmp_path: Path, body: Callable[[Daemon], Awaitable[None]], text: str, *phones: Phone) -> None:
    async def whole() -> None:
        daemon = Daemon(tmp_path, text, FakeRadio(*phones))
        await daemon.start()
        try:
            await body(daemon)
        finally:
            await daemon.registry.close()
            await daemon.store.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left"

    asyncio.run(whole())


def test_a_paired_phone_is_a_modem_and_nothing_is_opened(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        daemon.radio.put(NOKIA)
        await daemon.state(ModemState.READY)
        (view,) = daemon.registry.modems()
        assert (view.id, view.name, view.transport) == (ID, "nokia", Transport.BLUETOOTH)
        assert (view.device, view.sys_path, view.driver, view.address) == (PLACE, "", "dun", ADDRESS)
        assert daemon.radio.lines.empty()
        daemon.radio.change(ADDRESS, paired=False)
        await daemon.none_is_left()
        daemon.radio.change(ADDRESS, paired=True)
        await daemon.state(ModemState.READY)

    in_fleet(tmp_path, body, ENTRY)


def test_a_phone_that_is_renamed_is_the_same_modem_by_another_name(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        await daemon.state(ModemState.READY)
        assert daemon.registry.modems()[0].name == "Nokia 6310i"
        daemon.radio.change(ADDRESS, name="Nokia of Ann")
        assert [view.name for view in daemon.registry.modems()] == ["Nokia of Ann"]
        daemon.radio.change(ADDRESS, name="Ann")
        await daemon.none_is_left()

    in_fleet(tmp_path, body, '[[modem]]\nmatch.name = "Nokia *"\n', NOKIA)


def test_a_phone_whose_service_comes_later(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        assert not daemon.registry.modems()
        daemon.radio.change(ADDRESS, service=Service.SERIAL)
        await daemon.state(ModemState.READY)
        daemon.radio.change(ADDRESS, service=Service.DIAL_UP)
        assert [view.driver for view in daemon.registry.modems()] == ["dun"]
        daemon.radio.change(ADDRESS, service=Service.NONE)
        await daemon.none_is_left()

    in_fleet(tmp_path, body, '[[modem]]\nmatch.class = "phone"\n', NO_SERVICE)


def test_without_an_entry_only_dial_up_networking_is_taken_and_only_when_told(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        await daemon.state(ModemState.READY)
        assert [view.id for view in daemon.registry.modems()] == [ID]
        daemon.reload("")
        await daemon.none_is_left()
        daemon.reload('[daemon]\nprobe-unknown = true\n[[modem]]\nname = "nokia"\nmatch.bus = "bluetooth"\n')
        await daemon.told.until(lambda: len(daemon.registry.modems()) == 2)
        assert [view.name for view in daemon.registry.modems()] == ["nokia", "nokia"]

    serial = replace(NOKIA, address="00:11:22:33:44:66", service=Service.SERIAL)
    in_fleet(tmp_path, body, "[daemon]\nprobe-unknown = true\n", NOKIA, serial)


def test_a_call_on_a_phone_is_brought_to_its_end_when_the_configuration_drops_the_phone(stage: Exchange) -> None:
    radio = stage.radio = ExchangeRadio()

    async def body() -> None:
        radio.pair(ADDRESS, "Nokia 6310i", stage.exchange.modem("300", kind="nokia"))
        await stage.state(ID, ModemState.READY)
        stage.exchange.special("5", "echo")
        call = await stage.connect(ID, "5")
        stage.text = ""
        await stage.desk.reload()
        assert radio.looking
        assert stage.view(ID).state is ModemState.CONNECTED
        await stage.desk.hang_up(ID)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.gone(ID)
        await radio.until(1, 1)

    stage.run(body, ENTRY)


def test_what_a_person_said_of_a_phone_outlives_its_pairing(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        await daemon.state(ModemState.READY)
        daemon.registry.modem(ID).memory.disabled = True
        daemon.radio.remove(ADDRESS)
        await daemon.none_is_left()
        daemon.radio.put(NOKIA)
        await daemon.state(ModemState.DISABLED)

    in_fleet(tmp_path, body, ENTRY, NOKIA)


def test_a_phone_and_a_tty_to_it_are_two_modems(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        tty = replace(
            device_of(NOKIA), sys_path="/sys/class/tty/rfcomm0", node="/dev/rfcomm0", driver="", path="", model=""
        )
        daemon.registry.fleet.present(tty)
        await daemon.told.until(lambda: len(daemon.registry.modems()) == 2)
        assert [(view.id, view.name) for view in daemon.registry.modems()] == [
            (ID, "nokia"),
            (f"{ID}_rfcomm0", "bound"),
        ]

    in_fleet(tmp_path, body, ENTRY + '[[modem]]\nname = "bound"\nmatch.device = "/dev/rfcomm0"\n', NOKIA)


def test_trouble_reaches_the_modem(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        await daemon.state(ModemState.READY)
        daemon.radio.trouble_is("the adapter hci0 is switched off")
        await daemon.state(ModemState.FAILED)
        assert daemon.registry.modems()[0].state_reason == "the adapter hci0 is switched off"
        daemon.radio.trouble_is("")
        await daemon.state(ModemState.READY)
        assert daemon.radio.lines.empty()

    in_fleet(tmp_path, body, ENTRY, NOKIA)


def test_the_problems_are_the_managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.phones.SETTLE", 0.0)

    async def body(daemon: Daemon) -> None:
        await daemon.told.until(lambda: len(daemon.registry.problems()) == 1)
        assert re.search("not paired", daemon.registry.problems()[0])
        before = len(daemon.told.all("manager"))
        daemon.radio.change(ADDRESS, paired=True)
        assert daemon.registry.problems() == ()
        assert len(daemon.told.all("manager")) == before + 1

    in_fleet(tmp_path, body, ENTRY, UNPAIRED)


class Left:
    """An `Inheritance` with one call that only a modem can claim."""

    loans: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.calls = frozenset({7})
        self.given_up = asyncio.Event()

    def claim(self, modem: str, device: str) -> None:
        if (modem, device) == (ID, PLACE):
            assert not self.given_up.is_set()
            self.calls = frozenset()

    def phones(self) -> list[Phone]:
        return []

    def give_up(self) -> list[object]:
        self.given_up.set()
        return []


@pytest.mark.parametrize("kept", [True, False])
def test_a_kept_call_waits_for_the_first_look_and_nothing_else_does(tmp_path: Path, kept: bool) -> None:
    async def whole() -> None:
        radio = FakeRadio()
        radio.seen.clear()
        daemon = Daemon(tmp_path, ENTRY, radio)
        left = Left()
        if not kept:
            left.calls = frozenset()
        cast("Any", daemon.system).inheritance = left
        starting = asyncio.create_task(daemon.start())
        if kept:
            await radio.until(1, 0)
            assert not left.given_up.is_set()
            radio.put(NOKIA)
            radio.seen.set()
        async with asyncio.timeout(10):
            await starting
        assert left.given_up.is_set()
        assert not left.calls
        await daemon.registry.close()
        await daemon.store.close()

    asyncio.run(whole())


def test_a_line_is_opened_for_the_radio_by_the_radio(tmp_path: Path) -> None:
    async def body(daemon: Daemon) -> None:
        port = await daemon.registry.open_port(device_of(NOKIA), 115200, Flow.NONE)
        adopted = daemon.registry.adopt_port(device_of(NOKIA), 115200, Flow.NONE, port.dup_fd(), carrier_counts=False)
        assert (port.path, adopted.path) == (PLACE, PLACE)
        adopted.leave()
        port.close()
        far = await daemon.radio.lines.get()
        assert far.recv(1) == b""
        far.close()

    in_fleet(tmp_path, body, ENTRY, NOKIA)


def test_the_whole_way_by_bluetoothd(tmp_path: Path, bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.phones.SETTLE", 0.0)
    monkeypatch.setattr("dialupd.bus.bluez._STARTING", 0.05)

    async def whole() -> None:
        bluez = await FakeBluez.start(bus.address)
        bluez.adapter()
        phone = bluez.phone(ADDRESS, name="Nokia 6310i", paired=False)
        daemon = Daemon(tmp_path, ENTRY, Bluez(bus.address))
        await daemon.start()
        registry = daemon.registry
        await daemon.told.until(lambda: len(registry.problems()) == 1)
        assert registry.problems()[0].endswith(f"bluetoothctl pair {ADDRESS}, and confirm it on the phone")
        phone.change(Paired=True)
        await daemon.state(ModemState.READY)
        assert registry.problems() == ()
        assert phone.lines.empty(), "nothing is opened to look"

        asked = asyncio.create_task(Desk(registry).command(ID, "AT+CSQ", 10.0))
        far = await phone.lines.get()
        modem = SocketModem(asyncio.get_running_loop(), Scripted(), far.detach())
        assert (await asked)[0] == "OK"
        phone.change(Connected=False)
        await bluez.settled()
        modem.close()
        await bluez.close()
        await daemon.state(ModemState.FAILED)
        assert "bluetoothd does not run" in registry.modems()[0].state_reason
        await daemon.told.until(lambda: [problem[:10] for problem in registry.problems()] == ["bluetoothd"])

        again = await FakeBluez.start(bus.address)
        again.adapter()
        again.phone(ADDRESS, name="Nokia 6310i")
        await daemon.state(ModemState.READY)
        assert registry.problems() == ()
        await registry.close()
        await daemon.store.close()
        await again.close()

    asyncio.run(whole())
