"""One command in flight, and what each line from the modem is to it.

A line is the command's echo, a piece of its information text, its final result, or none of these: a ring, caller ID, a
phone's notice, which came between.  Only one command is in flight at a time (V.250 section 5.2.1 gives the modem the
right to ignore anything sent before its reply), so a final result without a command is stale, or a state of the line:
a NO CARRIER after the far end hung up.
"""

from __future__ import annotations

from dataclasses import dataclass

from dialupd.at.results import Final, Result, final, is_ring, is_unsolicited

MAX_INFORMATION = 64
"""Lines of information text kept of one reply; `AT&V` of chatty modems has about 40."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The command in flight has ended: its result and the information text before it, echo left out."""

    command: str
    result: Result
    information: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.result.code is Final.OK


@dataclass(frozen=True, slots=True)
class Unsolicited:
    """A line that no command asked for."""

    text: str


@dataclass(frozen=True, slots=True)
class Stray:
    """A final result without a command in flight: stale, or news of the line such as NO CARRIER."""

    result: Result


@dataclass(frozen=True, slots=True)
class Consumed:
    """Echo or information text: nothing to do yet."""


Event = Reply | Unsolicited | Stray | Consumed


class Exchange:
    """The command in flight, if any; `command()` gives the bytes to write, `line()` says what a line is."""

    def __init__(self) -> None:
        self._command: str | None = None
        self._information: list[str] = []
        self.numeric = False
        """The modem insists on V0: digits are results as well."""

    @property
    def in_flight(self) -> str | None:
        """The command that waits for its reply."""
        return self._command

    def command(self, text: str) -> bytes:
        """Begin a command; gives the bytes to send, CR last. ValueError if one is in flight or the text is no line."""
        if self._command is not None:
            raise ValueError(f"{self._command!r} is still in flight")
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"a command line is printable ASCII without CR: {text!a}")
        self._command = text
        self._information = []
        return text.encode("ascii") + b"\r"

    def abandon(self) -> None:
        """The reply did not come in time: whatever comes later is stray."""
        self._command = None
        self._information = []

    def line(self, text: str) -> Event:
        """Say what one line from the modem is."""
        command = self._command
        result = final(text, numeric=self.numeric)
        if command is None:
            return Unsolicited(text) if result is None else Stray(result)
        if is_ring(text, numeric=self.numeric) or is_unsolicited(text, command):
            return Unsolicited(text)
        if text.strip().upper() == command.upper():
            return Consumed()
        if result is None:
            if len(self._information) < MAX_INFORMATION:
                self._information.append(text)
            return Consumed()
        self._command = None
        return Reply(command, result, tuple(self._information))
