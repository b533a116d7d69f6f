"""How a modem words what it says: framing by V, Q, S3 and S4, codes by X, and the lines around CONNECT by kind.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dialupd.at.results import NUMERIC, NUMERIC_RING, Final

from .carriers import Agreed
from .kinds import CallerForm, Style
from .settings import Settings

# Above 8 the makers differ; these are the ones most often seen.
_NUMBERS = {code: digits for digits, code in NUMERIC.items()} | {
    Final.VOICE: "12",
    Final.DELAYED: "24",
    Final.BLACKLISTED: "32",
    Final.FAX: "33",
    Final.LINE_IN_USE: "83",
    Final.DIGITAL_LINE: "84",
}
_LEVELS = {Final.BUSY: 3, Final.NO_DIALTONE: 2}
"""X2 knows the dial tone, X3 busy, X4 and what makers add above it both; elsewhere these are NO CARRIER."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; an empty number is withheld."""

    number: str
    name: str = ""


def information(settings: Settings, text: str) -> bytes:
    """A line that is no result code."""
    if settings.basic("Q") == 1:
        return b""
    end = _end(settings)
    return (end if settings.basic("V") else b"") + text.encode("latin-1", "replace") + end


def _end(settings: Settings) -> bytes:
    return bytes((settings.register(3) & 0x7F, settings.register(4) & 0x7F))


def coded(settings: Settings, verbose: str, digits: str) -> bytes:
    """A result code in the form that V asks for, nothing under Q1."""
    if settings.basic("Q") == 1:
        return b""
    if settings.basic("V"):
        return information(settings, verbose)
    return digits.encode("ascii") + _end(settings)[:1]


def result(settings: Settings, code: Final, detail: str = "") -> bytes:
    """A final result code; below its X level it is NO CARRIER."""
    code = heard(settings, code)
    return coded(settings, f"{code.value} {detail}" if detail else code.value, _NUMBERS[code])


def heard(settings: Settings, code: Final) -> Final:
    """What is left of a code at this X level."""
    level = settings.basic("X")
    if level < 4 and _LEVELS.get(code, level) != level:
        return Final.NO_CARRIER
    return code


def ring(settings: Settings, text: str, *, voice: bool) -> bytes:
    """RING, or what a phone makes of it under +CRC=1."""
    if settings.kind.phone and settings.extended("+CRC") == "1":
        text = "+CRING: VOICE" if voice else "+CRING: REL ASYNC"
    return coded(settings, text, NUMERIC_RING)


def caller_id(settings: Settings, caller: Caller, when: datetime) -> bytes:
    """The caller's number in the kind's form; empty while it is not asked for."""
    if settings.extended(settings.kind.caller_command) in ("", "0"):
        return b""
    if settings.kind.caller_form is CallerForm.CLIP:
        return information(settings, _clip(caller))
    # Conexant decodes nothing until the country fits the network, which is that of the USA here.
    if settings.extended("+GCI") not in ("", "B5"):
        return b""
    lines = [f"DATE = {when:%m%d}", f"TIME = {when:%H%M}", f"NMBR = {caller.number or 'P'}"]
    if caller.name:
        lines.append(f"NAME = {caller.name}")
    return b"".join(information(settings, line) for line in lines)


def _clip(caller: Caller) -> str:
    if not caller.number:
        return '+CLIP: "",128,,,,1'
    plan = 145 if caller.number.startswith("+") else 129
    return f'+CLIP: "{caller.number}",{plan},,,"{caller.name}",0'


def connect(settings: Settings, agreed: Agreed, port_rate: int) -> bytes:
    """CONNECT with all that goes before it."""
    before = b"".join(information(settings, line) for line in _reports(settings, agreed, port_rate))
    return before + coded(settings, f"CONNECT {_detail(settings, agreed, port_rate)}".rstrip(), "1")


def _reports(settings: Settings, agreed: Agreed, port_rate: int) -> list[str]:
    lines = []
    if settings.extended("+MR") not in ("", "0"):
        if agreed.modulation:
            lines.append(f"+MCR: {agreed.modulation}")
        lines.append(f"+MRR: {agreed.rate}")
    if settings.extended("+ER") == "1":
        lines.append(f"+ER: {'LAPM' if agreed.correction else 'NONE'}")
    if settings.extended("+DR") == "1":
        lines.append(f"+DR: {'V42B' if agreed.compression else 'NONE'}")
    if settings.extended("+ILRR") == "1":
        lines.append(f"+ILRR: {port_rate}")
    if settings.kind.style is Style.ROCKWELL and settings.basic("W") == 1:
        lines.append(f"CARRIER {agreed.rate}")
        lines.append(f"PROTOCOL: {'LAPM' if agreed.correction else 'NONE'}")
        lines.append(f"COMPRESSION: {'V.42 bis' if agreed.compression else 'NONE'}")
    return lines


def _detail(settings: Settings, agreed: Agreed, port_rate: int) -> str:
    if settings.basic("X") == 0:
        return ""
    match settings.kind.style:
        case Style.V250:
            return str(agreed.rate)
        case Style.ROCKWELL:
            return str(agreed.rate if settings.basic("W") == 2 else port_rate)
        case Style.USR:
            parts = [str(agreed.rate), "ARQ"] if agreed.correction else [str(agreed.rate)]
            if agreed.modulation:
                parts.append(agreed.modulation)
            if agreed.correction:
                parts.append("LAPM")
            if agreed.compression:
                parts.append("V42BIS")
            return "/".join(parts) if agreed.correction else f"{agreed.rate}/NONE"
        case Style.PHONE:
            return ""
