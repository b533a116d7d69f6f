"""The session type `auto`: listens to the caller first, then becomes one of two sessions.

Who begins PPP gets the session `ppp` at once, with all that was heard of the first frame.  Who presses ENTER, or is
silent for `wait` seconds, gets the session `login`, with what was typed.  A fax machine gets no session.  While it
listens nothing is said or echoed; once a session has the line, nobody else listens any more.

It runs in the daemon, which has the line anyway, also where the chosen session runs in a unit of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, replace
from typing import Final

from dialupd.config.values import AutoSession, LoginSession, PlainSession
from dialupd.config.values import Session as SessionConfig
from dialupd.io.port import hung_up
from dialupd.model import DialupError, EndReason, ErrorKind, SessionState
from dialupd.sessions.base import (
    LINE_LOST,
    NEVER_BEGAN,
    CallFacts,
    KeptLine,
    Progress,
    Report,
    Session,
    SessionEnd,
    StopRequest,
)
from dialupd.sessions.firstbytes import FirstBytes, Heard
from dialupd.sessions.relay import SILENCE

_log = logging.getLogger(__name__)

# So many times `wait` a caller is listened to who goes on sending what is neither PPP nor a line.
_WAITS: Final = 12
# Few enough that what is read behind a decision still fits the message to a unit.
_READ: Final = 1024
FAX_CALLS: Final = SessionEnd(EndReason.FAX, "a fax machine calls, and nobody here takes faxes")

Lookup = Callable[[str], SessionConfig | None]


@dataclass(frozen=True, slots=True)
class HeardLine:
    """A line of which some bytes were read already; implements `KeptLine`."""

    line: KeptLine
    early: bytes

    @property
    def path(self) -> str:
        return self.line.path

    @property
    def shows_carrier(self) -> bool:
        return self.line.shows_carrier

    @property
    def tally(self) -> MutableSequence[int]:
        return self.line.tally

    def dup(self) -> int:
        return self.line.dup()

    def fileno(self) -> int:
        return self.line.fileno()


def choices(config: AutoSession, session: Lookup) -> tuple[PlainSession | None, PlainSession | None]:
    """The sessions `ppp` and `login`; None for one that the configuration does not have any more."""
    ppp, login = session(config.ppp), session(config.login) if config.login else LoginSession(config.name)
    return (
        None if isinstance(ppp, AutoSession) else ppp,
        None if isinstance(login, AutoSession) else login,
    )


Begin = Callable[[PlainSession, KeptLine, CallFacts], Session]


class AutoCall:
    """Implements `Session`; `begin` makes the chosen one."""

    def __init__(
        self,
        config: AutoSession,
        session: Lookup,
        line: KeptLine,
        facts: CallFacts,
        report: Report,
        begin: Begin,
    ) -> None:
        self._config = config
        self._session = session
        self._line = line
        self._facts = facts
        self._report = report
        self._begin = begin
        self._stop = StopRequest()
        self._first = FirstBytes()
        self.chosen: Session | None = None
        """What the line became, once that is decided."""

    async def run(self) -> SessionEnd:
        self._report(Progress(session_state=SessionState.STARTING))
        listening = asyncio.create_task(self._listen(), name=f"call {self._facts.call} listens")
        try:
            if await self._stop.before(listening):
                return SessionEnd(self._stop.reason)
            heard = listening.result()
        except LINE_LOST:
            return NEVER_BEGAN
        finally:
            listening.cancel()
            await asyncio.wait({listening})
        match heard:
            case Heard.FAX:
                return FAX_CALLS
            case Heard.CARRIER_LOST:
                return SessionEnd(EndReason.REMOTE_HANGUP, "the caller hung up before he said what he wants")
        ppp, login = choices(self._config, self._session)
        config, early = (ppp, self._first.frames()) if heard is Heard.PPP else (login, self._first.typed())
        if config is None:
            return SessionEnd(
                EndReason.SESSION_FAILED,
                f"the session that {self._config.name} names was taken out of the configuration",
            )
        _log.info("call %d: %s, so the session is %s", self._facts.call, _WHY[heard], config.name)
        self._report(Progress(session=config.name))
        self.chosen = self._begin(config, HeardLine(self._line, early), replace(self._facts, session=config.name))
        if self._stop:
            self.chosen.stop(self._stop.reason)
        return await self.chosen.run()

    def stop(self, reason: EndReason) -> None:
        self._stop.set(reason)
        if self.chosen is not None:
            self.chosen.stop(reason)

    def counts(self) -> tuple[int, int]:
        return self.chosen.counts() if self.chosen is not None else (self._first.count, 0)

    def open(self) -> int:
        if self.chosen is None:
            raise DialupError(ErrorKind.WRONG_STATE, f"it is not decided yet what session call {self._facts.call} gets")
        return self.chosen.open()

    async def _listen(self) -> Heard:
        """PPP, FAX, CARRIER_LOST, ENTER, or NOTHING after silence; raises LINE_LOST."""
        fd = self._line.dup()
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(fd, readable.set)
        latest = loop.time() + _WAITS * self._config.wait
        try:
            heard = self._first.feed(self._line.early)
            while heard not in (Heard.PPP, Heard.FAX, Heard.ENTER):
                try:
                    async with asyncio.timeout_at(min(loop.time() + self._patience(heard), latest)):
                        await readable.wait()
                except TimeoutError:
                    return Heard.ENTER if heard is Heard.UNSURE else heard
                readable.clear()
                try:
                    data = os.read(fd, _READ)
                except BlockingIOError:
                    if not hung_up(fd):
                        continue
                    data = b""
                except OSError:  # EIO: hung up
                    data = b""
                if not data:
                    return Heard.CARRIER_LOST
                heard = self._first.feed(data)
            return heard
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    def _patience(self, heard: Heard) -> float:
        match heard:
            case Heard.UNSURE:
                return self._first.patience
            case Heard.CARRIER_LOST:
                return SILENCE
            case _:
                return self._config.wait


_WHY: Final = {
    Heard.PPP: "the caller speaks PPP",
    Heard.ENTER: "the caller has pressed ENTER",
    Heard.NOTHING: "the caller is silent",
}
