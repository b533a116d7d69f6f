"""What the daemon has of the system around it, by the way in which it runs.

By hand, with all rights, it does everything itself.  As a service it has no rights: units of the service manager hold
its sessions and bind its drivers, and the descriptor store keeps its calls over a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Protocol

from dialupd.inheritance import Inheritance
from dialupd.io import resolvconf
from dialupd.io.fdstore import FdStore
from dialupd.io.notify import Notifier
from dialupd.io.resolvconf import ResolvConfError
from dialupd.io.usbserial import BindError, UsbSerial
from dialupd.sessions.base import RuntimePaths
from dialupd.sessions.callfile import sweep
from dialupd.sessions.gate import Gate
from dialupd.sessions.runners import Children, InUnits, Runner
from dialupd.units import UnitError, Units

log = logging.getLogger(__name__)

CONFIG_UNIT = "dialupd-config.service"


class System(Protocol):
    """Given to the registry by the composition root."""

    @property
    def runner(self) -> Runner:
        """Where sessions run."""

    @property
    def store(self) -> FdStore:
        """What outlives the daemon."""

    @property
    def inheritance(self) -> Inheritance:
        """What an earlier daemon has left."""

    async def bind(self, vendor: str, product: str) -> None:
        """Give such USB devices to the generic serial driver; raises BindError."""

    def configuration_read(self) -> None:
        """The configuration was read, with or without an error."""


class ByHand:
    """Everything in this process and its children."""

    def __init__(self, paths: RuntimePaths, notifier: Notifier) -> None:
        sweep(paths.run_directory)
        with contextlib.suppress(ResolvConfError):  # the next PPP session tries again, and tells
            resolvconf.tidy(paths.resolv_conf)
        self.runner: Runner = Children(paths)
        self.store = FdStore(notifier, keeps=False)
        self.inheritance = Inheritance({}, self.store)
        self._usbserial = UsbSerial()

    async def bind(self, vendor: str, product: str) -> None:
        await self._usbserial.bind(vendor, product)

    def configuration_read(self) -> None:
        """Nothing: udev's rules are root's."""

    async def close(self) -> None:
        """Nothing is left."""


class AsService:
    """Everything in units of the service manager."""

    def __init__(self, units: Units, run_directory: str, notifier: Notifier, descriptors: Mapping[str, int]) -> None:
        self._units = units
        self.store = FdStore(notifier, keeps=True)
        self.inheritance = Inheritance(descriptors, self.store)
        self._gate = Gate(run_directory)
        self._in_units = InUnits(units, self._gate, self.store)
        self.runner: Runner = self._in_units
        self._refreshing: asyncio.Task[None] | None = None
        self._again = False

    async def bind(self, vendor: str, product: str) -> None:
        try:
            await self._units.start(f"dialupd-usbserial@{vendor}-{product}.service")
        except UnitError as error:
            raise BindError(str(error)) from None

    def configuration_read(self) -> None:
        """Root's part of a reload: udev's rules follow the configuration, and its last good copy."""
        if self._refreshing is not None and not self._refreshing.done():
            self._again = True
            return
        self._refreshing = asyncio.create_task(self._refresh(), name=CONFIG_UNIT)

    async def close(self) -> None:
        """Until what was begun is done."""
        self._gate.close()
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})
        await self._in_units.close()

    async def _refresh(self) -> None:
        while True:
            self._again = False
            try:
                await self._units.start(CONFIG_UNIT)
            except UnitError as error:
                log.warning("udev's rules do not follow the configuration: %s", error)
            if not self._again:
                return
