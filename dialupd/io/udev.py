"""Which serial devices there are: enumeration and events of udev, told as they come and go.

- The monitor is started before the enumeration, so nothing falls between; what both tell is told once, because every
  device is kept by its sysfs path and only a difference is reported.
- Events may be lost (ENOBUFS).  Then everything is enumerated again and compared; so does `rescan`.
- With udevd its events are used, which come after its rules have run; without it the kernel's own.
- Without libudev, or in a container without events, only ports named in the configuration are found.
- Bluetooth ttys are reported where they are looked for, in /sys/class/tty, since the kernel moves them about.
- A USB device without driver is reported too (`node == ""`), once it is configured and its drivers had their turn:
  the `bind` event of the device itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterable
from typing import Protocol

import pyudev

from dialupd.io.describe import (
    UdevDevice,
    describe_bare_usb,
    describe_path,
    describe_tty,
    is_rfcomm,
    modem_id,
    place_of,
    usb_device_of,
)
from dialupd.model import Device

__all__ = ["Devices", "Source", "UdevSource", "modem_id"]

log = logging.getLogger(__name__)

# There while udevd runs.
UDEVD = "/run/udev/control"

# Events handled before other work gets its turn.
EVENTS_PER_TURN = 32

# A hub with everything on it, plugged in while we are busy; the default holds some 200 events.
RECEIVE_BYTES = 4 * 1024 * 1024


class Source(Protocol):
    """Where devices and events come from."""

    def fileno(self) -> int:
        """Readable when there are events."""

    def receive(self) -> UdevDevice | None:
        """The next event, None if there is none now; raises OSError when events were lost."""

    def enumerate(self) -> Iterable[UdevDevice]:
        """All ttys and USB devices."""

    def by_number(self, number: int) -> UdevDevice | None:
        """The character device with this number."""

    def close(self) -> None:
        """No more events."""


class UdevSource:
    """libudev, by pyudev; raises ImportError or OSError where there is none."""

    def __init__(self) -> None:
        self._context = pyudev.Context()
        self._with_udevd = os.path.exists(UDEVD)
        self._monitor = pyudev.Monitor.from_netlink(self._context, "udev" if self._with_udevd else "kernel")
        self._monitor.filter_by("tty")
        self._monitor.filter_by("usb")
        with contextlib.suppress(OSError):  # needs a capability; without it the default is what we have
            self._monitor.set_receive_buffer_size(RECEIVE_BYTES)
        self._monitor.start()
        self._socket = socket.socket(fileno=os.dup(self._monitor.fileno()))

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> UdevDevice | None:
        # Monitor.poll leaves a pending error in place and would be called again for ever; reading it clears it.
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        event: UdevDevice | None = self._monitor.poll(0)
        return event

    def enumerate(self) -> Iterable[UdevDevice]:
        for match in ({"subsystem": "tty"}, {"subsystem": "usb", "DEVTYPE": "usb_device"}):
            devices = self._context.list_devices(**match)
            if self._with_udevd:
                # The others come as events once udevd has set their permissions.
                devices = devices.match_is_initialized()
            yield from devices

    def by_number(self, number: int) -> UdevDevice | None:
        try:
            device: UdevDevice = pyudev.Devices.from_device_number(self._context, "char", number)
        except pyudev.DeviceNotFoundError:
            return None
        return device

    def close(self) -> None:
        self._socket.close()


class Devices:
    """The serial devices of this machine; reports each change once, from the loop."""

    def __init__(
        self,
        on_present: Callable[[Device], None],
        on_gone: Callable[[str], None],
        open_source: Callable[[], Source] = UdevSource,
    ) -> None:
        self._on_present = on_present
        self._on_gone = on_gone
        self._open_source = open_source
        self._source: Source | None = None
        self._known: dict[str, Device] = {}

    def start(self) -> None:
        """Report what is there, and from now on what comes and goes."""
        try:
            self._source = self._open_source()
        except (ImportError, OSError) as error:
            log.warning("no udev (%s): only ports named in the configuration are found", error)
            return
        asyncio.get_running_loop().add_reader(self._source.fileno(), self._events)
        self.rescan()

    def stop(self) -> None:
        """Report nothing more."""
        source, self._source = self._source, None
        if source is not None:
            asyncio.get_running_loop().remove_reader(source.fileno())
            source.close()
        self._known.clear()

    def rescan(self) -> None:
        """Enumerate everything and report the differences."""
        if self._source is None:
            return
        found: dict[str, Device] = {}
        for device in self._source.enumerate():
            described = _describe(device)
            if described is not None:
                found[described.sys_path] = described
        for sys_path in self._known.keys() - found.keys():
            self._gone(sys_path)
        for described in found.values():
            self._present(described)

    def present(self) -> tuple[Device, ...]:
        """All that was reported and is not gone."""
        return tuple(self._known.values())

    def device_for_path(self, path: str) -> Device | None:
        """The port at a path from the configuration, even one that udev does not know; None if nothing is there."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        if not stat.S_ISCHR(status.st_mode):
            return None
        device = self._source.by_number(status.st_rdev) if self._source is not None else None
        described = describe_tty(device) if device is not None and device.subsystem == "tty" else None
        return described or describe_path(path)

    def _events(self) -> None:
        if self._source is None:
            return
        try:
            for _ in range(EVENTS_PER_TURN):
                event = self._source.receive()
                if event is None:
                    return
                self._handle(event)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, None):  # pyudev's poll says it without a number
                log.warning("device events: %s", error)
            log.info("device events were lost; looking at all devices again")
            self.rescan()

    def _handle(self, event: UdevDevice) -> None:
        if event.action == "remove":
            self._gone(place_of(event))
        elif event.subsystem == "tty":
            self._update(event)
        elif event.device_type == "usb_device":
            # On "add" its interfaces, and their drivers, are yet to come.
            if event.action in ("bind", "change"):
                self._update(event)
        elif event.action == "bind":
            # Not on "unbind": at unplugging it comes before "remove", and would show a free device for a moment.
            usb = usb_device_of(event)
            if usb is not None:
                self._update(usb)

    def _update(self, device: UdevDevice) -> None:
        described = _describe(device)
        if described is None:
            self._gone(place_of(device))
            return
        if described.node:
            usb = usb_device_of(device)
            if usb is not None:
                self._gone(usb.sys_path)  # it has its driver now
        self._present(described)

    def _present(self, device: Device) -> None:
        if self._known.get(device.sys_path) != device:
            self._known[device.sys_path] = device
            self._on_present(device)

    def _gone(self, sys_path: str) -> None:
        if self._known.pop(sys_path, None) is not None:
            self._on_gone(sys_path)


def _describe(device: UdevDevice) -> Device | None:
    """What is reported of a device of udev; of those without hardware, a Bluetooth tty alone."""
    if device.subsystem != "tty":
        return describe_bare_usb(device)
    if "/virtual/" in device.sys_path and not is_rfcomm(device):
        return None
    return describe_tty(device)
