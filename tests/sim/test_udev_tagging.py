"""The rules for udev, as udev itself carries them out over a made-up sysfs in a mount namespace of their own."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dialupd.config.values import Config, Daemon, Match, ModemEntry
from dialupd.match import fits
from dialupd.model import Device, Transport
from dialupd.tagging import rules

BUILT_IN = Path(__file__).parents[2] / "udev" / "70-dialupd.rules"
PCI = "/devices/pci0000:00/0000:00:14.0"
OURS = {"ID_MM_DEVICE_IGNORE": "1", "SYSTEMD_WANTS": "dialupd-modem.target", "DIALUPD_CONFIGURED": "1"}
ODD_SERIAL = 'A*1|[x]"\\b $env{PATH}%k'
TEST = """
set -e
mount --bind "$1" /sys
mount -t tmpfs none /dev
mount -t tmpfs none /run
mkdir -p /run/udev/rules.d
cp "$2"/*.rules /run/udev/rules.d
shift 2
for device; do
    echo "== $device"
    SYSTEMD_DEVICE_VERIFY_SYSFS=0 udevadm test --action=add "/sys$device" 2>/dev/null
done
"""

pytestmark = pytest.mark.skipif(
    shutil.which("udevadm") is None or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="needs udev, and root in a place where a mount namespace can be made (a plain chroot is none)",
)


@dataclass
class Machine:
    """A sysfs of files; every device is known by its path below it."""

    root: Path
    devices: dict[str, Device] = field(default_factory=dict)

    def add(self, path: str, subsystem: str, driver: str = "", uevent: str = "", **attributes: str) -> None:
        place = self.root / path[1:]
        place.mkdir(parents=True, exist_ok=True)
        (place / "subsystem").symlink_to(f"/sys/bus/{subsystem}" if subsystem != "tty" else "/sys/class/tty")
        if driver:
            (place / "driver").symlink_to(f"/sys/bus/{subsystem}/drivers/{driver}")
        (place / "uevent").write_text(uevent + (f"DRIVER={driver}\n" if driver else ""))
        for name, value in attributes.items():
            (place / name).write_text(value + "\n")

    def usb(self, name: str, vendor: str, product: str, serial: str = "", kind: str = "00") -> str:
        above = "" if "." not in name else "/usb1/" + name.split(".")[0]
        path = f"{PCI}{above or '/usb1'}/{name}" if name != "usb1" else f"{PCI}/usb1"
        number = len(self.devices) + 1
        uevent = f"MAJOR=189\nMINOR={number}\nDEVNAME=bus/usb/001/{number:03}\nDEVTYPE=usb_device\n"
        self.add(path, "usb", "usb", uevent, idVendor=vendor, idProduct=product, serial=serial, bDeviceClass=kind)
        node = f"/dev/bus/usb/001/{number:03}"
        self.devices[path] = Device(
            path, node, Transport.USB_SERIAL, bus="usb", vendor=vendor, product=product, serial=serial
        )
        return path

    def port(self, usb: str, number: str, driver: str, name: str) -> str:
        interface = f"{usb}/{usb.rpartition('/')[2]}:1.{int(number, 16)}"
        attributes = {"bInterfaceNumber": number, "bInterfaceClass": "02"}
        self.add(interface, "usb", driver, "DEVTYPE=usb_interface\n", **attributes)
        path = f"{interface}/tty/{name}"
        self.tty(path, name)
        places = usb.rpartition("/")[2].removeprefix("1-")
        self.devices[path] = replace(
            self.devices[usb],
            sys_path=path,
            node=f"/dev/{name}",
            interface=number,
            driver=driver,
            path=f"pci-0000:00:14.0-usb-0:{places}:1.{int(number, 16)}",
        )
        return path

    def tty(self, path: str, name: str, **attributes: str) -> str:
        self.add(path, "tty", "", f"MAJOR=4\nMINOR={len(self.devices)}\nDEVNAME={name}\n", **attributes)
        return path

    def uart(self, parent: str, bus: str, driver: str, name: str, kind: str = "4") -> str:
        self.add(parent, bus, driver)
        path = self.tty(f"{parent}/tty/{name}", name, type=kind)
        self.devices[path] = Device(path, f"/dev/{name}", Transport.SERIAL, bus=bus, driver=driver)
        return path

    def ask(self, config: Config, *devices: str) -> dict[str, dict[str, str]]:
        """What udev makes of the devices: their properties."""
        folder = self.root.with_name("rules")
        folder.mkdir(exist_ok=True)
        (folder / "71-dialupd-configured.rules").write_text(rules(config))
        shutil.copy(BUILT_IN, folder)
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", TEST, "sh", self.root, folder, *devices],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = {}
        for part in done.stdout.split("== ")[1:]:
            path, _, text = part.partition("\n")
            found[path] = dict(re.findall(r"^\s*([A-Z_]+)=(.*)$", text, re.MULTILINE))
        assert list(found) == list(devices)
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "sys")
    machine.add(PCI, "pci", "xhci_hcd", "PCI_SLOT_NAME=0000:00:14.0\n")
    machine.usb("usb1", "1d6b", "0002", "0000:00:14.0", "09")
    for place in ("bus/usb/devices", "bus/pci/devices", "bus/pnp/devices", "class/tty", "dev/char"):
        (machine.root / place).mkdir(parents=True, exist_ok=True)
    return machine


def mark(properties: dict[str, str]) -> dict[str, str]:
    return {name: properties[name] for name in OURS if name in properties}


def test_a_modem_that_is_built_in_is_marked_as_device_and_as_port(machine: Machine) -> None:
    usb = machine.usb("1-1", "0572", "1340", "24680246", "02")
    port = machine.port(usb, "00", "cdc_acm", "ttyACM0")
    for properties in machine.ask(Config(), usb, port).values():
        assert mark(properties) == {name: OURS[name] for name in ("ID_MM_DEVICE_IGNORE", "SYSTEMD_WANTS")}
        assert {"dialupd", "systemd"} <= set(properties["CURRENT_TAGS"].split(":"))


def test_what_nobody_names_is_left_alone(machine: Machine) -> None:
    usb = machine.usb("1-1", "12d1", "1506", "x")
    port = machine.port(usb, "00", "option", "ttyUSB0")
    for properties in machine.ask(Config(modems=(ModemEntry(match=Match(vendor="0421")),)), usb, port).values():
        assert mark(properties) == {}
        assert "dialupd" not in properties.get("CURRENT_TAGS", "")


@pytest.mark.parametrize(
    "match",
    [
        Match(vendor="12d1"),
        Match(vendor="12d1", product="1506"),
        Match(vendor="12d1", product="1507"),
        Match(vendor="12d1", product="1506", interface="02"),
        Match(interface="02", driver="option"),
        Match(driver="cdc_acm"),
        Match(serial=ODD_SERIAL),
        Match(serial=ODD_SERIAL.replace("*", "?")),
        Match(serial="0000:00:14.0"),
        Match(vendor="1d6b"),
        Match(vendor="0424", product="2514"),
        Match(path="pci-*-usb-0:1.1:1.[0-1]"),
        Match(path="pci-*-usb-0:1.[!1]:*"),
        Match(device="/dev/ttyUSB[12]"),
        Match(device="/dev/ttyUSB1", interface="00"),
        Match(device="/dev/ttyACM0", bus="usb"),
        Match(bus="usb"),
        Match(bus="pnp"),
        Match(bus="pci"),
        Match(bus="pnp", driver="serial"),
        Match(driver="serial"),
        Match(device="/dev/ttyS*"),
    ],
    ids=str,
)
def test_udev_and_the_daemon_agree_about_the_ports(machine: Machine, match: Match) -> None:
    hub = machine.usb("1-1", "0424", "2514", "", "09")
    stick = machine.usb("1-1.1", "12d1", "1506", ODD_SERIAL)
    modem = machine.usb("1-1.2", "1234", "1506", "plain")
    ports = [
        machine.port(stick, "00", "option", "ttyUSB0"),
        machine.port(stick, "02", "option", "ttyUSB2"),
        machine.port(modem, "00", "cdc_acm", "ttyACM0"),
        machine.uart("/devices/pnp0/00:01", "pnp", "serial", "ttyS0"),
        machine.uart("/devices/pci0000:00/0000:00:1f.0", "pci", "serial", "ttyS4"),
    ]
    found = machine.ask(Config(modems=(ModemEntry(match=match),)), hub, *ports)
    assert mark(found.pop(hub)) == {}
    wanted = {port: fits(match, machine.devices[port]) for port in ports}
    assert {port: mark(properties) for port, properties in found.items()} == {
        port: OURS if ours else {} for port, ours in wanted.items()
    }


def test_a_port_is_known_by_its_link_too(machine: Machine) -> None:
    port = machine.port(machine.usb("1-1", "1234", "5678", "S1"), "00", "cdc_acm", "ttyACM0")
    found = machine.ask(Config(), port)[port]
    link = next(one for one in found["DEVLINKS"].split() if "/by-id/" in one)
    assert mark(machine.ask(Config(modems=(ModemEntry(match=Match(device=link)),)), port)[port]) == OURS


def test_a_device_is_taken_from_modemmanager_only_as_a_whole(machine: Machine) -> None:
    usb = machine.usb("1-1", "0421", "0405", "S1")
    whole = ModemEntry(match=Match(vendor="0421", product="0405"))
    one_port = ModemEntry(match=Match(vendor="0421", product="0405", interface="01"))
    awaited = replace(one_port, usbserial=True)
    assert mark(machine.ask(Config(modems=(whole,)), usb)[usb]) == OURS
    assert mark(machine.ask(Config(modems=(one_port,)), usb)[usb]) == {}
    only_systemd = {name: OURS[name] for name in ("SYSTEMD_WANTS", "DIALUPD_CONFIGURED")}
    assert mark(machine.ask(Config(modems=(awaited,)), usb)[usb]) == only_systemd
    assert mark(machine.ask(Config(modems=(awaited, whole)), usb)[usb]) == OURS


def test_with_probing_all_are_marked_that_are_looked_at(machine: Machine) -> None:
    ports = [
        machine.port(machine.usb("1-1", "1234", "5678"), "00", "cdc_acm", "ttyACM0"),
        machine.uart("/devices/pnp0/00:01", "pnp", "serial", "ttyS0"),
    ]
    others = [
        machine.port(machine.usb("1-2", "067b", "2303"), "00", "pl2303", "ttyUSB0"),
        machine.port(machine.usb("1-3", "0403", "6015"), "00", "ftdi_sio", "ttyUSB1"),
        machine.port(machine.usb("1-4", "047e", "2892"), "00", "cdc_acm", "ttyACM1"),
        machine.uart("/devices/platform/serial8250", "platform", "serial8250", "ttyS1", "0"),
        machine.tty("/devices/virtual/tty/tty1", "tty1"),
    ]
    found = machine.ask(Config(daemon=Daemon(probe_unknown=True)), *ports, *others)
    assert {port: mark(properties) for port, properties in found.items()} == {
        **dict.fromkeys(ports, OURS),
        **{port: {} for port in others},
    }
