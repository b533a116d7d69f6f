"""Waiting with something in mind: what an idle modem's owner does beside listening for a ring.

A user is to be called back once the line has rested, or a first call has announced a second one (ring-back).  A line
that is opened on demand is closed when nobody has used it for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Never

from dialupd.model import DialupError, ModemState
from dialupd.modem import requests
from dialupd.modem.channel import Channel
from dialupd.modem.owner import Modem
from dialupd.modem.ready import for_ever
from dialupd.modem.steps import Step
from dialupd.states import IDLE, ModemEvent


async def calling_back(modem: Modem) -> Step | None:
    """Call the user back who is to be called, once the line has rested; None: nobody is."""
    now = asyncio.get_running_loop().time()
    pause, wish = modem.call_backs.pause(now), modem.call_backs.wish
    if pause is None or wish is None:
        return None
    due = modem.host.now() + int(pause * 1e6)
    modem.show(replace(modem.view, attempts=wish.tries, next_attempt=due))
    if modem.state is ModemState.READY:  # else the reason tells why it is blocked
        modem.show(replace(modem.view, state_reason=f"{wish.user} is to be called back"))
    await asyncio.sleep(pause)
    try:
        requests.begin_call_back(modem, wish)
    except DialupError as error:
        modem.call_backs.cancel(str(error))
        modem.show(replace(modem.view, attempts=0, next_attempt=0))
        if modem.state is ModemState.READY:
            modem.show(replace(modem.view, state_reason=f"{wish.user} is not called back: {error}"))
        return None
    modem.call_backs.begun(asyncio.get_running_loop().time())
    return Step(ModemEvent.DIAL, f"{wish.user} is called back")


async def between_calls(modem: Modem) -> Never:
    """Nothing is dialled; a second call is awaited for a while where a first one has announced it."""
    loop = asyncio.get_running_loop()
    first = modem.first_call
    if first is not None:
        await asyncio.sleep(max(0.0, first.until - loop.time()))
        modem.first_call = None
        modem.show(replace(modem.view, state_reason="no second call has come"))
    await for_ever()


@contextlib.asynccontextmanager
async def quiet(modem: Modem) -> AsyncIterator[None]:
    """Within the block, close a line that is opened on demand once it has been of no use for so long."""
    channel = modem.channel
    if channel is None:
        yield
        return
    closing = asyncio.create_task(_close_when_quiet(modem, channel), name=f"{modem.id}: quiet")
    try:
        yield
    finally:
        closing.cancel()


async def _close_when_quiet(modem: Modem, channel: Channel) -> None:
    while True:
        async with channel.turn():  # not while a person's command has it
            if modem.state not in IDLE:  # a call has begun just now
                return
            left = modem.used_at + modem.entry.disconnect_after - asyncio.get_running_loop().time()
            if left <= 0:
                modem.rest()
                return
        await asyncio.sleep(left)
