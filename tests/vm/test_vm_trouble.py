"""Trouble around the daemon while calls go on: the bus, udev, the disk, the clock, a hung port, a sleeping machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.calls import (
    CONFIG,
    Going,
    download,
    downloaded,
    echo,
    echoed,
    hang_up,
    newest_rows,
    prepare,
    tidy,
)
from tests.vm.guest import Guest
from tests.vm.lab import Plug
from tests.vm.system import UNIT, System

STATE = "/var/lib/dialupd"

BUSY = """
[policy.busy]
mode = "originate"
when = "always"
numbers = ["399"]
session = "bbs"
retry = { first = "6s" }
"""


# The patience of the product, two minutes with a modem and half a minute with the daemon, is none of a test.
SOON = """[Service]
WatchdogSec=10s
ExecStart=
ExecStart=/usr/bin/python3 -I -c "import sys; from dialupd.modem import timing; timing.HUNG = 10.0; \\
    from dialupd.__main__ import main; sys.exit(main())" --sessions units
"""


@pytest.fixture(scope="module")
def system(shared: Guest, hub: Plug) -> System:
    shared.run(f"mkdir -p {STATE} && mount -t tmpfs -o size=1m,mode=750,uid=dialupd,gid=dialupd tmpfs {STATE}")
    return prepare(shared, hub)


@pytest.fixture(autouse=True)
def free(system: System) -> Iterator[None]:
    yield
    tidy(system)


def same(system: System, call: Going, before: dict[str, object]) -> None:
    """The call is there as it was, with the same process at work for it, and data flows."""
    system.until(f"{call.path} again", lambda: system.objects("Call").get(call.path))
    assert call.call == before
    assert system.show(call.unit, "MainPID") == call.pid
    call.moves()


def test_the_bus_is_restarted(system: System) -> None:
    call = download(system)
    before, pid = call.call, system.pid
    system.guest.run("systemctl restart dbus", timeout=60)
    system.answers(15)
    assert system.pid == pid, "the daemon went on"
    same(system, call, before)
    downloaded(system)
    hang_up(system, call)
    again = download(system)
    downloaded(system)
    hang_up(system, again)


def test_udev_is_restarted(system: System, hub: Plug) -> None:
    system.guest.run("systemctl restart systemd-udevd", timeout=60)
    hub("unplug D1")
    system.modem("D1", "gone")
    hub("replug D1")
    system.modem("D1", "ready")


def test_the_disk_is_full(system: System) -> None:
    guest = system.guest
    guest.run(f"dd if=/dev/zero of={STATE}/filler bs=4k 2>/dev/null; true")
    assert guest.run(f"df --output=avail {STATE} | tail -1").out.strip() == "0"
    call = echo(system, "raw")
    call.moves()
    echoed(system)
    assert system.ended(call.path)["EndReason"]
    system.modem("D1", "ready")
    guest.run(f"rm {STATE}/filler")
    call = echo(system, "raw")
    hang_up(system, call)
    assert newest_rows(system, 1)[0]["end-reason"] == "local-hangup"


def test_the_clock_is_set_back_an_hour(system: System, hub: Plug) -> None:
    guest = system.guest
    longest = CONFIG.replace('mode = "originate"', 'mode = "originate"\nmax-duration = "15s"')
    system.configure(f"{longest}\n{BUSY}".replace('serial = "B2" }\npolicy = "in"', 'serial = "B2" }\npolicy = "busy"'))
    hub("service 399 busy")
    guest.run(f"systemctl reload {UNIT}", timeout=60)
    call = echo(system, "raw")
    start = system.until("a busy call", lambda: next((c for c in system.calls() if c["Number"] == "399"), None))["path"]
    system.ended(start)
    began = float(guest.run("cut -d' ' -f1 /proc/uptime").out)
    guest.run("date -s '1 hour ago'")
    later = system.until(
        "another attempt",
        lambda: next((c for c in system.calls() if c["Number"] == "399" and c["path"] != start), None),
    )
    assert later["path"] != start
    waited = float(guest.run("cut -d' ' -f1 /proc/uptime").out) - began
    assert waited < 15, f"the pause between attempts is {waited:.0f} s by the clock that does not jump"
    ended = system.ended(call.path)
    assert ended["EndReason"] == "max-duration"
    assert float(guest.run("cut -d' ' -f1 /proc/uptime").out) - began < 20
    guest.run("date -s '1 hour'")
    system.configure(CONFIG)
    guest.run(f"systemctl reload {UNIT}", timeout=60)
    system.modem("B2", "ready")


def test_a_port_that_hangs_in_the_kernel_trips_the_watchdog(system: System, hub: Plug) -> None:
    guest = system.guest
    guest.write(f"/run/systemd/system/{UNIT}.d/soon.conf", SOON)
    guest.run(f"systemctl daemon-reload; systemctl restart {UNIT}", timeout=60)
    system.answers()
    call = download(system)
    before, pid, node = call.call, system.pid, system.modem("D1", "ready")["Device"]
    hub("unplug D1")
    system.modem("D1", "gone")
    hanging = guest.spawn("hang", f"strace -f -p {pid} -o /dev/null -P {node} -e inject=openat:delay_enter=600000000")
    guest.until("grep -q attached /var/log/lab-hang.log")
    hub("replug D1")
    guest.until(f"journalctl -q -o cat -u {UNIT} | grep 'Watchdog timeout'", timeout=60)
    guest.run(f"kill -KILL {hanging}")  # not even the kernel can end what a debugger holds
    guest.until(f'test "$(systemctl show -P NRestarts {UNIT})" = 1', timeout=60)
    guest.run(f"rm -r /run/systemd/system/{UNIT}.d; systemctl daemon-reload", timeout=60)
    system.answers()
    assert "usb_0572_1340_D1 hangs" in system.journal()
    same(system, call, before)
    downloaded(system)
    hang_up(system, call)


NUMBERS = {"A1": "100", "D1": "101", "B2": "102"}
SLEPT = "journalctl -q -o cat -u systemd-suspend | grep -c 'Entering sleep state'"
WOKEN = f"journalctl -q -o cat -u {UNIT} | grep -c 'the machine is awake again'"


def probed(system: System) -> dict[str, int]:
    """How often each modem, by its number, was asked who made it."""
    heard = system.guest.read(system.guest.logs["plug"])
    return {number: heard.count(f"{number}: AT+GMI") for number in NUMBERS.values()}


def probed_again(system: System, before: dict[str, int]) -> None:
    """Wait until each of these modems has been probed once more."""
    system.until(
        f"{', '.join(before)} probed again",
        lambda: True if all(probed(system)[number] > times for number, times in before.items()) else None,
        timeout=90,
    )


@pytest.mark.parametrize("suspend", ["hang-up", "keep"])
def test_the_machine_sleeps_and_wakes(system: System, suspend: str) -> None:
    guest = system.guest
    system.configure(f'[daemon]\nsuspend = "{suspend}"\n{CONFIG}')
    guest.run(f"systemctl reload {UNIT}", timeout=60)
    call = download(system)
    before = call.call
    guest.run("echo freezer > /sys/power/pm_test")
    answered = probed(system)
    slept, woken = (int(guest.run(f"{count}; true").out) for count in (SLEPT, WOKEN))
    guest.run("systemctl suspend", timeout=60)
    guest.until(f'test "$({WOKEN})" -gt {woken}', timeout=90)
    assert int(guest.run(SLEPT).out) > slept
    if suspend == "keep":
        busy = NUMBERS[str(before["Modem"])[-2:]]
        probed_again(system, {number: times for number, times in answered.items() if number != busy})
        same(system, call, before)
        downloaded(system)
        hang_up(system, call)
    else:
        assert system.ended(call.path)["EndReason"] == "shutdown"
        guest.until(f"! systemctl is-active -q {call.unit}")
    probed_again(system, answered)
