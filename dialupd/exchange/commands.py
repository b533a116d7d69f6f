"""A V.250 command line, cut into commands.  Pure.

What stands between `AT` and the carriage return is a row of basic commands (`E0`, `&C1`, `\\N3`, `S0=1`),
extended ones (`+MS=V34`, `#CID=1`; a `;` ends those), and perhaps a dial command, which takes the rest up to a
`;`.  They are given one by one, so that those before an error have been carried out, as V.250 section 5.2.2
wants it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Op(Enum):
    """What is done with an extended command."""

    ACT = ""
    SET = "="
    READ = "?"
    TEST = "=?"


@dataclass(frozen=True, slots=True)
class Basic:
    """`name` is a letter with its prefix (`E`, `&C`, `\\N`); `number` is 0 where none is given."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Register:
    """`Sn=v`, or `Sn?` where value is None."""

    number: int
    value: int | None


@dataclass(frozen=True, slots=True)
class Extended:
    """`name` carries its prefix: `+MS`, `#CID`, `%CCID`, `*ID`."""

    name: str
    op: Op
    value: str = ""


@dataclass(frozen=True, slots=True)
class Dial:
    """`text` is the dial string with its modifiers; `stay` is the `;` that goes back to command state."""

    text: str
    stay: bool


@dataclass(frozen=True, slots=True)
class Bad:
    """The rest of the line makes no sense: ERROR, and nothing after it is done."""

    text: str


Command = Basic | Register | Extended | Dial | Bad

_DIAL = re.compile(r"D(?P<text>[^;]*)(?P<stay>;?)")
_REGISTER = re.compile(r"S(?P<number>\d{1,3})(?:(?P<read>\?)|=(?P<value>\d{0,3}))", re.ASCII)
_BASIC = re.compile(r"(?P<name>[&\\%]?[A-Z])(?P<number>\d{0,5})", re.ASCII)
_PLUS = re.compile(r'(?P<name>\+[A-Z][A-Z0-9!%./:_-]*)(?P<op>=\?|\?|=|)(?P<value>(?:"[^"]*"|[^;"])*)(?:;|$)', re.ASCII)
# Vendors' commands may follow each other without a `;` ("#CLS=8#CID=1"), so their values are numbers only.
_VENDOR = re.compile(
    r"(?P<name>[#*][A-Z]+|[%-][A-Z]{2,})(?:(?P<op>=\?|\?|=)(?P<value>[0-9,]*)|(?P<number>\d*));?", re.ASCII
)


def parse(text: str) -> Iterator[Command]:
    """The commands of what follows AT; ends after the first `Bad`."""
    rest = _squeeze(text)
    while rest := rest.lstrip(";"):
        if match := _DIAL.match(rest):
            yield Dial(match["text"], bool(match["stay"]))
        elif match := _REGISTER.match(rest):
            yield Register(int(match["number"]), None if match["read"] else int(match["value"] or 0))
        elif match := _PLUS.match(rest):
            op = Op(match["op"])
            if op is not Op.SET and match["value"]:
                yield Bad(rest)
                return
            yield Extended(match["name"], op, match["value"])
        elif match := _VENDOR.match(rest):
            if match["op"] is not None:
                yield Extended(match["name"], Op(match["op"]), match["value"])
            elif match["number"]:
                yield Extended(match["name"], Op.SET, match["number"])
            else:
                yield Extended(match["name"], Op.ACT)
        elif match := _BASIC.match(rest):
            yield Basic(match["name"], int(match["number"] or 0))
        else:
            yield Bad(rest)
            return
        rest = rest[match.end() :]


def _squeeze(text: str) -> str:
    """Blanks and controls go and letters become capitals, except between quotes (V.250 section 5.2.1)."""
    parts = text.split('"')
    for index in range(0, len(parts), 2):
        parts[index] = "".join(char for char in parts[index] if char > " ").upper()
    return '"'.join(parts)


@dataclass(frozen=True, slots=True)
class DialPlan:
    """A dial string read: what is dialled after how many pauses, and in which mode."""

    number: str
    pauses: int
    reverse: bool


def read_dial(text: str) -> DialPlan:
    """T and P only say how; `,` pauses, `W @ !` wait; a closing R dials in answer mode (V.250 section 6.3.1)."""
    return DialPlan(
        number="".join(char for char in text if char in "0123456789*#+ABCD"),
        pauses=text.count(","),
        reverse=text.endswith("R"),
    )
