"""What is reported of devices, over a made-up udev: each change once, lost events made up for, ids that last."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.io.describe import Attributes, UdevDevice, describe_bare_usb, describe_tty, modem_id
from dialupd.io.udev import EVENTS_PER_TURN, Devices
from dialupd.model import Device, Transport

USB = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2"


@dataclass
class Node:
    """A device of udev."""

    sys_path: str
    subsystem: str | None = None
    device_type: str | None = None
    driver: str | None = None
    parent: Node | None = None
    sysfs: dict[str, bytes] = field(default_factory=dict)
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

    @property
    def attributes(self) -> Attributes:
        return self.sysfs

    def find_parent(self, subsystem: str, device_type: str | None = None) -> Node | None:
        above = self.parent
        while above is not None and (above.subsystem, above.device_type) != (subsystem, device_type):
            above = above.parent
        return above


def usb_device(path: str = USB, serial: bytes = b"A1b2", **more: bytes) -> Node:
    sysfs = {"idVendor": b"0572", "idProduct": b"1340", "serial": serial, "manufacturer": b"Conexant", **more}
    return Node(path, "usb", "usb_device", "usb", sysfs=sysfs)


def usb_interface(device: Node, number: int = 0, kind: bytes = b"02", driver: str | None = "cdc_acm") -> Node:
    sysfs = {"bInterfaceClass": kind, "bInterfaceNumber": b"%02x" % number}
    name = device.sys_path.rsplit("/", 1)[1]
    return Node(f"{device.sys_path}/{name}:1.{number}", "usb", "usb_interface", driver, device, sysfs)


def usb_tty(interface: Node, name: str = "ttyACM0", **properties: str) -> Node:
    return Node(f"{interface.sys_path}/tty/{name}", "tty", parent=interface, properties=properties)


class Udev:
    """The source: a pipe wakes the loop as a netlink socket does."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = list(nodes)
        self.queue: list[Node | OSError] = []
        self.read, self.write = os.pipe()
        self.enumerations = 0
        self.taken = asyncio.Event()
        self.taken.set()

    def event(self, action: str, node: Node) -> None:
        self.queue.append(replace(node, action=action, parent=None, children=[]))
        sent = self.queue[-1]
        assert isinstance(sent, Node)
        sent.parent, sent.children = node.parent, node.children
        self._wake()

    def _wake(self) -> None:
        self.taken.clear()
        os.write(self.write, b".")

    def lose(self, error: OSError) -> None:
        self.queue.append(error)
        self._wake()

    def fileno(self) -> int:
        return self.read

    def receive(self) -> UdevDevice | None:
        if not self.queue:
            return None
        os.read(self.read, 1)
        event = self.queue.pop(0)
        if not self.queue:
            self.taken.set()
        if isinstance(event, OSError):
            raise event
        return event

    def enumerate(self) -> Iterable[UdevDevice]:
        self.enumerations += 1
        return list(self.nodes)

    def by_number(self, number: int) -> UdevDevice | None:
        return None

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


Told = list[tuple[str, str]]


def watch(udev: Udev, *steps: Callable[[Devices], None]) -> Told:
    """What is told from the start and after each step's events."""
    told: Told = []

    async def scenario() -> None:
        devices = Devices(
            lambda device: told.append(("present", device.node or device.sys_path)),
            lambda sys_path: told.append(("gone", sys_path)),
            lambda: udev,
        )
        devices.start()
        for step in steps:
            step(devices)
            async with asyncio.timeout(10):
                await udev.taken.wait()
        devices.stop()

    asyncio.run(scenario())
    return told


def test_facts_of_a_usb_modem() -> None:
    device = usb_device(product=b"USB Modem\n", idVendor=b"0572\n")
    tty = usb_tty(usb_interface(device), ID_PATH="pci-0000:00:14.0-usb-0:2:1.0")
    assert describe_tty(tty) == Device(
        sys_path=tty.sys_path,
        node="/dev/ttyACM0",
        transport=Transport.CDC_ACM,
        bus="usb",
        driver="cdc_acm",
        vendor="0572",
        product="1340",
        serial="A1b2",
        interface="00",
        path="pci-0000:00:14.0-usb-0:2:1.0",
        manufacturer="Conexant",
        model="USB Modem",
    )


