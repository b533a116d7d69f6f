"""Devices over the real libudev: made-up USB devices by umockdev, and a real overrun of the kernel's event socket."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dialupd.io.udev import Devices, UdevSource
from dialupd.model import Device

ROOT = "/sys/devices/pci0000:00/0000:00:14.0/usb1/"


def test_plugging_and_unplugging_through_libudev() -> None:
    wrapper = shutil.which("umockdev-wrapper")
    if wrapper is None:
        pytest.skip("umockdev is not installed")
    script = Path(__file__).with_name("umockdev_watch.py")
    done = subprocess.run(
        [wrapper, sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(script.parents[2])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modem, bare, gone, again, unplugged, bluetooth, unbound = json.loads(done.stdout)
    assert modem[0] == "present"
    assert modem[2] == "usb_0572_1340_A1b2C3"
    facts = modem[1]
    assert (facts["node"], facts["transport"], facts["driver"]) == ("/dev/ttyACM0", "cdc-acm", "cdc_acm")
    assert (facts["vendor"], facts["product"], facts["interface"]) == ("0572", "1340", "00")
    assert (facts["path"], facts["model"]) == ("pci-0000:00:14.0-usb-0:2:1.0", "USB Modem")
    assert bare[0] == "present"
    assert (bare[1]["node"], bare[1]["sys_path"], bare[1]["vendor"]) == ("", ROOT + "1-3", "0421")
    assert gone == ["gone", ROOT + "1-2/1-2:1.0/tty/ttyACM0"]
    assert again == modem
    assert unplugged == ["gone", ROOT + "1-3"]
    assert bluetooth[0] == "present"
    assert bluetooth[2] == "bluetooth_00_11_22_33_44_55_rfcomm7"
    assert unbound == ["gone", "/sys/class/tty/rfcomm7"], "and nothing was told when the kernel moved it"


def a_tty_with_hardware() -> Path | None:
    """A serial port's uevent file, by which root makes the kernel send an event."""
    for one in sorted(Path("/sys/class/tty").glob("ttyS*")):
        if (one / "type").exists() and (one / "type").read_text().strip() != "0" and os.access(one / "uevent", os.W_OK):
            return one / "uevent"
    return None


def test_an_overrun_of_the_event_socket_ends_in_one_rescan() -> None:
    uevent = a_tty_with_hardware()
    if uevent is None:
        pytest.skip("needs root and a serial port of this machine")

    class Small(UdevSource):
        """Holds a few events only, and counts."""

        enumerations = 0
        received = 0

        def __init__(self) -> None:
            super().__init__()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)

        def receive(self) -> object:  # type: ignore[override]
            event = super().receive()
            if event is None:
                heard.set()
            else:
                self.received += 1
            return event

        def enumerate(self) -> object:  # type: ignore[override]
            self.enumerations += 1
            return super().enumerate()

    heard = asyncio.Event()

    async def scenario() -> None:
        present: list[Device] = []
        try:
            source = Small()
        except (ImportError, OSError) as error:
            pytest.skip(f"no udev events here: {error}")
        devices = Devices(present.append, lambda sys_path: None, lambda: source)
        devices.start()
        known = list(present)
        for _ in range(300):
            os.write(file, b"change")
        async with asyncio.timeout(20):
            await heard.wait()
            assert source.enumerations == 2
            heard.clear()
            before = source.received
            os.write(file, b"change")
            await heard.wait()
        assert source.received == before + 1
        assert source.enumerations == 2
        assert present == known
        devices.stop()

    file = os.open(uevent, os.O_WRONLY)
    try:
        asyncio.run(scenario())
    finally:
        os.close(file)
