"""Every method, property and signal over a real bus, and what clients other than ours see."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from bus_control import CALL, MODEM, FakeControl, open_fds
from private_bus import PrivateBus, bus_fixture, private_bus

from dialupd.bus.address import ConnectionLost
from dialupd.bus.client import Client, Follower, NoDaemon, OwnerChanged, Signal
from dialupd.bus.connection import Connection, NameTaken
from dialupd.bus.front import Front, serve
from dialupd.bus.options import MAX_ROWS
from dialupd.bus.values import ViewTable, call_path, modem_path
from dialupd.bus.wire import (
    BusError,
    MessageFlag,
    MethodCall,
    Variant,
    error_reply,
    method_call,
    reply,
    signal,
)
from dialupd.model import CallState, DialOptions, DialupError, EndReason, ErrorKind, HistoryFilter, ModemState

__all__ = ["bus_fixture"]

ROOT = "/org/dialupd1"
MANAGER, MODEM_I, CALL_I = "org.dialupd1.Manager", "org.dialupd1.Modem", "org.dialupd1.Call"
PROPERTIES, OBJECT_MANAGER = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"
MODEM_P, CALL_P = modem_path(MODEM.id), call_path(CALL.call)

Scenario = Callable[[FakeControl, Front, Client], Awaitable[None]]


@asynccontextmanager
async def running(address: str, control: FakeControl) -> AsyncIterator[tuple[Front, Client]]:
    front = await serve(address, control)
    client = await Client.connect(address)
    try:
        yield front, client
    finally:
        await client.close()
        await front.close()
        for far in control.far_ends:
            far.close()


def play(bus: PrivateBus, scenario: Scenario, control: FakeControl | None = None) -> None:
    """Run a scenario; nothing may be left over from it, neither a task nor a descriptor."""
    used = control or FakeControl()

    async def whole() -> None:
        before = open_fds()
        async with asyncio.timeout(30), running(bus.address, used) as (front, client):
            await scenario(used, front, client)
        assert len(asyncio.all_tasks()) == 1
        assert open_fds() == before

    asyncio.run(whole())


async def take(follower: Follower, count: int) -> list[Signal]:
    found: list[Signal] = []
    async for item in follower:
        if isinstance(item, Signal):
            found.append(item)
            if len(found) == count:
                break
    return found


class Request(NamedTuple):
    path: str
    interface: str
    member: str
    signature: str
    body: list[Any]


async def refused(awaitable: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(BusError) as caught:
        await awaitable
    return caught.value.name, caught.value.text


METHODS = [
    (Request(ROOT, MANAGER, "Reload", "", []), ("reload",), []),
    (Request(ROOT, MANAGER, "Rescan", "", []), ("rescan",), []),
    (
        Request(ROOT, MANAGER, "Originate", "sa{sv}", ["uplink", {"timeout": Variant("u", 30)}]),
        ("originate", "uplink", DialOptions(timeout=30)),
        [call_path(8)],
    ),
    (Request(ROOT, MANAGER, "Suspend", "s", ["uplink"]), ("suspend", "uplink"), []),
    (Request(ROOT, MANAGER, "Resume", "s", ["uplink"]), ("resume", "uplink"), []),
    (Request(ROOT, MANAGER, "SetLogLevel", "s", ["debug"]), ("set_log_level", "debug"), []),
    (
        Request(
            MODEM_P,
            MODEM_I,
            "Dial",
            "sa{sv}",
            ["5551212", {"session": Variant("s", "x"), "reverse": Variant("b", True)}],
        ),
        ("dial", MODEM.id, "5551212", DialOptions(session="x", reverse=True)),
        [call_path(8)],
    ),
    (Request(MODEM_P, MODEM_I, "Answer", "a{sv}", [{}]), ("answer", MODEM.id, DialOptions()), [call_path(8)]),
    (Request(MODEM_P, MODEM_I, "HangUp", "", []), ("hang_up", MODEM.id), []),
    (Request(MODEM_P, MODEM_I, "Reset", "", []), ("reset", MODEM.id), []),
    (Request(MODEM_P, MODEM_I, "Enable", "", []), ("enable", MODEM.id), []),
    (Request(MODEM_P, MODEM_I, "Disable", "", []), ("disable", MODEM.id), []),
    (Request(MODEM_P, MODEM_I, "SetPolicy", "s", ["p"]), ("set_policy", MODEM.id, "p"), []),
    (
        Request(MODEM_P, MODEM_I, "Command", "su", ["ATI3", 1500]),
        ("command", MODEM.id, "ATI3", 1.5),
        ["OK", ["CONEXANT", "CX93010"]],
    ),
    (Request(CALL_P, CALL_I, "HangUp", "", []), ("hang_up_call", CALL.call), []),
]


@pytest.mark.parametrize(("request_", "asked", "answer"), METHODS)
def test_method(bus: PrivateBus, request_: Request, asked: tuple[Any, ...], answer: list[Any]) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        assert await client.call(*request_) == answer
        assert control.asked == [asked]

    play(bus, scenario)


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (Request(MODEM_P, MODEM_I, "Inhibit", "ss", ["minicom", "a look"]), ("inhibit", MODEM.id, "minicom", "a look")),
        (Request(CALL_P, CALL_I, "Open", "", []), ("open_call", CALL.call)),
    ],
)
def test_a_descriptor_reaches_the_caller_alone(bus: PrivateBus, request_: Request, asked: tuple[Any, ...]) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        (fd,) = await client.call(*request_)
        assert control.asked == [asked]
        with socket.socket(fileno=fd) as near:
            (far,) = control.far_ends
            far.setblocking(False)
            near.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(near, b"AT\r")
            assert await loop.sock_recv(far, 10) == b"AT\r"
        # The daemon kept no copy: the caller's close is the end.
        assert await loop.sock_recv(far, 10) == b""

    play(bus, scenario)


def test_a_descriptor_that_nobody_takes_is_closed(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        call = MethodCall("org.dialupd1", MODEM_P, MODEM_I, "Inhibit", "ss", ["a", "b"])
        loop = asyncio.get_running_loop()
        await client._connection.call(call)

        client._connection.send(method_call(call, MessageFlag.NO_REPLY_EXPECTED))
        await client.get(ROOT, MANAGER, "Version")
        assert len(control.far_ends) == 2
        for far in control.far_ends:
            far.setblocking(False)
            assert await loop.sock_recv(far, 1) == b""

    play(bus, scenario)


def test_descriptors_sent_to_the_daemon_are_closed(bus: PrivateBus) -> None:
    async def scenario(_: FakeControl, front: Front, client: Client) -> None:
        before = open_fds()
        for _number in range(50):
            near, far = socket.socketpair()
            with far:
                message = MethodCall("org.dialupd1", MODEM_P, MODEM_I, "Dial", "hh", [0, 1])

                packed = method_call(message)
                packed.unix_fds = [near.detach(), os.dup(far.fileno())]
                client._connection.send(packed)
                far.setblocking(False)
                # Both copies of ours are sent and closed; the daemon closes what it got.
                assert await asyncio.get_running_loop().sock_recv(far, 1) == b""
        await client.get(ROOT, MANAGER, "Version")
        assert open_fds() == before

    play(bus, scenario)


def test_properties_and_objects(bus: PrivateBus) -> None:
    async def scenario(_: FakeControl, front: Front, client: Client) -> None:
        assert await client.get_all(ROOT, MANAGER) == {
            "Version": "0.1.0",
            "ConfigFile": "/etc/dialupd/dialupd.toml",
            "ConfigError": "",
            "Modems": [MODEM_P],
            "Calls": [CALL_P],
            "Policies": [["console-in", "answer", "active"], ["uplink", "originate", "suspended"]],
            "Problems": [],
        }
        objects = await client.managed_objects()
        assert set(objects) == {MODEM_P, CALL_P}
        modem, call = objects[MODEM_P][MODEM_I], objects[CALL_P][CALL_I]
        assert await client.get_all(MODEM_P, MODEM_I) == modem
        assert await client.get_all(CALL_P, "") == call
        for name, value in {**modem}.items():
            assert await client.get(MODEM_P, MODEM_I, name) == value
        assert (modem["Call"], modem["SysPath"], modem["Capabilities"]) == (
            "/",
            MODEM.sys_path,
            ["data", "fax", "caller-id"],
        )
        assert (call["Modem"], call["LineRate"], call["Dns"]) == (MODEM_P, 33600, ["10.0.0.1", "2001:db8::1"])

    play(bus, scenario)


def test_history(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        wanted = {"direction": Variant("s", "outgoing"), "limit": Variant("u", 1)}
        (rows,) = await client.call(ROOT, MANAGER, "History", "a{sv}", [wanted])
        assert control.asked == [("history", HistoryFilter(direction="outgoing", limit=1))]
        (row,) = rows
        assert (row["modem"], row["start-time"], row["rx-bytes"]) == (MODEM_P, CALL.start_time, 1234)
        assert len(row) == len(await client.get_all(CALL_P, CALL_I))
        control.past = [CALL] * (MAX_ROWS * 2)
        (rows,) = await client.call(ROOT, MANAGER, "History", "a{sv}", [{}])
        assert len(rows) == MAX_ROWS

    play(bus, scenario)


def test_modem_signals(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        control.change_modem(state=ModemState.RINGING, state_reason="incoming call", rings=1)
        control.ring(MODEM.id, rings=1, caller_id="+15551234")
        control.change_modem(rings=2)
        assert await take(follower, 4) == [
            Signal(
                MODEM_P,
                PROPERTIES,
                "PropertiesChanged",
                [MODEM_I, {"State": "ringing", "StateReason": "incoming call", "Rings": 1}, []],
            ),
            Signal(MODEM_P, MODEM_I, "StateChanged", ["ready", "ringing", "incoming call"]),
            Signal(MODEM_P, MODEM_I, "Ringing", [{"rings": 1, "caller-id": "+15551234"}]),
            Signal(MODEM_P, PROPERTIES, "PropertiesChanged", [MODEM_I, {"Rings": 2}, []]),
        ]

    play(bus, scenario)


def test_call_signals(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        control.change_call(rx_bytes=5000, tx_bytes=7)
        control.change_call(state=CallState.ENDED, end_reason=EndReason.REMOTE_HANGUP, rx_bytes=6000)
        assert await take(follower, 2) == [
            Signal(
                CALL_P,
                PROPERTIES,
                "PropertiesChanged",
                [CALL_I, {"State": "ended", "EndReason": "remote-hangup"}, []],
            ),
            Signal(CALL_P, CALL_I, "StateChanged", ["connected", "ended", "remote-hangup"]),
        ]
        assert await client.get(CALL_P, CALL_I, "RxBytes") == 6000

    play(bus, scenario)


def test_a_calls_counts_are_read_and_never_told(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        control.counted = (70_000, 2**40)
        assert await client.get(CALL_P, CALL_I, "RxBytes") == 70_000
        assert await client.get(CALL_P, CALL_I, "TxBytes") == 2**40
        control.change_call(interface="ppp1")
        assert await take(follower, 1) == [
            Signal(CALL_P, PROPERTIES, "PropertiesChanged", [CALL_I, {"Interface": "ppp1"}, []]),
        ]

    play(bus, scenario)


def test_objects_come_and_go(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        other = replace(MODEM, id="1-2.3", name="other")
        control.put_modem(other)
        control.put_call(replace(CALL, call=9))
        first, second, manager = await take(follower, 3)
        assert (first.path, first.interface, first.member) == (ROOT, OBJECT_MANAGER, "InterfacesAdded")
        assert first.body[0] == modem_path("1-2.3")
        assert first.body[1][MODEM_I] == await client.get_all(modem_path("1-2.3"), MODEM_I)
        assert second.body[0] == call_path(9)
        assert manager.body == [
            MANAGER,
            {"Modems": [MODEM_P, modem_path("1-2.3")], "Calls": [CALL_P, call_path(9)]},
            [],
        ]
        control.remove_call(9)
        control.remove_modem("1-2.3")
        first, second, manager = await take(follower, 3)
        assert (first.path, first.member, first.body) == (ROOT, "InterfacesRemoved", [call_path(9), [CALL_I]])
        assert second.body == [modem_path("1-2.3"), [MODEM_I]]
        assert manager.body == [MANAGER, {"Modems": [MODEM_P], "Calls": [CALL_P]}, []]
        name, _ = await refused(client.get(modem_path("1-2.3"), MODEM_I, "Name"))
        assert name == "org.freedesktop.DBus.Error.UnknownObject"

    play(bus, scenario)


def test_what_never_changes_makes_a_new_object(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        control.change_modem(device="/dev/ttyACM1", state=ModemState.PROBING)
        gone, new, state = await take(follower, 3)
        assert (gone.member, gone.body) == ("InterfacesRemoved", [MODEM_P, [MODEM_I]])
        assert new.body[1][MODEM_I]["Device"] == "/dev/ttyACM1"
        assert state.member == "StateChanged"

    play(bus, scenario)


def test_a_config_error_is_told(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        control.change_config("dialupd.toml: unknown key")
        (told,) = await take(follower, 1)
        assert told == Signal(
            ROOT, PROPERTIES, "PropertiesChanged", [MANAGER, {"ConfigError": "dialupd.toml: unknown key"}, []]
        )

    play(bus, scenario)


def test_problems_are_told_once_for_all_that_happens_at_once(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        control.change_problems("nokia: not paired")
        control.change_problems("nokia: not paired", "bb9: not known")
        control.change_config("x")
        control.change_config("")
        (told,) = await take(follower, 1)
        changed = {"Problems": ["nokia: not paired", "bb9: not known"]}
        assert told == Signal(ROOT, PROPERTIES, "PropertiesChanged", [MANAGER, changed, []])
        assert await client.get(ROOT, MANAGER, "Problems") == changed["Problems"]

    play(bus, scenario)


def test_two_modems_of_one_path(bus: PrivateBus, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        control.put_modem(replace(MODEM, id="a-b"))
        control.put_modem(replace(MODEM, id="a_2db", name="impostor"))
        assert await client.get(modem_path("a-b"), MODEM_I, "Name") == "rack"
        control.remove_modem("a_2db")
        assert await client.get(modem_path("a-b"), MODEM_I, "Name") == "rack"

    play(bus, scenario)
    assert "is not shown" in caplog.text


STANDARD_ERRORS = [
    (Request("/org/dialupd1/modem/none", MODEM_I, "HangUp", "", []), "UnknownObject"),
    (Request("/", MODEM_I, "HangUp", "", []), "UnknownInterface"),
    (Request(ROOT, MODEM_I, "HangUp", "", []), "UnknownInterface"),
    (Request(MODEM_P, OBJECT_MANAGER, "GetManagedObjects", "", []), "UnknownInterface"),
    (Request(MODEM_P, MODEM_I, "Explode", "", []), "UnknownMethod"),
    (Request(MODEM_P, MODEM_I, "Dial", "s", ["1"]), "InvalidArgs"),
    (Request(MODEM_P, MODEM_I, "HangUp", "s", ["now"]), "InvalidArgs"),
    (Request(MODEM_P, PROPERTIES, "Get", "ss", [MODEM_I, "Colour"]), "UnknownProperty"),
    (Request(MODEM_P, PROPERTIES, "Get", "ss", ["a.b", "State"]), "UnknownInterface"),
    (Request(MODEM_P, PROPERTIES, "GetAll", "s", ["a.b"]), "UnknownInterface"),
    (Request(MODEM_P, PROPERTIES, "Set", "ssv", [MODEM_I, "State", Variant("s", "ready")]), "PropertyReadOnly"),
    (Request(MODEM_P, PROPERTIES, "Set", "ssv", [MODEM_I, "Colour", Variant("s", "red")]), "UnknownProperty"),
    (Request(MODEM_P, PROPERTIES, "Get", "s", [MODEM_I]), "InvalidArgs"),
    (Request("/nowhere", "org.freedesktop.DBus.Introspectable", "Introspect", "", []), "UnknownObject"),
]


@pytest.mark.parametrize(("request_", "error"), STANDARD_ERRORS)
def test_standard_errors(bus: PrivateBus, request_: Request, error: str) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        name, text = await refused(client.call(*request_))
        assert name == f"org.freedesktop.DBus.Error.{error}"
        assert text.endswith(".")
        assert control.asked == []

    play(bus, scenario)


@pytest.mark.parametrize("kind", ErrorKind)
def test_our_errors(bus: PrivateBus, kind: ErrorKind) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        control.fail = DialupError(kind, "the line\0is busy")
        answer = await refused(client.call(MODEM_P, MODEM_I, "HangUp"))
        assert answer == (f"org.dialupd1.Error.{kind}", "the line\N{REPLACEMENT CHARACTER}is busy")

    play(bus, scenario)


@pytest.mark.parametrize(
    "request_",
    [
        Request(MODEM_P, MODEM_I, "Dial", "sa{sv}", ["1", {"sesion": Variant("s", "x")}]),
        Request(MODEM_P, MODEM_I, "Command", "su", ["AT", 600_001]),
        Request(ROOT, MANAGER, "SetLogLevel", "s", ["loud"]),
        Request(ROOT, MANAGER, "History", "a{sv}", [{"limit": Variant("s", "x")}]),
    ],
)
def test_bad_arguments(bus: PrivateBus, request_: Request) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        name, _ = await refused(client.call(*request_))
        assert name == "org.dialupd1.Error.InvalidArgs"
        assert control.asked == []

    play(bus, scenario)


def test_a_fault_is_logged_once_and_not_shown(bus: PrivateBus, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        control.fail = RuntimeError("/secret/path")
        for _number in range(5):
            name, text = await refused(client.call(MODEM_P, MODEM_I, "HangUp"))
            assert name == "org.dialupd1.Error.Failed"
            assert text == "HangUp failed by a fault of the daemon; the journal has the details."

    play(bus, scenario)
    assert caplog.text.count("Traceback") == 1


def test_a_handler_that_is_cut_off_answers(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, front: Front, client: Client) -> None:
        control.hold = asyncio.Event()
        pending = asyncio.create_task(client.call(MODEM_P, MODEM_I, "HangUp"))
        await control.held.wait()
        await front.close()
        assert await refused(pending) == ("org.dialupd1.Error.Failed", "The daemon is going down.")

    play(bus, scenario)


def test_a_caller_has_a_limited_number_of_requests(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        control.hold = asyncio.Event()
        pending = [asyncio.create_task(client.call(MODEM_P, MODEM_I, "HangUp")) for _number in range(32)]
        await control.held.wait()
        name, _ = await refused(client.call(MODEM_P, MODEM_I, "HangUp"))
        assert name == "org.freedesktop.DBus.Error.LimitsExceeded"
        async with await Client.connect(bus.address) as other:
            independent = asyncio.create_task(other.call(MODEM_P, MODEM_I, "HangUp"))
            control.hold.set()
            assert await independent == []
        await asyncio.gather(*pending)
        assert await client.call(MODEM_P, MODEM_I, "HangUp") == []

    play(bus, scenario)


def test_introspection(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        async def look(path: str) -> tuple[set[str], list[str]]:
            (text,) = await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
            node = ElementTree.fromstring(text)
            names = {item.attrib["name"] for item in node.findall("interface")}
            return names, [item.attrib["name"] for item in node.findall("node")]

        plain = {"org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Peer"}
        assert await look("/") == (plain, ["org"])
        assert await look("/org") == (plain, ["dialupd1"])
        assert await look(ROOT) == (plain | {PROPERTIES, OBJECT_MANAGER, MANAGER}, ["call", "modem"])
        assert await look(f"{ROOT}/modem") == (plain, [MODEM.id])
        assert await look(MODEM_P) == (plain | {PROPERTIES, MODEM_I}, [])
        control.remove_modem(MODEM.id)
        assert await look(ROOT) == (plain | {PROPERTIES, OBJECT_MANAGER, MANAGER}, ["call"])

    play(bus, scenario)


def test_peer(bus: PrivateBus) -> None:
    async def scenario(_: FakeControl, front: Front, client: Client) -> None:
        assert await client.call("/anywhere", "org.freedesktop.DBus.Peer", "Ping") == []
        try:
            (machine,) = await client.call(ROOT, "org.freedesktop.DBus.Peer", "GetMachineId")
            assert len(machine) == 32
        except BusError as error:
            assert error.name == "org.freedesktop.DBus.Error.FileNotFound"

    play(bus, scenario)


def test_1000_objects_and_500_signals_in_one_breath(bus: PrivateBus) -> None:
    modems = [replace(MODEM, id=f"m{number}") for number in range(1000)]

    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        follower = await client.follow()
        for modem in modems:
            control.put_modem(modem)
        for number in range(500):
            control.put_modem(replace(modems[0], rings=number + 1))
        found = await take(follower, 1501)
        assert sum(item.member == "InterfacesAdded" for item in found) == 1000
        rings = [item.body[1]["Rings"] for item in found if item.path == modem_path("m0")]
        assert rings == list(range(1, 501))
        assert len(await client.managed_objects()) == 1002

    play(bus, scenario)


def test_a_burst_into_a_bus_that_does_not_read(bus: PrivateBus) -> None:
    """The socket fills; everything waits and nothing is lost."""

    async def scenario(control: FakeControl, front: Front, client: Client) -> None:
        follower = await client.follow()
        bus.pause()
        for number in range(1, 8_001):
            control.change_modem(rings=number)
        assert front._connection._queued > 1 << 20
        bus.go_on()
        found = await take(follower, 8_000)
        assert [item.body[1]["Rings"] for item in found] == list(range(1, 8_001))
        await client.get(ROOT, MANAGER, "Version")

    play(bus, scenario)


def test_a_bus_that_takes_nothing_at_all_is_given_up(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, front: Front, client: Client) -> None:
        bus.pause()
        for number in range(70):
            control.change_modem(manufacturer=f"{number}" + "x" * (1 << 20))
        assert await front.wait_closed() == "it takes no more messages"
        control.change_modem(rings=1)
        bus.go_on()

    play(bus, scenario)


def test_a_message_larger_than_the_bus_takes_is_an_error(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        control.change_modem(manufacturer="x" * (17 << 20))
        name, _text = await refused(client.get(MODEM_P, MODEM_I, "Manufacturer"))
        assert name == "org.dialupd1.Error.Failed"
        assert await client.get(MODEM_P, MODEM_I, "State") == "ready"

    play(bus, scenario)


def test_a_flood_delays_nobody(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        call = MethodCall("org.dialupd1", MODEM_P, PROPERTIES, "GetAll", "s", [MODEM_I])
        bus.pause()
        for _number in range(10_000):
            client._connection.send(method_call(call, MessageFlag.NO_REPLY_EXPECTED))
        bus.go_on()
        after = asyncio.create_task(client.get(ROOT, MANAGER, "Version"))
        loop = asyncio.get_running_loop()
        turns, worst, before = 0, 0.0, loop.time()
        while not after.done():
            await asyncio.sleep(0)
            now = loop.time()
            turns, worst, before = turns + 1, max(worst, now - before), now
        assert await after == "0.1.0"
        assert turns > 10_000 / 32
        assert worst < 0.5

    play(bus, scenario)


def test_hostile_strings_do_not_end_the_connection(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        control.change_modem(manufacturer="a\0b", model="\udcff\n", state_reason="\x1b[2J")
        control.ring(MODEM.id, caller_id="\0\0")
        assert await client.get(MODEM_P, MODEM_I, "Manufacturer") == "a\N{REPLACEMENT CHARACTER}b"
        name, text = await refused(client.call(MODEM_P, MODEM_I, "Dial", "sa{sv}", ["\n", {"a\n": Variant("s", "")}]))
        assert (name, text.split(";")[0]) == ("org.dialupd1.Error.InvalidArgs", 'unknown option "a\\n"')

    play(bus, scenario)


def test_signals_of_others_do_not_count(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:

        follower = await client.follow()
        forger = await Connection.open(bus.address)
        forged = signal(MODEM_P, MODEM_I, "StateChanged", "sss", ["ready", "failed", "forged"])
        forged.destination = client._connection.unique_name
        forger.send(forged)
        await forger.ask_bus("GetId")
        await forger.close()
        control.change_modem(rings=3)
        (first,) = await take(follower, 1)
        assert first.member == "PropertiesChanged"

    play(bus, scenario)


def test_a_forged_reply_does_not_count(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, front: Front, client: Client) -> None:
        forger = await Connection.open(bus.address)
        connection = client._connection
        control.hold = asyncio.Event()
        call = MethodCall(front._connection.unique_name, MODEM_P, MODEM_I, "HangUp")
        pending = asyncio.create_task(connection.call(call))
        await control.held.wait()

        question = method_call(call)
        question.sender, question.serial = connection.unique_name, connection._serial
        forger.send(error_reply(question, "a.b.Forged", "forged"))
        forger.send(reply(question, "", []))
        await forger.ask_bus("GetId")
        control.hold.set()
        assert (await pending).body == []
        await forger.close()

    play(bus, scenario)


# -- life and death


def test_the_name_is_taken_once(bus: PrivateBus) -> None:
    async def scenario(_: FakeControl, front: Front, client: Client) -> None:
        before = open_fds()
        with pytest.raises(NameTaken, match="running already"):
            await serve(bus.address, FakeControl())
        assert open_fds() == before
        assert await client.get(ROOT, MANAGER, "Version") == "0.1.0"

    play(bus, scenario)


def test_the_bus_dies() -> None:
    with private_bus() as bus:

        async def scenario(control: FakeControl, front: Front, client: Client) -> None:
            follower = await client.follow()
            control.hold = asyncio.Event()
            pending = asyncio.create_task(client.call(MODEM_P, MODEM_I, "HangUp"))
            await control.held.wait()
            bus.kill()
            assert await front.wait_closed() == "it closed the connection"
            with pytest.raises(NoDaemon):
                await pending
            with pytest.raises(NoDaemon):
                await take(follower, 1)
            with pytest.raises(NoDaemon):
                await client.get(ROOT, MANAGER, "Version")
            # The runtime goes on and is not disturbed.
            control.change_modem(rings=9)
            control.put_modem(replace(MODEM, id="new"))
            control.hold.set()

        play(bus, scenario)


def test_the_daemon_comes_and_goes(bus: PrivateBus) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), await Client.connect(bus.address) as client:
            follower = await client.follow()
            with pytest.raises(NoDaemon, match="does not run"):
                await client.managed_objects()
            front = await serve(bus.address, FakeControl())
            assert await anext(follower) == OwnerChanged(front._connection.unique_name)
            assert len(await client.managed_objects()) == 2
            await front.close()
            assert await anext(follower) == OwnerChanged("")
            with pytest.raises(NoDaemon):
                await client.managed_objects()

    asyncio.run(scenario())


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "nonsense", "unix:what=x", "session"])
def test_there_is_no_bus(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    async def scenario() -> None:
        before = open_fds()
        with pytest.raises(NoDaemon):
            await Client.connect(address)
        with pytest.raises(ConnectionLost):
            await serve(address, FakeControl())
        assert open_fds() == before

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "hung up|reset"),
        ([b"REJECTED EXTERNAL\r\n"], "refused"),
        ([b"x" * 10_000], "nonsense"),
        ([b"OK 1234\r\n"], "hung up"),
        ([b"OK 1234\r\n", b"AGREE_UNIX_FD\r\n", b"x" * 100], "no message"),
        ([b"OK 1234\r\n", b"ERROR\r\n"], "closed the connection|reset"),
    ],
)
def test_a_bus_that_misbehaves_at_the_start(tmp_path: Any, answers: list[bytes], words: str) -> None:
    async def talk(server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        peer, _ = await loop.sock_accept(server)
        # A client that gives up leaves unread bytes behind, which resets the connection.
        with peer, suppress(ConnectionError):
            for answer in answers:
                await loop.sock_recv(peer, 1000)
                await loop.sock_sendall(peer, answer)
            if answers:
                await loop.sock_recv(peer, 1000)

    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.setblocking(False)
            server.bind(str(tmp_path / "bus"))
            server.listen()
            async with asyncio.timeout(5), asyncio.TaskGroup() as group:
                group.create_task(talk(server))
                with pytest.raises(ConnectionLost, match=words):
                    await Connection.open(f"unix:path={tmp_path}/bus")

    asyncio.run(scenario())


def test_a_call_that_nobody_answers(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        control.hold = asyncio.Event()
        name, _ = await refused(client.call(MODEM_P, MODEM_I, "HangUp", within=0.05))
        assert name == "org.freedesktop.DBus.Error.Timeout"
        assert client._connection._pending == {}
        control.hold.set()

    play(bus, scenario)


# -- other people's clients


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


@pytest.mark.skipif(shutil.which("busctl") is None, reason="busctl is not installed")
def test_busctl(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        def busctl(*words: str) -> Awaitable[str]:
            return run("busctl", f"--address={bus.address}", *words)

        tree = await busctl("--list", "tree", "org.dialupd1")
        assert {ROOT, MODEM_P, CALL_P} <= set(tree.split())
        table = await busctl("introspect", "org.dialupd1", MODEM_P)
        rows = {line.split()[0]: line.split() for line in table.splitlines()}
        assert rows[".State"] == [".State", "property", "s", '"ready"', "emits-change"]
        assert rows[".Serial"][-1] == "const"
        assert rows[".Dial"][:4] == [".Dial", "method", "sa{sv}", "o"]
        answer = await busctl("call", "org.dialupd1", MODEM_P, MODEM_I, "Dial", "sa{sv}", "5551212", "0")
        assert answer == 'o "/org/dialupd1/call/8"\n'
        text = await busctl("--json=short", "get-property", "org.dialupd1", ROOT, MANAGER, "Policies")
        assert json.loads(text)["type"] == "a(sss)"

    play(bus, scenario)


@pytest.mark.skipif(shutil.which("gdbus") is None, reason="gdbus is not installed")
def test_gdbus_follows(bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, _: Front, client: Client) -> None:
        answer = await run(
            "gdbus",
            *("call", "--address", bus.address, "-d", "org.dialupd1", "-o", MODEM_P),
            *("-m", "org.dialupd1.Modem.Command", "ATI3", "1000"),
        )
        assert answer == "('OK', ['CONEXANT', 'CX93010'])\n"

        async def follow(stream: asyncio.StreamReader) -> bytes:
            while line := await stream.readline():
                if b"InterfacesAdded" in line:
                    break
            return line

        process = await asyncio.create_subprocess_exec(
            *("gdbus", "monitor", "--address", bus.address, "-d", "org.dialupd1"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            reading = asyncio.create_task(follow(process.stdout))
            # It says that it follows before it does, so more than one may have to come.
            for number in itertools.count():
                control.put_modem(replace(MODEM, id=f"second_{number}"))
                if (await asyncio.wait((reading,), timeout=0.5))[0]:
                    break
            line = reading.result()
            assert line.startswith(b"/org/dialupd1: ")
            assert modem_path("second_").encode() in line
        finally:
            process.kill()
            await process.communicate()

    play(bus, scenario)


def test_an_object_that_cannot_be_encoded_is_our_fault_and_not_the_end(
    bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, Variant]:
        raise TypeError("broken")

    async def scenario(_: FakeControl, front: Front, client: Client) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(ViewTable, "properties", broken)
            name, _text = await refused(client.get_all(MODEM_P, MODEM_I))
        assert name == "org.dialupd1.Error.Failed"
        assert await client.get(MODEM_P, MODEM_I, "Name") == "rack"

    play(bus, scenario)
