"""Where sessions run: as children of the daemon, or in units of their own, behind one interface.

`Children` serves development, containers and tests; the daemon then needs all the rights that its sessions need.
`InUnits` is for systemd: the daemon has no rights and names a unit to start, and calls live on when it restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from dialupd.config.values import ClientSession
from dialupd.config.values import Session as SessionConfig
from dialupd.io.fdstore import FdStore
from dialupd.sessions.base import CallFacts, Report, RuntimePaths, Session
from dialupd.sessions.gate import Gate
from dialupd.sessions.protocol import Kind
from dialupd.sessions.start import make_session
from dialupd.sessions.unit import KeptLine, UnitSession, kind_of
from dialupd.units import UnitError, Units

log = logging.getLogger(__name__)


class Runner(Protocol):
    """How a session comes to run; each method is called on the loop."""

    def session(self, config: SessionConfig, line: KeptLine, facts: CallFacts, report: Report, memo: bytes) -> Session:
        """A session for a connected line; `memo` describes the call to a daemon that takes it over."""

    def resumed(self, kind: Kind, call: int, report: Report, kept: Mapping[str, int], *, streams: bool) -> Session:
        """The session of a call that an earlier daemon has left, from the descriptors that were kept of it."""

    def detach(self, session: Session) -> bool:
        """Let a session go on when its `run` is cancelled; False where it cannot."""


class Children:
    """Sessions in the daemon's own process, their programs as its children."""

    def __init__(self, paths: RuntimePaths) -> None:
        self._paths = paths

    def session(self, config: SessionConfig, line: KeptLine, facts: CallFacts, report: Report, memo: bytes) -> Session:
        return make_session(config, line, facts, report, self._paths)

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
        self._stopping: set[asyncio.Task[None]] = set()

    def session(self, config: SessionConfig, line: KeptLine, facts: CallFacts, report: Report, memo: bytes) -> Session:
        streams = isinstance(config, ClientSession)
        return self._made(kind_of(config), facts.call, report, streams=streams).on(line, facts, memo)

    def resumed(self, kind: Kind, call: int, report: Report, kept: Mapping[str, int], *, streams: bool) -> Session:
        return self._made(kind, call, report, streams=streams).resumed(kept)

    def detach(self, session: Session) -> bool:
        return isinstance(session, UnitSession) and session.detach()

    async def close(self) -> None:
        """Until the units that were given up are down."""
        while self._stopping:
            await asyncio.wait(self._stopping)

    def _made(self, kind: Kind, call: int, report: Report, *, streams: bool) -> UnitSession:
        return UnitSession(self._units, self._gate, self._store, kind, call, report, self._end_unit, streams=streams)

    def _end_unit(self, unit: str) -> None:
        task = asyncio.create_task(self._stop(unit), name=f"{unit} stops")
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop(self, unit: str) -> None:
        try:
            await self._units.stop(unit)
        except UnitError as error:
            log.warning("%s", error)
