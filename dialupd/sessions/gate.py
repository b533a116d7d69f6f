"""The socket at which sessions in units of their own ask for their line.

A unit is started by its name alone; what it is to work on it gets here.  Only root, as which every unit begins, or the
daemon's own user is let in, and only for a call that is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import Final

from dialupd.sessions import protocol
from dialupd.sessions.protocol import Hello, Kind, ProtocolError

_log = logging.getLogger(__name__)

# Seconds from a connection to its first word.
PATIENCE: Final = 10.0
# Connections that have not said anything yet; a unit speaks at once.
MOST_SILENT: Final = 64


class Gate:
    """Made once by the daemon; the directory is its own and exists."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, protocol.SOCKET)
        self._loop = asyncio.get_running_loop()
        self._expected: dict[tuple[Kind, int], asyncio.Future[socket.socket]] = {}
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self._socket.bind(self._path)
            os.chmod(self._path, 0o660)
            self._socket.listen()
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Let nobody in any more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        for connection in list(self._silent):
            self._refuse(connection)

    def expect(self, kind: Kind, call: int) -> asyncio.Future[socket.socket]:
        """The connection of a call's unit, which whoever awaits it closes; cancel it when nobody waits any more."""
        future: asyncio.Future[socket.socket] = self._loop.create_future()
        self._expected[kind, call] = future
        future.add_done_callback(lambda _: self._expects_no_more(kind, call, future))
        return future

    def _expects_no_more(self, kind: Kind, call: int, future: asyncio.Future[socket.socket]) -> None:
        if self._expected.get((kind, call)) is future:  # else the call has another unit by now
            del self._expected[kind, call]

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as error:  # whoever asked has gone, or there is no descriptor left
            _log.debug("no session came in: %s", error)
            return
        connection.setblocking(False)
        user = protocol.peer_user(connection)
        if user not in (0, os.geteuid()) or len(self._silent) >= MOST_SILENT:
            _log.warning("user %d is not let in at %s", user, self._path)
            connection.close()
            return
        self._silent[connection] = self._loop.call_later(PATIENCE, self._refuse, connection)
        self._loop.add_reader(connection, self._hear, connection)

    def _hear(self, connection: socket.socket) -> None:
        try:
            received = protocol.receive(connection)
        except BlockingIOError:
            return
        except ProtocolError as error:
            _log.warning("what came in at %s is no session: %s", self._path, error)
            received = None
        match received:
            case (Hello(version, kind, call), []) if version == protocol.VERSION:
                future = self._expected.get((kind, call))
                if future is not None and not future.done():
                    self._forget(connection)
                    future.set_result(connection)
                    return
                # Its call has come to nothing while it began, or it was begun by hand.
                _log.debug("a session of kind %s asks for call %d, which waits for none", kind, call)
            case (_, descriptors):
                protocol.close(descriptors)
            case None:
                pass
        self._refuse(connection)

    def _refuse(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: socket.socket) -> None:
        self._silent.pop(connection).cancel()
        self._loop.remove_reader(connection)
