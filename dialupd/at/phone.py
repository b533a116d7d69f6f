"""What a mobile phone tells of itself and of its calls: 3GPP TS 27.007, sections 7.18, 8.1, 8.4, 8.5, 8.9 and 8.10.

Every function takes what the phone has said, whatever that is, and answers None or "unknown" to what it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN_SIGNAL = 0
UNKNOWN_BATTERY = -1

WEAKEST, STRONGEST = -113, -51
"""dBm of +CSQ 0 ("or less") and 31 ("or more"); a step is 2 dB."""

REPORTED = ("battchg", "signal")
"""The indicators of +CIND that are of use here."""

_CSQ = re.compile(r"(?:\+CSQ: ?)?(\d{1,3})(?:,\d{1,3})?", re.ASCII)
# The charge is followed by millivolts on some; a voltage alone ("+CBC: 3.891V") is no charge.
_CBC = re.compile(r"(?:\+CBC: ?)?(\d),(\d{1,3})(?:,\d{1,5})?", re.ASCII)
_ABSENT = ("2", "3")
"""First field of +CBC: no battery is connected; a power fault. Its charge means nothing then."""
# One that cannot be used is an indicator all the same: the places of those behind it count.
_INDICATOR = re.compile(r'\("?([^"()]*)"?,\(([^()]*)\)\)', re.ASCII)
_VALUES = re.compile(r"[0-9,-]{1,64}", re.ASCII)
_EVENT = re.compile(r"\+CIEV: ?(\d{1,2}),(\d{1,3})", re.ASCII)
_CLCC = re.compile(r"\+CLCC: ?\d{1,2},([01]),([0-6]),(\d)(?:,.*)?", re.ASCII)
_SPOKEN = ("0", "3", "4", "5", "9")
"""Modes of +CLCC: voice, a call that may turn into one of data or fax and is voice still, and not known."""
_NUMBER = re.compile(r'"([^"]*)"')
_ENOUGH = 6
"""Digits at the end by which a number is known: a network tells it with prefixes that were not dialled."""
_CPAS = re.compile(r"\+CPAS: ?(\d{1,3})", re.ASCII)
_DATA = re.compile(r"\+CRING: ?(?:REL )?A?SYNC(?:,.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Indicator:
    """One of the indicators whose changes +CIEV tells by their place in the answer to +CIND=?, counted from 1.

    `most` is its highest value, 0 for one that cannot be read.
    """

    name: str
    most: int


def signal_dbm(text: str) -> int:
    """The field strength that an answer to +CSQ tells; 0: not known."""
    match = _CSQ.fullmatch(text.strip())
    steps = int(match[1]) if match else 99
    return WEAKEST + 2 * steps if steps <= 31 else UNKNOWN_SIGNAL


def battery_percent(text: str) -> int:
    """The charge that an answer to +CBC tells; -1: not known."""
    match = _CBC.fullmatch(text.strip())
    if match is None or match[1] in _ABSENT or int(match[2]) > 100:
        return UNKNOWN_BATTERY
    return int(match[2])


def indicators(text: str) -> tuple[Indicator, ...]:
    """What an answer to +CIND=? names, in order."""
    found = []
    for match in _INDICATOR.finditer("".join(text.split())):
        values = re.findall(r"[0-9]{1,3}", match[2]) if _VALUES.fullmatch(match[2]) else ()
        name = match[1].lower() if match[1].isprintable() else ""
        found.append(Indicator(name, max(map(int, values), default=0)))
    return tuple(found)


def event(text: str, known: tuple[Indicator, ...]) -> tuple[Indicator, int] | None:
    """The indicator that has changed, and its value from 0 to its most."""
    match = _EVENT.fullmatch(text.strip())
    if match is None or not 0 < int(match[1]) <= len(known):
        return None
    indicator, value = known[int(match[1]) - 1], int(match[2])
    return (indicator, value) if indicator.most and value <= indicator.most else None


def estimate(known: int, indicator: Indicator, value: int, lowest: int, highest: int) -> int:
    """What the value of an indicator is on a scale between these two; what is `known` stays if it is that bar too."""
    step = (highest - lowest) / indicator.most
    told = lowest + value * step
    return known if abs(known - told) <= step / 2 else round(told)


def is_data_ring(text: str) -> bool:
    """Does a phone's ring announce a data call?  One for a person, a fax or a packet context must not be answered."""
    return _DATA.fullmatch(text.strip()) is not None


def placed_voice(line: str) -> bool:
    """Does a line of +CLCC tell of a voice call that was placed here and is up or on its way?  One on hold is older."""
    return _placed(line, ("0", "2", "3"))


def placing_voice(line: str) -> bool:
    """The same of one on its way only: not of a talk that the phone's owner may be having."""
    return _placed(line, ("2", "3"))


def may_be_spoken(number: str) -> bool:
    """May a phone make a voice call of this dial string?  *99# is a service, #31# may stand before a number."""
    return not (number.startswith(("*", "#")) and number.rstrip(",W@").endswith("#"))


def placed_to(line: str, number: str) -> bool:
    """Is it the voice call that was placed here to `number`?  Where that or the phone's is not told: one on its way."""
    told = _NUMBER.search(line)
    wanted, called = _digits(number), _digits(told[1] if told else "")
    if not wanted or not called:
        return placing_voice(line)
    same = wanted == called or (len(called) >= _ENOUGH and wanted[-_ENOUGH:] == called[-_ENOUGH:])
    return same and placed_voice(line)


def _digits(number: str) -> str:
    """What is called of a dial string, or "" where some of it is masked: behind a pause come tones."""
    called = re.split("[,W@]", number)[0]
    return "" if "x" in called else re.sub("[^0-9]", "", called)


def _placed(line: str, stages: tuple[str, ...]) -> bool:
    match = _CLCC.fullmatch("".join(line.split()))
    return match is not None and match[1] == "0" and match[2] in stages and match[3] in _SPOKEN


def in_call(lines: Iterable[str]) -> bool | None:
    """Does an answer to +CPAS tell of a call in progress?  None: it does not say."""
    for line in lines:
        if match := _CPAS.fullmatch(line.strip()):
            return match[1] == "4"
    return None
