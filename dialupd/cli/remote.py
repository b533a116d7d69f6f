"""The daemon as dialupctl sees it: its objects as rows, kept up to date, and what happens to them as events.

`async with Remote(bus)` connects, follows the signals, and only then reads all objects, so nothing falls between.  The
rows change only while `next_event` is awaited; signals that came before the objects were read are applied to them then,
in order: each carries whole values, so what the reading already held does no harm.

A daemon that goes takes its objects along; `next_event` tells it, waits, and reads them anew when it is back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType

from dialupd.bus.client import Client, Follower, NoDaemon, OwnerChanged, Signal
from dialupd.bus.values import CALL, MANAGER, MODEM, ROOT, call_path, modem_path
from dialupd.bus.wire import BusError, Variant
from dialupd.cli.rows import Plain, Row, call_number, called, number, row, text, texts
from dialupd.model import ErrorKind

DialOption = str | int | bool
Filter = Mapping[str, Plain]
PolicyRow = tuple[str, str, str]

__all__ = ["BusError", "DialOption", "Event", "Filter", "NoDaemon", "Remote", "Thing", "What", "kind_of"]

_ERROR = "org.dialupd1.Error."
_ABSENT_MODEM = {"id": ""}


class Thing(StrEnum):
    MODEM = "modem"
    CALL = "call"
    POLICY = "policy"
    CONFIGURATION = "configuration"
    PROBLEM = "problem"
    DAEMON = "daemon"


class What(StrEnum):
    PRESENT = "present"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    STATE = "state"
    RINGING = "ringing"
    LOST = "lost"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Event:
    """`row` is the whole object afterwards (or the last known); `changed` what is new, or the signal's arguments."""

    thing: Thing
    what: What
    row: Row = field(default_factory=dict)
    changed: Row = field(default_factory=dict)


def kind_of(error: BusError) -> ErrorKind | None:
    """Which of the daemon's errors it is; None for one of the bus."""
    try:
        return ErrorKind(error.name.removeprefix(_ERROR)) if error.name.startswith(_ERROR) else None
    except ValueError:
        return None


def _variant(value: object, wide: bool) -> Variant:
    match value:
        case bool():
            return Variant("b", value)
        case int():
            return Variant("t" if wide else "u", value)
        case _:
            return Variant("s", str(value))


