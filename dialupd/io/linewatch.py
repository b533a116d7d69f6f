"""Sockets that others own and close: notices when one has ended, and can end it.

A copy of each is kept, watched for its hang-up alone, so what goes over the line wakes nobody here.  Closing the last
descriptor elsewhere does not end a line while there is a copy: its owner shuts it down first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from typing import Final

# Hang-ups taken at one wake-up; the others wake us again.
_AT_ONCE: Final = 16


class LineWatch:
    """One socket for each key."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll: select.epoll | None = None
        self._lines: dict[str, socket.socket] = {}

    def __contains__(self, key: str) -> bool:
        """Whether the line of this key lives."""
        self._look()
        return key in self._lines

    def watch(self, key: str, fd: int) -> None:
        """Keep a copy of the socket; that of the key before is ended.  Raises OSError for what is no socket."""
        self.end(key)
        copy = os.dup(fd)
        try:
            line = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            raise
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._look)
        # EPOLLHUP and EPOLLERR come unasked.
        self._epoll.register(line.fileno(), 0)
        self._lines[key] = line

    def end(self, key: str) -> None:
        """Shut the line down, so that all who hold it see its end; nothing is done when there is none."""
        line = self._lines.get(key)
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            self.forget(key)

    def forget(self, key: str) -> None:
        """Close the copy; the line lives on with its owner."""
        line = self._lines.pop(key, None)
        if line is not None and self._epoll is not None:
            # Closing does not do it while others hold the same line (epoll(7), "questions and answers", 6).
            self._epoll.unregister(line.fileno())
            line.close()

    def close(self) -> None:
        """Watch no more; the lines live on with their owners."""
        for key in list(self._lines):
            self.forget(key)
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _look(self) -> None:
        if self._epoll is None:
            return
        ended = {fd for fd, _ in self._epoll.poll(0, _AT_ONCE)}
        for key, line in list(self._lines.items()):
            if line.fileno() in ended:
                self.forget(key)
