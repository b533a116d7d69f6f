"""A modem on a pty: for programs that want a tty and nothing else.

A slave descriptor is kept open here, so that the computer may close and open the tty as it likes: without it
the master would read EIO and the settings would be lost.  A pty has no modem circuits, and its rate is whatever
the slave was set to, which the master can read.
"""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from pathlib import Path

from .fd import FdStream, StreamWire
from .port import Dce

_SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name[0] == "B" and name[1:].isdigit() and int(name[1:])
}


class PtyModem(StreamWire):
    """The carrier; `path` is what the computer opens: the slave, or the link to it that was asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dce: Dce, link: Path | None = None) -> None:
        master, self._slave = os.openpty()
        tty.setraw(self._slave)
        device = os.ttyname(self._slave)
        self.path = device if link is None else str(link)
        self._master = master
        self._dce = dce
        self._link: Path | None = None
        self._stream = FdStream(loop, master, received=dce.received, drained=dce.writable, closed=self.close)
        try:
            if link is not None:
                _point(link, device)
                self._link = link
        except OSError:
            self.close()
            raise
        dce.attached(self)
        self._stream.accept(True)

    def speed(self) -> int:
        try:
            return _SPEEDS.get(termios.tcgetattr(self._master)[5], 0)
        except termios.error:
            return 0

    def close(self) -> None:
        """Unplug it: the tty hangs up for who has it open."""
        if self._slave < 0:
            return
        self._dce.detached()
        self._stream.close()
        os.close(self._slave)
        self._slave = -1
        if self._link is not None:
            self._link.unlink(missing_ok=True)


def _point(link: Path, target: str) -> None:
    """A link at that path, in place of an old link but of nothing else."""
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target)
