"""Who may do what: polkit as asked, refused, cancelled and absent, and the policy of the system bus."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bus_control import MODEM, FakeControl, open_fds
from private_bus import SYSTEM_POLICY, PrivateBus, bus_fixture, private_bus

from dialupd.at.dialstring import Masking
from dialupd.bus import authority
from dialupd.bus.authority import Action, Authority, BusAccess, Caller, Polkit, authority_for
from dialupd.bus.client import Client
from dialupd.bus.connection import Connection
from dialupd.bus.front import Front, serve
from dialupd.bus.interface import load
from dialupd.bus.values import modem_path
from dialupd.bus.wire import BusError, Message, MethodCall, Variant, error_reply, reply, unwrap
from dialupd.model import DialupError

__all__ = ["bus_fixture"]

MODEM_P, MODEM_I = modem_path(MODEM.id), "org.dialupd1.Modem"
POLICY_FILE = Path(__file__).parents[2] / "dbus" / "org.dialupd1.conf"
NOBODY = 65534


class FakePolkit:
    """Answers CheckAuthorization as told; without an answer the question stays open."""

    def __init__(self, connection: Connection) -> None:
        self.answer: list[Any] | None = [True, False, {}]
        self.refuses: set[str] = set()
        """Actions that are refused whatever `answer` is."""
        self.signature = "(bba{ss})"
        self.asked: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.cancelled: asyncio.Queue[str] = asyncio.Queue()
        self._connection = connection
        connection.on_call = self._on_call

    def _on_call(self, message: Message) -> None:
        assert (message.path, message.interface) == (
            "/org/freedesktop/PolicyKit1/Authority",
            "org.freedesktop.PolicyKit1.Authority",
        )
        if message.member == "CancelCheckAuthorization":
            self.cancelled.put_nowait(message.body[0])
            self._connection.send(reply(message, "", []))
            return
        assert (message.member, message.signature) == ("CheckAuthorization", "(sa{sv})sa{ss}us")
        self.asked.put_nowait(unwrap(message.body))
        if self.answer is None:
            return
        if message.body[1] in self.refuses:
            self._connection.send(reply(message, self.signature, [[False, False, {}]]))
        elif not self.answer:
            self._connection.send(error_reply(message, "org.freedesktop.PolicyKit1.Error.Failed", "no"))
        else:
            self._connection.send(reply(message, self.signature, [self.answer] if self.signature else []))


@asynccontextmanager
async def daemon(bus: PrivateBus, control: FakeControl) -> AsyncIterator[tuple[Front, FakePolkit, Client]]:
    """A daemon that takes `bus` for the system bus, and everybody for an ordinary user."""
    polkit_connection = await Connection.open(bus.address)
    polkit = FakePolkit(polkit_connection)
    await polkit_connection.request_name("org.freedesktop.PolicyKit1")
    front = await serve("system", control)
    client = await Client.connect(bus.address)
    try:
        yield front, polkit, client
    finally:
        await client.close()
        await front.close()
        await polkit_connection.close()


Scenario = Callable[[FakeControl, FakePolkit, Client], Awaitable[None]]


@pytest.fixture
def play(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], None]:
    async def ordinary(*_: object) -> bool:
        return False

    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    monkeypatch.setattr(Polkit, "_is_privileged", ordinary)

    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            control = FakeControl()
            before = open_fds()
            async with asyncio.timeout(20), daemon(bus, control) as (front, polkit, client):
                await scenario(control, polkit, client)
                # No watch for a caller stays behind.
                assert front._connection.on_signal == []
            assert len(asyncio.all_tasks()) == 1
            assert open_fds() == before

        asyncio.run(whole())

    return run


async def dial(client: Client) -> list[Any]:
    return await client.call(MODEM_P, MODEM_I, "Dial", "sa{sv}", ["5551212", {}])


async def refusal(awaitable: Awaitable[Any]) -> str:
    with pytest.raises(BusError) as caught:
        await awaitable
    assert caught.value.name == "org.dialupd1.Error.NotAuthorized"
    return caught.value.text


def test_polkit_is_asked(play: Callable[[Scenario], None]) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        assert await dial(client) == ["/org/dialupd1/call/8"]
        subject, action, details, flags, ticket = polkit.asked.get_nowait()
        assert subject == ["system-bus-name", {"name": client._connection.unique_name}]
        assert action == "org.dialupd1.dial"
        assert details == {"modem": MODEM.id, "number": "5551212"}
        assert flags == 1
        assert ticket
        # Without the flag of the caller there is no dialog.
        await client._connection.call(MethodCall("org.dialupd1", MODEM_P, MODEM_I, "HangUp"))
        _, action, details, flags, other = polkit.asked.get_nowait()
        assert (action, details, flags) == ("org.dialupd1.hang-up", {"modem": MODEM.id}, 0)
        assert other != ticket
        assert polkit.cancelled.empty()

    play(scenario)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([False, False, {}], "polkit does not allow it"),
        ([False, True, {}], "nothing is there to ask for it: pkttyagent"),
        ([], "polkit cannot be asked"),
    ],
)
def test_polkit_refuses(play: Callable[[Scenario], None], answer: list[Any], words: str) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.answer = answer
        text = await refusal(dial(client))
        assert words in text
        assert "org.dialupd1.dial" in text
        assert control.asked == []
        # What is free needs no polkit.
        await client.managed_objects()
        assert await client.get(MODEM_P, MODEM_I, "State") == "ready"

    play(scenario)


def test_a_password_is_needed_but_not_welcome(play: Callable[[Scenario], None]) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.answer = [False, True, {}]
        with pytest.raises(BusError, match="needs a password"):
            await client._connection.call(MethodCall("org.dialupd1", MODEM_P, MODEM_I, "HangUp"))

    play(scenario)


@pytest.mark.parametrize(
    ("signature", "answer"),
    [
        ("", [True]),
        ("s", "yes"),
        ("b", True),
        ("(bb)", [True, False]),
        ("(uua{ss})", [1, 0, {}]),
        ("(ssa{ss})", ["true", "", {}]),
        ("(bba{sv})", [True, False, {}]),
    ],
)
def test_polkit_answers_something_else(play: Callable[[Scenario], None], signature: str, answer: Any) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.signature, polkit.answer = signature, answer
        assert "polkit cannot be asked" in await refusal(dial(client))
        assert control.asked == []
        polkit.signature, polkit.answer = "(bba{ss})", [True, False, {}]
        await dial(client)

    play(scenario)


@pytest.mark.parametrize("interactive", [True, False])
def test_polkit_does_not_answer(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch, interactive: bool
) -> None:
    monkeypatch.setattr(authority, "_INTERACTIVE_S" if interactive else "_PLAIN_S", 0.1)

    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.answer = None
        if interactive:
            text = await refusal(client.call(MODEM_P, MODEM_I, "HangUp", "", []))
        else:
            text = await refusal(client._connection.call(MethodCall("org.dialupd1", MODEM_P, MODEM_I, "HangUp")))
        assert "polkit cannot be asked" in text
        _, _, _, flags, ticket = polkit.asked.get_nowait()
        assert flags == int(interactive)
        # No dialog stays on the screen.
        assert await polkit.cancelled.get() == ticket
        assert control.asked == []

    play(scenario)


def test_polkit_goes_away_while_asked(play: Callable[[Scenario], None]) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.answer = None
        pending = asyncio.create_task(dial(client))
        await polkit.asked.get()
        await polkit._connection.close()
        assert "polkit cannot be asked" in await refusal(pending)
        assert control.asked == []

    play(scenario)


def test_a_caller_that_vanishes_is_not_waited_for(play: Callable[[Scenario], None], bus: PrivateBus) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.answer = None
        fleeting = await Client.connect(bus.address)
        pending = asyncio.create_task(dial(fleeting))
        _, _, _, _, ticket = await polkit.asked.get()
        await fleeting.close()
        with pytest.raises(Exception, match="bus is gone"):
            await pending
        assert await polkit.cancelled.get() == ticket
        assert control.asked == []
        # The request has ended before the next one is answered.
        polkit.answer = [True, False, {}]
        await dial(client)

    play(scenario)


def test_a_caller_that_has_vanished_already_is_not_asked_about(
    bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        connection, fleeting = await Connection.open(bus.address), await Connection.open(bus.address)
        polkit = FakePolkit(await Connection.open(bus.address))
        await polkit._connection.request_name("org.freedesktop.PolicyKit1")
        caller = Caller(fleeting.unique_name, True)

        async def leaves(*_: object) -> bool:
            # Between being known as an ordinary user and being watched.
            await fleeting.close()
            while (await connection.ask_bus("NameHasOwner", "s", [caller.sender]))[0]:
                pass
            return False

        monkeypatch.setattr(Polkit, "_is_privileged", leaves)
        with pytest.raises(DialupError, match="the caller has left the bus"):
            await Polkit(connection, lambda: Masking.NONE).check(caller, Action.DIAL, {})
        assert polkit.asked.empty()
        assert connection.on_signal == []
        await connection.close()
        await polkit._connection.close()

    asyncio.run(scenario())


def test_a_caller_whom_the_bus_does_not_know_is_refused(bus: PrivateBus) -> None:
    async def scenario() -> None:
        connection = await Connection.open(bus.address)
        with pytest.raises(DialupError, match="the bus does not know the caller"):
            await Polkit(connection, lambda: Masking.NONE).check(Caller(":1.999999", True), Action.DIAL, {})
        await connection.close()

    asyncio.run(scenario())


def test_the_daemon_stops_while_polkit_is_asked(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ordinary(*_: object) -> bool:
        return False

    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    monkeypatch.setattr(Polkit, "_is_privileged", ordinary)

    async def scenario() -> None:
        async with asyncio.timeout(20), daemon(bus, FakeControl()) as (front, polkit, client):
            polkit.answer = None
            pending = asyncio.create_task(dial(client))
            _, _, _, _, ticket = await polkit.asked.get()
            await front.close()
            assert await polkit.cancelled.get() == ticket
            with pytest.raises(BusError, match="going down"):
                await pending

    asyncio.run(scenario())


def test_every_method_asks_for_its_action(play: Callable[[Scenario], None]) -> None:
    arguments: dict[str, list[Any]] = {
        "": [],
        "s": ["debug"],
        "su": ["AT", 0],
        "ss": ["a", "b"],
        "sa{sv}": ["1", {}],
        "a{sv}": [{}],
    }

    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.answer = [False, False, {}]
        for path, name in [
            ("/org/dialupd1", "org.dialupd1.Manager"),
            (MODEM_P, MODEM_I),
            ("/org/dialupd1/call/7", "org.dialupd1.Call"),
        ]:
            for member, spec in load(name).methods.items():
                await refusal(client.call(path, name, member, spec.signature, arguments[spec.signature]))
                assert polkit.asked.get_nowait()[1] == spec.action
        assert control.asked == []

    play(scenario)


def test_root_and_ourselves_are_not_asked(bus: PrivateBus) -> None:
    async def scenario() -> None:
        connection = await Connection.open(bus.address)
        # There is no polkit on this bus at all.
        await Polkit(connection, lambda: Masking.NONE).check(Caller(connection.unique_name, False), Action.COMMAND, {})
        await connection.close()

    asyncio.run(scenario())


def test_which_authority(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scenario() -> None:
        connection = await Connection.open(bus.address)

        def authority_of(address: str) -> Authority:
            return authority_for(address, connection, lambda: Masking.NONE)

        assert isinstance(authority_of(bus.address), BusAccess)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        assert isinstance(authority_of("system"), Polkit)
        # The same socket by another name is the system bus still.
        (tmp_path / "link").symlink_to(bus.directory)
        for address in (bus.address, f"unix:path={tmp_path}/link/bus", f"tcp:host=a,port=1;{bus.address}"):
            assert isinstance(authority_of(address), Polkit)
        assert isinstance(authority_of("unix:path=/elsewhere"), BusAccess)
        await connection.close()

    asyncio.run(scenario())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(shutil.which("busctl") is None, reason="busctl is not installed")
def test_an_ordinary_user_on_the_system_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = f"{SYSTEM_POLICY}<include>{POLICY_FILE}</include>"

    async def scenario(bus: PrivateBus) -> None:
        async def busctl(*words: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *("busctl", f"--address={bus.address}", *words),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                user=NOBODY,
            )
            return (await process.communicate())[0].decode()

        front = await serve("system", FakeControl())
        assert '.State                              property  s         "ready"' in await busctl(
            "introspect", "org.dialupd1", MODEM_P
        )
        tree = await busctl("--list", "tree", "org.dialupd1")
        assert MODEM_P in tree.split()
        objects = await busctl(
            *("call", "org.dialupd1", "/org/dialupd1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        )
        assert objects.startswith("a{oa{sa{sv}}} 2 ")
        answer = await busctl("call", "org.dialupd1", MODEM_P, MODEM_I, "Command", "su", "ATZ", "0")
        assert "not authorized for org.dialupd1.command: polkit cannot be asked" in answer
        setting = ("call", "org.dialupd1", "/org/dialupd1", "org.freedesktop.DBus.Properties", "Set")
        assert "read only" in await busctl(*setting, "ssv", "org.dialupd1.Manager", "Version", "s", "x")
        assert "denied" in await busctl("call", "org.dialupd1", "/org/dialupd1", "org.example.Other", "Member")
        root = await Client.connect(bus.address)
        assert await root.call(MODEM_P, MODEM_I, "HangUp") == []
        await root.close()
        await front.close()
        own = ("call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su", "org.dialupd1", "4")
        assert "denied" in await busctl(*own)

    with private_bus(policy) as bus:
        bus.directory.chmod(0o755)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        asyncio.run(scenario(bus))


def test_details_hold_no_secrets(play: Callable[[Scenario], None]) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        async def shown(number: str) -> str:
            # The daemon looks at the number after polkit has.
            await asyncio.gather(client.call(MODEM_P, MODEM_I, "Dial", "sa{sv}", [number, {}]), return_exceptions=True)
            return polkit.asked.get_nowait()[2]["number"]

        assert await shown("1 800 5551212,,4111") == "1 800 5551212,,xxxx"
        # What was asked for is dialled, whatever polkit was shown.
        assert control.asked[-1][2] == "1 800 5551212,,4111"
        control.masking = Masking.ALL
        assert await shown("5551212") == "xxxxxxx"
        control.masking = Masking.NONE
        assert await shown("5551212,4111") == "5551212,4111"
        await client.call(MODEM_P, MODEM_I, "Command", "su", ['AT+CPIN="4711"', 0])
        assert polkit.asked.get_nowait()[2]["command"] == "AT+CPIN=****"

    play(scenario)


def test_details_are_strings_of_a_line(play: Callable[[Scenario], None]) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        (fd,) = await client.call(MODEM_P, MODEM_I, "Inhibit", "ss", ["x" * 5000, "y\nfrom=root\x1b[2J"])
        os.close(fd)
        details = polkit.asked.get_nowait()[2]
        assert (len(details["who"]), details["why"]) == (200, "y from=root [2J")
        options = {"timeout": Variant("u", 5)}
        await client.call("/org/dialupd1", "org.dialupd1.Manager", "Originate", "sa{sv}", ["uplink", options])
        assert polkit.asked.get_nowait()[2] == {"policy": "uplink"}
        for far in control.far_ends:
            far.close()

    play(scenario)


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body", "shown"),
    [
        (
            MODEM_P,
            MODEM_I,
            "Dial",
            "sa{sv}",
            ["5551212", {"session": Variant("s", "isp")}],
            {"modem": MODEM.id, "number": "5551212", "session": "isp", "policy": ""},
        ),
        (
            "/org/dialupd1",
            "org.dialupd1.Manager",
            "Originate",
            "sa{sv}",
            ["uplink", {"session": Variant("s", "isp")}],
            {"policy": "uplink", "session": "isp"},
        ),
    ],
)
def test_a_session_of_roots_for_another_number_takes_more_than_the_right_to_dial(
    play: Callable[[Scenario], None],
    path: str,
    interface: str,
    member: str,
    signature: str,
    body: list[Any],
    shown: dict[str, str],
) -> None:
    async def scenario(control: FakeControl, polkit: FakePolkit, client: Client) -> None:
        polkit.refuses.add(Action.CONTROL)
        with pytest.raises(BusError) as refused:
            await client.call(path, interface, member, signature, body)
        (_, first, *_), (_, second, details, *_) = polkit.asked.get_nowait(), polkit.asked.get_nowait()
        assert (first, second) == (Action.DIAL, Action.CONTROL)
        assert details == shown
        assert refused.value.name.endswith("NotAuthorized")
        assert [name for name, *_ in control.asked if name in ("dial", "originate")] == []

    play(scenario)
