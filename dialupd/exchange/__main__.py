"""dialup-exchange: modems on ttys, until SIGINT or SIGTERM.

Prints the table of modems and then READY on stdout when every tty is there; logs calls on stderr.  On a
terminal it takes commands from it as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from .console import Console, table
from .exchange import Exchange
from .options import Options, read_options

log = logging.getLogger("dialupd.exchange")


def main() -> int:
    """Exit status: 0 ended by a signal, 1 could not start, 2 wrong command line."""
    options = read_options()
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        return asyncio.run(_run(options))
    except (OSError, ValueError) as error:
        print(f"dialup-exchange: {error}", file=sys.stderr)
        return 1


async def _run(options: Options) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if options.directory is not None:
        options.directory.mkdir(parents=True, exist_ok=True)
    async with Exchange(
        timing=options.timing, line_rate=options.line_rate, delay=options.delay, directory=options.directory
    ) as exchange:
        await _populate(exchange, options)
        console = Console(exchange)
        try:
            if options.control is not None:
                await console.listen(options.control)
            print("\n".join(table(exchange)))
            print("READY", flush=True)
            if options.ready_fd >= 0:
                _announce(options.ready_fd)
            if _on_terminal():
                await _talk(console, stop)
            await stop.wait()
        finally:
            await console.close()
    return 0


def _on_terminal() -> bool:
    """Is there a terminal to read from?  Started with `&`, reading from it would stop the program."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        # A terminal that does not control this session has no foreground to be out of.
        return True


def _announce(fd: int) -> None:
    try:
        os.write(fd, b"READY\n")
        os.close(fd)
    except OSError as error:
        raise OSError(f"--ready-fd {fd} cannot be written: {error.strerror}") from error


async def _populate(exchange: Exchange, options: Options) -> None:
    for modem in options.modems:
        exchange.modem(
            modem.number,
            kind=modem.kind,
            name=modem.name,
            private=modem.private,
            ring_text=modem.ring_text,
            faults=modem.faults,
        )
        if modem.tty:
            await exchange.on_tty(modem.number, modem.tty)
        else:
            await exchange.on_pty(modem.number)
    for number, argv in options.services:
        exchange.service(number, argv)
    for number, what in options.special:
        exchange.special(number, what)


async def _talk(console: Console, stop: asyncio.Event) -> None:
    """Commands typed on the terminal; its end of file ends the talk, not the exchange."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    terminal = sys.stdin.fileno()
    # A terminal gives a line when it is readable; non-blocking mode would be stdout's as well and break its printing.
    loop.add_reader(terminal, lambda: typed.put_nowait(os.read(terminal, 4096)))
    print("Commands: help, list, ...; Ctrl-C ends.", flush=True)
    ended = asyncio.create_task(stop.wait(), name="stop")
    try:
        while not ended.done():
            line = asyncio.create_task(typed.get(), name="command line")
            await asyncio.wait((ended, line), return_when=asyncio.FIRST_COMPLETED)
            if not line.done():
                line.cancel()
            elif text := line.result():
                print(await console.command(text.decode("utf-8", "replace")), flush=True)
            else:
                break
    finally:
        loop.remove_reader(terminal)
        ended.cancel()


if __name__ == "__main__":
    sys.exit(main())
