"""What the daemon costs a machine on which nothing happens, and how fast it answers on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, closing, suppress
from functools import partial

from dialupd.bus.interface import OBJECT_MANAGER, PROPERTIES
from dialupd.bus.values import MODEM, NAME, ROOT
from dialupd.exchange.timing import Timing
from tests.bench import peers
from tests.bench.lines import Lines
from tests.bench.programs import Dialupd, Missed, Program, Usage
from tests.bench.roundtrip import Caller
from tests.bench.stage import Stage, beside, entries
from tests.bench.table import Row, tail

MODEMS = (1, 16, 200)
PEERS_MODEMS = (1, 16)
ALL = (OBJECT_MANAGER, "GetManagedObjects")
GET = (PROPERTIES, "Get", "ss")


async def idle(stage: Stage) -> list[Row]:
    """Wake-ups, CPU time and memory of ready modems; all programs at once, in the same minute."""
    length = float(stage.rounds(60, 10))
    async with AsyncExitStack() as stack:
        lines = await stack.enter_async_context(Lines(Timing()))
        ours = {count: (await _dialupd(stage, stack, lines, count)).program for count in MODEMS}
        theirs: dict[int, Program] = {}
        with suppress(Missed):
            for count in PEERS_MODEMS:
                theirs[count], _ = await _modem_manager(stage, stack, lines, count)
        programs = [*ours.values(), *theirs.values()]
        await asyncio.sleep(2.0)  # what follows the last initialisation, such as threads that are done
        before = {program: Usage.of(program.pid) for program in programs}
        await asyncio.sleep(length)
        after = {program: Usage.of(program.pid) for program in programs}
    spent = {program: _idleness(after[program].since(before[program]), length / 60) for program in programs}
    rows = [
        Row(
            f"Idle, {count} ready: wake-ups and CPU time a minute",
            spent[ours[count]],
            f"ModemManager: {spent[theirs[count]]}" if count in theirs else "–",
            "none of our own",
        )
        for count in MODEMS
    ]
    one, many = ours[1], ours[200]
    further = f"{(after[many].rss - after[one].rss) / 199:.0f} KiB (of 200)"
    resident = more = "–"
    if len(theirs) == len(PEERS_MODEMS):
        resident = f"ModemManager: {_memory(after[theirs[1]])}"
        more = f"ModemManager: {(after[theirs[16]].rss - after[theirs[1]].rss) / 15:.0f} KiB (of 16)"
    return [
        *rows,
        Row("Memory with 1 modem", _memory(after[one]), resident, "RSS ≤ 30 MiB"),
        Row("RSS of each further modem", further, more),
    ]


async def bus(stage: Stage) -> list[Row]:
    """Round trips as a client of the bus sees them."""
    rounds = stage.rounds(1000, 100)
    ours = {count: await _ours(stage, count, rounds) for count in MODEMS}
    theirs = {count: await beside("ModemManager", _theirs(stage, count, rounds)) for count in PEERS_MODEMS}
    names = {count: f"{count} modem{'s' if count > 1 else ''}" for count in MODEMS}
    return [
        *(
            Row(f"GetManagedObjects, {names[count]}", ours[count][0], theirs.get(count, "–"), rounds=str(rounds))
            for count in MODEMS
        ),
        Row(
            "A property of one of 16 modems",
            ours[16][1],
            await beside("ModemManager", _theirs(stage, 16, rounds, "State")),
            rounds=str(rounds),
        ),
    ]


async def _ours(stage: Stage, count: int, rounds: int) -> tuple[str, str]:
    """GetManagedObjects, and one property."""
    async with AsyncExitStack() as stack:
        lines = await stack.enter_async_context(Lines(Timing()))
        daemon = await _dialupd(stage, stack, lines, count)
        with closing(Caller(daemon.bus)) as caller:
            path = next(iter(daemon.paths.values()))
            whole = _measure(partial(caller.time, NAME, ROOT, *ALL), rounds)
            return whole, _measure(partial(caller.time, NAME, path, *GET, (MODEM, "State")), rounds)


async def _theirs(stage: Stage, count: int, rounds: int, name: str = "") -> str:
    """GetManagedObjects, or a property."""
    async with AsyncExitStack() as stack:
        lines = await stack.enter_async_context(Lines(Timing()))
        _, address = await _modem_manager(stage, stack, lines, count)
        with closing(Caller(address)) as caller:
            if name:
                asked = partial(caller.time, peers.MM, peers.MM_MODEM, *GET, (f"{peers.MM}.Modem", name))
            else:
                asked = partial(caller.time, peers.MM, peers.MM_ROOT, *ALL)
            return _measure(asked, rounds)


async def _dialupd(stage: Stage, stack: AsyncExitStack, lines: Lines, count: int) -> Dialupd:
    place, private = stack.enter_context(stage.place())
    paths = [lines.plug(f"{count:03}{number:03}")[1] for number in range(count)]
    daemon = await stack.enter_async_context(Dialupd(place, private.address, entries(paths)))
    await daemon.ready(*paths)
    return daemon


async def _modem_manager(stage: Stage, stack: AsyncExitStack, lines: Lines, count: int) -> tuple[Program, str]:
    place, private = stack.enter_context(stage.place())
    return await stack.enter_async_context(peers.modem_manager(place, private, lines, count)), private.address


def _measure(call: Callable[[], float], rounds: int) -> str:
    for _ in range(10):
        call()
    return tail([call() for _ in range(rounds)])


def _idleness(spent: tuple[int, float], minutes: float) -> str:
    wakeups, cpu = spent
    return f"{wakeups / minutes:.0f} wake-ups, {cpu / minutes * 1e3:.1f} ms"


def _memory(used: Usage) -> str:
    return f"RSS {used.rss / 1024:.1f} MiB, PSS {used.pss / 1024:.1f} MiB"
