"""No test leaves anything behind: no descriptor, no child, no thread of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

# What runs in a shell's background inherits that SIGINT is ignored, under nohup that SIGHUP is, and would pass it on to
# what is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the one that listdir itself has used
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = _descriptors()
    yield
    left = {fd: what for fd, what in _descriptors().items() if before.get(fd) != what}
    assert not left, "descriptors are left open"
    try:
        child, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    pytest.fail(f"a child is left: {child or 'it still runs'}")
