"""Files that are there whole or not at all: the new one is written beside the old and takes its place.

For directories that only we write in: the name beside is always the same, and what a crash left there goes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def replace(path: Path, content: bytes, mode: int, group: int | None = None) -> None:
    """Make the file say this; nothing is touched if it does. The directory is made if there is none. Raises OSError.

    Where the group cannot be given to it, the group has no rights.
    """
    if says(path, content, mode, group):
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        if group is not None:
            try:
                os.fchown(descriptor, -1, group)
            except PermissionError:
                mode &= ~stat.S_IRWXG
        os.fchmod(descriptor, mode)
    new.replace(path)


def says(path: Path, content: bytes, mode: int, group: int | None = None) -> bool:
    """Whether the file is that already; raises OSError if it cannot be read."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    same = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == mode and group in (None, status.st_gid)
    return same and path.read_bytes() == content
