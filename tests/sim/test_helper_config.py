"""Root's part of reading the configuration: a udevadm and devices of our own, everything else real."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dialupd.helper import config
from dialupd.io import udevadm
from dialupd.io.describe import Attributes
from dialupd.io.udevadm import RulesFile, all_devices

USB = "/sys/devices/usb1"


@dataclass
class Node:
    """A device of udev."""

    sys_path: str
    subsystem: str
    device_type: str | None = None
    driver: str | None = None
    parent: Node | None = None
    attributes: Attributes = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    action: str | None = None

    def __post_init__(self) -> None:
        above = self.parent
        while above is not None:
            above.children.append(self)
            above = above.parent

    @property
    def sys_name(self) -> str:
        return self.sys_path.rsplit("/", 1)[1]

    @property
    def device_node(self) -> str | None:
        return f"/dev/{self.sys_name}" if self.subsystem == "tty" else None

    def find_parent(self, subsystem: str, device_type: str | None = None) -> Node | None:
        above = self.parent
        while above is not None and (above.subsystem, above.device_type) != (subsystem, device_type):
            above = above.parent
        return above


def usb(name: str, vendor: str, product: str) -> Node:
    facts = {"idVendor": vendor.encode(), "idProduct": product.encode(), "bDeviceClass": b"00"}
    return Node(f"{USB}/{name}", "usb", "usb_device", "usb", attributes=facts)


def port(device: Node, tty: str, driver: str = "option") -> Node:
    interface = Node(f"{device.sys_path}/{tty}-if", "usb", "usb_interface", driver, device)
    return Node(f"{interface.sys_path}/{tty}", "tty", parent=interface)


class Machine:
    """A configuration, the files that are made of it, devices, and a udevadm that notes what it is asked."""

    def __init__(self, root: Path) -> None:
        self.file = root / "dialupd.toml"
        self.kept = root / "run" / "last-good.json"
        self.rules = root / "rules.d" / "71.rules"
        self.asked = root / "asked"
        self.udevd = root / "control"
        self.udevd.touch()
        self.program = root / "udevadm"
        self.udevadm("true")
        self.devices: list[Node] = []
        # Nothing may take other devices for those that are named here.
        self.stick, self.phone, self.modem = (
            usb("1-1", "12d1", "1506"),
            usb("1-2", "0421", "0405"),
            usb("1-3", "9", "9"),
        )
        self.stick_port, self.modem_port = port(self.stick, "ttyUSB0"), port(self.modem, "ttyACM0")
        Node(f"{self.phone.sys_path}/if", "usb", "usb_interface", None, self.phone)
        self.devices += [self.stick, self.phone, self.modem, self.stick_port, self.modem_port]

    def udevadm(self, then: str) -> None:
        self.program.write_text(f'#!/bin/sh\necho "$@" >> {self.asked}\n{then}\n')
        self.program.chmod(0o755)

    def run(self, text: str) -> int:
        """Have the configuration read."""
        self.file.write_text(text)
        rules = RulesFile(self.rules, devices=self._enumerate, udevadm=[str(self.program)], udevd=str(self.udevd))
        return config.main(str(self.file), str(self.kept), rules)

    def _enumerate(self) -> Iterable[Node]:
        return self.devices

    def heard(self) -> list[str]:
        """What udevadm was asked since the last time."""
        if not self.asked.exists():
            return []
        lines = self.asked.read_text().splitlines()
        self.asked.unlink()
        return lines

    def state(self) -> list[tuple[int, int]]:
        return [(os.stat(path).st_ino, os.stat(path).st_mtime_ns) for path in (self.kept, self.rules)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


STICK = '[[modem]]\nmatch = { vendor = "12d1" }\n'
PHONE = '[[modem]]\nmatch = { vendor = "0421", product = "0405" }\nusbserial = true\n'


def test_only_the_devices_that_are_named_get_an_event(machine: Machine) -> None:
    assert machine.run(STICK) == 0
    assert machine.heard() == [
        "control --reload",
        f"trigger --action=change --settle {machine.stick.sys_path} {machine.stick_port.sys_path}",
    ]
    assert 'ATTR{idVendor}=="12d1"' in machine.rules.read_text()
    assert stat.S_IMODE(machine.rules.stat().st_mode) == 0o644


def test_a_device_that_waits_for_its_driver_gets_one_too(machine: Machine) -> None:
    assert machine.run(PHONE) == 0
    assert machine.heard()[1:] == [f"trigger --action=change --settle {machine.phone.sys_path}"]


def test_a_device_that_is_no_longer_named_gets_one_too(machine: Machine) -> None:
    machine.modem_port.properties["DIALUPD_CONFIGURED"] = "1"
    assert machine.run("") == 0
    assert machine.heard()[1:] == [
        f"trigger --action=change --settle {machine.modem.sys_path} {machine.modem_port.sys_path}"
    ]


def test_a_device_that_is_named_by_a_link(machine: Machine) -> None:
    machine.modem_port.properties["DEVLINKS"] = "/dev/serial/by-path/a /dev/serial/by-id/b"
    assert machine.run('[[modem]]\nmatch = { device = "/dev/serial/by-id/b" }\n') == 0
    assert machine.heard()[1:] == [
        f"trigger --action=change --settle {machine.modem.sys_path} {machine.modem_port.sys_path}"
    ]


def test_without_such_a_device_nothing_is_triggered(machine: Machine) -> None:
    assert machine.run('[[modem]]\nmatch = { vendor = "ffff" }\n') == 0
    assert machine.heard() == ["control --reload"], "without devices named, trigger would be for all of the machine"


def test_the_same_again_touches_nothing(machine: Machine) -> None:
    machine.run(STICK)
    machine.heard()
    before = machine.state()
    assert machine.run(STICK) == 0
    assert machine.heard() == []
    assert machine.state() == before


def test_a_change_that_is_none_of_udev_s_business_does_not_reach_it(machine: Machine) -> None:
    machine.run(STICK)
    machine.heard()
    assert machine.run(STICK + 'name = "other"\nspeed = 57600\n') == 0
    assert machine.heard() == []
    assert "57600" in machine.kept.read_text()


def test_a_mistake_leaves_all_as_it_is(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.run(STICK)
    machine.heard()
    before = machine.state()
    assert machine.run(PHONE + "speeed = 1\n") == 1
    assert "modem[1].speeed: is not a known key; did you mean 'speed'?" in capsys.readouterr().err
    assert machine.heard() == []
    assert machine.state() == before


def test_what_udev_has_not_done_is_done_the_next_time(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.udevadm('test "$1" = control || { echo "no such device" >&2; exit 1; }')
    assert machine.run(STICK) == 1
    assert "udevadm trigger --action=change: no such device; see journalctl" in capsys.readouterr().err
    assert "12d1" in machine.kept.read_text(), "the sessions need no udev"
    machine.heard()
    machine.udevadm("true")
    assert machine.run(STICK) == 0
    assert len(machine.heard()) == 2
    assert machine.run(STICK) == 0
    assert machine.heard() == []


def test_a_udev_that_hangs_is_not_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udevadm, "SECONDS", 0.2)
    machine.udevadm("exec sleep 60")
    assert machine.run(STICK) == 1


def test_where_udevadm_is_missing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.program.unlink()
    assert machine.run(STICK) == 1
    assert "udevadm control --reload: No such file" in capsys.readouterr().err


def test_where_there_is_no_udev_nothing_is_to_be_done(machine: Machine) -> None:
    machine.udevd.unlink()
    assert machine.run(STICK) == 0
    assert machine.heard() == []
    assert not machine.rules.exists()


def test_a_place_that_cannot_be_written(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.rules.parent.write_text("in the way")
    assert machine.run(STICK) == 1
    assert str(machine.rules) in capsys.readouterr().err


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_systemd_hears_what_is_wrong(machine: Machine, manager: socket.socket) -> None:
    assert machine.run("x = 1") == 1
    assert manager.recv(4096).decode().startswith(f"STATUS={machine.file}: x: is not a known key")


def test_the_devices_of_this_machine_can_be_walked() -> None:
    assert all(device.subsystem in ("tty", "usb") for device in all_devices())
