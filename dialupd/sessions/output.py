"""The last words to a line: they leave the driver before anybody hangs up."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import struct
import termios
from typing import Final

from dialupd.sessions.base import LINE_LOST, Line

_log = logging.getLogger(__name__)

# Seconds without any progress after which the rest is given up.
STALL: Final = 5.0
# Seconds between looks at the driver's output: the kernel has no event for "all is sent".
_LOOK: Final = 0.02


async def tell(line: Line, text: str) -> None:
    """Say one line of plain words to the person or program at the far end, if the line still takes it."""
    try:
        fd = line.dup()
    except LINE_LOST as error:
        _log.debug("%s: not told: %s", line.path, error)
        return
    try:
        os.write(fd, f"\r\n{text}\r\n".encode("ascii", "replace"))
        await output_sent(fd, asyncio.Event())
    except OSError as error:  # hung up, or held by flow control
        _log.debug("%s: not told: %s", line.path, error)
    finally:
        os.close(fd)


async def output_sent(line: int, stop: asyncio.Event) -> None:
    """Until the driver has sent everything, or sends nothing more, or `stop`."""
    loop = asyncio.get_running_loop()
    left, since = _output_left(line), loop.time()
    while left > 0 and loop.time() - since < STALL and not stop.is_set():
        await asyncio.sleep(_LOOK)
        now = _output_left(line)
        if now < left:
            left, since = now, loop.time()


def _output_left(fd: int) -> int:
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:  # hung up, or a device that does not tell
        return 0
