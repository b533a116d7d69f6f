"""The lab's hands: plugs emulated USB modems in and pulls them out, on commands over a unix socket.

Runs in the guest as `python3 -m tests.vm.plug serve`; the other words of the command line are its client.  Every
device has a simulated modem behind it: one of the simulated telephone exchange when it gets a number, or else a plain
`Probe` whose circuits the test sets and reads.  A device keeps its modem while it is unplugged.

Rules: one JSON object a line each way; an operation is answered when it is done, an error is {"error": text}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from dialupd.exchange.answers import Caller
from dialupd.exchange.exchange import Exchange
from dialupd.exchange.kinds import KINDS
from dialupd.exchange.modem import SimModem
from dialupd.exchange.port import Dce, Wire
from dialupd.exchange.stations import SPECIAL
from dialupd.exchange.timing import Timing
from tests.vm.usbip import MASS_STORAGE, VHCI, CdcAcm, UsbDevice, VendorSerial

SOCKET = Path("/run/lab-plug")


class Probe:
    """The smallest modem: answers OK to every line, echoes nothing, and remembers what it saw."""

    def __init__(self) -> None:
        self.wire: Wire | None = None
        self.seen = bytearray()
        self.dtr_changes: list[bool] = []
        self._line = bytearray()

    def attached(self, wire: Wire) -> None:
        self.wire = wire

    def detached(self) -> None:
        self.wire = None
        self._line.clear()

    def received(self, data: bytes) -> None:
        self.seen += data
        self._line += data
        *lines, rest = bytes(self._line).split(b"\r")
        self._line[:] = rest
        if self.wire is not None:
            for _ in lines:
                self.wire.send(b"\r\nOK\r\n")

    def dtr(self, up: bool) -> None:
        self.dtr_changes.append(up)

    def writable(self) -> None:
        pass


class Loop:
    """A plug that gives back what it gets, holding the computer back as a modem with a full buffer does."""

    MARK = 8192

    def __init__(self) -> None:
        self._wire: Wire | None = None

    def attached(self, wire: Wire) -> None:
        self._wire = wire

    def detached(self) -> None:
        self._wire = None

    def received(self, data: bytes) -> None:
        if self._wire is not None:
            self._wire.send(data)
            self._wire.accept(self._wire.backlog() < self.MARK)

    def dtr(self, up: bool) -> None:
        pass

    def writable(self) -> None:
        if self._wire is not None:
            self._wire.accept(True)


TIMING = Timing(ring_interval=1.5, connect_time=0.3, dial_time=0.2, answer_delay=0.2)
"""A quick network with real seconds of the modem's own: guard times and S7 are what a daemon counts on."""


