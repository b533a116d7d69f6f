"""Where the log goes: to the journal with all its fields, or as text to stderr, where a person or a file reads.

The daemon and the helpers of session units call `set_up_logging` once.  `logging.getLogger("dialupd")` has the level,
which SetLogLevel changes later.
"""

from __future__ import annotations

import logging
import os
import sys

from dialupd.io.journal import PRIORITIES, SOCKET, JournalHandler, leads_to_journal

ROOT = "dialupd"
_STDERR = 2


class _Prefixed(logging.Formatter):
    """The journal's priority prefixes (sd-daemon(3)): in a container its stream may be there without its socket."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def set_up_logging(level: str, *, journal: str = SOCKET, **fields: str) -> None:
    """Log what is at least this important; `fields` (modem, call) stand at each record of the process."""
    handler: logging.Handler
    if not leads_to_journal(_STDERR, os.environ):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    elif os.path.exists(journal):
        handler = JournalHandler({name.upper(): value for name, value in fields.items()}, journal)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Prefixed())
    logger = logging.getLogger(ROOT)
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(level.upper())
