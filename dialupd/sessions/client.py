"""The session type `client`: a program on the bus takes the data stream with Open().

The line is joined to a socket pair at once, so what the far end says first is kept for the program, up to the socket's
buffer.  Open gives the program's end away, once; closing it ends the call.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from dialupd.model import DialupError, EndReason, ErrorKind, SessionState
from dialupd.sessions.base import LINE_LOST, NEVER_BEGAN, CallFacts, Line, Progress, Report, SessionEnd, StopRequest
from dialupd.sessions.relay import Closed, Relay

# Seconds for a program to open the stream after CONNECT.
PATIENCE: Final = 60.0


class ClientCall:
    def __init__(self, line: Line, facts: CallFacts, report: Report) -> None:
        self._line = line
        self._facts = facts
        self._report = report
        self._stop = StopRequest()
        self._relay: Relay | None = None
        self._theirs = -1
        self._opened = asyncio.Event()

    async def run(self) -> SessionEnd:
        self._report(Progress(session_state=SessionState.STARTING))
        if self._stop:
            return SessionEnd(self._stop.reason)
        ours, theirs = socket.socketpair()
        try:
            relay = Relay.of(self._line, ours.detach())
        except LINE_LOST:
            theirs.close()
            return NEVER_BEGAN
        self._theirs = theirs.detach()
        self._relay = relay
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._nobody_came)
        try:
            closed = await relay.run()
        finally:
            timer.cancel()
            if self._theirs >= 0:
                os.close(self._theirs)
                self._theirs = -1
            self._report(Progress(rx_bytes=relay.rx, tx_bytes=relay.tx))
        if self._stop:
            detail = "" if self._opened.is_set() else f"nobody opened the data stream within {PATIENCE:.0f} s"
            return SessionEnd(self._stop.reason, detail if self._stop.reason is EndReason.SESSION_FAILED else "")
        if closed is Closed.LINE:
            return SessionEnd(EndReason.REMOTE_HANGUP, "the line was hung up")
        return SessionEnd(EndReason.SESSION_ENDED, "the program closed the data stream")

    def stop(self, reason: EndReason) -> None:
        self._stop.set(reason)
        if self._relay is not None:
            self._relay.stop()

    def counts(self) -> tuple[int, int]:
        return self._relay.counts if self._relay is not None else (0, 0)

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
