"""How a fault in the configuration is told: file, dotted key, what was found, what is allowed, and the mend.

All faults of a reading are collected, because a person who mends one wants to know of the next.  What was found is
untrusted text: it is shown shortened and with nothing unprintable in it.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 60  # characters of a value or key that a message repeats
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    file: str
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.text) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says everything that is wrong with it, in the order of reading."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Wrong(Exception):
    """A value that its kind does not allow: pairs of where inside it ("" or "[2]") and what is wrong."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__(faults)
        self.faults = faults


def quoted(text: str) -> str:
    """The text in single quotes, printable and short."""
    if len(text) > SHOWN:
        text = text[:SHOWN] + "…"
    return "'" + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + "'"


def found(value: object) -> str:
    """How a message names a value that TOML gave."""
    match value:
        case str():
            return quoted(value)
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 64:
            return "a number beyond 64 bits"
        case int() | float():
            return f"the number {value}"
        case datetime.datetime() | datetime.date() | datetime.time():
            return f"the date or time {value}"
        case dict():
            return "a table"
        case list():
            return "a list"
    return f"a {type(value).__name__}"


def dotted(path: str, key: str) -> str:
    """The path of a key below `path`, quoted where TOML would want it."""
    name = key if _BARE_KEY.fullmatch(key) and len(key) <= SHOWN else quoted(key)
    return f"{path}.{name}" if path else name


def nearest(word: str, known: Iterable[str]) -> str:
    """The offer of the known word that comes nearest, to stand at the end of a message, or nothing."""
    close = difflib.get_close_matches(word[:SHOWN].lower(), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
