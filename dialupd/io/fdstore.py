"""Descriptors that outlive the daemon, in the service manager's descriptor store (sd_notify(3), FDSTORE).

The daemon gives systemd a copy of each descriptor of a call, under a name; after a restart or a crash the next daemon
finds them among its own, in no particular order, so the name alone tells what a descriptor is.  `systemctl stop`
empties the store.  Not under systemd nothing is kept, and `keeps` says so.

Names are at most 255 bytes without a colon or control characters; a name holds one descriptor.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import MutableMapping

from dialupd.io.notify import Notifier

FIRST = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}", re.ASCII)


class FdStore:
    """The store of this service."""

    def __init__(self, notifier: Notifier, *, keeps: bool) -> None:
        self._notifier = notifier
        self._names: set[str] = set()
        self.keeps = keeps and notifier.connected

    def put(self, name: str, fd: int) -> None:
        """Have a copy of the descriptor kept; ours stays ours."""
        assert _NAME.fullmatch(name), name
        if self.keeps:
            self._names.add(name)
            self._notifier.store(name, fd)

    def drop(self, *names: str) -> None:
        """Have what is kept under the names closed."""
        for name in names:
            if name in self._names:
                self._names.discard(name)
                self._notifier.forget(name)

    def adopt(self, name: str) -> None:
        """What came from the store is still in it: `drop` may be asked for it."""
        self._names.add(name)


def inherited(environment: MutableMapping[str, str]) -> dict[str, int]:
    """The descriptors that the service manager gave us, by name; the variables are taken out of the environment."""
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, int] = {}
    for index, fd in enumerate(range(FIRST, FIRST + int(count))):
        name = names[index] if index < len(names) else ""
        with contextlib.suppress(OSError):
            os.set_inheritable(fd, False)
            if name in found or not _NAME.fullmatch(name):
                os.close(fd)
            else:
                found[name] = fd
    return found
