"""The last words, to a line and to a service: they are delivered before anybody hangs up or closes."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import stat
import struct
import termios
from typing import Final

from dialupd.io.radioport import is_rfcomm
from dialupd.sessions.base import LINE_LOST, Line

_log = logging.getLogger(__name__)

# Seconds without any progress after which the rest is given up.
STALL: Final = 5.0
# Seconds for a service to close its side when it has everything; what it says meanwhile nobody hears any more.
LINGER: Final = 1.0
# Reads in one go: all that a socket holds, and no more where a service writes faster than we read.
_TURN: Final = 16
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
    if is_rfcomm(line):
        # It tells how much it could still take, not what is left; and the kernel disconnects it behind the last byte.
        return
    loop = asyncio.get_running_loop()
    left, since = _output_left(line), loop.time()
    while left > 0 and loop.time() - since < STALL and not stop.is_set():
        await asyncio.sleep(_LOOK)
        now = _output_left(line)
        if now < left:
            left, since = now, loop.time()


async def closed_in_order(fd: int, stop: asyncio.Event) -> None:
    """Half-close a socket; until its other end has all and closes too, or takes its time, or `stop`.

    To close it with something unread in it would be a reset, and on many systems that takes from the other end what it
    has not read yet.
    """
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return
    with socket.socket(fileno=os.dup(fd)) as end:
        try:
            end.shutdown(socket.SHUT_WR)
        except OSError as error:  # its other end is gone already
            _log.debug("not closed in order: %s", error)
            return
        ended = asyncio.Event()
        _discard(end, ended)
        if end.family == socket.AF_UNIX:  # it holds all there is already
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(end, _discard, end, ended)
        try:
            await _either(ended, stop, LINGER)
            if not ended.is_set():
                await output_sent(fd, stop)
        finally:
            loop.remove_reader(end)


def _discard(end: socket.socket, ended: asyncio.Event) -> None:
    try:
        for _ in range(_TURN):
            if not end.recv(65536):
                ended.set()
                return
    except BlockingIOError:
        pass
    except OSError:
        ended.set()


async def _either(one: asyncio.Event, other: asyncio.Event, within: float) -> None:
    waiting = {asyncio.ensure_future(event.wait()) for event in (one, other)}
    try:
        await asyncio.wait(waiting, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiting:
            waiter.cancel()


def _output_left(fd: int) -> int:
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:  # hung up, or a device that does not tell
        return 0
