"""The session type `tcp`: the line is joined to a TCP service, 8-bit clean, nothing added and nothing taken away; but
what telnet adds is dealt with here, if the service speaks it.

A caller to whom no service answers is told so in plain words before the line is hung up.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from typing import Final

from dialupd.config.values import TcpSession
from dialupd.model import EndReason, SessionState
from dialupd.sessions.base import CallFacts, Line, Progress, Report, SessionEnd
from dialupd.sessions.output import tell
from dialupd.sessions.stream import StreamCall
from dialupd.sessions.telnet import Telnet

# Seconds for the name to be found and one of its addresses to answer; the caller waits meanwhile.
PATIENCE: Final = 15.0


class TcpCall(StreamCall):
    def __init__(self, config: TcpSession, line: Line, facts: CallFacts, report: Report) -> None:
        super().__init__(line, -1, report, Telnet() if config.telnet else None)
        self._config = config
        self._facts = facts

    @property
    def _address(self) -> str:
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return f"{host}:{self._config.port}"

    async def run(self) -> SessionEnd:
        self._report(Progress(session_state=SessionState.STARTING))
        connecting = asyncio.create_task(
            _connect(self._config.host, self._config.port), name=f"call {self._facts.call} connect"
        )
        try:
            if await self._stop.before(connecting):
                return SessionEnd(self._stop.reason)
            service = connecting.result()
        except OSError as error:
            await tell(self._line, "The service cannot be reached now. Please call again later.")
            return SessionEnd(EndReason.SESSION_FAILED, f"{self._address}: {_why(error)}; is the service running?")
        finally:
            await _cancelled(connecting)
        self._stream = service.detach()
        end = await super().run()
        if end.reason is EndReason.SESSION_ENDED:
            return replace(end, detail=f"{self._address} closed the connection")
        return end

    def _joined(self) -> None:
        self._report(Progress(session_state=SessionState.RUNNING))


async def _connect(host: str, port: int) -> socket.socket:
    """The first address that answers; raises OSError."""
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    async with asyncio.timeout(PATIENCE):
        for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            service = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
            try:
                await loop.sock_connect(service, address)
                service.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                service.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            except OSError as error:
                service.close()
                failure = error
            except BaseException:
                service.close()
                raise
            else:
                return service
    raise failure or OSError("the name has no address")


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)  # asyncio's own text repeats the address


async def _cancelled(task: asyncio.Task[socket.socket]) -> None:
    """End a connecting that is no longer wanted."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            task.result().close()
