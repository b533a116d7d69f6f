"""The log goes to the journal with its fields where the journal reads it, else as text with the time."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_socket import Journal

from dialupd.io.journal import JournalHandler
from dialupd.logs import set_up_logging

RECORD = logging.LogRecord("dialupd", logging.WARNING, "", 0, "it rains", (), None)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    logger = logging.getLogger("dialupd")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:], logger.propagate, level = before
    logger.setLevel(level)


@pytest.fixture
def _to_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")


def handler(journal: str = "/nowhere") -> logging.Handler:
    set_up_logging("info", journal=journal, call="12")
    (found,) = logging.getLogger("dialupd").handlers
    return found


@pytest.mark.usefixtures("_to_the_journal")
def test_to_the_journal(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert isinstance(handler(journal.address), JournalHandler)
        logging.getLogger("dialupd.at").info("said")
        (entry,) = journal.entries()
        assert (entry["MESSAGE"], entry["CALL"], entry["LOGGER"]) == ("said", "12", "dialupd.at")


@pytest.mark.usefixtures("_to_the_journal")
def test_to_the_journal_s_stream_where_its_socket_is_not() -> None:
    assert handler().format(RECORD) == "<4>it rains"


@pytest.mark.parametrize("inherited", ["", "1:2"])
def test_to_a_file_or_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inherited: str) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", inherited)
    with Journal(tmp_path) as journal:
        assert handler(journal.address).format(RECORD).endswith("WARNING it rains")


@pytest.mark.usefixtures("_to_the_journal")
def test_set_up_anew_leaves_nothing_behind(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        first = handler(journal.address)
        assert isinstance(first, JournalHandler)
        assert handler(journal.address) is not first
        with pytest.raises(OSError, match="Bad file descriptor"):
            first.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def test_a_level_that_is_set_later_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    with Journal(tmp_path) as journal:
        handler(journal.address)
        log = logging.getLogger("dialupd.at")
        log.debug("first")
        logging.getLogger("dialupd").setLevel("DEBUG")
        log.debug("second")
        assert [entry["MESSAGE"] for entry in journal.entries()] == ["second"]
