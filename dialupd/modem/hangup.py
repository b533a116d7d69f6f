"""From whatever state a line is in back to command state.

The ladder, each step only when the one before did not help: abort what is being dialled; drop DTR (with &D2 the modem
hangs up); the escape sequence between two guard times, then ATH; close the port and open it again.  A port without
modem lines has no DTR to drop, so there the escape sequence is what ends a call.
"""

from __future__ import annotations

import asyncio
import logging

from dialupd.modem import timing
from dialupd.modem.channel import Channel, NoReply

log = logging.getLogger(__name__)

ABORT = b"\r"
"""Any character aborts dialling and answering (V.250 section 5.6.1); a CR alone is also harmless as a command."""


class HangUpFailed(Exception):
    """The modem cannot be brought back to command state."""


async def hang_up(channel: Channel, *, in_command_state: bool, aborting: bool) -> None:
    """End whatever goes on; returns when the modem has answered a command. HangUpFailed, PortLost, PortError.

    `in_command_state`: the modem has said so itself (NO CARRIER, or a failed dialling), so ATH is tried first.
    `aborting`: a dialling or answering command was given up.
    """
    port = channel.port
    port.carrier_watch(False)
    if aborting:
        channel.send(ABORT)
        await asyncio.sleep(timing.DTR_SETTLE)
    if in_command_state and await _on_hook(channel):
        return
    if port.has_lines:
        port.set_dtr(False)
        await asyncio.sleep(timing.DTR_DOWN)
        port.set_dtr(True)
        await asyncio.sleep(timing.DTR_SETTLE)
        lines = port.lines()
        if (lines is None or not lines.dcd) and await _on_hook(channel):
            return
    elif aborting and await _on_hook(channel):
        return
    for attempt in range(2):
        await escape(channel)
        if await _on_hook(channel):
            return
        if attempt == 0:
            log.info("%s: neither DTR nor the escape sequence ended the call; opening the port anew", port.path)
            await port.reopen()
            channel.resume()
    raise HangUpFailed("the modem stays in data mode: DTR, +++ and ATH did not end the call; cut its power")


async def escape(channel: Channel) -> None:
    """The escape sequence with its guard times; what the modem says to it is thrown away."""
    await asyncio.sleep(timing.GUARD)
    channel.send(b"+++")
    await asyncio.sleep(timing.GUARD)
    channel.flush()


async def _on_hook(channel: Channel) -> bool:
    """Does the modem answer ATH?  One that hangs up slowly keeps us for HANG_UP_REPLY; one in data mode for SYNC."""
    try:
        await channel.afresh("ATQ0V1E0", timing.SYNC)
        reply = await channel.command("ATH", timing.HANG_UP_REPLY)
    except NoReply:
        return False
    lines = channel.port.lines()
    return reply.ok and not (lines is not None and lines.dcd)
