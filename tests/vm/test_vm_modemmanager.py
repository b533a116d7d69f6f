"""ModemManager beside dialupd: it keeps off the ports that are ours, and only off those."""

from __future__ import annotations

import pytest

from tests.vm.guest import Guest
from tests.vm.lab import Plug
from tests.vm.system import System

CONFIG = """
[[modem]]
name = "plain"
match = { vendor = "0572", product = "1340" }

[[modem]]
name = "phone"
match = { vendor = "0421", product = "0499" }
"""
"""A modem that dialupd knows by itself, and one of a vendor that a plugin of ModemManager claims."""

TRACE = "/var/log/lab-mm-trace.log"


@pytest.fixture(scope="module")
def system(shared: Guest) -> System:
    shared.run("systemctl unmask ModemManager; systemctl start ModemManager", timeout=60)
    pid = shared.run("systemctl show -P MainPID ModemManager").out.strip()
    shared.spawn("mm-strace", f"strace -f -o {TRACE} -e trace=openat,open -p {pid}")
    shared.until("grep -q attached /var/log/lab-mm-strace.log")
    return System(shared, CONFIG)


def opened(guest: Guest, node: str) -> bool:
    return guest.run(f"grep -q '\"{node}\"' {TRACE}", check=False).rc == 0


def test_it_opens_the_ports_of_others_and_never_ours(system: System, hub: Plug) -> None:
    guest = system.guest
    hub.conexant("A1", "--number 100")
    system.modem("A1", "ready")
    hub.add("0421", "0499", "N1", "--number 101 --make nokia")
    system.modem("N1", "ready")
    # the same phone in another colour, which nobody named, is the proof that ModemManager is at work, and the mark
    hub.add("0421", "0498", "X1", "--number 102 --make nokia")
    guest.until("test -c /dev/ttyACM2")
    guest.until(f"grep -q '\"/dev/ttyACM2\"' {TRACE}", timeout=60)
    assert {modem["Serial"] for modem in system.modems()} == {"A1", "N1"}
    assert not opened(guest, "/dev/ttyACM0")
    assert not opened(guest, "/dev/ttyACM1")


def test_what_is_named_by_a_reload_is_ours_from_then_on(system: System, hub: Plug) -> None:
    guest = system.guest
    system.configure(CONFIG + '[[modem]]\nname = "second"\nmatch = { vendor = "0421", product = "0498" }\n')
    guest.run("systemctl reload dialupd", timeout=60)
    guest.until("grep -q 0498 /run/udev/rules.d/71-dialupd-configured.rules")
    hub("unplug X1")
    guest.until("! test -e /dev/ttyACM2")
    guest.run("udevadm settle")
    guest.run(f": > {TRACE}")
    hub("replug X1")
    system.modem("X1", "ready")
    hub.add("0421", "0497", "X2", "--number 103 --make nokia")
    guest.until(f"grep -q '\"/dev/ttyACM3\"' {TRACE}", timeout=60)
    assert not opened(guest, "/dev/ttyACM2")
