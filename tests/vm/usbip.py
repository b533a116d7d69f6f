"""USB devices made of software: URBs of the USB/IP protocol, spoken with the kernel's vhci_hcd over a socket pair.

Runs in the guest.  A device is the `Wire` of a simulated modem: what the modem sends waits for the kernel's bulk-in
URBs, what the kernel writes reaches the modem at once, and for a CDC-ACM device the circuits travel as SERIAL_STATE
notifications and SET_CONTROL_LINE_STATE.  The URB layout is Documentation/usb/usbip_protocol.rst; the descriptors are
USB 2.0 chapter 9 and the CDC PSTN 1.2 tables.

Rules: one answer for each URB, either its completion or that of its unlinking; to unplug is to close the socket; the
modem is never called from within its own call.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from dialupd.exchange.port import Dce

SUBMIT, UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
HEADER = struct.Struct(">IIIIIIiiii8s")
ANSWER = struct.Struct(">IIIIIiiiii8x")
DIRECTION_IN = 1

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
FREE = 4
"""VDEV_ST_NULL in the third column of vhci's status file."""

HIGH_SPEED = 3
BULK_PACKET = 512
NOTES = 16
"""SERIAL_STATE notifications kept while nobody has the port open; older ones are lost, as in a device's own memory."""

DCD, DSR, RI = 0x01, 0x02, 0x08


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface: its class triple, its endpoints (address, type, packet, interval) and class-specific bytes."""

    triple: tuple[int, int, int]
    endpoints: tuple[tuple[int, int, int, int], ...]
    extra: bytes = b""


def bulk_pair(number: int) -> tuple[tuple[int, int, int, int], ...]:
    return ((0x80 | number, 2, BULK_PACKET, 0), (number, 2, BULK_PACKET, 0))


MASS_STORAGE = Interface((0x08, 0x06, 0x50), bulk_pair(4))
"""A disk that answers nothing: whoever binds its interface has made a mistake."""


def configuration(interfaces: Sequence[Interface]) -> bytes:
    body = bytearray()
    for number, interface in enumerate(interfaces):
        body += struct.pack("<9B", 9, 4, number, 0, len(interface.endpoints), *interface.triple, 0)
        body += interface.extra
        for address, kind, packet, interval in interface.endpoints:
            body += struct.pack("<BBBBHB", 7, 5, address, kind, packet, interval)
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), len(interfaces), 1, 0, 0x80, 50) + bytes(body)


@dataclass(frozen=True, slots=True)
class Urb:
    """A transfer of the kernel's: `payload` is what it writes, `length` what it would read."""

    seqnum: int
    length: int
    payload: bytes = b""


class Setup(NamedTuple):
    """The eight bytes of a control request (USB 2.0 table 9-2)."""

    kind: int
    request: int
    value: int
    target: int
    length: int


