"""Run under umockdev-wrapper: plugs made-up USB modems into the real libudev and prints what Devices tells.

libumockdev is called directly, so no GObject introspection is needed.  Prints one JSON list.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import json

from dialupd.io.udev import Devices, modem_id
from dialupd.model import Device

MODEM = """P: /devices/pci0000:00/0000:00:14.0/usb1/1-2
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
E: DRIVER=usb
A: idVendor=0572\\n
A: idProduct=1340\\n
A: serial=A1b2C3\\n
A: bDeviceClass=02\\n
A: product=USB Modem\\n

P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0
E: DEVTYPE=usb_interface
E: SUBSYSTEM=usb
E: DRIVER=cdc_acm
A: bInterfaceClass=02\\n
A: bInterfaceNumber=00\\n
L: driver=../../../../../../bus/usb/drivers/cdc_acm

P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/tty/ttyACM0
N: ttyACM0
E: DEVNAME=/dev/ttyACM0
E: SUBSYSTEM=tty
E: ID_PATH=pci-0000:00:14.0-usb-0:2:1.0
"""

BARE = """P: /devices/pci0000:00/0000:00:14.0/usb1/1-3
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
A: idVendor=0421\\n
A: idProduct=0405\\n
A: bDeviceClass=00\\n

P: /devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0
E: DEVTYPE=usb_interface
E: SUBSYSTEM=usb
A: bInterfaceClass=ff\\n
A: bInterfaceNumber=00\\n
"""

# A Bluetooth tty, as it is bound; and the same one once its link is up.
BOUND, LINKED = "/devices/virtual/tty/rfcomm7", "/devices/virtual/bluetooth/hci0/hci0:42/tty/rfcomm7"
RFCOMM = """P: {}
N: rfcomm7
E: DEVNAME=/dev/rfcomm7
E: SUBSYSTEM=tty
A: address=00:11:22:33:44:55\\n
A: channel=1\\n
"""

ROOT = "/sys/devices/pci0000:00/0000:00:14.0/usb1/"
PATIENCE = 20.0

lib = ctypes.CDLL("libumockdev.so.0")
lib.umockdev_testbed_new.restype = ctypes.c_void_p
lib.umockdev_testbed_add_from_string.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
lib.umockdev_testbed_uevent.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
lib.umockdev_testbed_remove_device.argtypes = [ctypes.c_void_p, ctypes.c_char_p]


async def main() -> list[object]:
    told: asyncio.Queue[object] = asyncio.Queue()
    heard: list[object] = []
    bed = lib.umockdev_testbed_new()

    def add(text: str) -> None:
        if not lib.umockdev_testbed_add_from_string(bed, text.encode(), None):
            raise RuntimeError("umockdev does not take the device")

    def event(path: str, action: str) -> None:
        lib.umockdev_testbed_uevent(bed, (path if path.startswith("/") else ROOT + path).encode(), action.encode())

    async def hear() -> None:
        async with asyncio.timeout(PATIENCE):
            heard.append(await told.get())

    def present(device: Device) -> None:
        told.put_nowait(["present", dataclasses.asdict(device), modem_id(device)])

    add(MODEM)
    devices = Devices(present, lambda sys_path: told.put_nowait(["gone", sys_path]))
    devices.start()
    await hear()
    add(BARE)
    event("1-3", "bind")
    await hear()
    event("1-2/1-2:1.0/tty/ttyACM0", "remove")
    await hear()
    event("1-2/1-2:1.0/tty/ttyACM0", "add")
    await hear()
    lib.umockdev_testbed_remove_device(bed, (ROOT + "1-3").encode())
    devices.rescan()
    while len(heard) < 5:
        await hear()
    add(RFCOMM.format(BOUND))
    event("/sys" + BOUND, "add")
    await hear()
    lib.umockdev_testbed_remove_device(bed, f"/sys{BOUND}".encode())
    add(RFCOMM.format(LINKED).replace("N: rfcomm7\n", ""))  # the node is there
    event("/sys" + LINKED, "move")
    event("/sys" + LINKED, "remove")
    await hear()
    devices.stop()
    return heard


print(json.dumps(asyncio.run(main())))
