"""The log has the journal's priorities where the journal reads it, and the time where a person does."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from dialupd.daemon import set_up_logging

RECORD = logging.LogRecord("dialupd", logging.WARNING, "", 0, "it rains", (), None)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    logger = logging.getLogger("dialupd")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate, level = before
    logger.setLevel(level)


def line() -> str:
    set_up_logging("info")
    (handler,) = logging.getLogger("dialupd").handlers
    return handler.format(RECORD)


def test_to_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert line() == "<4>it rains"


@pytest.mark.parametrize("inherited", ["", "1:2"])
def test_to_a_file_or_a_terminal(monkeypatch: pytest.MonkeyPatch, inherited: str) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", inherited)
    assert line().endswith("WARNING it rains")
