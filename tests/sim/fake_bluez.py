"""A bluetoothd on a private bus, with phones that take a call, are out of range, refuse, or keep silent.

    fake = await FakeBluez.start(bus.address)         # or prepare(...) first, and own the name later
    fake.adapter("hci0")
    phone = fake.phone("AA:BB:CC:00:00:01", name="Nokia")
    ...                                               # the product connects
    far = await phone.lines.get()                     # the phone's end of the line, the test's to close
    phone.fault = "out-of-range"                      # one of FAULTS, or "silent"
    phone.change(Connected=False)                     # PropertiesChanged, as bluetoothd tells it
    await fake.close()                                # bluetoothd is gone: nothing is said, lines live on

As bluetoothd it keeps a copy of our end of each line, notices its end, asks for the disconnection before it closes,
and answers a second connect to what is connected with success and without a descriptor.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

from dialupd.bus.connection import Connection, _Pending
from dialupd.bus.wire import (
    BusError,
    Message,
    MessageType,
    MethodCall,
    Variant,
    error_reply,
    method_call,
    reply,
    signal,
)
from dialupd.io.linewatch import LineWatch

BLUEZ = "org.bluez"
ADAPTER = f"{BLUEZ}.Adapter1"
DEVICE = f"{BLUEZ}.Device1"
MANAGER = f"{BLUEZ}.ProfileManager1"
PROFILE = f"{BLUEZ}.Profile1"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"

DUN = "00001103-0000-1000-8000-00805f9b34fb"
SPP = "00001101-0000-1000-8000-00805f9b34fb"
HANDS_FREE = "0000111f-0000-1000-8000-00805f9b34fb"

# A smartphone: major class 2, minor class 3.
SMARTPHONE = 0x5A020C

_FAILED = f"{BLUEZ}.Error.Failed"
# What BlueZ 5.66 to 5.82 answer to ConnectProfile.
FAULTS: dict[str, tuple[str, str]] = {
    "out-of-range": (_FAILED, "br-connection-page-timeout"),
    "timeout": (_FAILED, "br-connection-timeout"),
    "refuses": (_FAILED, "br-connection-refused"),
    "drops": (_FAILED, "br-connection-aborted-by-remote"),
    "no-record": (_FAILED, "br-connection-not-supported"),
    "no-service": (f"{BLUEZ}.Error.NotAvailable", "br-connection-profile-unavailable"),
    "key-missing": (_FAILED, "br-connection-key-missing"),
    "low-energy": (_FAILED, "br-connection-already-connected"),
    "no-search": (_FAILED, "Host is down"),
    "le-timeout": (_FAILED, "le-connection-timeout"),
    "no-socket": (_FAILED, "br-connection-create-socket"),
    "switched-off": (f"{BLUEZ}.Error.NotReady", "br-connection-adapter-not-powered"),
    "powered-down": (_FAILED, "br-connection-aborted-by-local"),
    "in-progress": (f"{BLUEZ}.Error.InProgress", "br-connection-busy"),
    "busy": (_FAILED, "br-connection-busy"),
    "canceled": (_FAILED, "br-connection-canceled"),
    "unknown": (_FAILED, "br-connection-unknown"),
    "no-object": ("org.freedesktop.DBus.Error.UnknownObject", 'Method "ConnectProfile" with signature "s" is unknown'),
    "odd": (f"{BLUEZ}.Error.New", "something\x1b[2J new"),
}


class FakePhone:
    """One phone as one adapter knows it."""

    def __init__(self, fake: FakeBluez, adapter: str, address: str, properties: dict[str, Variant]) -> None:
        self.fake = fake
        self.address = address
        self.path = f"/org/bluez/{adapter}/dev_{address.upper().replace(':', '_')}"
        self.properties = properties
        # What it answers to a connection, for as long as it is set.
        self.fault = ""
        # Cleared, a connection takes until it is set.
        self.answers = asyncio.Event()
        self.answers.set()
        # The phone's ends of its lines.
        self.lines: asyncio.Queue[socket.socket] = asyncio.Queue()

    def change(self, *, gone: Iterable[str] = (), **values: object) -> None:
        """Change properties and tell it; those of `gone` are there no more."""
        changed = {name: _variant(name, value) for name, value in values.items()}
        self.properties.update(changed)
        for name in gone:
            self.properties.pop(name, None)
        self.fake.tell_changed(self.path, DEVICE, changed, gone)

    def remove(self) -> None:
        """It is unpaired and forgotten."""
        self.fake.remove(self.path)

    def unseen(self) -> None:
        """It is forgotten, and nobody is told."""
        del self.fake.objects[self.path]


class FakeBluez:
    """`objects` is what GetManagedObjects answers; `calls` is what the product asked, as (member, path, arguments)."""

    def __init__(self, address: str, connection: Connection) -> None:
        self.address = address
        self.connection = connection
        self.objects: dict[str, dict[str, dict[str, Variant]]] = {"/org/bluez": {MANAGER: {}}}
        self.phones: dict[str, FakePhone] = {}
        self.profiles: dict[str, tuple[str, str, dict[str, Any]]] = {}
        # UUIDs that another program has registered.
        self.taken: set[str] = set()
        self.calls: asyncio.Queue[tuple[str, str, list[Any]]] = asyncio.Queue()
        # Cleared, GetManagedObjects is answered when it is set.
        self.asked_for_objects = asyncio.Event()
        self.enumerates = asyncio.Event()
        self.enumerates.set()
        # It takes what is connected for connected, whatever it is told.
        self.stubborn = False
        self.lines = LineWatch()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: dict[str, asyncio.Future[None]] = {}
        connection.on_call = self._on_call

    @classmethod
    async def prepare(cls, address: str) -> FakeBluez:
        """One that does not own the name yet."""
        return cls(address, await Connection.open(address))

    @classmethod
    async def start(cls, address: str) -> FakeBluez:
        fake = await cls.prepare(address)
        await fake.own()
        return fake

    async def own(self) -> None:
        await self.connection.request_name(BLUEZ)

    async def close(self) -> None:
        """It dies; its copies of the lines go with it, the lines do not."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.lines.close()
        await self.connection.close()

    # -- what there is

    def adapter(self, name: str = "hci0", *, address: str = "00:AA:01:00:00:00", powered: bool = True) -> str:
        path = f"/org/bluez/{name}"
        self._add(path, ADAPTER, {"Address": Variant("s", address), "Powered": Variant("b", powered)})
        return path

    def power(self, powered: bool, name: str = "hci0") -> None:
        changed = {"Powered": Variant("b", powered)}
        path = f"/org/bluez/{name}"
        self.objects[path][ADAPTER].update(changed)
        self.tell_changed(path, ADAPTER, changed)

    def unplug(self, name: str = "hci0") -> None:
        """The adapter and all that was known on it go."""
        for path in [path for path in self.objects if path.startswith(f"/org/bluez/{name}/")]:
            self.remove(path)
        self.remove(f"/org/bluez/{name}")

    def phone(
        self,
        address: str = "AA:BB:CC:00:00:01",
        *,
        name: str = "Nokia 6310",
        uuids: Iterable[str] = (HANDS_FREE, DUN),
        device_class: int = SMARTPHONE,
        paired: bool = True,
        connected: bool = False,
        adapter: str = "hci0",
    ) -> FakePhone:
        properties = {
            "Address": Variant("s", address),
            "AddressType": Variant("s", "public"),
            "Name": Variant("s", name),
            "Alias": Variant("s", name),
            "Class": Variant("u", device_class),
            "Paired": Variant("b", paired),
            "Connected": Variant("b", connected),
            "UUIDs": Variant("as", list(uuids)),
            "Adapter": Variant("o", f"/org/bluez/{adapter}"),
        }
        phone = FakePhone(self, adapter, address, properties)
        self.phones[phone.path] = phone
        self._add(phone.path, DEVICE, properties)
        return phone

    def _add(self, path: str, interface: str, properties: dict[str, Variant]) -> None:
        self.objects[path] = {interface: properties}
        self.connection.send(signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", [path, self.objects[path]]))

    def remove(self, path: str) -> None:
        interfaces = list(self.objects.pop(path))
        self.phones.pop(path, None)
        self.connection.send(signal("/", OBJECTS, "InterfacesRemoved", "oas", [path, interfaces]))

    def tell_changed(self, path: str, interface: str, changed: dict[str, Variant], gone: Iterable[str] = ()) -> None:
        self.connection.send(
            signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, changed, list(gone)])
        )

    async def settled(self) -> None:
        """Until the bus has passed on what was told before."""
        await self.connection.ask_bus("GetId")

    # -- what is asked of it

    def _on_call(self, message: Message) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(message), name=f"bluez {message.member}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Message) -> None:
        if message.member != "GetManagedObjects":
            self.calls.put_nowait((str(message.member), str(message.path), list(message.body)))
        try:
            match message.member:
                case "GetManagedObjects":
                    self.asked_for_objects.set()
                    await self.enumerates.wait()
                    self.connection.send(reply(message, "a{oa{sa{sv}}}", [self.objects]))
                    return
                case "RegisterProfile":
                    self._register(message)
                case "ConnectProfile":
                    await self._connect(self._phone(message), message.body[0])
                case "DisconnectProfile":
                    await self._disconnect(self._phone(message), message.body[0])
                case "Disconnect":
                    self._connecting.pop(self._phone(message).path, None)
                case other:
                    raise BusError("org.freedesktop.DBus.Error.UnknownMethod", f"no method {other}")
        except BusError as error:
            self.connection.send(error_reply(message, error.name, error.text))
        else:
            self.connection.send(reply(message, "", []))

    def _phone(self, message: Message) -> FakePhone:
        phone = self.phones.get(str(message.path))
        if phone is None:
            raise BusError(*FAULTS["no-object"])
        return phone

    def _register(self, message: Message) -> None:
        path, uuid, options = message.body
        if uuid in self.taken:
            raise BusError(f"{BLUEZ}.Error.NotPermitted", "UUID already registered")
        if uuid in self.profiles and self.profiles[uuid][:2] == (message.sender, path):
            raise BusError(f"{BLUEZ}.Error.AlreadyExists", "Already Exists")
        self.profiles[uuid] = (str(message.sender), path, options)

    async def last_connection(self) -> None:
        """Until the connection in the making is over; raises the BusError that it ends with."""
        (ended,) = self._connecting.values()
        await ended

    async def _connect(self, phone: FakePhone, uuid: str) -> None:
        if phone.path in self._connecting:
            raise BusError(*FAULTS["in-progress"])
        ended = self._connecting[phone.path] = asyncio.get_running_loop().create_future()
        try:
            await self._page(phone, uuid)
        except BusError as error:
            ended.set_exception(error)
            ended.exception()
            raise
        else:
            ended.set_result(None)
        finally:
            if self._connecting.get(phone.path) is ended:
                del self._connecting[phone.path]

    async def _page(self, phone: FakePhone, uuid: str) -> None:
        await phone.answers.wait()
        if phone.fault == "silent":
            await asyncio.Event().wait()
        if phone.fault:
            raise BusError(*FAULTS[phone.fault])
        if uuid not in self.profiles:
            raise BusError(*FAULTS["no-service"])
        if phone.path in self.lines:
            return
        await self.new_connection(phone, uuid)
        if phone.properties["Connected"].value is False:
            phone.change(Connected=True)

    async def new_connection(self, phone: FakePhone, uuid: str) -> None:
        """Hand a line of the phone to whoever has the profile, as for any program that asked for the connection."""
        owner, path, _ = self.profiles[uuid]
        ours, far = socket.socketpair()
        try:
            self.lines.watch(phone.path, ours.fileno())
            call = MethodCall(owner, path, PROFILE, "NewConnection", "oha{sv}", [phone.path, 0, {}])
            await self._call_out(call, [ours.detach()])
        except BusError as error:
            self.lines.forget(phone.path)  # as bluetoothd: closed, not shut down
            far.close()
            raise BusError(*FAULTS["refuses"]) from error
        except BaseException:
            far.close()
            raise
        phone.lines.put_nowait(far)

    async def _disconnect(self, phone: FakePhone, uuid: str) -> None:
        if phone.path in self.lines and not self.stubborn:
            owner, path, _ = self.profiles[uuid]
            await self._call_out(MethodCall(owner, path, PROFILE, "RequestDisconnection", "o", [phone.path]))
            self.lines.forget(phone.path)

    async def _call_out(self, call: MethodCall, fds: Iterable[int] = ()) -> None:
        """A method call with descriptors, which no part of the product makes."""
        message = method_call(call)
        message.unix_fds = list(fds)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        serial = self.connection.send(message)
        self.connection._pending[serial] = _Pending(call.destination, answer, wants_fds=False)
        said = await answer
        if said.message_type is MessageType.ERROR:
            raise BusError(str(said.error_name), str(said.body[0]))


def _variant(name: str, value: object) -> Variant:
    kinds = {
        "Class": "u",
        "UUIDs": "as",
        "Adapter": "o",
        "Paired": "b",
        "Connected": "b",
        "Powered": "b",
        "Blocked": "b",
        "RSSI": "n",
    }
    return value if isinstance(value, Variant) else Variant(kinds.get(name, "s"), value)
