"""The log of a part of the product, for a test that waits for its lines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Log(logging.Handler):
    """Lets a test wait for a line of the log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self._lines.put_nowait(record.getMessage())

    async def until(self, words: str) -> None:
        while words not in await self._lines.get():
            pass


@contextmanager
def log_of(part: str) -> Iterator[Log]:
    """All that the part logs from level info on."""
    handler, logger = Log(), logging.getLogger(part)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
