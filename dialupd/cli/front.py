"""What every subcommand is given: its arguments, where its results go, and the way to the daemon."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from typing import TextIO

from dialupd.cli.remote import Remote
from dialupd.cli.rows import Json
from dialupd.cli.text import Style

DONE, FAILED, USAGE, NO_DAEMON = 0, 1, 2, 3
"""Exit codes; USAGE is argparse's own."""


class Usage(Exception):
    """The arguments parse one by one but make no sense together."""


@dataclass(frozen=True, slots=True)
class Out:
    """stdout as text or as JSON, stderr for complaints; flushed at each line, because others read along."""

    json: bool
    style: Style
    stdout: TextIO
    stderr: TextIO

    def line(self, text: str) -> None:
        print(text, file=self.stdout, flush=True)

    def emit(self, value: Json, *, indent: bool = True) -> None:
        """JSON in ASCII, so that no hostile text reaches a terminal as it is."""
        print(json.dumps(value, indent=2 if indent else None), file=self.stdout, flush=True)

    def done(self, text: str, value: Json) -> int:
        """One result, said in the way asked for."""
        if self.json:
            self.emit(value)
        else:
            self.line(text)
        return DONE

    def advise(self, text: str) -> None:
        """Progress or a complaint, beside the result."""
        print(text, file=self.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Front:
    args: Namespace
    out: Out

    def remote(self) -> Remote:
        """The daemon, connected by `async with`."""
        return Remote(self.args.bus)

    @staticmethod
    def now() -> int:
        """Microseconds since the epoch, as on the bus."""
        return time.time_ns() // 1000


def front(args: Namespace) -> Front:
    return Front(args, Out(args.json, Style.of(sys.stdout), sys.stdout, sys.stderr))
