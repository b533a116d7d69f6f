"""The journal's own protocol: a record of the log as fields in one datagram (systemd's JOURNAL_NATIVE_PROTOCOL).

What a record is about stands in `extra=about(EVENT, MODEM=…)`; what a task and all that it starts are about, in
`mark(MODEM=…)` at its beginning; what the whole process is about, in the handler.  The nearest one wins.

Nothing waits for the journal: what it does not take at once is kept, up to a limit, and offered again soon; what is
beyond the limit is dropped, and how much that was is told as soon as the journal takes anything.

Texts come from modems, callers and programs: they are bounded, control characters are escaped, and a line break never
begins a field.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import logging
import os
import socket
import struct
from collections.abc import Mapping

from dialupd.events import LOG_LOST, Event

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "dialupd"
MESSAGE_LIMIT = 16_000
FIELD_LIMIT = 1_000
"""Characters.  The largest record stays below what a datagram holds (212 kB), so it needs no file of its own."""

BACKLOG = 1 << 20
"""Bytes kept for a journal that is busy: its queue holds some hundred datagrams, on some machines only ten."""
RETRY_FIRST = 0.02
RETRY_MAX = 5.0
"""Seconds, doubling, until what is kept is offered again, if no record comes before that."""
LAST_WAIT = 0.5
"""Seconds that the end of the process waits for the journal."""

PRIORITIES: Mapping[int, int] = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_FACILITY = 3  # daemon, of syslog(3)
_NO_MARKS: Mapping[str, str] = {}

_marks: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("marks", default=_NO_MARKS)


def about(event: Event | None = None, **fields: object) -> dict[str, object]:
    """What a record is about, as `extra` for the logger; fields that are "" or None are left out."""
    said = {"MESSAGE_ID": event.id, "EVENT": event.name} if event is not None else {}
    return {"fields": said | {name: str(value) for name, value in fields.items() if value not in (None, "")}}


def mark(**fields: object) -> None:
    """Give these fields to all that is logged from now on in this task, in those that it starts and their callbacks."""
    _marks.set({**_marks.get(), **{name: str(value) for name, value in fields.items()}})


def marked(**fields: object) -> contextvars.Context:
    """The context for a task that is about these besides."""
    context = contextvars.copy_context()
    context.run(mark, **fields)
    return context


def printable(text: str, limit: int, *, lines: bool = False) -> str:
    """The text without control characters, and not longer than the limit; `lines`: it may have several."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def encode(fields: Mapping[str, str]) -> bytes:
    """One datagram of the protocol; a value with a line break goes with its length."""
    data = bytearray()
    for name, value in fields.items():
        raw = value.encode()
        if b"\n" in raw:
            data += name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
        else:
            data += name.encode() + b"=" + raw + b"\n"
    return bytes(data)


class JournalHandler(logging.Handler):
    """Sends each record to the journal; `fields` are those of the whole process."""

    def __init__(self, fields: Mapping[str, str], address: str = SOCKET) -> None:
        super().__init__()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setblocking(False)
        self._fields = fields
        self._address = address
        self._kept: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._lost = 0
        self._retry: asyncio.TimerHandle | None = None
        self._pause = RETRY_FIRST

    @property
    def waiting(self) -> bool:
        """Something is kept, or lost and not yet told."""
        return bool(self._kept or self._lost)

    def emit(self, record: logging.LogRecord) -> None:
        # A formatter that fails is a defect in a log call: the logging module has its way to tell.
        try:
            datagram = encode(self._all_of(record))
        except (TypeError, ValueError, KeyError):
            self.handleError(record)
            return
        if self._offer() and self._send(datagram):
            return
        if self._size + len(datagram) > BACKLOG:
            self._lost += 1
        else:
            self._kept.append(datagram)
            self._size += len(datagram)
        self._offer_later()

    def close(self) -> None:
        """Nothing more comes: what is kept has a last chance."""
        with self.lock or contextlib.nullcontext():
            if self.socket.fileno() >= 0:
                self.socket.settimeout(LAST_WAIT)
                self._offer()
                self.socket.close()
        super().close()

    def _offer(self) -> bool:
        """Send what is kept, and what was lost behind it; whether nothing is left."""
        while self._kept:
            if not self._send(self._kept[0]):
                return False
            self._size -= len(self._kept.popleft())
        if self._lost:
            if not self._send(encode(self._loss())):
                return False
            self._lost = 0
        self._pause = RETRY_FIRST
        return True

    def _offer_later(self) -> None:
        """Without a loop, as in the history's thread, the next record does it."""
        if self._retry is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._retry = loop.call_later(self._pause, self._offer_again)
        self._pause = min(2 * self._pause, RETRY_MAX)

    def _offer_again(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._retry = None
            if self.socket.fileno() >= 0 and not self._offer():
                self._offer_later()

    def _send(self, datagram: bytes) -> bool:
        try:
            self.socket.sendto(datagram, socket.MSG_NOSIGNAL, self._address)
        except OSError:  # it is restarted, or has more to do than it can
            return False
        return True

    def _all_of(self, record: logging.LogRecord) -> dict[str, str]:
        said = {**self._fields, **_marks.get(), **getattr(record, "fields", {})}
        return {
            "MESSAGE": printable(self.format(record), MESSAGE_LIMIT, lines=True),
            "PRIORITY": str(PRIORITIES.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "SYSLOG_FACILITY": str(_FACILITY),
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            **{name: printable(value, FIELD_LIMIT) for name, value in said.items()},
        }

    def _loss(self) -> dict[str, str]:
        text = f"{self._lost} messages of the log were lost: the journal did not take them"
        lost = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (), None)
        lost.__dict__ |= about(LOG_LOST, LOST=self._lost)
        return self._all_of(lost)


def leads_to_journal(fd: int, environment: Mapping[str, str]) -> bool:
    """Does the descriptor lead to the journal?  The variable alone may be inherited (systemd.exec(5))."""
    status = os.fstat(fd)
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
