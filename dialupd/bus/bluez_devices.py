"""What bluetoothd says of its adapters and devices, kept and read as phones.

Every value has the type that BlueZ documents, or it counts as not there.  Of the many devices that a search finds most
are beacons without a class, which never become phones: they are kept, since pairing may follow, and not shown.  Whoever
is near can invent any number of devices; where there is no room the oldest that nobody uses makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dialupd.bus.wire import Variant
from dialupd.model import DeviceClass
from dialupd.radio import Phone, Service

ADAPTER: Final = "org.bluez.Adapter1"
DEVICE: Final = "org.bluez.Device1"

UUIDS: Final = {
    Service.DIAL_UP: "00001103-0000-1000-8000-00805f9b34fb",
    Service.SERIAL: "00001101-0000-1000-8000-00805f9b34fb",
}

_WANTED: Final = {
    ADAPTER: {"Powered": "b"},
    DEVICE: {
        "Address": "s",
        "Alias": "s",
        "Name": "s",
        "Class": "u",
        "Paired": "b",
        "Blocked": "b",
        "Connected": "b",
        "UUIDs": "as",
        "Adapter": "o",
    },
}
# More than a search finds in a hall full of people; bluetoothd forgets what it has not seen for half a minute.
_OBJECTS: Final = 4096
# Characters of a name; the specification allows 248 bytes.
_NAME: Final = 128

_ADDRESS: Final = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){5}", re.ASCII)
_ADAPTER_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,32}", re.ASCII)

# Class of device, Bluetooth Assigned Numbers 2.8: bits 12 to 8 are the major class, 7 to 2 the minor one.
_MAJOR: Final = {1: DeviceClass.COMPUTER, 2: DeviceClass.PHONE, 3: DeviceClass.ACCESS_POINT}
_MODEM: Final = (2, 4)

Properties = dict[str, object]


@dataclass(frozen=True, slots=True)
class Known:
    """A phone, where bluetoothd has it, whether its adapter is switched on, and whether a person has blocked it."""

    phone: Phone
    path: str
    powered: bool
    blocked: bool = False


class Tree:
    """The objects by their paths; what changes them says whether something of a phone or adapter is another now."""

    def __init__(self) -> None:
        self._adapters: dict[str, Properties] = {}
        self._devices: dict[str, Properties] = {}

    def clear(self) -> None:
        self._adapters.clear()
        self._devices.clear()

    def added(self, path: str, interfaces: Mapping[str, Mapping[str, Variant]]) -> bool:
        changed = False
        for interface, objects in ((ADAPTER, self._adapters), (DEVICE, self._devices)):
            if interface not in interfaces:
                continue
            if path not in objects and len(objects) >= _OBJECTS:
                oldest = next((path for path, one in objects.items() if _of_no_use(one)), None)
                if oldest is None:
                    continue
                del objects[oldest]
                changed = True
            before = _phone(objects.get(path, {}))
            objects[path] = _wanted(interface, interfaces[interface])
            changed |= interface == ADAPTER or _phone(objects[path]) != before
        return changed

    def removed(self, path: str, interfaces: Iterable[str]) -> bool:
        changed = False
        for interface in interfaces:
            if interface == ADAPTER:
                changed |= self._adapters.pop(path, None) is not None
            elif interface == DEVICE:
                changed |= _phone(self._devices.pop(path, {})) is not None
        return changed

    def changed(self, path: str, interface: str, values: Mapping[str, Variant], invalid: Iterable[str]) -> bool:
        properties = (self._adapters if interface == ADAPTER else self._devices).get(path)
        if properties is None or interface not in _WANTED:
            return False
        before = dict(properties)
        for name in invalid:
            properties.pop(name, None)
        properties.update(_wanted(interface, values))
        return properties != before

    @property
    def adapters(self) -> dict[str, bool]:
        """The adapters by their names, and whether each is switched on."""
        return {_last(path): properties.get("Powered") is True for path, properties in self._adapters.items()}

    def phones(self) -> dict[str, Known]:
        """Each phone once, on the adapter that can reach it."""
        adapters, best = self.adapters, dict[str, Known]()
        for path, properties in sorted(self._devices.items()):
            phone = _phone(properties)
            if phone is None:
                continue
            place = str(properties.get("Adapter") or path.rpartition("/")[0])
            adapter = _last(place)
            blocked = properties.get("Blocked") is True
            known = Known(replace(phone, adapter=adapter), path, adapters.get(adapter, False), blocked)
            other = best.get(phone.address)
            if other is None or _rank(known) > _rank(other):
                best[phone.address] = known
        return best


def _rank(known: Known) -> tuple[bool, ...]:
    phone = known.phone
    return (phone.paired, known.powered, phone.connected, phone.service is Service.DIAL_UP, bool(phone.service))


def _of_no_use(properties: Properties) -> bool:
    return properties.get("Paired") is not True and properties.get("Connected") is not True


def _wanted(interface: str, values: Mapping[str, Variant]) -> Properties:
    found: Properties = {}
    for name, signature in _WANTED[interface].items():
        variant = values.get(name)
        if isinstance(variant, Variant) and variant.signature == signature:
            # A device's UUIDs are its own word and of any number; what follows from them is all that is used.
            found[name] = _service(variant.value) if name == "UUIDs" else _short(variant.value)
    return found


def _short(value: object) -> object:
    """A text printable and bounded, anything else as it is."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() else " " for c in value[:_NAME]).strip()


def _service(uuids: Iterable[str]) -> Service:
    offered = {uuid.lower() for uuid in uuids}
    return next((service for service, uuid in UUIDS.items() if uuid in offered), Service.NONE)


def _phone(properties: Properties) -> Phone | None:
    """A phone without its adapter; None for what neither is paired nor could be a phone."""
    address = properties.get("Address")
    number = properties.get("Class")
    service = properties.get("UUIDs", Service.NONE)
    paired = properties.get("Paired") is True
    assert isinstance(service, Service)
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address.upper()):
        return None
    if not (paired or isinstance(number, int) or service):
        return None
    return Phone(
        address=address.upper(),
        name=str(properties.get("Alias") or properties.get("Name") or ""),
        device_class=_device_class(number) if isinstance(number, int) else DeviceClass.OTHER,
        service=service,
        paired=paired,
        connected=properties.get("Connected") is True,
    )


def _device_class(number: int) -> DeviceClass:
    major, minor = number >> 8 & 0x1F, number >> 2 & 0x3F
    return DeviceClass.MODEM if (major, minor) == _MODEM else _MAJOR.get(major, DeviceClass.OTHER)


def _last(path: str) -> str:
    name = path.rpartition("/")[2]
    return name if _ADAPTER_NAME.fullmatch(name) else ""
