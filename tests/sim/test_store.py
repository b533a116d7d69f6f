"""The call history: what is kept, across crashes, damage and disks that give up."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dialupd.io import store as store_module
from dialupd.io.history import COLUMNS, row_of
from dialupd.io.store import FILE, Store
from dialupd.model import (
    CallState,
    CallView,
    DialupError,
    Direction,
    EndReason,
    ErrorKind,
    HistoryFilter,
    SessionState,
)

T = TypeVar("T")
ALL = HistoryFilter()
FULL = CallView(
    call=7,
    modem="rack",
    direction=Direction.OUTGOING,
    number="5551212",
    caller_id="555",
    caller_name="Zoë\n'x'; --",
    policy="uplink",
    session="internet",
    state=CallState.CONNECTED,
    session_state=SessionState.RUNNING,
    start_time=1000,
    connect_time=2000,
    line_rate=33600,
    port_rate=115200,
    modulation="V34",
    error_control="LAPM",
    compression="V42B",
    interface="ppp0",
    local_address="10.0.0.1",
    remote_address="10.0.0.2",
    dns=("10.0.0.3", "10.0.0.4"),
    rx_bytes=2**40,
    tx_bytes=5,
)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 20))


def rows(store: Store, wanted: HistoryFilter = ALL) -> list[CallView]:
    return run(store.query(wanted))


def raw(path: Path, statement: str = "SELECT 1") -> None:
    with closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute(statement)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path))
    yield opened
    run(opened.close())


def test_a_call_comes_back_as_it_was(store: Store) -> None:
    store.begin(FULL)
    assert rows(store) == [FULL]


def test_the_columns_are_the_fields() -> None:
    kept = {field.name for field in fields(CallView)} - {"detail"}  # of the end, for the log alone
    assert sorted(COLUMNS) == sorted(kept)


def test_a_change_replaces_the_row(store: Store) -> None:
    store.begin(FULL)
    ended = replace(FULL, state=CallState.ENDED, end_reason=EndReason.IDLE, end_time=3000)
    store.update(ended)
    assert rows(store) == [ended]
    store.update(replace(ended, rx_bytes=1))
    assert rows(store) == [replace(ended, rx_bytes=1)]


def test_hostile_values_are_kept_as_well_as_may_be(store: Store) -> None:
    store.begin(replace(FULL, caller_name="\ud800\0x", rx_bytes=2**64 - 1))
    (row,) = rows(store)
    assert (row.caller_name, row.rx_bytes) == ("?\0x", 2**63 - 1)


CALLS = [
    replace(FULL, call=1, start_time=100),
    replace(FULL, call=2, start_time=200, modem="other"),
    replace(FULL, call=3, start_time=300, policy="console"),
    replace(FULL, call=4, start_time=400, number="1"),
    replace(FULL, call=5, start_time=500, number="", caller_id="1", direction=Direction.INCOMING),
]


@pytest.mark.parametrize(
    ("wanted", "calls"),
    [
        (ALL, [5, 4, 3, 2, 1]),
        (HistoryFilter(limit=2), [5, 4]),
        (HistoryFilter(since=300), [5, 4, 3]),
        (HistoryFilter(until=300), [2, 1]),
        (HistoryFilter(since=200, until=400, limit=1), [3]),
        (HistoryFilter(modem="other"), [2]),
        (HistoryFilter(policy="console"), [3]),
        (HistoryFilter(number="1"), [5, 4]),
        (HistoryFilter(direction="incoming"), [5]),
        (HistoryFilter(direction="'; DROP TABLE calls; --"), []),
        (HistoryFilter(since=2**64 - 1), []),
    ],
)
def test_filters(store: Store, wanted: HistoryFilter, calls: list[int]) -> None:
    for view in CALLS:
        store.begin(view)
    assert [view.call for view in rows(store, wanted)] == calls


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    first = Store(str(tmp_path / "state"))
    assert first.last_call() == 0
    for view in CALLS:
        first.begin(view)
    run(first.close())
    second = Store(str(tmp_path / "state"))
    assert second.last_call() == 5
    assert len(rows(second)) == 5
    run(second.close())


def test_a_number_that_comes_again_is_another_call(store: Store) -> None:
    store.begin(FULL)
    store.begin(replace(FULL, start_time=5000))
    assert [view.start_time for view in rows(store)] == [5000, 1000]


def test_the_file_is_not_for_everybody(tmp_path: Path, store: Store) -> None:
    assert (tmp_path / FILE).stat().st_mode & 0o007 == 0


CRASH = """
import asyncio, os, sys
from dialupd.io.store import Store
from dialupd.model import *
store = Store(sys.argv[1])
for call in (1, 2):
    store.begin(CallView(call=call, modem="m", direction=Direction.INCOMING, start_time=call * 1000,
                         state=CallState.CONNECTED, session_state=SessionState.RUNNING))
