"""The person's terminal: raw while the line has it, and as it was before on every way out.

Nothing is changed but its modes.  They belong to the terminal and not to us, so they are put back before anything that
a shell or a program of the person's is to find, and before this program is stopped.
"""

from __future__ import annotations

import contextlib
import os
import termios
import tty
from typing import Any, Final

_STDIN: Final = 0


class Terminal:
    """Standard input, if it is a terminal; else `raw` and `restore` do nothing."""

    def __init__(self) -> None:
        self.is_one = os.isatty(_STDIN)
        self._before: list[Any] = termios.tcgetattr(_STDIN) if self.is_one else []
        self._raw = False

    def raw(self) -> None:
        """Every key goes to us, Ctrl-C too, and nothing is echoed."""
        if self.is_one:
            self._before = self._before if self._raw else termios.tcgetattr(_STDIN)
            self._raw = True
            tty.setraw(_STDIN, termios.TCSANOW)

    def restore(self) -> None:
        if self._raw:
            self._raw = False
            # TCSADRAIN would wait for a terminal that does not take its output any more; a lost one has no modes.
            with contextlib.suppress(termios.error):
                termios.tcsetattr(_STDIN, termios.TCSANOW, self._before)


class Output:
    """Standard output for what the far end says: it may be taken slowly, and never keeps the loop waiting."""

    def __init__(self) -> None:
        self.fd = os.dup(1)
        self._blocked_before = os.get_blocking(1)
        try:
            # A description of its own: what is set on it does not reach the shell or whoever else has the terminal.
            if os.isatty(1):
                own = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
                os.close(self.fd)
                self.fd, self._shared = own, False
            else:
                os.set_blocking(1, False)
                self._shared = True
        except OSError:  # another user's terminal, as behind su: it is written to as it is
            self._shared = False

    def close(self) -> None:
        os.close(self.fd)
        if self._shared:
            os.set_blocking(1, self._blocked_before)
