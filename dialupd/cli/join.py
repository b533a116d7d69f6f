"""Joins a data stream to standard input and output, until one of them ends.

The stream is a socket to the daemon or a serial port; either way what cannot be written yet stops the reading of its
source.  On a terminal the escapes of `escapes` work.  The end of a standard input that is no terminal ends only the
sending, as with ssh, unless it is told to hang up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from dialupd.cli.escapes import HELP, Escape, Typed
from dialupd.cli.tty import Output, Terminal

_CHUNK: Final = 16384
_LONGEST_COMMAND: Final = 4096
_STDIN: Final = 0
LAST_WORDS_S: Final = 1.0
"""Seconds for a terminal, or the line, to take what is left at the end."""
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""As a shell says it."""


class Ended(Enum):
    """Why the two are no longer joined."""

    HERE = "here"
    FAR = "far"


class _Flow:
    """One direction: reads when the loop says so, and only while nothing waits to be written."""

    def __init__(
        self,
        source: int,
        sink: int,
        taken: Callable[[bytes], bytes],
        ended: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        """`taken` is given what was read, for what to write; `ended`: the source did; `lost`: the sink is."""
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._sink = sink
        self._taken = taken
        self._ended = ended
        self._lost = lost
        self._written = asyncio.Event()
        self._buffer = b""
        self._over = False
        self._on = False
        self._writing = False
        self._always_ready = False

    async def written(self) -> None:
        """Until nothing waits to be written."""
        self._written.clear()
        if self._buffer:
            await self._written.wait()

    def go(self, on: bool) -> None:
        """Read the source, or leave it alone."""
        self._on = on
        self._settle()

    def write(self, data: bytes) -> None:
        """Write this behind what waits."""
        self._buffer += data
        self._flush()

    def stop(self) -> None:
        self._on = False
        self._buffer = b""
        self._settle()

    def _settle(self) -> None:
        writing = bool(self._buffer)
        if not writing:
            self._written.set()
        if writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._sink, self._flush)
            else:
                self._loop.remove_writer(self._sink)
        if self._on and not writing and not self._over:
            try:
                self._loop.add_reader(self._source, self._readable)
            except PermissionError:  # a plain file cannot be waited for
                self._always_ready = True
                self._loop.call_soon(self._readable)
        elif not self._always_ready:
            self._loop.remove_reader(self._source)

    def _readable(self) -> None:
        if not self._on or self._buffer or self._over:
            return
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: hung up; ECONNRESET: the daemon is gone
            data = b""
        if data:
            self.write(self._taken(data))
        else:
            self._over = True
            self._settle()
            self._ended()

    def _flush(self) -> None:
        try:
            while self._buffer:
                self._buffer = self._buffer[os.write(self._sink, self._buffer) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody is there to take it
            self._buffer = b""
            self._over = True
            self._settle()
            self._lost()
            return
        self._settle()


class Join:
    """One use of `run`; the stream stays the caller's to close."""

    def __init__(self, stream: int, terminal: Terminal, *, hint: str = "", hang_up_at_eof: bool = False) -> None:
        """`hint` is told to a person as soon as every key is the line's."""
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._terminal = terminal
        self._hint = hint
        self._hang_up_at_eof = hang_up_at_eof
        self._typed = Typed()
        self._rest = b""
        self._done: asyncio.Future[Ended] = self._loop.create_future()
        self._asked: asyncio.Queue[Escape] = asyncio.Queue()
        self._output = Output()
        self._there = _Flow(_STDIN, stream, self._from_here, ended=self._input_ended, lost=lambda: self._end(Ended.FAR))
        self._back = _Flow(
            stream,
            self._output.fd,
            lambda data: data,
            ended=lambda: self._end(Ended.FAR),
            lost=lambda: self._end(Ended.HERE),
        )

    async def run(self) -> Ended:
        os.set_blocking(self._stream, False)
        try:
            self._go()
            if self._terminal.is_one and self._hint:
                say(self._hint, end="\r\n")
            while True:
                asking = asyncio.ensure_future(self._asked.get())
                either: set[asyncio.Future[Ended] | asyncio.Future[Escape]] = {self._done, asking}
                try:
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    asking.cancel()
                if self._done.done():
                    await self._drained()
                    return self._done.result()
                await self._grant(asking.result())
        finally:
            self._there.stop()
            self._back.stop()
            self._terminal.restore()
            self._output.close()

    def _go(self) -> None:
        self._terminal.raw()
        self._back.go(True)
        rest, self._rest = self._rest, b""
        if rest:
            self._there.write(self._from_here(rest))
        if self._asked.empty():
            self._there.go(True)

    def _pause(self) -> None:
        self._there.go(False)
        self._back.go(False)
        self._terminal.restore()

    def _from_here(self, data: bytes) -> bytes:
        if not self._terminal.is_one:
            return data
        text, escape, self._rest = self._typed.feed(data)
        if escape is Escape.END:
            self._end(Ended.HERE)
        elif escape is not None:
            self._there.go(False)
            self._asked.put_nowait(escape)
        return text

    def _input_ended(self) -> None:
        if self._terminal.is_one:  # it was hung up
            self._end(Ended.HERE)
        elif self._hang_up_at_eof:
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(self._stream).st_mode):
                    with socket.socket(fileno=os.dup(self._stream)) as end:
                        end.shutdown(socket.SHUT_WR)  # the daemon hangs up when all is sent, and closes its side
                    return
            self._end(Ended.HERE)

    def _end(self, how: Ended) -> None:
        if not self._done.done():
            self._done.set_result(how)

    async def _drained(self) -> None:
        """What has come is shown, and what was typed is sent; whoever does not take it goes without."""
        self._there.go(False)
        self._back.go(False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._back.written()
                await self._there.written()

    async def _grant(self, escape: Escape) -> None:
        match escape:
            case Escape.HELP:
                self._back.write("".join(f"\r\n{line}" for line in ("", *HELP, "")).encode())
            case Escape.COMMAND:
                self._pause()
                await self._command()
            case Escape.SUSPEND:
                self._pause()
                os.kill(os.getpid(), signal.SIGTSTP)
        self._go()

    async def _command(self) -> None:
        say("\nCommand on the line: ", end="")
        line = (await self._line()).strip()
        if not line:
            return
        status = await run_on(self._stream, ("/bin/sh", "-c", line))
        if status:
            say(f"[{line}: exit status {status}]")

    async def _line(self) -> str:
        """What the person types, up to ENTER; the terminal edits and echoes it."""
        data, self._rest = self._rest, b""
        got = asyncio.Event()
        data = data.replace(b"\r", b"\n")
        while b"\n" not in data and len(data) < _LONGEST_COMMAND:
            got.clear()
            self._loop.add_reader(_STDIN, got.set)
            try:
                await got.wait()
            finally:
                self._loop.remove_reader(_STDIN)
            more = os.read(_STDIN, _LONGEST_COMMAND)
            if not more:
                break
            data += more
        line, _, self._rest = data.partition(b"\n")
        return os.fsdecode(line)


async def run_on(stream: int, argv: Sequence[str]) -> int:
    """Run a program with the stream as its standard input and output; its exit status, as a shell says it.

    Ctrl-C is the program's own meanwhile; whatever ends us ends it too.
    """
    os.set_blocking(stream, True)  # programs expect it so
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored, or the program would ignore it too
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=stream, stdout=stream)
    except FileNotFoundError:
        say(f"dialupctl: {argv[0]}: no such program")
        return NOT_FOUND
    except OSError as error:
        say(f"dialupctl: {argv[0]}: {error.strerror}")
        return NOT_EXECUTABLE
    else:
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        return code if code >= 0 else 128 - code
    finally:
        signal.signal(signal.SIGINT, before)
        os.set_blocking(stream, False)


def say(text: str, end: str = "\n") -> None:
    """To the person, beside the line's own bytes; his terminal may be gone."""
    with contextlib.suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)