store.update(CallView(call=1, modem="m", direction=Direction.INCOMING, start_time=1000, end_time=1500,
                      state=CallState.ENDED, end_reason=EndReason.IDLE))
asyncio.run(store.query(HistoryFilter()))
os.kill(os.getpid(), 9)
"""


def test_a_call_cut_by_a_crash_is_closed_at_the_next_start(tmp_path: Path) -> None:
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False, timeout=20)
    assert crashed.returncode == -9
    store = Store(str(tmp_path))
    assert store.last_call() == 2
    assert [view.state for view in rows(store)] == [CallState.CONNECTED, CallState.ENDED]
    store.close_stale(9000)
    cut, whole = rows(store)
    assert (cut.state, cut.session_state, cut.end_reason, cut.end_time) == ("ended", "", "shutdown", 9000)
    assert (whole.end_reason, whole.end_time) == (EndReason.IDLE, 1500)
    run(store.close())


def test_a_call_never_ends_before_it_began(store: Store) -> None:
    store.begin(FULL)
    store.close_stale(5)  # the clock of a machine without a battery
    assert rows(store)[0].end_time == 2000


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for view in CALLS:
        store.begin(view)
    run(store.close())
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (5,)


@pytest.mark.parametrize(
    ("content", "suffix", "why"),
    [
        (
            b"this is no database, and it is long enough to be looked at as one" * 40,
            ".corrupt",
            "file is not a database",
        ),
        ("CREATE TABLE notes (x)", ".corrupt", "it belongs to another program"),
        ("PRAGMA user_version = 9", ".v9", "its schema is 9, and this program knows 1"),
        ("PRAGMA user_version = 1", ".corrupt", "its columns are others"),
    ],
)
def test_a_file_that_is_no_history_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | str, suffix: str, why: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / FILE).write_bytes(content)
    else:
        raw(tmp_path, content)
    before = (tmp_path / FILE).read_bytes()
    store = Store(str(tmp_path))
    store.begin(FULL)
    assert rows(store) == [FULL]
    assert (tmp_path / (FILE + suffix)).read_bytes() == before
    assert why in caplog.text
    assert f"set aside as {tmp_path / FILE}{suffix}; a new one begins" in caplog.text
    run(store.close())


def fill(path: Path) -> None:
    """More than SQLite keeps in memory, so that it must read what has been spoilt."""
    store = Store(str(path))
    for place in range(300):
        store.begin(replace(FULL, call=place, start_time=place, caller_name="x" * 10_000))
    run(store.close())


def spoil(path: Path) -> None:
    """Damage the pages of the table's middle, as a bad block does."""
    with open(path / FILE, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096 * 2)
        file.write(b"\xa5" * (size - 4096 * 3))


def test_a_damaged_file_is_set_aside_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path)
    spoil(tmp_path)
    store = Store(str(tmp_path))
    assert store.last_call() == 0
    store.begin(FULL)
    assert rows(store) == [FULL]
    assert (tmp_path / f"{FILE}.corrupt").exists()
    assert "it is damaged" in caplog.text or "malformed" in caplog.text
    run(store.close())


