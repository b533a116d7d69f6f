"""What a caller is let in by: room and an address, and what pppd must know to ask a RADIUS server.

For a session of role client there is nothing to do, and every method says so by doing nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from dialupd.config.values import PppSession, Role
from dialupd.model import EndReason
from dialupd.sessions.base import CallFacts, RuntimePaths, SessionEnd
from dialupd.sessions.pool import FullError, Place
from dialupd.sessions.pppd_options import Granted
from dialupd.sessions.radius import RadiusFiles, unanswered


class Admission:
    """One call's; `enter` before pppd is started, `leave` after it has ended, however far things came."""

    def __init__(self, config: PppSession, facts: CallFacts, paths: RuntimePaths) -> None:
        self._radius = config.radius if config.role is Role.SERVER else None
        self._place = Place(paths.shared_directory or paths.run_directory, config)
        self._files = RadiusFiles(paths.run_directory, facts.call)

    def enter(self) -> Granted:
        """Raises FullError, SecretError, OSError; then there is nothing to leave."""
        self._place.take()
        try:
            if self._radius is not None:
                self._files.write(self._radius)
        except BaseException:
            self.leave()
            raise
        return Granted(self._place.address, self._files.config if self._radius is not None else "")

    def settle(self, address: str) -> None:
        """The caller got this address in the end; raises FullError when another call has it, and OSError."""
        if not self._place.settle(address):
            raise FullError(f"the caller's own address {address} is another call's")

    def judged(self, end: SessionEnd, complaints: Sequence[str]) -> SessionEnd:
        """The end as it was if no RADIUS server could be asked: then pppd refuses a caller of whom nothing is known."""
        if self._radius is None or end.reason is not EndReason.PEER_AUTH_FAILED:
            return end
        silence = unanswered(self._radius, complaints)
        return SessionEnd(EndReason.SESSION_FAILED, silence) if silence else end

    def leave(self) -> None:
        """May be called at any time and again."""
        self._files.remove()
        self._place.release()
