"""The configuration's files: the one that is named, then `conf.d/*.toml` beside it in the order of their names.

Only regular files of a bounded size are read, since the names may be anything: a FIFO would hold the daemon up and a
device might never end.  The files are small and local, and reading them blocks for no longer than that takes.

The privileged helpers do what the configuration says with root's rights; so they read it only where nobody but root
may write it.  And so that a mistake in it does not end what works, they go by the last one without mistake, of which
`keep` makes a copy: all files in one, so that it is whole at any moment, and readable for no more than all of them are.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dialupd.config.load import load
from dialupd.config.problems import ConfigError, Problem
from dialupd.config.sources import SIZE_LIMIT
from dialupd.config.values import Config
from dialupd.io.replace import replace

log = logging.getLogger(__name__)

DEFAULT = "/etc/dialupd/dialupd.toml"
KEPT = "/run/dialupd-config/last-good.json"
"""The copy: a JSON object of the texts by the files' names, in the order of reading."""

Check = Callable[[os.stat_result], None]
"""Raises ValueError for a file or directory that may not decide anything."""


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    content: bytes
    status: os.stat_result


def read_config(path: str = DEFAULT) -> Config:
    """The checked configuration; raises ConfigError, also for files that are missing or cannot be read."""
    config, _ = _read(path, lambda status: None)
    return config


def read_config_or_last_good(path: str = DEFAULT, kept: str = KEPT) -> Config:
    """For those with root's rights: the configuration, or with a mistake in it the last good one; else ConfigError."""
    try:
        config, _ = _read(path, _only_root_writes)
    except ConfigError as error:
        last_good = read_last_good(path, kept)
        if last_good is None:
            raise
        for problem in error.problems:
            log.warning("configuration: %s", problem)
        log.warning("the last good configuration is used")
        return last_good
    return config


def read_last_good(path: str = DEFAULT, kept: str = KEPT) -> Config | None:
    """What `keep` has kept of this configuration; None when there is nothing of use."""
    try:
        content, _ = _content(kept, _only_root_writes, -1)
        match json.loads(content):
            case dict() as texts if next(iter(texts), "") == path:  # and not another configuration's
                return load([(name, text.encode()) for name, text in texts.items() if isinstance(text, str)])
    except (OSError, ValueError, ConfigError):
        pass
    return None


def keep(path: str = DEFAULT, kept: str = KEPT) -> Config:
    """Read the configuration and keep a copy of it as the last good one; raises ConfigError or OSError."""
    config, files = _read(path, _only_root_writes)
    ways = [(*_directories(file.name), file.status) for file in files]
    mode, group = 0o600, None
    if all(_may(status, None) for way in ways for status in way):
        mode |= stat.S_IROTH
    for candidate in dict.fromkeys(status.st_gid for way in ways for status in way):
        if group is None and all(_may(status, candidate) for way in ways for status in way):
            mode, group = mode | stat.S_IRGRP, candidate
    texts = {file.name: file.content.decode() for file in files}
    replace(Path(kept), json.dumps(texts, indent=1).encode(), mode, group)
    return config


def _directories(name: str) -> list[os.stat_result]:
    """The file's directory, and what leads to another one where it, or the file, is a link."""
    path = Path(os.path.abspath(name))
    linked = [step for step in Path(os.path.realpath(name)).parents if step not in path.parents]
    return [os.stat(step) for step in (path.parent, *linked)]


def _may(status: os.stat_result, group: int | None) -> bool:
    """May a member of the group read the file, or pass the directory?  None: somebody else."""
    group_bit, other_bit = (
        (stat.S_IXGRP, stat.S_IXOTH) if stat.S_ISDIR(status.st_mode) else (stat.S_IRGRP, stat.S_IROTH)
    )
    return bool(status.st_mode & (group_bit if status.st_gid == group else other_bit))


def _only_root_writes(status: os.stat_result) -> None:
    """Root, or who we are when that is not root."""
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError("others than root may write it; make root its owner (chown) and take their right (chmod go-w)")


def _read(path: str, check: Check) -> tuple[Config, Sequence[_File]]:
    problems: list[Problem] = []
    files: list[_File] = []
    fragments = _fragments(path, problems)
    for name in (path, *fragments):
        try:
            files.append(_File(name, *_content(name, check, SIZE_LIMIT + 1)))
        except OSError as error:
            problems.append(Problem(name, "", f"cannot be read: {error.strerror or error}"))
        except ValueError as error:
            problems.append(Problem(name, "", f"cannot be read: {error}"))
    _check_directories((file.name for file in files), check, problems)
    try:
        config = load([(file.name, file.content) for file in files])
    except ConfigError as error:
        raise ConfigError((*problems, *error.problems)) from None
    if problems:
        raise ConfigError(problems)
    return config, files


def _check_directories(names: Iterable[str], check: Check, problems: list[Problem]) -> None:
    """Who may write in a file's directory, or in that of the file it links to, may put another file there."""
    places = (place for name in names for place in (name, os.path.realpath(name)))
    for directory in dict.fromkeys(os.path.dirname(place) or "." for place in places):
        try:
            check(os.stat(directory))
        except (OSError, ValueError) as error:
            problems.append(Problem(directory, "", str(error)))


def _fragments(path: str, problems: list[Problem]) -> list[str]:
    directory = os.path.join(os.path.dirname(path), "conf.d")
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".toml") and not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        problems.append(Problem(directory, "", f"cannot be read: {error}"))
        return []
    return [os.path.join(directory, name) for name in names]


def _content(path: str, check: Check, most: int) -> tuple[bytes, os.stat_result]:
    """The file's first bytes: one more than a configuration may have shows its reader that it is too long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        check(status)
        # open() itself refuses a directory, and some versions of Python leave its descriptor open then
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most), status
    finally:
        os.close(descriptor)
