"""Many calls in a row leave nothing behind but rows of history."""

from __future__ import annotations

from typing import Any

from tests.vm.guest import Guest
from tests.vm.lab import Daemon, Plug
from tests.vm.test_vm_modem import CONFIG, SERVICE

WARM_UP = 25
"""Calls until everything that is loaded and kept for good is there; ended calls are shown, and kept, for a minute."""
CALLS = 35
GROWTH_KB = 1024
"""The daemon's own memory may grow by this from there to the last call: the heap grows by a quarter of it at a time."""


def usage(guest: Guest, pid: int) -> dict[str, int]:
    out = guest.run(
        f"echo fds $(ls /proc/{pid}/fd | wc -l); echo threads $(ls /proc/{pid}/task | wc -l); "
        f"echo children $(pgrep -c -P {pid}); awk '/^RssAnon/ {{print \"memory\", $2}}' /proc/{pid}/status"
    ).out
    return {key: int(value) for key, value in (line.split() for line in out.splitlines())}


def test_many_calls_without_a_leak(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.conexant("A1", "--number 100")
    plug(f"service {SERVICE}")
    before: dict[str, int] = {}
    for number in range(1, CALLS + 1):
        call = daemon.dial("A1", SERVICE)
        daemon.modem("A1", "connected")
        daemon.call(call, "Call", "HangUp")
        assert daemon.ended(call)["EndReason"] == "local-hangup"
        daemon.modem("A1", "ready")
        if number == WARM_UP:
            before = usage(guest, daemon.pid)
    after = usage(guest, daemon.pid)
    assert {**after, "memory": 0} == {**before, "memory": 0}
    print(f"{before['memory']} kB after {WARM_UP} calls, {after['memory']} kB after {CALLS}")
    assert after["memory"] - before["memory"] < GROWTH_KB
    rows: list[dict[str, Any]] = daemon.call("/org/dialupd1", "Manager", "History", "a{sv}", "0")[0]
    assert [row["end-reason"]["data"] for row in rows] == ["local-hangup"] * CALLS
    assert [row["number"]["data"] for row in rows] == [SERVICE] * CALLS
