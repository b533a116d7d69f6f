"""From the texts of the files to one tree in which every value knows its file.

The files are laid over each other in the order given: tables come together key by key, `[[modem]]` entries line up one
after the other.  A value that two files give is an error that names both, because which of them counts would otherwise
hang on the names of the files.  `modem[2]` is the second entry of its own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import tomli

from dialupd.config.problems import Problem, dotted, found, nearest
from dialupd.config.settings import TOP

SIZE_LIMIT = 1 << 20  # bytes of one file


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value, and where it was written."""

    file: str
    value: object


@dataclass(slots=True)
class Table:
    """A table; `file` is the first that wrote it, `path` its dotted name."""

    file: str
    path: str
    items: dict[str, Leaf | Table] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """Everything that was written, in order."""

    daemon: Table | None = None
    modems: list[Table] = field(default_factory=list)
    policies: dict[str, Table] = field(default_factory=dict)
    sessions: dict[str, Table] = field(default_factory=dict)


def as_table(file: str, path: str, value: dict[str, object]) -> Table:
    """A tree of tables out of plain ones; tables within lists stay plain."""
    table = Table(file, path)
    for key, item in value.items():
        place = dotted(path, key)
        table.items[key] = as_table(file, place, item) if isinstance(item, dict) else Leaf(file, item)
    return table


def _parse(file: str, text: bytes, problems: list[Problem]) -> dict[str, object]:
    try:
        if len(text) > SIZE_LIMIT:
            problems.append(Problem(file, "", f"has {len(text)} bytes; a configuration has at most {SIZE_LIMIT}"))
            return {}
        return tomli.loads(text.decode())
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        problems.append(Problem(file, "", f"line {line} is not UTF-8 text: byte 0x{text[error.start]:02x}"))
    except tomli.TOMLDecodeError as error:
        problems.append(Problem(file, "", f"is not TOML: {error}"))
    except RecursionError:
        problems.append(Problem(file, "", "is nested too deep"))
    except ValueError:
        # the interpreter refuses to read decimal numbers of thousands of digits, and tomli passes that on
        problems.append(Problem(file, "", "is not TOML: it holds a number that is too long"))
    return {}


def _merge(into: Table, more: Table, problems: list[Problem]) -> None:
    for key, item in more.items.items():
        there = into.items.get(key)
        if there is None:
            into.items[key] = item
        elif isinstance(there, Table) and isinstance(item, Table):
            _merge(there, item, problems)
        else:
            text = f"is given in {there.file} already; keep one of the two"
            problems.append(Problem(item.file, dotted(into.path, key), text))


def _named(file: str, kind: str, value: object, into: dict[str, Table], problems: list[Problem]) -> None:
    """The tables below `[policy]` or `[session]`."""
    if not isinstance(value, dict):
        problems.append(Problem(file, kind, f"{found(value)} is not a table; write [{kind}.NAME]"))
        return
    for name, item in value.items():
        path = dotted(kind, name)
        if not isinstance(item, dict):
            problems.append(Problem(file, path, f"{found(item)} is not a table; write [{kind}.NAME], then its keys"))
        elif name in into:
            _merge(into[name], as_table(file, path, item), problems)
        else:
            into[name] = as_table(file, path, item)


def _modems(file: str, value: object, into: list[Table], problems: list[Problem]) -> None:
    if not isinstance(value, list):
        problems.append(Problem(file, "modem", f"{found(value)} is not a list of tables; write [[modem]]"))
        return
    for place, item in enumerate(value, 1):
        path = f"modem[{place}]"
        if isinstance(item, dict):
            into.append(as_table(file, path, item))
        else:
            problems.append(Problem(file, path, f"{found(item)} is not a table; write [[modem]], then its keys"))


def read(files: Sequence[tuple[str, bytes]], problems: list[Problem]) -> Tree:
    """The tree of all files; what is wrong with them as TOML, or in their outermost shape, is added to `problems`."""
    tree = Tree()
    for file, text in files:
        try:
            _lay(file, _parse(file, text, problems), tree, problems)
        except RecursionError:
            problems.append(Problem(file, "", "is nested too deep"))
    return tree


def _lay(file: str, document: dict[str, object], tree: Tree, problems: list[Problem]) -> None:
    for key, value in document.items():
        match key:
            case "daemon" if isinstance(value, dict):
                table = as_table(file, key, value)
                if tree.daemon is None:
                    tree.daemon = table
                else:
                    _merge(tree.daemon, table, problems)
            case "daemon":
                problems.append(Problem(file, key, f"{found(value)} is not a table; write [daemon]"))
            case "modem":
                _modems(file, value, tree.modems, problems)
            case "policy":
                _named(file, key, value, tree.policies, problems)
            case "session":
                _named(file, key, value, tree.sessions, problems)
            case _:
                text = f"is not a known key; there are {', '.join(TOP)}{nearest(key, TOP)}"
                problems.append(Problem(file, dotted("", key), text))
