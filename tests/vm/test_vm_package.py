"""From a clean guest to a call: the package is installed, enabled by the administrator, used, and taken away again."""

from __future__ import annotations

import time

from tests.vm.guest import Guest
from tests.vm.lab import Plug
from tests.vm.package import Package, install
from tests.vm.system import CONFIG, UNIT, System

SERVICE = "300"

ONE_MODEM = """
[[modem]]
name = "rack"
match = { vendor = "0572", product = "1340", serial = "A1" }
policy = "hand"

[policy.hand]
mode = "manual"
session = "raw"

[session.raw]
type = "client"
"""

PHONE = """
[[modem]]
name = "phone"
match = { vendor = "0421", product = "0405" }
usbserial = true
"""


def test_installed_enabled_used_removed_and_purged(guest: Guest, plug: Plug, package: Package) -> None:
    guest.run("systemctl start dbus polkit")
    began = time.monotonic()
    install(guest, package.file)
    print(f"dpkg -i took {time.monotonic() - began:.0f} s in the guest")
    assert guest.run("id -nG dialupd").out.split() == ["dialupd", "dialout"]
    undocumented = "/usr/share/(doc|man|lintian|bash-completion)"  # the guest's dpkg leaves these out
    assert guest.run(f"dpkg --verify dialupd | grep -vE 'missing +{undocumented}'", check=False).out == ""
    plug.conexant("A1", "--number 100")
    guest.until("test -c /dev/ttyACM0")
    guest.run("udevadm settle")
    assert guest.run(f"systemctl is-enabled {UNIT}; systemctl is-active {UNIT}", check=False).out.split() == [
        "disabled",
        "inactive",
    ], "a modem and an installation alone start nothing"
    assert guest.run("busctl call org.dialupd1 /org/dialupd1 org.freedesktop.DBus.Peer Ping", check=False).rc != 0
    assert guest.run(f"systemctl is-active {UNIT}", check=False).out == "inactive\n", "and neither does a client"

    system = System(guest, ONE_MODEM)
    assert system.show(UNIT, "User") == "dialupd"
    status = guest.read(f"/proc/{system.pid}/status")
    capabilities = {line.split()[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    assert capabilities == dict.fromkeys(("CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"), "0" * 16)
    plug(f"service {SERVICE}")
    call = system.dial("A1", SERVICE)
    system.modem("A1", "connected")
    system.call(call, "Call", "HangUp")
    assert system.ended(call)["EndReason"] == "local-hangup"
    assert system.ctl("status")["modems"][0]["name"] == "rack"

    guest.run("dpkg --remove dialupd", timeout=90)
    assert guest.run(f"systemctl is-active {UNIT}", check=False).out == "inactive\n"
    assert guest.read(CONFIG) == ONE_MODEM, "the administrator's configuration stays"
    guest.run("test -s /var/lib/dialupd/history.sqlite")
    guest.run("dpkg --purge dialupd", timeout=90)
    left = guest.run("find / -xdev -name '*dialup*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/src/*'").out
    assert [name for name in left.splitlines() if not name.startswith(("/run/", "/tmp/", "/packages"))] == []


def test_a_modem_that_is_plugged_in_starts_the_enabled_service(shared: Guest, hub: Plug) -> None:
    shared.write(CONFIG, ONE_MODEM)
    shared.run(f"systemctl enable {UNIT}")
    assert shared.run(f"systemctl is-active {UNIT}", check=False).out == "inactive\n"
    hub.conexant("A1", "--number 100")
    shared.until(f"systemctl is-active -q {UNIT}")


def test_a_client_starts_the_enabled_service(shared: Guest, hub: Plug) -> None:
    hub("unplug A1")
    shared.until("! systemctl is-active -q dialupd-modem.target")
    shared.run(f"systemctl stop {UNIT}", timeout=60)
    shared.run("busctl call org.dialupd1 /org/dialupd1 org.freedesktop.DBus.Peer Ping", timeout=60)
    shared.until(f"systemctl is-active -q {UNIT}")


def test_a_phone_gets_its_driver_from_the_privileged_unit(shared: Guest, hub: Plug) -> None:
    system = System(shared, PHONE)
    hub.add("0421", "0405", "N1", "--kind vendor --number 200 --make nokia")
    modem = system.modem("N1", "ready")
    assert (modem["Device"], modem["Transport"], modem["Name"]) == ("/dev/ttyUSB0", "usb-serial", "phone")
    assert "Finished dialupd-usbserial@0421-0405" in system.journal("-u 'dialupd-usbserial@*' -o cat")
    hub("unplug N1")
    system.modem("N1", "gone")
