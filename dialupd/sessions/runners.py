"""Where sessions run: as children of the daemon, or in units of their own, behind one interface.

`Children` serves development, containers and tests; the daemon then needs all the rights that its sessions need.
`InUnits` is for systemd: the daemon has no rights and names a unit to start, and calls live on when it restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Protocol

from dialupd.config.values import AutoSession, ClientSession, PlainSession
from dialupd.config.values import Session as SessionConfig
from dialupd.io.fdstore import FdStore
from dialupd.sessions.auto import AutoCall, Lookup
from dialupd.sessions.base import CallFacts, KeptLine, Report, RuntimePaths, Session
from dialupd.sessions.gate import Gate
from dialupd.sessions.protocol import Kind
from dialupd.sessions.start import make_session
from dialupd.sessions.starting import Starting
from dialupd.sessions.unit import UnitSession, kind_of
from dialupd.units import UnitError, Units

log = logging.getLogger(__name__)

Memo = Callable[[PlainSession], bytes]
"""What describes a call with that session to a daemon that takes it over."""


class Runner(Protocol):
    """How a session comes to run; each method is called on the loop."""

    def prepare(self, config: SessionConfig, call: int) -> None:
        """The call may be connected soon: begin what takes time. What is known of it by then is its number alone."""

    def forget(self, call: int) -> None:
        """The call comes to nothing: end what was prepared for it, if no session has taken that."""

    def session(
        self, config: SessionConfig, others: Lookup, line: KeptLine, facts: CallFacts, report: Report, memo: Memo
    ) -> Session:
        """A session for a connected line; `others` are those that it may become."""

    def resumed(self, kind: Kind, call: int, report: Report, kept: Mapping[str, int], *, streams: bool) -> Session:
        """The session of a call that an earlier daemon has left, from the descriptors that were kept of it."""

    def detach(self, session: Session) -> bool:
        """Let a session go on when its `run` is cancelled; False where it cannot."""


class Children:
    """Sessions in the daemon's own process, their programs as its children."""

    def __init__(self, paths: RuntimePaths) -> None:
        self._paths = paths

    def prepare(self, config: SessionConfig, call: int) -> None:
        """Nothing takes time."""

    def forget(self, call: int) -> None:
        """Nothing was prepared."""

    def session(
        self, config: SessionConfig, others: Lookup, line: KeptLine, facts: CallFacts, report: Report, memo: Memo
    ) -> Session:
        def begin(config: PlainSession, line: KeptLine, facts: CallFacts) -> Session:
            return make_session(config, line, facts, report, self._paths)

        if isinstance(config, AutoSession):
            return AutoCall(config, others, line, facts, report, begin)
        return begin(config, line, facts)

    def resumed(self, kind: Kind, call: int, report: Report, kept: Mapping[str, int], *, streams: bool) -> Session:
        raise AssertionError("nothing was kept")

    def detach(self, session: Session) -> bool:
        return False


class InUnits:
    """Each session in a unit of its own, of the kind that its type asks for."""

    def __init__(self, units: Units, gate: Gate, store: FdStore) -> None:
        self._units = units
        self._gate = gate
        self._store = store
        self._prepared: dict[int, Starting] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    # -- Runner

    def prepare(self, config: SessionConfig, call: int) -> None:
        # Of the two that an `auto` may become, the caller who waits for PPP is a machine that soon gives up.
        kind = Kind.PPP if isinstance(config, AutoSession) else kind_of(config)
        self._prepared[call] = Starting(self._units, self._gate, kind, call)

    def forget(self, call: int) -> None:
        if call in self._prepared:
            self.give_up(self._prepared.pop(call))

    def session(
        self, config: SessionConfig, others: Lookup, line: KeptLine, facts: CallFacts, report: Report, memo: Memo
    ) -> Session:
        def begin(config: PlainSession, line: KeptLine, facts: CallFacts) -> Session:
            made = self._made(kind_of(config), facts.call, report, streams=isinstance(config, ClientSession))
            return made.on(line, facts, memo(config))

        if isinstance(config, AutoSession):
            return AutoCall(config, others, line, facts, report, begin)
        return begin(config, line, facts)

    def resumed(self, kind: Kind, call: int, report: Report, kept: Mapping[str, int], *, streams: bool) -> Session:
        return self._made(kind, call, report, streams=streams).resumed(kept)

    def detach(self, session: Session) -> bool:
        holder = session.chosen if isinstance(session, AutoCall) else session
        return isinstance(holder, UnitSession) and holder.detach()

    async def close(self) -> None:
        """Give up what was prepared; until nothing is left to be asked of systemd."""
        for call in tuple(self._prepared):
            self.forget(call)
        while self._stopping:
            await asyncio.wait(self._stopping)

    # -- Keeper of the sessions that are made here

    def start(self, kind: Kind, call: int) -> Starting:
        prepared = self._prepared.pop(call, None)
        if prepared is not None:
            if prepared.kind is kind:
                return prepared
            self.give_up(prepared)
        return Starting(self._units, self._gate, kind, call)

    def give_up(self, starting: Starting) -> None:
        self._in_background(starting.give_up(), starting.unit)

    def end(self, unit: str) -> None:
        self._in_background(self._units.stop(unit), unit)

    def _made(self, kind: Kind, call: int, report: Report, *, streams: bool) -> UnitSession:
        return UnitSession(self, self._store, kind, call, report, streams=streams)

    def _in_background(self, stopping: Coroutine[None, None, None], unit: str) -> None:
        task = asyncio.create_task(_warned(stopping), name=f"{unit} stops")
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)


async def _warned(stopping: Coroutine[None, None, None]) -> None:
    try:
        await stopping
    except UnitError as error:
        log.warning("%s", error)
