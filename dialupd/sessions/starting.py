"""A session's unit from its start to its first word.

It is started when the modem begins to dial or to answer, so that it waits for the line when that comes: an interpreter
takes a fifth of a second to begin, on small machines some seconds.  Until then the unit holds nothing but its end of a
socket, whose other end we close when the call comes to nothing; that ends it without a word.  A unit that cannot be
started is reported only to a session that wants it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from dialupd.sessions.gate import Gate
from dialupd.sessions.protocol import Kind
from dialupd.units import UnitError, Units

# Seconds for a unit's first word, from when its line is there; a machine that is busy starts an interpreter slowly.
HELLO: Final = 30.0


def unit_name(kind: Kind, call: int) -> str:
    return f"dialupd-{kind}@{call}.service"


class Starting:
    """Begins at once; `asked` gives the unit's socket, afterwards either `settle` or `give_up` is awaited."""

    def __init__(self, units: Units, gate: Gate, kind: Kind, call: int) -> None:
        self.kind = kind
        self.unit = unit_name(kind, call)
        self._units = units
        self._asked = gate.expect(kind, call)
        self._job = asyncio.create_task(units.start(self.unit), name=f"{self.unit} starts")
        self._job.add_done_callback(self._started)

    async def asked(self) -> socket.socket:
        """The unit's connection, whose closing is up to the one who awaits it; raises UnitError."""
        try:
            async with asyncio.timeout(HELLO):
                return await asyncio.shield(self._asked)
        except TimeoutError:
            raise UnitError(
                f"{self.unit} was started and did not ask for the line within {HELLO:.0f} s; "
                f"journalctl -u {self.unit} tells why"
            ) from None

    async def settle(self) -> None:
        """The unit has its line, or will have none; how its start ends is of no interest any more."""
        self._job.cancel()
        await asyncio.wait({self._job})

    async def give_up(self) -> None:
        """End the unit; raises UnitError when it cannot be stopped."""
        asked = self._asked
        try:
            if not asked.done():
                asked.cancel()
                await self._units.stop(self.unit)  # takes back a start that is still queued
            elif not asked.cancelled() and asked.exception() is None:
                asked.result().close()
        finally:
            await self.settle()

    def _started(self, job: asyncio.Task[None]) -> None:
        error = None if job.cancelled() else job.exception()
        if error is not None and not self._asked.done():
            self._asked.set_exception(error)
