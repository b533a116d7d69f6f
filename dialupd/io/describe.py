"""From what udev and sysfs say of a device to the values of the model, and from those to a modem's id.

USB facts come from the attributes of the `usb_device` and `usb_interface` parents, so they are there without udevd
too.  All of it is a device's own word: only printable text of limited length goes on.

A Bluetooth tty (/dev/rfcommN) has no properties of udev's.  The kernel moves it under the adapter while its link is up
and back afterwards; its place here is what stays, the link to it in /sys/class/tty.

A modem's id must outlive re-plugging, another node number and a restart.  The serial number does, if it is one: some
makers give all units the same.  Then the place on the bus stands in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from dialupd.model import Device, Transport

# bInterfaceClass and bDeviceClass, USB class codes.
MASS_STORAGE = "08"
HUB = "09"

# Serial numbers that makers give to every unit; 24680246 is Conexant's.
SHARED_SERIALS = frozenset({"24680246", "12345678", "123456789", "1234567890", "0123456789", "0123456789ABCDEF"})

# Longer words of a device are cut; a serial number longer than SERIAL_LIMIT makes no id.
TEXT_LIMIT = 128
SERIAL_LIMIT = 64

# Ends of the other kind: our own gadget's and the debug port's, which no modem hangs on.
NO_PORTS = ("ttyGS", "ttyDBC")

# A Bluetooth tty: the kernel numbers them from 0.
RFCOMM = re.compile(r"rfcomm\d+")
ADDRESS = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){5}")

# Layers of the kernel's own between a UART and the bus that it is on.
LAYERS = frozenset({"tty", "serial-base", "serial", "usb-serial"})


class Attributes(Protocol):
    """The part of pyudev.Attributes that is used."""

    def get(self, attribute: str, default: bytes | None = None) -> bytes | None: ...


class UdevDevice(Protocol):
    """The part of pyudev.Device that is used."""

    @property
    def sys_path(self) -> str: ...
    @property
    def sys_name(self) -> str: ...
    @property
    def subsystem(self) -> str | None: ...
    @property
    def device_type(self) -> str | None: ...
    @property
    def device_node(self) -> str | None: ...
    @property
    def driver(self) -> str | None: ...
    @property
    def action(self) -> str | None: ...
    @property
    def attributes(self) -> Attributes: ...
    @property
    def properties(self) -> Mapping[str, str]: ...
    @property
    def parent(self) -> UdevDevice | None: ...
    @property
    def children(self) -> Iterable[UdevDevice]: ...
    def find_parent(self, subsystem: str, device_type: str | None = None) -> UdevDevice | None: ...


def describe_tty(tty: UdevDevice) -> Device | None:
    """The serial port behind a tty of the kernel; None for consoles, ptys and ports without hardware."""
    node = tty.device_node or f"/dev/{tty.sys_name}"
    usb = usb_device_of(tty)
    if usb is not None:
        interface = tty.find_parent("usb", "usb_interface")
        driver = (interface.driver if interface is not None else None) or ""
        return Device(
            sys_path=tty.sys_path,
            node=node,
            transport=Transport.CDC_ACM if driver == "cdc_acm" else Transport.USB_SERIAL,
            bus="usb",
            driver=driver,
            vendor=_text(usb, "idVendor").lower(),
            product=_text(usb, "idProduct").lower(),
            serial=_text(usb, "serial"),
            interface=_text(interface, "bInterfaceNumber") if interface is not None else "",
            path=tty.properties.get("ID_PATH", ""),
            manufacturer=_text(usb, "manufacturer"),
            model=_text(usb, "product"),
        )
    if is_rfcomm(tty):
        address = _text(tty, "address").upper()
        return Device(
            sys_path=place_of(tty),
            node=node,
            transport=Transport.BLUETOOTH,
            bus="bluetooth",
            address=address if ADDRESS.fullmatch(address) else "",
        )
    # `type` is the kind of UART; 0 is a node without one.
    if tty.parent is None or tty.sys_name.startswith(NO_PORTS) or _text(tty, "type") == "0":
        return None
    parents = [parent for parent in _ancestors(tty) if parent.subsystem and parent.subsystem not in LAYERS]
    return Device(
        sys_path=tty.sys_path,
        node=node,
        transport=Transport.SERIAL,
        bus=next((parent.subsystem for parent in parents if parent.subsystem), ""),
        driver=next((parent.driver for parent in parents if parent.driver), ""),
        path=tty.properties.get("ID_PATH", ""),
    )


def describe_bare_usb(usb: UdevDevice) -> Device | None:
    """A USB device that has no tty and an interface without a driver, so that one may be bound; else None."""
    if _text(usb, "bDeviceClass") == HUB:
        return None
    free = False
    for child in usb.children:
        # A hub's children are all that hangs on it.
        owner = usb_device_of(child)
        if owner is None or owner.sys_path != usb.sys_path:
            continue
        if child.subsystem == "tty":
            return None
        if child.device_type == "usb_interface" and not child.driver:
            free = free or _text(child, "bInterfaceClass") != MASS_STORAGE
    vendor = _text(usb, "idVendor").lower()
    if not free or not vendor:  # without the latter it is being unplugged
        return None
    return Device(
        sys_path=usb.sys_path,
        node="",
        transport=Transport.USB_SERIAL,
        bus="usb",
        vendor=vendor,
        product=_text(usb, "idProduct").lower(),
        serial=_text(usb, "serial"),
        path=usb.properties.get("ID_PATH", ""),
        manufacturer=_text(usb, "manufacturer"),
        model=_text(usb, "product"),
    )


def describe_path(path: str) -> Device:
    """A port that udev does not know: a pty, or any node where there is no sysfs.  The given name is its identity."""
    serial = re.match(r"/dev/tty[A-Za-z]+\d+$", os.path.realpath(path))
    return Device(path, path, Transport.SERIAL if serial else Transport.SOFTWARE)


def is_rfcomm(device: UdevDevice) -> bool:
    """Whether it is a Bluetooth tty."""
    return device.subsystem == "tty" and RFCOMM.fullmatch(device.sys_name) is not None


def place_of(device: UdevDevice) -> str:
    """The path in sysfs by which a device is known from its coming to its going."""
    return f"/sys/class/tty/{device.sys_name}" if is_rfcomm(device) else device.sys_path


def usb_device_of(device: UdevDevice) -> UdevDevice | None:
    """The USB device that a tty or an interface belongs to."""
    return device.find_parent("usb", "usb_device")


def modem_id(device: Device, others: Iterable[Device] = ()) -> str:
    """The id of the modem on `device`, [A-Za-z0-9_] only.

    `others` are the devices that are present: one with the same serial number sends this one to its place on the bus.
    """
    if device.address:
        # A tty to a phone is another modem than the phone: both may be there.
        tty = "" if device.radio else f"_{os.path.basename(device.node)}"
        return _escaped(f"{device.transport}_{device.address}{tty}")
    if device.vendor:
        suffix = "" if device.interface in ("", "00") else f"_if{device.interface}"
        if not _is_shared(device.serial) and not any(_is_twin(device, other) for other in others):
            return _escaped(f"usb_{device.vendor}_{device.product}_{device.serial}{suffix}")
    place = _escaped(device.path)
    if place:
        return place
    if device.vendor:
        return _escaped(f"usb_{_usb_place(device.sys_path)}")
    return _escaped(device.node.removeprefix("/dev/")) or device.node.encode("utf-8", "replace").hex()


def _is_shared(serial: str) -> bool:
    """Whether a serial number tells nothing: none, a maker's dummy, one character repeated."""
    serial = _escaped(serial)
    return serial.upper() in SHARED_SERIALS or len(set(serial)) < 2 or len(serial) > SERIAL_LIMIT


def _is_twin(device: Device, other: Device) -> bool:
    """Whether another USB device claims the same identity."""
    ours = (device.vendor, device.product, _escaped(device.serial))
    if ours != (other.vendor, other.product, _escaped(other.serial)):
        return False
    return _usb_place(device.sys_path).partition(":")[0] != _usb_place(other.sys_path).partition(":")[0]


def _usb_place(sys_path: str) -> str:
    """The last USB name in a sysfs path: `1-2.3` of a device, `1-2.3:1.0` of an interface."""
    names = [name for name in sys_path.split("/") if re.fullmatch(r"\d+-[\d.]+(:\d+\.\d+)?", name)]
    return names[-1] if names else sys_path


def _ancestors(device: UdevDevice) -> Iterator[UdevDevice]:
    parent = device.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _text(device: UdevDevice, attribute: str) -> str:
    raw = (device.attributes.get(attribute) or b"").decode("utf-8", "replace")
    return "".join(c for c in raw[:TEXT_LIMIT] if c.isprintable()).strip()


def _escaped(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
