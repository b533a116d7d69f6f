"""Bluetooth controllers that can be unplugged one by one, and the air between them, in which a phone can be far off.

btvirt emulates the controllers; each is joined here to the kernel's /dev/vhci, packet by packet (UART transport,
Bluetooth Core 5.3 volume 4 part A), because of two things that btvirt does not do:

- It knows no distance.  When a controller is `away`, its links are closed and the hosts are told the supervision
  timeout that a real controller tells; who pages it is told the page timeout.
- It mixes up the handles of a controller that has several links, so the data go past it, from one to the other.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

SERVER = "/tmp/bt-server-bredrle"
"""btvirt's socket (btvirt -s) for controllers of both kinds."""

PAGE_S = 1.0
"""How long a page goes unanswered; 5.12 s in life."""

COMMAND, ACL, SCO, EVENT, ISO, VENDOR = 1, 2, 3, 4, 5, 0xFF
CREATE_CONNECTION = b"\x05\x04"
CREATE_CONNECTION_CANCEL = b"\x08\x04"
DISCONNECT = b"\x06\x04"
READ_BD_ADDR = b"\x09\x10"
PAGE_TIMEOUT, SUPERVISION_TIMEOUT, NO_CONNECTION, BY_USER = 0x04, 0x08, 0x02, 0x13


class Air:
    """All controllers by the kernel's names for them, and which are too far off."""

    def __init__(self) -> None:
        self.controllers: dict[str, Controller] = {}
        self.away: set[str] = set()

    async def add(self) -> Controller:
        """Plug a controller in; returns when the kernel has asked for its address."""
        controller = Controller(self)
        self.controllers[controller.name] = controller
        await controller.known.wait()
        return controller

    async def unplug(self, name: str) -> None:
        """Pull it out: its host hears nothing more, those at the other ends of its links that they are lost."""
        controller = self.controllers[name]
        controller.mute = True
        self._part(controller)
        await controller.alone.wait()
        del self.controllers[name]
        controller.close()

    def lose(self, address: str) -> None:
        """Carry that controller away: its links are lost, who pages it waits in vain."""
        self.away.add(address)
        for controller in self.controllers.values():
            if controller.address == address:
                self._part(controller)

    def forget(self, sender: str, receiver: str) -> None:
        """That link is closed: what came over it too early comes too late now."""
        for controller in self.controllers.values():
            if controller.address == receiver:
                controller.early = [(other, packet) for other, packet in controller.early if other != sender]

    def _part(self, controller: Controller) -> None:
        for other in self.controllers.values():
            controller.lose(other.address)
            other.lose(controller.address, close=True)


