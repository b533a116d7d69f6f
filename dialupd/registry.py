"""All modems and calls: devices become modems by the configuration, requests find their modem, observers hear of it.

A modem's object lives as long as its device is there; what must outlive it (`Memory`) is kept here by the modem's id.
Devices are told by `io.udev`; a port that only the configuration names is looked up at the start, at a reload and at
`rescan`.  The registry is the `Host` of the owners; what the edges may ask of it stands in `control`.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dialupd import match
from dialupd.calls import CallBook
from dialupd.config.problems import ConfigError
from dialupd.config.values import ClientSession, Config, Flow, ModemEntry, Policy
from dialupd.config.values import Session as SessionConfig
from dialupd.io.port import Port
from dialupd.io.store import Store
from dialupd.io.udev import Devices, modem_id
from dialupd.io.usbserial import UsbSerial
from dialupd.model import (
    CallView,
    Device,
    DialupError,
    EndReason,
    ErrorKind,
    HistoryFilter,
    ModemState,
    ModemView,
)
from dialupd.modem import requests, timing
from dialupd.modem.activities import ACTIVITIES
from dialupd.modem.call import Call
from dialupd.modem.host import Memory
from dialupd.modem.owner import Modem
from dialupd.runtime import Watcher
from dialupd.sessions.base import RuntimePaths
from dialupd.states import IN_CALL, ModemEvent

log = logging.getLogger(__name__)


class Registry:
    """One for each daemon: `load` reads the configuration, `start` takes the devices up, `close` lets them go."""

    def __init__(
        self,
        config_file: str,
        read_config: Callable[[], Config],
        paths: RuntimePaths,
        find_devices: Callable[[Callable[[Device], None], Callable[[str], None]], Devices] = Devices,
    ) -> None:
        self.config_file = config_file
        self.config_error = ""
        self.config = Config()
        self.paths = paths
        self._read_config = read_config
        self._finder = find_devices(self.device_present, self.device_gone)
        self._store: Store | None = None
        self._usbserial = UsbSerial()
        self._watchers: list[Watcher] = []
        self._devices: dict[str, Device] = {}
        self._modems: dict[str, Modem] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._memories: dict[str, Memory] = {}
        self.calls = CallBook(self.now, self.tell)
        self.suspended_policies: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._closing = False

    # -- life

    def load(self) -> None:
        """Read the configuration; with an error in it the old one stays and `config_error` says what is wrong."""
        try:
            config = self._read_config()
        except ConfigError as error:
            self.config_error = str(error)
            for problem in error.problems:
                log.error("configuration: %s", problem)
        else:
            self.config_error = ""
            self._apply(config)
        self.tell(lambda watcher: watcher.manager_changed())

    async def start(self, store: Store) -> None:
        """Take up what the history knows of earlier calls; then the devices."""
        self._store = store
        await self.calls.recall(store)
        self._finder.start()
        self._look_for_named_ports()

    async def close(self) -> None:
        """Hang up all calls in order, then let go of every modem."""
        self._closing = True
        self._finder.stop()
        busy = []
        for modem in list(self._modems.values()):
            if modem.state in IN_CALL and not self._leaving(modem):
                requests.hang_up(modem, EndReason.SHUTDOWN)
                busy.append(modem)
            else:
                self._remove(modem)
        try:
            async with asyncio.timeout(timing.SHUTDOWN):
                await asyncio.gather(*(modem.settled() for modem in busy))
        except TimeoutError:
            log.warning("not every call could be hung up in %g s; their ports are closed", timing.SHUTDOWN)
        for memory in self._memories.values():
            if memory.loan is not None:
                memory.loan.close()
        tasks = [self._remove(modem) for modem in list(self._modems.values())]
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- devices

    def device_present(self, device: Device) -> None:
        """A device is there, or is described otherwise than before."""
        self._devices[device.sys_path] = device
        self._consider(device)

    def device_gone(self, sys_path: str) -> None:
        """A device went.  One that has got its driver comes back as a tty in the same turn of the loop."""
        device = self._devices.pop(sys_path, None)
        modem = self._modem_on(sys_path)
        if modem is None:
            return
        if device is not None and not device.node and not self._closing:
            self._loop.call_soon(self._remove_if_on, modem, sys_path)
        else:
            modem.unplugged = True
            self._remove(modem)

    def _remove_if_on(self, modem: Modem, sys_path: str) -> None:
        if modem.device.sys_path == sys_path and self._modems.get(modem.id) is modem:
            self._remove(modem)

    def _consider(self, device: Device) -> None:
        """Bring what we do with a device in line with the configuration."""
        modem = self._modem_on(device.sys_path)
        decision = match.wanted(self.config, device)
        if isinstance(decision, match.Ignore) and (entry := self._entry_by_link(device)):
            decision = match.Wanted(entry)
        match decision:
            case match.Ignore(reason):
                log.debug("%s: %s", device.node or device.sys_path, reason)
                if modem is not None and modem.state not in IN_CALL:  # else after its call
                    log.info("%s: no longer ours: %s", modem.id, reason)
                    self._remove(modem)
            case match.Unsupported(reason):
                if modem is None:
                    self._add(device, ModemEntry(), ModemState.UNSUPPORTED, reason)
            case match.Wanted(found):
                wanted = found or ModemEntry()
                if modem is not None:
                    self._reconfigure(modem, device, wanted)
                else:
                    self._found(device, wanted)

    def _found(self, device: Device, entry: ModemEntry) -> None:
        identity = modem_id(device, self._devices.values())
        modem = self._modems.get(identity)
        if modem is None:
            state = ModemState.PROBING if device.node else ModemState.BINDING
            memory = self._memories.get(identity, Memory())
            if memory.disabled:
                state = ModemState.DISABLED
            elif memory.loan is not None:
                state = ModemState.INHIBITED
            self._add(device, entry, state, "found", identity)
        elif self._awaits_port(modem):
            self._describe(modem, device)
            modem.entry = entry
            if modem.state is not ModemState.DISABLED:
                modem.move(ModemEvent.FOUND if modem.state is ModemState.BINDING else ModemEvent.RETRY, "it has a port")
        else:
            # Plugged in again before the kernel has told that it went.
            self._remove(modem).add_done_callback(lambda _: self._again(device.sys_path))

    def _awaits_port(self, modem: Modem) -> bool:
        waiting = modem.state in (ModemState.BINDING, ModemState.FAILED, ModemState.DISABLED)
        return waiting and not modem.device.node and not self._leaving(modem)

    def _again(self, sys_path: str) -> None:
        if not self._closing and (device := self._devices.get(sys_path)) is not None:
            self._consider(device)

    def _reconfigure(self, modem: Modem, device: Device, entry: ModemEntry) -> None:
        if device != modem.device:
            self._describe(modem, device)
        if entry != modem.entry:
            modem.entry = entry
            modem.show(replace(modem.view, name=_name(entry, device)))
            if modem.state in (ModemState.FAILED, ModemState.UNSUPPORTED) and device.node:
                modem.move(ModemEvent.RETRY, "the configuration has changed")
            else:
                requests.refresh(modem)

    def _describe(self, modem: Modem, device: Device) -> None:
        modem.device = device
        modem.show(_described(modem.view, device))

    def _add(self, device: Device, entry: ModemEntry, state: ModemState, reason: str, identity: str = "") -> None:
        identity = identity or modem_id(device, self._devices.values())
        memory = self._memories.setdefault(identity, Memory())
        view = _described(
            ModemView(
                id=identity,
                name=_name(entry, device),
                transport=device.transport,
                state=state,
                state_reason=reason,
                state_since=self.now(),
                policy=entry.policy if memory.policy is None else memory.policy,
            ),
            device,
        )
        modem = Modem(self, memory, view, device, entry, ACTIVITIES)
        self._modems[identity] = modem
        log.info("%s: %s found on %s", identity, view.name, device.node or device.sys_path)
        self.tell(lambda watcher: watcher.modem_added(view))
        self._tasks[identity] = asyncio.create_task(self._own(modem), name=identity)

    async def _own(self, modem: Modem) -> None:
        try:
            await modem.run()
        except Exception:  # the outermost edge of a modem: the others go on
            log.exception("%s: a defect of dialupd ended the modem's task; it is taken up again", modem.id)
            self._remove(modem)
            self._loop.call_later(timing.DEFECT_PAUSE, self._take_up)

    def _remove(self, modem: Modem) -> asyncio.Task[None]:
        """Forget a modem; the task ends when its port is closed."""
        task = self._tasks[modem.id]
        if self._modems.get(modem.id) is modem:
            if task is not asyncio.current_task() and not self._leaving(modem):
                task.cancel()
            task.add_done_callback(lambda _: self._removed(modem))
        return task

    def _leaving(self, modem: Modem) -> bool:
        """Its task has been told to end; a second time would keep it from closing its port in order."""
        task = self._tasks[modem.id]
        return task.cancelling() > 0 or task.done()

    def _removed(self, modem: Modem) -> None:
        if self._modems.get(modem.id) is modem:
            del self._modems[modem.id], self._tasks[modem.id]
            log.info("%s: gone", modem.id)
            self.tell(lambda watcher: watcher.modem_removed(modem.view))

    def _modem_on(self, sys_path: str) -> Modem | None:
        there = (modem for modem in self._modems.values() if modem.device.sys_path == sys_path)
        return next((modem for modem in there if not self._leaving(modem)), None)

    def _take_up(self) -> None:
        """Manage every device that is there and wanted."""
        if not self._closing:
            for device in list(self._devices.values()):
                self._consider(device)
            self._look_for_named_ports()

    def _look_for_named_ports(self) -> None:
        """Ports that an entry names by path and udev does not tell of."""
        for entry in self.config.modems:
            path = entry.match.device
            if not path or any(letter in path for letter in "*?["):
                continue
            device = self._finder.device_for_path(path)
            if device is None:
                log.info("%s: there is no such port now", path)
            elif self._modem_on(device.sys_path) is None:
                self._consider(device)

    def _entry_by_link(self, device: Device) -> ModemEntry | None:
        """The entry that names the device by another path, such as udev's /dev/serial/by-id/…."""
        node = os.path.realpath(device.node)
        for entry in self.config.modems:
            path = entry.match.device
            here = bool(path and device.node) and os.path.realpath(path) == node
            if here and match.fits(replace(entry.match, device=device.node), device):
                return entry
        return None

    # -- configuration

    def _apply(self, config: Config) -> None:
        in_force = {modem.id: modem.policy for modem in self._modems.values()}
        old, self.config = self.config, config
        for memory in self._memories.values():
            memory.policy = None  # SetPolicy lasts until a reload
        if self._store is None:
            return
        if config.daemon.state_directory != old.daemon.state_directory:
            log.warning("daemon.state-directory has changed: that takes effect at the next start")
        log.info("configuration: %d modems, %d policies", len(config.modems), len(config.policies))
        for modem in list(self._modems.values()):
            self._consider(modem.device)
            if in_force[modem.id] != modem.policy and not self._leaving(modem):
                requests.refresh(modem)
        for device in list(self._devices.values()):
            if self._modem_on(device.sys_path) is None:
                self._consider(device)
        self._look_for_named_ports()

    # -- Host

    def now(self) -> int:
        return time.time_ns() // 1000

    def today(self) -> int:
        return datetime.date.today().toordinal()

    def until_tomorrow(self) -> float:
        now = datetime.datetime.now()
        midnight = datetime.datetime.combine(now.date() + datetime.timedelta(days=1), datetime.time())
        return (midnight - now).total_seconds() + 1.0

    def policy(self, name: str) -> Policy | None:
        return self.config.policies.get(name)

    def session(self, name: str) -> SessionConfig | None:
        return self.config.sessions.get(name) or (ClientSession(name) if name == requests.CLIENT else None)

    def suspended(self, policy: str) -> bool:
        return self._closing or policy in self.suspended_policies

    def loan_ended(self, modem: str) -> None:
        self._memories[modem].loan = None
        there = self._modems.get(modem)
        if there is not None and there.state is ModemState.INHIBITED and not self._leaving(there):
            there.move(ModemEvent.RELEASE, "the port is back")

    def calls_today(self, modem: str, policy: Policy) -> int:
        return self.calls.dialled_today(modem, policy)

    def new_call(self, view: CallView) -> Call:
        return self.calls.begin(view)

    def ringing(self, modem: str, info: Mapping[str, str | int]) -> None:
        self.tell(lambda watcher: watcher.ringing(modem, info))

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        self.tell(lambda watcher: watcher.modem_changed(old, new))
        if old.state in IN_CALL and new.state not in IN_CALL:
            self._loop.call_soon(self._after_call, new.id)
        if ModemState.BLOCKED in (old.state, new.state) and old.state is not new.state:
            self.tell(lambda watcher: watcher.manager_changed())

    def _after_call(self, identity: str) -> None:
        """What the configuration wants of a modem meanwhile, and could not have during the call."""
        modem = self._modems.get(identity)
        if modem is not None and modem.state not in IN_CALL and not self._closing and not self._leaving(modem):
            self._consider(modem.device)

    async def open_port(self, path: str, speed: int, flow: Flow) -> Port:
        return await Port.open(path, speed, flow)

    async def bind(self, device: Device) -> None:
        await self._usbserial.bind(device.vendor, device.product)

    # -- for those who ask

    def subscribe(self, watcher: Watcher) -> None:
        """Tell `watcher` everything from now on."""
        self._watchers.append(watcher)

    def unsubscribe(self, watcher: Watcher) -> None:
        self._watchers.remove(watcher)

    def tell(self, what: Callable[[Watcher], None]) -> None:
        """Call each watcher."""
        for watcher in tuple(self._watchers):
            what(watcher)

    def present(self) -> Sequence[Modem]:
        """The modems that are not on their way out."""
        return [modem for modem in self._modems.values() if not self._leaving(modem)]

    def modem(self, identity: str) -> Modem:
        """Raises DialupError when there is none of this id."""
        modem = self._modems.get(identity)
        if modem is None or self._leaving(modem):
            raise DialupError(ErrorKind.NOT_FOUND, f"no modem {identity!r}")
        return modem

    def modems(self) -> Sequence[ModemView]:
        return [modem.view for modem in self._modems.values()]

    def rescan(self) -> None:
        """Look for devices again."""
        self._finder.rescan()
        self._take_up()

    async def history(self, wanted: HistoryFilter) -> Sequence[CallView]:
        if self._store is None:
            raise DialupError(ErrorKind.FAILED, "the daemon is starting: the history is not open yet")
        return await self._store.query(wanted)


def _name(entry: ModemEntry, device: Device) -> str:
    known = match.known(device)
    return entry.name or (known.name if known else "") or device.model or device.node.removeprefix("/dev/") or "modem"


def _described(view: ModemView, device: Device) -> ModemView:
    return replace(
        view,
        transport=device.transport,
        device=device.node,
        sys_path=device.sys_path if device.sys_path.startswith("/sys/") else "",
        driver=device.driver,
        vendor_id=device.vendor,
        product_id=device.product,
        serial=device.serial,
        address=device.address,
    )
