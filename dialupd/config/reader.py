"""Typed access to one table: get a setting, and hear at once about everything that is wrong with the table.

A reader tells unknown and missing keys when it is made, and wrong values as they are asked for.  `get` never fails: in
place of a wrong value it answers with the default, and the problems keep the whole from being used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from dialupd.config.kinds import LATER
from dialupd.config.problems import Problem, Wrong, dotted, nearest
from dialupd.config.settings import Section, Setting, SubTable
from dialupd.config.sources import Leaf, Table

T = TypeVar("T")


class Reader:
    """Reads `table` as the section says; `of` says to what the keys belong, where that is not plain from the path."""

    def __init__(self, table: Table, section: Section, problems: list[Problem], of: str = "") -> None:
        self._table = table
        self._problems = problems
        known = {setting.key: setting for setting in section.settings}
        for key, item in table.items.items():
            if key in section.later:
                self._tell(item.file, key, LATER)
            elif key not in known:
                text = f"is not a known key{of}{nearest(key, known)}"
                self._tell(item.file, key, text)
        for setting in section.settings:
            if setting.required and setting.key not in table.items:
                self._tell(table.file, "", f"needs the key '{setting.key}': {setting.help}")

    def _tell(self, file: str, key: str, text: str) -> None:
        self._problems.append(Problem(file, dotted(self._table.path, key) if key else self._table.path, text))

    def has(self, setting: Setting[object] | SubTable) -> bool:
        return setting.key in self._table.items

    def get(self, setting: Setting[T]) -> T:
        item = self._table.items.get(setting.key)
        if item is None:
            return setting.default
        try:
            return setting.kind.read(_plain(item))
        except Wrong as wrong:
            for where, text in wrong.faults:
                self._problems.append(Problem(item.file, dotted(self._table.path, setting.key) + where, text))
            return setting.default

    def table(self, key: str) -> Table:
        """The table below this one, empty if it is missing or no table."""
        item = self._table.items.get(key)
        if isinstance(item, Table):
            return item
        if item is not None:
            self._tell(item.file, key, "is not a table; write { key = value, … }")
        return Table(self._table.file, dotted(self._table.path, key))

    def tell(self, setting: Setting[object] | SubTable, text: str) -> None:
        """A problem with what the setting says together with others."""
        self._problems.append(self.problem(setting, text))

    def problem(self, setting: Setting[object] | SubTable, text: str) -> Problem:
        item = self._table.items.get(setting.key)
        path = dotted(self._table.path, setting.key) if item else self._table.path
        return Problem(item.file if item else self._table.file, path, text)

    def check_effect(self, section: Section, decided: str) -> None:
        """Tell the keys that have no effect with what the deciding key says."""
        for setting in section.settings:
            if setting.only and decided not in setting.only and self.has(setting):
                wanted = " or ".join(f'"{value}"' for value in setting.only)
                self.tell(setting, f'has no effect with {section.decider} = "{decided}"; it is for {wanted}')


def _plain(item: Leaf | Table) -> object:
    """What TOML gave, for kinds that take a whole table."""
    return item.value if isinstance(item, Leaf) else {key: _plain(below) for key, below in item.items.items()}


def keys(section: Section) -> Iterator[str]:
    return (setting.key for setting in section.settings)
