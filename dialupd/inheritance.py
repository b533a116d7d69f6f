"""What an earlier daemon has left in the descriptor store: calls that go on, and ports that are lent out.

A call is whole or it is nothing: where its port, its session or its description is missing or unusable, what is left of
it is closed, which hangs it up.  What nobody has claimed when all modems were looked for is given up too.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dialupd.io.fdstore import FdStore
from dialupd.model import CallView
from dialupd.modem.kept import Kept, MemoError, phone_of, read_memo
from dialupd.radio import Phone
from dialupd.sessions.protocol import LONGEST
from dialupd.sessions.unit import COUNTS, MEMO, PORT, SOCKET

log = logging.getLogger(__name__)

LOAN = "loan"
_CALL_NAME = re.compile(r"([a-z]+)-([0-9]{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Left:
    """A call that goes on; `descriptors` by the word under which they were kept, to be closed by whoever claims it."""

    kept: Kept
    view: CallView
    descriptors: Mapping[str, int]


class Inheritance:
    """Made once, at the start, from the descriptors that the service manager gave by name."""

    def __init__(self, descriptors: Mapping[str, int], store: FdStore) -> None:
        self._store = store
        self._left: dict[int, Left] = {}
        self.loans: dict[str, int] = {}
        """The descriptors of ports that are lent out, by the modem's id, to be taken by the registry."""
        calls: dict[int, dict[str, int]] = {}
        for name, fd in descriptors.items():
            store.adopt(name)
            if name.startswith(f"{LOAN}-"):
                self.loans[name.removeprefix(f"{LOAN}-")] = fd
            elif found := _CALL_NAME.fullmatch(name):
                calls.setdefault(int(found[2]), {})[found[1]] = fd
            else:
                log.warning("systemd kept %r for us, which nobody knows; it is closed", name)
                store.drop(name)
                os.close(fd)
        for call, parts in calls.items():
            self._take(call, parts)

    @property
    def calls(self) -> frozenset[int]:
        """The numbers of the calls that go on and are not claimed yet."""
        return frozenset(self._left)

    def claim(self, modem: str, device: str) -> Left | None:
        """The call on a modem that is there, once."""
        for call, left in self._left.items():
            if (left.view.modem, left.kept.device) == (modem, device):
                return self._left.pop(call)
        return None

    def phones(self) -> list[Phone]:
        """Those that the calls are on which are not claimed yet."""
        found = (phone_of(left.kept) for left in self._left.values())
        return [phone for phone in found if phone is not None]

    def give_up(self) -> list[CallView]:
        """Close what nobody has claimed, which ends those sessions; the calls as they were."""
        views = []
        for call, left in self._left.items():
            log.warning("call %d cannot go on: its modem %s is not there any more", call, left.view.modem)
            self._close(call, left.descriptors)
            views.append(left.view)
        self._left.clear()
        return views

    def _take(self, call: int, parts: Mapping[str, int]) -> None:
        try:
            missing = {PORT, MEMO, SOCKET, COUNTS} - parts.keys()
            if missing:
                raise MemoError(f"{', '.join(sorted(missing))} of it is missing")
            kept, view = read_memo(os.pread(parts[MEMO], LONGEST + 1, 0))
            if view.call != call:
                raise MemoError("it is of another call")
        except (MemoError, OSError) as error:
            log.warning("call %d cannot go on: %s", call, error)
            self._close(call, parts)
        else:
            os.close(parts[MEMO])
            self._left[call] = Left(kept, view, {word: fd for word, fd in parts.items() if word != MEMO})

    def _close(self, call: int, parts: Mapping[str, int]) -> None:
        self._store.drop(*(f"{word}-{call}" for word in (*parts, MEMO)))
        for fd in parts.values():
            os.close(fd)
