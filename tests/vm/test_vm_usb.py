"""The emulated USB devices against the kernel's own drivers: what the other tests stand on.

The tests share one guest; each begins with an empty hub.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.guest import Guest
from tests.vm.lab import Plug, hold

ASK = """
import serial
with serial.Serial({node!r}, 115200, timeout=5) as port:
    port.write(b"AT\\r")
    print(port.read_until(b"OK\\r\\n"))
"""


@pytest.fixture(autouse=True)
def empty(common: Guest, bench: Plug) -> Iterator[None]:
    yield
    bench("clear")
    common.until("! ls /dev/ttyACM* /dev/ttyUSB* 2>/dev/null")


def test_a_cdc_acm_modem_answers(common: Guest, bench: Plug) -> None:
    bench.conexant("A1")
    common.until("test -c /dev/ttyACM0")
    assert common.python(ASK.format(node="/dev/ttyACM0")) == r"b'\r\nOK\r\n'" + "\n"
    common.run("udevadm settle")
    properties = common.run("udevadm info -q property -n /dev/ttyACM0").out.splitlines()
    assert {"ID_VENDOR_ID=0572", "ID_MODEL_ID=1340", "ID_SERIAL_SHORT=A1", "ID_BUS=usb"} <= set(properties)


def test_dtr_follows_the_port_and_the_rate_is_seen(common: Guest, bench: Plug) -> None:
    bench.conexant("A1")
    common.until("test -c /dev/ttyACM0")
    common.python(ASK.format(node="/dev/ttyACM0"))
    state = bench("show A1")
    assert state["dtr_changes"] == [True, False]
    assert bytes.fromhex(state["line_coding"])[:4] == (115200).to_bytes(4, "little")
    assert state["seen"] == "AT\r"


def test_carrier_and_ring_reach_the_computer(common: Guest, bench: Plug) -> None:
    bench.conexant("A1")
    common.until("test -c /dev/ttyACM0")
    common.write(
        "/tmp/watch.py",
        """
import fcntl, os, struct, termios
fd = os.open("/dev/ttyACM0", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
TIOCMIWAIT, TIOCGICOUNT = 0x545C, 0x545D
CD, RNG, DSR = 0x40, 0x80, 0x100
open("/tmp/open", "w").close()
for wanted in (RNG, CD, CD):
    fcntl.ioctl(fd, TIOCMIWAIT, wanted)
    lines = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCMGET, b"1234"))[0]
    counts = struct.unpack("20i", fcntl.ioctl(fd, TIOCGICOUNT, bytes(80)))
    print(wanted, bool(lines & CD), bool(lines & DSR), counts[2], counts[3], flush=True)
""",
    )
    pid = common.spawn("watch", "python3 /tmp/watch.py")
    common.until("test -e /tmp/open")
    for count, words in enumerate(("--ri --dsr", "--dcd --dsr", "--dsr"), start=1):
        bench(f"circuits A1 {words}")
        common.until(f"test $(wc -l < /var/log/lab-watch.log) -eq {count}")
    assert common.wait(pid, 10) == 0
    lines = [line.split() for line in common.read("/var/log/lab-watch.log").splitlines()]
    assert [line[:3] for line in lines] == [
        ["128", "False", "True"],
        ["64", "True", "True"],
        ["64", "False", "True"],
    ]
    assert [int(line[4]) for line in lines] == [0, 1, 2], "carrier changes counted by the driver"
    assert int(lines[0][3]) == 1, "a ring counted by the driver"


def test_pulled_while_open_and_plugged_in_again_under_another_number(common: Guest, bench: Plug) -> None:
    bench.conexant("A1")
    common.until("test -c /dev/ttyACM0")
    holder = hold(common, "/dev/ttyACM0")
    bench("unplug A1")
    common.until("grep -q ended /var/log/lab-holder.log && ! test -e /dev/ttyACM0")
    bench("replug A1")
    common.until("test -c /dev/ttyACM1")
    assert common.run("test -e /dev/ttyACM0", check=False).rc != 0
    common.run(f"kill {holder}")
    assert common.wait(holder, 10) == -15
    bench("replug A1")
    common.until("test -c /dev/ttyACM0")


def test_a_vendor_specific_channel_needs_the_generic_driver(common: Guest, bench: Plug) -> None:
    bench.add("0421", "0405", "N1", "--kind vendor")
    bench.add("0421", "0406", "N2", "--kind vendor")
    common.until("grep -lx 0406 /sys/bus/usb/devices/*/idProduct")
    common.run("udevadm settle")
    assert bench("show N1")["nodes"] == []
    common.run("modprobe usbserial vendor=0x0421 product=0x0405")
    common.until("test -c /dev/ttyUSB0")
    assert bench("show N1")["nodes"] == ["ttyUSB0"]
    common.run("echo 0421 0406 > /sys/bus/usb-serial/drivers/generic/new_id")
    common.until("test -c /dev/ttyUSB1")
    assert "OK" in common.python(ASK.format(node="/dev/ttyUSB1"))
    assert bench("show N2")["seen"] == "AT\r"


def test_nothing_claims_the_disk_of_a_composite_device(common: Guest, bench: Plug) -> None:
    bench.add("0421", "0407", "H1", "--kind vendor --disk")
    common.until("grep -lx 0407 /sys/bus/usb/devices/*/idProduct")
    common.run("udevadm settle")
    device = bench("show H1")["sysfs"]
    classes = common.run(f"cat {device}/*:*/bInterfaceClass").out.split()
    assert classes == ["ff", "08"]
    assert common.run(f"ls -d {device}/*:*/driver", check=False).rc != 0


def test_a_mebibyte_each_way_arrives_whole(common: Guest, bench: Plug) -> None:
    bench.conexant("A1", "--loop")
    common.until("test -c /dev/ttyACM0")
    out = common.python(
        """
        import hashlib, os, serial, threading
        data = os.urandom(1 << 20)
        with serial.Serial("/dev/ttyACM0", 115200, timeout=20) as port:
            writer = threading.Thread(target=port.write, args=(data,))
            writer.start()
            back = port.read(len(data))
            writer.join()
        print(hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), len(back))
        """,
        timeout=60,
    )
    assert out == f"True {1 << 20}\n"
