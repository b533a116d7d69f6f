"""The lab's phones: Bluetooth controllers with a simulated phone behind each, on commands over a unix socket.

Runs in the guest as `python3 -m tests.vm.phone`.  A phone has a controller of its own and offers Dial-Up Networking or
a Serial Port by BlueZ's profile API, under a UUID of its own, because one bluetoothd serves both sides of the lab and
takes each UUID once; its service record says what a real phone's does, and is to be seen on every controller.  Who
connects gets the modem of the simulated telephone exchange that belongs to the controller.  Its user agrees to every
pairing.

Rules: one line of words in, one JSON object out; an operation is answered when it is done, an error is {"error": text}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shlex
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dbus_next import BusType, Message, MessageType, Variant
from dbus_next.aio import MessageBus

from dialupd.exchange.answers import Caller
from dialupd.exchange.exchange import Exchange
from dialupd.exchange.fd import FdStream, StreamWire
from dialupd.exchange.modem import SimModem
from dialupd.exchange.port import Dce
from tests.vm.air import Air
from tests.vm.plug import TIMING

SOCKET = Path("/run/lab-phone")
BLUEZ = "org.bluez"
MANAGER = "org.bluez.ProfileManager1"
PAIRING_S = 20.0
"""Finding and pairing a phone takes a few seconds, and now and then it hangs in the emulation."""

POWERED_S = 4.0
"""bluetoothd switches a new controller on within a second."""

AGENT, PROFILES = "/lab/agent", "/lab/profile/"
SERVICES = {"dun": ("1103", 4), "spp": ("1101", 5)}
"""The service class in the record, and the RFCOMM channel."""

RECORD = """<?xml version="1.0" encoding="UTF-8"?>
<record>
 <attribute id="0x0001"><sequence><uuid value="0x{uuid}"/></sequence></attribute>
 <attribute id="0x0004"><sequence>
  <sequence><uuid value="0x0100"/></sequence><sequence><uuid value="0x0003"/><uint8 value="0x{channel:02x}"/></sequence>
 </sequence></attribute>
 <attribute id="0x0005"><sequence><uuid value="0x1002"/></sequence></attribute>
 <attribute id="0x0100"><text value="Lab"/></attribute>
</record>
"""

log = logging.getLogger("lab.phone")


class RfcommModem(StreamWire):
    """The carrier of a modem: a connection that BlueZ hands over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dce: Dce, fd: int) -> None:
        self._dce = dce
        self._socket = socket.socket(fileno=os.dup(fd))
        self._stream = FdStream(loop, fd, received=dce.received, drained=dce.writable, closed=self.close)
        dce.attached(self)
        self._stream.accept(True)

    @property
    def open(self) -> bool:
        return self._socket.fileno() >= 0

    def close(self) -> None:
        """End the connection, for bluetoothd too, which holds it."""
        if self.open:
            self._dce.detached()
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # the other side was first
                pass
            self._socket.close()
            self._stream.close()


