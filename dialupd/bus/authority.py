"""Who may do what.

On the system bus polkit decides: root and the daemon's own user always may, everybody else as the installed actions and
the administrator's rules say, and without polkit nobody else may.  On a session or private bus whoever can connect has
been let in by the bus itself, and may everything.

Polkit's rules, and the person who is asked for a password, see what the request is about: one line of text for each
argument that matters, as the caller sent it, but without secrets.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from dialupd.at.dialstring import Masking, masked
from dialupd.at.secrecy import hidden
from dialupd.bus.address import ConnectionLost, bus_address
from dialupd.bus.connection import CallTimeout, Connection
from dialupd.bus.wire import BUS_NAME, BUS_PATH, BusError, Message, MethodCall, Variant
from dialupd.model import DialupError, ErrorKind

log = logging.getLogger(__name__)

_POLKIT: Final = "org.freedesktop.PolicyKit1"
_POLKIT_PATH: Final = "/org/freedesktop/PolicyKit1/Authority"
_POLKIT_INTERFACE: Final = "org.freedesktop.PolicyKit1.Authority"
_ALLOW_INTERACTION: Final = 1
# A person types a password meanwhile.
_INTERACTIVE_S: Final = 180.0
_PLAIN_S: Final = 25.0
# The daemon may be going down; nothing depends on the answer.
_CANCEL_S: Final = 2.0
# A dialog shows a line, not a page.
_DETAIL: Final = 200
_LEFT: Final = "the caller has left the bus"


class Action(StrEnum):
    """The polkit actions."""

    MONITOR = "org.dialupd1.monitor"
    DIAL = "org.dialupd1.dial"
    ANSWER = "org.dialupd1.answer"
    HANG_UP = "org.dialupd1.hang-up"
    CONTROL = "org.dialupd1.control"
    CONFIGURE = "org.dialupd1.configure"
    COMMAND = "org.dialupd1.command"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the unique name, and whether a password dialog is welcome."""

    sender: str
    interactive: bool


class Authority(Protocol):
    """Decides whether a caller may do something."""

    async def check(self, caller: Caller, action: Action, details: Mapping[str, str]) -> None:
        """Return if the caller may, else raise DialupError NotAuthorized."""


class BusAccess:
    """Whoever the bus let in."""

    async def check(self, caller: Caller, action: Action, details: Mapping[str, str]) -> None:
        """Everybody may."""


