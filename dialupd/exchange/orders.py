"""Command lines from the computer: what each of their commands has the modem do, and the result that ends a line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Protocol

from dialupd.at.results import Final

from .commands import Bad, Basic, Command, Dial, Extended, Op, Register, parse
from .front import Front
from .reader import CommandReader
from .settings import Settings

log = logging.getLogger("dialupd.exchange")


class Commanded(Protocol):
    """The modem, as its commands see it."""

    number: str

    def dial(self, command: Dial) -> bool:
        """D. True: the line of commands goes on; False: the result comes later, or was said."""

    def pick_up(self) -> None:
        """A: the result comes later, or was said."""

    def go_online(self) -> bool:
        """O: back to the data; False where there are none."""

    def put_down(self) -> None:
        """H"""

    def end_talk(self) -> None:
        """+CHUP, of a phone"""

    def restart(self) -> None:
        """Z"""

    def tells(self, command: Extended) -> tuple[str, ...] | None:
        """What it says of itself that is no setting; None: the command asks for no such thing."""

    def show(self) -> None:
        """Settings may have changed what the circuits show."""


class Orders:
    """What the computer has typed so far, and the carrying out of each line."""

    def __init__(self, modem: Commanded, settings: Settings, front: Front) -> None:
        self._modem = modem
        self._settings = settings
        self._front = front
        self._reader = CommandReader()

    def clear(self) -> None:
        """Forget what has been typed."""
        self._reader.clear()

    def listen(self, data: bytes) -> bytes:
        """Read up to the end of a command line and carry it out; gives the bytes behind it."""
        settings = self._settings
        heard = self._reader.feed(data, end=settings.register(3), backspace=settings.register(5))
        self._front.echo(heard.echo)
        if heard.complete:
            if heard.body is None:
                self._front.final(Final.ERROR)
            else:
                log.debug("%s: AT%s", self._modem.number, heard.body)
                self._run(parse(heard.body))
        return data[heard.used :]

    def _run(self, commands: Iterator[Command]) -> None:
        modem, front = self._modem, self._front
        for command in commands:
            match command:
                case Bad():
                    front.final(Final.ERROR)
                    return
                case Dial():
                    if not modem.dial(command):
                        return
                case Basic("A"):
                    modem.pick_up()
                    return
                case Basic("O"):
                    if not modem.go_online():
                        front.final(Final.ERROR)
                    return
                case Basic("H", number) if number <= 1:
                    modem.put_down()
                case Extended("+CHUP", Op.ACT) if self._settings.kind.phone:
                    modem.end_talk()
                case Basic("Z", number) if number <= 1:
                    modem.restart()
                    break
                case Basic() | Register() | Extended():
                    lines = self._apply(command)
                    if lines is None:
                        front.final(Final.ERROR)
                        return
                    for line in lines:
                        front.information(line)
                    modem.show()
        front.final(Final.OK)

    def _apply(self, command: Basic | Register | Extended) -> tuple[str, ...] | None:
        if isinstance(command, Extended) and (lines := self._modem.tells(command)) is not None:
            return lines
        return self._settings.apply(command)
