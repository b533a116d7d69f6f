"""What a modem has been told: basic settings, S-registers, extended settings, and the profile that `&W` keeps.  Pure.

`apply` carries out every command that only reads or changes settings; those that touch the line (A, D, H, O, Z)
are the modem's, by orders.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .carriers import RATES, Ability
from .commands import Basic, Extended, Op, Register
from .kinds import Kind, Setting, Style

# Basic settings: default and highest value.  Most change nothing here but must be taken, as any init string has some.
_BASICS: dict[str, tuple[int, int]] = {
    "E": (1, 1), "V": (1, 1), "Q": (0, 2), "X": (4, 7), "W": (0, 2), "L": (1, 3), "M": (1, 3), "N": (1, 1), "T": (0, 0),
    "P": (0, 0), "Y": (0, 1), "&C": (1, 1), "&D": (2, 3), "&G": (0, 2), "&J": (0, 1), "&K": (3, 6), "&L": (0, 1),
    "&P": (0, 3), "&R": (0, 1), "&S": (0, 1), "&T": (0, 9), "&X": (0, 2), "&Y": (0, 1), "\\A": (1, 3), "\\J": (0, 1),
    "\\K": (5, 5), "\\N": (3, 7), "\\Q": (3, 6), "\\T": (0, 90),
}  # fmt: skip
_REGISTERS = {2: 43, 3: 13, 4: 10, 5: 8, 6: 2, 7: 50, 8: 2, 9: 6, 10: 14, 11: 95, 12: 50, 25: 5, 38: 20}
_LAST_REGISTER = 110
_READ_ONLY = frozenset({1})

_UNCORRECTED = ("0", "1")
"""First field of +ES that means no error control: direct and buffered mode."""


@dataclass(slots=True)
class _Profile:
    basics: dict[str, int]
    registers: dict[int, int]
    extended: dict[str, str]

    def copy(self) -> _Profile:
        return _Profile(dict(self.basics), dict(self.registers), dict(self.extended))


class Settings:
    """One modem's settings."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._now = self._factory()
        self._stored = self._now.copy()
        self.rings = 0
        """S1: rings of the present call."""

    def _factory(self) -> _Profile:
        return _Profile(
            basics={name: default for name, (default, _) in _BASICS.items()},
            registers=dict(_REGISTERS),
            extended={name: item.default for name, item in self.kind.extended.items() if item.bare is None},
        )

    def factory(self) -> None:
        """&F"""
        self._now = self._factory()

    def recall(self) -> None:
        """Z, and power on"""
        self._now = self._stored.copy()

    def basic(self, name: str) -> int:
        """The value of a basic setting such as `E` or `&C`; 0 for one that this kind lacks."""
        return self._now.basics.get(name, 0)

    def register(self, number: int) -> int:
        """The value of an S-register."""
        return self.rings if number == 1 else self._now.registers.get(number, 0)

    def extended(self, name: str) -> str:
        """The value of an extended setting; empty for one that this kind lacks."""
        return self._now.extended.get(name, "")

    def set_register(self, number: int, value: int) -> None:
        """For what a modem changes by itself, such as S0 at power on."""
        self._now.registers[number] = value

    def apply(self, command: Basic | Register | Extended) -> tuple[str, ...] | None:
        """Carry it out: lines to say (often none), or None for ERROR."""
        match command:
            case Basic():
                return self._basic(command)
            case Register():
                return self._register(command)
            case Extended():
                return self._extended(command)

    def _basic(self, command: Basic) -> tuple[str, ...] | None:
        name, number = command.name, command.number
        if name == "I":
            return self.kind.info.get(number)
        if name == "&F":
            self.factory()
        elif name == "&W":
            if number > 1:
                return None
            self._stored = self._now.copy()
        elif name == "&V":
            return self._show()
        elif name in _BASICS:
            if number > _BASICS[name][1]:
                return None
            self._now.basics[name] = number
        elif name not in self.kind.basics:
            return None
        return ()

    def _register(self, command: Register) -> tuple[str, ...] | None:
        if command.number > _LAST_REGISTER:
            return None
        if command.value is None:
            return (f"{self.register(command.number):03d}",)
        if command.value > 255 or command.number in _READ_ONLY:
            return None
        self._now.registers[command.number] = command.value
        return ()

    def _extended(self, command: Extended) -> tuple[str, ...] | None:
        item = self.kind.extended.get(command.name)
        if item is None:
            return None
        # Fax commands answer with the bare value (T.32 section 8.2.1).
        prefix = "" if command.name.startswith("+F") else f"{command.name}: "
        match command.op:
            case Op.TEST:
                return () if item.test is None else (prefix + item.test,)
            case Op.READ:
                if item.bare is not None:
                    return (item.bare,) if not item.bare.startswith("+") else None
                return (prefix + self.extended(command.name),)
            case Op.SET:
                return self._set(command, item)
            case Op.ACT:
                return None if item.bare is None else tuple(item.bare.split("\n"))

    def _set(self, command: Extended, item: Setting) -> tuple[str, ...] | None:
        if item.takes is None or not re.fullmatch(item.takes, command.value, re.ASCII):
            return None
        modulation = command.value.partition(",")[0]
        if command.name == "+MS" and modulation and modulation not in RATES:
            return None
        if command.name != "+CPIN":
            self._now.extended[command.name] = command.value
        return ()

    def _show(self) -> tuple[str, ...]:
        basics = " ".join(f"{name}{value}" for name, value in self._now.basics.items())
        registers = " ".join(f"S{number:02d}:{value:03d}" for number, value in self._now.registers.items())
        return ("ACTIVE PROFILE:", basics, registers)

    def ability(self) -> Ability:
        """What this modem may agree to, by +MS, +ES, +DS and \\N."""
        modulation, rate = self.kind.modulation, self.kind.rate
        name, *rest = self.extended("+MS").split(",")
        if name:
            modulation, rate = name, min(rate, RATES[name])
        if len(rest) > 2 and rest[2].isdigit() and int(rest[2]):
            rate = min(rate, int(rest[2]))
        errors = self.extended("+ES").partition(",")[0]
        correction = self.basic("\\N") not in (0, 1) and errors not in _UNCORRECTED
        compression = self.extended("+DS").partition(",")[0] != "0" and self.kind.style is not Style.PHONE
        return Ability(modulation, rate, correction, compression)
