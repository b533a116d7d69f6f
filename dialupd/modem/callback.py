"""Calling users back: what one modem still has to do for those who have logged in to be called.

A session says that a user has proved who he is; the call goes to the number that the configuration holds for him, once
the line is free.  What fails for a while is tried again; what a person has to look at is not.  One wish stands at a
time, and a newer one takes its place.  It is gone with the modem's object: unplugging, and a restart of the daemon,
end it.

Somebody who has come by a password can have nobody called but its owner.  So that he cannot have him called all night,
the calls to each user are counted by the hour.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from dialupd.events import CALL_BACK_FAILED
from dialupd.io.journal import about
from dialupd.model import EndReason
from dialupd.modem import timing

log = logging.getLogger(__name__)

TRIES = 3
PER_HOUR = 10
_HOUR = 3600.0
AGAIN = frozenset(
    {
        EndReason.BUSY,
        EndReason.NO_ANSWER,
        EndReason.NO_CARRIER,
        EndReason.NO_DIALTONE,
        EndReason.DELAYED,
        EndReason.LINE_IN_USE,
        EndReason.TIMEOUT,
        EndReason.COLLISION,
        EndReason.MODEM_ERROR,
    }
)
"""What may be over a minute later."""


@dataclass(frozen=True, slots=True)
class CallBack:
    """Somebody is to be called at `due`, but not after `latest`; both are loop time.  `tries` were dialled already."""

    user: str
    session: str
    policy: str
    due: float
    latest: float
    tries: int = 0


@dataclass(slots=True)
class Counted:
    """When each user was called, in loop time; it outlives the modem's object."""

    _dialled: dict[str, list[float]] = field(default_factory=dict)

    def add(self, user: str, now: float) -> None:
        self._dialled[user] = [*self._within(user, now), now]

    def full(self, user: str, now: float) -> bool:
        """No further call within this hour."""
        return len(self._within(user, now)) >= PER_HOUR

    def _within(self, user: str, now: float) -> list[float]:
        return [then for then in self._dialled.get(user, []) if now - then < _HOUR]


class CallBacks:
    """Of one modem, by its id for the log."""

    def __init__(self, modem: str, counted: Counted) -> None:
        self._modem = modem
        self._counted = counted
        self._wish: CallBack | None = None
        self._dialled: CallBack | None = None

    @property
    def wish(self) -> CallBack | None:
        """Who is to be called when the line is free."""
        return self._wish

    def wanted(self, user: str, session: str, policy: str, now: float) -> None:
        """`user` is to be called, and gets `session` then."""
        if self._wish is not None and self._wish.user != user:
            self.cancel("another user is called in his place")
        self._wish = None
        if self._counted.full(user, now):
            self._gave_up(user, f"he was called {PER_HOUR} times within an hour")
            return
        due, latest = now + timing.CALL_BACK_PAUSE, now + timing.CALL_BACK_LATEST
        self._wish = CallBack(user, session, policy, due, latest)
        log.info("%s: %s will be called back", self._modem, user)

    def pause(self, now: float) -> float | None:
        """Seconds to the call, on a line that may be free since now only; None: nobody is to be called."""
        if self._wish is not None and now > self._wish.latest:
            self.cancel(f"the line was not free within {timing.CALL_BACK_LATEST:g} s")
        return None if self._wish is None else max(self._wish.due - now, timing.CALL_BACK_PAUSE)

    def begun(self, now: float) -> None:
        """The call is being dialled."""
        assert self._wish is not None
        self._counted.add(self._wish.user, now)
        self._dialled, self._wish = replace(self._wish, tries=self._wish.tries + 1), None

    def ended(self, reason: EndReason, now: float, *, connected: bool) -> None:
        """A call of this modem has ended; if it was the one that was dialled, see whether it is dialled again."""
        wish, self._dialled = self._dialled, None
        if wish is None or connected:
            return
        if reason not in AGAIN:
            self._gave_up(wish.user, f"the call has ended with {reason}")
        elif wish.tries >= TRIES or self._counted.full(wish.user, now):
            self._gave_up(wish.user, f"{wish.tries} calls have failed, the last one with {reason}")
        elif self._wish is None:
            self._wish = replace(wish, due=now + timing.CALL_BACK_AGAIN)

    def cancel(self, why: str) -> None:
        """Nobody is called back any more."""
        wish, self._wish = self._wish, None
        if wish is not None:
            self._gave_up(wish.user, why)

    def _gave_up(self, user: str, why: str) -> None:
        text = "%s: %s is not called back: %s"
        log.warning(text, self._modem, user, why, extra=about(CALL_BACK_FAILED, USER=user, REASON=why))
