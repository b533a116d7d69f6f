"""The dialogue before PPP, where the far end asks for a name and a password in plain text.

Pairs of (expect, send), one after the other: wait until the text has come, literally, then send the answer and a CR.
The line is read byte by byte, so what follows the last expected text stays in the kernel for pppd.  Neither what was
sent nor what came after a password was sent is ever told, for a far end may echo it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from typing import Final

# Seconds for one expected text, as chat(8) has it.
PATIENCE: Final = 45.0
_KEPT: Final = 512
_TOLD: Final = 60


class LoginError(Exception):
    """The far end did not ask as expected."""


class LineEnded(Exception):
    """The line was hung up during the dialogue."""


def fill(send: str, user: str, password: bytes) -> bytes:
    """`send` with `{user}` and `{password}` put in, once: what is put in is not looked at again."""
    values = {"{user}": user.encode(), "{password}": password}
    parts = re.split(r"(\{user\}|\{password\})", send)
    return b"".join(values.get(part, part.encode()) for part in parts) + b"\r"


async def log_in(fd: int, pairs: Sequence[tuple[str, str]], user: str, password: bytes) -> None:
    """Hold the dialogue on a non-blocking descriptor; raises LoginError or LineEnded."""
    secret = False
    for expect, send in pairs:
        heard = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                await _hear(fd, expect.encode(), heard)
        except TimeoutError:
            said = "" if secret else f'; it said "{_printable(heard)}"'
            text = f'the far end did not say "{expect}" within {PATIENCE:.0f} s{said}'
            raise LoginError(text) from None
        await _say(fd, fill(send, user, password))
        secret = secret or "{password}" in send


async def _hear(fd: int, expected: bytes, heard: bytearray) -> None:
    while not heard.endswith(expected):
        try:
            byte = os.read(fd, 1)
        except BlockingIOError:
            await _ready(fd, write=False)
            continue
        except OSError:
            byte = b""
        if not byte:
            raise LineEnded
        heard += byte
        del heard[: -max(_KEPT, len(expected))]


async def _say(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            await _ready(fd, write=True)
        except OSError:
            raise LineEnded from None


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    came = asyncio.Event()
    add(fd, came.set)
    try:
        await came.wait()
    finally:
        remove(fd)


def _printable(heard: bytes | bytearray) -> str:
    text = " ".join(heard.decode("utf-8", "replace").split())
    return "".join(c for c in text if c.isprintable())[-_TOLD:]
