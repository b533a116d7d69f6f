"""What CONNECT and the lines before it tell of the line.

The rate behind CONNECT may be the port's, not the line's, and only the modem knows which; so a rate that a modulation
report or a `CARRIER` line gives wins, a plain number that no telephone line can carry is the port's, and what nobody
said stays unknown.  Sources: V.250 sections 6.4 to 6.6 (+MCR +MRR +ER +DR +ILRR), Rockwell/Conexant `CARRIER PROTOCOL
COMPRESSION`, USRobotics `28800/ARQ/V34/LAPM/V42BIS`, ZyXEL, Agere and slmodemd forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_LINE_RATE = 56000
"""bit/s; the fastest modem on a telephone line (V.92). What is above is the port's rate, or a packet bearer's."""


@dataclass(frozen=True, slots=True)
class Connection:
    """The connected line: rates in bit/s, 0 unknown; names as the modem gave them, "" unknown."""

    line_rate: int = 0
    port_rate: int = 0
    modulation: str = ""
    error_control: str = ""
    compression: str = ""


CARRIERS = {
    "B103": "Bell 103",
    "B212": "Bell 212A",
    "V21": "V.21",
    "V22": "V.22",
    "V22B": "V.22bis",
    "V23C": "V.23",
    "V32": "V.32",
    "V32B": "V.32bis",
    "V34": "V.34",
    "K56": "K56flex",
    "V90": "V.90",
    "V92": "V.92",
}
_MODULATIONS = {name.replace("-", "").upper(): value for name, value in CARRIERS.items()} | {
    "V22BIS": "V.22bis",
    "V32BIS": "V.32bis",
    "V34+": "V.34",
    "HST": "HST",
    "X2": "x2",
}
_ERROR_CONTROL = {
    "ARQ": "ARQ",
    "LAPM": "LAPM",
    "LAP-M": "LAPM",
    "V42": "LAPM",
    "MNP": "MNP",
    "ALT": "MNP",
    "ALT-CELLULAR": "MNP 10",
    "MNP4": "MNP 4",
    "MNP10": "MNP 10",
    "NONE": "none",
    "NOEC": "none",
}
_COMPRESSION = {
    "V42BIS": "V.42bis",
    "V42B": "V.42bis",
    "V44": "V.44",
    "MNP5": "MNP 5",
    "ALT": "MNP 5",
    "CLASS5": "MNP 5",
    "NONE": "none",
}
_REPORT = re.compile(
    r"(?:\+(?P<v250>MCR|MRR|ER|DR|ILRR)|(?P<plain>CARRIER|PROTOCOL|COMPRESSION|Modulation|Protocol|Compression|TxRate))"
    r"(?::\s*|\s+)(?P<value>.{1,60})"
)
_FIELD = {
    "MCR": "modulation",
    "Modulation": "modulation",
    "MRR": "line_rate",
    "CARRIER": "line_rate",
    "TxRate": "line_rate",
    "ER": "error_control",
    "PROTOCOL": "error_control",
    "Protocol": "error_control",
    "DR": "compression",
    "COMPRESSION": "compression",
    "Compression": "compression",
    "ILRR": "port_rate",
}


def connection(detail: str, reports: Iterable[str]) -> Connection:
    """Read the text behind CONNECT and the lines that came before it; what makes no sense is left out."""
    found: dict[str, str] = {}
    rates: dict[str, int] = {}
    for line in reports:
        match = _REPORT.fullmatch(line.strip())
        if match is None:
            continue
        field = _FIELD[match["v250"] or match["plain"]]
        value = match["value"].strip()
        if field in ("line_rate", "port_rate"):
            if rate := _rate(value):
                rates[field] = rate
        else:
            found[field] = _name(field, value)
    _read_detail(detail, found, rates)
    return Connection(
        rates.get("line_rate", 0),
        rates.get("port_rate", 0),
        found.get("modulation", ""),
        found.get("error_control", ""),
        found.get("compression", ""),
    )


def _read_detail(detail: str, found: dict[str, str], rates: dict[str, int]) -> None:
    words = re.split(r"[/ ]+", detail.strip())
    if words and (rate := _rate(words[0])):
        field = "line_rate" if rate <= MAX_LINE_RATE and "line_rate" not in rates else "port_rate"
        rates.setdefault(field, rate)
        words = words[1:]
    for word in words:
        key = word.replace(".", "").upper()
        if key in _MODULATIONS:
            found.setdefault("modulation", _MODULATIONS[key])
        elif key in _COMPRESSION and key != "NONE":
            found.setdefault("compression", _COMPRESSION[key])
        elif key in _ERROR_CONTROL:
            found.setdefault("error_control", _ERROR_CONTROL[key])
        elif rate := _rate(word):  # ZyXEL: "38400/V.32bis 14400/V.42bis": the second number is the line's
            if rates.get("line_rate"):
                rates["port_rate"] = rates["line_rate"]
            rates["line_rate"] = rate


def _rate(text: str) -> int:
    digits = re.match(r"\d{2,9}", text.replace(",", " "), re.ASCII)
    return int(digits[0]) if digits else 0


def _name(field: str, value: str) -> str:
    key = value.upper().replace(".", "").split(",")[0]
    compact = key.replace(" ", "")
    if field == "modulation":
        return _MODULATIONS.get(compact, value[:20])
    if field == "error_control":
        return _ERROR_CONTROL.get(compact, value[:20])
    return _COMPRESSION.get(compact, _COMPRESSION.get(key.split(" ")[0], value[:20]))
