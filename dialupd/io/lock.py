"""UUCP lock files: how programs on one machine agree who has a serial port.

`/var/lock/LCK..ttyACM0` holds the owner's process number in ten characters and a newline (the HDB form); minicom,
mgetty, pppd and wvdial read the same file.  A device under another name is the same device, so the name comes from
the resolved path.

- The file appears complete or not at all: it is written beside and put in place by link(2), which fails if it is there.
- A lock whose owner is dead is removed, by one process only: whoever holds the flock of that very file.
- A lock with our own number is from an earlier life with the same number (usual in containers): it is taken over.
- A directory that we may not write means that this machine does not use such locks: we go on without, and say so.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import tempfile
import time
from pathlib import Path

log = logging.getLogger(__name__)

LOCK_DIRECTORY = "/var/lock"

# A competitor may take the lock between our look and our link; it does so a few times at most.
ATTEMPTS = 8

# Enough for the number in either form, and for a line of text that some programs add.
LOCK_BYTES = 64

# Seconds: other programs create the file empty and write the number a moment later.
HALF_WRITTEN = 5.0


class LockHeldError(Exception):
    """A living process has the port; `pid` is 0 while it is just taking the lock."""

    def __init__(self, lock: Path, pid: int) -> None:
        self.pid = pid
        self.command = command_of(pid) if pid else ""
        who = f"process {pid} ({self.command or 'unknown'})" if pid else "a process that is just taking it"
        super().__init__(f"{lock} is held by {who}")


class UucpLock:
    """One held lock; `release` as often as you like."""

    def __init__(self, path: Path | None, inode: int = 0) -> None:
        self.path = path
        self._inode = inode

    @classmethod
    def take(cls, device: str, directory: str = LOCK_DIRECTORY) -> UucpLock:
        """Lock the port at `device`; raises LockHeldError."""
        path = Path(directory) / lock_name(device)
        try:
            return cls(path, _link_in_place(path))
        except OSError as error:
            log.warning("no lock file for %s: %s; going on without", device, error)
            return cls(None)

    def release(self) -> None:
        """Remove the file, unless it is no longer ours."""
        path, self.path = self.path, None
        if path is None:
            return
        try:
            if path.stat().st_ino == self._inode:
                path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("cannot remove %s: %s", path, error)


def lock_name(device: str) -> str:
    """`LCK..` and the resolved name below /dev; a slash in it becomes `_`, as pppd does."""
    name = os.path.realpath(device)
    return "LCK.." + name.removeprefix("/dev/").lstrip("/").replace("/", "_")


def command_of(pid: int) -> str:
    """The name of a process, "" if it cannot be read."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace")
    except OSError:
        return ""
    return "".join(c if c.isprintable() else "?" for c in name.strip())


def _link_in_place(path: Path) -> int:
    """Create the lock; gives its inode number.  Raises LockHeldError, or OSError if locks cannot be made here."""
    handle, temporary = tempfile.mkstemp(prefix=".LTMP.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(b"%10d\n" % os.getpid())
            os.fchmod(file.fileno(), 0o644)
            inode = os.fstat(file.fileno()).st_ino
        for _ in range(ATTEMPTS):
            try:
                os.link(temporary, path)
                return inode
            except FileExistsError:
                _remove_dead(path)
        raise OSError(errno.EAGAIN, "others keep taking it", str(path))
    finally:
        os.unlink(temporary)


def _remove_dead(path: Path) -> None:
    """Remove the lock if nobody living owns it; raises LockHeldError, or OSError if it is not ours to remove."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    try:
        # Only the holder of this flock may remove this very file, so no one removes a fresh lock by mistake.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeldError(path, 0) from None
        pid = _owner(os.read(file, LOCK_BYTES))
        if pid == 0 and time.time() - os.fstat(file).st_mtime < HALF_WRITTEN:
            raise LockHeldError(path, 0)
        if pid != os.getpid() and _alive(pid):
            raise LockHeldError(path, pid)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                path.unlink()
                log.info("removed %s of the dead process %d", path, pid)
    finally:
        os.close(file)


def _owner(content: bytes) -> int:
    """The process number in a lock, in text or in the old binary form; 0 if there is none."""
    words = content.split()
    if words and words[0].isdigit() and len(words[0]) <= 10:
        return int(words[0])
    if len(content) == 4:
        return max(0, int.from_bytes(content, "little", signed=True))
    return 0


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:  # no such number can exist
        return False
    return True
