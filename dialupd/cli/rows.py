"""Objects of the bus and rows of the history as plain values.

Both carry the same names, CamelCase as properties and kebab-case as keys; here everything is kebab-case, as `--json`
prints it.  Object paths become what a person knows: a modem's id, a call's number (0 for none).  What comes from the
bus is not trusted to have the documented type: the readers below answer "" or 0 where it has not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

Plain = str | int | list[str]
Row = Mapping[str, Plain]
Json = str | int | Sequence["Json"] | Mapping[str, "Json"]
"""What `--json` prints."""

CALL_PREFIX = "/org/dialupd1/call/"

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def kebab(name: str) -> str:
    """`StateSince` becomes `state-since`."""
    return _HUMP.sub("-", name).lower()


def call_number(path: str) -> int:
    """The number in a call's object path; 0 for "/" and for anything else."""
    tail = path.removeprefix(CALL_PREFIX)
    return int(tail) if tail != path and tail.isascii() and tail.isdigit() else 0


def plain(value: object) -> Plain:
    """A value of the bus without its surprises: a boolean is 0 or 1, a list is one of texts."""
    match value:
        case bool() | int():
            return int(value)
        case str():
            return value
        case list() | tuple():
            return [str(item) for item in value]
        case _:
            return str(value)


def row(properties: Mapping[str, object]) -> dict[str, Plain]:
    """Properties or a history row under kebab-case keys, in the order given."""
    return {kebab(name): plain(value) for name, value in properties.items()}


def text(of: Row, key: str) -> str:
    value = of.get(key, "")
    return value if isinstance(value, str) else ""


def number(of: Row, key: str, unknown: int = 0) -> int:
    value = of.get(key, unknown)
    return value if isinstance(value, int) else unknown


def texts(of: Row, key: str) -> Sequence[str]:
    value = of.get(key, [])
    return value if isinstance(value, list) else []


def called(modem: Row) -> str:
    """What a person calls this modem: the name it was given, or its id."""
    return text(modem, "name") or text(modem, "id")


def by_name(modems: Iterable[Row]) -> list[Row]:
    return sorted(modems, key=lambda modem: (called(modem), text(modem, "id")))
