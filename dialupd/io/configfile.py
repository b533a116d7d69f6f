"""The configuration's files: the one that is named, then `conf.d/*.toml` beside it in the order of their names.

Only regular files of a bounded size are read, since the names may be anything: a FIFO would hold the daemon up and a
device might never end.  The files are small and local, and reading them blocks for no longer than that takes.
"""

from __future__ import annotations

import os
import stat

from dialupd.config.load import load
from dialupd.config.problems import ConfigError, Problem
from dialupd.config.sources import SIZE_LIMIT
from dialupd.config.values import Config

DEFAULT = "/etc/dialupd/dialupd.toml"


def read_config(path: str = DEFAULT) -> Config:
    """The checked configuration; raises ConfigError, also for files that are missing or cannot be read."""
    problems: list[Problem] = []
    files: list[tuple[str, bytes]] = []
    for name in (path, *_fragments(path, problems)):
        try:
            files.append((name, _content(name)))
        except OSError as error:
            problems.append(Problem(name, "", f"cannot be read: {error.strerror or error}"))
        except ValueError as error:
            problems.append(Problem(name, "", f"cannot be read: {error}"))
    try:
        config = load(files)
    except ConfigError as error:
        raise ConfigError((*problems, *error.problems)) from None
    if problems:
        raise ConfigError(problems)
    return config


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


def _content(path: str) -> bytes:
    """At most one byte more than a configuration may have, so that its reader can tell that it is too long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        # open() itself refuses a directory, and some versions of Python leave its descriptor open then
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(SIZE_LIMIT + 1)
    finally:
        os.close(descriptor)
