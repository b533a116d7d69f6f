"""Objects on the bus: who is asked what, and the standard interfaces.

An `Exported` object has one interface of ours.  For each call the service looks up object, interface and method, holds
the arguments against the XML, asks the authority for the action that the handler names, and only then runs the handler,
as a task of its own.  No handler can be reached around the authority.  Reading properties, introspection and
GetManagedObjects are free and answered at once.

Errors: what the caller got wrong has the standard names, what the daemon refuses has `org.dialupd1.Error`, and a fault
of ours is told as such without its inner life; the journal gets the traceback once.  A handler that is
cancelled answers too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from dialupd.bus.authority import Action, Authority, Caller
from dialupd.bus.connection import Connection, close_all
from dialupd.bus.interface import (
    INTROSPECTABLE,
    OBJECT_MANAGER,
    PEER,
    PROPERTIES,
    Interface,
    MethodSpec,
    node_xml,
    standard,
)
from dialupd.bus.values import NAME, ROOT
from dialupd.bus.wire import BUS_NAME, BusError, Message, MessageFlag, Variant, error_reply, reply, signal
from dialupd.model import DialupError, ErrorKind

log = logging.getLogger(__name__)

# Requests of one client, and of all, that may be under way; a person has one or two.
_PER_CALLER: Final = 32
_ALL_CALLERS: Final = 512
# Faults are ours and few kinds; the set that keeps them from filling the journal stays small.
_FAULTS_KEPT: Final = 100

_ERROR: Final = f"{BUS_NAME}.Error."
_MACHINE_ID: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@dataclass(frozen=True, slots=True)
class Handler:
    """How a method is done: the action it needs, the arguments that polkit shows, the function.

    `further` is asked about what the caller wants: where that exceeds the action, it gives details, and CONTROL is
    needed too.
    """

    action: Action
    details: tuple[str, ...]
    run: Callable[..., Awaitable[list[Any]]]
    further: Callable[..., Mapping[str, str] | None] = lambda *_: None


class Exported(Protocol):
    """An object of ours.  `details` tell polkit which object is meant."""

    @property
    def path(self) -> str: ...

    @property
    def interface(self) -> Interface: ...

    @property
    def handlers(self) -> Mapping[str, Handler]: ...

    @property
    def details(self) -> Mapping[str, str]: ...

    def properties(self) -> dict[str, Variant]:
        """All properties, as they are now."""


class Service:
    """All objects of one connection."""

    def __init__(self, connection: Connection, authority: Authority) -> None:
        self._connection = connection
        self._authority = authority
        self._objects: dict[str, Exported] = {}
        self._children: dict[str, set[str]] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._callers: Counter[str] = Counter()
        self._faults: set[tuple[str, str]] = set()
        self._standard = standard()
        self._free: dict[str, dict[str, Callable[[Message], list[Any]]]] = {
            PEER: {"Ping": lambda _: [], "GetMachineId": self._machine_id},
            INTROSPECTABLE: {"Introspect": self._introspect},
            PROPERTIES: {"Get": self._get, "GetAll": self._get_all, "Set": self._set},
            OBJECT_MANAGER: {"GetManagedObjects": self._managed_objects},
        }
        connection.on_call = self._call

    async def close(self) -> None:
        """Refuse what is under way and what comes."""
        self._connection.on_call = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- objects and signals

    def add(self, item: Exported) -> None:
        """Publish an object; its path must be free."""
        if set(item.handlers) != set(item.interface.methods):
            raise ValueError(f"{item.interface.name}: the handlers are not those of the XML")
        if item.path in self._objects:
            raise ValueError(f"{item.path} is published already")
        self._objects[item.path] = item
        self._link(item.path)
        if item.path != ROOT:
            self._announce(item)

    def publishes(self, path: str) -> bool:
        return path in self._objects

    def remove(self, path: str) -> None:
        item = self._objects.pop(path, None)
        if item is not None:
            self._unlink(path)
            self._withdraw(item)

    def renew(self, path: str) -> None:
        """Announce an object anew of which something changed that never changes while an object stands."""
        item = self._objects.get(path)
        if item is not None:
            self._withdraw(item)
            self._announce(item)

    def _announce(self, item: Exported) -> None:
        interfaces = {item.interface.name: item.properties()}
        self._emit(ROOT, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [item.path, interfaces])

    def _withdraw(self, item: Exported) -> None:
        self._emit(ROOT, OBJECT_MANAGER, "InterfacesRemoved", "oas", [item.path, [item.interface.name]])

    def emit(self, path: str, member: str, body: list[Any]) -> None:
        """Emit a signal of the object's own interface."""
        if (item := self._objects.get(path)) is not None:
            spec = item.interface.signals[member]
            self._emit(path, item.interface.name, member, spec.signature, body)

    def properties_changed(self, path: str, changed: dict[str, Variant]) -> None:
        if changed and (item := self._objects.get(path)) is not None:
            body = [item.interface.name, changed, []]
            self._emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    def _emit(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if not self._connection.connected:
            return
        try:
            self._connection.send(signal(path, interface, member, signature, body))
        except (ValueError, TypeError) as error:
            log.error("the signal %s of %s cannot be sent: %s", member, path, error)

    def _link(self, path: str) -> None:
        while path != "/":
            parent, _, name = path.rpartition("/")
            path = parent or "/"
            self._children.setdefault(path, set()).add(name)

    def _unlink(self, path: str) -> None:
        while path != "/" and path not in self._objects and path not in self._children:
            parent, _, name = path.rpartition("/")
            path = parent or "/"
            self._children[path].discard(name)
            if not self._children[path]:
                del self._children[path]

    # -- calls

    def _call(self, message: Message) -> None:
        try:
            self._dispatch(message)
        except BusError as error:
            self._fail(message, error.name, error.text)
        except Exception as error:  # noqa: BLE001 -- _fault logs it
            self._fault(message, error)

    def _dispatch(self, message: Message) -> None:
        item = self._objects.get(message.path)
        spec = self._find(message, item)
        if message.signature != spec.signature:
            expected, found = spec.signature or "none", message.signature or "none"
            text = f"{spec.name} takes arguments of type {expected}, not {found}."
            raise BusError(_ERROR + "InvalidArgs", text)
        free = self._free.get(message.interface or self._owner_of(message.member, item), {}).get(message.member)
        if free is not None:
            self._answer(message, spec, free(message))
            return
        if item is None:
            raise BusError(_ERROR + "UnknownObject", f"There is no object {message.path}.")
        sender = message.sender or ""
        if self._callers[sender] >= _PER_CALLER or len(self._tasks) >= _ALL_CALLERS:
            raise BusError(_ERROR + "LimitsExceeded", "Too many requests are under way; wait for their replies.")
        handler = item.handlers[spec.name]
        task = asyncio.create_task(self._run(message, item, spec, handler), name=f"{spec.name} for {sender}")
        self._tasks[task] = sender
        self._callers[sender] += 1
        task.add_done_callback(self._done)

    def _find(self, message: Message, item: Exported | None) -> MethodSpec:
        interfaces = self._interfaces(message.path, item)
        if not interfaces and message.interface == PEER:
            interfaces = [self._standard[PEER]]
        if not interfaces:
            raise BusError(_ERROR + "UnknownObject", f"There is no object {message.path}.")
        if message.interface is not None:
            interfaces = [each for each in interfaces if each.name == message.interface]
            if not interfaces:
                text = f"{message.path} has no interface {message.interface}."
                raise BusError(_ERROR + "UnknownInterface", text)
        for interface in interfaces:
            if (spec := interface.methods.get(message.member)) is not None:
                return spec
        where = f"The interface {message.interface}" if message.interface else message.path
        raise BusError(_ERROR + "UnknownMethod", f"{where} has no method {message.member}.")

    def _interfaces(self, path: str, item: Exported | None) -> list[Interface]:
        """The interfaces at a path; none for a path that is neither an object nor on the way to one."""
        if item is None and path not in self._children:
            return []
        names = [INTROSPECTABLE, PEER]
        if item is not None:
            names.append(PROPERTIES)
        if path == ROOT:
            names.append(OBJECT_MANAGER)
        own = [] if item is None else [item.interface]
        return own + [self._standard[name] for name in names]

    def _owner_of(self, member: str, item: Exported | None) -> str:
        """The interface meant by a call that names none; our own comes first."""
        if item is not None and member in item.interface.methods:
            return item.interface.name
        return next((name for name, methods in self._free.items() if member in methods), "")

    def _done(self, task: asyncio.Task[None]) -> None:
        sender = self._tasks.pop(task)
        self._callers[sender] -= 1
        if not self._callers[sender]:
            del self._callers[sender]

    async def _run(self, message: Message, item: Exported, spec: MethodSpec, handler: Handler) -> None:
        interactive = bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
        caller = Caller(message.sender or "", interactive)
        try:
            named = {argument.name: value for argument, value in zip(spec.arguments, message.body, strict=True)}
            details = {**item.details, **{name: str(named[name]) for name in handler.details}}
            await self._authority.check(caller, handler.action, details)
            if more := handler.further(item, *message.body):
                await self._authority.check(caller, Action.CONTROL, {**details, **more})
            result = await handler.run(item, caller, *message.body)
            self._answer(message, spec, result)
        except DialupError as error:
            self._fail(message, f"{NAME}.Error.{error.kind}", str(error))
        except asyncio.CancelledError:
            self._fail(message, f"{NAME}.Error.{ErrorKind.FAILED}", "The daemon is going down.")
            raise
        except Exception as error:  # noqa: BLE001 -- _fault logs it
            self._fault(message, error)

    def _answer(self, message: Message, spec: MethodSpec, result: list[Any]) -> None:
        """Send the reply; a descriptor among the results is ours to close."""
        body, fds = list(result), []
        for index, argument in enumerate(spec.results):
            if argument.signature == "h":
                fds.append(body[index])
                body[index] = len(fds) - 1
        if message.flags & MessageFlag.NO_REPLY_EXPECTED:
            close_all(fds)
            return
        self._connection.send(reply(message, spec.result_signature, body, fds))

    def _fail(self, message: Message, name: str, text: str) -> None:
        if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._connection.send(error_reply(message, name, text))

    def _fault(self, message: Message, error: Exception) -> None:
        kind = (f"{message.interface}.{message.member}", type(error).__name__)
        if kind not in self._faults and len(self._faults) < _FAULTS_KEPT:
            self._faults.add(kind)
            log.error("%s failed; it is a fault of the daemon", kind[0], exc_info=error)
        text = f"{message.member} failed by a fault of the daemon; the journal has the details."
        self._fail(message, f"{NAME}.Error.{ErrorKind.FAILED}", text)

    # -- the standard interfaces

    def _introspect(self, message: Message) -> list[Any]:
        item = self._objects.get(message.path)
        children = sorted(self._children.get(message.path, ()))
        return [node_xml(self._interfaces(message.path, item), children)]

    def _machine_id(self, _: Message) -> list[Any]:
        for name in _MACHINE_ID:
            try:
                return [Path(name).read_text(encoding="ascii").strip()]
            except (OSError, ValueError):
                continue
        raise BusError(_ERROR + "FileNotFound", "This machine has no machine-id.")

    def _managed_objects(self, _: Message) -> list[Any]:
        items = {path: item for path, item in self._objects.items() if path != ROOT}
        return [{path: {item.interface.name: item.properties()} for path, item in items.items()}]

    def _readable(self, message: Message) -> dict[str, Variant]:
        """The properties of the interface that the message names first."""
        item, wanted = self._objects[message.path], message.body[0]
        if wanted in ("", item.interface.name):
            return item.properties()
        if any(wanted == each.name for each in self._interfaces(message.path, item)):
            return {}
        raise BusError(_ERROR + "UnknownInterface", f"{message.path} has no interface {wanted}.")

    def _get(self, message: Message) -> list[Any]:
        value = self._readable(message).get(message.body[1])
        if value is None:
            text = f"{message.path} has no property {message.body[1]}."
            raise BusError(_ERROR + "UnknownProperty", text)
        return [value]

    def _get_all(self, message: Message) -> list[Any]:
        return [self._readable(message)]

    def _set(self, message: Message) -> list[Any]:
        self._get(message)
        raise BusError(_ERROR + "PropertyReadOnly", "Properties are read only; methods change things.")
