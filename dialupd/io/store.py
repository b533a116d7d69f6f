"""The call history: one row for each call, in SQLite.

A disk may be slow, full or hung, and none of that may reach the loop or end a call.  So a thread of its own does all
work on the file: `begin` and `update` leave the view in a small table of what is to be written and return at once.  The
newest view of a call replaces one that still waits, which bounds the table by the number of calls.  What cannot be
written stays there and is tried again with the next change; the trouble is logged when it begins and when it is over.

The file is in WAL mode with synchronous=FULL: each change is on the disk when its transaction ends, even if the power
fails then, at the price of one flush for each change of a call.  A row is known by the call's number and its start, so
numbers that begin anew after the loss of the file never meet older rows.

A file that is damaged or of another make is set aside as `history.sqlite.corrupt` (one of a newer schema as
`history.sqlite.v<n>`) and a new one begun.  The oldest rows go once there are more than KEEP.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable

from dialupd.io.history import CLOSE_STALE, PRUNE, READ, SCHEMA, UPSERT, VERSION, row_of, select, view_of
from dialupd.model import CallState, CallView, DialupError, EndReason, ErrorKind, HistoryFilter, SessionState

FILE = "history.sqlite"
KEEP = 100_000
"""Rows; some 30 MB, and more than a hundred calls a day for two years."""
PRUNE_EVERY = 1000
"""Writes between two looks for rows that are too many."""
PENDING_LIMIT = 1000
"""Calls that wait for a disk that takes nothing; the oldest are given up."""
JOBS_LIMIT = 64
"""Queries that wait for a disk that does not answer."""
OPEN_TIMEOUT = 10.0
"""Seconds that the start waits for the disk before it goes on without the history."""
BUSY_TIMEOUT = 5.0
"""Seconds that another program may keep the file locked."""
QUERY_TIMEOUT = 20.0
"""Seconds; below the 25 s after which clients of the bus give up."""
CLOSE_TIMEOUT = 5.0
"""Seconds for the last rows at the end; well below systemd's 90 s."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_Work = Callable[[sqlite3.Connection], list[CallView]]
_Result = concurrent.futures.Future[list[CallView]]
log = logging.getLogger(__name__)


class _Unusable(sqlite3.DatabaseError):
    """The file is no history of this version; `suffix` is what its name gets when it is set aside."""

    def __init__(self, why: str, suffix: str) -> None:
        super().__init__(why)
        self.suffix = suffix


