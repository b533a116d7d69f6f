"""A `Radio` that a test moves: phones come and go, are out of range, and hand out one end of a socket pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dialupd.model import DeviceClass
from dialupd.radio import Phone, RadioError, RadioWatcher, Service

NOKIA = Phone(
    address="00:11:22:33:44:55",
    name="Nokia 6310i",
    device_class=DeviceClass.PHONE,
    adapter="hci0",
    service=Service.DIAL_UP,
    paired=True,
)


class FakeRadio:
    def __init__(self, *phones: Phone) -> None:
        self.known = {phone.address: phone for phone in phones}
        self.why = ""
        self.others: dict[Service, str] = {}
        """What `taken` says."""
        self.refusal: RadioError | None = None
        """Raised by each connect."""
        self.gone = False
        """What `out_of_reach` says."""
        self.starts = 0
        self.closes = 0
        self.looking = False
        self.seen = asyncio.Event()
        """The first look is over; it is from the start, unless the test clears it."""
        self.seen.set()
        self.lines: asyncio.Queue[socket.socket] = asyncio.Queue()
        """The phones' ends, the test's to close."""
        self._watcher: RadioWatcher | None = None
        self._moved = asyncio.Event()

    async def until(self, starts: int, closes: int) -> None:
        """Wait until it has been started and closed so many times."""
        async with asyncio.timeout(10):
            while (self.starts, self.closes) != (starts, closes):
                self._moved.clear()
                await self._moved.wait()

    # -- what the test makes happen

    def put(self, phone: Phone) -> None:
        """The phone is known, or is another now."""
        self.known[phone.address] = phone
        if self._watcher is not None:
            self._watcher.phone_changed(phone)

    def change(self, address: str, **fields: Any) -> None:
        self.put(replace(self.known[address], **fields))

    def remove(self, address: str) -> None:
        del self.known[address]
        if self._watcher is not None:
            self._watcher.phone_gone(address)

    def trouble_is(self, why: str) -> None:
        self.why = why
        if self._watcher is not None:
            self._watcher.radio_changed()

    # -- Radio

    def start(self, watcher: RadioWatcher) -> None:
        assert not self.looking
        self.looking = True
        self.starts += 1
        self._moved.set()
        self._watcher = watcher
        for phone in self.known.values():
            watcher.phone_changed(phone)

    async def looked(self) -> None:
        await self.seen.wait()

    def phones(self) -> Sequence[Phone]:
        return tuple(self.known.values())

    def trouble(self) -> str:
        return self.why

    def taken(self, service: Service) -> str:
        return self.others.get(service, "")

    async def connect(self, address: str) -> int:
        assert address in self.known
        if self.refusal is not None:
            raise self.refusal
        near, far = socket.socketpair()
        near.setblocking(False)
        self.lines.put_nowait(far)
        return near.detach()

    async def out_of_reach(self, address: str) -> bool:
        assert address in self.known
        return self.gone

    async def close(self) -> None:
        self.closes += 1
        self.looking = False
        self._watcher = None
        self._moved.set()
