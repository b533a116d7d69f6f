"""Phones by a fake bluetoothd: seen, connected, refused, and a bluetoothd that comes, goes, lies and hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from bus_control import open_fds
from fake_bluez import BLUEZ, DEVICE, DUN, HANDS_FREE, OBJECTS, PROFILE, SPP, FakeBluez, FakePhone
from log_lines import Log, log_of
from private_bus import OPEN_POLICY, PrivateBus, bus_fixture, private_bus

from dialupd.bus.bluez import Bluez
from dialupd.bus.bluez_devices import Known, Tree
from dialupd.bus.connection import Connection
from dialupd.bus.wire import BusError, MethodCall, Variant, method_call, signal
from dialupd.model import DeviceClass
from dialupd.radio import Phone, RadioError, RadioFault, Service

__all__ = ["bus_fixture"]

ADDRESS = "AA:BB:CC:00:00:01"
NOKIA = Phone(ADDRESS, "Nokia 6310", DeviceClass.PHONE, "hci0", Service.DIAL_UP, paired=True)


class Watcher:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Phone | str] = asyncio.Queue()
        self.radio: asyncio.Queue[None] = asyncio.Queue()

    def phone_changed(self, phone: Phone) -> None:
        self.told.put_nowait(phone)

    def phone_gone(self, address: str) -> None:
        self.told.put_nowait(address)

    def radio_changed(self) -> None:
        self.radio.put_nowait(None)

    async def until(self, wanted: Phone | str) -> None:
        while await self.told.get() != wanted:
            pass

    async def trouble(self, bluez: Bluez, words: str) -> None:
        """Until the trouble has these words; "" for none."""
        while words not in bluez.trouble() or (not words and bluez.trouble()):
            await self.radio.get()


@pytest.fixture
def log() -> Iterator[Log]:
    with log_of("dialupd.bus") as found:
        yield found


Scenario = Callable[[Bluez, FakeBluez, Watcher], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.bus.bluez._RECONNECT_FIRST", 0.01)
    monkeypatch.setattr("dialupd.bus.bluez._STARTING", 0.5)
    monkeypatch.setattr("dialupd.bus.bluez._MISSING", 0.4)
    monkeypatch.setattr("dialupd.bus.bluez._LASTS", 0.05)
    monkeypatch.setattr("dialupd.bus.bluez._REGISTER_AGAIN", 0.0)
    monkeypatch.setattr("dialupd.bus.bluez_lines._AGAIN", 0.02)


@pytest.fixture
def play(bus: PrivateBus) -> Callable[[Scenario], None]:
    """Run a scenario with one adapter, looked at and served by us; all that it leaves open is a failure."""

    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            before = open_fds()
            async with asyncio.timeout(20):
                fake = await FakeBluez.start(bus.address)
                fake.adapter()
                bluez, watcher = Bluez(bus.address), Watcher()
                bluez.start(watcher)
                await bluez.looked()
                assert bluez._lines is not None
                await bluez._lines.register()
                all_asked(fake)
                await scenario(bluez, fake, watcher)
                await bluez.close()
                await fake.close()
            assert len(asyncio.all_tasks()) == 1
            assert open_fds() == before

        asyncio.run(whole())

    return run


async def new_phone(fake: FakeBluez, watcher: Watcher, address: str = ADDRESS, **details: object) -> FakePhone:
    """A phone that the watcher has been told of."""
    phone = fake.phone(address, **details)  # type: ignore[arg-type]
    told: Phone | str = ""
    while not (isinstance(told, Phone) and told.address == address):
        told = await watcher.told.get()
    return phone


async def talk(ours: int, far: socket.socket) -> None:
    """Both ends of a line speak with one another, ours without blocking."""
    assert not os.get_blocking(ours)
    assert not os.get_inheritable(ours)
    os.write(ours, b"AT\r")
    assert far.recv(10) == b"AT\r"
    far.send(b"OK\r")
    assert os.read(ours, 10) == b"OK\r"


async def end_of(far: socket.socket) -> None:
    """Until the phone sees the end of the line."""
    far.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(far, 10) == b""
    far.close()


def hang_up(line: int) -> None:
    """As the port does it: others hold copies."""
    with socket.socket(fileno=line) as sock:
        sock.shutdown(socket.SHUT_RDWR)


async def once(bluez: Bluez, phone: FakePhone) -> None:
    """A line to the phone, closed at once; who watches lines has a descriptor from then on."""
    line = await bluez.connect(phone.address)
    far = await phone.lines.get()
    hang_up(line)
    await end_of(far)
    assert bluez._lines is not None
    for watch in (bluez._lines._watch, phone.fake.lines):
        assert phone.path not in watch


async def asked(fake: FakeBluez, member: str) -> None:
    """Until bluetoothd is asked for it."""
    while (await fake.calls.get())[0] != member:
        pass


def all_asked(fake: FakeBluez) -> list[str]:
    """What it has been asked since the last time."""
    return [fake.calls.get_nowait()[0] for _ in range(fake.calls.qsize())]


async def failure(bluez: Bluez, address: str = ADDRESS) -> RadioError:
    with pytest.raises(RadioError) as caught:
        await bluez.connect(address)
    assert str(caught.value).isprintable()
    return caught.value


# -- what is there


def test_phones_are_seen_with_what_they_are(bus: PrivateBus) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20):
            fake = await FakeBluez.start(bus.address)
            fake.adapter()
            fake.phone()
            fake.phone("AA:BB:CC:00:00:02", name="SPP\x1b[2J\u202e only " + "x" * 300, uuids=[SPP], device_class=0x120)
            fake.phone("aa:bb:cc:00:00:03", name="", uuids=[], paired=False, device_class=0x210)
            fake.phone("AA:BB:CC:00:00:04", uuids=[SPP, DUN.upper()], device_class=0x300, connected=True)
            beacon = fake.phone("AA:BB:CC:00:00:05", uuids=[], paired=False)
            del beacon.properties["Class"]
            fake.phone("no_address")
            bluez, watcher = Bluez(bus.address), Watcher()
            bluez.start(watcher)
            await bluez.looked()
            nokia, serial, modem, both = bluez.phones()
            assert [watcher.told.get_nowait() for _ in range(4)] == [nokia, serial, modem, both]
            assert watcher.told.empty()
            assert nokia == NOKIA
            assert serial.name.startswith("SPP [2J  only xxx")
            assert len(serial.name) == 128
            assert (serial.service, serial.device_class) == (Service.SERIAL, DeviceClass.COMPUTER)
            assert modem == Phone("AA:BB:CC:00:00:03", device_class=DeviceClass.MODEM, adapter="hci0")
            assert (both.service, both.connected) == (Service.DIAL_UP, True)
            assert both.device_class is DeviceClass.ACCESS_POINT
            assert bluez.trouble() == ""
            await bluez.close()
            assert bluez.phones() == []
            await fake.close()

    asyncio.run(scenario())


def test_phones_come_change_and_go(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = fake.phone(paired=False, uuids=[])
        told = await watcher.told.get()
        assert isinstance(told, Phone)
        assert not told.paired
        phone.change(Paired=True, UUIDs=[DUN])
        assert await watcher.told.get() == NOKIA
        phone.change(RSSI=Variant("n", -40))
        phone.change(Alias="Mine")
        told = await watcher.told.get()
        assert isinstance(told, Phone)
        assert told.name == "Mine"
        phone.change(gone=["Alias"], Connected=True)
        told = await watcher.told.get()
        assert isinstance(told, Phone)
        assert (told.name, told.connected) == ("Nokia 6310", True)
        phone.change(Connected=Variant("s", "perhaps"), Paired=Variant("u", 1), Address=Variant("u", 3))
        phone.remove()
        # The radio link is over at once; that it has gone is told when it stays away.
        assert await watcher.told.get() == NOKIA
        assert await watcher.told.get() == ADDRESS
        assert bluez.phones() == []

    play(scenario)


def test_signals_of_others_and_odd_ones_do_not_count(play: Callable[[Scenario], None], bus: PrivateBus) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        stranger = await Connection.open(bus.address)
        (names,) = await stranger.ask_bus("ListNames")
        assert isinstance(names, list)
        device = {DEVICE: {"Address": Variant("s", "66:66:66:66:66:66"), "Paired": Variant("b", True)}}
        for name in names:
            forged = signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", ["/org/bluez/hci0/dev_66", device])
            forged.destination = name
            stranger.send(forged)
        await stranger.ask_bus("GetId")
        fake.connection.send(signal("/", OBJECTS, "InterfacesAdded", "s", ["odd"]))
        fake.connection.send(signal("/", OBJECTS, "InterfacesRemoved", "oas", ["/org/bluez/hci0/none", [DEVICE]]))
        fake.tell_changed("/org/bluez/hci0/none", DEVICE, {"Paired": Variant("b", True)})
        fake.phone()
        assert await watcher.told.get() == NOKIA
        assert bluez.phones() == [NOKIA]
        await stranger.close()

    play(scenario)


def test_a_flood_of_devices_is_looked_at_together(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is near may invent them while somebody searches."""
    looks = 0
    phones = Tree.phones

    def counted(tree: Tree) -> dict[str, Known]:
        nonlocal looks
        looks += 1
        return phones(tree)

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        monkeypatch.setattr(Tree, "phones", counted)
        for number in range(500):
            fake.phone(f"AA:BB:CC:01:{number >> 8:02X}:{number & 255:02X}", paired=False)
        while len(bluez.phones()) < 500:
            await watcher.told.get()
        assert looks < 100

    play(scenario)


