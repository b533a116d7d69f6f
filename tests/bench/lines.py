"""Simulated modems whose wire is watched: every byte that passes gets the time at which the modem had it.

`Lines` is a telephone exchange in the loop of the benchmark; programs under measurement open its ptys.  Both ends of a
measured interval are taken here, at the modem, so that no program's own log and no scheduling of a client is part of
it.  A `Tap` stands between a pty and its modem and changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from dialupd.exchange.exchange import Exchange
from dialupd.exchange.modem import SimModem
from dialupd.exchange.port import Wire
from dialupd.exchange.pty import PtyModem
from dialupd.exchange.timing import Timing


class Tap:
    """A `Dce` for the carrier and a `Wire` for the modem: passes everything on and keeps it with its time."""

    has_circuits = False

    def __init__(self, modem: SimModem) -> None:
        self.modem = modem
        self.heard: list[tuple[float, bytes]] = []
        """What the computer sent."""
        self.said: list[tuple[float, bytes]] = []
        """What the modem answered."""
        self._wire: Wire | None = None
        self._waiting: list[tuple[Callable[[Tap], bool], asyncio.Future[None]]] = []

    async def until(self, happened: Callable[[Tap], bool], within: float) -> None:
        """Wait until what has passed fits; TimeoutError."""
        if happened(self):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((happened, future))
        async with asyncio.timeout(within):
            await future

    async def hears(self, word: bytes, within: float) -> float:
        """When the computer had sent that word, counted from the last `forget`."""
        await self.until(lambda tap: found(tap.heard, word) is not None, within)
        return found(self.heard, word) or 0.0

    async def says(self, word: bytes, within: float) -> float:
        """When the modem had said that word, counted from the last `forget`."""
        await self.until(lambda tap: found(tap.said, word) is not None, within)
        return found(self.said, word) or 0.0

    def forget(self) -> None:
        self.heard.clear()
        self.said.clear()

    def _passed(self) -> None:
        for entry in list(self._waiting):
            happened, future = entry
            if future.done() or happened(self):
                self._waiting.remove(entry)
                if not future.done():
                    future.set_result(None)

    # -- Dce

    def attached(self, wire: Wire) -> None:
        self._wire = wire
        self.modem.attached(self)

    def detached(self) -> None:
        self.modem.detached()
        self._wire = None

    def received(self, data: bytes) -> None:
        self.heard.append((time.monotonic(), data))
        self.modem.received(data)
        self._passed()

    def dtr(self, up: bool) -> None:
        self.modem.dtr(up)

    def writable(self) -> None:
        self.modem.writable()

    # -- Wire

    def send(self, data: bytes) -> None:
        if self._wire is not None:
            self.said.append((time.monotonic(), data))
            self._wire.send(data)
            self._passed()

    def backlog(self) -> int:
        return self._wire.backlog() if self._wire is not None else 0

    def accept(self, more: bool) -> None:
        if self._wire is not None:
            self._wire.accept(more)

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        pass

    def speed(self) -> int:
        return self._wire.speed() if self._wire is not None else 0


class Deaf:
    """The wire of a modem whose computer is nobody: it takes what is said."""

    has_circuits = False

    def send(self, data: bytes) -> None:
        pass

    def backlog(self) -> int:
        return 0

    def accept(self, more: bool) -> None:
        pass

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        pass

    def speed(self) -> int:
        return 0


def found(passed: Iterable[tuple[float, bytes]], word: bytes) -> float | None:
    """The time of the chunk with which the word was complete."""
    text = b""
    for when, data in passed:
        text = text[-len(word) :] + data
        if word in text:
            return when
    return None


class Lines:
    """The exchange and what is plugged into it; ends with the `async with` block."""

    def __init__(self, timing: Timing) -> None:
        self.exchange = Exchange(timing=timing)
        self._carriers: list[PtyModem] = []
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Lines:
        return self

    async def __aexit__(self, *_: object) -> None:
        for carrier in self._carriers:
            carrier.close()
        await self.exchange.close()

    def plug(self, number: str, *, kind: str = "conexant", faults: Iterable[str] = ()) -> tuple[Tap, str]:
        """A watched modem and the path of its tty."""
        tap = Tap(self.exchange.modem(number, kind=kind, faults=faults))
        carrier = PtyModem(self._loop, tap)
        self._carriers.append(carrier)
        return tap, carrier.path

    def caller(self, number: str) -> SimModem:
        """A modem on no tty, whose computer is the benchmark: `received` gives it commands."""
        modem = self.exchange.modem(number)
        modem.attached(Deaf())
        return modem
