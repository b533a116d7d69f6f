"""A bluetoothd that has fallen is started again, by the bus, where the administrator has enabled its service.

Many systems do not restart one by themselves.  It is done when a phone is wanted, and not more often than the pause
says, for what made it fall may do so again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from dialupd.bus.address import ConnectionLost
from dialupd.bus.bluez_words import BLUEZ, shown
from dialupd.bus.connection import CallTimeout, Connection
from dialupd.bus.wire import BusError

log = logging.getLogger(__name__)

# Seconds between attempts.
_AGAIN: Final = 60.0


class Starter:
    def __init__(self) -> None:
        # Where to ask for one that fell; None: none fell, or nobody can start it.
        self._connection: Connection | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = -_AGAIN

    def fell(self, connection: Connection) -> None:
        self._connection = connection

    def forget(self) -> None:
        """There is one, or the bus is gone."""
        self._connection = None

    def wanted(self) -> None:
        """Ask for one that fell, if it is time."""
        now = asyncio.get_running_loop().time()
        if self._connection is not None and self._asking is None and now - self._asked_at >= _AGAIN:
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask(self._connection), name="bluetooth: start")

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self, connection: Connection) -> None:
        try:
            await connection.ask_bus("StartServiceByName", "su", [BLUEZ, 0])
        except BusError as error:
            log.info("bluetoothd has ended and cannot be started: %s", shown(error))
            self._connection = None
        except (CallTimeout, ConnectionLost) as error:
            log.debug("whether bluetoothd is started is not known: %s", error)
        else:
            log.info("bluetoothd had ended; the bus has started it again")
        finally:
            self._asking = None
