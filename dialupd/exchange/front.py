"""The modem's face to its computer: what it says, passes on and shows, and how much of that fits.

What it says while the computer does not read is bounded by `MARK`: data waits on the line, text of its own is
lost.  Rings are lost sooner, as soon as the kernel's buffer is full, or a computer that comes hours later would
read of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dialupd.at.results import Final

from . import answers
from .answers import Caller
from .carriers import Agreed
from .faults import NOISE, Fault, Mouth
from .port import Wire
from .settings import Settings
from .timing import Scheduler

MARK = 16 * 1024
"""Bytes queued towards the computer at which no more is taken from the line."""
MARGIN = 4 * 1024
"""Bytes above that for text of its own."""
PORT_RATE = 115200
"""Said in CONNECT where the carrier cannot know the port's rate."""


class Front:
    """Without a wire it swallows everything."""

    def __init__(
        self,
        scheduler: Scheduler,
        settings: Settings,
        faults: dict[Fault, float],
        drained: Callable[[], object],
    ) -> None:
        self._scheduler = scheduler
        self._settings = settings
        self._faults = faults
        self._drained = drained
        self._wire: Wire | None = None
        self._mouth: Mouth | None = None
        self._held = False
        self._shown: tuple[bool, bool, bool] | None = None

    def plug(self, wire: Wire) -> None:
        """The carrier is there."""
        self._wire = wire
        self._mouth = Mouth(self._scheduler, wire, self._faults, self._drained)
        self._held = False
        self._shown = None

    def unplug(self) -> None:
        """The carrier is gone, and what was on its way to it."""
        if self._mouth is not None:
            self._mouth.close()
        self._wire = self._mouth = None

    def heal(self) -> None:
        """The faults have changed."""
        if self._mouth is not None:
            self._mouth.heal()

    def deaf(self) -> bool:
        """Is what the computer says now lost?  At a wrong speed it is answered with noise."""
        if self._mouth is None or self._mouth.muffled():
            return True
        if not self._mouth.babbles():
            return False
        self._say(NOISE)
        return True

    def room(self) -> int:
        """Bytes of the far end's that fit."""
        return 0 if self._mouth is None else MARK - self._mouth.backlog()

    def pass_on(self, data: bytes) -> None:
        """The far end's bytes: the line asks for `room` first."""
        if self._mouth is not None:
            self._mouth.pass_on(data)

    def loop(self, data: bytes) -> None:
        """The computer's own bytes, back to it as a cable would."""
        if self._mouth is not None and self.room() > 0:
            self._mouth.loop(data)

    def echo(self, data: bytes) -> None:
        """The computer's command, if it wants to see it."""
        wanted = self._settings.basic("E") == 1 or Fault.ECHO_FOREVER in self._faults
        if wanted and self._mouth is not None and self.room() > 0:
            self._mouth.pass_on(data)

    def information(self, line: str) -> None:
        """A line that is no result code."""
        self._say(answers.information(self._settings, line))

    def final(self, code: Final) -> None:
        """A result code."""
        self._say(answers.result(self._settings, code))

    def connect(self, agreed: Agreed) -> None:
        """CONNECT, in the kind's words."""
        port_rate = self._wire.speed() if self._wire is not None else 0
        self._say(answers.connect(self._settings, agreed, port_rate or PORT_RATE))

    def ring(self, text: str, *, voice: bool) -> None:
        """RING."""
        self._say_if_read(answers.ring(self._settings, text, voice=voice))

    def caller(self, who: Caller, when: datetime) -> None:
        """Who rings."""
        self._say_if_read(answers.caller_id(self._settings, who, when))

    def accept(self, more: bool) -> None:
        """May the computer send?"""
        if self._wire is not None and more == self._held:
            self._held = not more
            self._wire.accept(more)

    def show(self, *, carrier: bool, ri: bool) -> None:
        """The circuits, when they have changed."""
        shown = (carrier or self._settings.basic("&C") == 0, ri, not self._held)
        if self._wire is not None and shown != self._shown:
            self._shown = shown
            self._wire.circuits(dcd=shown[0], ri=shown[1], dsr=True, cts=shown[2])

    def _say(self, data: bytes) -> None:
        # Beyond the mark, which data may have reached: NO CARRIER after it must not be lost.
        if self._mouth is not None and self.room() > -MARGIN:
            self._mouth.say(data)

    def _say_if_read(self, data: bytes) -> None:
        if self._wire is not None and not self._wire.backlog():
            self._say(data)