class UsbDevice(asyncio.Protocol):
    """A device with one serial function: plug it with `attach`, pull it with `detach`."""

    has_circuits = False
    device_class = 0
    bulk = 2

    def __init__(self, vid: int, pid: int, serial: str, dce: Dce, *interfaces: Interface) -> None:
        self.vid, self.pid, self.serial = vid, pid, serial
        self.dce = dce
        self.port = -1
        self._strings = ["", "Lab", "Lab modem", serial]
        self._configuration = configuration(interfaces)
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] | None = None
        self._input = bytearray()
        self._output = bytearray()
        self._waiting: dict[int, deque[Urb]] = {}
        self._held: deque[Urb] = deque()
        self._accepting = True

    # The life of the cable

    async def attach(self, port: int | None = None) -> int:
        """Plug into a port of the emulated hub (a free one by default); gives the port's number."""
        taken = free_port(port)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        loop = asyncio.get_running_loop()
        self._gone = loop.create_future()
        await loop.create_unix_connection(lambda: self, sock=ours)
        with theirs:
            devid = (1 << 16) | (taken + 2)
            (VHCI / "attach").write_text(f"{taken} {theirs.fileno()} {devid} {HIGH_SPEED}\n")
        self.port = taken
        self.dce.attached(self)
        return taken

    async def detach(self) -> None:
        """Pull the plug."""
        if self._transport is not None and self._gone is not None:
            self._transport.abort()
            await self._gone

    @property
    def attached(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.port = -1
        self.dce.detached()
        self.unplugged()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def unplugged(self) -> None:
        """Forget what a device forgets when its power goes."""
        self._input.clear()
        self._output.clear()
        self._waiting.clear()
        self._held.clear()
        self._accepting = True

    # The modem's side

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._output += data
            self.flow()

    def backlog(self) -> int:
        return len(self._output)

    def accept(self, more: bool) -> None:
        self._accepting = more
        if more and self._held:
            asyncio.get_running_loop().call_soon(self._deliver)

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        """A vendor-specific channel shows none."""

    def speed(self) -> int:
        return 0

    # URBs

    def data_received(self, data: bytes) -> None:
        self._input += data
        while len(self._input) >= HEADER.size:
            command, seqnum, _, direction, endpoint, flags, length, *_, setup = HEADER.unpack_from(self._input)
            if command == UNLINK:
                del self._input[: HEADER.size]
                self._unlink(seqnum, victim=flags)
                continue
            end = HEADER.size + (0 if direction == DIRECTION_IN else length)
            if len(self._input) < end:
                return
            urb = Urb(seqnum, length, bytes(self._input[HEADER.size : end]))
            del self._input[:end]
            if endpoint == 0:
                self._request(urb, Setup._make(struct.unpack("<BBHHH", setup)))
            elif direction == DIRECTION_IN:
                self._waiting.setdefault(endpoint, deque()).append(urb)
                self._read()
            elif endpoint == self.bulk:
                self._held.append(urb)
                self._deliver()

    def _request(self, urb: Urb, setup: Setup) -> None:
        answer = self.control(setup, urb.payload)
        if answer is None:
            self.complete(urb, status=-errno.EPIPE)
        else:
            self.complete(urb, answer[: setup.length])

    def _read(self) -> None:
        full = bool(self._output)
        self.flow()
        if full and not self._output:
            self.dce.writable()

    def _deliver(self) -> None:
        while self._accepting and self._held:
            urb = self._held.popleft()
            self.complete(urb)
            self.dce.received(urb.payload)

    def _unlink(self, seqnum: int, victim: int) -> None:
        status = 0  # it was completed before this came
        for queue in (self._held, *self._waiting.values()):
            for urb in queue:
                if urb.seqnum == victim:
                    queue.remove(urb)
                    status = -errno.ECONNRESET
                    break
        self._write(ANSWER.pack(RET_UNLINK, seqnum, 0, 0, 0, status, 0, 0, 0, 0))

    def complete(self, urb: Urb, data: bytes = b"", status: int = 0) -> None:
        length = len(data) or (0 if status else len(urb.payload))
        self._write(ANSWER.pack(RET_SUBMIT, urb.seqnum, 0, 0, 0, status, length, 0, 0, 0) + data)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def flow(self) -> None:
        """Give what waits for the computer to the transfers that wait for it."""
        while self._output and (urb := self.take(self.bulk)):
            self.complete(urb, bytes(self._output[: urb.length]))
            del self._output[: urb.length]

    def take(self, endpoint: int) -> Urb | None:
        """The oldest transfer that waits on an IN endpoint."""
        queue = self._waiting.get(endpoint)
        return queue.popleft() if queue else None

    def control(self, setup: Setup, payload: bytes) -> bytes | None:
        """A request to endpoint 0: the bytes of its answer, or None to stall."""
        match (setup.kind, setup.request):
            case (0x80, 6):
                return self._descriptor(setup.value >> 8, setup.value & 0xFF)
            case (0x80 | 0x81 | 0x82, 0):
                return b"\0\0"
            case (0x00, 9) | (0x01, 11) | (0x00 | 0x01 | 0x02, 1 | 3):
                return b""
            case _:
                return None

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        match kind:
            case 1:
                head = (18, 1, 0x0200, self.device_class, 0, 0, 64, self.vid, self.pid, 0x0100, 1, 2, 3, 1)
                return struct.pack("<BBHBBBBHHHBBBB", *head)
            case 2:
                return self._configuration
            case 3 if index == 0:
                return b"\x04\x03\x09\x04"
            case 3 if index < len(self._strings):
                text = self._strings[index].encode("utf-16-le")
                return bytes((len(text) + 2, 3)) + text
            case _:
                return None


class VendorSerial(UsbDevice):
    """A phone's or a modem's vendor-specific channel: two bulk pipes and nothing that says so."""

    def __init__(self, vid: int, pid: int, serial: str, dce: Dce, *more: Interface) -> None:
        super().__init__(vid, pid, serial, dce, Interface((0xFF, 0xFF, 0xFF), bulk_pair(self.bulk)), *more)


class CdcAcm(UsbDevice):
    """An abstract control model modem, as the V.24 circuits show through it."""

    has_circuits = True
    device_class = 2
    notify_in = 1

    def __init__(self, vid: int, pid: int, serial: str, dce: Dce, *more: Interface) -> None:
        # header, call management, abstract control (line coding and serial state), union
        extra = bytes.fromhex("0524001001 0524010301 04240206 0524060001")
        control = Interface((2, 2, 1), ((0x80 | self.notify_in, 3, 16, 9),), extra)
        data = Interface((10, 0, 0), bulk_pair(self.bulk))
        super().__init__(vid, pid, serial, dce, control, data, *more)
        self.line_coding = struct.pack("<IBBB", 9600, 0, 0, 8)
        self.dtr = self.rts = False
        self._notes: deque[int] = deque(maxlen=NOTES)
        self._shown = 0

    def speed(self) -> int:
        return int.from_bytes(self.line_coding[:4], "little")

    def unplugged(self) -> None:
        super().unplugged()
        self.dtr = self.rts = False
        self._notes.clear()
        self._shown = 0

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        state = DCD * dcd | DSR * dsr | RI * ri
        if state != self._shown:
            self._shown = state
            self._notes.append(state)
            self.flow()

    def flow(self) -> None:
        while self._notes and (urb := self.take(self.notify_in)):
            self.complete(urb, struct.pack("<BBHHHH", 0xA1, 0x20, 0, 0, 2, self._notes.popleft()))
        super().flow()

    def control(self, setup: Setup, payload: bytes) -> bytes | None:
        match (setup.kind, setup.request):
            case (0x21, 0x20):  # SET_LINE_CODING
                self.line_coding = payload
            case (0xA1, 0x21):
                return self.line_coding
            case (0x21, 0x22):  # SET_CONTROL_LINE_STATE
                was, self.dtr, self.rts = self.dtr, bool(setup.value & 1), bool(setup.value & 2)
                if was != self.dtr:
                    self.dce.dtr(self.dtr)
            case (0x21, 0x23):  # SEND_BREAK
                pass
            case _:
                return super().control(setup, payload)
        return b""


def free_port(wanted: int | None) -> int:
    """A high-speed port of the emulated hub that nothing is plugged into; OSError with what is wrong."""
    for line in (VHCI / "status").read_text().splitlines()[1:]:
        hub, port, state, *_ = line.split()
        if hub == "hs" and int(state) == FREE and wanted in (None, int(port)):
            return int(port)
    raise OSError(errno.EBUSY, f"vhci_hcd has no free port (wanted: {'any' if wanted is None else wanted})")
