"""Caller identification, collected over the lines that come between rings.

Every maker words it in a way of its own; the forms are one table of patterns, each telling which field a whole line
carries.  The text comes from whoever calls: it is cut to length, holds printable characters only, and decides nothing
by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

MAX_NUMBER = 40
MAX_NAME = 60
"""Characters kept of a caller's number and name; ETSI EN 300 659-3 allows 20 digits and 50 characters."""


@dataclass(frozen=True, slots=True)
class CallerId:
    """What is known of a caller. `number` "" with a `withheld` reason: the caller or the network keeps it back."""

    number: str = ""
    name: str = ""
    called: str = ""
    date: str = ""
    time: str = ""
    withheld: str = ""
    service: str = ""


_WITHHELD = {
    "P": "private",
    "PRIVATE": "private",
    "O": "out of area",
    "OUT OF AREA": "out of area",
    "UNAVAILABLE": "unavailable",
}

_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("number", re.compile(r"(?:NMBR|DDN_NMBR|NBR|NUMBER|ANID) ?= ?(.*)")),
    ("number", re.compile(r"CALLER(?:'S)? NUMBER: ?(.*)")),
    ("number", re.compile(r"CallerID: ?(.*)")),
    ("name", re.compile(r"NAME ?= ?(.*)")),
    ("name", re.compile(r"CALLER NAME: ?(.*)")),
    ("called", re.compile(r"NDID ?= ?(.*)")),
    ("called", re.compile(r"CALLED NUMBER: ?(.*)")),
    ("date", re.compile(r"DATE ?= ?(\d{4})", re.ASCII)),
    ("time", re.compile(r"TIME ?= ?(\d{4})", re.ASCII)),
    ("withheld", re.compile(r"REASON FOR NO CALLER (?:NUMBER|NAME): ?(.*)")),
)
_FM = re.compile(r"FM:([^/ ]*)(?: ?/[^/]*/)?(?: TO:(\S*))?")
_RING_NUMBER = re.compile(r"RING (\+?\d{5,})|RING;([^;]*)(?:;(.*))?|RING/(.*)", re.ASCII)
# Number, type, sub-address and its type, name in the phone's book, validity (3GPP TS 27.007 section 7.11).
_CLIP = re.compile(r'\+CLIP: ?"([^"]*)"(?:,(\d*))?(?:,"?[^",]*"?,\d*)?(?:,(?:"([^"]*)"|([^",]*)))?(?:,(\d))?')
_INTERNATIONAL = "145"
_CLIP_VALIDITY = {"1": "private", "2": "unavailable"}
_CRING = re.compile(r"\+CRING: ?(.+)")
_RAW = re.compile(r"(?:80|04)(?:[0-9A-F]{2}){4,160}")


def collect(known: CallerId, line: str) -> CallerId:
    """What is known after one more line; the same value when the line says nothing of the caller."""
    text = line.strip()
    for field, pattern in _FORMS:
        if match := pattern.fullmatch(text):
            return _with(known, field, match[1].strip())
    if match := _CLIP.fullmatch(text):
        caller, kind, quoted, bare, validity = match.groups()
        if kind == _INTERNATIONAL and caller and not caller.startswith("+"):
            caller = f"+{caller}"
        known = _with(_with(known, "number", caller), "name", quoted or bare or "")
        return replace(known, withheld=known.withheld or _CLIP_VALIDITY.get(validity or "", ""))
    if match := _FM.fullmatch(text):
        return _with(_with(known, "number", match[1]), "called", match[2] or "")
    if match := _RING_NUMBER.fullmatch(text):
        known = _with(known, "number", match[1] or match[2] or "")
        return _with(known, "called", match[3] or match[4] or "")
    if match := _CRING.fullmatch(text):
        return replace(known, service=_printable(match[1], MAX_NUMBER))
    if _RAW.fullmatch(text):
        return _raw(known, bytes.fromhex(text))
    return known


def _with(known: CallerId, field: str, value: str) -> CallerId:
    if not value:
        return known
    if field in ("number", "name") and (reason := _WITHHELD.get(value.upper())):
        return replace(known, withheld=reason) if field == "number" else known
    match field:
        case "number" | "called":
            clean = re.sub(r"[^0-9A-Za-z+*#]", "", value)[:MAX_NUMBER]
            return replace(known, number=clean) if field == "number" else replace(known, called=clean)
        case "name":
            return replace(known, name=_printable(value, MAX_NAME))
        case "date":
            return replace(known, date=value)
        case "time":
            return replace(known, time=value)
        case _:
            return replace(known, withheld=_printable(value, MAX_NUMBER))


def _printable(text: str, length: int) -> str:
    return "".join(character for character in text if character.isprintable())[:length]


def _raw(known: CallerId, message: bytes) -> CallerId:
    """Read raw SDMF (04: date and number) or MDMF (80: typed parameters), Telcordia GR-30 and GR-1188."""
    kind, length = message[0], message[1]
    body = message[2 : 2 + length]
    if kind == 0x04:
        return _with(_dated(known, body[:8]), "number", body[8:].decode("latin-1"))
    while len(body) >= 2:
        parameter, size = body[0], body[1]
        value, body = body[2 : 2 + size], body[2 + size :]
        text = value.decode("latin-1")
        match parameter:
            case 0x01:
                known = _dated(known, value)
            case 0x02 | 0x04:
                known = _with(known, "number", text)
            case 0x03:
                known = _with(known, "called", text)
            case 0x07:
                known = _with(known, "name", text)
    return known


def _dated(known: CallerId, stamp: bytes) -> CallerId:
    text = stamp.decode("latin-1")
    if len(text) == 8 and text.isascii() and text.isdigit():
        return replace(known, date=text[:4], time=text[4:])
    return known
