"""The journal's native protocol: what the handler sends is read back as journald reads it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_socket import Journal, decode

from dialupd import events
from dialupd.io.journal import (
    BACKLOG,
    FIELD_LIMIT,
    MESSAGE_LIMIT,
    JournalHandler,
    about,
    encode,
    mark,
    marked,
    printable,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path) as journal:
        yield journal


@pytest.fixture
def log(journal: Journal) -> Iterator[logging.Logger]:
    logger = logging.Logger("dialupd.test")
    handler = JournalHandler({"CALL": "7"}, journal.address)
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_a_record_has_its_fields(journal: Journal, log: logging.Logger) -> None:
    log.warning("modem %s", "rack", extra=about(events.MODEM_FAILED, MODEM="usb-1", STATE="", CALL=None, RINGS=0))
    (entry,) = journal.entries()
    assert entry.pop("CODE_FILE") == __file__
    assert int(entry.pop("CODE_LINE")) > 0
    assert entry == {
        "MESSAGE": "modem rack",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "dialupd",
        "SYSLOG_FACILITY": "3",
        "LOGGER": "dialupd.test",
        "CODE_FUNC": "test_a_record_has_its_fields",
        "MESSAGE_ID": events.MODEM_FAILED.id,
        "EVENT": "modem-failed",
        "MODEM": "usb-1",
        "RINGS": "0",
        "CALL": "7",
    }


@pytest.mark.parametrize(
    ("level", "priority"), [("DEBUG", "7"), ("INFO", "6"), ("WARNING", "4"), ("ERROR", "3"), ("CRITICAL", "2")]
)
def test_levels_are_priorities(journal: Journal, log: logging.Logger, level: str, priority: str) -> None:
    log.log(logging.getLevelNamesMapping()[level], "x")
    assert [entry["PRIORITY"] for entry in journal.entries()] == [priority]


def test_a_traceback_is_of_the_message(journal: Journal, log: logging.Logger) -> None:
    try:
        raise KeyError("here")
    except KeyError:
        log.exception("failed")
    (entry,) = journal.entries()
    assert entry["MESSAGE"].startswith("failed\nTraceback")
    assert entry["MESSAGE"].endswith("KeyError: 'here'")


def test_the_nearest_field_wins_and_marks_go_with_the_task(journal: Journal, log: logging.Logger) -> None:
    async def child() -> None:
        log.info("of the child")
        mark(CALL=9)
        log.info("of its call")

    async def session() -> None:
        log.info("of the session")

    async def body() -> None:
        mark(MODEM="a")
        await asyncio.create_task(child())
        await asyncio.create_task(session(), context=marked(CALL=10))
        asyncio.get_running_loop().call_soon(log.info, "of the callback")
        log.info("said otherwise", extra=about(MODEM="b"))

    contextvars.Context().run(asyncio.run, body())
    log.info("after it")
    told = [(entry["MESSAGE"], entry.get("MODEM"), entry["CALL"]) for entry in journal.entries()]
    assert told == [
        ("of the child", "a", "7"),
        ("of its call", "a", "9"),
        ("of the session", "a", "10"),
        ("said otherwise", "b", "7"),
        ("of the callback", "a", "7"),
        ("after it", None, "7"),
    ]


def test_hostile_text_stays_in_its_field(journal: Journal, log: logging.Logger) -> None:
    log.info("one\nPRIORITY=0\x1b[2J\udc80\0", extra=about(CALLER_NAME="x\nMESSAGE=forged\ny"))
    (entry,) = journal.entries()
    assert entry["MESSAGE"] == "one\nPRIORITY=0\\x1b[2J\\udc80\\x00"
    assert entry["PRIORITY"] == "6"
    assert entry["CALLER_NAME"] == "x\\nMESSAGE=forged\\ny"


def test_the_largest_record_is_taken(journal: Journal, log: logging.Logger) -> None:
    log.info("\N{PILE OF POO}" * 100_000, extra=about(**{f"FIELD_{n}": "\x01" * 5000 for n in range(12)}))
    (entry,) = journal.entries()
    assert len(entry["MESSAGE"]) == MESSAGE_LIMIT
    assert entry["MESSAGE"].endswith("…")
    assert len(entry["FIELD_0"]) < 5 * FIELD_LIMIT


FULL = 100_000
"""More records than any socket's queue holds."""


