"""Devices without a driver: the daemon binds the generic one where the configuration says so, and only there.

The tests share one guest and one daemon, in their order.
"""

from __future__ import annotations

import pytest

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

[[modem]]
name = "composite"
match = { vendor = "0421", product = "0407" }
usbserial = true
"""

NEW_ID = "/sys/bus/usb-serial/drivers/generic/new_id"


@pytest.fixture(scope="module")
def daemon(common: Guest, bench: Plug) -> Daemon:
    """Has charge of a Nokia that was plugged in before the driver was there."""
    daemon = Daemon(common, CONFIG)
    bench.add("0421", "0405", "N1", "--kind vendor --number 100 --make nokia")
    return daemon


def test_a_nokia_without_a_driver_becomes_ready(daemon: Daemon) -> None:
    modem = daemon.modem("N1", "ready")
    assert (modem["Device"], modem["Transport"], modem["Name"]) == ("/dev/ttyUSB0", "usb-serial", "communicator")


def test_a_second_one_while_the_driver_is_loaded_already(common: Guest, bench: Plug, daemon: Daemon) -> None:
    daemon.modem("N1", "ready")
    bench.add("0421", "0406", "N2", "--kind vendor --number 101 --make nokia")
    assert daemon.modem("N2", "ready")["Device"] == "/dev/ttyUSB1"
    ids = common.read(NEW_ID).split()
    assert len(ids) == len(set(zip(ids[::2], ids[1::2], strict=True))) * 2, "no pair is listed twice"


def test_unplugged_and_plugged_in_again(bench: Plug, daemon: Daemon) -> None:
    path = daemon.modem("N1", "ready")["path"]
    bench("unplug N1")
    daemon.modem("N1", "gone")
    bench("replug N1")
    assert daemon.modem("N1", "ready")["path"] == path


def test_a_device_with_a_disk_is_never_bound(common: Guest, bench: Plug, daemon: Daemon) -> None:
    bench.add("0421", "0407", "D1", "--kind vendor --number 102 --make nokia --disk")
    modem = daemon.modem("D1", "failed")
    assert "storage" in modem["StateReason"]

    def tried_again() -> bool | None:
        return True if next(each for each in daemon.modems() if each["Serial"] == "D1")["Attempts"] > 1 else None

    daemon.until("another attempt", tried_again)
    device = bench("show D1")["sysfs"]
    assert common.run(f"ls -d {device}/*:*/driver", check=False).rc != 0
    assert "0421 0407" not in common.read(NEW_ID)


def test_a_device_that_the_configuration_does_not_name_is_left_alone(bench: Plug, daemon: Daemon) -> None:
    bench.add("0421", "0499", "X1", "--kind vendor --number 103")
    # the other modem is the mark: once it is there again, the one before it has been seen and decided upon
    bench("unplug N2")
    daemon.modem("N2", "gone")
    bench("replug N2")
    daemon.modem("N2", "ready")
    assert bench("show X1")["nodes"] == []
