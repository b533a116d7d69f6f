"""The phones that bluetoothd knows as devices of the fleet, and what keeps those that are configured from working.

- bluetoothd is asked only while the configuration asks for phones: by a `[[modem]]`, or by `probe-unknown`.
- A phone is a device while it is paired; whether it is a modem of ours is decided as for any other device.
- Nothing here opens a radio link.
- A problem is told once it has lasted a moment, for bluetoothd shows its adapters and phones one by one; what is over
  is told at once.  Its sentence begins with what the configuration calls the phone, and ends with the mend.
- A search may find thousands of devices that are not paired: they are looked at now and then, all at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial

from dialupd.config.values import Config, Match, ModemEntry
from dialupd.events import PROBLEM
from dialupd.io.journal import about
from dialupd.io.port import PortError, PortFault
from dialupd.io.radioport import RadioPort
from dialupd.match import fits
from dialupd.model import RADIO, Device, Transport
from dialupd.radio import Phone, Radio, RadioError, Service

log = logging.getLogger(__name__)

SETTLE = 2.0
"""Seconds that a problem lasts before it is told."""

LOGGED_LIMIT = 200
"""Different problems that are remembered as logged; each `[[modem]]` has a handful."""


def device_of(phone: Phone) -> Device:
    """The phone as a device."""
    place = RADIO + phone.address
    return Device(
        sys_path=place,
        node=place,
        transport=Transport.BLUETOOTH,
        bus="bluetooth",
        driver=phone.service.value,
        path=phone.adapter,
        address=phone.address,
        model=phone.name,
        device_class=phone.device_class,
    )


class Phones:
    """The `RadioWatcher` of one daemon: tells devices as `io.udev` does, by `present` and `gone`.

    `in_use` says whether a call is on a phone; while there is one bluetoothd is asked on.  `news` is told the sys_path
    of a phone that has shown up, "" when all may be reached or none; `changed` that `problems` has changed.
    """

    def __init__(
        self,
        make_radio: Callable[[], Radio],
        config: Callable[[], Config],
        in_use: Callable[[], bool],
        present: Callable[[Device], None],
        gone: Callable[[str], None],
        news: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.problems: tuple[str, ...] = ()
        self._make_radio = make_radio
        self._config = config
        self._in_use = in_use
        self._present = present
        self._gone = gone
        self._news = news
        self._changed = changed
        self._devices: dict[str, Device] = {}
        self._untold: set[str] = set()
        """Devices that bluetoothd has not told of."""
        self._connected: frozenset[str] = frozenset()
        self._looking: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._looked = False
        self._settling: asyncio.TimerHandle | None = None
        self._logged: dict[str, None] = {}
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @cached_property
    def _radio(self) -> Radio:
        """Made when it is first wanted: it is not loaded for nothing."""
        return self._make_radio()

    def attend(self) -> None:
        """Ask bluetoothd, or ask it no more: to be called when the configuration is another, and after a call."""
        config = self._config()
        wanted = config.daemon.probe_unknown or any(entry.match.phones for entry in config.modems)
        if self._closed or self._ending is not None:  # it attends again when it has ended
            return
        if wanted and self._looking is None:
            self._radio.start(self)
            self._looking = asyncio.create_task(self._look(), name="phones")
        elif not wanted and self._looking is not None and not self._in_use():
            self._ending = asyncio.create_task(self._end(), name="phones: end")
        if not self._in_use():
            for address in list(self._untold):
                self.phone_gone(address)
        self._renew()

    async def looked(self) -> None:
        """Until it is known which phones there are; at once where none is asked for."""
        if self._looking is not None:
            await asyncio.wait({self._looking})

    def take_for_there(self, phone: Phone) -> None:
        """A call is on the phone, though bluetoothd, which may be away, does not tell of it: so it is there until then.

        A line needs no bluetoothd.
        """
        device = device_of(phone)
        self._untold.add(phone.address)
        self._devices[phone.address] = device
        self._present(device)

    def rescan(self) -> None:
        """Tell every difference between what was told and what bluetoothd knows."""
        if self._looking is None:
            return
        known = self._radio.phones()
        for address in self._devices.keys() - self._untold - {phone.address for phone in known}:
            self.phone_gone(address)
        for phone in known:
            self.phone_changed(phone)

    def trouble(self) -> str:
        """Why no phone can be reached now; "" while one is worth trying."""
        return self._radio.trouble() if self._looking is not None else ""

    async def open(self, device: Device) -> RadioPort:
        """A line to the phone; raises PortError."""
        return self.port(device, await self._connect(device.address))

    def port(self, device: Device, fd: int) -> RadioPort:
        """A line to the phone from its open socket."""
        address = device.address
        connect, out_of_reach = partial(self._connect, address), partial(self._radio.out_of_reach, address)
        return RadioPort(device.node, device.model or address, fd, connect, out_of_reach)

    async def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._settling is not None:
            self._settling.cancel()
        if self._ending is not None:
            await asyncio.wait({self._ending})
        elif self._looking is not None:
            await self._end()

    async def _connect(self, address: str) -> int:
        try:
            return await self._radio.connect(address)
        except RadioError as error:
            raise PortError(PortFault.UNREACHABLE, str(error)) from None

    async def _look(self) -> None:
        await self._radio.looked()
        self._looked = True
        self.rescan()  # while nobody looked, a phone may have gone
        self._renew()

    async def _end(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        await self._radio.close()
        self._looking = self._ending = None
        self._looked = False
        self.attend()

    # -- RadioWatcher

    def phone_changed(self, phone: Phone) -> None:
        """Nothing is told of one that is not paired: whoever is in range may be among them while somebody scans."""
        device = device_of(phone)
        self._untold.discard(phone.address)
        if not phone.paired and phone.address not in self._devices:
            self._renew_later()
            return
        if phone.paired and self._devices.get(phone.address) != device:
            self._devices[phone.address] = device
            self._present(device)
        elif not phone.paired:
            del self._devices[phone.address]
            self._gone(device.sys_path)
        was = phone.address in self._connected
        if phone.connected and phone.paired:
            self._connected |= {phone.address}
            if not was:
                self._news(device.sys_path)
        else:
            self._connected -= {phone.address}
        self._renew()

    def phone_gone(self, address: str) -> None:
        self._connected -= {address}
        self._untold.discard(address)
        if (device := self._devices.pop(address, None)) is None:
            self._renew_later()
            return
        self._gone(device.sys_path)
        self._renew()

    def radio_changed(self) -> None:
        self._news("")
        self._renew()

    # -- problems

    def _renew(self) -> None:
        found = self._find()
        self._tell(tuple(problem for problem in found if problem in self.problems))
        if len(found) > len(self.problems):
            self._renew_later()

    def _renew_later(self) -> None:
        if self._settling is None and self._looked and not self._closed:
            self._settling = self._loop.call_later(SETTLE, self._settled)

    def _settled(self) -> None:
        self._settling = None
        found = self._find()
        trouble = self.trouble()
        for problem in found:
            if problem not in self._logged and problem != trouble:  # the radio tells that itself
                self._logged[problem] = None
                log.info("%s", problem, extra=about(PROBLEM))
        while len(self._logged) > LOGGED_LIMIT:
            del self._logged[next(iter(self._logged))]
        self._tell(found)

    def _tell(self, problems: tuple[str, ...]) -> None:
        if problems != self.problems:
            self.problems = problems
            self._changed()

    def _find(self) -> tuple[str, ...]:
        entries = [entry for entry in self._config().modems if entry.match.phones]
        if not self._looked or not entries:
            return ()
        return problems(entries, self._radio.phones(), self.trouble(), self._radio.taken)


def problems(
    entries: Iterable[ModemEntry], phones: Sequence[Phone], trouble: str, taken: Callable[[Service], str]
) -> tuple[str, ...]:
    """A sentence on each entry that has no phone to work with, behind the one on what keeps all of them from it."""
    found = [_problem(entry, phones, trouble, taken) for entry in entries]
    return tuple(dict.fromkeys(problem for problem in (trouble, *found) if problem))


def _problem(entry: ModemEntry, phones: Sequence[Phone], trouble: str, taken: Callable[[Service], str]) -> str:
    match = entry.match
    wide = replace(match, driver="", path="")
    there = [phone for phone in phones if fits(wide, device_of(phone))]
    paired = [phone for phone in there if phone.paired]
    served = [phone for phone in paired if phone.service is not Service.NONE]
    if fitting := [phone for phone in served if fits(match, device_of(phone))]:
        why = taken(fitting[0].service)
        if trouble or not all(taken(phone.service) for phone in fitting):
            return ""
        return f"{_called(entry, fitting[0])}: {why}"
    if served:
        phone = served[0]
        return (
            f"{_called(entry, phone)}: the phone has the service {phone.service} by the adapter {phone.adapter},"
            " and match.driver or match.path of its [[modem]] asks for another"
        )
    if paired:
        phone = paired[0]
        return (
            f"{_called(entry, phone)}: the phone is paired, but offers neither Dial-Up Networking nor a Serial Port:"
            " switch that on in its settings, then have bluetoothd ask it again with"
            f" bluetoothctl connect {phone.address}"
        )
    if there and (match.address or match.name):
        phone = there[0]
        return (
            f"{_called(entry, phone)}: bluetoothd knows the phone, but it is not paired:"
            f" bluetoothctl pair {phone.address}, and confirm it on the phone"
        )
    return "" if trouble else _unknown(entry)


def _called(entry: ModemEntry, phone: Phone) -> str:
    return f"{entry.name} ({phone.address})" if entry.name else phone.address


def _unknown(entry: ModemEntry) -> str:
    find = "make it visible, then bluetoothctl --timeout 30 scan on"
    if address := entry.match.address:
        who = f"{entry.name} ({address})" if entry.name else address
        return f"{who}: bluetoothd does not know the phone: {find}, then bluetoothctl pair {address}"
    asked = _asked(entry.match)
    who = entry.name or asked
    return f"{who}: no phone with {asked} is paired: {find}, then bluetoothctl pair and the address that it shows"


def _asked(match: Match) -> str:
    """As it stands in the configuration."""
    told = (("name", match.name), ("class", match.device_class.value), ("bus", match.bus), ("path", match.path))
    return ", ".join(f'{key} = "{value}"' for key, value in told if value)
