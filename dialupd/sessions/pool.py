"""Which address a caller gets, and whether there is room for one more.

Each address is a file of that name, and whoever holds its flock(2) has the address: calls in the daemon's process and
calls in units of their own, of one session and of others whose ranges overlap, before and after a restart of the
daemon.  Nobody keeps a list that could be wrong: the kernel lets go of the lock when the call's process ends, however
it ends.  The files stay; their times tell which address is unused for longest, and that one is given next, so what is
still on its way to one caller seldom meets the next.  The places of `max-sessions` are files of the same kind.

An address that pppd's secrets or a RADIUS server fix for a caller wins over the one that was taken, and becomes known
only when the link is up.  `settle` takes it then; when another call has it, this call must end, and the other one, of
which the kernel's route is the older, is not disturbed.

The directory must be one that nobody else may enter.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterable, Iterator

from dialupd.config.values import PppSession, Role


class FullError(Exception):
    """There is no room for this call; the text says of what."""


class Place:
    """What one call of a session holds of addresses and room; nothing for a client, whose far end decides."""

    def __init__(self, directory: str, config: PppSession) -> None:
        self._addresses = os.path.join(directory, "addresses")
        self._callers = os.path.join(directory, "callers")
        self._config = config
        self._room: int | None = None
        self._given: int | None = None
        self.address = ""

    def take(self) -> None:
        """Take room, and an address into `address`; raises FullError, OSError.  Not twice without `release`."""
        config = self._config
        if config.role is not Role.SERVER:
            return
        try:
            if config.max_sessions:
                self._room = self._room_of(config.name, config.max_sessions)
            if config.pool[0]:
                self._given, self.address = self._address_of(*config.pool)
            elif config.remote:
                self._given = _held(self._addresses, config.remote)
                if self._given is None:
                    raise FullError(f"the address {config.remote} is another call's")
                self.address = config.remote
        except BaseException:
            self.release()
            raise

    def settle(self, address: str) -> bool:
        """Take the address that the caller got in the end; False: it is another call's.  Raises OSError."""
        if self._config.role is not Role.SERVER or address == self.address:
            return True
        taken = _held(self._addresses, str(ipaddress.IPv4Address(address)))
        if taken is None:
            return False
        _let_go(self._given)
        self._given, self.address = taken, address
        return True

    def release(self) -> None:
        """Let go of everything; may be called at any time and again."""
        for fd in (self._given, self._room):
            _let_go(fd)
        self._given = self._room = None
        self.address = ""

    def _room_of(self, name: str, most: int) -> int:
        for number in range(most):
            if (fd := _held(self._callers, f"{name}:{number}")) is not None:
                return fd
        raise FullError(f"the session {name} has its {most} callers (max-sessions)")

    def _address_of(self, first: str, last: str) -> tuple[int, str]:
        for address in by_age(_range(first, last), self._addresses):
            if (fd := _held(self._addresses, address)) is not None:
                return fd, address
        raise FullError(f"all addresses of {first}-{last} are taken")


def by_age(addresses: Iterable[str], directory: str) -> list[str]:
    """The one that is unused for longest first; those that were never used stand before, in their order."""
    used: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as found:
        used = {entry.name: entry.stat(follow_symlinks=False).st_mtime_ns for entry in found}
    return sorted(addresses, key=lambda address: used.get(address, 0))


def _range(first: str, last: str) -> Iterator[str]:
    for number in range(int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last)) + 1):
        yield str(ipaddress.IPv4Address(number))


def _held(directory: str, name: str) -> int | None:
    """The descriptor that holds the lock of this file; None: somebody else has it.  Raises OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(os.path.join(directory, name), flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.utime(fd)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _let_go(fd: int | None) -> None:
    if fd is not None:
        with contextlib.suppress(OSError):
            os.utime(fd)
        os.close(fd)
