"""What holds for the whole source: the linters, the layers, and nothing left for later."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dialupd"
SOURCES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = sorted([*SOURCES, *(ROOT / "tests").rglob("*.py")])

# The lowest layer first: who stands in one may import from it and from those before it.
PURE = ("at", "states", "policy", "match", "config", "model", "radio", "events", "tagging")
LAYERS = (
    PURE,
    ("io",),
    (
        *("runtime", "units", "modem", "sessions", "inheritance", "system", "calls", "wishes"),
        *("fleet", "phones", "registry", "control", "sleep", "logs", "chronicle"),
    ),
    ("bus", "cli", "ctl", "daemon", "demo", "lean", "system_files", "helper", "__main__"),
)
# The simulator shares the language of modems with the product, and nothing of what the product does with it.
EXCHANGE_MAY = ("exchange", "at")
# No clock, no loop, no operating system.
IMPURE = {
    "asyncio", "os", "time", "io", "socket", "select", "selectors", "subprocess", "threading", "signal",
    "multiprocessing",
    "logging", "pathlib", "tempfile", "shutil", "random", "secrets", "sys", "termios", "fcntl", "serial",
    "pyudev", "dbus_next", "sqlite3", "contextvars", "concurrent", "ctypes", "locale", "getpass", "pwd",
}  # fmt: skip


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part(path: Path) -> str:
    """The part of the package that a file belongs to: `at`, `states`, …"""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, by its whole name."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """The parts of the package that a file imports from."""
    found = set()
    for name in imports(path):
        words = name.split(".")
        if words[0] == "dialupd" and len(words) > 1 and words[1] != "__version__":
            found.add(words[1])
    return found


def layer(name: str) -> int:
    return next(index for index, names in enumerate(LAYERS) if name in names)


def tool(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    output = done.stdout + done.stderr
    assert f"No module named {name}" not in output, f"{name} is not installed: pip install '.[test]'"
    assert done.returncode == 0, output


def test_ruff_check() -> None:
    tool("ruff", "check", "--no-cache", ".")


def test_ruff_format() -> None:
    tool("ruff", "format", "--check", "--no-cache", ".")


def test_mypy() -> None:
    tool("mypy", "--strict", "dialupd")


def test_every_part_has_its_layer() -> None:
    placed = {name for names in LAYERS for name in names} | {"exchange", "__init__"}
    assert {part(path) for path in SOURCES} <= placed, "a new part: say in LAYERS where it stands"
    assert placed <= {part(path) for path in SOURCES}, "a part is gone: take it out of LAYERS"


@pytest.mark.parametrize("path", [path for path in SOURCES if part(path) not in ("exchange", "__init__")], ids=place)
def test_imports_point_down(path: Path) -> None:
    mine = layer(part(path))
    # The demonstration plays both ends.
    up = {name for name in ours(path) if name != "exchange" and layer(name) > mine}
    assert not up, f"{path} imports from above: {up}"
    assert "exchange" not in ours(path) or part(path) == "demo", "the product knows nothing of the simulator"


@pytest.mark.parametrize("path", [path for path in SOURCES if part(path) in PURE], ids=place)
def test_the_pure_parts_are_pure(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path)}
    if path.name == "reference.py":
        tops.discard("sys")  # run as a command, it writes the page of the documentation
    assert not tops & IMPURE, f"{path} is pure and imports {tops & IMPURE}"
    names = {node.func.id for node in ast.walk(ast.parse(path.read_text())) if _called_by_name(node)}
    assert not re.search(r"\.(?:now|today|utcnow)\(", path.read_text()), "dates are values here, the clock is not"
    assert not names & {"open", "input", "print", "exec", "eval", "__import__"}


def _called_by_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("path", [path for path in SOURCES if part(path) == "exchange"], ids=place)
def test_the_exchange_stands_apart(path: Path) -> None:
    assert ours(path) <= set(EXCHANGE_MAY), path


def test_nobody_but_the_owner_moves_a_modem_s_state() -> None:
    callers = [path for path in SOURCES if re.search(r"\bmodem_next\(", path.read_text())]
    assert [path.relative_to(PACKAGE).as_posix() for path in callers] == ["modem/owner.py", "states.py"]


@pytest.mark.parametrize("path", EVERYTHING, ids=place)
def test_nothing_is_left_for_later(path: Path) -> None:
    word = "TO" + "DO"
    found = re.search(rf"\b(?:{word}|FIX{'ME'}|X{'XX'})\b", path.read_text())
    assert found is None, f"{path}: {found}"


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_every_module_says_how_it_works(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), path


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_only_the_edge_of_a_modem_catches_everything(path: Path) -> None:
    """Nobody swallows what he does not know."""
    broad = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    ]
    allowed = {"fleet.py"}
    assert not broad or path.name in allowed or part(path) == "bus", f"{path}: {broad}"