def flood(log: logging.Logger) -> int:
    """So many records that the journal takes no more; how many it has got."""
    for n in range(FULL):
        log.info("flood %d", n)
        if handler_of(log).waiting:
            return n
    raise AssertionError("the socket takes no end of records")


def handler_of(log: logging.Logger) -> JournalHandler:
    (handler,) = log.handlers
    assert isinstance(handler, JournalHandler)
    return handler


def messages(journal: Journal) -> list[str]:
    return [entry["MESSAGE"] for entry in journal.entries()]


def test_what_a_busy_journal_does_not_take_comes_in_order_with_the_next(journal: Journal, log: logging.Logger) -> None:
    taken = flood(log)
    log.info("more")
    assert messages(journal) == [f"flood {n}" for n in range(taken)]
    log.info("last")
    assert messages(journal) == [f"flood {taken}", "more", "last"]
    assert not handler_of(log).waiting


def test_it_comes_by_itself_when_nothing_more_is_logged(journal: Journal, log: logging.Logger) -> None:
    async def body() -> None:
        arrived = asyncio.Event()
        taken = flood(log)
        asyncio.get_running_loop().add_reader(journal.fileno(), arrived.set)
        assert messages(journal) == [f"flood {n}" for n in range(taken)]
        arrived.clear()
        async with asyncio.timeout(20):
            await arrived.wait()
        asyncio.get_running_loop().remove_reader(journal.fileno())
        assert messages(journal) == [f"flood {taken}"]

    asyncio.run(body())


def test_what_is_beyond_the_limit_is_dropped_and_told_once(
    journal: Journal, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialupd.io.journal.BACKLOG", 0)
    taken = flood(log)
    for _ in range(4):
        log.info("lost too")
    assert messages(journal) == [f"flood {n}" for n in range(taken)]
    log.info("again")
    log.info("and again")
    loss, *rest = journal.entries()
    assert (loss["LOST"], loss["MESSAGE_ID"], loss["PRIORITY"]) == ("5", events.LOG_LOST.id, "4")
    assert [entry["MESSAGE"] for entry in rest] == ["again", "and again"]


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    logger = logging.Logger("dialupd.test")
    handler = JournalHandler({}, str(tmp_path / "journal"))
    logger.addHandler(handler)
    for _ in range(2000):
        logger.info("x" * 2000)
    with Journal(tmp_path) as journal:
        handler.close()
        entries = journal.entries()
    assert sum(len(entry["MESSAGE"]) for entry in entries) < BACKLOG


def test_the_end_of_the_process_sends_what_is_kept(journal: Journal, log: logging.Logger) -> None:
    taken = flood(log)
    messages(journal)
    handler_of(log).close()
    assert messages(journal) == [f"flood {taken}"]
    handler_of(log).close()


def test_a_journal_that_is_restarted_is_found_again(tmp_path: Path) -> None:
    logger = logging.Logger("dialupd.test")
    handler = JournalHandler({}, str(tmp_path / "journal"))
    logger.addHandler(handler)
    with Journal(tmp_path) as journal:
        logger.info("one")
        assert messages(journal) == ["one"]
    logger.info("two")
    with Journal(tmp_path) as journal:
        logger.info("three")
        assert messages(journal) == ["two", "three"]
    handler.close()


def test_a_broken_log_call_is_a_defect_that_stops_nothing(
    journal: Journal, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("%d", "no number")
    log.info("goes on")
    assert [entry["MESSAGE"] for entry in journal.entries()] == ["goes on"]
    assert "no number" in capsys.readouterr().err


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.text(), max_size=5))
def test_any_field_comes_back(fields: dict[str, str]) -> None:
    bounded = {name: printable(value, 1000, lines=True) for name, value in fields.items()}
    assert decode(encode(bounded)) == bounded


@given(st.text(), st.integers(1, 20))
def test_printable_is_printable(text: str, limit: int) -> None:
    assert printable(text, limit).isprintable()
    if text.isprintable() and len(text) <= limit:
        assert printable(text, limit) == text
