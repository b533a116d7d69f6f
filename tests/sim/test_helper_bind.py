"""Which devices root binds to the generic driver: those of the configuration, whatever the daemon names."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dialupd.helper import bind
from dialupd.io.configfile import keep
from dialupd.io.usbserial import UsbSerial

PHONE = '[[modem]]\nmatch = { vendor = "0421", product = "0405" }\nusbserial = true\n'
STICK = '[[modem]]\nmatch = { vendor = "12d1", product = "1506" }\n'


class Machine:
    """A sysfs with the driver loaded and two devices without driver."""

    def __init__(self, root: Path) -> None:
        self.file = root / "dialupd.toml"
        self.kept = root / "run" / "last-good.json"
        self.sysfs = root / "sys"
        self.new_id = self.sysfs / "bus/usb-serial/drivers/generic/new_id"
        self.new_id.parent.mkdir(parents=True)
        self.new_id.touch()
        for name, vendor, product in (("1-1", "0421", "0405"), ("1-2", "12d1", "1506")):
            device = self.sysfs / "bus/usb/devices" / name
            device.mkdir(parents=True)
            (device / "idVendor").write_text(vendor + "\n")
            (device / "idProduct").write_text(product + "\n")
            (device.parent / f"{name}:1.0").mkdir()

    def run(self, instance: str) -> int:
        return bind.main(instance, str(self.file), str(self.kept), UsbSerial(str(self.sysfs)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.file.write_text(PHONE + STICK)
    return machine


def test_what_is_configured_is_bound(machine: Machine) -> None:
    assert machine.run("0421-0405") == 0
    assert machine.new_id.read_text() == "0421 0405"


def test_what_is_not_said_to_need_it_is_refused(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert machine.run("12d1-1506") == 1
        said = manager.recv(4096).decode()
    assert 'no [[modem]] with usbserial = true has match = { vendor = "12d1", product = "1506" }' in said
    assert said.removeprefix("STATUS=") in capsys.readouterr().err
    assert machine.new_id.read_text() == ""


@pytest.mark.parametrize(
    "instance",
    [
        "",
        "0421",
        "0421-0405-0001",
        "0421-0405\n",
        " 0421-0405",
        "0421_0405",
        "042A-0405",
        "../0421-0405",
        "0421-0405 x",
    ],
)
def test_what_is_no_instance_is_refused(machine: Machine, instance: str) -> None:
    assert machine.run(instance) == 2
    assert machine.new_id.read_text() == ""


def test_the_last_good_configuration_serves_where_there_is_a_mistake(machine: Machine) -> None:
    keep(str(machine.file), str(machine.kept))
    machine.file.write_text("x = 1")
    assert machine.run("0421-0405") == 0
    assert machine.new_id.read_text() == "0421 0405"


def test_without_any_configuration_nothing_is_bound(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.file.write_text("x = 1")
    assert machine.run("0421-0405") == 1
    assert "x: is not a known key" in capsys.readouterr().err
    assert machine.new_id.read_text() == ""


def test_what_cannot_be_bound_is_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    (machine.sysfs / "bus/usb/devices/1-1:1.0/bInterfaceClass").write_text("08\n")
    assert machine.run("0421-0405") == 1
    assert "offers storage at 1-1:1.0" in capsys.readouterr().err