class Remote:
    """The daemon on one bus; `modems` and `calls` are by object path."""

    def __init__(self, bus: str) -> None:
        self.modems: dict[str, dict[str, Plain]] = {}
        self.calls: dict[str, dict[str, Plain]] = {}
        self.manager: dict[str, Plain] = {}
        self.policies: list[PolicyRow] = []
        self._bus = bus
        self._owner = ""
        self._waiting: list[Event] = []
        self._client: Client
        self._follower: Follower

    async def __aenter__(self) -> Remote:
        """Raises NoDaemon."""
        self._client = await Client.connect(self._bus)
        try:
            self._follower = await self._client.follow()
            await self._read()
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def _read(self) -> None:
        objects = await self._client.managed_objects()
        self._owner = self._follower.owner
        self._manager(await self._client.get_all(ROOT, MANAGER))
        self.modems = {}
        self.calls = {}
        for path, interfaces in objects.items():
            self._take(path, interfaces)

    def _manager(self, properties: Mapping[str, object]) -> None:
        shown = dict(properties)
        policies = shown.pop("Policies", None)
        shown.pop("Modems", None)
        shown.pop("Calls", None)
        if isinstance(policies, list):
            self.policies = [(str(name), str(mode), str(status)) for name, mode, status in policies]
        self.manager |= row(shown)

    def _take(self, path: str, interfaces: Mapping[str, Mapping[str, object]]) -> Event | None:
        """An object that is there now."""
        if MODEM in interfaces:
            self.modems[path] = self._modem_row(interfaces[MODEM])
            return Event(Thing.MODEM, What.ADDED, self.modems[path])
        if CALL in interfaces:
            self.calls[path] = {"call": call_number(path), **self._call_row(interfaces[CALL])}
            return Event(Thing.CALL, What.ADDED, self.calls[path])
        return None

    @staticmethod
    def _modem_row(properties: Mapping[str, object]) -> dict[str, Plain]:
        found = row(properties)
        if "call" in found:
            found["call"] = call_number(text(found, "call"))
        return found

    def _call_row(self, properties: Mapping[str, object]) -> dict[str, Plain]:
        found = row(properties)
        if "modem" in found:
            path = text(found, "modem")
            found["modem"] = text(self.modems.get(path, {}), "id") or path.rpartition("/")[2]
        return found

    # -- what is

    def modem(self, modem_id: str) -> Row:
        """The modem of that id; one with only an id when it is gone."""
        gone: Row = _ABSENT_MODEM | {"id": modem_id}
        return next((one for one in self.modems.values() if text(one, "id") == modem_id), gone)

    def modem_name(self, modem_id: str) -> str:
        return called(self.modem(modem_id))

    def call(self, wanted: int) -> Row | None:
        return self.calls.get(call_path(wanted))

    def open_calls(self) -> list[Row]:
        """Calls that have not ended, in the order in which they began."""
        under_way = [one for one in self.calls.values() if text(one, "state") != "ended"]
        return sorted(under_way, key=lambda one: number(one, "call"))

    async def refresh(self, wanted: int) -> Row | None:
        """The call with its counters of this moment; None when it is gone."""
        path = call_path(wanted)
        if path in self.calls:
            try:
                self.calls[path] |= self._call_row(await self._client.get_all(path, CALL))
            except BusError:
                return None
        return self.calls.get(path)

    def present(self) -> list[Event]:
        """All that is there, as events."""
        modems = [Event(Thing.MODEM, What.PRESENT, one) for one in self.modems.values()]
        calls = [Event(Thing.CALL, What.PRESENT, one) for one in self.calls.values()]
        return modems + calls + _told(What.PRESENT, texts(self.manager, "problems"), ())

    # -- requests; all raise BusError and NoDaemon

    async def ask_manager(self, member: str, signature: str = "", *arguments: object) -> list[object]:
        return await self._client.call(ROOT, MANAGER, member, signature, arguments)

    async def on_modem(self, modem: Row, member: str, signature: str = "", *arguments: object) -> list[object]:
        return await self._client.call(modem_path(text(modem, "id")), MODEM, member, signature, arguments)

    async def hang_up_call(self, wanted: int) -> None:
        await self._client.call(call_path(wanted), CALL, "HangUp")

    async def dial(self, modem: Row, wanted: str, options: Mapping[str, DialOption]) -> int:
        """Dial; the call's number."""
        return _begun(await self.on_modem(modem, "Dial", "sa{sv}", wanted, _options(options)))

    async def originate(self, policy: str, options: Mapping[str, DialOption]) -> int:
        return _begun(await self.ask_manager("Originate", "sa{sv}", policy, _options(options)))

    async def answer(self, modem: Row, options: Mapping[str, DialOption]) -> int:
        return _begun(await self.on_modem(modem, "Answer", "a{sv}", _options(options)))

    async def command(self, modem: Row, line: str, timeout_ms: int) -> tuple[str, list[str]]:
        """The result code and the lines before it."""
        match await self.on_modem(modem, "Command", "su", line, timeout_ms):
            case [str(result), list(lines)]:
                return result, [str(one) for one in lines]
            case other:
                raise BusError("", f"the daemon gave an answer of another kind: {other!r}")

    async def open_call(self, wanted: int) -> int:
        """The data stream of a call, to be closed by the taker."""
        return _descriptor(await self._client.call(call_path(wanted), CALL, "Open"))

    async def inhibit(self, modem: Row, why: str) -> int:
        """Borrow the modem's port for as long as the descriptor, to be closed by the taker, stays open."""
        return _descriptor(await self.on_modem(modem, "Inhibit", "ss", "dialupctl", why))

    async def history(self, wanted: Filter) -> list[dict[str, Plain]]:
        """Rows as of calls; the newest first."""
        filters = {key: _variant(value, key in ("since", "until")) for key, value in wanted.items()}
        match await self.ask_manager("History", "a{sv}", filters):
            case [list(found)]:
                return [self._call_row(one) for one in found if isinstance(one, dict)]
            case other:
                raise BusError("", f"the daemon gave an answer of another kind: {other!r}")

    # -- what happens

    async def next_event(self) -> Event:
        """The next thing that happens; raises NoDaemon when the bus itself is gone."""
        while not self._waiting:
            self._waiting += await self._understand(await anext(self._follower))
        return self._waiting.pop(0)

    async def _understand(self, heard: Signal | OwnerChanged) -> Sequence[Event]:
        if isinstance(heard, OwnerChanged):
            return await self._owner_changed(heard.owner)
        match heard.member, heard.body:
            case "InterfacesAdded", [str(path), dict(interfaces)]:
                known = path in self.modems or path in self.calls
                event = self._take(path, interfaces)
                return [event] if event is not None and not known else []
            case "InterfacesRemoved", [str(path), list()]:
                return self._removed(path)
            case "PropertiesChanged", [str(), dict(changed), list()]:
                return self._changed(heard.path, changed)
            case "StateChanged", [str(old), str(new), str(reason)]:
                thing, owner = self._owner_of(heard.path)
                told = {"old": old, "new": new, "reason": reason}
                return [Event(thing, What.STATE, owner, told)] if owner else []
            case "Ringing", [dict(info)]:
                thing, owner = self._owner_of(heard.path)
                return [Event(thing, What.RINGING, owner, row(info))] if owner else []
        return []

    def _owner_of(self, path: str) -> tuple[Thing, dict[str, Plain]]:
        if path in self.modems:
            return Thing.MODEM, self.modems[path]
        return Thing.CALL, self.calls.get(path, {})

    def _removed(self, path: str) -> list[Event]:
        if path in self.modems:
            return [Event(Thing.MODEM, What.REMOVED, self.modems.pop(path))]
        if path in self.calls:
            return [Event(Thing.CALL, What.REMOVED, self.calls.pop(path))]
        return []

    def _changed(self, path: str, properties: Mapping[str, object]) -> list[Event]:
        if path == ROOT:
            return self._manager_changed(properties)
        thing, owner = self._owner_of(path)
        if not owner:
            return []
        fresh = self._modem_row(properties) if thing is Thing.MODEM else self._call_row(properties)
        changed = {key: value for key, value in fresh.items() if owner.get(key) != value}
        owner |= changed
        return [Event(thing, What.CHANGED, owner, changed)] if changed else []

    def _manager_changed(self, properties: Mapping[str, object]) -> list[Event]:
        before, error = set(self.policies), text(self.manager, "config-error")
        problems = texts(self.manager, "problems")
        self._manager(properties)
        events = _told(What.REMOVED, problems, texts(self.manager, "problems"))
        events += _told(What.ADDED, texts(self.manager, "problems"), problems)
        if (now := text(self.manager, "config-error")) != error:
            events.append(Event(Thing.CONFIGURATION, What.CHANGED, self.manager, {"config-error": now}))
        for name, mode, status in self.policies:
            if (name, mode, status) not in before:
                policy: Row = {"policy": name, "mode": mode, "status": status}
                events.append(Event(Thing.POLICY, What.CHANGED, policy, policy))
        return events

    async def _owner_changed(self, owner: str) -> list[Event]:
        if owner == self._owner:
            return []
        self._owner = owner
        if not owner:
            self.modems.clear()
            self.calls.clear()
            return [Event(Thing.DAEMON, What.LOST)]
        try:
            await self._read()
        except NoDaemon:
            # Gone again already: its going is in the queue, and so is the end of the bus.
            return []
        return [Event(Thing.DAEMON, What.BACK, self.manager)]


def _told(what: What, problems: Sequence[str], others: Sequence[str]) -> list[Event]:
    """An event for each of the problems that is not among the others."""
    return [Event(Thing.PROBLEM, what, {"problem": problem}) for problem in problems if problem not in others]


def _options(options: Mapping[str, DialOption]) -> dict[str, Variant]:
    return {key: _variant(value, False) for key, value in options.items()}


def _descriptor(answer: Sequence[object]) -> int:
    match answer:
        case [int(fd)] if fd >= 0:
            return fd
    raise BusError("", f"the daemon gave no descriptor: {answer!r}")


def _begun(answer: Sequence[object]) -> int:
    """The number of the call whose path the daemon gave."""
    match answer:
        case [str(path)] if call_number(path):
            return call_number(path)
    raise BusError("", f"the daemon named no call: {answer!r}")
