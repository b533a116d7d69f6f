"""Waiting with something in mind: what an idle modem's owner does beside listening for a ring.

A user is to be called back once the line has rested, or a first call has announced a second one (ring-back).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Never

from dialupd.model import DialupError, ModemState
from dialupd.modem import requests
from dialupd.modem.owner import Modem, Step
from dialupd.modem.ready import for_ever
from dialupd.states import ModemEvent


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
