"""The voice call that a phone places when a number is dialled and it has no data modem for it.

It rings a person and costs money by the minute, so it is ended at once and by text: a voice call hangs neither on DTR
nor on the line being open.  ATH alone may be answered OK and do nothing (+CVHU=1, 3GPP TS 27.007 section 6.20), or with
ERROR; so the phone is asked for its calls (+CLCC) or its activity (+CPAS) until it says that none is left, and +CHUP
follows where one is.  +CHUP ends a call that the phone's owner has taken too, so it is sent for one of ours alone where
the phone can tell.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from dialupd.at import phone
from dialupd.at.exchange import Reply
from dialupd.at.results import Final
from dialupd.modem import timing
from dialupd.modem.channel import Channel, NoReply
from dialupd.modem.hangup import HangUpFailed

TRIES = 5
"""A network clears a call within a second or two, and some phones list it until then."""


async def end_voice(channel: Channel) -> None:
    """End the voice call that the phone has placed for us, if any; HangUpFailed, PortLost, PortError.

    The phone is in command state.
    """
    async with _dialogue(channel):
        await _end(channel)


async def dialling_failed(channel: Channel) -> None:
    """See that nothing of a dialling goes on that the phone has given up; HangUpFailed, PortLost, PortError.

    Unless it is still placing a voice call no ATH is sent: its owner may be talking.
    """
    async with _dialogue(channel):
        reply = await _say(channel, "AT+CLCC")
        if any(phone.placing_voice(line) for line in reply.information):
            await _end(channel)


async def end_left(channel: Channel, number: str) -> bool:
    """End the voice call to `number` that has outlived the line by which it was placed, and no other; was there one?

    HangUpFailed, PortLost, PortError.
    """
    async with _dialogue(channel):
        reply = await _say(channel, "AT+CLCC")
        left = any(phone.placed_to(line, number) for line in reply.information)
        if left:
            await _end(channel)
        return left


@contextlib.asynccontextmanager
async def _dialogue(channel: Channel) -> AsyncIterator[None]:
    try:
        async with channel.turn(), asyncio.timeout(timing.VOICE_ENDS):
            await _listens(channel)
            yield
    except TimeoutError:
        late = f"it took longer than {timing.VOICE_ENDS:g} s to end it"
        raise HangUpFailed(f"the phone may still be in a voice call: end it on the phone itself ({late})") from None
    except NoReply as error:
        raise HangUpFailed(f"the phone may still be in a voice call: end it on the phone itself ({error})") from None


async def _end(channel: Channel) -> None:
    over = False
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(timing.VOICE_CLEARS)
        # Looked at twice: a phone that said OK too early may list its call, and hear an ATH for it, a moment later.
        if over and await _left(channel) is False:
            return
        before, over = over, await _hung_up(channel)
        if before and over:
            return
    if not over:
        raise HangUpFailed("ATH and AT+CHUP did not end the phone's voice call: end it on the phone itself")


async def _hung_up(channel: Channel) -> bool:
    """Order it, first in the one way and then in the other; is it over, as far as the phone tells?"""
    taken = (await _say(channel, "ATH")).ok
    left = await _left(channel)
    if left is False:
        return True
    taken |= (await _say(channel, "AT+CHUP")).ok
    return taken if left is None else await _left(channel) is False


async def _listens(channel: Channel) -> None:
    """Until it answers: what it has said of the dialling may come late, and is no answer to what is asked here."""
    for _ in range(timing.SYNC_TRIES - 1):
        with contextlib.suppress(NoReply):
            await channel.afresh("ATQ0V1E0", timing.SYNC)
            return
    await channel.afresh("ATQ0V1E0", timing.SYNC)


async def _left(channel: Channel) -> bool | None:
    """Does a voice call that was placed from here go on?  None: the phone does not say."""
    reply = await _say(channel, "AT+CLCC")
    if reply.ok:
        return any(phone.placed_voice(line) for line in reply.information)
    reply = await _say(channel, "AT+CPAS")
    return phone.in_call(reply.information) if reply.ok else None


async def _say(channel: Channel, command: str) -> Reply:
    reply = await channel.afresh(command, timing.HANG_UP_REPLY)
    if reply.result.code not in (Final.OK, Final.ERROR):
        # NO CARRIER, and then OK: that one must not be taken for the answer to what is asked next.
        await asyncio.sleep(timing.DTR_SETTLE)
    return reply
