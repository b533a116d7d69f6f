"""One session in a unit of its own: the other end of `dialupd.sessions.unit`.

Begun by systemd as root with the few rights of its unit, it takes from the daemon the line and the names of call and
session; what these mean it reads itself in root's configuration.  A program's session becomes the program's user
before it does anything with what the daemon gave.  The relay between line and program lives here, so a daemon that
restarts interrupts nothing; and when the daemon's end of the socket closes, the daemon is gone for good and the
session ends in order.

It is begun while the modem still dials, so it may wait for the line for minutes; a call that comes to nothing ends it
by the end of the socket, and nothing is said of that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import mmap
import os
import pwd
import re
import signal
import socket
import stat
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Final

from dialupd.config.problems import ConfigError
from dialupd.config.values import AutoSession, ClientSession, Config, ExecSession, PlainSession
from dialupd.io.account import AccountError, become
from dialupd.io.configfile import read_config_or_last_good
from dialupd.io.journal import mark
from dialupd.io.notify import Notifier
from dialupd.io.radioport import is_rfcomm
from dialupd.logs import set_up_logging
from dialupd.model import EndReason
from dialupd.sessions import protocol
from dialupd.sessions.auto import choices
from dialupd.sessions.base import Progress, RuntimePaths, Session, SessionEnd
from dialupd.sessions.protocol import Begin, Ended, Hello, Kind, Message, News, ProtocolError, Stop, Tell
from dialupd.sessions.start import make_session
from dialupd.sessions.stream import StreamCall
from dialupd.sessions.unit import TALLY, kind_of

log = logging.getLogger(__name__)

_CALL: Final = re.compile("[0-9]{1,15}", re.ASCII)


class Refused(Exception):
    """The session cannot begin: why, for whoever looks at the call."""


class NotNeeded(Exception):
    """There will be no line."""


@dataclass(frozen=True, slots=True)
class GivenLine:
    """A `sessions.base.Line` on a descriptor from the daemon, shared by all who read it here."""

    fd: int
    path: str
    shows_carrier: bool
    early: bytes
    tally: MutableSequence[int]

    def dup(self) -> int:
        fd = os.dup(self.fd)
        os.set_blocking(fd, False)
        return fd


class Helper:
    """The session's side of the socket."""

    def __init__(self, sock: socket.socket, kind: Kind, call: int, user: str) -> None:
        self._socket = sock
        self._kind = kind
        self._call = call
        self._user = user
        self._loop = asyncio.get_running_loop()
        self._known = Progress()
        self._end: SessionEnd | None = None
        self._session: Session | None = None
        self._running: asyncio.Task[SessionEnd] | None = None
        self._asked: EndReason | None = None
        self._begin: asyncio.Future[tuple[Begin, list[int]]] = self._loop.create_future()
        self._gone = asyncio.Event()

    async def run(self, read_config: Callable[[], Config], run_directory: str) -> None:
        """Until the session is over and the daemon knows it."""
        self._loop.add_reader(self._socket, self._readable)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop, EndReason.SHUTDOWN)
        try:
            self._say(Hello(protocol.VERSION, self._kind, self._call))
            try:
                end = await self._hold(read_config, run_directory)
            except NotNeeded:
                log.debug("call %d: the line is not needed", self._call)
                return
            self._end = end
            self._say(Ended(end))
            log.info(
                "call %d: the session ended: %s%s", self._call, end.reason, f" ({end.detail})" if end.detail else ""
            )
            await self._gone.wait()
        finally:
            self._loop.remove_reader(self._socket)

    async def _hold(self, read_config: Callable[[], Config], run_directory: str) -> SessionEnd:
        begin, descriptors = await self._begin
        mark(MODEM=begin.facts.modem, SESSION=begin.facts.session)
        with contextlib.ExitStack() as held:
            for fd in descriptors:
                held.callback(_close, fd)
            try:
                session = self._session = self._made(begin, descriptors, read_config, run_directory, held)
            except Refused as error:
                return SessionEnd(EndReason.SESSION_FAILED, str(error))
            if self._gone.is_set():
                session.stop(EndReason.SHUTDOWN)
            self._running = running = asyncio.create_task(session.run(), name=f"call {self._call} session")
            await asyncio.wait({running})
            if running.cancelled():
                return SessionEnd(self._asked or EndReason.SHUTDOWN, "it did not end in time")
            return running.result()

    def _made(
        self,
        begin: Begin,
        descriptors: list[int],
        read_config: Callable[[], Config],
        run_directory: str,
        held: contextlib.ExitStack,
    ) -> Session:
        if begin.facts.call != self._call:
            raise Refused(f"the daemon speaks of call {begin.facts.call} to the unit of call {self._call}")
        config = self._config(begin.facts.session, read_config)
        stream = -1
        match descriptors, config:
            case [line, tally], _ if not isinstance(config, ClientSession):
                pass
            case [line, tally, stream], ClientSession():
                _require_socket(stream)
            case _:
                raise Refused(f"the daemon gave {len(descriptors)} descriptors, which is not what the session takes")
        # Any other socket could lead to a service that takes what root writes for root's own word, such as the journal.
        if not os.isatty(line) and not is_rfcomm(line):
            raise Refused("what the daemon gave is no line")
        if self._kind is Kind.EXEC:
            user = config.user if isinstance(config, ExecSession) else ""
            try:
                become(user or self._user)
            except AccountError as error:
                raise Refused(str(error)) from None
            if isinstance(config, ExecSession):
                config = replace(config, user="")
        given = GivenLine(line, begin.facts.device, begin.shows_carrier, begin.early, _mapped(tally, held))
        if isinstance(config, ClientSession):
            return StreamCall(given, os.dup(stream), self._report)
        return make_session(config, given, begin.facts, self._report, _paths(run_directory))

    def _config(self, name: str, read_config: Callable[[], Config]) -> PlainSession:
        try:
            whole = read_config()
        except ConfigError as error:
            raise Refused(f"the configuration has errors: {error.problems[0]}") from None
        config = whole.session(name)
        if config is None:
            raise Refused(f"the configuration has no session {name!r}: was it renamed without a reload?")
        if isinstance(config, AutoSession):
            # The daemon has listened; which of the two it found, the unit's kind says.
            config = next((one for one in choices(config, whole.session) if one and kind_of(one) is self._kind), None)
        if config is None or kind_of(config) is not self._kind:
            raise Refused(f"the session {name} is of another kind than the unit: was it changed without a reload?")
        return config

    def _report(self, progress: Progress) -> None:
        news = {field.name: value for field in fields(progress) if (value := getattr(progress, field.name)) is not None}
        self._known = replace(self._known, **news)
        self._say(News(progress))

    def _stop(self, reason: EndReason) -> None:
        if self._session is not None:
            self._session.stop(reason)
        elif not self._begin.done():
            self._begin.set_exception(NotNeeded())

    def _say(self, message: Message) -> None:
        try:
            protocol.send(self._socket, message)
        except OSError as error:
            # Nobody reads just now: a daemon that takes over asks for all of it.
            log.debug("the daemon is not told: %s", error)

    def _readable(self) -> None:
        try:
            received = protocol.receive(self._socket)
        except BlockingIOError:
            return
        except ProtocolError as error:
            log.warning("the daemon says what is no message: %s", error)
            return
        match received:
            case None:
                self._loop.remove_reader(self._socket)
                self._gone.set()
                if self._asked is not None and self._running is not None:
                    self._running.cancel()
                else:
                    self._stop(EndReason.SHUTDOWN)
            case (Begin() as begin, descriptors) if not self._begin.done():
                self._begin.set_result((begin, descriptors))
            case (Tell(), []):
                self._say(News(self._known))
                if self._end is not None:
                    self._say(Ended(self._end))
            case (Stop(reason), []):
                self._asked = self._asked or reason
                self._stop(reason)
            case (message, descriptors):
                protocol.close(descriptors)
                log.warning("the daemon says %s, which it must not now", type(message).__name__)


