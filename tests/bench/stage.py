"""What every case is given, and the configurations that they share."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.programs import Missed
from tests.sim.private_bus import PrivateBus, private_bus


@dataclass(frozen=True, slots=True)
class Stage:
    """How thorough the run is."""

    quick: bool

    def rounds(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @contextlib.contextmanager
    def place(self) -> Iterator[tuple[Path, PrivateBus]]:
        """A directory and a bus for one set of programs."""
        with tempfile.TemporaryDirectory(prefix="dialupd-bench-") as directory, private_bus() as bus:
            yield Path(directory), bus


def entries(paths: Iterable[str], policy: str = "") -> str:
    """A [[modem]] for each tty."""
    follows = f'policy = "{policy}"\n' if policy else ""
    return "".join(
        f'[[modem]]\nname = "m{number}"\nmatch = {{ device = "{path}" }}\n{follows}'
        for number, path in enumerate(paths)
    )


def answering(rings: int) -> str:
    """The policy `in`, whose calls wait for a client."""
    return f'[policy.in]\nmode = "answer"\nrings = {rings}\nsession = "held"\n[session.held]\ntype = "client"\n'


async def beside(name: str, measurement: Awaitable[str]) -> str:
    """The cell of a program that may not be here, or not work here; ours does not suffer from it."""
    try:
        return f"{name}: {await measurement}"
    except (Missed, TimeoutError, OSError) as error:
        return f"{name}: not measured: {str(error).partition(chr(10))[0] or type(error).__name__}"
