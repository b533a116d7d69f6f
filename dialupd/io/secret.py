"""Secrets from files and from systemd's credentials.

A secret is read when it is needed and kept nowhere.  A file must belong to root or to the user that we run as, and
nobody else may be able to read it, to change it, or to put another in its place: every directory on its way belongs to
root or to us too and is not to be written to by others (a sticky one like /tmp is, but then what lies in it is not to
be exchanged).  Symbolic links are not followed anywhere, or whoever may set one could have us send the first line of
any file of root's down a telephone line.  root may let the daemon's group read a file.

A credential is what systemd gives the unit we run in (`LoadCredential=`, `SetCredentialEncrypted=`), which vouches for
who may read it.  Texts of errors name the secret and the mend, never what is in it.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from typing import Final

GROUP: Final = "dialupd"
"""The daemon's group."""
_LONGEST: Final = 4096
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


class SecretError(Exception):
    """The secret cannot be had: which, why and the mend."""


def read_file(key: str, path: str) -> bytes:
    """The first line of a file that nobody else may read or exchange; `key` is how the configuration names it."""
    what = f"{key} {path}"
    with contextlib.ExitStack() as opened:
        try:
            fd = _open(what, path, opened)
            text = os.read(fd, _LONGEST)
        except PermissionError as error:
            mend = f"chown root:{GROUP} {path}; chmod 0640 {path}, in a directory that the group may enter"
            raise SecretError(f"{what}: {error.strerror}; {mend}") from error
        except OSError as error:
            raise SecretError(f"{what}: {error.strerror}; create it, readable by {_us()} only") from error
    return _first_line(what, text)


def read_credential(key: str, name: str, unit: str) -> bytes:
    """The first line of the credential `name` of the unit that we run in, which should be `unit`."""
    what = f"{key} {name}"
    mend = f"give it by `systemctl edit {unit}`: [Service] LoadCredential={name}:/path/of/the/file"
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        raise SecretError(f"{what}: systemd gave us no credentials; {mend}")
    try:
        fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            text = os.read(fd, _LONGEST)
        finally:
            os.close(fd)
    except OSError as error:
        raise SecretError(f"{what}: {error.strerror}; {mend}") from error
    return _first_line(what, text)


def _open(what: str, path: str, opened: contextlib.ExitStack) -> int:
    """The file, opened step by step from the root, so that what was checked is what is used."""
    directory = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, directory)
    *names, last = [name for name in path.split("/") if name not in ("", ".")] or [""]
    here = ""
    for name in names:
        _check_directory(what, here or "/", os.fstat(directory))
        here += f"/{name}"
        directory = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        opened.callback(os.close, directory)
        _refuse_link(what, here, os.fstat(directory))
    _check_directory(what, here or "/", os.fstat(directory))
    seen = os.stat(last, dir_fd=directory, follow_symlinks=False) if last else os.fstat(directory)
    _refuse_link(what, path, seen)
    # A FIFO would wait for a writer without O_NONBLOCK.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    fd = os.open(last or "/", flags, dir_fd=directory)
    opened.callback(os.close, fd)
    _check_file(what, path, os.fstat(fd))
    return fd


def _refuse_link(what: str, place: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise SecretError(f"{what}: {place} is a symbolic link, which is not followed; name {os.path.realpath(place)}")


def _check_directory(what: str, place: str, found: os.stat_result) -> None:
    _check_owner(what, place, found)
    if found.st_mode & _WRITABLE and not found.st_mode & stat.S_ISVTX:
        raise SecretError(f"{what}: others may write to the directory {place}; chmod go-w {place}")


def _check_file(what: str, path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SecretError(f"{what} is not a regular file")
    _check_owner(what, path, found)
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        raise SecretError(f"{what} is open to others; chmod 0600 {path}")
    if mode & stat.S_IRGRP and not (found.st_uid == 0 and found.st_gid in _groups()):
        raise SecretError(f"{what} is open to its group, which is not the daemon's; chmod 0600 {path}")


def _check_owner(what: str, place: str, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise SecretError(f"{what}: {place} belongs to neither root nor {_us()}; chown root {place}")


def _groups() -> set[int]:
    ours = {os.getegid(), *os.getgroups()}
    with contextlib.suppress(KeyError):
        ours.add(grp.getgrnam(GROUP).gr_gid)
    return ours


def _us() -> str:
    return "root" if os.geteuid() == 0 else f"user {os.geteuid()}"


def _first_line(what: str, text: bytes) -> bytes:
    secret = text.split(b"\n", 1)[0].removesuffix(b"\r")
    if not secret:
        raise SecretError(f"{what}: its first line is empty; the secret stands there")
    if b"\0" in secret:
        raise SecretError(f"{what} holds a NUL; it must be a line of text")
    return secret
