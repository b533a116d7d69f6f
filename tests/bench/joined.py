"""`python3 -m tests.bench.joined tcp PATH PORT | client PATH FD`: a session of ours on a tty, in its own process.

It is the session as its unit runs it, with nothing around it; what a user would run in its place is socat.
"""

from __future__ import annotations

import asyncio
import os
import sys
from array import array

from dialupd.config.values import TcpSession
from dialupd.model import Direction
from dialupd.sessions.base import CallFacts, Progress, SessionEnd
from dialupd.sessions.stream import StreamCall
from dialupd.sessions.tcp import TcpCall


class Tty:
    """Implements `Line`."""

    shows_carrier = True
    early = b""

    def __init__(self, path: str) -> None:
        self.path = path
        self.tally = array("Q", (0, 0))

    def dup(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


def _nothing(progress: Progress) -> None:
    pass


async def _run(kind: str, path: str, far: int) -> SessionEnd:
    line = Tty(path)
    if kind == "tcp":
        facts = CallFacts(1, "m", path, Direction.INCOMING)
        return await TcpCall(TcpSession("s", "127.0.0.1", far), line, facts, _nothing).run()
    return await StreamCall(line, far, _nothing).run()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