def main(kind: Kind, args: argparse.Namespace) -> int:
    """0 done, 1 failed, 2 no such instance."""
    set_up_logging("info", call=args.instance)
    if not _CALL.fullmatch(args.instance):
        log.error("%r is no call's number", args.instance)
        return 2

    try:
        asyncio.run(_hold(kind, args))
    except Refused as error:
        log.error("%s", error)
        return 1
    return 0


async def _hold(kind: Kind, args: argparse.Namespace) -> None:
    notifier = Notifier()
    try:
        with connect(args.run_directory, args.daemon) as sock:
            # For what holds secrets: the unit's own directory, which systemd makes and removes with it.
            own = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
            if kind is Kind.PPP and not own:
                raise Refused("the unit has no RuntimeDirectory= of its own, and pppd's options may stand nowhere else")
            notifier.begun()  # until then the unit counts as starting, and the daemon learns at once that it has failed
            helper = Helper(sock, kind, int(args.instance), args.user)
            await helper.run(partial(read_config_or_last_good, args.config), own)
    except Refused as error:
        notifier.status(str(error))
        raise
    finally:
        notifier.close()


def connect(run_directory: str, user: str) -> socket.socket:
    """The gate of that user's daemon, or root's; raises Refused when nobody is there, or somebody else."""
    path = os.path.join(run_directory, protocol.SOCKET)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
        owner = protocol.peer_user(sock)
        if owner not in (0, _id_of(user)):
            raise Refused(f"{path} belongs to user {owner}, not to the daemon of {user}")
    except OSError as error:
        sock.close()
        raise Refused(f"{path}: {error.strerror}; the daemon starts this unit, nobody else") from None
    except Refused:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _id_of(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return 0


def _require_socket(fd: int) -> None:
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        raise Refused("what the daemon gave as a stream is no socket")


def _paths(own: str) -> RuntimePaths:
    """The unit's own directory, and the one above it, which the units of all calls share."""
    return RuntimePaths(own, os.path.dirname(own))


def _mapped(fd: int, held: contextlib.ExitStack) -> MutableSequence[int]:
    try:
        memory = mmap.mmap(fd, TALLY.size)
    except (OSError, ValueError) as error:
        raise Refused(f"the daemon gave nothing to count in: {error}") from None
    held.callback(memory.close)
    whole = held.enter_context(memoryview(memory))
    numbers = whole.cast("Q")
    held.callback(numbers.release)
    return numbers  # type: ignore[return-value]


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
