"""Calls that outlive the daemon: it is restarted, killed and upgraded in mid-call, and stopped at last."""

from __future__ import annotations

import pytest

from tests.vm.calls import (
    CONFIG,
    Going,
    download,
    downloaded,
    echo,
    echoed,
    log_in,
    logged_in_all_the_time,
    newest_rows,
    prepare,
)
from tests.vm.client import Properties
from tests.vm.guest import Guest
from tests.vm.lab import Plug
from tests.vm.package import INSTALL_S, Package, install
from tests.vm.system import UNIT, System


@pytest.fixture(scope="module")
def system(shared: Guest, hub: Plug) -> System:
    return prepare(shared, hub)


@pytest.fixture(scope="module")
def calls(system: System, hub: Plug) -> list[tuple[Going, Properties]]:
    """A login and a transfer that all goes on around, and what was published of them at first."""
    begun = [log_in(system, hub), download(system)]
    return [(call, call.call) for call in begun]


def again(system: System, how: str, package: Package) -> None:
    """Have another daemon take over: `how` says what happens to the first."""
    guest, before = system.guest, system.pid
    match how:
        case "restart":
            guest.run(f"systemctl restart {UNIT}", timeout=60)
        case "kill":
            guest.run(f"systemctl kill -s KILL --kill-whom=main {UNIT}")
        case _:
            install(guest, package.newer_file)
            version = guest.run("dpkg-query -W -f '${Version}' dialupd").out
            assert version == package.newer_version
    guest.until(f'pid=$(systemctl show -P MainPID {UNIT}); test "$pid" != 0 -a "$pid" != {before}', INSTALL_S)
    system.answers()


def unharmed(system: System, call: Going, before: Properties) -> None:
    """The same call, told as it was, with the same process at work for it, and data flows."""
    system.until(f"{call.path} again", lambda: system.objects("Call").get(call.path))
    assert call.call == before
    assert system.show(call.unit, "MainPID") == call.pid
    call.moves()


@pytest.mark.parametrize("how", ["restart", "kill", "upgrade"])
def test_a_login_and_a_transfer_go_on(
    system: System, package: Package, calls: list[tuple[Going, Properties]], how: str
) -> None:
    for call, _ in calls:
        call.moves()
    again(system, how, package)
    for call, before in calls:
        unharmed(system, call, before)


def test_not_a_byte_was_lost(system: System, calls: list[tuple[Going, Properties]]) -> None:
    logged_in_all_the_time(system)
    downloaded(system)


def test_a_stop_hangs_up_all_calls_and_the_history_has_them_whole(
    system: System, hub: Plug, calls: list[tuple[Going, Properties]]
) -> None:
    system.guest.run(f"systemctl stop {UNIT}", timeout=60)
    assert system.units() == [], "no session is left"
    for serial in ("A1", "B2"):
        state = hub(f"show {serial}")
        assert (state["state"], state["dtr"]) == ("idle", False)
    system.guest.run(f"systemctl start {UNIT}", timeout=60)
    rows = newest_rows(system, 2)[::-1]
    for row, (_, before) in zip(rows, calls, strict=True):
        assert (row["number"], row["caller-id"], row["end-reason"]) == (
            before["Number"],
            before["CallerId"],
            "shutdown",
        )
        assert (row["start-time"], row["connect-time"]) == (before["StartTime"], before["ConnectTime"])
    assert rows[1]["rx-bytes"] > int(system.guest.run("stat -c %s /tmp/got").out) // 2, "what came before counts too"
    for serial in ("A1", "B2"):
        system.modem(serial, "ready")


def test_a_service_on_the_line_goes_on(system: System, package: Package) -> None:
    call = echo(system, "bbs")
    before = call.call
    again(system, "restart", package)
    unharmed(system, call, before)
    echoed(system)
    assert system.ended(call.path)["EndReason"] == "session-ended"
    system.modem("D1", "ready")


def test_a_clients_stream_goes_on_to_the_end_of_its_time(system: System, package: Package) -> None:
    system.configure(CONFIG.replace('mode = "originate"', 'mode = "originate"\nmax-duration = "40s"'))
    system.guest.run(f"systemctl reload {UNIT}", timeout=60)
    call = echo(system, "raw")
    before = call.call
    again(system, "restart", package)
    unharmed(system, call, before)
    ended = system.ended(call.path)
    assert ended["EndReason"] == "max-duration"
    assert 39.5e6 < ended["EndTime"] - ended["ConnectTime"] < 44e6, "it counts from the beginning of the call"
