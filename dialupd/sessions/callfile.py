"""The file in which one pppd gets its options, and the password among them.

It is ours alone, mode 0600, and goes as soon as pppd has read it.  In a unit of its own a session keeps it in the
unit's runtime directory, which systemd removes with the unit, however that ends.  In the daemon's directory a crash
leaves it, until `sweep` at the next start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

_PREFIX: Final = "call-"


class CallFile:
    """A file of one call, `RUN/call-N/NAME`; `remove` may be called at any time and again."""

    def __init__(self, run_directory: str, call: int, name: str) -> None:
        self._directory = os.path.join(run_directory, f"{_PREFIX}{call}")
        self.path = os.path.join(self._directory, name)

    def write(self, content: bytes) -> None:
        """Replaces what an earlier run of the daemon may have left; raises OSError."""
        self.remove()
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
        finally:
            os.close(fd)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        with contextlib.suppress(OSError):  # not empty, or not there
            os.rmdir(self._directory)


def sweep(run_directory: str) -> None:
    """Remove what calls of an earlier run have left; to be called before there is a call."""
    for left in Path(run_directory).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(left)
