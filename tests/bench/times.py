"""How long a user waits: for a modem to be ready, for a call to be answered, for the session on a connected line."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from dialupd.bus.values import MANAGER, MODEM, ROOT
from dialupd.exchange.answers import Caller
from dialupd.exchange.timing import Timing
from tests.bench import peers
from tests.bench.lines import Lines, Tap, found
from tests.bench.programs import Dialupd, Missed
from tests.bench.stage import Stage, answering, beside, entries
from tests.bench.table import Row, median, tail

BRISK = Timing(ring_interval=0.6, connect_time=0.3, dial_time=0.1, answer_delay=0.05)
"""Waits of the network, which are nobody's merit, kept short; a modem's own seconds stay seconds."""

REPLY_DELAY = 0.02
CALLER = "5551234"
RINGS = 2
ECHO = "300"

PPP = """[session.net]
type = "ppp"
[policy.out]
mode = "manual"
session = "net"
"""


async def ready(stage: Stage) -> list[Row]:
    """From a port of which the daemon is told, by a reload that names it, to the modem's state on the bus."""
    return [await _ready(stage, 0.0), await _ready(stage, REPLY_DELAY)]


async def _ready(stage: Stage, delay: float) -> Row:
    faults = [f"slow={delay}"] if delay else []
    ours, commands = [], 0
    with stage.place() as (place, bus):
        async with Lines(BRISK) as lines, Dialupd(place, bus.address, "") as daemon:
            await daemon.present()
            paths: list[str] = []
            for number in range(stage.rounds(30, 5)):
                tap, path = lines.plug(f"1{number:02}", faults=faults)
                paths.append(path)
                daemon.write(entries(paths))
                begun = time.monotonic()
                await daemon.client.call(ROOT, MANAGER, "Reload")
                await daemon.ready(path)
                ours.append(time.monotonic() - begun)
                commands = b"".join(data for _, data in tap.heard).count(b"\r")
            theirs = await beside("wvdialconf", _wvdialconf(stage, place, lines, faults))
    slow = f", each reply {delay * 1e3:.0f} ms late: {commands * delay * 1e3:.0f} ms of waiting" if delay else ""
    return Row(
        f"From a named port to `ready`, {commands} commands{slow}",
        median(ours),
        theirs,
        "a third" if not delay else "–",
        f"{len(ours)}",
    )


async def _wvdialconf(stage: Stage, place: Path, lines: Lines, faults: list[str]) -> str:
    taken, asked = [], 0
    for number in range(stage.rounds(5, 1)):
        tap, path = lines.plug(f"2{number:02}", faults=faults)
        taken.append(await peers.wvdialconf(place, tap, path))
        asked = b"".join(data for _, data in tap.heard).count(b"\r")
    return f"{median(taken)}, {asked} commands, {len(taken)} rounds"


async def ring(stage: Stage) -> list[Row]:
    """From the ring that counts to ATA, both seen at the modem."""
    ours = []
    with stage.place() as (place, bus):
        async with Lines(BRISK) as lines:
            tap, path = lines.plug("100")
            async with Dialupd(place, bus.address, entries([path], "in") + answering(RINGS)) as daemon:
                await daemon.ready(path)
                for _ in range(stage.rounds(30, 5)):
                    taken, rings = await daemon.program.needed("ATA", _answered(lines, tap))
                    if rings != RINGS:
                        raise Missed(f"dialupd answered at ring {rings}, not at ring {RINGS}")
                    ours.append(taken)
                    await tap.says(b"NO CARRIER", 10)  # the caller is no modem
                    await daemon.ready(path)
            theirs = await beside("mgetty", _mgetty(stage, place, lines))
    return [Row(f"RING {RINGS} → ATA on the wire", median(ours), theirs, "no slower", f"{len(ours)}")]


async def _mgetty(stage: Stage, place: Path, lines: Lines) -> str:
    taken = []
    for number in range(stage.rounds(10, 2)):
        tap, path = lines.plug(f"2{number:02}")
        async with peers.mgetty(place, path, RINGS) as program:
            await program.needed("its initialisation", peers.mgetty_waits(tap))
            taken.append((await program.needed("ATA", _answered(lines, tap)))[0])
    return f"{median(taken)}, {len(taken)} rounds"


async def _answered(lines: Lines, tap: Tap) -> tuple[float, int]:
    """Seconds from the last RING to ATA, and which ring that was."""
    tap.forget()
    lines.exchange.ring(tap.modem.number, Caller(CALLER), RINGS + 2)
    answer = await tap.hears(b"ATA\r", 10)
    rings = [when for when, data in tap.said if b"RING" in data and when <= answer]
    return answer - rings[-1], len(rings)


