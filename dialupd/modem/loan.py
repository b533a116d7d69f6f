"""A port lent to another program: the borrower holds a descriptor, and closing it (or dying) ends the loan."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class Loan:
    """One loan; `ended` is called once, when the borrower has closed its end. `close` ends it from our side."""

    def __init__(self, ended: Callable[[], None], ours: int = -1) -> None:
        """`ours` is our end of a loan that an earlier daemon gave; without it the loan begins now."""
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._ours, self.borrowers = (ours, -1) if ours >= 0 else os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        """`borrowers` is the descriptor to hand out; whoever takes it closes our copy."""
        self._loop.add_reader(self._ours, self._readable)

    def fileno(self) -> int:
        """Our end, which the service manager keeps over a restart."""
        return self._ours

    def close(self) -> None:
        if self._ours >= 0:
            self._loop.remove_reader(self._ours)
            os.close(self._ours)
            self._ours = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._ours, 4096)
        except BlockingIOError:
            return
        if not data:  # what a borrower writes means nothing
            self.close()
            self._ended()