class Bench:
    """The devices by name, and the exchange that they share."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._devices: dict[str, UsbDevice] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "add": self._add,
            "unplug": self._unplug,
            "replug": self._replug,
            "clear": self._clear,
            "circuits": self._circuits,
            "show": self._show,
            "service": self._service,
            "ring": self._ring,
            "cut": self._cut,
            "fault": self._fault,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    request = json.loads(line)
                    answer = await self._operations[request["op"]](request)
                except (KeyError, ValueError, OSError) as error:
                    answer = {"error": repr(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async def _add(self, request: dict[str, Any]) -> dict[str, Any]:
        kinds = {"cdc": CdcAcm, "vendor": VendorSerial}
        vid, pid = int(request["vid"], 16), int(request["pid"], 16)
        more = [MASS_STORAGE] if request.get("disk") else []
        name = request["name"]
        if name in self._devices:
            raise ValueError(f"there is a device {name} already: replug it")
        device = kinds[request["kind"]](vid, pid, request["serial"], self._dce(request), *more)
        await device.attach(request.get("port"))
        self._devices[name] = device
        return self._state(device)

    def _dce(self, request: dict[str, Any]) -> Dce:
        if request["number"]:
            return self._exchange.modem(request["number"], kind=request["make"], faults=request["fault"])
        return Loop() if request["loop"] else Probe()

    async def _unplug(self, request: dict[str, Any]) -> dict[str, Any]:
        device = self._devices[request["name"]]
        await device.detach()
        return self._state(device)

    async def _replug(self, request: dict[str, Any]) -> dict[str, Any]:
        device = self._devices[request["name"]]
        await device.detach()
        await device.attach(request.get("port"))
        return self._state(device)

    async def _clear(self, request: dict[str, Any]) -> dict[str, Any]:
        """Pull everything out for good; numbers stay given."""
        for device in self._devices.values():
            await device.detach()
        self._devices.clear()
        return {}

    async def _circuits(self, request: dict[str, Any]) -> dict[str, Any]:
        device = self._devices[request["name"]]
        device.circuits(dcd=request["dcd"], ri=request["ri"], dsr=request["dsr"], cts=True)
        return self._state(device)

    async def _show(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._state(self._devices[request["name"]])

    async def _service(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["command"]:
            self._exchange.service(request["number"], shlex.split(request["command"]))
        else:
            self._exchange.special(request["number"], request["what"])
        return {}

    async def _ring(self, request: dict[str, Any]) -> dict[str, Any]:
        self._exchange.ring(request["number"], Caller(request["caller"], ""), request["rings"])
        return {}

    async def _cut(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self._modem(request).lose_carrier():
            raise ValueError(f"{request['name']} has no call")
        return {}

    async def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        self._modem(request).set_faults(request["faults"])
        return {}

    def _modem(self, request: dict[str, Any]) -> SimModem:
        dce = self._devices[request["name"]].dce
        if not isinstance(dce, SimModem):
            raise ValueError(f"{request['name']} has no number")
        return dce

    def _state(self, device: UsbDevice) -> dict[str, Any]:
        state: dict[str, Any] = {"port": device.port, "attached": device.attached, "sysfs": "", "nodes": []}
        if device.attached:
            state["sysfs"], state["nodes"] = kernel_view(device.port)
        if isinstance(device, CdcAcm):
            state |= {"dtr": device.dtr, "rts": device.rts, "line_coding": device.line_coding.hex()}
        if isinstance(device.dce, Probe):
            state |= {"seen": device.dce.seen.decode("latin-1"), "dtr_changes": device.dce.dtr_changes}
        if isinstance(device.dce, SimModem):
            settings = {name: device.dce.settings.extended(name) for name in device.dce.kind.extended}
            state |= {"state": device.dce.state.value, "peer": device.dce.peer, "settings": settings}
        return state


def kernel_view(port: int) -> tuple[str, list[str]]:
    """The device's directory in sysfs ("" until it is enumerated) and the names of its ttys."""
    for hub in VHCI.glob("usb[0-9]*"):
        if (hub / "speed").read_text().strip() == "480":
            device = hub / f"{hub.name.removeprefix('usb')}-{port + 1}"
            if device.exists():
                nodes = [*device.glob("*/tty/tty*"), *device.glob("*/ttyUSB*")]
                return str(device), sorted(node.name for node in nodes)
    return "", []


async def serve(line_rate: int) -> None:
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(message)s")
    async with Exchange(timing=TIMING, line_rate=line_rate) as exchange:
        server = await asyncio.start_unix_server(Bench(exchange).serve, SOCKET)
        async with server:
            await server.serve_forever()


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """The client's side; the server must run."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(SOCKET))
        with client.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            answer: dict[str, Any] = json.loads(stream.readline())
            return answer


def parse(words: Sequence[str]) -> dict[str, Any]:
    """A request from the words of a command line."""
    parser = argparse.ArgumentParser(prog="plug")
    kinds = parser.add_subparsers(dest="op", required=True)
    kinds.add_parser("clear")
    kinds.add_parser("serve").add_argument("--line-rate", type=int, default=0, help="bit/s; 0 is without a pace")
    add = kinds.add_parser("add")
    add.add_argument("--kind", choices=("cdc", "vendor"), default="cdc")
    for option in ("--vid", "--pid", "--serial"):
        add.add_argument(option, required=True)
    add.add_argument("--number", default="")
    add.add_argument("--fault", action="append", default=[])
    add.add_argument("--make", choices=sorted(KINDS), default="conexant")
    for flag in ("--disk", "--loop"):
        add.add_argument(flag, action="store_true")
    add.add_argument("--port", type=int)
    for word in ("unplug", "replug", "circuits", "show", "cut", "fault"):
        kinds.add_parser(word).add_argument("name")
    kinds.choices["replug"].add_argument("--port", type=int)
    kinds.choices["fault"].add_argument("faults", nargs="*")
    service = kinds.add_parser("service")
    service.add_argument("number")
    service.add_argument("what", nargs="?", choices=sorted(SPECIAL), default="echo")
    service.add_argument("--command", default="")
    ring = kinds.add_parser("ring")
    ring.add_argument("number")
    ring.add_argument("--caller", default="")
    ring.add_argument("--rings", type=int, default=3)
    for circuit in ("--dcd", "--ri", "--dsr"):
        kinds.choices["circuits"].add_argument(circuit, action="store_true")
    request = vars(parser.parse_args(words))
    if request["op"] == "add":
        request["name"] = request["serial"]
    return request


def main() -> int:
    request = parse(sys.argv[1:])
    if request["op"] == "serve":
        SOCKET.unlink(missing_ok=True)
        asyncio.run(serve(request["line_rate"]))
        return 0
    answer = ask(request)
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
