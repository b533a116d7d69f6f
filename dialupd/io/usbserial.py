"""Binding USB devices that no driver knows to the kernel's generic serial driver.

Needs root: the daemon's own when it is run by hand, a unit of systemd else.

- The module takes one vendor and product when it is loaded; once it is loaded, modprobe does nothing and says nothing,
  so further ones go by the driver's `new_id`, which lists what it was told and takes duplicates: read before writing.
  Another process may load it at the same time, and modprobe is as silent then: what is bound shows who was heard.
- The driver takes every interface that is free.  A mass-storage interface among them would be lost to its own driver,
  so such a device is refused; so is one that is not plugged in, of which nobody can tell.
- One binding at a time in a process: whether the module is loaded is decided by the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dialupd.io.child import LINES, Child, SpawnError

log = logging.getLogger(__name__)

MASS_STORAGE = "08"

# The generic driver's name among those of USB.
GENERIC = "usbserial_generic"

# modprobe waits for the probing of every device that the module takes.
MODPROBE_SECONDS = 30.0

MODPROBE = ("modprobe",)


class BindError(Exception):
    """It is not bound: why, and the mend."""


class UsbSerial:
    """The generic driver; `sysfs` and `modprobe` say where and how."""

    def __init__(self, sysfs: str = "/sys", modprobe: Sequence[str] = MODPROBE) -> None:
        self._bus = Path(sysfs) / "bus"
        self._modprobe = modprobe
        self._one = asyncio.Lock()

    async def bind(self, vendor: str, product: str) -> None:
        """Give all such devices to the driver; vendor and product are four hex digits each.  Raises BindError."""
        if not re.fullmatch(r"[0-9A-Fa-f]{4}", vendor) or not re.fullmatch(r"[0-9A-Fa-f]{4}", product):
            raise BindError(f"{vendor!r}, {product!r}: vendor and product are four hex digits each")
        vendor, product = vendor.lower(), product.lower()
        async with self._one:
            if not self._has_free_interface(vendor, product):
                return
            if self._new_id.exists():
                await asyncio.to_thread(self._tell, vendor, product)
            else:
                await self._load(vendor, product)
                if not self._is_bound(vendor, product):
                    await asyncio.to_thread(self._tell, vendor, product)

    @property
    def _new_id(self) -> Path:
        return self._bus / "usb-serial" / "drivers" / "generic" / "new_id"

    def _has_free_interface(self, vendor: str, product: str) -> bool:
        """Whether there is something to bind; raises BindError if there must not be."""
        name = f"{vendor}:{product}"
        if not any(self._devices(vendor, product)):
            raise BindError(f"no USB device {name} is plugged in")
        free = [one for one in self._interfaces(vendor, product) if not (one / "driver").exists()]
        storage = [one.name for one in free if _attribute(one, "bInterfaceClass") == MASS_STORAGE]
        if storage:
            raise BindError(
                f"USB device {name} offers storage at {storage[0]}, which the serial driver would take; "
                "switch it to its modem mode first (usb_modeswitch)"
            )
        return bool(free)

    def _is_bound(self, vendor: str, product: str) -> bool:
        """Has the generic driver anything of such a device?"""
        return any((one / "driver").resolve().name == GENERIC for one in self._interfaces(vendor, product))

    def _interfaces(self, vendor: str, product: str) -> Iterator[Path]:
        for device in self._devices(vendor, product):
            yield from device.parent.glob(f"{device.name}:*")

    def _devices(self, vendor: str, product: str) -> Iterator[Path]:
        for device in (self._bus / "usb" / "devices").glob("*"):
            if _attribute(device, "idVendor").lower() == vendor and _attribute(device, "idProduct").lower() == product:
                yield device

    def _tell(self, vendor: str, product: str) -> None:
        """Add the id to the loaded driver, unless it has it."""
        told = f"{vendor} {product}"
        try:
            listed = {" ".join(line.split()[:2]).lower() for line in self._new_id.read_text("ascii").splitlines()}
            if told in listed:
                return
            self._new_id.write_text(told, "ascii")
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise BindError(
                    f"{self._new_id}: permission denied; only root may bind {vendor}:{product}: "
                    "have systemd start dialupd, or run it as root"
                ) from None
            raise BindError(f"the generic serial driver does not take {vendor}:{product}: {error}") from error
        log.info("bound %s:%s to the loaded generic serial driver", vendor, product)

    async def _load(self, vendor: str, product: str) -> None:
        """Load the driver with the id."""
        said: list[str] = []
        argv = [*self._modprobe, "usbserial", f"vendor=0x{vendor}", f"product=0x{product}"]
        try:
            child = Child.spawn(argv, stdout=LINES, stderr=LINES, on_line=said.append)
        except SpawnError as error:
            raise BindError(str(error)) from None
        try:
            async with asyncio.timeout(MODPROBE_SECONDS):
                status = await child.wait()
        except TimeoutError:
            raise BindError(
                f"loading usbserial for {vendor}:{product} takes more than {MODPROBE_SECONDS:.0f} s"
            ) from None
        finally:
            if child.status is None:
                await child.stop()
        if not status.ok:
            why = said[-1] if said else str(status)
            raise BindError(
                f"usbserial cannot be loaded for {vendor}:{product}: {why}; "
                "it takes root (have systemd start dialupd, or run it as root) and the kernel's module package"
            )
        if not self._new_id.exists():
            raise BindError("usbserial is loaded, but this kernel has no generic serial driver in it")
        log.info("loaded usbserial for %s:%s", vendor, product)


def _attribute(device: Path, name: str) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (device / name).read_text("ascii").strip()
    return ""
