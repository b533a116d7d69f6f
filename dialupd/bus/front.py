"""The daemon's front to the bus: publishes what the runtime tells and takes requests for it.

`serve` connects, publishes what exists, subscribes, and only then takes the name, so whoever sees the name sees it all.
An observer's methods only queue messages; a bus that is gone makes them do nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from dialupd.bus.authority import authority_for
from dialupd.bus.connection import Connection
from dialupd.bus.interface import Emits, load
from dialupd.bus.objects import CallObject, ManagerObject, ModemObject
from dialupd.bus.service import Service
from dialupd.bus.values import CALL, MANAGER, MODEM, NAME, ROOT, ViewTable, modem_path, ring_info
from dialupd.bus.wire import Variant
from dialupd.model import CallView, ModemView
from dialupd.runtime import Control

log = logging.getLogger(__name__)


class Front:
    """A `Watcher` that shows everything on the bus."""

    def __init__(self, connection: Connection, service: Service, control: Control) -> None:
        self._connection = connection
        self._service = service
        self._control = control
        self._modem = load(MODEM)
        self._call = load(CALL)
        self._modem_table = ViewTable(ModemView, self._modem)
        self._call_table = ViewTable(CallView, self._call)
        self._modems: dict[str, ModemObject] = {}
        self._calls: dict[int, CallObject] = {}
        self._manager = ManagerObject(load(MANAGER), self._call_table, control)
        self._told: dict[str, Variant] = {}
        self._telling = False
        self._open = True

    def publish(self) -> None:
        """Show what exists and follow it from now on."""
        self._service.add(self._manager)
        for modem in self._control.modems():
            self.modem_added(modem)
        for call in self._control.calls():
            self.call_added(call)
        self._told = self._manager.properties()
        self._control.subscribe(self)

    async def wait_closed(self) -> str:
        """Return when the bus is gone, with the reason in words."""
        return await self._connection.wait_closed()

    async def close(self) -> None:
        """Refuse what is under way, let the last messages leave, disconnect."""
        self._open = False
        await self._service.close()
        await self._connection.close()

    # -- Watcher

    def modem_added(self, view: ModemView) -> None:
        if not self._open:
            return
        item = ModemObject(self._modem, self._modem_table, self._control, view)
        if self._service.publishes(item.path):
            log.error("modem %s is not shown: another one is %s already", view.id, item.path)
            return
        self._modems[view.id] = item
        self._service.add(item)
        self.manager_changed()

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        item = self._modems.get(new.id)
        if item is None or not self._open:
            return
        item.view = new
        if self._modem_table.is_another(old, new):
            self._service.renew(item.path)
        else:
            self._service.properties_changed(item.path, self._modem_table.changes(old, new))
        if old.state != new.state:
            states = [str(old.state), str(new.state), new.state_reason]
            self._service.emit(item.path, "StateChanged", states)

    def modem_removed(self, view: ModemView) -> None:
        item = self._modems.pop(view.id, None)
        if item is not None and self._open:
            self._service.remove(item.path)
            self.manager_changed()

    def ringing(self, modem_id: str, info: Mapping[str, str | int]) -> None:
        if self._open:
            self._service.emit(modem_path(modem_id), "Ringing", [ring_info(info)])

    def call_added(self, view: CallView) -> None:
        if not self._open:
            return
        item = CallObject(self._call, self._call_table, self._control, view)
        if self._service.publishes(item.path):
            log.error("call %d is not shown: another one is %s already", view.call, item.path)
            return
        self._calls[view.call] = item
        self._service.add(item)
        self.manager_changed()

    def call_changed(self, old: CallView, new: CallView) -> None:
        item = self._calls.get(new.call)
        if item is None or not self._open:
            return
        item.view = new
        if self._call_table.is_another(old, new):
            self._service.renew(item.path)
        else:
            self._service.properties_changed(item.path, self._call_table.changes(old, new))
        if old.state != new.state:
            states = [str(old.state), str(new.state), str(new.end_reason)]
            self._service.emit(item.path, "StateChanged", states)

    def call_removed(self, view: CallView) -> None:
        item = self._calls.pop(view.call, None)
        if item is not None and self._open:
            self._service.remove(item.path)
            self.manager_changed()

    def manager_changed(self) -> None:
        """Many objects come and go at once; their lists are told once for all of them."""
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell_manager)

    def _tell_manager(self) -> None:
        self._telling = False
        if not self._open:
            return
        now = self._manager.properties()
        specs = self._manager.interface.properties
        changed = {
            name: value
            for name, value in now.items()
            if specs[name].emits is Emits.VALUE and self._told.get(name) != value
        }
        self._told = now
        self._service.properties_changed(ROOT, changed)


async def serve(bus: str, control: Control) -> Front:
    """Show `control` on `system`, `session` or an address.

    Raises ConnectionLost when there is no bus, NameTaken when another daemon runs, BusError when the bus
    forbids the name.
    """
    connection = await Connection.open(bus)
    try:
        front = Front(connection, Service(connection, authority_for(bus, connection, lambda: control.masking)), control)
        front.publish()
        await connection.request_name(NAME)
    except BaseException:
        await connection.close()
        raise
    return front
