"""Which devices are modems of ours: by the `[[modem]]` entries, and by what is known of makers' numbers.

A device that an entry names is always wanted.  Without an entry a device is looked at only if the configuration says
`probe-unknown`, and then only where looking is harmless: bytes sent to a serial cable may reach a machine tool, and
opening a Bluetooth port begins a radio link.  Every device that is left alone has a reason that names the mend.

What a radio link leads to is taken only by an entry that means it: a phone that bluetoothd knows by what phones have,
one on a node of the kernel's (/dev/rfcommN) by the node.  The two are never the same modem.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from dialupd.config.values import Config, Match, ModemEntry
from dialupd.model import Device
from dialupd.radio import Service


class Kind(Enum):
    """What stands behind a USB number."""

    MODEM = "modem"
    PHONE = "phone"
    STICK = "stick"
    CABLE = "cable"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Known:
    """`product` "" stands for every product of the vendor; `note` is a sentence on what is odd about the device."""

    vendor: str
    product: str
    name: str
    kind: Kind
    note: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The device is to be managed; without an entry the built-in defaults serve."""

    entry: ModemEntry | None


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A modem that cannot be driven, which is worth showing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """Not ours, or not to be touched."""

    reason: str


def _family(vendor: str, products: str, name: str, kind: Kind, note: str = "") -> tuple[Known, ...]:
    return tuple(Known(vendor, product, name, kind, note) for product in products.split())


_NO_DSP = "leaves the work of a modem to a driver that Linux does not have"
KNOWN = (
    *_family("0572", "1321 1324 1328 1329 1340 1349", "Conexant CX93010", Kind.MODEM),
    *_family("0572", "1232 1234 1252 1300", "Conexant HCF soft modem", Kind.SOFT, _NO_DSP),
    *_family("047e", "2892", "Agere V.92 soft modem", Kind.SOFT, _NO_DSP),
    *_family("05ac", "1401", "Apple USB Modem", Kind.SOFT, _NO_DSP),
    *_family("0baf", "0303", "USRobotics 5637", Kind.MODEM),
    *_family("04c1", "0020 0022 0082 3021", "3Com USRobotics modem", Kind.MODEM),
    *_family("0506", "3021", "3Com USRobotics modem", Kind.MODEM),
    *_family("0803", "3095", "Zoom 3095", Kind.MODEM),
    *_family("0803", "9700", "Zoom 2986L", Kind.MODEM),
    *_family("17ef", "7000", "Lenovo USB modem", Kind.MODEM),
    *_family("079b", "000f", "BT On-Air", Kind.MODEM),
    *_family("0ace", "1602 1608 1611", "ZyXEL Omni 56K", Kind.MODEM),
    *_family(
        "06e0", "0319 f114 f115", "MultiTech MT9234", Kind.MODEM, "needs the driver ti_usb_3410_5052 and its firmware"
    ),
    *_family("06e0", "f101 f104 f107", "MultiTech MT5634", Kind.MODEM),
    *_family("0421", "0405", "Nokia 9500", Kind.PHONE, "has no driver of its own"),
    *_family("12d1", "1001 1003 1506", "Huawei stick", Kind.STICK),
    *_family("12d1", "1446 14fe", "Huawei stick", Kind.STICK, "shows its disk; usb_modeswitch turns it into a modem"),
    *_family("19d2", "0001 0031", "ZTE stick", Kind.STICK),
    *_family("19d2", "2000", "ZTE stick", Kind.STICK, "shows its disk; usb_modeswitch turns it into a modem"),
    *_family("067b", "2303", "Prolific serial cable", Kind.CABLE),
    *_family("0403", "6001", "FTDI serial cable", Kind.CABLE),
    *_family("1a86", "7523", "CH340 serial cable", Kind.CABLE),
    *_family("10c4", "ea60", "CP210x serial cable", Kind.CABLE),
    Known("0421", "", "Nokia phone", Kind.PHONE),
    Known("0fce", "", "Sony Ericsson phone", Kind.PHONE),
    Known("22b8", "", "Motorola phone", Kind.PHONE),
    Known("0fca", "", "BlackBerry", Kind.SOFT, "has no serial port on Linux without a program of its own"),
)
_BY_ID = {(known.vendor, known.product): known for known in KNOWN}
# cables of other numbers, by the drivers that serve nothing but cables
CABLE_DRIVERS = frozenset({"pl2303", "ftdi_sio", "ch341", "ch341-uart", "cp210x"})


