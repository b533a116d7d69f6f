"""Getting ready, and being away: what a modem's owner does in each state in which no call can be.

`initialise` is for the end of a call as well: whatever happened on the line, the next call begins from the same ground.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Never

from dialupd.config.values import ModemEntry
from dialupd.io import secret
from dialupd.io.port import PortError, PortFault
from dialupd.io.usbserial import BindError
from dialupd.model import ModemState, Transport
from dialupd.modem import probe, reach, timing
from dialupd.modem.channel import Channel, PortLost
from dialupd.modem.hangup import HangUpFailed
from dialupd.modem.owner import RESTING, Modem
from dialupd.modem.steps import Step
from dialupd.modem.voice import end_left
from dialupd.states import ModemEvent

log = logging.getLogger(__name__)

_SPEEDS = (115200, 57600, 38400, 19200, 9600, 2400)
"""Tried in turn on ports where the speed is real and the modem silent at the configured one."""


async def for_ever() -> Never:
    """Until cancelled: only a request or the line ends this state."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


async def binding(modem: Modem) -> Step:
    """Let the generic driver take the device; its tty then comes by udev, and the registry says so."""
    try:
        async with asyncio.timeout(timing.BIND):
            await modem.host.bind(modem.device)
    except BindError as error:
        return Step(ModemEvent.FAULT, str(error))
    except TimeoutError:
        return Step(ModemEvent.FAULT, f"the generic driver was not bound within {timing.BIND:g} s")
    await asyncio.sleep(timing.BIND_WAIT)
    return Step(ModemEvent.FAULT, "the generic driver has made no port of the device: is it a modem?")


async def probing(modem: Modem) -> Step:
    """Open the port and bring the modem to a known state; one that rests is only known to be there."""
    if modem.memory.disabled:
        return Step(ModemEvent.DISABLE, "disabled by a person")
    reset = modem.state is ModemState.RESETTING
    modem.close_port()
    modem.stale = False
    if trouble := reach.trouble(modem):
        return Step(ModemEvent.FAULT, trouble)
    if modem.on_demand and not reset and not modem.line_wanted:
        return Step(ModemEvent.PROBED, RESTING)
    try:
        await open_line(modem, reset=reset)
    except (PortError, probe.ProbeError) as error:
        return Step(ModemEvent.FAULT, str(error))
    except PortLost:
        return Step(ModemEvent.FAULT, "the port went away while the modem was probed")
    return Step(ModemEvent.PROBED, "the modem answers and is initialised")


async def open_line(modem: Modem, *, reset: bool = False, known: bool = False) -> None:
    """Open the port, find the modem and set it up; PortError, PortLost, probe.ProbeError. Undone, it is closed.

    `known`: what the modem has once told of itself is not asked again.
    """
    if modem.device.on_demand:
        modem.show(replace(modem.view, state_reason=f"connecting to {modem.view.name} by Bluetooth"))
    modem.applied = None
    entry = modem.entry  # it may change meanwhile; `idle` then sees that another one is applied
    try:
        channel = await _find(modem, entry, reset=reset)
        if not known or not modem.findings.capabilities:
            modem.findings = findings = await probe.identify(channel)
            log.info(
                "%s: %s %s, country %s", modem.id, findings.manufacturer, findings.model, findings.country or "not told"
            )
        await _end_left_call(modem, channel)
        capabilities = await initialise(modem, entry, channel, modem.findings)
    except (PortError, PortLost) as error:
        words = await reach.loss(modem)
        modem.close_port()
        if words:
            raise PortError(PortFault.GONE, words) from error
        raise
    except BaseException:
        modem.close_port()
        raise
    modem.pauses.opened(asyncio.get_running_loop().time(), wanted=modem.on_demand or reset)
    findings = modem.findings
    modem.show(
        replace(
            modem.view,
            manufacturer=findings.manufacturer,
            model=findings.model,
            firmware=findings.firmware,
            capabilities=capabilities,
            modulations=findings.modulations,
            attempts=0,
            next_attempt=0,
        )
    )


