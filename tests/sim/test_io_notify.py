"""What the service manager hears, over a socket in a directory and an abstract one."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from dialupd.io.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    name = str(tmp_path / "notify") if request.param == "file" else f"@dialupd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(10)
        yield listener, name


def heard(listener: socket.socket) -> list[str]:
    return listener.recv(4096).decode().split("\n")


def test_every_message(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("2 modems")
    assert heard(listener) == ["READY=1", "STATUS=2 modems"]
    notifier.ready()
    assert heard(listener) == ["READY=1"]
    notifier.status("BUSY\nFDSTORE=1")
    assert heard(listener) == ["STATUS=BUSY FDSTORE=1"]
    notifier.reloading()
    first, second = heard(listener)
    assert first == "RELOADING=1" and re.fullmatch(r"MONOTONIC_USEC=\d+", second)
    notifier.watchdog()
    assert heard(listener) == ["WATCHDOG=1"]
    notifier.stopping("ends calls")
    assert heard(listener) == ["STOPPING=1", "STATUS=ends calls"]
    notifier.close()
    notifier.status("late")


@pytest.mark.parametrize("socket_name", ["", "relative", "/nonexistent/notify"])
def test_without_a_manager_nothing_happens(socket_name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": socket_name} if socket_name else {})
    notifier.ready("x")
    notifier.close()


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("30000000", "", 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("0", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_watchdog_interval(usec: str, pid: str, interval: float | None) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/run/none", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    assert notifier.watchdog_interval == interval
    notifier.close()