class Controller:
    """One controller between btvirt and the kernel; `name` is hci0 and the like."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.address = ""
        self.known = asyncio.Event()
        self.alone = asyncio.Event()
        self.alone.set()
        self.mute = False
        self.links: dict[bytes, str] = {}
        self._lost: set[bytes] = set()
        self._unasked = 0
        self._pages: dict[bytes, asyncio.TimerHandle] = {}
        self.early: list[tuple[str, bytes]] = []
        self._loop = asyncio.get_running_loop()
        self._radio = socket.socket(socket.AF_UNIX)
        self._radio.connect(SERVER)
        self._buffer = b""
        self._host = os.open("/dev/vhci", os.O_RDWR | os.O_CLOEXEC)
        os.write(self._host, bytes((VENDOR, 0)))
        self.name = f"hci{int.from_bytes(os.read(self._host, 4)[2:4], 'little')}"
        self._loop.add_reader(self._host, self._from_host)
        self._loop.add_reader(self._radio, self._from_radio)

    def close(self) -> None:
        self._loop.remove_reader(self._host)
        self._loop.remove_reader(self._radio)
        for timer in self._pages.values():
            timer.cancel()
        self._radio.close()
        os.close(self._host)

    def lose(self, peer: str, *, close: bool = False) -> None:
        """The link to that one is lost; of the two ends one has btvirt close it."""
        for handle, address in self.links.items():
            if address == peer:
                self._lost.add(handle)
                if close:
                    self._unasked += 1
                    self._radio.sendall(bytes((COMMAND,)) + DISCONNECT + b"\x03" + handle + bytes((BY_USER,)))

    def _from_host(self) -> None:
        packet = os.read(self._host, 4096)
        opcode, data = packet[1:3], packet[4:]
        if packet[0] == ACL:
            self._send(packet)
        elif packet[0] == COMMAND and opcode == CREATE_CONNECTION and self._unreachable(_address(data[:6])):
            self._tell(0x0F, b"\x00\x01" + opcode)
            self._pages[data[:6]] = self._loop.call_later(PAGE_S, self._unanswered, data[:6], PAGE_TIMEOUT)
        elif packet[0] == COMMAND and opcode == CREATE_CONNECTION_CANCEL and data[:6] in self._pages:
            self._tell(0x0E, b"\x01" + opcode + b"\x00" + data[:6])
            self._pages[data[:6]].cancel()
            self._unanswered(data[:6], NO_CONNECTION)
        else:
            self._radio.sendall(packet)

    def _send(self, packet: bytes) -> None:
        """Data for the other end of a link, which is acknowledged as soon as it is there."""
        handle = bytes((packet[1], packet[2] & 0x0F))
        if handle in self.links:
            address = self.links[handle]
            for controller in self.air.controllers.values():
                if controller.address == address:
                    controller.receive(self.address, packet)
        self._tell(0x13, b"\x01" + handle + b"\x01\x00")

    def receive(self, sender: str, packet: bytes) -> None:
        """Data over the link to `sender`; what btvirt tells of that link comes first."""
        self._hear()
        handle = next((handle for handle, address in self.links.items() if address == sender), None)
        if handle is None:
            self.early.append((sender, packet))
            return
        flags = packet[2] & 0x30 or 0x20  # a first fragment is called another on its way up
        os.write(self._host, bytes((ACL, handle[0], handle[1] | flags)) + packet[3:])

    def _unreachable(self, address: str) -> bool:
        here = {controller.address for controller in self.air.controllers.values()} - self.air.away
        return address not in here or self.address not in here

    def _unanswered(self, peer: bytes, status: int) -> None:
        del self._pages[peer]
        self._tell(0x03, bytes((status, 0, 0)) + peer + b"\x01\x00")

    def _tell(self, event: int, parameters: bytes) -> None:
        os.write(self._host, bytes((EVENT, event, len(parameters))) + parameters)

    def _from_radio(self) -> None:
        if not self._hear():
            self._loop.remove_reader(self._radio)

    def _hear(self) -> bool:
        """Pass on what btvirt has sent; False at its end."""
        try:
            data = self._radio.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        self._buffer += data
        while (length := _length(self._buffer)) and length <= len(self._buffer):
            packet, self._buffer = self._buffer[:length], self._buffer[length:]
            if packet[0] == EVENT:
                packet = self._event(packet)
            if packet and not self.mute:
                os.write(self._host, packet)
        early, self.early = self.early, []
        for sender, packet in early:
            if sender in self.links.values():
                self.receive(sender, packet)
            elif sender not in self.air.away:
                self.early.append((sender, packet))
        return bool(data)

    def _event(self, packet: bytes) -> bytes:
        """Follow the links; gives what the kernel is to hear."""
        event, data = packet[1], packet[3:]
        if event == 0x03 and not data[0]:  # Connection Complete
            self.links[data[1:3]] = _address(data[3:9])
            self.alone.clear()
        elif event == 0x05 and not data[0]:  # Disconnection Complete
            self.air.forget(self.address, self.links.pop(data[1:3], ""))
            if not self.links:
                self.alone.set()
            if data[1:3] in self._lost:
                self._lost.discard(data[1:3])
                return packet[:6] + bytes((SUPERVISION_TIMEOUT,))
        elif event == 0x0E and data[1:3] == READ_BD_ADDR:
            self.address = _address(data[4:10])
            self.known.set()
        elif event == 0x0F and data[2:4] == DISCONNECT and self._unasked:
            self._unasked -= 1
            return b""
        return packet


_HEADERS: dict[int, tuple[int, Callable[[bytes], int]]] = {
    ACL: (5, lambda head: int.from_bytes(head[3:5], "little")),
    SCO: (4, lambda head: head[3]),
    EVENT: (3, lambda head: head[2]),
    ISO: (5, lambda head: int.from_bytes(head[3:5], "little") & 0x3FFF),
}
"""What btvirt sends: the length of the header, and what it says of the rest."""


def _length(buffer: bytes) -> int:
    """The length of the packet at the front; 0 while that is not known."""
    if not buffer:
        return 0
    header, rest = _HEADERS[buffer[0]]
    return header + rest(buffer[:header]) if len(buffer) >= header else 0


def _address(raw: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in reversed(raw))
