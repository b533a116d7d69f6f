"""Passwords from files, and the file in which pppd gets them.

A password is read when it is needed and kept nowhere; what holds it, the options file of one call, is ours alone and
goes as soon as pppd has read it.  Texts of errors name the file and the mend, never what is in it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Final

_LONGEST: Final = 4096


class SecretError(Exception):
    """The password cannot be had: which file, why and the mend."""


def read_password(path: str) -> bytes:
    """The first line of a regular file that not everybody may read."""
    try:
        # A FIFO would wait for a writer without O_NONBLOCK.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise SecretError(
            f"password-file {path}: {error.strerror}; create it, readable by the daemon's user"
        ) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise SecretError(f"password-file {path} is not a regular file")
        if found.st_mode & stat.S_IRWXO:
            raise SecretError(f"password-file {path} is open to everybody; chmod 0600 {path}")
        text = os.read(fd, _LONGEST)
    except OSError as error:
        raise SecretError(f"password-file {path}: {error.strerror}") from error
    finally:
        os.close(fd)
    password = text.split(b"\n", 1)[0].removesuffix(b"\r")
    if not password:
        raise SecretError(f"password-file {path}: its first line is empty; the password stands there")
    if b"\0" in password:
        raise SecretError(f"password-file {path} holds a NUL; it must be a line of text")
    return password


class CallFile:
    """A file of one call, `RUN/call-N/NAME`, mode 0600; `remove` may be called at any time and again."""

    def __init__(self, run_directory: str, call: int, name: str) -> None:
        self._directory = os.path.join(run_directory, f"call-{call}")
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