async def _find(modem: Modem, entry: ModemEntry, *, reset: bool) -> Channel:
    """Open the port at the configured speed, where speeds are real at others too, until the modem answers."""
    speeds = [entry.speed]
    if modem.device.transport is Transport.SERIAL:
        speeds += [speed for speed in _SPEEDS if speed != entry.speed]
    for speed in speeds:
        port = await modem.host.open_port(modem.device, speed, entry.flow)
        modem.line_lost.clear()
        port.on_lost = partial(reach.port_lost, modem)
        modem.channel = channel = Channel(port, modem.id, modem.unsolicited, modem.stray)
        try:
            await probe.synchronise(channel, reset=reset)
        except probe.ProbeError:
            if speed == speeds[-1]:
                raise
            modem.close_port()
            continue
        if speed != entry.speed:
            log.warning("%s answers at %d bit/s, not at %d: set speed in its [[modem]]", modem.id, speed, entry.speed)
        return channel
    raise AssertionError("there is at least one speed")


async def _end_left_call(modem: Modem, channel: Channel) -> None:
    """See first that no voice call runs on that a lost line, or a daemon that was killed, has left."""
    unsure = modem.memory.unsure
    if unsure is None or not modem.is_phone:
        return
    try:
        if asyncio.get_running_loop().time() < unsure.until and await end_left(channel, unsure.number):
            log.warning("%s: a voice call of ours was still going on; it is ended", modem.id)
    except HangUpFailed as error:
        modem.memory.unsure = None  # it is told; more cannot be done from here
        raise probe.ProbeError(str(error)) from None
    modem.memory.unsure = None


async def initialise(modem: Modem, entry: ModemEntry, channel: Channel, findings: probe.Findings) -> tuple[str, ...]:
    """Set the modem up as `entry` says; gives its capabilities. ProbeError, PortError, PortLost."""
    pin = pin_of(entry)
    if pin and pin == modem.memory.refused_pin:
        raise probe.ProbeError("the SIM has refused this PIN; mend it, then reset the modem")
    try:
        capabilities = await probe.initialise(channel, entry, findings, pin)
    except probe.PinRefused:
        modem.memory.refused_pin = pin
        raise
    if findings.gsm:
        signal, battery = await probe.levels(channel)
        modem.show(replace(modem.view, signal=signal, battery=battery))
    modem.applied = entry
    modem.findings = replace(findings, country=entry.country or findings.country)
    return capabilities


def pin_of(entry: ModemEntry) -> str:
    """The PIN that the entry names, "" for none; raises ProbeError."""
    try:
        if entry.pin_file:
            found = secret.read_file("pin-file", entry.pin_file)
        elif entry.pin_credential:
            found = secret.read_credential("pin-credential", entry.pin_credential, "dialupd.service")
        else:
            return ""
    except secret.SecretError as error:
        raise probe.ProbeError(str(error)) from None
    pin = found.decode("ascii", "replace").strip()
    if not (pin.isascii() and pin.isdecimal() and 4 <= len(pin) <= 8):
        where = f"pin-file {entry.pin_file}" if entry.pin_file else f"pin-credential {entry.pin_credential}"
        raise probe.ProbeError(f"{where} holds no PIN of four to eight digits")
    return pin


async def failed(modem: Modem) -> Step:
    """Wait for the next attempt."""
    modem.close_port()
    now = asyncio.get_running_loop().time()
    attempts, until = modem.pauses.failed(now, barred=bool(modem.trouble))
    modem.show(replace(modem.view, attempts=attempts, next_attempt=modem.host.now() + int((until - now) * 1e6)))
    await asyncio.sleep(until - now)
    return Step(ModemEvent.RETRY if modem.device.node else ModemEvent.BIND, "trying again")


async def away(modem: Modem) -> Step:
    """Disabled, lent out or unsupported: the port is closed and nothing is done."""
    modem.close_port()
    modem.call_backs.cancel(f"the modem is {modem.state}")
    modem.applied = None
    modem.show(replace(modem.view, attempts=0, next_attempt=0))
    return await for_ever()
