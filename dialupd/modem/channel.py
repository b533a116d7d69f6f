"""The AT dialogue on an open port: one command at a time, what comes unasked to a callback.

The reader's callback turns bytes into lines and lines into replies at once, so nothing waits between a byte's arrival
and the decision that it causes.  While a command that may end in CONNECT is in flight the port is read byte by byte:
whatever the far end sends behind the CONNECT line stays in the kernel for the session.

At level debug all of it is logged, but no secret: see `at.secrecy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from dialupd.at.exchange import Consumed, Exchange, Reply, Stray, Unsolicited
from dialupd.at.lines import Lexer, Line, Prompt, Wait
from dialupd.at.results import Final, Result
from dialupd.at.secrecy import heard, hidden
from dialupd.io.journal import about
from dialupd.io.port import READ_BYTES, Lost, Port, PortError
from dialupd.modem import timing

log = logging.getLogger("dialupd.at")

TEXT_ESCAPE = b"\x1b"
"""ESC ends the text that a modem waits for behind its prompt and drops it (3GPP TS 27.005 section 3.5.1)."""


class NoReply(Exception):
    """The modem did not answer a command in time."""


class PortLost(Exception):
    """The port ended: unplugged, or hung up by the kernel on loss of carrier."""

    def __init__(self, lost: Lost) -> None:
        super().__init__(f"the port is {lost.value}")
        self.lost = lost


class Channel:
    """Owns the reading of a port until `release()`, and again after `resume()`."""

    def __init__(
        self,
        port: Port,
        name: str,
        on_unsolicited: Callable[[str], None],
        on_stray: Callable[[Result], None],
        *,
        handed_over: bool = False,
    ) -> None:
        self.port = port
        self.echoes_only = False
        """Since the last `sync` the modem has said nothing but our own commands."""
        self.handed_over = handed_over
        """The port is lent to a session."""
        self._name = name
        self._fields = about(MODEM=name)
        self._on_unsolicited = on_unsolicited
        self._on_stray = on_stray
        self._lexer = Lexer()
        self._exchange = Exchange()
        self._reply: asyncio.Future[Reply] | None = None
        self._sent = ("", "")
        """The last command and how it is shown: late or garbled, its echo may still come when it has ended."""
        self.turn_since = 0.0
        """Loop time when somebody last got the turn."""
        self._turn = asyncio.Lock()
        self._holder: asyncio.Task[object] | None = None
        self._unsure: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        if not handed_over:
            self.resume()

    def resume(self) -> None:
        """Read the port from now on."""
        self._lexer.clear()
        self.handed_over = False
        self.port.start_reading(self._received)

    def release(self) -> bytes:
        """Stop reading, for a session: gives what was read behind the last line, nearly always nothing."""
        self.port.stop_reading()
        self.handed_over = True
        self._cancel_unsure()
        return self._lexer.take_rest()

    def lost(self, lost: Lost) -> None:
        """The port ended; a command in flight raises PortLost."""
        self._cancel_unsure()
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(PortLost(lost))

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the commands of others; until the end of the block only the task that holds it sends any."""
        task = asyncio.current_task()
        if self._holder is task:
            yield
            return
        async with self._turn:
            self._holder, self.turn_since = task, self._loop.time()
            try:
                yield
            finally:
                self._holder = None

    def taken_from(self, task: asyncio.Task[None] | None) -> bool:
        """Is it the turn of another task, a person's command, which has a time limit of its own?"""
        return self._holder is not None and self._holder is not task

    async def command(self, text: str, timeout: float = timing.REPLY, *, shown: str | None = None) -> Reply:
        """Send one command line when it is our turn and give its reply.

        `shown` is for the log and for messages; without one, the secrets that `at.secrecy` knows are left out.
        Raises NoReply after `timeout` seconds, PortLost, PortError, and ValueError for text that is no command line.
        """
        async with self.turn():
            return await self._command(text, timeout, shown, READ_BYTES)

    async def afresh(self, text: str, timeout: float, *, chunk: int = READ_BYTES, shown: str | None = None) -> Reply:
        """Like `command`, with all that has arrived before it forgotten; `chunk` 1 for one that may end in CONNECT."""
        async with self.turn():
            self.flush()
            return await self._command(text, timeout, shown, chunk)

    async def _command(self, text: str, timeout: float, shown: str | None, chunk: int) -> Reply:
        data = self._exchange.command(text)
        shown = shown or hidden(text)
        self._sent = text, shown
        self.port.chunk = chunk
        self._reply = self._loop.create_future()
        log.debug("%s > %s", self._name, shown, extra=self._fields)
        try:
            self.port.write(data)
            async with asyncio.timeout(timeout):
                return await self._reply
        except TimeoutError:
            raise NoReply(f"no answer to {shown} in {timeout:g} s") from None
        finally:
            self._reply = None
            self._exchange.abandon()

    def send(self, data: bytes) -> None:
        """Send bytes that are no command: the escape sequence, a CR that aborts dialling."""
        log.debug("%s > %a", self._name, data, extra=self._fields)
        self.port.write(data)

    def flush(self) -> None:
        """Forget all that has arrived."""
        self._cancel_unsure()
        self._lexer.clear()
        self.port.flush_input()
        self.echoes_only = False

    @property
    def numeric(self) -> bool:
        return self._exchange.numeric

    @numeric.setter
    def numeric(self, value: bool) -> None:
        self._exchange.numeric = value

    def _received(self, data: bytes) -> None:
        self._cancel_unsure()
        self._lexer.feed(data)
        while True:
            token = self._lexer.next()
            if token is Wait.UNSURE:
                self._unsure = self._loop.call_later(timing.LF_WAIT, self._settle)
            if isinstance(token, Wait):
                return
            if self._take(token):
                return

    def _settle(self) -> None:
        self._unsure = None
        while not isinstance(token := self._lexer.flush(), Wait):
            if self._take(token):
                return

    def _take(self, token: Line | Prompt) -> bool:
        """Act on a line; true when it is a CONNECT, after which nothing may be read as a line."""
        in_flight = self._exchange.in_flight
        if isinstance(token, Prompt):
            if in_flight is not None:  # there is never text to give, and what is sent next would be taken for it
                try:
                    self.send(TEXT_ESCAPE)
                except PortError as error:
                    if self._reply is not None and not self._reply.done():
                        self._reply.set_exception(error)
            return False
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s < %s", self._name, heard(token.text, *self._sent), extra=self._fields)
        match self._exchange.line(token.text):
            case Reply() as reply:
                self.echoes_only = False
                connected = reply.result.code is Final.CONNECT
                if connected:
                    self.port.stop_reading()
                if self._reply is not None and not self._reply.done():
                    self._reply.set_result(reply)
                return connected
            case Unsolicited(text):
                self._on_unsolicited(text)
            case Stray(result):
                self._on_stray(result)
            case Consumed():
                self.echoes_only = in_flight is not None and token.text.strip().upper() == in_flight.upper()
        return False

    def _cancel_unsure(self) -> None:
        if self._unsure is not None:
            self._unsure.cancel()
            self._unsure = None
