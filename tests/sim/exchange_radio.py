"""A `FakeRadio` whose phones are modems of the simulated exchange, at the other end of a socket pair.

    radio.pair("AA:BB:CC:00:00:01", "Nokia", stage.exchange.modem("300", kind="nokia"))
    radio.refuse(address, RadioFault.OUT_OF_RANGE, "…")  # connecting fails from now on; `allow` ends that
    radio.gate = event.wait                              # connecting takes until then
    radio.far(address).close()                           # the phone closes the line
    radio.lose(address)                                  # the phone goes out of range

A second connection to a phone whose line is open is a defect of the test's subject.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable

from dialupd.exchange.fd import FdStream, StreamWire
from dialupd.exchange.port import Dce
from dialupd.radio import DeviceClass, Phone, RadioError, RadioFault, Service
from tests.sim.fake_radio import FakeRadio


class SocketModem(StreamWire):
    """The carrier: the phone's end of the line."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dce: Dce, fd: int) -> None:
        self._dce = dce
        self._fd = fd
        self._stream = FdStream(loop, fd, received=dce.received, drained=dce.writable, closed=self._over)
        self.closed = asyncio.Event()
        dce.attached(self)
        self._stream.accept(True)

    @property
    def hung_up(self) -> bool:
        """Our end is closed, though the phone may not have heard of it yet."""
        if self.closed.is_set():
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        if not self.closed.is_set():
            self._stream.close()
            self._over()

    def _over(self) -> None:
        self.closed.set()
        self._dce.detached()


class ExchangeRadio(FakeRadio):
    """Counts how often a phone was paged, and how many connections were `given_up`."""

    def __init__(self) -> None:
        super().__init__()
        self.connects = 0
        self.given_up = 0
        self.gate: Callable[[], Awaitable[object]] | None = None
        self._modems: dict[str, Dce] = {}
        self._lines: dict[str, SocketModem] = {}
        self._refused: dict[str, RadioError] = {}
        self._away: set[str] = set()

    # -- what the test makes happen

    def pair(self, address: str, name: str, modem: Dce) -> None:
        self._modems[address] = modem
        self.put(Phone(address, name, DeviceClass.PHONE, "hci0", Service.DIAL_UP, paired=True))

    def refuse(self, address: str, reason: RadioFault, words: str) -> None:
        self._refused[address] = RadioError(reason, words)

    def allow(self, address: str) -> None:
        self._refused.pop(address, None)
        self._away.discard(address)

    def far(self, address: str) -> SocketModem:
        """The open line's other end."""
        line = self._lines[address]
        assert not line.hung_up
        return line

    def lose(self, address: str) -> None:
        self._away.add(address)
        self.refuse(address, RadioFault.OUT_OF_RANGE, "the phone is out of range")
        self.far(address).close()

    def open_lines(self) -> int:
        return sum(not line.hung_up for line in self._lines.values())

    # -- Radio

    async def connect(self, address: str) -> int:
        self.connects += 1
        if self.gate is not None:
            try:
                await self.gate()
            except asyncio.CancelledError:
                self.given_up += 1
                raise
        if address in self._refused:
            raise self._refused[address]
        before = self._lines.get(address)
        if before is not None:
            assert before.hung_up, "the line is open already"
            before.close()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._lines[address] = SocketModem(asyncio.get_running_loop(), self._modems[address], theirs.detach())
        return ours.detach()

    async def out_of_reach(self, address: str) -> bool:
        await asyncio.sleep(0.02)  # bluetoothd, too, knows a moment later
        return address in self._away

    async def close(self) -> None:
        await super().close()
        for line in self._lines.values():
            if line.hung_up:
                line.close()
