"""What a user would run instead: wvdialconf, wvdial, mgetty and ModemManager, each as its users run it.

They take no bus of ours and no list of ports, so each gets what it looks for: wvdialconf a /dev/ttyACM0, ModemManager a
profile of its own test interface whose port is an abstract socket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from dbus_next import Message, MessageType
from dbus_next.aio import MessageBus

from dialupd.exchange.modem import SimModem
from tests.bench.lines import Deaf, Lines, Tap, found
from tests.bench.programs import Missed, Program
from tests.sim.private_bus import PrivateBus

FAKE_PPPD = "#!/bin/sh\nprintf '~'\nexec sleep 1\n"
"""In the place of pppd where the time until its start is wanted: its first byte is the flag of a frame."""

SCANNED = Path("/dev/ttyACM0")
"""A name that wvdialconf looks for."""

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
MM = "org.freedesktop.ModemManager1"
MM_ROOT = "/org/freedesktop/ModemManager1"
MM_MODEM = f"{MM_ROOT}/Modem/0"


async def wvdialconf(place: Path, tap: Tap, path: str) -> float:
    """Seconds from its first byte to the modem's last answer; what it does with other ports does not count."""
    with _scanned(path):
        async with Program("wvdialconf", ["wvdialconf", str(place / "wvdial.conf")], place) as program:
            status = await program.wait()
    if status or not tap.heard:
        raise Missed(f"wvdialconf ended with {status}\n{program.said()}")
    return tap.said[-1][0] - tap.heard[0][0]


@contextlib.contextmanager
def _scanned(path: str) -> Iterator[None]:
    try:
        SCANNED.symlink_to(path)
    except FileExistsError:
        raise Missed(f"{SCANNED} is there already and would be probed in the place of the simulated modem") from None
    except PermissionError:
        raise Missed("it looks into /dev only, where only root can put a port") from None
    try:
        yield
    finally:
        SCANNED.unlink()


def fake_pppd(place: Path) -> Path:
    """Puts it into the place's own directory of programs."""
    program = place / "bin" / "pppd"
    program.parent.mkdir(exist_ok=True)
    program.write_text(FAKE_PPPD)
    program.chmod(0o755)
    return program


async def wvdial(place: Path, tap: Tap, path: str, number: str) -> float | None:
    """Seconds from CONNECT to pppd's first byte; None when wvdial aborted, as it often does.

    Stupid Mode, which waits for no prompt, is its shortest way.
    """
    config = place / "wvdial.conf"
    config.write_text(
        f"[Dialer Defaults]\nModem = {path}\nBaud = 115200\nInit1 = ATZ\nPhone = {number}\nUsername = u\nPassword = p\n"
        f"Stupid Mode = on\nCarrier Check = off\nPPPD Path = {fake_pppd(place)}\n"
    )
    async with Program("wvdial", ["wvdial", "--config", str(config)], place) as program:
        ended = asyncio.create_task(program.wait())
        framed = asyncio.create_task(tap.hears(b"~", 60))
        done, waiting = await asyncio.wait({ended, framed}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        connected = found(tap.said, b"CONNECT")
        if framed not in done or connected is None:
            return None
        return framed.result() - connected


def mgetty(place: Path, path: str, rings: int) -> Program:
    """mgetty for data calls, with the caller's number as it takes it by default."""
    name = path.removeprefix("/dev/")
    argv = ["mgetty", "-D", "-n", str(rings), "-x", "0", "-s", "115200", name]
    return Program(f"mgetty-{name.replace('/', '-')}", argv, place)


async def mgetty_waits(tap: Tap) -> None:
    """Until its last initialisation has been answered, and what it then does not listen to is over."""
    await tap.hears(b"ATQ0V1H0", 60)
    await tap.until(lambda tap: b"".join(data for _, data in tap.said).count(b"OK") >= 2, 60)
    await asyncio.sleep(1.0)  # it throws away what comes until the line has been quiet for 0.3 s; nothing tells that


class _Socket(Deaf):
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)


async def _serve(modem: SimModem, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    modem.attached(_Socket(writer))
    while data := await reader.read(4096):
        modem.received(data)
    modem.detached()
    writer.close()


@contextlib.asynccontextmanager
async def modem_manager(place: Path, bus: PrivateBus, lines: Lines, count: int) -> AsyncIterator[Program]:
    """ModemManager with that many mobile phones, which it has taken up; it knows no other modems."""
    options = ("--test-session", "--test-enable", "--test-no-udev", "--test-no-suspend-resume", "--no-auto-scan")
    program = Program("ModemManager", ["ModemManager", *options], place, bus.environment())
    async with AsyncExitStack() as stack:
        names = []
        for number in range(count):
            name = f"abstract:{place.name}-{number}"
            modem = lines.exchange.modem(f"7{count:03}{number:03}", kind="nokia")
            server = await asyncio.start_unix_server(
                lambda reader, writer, modem=modem: _serve(modem, reader, writer), "\0" + name
            )
            stack.callback(server.close)
            names.append(name)
        await stack.enter_async_context(program)
        client = await MessageBus(bus.address).connect()
        stack.callback(client.disconnect)
        await _taken_up(client, names, program)
        yield program


async def _taken_up(client: MessageBus, names: list[str], program: Program) -> None:
    exported: set[str] = set()
    changed = asyncio.Event()

    def hear(message: Message) -> None:
        if message.member == "InterfacesAdded":
            exported.add(message.body[0])
        changed.set()

    client.add_message_handler(hear)
    for rule in (f"type='signal',sender='{MM}'", f"type='signal',member='NameOwnerChanged',arg0='{MM}'"):
        await _ask(client, *BUS, "AddMatch", "s", [rule])
    try:
        async with asyncio.timeout(60):
            while True:
                changed.clear()
                (owned,) = await _ask(client, *BUS, "NameHasOwner", "s", [MM])
                if owned:
                    break
                await changed.wait()
            for number, name in enumerate(names):
                profile = [f"bench{number}", "generic", [name]]
                await _ask(client, MM, MM_ROOT, f"{MM}.Test", "SetProfile", "ssas", profile)
            while sum(path.startswith(f"{MM_ROOT}/Modem/") for path in exported) < len(names):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        raise Missed(f"ModemManager did not take its modems up; it says\n{program.said()}") from None


async def _ask(
    client: MessageBus, name: str, path: str, interface: str, member: str, signature: str, body: list[object]
) -> list[object]:
    call = Message(destination=name, path=path, interface=interface, member=member, signature=signature, body=body)
    reply = await client.call(call)
    if reply is None or reply.message_type is MessageType.ERROR:
        raise Missed(f"{name} refuses {member}: {reply.body if reply else 'no answer'}")
    return list(reply.body)
