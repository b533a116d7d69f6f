"""The seam to the machine's Bluetooth: which phones are known, and a line to one of them.

A line is an RFCOMM socket to the phone's Dial-Up Networking service (0x1103), or to its Serial Port (0x1101) where it
has no other.  Asking which phones there are costs no radio; `connect` pages the phone, which takes some seconds and a
little of its battery, so it is done only when the line is wanted.  `dialupd.bus.bluez` implements it by BlueZ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dialupd.model import DeviceClass


class RadioFault(StrEnum):
    """Why there is no line."""

    ABSENT = "absent"  # bluetoothd does not run, or this machine has no adapter
    OFF = "off"  # the adapter is switched off, by software, by rfkill or by a switch
    TAKEN = "taken"  # another program serves the profile on this machine
    NOT_PAIRED = "not-paired"
    NO_SERVICE = "no-service"  # the phone offers neither Dial-Up Networking nor a Serial Port
    OUT_OF_RANGE = "out-of-range"
    REFUSED = "refused"  # the phone is there and does not let us in
    FAILED = "failed"


class RadioError(Exception):
    """There is no line: what for programs; for a person the phone or adapter, what is wrong and the mend."""

    def __init__(self, reason: RadioFault, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Service(StrEnum):
    """What of a phone takes AT commands; NONE: nothing."""

    NONE = ""
    DIAL_UP = "dun"
    SERIAL = "spp"


@dataclass(frozen=True, slots=True)
class Phone:
    """A device that bluetoothd knows; `address` is "AA:BB:CC:DD:EE:FF", `name` printable and bounded.

    `adapter` is ours on which it is known, "hci0".  `connected`: a radio link is up, whoever uses it.
    """

    address: str
    name: str = ""
    device_class: DeviceClass = DeviceClass.OTHER
    adapter: str = ""
    service: Service = Service.NONE
    paired: bool = False
    connected: bool = False


class RadioWatcher(Protocol):
    """Told on the loop, in order, from `start` on; it returns at once."""

    def phone_changed(self, phone: Phone) -> None:
        """A device is known now, or something of it changed."""

    def phone_gone(self, address: str) -> None:
        """bluetoothd does not know the device any more, or its adapter went.

        Not told when bluetoothd itself goes: what has gone meanwhile is told when it is back.
        """

    def radio_changed(self) -> None:
        """What `trouble` or `taken` say may be another now."""


class Radio(Protocol):
    """The Bluetooth of this machine."""

    def start(self, watcher: RadioWatcher) -> None:
        """Begin to look, once; bluetoothd may come, go and come back at any time."""

    async def looked(self) -> None:
        """Until the first look is over, with or without a bluetoothd; within a few seconds."""

    def phones(self) -> Sequence[Phone]:
        """All that is known now, paired or not."""

    def trouble(self) -> str:
        """Why no phone at all can be reached now, with the mend; "" while a phone is worth trying."""

    def taken(self, service: Service) -> str:
        """Why a service cannot be had of any phone, with the mend: another program has it; "" while it can."""

    async def connect(self, address: str) -> int:
        """A line to the phone: a connected, non-blocking stream socket, the caller's to close. Raises RadioError.

        A connection that is cancelled leaves nothing open.
        """

    async def out_of_reach(self, address: str) -> bool:
        """A line has just ended: did the radio link go with it (True), or only the line, which the phone closed?

        Takes at most half a second.
        """

    async def close(self) -> None:
        """Look no more; lines that are open stay open."""