def test_facts_of_a_generic_usb_serial_port() -> None:
    interface = usb_interface(usb_device(), driver="usbserial_generic")
    port = Node(f"{interface.sys_path}/ttyUSB0", "usb-serial", driver="generic", parent=interface)
    described = describe_tty(Node(f"{port.sys_path}/tty/ttyUSB0", "tty", parent=port))
    assert described is not None
    assert (described.transport, described.driver) == (Transport.USB_SERIAL, "usbserial_generic")


def test_facts_of_a_uart_and_of_a_node_without() -> None:
    pnp = Node("/sys/devices/pnp0/00:00", "pnp", driver="serial")
    base = Node("/sys/devices/pnp0/00:00/00:00:0", "serial-base", driver="ctrl", parent=pnp)
    uart = Node(f"{base.sys_path}/tty/ttyS0", "tty", parent=base, sysfs={"type": b"4\n"})
    assert describe_tty(uart) == Device(uart.sys_path, "/dev/ttyS0", Transport.SERIAL, bus="pnp", driver="serial")
    assert describe_tty(Node(f"{base.sys_path}/tty/ttyS1", "tty", parent=base, sysfs={"type": b"0\n"})) is None
    assert describe_tty(Node("/sys/devices/virtual/tty/tty1", "tty")) is None
    assert describe_tty(Node(f"{base.sys_path}/tty/ttyGS0", "tty", parent=base)) is None


def rfcomm(place: str = "/sys/devices/virtual/tty", address: bytes = b"00:11:22:33:44:55\n") -> Node:
    return Node(f"{place}/rfcomm0", "tty", sysfs={"address": address, "channel": b"1\n"})


def test_facts_of_a_bluetooth_tty() -> None:
    there = Device(
        "/sys/class/tty/rfcomm0",
        "/dev/rfcomm0",
        Transport.BLUETOOTH,
        bus="bluetooth",
        address="00:11:22:33:44:55",
    )
    assert describe_tty(rfcomm()) == there
    assert describe_tty(rfcomm(address=b"\x1b[31mx")) == replace(there, address="")


def test_a_bluetooth_tty_stays_the_same_while_the_kernel_moves_it_about() -> None:
    bound = rfcomm()
    linked = rfcomm("/sys/devices/virtual/bluetooth/hci0/hci0:42/tty")
    udev = Udev()
    told = watch(
        udev,
        lambda _: udev.event("add", bound),
        lambda _: udev.event("move", linked),
        lambda _: udev.event("move", bound),
        lambda _: udev.event("remove", linked),
    )
    assert told == [("present", "/dev/rfcomm0"), ("gone", "/sys/class/tty/rfcomm0")]


def test_a_bluetooth_tty_that_was_bound_before_is_found_and_lost_by_looking() -> None:
    udev = Udev(rfcomm())
    told = watch(udev, lambda _: udev.nodes.clear(), Devices.rescan)
    assert told == [("present", "/dev/rfcomm0"), ("gone", "/sys/class/tty/rfcomm0")]


def test_words_of_a_device_are_printable_and_short() -> None:
    tty = usb_tty(usb_interface(usb_device(serial=b"\x1b[31m\xff\n" + b"9" * 500, product=b"a\x00b")))
    described = describe_tty(tty)
    assert described is not None
    assert described.serial.isprintable() and len(described.serial) <= 128
    assert described.model == "ab"


@pytest.mark.parametrize(
    ("interfaces", "bare"),
    [
        ([], False),
        ([(b"ff", None)], True),
        ([(b"ff", "option")], False),
        ([(b"08", None)], False),
        ([(b"08", "usb-storage"), (b"ff", None)], True),
    ],
)
def test_which_usb_devices_wait_for_a_driver(interfaces: list[tuple[bytes, str | None]], bare: bool) -> None:
    device = usb_device()
    for number, (kind, driver) in enumerate(interfaces):
        usb_interface(device, number, kind, driver)
    described = describe_bare_usb(device)
    assert (described is not None) is bare
    if described is not None:
        assert (described.node, described.sys_path, described.vendor) == ("", USB, "0572")


