"""Binding over a sysfs of files and a modprobe of our own."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from dialupd.io.usbserial import BindError, UsbSerial

NOKIA = ("0421", "0405")


class Machine:
    """A sysfs with USB devices and a modprobe that notes its arguments, loads the module and has 1-1 bound to it."""

    def __init__(self, root: Path) -> None:
        self.sysfs = root / "sys"
        self.asked = root / "asked"
        self.new_id = self.sysfs / "bus/usb-serial/drivers/generic/new_id"
        (self.sysfs / "bus/usb/devices").mkdir(parents=True)
        self.modprobe = root / "modprobe"
        self.taken = self.sysfs / "bus/usb/devices/1-1:1.0/driver"
        self.program(f"{self.loads}; ln -s {self.sysfs}/bus/usb/drivers/usbserial_generic {self.taken}")

    @property
    def loads(self) -> str:
        return f'echo "$@" >> {self.asked}; mkdir -p {self.new_id.parent}; touch {self.new_id}'

    def program(self, text: str) -> None:
        self.modprobe.write_text(f"#!/bin/sh\n{text}\n")
        self.modprobe.chmod(0o755)

    def plug(self, name: str, ids: tuple[str, str], interfaces: list[tuple[str, bool]]) -> None:
        """`interfaces`: class and whether it has a driver."""
        device = self.sysfs / "bus/usb/devices" / name
        device.mkdir()
        (device / "idVendor").write_text(ids[0] + "\n")
        (device / "idProduct").write_text(ids[1] + "\n")
        for number, (kind, bound) in enumerate(interfaces):
            interface = device.parent / f"{name}:1.{number}"
            interface.mkdir()
            (interface / "bInterfaceClass").write_text(kind + "\n")
            if bound:
                (interface / "driver").symlink_to(self.sysfs)

    def load(self, listed: str = "") -> None:
        self.new_id.parent.mkdir(parents=True)
        self.new_id.write_text(listed)

    def driver(self) -> UsbSerial:
        return UsbSerial(str(self.sysfs), [str(self.modprobe)])

    def bind(self, *ids: tuple[str, str]) -> None:
        async def scenario() -> None:
            driver = self.driver()
            await asyncio.gather(*(driver.bind(*one) for one in ids))

        asyncio.run(scenario())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_loads_the_module_and_the_second_is_told(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", False)])
    machine.plug("1-2", ("0fca", "00AB"), [("ff", False)])
    machine.bind(("0421", "0405"), ("0FCA", "00ab"))
    assert machine.asked.read_text() == "usbserial vendor=0x0421 product=0x0405\n"
    assert machine.new_id.read_text() == "0fca 00ab"


def test_a_modprobe_that_came_behind_another_is_made_up_for(machine: Machine) -> None:
    # The module is there by then, with the other's vendor and product, and modprobe says nothing of it.
    machine.plug("1-1", NOKIA, [("ff", False)])
    machine.program(machine.loads)
    machine.bind(NOKIA)
    assert machine.asked.read_text() == "usbserial vendor=0x0421 product=0x0405\n"
    assert machine.new_id.read_text() == "0421 0405"


def test_what_is_listed_is_not_written_again(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", False)])
    machine.load("1234 5678\n0421 0405\n")
    machine.bind(NOKIA)
    assert machine.new_id.read_text() == "1234 5678\n0421 0405\n"


def test_what_is_bound_is_left_alone(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", True), ("08", True)])
    machine.bind(NOKIA)
    assert not machine.asked.exists()


def test_free_storage_is_never_bound(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", False), ("08", False)])
    machine.load()
    with pytest.raises(BindError, match=r"storage at 1-1:1\.1"):
        machine.bind(NOKIA)
    assert machine.new_id.read_text() == ""


def test_storage_with_its_driver_is_safe(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", False), ("08", True)])
    machine.load()
    machine.bind(NOKIA)
    assert machine.new_id.read_text() == "0421 0405"


def test_a_hub_port_with_a_similar_name_is_another_device(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", False)])
    machine.plug("1-1.1", ("0781", "5567"), [("08", False)])
    machine.load()
    machine.bind(NOKIA)
    assert machine.new_id.read_text() == "0421 0405"


@pytest.mark.parametrize("ids", [("421", "0405"), ("0421", "0405\n"), ("0421 0405", "0405"), ("xyzw", "0405")])
def test_malformed_ids_touch_nothing(machine: Machine, ids: tuple[str, str]) -> None:
    with pytest.raises(BindError, match="four hex digits"):
        machine.bind(ids)


def test_absent_devices_are_refused(machine: Machine) -> None:
    with pytest.raises(BindError, match="0421:0405 is plugged in"):
        machine.bind(NOKIA)


def test_a_module_that_cannot_be_loaded_says_why(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", False)])
    machine.program("echo 'modprobe: FATAL: Module usbserial not found' >&2; exit 1")
    with pytest.raises(BindError, match="Module usbserial not found"):
        machine.bind(NOKIA)
    machine.program("exit 0")
    with pytest.raises(BindError, match="no generic serial driver"):
        machine.bind(NOKIA)
    machine.modprobe.unlink()
    with pytest.raises(BindError, match="no such program"):
        machine.bind(NOKIA)


def test_without_permission_the_mend_is_named(machine: Machine) -> None:
    machine.plug("1-1", NOKIA, [("ff", False)])
    machine.load()
    if os.geteuid() == 0:
        # Root may write everything; a directory in the file's place is refused to root too, with another error.
        machine.new_id.unlink()
        machine.new_id.mkdir()
        with pytest.raises(BindError, match="does not take 0421:0405"):
            machine.bind(NOKIA)
    else:
        machine.new_id.chmod(stat.S_IRUSR)
        with pytest.raises(BindError, match="only root may bind 0421:0405: have systemd start"):
            machine.bind(NOKIA)


def test_a_cancelled_load_leaves_no_child(machine: Machine, tmp_path: Path) -> None:
    machine.plug("1-1", NOKIA, [("ff", False)])
    started = tmp_path / "started"
    os.mkfifo(started)
    machine.program(f"echo $$ > {started}; exec sleep 60")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        said: asyncio.Future[bytes] = loop.create_future()
        fifo = os.open(started, os.O_RDWR | os.O_NONBLOCK)
        loop.add_reader(fifo, lambda: said.done() or said.set_result(os.read(fifo, 100)))
        binding = asyncio.ensure_future(machine.driver().bind(*NOKIA))
        async with asyncio.timeout(20):
            pid = int(await said)
            binding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await binding
        loop.remove_reader(fifo)
        os.close(fifo)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(scenario())