def test_what_changes_while_the_objects_are_told(bus: PrivateBus) -> None:
    """A change behind the answer must not be overwritten by the answer, wherever the loop stands between the two."""

    async def scenario() -> None:
        async with asyncio.timeout(20):
            fake = await FakeBluez.start(bus.address)
            fake.adapter()
            fake.enumerates.clear()
            phone = fake.phone()
            other = fake.phone("AA:BB:CC:00:00:02")
            bluez, watcher = Bluez(bus.address), Watcher()
            bluez.start(watcher)
            await fake.asked_for_objects.wait()
            phone.change(Connected=True)
            fake.enumerates.set()
            # In one piece with the answer.
            await asyncio.sleep(0)
            phone.change(Connected=False, Alias="Mine")
            other.remove()
            await bluez.looked()
            while [(phone.name, phone.connected) for phone in bluez.phones()] != [("Mine", False)]:
                await watcher.told.get()
            await bluez.close()
            await fake.close()

    asyncio.run(scenario())


def test_one_phone_on_two_adapters(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        fake.adapter("hci1", address="00:AA:01:00:00:01")
        await new_phone(fake, watcher)
        second = fake.phone(adapter="hci1", paired=False)
        # Not paired there: as before.
        second.change(Paired=True)
        # As good on both: as before.
        fake.power(False)
        told = await watcher.told.get()
        assert isinstance(told, Phone)
        assert (told.adapter, told.paired) == ("hci1", True)
        line = await bluez.connect(ADDRESS)
        (await second.lines.get()).close()
        hang_up(line)
        fake.unplug("hci1")
        await watcher.until(NOKIA)
        error = await failure(bluez)
        assert (error.reason, str(error)) == (
            RadioFault.OFF,
            "the Bluetooth adapter hci0 is switched off: bluetoothctl power on",
        )

    play(scenario)


# -- lines


def test_a_line_is_opened_and_closed(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        assert {fake.profiles[uuid][1] for uuid in (DUN, SPP)} == {
            "/org/dialupd1/bluetooth/dun",
            "/org/dialupd1/bluetooth/spp",
        }
        options = fake.profiles[DUN][2]
        assert (options["Role"].value, options["AutoConnect"].value) == ("client", False)
        for _ in range(3):
            line = await bluez.connect(ADDRESS)
            far = await phone.lines.get()
            await talk(line, far)
            hang_up(line)
            await end_of(far)
        assert all_asked(fake) == ["ConnectProfile"] * 3

    play(scenario)


def test_a_phone_that_has_a_serial_port_alone(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher, uuids=[SPP, HANDS_FREE])
        line = await bluez.connect(ADDRESS)
        with await phone.lines.get() as far:
            await talk(line, far)
        hang_up(line)
        assert fake.calls.get_nowait()[::2] == ("ConnectProfile", [SPP])

    play(scenario)


def test_two_phones_at_once_and_one_phone_twice(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phones = [await new_phone(fake, watcher, f"AA:BB:CC:00:00:0{n}") for n in (1, 2)]
        for phone in phones:
            phone.answers.clear()
        tasks = [asyncio.create_task(bluez.connect(phone.address)) for phone in phones]
        for _ in tasks:
            await asked(fake, "ConnectProfile")
        error = await failure(bluez)
        assert error.reason is RadioFault.FAILED
        assert "try again in a moment" in str(error)
        for phone in phones:
            phone.answers.set()
        for task, phone in zip(tasks, phones, strict=True):
            line = await task
            with await phone.lines.get() as far:
                await talk(line, far)
            hang_up(line)

    play(scenario)


def test_a_line_that_was_left_open_gives_way(play: Callable[[Scenario], None]) -> None:
    """Its owner closed it without shutting it down: bluetoothd holds it, and takes the phone for connected."""

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        os.close(await bluez.connect(ADDRESS))
        first = await phone.lines.get()
        line = await bluez.connect(ADDRESS)
        await end_of(first)
        with await phone.lines.get() as far:
            await talk(line, far)
        hang_up(line)

    play(scenario)


def test_bluetoothd_takes_the_phone_for_connected(play: Callable[[Scenario], None]) -> None:
    """By a line that we know nothing of; it is asked to disconnect, once."""

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        ours, far = socket.socketpair()
        fake.lines.watch(phone.path, ours.fileno())
        line = await bluez.connect(ADDRESS)
        (await phone.lines.get()).close()
        hang_up(line)
        assert all_asked(fake) == ["ConnectProfile", "DisconnectProfile", "ConnectProfile"]
        # It does not believe that the line is over.
        fake.lines.watch(phone.path, ours.fileno())
        fake.stubborn = True
        error = await failure(bluez)
        assert error.reason is RadioFault.FAILED
        assert f"bluetoothctl disconnect {ADDRESS}" in str(error)
        ours.close()
        far.close()

    play(scenario)


def test_the_disconnection_that_a_person_asks_for(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        line = await bluez.connect(ADDRESS)
        far = await phone.lines.get()
        person = await Connection.open(fake.address)
        await person.call(MethodCall(BLUEZ, phone.path, DEVICE, "DisconnectProfile", "s", [DUN]))
        await end_of(far)
        assert os.read(line, 10) == b""
        os.close(line)
        await person.close()

    play(scenario)


def test_a_connection_that_is_cancelled_leaves_nothing(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        await once(bluez, phone)
        all_asked(fake)
        before = open_fds()
        phone.answers.clear()
        task = asyncio.create_task(bluez.connect(ADDRESS))
        await asked(fake, "ConnectProfile")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        phone.answers.set()
        # The line comes late, and is refused.
        with pytest.raises(BusError, match="br-connection-refused"):
            await fake.last_connection()
        assert phone.lines.empty()
        assert open_fds() == before

    play(scenario)


def test_the_late_line_serves_who_asks_anew(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        phone.answers.clear()
        task = asyncio.create_task(bluez.connect(ADDRESS))
        await asked(fake, "ConnectProfile")
        task.cancel()
        again = asyncio.create_task(bluez.connect(ADDRESS))
        # bluetoothd says that it is at it, twice.
        for _ in range(2):
            await asked(fake, "ConnectProfile")
        phone.answers.set()
        line = await again
        with await phone.lines.get() as far:
            await talk(line, far)
        hang_up(line)

    play(scenario)


def test_lines_that_nobody_waits_for_and_calls_of_strangers(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        await once(bluez, phone)
        before = open_fds()
        # Another program asked bluetoothd for the connection.
        with pytest.raises(BusError, match="refused"):
            await fake.new_connection(phone, DUN)
        owner, path, _ = fake.profiles[DUN]
        stranger = await Connection.open(fake.address)
        for _ in range(50):
            reader, writer = os.pipe()
            flood = method_call(MethodCall(owner, path, PROFILE, "NewConnection", "oha{sv}", [phone.path, 0, {}]))
            flood.unix_fds = [reader, writer]
            stranger.send(flood)
        with pytest.raises(BusError, match="Only bluetoothd"):
            await stranger.call(MethodCall(owner, path, PROFILE, "NewConnection", "oha{sv}", [phone.path, 0, {}]))
        await stranger.close()
        for member, signature, body in (
            ("NewConnection", "oha{sv}", [phone.path, 0, {}]),
            ("NewConnection", "o", [phone.path]),
            ("Cancel", "", []),
        ):
            with pytest.raises(BusError):
                await fake.connection.call(MethodCall(owner, path, PROFILE, member, signature, body))
        with pytest.raises(BusError, match="at its profiles"):
            await fake.connection.call(MethodCall(owner, "/", PROFILE, "Release"))
        assert open_fds() == before

    play(scenario)


def test_the_line_of_another_service_is_not_taken_for_ours(play: Callable[[Scenario], None]) -> None:
    """Any user may ask bluetoothd for it, at the same moment as we for the modem."""

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher, uuids=[DUN, SPP])
        phone.answers.clear()
        task = asyncio.create_task(bluez.connect(ADDRESS))
        await asked(fake, "ConnectProfile")
        with pytest.raises(BusError, match="refused"):
            await fake.new_connection(phone, SPP)
        phone.answers.set()
        line = await task
        far = await phone.lines.get()
        await talk(line, far)
        hang_up(line)
        await end_of(far)

    play(scenario)


@pytest.mark.parametrize(
    ("fault", "reason", "text"),
    [
        ("out-of-range", RadioFault.OUT_OF_RANGE, "out of range"),
        ("timeout", RadioFault.OUT_OF_RANGE, "out of range"),
        ("low-energy", RadioFault.OUT_OF_RANGE, "out of range"),
        ("no-search", RadioFault.OUT_OF_RANGE, "out of range"),
        ("le-timeout", RadioFault.OUT_OF_RANGE, "out of range"),
        ("refuses", RadioFault.REFUSED, "allow it on the phone"),
        ("drops", RadioFault.REFUSED, "broke the connection off"),
        ("no-record", RadioFault.NO_SERVICE, "offers Dial-Up Networking no more"),
        ("no-service", RadioFault.NO_SERVICE, "offers Dial-Up Networking no more"),
        ("key-missing", RadioFault.NOT_PAIRED, f"bluetoothctl remove {ADDRESS}, then bluetoothctl pair {ADDRESS}"),
        ("switched-off", RadioFault.OFF, "bluetoothctl power on"),
        ("powered-down", RadioFault.OFF, "bluetoothctl power on"),
        ("canceled", RadioFault.FAILED, "another program"),
        ("unknown", RadioFault.FAILED, "journalctl -u bluetooth"),
        ("no-object", RadioFault.NOT_PAIRED, "not known to bluetoothd"),
        ("odd", RadioFault.FAILED, "cannot be connected: something [2J new"),
    ],
)
def test_why_there_is_no_line(play: Callable[[Scenario], None], fault: str, reason: RadioFault, text: str) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        phone.fault = fault
        error = await failure(bluez)
        assert error.reason is reason
        assert text in str(error)
        assert str(error).startswith(f"Nokia 6310 ({ADDRESS}) ")
        # And it can be tried again.
        phone.fault = ""
        await once(bluez, phone)

    play(scenario)


def test_what_is_plain_without_asking_the_phone(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        error = await failure(bluez)
        assert error.reason is RadioFault.NOT_PAIRED
        assert str(error).startswith(f"{ADDRESS} is not known to bluetoothd: make it visible")
        phone = await new_phone(fake, watcher, paired=False, uuids=[])
        assert f"bluetoothctl pair {ADDRESS}" in str(await failure(bluez))
        phone.change(Paired=True)
        await watcher.told.get()
        error = await failure(bluez)
        assert error.reason is RadioFault.NO_SERVICE
        assert "neither Dial-Up Networking nor a Serial Port" in str(error)
        phone.change(UUIDs=[DUN], Blocked=True)
        await watcher.told.get()
        error = await failure(bluez)
        assert (error.reason, str(error)) == (
            RadioFault.REFUSED,
            f"Nokia 6310 ({ADDRESS}) is blocked on this computer: bluetoothctl unblock {ADDRESS}",
        )
        assert "ConnectProfile" not in all_asked(fake)

    play(scenario)


@pytest.mark.parametrize("fault", ["in-progress", "busy", "no-socket"])
def test_bluetoothd_is_busy_for_a_moment(play: Callable[[Scenario], None], fault: str) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        phone.fault = fault
        task = asyncio.create_task(bluez.connect(ADDRESS))
        for _ in range(3):
            await asked(fake, "ConnectProfile")
        phone.fault = ""
        hang_up(await task)
        (await phone.lines.get()).close()

    play(scenario)


def test_bluetoothd_stays_busy(play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.bus.bluez_lines._CLOSING", 0.05)
    monkeypatch.setattr("dialupd.bus.bluez_lines._LIMIT", 0.2)

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        phone.fault = "busy"
        error = await failure(bluez)
        assert (error.reason, "try again in a moment" in str(error)) == (RadioFault.FAILED, True)
        phone.fault = "in-progress"
        error = await failure(bluez)
        assert (error.reason, "try again in a moment" in str(error)) == (RadioFault.FAILED, True)

    play(scenario)


@pytest.mark.parametrize("connected", [True, False])
def test_a_phone_that_never_answers(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    """bluetoothd is told to stop, unless that would end somebody else's link."""
    monkeypatch.setattr("dialupd.bus.bluez_lines._LIMIT", 0.1)

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher, connected=connected)
        phone.fault = "silent"
        assert (await failure(bluez)).reason is RadioFault.OUT_OF_RANGE
        phone.fault = ""
        monkeypatch.setattr("dialupd.bus.bluez_lines._LIMIT", 20.0)
        if not connected:
            await once(bluez, phone)
        assert all_asked(fake) == ["ConnectProfile", *([] if connected else ["Disconnect", "ConnectProfile"])]

    play(scenario)


# -- the end of a line


def test_whether_the_radio_link_went_with_the_line(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher, connected=True)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await bluez.out_of_reach(ADDRESS) is False
        assert loop.time() - begun > 0.4
        task = asyncio.create_task(bluez.out_of_reach(ADDRESS))
        phone.change(Alias="Mine")
        phone.change(Connected=False)
        assert await task is True
        assert await bluez.out_of_reach("AA:AA:AA:AA:AA:AA") is True
        phone.change(Connected=True)
        await watcher.until(Phone(ADDRESS, "Mine", DeviceClass.PHONE, "hci0", Service.DIAL_UP, True, True))
        fake.unplug()
        assert await bluez.out_of_reach(ADDRESS) is True
        fake.adapter()
        await new_phone(fake, watcher, "AA:BB:CC:00:00:02", connected=True)
        task = asyncio.create_task(bluez.out_of_reach("AA:BB:CC:00:00:02"))
        begun = loop.time()
        await fake.close()
        assert await task is True
        assert loop.time() - begun < 0.45

    play(scenario)


# -- what is wrong with the machine


def test_the_adapter_is_off_or_gone(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        await new_phone(fake, watcher)
        fake.power(False)
        await watcher.trouble(bluez, "the Bluetooth adapter hci0 is switched off: bluetoothctl power on")
        assert (await failure(bluez)).reason is RadioFault.OFF
        fake.adapter("hci1")
        await watcher.trouble(bluez, "")
        fake.unplug("hci1")
        await watcher.trouble(bluez, "switched off")
        fake.power(True)
        await watcher.trouble(bluez, "")
        fake.unplug()
        await watcher.trouble(bluez, "bluetoothd knows no Bluetooth adapter")
        await watcher.until(ADDRESS)

    play(scenario)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ({"soft": "1", "hard": "0"}, "Bluetooth is blocked by rfkill: rfkill unblock bluetooth"),
        ({"soft": "1", "hard": "1"}, "a switch, a key or the firmware's setup"),
        ({"soft": "0", "hard": "0"}, "the Bluetooth adapter hci0 is switched off: bluetoothctl power on"),
        ({"soft": "1"}, "bluetoothctl power on"),
        ({"soft": "1", "hard": "1", "type": "wlan"}, "bluetoothctl power on"),
    ],
)
def test_rfkill_says_why(
    play: Callable[[Scenario], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    blocks: dict[str, str],
    words: str,
) -> None:
    from dialupd.bus import bluez as module
    from dialupd.io.rfkill import bluetooth_block

    directory = tmp_path / "rfkill3"
    directory.mkdir()
    for name, value in {"type": "bluetooth", **blocks}.items():
        (directory / name).write_text(value + "\n")
    monkeypatch.setattr(module, "bluetooth_block", lambda: bluetooth_block(tmp_path))

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        fake.power(False)
        await watcher.trouble(bluez, words)

    play(scenario)


def test_another_program_has_the_services(bus: PrivateBus, log: Log) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20):
            fake = await FakeBluez.start(bus.address)
            fake.taken = {DUN}
            fake.adapter()
            fake.phone()
            bluez, watcher = Bluez(bus.address), Watcher()
            bluez.start(watcher)
            await bluez.looked()
            await watcher.trouble(bluez, "another program on this computer has Dial-Up Networking of phones")
            error = await failure(bluez)
            assert error.reason is RadioFault.TAKEN
            assert "UUID already registered" in str(error)
            # A phone without it can be reached, so not all is in trouble.
            serial = fake.phone("AA:BB:CC:00:00:02", uuids=[SPP])
            while len(bluez.phones()) < 2:
                await watcher.told.get()
            assert bluez.trouble() == ""
            assert bluez.taken(Service.DIAL_UP).startswith("another program")
            assert bluez.taken(Service.SERIAL) == ""
            hang_up(await bluez.connect(serial.address))
            (await serial.lines.get()).close()
            fake.taken.add(SPP)
            serial.remove()
            await watcher.until(serial.address)
            assert bluez.trouble() != ""
            # The other program ends, of which nobody tells: whoever asks finds it out.
            fake.taken.clear()
            await watcher.trouble(bluez, "")
            hang_up(await bluez.connect(ADDRESS))
            (await next(iter(fake.phones.values())).lines.get()).close()
            await bluez.close()
            await fake.close()

    asyncio.run(scenario())
    said = [record.getMessage() for record in log.records if "another program" in record.getMessage()]
    assert len(said) == len(set(said))
    assert said[0].startswith("another program on this computer has Dial-Up Networking of phones for itself")


def test_it_is_told_when_a_service_that_not_all_need_is_free_again(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        await new_phone(fake, watcher, "AA:BB:CC:00:00:02", uuids=[SPP])
        owner, path, _ = fake.profiles.pop(DUN)
        await fake.connection.call(MethodCall(owner, path, PROFILE, "Release"))
        fake.taken.add(DUN)
        assert (await failure(bluez)).reason is RadioFault.TAKEN
        assert bluez.trouble() == ""
        assert bluez.taken(Service.DIAL_UP) != ""
        await watcher.radio.get()
        fake.taken.clear()
        assert watcher.radio.empty()
        await once(bluez, phone)
        await watcher.radio.get()
        assert bluez.taken(Service.DIAL_UP) == ""

    play(scenario)


def test_a_connection_finds_the_service_free(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        owner, path, _ = fake.profiles.pop(DUN)
        await fake.connection.call(MethodCall(owner, path, PROFILE, "Release"))
        await once(bluez, phone)

    play(scenario)


# -- bluetoothd comes and goes


def test_without_bluetoothd_one_line_is_logged(bus: PrivateBus, log: Log) -> None:
    async def scenario() -> None:
        before = open_fds()
        async with asyncio.timeout(20):
            bluez, watcher = Bluez(bus.address), Watcher()
            bluez.start(watcher)
            await bluez.looked()
            assert bluez.phones() == []
            assert bluez.trouble().startswith("bluetoothd does not run: install the package bluez")
            assert (await failure(bluez)).reason is RadioFault.ABSENT
            await log.until("bluetoothd does not run")
            # It comes, and says what it has one by one.
            fake = await FakeBluez.start(bus.address)
            fake.adapter(powered=False)
            fake.power(True)
            fake.phone()
            await watcher.trouble(bluez, "")
            await watcher.until(NOKIA)
            await log.until("phones can be reached")
            # It stops in order.
            fake.power(False)
            fake.unplug()
            await fake.close()
            await log.until("bluetoothd does not run")
            await bluez.close()
        assert open_fds() == before

    asyncio.run(scenario())
    assert [record.levelno for record in log.records] == [logging.INFO] * 3


def test_bluetoothd_dies_and_comes_back(play: Callable[[Scenario], None], bus: PrivateBus) -> None:
    """The phone stays known, its line lives, and it is registered anew."""

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        lost = await new_phone(fake, watcher, "AA:BB:CC:00:00:02")
        line = await bluez.connect(ADDRESS)
        far = await phone.lines.get()
        await fake.close()
        await watcher.trouble(bluez, "bluetoothd does not run")
        assert [(phone.address, phone.connected) for phone in bluez.phones()] == [
            (ADDRESS, False),
            (lost.address, False),
        ]
        await talk(line, far)
        assert (await failure(bluez)).reason is RadioFault.ABSENT
        while not watcher.told.empty():
            watcher.told.get_nowait()
        again = await FakeBluez.start(bus.address)
        await watcher.radio.get() if bluez.trouble() == "" else None
        again.adapter()
        again.phone(connected=True)
        # Only what does not come back has gone.
        told = await watcher.told.get()
        assert isinstance(told, Phone)
        assert (told.address, told.connected) == (ADDRESS, True)
        assert await watcher.told.get() == lost.address
        await talk(line, far)
        hang_up(line)
        await end_of(far)
        hang_up(await bluez.connect(ADDRESS))
        (await next(iter(again.phones.values())).lines.get()).close()
        await again.close()

    play(scenario)


def test_bluetoothd_stops_in_order(play: Callable[[Scenario], None]) -> None:
    """It takes its phones back before it goes; that is not taken for their going."""

    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        await new_phone(fake, watcher)
        fake.unplug()
        await fake.close()
        await watcher.trouble(bluez, "bluetoothd does not run")
        assert bluez.phones() == [NOKIA]
        assert watcher.told.empty()

    play(scenario)


def test_the_bus_starts_a_bluetoothd_that_fell_and_none_that_was_stopped(tmp_path: Path, log: Log) -> None:
    """The bus knows how, as it does where the administrator has enabled the service."""
    asked_to, services = tmp_path / "asked", tmp_path / "services"
    os.mkfifo(asked_to)
    services.mkdir()
    (services / "bluez.service").write_text(
        f"[D-BUS Service]\nName={BLUEZ}\nExec=/bin/sh -c 'echo start > {asked_to}'\n"
    )

    async def scenario(address: str) -> None:
        heard = os.open(asked_to, os.O_RDWR | os.O_NONBLOCK)
        starts = asyncio.Event()
        asyncio.get_running_loop().add_reader(heard, lambda: (os.read(heard, 100), starts.set()))
        bluez, watcher = Bluez(address), Watcher()
        async with asyncio.timeout(20):
            stopped = await FakeBluez.start(address)
            stopped.adapter()
            bluez.start(watcher)
            await bluez.looked()
            stopped.unplug()
            await stopped.close()
            await watcher.trouble(bluez, "bluetoothd does not run")
            bluez.trouble()
            assert bluez._starter._asking is None
            falls = await FakeBluez.start(address)
            falls.adapter()
            await new_phone(falls, watcher)
            await falls.close()
            await watcher.trouble(bluez, "bluetoothd does not run")
            bluez.trouble()
            await starts.wait()
            back = await FakeBluez.start(address)
            back.adapter()
            await watcher.trouble(bluez, "")
            await log.until("the bus has started it again")
            await bluez.close()
            await back.close()
        asyncio.get_running_loop().remove_reader(heard)
        os.close(heard)

    with private_bus(policy=f"{OPEN_POLICY}<servicedir>{services}</servicedir>") as bus:
        asyncio.run(scenario(bus.address))


def test_a_bluetoothd_that_nobody_can_start_is_asked_for_once(play: Callable[[Scenario], None], log: Log) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        await new_phone(fake, watcher)
        await fake.close()
        await watcher.trouble(bluez, "bluetoothd does not run")
        await log.until("bluetoothd has ended and cannot be started: ")
        bluez._starter._asked_at = -1000.0
        bluez.trouble()
        assert bluez._starter._asking is None

    play(scenario)


def test_it_dies_while_it_connects(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        phone = await new_phone(fake, watcher)
        phone.answers.clear()
        task = asyncio.create_task(bluez.connect(ADDRESS))
        await asked(fake, "ConnectProfile")
        await fake.close()
        with pytest.raises(RadioError, match="bluetoothd ended while it connected") as caught:
            await task
        assert caught.value.reason is RadioFault.ABSENT

    play(scenario)


def test_a_bluetoothd_that_does_not_answer(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.bus.bluez._ANSWERS", 0.2)
    monkeypatch.setattr("dialupd.bus.bluez._DEAF", 0.1)

    async def scenario() -> None:
        async with asyncio.timeout(20):
            deaf = await Connection.open(bus.address)
            await deaf.request_name(BLUEZ)
            bluez, watcher = Bluez(bus.address), Watcher()
            bluez.start(watcher)
            await bluez.looked()
            assert "bluetoothd does not answer (This connection offers no objects.)" in bluez.trouble()
            assert (await failure(bluez)).reason is RadioFault.ABSENT
            # Another comes in its place, which hangs for a while.
            fake = await FakeBluez.prepare(bus.address)
            fake.adapter()
            fake.phone()
            fake.enumerates.clear()
            await fake.connection.ask_bus("RequestName", "su", [BLUEZ, 0])
            await deaf.close()
            await watcher.trouble(bluez, "did not answer GetManagedObjects within 0.2 s")
            fake.enumerates.set()
            await watcher.trouble(bluez, "")
            assert bluez.phones() == [NOKIA]
            await fake.close()
            await watcher.trouble(bluez, "does not run")
            await bluez.close()

    asyncio.run(scenario())


def test_the_bus_is_lost_and_another_comes() -> None:
    async def scenario() -> None:
        before = open_fds()
        with private_bus() as first, private_bus() as second:
            async with asyncio.timeout(20):
                fake, later = await FakeBluez.start(first.address), await FakeBluez.start(second.address)
                for one in (fake, later):
                    one.adapter()
                    one.phone()
                bluez, watcher = Bluez(first.address), Watcher()
                bluez.start(watcher)
                await bluez.looked()
                bluez._bus = "unix:path=/nowhere"
                first.kill()
                await watcher.trouble(bluez, "message bus cannot be reached")
                assert bluez.phones() == [NOKIA]
                bluez._bus = second.address
                await watcher.trouble(bluez, "")
                hang_up(await bluez.connect(ADDRESS))
                (await next(iter(later.phones.values())).lines.get()).close()
                await bluez.close()
                await fake.close()
                await later.close()
        assert open_fds() == before

    asyncio.run(scenario())


def test_it_can_be_started_again(play: Callable[[Scenario], None]) -> None:
    async def scenario(bluez: Bluez, fake: FakeBluez, watcher: Watcher) -> None:
        await new_phone(fake, watcher)
        await bluez.close()
        assert fake.profiles
        with pytest.raises(RadioError):
            await bluez.connect(ADDRESS)
        again = Watcher()
        bluez.start(again)
        await bluez.looked()
        assert again.told.get_nowait() == NOKIA
        assert watcher.told.empty()

    play(scenario)