class Polkit:
    """Asks polkit over the connection that the request came by; `masking` says how numbers are shown just now."""

    def __init__(self, connection: Connection, masking: Callable[[], Masking]) -> None:
        self._connection = connection
        self._masking = masking
        self._numbers = itertools.count(1)
        self._complaint = ""

    async def check(self, caller: Caller, action: Action, details: Mapping[str, str]) -> None:
        """Root and our own user may; of others polkit decides, and a caller that vanishes is not waited for."""
        if await self._is_privileged(caller.sender, action):
            return
        try:
            async with self._vanishing(caller.sender) as vanished:
                allowed, challenge = await self._ask(caller, action, details, vanished)
        except (BusError, CallTimeout, ConnectionLost) as error:
            self._complain(str(error))
            raise self._refusal(action, "polkit cannot be asked, so only root may") from error
        if allowed:
            return
        if challenge and not caller.interactive:
            raise self._refusal(action, "it needs a password and the request does not allow to ask for one")
        if challenge:
            text = "it needs a password, and nothing is there to ask for it: pkttyagent asks in a terminal"
            raise self._refusal(action, text)
        raise self._refusal(action, "polkit does not allow it")

    @staticmethod
    def _refusal(action: Action, why: str) -> DialupError:
        return DialupError(ErrorKind.NOT_AUTHORIZED, f"not authorized for {action}: {why}")

    def _complain(self, text: str) -> None:
        """Once for each cause: any user can provoke it as often as he likes."""
        if text != self._complaint:
            self._complaint = text
            log.warning("polkit cannot be asked, requests of ordinary users are refused: %s", text)

    async def _is_privileged(self, sender: str, action: Action) -> bool:
        try:
            (uid,) = await self._connection.ask_bus("GetConnectionUnixUser", "s", [sender])
        except (BusError, CallTimeout, ConnectionLost) as error:
            raise self._refusal(action, "the bus does not know the caller") from error
        return uid in (0, os.getuid())

    @asynccontextmanager
    async def _vanishing(self, sender: str) -> AsyncIterator[asyncio.Future[None]]:
        """A future that is done when the sender has left the bus."""
        vanished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_signal(message: Message) -> None:
            gone = message.sender == BUS_NAME and message.member == "NameOwnerChanged"
            if gone and message.body == [sender, sender, ""] and not vanished.done():
                vanished.set_result(None)

        rule = (
            f"type='signal',sender='{BUS_NAME}',path='{BUS_PATH}',interface='{BUS_NAME}',"
            f"member='NameOwnerChanged',arg0='{sender}'"
        )
        self._connection.on_signal.append(on_signal)
        try:
            await self._connection.ask_bus("AddMatch", "s", [rule])
            try:
                # It may have left before we listened.
                (there,) = await self._connection.ask_bus("NameHasOwner", "s", [sender])
                if not there and not vanished.done():
                    vanished.set_result(None)
                yield vanished
            finally:
                if self._connection.connected:
                    await self._connection.ask_bus("RemoveMatch", "s", [rule])
        finally:
            self._connection.on_signal.remove(on_signal)

    async def _ask(
        self,
        caller: Caller,
        action: Action,
        details: Mapping[str, str],
        vanished: asyncio.Future[None],
    ) -> tuple[bool, bool]:
        """Whether polkit allows it, and whether it would after asking for a password."""
        if vanished.done():
            raise self._refusal(action, _LEFT)
        ticket = f"dialupd-{os.getpid()}-{next(self._numbers)}"
        subject = ["system-bus-name", {"name": Variant("s", caller.sender)}]
        shown = {key: _shown(key, value, self._masking()) for key, value in details.items()}
        flags = _ALLOW_INTERACTION if caller.interactive else 0
        body = [subject, str(action), shown, flags, ticket]
        call = MethodCall(_POLKIT, _POLKIT_PATH, _POLKIT_INTERFACE, "CheckAuthorization", "(sa{sv})sa{ss}us", body)
        within = _INTERACTIVE_S if caller.interactive else _PLAIN_S
        asking = asyncio.create_task(self._connection.call(call, within=within), name=f"polkit {ticket}")
        answered = False
        try:
            await asyncio.wait((asking, vanished), return_when=asyncio.FIRST_COMPLETED)
            answered = asking.done() and not isinstance(asking.exception(), CallTimeout)
        finally:
            if not answered:
                await self._withdraw(asking, ticket)
        if asking.cancelled():
            raise self._refusal(action, _LEFT)
        reply = asking.result()
        if reply.signature != "(bba{ss})":
            raise BusError(f"{BUS_NAME}.Error.InvalidSignature", "polkit answered something else")
        allowed, challenge, _ = reply.body[0]
        return bool(allowed), bool(challenge)

    async def _withdraw(self, asking: asyncio.Task[Message], ticket: str) -> None:
        """Take the dialog off the screen."""
        asking.cancel()
        await asyncio.wait((asking,))
        cancel = MethodCall(_POLKIT, _POLKIT_PATH, _POLKIT_INTERFACE, "CancelCheckAuthorization", "s", [ticket])
        try:
            await self._connection.call(cancel, within=_CANCEL_S)
        except (BusError, CallTimeout, ConnectionLost) as error:
            log.debug("polkit check %s was over already: %s", ticket, error)


def authority_for(bus: str, connection: Connection, masking: Callable[[], Masking]) -> Authority:
    """Polkit on the system bus, however that is spelt; the bus's own access control elsewhere."""
    if _places(bus_address(bus)) & _places(bus_address("system")):
        return Polkit(connection, masking)
    return BusAccess()


def _shown(key: str, value: str, masking: Masking) -> str:
    """A detail as polkit may see it: it ends up in dialogs and logs of others."""
    value = value[:_DETAIL]
    match key:
        case "number":
            value = masked(value, masking)
        case "command":
            value = hidden(value)
    return "".join(c if c.isprintable() else " " for c in value)


def _places(address: str) -> set[str]:
    """The addresses of a list, each socket by its real path."""
    found = set()
    for part in filter(None, address.split(";")):
        transport, _, options = part.partition(":")
        named = dict(option.split("=", 1) for option in options.split(",") if "=" in option)
        place = os.path.realpath(named["path"]) if "path" in named else options
        found.add(f"{transport}:{place}")
    return found
