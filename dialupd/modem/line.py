"""The connected line, as it is lent to a session."""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from dataclasses import dataclass, field

from dialupd.io.port import Port


@dataclass(frozen=True, slots=True)
class ConnectedLine:
    """A `sessions.base.Line` on an open port that was prepared for the hand-over."""

    port: Port
    shows_carrier: bool
    early: bytes
    tally: MutableSequence[int] = field(default_factory=lambda: array("Q", (0, 0)))

    @property
    def path(self) -> str:
        return self.port.path

    def dup(self) -> int:
        return self.port.dup_fd()

    def fileno(self) -> int:
        return self.port.fileno()