class Bluez:
    """What bluetoothd publishes, kept up to date, and what it calls here."""

    def __init__(self, connected: Callable[[str, int], None], came: Callable[[], Awaitable[None]]) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {}
        self._connected = connected
        self._came = came
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
        self._bus.add_message_handler(self._handle)
        bus = "org.freedesktop.DBus"
        for rule in (f"sender='{BLUEZ}'", f"sender='{bus}',member='NameOwnerChanged',arg0='{BLUEZ}'"):
            await self.call(f"/{bus.replace('.', '/')}", f"{bus}.AddMatch", "s", f"type='signal',{rule}", to=bus)
        if (await self.call("/", f"{bus}.NameHasOwner", "s", BLUEZ, to=bus))[0]:
            await self._look()

    async def call(self, path: str, method: str, signature: str = "", *body: Any, to: str = BLUEZ) -> list[Any]:
        """Raises OSError with what the other side said."""
        interface, _, member = method.rpartition(".")
        reply = await self._bus.call(Message(to, path, interface, member, signature=signature, body=list(body)))
        assert reply is not None
        if reply.message_type is MessageType.ERROR:
            raise OSError(f"{method}: {reply.error_name} {reply.body}")
        return list(reply.body)

    async def set(self, path: str, interface: str, name: str, value: Variant) -> None:
        await self.call(path, "org.freedesktop.DBus.Properties.Set", "ssv", interface, name, value)

    async def until(self, path: str, interface: str, **wanted: Any) -> None:
        """Wait until an object has these properties."""
        while not wanted.items() <= self.objects.get(path, {}).get(interface, {}).items():
            self._changed.clear()
            await self._changed.wait()

    async def _look(self) -> None:
        tree = (await self.call("/", "org.freedesktop.DBus.ObjectManager.GetManagedObjects"))[0]
        for path, interfaces in tree.items():
            self._update(path, interfaces)
        await self._came()

    def _update(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        for interface, properties in interfaces.items():
            values = {name: value.value for name, value in properties.items()}
            self.objects.setdefault(path, {}).setdefault(interface, {}).update(values)
        self._changed.set()

    def _handle(self, message: Message) -> Message | None:
        if message.message_type is MessageType.METHOD_CALL:
            return self._answer(message)
        match message.message_type, message.member, message.body:
            case MessageType.SIGNAL, "InterfacesAdded", [path, interfaces]:
                self._update(path, interfaces)
            case MessageType.SIGNAL, "PropertiesChanged", [interface, changed, _]:
                self._update(message.path, {interface: changed})
            case MessageType.SIGNAL, "InterfacesRemoved", [path, interfaces]:
                for interface in interfaces:
                    self.objects.get(path, {}).pop(interface, None)
                self._changed.set()
            case MessageType.SIGNAL, "NameOwnerChanged", [_, _, owner]:
                self.objects.clear()
                if owner:
                    task = asyncio.get_running_loop().create_task(self._look())
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        return None

    def _answer(self, message: Message) -> Message | None:
        log.info("bluetoothd: %s %s", message.member, message.body)
        match message.interface, message.member:
            case "org.bluez.Profile1", "NewConnection":
                device, place, _ = message.body
                self._connected(device.split("/")[3], message.unix_fds[place])
            case "org.bluez.Profile1" | "org.bluez.Agent1", _:
                pass
            case _:
                return None
        return Message.new_method_return(message)


class Bench:
    """The controllers, the phones behind some of them, and the exchange that they share."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._air = Air()
        self._bluez = Bluez(self._take, self._offer)
        self._phones: dict[str, SimModem] = {}
        self._lines: dict[str, RfcommModem] = {}
        self._services: list[str] = []
        self._registered: set[str] = set()
        self._registering = asyncio.Lock()
        self._operations: dict[str, Callable[..., Awaitable[object]]] = {
            "controller": self._controller,
            "unplug": self._unplug,
            "phone": self._phone,
            "offer": self._offer_these,
            "pair": self._pair,
            "away": self._away,
            "near": self._near,
            "drop": self._drop,
            "show": self._show,
            "fault": self._fault,
            "service": self._service,
            "ring": self._ring,
            "claim": self._claim,
            "unclaim": self._unclaim,
        }

    async def start(self) -> None:
        await self._bluez.start()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            words = shlex.split((await reader.readline()).decode())
            try:
                answer = await self._operations[words[0]](*words[1:])
            except (KeyError, ValueError, TypeError, OSError) as error:
                answer = {"error": repr(error)}
            writer.write(json.dumps(answer or {}).encode() + b"\n")
            await writer.drain()
        finally:
            writer.close()

    async def _controller(self) -> object:
        """Plug a controller in; bluetoothd need not run."""
        controller = await self._air.add()
        return {"name": controller.name, "address": controller.address}

    async def _unplug(self, name: str) -> None:
        await self._air.unplug(name)

    async def _phone(self, number: str, kind: str, alias: str) -> object:
        """A phone on a new controller, visible and with a name; bluetoothd runs."""
        controller = await self._air.add()
        path = f"/org/bluez/{controller.name}"
        await self._powered(path)
        for name, value in (("Alias", Variant("s", alias)), ("DiscoverableTimeout", Variant("u", 0))):
            await self._bluez.set(path, "org.bluez.Adapter1", name, value)
        await self._bluez.set(path, "org.bluez.Adapter1", "Discoverable", Variant("b", True))
        self._phones[controller.name] = self._exchange.modem(number, kind=kind)
        return {"name": controller.name, "address": controller.address}

    async def _offer_these(self, *services: str) -> None:
        """From now on every phone offers these: `dun`, `spp`."""
        self._services = list(services)
        await self._register()

    async def _offer(self) -> None:
        """bluetoothd is there: everything is registered anew."""
        manager = "org.bluez.AgentManager1"
        self._registered.clear()
        await self._bluez.call("/org/bluez", f"{manager}.RegisterAgent", "os", AGENT, "NoInputNoOutput")
        await self._bluez.call("/org/bluez", f"{manager}.RequestDefaultAgent", "o", AGENT)
        await self._register()

    async def _register(self) -> None:
        async with self._registering:
            for service in self._registered - set(self._services):
                self._registered.discard(service)
                await self._bluez.call("/org/bluez", f"{MANAGER}.UnregisterProfile", "o", PROFILES + service)
            for service in set(self._services) - self._registered:
                self._registered.add(service)
                uuid, channel = SERVICES[service]
                options = {
                    "Role": Variant("s", "server"),
                    "Channel": Variant("q", channel),
                    "ServiceRecord": Variant("s", RECORD.format(uuid=uuid, channel=channel)),
                }
                its_own = f"0000{uuid}-0000-1000-8000-00805f9b34aa"
                register = f"{MANAGER}.RegisterProfile"
                await self._bluez.call("/org/bluez", register, "osa{sv}", PROFILES + service, its_own, options)

    async def _pair(self, adapter: str, address: str) -> None:
        """What a person does at the computer: look for the phone and pair it, once more where that hangs."""
        ours, device = f"/org/bluez/{adapter}", f"/org/bluez/{adapter}/dev_{address.replace(':', '_')}"
        await self._powered(ours)
        try:
            await asyncio.wait_for(self._find_and_pair(ours, device, address), PAIRING_S)
        except TimeoutError:
            log.info("pairing %s hangs, once more", address)
            for path, method in ((device, "Device1.CancelPairing"), (ours, "Adapter1.StopDiscovery")):
                with contextlib.suppress(OSError):
                    await self._bluez.call(path, f"{BLUEZ}.{method}")
            await self._find_and_pair(ours, device, address)
        log.info("%s is paired", address)

    async def _find_and_pair(self, ours: str, device: str, address: str) -> None:
        adapter1 = f"{BLUEZ}.Adapter1"
        await self._bluez.call(ours, f"{adapter1}.SetDiscoveryFilter", "a{sv}", {"Transport": Variant("s", "bredr")})
        await self._bluez.call(ours, f"{adapter1}.StartDiscovery")
        await self._bluez.until(device, f"{BLUEZ}.Device1", Address=address)
        await self._bluez.call(ours, f"{adapter1}.StopDiscovery")
        log.info("%s is found", address)
        await self._bluez.call(device, f"{BLUEZ}.Device1.Pair")

    async def _powered(self, adapter: str) -> None:
        """Until it is on; bluetoothd's own attempt to switch it on may have found the controller busy."""
        while True:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._bluez.until(adapter, f"{BLUEZ}.Adapter1", Powered=True), POWERED_S)
            log.info("%s is still off", adapter)
            with contextlib.suppress(OSError):
                await self._bluez.set(adapter, f"{BLUEZ}.Adapter1", "Powered", Variant("b", True))

    async def _away(self, address: str) -> None:
        self._air.lose(address)

    async def _near(self, address: str) -> None:
        self._air.away.discard(address)

    async def _drop(self, name: str) -> None:
        """The phone closes the line and keeps the radio link."""
        self._lines[name].close()

    async def _show(self, name: str) -> object:
        modem, line = self._phones[name], self._lines.get(name)
        settings = {word: modem.settings.extended(word) for word in modem.kind.extended}
        lines = line is not None and line.open
        return {"state": modem.state.value, "peer": modem.peer, "line": lines, "settings": settings}

    async def _fault(self, name: str, *faults: str) -> None:
        self._phones[name].set_faults(faults)

    async def _service(self, number: str, what: str) -> None:
        if " " in what:
            self._exchange.service(number, shlex.split(what))
        else:
            self._exchange.special(number, what)

    async def _ring(self, number: str, caller: str, rings: str) -> None:
        self._exchange.ring(number, Caller(caller, ""), int(rings))

    async def _claim(self, uuid: str) -> None:
        """Be the program that was first: register a client's profile under the UUID itself."""
        options = {"Role": Variant("s", "client"), "AutoConnect": Variant("b", False)}
        whole = f"0000{uuid}-0000-1000-8000-00805f9b34fb"
        register = f"{MANAGER}.RegisterProfile"
        await self._bluez.call("/org/bluez", register, "osa{sv}", f"{PROFILES}claim{uuid}", whole, options)

    async def _unclaim(self, uuid: str) -> None:
        await self._bluez.call("/org/bluez", f"{MANAGER}.UnregisterProfile", "o", f"{PROFILES}claim{uuid}")

    def _take(self, name: str, fd: int) -> None:
        """Somebody has connected to that phone."""
        if name in self._lines:
            self._lines[name].close()
        self._lines[name] = RfcommModem(asyncio.get_running_loop(), self._phones[name], fd)


async def serve() -> None:
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(message)s")
    async with Exchange(timing=TIMING) as exchange:
        bench = Bench(exchange)
        await bench.start()
        server = await asyncio.start_unix_server(bench.serve, SOCKET)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