def test_damage_in_use_costs_the_old_rows_and_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path)
    store = Store(str(tmp_path))
    spoil(tmp_path)
    with pytest.raises(DialupError) as caught:
        rows(store)
    assert caught.value.kind is ErrorKind.FAILED
    assert (tmp_path / f"{FILE}.corrupt").exists()
    store.begin(FULL)
    assert rows(store) == [FULL]
    assert "set aside" in caplog.text
    run(store.close())


def test_a_full_disk_loses_nothing_once_it_has_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page limit stands in for the disk: SQLite reports both as SQLITE_FULL."""
    full = True
    prepare = Store._prepare

    def small(self: Store, connection: sqlite3.Connection) -> None:
        prepare(self, connection)
        if full:
            connection.execute("PRAGMA max_page_count = 2")

    monkeypatch.setattr(Store, "_prepare", small)
    caplog.set_level(logging.WARNING)
    store = Store(str(tmp_path))
    views = [replace(FULL, call=place, start_time=place, caller_name="x" * 200) for place in range(50)]
    for view in views[:-1]:
        store.begin(view)
    assert len(rows(store)) < 49
    rows(store)
    assert caplog.text.count("database or disk is full; calls go on without it") == 1
    full = False
    store.begin(views[-1])
    rows(store)  # a connection that is still open has kept its limit, unlike a disk
    assert len(rows(store)) == 50
    assert "is written again" in caplog.text
    run(store.close())


def test_a_directory_that_is_none_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "state"
    place.write_text("a file")
    store = Store(str(place))
    assert store.last_call() == 0
    store.begin(FULL)
    with pytest.raises(DialupError, match="cannot be read"):
        rows(store)
    assert caplog.text.count("calls go on without it") == 1
    place.unlink()
    assert rows(store) == [FULL]
    run(store.close())


def test_another_program_s_lock_only_delays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 0.05)
    store = Store(str(tmp_path))
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("BEGIN EXCLUSIVE")
        store.begin(FULL)
        assert rows(store) == []
        assert "database is locked" in caplog.text
        other.rollback()
    assert rows(store) == [FULL]
    run(store.close())


class Hung:
    """A disk that answers nothing until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        monkeypatch.setattr(store_module, "row_of", self._row_of)

    def _row_of(self, view: CallView) -> list[str | int]:
        self.reached.set()
        assert self.released.wait(20)
        return row_of(view)


def test_a_hung_disk_holds_up_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Hung(monkeypatch)
    monkeypatch.setattr(store_module, "QUERY_TIMEOUT", 0.01)
    monkeypatch.setattr(store_module, "CLOSE_TIMEOUT", 0.01)

    async def scene() -> None:
        store.begin(FULL)
        assert await asyncio.to_thread(disk.reached.wait, 10)
        for place in range(store_module.PENDING_LIMIT + 50):
            store.begin(replace(FULL, call=place, start_time=place))
        for _ in range(store_module.JOBS_LIMIT):
            with pytest.raises(DialupError, match="does not answer") as caught:
                await store.query(ALL)
            assert caught.value.kind is ErrorKind.TIMEOUT
        with pytest.raises(DialupError, match="too many queries"):
            await store.query(ALL)
        await store.close()
        assert "its last changes are lost" in caplog.text

    run(scene())
    disk.released.set()  # lets the fixture close the file
    monkeypatch.setattr(store_module, "CLOSE_TIMEOUT", 10.0)


def test_the_newest_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEEP", 3)
    monkeypatch.setattr(store_module, "PRUNE_EVERY", 1)
    store = Store(str(tmp_path))
    for view in CALLS:
        store.begin(view)
    assert [view.call for view in rows(store)] == [5, 4, 3]
    run(store.close())
    monkeypatch.setattr(store_module, "KEEP", 2)
    again = Store(str(tmp_path))
    again.update(CALLS[-1])
    assert [view.call for view in rows(again)] == [5, 4]
    run(again.close())


def test_a_row_with_unknown_words_is_left_out(tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.begin(FULL)
    store.begin(replace(FULL, call=8))
    assert len(rows(store)) == 2
    raw(tmp_path, "UPDATE calls SET direction = 'sideways' WHERE call = 8")
    assert rows(store) == [FULL]
    assert "is left out: 'sideways' is not a valid Direction" in caplog.text
