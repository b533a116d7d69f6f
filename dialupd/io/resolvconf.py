"""Name servers in /etc/resolv.conf, for machines where nothing else keeps them: put in, and taken out again.

What is put in for an interface stands between two comments at the top of the file, and the name servers that were there
before become comments.  So the file itself says what it was: a block that a killed process has left is taken out by
whoever looks next, and what others have changed meanwhile stays.

The file is written in place and never replaced.  In the sandbox of a unit the file alone may be written, not its
directory; and a file that is not a plain one, such as the symbolic link of a program that keeps it, is that program's.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

PATH: Final = Path("/etc/resolv.conf")
LONGEST: Final = 65536
"""Bytes; a file beyond that is no list of name servers."""

_BEGIN: Final = "# dialupd: name servers of the PPP link {}, until it ends"
_END: Final = "# dialupd: end of the name servers of {}"
_OFF: Final = "# dialupd, off: "
_BLOCK: Final = re.compile(
    "^" + re.escape(_BEGIN).replace(r"\{\}", r"(\S{1,15})") + r"\n(?:.*\n)*?"
    + re.escape(_END).replace(r"\{\}", r"\1") + r"\n", re.MULTILINE,
)  # fmt: skip
_SERVER: Final = re.compile(r"^(?=nameserver\b)", re.MULTILINE)


class ResolvConfError(Exception):
    """The file is left as it is: why, and what to do."""


def with_servers(text: str, interface: str, servers: Sequence[str]) -> str:
    """The file's text with an interface's name servers first; only those of other links stand behind them."""
    others = without(text, lambda name: name == interface)
    blocks = "".join(block[0] for block in _BLOCK.finditer(others))
    lines = (_BEGIN.format(interface), *(f"nameserver {server}" for server in servers), _END.format(interface))
    return "".join(f"{line}\n" for line in lines) + blocks + _SERVER.sub(_OFF, _BLOCK.sub("", others))


def without(text: str, gone: Callable[[str], bool]) -> str:
    """The file's text without the blocks of the interfaces that are gone, as it was before them if none is left."""
    left = _BLOCK.sub(lambda block: "" if gone(block[1]) else block[0], text)
    if left == text or _BLOCK.search(left) is not None:
        return left
    return left.replace(_OFF, "")


def put(interface: str, servers: Sequence[str], path: Path) -> None:
    """Name servers for as long as the interface is there. Raises ResolvConfError."""
    _change(path, lambda text: with_servers(without(text, _vanished), interface, servers))


def take_out(interface: str, path: Path) -> None:
    """Undo `put`, and what others have left whose interfaces are gone. Raises ResolvConfError."""
    _undo(path, lambda name: name == interface or _vanished(name))


def tidy(path: Path) -> None:
    """Undo what killed processes have left. Raises ResolvConfError."""
    _undo(path, _vanished)


def _undo(path: Path, gone: Callable[[str], bool]) -> None:
    try:
        text = path.read_text(errors="surrogateescape") if path.is_file() else ""
    except OSError:
        return
    if without(text, gone) != text:
        _change(path, lambda text: without(text, gone))


def _vanished(interface: str) -> bool:
    return not Path("/sys/class/net", interface).exists()


def _change(path: Path, changed: Callable[[str], str]) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if path.is_symlink():
            text = f"{path} is a symbolic link, so another program keeps it"
            raise ResolvConfError(f"{text} ({os.readlink(path)}); tell that program of them") from None
        # A sandbox that shows it writable does so no more once another program has put a new one in its place.
        raise ResolvConfError(f"{path}: {error.strerror}") from None
    try:
        _change_file(fd, path, changed)
    except OSError as error:
        raise ResolvConfError(f"{path}: {error.strerror}") from None
    finally:
        os.close(fd)


def _change_file(fd: int, path: Path, changed: Callable[[str], str]) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size > LONGEST:
        raise ResolvConfError(f"{path} is no file of name servers")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ResolvConfError(f"{path} is locked by another program") from None
    old = os.pread(fd, LONGEST, 0)
    new = changed(old.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if new == old:
        return
    if len(new) > LONGEST:  # it could not be undone
        raise ResolvConfError(f"{path} has no room for more")
    # In one go and only then cut: whoever reads meanwhile finds a file that begins well.
    os.pwrite(fd, new, 0)
    os.ftruncate(fd, len(new))
