"""From the values of the model to the values of the bus.

One rule names everything: the field `sys_path` is the property `SysPath` and the key `sys-path`.  Which fields are
published, and with which type, the interface XML says; an integer or identifier under the type `o` becomes the path
of its object.  Whatever a device or a far end put into a value, the result can be sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from dialupd.bus.interface import Emits, Interface
from dialupd.bus.wire import Variant
from dialupd.model import CallView, ModemView

NAME: Final = "org.dialupd1"
ROOT: Final = "/org/dialupd1"
MANAGER: Final = "org.dialupd1.Manager"
MODEM: Final = "org.dialupd1.Modem"
CALL: Final = "org.dialupd1.Call"
NO_OBJECT: Final = "/"

_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_]")
_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")
_RANGES: Final = {"i": (-0x80000000, 0x7FFFFFFF), "u": (0, 0xFFFFFFFF), "t": (0, 0xFFFFFFFFFFFFFFFF)}

View = ModemView | CallView


def modem_path(modem_id: str) -> str:
    """A byte that no object path may hold stands as `_` and two hex digits."""
    safe = _UNSAFE.sub(lambda match: b"_%02x" % match[0][0], modem_id.encode("utf-8", "replace"))
    return f"{ROOT}/modem/{safe.decode('ascii') or '_'}"


def modem_id(text: str) -> str:
    """A modem's Id, given that or its object path."""
    return text.removeprefix(f"{ROOT}/modem/")


def call_path(call: int) -> str:
    return f"{ROOT}/call/{call}" if call > 0 else NO_OBJECT


def encode(signature: str, value: Any) -> Any:
    """A value of the model as the bus library wants it under that type."""
    match signature:
        case "o":
            return call_path(value) if isinstance(value, int) else modem_path(value)
        case "i" | "u" | "t":
            lowest, highest = _RANGES[signature]
            return max(lowest, min(int(value), highest))
        case "as":
            return [str(item) for item in value]
        case "s":
            return str(value)
        case _:
            raise ValueError(f"no value of a view has the type {signature}")


class ViewTable:
    """The published fields of one kind of view."""

    def __init__(self, view: type[View], interface: Interface) -> None:
        known = {item.name for item in fields(view)}
        self._columns: list[tuple[str, str, str, Emits]] = []
        for item in interface.properties.values():
            field = _CAPITAL.sub("_", item.name).lower()
            if field not in known:
                raise ValueError(f"{interface.name}.{item.name} has no field {field} in {view.__name__}")
            self._columns.append((field, item.name, item.signature, item.emits))

    def properties(self, view: View) -> dict[str, Variant]:
        return self._variants(view, [name for _, name, _, _ in self._columns])

    def row(self, view: View) -> dict[str, Variant]:
        """All properties under their kebab-case names."""
        return {
            field.replace("_", "-"): Variant(signature, encode(signature, getattr(view, field)))
            for field, _, signature, _ in self._columns
        }

    def changes(self, old: View, new: View) -> dict[str, Variant]:
        """What PropertiesChanged carries."""
        return self._variants(new, self._differing(old, new, Emits.VALUE))

    def is_another(self, old: View, new: View) -> bool:
        """Whether something changed that never changes while an object stands."""
        return bool(self._differing(old, new, Emits.CONST))

    def _differing(self, old: View, new: View, emits: Emits) -> list[str]:
        return [
            name for field, name, _, how in self._columns if how is emits and getattr(old, field) != getattr(new, field)
        ]

    def _variants(self, view: View, names: Iterable[str]) -> dict[str, Variant]:
        wanted = set(names)
        return {
            name: Variant(signature, encode(signature, getattr(view, field)))
            for field, name, signature, _ in self._columns
            if name in wanted
        }


def ring_info(info: Mapping[str, str | int]) -> dict[str, Variant]:
    """The dictionary of the signal Ringing."""
    return {
        key: Variant("u", encode("u", value)) if isinstance(value, int) else Variant("s", value)
        for key, value in info.items()
    }