def known(device: Device) -> Known | None:
    """What the vendor and product of the device say."""
    return _BY_ID.get((device.vendor, device.product)) or _BY_ID.get((device.vendor, ""))


def fits(match: Match, device: Device) -> bool:
    """Whether every given field fits; a match that asks for nothing fits nothing."""
    exact = (
        (match.vendor, device.vendor),
        (match.product, device.product),
        (match.serial, device.serial),
        (match.interface, device.interface),
        (match.driver, device.driver),
        (match.bus, device.bus),
        (match.address, device.address),
        (match.device_class, device.device_class),
    )
    if any(wanted and wanted != there for wanted, there in exact):
        return False
    globs = ((match.path, device.path), (match.device, device.node), (match.name, _radio_name(device)))
    if any(wanted and not fnmatch.fnmatchcase(there, wanted) for wanted, there in globs):
        return False
    return match != Match()


def _radio_name(device: Device) -> str:
    return device.model if device.radio else ""


def find(entries: Iterable[ModemEntry], device: Device) -> ModemEntry | None:
    """The first entry that fits the device."""
    return next((entry for entry in entries if _means(entry.match, device) and fits(entry.match, device)), None)


def _means(match: Match, device: Device) -> bool:
    """Whether it may take such a device: nothing that begins a radio link is taken by the way."""
    if device.radio:
        return match.phones
    return bool(match.device) if device.on_demand else True


def binding(entries: Iterable[ModemEntry], device: Device) -> ModemEntry | None:
    """The first entry that has the generic driver bound to a USB device that has none.

    Interface, driver and node are things of the tty that is yet to come, so they are not asked about.
    """
    for entry in entries:
        match = entry.match
        if entry.usbserial and all(
            (
                (match.vendor, match.product) == (device.vendor, device.product),
                match.serial in ("", device.serial),
                not match.path or fnmatch.fnmatchcase(device.path, match.path),
            )
        ):
            return entry
    return None


def wanted(config: Config, device: Device) -> Wanted | Unsupported | Ignore:
    """What to do with a device: manage it, show that it cannot be, or leave it alone."""
    thing = known(device)
    if not device.node:
        return _without_driver(config, device, thing)
    if device.radio and not device.driver:
        return Ignore("it offers neither Dial-Up Networking nor a Serial Port; switch that on in the phone's settings")
    if entry := find(config.modems, device):
        return Wanted(entry)
    if device.radio:
        return _phone_without_entry(config, device)
    if device.on_demand:
        mend = f'match = {{ device = "{device.node}" }}'
        return Ignore(f"the device would begin a radio link when opened; name it in a [[modem]] with {mend} to use it")
    if thing and thing.kind is Kind.SOFT:
        return Unsupported(f"{thing.name} {thing.note}")
    name = f"{thing.name} " if thing else "the device "
    if not config.daemon.probe_unknown:
        return Ignore(f"{name}is named by no [[modem]], and probe-unknown is off")
    if (thing and thing.kind is Kind.CABLE) or device.driver in CABLE_DRIVERS:
        return Ignore(f"{name}is a serial cable, and what hangs on it is not known; name it in a [[modem]] to use it")
    return Wanted(None)


def _phone_without_entry(config: Config, device: Device) -> Wanted | Ignore:
    mend = f'name it in a [[modem]] with match = {{ address = "{device.address}" }} to use it'
    if device.driver != Service.DIAL_UP:
        return Ignore(f"the device offers a Serial Port, and what takes its bytes is not known; {mend}")
    if not config.daemon.probe_unknown:
        return Ignore(f"the phone is named by no [[modem]], and probe-unknown is off; {mend}")
    return Wanted(None)


def _without_driver(config: Config, device: Device, thing: Known | None) -> Wanted | Unsupported | Ignore:
    if thing and thing.kind is Kind.SOFT:
        return Unsupported(f"{thing.name} {thing.note}")
    if entry := binding(config.modems, device):
        return Wanted(entry)
    name = thing.name if thing else "the device"
    note = f", which {thing.note}" if thing and thing.note else ""
    mend = (
        f'a [[modem]] with match = {{ vendor = "{device.vendor}", product = "{device.product}" }} and usbserial = true'
    )
    return Ignore(f"no driver has taken {name}{note}; {mend} binds the generic one to it")
