"""Which way a call is ended: by the line, as a modem's, or by text, as what a phone may have dialled."""

from __future__ import annotations

import asyncio

from dialupd.io.port import PortError
from dialupd.model import Direction, EndReason
from dialupd.modem import timing
from dialupd.modem.channel import Channel, PortLost
from dialupd.modem.hangup import ABORT, HangUpFailed, hang_up
from dialupd.modem.owner import Modem
from dialupd.modem.steps import Ending
from dialupd.modem.voice import dialling_failed, end_voice


async def line_down(modem: Modem, channel: Channel, ending: Ending) -> None:
    """End the call in progress, on whichever way its line needs; HangUpFailed, PortLost, PortError."""
    port = channel.port
    for last in (False, True):
        try:
            if last or not port.is_open:
                await port.reopen()
            elif channel.handed_over:
                port.take_back()
            channel.resume()
            if ending.reason is EndReason.NO_MODULATOR or (ending.aborting and modem.is_phone):
                await _voice_down(channel, aborting=ending.aborting)
            elif modem.is_phone and ending.in_command_state and _was_dialling(modem):
                await _dialling_down(channel)
            else:
                await hang_up(channel, in_command_state=ending.in_command_state, aborting=ending.aborting)
        except (PortLost, PortError):
            # Carrier went in the same moment: the kernel has hung the port up, and it can be opened again.
            if last or modem.device.on_demand:
                raise
        else:
            return


def _was_dialling(modem: Modem) -> bool:
    call = modem.call
    return call is not None and call.view.direction is Direction.OUTGOING and not call.view.connect_time


async def _dialling_down(channel: Channel) -> None:
    try:
        await dialling_failed(channel)
    except HangUpFailed:
        await hang_up(channel, in_command_state=True, aborting=False)
        await dialling_failed(channel)


async def _voice_down(channel: Channel, *, aborting: bool) -> None:
    """What a phone dials may be a voice call, which the line does not show: it is ended by text, and at once."""
    if not aborting:
        await end_voice(channel)
        return
    channel.send(ABORT)
    await asyncio.sleep(timing.DTR_SETTLE)
    try:
        await end_voice(channel)
    except HangUpFailed:
        # A CONNECT may have come just then, and what is said goes to the far end.
        await hang_up(channel, in_command_state=False, aborting=False)
        await end_voice(channel)
