"""Who is there: from an open port to an initialised modem, and what it can do.

Beside wvdialconf: no speed is guessed where USB makes speeds meaningless, the base initialisation is one line and only
taken apart when the modem refuses it, and a modem that is silent, echoes, or is still on a call gets the remedy for
just that.  What a modem refuses is left out; only silence is failure.

1. `synchronise`: one command that works in every state of Q, V and E, asked again if need be, then the escape
   sequence, for a modem that is still in data, voice or text mode.
2. `identify`: maker, model, firmware, classes, modulations; of a phone what it can tell of itself.
3. `initialise`: base, country, profile, PIN, packet context and bearer, caller ID, modulation reports, then the user's
   own commands, each of which must answer OK.
4. `levels`: a phone's signal and battery.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from dialupd.at import phone
from dialupd.at.exchange import Reply
from dialupd.config.values import ModemEntry, Profile
from dialupd.modem import timing
from dialupd.modem.channel import TEXT_ESCAPE, Channel, NoReply
from dialupd.modem.hangup import escape

log = logging.getLogger(__name__)

BASE = ("E0", "Q0", "V1", "S0=0", "&C1", "&D2", f"S7={timing.CARRIER_WAIT}")
"""No echo, verbose results, answering by us and never by the modem itself (a dead host takes no calls), DCD and DTR as
they are, and the modem's own limit for carrier."""

LEVELS = ("X4", "X3", "X1")
"""Which results it may use besides OK and CONNECT: the highest that it accepts."""

CALLER_ID = ("AT+VCID=1", "AT#CID=1", "AT%CCID=1", "AT#CLS=8#CID=1", "AT#CC1", "AT*ID1")
"""Tried in order, the first that answers OK stays."""

CALLER_ID_GSM = ("AT+CLIP=1",)

EVENTS = ("AT+CMER=1,0,0,1", "AT+CMER=2,0,0,1", "AT+CMER=3,0,0,1")
"""Ask for +CIEV: best dropped while a call has the line, else kept until its end; many phones know only the last, which
leaves it to them (3GPP TS 27.007 section 8.10)."""

REPORTS = "AT+MR=1;+ER=1;+DR=1"
"""Modulation, error control and compression as lines before CONNECT (V.250 sections 6.4.2, 6.5.5, 6.6.2)."""

PROFILES = {
    # A packetised line delays, loses and cancels echoes: V.34 and above retrain until they drop; V.32bis holds.
    Profile.VOIP: ("AT+MS=V32B,1,4800,14400", "ATS10=50"),
}

_ASKS_FOR = re.compile(r"(?<![A-Z-])SIM (PIN|PUK)(?![0-9])")
"""The SIM itself is locked: PIN2 and the lock of a phone to its SIM (PH-SIM PIN) are other secrets."""

VOICE_ESCAPE = b"\x10\x03"
"""DLE ETX ends the voice mode of a modem that a program left there (V.253)."""

MAX_TEXT = 64
"""Characters kept of maker, model and firmware."""


class ProbeError(Exception):
    """No modem that can be used; the text says what was seen and what mends it."""


class PinRefused(ProbeError):
    """The SIM refused the PIN: another try of the same brings it nearer to its PUK."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the modem told of itself."""

    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    capabilities: tuple[str, ...] = ()
    modulations: tuple[str, ...] = ()
    country: str = ""
    """ITU-T T.35 code, two hex digits; without the right one some modems show no caller ID."""
    indicators: tuple[phone.Indicator, ...] = ()
    """What +CIEV tells of."""

    @property
    def gsm(self) -> bool:
        return "gsm" in self.capabilities


async def synchronise(channel: Channel, *, reset: bool = False) -> None:
    """Bring the modem to answer in words; ProbeError when it does not."""
    if not await _answers(channel):
        channel.numeric = True
        channel.send(TEXT_ESCAPE + VOICE_ESCAPE)
        await escape(channel)
        if not await _answers(channel):
            raise ProbeError(_silence(channel))
        await _try(channel, "ATH", timing.HANG_UP_REPLY)
        try:
            channel.numeric = False
            await channel.command("ATV1", timing.SYNC)
        except NoReply:
            channel.numeric = True
    if reset:
        await _try(channel, "ATZ", timing.RESTORE)
        if not await _answers(channel):
            raise ProbeError("the modem stopped answering after ATZ; unplug it and plug it in again")


async def identify(channel: Channel) -> Findings:
    """Ask who it is and what it can do; what it does not tell stays empty."""
    gcap = await _ask(channel, "AT+GCAP")
    # Some phones refuse +GCAP; no other modem knows +CGMI.
    gsm = "+CGSM" in gcap.upper() or (not gcap and bool(await _ask(channel, "AT+CGMI")))
    capabilities = ["data"]
    classes = re.findall(r"\d+", await _ask(channel, "AT+FCLASS=?"))
    if {"1", "2"} & set(classes):
        capabilities.append("fax")
    if "8" in classes:
        capabilities.append("voice")
    modulations: tuple[str, ...] = ()
    if "+MS" in gcap.upper():
        modulations = _modulations(await _ask(channel, "AT+MS=?"))
    if gsm:
        capabilities.append("gsm")
        carries = {"packet": "AT+CGDCONT=?", "circuit": "AT+CBST=?"}
        found = [word for word, query in carries.items() if await _ask(channel, query)]
        if not found:
            capabilities.remove("data")
        capabilities += found
    prefix = "AT+C" if gsm else "AT+"
    manufacturer = await _ask(channel, prefix + "GMI")
    model = await _ask(channel, prefix + "GMM")
    firmware = await _ask(channel, prefix + "GMR")
    if not (manufacturer or model):
        model = await _ask(channel, "ATI3") or await _ask(channel, "ATI")
    country = "" if gsm else re.sub(r"[^0-9A-F]", "", await _ask(channel, "AT+GCI?"))[:2]
    indicators = phone.indicators(await _ask(channel, "AT+CIND=?")) if gsm else ()
    return Findings(manufacturer, model, firmware, tuple(capabilities), modulations, country, indicators)


