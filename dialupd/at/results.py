"""Result codes: the final ones that end a command, and the unsolicited ones that no command asked for.

Whole lines match, never parts of them: "CONNECTED TO BBS" is no CONNECT.  Verbose forms follow V.250 table 1 with the
vendors' additions; of the numeric (V0) forms only 0 to 8 are read, because above that the makers contradict each other
(24 is DELAYED, CONNECT 7200 or CONNECT 24000), so the base initialisation always forces `V1 Q0`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Final(Enum):
    """A result code that ends a command."""

    OK = "OK"
    CONNECT = "CONNECT"
    NO_CARRIER = "NO CARRIER"
    ERROR = "ERROR"
    NO_DIALTONE = "NO DIALTONE"
    BUSY = "BUSY"
    NO_ANSWER = "NO ANSWER"
    VOICE = "VOICE"
    FAX = "FAX"
    DELAYED = "DELAYED"
    BLACKLISTED = "BLACKLISTED"
    LINE_IN_USE = "LINE IN USE"
    DIGITAL_LINE = "DIGITAL LINE DETECTED"


@dataclass(frozen=True, slots=True)
class Result:
    """A final result code; `detail` is what follows it on its line ("33600" of "CONNECT 33600", a CME error's text)."""

    code: Final
    detail: str = ""


VERBOSE: dict[str, Final] = {
    "OK": Final.OK,
    "CONNECT": Final.CONNECT,
    "NO CARRIER": Final.NO_CARRIER,
    "ERROR": Final.ERROR,
    "NO DIALTONE": Final.NO_DIALTONE,
    "NO DIAL TONE": Final.NO_DIALTONE,
    "BUSY": Final.BUSY,
    "NO ANSWER": Final.NO_ANSWER,
    "VOICE": Final.VOICE,
    "FAX": Final.FAX,
    "+FCO": Final.FAX,
    "+FCON": Final.FAX,
    "+FCERROR": Final.FAX,
    "FCERROR": Final.FAX,
    "DELAYED": Final.DELAYED,
    "BLACKLISTED": Final.BLACKLISTED,
    "BLACKLIST FULL": Final.BLACKLISTED,
    "LINE IN USE": Final.LINE_IN_USE,
    "DIGITAL LINE DETECTED": Final.DIGITAL_LINE,
    "COMMAND NOT SUPPORT": Final.ERROR,
    "NA": Final.ERROR,
}

NUMERIC: dict[str, Final] = {
    "0": Final.OK,
    "1": Final.CONNECT,
    "3": Final.NO_CARRIER,
    "4": Final.ERROR,
    "6": Final.NO_DIALTONE,
    "7": Final.BUSY,
    "8": Final.NO_ANSWER,
}

NUMERIC_RING = "2"

# "DELAYED 00:01:30" and "DELAYED 5" name the wait; "+CME ERROR: 30" and its like name the error.
_DETAILED = re.compile(
    r"(?P<connect>CONNECT)[ /](?P<rate>\S.*)"
    r"|(?P<delayed>DELAYED) (?P<wait>[0-9:]+)"
    r"|(?:\+CM[ES] ERROR|\+EXT ERROR|MODEM ERROR|ERROR): ?(?P<error>.*)"
)
# What follows CONNECT must look like a rate or a protocol, or a host's banner would end our dialling.
_CONNECT_DETAIL = re.compile(r"(?:\d[\d.,]*|V\.?\d|LAPM|MNP|ARQ|GPRS|FAX|DATA|NONE|TELNET|REL|HST|\")", re.ASCII)


def final(line: str, *, numeric: bool = False) -> Result | None:
    """The result code that a whole line is, or None.  `numeric`: the modem insists on V0, read its digits as well."""
    text = line.strip()
    code = VERBOSE.get(text)
    if code is None and numeric:
        code = NUMERIC.get(text)
    if code is not None:
        return Result(code)
    match = _DETAILED.fullmatch(text)
    if match is None:
        return None
    if match["connect"]:
        return Result(Final.CONNECT, match["rate"]) if _CONNECT_DETAIL.match(match["rate"]) else None
    if match["delayed"]:
        return Result(Final.DELAYED, match["wait"])
    return Result(Final.ERROR, text)


# RING alone, `RING 1` and `RING A` (distinctive), `RING 5551212`, `RING;from;to` and `RING/to` (ISDN).
_RING = re.compile(r"RING(?:[ ;/][0-9A-Za-z+*#;/,:. ]{0,60})?", re.ASCII)
_CRING = re.compile(r"\+CRING: ?[A-Z][ -~]{0,80}", re.ASCII)


def is_ring(line: str, *, numeric: bool = False) -> bool:
    """Does the whole line announce an incoming ring, in any of its forms?"""
    text = line.strip()
    return bool(_RING.fullmatch(text) or _CRING.fullmatch(text) or (numeric and text == NUMERIC_RING))


# What phones, sticks and ringing lines say at any moment, also in the middle of another command's reply.
_UNSOLICITED = re.compile(
    r"\+CMTI:.*|\+CDSI:.*|\+CMT:.*|\+CDS:.*|\+CBM:.*|\+CCWA:.*|\+C[GE]?REG:.*|\+CSSU:.*|\+CLIP:.*|\+CDIP:.*|\+CRING:.*|\+CUSD:.*|\+CIEV:.*|\^[A-Z0-9]+:.*|\+Z[A-Z]+:.*"
    r"|RING|RRING|RINGING|DRON ?=.*|DROF ?=.*"
    r"|(?:DATE|TIME|NMBR|NAME|MESG|DDN_NMBR|NDID|ANID|NBR|NUMBER) ?= ?.*"
    r"|CALLER(?:'S)? N(?:AME|UMBER): ?.*|CALLED NUMBER: ?.*|CallerID: ?.*|Diverting number: ?.*|REASON FOR NO CALLER .*"
    r"|FM:.*|(?:80|04)(?:[0-9A-F]{2}){4,160}"
)
# The same words are information when the command asked for them ("AT+CREG?" is answered by "+CREG: 0,1").
_ASKED = re.compile(r"[+^#%*&\\]?[A-Z]+", re.ASCII)


def is_unsolicited(line: str, command: str = "") -> bool:
    """May the line come without being asked for?  `command` is the one in flight, whose own answer is no noise."""
    text = line.strip()
    if not (is_ring(text) or _UNSOLICITED.fullmatch(text)):
        return False
    name = text.partition(":")[0]
    return not (":" in text and _ASKED.fullmatch(name) is not None and name in command.upper())
