"""What systemd is told: readiness, status, reloads, the watchdog's heartbeat, descriptors to keep.

One datagram each to the socket in NOTIFY_SOCKET (`@` begins an abstract name).  Without it (not under systemd)
everything does nothing.  A message that cannot be sent at once is dropped, since the next heartbeat is near; but what
concerns the descriptor store, or is said only once, waits in order until systemd takes it.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Mapping

log = logging.getLogger(__name__)

# systemd cuts longer lines.
STATUS_LIMIT = 240


class Notifier:
    """The line to the service manager; made once by the daemon."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        name = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if name.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._address = "\0" + name[1:] if name.startswith("@") else name
        self._waiting: deque[tuple[str, int]] = deque()
        self.watchdog_interval = _watchdog_interval(environment) if self._socket else None

    def ready(self, status: str = "") -> None:
        """The start, or a reload, is done."""
        self._send("READY=1", *_status(status))

    def begun(self) -> None:
        """Like `ready`, but never dropped: systemd ends a unit that does not say it in time."""
        if self._socket is not None:
            self._must_send("READY=1", -1)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> None:
        """The daemon is on its way out."""
        self._send("STOPPING=1", *_status(status))

    def watchdog(self) -> None:
        """Alive; due every `watchdog_interval` seconds when that is not None."""
        self._send("WATCHDOG=1")

    @property
    def connected(self) -> bool:
        """Is there a service manager that listens?"""
        return self._socket is not None

    def store(self, name: str, fd: int) -> None:
        """Have a copy of the descriptor kept over restarts. FDPOLL=0: a port that hung up is for us to take out."""
        if self._socket is not None:
            self._must_send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", os.dup(fd))

    def forget(self, name: str) -> None:
        """Have everything closed that is kept under the name."""
        if self._socket is not None:
            self._must_send(f"FDSTOREREMOVE=1\nFDNAME={name}", -1)

    def close(self) -> None:
        """No more messages."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        if self._waiting:
            asyncio.get_running_loop().remove_writer(sock)
        while self._waiting:
            _, fd = self._waiting.popleft()
            _close(fd)
        sock.close()

    def _must_send(self, text: str, fd: int) -> None:
        self._waiting.append((text, fd))
        if len(self._waiting) == 1:
            self._send_waiting()

    def _send_waiting(self) -> None:
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        while self._waiting:
            text, fd = self._waiting[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd >= 0 else []
            try:
                self._socket.sendmsg([text.encode()], rights, 0, self._address)
            except BlockingIOError:
                # Connected, so that the loop learns when systemd's queue has room again and not only our own.
                with contextlib.suppress(OSError):
                    self._socket.connect(self._address)
                loop.add_writer(self._socket, self._send_waiting)
                return
            except OSError as error:
                log.warning("systemd does not take %r: %s", text.replace("\n", " "), error)
            self._waiting.popleft()
            _close(fd)
        loop.remove_writer(self._socket)

    def _send(self, *lines: str) -> None:
        if self._socket is not None and lines:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _status(text: str) -> tuple[str, ...]:
    """A status line; other text than ours may be in it, so a line break must not begin a field."""
    line = "".join(c if c.isprintable() else " " for c in text)[:STATUS_LIMIT]
    return (f"STATUS={line}",) if line else ()


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Seconds between heartbeats, half of what systemd allows; None when it does not watch us."""
    pid = environment.get("WATCHDOG_PID", "")
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000
