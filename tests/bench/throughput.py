"""How much passes through a session, and what it costs, beside socat on the same kind of port.

The port is a pseudo-terminal without any pace of its own; the benchmark paces what it sends at either end, both ways at
once, or sends as fast as it is taken.  One measurement is one process: a session as its unit runs it, or socat.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.bench.programs import ROOT, Missed, Usage
from tests.bench.stage import Stage
from tests.bench.table import Row

RATES = (115200, 921600)
TICK_S = 0.01
CHUNK = 65536
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Passed:
    """Bytes a second of the slower direction, and CPU seconds for each byte of both."""

    rate: float
    cpu: float

    def __str__(self) -> str:
        per_second = f"{self.rate / 1e6:.1f} MB/s" if self.rate >= 1e6 else f"{self.rate / 1e3:.2f} kB/s"
        return f"{per_second}, CPU {self.cpu * 1e9:.0f} ms/MB"


async def throughput(stage: Stage) -> list[Row]:
    return [
        await asyncio.to_thread(_row, kind, rate, stage.rounds(3, 1), stage.rounds(5, 1), stage.rounds(40, 4))
        for kind in ("tcp", "client")
        for rate in (*RATES, 0)
    ]


def _row(kind: str, rate: int, rounds: int, seconds: int, megabytes: int) -> Row:
    amount = rate // 10 * seconds if rate else megabytes * 1_000_000
    ours, theirs = [], []
    for _ in range(rounds):  # by turns, so that both have the same neighbours
        ours.append(_measured(kind, [sys.executable, "-m", "tests.bench.joined", kind], rate, amount))
        theirs.append(_measured(kind, ["socat"], rate, amount))
    best, beside = (sorted(found, key=lambda one: one.rate)[len(found) // 2] for found in (ours, theirs))
    pace = f"at {rate} bit/s" if rate else "as fast as it goes"
    share = f"{best.rate / beside.rate * 100:.1f} % of socat's"
    return Row(
        f"`{kind}`, both ways {pace}",
        f"{best}; {share}",
        f"socat: {beside}",
        "within 5 %" if rate else "–",
        f"{rounds}",
    )


def _measured(kind: str, argv: list[str], rate: int, amount: int) -> Passed:
    with ExitStack() as stack:
        master, slave = os.openpty()
        stack.callback(os.close, master)
        tty.setraw(slave)
        path = os.ttyname(slave)
        end = stack.enter_context(_started(kind, argv, path, stack))
        process, far = end
        for source, sink in ((far, master), (master, far)):  # all is open when one byte has passed
            os.write(source, b"x")
            os.read(sink, 1)
        os.close(slave)
        before = Usage.of(process.pid)
        ways = [_Way(master, far, rate, amount), _Way(far, master, rate, amount)]
        for way in ways:
            way.begin()
        taken = max(way.end() for way in ways)
        _, cpu = Usage.of(process.pid).since(before)
        return Passed(amount / taken, cpu / (2 * amount))


@contextmanager
def _started(kind: str, argv: list[str], path: str, stack: ExitStack) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process that joins the tty to our end, and that end."""
    ours = argv[0] != "socat"
    if kind == "tcp":
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = server.getsockname()[1]
        command = [*argv, path, str(port)] if ours else [*argv, f"{path},raw,echo=0", f"TCP:127.0.0.1:{port}"]
        with _process(command) as process:
            server.settimeout(PATIENCE_S)
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(True)
            with connection:
                yield process, connection.fileno()
    else:
        near, far = socket.socketpair()
        command = [*argv, path, str(far.fileno())] if ours else [*argv, f"{path},raw,echo=0", f"FD:{far.fileno()}"]
        with near, far, _process(command, far.fileno()) as process:
            yield process, near.fileno()


@contextmanager
def _process(command: list[str], *passed: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        process = subprocess.Popen(command, pass_fds=passed, env=environment, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Missed(f"{command[0]} is not installed") from None
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class _Way:
    """One direction: a thread that sends at the pace, and one that counts what comes."""

    def __init__(self, source: int, sink: int, rate: int, amount: int) -> None:
        self._source = source
        self._sink = sink
        self._rate = rate / 10  # bytes a second, with start and stop bit
        self._amount = amount
        self._begun = 0.0
        self._ended = 0.0
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._send, self._receive)]

    def begin(self) -> None:
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()

    def end(self) -> float:
        """Seconds from the first byte sent to the last one that came."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if not self._ended:
            raise Missed("not all that was sent has come")
        return self._ended - self._begun

    def _send(self) -> None:
        data = memoryview(bytes(range(256)) * (CHUNK // 256))
        sent = 0
        while sent < self._amount:
            due = self._amount
            if self._rate:
                time.sleep(TICK_S)
                due = min(due, round((time.monotonic() - self._begun) * self._rate))
            while sent < due:
                sent += os.write(self._source, data[: min(CHUNK, due - sent)])

    def _receive(self) -> None:
        left = self._amount
        while left > 0:
            left -= len(os.read(self._sink, min(CHUNK, left)))
        self._ended = time.monotonic()
