"""The exchange: which number leads where, and what carries each modem.

As a library, in the loop of a test:

    async with Exchange(timing=Timing.quick()) as exchange:
        exchange.modem("100")
        exchange.modem("200", kind="usr", faults=["slow"])
        path = await exchange.on_pty("100")
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol

from .answers import Caller
from .call import Call, Network, Station
from .kinds import KINDS
from .modem import SimModem
from .port import Dce
from .pty import PtyModem
from .service import Service
from .stations import SPECIAL, Telephone
from .timing import Timing
from .tty import TtyModem


class _Carrier(Protocol):
    path: str

    def close(self) -> None: ...


class Exchange:
    """Numbers and what is behind them; raises ValueError for a number that is taken or unknown."""

    def __init__(
        self,
        *,
        timing: Timing | None = None,
        line_rate: int = 0,
        delay: float = 0.0,
        directory: Path | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._directory = directory
        self._stations: dict[str, Station] = {}
        self._carriers: dict[str, _Carrier] = {}
        self.modems: dict[str, SimModem] = {}
        self.network = Network(
            scheduler=self._loop,
            timing=timing or Timing(),
            find=self._find,
            now=datetime.now,
            line_rate=line_rate,
            delay=delay,
        )

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Unplug every modem, end every program."""
        for carrier in self._carriers.values():
            carrier.close()
        self._carriers.clear()
        for station in self._stations.values():
            if isinstance(station, Service):
                await station.close()

    def modem(
        self,
        number: str,
        *,
        kind: str = "conexant",
        name: str = "",
        private: bool = False,
        ring_text: str = "RING",
        faults: Iterable[str] = (),
    ) -> SimModem:
        """A modem with that number; without power until something carries it: on_pty, on_tty, or your own."""
        if kind not in KINDS:
            raise ValueError(f"there is no kind of modem {kind!a}: take one of {', '.join(KINDS)}")
        modem = SimModem(
            self.network, number, KINDS[kind], name=name, private=private, ring_text=ring_text, faults=faults
        )
        self._add(number, modem)
        self.modems[number] = modem
        return modem

    def special(self, number: str, what: str) -> None:
        """A number that is `busy`, `no-answer`, a `voice`, or an `echo`."""
        if what not in SPECIAL:
            raise ValueError(f"a number cannot be {what!a}: take one of {', '.join(SPECIAL)}")
        self._add(number, SPECIAL[what](self.network.scheduler, self.network.timing))

    def service(self, number: str, argv: Sequence[str]) -> None:
        """A number that runs a program for each call, with the line as its terminal."""
        if not argv:
            raise ValueError(f"the service {number} has no program")
        self._add(number, Service(self._loop, self.network.timing, argv))

    def ring(self, number: str, caller: Caller, rings: int = 3) -> None:
        """A human calls that number and lets it ring."""
        phone = Telephone(caller.number or "someone", self._loop, self.network.timing, rings)
        phone.call(Call(self.network, phone, caller, number, speech=True))

    async def on_pty(self, number: str) -> str:
        """Power that modem on a new pty; gives the path of its tty, the link's if there is a directory."""
        modem = self._unpowered(number)
        link = self._directory / number if self._directory is not None else None
        carrier = PtyModem(self._loop, modem, link)
        self._carriers[number] = carrier
        return carrier.path

    async def on_tty(self, number: str, path: str) -> None:
        """Power that modem on a real serial port, whose other end is the computer's by a null-modem cable."""
        self._carriers[number] = TtyModem(self._loop, self._unpowered(number), path)

    def unplug(self, number: str) -> None:
        """Take the modem's carrier away; `on_pty` plugs it in again."""
        carrier = self._carriers.pop(number, None)
        if carrier is None:
            raise ValueError(f"there is no plugged modem {number}")
        carrier.close()

    def path(self, number: str) -> str:
        """Where that modem is plugged in; empty if nowhere."""
        carrier = self._carriers.get(number)
        return carrier.path if carrier else ""

    def _unpowered(self, number: str) -> Dce:
        if number not in self.modems:
            raise ValueError(f"there is no modem {number}")
        if number in self._carriers:
            raise ValueError(f"the modem {number} is plugged in already")
        return self.modems[number]

    def _add(self, number: str, station: Station) -> None:
        if not number or not set(number) <= set("0123456789*#+ABCD"):
            raise ValueError(f"{number!a} is no number: it takes digits, * # + and A-D")
        if number in self._stations:
            raise ValueError(f"the number {number} is given twice")
        self._stations[number] = station

    def _find(self, number: str) -> Station | None:
        station = self._stations.get(number)
        # *99***1# is *99# with the number of a packet context.
        if station is None and number.startswith("*99***") and number.endswith("#"):
            station = self._stations.get("*99#")
        return station