async def session(stage: Stage) -> list[Row]:
    """From CONNECT to the first byte of a program that stands for pppd."""
    ours = []
    with stage.place() as (place, bus):
        peers.fake_pppd(place)
        async with Lines(BRISK) as lines:
            lines.exchange.special(ECHO, "echo")
            taps = [lines.plug(f"1{number:02}") for number in range(stage.rounds(20, 4))]
            config = entries((path for _, path in taps), "out") + PPP
            async with Dialupd(place, bus.address, config) as daemon:
                await daemon.ready(*(path for _, path in taps))
                for tap, path in taps:
                    tap.forget()
                    await daemon.client.call(daemon.paths[path], MODEM, "Dial", "sa{sv}", [ECHO, {}])
                    framed = await daemon.program.needed("pppd", tap.hears(b"~", 20))
                    ours.append(framed - (found(tap.said, b"CONNECT") or 0.0))
            theirs = await beside("wvdial, Stupid Mode", _wvdial(stage, place, lines))
    return [
        Row("CONNECT → first byte of pppd (a shell script in its place)", median(ours), theirs, "–", f"{len(ours)}")
    ]


async def _wvdial(stage: Stage, place: Path, lines: Lines) -> str:
    taken: list[float] = []
    tries = 0
    while len(taken) < stage.rounds(5, 1) and tries < stage.rounds(30, 6):
        tap, path = lines.plug(f"2{tries:02}")
        tries += 1
        if (passed := await peers.wvdial(place, tap, path, ECHO)) is not None:
            taken.append(passed)
    return f"{median(taken)}; {tries - len(taken)} of its {tries} runs aborted"


async def storm(stage: Stage) -> list[Row]:
    """Every modem rings in the same moment, and every call is to be answered."""
    count = stage.rounds(200, 40)
    timing = Timing(ring_interval=6.0, connect_time=1.0, dial_time=1.0)
    with stage.place() as (place, bus):
        async with Lines(timing) as lines:
            taps = [lines.plug(f"1{number:03}") for number in range(count)]
            config = entries((path for _, path in taps), "in") + answering(1)
            async with Dialupd(place, bus.address, config) as daemon:
                await daemon.ready(*(path for _, path in taps))
                ours, connected, reached = await _all_at_once(lines, [tap for tap, _ in taps])
                await daemon.until(
                    f"{connected} calls connected on the bus",
                    lambda: list(daemon.calls.values()).count("connected") == connected,
                )
    theirs = await beside(f"{count} × mgetty", _mgettys(stage, timing, count))
    return [
        Row(
            f"{count} modems ring at once: RING 1 → ATA",
            f"{tail(ours)}; {connected} of {count} connected and on the bus; all answered in {reached}",
            theirs,
            "every call answered",
        )
    ]


async def _mgettys(stage: Stage, timing: Timing, count: int) -> str:
    with stage.place() as (place, _):
        async with Lines(timing) as lines, AsyncExitStack() as stack:
            taps = []
            for number in range(count):
                tap, path = lines.plug(f"1{number:03}")
                taps.append(tap)
                await stack.enter_async_context(peers.mgetty(place, path, 1))
            await asyncio.gather(*map(peers.mgetty_waits, taps))
            taken, connected, reached = await _all_at_once(lines, taps)
    return f"{tail(taken)}; {connected} connected; all answered in {reached}"


async def _all_at_once(lines: Lines, taps: list[Tap]) -> tuple[list[float], int, str]:
    """Latencies, how many were connected, and the time from the first RING to the last ATA."""
    for tap in taps:
        tap.forget()
        caller = lines.caller(f"9{tap.modem.number}")
        caller.received(f"ATDT{tap.modem.number}\r".encode())
    await asyncio.gather(*(tap.says(b"CONNECT", 30) for tap in taps), return_exceptions=True)
    rang = [found(tap.said, b"RING") for tap in taps]
    answered = [found(tap.heard, b"ATA") for tap in taps]
    latencies = [end - begin for begin, end in zip(rang, answered, strict=True) if begin and end]
    connected = sum(found(tap.said, b"CONNECT") is not None for tap in taps)
    whole = max(filter(None, answered), default=0.0) - min(filter(None, rang), default=0.0)
    return latencies, connected, f"{whole * 1e3:.0f} ms"
