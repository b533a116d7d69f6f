"""What the operator of a running exchange may say, on the terminal or over the control socket.

A command is a line; its answer is some lines, the last of which is `.` on the socket.  A wrong command is
answered with a sentence that begins with `error: `.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from .answers import Caller
from .exchange import Exchange

HELP = """\
list                            the modems, what they do, their faults
fault NUMBER [FAULT,...]        replace a modem's faults; none heals it
hangup NUMBER                   cut its call: both ends lose the carrier
ring NUMBER [CALLER [RINGS]]    a human calls it (3 rings)
unplug NUMBER                   take its tty away
plug NUMBER                     give it a tty again
help"""
MAX_LINE = 4096


def table(exchange: Exchange) -> list[str]:
    """One line for each modem."""
    rows = [("number", "kind", "tty", "state", "with", "faults")]
    for number, modem in exchange.modems.items():
        faults = ",".join(fault.label for fault in modem.faults)
        path = exchange.path(number) or "-"
        rows.append((number, modem.kind.name, path, modem.doing, modem.peer or "-", faults or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _clear(path: Path) -> None:
    """Remove an old socket, but nothing else, from the way."""
    if path.is_socket():
        path.unlink()


class Console:
    """Carries out commands."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._server: asyncio.Server | None = None
        self._socket: Path | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def command(self, line: str) -> str:
        """The answer, without a closing line end."""
        match line.split():
            case [] | ["help"]:
                return HELP
            case ["list"]:
                return "\n".join(table(self._exchange))
            case [verb, number, *rest]:
                try:
                    return await self._on_modem(verb, number, rest)
                except (ValueError, OSError) as error:
                    return f"error: {error}"
            case [verb, *_]:
                return f"error: {verb!a} needs a number, or is no command; try help"
            case _:
                return HELP

    async def _on_modem(self, verb: str, number: str, rest: list[str]) -> str:
        exchange = self._exchange
        modem = exchange.modems.get(number)
        if modem is None:
            raise ValueError(f"there is no modem {number}")
        match verb, rest:
            case "fault", _:
                modem.set_faults(word for text in rest for word in text.split(",") if word)
            case "hangup", []:
                if not modem.lose_carrier():
                    raise ValueError(f"{number} has no call")
            case "ring", [] | [_] | [_, _]:
                rings = rest[1] if len(rest) == 2 else "3"
                if not (rings.isascii() and rings.isdigit() and 0 < int(rings[:4]) < 1000):
                    raise ValueError(f"{rings!a} is no number of rings")
                exchange.ring(number, Caller(rest[0] if rest else ""), int(rings))
            case "unplug", []:
                exchange.unplug(number)
            case "plug", []:
                return await exchange.on_pty(number)
            case _:
                raise ValueError(f"{verb} {' '.join(rest)}: try help")
        return "ok"

    async def listen(self, path: Path) -> None:
        """Take commands on a socket that only this user may use."""
        _clear(path)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._begin, path, limit=MAX_LINE)
        finally:
            os.umask(mask)
        self._socket = path

    async def close(self) -> None:
        """Close the socket, end the talks on it, and remove it."""
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        if self._socket is not None:
            _clear(self._socket)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(self._serve(reader, writer), name="operator")
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self.command(line.decode("utf-8", "replace"))
                writer.write(f"{answer}\n.\n".encode())
                await writer.drain()
        except (ConnectionError, ValueError):
            # A line beyond the limit, or the other end is gone: this talk is over, no other.
            pass
        finally:
            writer.close()
