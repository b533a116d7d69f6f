"""A session in a unit of its own, as the daemon sees it.

The unit's program (`dialupd.helper`) runs the session itself; here it is started, given the line, listened to and asked
to end.  All that is needed to go on after a restart of the daemon is kept in the service manager's descriptor store
while the session runs: the port, our end of the socket to the session, the tally of bytes, the description of the call
(`memo`), and the stream that no client has opened yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol, assert_never

from dialupd.config.values import ClientSession, ExecSession, LoginSession, PlainSession, PppSession, TcpSession
from dialupd.io.fdstore import FdStore
from dialupd.model import DialupError, EndReason, ErrorKind, SessionState
from dialupd.sessions import protocol
from dialupd.sessions.base import (
    LINE_LOST,
    NEVER_BEGAN,
    CallFacts,
    KeptLine,
    Progress,
    Report,
    SessionEnd,
    StopRequest,
    not_a_stream,
)
from dialupd.sessions.client import PATIENCE as CLIENT_PATIENCE
from dialupd.sessions.protocol import Begin, Ended, Kind, News, ProtocolError, Stop, Tell
from dialupd.sessions.starting import Starting, unit_name
from dialupd.units import UnitError

_log = logging.getLogger(__name__)

# Seconds for a session that is ended by force to let go of the line.
LETS_GO: Final = 3.0
TALLY: Final = struct.Struct("=QQ")

# What is kept of a call over a restart, each under this word and the call's number.
PORT, MEMO, SOCKET, COUNTS, STREAM = "port", "call", "session", "tally", "stream"
_KEPT: Final = (PORT, MEMO, SOCKET, COUNTS, STREAM)


class Keeper(Protocol):
    """Who starts and ends the units of sessions, in the background where that takes time."""

    def start(self, kind: Kind, call: int) -> Starting:
        """The call's unit of this kind, which may have been started before."""

    def give_up(self, starting: Starting) -> None:
        """Nobody wants the unit."""

    def end(self, unit: str) -> None:
        """Stop the unit, whatever its session does."""


def kind_of(config: PlainSession) -> Kind:
    """The kind of unit that a session runs in."""
    match config:
        case PppSession():
            return Kind.PPP
        case LoginSession():
            return Kind.LOGIN
        case ExecSession() | TcpSession() | ClientSession():
            return Kind.EXEC
        case _:
            assert_never(config)


