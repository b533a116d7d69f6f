"""Holds a dialogue before PPP on the line: its bytes, its clock, and what it decides.

What is heard behind the begin of PPP is given back, for pppd.  Neither what was sent nor what came after a password was
sent is ever told, for a far end may echo it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from dialupd.model import EndReason
from dialupd.sessions.dialogue import Dialogue, Fail, Say, Start

_CHUNK: Final = 512


class LoginError(Exception):
    """The dialogue has failed: why, for the call's end and for a person."""

    def __init__(self, fail: Fail) -> None:
        super().__init__(fail.text)
        self.reason: EndReason = fail.reason


async def log_in(fd: int, dialogue: Dialogue) -> bytes:
    """Hold the dialogue on a non-blocking descriptor; what of PPP was heard already. Raises LoginError."""
    loop = asyncio.get_running_loop()
    actions = dialogue.begin(loop.time())
    while True:
        for action in actions:
            match action:
                case Say(data):
                    await _say(fd, data, dialogue)
                case Start(rest):
                    return rest
                case Fail():
                    raise LoginError(action)
        try:
            async with asyncio.timeout_at(dialogue.due):
                data = await _hear(fd)
        except TimeoutError:
            actions = dialogue.tick(loop.time())
            continue
        if not data:
            raise LoginError(dialogue.hung_up())
        actions = dialogue.feed(data, loop.time())


async def _hear(fd: int) -> bytes:
    """What has come; b"" at the end of the line."""
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            await _ready(fd, write=False)
        except OSError:
            return b""


async def _say(fd: int, data: bytes, dialogue: Dialogue) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            await _ready(fd, write=True)
        except OSError:
            raise LoginError(dialogue.hung_up()) from None


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    came = asyncio.Event()
    add(fd, came.set)
    try:
        await came.wait()
    finally:
        remove(fd)
