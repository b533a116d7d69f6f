"""The modems that are there: devices become modems by the configuration, and each modem gets its owner's task.

A modem's object lives as long as its device is there; what must outlive it stands in `memories`, by the modem's id.
Devices are told by `io.udev`, and phones by `phones`; a port that only the configuration names is looked for at the
start, at a reload and when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import replace

from dialupd import match
from dialupd.config.values import Config, ModemEntry
from dialupd.events import DEFECT
from dialupd.inheritance import Inheritance
from dialupd.io.journal import about, mark
from dialupd.io.udev import Devices, modem_id
from dialupd.model import CallView, Device, ModemState, ModemView
from dialupd.modem import reach, requests, timing
from dialupd.modem.activities import ACTIVITIES
from dialupd.modem.call import Call
from dialupd.modem.host import Host, Memory
from dialupd.modem.owner import Modem
from dialupd.modem.resume import resume
from dialupd.runtime import Tell
from dialupd.states import IN_CALL, ModemEvent

log = logging.getLogger(__name__)

FindDevices = Callable[[Callable[[Device], None], Callable[[str], None]], Devices]


class Fleet:
    """All modems of one daemon; `host` is what their owners get, `config` gives the configuration in force."""

    def __init__(
        self,
        host: Host,
        config: Callable[[], Config],
        find_devices: FindDevices,
        inheritance: Inheritance,
        resume_call: Callable[[CallView], Call],
        tell: Tell,
    ) -> None:
        self.modems: dict[str, Modem] = {}
        self.devices: dict[str, Device] = {}
        self.memories: dict[str, Memory] = {}
        self.closing = False
        """Nothing is taken up any more."""
        self.finder = find_devices(self.present, self.gone)
        self._host = host
        self._config = config
        self._inheritance = inheritance
        self._resume_call = resume_call
        self._tell = tell
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()

    def present(self, device: Device) -> None:
        """A device is there, or is described otherwise than before."""
        self.devices[device.sys_path] = device
        self.consider(device)

    def gone(self, sys_path: str) -> None:
        """A device went.  One that has got its driver comes back as a tty in the same turn of the loop."""
        device = self.devices.pop(sys_path, None)
        modem = self.modem_on(sys_path)
        if modem is None:
            return
        if device is not None and not device.node and not self.closing:
            self._loop.call_soon(self._remove_if_on, modem, sys_path)
        else:
            modem.unplugged = True
            self.remove(modem)

    def _remove_if_on(self, modem: Modem, sys_path: str) -> None:
        if modem.device.sys_path == sys_path and self.modems.get(modem.id) is modem:
            self.remove(modem)

    def consider(self, device: Device) -> None:
        """Bring what we do with a device in line with the configuration."""
        modem = self.modem_on(device.sys_path)
        decision = match.wanted(self._config(), device)
        if isinstance(decision, match.Ignore) and (entry := self._entry_by_link(device)):
            decision = match.Wanted(entry)
        match decision:
            case match.Ignore(reason):
                log.debug("%s: %s", device.node or device.sys_path, reason)
                if modem is not None and modem.state not in IN_CALL:  # else after its call
                    log.info("%s: no longer ours: %s", modem.id, reason)
                    self.remove(modem)
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
        identity = modem_id(device, self.devices.values())
        modem = self.modems.get(identity)
        if modem is None:
            state = ModemState.PROBING if device.node else ModemState.BINDING
            memory = self.memories.get(identity, Memory())
            if memory.disabled:
                state = ModemState.DISABLED
            elif memory.loan is not None:
                state = ModemState.INHIBITED
            self._add(device, entry, state, "found", identity)
        elif self._awaits_port(modem):
            self._describe(modem, device, modem.view.name)
            modem.entry = entry
            if modem.state is not ModemState.DISABLED:
                modem.move(ModemEvent.FOUND if modem.state is ModemState.BINDING else ModemEvent.RETRY, "it has a port")
        else:
            # Plugged in again before the kernel has told that it went.
            self.remove(modem).add_done_callback(lambda _: self._again(device.sys_path))

    def _awaits_port(self, modem: Modem) -> bool:
        waiting = modem.state in (ModemState.BINDING, ModemState.FAILED, ModemState.DISABLED)
        return waiting and not modem.device.node and not self.leaving(modem)

    def _again(self, sys_path: str) -> None:
        if not self.closing and (device := self.devices.get(sys_path)) is not None:
            self.consider(device)

    def _reconfigure(self, modem: Modem, device: Device, entry: ModemEntry) -> None:
        self._describe(modem, device, _name(entry, device))
        if entry != modem.entry:
            modem.entry = entry
            if modem.state in (ModemState.FAILED, ModemState.UNSUPPORTED) and device.node:
                modem.move(ModemEvent.RETRY, "the configuration has changed")
            else:
                requests.refresh(modem)

    def _describe(self, modem: Modem, device: Device, name: str) -> None:
        modem.device = device
        modem.show(replace(_described(modem.view, device), name=name))

    def _add(self, device: Device, entry: ModemEntry, state: ModemState, reason: str, identity: str = "") -> None:
        identity = identity or modem_id(device, self.devices.values())
        memory = self.memories.setdefault(identity, Memory())
        left = self._inheritance.claim(identity, device.node)
        if left is not None:
            state, reason = ModemState.CONNECTED, "the call has gone on while the daemon restarted"
        view = _described(
            ModemView(
                id=identity,
                name=_name(entry, device),
                transport=device.transport,
                state=state,
                state_reason=reason,
                state_since=self._host.now(),
                policy=entry.policy if memory.policy is None else memory.policy,
            ),
            device,
        )
        modem = Modem(self._host, memory, view, device, entry, ACTIVITIES)
        self.modems[identity] = modem
        self._tell(lambda watcher: watcher.modem_added(view))
        if left is not None:
            resume(modem, left, self._resume_call(left.view))
        self._tasks[identity] = asyncio.create_task(self._own(modem), name=identity)

    async def _own(self, modem: Modem) -> None:
        mark(MODEM=modem.id)
        try:
            await modem.run()
        except Exception:  # the outermost edge of a modem: the others go on
            text = "%s: a defect of dialupd ended the modem's task; it is taken up again"
            log.exception(text, modem.id, extra=about(DEFECT))
            self.remove(modem)
            self._loop.call_later(timing.DEFECT_PAUSE, self.take_up)

    def remove(self, modem: Modem) -> asyncio.Task[None]:
        """Forget a modem; the task ends when its port is closed."""
        task = self._tasks[modem.id]
        if self.modems.get(modem.id) is modem:
            if task is not asyncio.current_task() and not self.leaving(modem):
                modem.turn()
                task.cancel()
            task.add_done_callback(lambda _: self._removed(modem))
        return task

    def leaving(self, modem: Modem) -> bool:
        """Its task has been told to end; a second time would keep it from closing its port in order."""
        task = self._tasks[modem.id]
        return task.cancelling() > 0 or task.done()

    def _removed(self, modem: Modem) -> None:
        if self.modems.get(modem.id) is modem:
            del self.modems[modem.id], self._tasks[modem.id]
            self._tell(lambda watcher: watcher.modem_removed(modem.view))

    def modem_on(self, sys_path: str) -> Modem | None:
        there = (modem for modem in self.modems.values() if modem.device.sys_path == sys_path)
        return next((modem for modem in there if not self.leaving(modem)), None)

    def after_call(self, identity: str) -> None:
        """What the configuration wants of a modem meanwhile, and could not have during the call."""
        modem = self.modems.get(identity)
        if modem is not None and modem.state not in IN_CALL and not self.closing and not self.leaving(modem):
            self.consider(modem.device)

    def radio_news(self, sys_path: str) -> None:
        """The phone there has shown up; "": all phones may be reached again, or none."""
        for modem in list(self.modems.values()):
            if modem.device.radio and sys_path in ("", modem.device.sys_path) and not self.leaving(modem):
                reach.news(modem, showed_up=bool(sys_path))

    def radio_in_use(self) -> bool:
        """Whether a call is on a phone."""
        return any(modem.device.radio and modem.state in IN_CALL for modem in self.modems.values())

    def take_up(self) -> None:
        """Manage every device that is there and wanted."""
        if not self.closing:
            for device in list(self.devices.values()):
                self.consider(device)
            self.look_for_named_ports()

    def look_for_named_ports(self) -> None:
        """Ports that an entry names by path and udev does not tell of."""
        for entry in self._config().modems:
            path = entry.match.device
            if not path or any(letter in path for letter in "*?["):
                continue
            device = self.finder.device_for_path(path)
            if device is None:
                log.info("%s: there is no such port now", path)
            elif self.modem_on(device.sys_path) is None:
                self.consider(device)

    def _entry_by_link(self, device: Device) -> ModemEntry | None:
        """The entry that names the device by another path, such as udev's /dev/serial/by-id/…."""
        if device.radio:
            return None
        node = os.path.realpath(device.node)
        for entry in self._config().modems:
            path = entry.match.device
            here = bool(path and device.node) and os.path.realpath(path) == node
            if here and match.fits(replace(entry.match, device=device.node), device):
                return entry
        return None


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
