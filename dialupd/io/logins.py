"""The records of who is logged in, utmp(5) and wtmp(5): closing those of a login that is over.

login(1) leaves that to whoever began it, and says itself that somebody has left only where it is not hung up.  Without
it `who` and `last` would go on showing people whose line is long gone.
"""

from __future__ import annotations

import ctypes


def close(terminal: str) -> None:
    """Nobody is logged in on the terminal any more; nothing is done where no record says so, or none are kept."""
    libc = ctypes.CDLL(None)
    line = terminal.removeprefix("/dev/").encode()
    if libc.logout(line):
        libc.logwtmp(line, b"", b"")
