"""The calls that are known on the bus: numbered on from the history, forgotten a minute after their end."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from dialupd.config.values import Policy
from dialupd.io.store import Store
from dialupd.model import CallState, CallView, DialupError, EndReason, ErrorKind, HistoryFilter
from dialupd.modem import requests, timing
from dialupd.modem.call import Call
from dialupd.runtime import Tell

log = logging.getLogger(__name__)


class CallBook:
    """`now` gives microseconds since the epoch; `tell` calls every watcher."""

    def __init__(self, now: Callable[[], int], tell: Tell) -> None:
        self._now = now
        self._tell = tell
        self._calls: dict[int, Call] = {}
        self._last = 0
        self._today: dict[tuple[str, str, str], int] = {}
        self._recalled = datetime.date.min
        self.cut: dict[str, str] = {}
        """The number, as it is shown, that a modem was dialling when the daemon before was killed."""

    async def recall(self, store: Store, going_on: frozenset[int] = frozenset()) -> None:
        """Learn the last call's number, and how often each policy dialled today; close what a crash has cut.

        `going_on` are the numbers of calls that were not cut; at their end the modem's redialer counts them.
        """
        self._last = store.last_call()
        self._recalled = datetime.date.today()
        await self._see_cut(store, going_on)
        store.close_stale(self._now(), going_on)
        midnight = datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            rows = await store.query(HistoryFilter(since=int(midnight.timestamp() * 1e6), direction="outgoing"))
        except DialupError as error:
            log.warning("the calls of today are not known: %s", error)
            return
        for view in rows:
            if view.call in going_on or (view.end_reason is EndReason.MODEM_LOST and not view.connect_time):
                continue  # it is not over; or most likely it was never dialled
            key = (view.modem, view.policy, view.number)
            self._today[key] = self._today.get(key, 0) + 1

    async def _see_cut(self, store: Store, going_on: frozenset[int]) -> None:
        since = self._now() - int(timing.RUNS_ON * 1e6)
        try:
            rows = await store.query(HistoryFilter(since=since, direction="outgoing"))
        except DialupError as error:
            log.warning("what the daemon before was dialling is not known: %s", error)
            return
        for view in rows:
            if view.state is CallState.DIALING and view.call not in going_on:
                self.cut.setdefault(view.modem, view.number)
                log.warning("call %d was being dialled when the daemon ended; it may go on on a phone", view.call)

    def dialled_today(self, modem: str, policy: Policy) -> int:
        """Calls to the policy's numbers today before the start; later ones the modem's redialer has counted itself."""
        if datetime.date.today() != self._recalled:
            return 0
        return sum(
            count
            for (identity, name, number), count in self._today.items()
            if (identity, name) == (modem, policy.name) and requests.number_of(policy, number)
        )

    def views(self) -> Sequence[CallView]:
        return [call.refreshed() for call in self._calls.values()]

    def begin(self, view: CallView) -> Call:
        """A call with the next number in place of the view's; published at once."""
        self._last += 1
        numbered = replace(view, call=self._last)
        call = self._calls[numbered.call] = Call(numbered, self._changed, self._now)
        self._tell(lambda watcher: watcher.call_added(numbered))
        return call

    def resume(self, view: CallView) -> Call:
        """A call that goes on over a restart, under its own number; published at once."""
        self._last = max(self._last, view.call)
        call = self._calls[view.call] = Call(view, self._changed, self._now)
        self._tell(lambda watcher: watcher.call_added(view))
        return call

    def get(self, number: int) -> Call:
        """Raises DialupError when there is none of this number."""
        call = self._calls.get(number)
        if call is None:
            raise DialupError(ErrorKind.NOT_FOUND, f"no call {number}: calls are kept for a minute after their end")
        return call

    def _changed(self, old: CallView, new: CallView) -> None:
        self._tell(lambda watcher: watcher.call_changed(old, new))
        if new.state is CallState.ENDED and old.state is not CallState.ENDED:
            asyncio.get_running_loop().call_later(timing.CALL_KEPT, self._forget, new.call)

    def _forget(self, number: int) -> None:
        call = self._calls.pop(number)
        self._tell(lambda watcher: watcher.call_removed(call.view))
