"""`python3 -m tests.bench`: every figure in one run, beside what a user would run instead, as one markdown table.

Nothing is asserted: a figure that misses its goal is for a person to read, and a busy machine fails no test.  A case
that cannot be measured here says why in its row.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import dialupd
from dialupd.bus.client import NoDaemon
from dialupd.bus.wire import BusError
from tests.bench import load, throughput, times
from tests.bench.programs import Missed
from tests.bench.stage import Stage
from tests.bench.table import Row, markdown

Case = Callable[[Stage], Awaitable[list[Row]]]

CASES: dict[str, Case] = {
    "ready": times.ready,
    "ring": times.ring,
    "session": times.session,
    "storm": times.storm,
    "bus": load.bus,
    "idle": load.idle,
    "throughput": throughput.throughput,
}


def main() -> int:
    args = _parser().parse_args()
    cases = dict(CASES)
    if args.guest or "guest" in args.only:
        from tests.bench import guest  # who wants no guest needs none of its tools

        cases["guest"] = guest.guest
    wanted = {name: case for name, case in cases.items() if name in (args.only or cases)}
    before = os.getloadavg()[0]
    rows = asyncio.run(_run(wanted, Stage(args.quick)))
    print("\n".join((*_circumstances(before), "", markdown(rows))))
    return 0


async def _run(cases: dict[str, Case], stage: Stage) -> list[Row]:
    rows = []
    for name, case in cases.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += await case(stage)
        except (Missed, TimeoutError, OSError, NoDaemon, BusError) as error:
            print(f"{name}: {error or type(error).__name__}", file=sys.stderr, flush=True)
            rows.append(Row(name, f"not measured: {str(error).partition(chr(10))[0] or type(error).__name__}"))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that everything runs")
    parser.add_argument(
        "--only", action="append", default=[], choices=[*CASES, "guest"], help="this case; may be given repeatedly"
    )
    parser.add_argument("--guest", action="store_true", help="also what needs a kernel with PPP and USB: in a guest")
    return parser


def _circumstances(load_before: float) -> list[str]:
    """Where and with what these figures were made; a load beyond our own tells of a noisy run."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("dbus-next", "pyudev", "pyserial"))
    names = ("wvdial", "mgetty", "modemmanager", "ppp", "socat", "dbus-daemon")
    peers = ", ".join(filter(None, map(_package, names)))
    return [
        f"- {datetime.date.today()}, {os.cpu_count()} × {cpu.partition(':')[2].strip() or platform.machine()}, "
        f"Linux {platform.release()}, load {load_before:.1f} at the start and {os.getloadavg()[0]:.1f} at the end",
        f"- dialupd {dialupd.__version__}, Python {platform.python_version()}, {packages}",
        f"- {peers}",
    ]


def _package(name: str) -> str:
    """Name and version of a Debian package, "" where it is not known."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}", name]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