class UnitSession:
    """Implements `Session`."""

    def __init__(
        self,
        keeper: Keeper,
        store: FdStore,
        kind: Kind,
        call: int,
        report: Report,
        *,
        streams: bool = False,
    ) -> None:
        self._keeper = keeper
        self._store = store
        self._call = call
        self._unit = unit_name(kind, call)
        self._kind = kind
        self._report = report
        self._streams = streams
        self._why = ""
        self._stop = StopRequest()
        self._begin: tuple[KeptLine, CallFacts, bytes] | None = None
        self._socket: socket.socket | None = None
        self._tally = -1
        self._stream = self._far_end = -1
        self._counted = (0, 0)
        self._opened = False
        self._detached = False
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[SessionEnd] = self._loop.create_future()

    # -- made in one of two ways

    def on(self, line: KeptLine, facts: CallFacts, memo: bytes) -> UnitSession:
        """To begin on a line; `memo` is what the next daemon is to know of the call."""
        self._begin = (line, facts, memo)
        if self._streams:  # a client need not wait for the unit: what it sends does
            ours, theirs = socket.socketpair()
            self._stream, self._far_end = theirs.detach(), ours.detach()
        return self

    def resumed(self, kept: Mapping[str, int]) -> UnitSession:
        """To go on with what an earlier daemon has left; the descriptors are ours from now on."""
        self._socket = socket.socket(fileno=kept[SOCKET])
        self._socket.setblocking(False)
        self._tally = kept[COUNTS]
        self._stream = kept.get(STREAM, -1)
        self._opened = self._stream < 0
        return self

    # -- Session

    async def run(self) -> SessionEnd:
        timer: asyncio.TimerHandle | None = None
        try:
            if self._begin is not None:
                self._report(Progress(session_state=SessionState.STARTING))
                end = await self._start(*self._begin)
                if end is not None:
                    return end
            elif self._streams and self._opened:
                self._report(Progress(session_state=SessionState.RUNNING))
            if self._streams and not self._opened:
                timer = self._loop.call_later(CLIENT_PATIENCE, self._nobody_came)
            return await self._follow()
        except asyncio.CancelledError:
            if self._stop and self._socket is not None:
                await self._force(self._socket)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._close()

    def stop(self, reason: EndReason) -> None:
        if not self._stop:
            self._stop.set(reason)
            self._say(Stop(reason))

    def counts(self) -> tuple[int, int]:
        if self._tally >= 0:
            with contextlib.suppress(OSError, struct.error):
                self._counted = TALLY.unpack(os.pread(self._tally, TALLY.size, 0))
        return self._counted

    def open(self) -> int:
        if not self._streams:
            raise not_a_stream()
        if self._opened:
            raise DialupError(ErrorKind.IN_PROGRESS, f"the data stream of call {self._call} is taken already")
        if self._stream < 0 or self._stop or self._ended.done():
            raise DialupError(ErrorKind.WRONG_STATE, f"call {self._call} has no data stream now")
        fd, self._stream, self._opened = self._stream, -1, True
        self._store.drop(f"{STREAM}-{self._call}")
        self._report(Progress(session_state=SessionState.RUNNING))
        return fd

    def detach(self) -> bool:
        """Let the session go on without this daemon: cancelling `run` then ends nothing. False: it cannot."""
        self._detached = self._store.keeps and self._socket is not None and not self._stop and not self._ended.done()
        return self._detached

    # -- inside

    async def _start(self, line: KeptLine, facts: CallFacts, memo: bytes) -> SessionEnd | None:
        """Have the unit started and give it the line; how it ended, if it did not begin."""
        if self._stop:
            return SessionEnd(self._stop.reason)
        starting = self._keeper.start(self._kind, self._call)
        asking = asyncio.create_task(starting.asked(), name=f"{self._unit} comes")
        try:
            if await self._stop.before(asking):
                return SessionEnd(self._stop.reason)
            self._socket = asking.result()
            self._hand_over(self._socket, line, facts, memo)
        except UnitError as error:
            return SessionEnd(EndReason.SESSION_FAILED, str(error))
        except LINE_LOST:
            return NEVER_BEGAN
        finally:
            asking.cancel()
            if self._socket is None:
                self._keeper.give_up(starting)
            else:
                await starting.settle()
        return None

    def _hand_over(self, sock: socket.socket, line: KeptLine, facts: CallFacts, memo: bytes) -> None:
        with contextlib.ExitStack() as passed:
            port = line.dup()
            passed.callback(os.close, port)
            self._tally = _memfd(f"dialupd-tally-{self._call}", bytes(TALLY.size))
            given = [port, self._tally]
            if self._streams:
                given.append(self._far_end)
            try:
                protocol.send(sock, Begin(facts, line.shows_carrier, line.early), given)
            except OSError as error:
                text = f"{self._unit} ended before it got the line ({error.strerror}); "
                raise UnitError(f"{text}journalctl -u {self._unit} tells why") from None
            self._close_far_end()
            described = _memfd(f"dialupd-call-{self._call}", memo)
            passed.callback(os.close, described)
            kept = {PORT: line.fileno(), MEMO: described, SOCKET: sock.fileno(), COUNTS: self._tally}
            if self._stream >= 0:
                kept[STREAM] = self._stream
            for word, fd in kept.items():
                self._store.put(f"{word}-{self._call}", fd)

    async def _follow(self) -> SessionEnd:
        assert self._socket is not None
        self._loop.add_reader(self._socket, self._readable)
        if self._begin is None:
            self._say(Tell())
        if self._stop:
            self._say(Stop(self._stop.reason))
        try:
            end = await asyncio.shield(self._ended)
        finally:
            self._loop.remove_reader(self._socket)
        return replace(end, detail=self._why) if self._why else end

    async def _force(self, sock: socket.socket) -> None:
        """It was asked to end and has not: our end of the socket ends it at once. Until it has let go of the line."""
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)  # closing would leave the copy that systemd may still have
        self._loop.add_reader(sock, self._readable)
        try:
            await asyncio.wait({self._ended}, timeout=LETS_GO)
        finally:
            self._loop.remove_reader(sock)

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            received = protocol.receive(self._socket)
        except BlockingIOError:
            return
        except ProtocolError as error:
            _log.warning("%s says what is no message: %s", self._unit, error)
            return
        match received:
            case None:
                text = f"{self._unit} ended without a word; journalctl -u {self._unit} tells more"
                end = SessionEnd(self._stop.reason) if self._stop else SessionEnd(EndReason.SESSION_FAILED, text)
                self._end(end)
            case (News(progress), []):
                self._report(replace(progress, session=None))  # that is ours to choose
            case (Ended(end), []):
                # Only login(1)'s place knows who has proved who he is, and no unit of another kind may claim it.
                self._end(end if self._kind is Kind.LOGIN else replace(end, call_back=""))
            case (message, descriptors):
                protocol.close(descriptors)
                _log.warning("%s says %s, which is not its to say", self._unit, type(message).__name__)

    def _end(self, end: SessionEnd) -> None:
        assert self._socket is not None
        self._loop.remove_reader(self._socket)
        if not self._ended.done():
            self._ended.set_result(end)

    def _say(self, message: Stop | Tell) -> None:
        if self._socket is None:
            return
        try:
            protocol.send(self._socket, message)
        except OSError as error:
            _log.debug("%s is not told: %s", self._unit, error)

    def _nobody_came(self) -> None:
        if not self._opened:
            self._why = f"nobody opened the data stream within {CLIENT_PATIENCE:.0f} s"
            self.stop(EndReason.SESSION_FAILED)

    def _close(self) -> None:
        rx, tx = self.counts()
        self._report(Progress(rx_bytes=rx, tx_bytes=tx))
        if not self._detached:
            self._store.drop(*(f"{word}-{self._call}" for word in _KEPT))
            if self._socket is not None and not self._ended.done():
                self._keeper.end(self._unit)
        if self._socket is not None:
            self._socket.close()  # the session takes that, unless the store holds a copy, for the word to leave
        self._close_far_end()
        for fd in (self._tally, self._stream):
            if fd >= 0:
                os.close(fd)
        self._tally = self._stream = -1

    def _close_far_end(self) -> None:
        """The session has it now, or will never have it."""
        fd, self._far_end = self._far_end, -1
        if fd >= 0:
            os.close(fd)


def _memfd(name: str, content: bytes) -> int:
    """A file in memory whose size is settled, so that whoever maps it is safe."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd
