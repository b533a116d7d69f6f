"""Devices without a driver: the daemon binds the generic one where the configuration says so, and only there."""

from __future__ import annotations

from tests.vm.guest import Guest
from tests.vm.lab import Daemon, Plug

CONFIG = """
[[modem]]
name = "communicator"
match = { vendor = "0421", product = "0405" }
usbserial = true

[[modem]]
name = "other"
match = { vendor = "0421", product = "0406" }
usbserial = true
"""


def test_a_nokia_without_a_driver_becomes_ready(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.add("0421", "0405", "N1", "--kind vendor --number 100 --make nokia")
    modem = daemon.modem("N1", "ready")
    assert (modem["Device"], modem["Transport"], modem["Name"]) == ("/dev/ttyUSB0", "usb-serial", "communicator")


def test_a_second_one_while_the_driver_is_loaded_already(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.add("0421", "0405", "N1", "--kind vendor --number 100 --make nokia")
    daemon.modem("N1", "ready")
    plug.add("0421", "0406", "N2", "--kind vendor --number 101 --make nokia")
    assert daemon.modem("N2", "ready")["Device"] == "/dev/ttyUSB1"
    ids = guest.read("/sys/bus/usb-serial/drivers/generic/new_id").split()
    assert len(ids) == len(set(zip(ids[::2], ids[1::2], strict=True))) * 2, "no pair is listed twice"


def test_unplugged_and_plugged_in_again(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.add("0421", "0405", "N1", "--kind vendor --number 100 --make nokia")
    path = daemon.modem("N1", "ready")["path"]
    plug("unplug N1")
    daemon.modem("N1", "gone")
    plug("replug N1")
    assert daemon.modem("N1", "ready")["path"] == path


def test_a_device_with_a_disk_is_never_bound(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.add("0421", "0406", "D1", "--kind vendor --number 100 --make nokia --disk")
    # the second modem is the mark: once it is ready, the first has been seen and decided upon
    plug.add("0421", "0405", "N1", "--kind vendor --number 101 --make nokia")
    daemon.modem("N1", "ready")
    modem = daemon.modem("D1", "failed")
    assert "storage" in modem["StateReason"]

    def tried_again() -> bool | None:
        return True if next(each for each in daemon.modems() if each["Serial"] == "D1")["Attempts"] > 1 else None

    daemon.until("another attempt", tried_again)
    device = plug("show D1")["sysfs"]
    assert guest.run(f"ls -d {device}/*:*/driver", check=False).rc != 0
    assert "0421 0406" not in guest.read("/sys/bus/usb-serial/drivers/generic/new_id")


def test_a_device_that_the_configuration_does_not_name_is_left_alone(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.add("0421", "0499", "X1", "--kind vendor --number 100")
    plug.add("0421", "0405", "N1", "--kind vendor --number 101 --make nokia")
    daemon.modem("N1", "ready")
    assert plug("show X1")["nodes"] == []
