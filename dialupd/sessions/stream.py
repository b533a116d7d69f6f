"""The line joined to a stream whose other end somebody has, or will have."""

from __future__ import annotations

import os

from dialupd.model import EndReason
from dialupd.sessions.base import LINE_LOST, NEVER_BEGAN, Line, Progress, Report, SessionEnd, StopRequest, not_a_stream
from dialupd.sessions.relay import Closed, Relay, Translation


class StreamCall:
    """Implements `Session`; owns the stream's descriptor."""

    def __init__(self, line: Line, stream: int, report: Report, translation: Translation | None = None) -> None:
        self._line = line
        self._stream = stream
        self._report = report
        self._translation = translation
        self._stop = StopRequest()
        self._relay: Relay | None = None

    async def run(self) -> SessionEnd:
        if self._stop:
            os.close(self._stream)
            return SessionEnd(self._stop.reason)
        try:
            relay = self._relay = Relay.of(self._line, self._stream, self._translation)
        except LINE_LOST:
            return NEVER_BEGAN
        self._joined()
        try:
            closed = await relay.run()
        finally:
            self._report(Progress(rx_bytes=relay.rx, tx_bytes=relay.tx))
        if self._stop:
            return SessionEnd(self._stop.reason)
        if closed is Closed.LINE:
            return SessionEnd(EndReason.REMOTE_HANGUP, "the line was hung up")
        return SessionEnd(EndReason.SESSION_ENDED, "the program closed the data stream")

    def _joined(self) -> None:
        """The line and the stream are one now; for types that derive from it."""

    def stop(self, reason: EndReason) -> None:
        self._stop.set(reason)
        if self._relay is not None:
            self._relay.stop()

    def counts(self) -> tuple[int, int]:
        return self._relay.counts if self._relay is not None else (0, 0)

    def open(self) -> int:
        raise not_a_stream()
