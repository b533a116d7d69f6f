"""The Bluetooth of this machine by bluetoothd, BlueZ's daemon, on a connection of its own to the system bus.

bluetoothd may come later than we, go and come back, and so may the bus: the bus tells of it, nothing is asked again and
again.  Its signals are asked for before its objects; those that come while it answers are held and applied after,
since what they say is as new as the answer or newer.

A bluetoothd that is not there is not started, with one exception: one that has fallen (`bluez_start`).  One that was
stopped stays so: it takes all its objects back before it goes.

What was known stays known while it is away.  It tells its adapters one by one when it starts, and takes its phones back
one by one when it stops, so nothing counts as gone before it has been missing for a moment.  In the same way "no
adapter" and "switched off" count only once it has had time to find and switch on what there is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from dialupd.bus import bluez_words as words
from dialupd.bus.address import ConnectionLost
from dialupd.bus.bluez_devices import ADAPTER, DEVICE, Known, Tree
from dialupd.bus.bluez_lines import Lines
from dialupd.bus.bluez_start import Starter
from dialupd.bus.connection import CallTimeout, Connection
from dialupd.bus.peer import Peer
from dialupd.bus.wire import BUS_NAME, BusError, Message
from dialupd.io.rfkill import bluetooth_block
from dialupd.radio import Phone, RadioError, RadioFault, RadioWatcher, Service

log = logging.getLogger(__name__)

_OBJECTS: Final = f"{BUS_NAME}.ObjectManager"
_PROPERTIES: Final = f"{BUS_NAME}.Properties"
_TREE: Final = "a{oa{sa{sv}}}"
_RULES: Final = (
    f"path='/',interface='{_OBJECTS}'",
    *(
        f"path_namespace='/org/bluez',interface='{_PROPERTIES}',member='PropertiesChanged',arg0='{interface}'"
        for interface in (ADAPTER, DEVICE)
    ),
)
# Seconds that bluetoothd may take to tell its objects, mostly some milliseconds; and those until one that did not is
# asked again.
_ANSWERS: Final = 5.0
_DEAF: Final = 30.0
# Bytes of the answer with all objects; some hundred devices with all their services are half a megabyte.
_LIMIT: Final = 1 << 24

# Seconds between attempts to reach a bus that went away, doubling: dbus-daemon is back within a second or two.
_RECONNECT_FIRST: Final = 1.0
_RECONNECT_MAX: Final = 30.0
# Seconds for which a phone is missing before it has gone; and those in which a bluetoothd that has just come finds its
# adapters, reads what it keeps of their phones and switches them on.
_MISSING: Final = 1.0
_STARTING: Final = 5.0
# Seconds for which `out_of_reach` waits for the news that must come right behind the end of a line.
_NEWS: Final = 0.5
# Seconds for which news is gathered before it is told: a search tells some hundred devices a second, and to look at all
# of them again takes milliseconds.
_GATHER: Final = 0.1
# Seconds that a trouble lasts before it is logged: a bluetoothd that stops passes through several.
_LASTS: Final = 1.0
# Seconds between attempts to register what was refused.
_REGISTER_AGAIN: Final = 3.0


class Bluez:
    """Implements `dialupd.radio.Radio`; may be started anew after `close`."""

    def __init__(self, bus: str) -> None:
        self._bus = bus
        self._watcher: RadioWatcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._tree = Tree()
        self._phones: dict[str, Phone] = {}
        self._lines: Lines | None = None
        self._owner = ""
        self._looked = asyncio.Event()
        self._news = asyncio.Event()
        # Signals that wait for the objects; None while they are applied at once.
        self._held: list[Message] | None = None
        self._starting = False
        self._timer: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None
        # What is wrong with the bus, or with a bluetoothd that does not answer; and what was said to be wrong.
        self._lost = ""
        self._told = self._logged = ""
        self._told_taken: dict[Service, str] = {}
        self._logging: asyncio.TimerHandle | None = None
        self._registering: asyncio.Task[None] | None = None
        self._registered_at = 0.0
        self._starter = Starter()

    # -- life

    def start(self, watcher: RadioWatcher) -> None:
        assert self._task is None
        self._watcher = watcher
        self._lines = Lines()
        self._task = asyncio.create_task(self._run(), name="bluetooth")
        self._task.add_done_callback(self._ended)

    async def looked(self) -> None:
        await self._looked.wait()

    async def close(self) -> None:
        self._watcher = None
        await self._starter.close()
        for task in (self._registering, self._task):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._task = self._registering = None
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        self._phones.clear()
        self._looked.clear()
        self._lost = self._told = self._logged = ""
        self._told_taken = {}
        if self._logging is not None:
            self._logging.cancel()
            self._logging = None

    async def _run(self) -> None:
        pause = _RECONNECT_FIRST
        while True:
            try:
                connection = await Connection.open(self._bus, limit=_LIMIT, call_fds=True)
                pause = _RECONNECT_FIRST
                await self._attend(connection)
            except (ConnectionLost, CallTimeout, BusError) as error:
                log.debug("bluetoothd cannot be watched, next try in %g s: %s", pause, error)
            self._lost = words.NO_BUS
            self._looked.set()
            self._say_trouble()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RECONNECT_MAX)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("Bluetooth is watched no more: this is a defect of dialupd", exc_info=error)
            self._looked.set()

    async def _attend(self, connection: Connection) -> None:
        """Follow whoever owns BlueZ's name until the connection is lost."""
        changed = asyncio.Event()
        connection.on_end.append(lambda _: changed.set())
        peer = Peer(connection, words.BLUEZ, self._signal, changed.set)
        lines = self._lines
        assert lines is not None
        connection.on_call = lines.on_call
        try:
            await peer.meet(*_RULES)
            while connection.connected:
                changed.clear()
                if self._owner and not peer.owner and self._tree.adapters:
                    self._starter.fell(connection)
                self._forget()
                if peer.owner:
                    self._starter.forget()
                    self._owner = peer.owner
                    lines.meet(connection, lambda: self._owner)
                    await self._meet(peer, lines)
                else:
                    self._lost = ""
                self._looked.set()
                self._say_trouble()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DEAF if self._lost else None):
                        await changed.wait()
        finally:
            self._starter.forget()
            self._forget()
            await connection.close()

    async def _meet(self, peer: Peer, lines: Lines) -> None:
        """Learn what this bluetoothd has, and register with it."""
        self._held, self._starting = [], True
        try:
            answer = await peer.call("/", _OBJECTS, "GetManagedObjects", answer=_TREE, within=_ANSWERS)
        except (BusError, CallTimeout) as error:
            if peer.owner == self._owner:
                self._lost = f"bluetoothd does not answer ({words.shown(error)}): systemctl restart bluetooth"
            self._held = None
            return
        for path, interfaces in answer.body[0].items():
            self._tree.added(path, interfaces)
        held, self._held = self._held, None
        for message in held:
            self._apply(message)
        self._lost = ""
        self._wait(_STARTING)
        self._update()
        self._looked.set()
        self._registered_at = asyncio.get_running_loop().time()
        await lines.register()

    def _forget(self) -> None:
        """bluetoothd is away, or another one: what it said of radio links holds no more."""
        self._owner = ""
        self._held = None
        self._starting = False
        self._tree.clear()
        if self._lines is not None:
            self._lines.meet(None)
        for timer in (self._timer, self._gathering):
            if timer is not None:
                timer.cancel()
        self._timer = self._gathering = None
        self._mark_lost()
        self._wake()

    # -- what it tells

    def _signal(self, message: Message) -> None:
        if self._held is not None:
            self._held.append(message)
        elif self._apply(message) and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_GATHER, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._update()
        self._say_trouble()

    def _apply(self, message: Message) -> bool:
        match message.member, message.signature:
            case "InterfacesAdded", "oa{sa{sv}}":
                return self._tree.added(message.body[0], message.body[1])
            case "InterfacesRemoved", "oas":
                return self._tree.removed(message.body[0], message.body[1])
            case "PropertiesChanged", "sa{sv}as":
                interface, values, invalid = message.body
                return self._tree.changed(message.path or "", interface, values, invalid)
        return False

    def _update(self) -> None:
        """Tell what is new; what is missing has a moment to come back."""
        for address, known in self._tree.phones().items():
            self._tell(address, known.phone)
        if self._mark_lost() and self._timer is None:
            self._wait(_MISSING)
        self._wake()

    def _wake(self) -> None:
        """Have those who wait for news look again."""
        self._news.set()
        self._news = asyncio.Event()

    def _mark_lost(self) -> bool:
        """No radio link of ours to phones that bluetoothd does not name; whether there are such phones."""
        missing = self._phones.keys() - self._tree.phones().keys()
        for address in missing:
            self._tell(address, replace(self._phones[address], connected=False))
        return bool(missing)

    def _tell(self, address: str, phone: Phone) -> None:
        if self._phones.get(address) != phone:
            self._phones[address] = phone
            if self._watcher is not None:
                self._watcher.phone_changed(phone)

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._settled)

    def _settled(self) -> None:
        self._update()
        self._timer, self._starting = None, False
        for address in self._phones.keys() - self._tree.phones().keys():
            del self._phones[address]
            if self._watcher is not None:
                self._watcher.phone_gone(address)
        self._say_trouble()

    # -- what is asked

    def phones(self) -> Sequence[Phone]:
        return list(self._phones.values())

    def trouble(self) -> str:
        """Whoever asks is a reason to try again what another program had for itself, for nobody tells when it lets go,
        and to have a bluetoothd that fell started."""
        self._register_again()
        self._starter.wanted()
        return self._trouble()

    def _trouble(self) -> str:
        if not self._looked.is_set():
            return ""
        if not self._owner:
            return self._lost or words.NO_BLUETOOTHD
        if self._lost:
            return self._lost
        adapters = self._tree.adapters
        if not any(adapters.values()):
            if self._starting:
                return self._told
            if not adapters:
                return words.no_adapter(bluetooth_block())
            return words.off(", ".join(sorted(adapters)), bluetooth_block())
        return self._taken()

    def taken(self, service: Service) -> str:
        return self._refused().get(service, "")

    def _refused(self) -> dict[Service, str]:
        return self._lines.refused if self._lines is not None else {}

    def _taken(self) -> str:
        """The services that others have, when no paired phone is left that can be had by another."""
        refused = self._refused()
        wanted = {phone.service for phone in self._phones.values() if phone.paired and phone.service} or {*refused}
        return "; ".join(refused[service] for service in sorted(wanted)) if wanted <= refused.keys() else ""

    def _say_trouble(self) -> None:
        text, taken = self._trouble(), dict(self._refused())
        if (text, taken) == (self._told, self._told_taken):
            return
        if text != self._told:
            if self._logging is not None:
                self._logging.cancel()
            self._logging = asyncio.get_running_loop().call_later(_LASTS, self._log_trouble)
        self._told, self._told_taken = text, taken
        if self._watcher is not None:
            self._watcher.radio_changed()

    def _log_trouble(self) -> None:
        self._logging = None
        if self._told != self._logged:
            self._logged = self._told
            if not self._told or self._told != self._taken():  # which `Lines` has logged
                log.info("%s", self._told or "phones can be reached by Bluetooth again")

    def _register_again(self) -> None:
        lines, now = self._lines, asyncio.get_running_loop().time()
        if lines is None or not lines.refused or self._registering is not None:
            return
        if now - self._registered_at >= _REGISTER_AGAIN:
            self._registering = asyncio.create_task(self._register(lines), name="bluetooth: register")

    async def _register(self, lines: Lines) -> None:
        try:
            await lines.register()
        finally:
            self._registering = None
            self._registered_at = asyncio.get_running_loop().time()
        self._say_trouble()

    # -- lines

    async def connect(self, address: str) -> int:
        lines = self._lines
        if lines is None or not self._owner or self._lost:
            raise RadioError(RadioFault.ABSENT, self._trouble() or words.NO_BLUETOOTHD)
        known = self._reachable(address)
        if not lines.serves(known.phone.service):
            await lines.register()
            self._say_trouble()
            if why := lines.refused.get(known.phone.service):
                raise RadioError(RadioFault.TAKEN, why)
        return await lines.open(known, lambda: self._connected(address))

    def _reachable(self, address: str) -> Known:
        """The phone, if a connection to it can be tried; raises RadioError."""
        known = self._tree.phones().get(address)
        if known is None:
            raise words.unknown(address)
        if not known.phone.paired:
            raise words.not_paired(known.phone)
        if known.blocked:
            raise words.blocked(known.phone)
        if known.phone.service is Service.NONE:
            raise words.no_service(known.phone)
        if not known.powered:
            raise RadioError(RadioFault.OFF, words.off(known.phone.adapter, bluetooth_block()))
        return known

    def _connected(self, address: str) -> bool:
        known = self._tree.phones().get(address)
        return known is not None and known.phone.connected

    async def out_of_reach(self, address: str) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(_NEWS):
                while self._connected(address):
                    await self._news.wait()
        return not self._connected(address)