async def initialise(channel: Channel, entry: ModemEntry, findings: Findings, pin: str) -> tuple[str, ...]:
    """Set the modem up; gives the capabilities, caller ID included. ProbeError when a command of the user's fails."""
    await base(channel)
    if entry.country and entry.country != findings.country:
        # Only where it differs: some modems keep it in a memory that bears few writes.
        await _must(channel, f"AT+GCI={entry.country}", "country")
    if findings.gsm:
        await _unlock(channel, pin)
        await _try(channel, "AT+CRC=1")
    if entry.apn:
        await _must(channel, f'AT+CGDCONT={entry.context},"IP","{entry.apn}"', "apn")
    if entry.bearer:
        await _must(channel, f"AT+CBST={entry.bearer}", "bearer")
    capabilities = findings.capabilities
    for command in CALLER_ID_GSM if findings.gsm else CALLER_ID:
        if await _try(channel, command):
            capabilities = (*capabilities, "caller-id")
            break
    if {indicator.name for indicator in findings.indicators} & set(phone.REPORTED):
        for command in EVENTS:
            if await _try(channel, command):
                break
    if findings.modulations:
        await _try(channel, REPORTS)
    for command in PROFILES.get(entry.profile, ()):
        if not await _try(channel, command):
            log.warning("%s: the modem refuses %s of the profile %s", channel.port.path, command, entry.profile)
    for command in entry.init:
        await _must(channel, command, "init")
    return capabilities


async def levels(channel: Channel) -> tuple[int, int]:
    """A phone's signal in dBm and its battery in percent, 0 and -1 where it does not tell. ProbeError when silent."""
    signal = phone.signal_dbm(await _ask(channel, "AT+CSQ"))
    return signal, phone.battery_percent(await _ask(channel, "AT+CBC"))


async def _answers(channel: Channel) -> bool:
    for _ in range(timing.SYNC_TRIES):
        try:
            await channel.afresh("ATQ0V1E0", timing.SYNC)
        except NoReply:
            continue
        return True
    return False


def _silence(channel: Channel) -> str:
    if channel.echoes_only:
        return "the device sends back what it gets and answers nothing: it is no modem, or a line that is looped back"
    return (
        "the modem does not answer: check its power and cable, and that the port's speed is one that it knows; "
        "a device that is no modem needs no [[modem]] entry"
    )


async def base(channel: Channel) -> None:
    """The settings without which we would not understand the modem; what it refuses is left out."""
    if not await _try(channel, "AT" + "".join(BASE)):
        for part in BASE:
            await _try(channel, "AT" + part)
    for level in LEVELS:
        if await _try(channel, "AT" + level):
            break


async def _unlock(channel: Channel, pin: str) -> None:
    state = await _ask(channel, "AT+CPIN?")
    asks = _ASKS_FOR.search(state)
    if asks is None:
        return
    if asks[1] == "PUK":
        raise ProbeError("the SIM is locked after wrong PINs and asks for its PUK: type that on a phone")
    if not pin:
        raise ProbeError("the SIM asks for its PIN: write it into a file and name that as pin-file")
    try:
        reply = await channel.command(f'AT+CPIN="{pin}"', timing.RESTORE, shown='AT+CPIN="****"')
    except NoReply as error:
        raise ProbeError(f"the modem stopped answering: {error}") from None
    if not reply.ok:
        raise PinRefused(f"the SIM refuses the PIN ({reply.result.detail or 'ERROR'}); it is not tried again")


async def _try(channel: Channel, command: str, timeout: float = timing.REPLY) -> bool:
    return (await _command(channel, command, timeout)).ok


async def _ask(channel: Channel, command: str) -> str:
    """The information text of a query as one line, without the command's own name; "" when refused."""
    reply = await _command(channel, command)
    if not reply.ok:
        return ""
    text = " ".join(line.strip() for line in reply.information)
    name = re.match(r"AT(\+[A-Z]+)", command)
    if name is not None:
        text = text.removeprefix(name[1] + ":").strip()
    return text.strip(' "')[: 512 if "?" in command or "GCAP" in command else MAX_TEXT]


async def _must(channel: Channel, command: str, key: str) -> None:
    reply = await _command(channel, command)
    if not reply.ok:
        raise ProbeError(f"the modem answers {reply.result.detail or reply.result.code.value} to {command} (key {key})")


async def _command(channel: Channel, command: str, timeout: float = timing.REPLY) -> Reply:
    try:
        return await channel.command(command, timeout)
    except NoReply as error:
        raise ProbeError(f"the modem stopped answering: {error}") from None


def _modulations(text: str) -> tuple[str, ...]:
    """The first list of the answer to +MS=?: `(V21,V22,V34),(0,1),…`, with or without quotes or brackets."""
    first = re.match(r"\(([^()]*)\)", text)
    names = re.findall(r"[BVK]\d{2,3}[A-Z]?", first[1] if first else "")
    return tuple(dict.fromkeys(names))