def test_a_device_with_a_tty_and_a_hub_with_a_bare_device_are_not_bare() -> None:
    device = usb_device()
    usb_tty(usb_interface(device))
    usb_interface(device, 1, b"ff", None)
    assert describe_bare_usb(device) is None
    hub = usb_device(bDeviceClass=b"00")
    below = usb_device(f"{USB}/1-2.1")
    below.parent = hub
    interface = usb_interface(below, 0, b"ff", None)
    assert interface in hub.children
    assert describe_bare_usb(hub) is None
    assert describe_bare_usb(below) is not None


def test_start_reports_what_is_there_and_an_event_for_it_is_no_news() -> None:
    tty = usb_tty(usb_interface(usb_device()))
    udev = Udev(tty)
    told = watch(udev, lambda _: udev.event("add", tty), lambda _: udev.event("change", tty))
    assert told == [("present", "/dev/ttyACM0")]


def test_changes_and_removal_are_told_once() -> None:
    tty = usb_tty(usb_interface(usb_device()))
    udev = Udev()

    def renamed(_: Devices) -> None:
        tty.properties["ID_PATH"] = "pci-0:2:1.0"
        udev.event("change", tty)

    told = watch(
        udev,
        lambda _: udev.event("add", tty),
        renamed,
        lambda _: udev.event("remove", tty),
        lambda _: udev.event("remove", tty),
    )
    assert told == [("present", "/dev/ttyACM0")] * 2 + [("gone", tty.sys_path)]


def test_plugging_in_a_modem_with_a_driver_never_shows_a_bare_device() -> None:
    device = usb_device()
    interface = usb_interface(device, driver=None)
    udev = Udev()
    tty: list[Node] = []

    def bound(_: Devices) -> None:
        interface.driver = "cdc_acm"
        tty.append(usb_tty(interface))
        udev.event("add", tty[0])
        udev.event("bind", interface)
        udev.event("bind", device)

    def unplugged(_: Devices) -> None:
        device.children.remove(tty[0])
        interface.driver = None
        udev.event("remove", tty[0])
        udev.event("unbind", interface)
        udev.event("remove", interface)
        udev.event("unbind", device)
        udev.event("remove", device)

    told = watch(udev, lambda _: udev.event("add", device), lambda _: udev.event("add", interface), bound, unplugged)
    assert told == [("present", "/dev/ttyACM0"), ("gone", tty[0].sys_path)]


def test_a_bare_device_gives_way_to_its_tty() -> None:
    device = usb_device()
    interface = usb_interface(device, kind=b"ff", driver=None)
    udev = Udev()

    def bound(_: Devices) -> None:
        interface.driver = "usbserial_generic"
        udev.event("add", usb_tty(interface, "ttyUSB0"))
        udev.event("bind", interface)

    told = watch(udev, lambda _: udev.event("bind", device), bound)
    assert told == [("present", USB), ("gone", USB), ("present", "/dev/ttyUSB0")]


@pytest.mark.parametrize("error", [OSError(errno.ENOBUFS, "lost"), OSError("Error while polling fd: 7")])
def test_lost_events_are_made_up_for(error: OSError) -> None:
    """The device that went and the one that came are both told, though neither event arrived."""
    old = usb_tty(usb_interface(usb_device()))
    new = usb_tty(usb_interface(usb_device(f"{USB}.4")), "ttyACM1")
    udev = Udev(old)

    def overrun(_: Devices) -> None:
        udev.nodes[:] = [new]
        udev.lose(error)

    told = watch(udev, overrun)
    assert told == [("present", "/dev/ttyACM0"), ("gone", old.sys_path), ("present", "/dev/ttyACM1")]
    assert udev.enumerations == 2


def test_rescan_tells_differences_only() -> None:
    tty = usb_tty(usb_interface(usb_device()))
    udev = Udev(tty)
    told = watch(udev, Devices.rescan, lambda _: udev.nodes.clear(), Devices.rescan, Devices.rescan)
    assert told == [("present", "/dev/ttyACM0"), ("gone", tty.sys_path)]


def test_a_flood_of_events_lets_others_work() -> None:
    tty = usb_tty(usb_interface(usb_device()))
    udev = Udev()
    left: list[int] = []

    def flood(_: Devices) -> None:
        for _ in range(EVENTS_PER_TURN * 3):
            udev.event("change", tty)
        asyncio.get_running_loop().call_later(0, lambda: left.append(len(udev.queue)))

    watch(udev, flood)
    assert left and left[0] >= EVENTS_PER_TURN


