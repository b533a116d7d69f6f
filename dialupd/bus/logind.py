"""The sleep of the machine, as logind tells of it.

While the machine is awake we hold a delay lock: before a suspend logind tells us, and waits until we have let go of the
lock, or until its patience (InhibitDelayMaxSec, mostly 5 s) is over.  Then it tells that the machine is awake again,
also after a suspend that came to nothing.

logind may come later than we, go and come back, and so may the bus; what was missed meanwhile is found by asking
whether a sleep is being prepared.  A machine without logind sleeps without telling us.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

from dialupd.bus.address import ConnectionLost
from dialupd.bus.connection import CallTimeout, Connection, close_all
from dialupd.bus.peer import Peer
from dialupd.bus.wire import BUS_NAME, BusError, Message

log = logging.getLogger(__name__)

_LOGIND: Final = "org.freedesktop.login1"
_PATH: Final = "/org/freedesktop/login1"
_MANAGER: Final = f"{_LOGIND}.Manager"

_WHY: Final = "Calls are ended before the machine sleeps"
# Seconds that logind waits for us if it does not say otherwise; those that are kept for our letting go to reach it.
_PATIENCE: Final = 5.0
_MARGIN: Final = 1.0
# Seconds between attempts to reach a bus that went away, doubling: dbus-daemon is back within a second or two.
_RECONNECT_FIRST: Final = 1.0
_RECONNECT_MAX: Final = 30.0

Event = Callable[[Peer], Awaitable[None]]


class Sleep:
    """`before` is awaited before the machine sleeps and cancelled when its time is up; `after` is called on waking.

    They alternate, beginning with `before`.
    """

    def __init__(self, bus: str, before: Callable[[], Awaitable[None]], after: Callable[[], None]) -> None:
        self._bus = bus
        self._before = before
        self._after = after
        self._asleep = False
        self._lock = -1
        self._seconds = _usable(_PATIENCE)
        self._complaint = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        pause = _RECONNECT_FIRST
        try:
            while True:
                try:
                    connection = await Connection.open(self._bus)
                    pause = _RECONNECT_FIRST
                    await self._watch(connection)
                except (ConnectionLost, CallTimeout, BusError) as error:
                    log.debug("the sleep of the machine cannot be watched, next try in %g s: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RECONNECT_MAX)
        finally:
            self._hold(-1)

    async def _watch(self, connection: Connection) -> None:
        """Do what logind tells in the order of its telling, until the connection is lost."""
        events: asyncio.Queue[Event] = asyncio.Queue()

        def on_signal(message: Message) -> None:
            if (message.member, message.signature) == ("PrepareForSleep", "b"):
                events.put_nowait(self._falls_asleep if message.body[0] else self._is_awake)

        async def lost(_: Peer) -> None:
            raise ConnectionLost(await connection.wait_closed())

        connection.on_end.append(lambda _: events.put_nowait(lost))
        logind = Peer(connection, _LOGIND, on_signal, lambda: events.put_nowait(self._has_another_owner))
        try:
            await logind.meet(f"path='{_PATH}',interface='{_MANAGER}',member='PrepareForSleep'")
            await self._has_another_owner(logind)
            while True:
                await (await events.get())(logind)
        finally:
            await connection.close()

    async def _has_another_owner(self, logind: Peer) -> None:
        """logind came or went, or is met for the first time on this connection."""
        if not logind.owner:
            self._say(logging.INFO, "logind does not run: nobody tells when this machine is about to sleep")
            self._hold(-1)
            self._wake()
            return
        preparing = False
        try:
            preparing = bool(await logind.get(_PATH, _MANAGER, "PreparingForSleep", "b"))
        except (BusError, CallTimeout) as error:
            self._say(logging.WARNING, f"logind does not say whether the machine is about to sleep: {error}")
        if preparing:
            await self._falls_asleep(logind)
        else:
            await self._is_awake(logind)

    async def _falls_asleep(self, _: Peer) -> None:
        if self._asleep:
            return
        self._asleep = True
        log.info("the machine is about to sleep")
        try:
            async with asyncio.timeout(self._seconds):
                await self._before()
        except TimeoutError:
            log.warning("the machine sleeps before everything was made ready: logind waits no longer")
        finally:
            self._hold(-1)

    async def _is_awake(self, logind: Peer) -> None:
        self._wake()
        try:
            micros = await logind.get(_PATH, _MANAGER, "InhibitDelayMaxUSec", "t")
            assert isinstance(micros, int)
            body = ["sleep", "dialupd", _WHY, "delay"]
            reply = await logind.call(_PATH, _MANAGER, "Inhibit", "ssss", body, answer="h", wants_fds=True)
            lock, *others = reply.unix_fds or [-1]
            close_all(others)
            if lock < 0:
                raise BusError(f"{BUS_NAME}.Error.InvalidArgs", "its delay lock came without a descriptor")
        except (BusError, CallTimeout) as error:
            text = "logind will not wait for us before this machine sleeps, so calls may be cut"
            self._say(logging.WARNING, f"{text}: {error}")
            return
        self._hold(lock)
        self._seconds = _usable(micros / 1e6)
        self._complaint = ""
        log.debug("before this machine sleeps there are %g s for ending calls", self._seconds)

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            log.info("the machine is awake again")
            self._after()

    def _hold(self, lock: int) -> None:
        """Hold this lock, or none (-1), in place of the one before."""
        before, self._lock = self._lock, lock
        if before >= 0:
            os.close(before)

    def _say(self, level: int, text: str) -> None:
        """Once for each cause."""
        if text != self._complaint:
            self._complaint = text
            log.log(level, "%s", text)


def _usable(patience: float) -> float:
    return max(patience - _MARGIN, patience / 2)
