"""The session type `client`: a program on the bus takes the data stream with Open().

The line is joined to a socket pair at once, so what the far end says first is kept for the program, up to the socket's
buffer.  Open gives the program's end away, once; closing it ends the call.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from typing import Final

from dialupd.model import DialupError, EndReason, ErrorKind, SessionState
from dialupd.sessions.base import CallFacts, Line, Progress, Report, SessionEnd
from dialupd.sessions.stream import StreamCall

# Seconds for a program to open the stream after CONNECT.
PATIENCE: Final = 60.0


class ClientCall(StreamCall):
    def __init__(self, line: Line, facts: CallFacts, report: Report) -> None:
        super().__init__(line, -1, report)
        self._facts = facts
        self._theirs = -1
        self._opened = asyncio.Event()

    async def run(self) -> SessionEnd:
        self._report(Progress(session_state=SessionState.STARTING))
        ours, theirs = socket.socketpair()
        self._stream, self._theirs = ours.detach(), theirs.detach()
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._nobody_came)
        try:
            end = await super().run()
        finally:
            timer.cancel()
            if self._theirs >= 0:
                os.close(self._theirs)
                self._theirs = -1
        if end.reason is EndReason.SESSION_FAILED and not self._opened.is_set():
            return replace(end, detail=f"nobody opened the data stream within {PATIENCE:.0f} s")
        return end

    def open(self) -> int:
        if self._relay is None or self._relay.closed or self._stop:
            raise DialupError(ErrorKind.WRONG_STATE, f"call {self._facts.call} has no data stream now")
        if self._opened.is_set():
            raise DialupError(ErrorKind.IN_PROGRESS, f"the data stream of call {self._facts.call} is taken already")
        fd, self._theirs = self._theirs, -1
        self._opened.set()
        self._report(Progress(session_state=SessionState.RUNNING))
        return fd

    def _nobody_came(self) -> None:
        if not self._opened.is_set():
            self.stop(EndReason.SESSION_FAILED)