def test_without_udev_configured_paths_still_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def absent() -> Udev:
        raise ImportError("No library named udev")

    async def scenario() -> None:
        devices = Devices(lambda device: None, lambda path: None, absent)
        devices.start()
        devices.rescan()
        assert len(caplog.records) == 1
        master, slave = os.openpty()
        link = tmp_path / "modem0"
        os.symlink(os.ttyname(slave), link)
        assert devices.device_for_path(str(link)) == Device(str(link), str(link), Transport.SOFTWARE)
        os.close(master)
        os.close(slave)
        assert devices.device_for_path(str(link)) is None
        assert devices.device_for_path(str(tmp_path)) is None
        devices.stop()

    asyncio.run(scenario())


def modem(sys_path: str = f"{USB}/1-2:1.0/tty/ttyACM0", **facts: str) -> Device:
    base = Device(sys_path, "/dev/ttyACM0", Transport.CDC_ACM, "usb", "cdc_acm", "0572", "1340", "A1b2", "00")
    return replace(base, **facts)  # type: ignore[arg-type]


def test_an_id_outlives_node_and_place() -> None:
    assert modem_id(modem()) == "usb_0572_1340_A1b2"
    moved = modem(f"{USB}.7/1-2.7:1.0/tty/ttyACM3", node="/dev/ttyACM3", path="pci-0:7:1.0")
    assert modem_id(moved) == modem_id(modem())
    bare = Device(USB, "", Transport.USB_SERIAL, "usb", "", "0572", "1340", "A1b2")
    assert modem_id(bare, [modem()]) == modem_id(modem(), [bare])


def test_ports_of_one_device_differ() -> None:
    second = modem(f"{USB}/1-2:1.2/tty/ttyACM1", interface="02")
    assert modem_id(second, [modem(), second]) == "usb_0572_1340_A1b2_if02"
    assert modem_id(modem(), [modem(), second]) == "usb_0572_1340_A1b2"


@pytest.mark.parametrize("serial", ["", "24680246", "00000000", "12345678", "FFFF", "9" * 100])
def test_a_serial_number_that_is_none_gives_way_to_the_place(serial: str) -> None:
    assert modem_id(modem(serial=serial, path="pci-0000:00:14.0-usb-0:2:1.0")) == "pci_0000_00_14_0_usb_0_2_1_0"
    assert modem_id(modem(serial=serial)) == "usb_1_2_1_0"


def test_serial_numbers_that_look_alike_when_escaped_do_not_collide() -> None:
    first = modem(serial="A-B", path="pci-usb-0:2:1.0")
    second = modem(f"{USB}.4/1-2.4:1.0/tty/ttyACM1", serial="A.B", path="pci-usb-0:2.4:1.0")
    assert modem_id(first) != modem_id(second, [first])


def test_twins_do_not_collide() -> None:
    first = modem(path="pci-usb-0:2:1.0")
    second = modem(f"{USB}.4/1-2.4:1.0/tty/ttyACM1", path="pci-usb-0:2.4:1.0")
    assert modem_id(first) != modem_id(second, [first, second])


def test_other_ids() -> None:
    assert modem_id(Device("/sys/x/ttyS0", "/dev/ttyS0", Transport.SERIAL)) == "ttyS0"
    assert modem_id(Device("/run/line/1", "/run/line/1", Transport.SOFTWARE)) == "run_line_1"
    tty = Device("", "/dev/rfcomm0", Transport.BLUETOOTH, address="00:11:22:33:44:55")
    assert modem_id(tty) == "bluetooth_00_11_22_33_44_55_rfcomm0"
    phone = replace(tty, node="bluetooth:00:11:22:33:44:55")
    assert modem_id(phone) == "bluetooth_00_11_22_33_44_55"


@given(st.text(), st.text(), st.text(min_size=1))
def test_an_id_is_always_a_path_element(serial: str, path: str, node: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_]+", modem_id(modem(serial=serial, path=path)))
    assert re.fullmatch(r"[A-Za-z0-9_]+", modem_id(Device("", node, Transport.SOFTWARE)))
