"""The service manager over its bus interface: starts and stops units, and knows what is to become of this service.

A unit's job is waited for by systemd's JobRemoved, which may come before the reply that names the job.  What the unit
itself has to say about a failure comes by PropertiesChanged, which systemd sends before JobRemoved; afterwards it is
too late to ask, because the session units are unloaded when they fail.  systemd sends these signals only while
somebody subscribes to them, and then about every unit, so the connection lives only while something is waited for.
A job survives that systemd runs itself anew; after a lost bus nobody tells how it ended, so that is an error.

A unit whose Condition…= does not hold counts as started, as it does for systemd.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from dialupd.bus.address import ConnectionLost
from dialupd.bus.connection import CallTimeout, Connection
from dialupd.bus.peer import Peer
from dialupd.bus.wire import BUS_NAME, BUS_PATH, BusError, Message, MessageFlag, MethodCall, method_call, unwrap
from dialupd.units import UnitError

log = logging.getLogger(__name__)

_SYSTEMD: Final = "org.freedesktop.systemd1"
_PATH: Final = "/org/freedesktop/systemd1"
_MANAGER: Final = f"{_SYSTEMD}.Manager"
_UNIT: Final = f"{_SYSTEMD}.Unit"
_SERVICE: Final = f"{_SYSTEMD}.Service"
_JOB: Final = f"{_SYSTEMD}.Job"

# A start that fails by its time limit is stopped before it counts as failed; each of them may take 90 s by default.
JOB_S: Final = 200.0
# On SIGTERM we wait so long to hear why; the time to hang up in comes after it.
OWN_JOB_S: Final = 5.0
# The system bus lets a connection of ours wait for 128 replies.
_ASKED_AT_ONCE: Final = 32
# A status line of a program, shown within a sentence.
_STATUS: Final = 200

_DENIED: Final = (f"{BUS_NAME}.Error.AccessDenied", f"{BUS_NAME}.Error.InteractiveAuthorizationRequired")
_NO_SUCH_UNIT: Final = f"{_SYSTEMD}.NoSuchUnit"

# Results of jobs, from org.freedesktop.systemd1(5), other than "done" and "failed".
_JOB_WORDS: Final = {
    "assert": "an assertion of the unit does not hold",
    "canceled": "another request for the unit took its place",
    "collected": "systemd dropped the unit",
    "dependency": "a unit that it needs did not start",
    "invalid": "the unit cannot do that",
    "once": "it has run already and runs only once",
    "skipped": "there was nothing to do",
    "timeout": "it took too long",
    "unsupported": "this machine cannot run such units",
}
# Results of services, from the same page, other than those that have a number.
_RESULT_WORDS: Final = {
    "exec-condition": "its condition does not hold",
    "oom-kill": "the machine ran out of memory",
    "protocol": "it ended before it was ready",
    "resources": "the machine lacks something that the unit needs",
    "start-limit-hit": "it was started too often",
    "success": "it ended before it was ready",
    "timeout": "it was not ready in time",
    "watchdog": "its watchdog was not fed",
}


class _Verb(Enum):
    """The method, how it deals with a queued job that is against it, and what is done in the end."""

    # Whoever wants the unit stopped, an administrator or the shutdown, is not overruled.
    START = ("StartUnit", "fail", "started")
    # A start that is still under way is given up.
    STOP = ("StopUnit", "replace", "stopped")

    def __init__(self, member: str, mode: str, done: str) -> None:
        self.member = member
        self.mode = mode
        self.done = done


@dataclass(slots=True, eq=False)
class _Watch:
    """Waits for one job."""

    unit: str
    result: asyncio.Future[str | ConnectionLost]
    job: str = ""
    early: dict[str, str] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)

    def named(self, job: str) -> None:
        """The reply said which job it is."""
        self.job = job
        if job in self.early:
            self._end(self.early[job])

    def removed(self, job: str, result: str) -> None:
        """A job of the unit is over."""
        if not self.job:
            self.early[job] = result
        elif job == self.job:
            self._end(result)

    def lost(self, reason: str) -> None:
        """The bus is gone."""
        self._end(ConnectionLost(f"the bus is gone: {reason}"))

    def _end(self, result: str | ConnectionLost) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def why(self, result: str) -> str:
        """Why the job did not end well, in words."""
        cause, number = self.facts.get("Result"), self.facts.get("ExecMainStatus")
        if result != "failed" or not isinstance(cause, str):
            words = _JOB_WORDS.get(result, f"systemd says {result!r}")
        elif cause == "exit-code":
            words = f"its program ended with status {number}"
        elif cause in ("signal", "core-dump"):
            words = f"signal {number} ended its program"
        else:
            words = _RESULT_WORDS.get(cause, f"systemd says {cause!r}")
        status = self.facts.get("StatusText")
        if isinstance(status, str) and status:
            shown = "".join(letter if letter.isprintable() else " " for letter in status[:_STATUS])
            words += f" (its last word was: {shown})"
        return words


class _Link:
    """A connection that is subscribed to systemd's signals."""

    def __init__(self, connection: Connection) -> None:
        self.users = 0
        self._connection = connection
        self._systemd = Peer(connection, _SYSTEMD, self._on_signal)
        self._watches: list[_Watch] = []
        self._turns = asyncio.Semaphore(_ASKED_AT_ONCE)
        connection.on_end.append(self._lost)

    @classmethod
    async def open(cls, bus: str) -> _Link:
        """Raises ConnectionLost, BusError, CallTimeout."""
        connection = await Connection.open(bus)
        try:
            link = cls(connection)
            await link._systemd.meet(f"path='{_PATH}',interface='{_MANAGER}',member='JobRemoved'")
            await link._systemd.call(_PATH, _MANAGER, "Subscribe")
        except BaseException:
            await connection.close()
            raise
        return link

    @property
    def connected(self) -> bool:
        return self._connection.connected

    async def close(self) -> None:
        await self._connection.close()

    async def run(self, verb: _Verb, unit: str) -> None:
        """Queue a job and wait until it is done; UnitError when it ends otherwise."""
        watch = _Watch(unit, asyncio.get_running_loop().create_future())
        rule = (
            f"type='signal',sender='{_SYSTEMD}',path='{unit_path(unit)}',interface='{BUS_NAME}.Properties',"
            f"member='PropertiesChanged',arg0='{_SERVICE}'"
        )
        self._watches.append(watch)
        try:
            async with self._turns:
                await self._connection.ask_bus("AddMatch", "s", [rule])
                body = [unit, verb.mode]
                reply = await self._systemd.call(_PATH, _MANAGER, verb.member, "ss", body, answer="o")
            watch.named(reply.body[0])
            result = await watch.result
        finally:
            self._watches.remove(watch)
            # Not waited for: a bus that hangs would keep the one who waits no longer.
            forget = MethodCall(BUS_NAME, BUS_PATH, BUS_NAME, "RemoveMatch", "s", [rule])
            self._connection.send(method_call(forget, MessageFlag.NO_REPLY_EXPECTED))
        if isinstance(result, ConnectionLost):
            raise result
        if result != "done":
            raise _not(verb, unit, watch.why(result))

    async def own_job(self) -> str:
        """The type of the job that is queued for the unit of this process, or ""."""
        # 0 stands for the process that asks, whatever its number is in a namespace of its own.
        found = await self._systemd.call(_PATH, _MANAGER, "GetUnitByPID", "u", [0], answer="o")
        queued = await self._systemd.get(found.body[0], _UNIT, "Job", "(uo)")
        assert isinstance(queued, list)
        number, job = queued
        return str(await self._systemd.get(job, _JOB, "JobType", "s")) if number else ""

    def _on_signal(self, message: Message) -> None:
        match message.member, message.signature, message.body:
            case "JobRemoved", "uoss", [_, job, unit, result]:
                for watch in self._watches:
                    if watch.unit == unit:
                        watch.removed(job, result)
            case "PropertiesChanged", "sa{sv}as", [str(interface), changed, _] if interface == _SERVICE:
                for watch in self._watches:
                    if unit_path(watch.unit) == message.path:
                        watch.facts.update(unwrap(changed))

    def _lost(self, reason: str) -> None:
        for watch in self._watches:
            watch.lost(reason)


class Systemd:
    """The units of the machine, as `dialupd.units.Units`; connects when there is something to do."""

    def __init__(self, bus: str = "system", *, patience: float = JOB_S) -> None:
        self._bus = bus
        self._patience = patience
        self._opening = asyncio.Lock()
        self._link: _Link | None = None

    async def start(self, unit: str) -> None:
        """Start the unit and wait until its start job is done; raises UnitError."""
        await self._run(_Verb.START, unit)

    async def stop(self, unit: str) -> None:
        """Stop the unit and wait until it is down; one that is not loaded is down already. Raises UnitError."""
        await self._run(_Verb.STOP, unit)

    async def own_job(self) -> str:
        """What systemd is about to do with this service: "restart", "stop", "start" …, "" for nothing or unknown.

        On SIGTERM it is "restart" for `systemctl restart`, `try-restart`, `reload-or-restart` and the upgrade of a
        package, "stop" for `systemctl stop` and the shutdown of the machine, and "" for anybody else's signal.
        """
        try:
            async with asyncio.timeout(OWN_JOB_S), self._linked() as link:
                return await link.own_job()
        except (TimeoutError, CallTimeout, ConnectionLost, BusError) as error:
            log.info("systemd cannot be asked whether it restarts this service: %s", str(error) or "it does not answer")
            return ""

    async def close(self) -> None:
        """Disconnect; whoever still waits gets UnitError."""
        if self._link is not None:
            await self._link.close()

    async def _run(self, verb: _Verb, unit: str) -> None:
        try:
            async with asyncio.timeout(self._patience), self._linked() as link:
                await link.run(verb, unit)
        except TimeoutError:
            raise _not(verb, unit, f"it takes longer than {self._patience:g} s") from None
        except BusError as error:
            if error.name == _NO_SUCH_UNIT and verb is _Verb.STOP:
                return
            raise _refused(verb, unit, error) from error
        except (CallTimeout, ConnectionLost) as error:
            raise UnitError(f"{unit} cannot be {verb.done}, or nobody knows whether it was: {error}") from error

    @asynccontextmanager
    async def _linked(self) -> AsyncIterator[_Link]:
        """The connection for as long as it is needed; one that was lost is replaced."""
        async with self._opening:
            if self._link is None or not self._link.connected:
                self._link = await _Link.open(self._bus)
            link = self._link
            link.users += 1
        try:
            yield link
        finally:
            link.users -= 1
            if not link.users:
                if self._link is link:
                    self._link = None
                await link.close()


def unit_path(unit: str) -> str:
    """The object of a unit."""
    letters = (letter if letter.isalnum() and letter.isascii() else f"_{ord(letter):02x}" for letter in unit)
    return f"{_PATH}/unit/{''.join(letters)}"


def _not(verb: _Verb, unit: str, why: str) -> UnitError:
    return UnitError(f"{unit} was not {verb.done}: {why}; journalctl -u {unit} tells more")


def _refused(verb: _Verb, unit: str, error: BusError) -> UnitError:
    if error.name in _DENIED:
        mend = "the polkit rule org.dialupd1.rules is not installed, or polkit does not run"
        return UnitError(f"{unit} cannot be {verb.done}: systemd does not let this user do it; {mend}")
    if error.name == _NO_SUCH_UNIT:
        return UnitError(f"{unit} cannot be {verb.done}: the unit is not installed")
    return UnitError(f"{unit} cannot be {verb.done}: {error}")
