"""The connected line, as it is lent to a session."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dialupd.io.port import Port


@dataclass(frozen=True, slots=True)
class ConnectedLine:
    """A `sessions.base.Line` on an open port that was prepared for the hand-over."""

    port: Port
    shows_carrier: bool
    early: bytes

    @property
    def path(self) -> str:
        return self.port.path

    def dup(self) -> int:
        fd = self.port.dup_fd()
        os.set_blocking(fd, False)
        return fd
