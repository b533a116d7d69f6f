"""A client of the daemon, for dialupctl and for tests.

Values come without variants.  A missing daemon or bus is `NoDaemon`, a refused request is `BusError` with name
and text.  Signals count only when they come from the owner of the name; the owner's coming and going is told too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dialupd.bus.address import ConnectionLost
from dialupd.bus.connection import CLIENT_LIMIT, CallTimeout, Connection, close_all
from dialupd.bus.interface import OBJECT_MANAGER, PROPERTIES
from dialupd.bus.values import NAME, ROOT
from dialupd.bus.wire import BUS_NAME, BUS_PATH, BusError, Message, MessageFlag, MethodCall, unwrap

# Longer than a polkit dialog stays open and the longest AT command takes.
CALL_S: Final = 620.0
# One who does not read loses the thread, not the machine's memory.
_BACKLOG: Final = 10_000

_ERROR: Final = f"{BUS_NAME}.Error."
# What the bus says when nobody owns the name, nobody can be started for it, or the owner died before it answered.
_ABSENT: Final = ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "TimedOut")

Objects = dict[str, dict[str, dict[str, Any]]]


class NoDaemon(Exception):
    """There is no daemon to talk to, or no bus."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of the daemon."""

    path: str
    interface: str
    member: str
    body: list[Any]


@dataclass(frozen=True, slots=True)
class OwnerChanged:
    """The daemon came (its unique name) or went ("")."""

    owner: str


def _absent(error: BusError) -> bool:
    bare = error.name.removeprefix(_ERROR)
    return bare in _ABSENT or bare.startswith("Spawn.") or error.name.startswith("org.freedesktop.systemd1.")


class Client:
    """Made by `connect`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, bus: str = "system") -> Client:
        """Connect to `system`, `session` or an address.  Raises NoDaemon when there is no such bus."""
        try:
            return cls(await Connection.open(bus, limit=CLIENT_LIMIT))
        except ConnectionLost as error:
            raise NoDaemon(str(error)) from error

    async def close(self) -> None:
        await self._connection.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
        *,
        within: float = CALL_S,
    ) -> list[Any]:
        """Call a method; a result of type `h` is a file descriptor that the caller must close.

        Raises BusError, NoDaemon.
        """
        call = MethodCall(NAME, path, interface, member, signature, body)
        # Whoever stopped the daemon does not want it back because somebody looks.
        flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION | MessageFlag.NO_AUTOSTART
        try:
            reply = await self._connection.call(call, within=within, flags=flags, wants_fds=True)
        except BusError as error:
            if _absent(error):
                raise NoDaemon(f"dialupd does not run on this bus: {error.text}") from error
            raise
        except CallTimeout as error:
            raise BusError(_ERROR + "Timeout", str(error)) from error
        except ConnectionLost as error:
            raise NoDaemon(str(error)) from error
        result = []
        fds = dict(enumerate(reply.unix_fds))
        for part, value in zip(reply.signature_tree.types, reply.body, strict=True):
            result.append(fds.pop(value, -1) if part.signature == "h" else unwrap(value))
        close_all(fds.values())
        return result

    async def managed_objects(self) -> Objects:
        """All modems and calls: path, interface, property."""
        (objects,) = await self.call(ROOT, OBJECT_MANAGER, "GetManagedObjects")
        found: Objects = objects
        return found

    async def get(self, path: str, interface: str, name: str) -> Any:
        (value,) = await self.call(path, PROPERTIES, "Get", "ss", [interface, name])
        return value

    async def get_all(self, path: str, interface: str) -> dict[str, Any]:
        (values,) = await self.call(path, PROPERTIES, "GetAll", "s", [interface])
        found: dict[str, Any] = values
        return found

    async def follow(self) -> Follower:
        """Signals from now on.  Follow first and read objects then, so that nothing falls between."""
        follower = Follower(self._connection)
        try:
            await follower.start()
        except (BusError, CallTimeout, ConnectionLost) as error:
            raise NoDaemon(str(error)) from error
        return follower


class Follower:
    """An endless iterator of `Signal` and `OwnerChanged`; a lost bus ends it with NoDaemon."""

    def __init__(self, connection: Connection) -> None:
        self.owner = ""
        self._connection = connection
        self._items: deque[Signal | OwnerChanged] = deque()
        self._wake = asyncio.Event()
        self._trouble = ""
        self._told = False

    async def start(self) -> None:
        self._connection.on_signal.append(self._on_signal)
        self._connection.on_end.append(lambda reason: self._end(f"the bus is gone: {reason}"))
        owner_rule = f"type='signal',sender='{BUS_NAME}',path='{BUS_PATH}',member='NameOwnerChanged',arg0='{NAME}'"
        for rule in (owner_rule, f"type='signal',sender='{NAME}',path_namespace='{ROOT}'"):
            await self._connection.ask_bus("AddMatch", "s", [rule])
        try:
            (owner,) = await self._connection.ask_bus("GetNameOwner", "s", [NAME])
            if not self._told:  # a change that came right behind the answer is newer than it
                self.owner = str(owner)
        except BusError as error:
            if error.name != _ERROR + "NameHasNoOwner":
                raise

    def _end(self, trouble: str) -> None:
        self._trouble = self._trouble or trouble
        self._wake.set()

    def _on_signal(self, message: Message) -> None:
        if message.sender == BUS_NAME:
            if message.member == "NameOwnerChanged" and message.body[0] == NAME:
                self.owner, self._told = message.body[2], True
                self._put(OwnerChanged(self.owner))
        elif message.sender == self.owner:
            body = [unwrap(value) for value in message.body]
            self._put(Signal(message.path, message.interface, message.member, body))

    def _put(self, item: Signal | OwnerChanged) -> None:
        if len(self._items) < _BACKLOG:
            self._items.append(item)
            self._wake.set()
        else:
            self._end("signals came faster than they were read")

    def __aiter__(self) -> AsyncIterator[Signal | OwnerChanged]:
        return self

    async def __anext__(self) -> Signal | OwnerChanged:
        while not self._items:
            if self._trouble:
                raise NoDaemon(self._trouble)
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()