class Store:
    """The history in a directory.  `begin` and `update` never fail; `query` raises DialupError."""

    def __init__(self, directory: str) -> None:
        """Opens the file, or begins it; waits for the disk no longer than OPEN_TIMEOUT."""
        self._path = os.path.join(directory, FILE)
        self._changed = threading.Condition()
        # guarded by the condition
        self._pending: dict[tuple[int, int], CallView] = {}
        self._jobs: list[tuple[_Result, _Work]] = []
        self._closing = False
        # of the thread alone
        self._connection: sqlite3.Connection | None = None
        self._backlog: dict[tuple[int, int], CallView] = {}
        self._trouble = ""
        self._written = PRUNE_EVERY
        self._last_call = 0
        self._opened = threading.Event()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        # a daemon thread, because one that hangs on a disk must not hold up the end of the process
        threading.Thread(target=self._run, name="history", daemon=True).start()
        if not self._opened.wait(OPEN_TIMEOUT):
            log.error("the call history %s does not answer; going on without it", self._path)

    def last_call(self) -> int:
        """The highest call number at the opening of the file, 0 if there is none."""
        return self._last_call

    def begin(self, view: CallView) -> None:
        """A call began: it gets its row."""
        self._put(view)

    def update(self, view: CallView) -> None:
        """Something of a call changed."""
        self._put(view)

    def close_stale(self, now: int, going_on: frozenset[int] = frozenset()) -> None:
        """End the rows of calls that a crash cut: they ended at the latest `now` (µs, realtime), by the shutdown.

        `going_on` are the numbers of calls that go on.
        """

        def work(connection: sqlite3.Connection) -> list[CallView]:
            ended = CallState.ENDED
            with connection:
                values = (ended, SessionState.NONE, EndReason.SHUTDOWN, now, ended, json.dumps(sorted(going_on)))
                count = connection.execute(CLOSE_STALE, values).rowcount
            if count:
                log.warning("%d calls of the history were cut by the daemon's end; they are closed now", count)
            return []

        self._submit(work)

    async def query(self, wanted: HistoryFilter) -> list[CallView]:
        """The calls that the filter lets through, newest first."""

        def work(connection: sqlite3.Connection) -> list[CallView]:
            views = []
            for row in connection.execute(*select(wanted)):
                try:
                    views.append(view_of(row))
                except ValueError as error:
                    log.warning("a row of the call history %s is left out: %s", self._path, error)
            return views

        result = self._submit(work)
        if result is None:
            raise DialupError(ErrorKind.FAILED, f"the call history {self._path} has too many queries waiting")
        try:
            async with asyncio.timeout(QUERY_TIMEOUT):
                return await asyncio.wrap_future(result)
        except TimeoutError:
            text = f"the call history {self._path} does not answer; look at its disk"
            raise DialupError(ErrorKind.TIMEOUT, text) from None
        except (sqlite3.Error, OSError) as error:
            text = f"the call history {self._path} cannot be read: {error}"
            raise DialupError(ErrorKind.FAILED, text) from error

    async def close(self) -> None:
        """Write what waits and close the file, within CLOSE_TIMEOUT."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.shield(asyncio.wrap_future(self._ended))
        except TimeoutError:
            log.error("the call history %s does not answer; its last changes are lost", self._path)

    def _put(self, view: CallView) -> None:
        with self._changed:
            self._pending[view.start_time, view.call] = view
            if len(self._pending) > PENDING_LIMIT:
                del self._pending[next(iter(self._pending))]
            self._changed.notify()

    def _submit(self, work: _Work) -> _Result | None:
        """Have the thread do the work after all that waits to be written; None if too much work waits."""
        result: _Result = concurrent.futures.Future()
        with self._changed:
            if len(self._jobs) >= JOBS_LIMIT:
                return None
            self._jobs.append((result, work))
            self._changed.notify()
        return result

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            self._ready()
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        self._opened.set()
        closing = False
        while not closing:
            with self._changed:
                while not (self._pending or self._jobs or self._closing):
                    self._changed.wait()
                self._backlog |= self._pending
                self._pending = {}
                jobs, self._jobs = self._jobs, []
                closing = self._closing
            self._write()
            for result, work in jobs:
                self._do(result, work)
        if self._connection is not None:
            self._connection.close()
        self._ended.set_result(None)

    def _write(self) -> None:
        """Write the backlog as one transaction, or keep it for the next time."""
        if not self._backlog:
            return
        try:
            connection = self._ready()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(UPSERT, [row_of(view) for view in self._backlog.values()])
                self._written += len(self._backlog)
                if self._written >= PRUNE_EVERY:
                    connection.execute(PRUNE, (KEEP,))
                    self._written = 0
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            while len(self._backlog) > PENDING_LIMIT:
                del self._backlog[next(iter(self._backlog))]
            return
        self._backlog = {}
        if self._trouble:
            log.warning("the call history %s is written again", self._path)
            self._trouble = ""

    def _do(self, result: _Result, work: _Work) -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            result.set_result(work(self._ready()))
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            result.set_exception(error)

    def _failed(self, error: sqlite3.Error | OSError) -> None:
        """Log a new trouble, and begin with a fresh connection next time: after a disk's error this one is no good."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.error("the call history %s cannot be used: %s; calls go on without it", self._path, error)
        if isinstance(error, sqlite3.Error) and _is_damage(error):
            with contextlib.suppress(OSError):  # a disk that cannot even rename has been complained of just now
                self._set_aside(".corrupt")

    def _ready(self) -> sqlite3.Connection:
        """The open file; raises sqlite3.Error and OSError."""
        if self._connection is None:
            try:
                self._connection = self._open()
            except _Unusable as error:
                log.error("the call history %s cannot be used: %s", self._path, error)
                self._set_aside(error.suffix)
                self._connection = self._open()
        return self._connection

    def _set_aside(self, suffix: str) -> None:
        """Rename the file, and its log, which holds the last changes and is found by its name."""
        for part in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._path + part, self._path + suffix + part)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path + "-shm")
        log.error("the call history is set aside as %s%s; a new one begins", self._path, suffix)

    def _open(self) -> sqlite3.Connection:
        os.makedirs(os.path.dirname(self._path), mode=0o750, exist_ok=True)
        # who called whom is not for everybody: SQLite's own way would make the file readable for all
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            if _is_damage(error):
                raise _Unusable(str(error), ".corrupt") from error
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise _Unusable(f"its schema is {version}, and this program knows {VERSION}", f".v{version}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _Unusable(f"it is damaged: {verdict}", ".corrupt")
        if version == 0:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables:
                raise _Unusable("it belongs to another program", ".corrupt")
        else:
            try:
                connection.execute(f"{READ} LIMIT 0")
            except sqlite3.OperationalError as error:
                raise _Unusable(f"its columns are others: {error}", ".corrupt") from error
        # only now that the file is ours: this writes to it
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(SCHEMA)
                connection.execute(f"PRAGMA user_version = {VERSION}")
        (self._last_call,) = connection.execute("SELECT coalesce(max(call), 0) FROM calls").fetchone()


def _is_damage(error: sqlite3.Error) -> bool:
    # extended codes keep the kind in the low byte; errors of the module itself have none
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED
