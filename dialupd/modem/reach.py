"""Whether a modem can be reached: what follows when its line is lost, or when there is news of the radio to it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from dialupd.io.port import Lost
from dialupd.model import EndReason, ModemState
from dialupd.modem import timing
from dialupd.modem.owner import Modem
from dialupd.states import IDLE, ModemEvent, allows

OUT_OF_RANGE = "the phone went out of range, or its Bluetooth was switched off"
CLOSED = "the phone closed the connection"
UNSURE = "see on the phone itself that no call goes on"


def port_lost(modem: Modem, lost: Lost) -> None:
    """The port says so; a call's end is told apart from unplugging by opening the port again."""
    if modem.channel is None:
        return
    modem.lost = lost
    modem.line_lost.set()
    modem.channel.lost(lost)
    match modem.state:
        case ModemState.CONNECTED:
            modem.carrier_lost.set()
        case ModemState.HANGING_UP | ModemState.PROBING | ModemState.RESETTING:
            pass  # their activities hear it from the channel
        case state if state in IDLE and modem.on_demand:
            modem.rest()
        case state if allows(state, ModemEvent.FAULT):
            text = lost_words(modem, lost)
            modem.end_call(EndReason.MODEM_LOST, text)
            modem.move(ModemEvent.FAULT, text)


def lost_words(modem: Modem, lost: Lost) -> str:
    """What has become of the port, for a person, and what he has to see to."""
    text = OUT_OF_RANGE if lost is Lost.GONE else CLOSED
    if not modem.device.radio:
        text = "the port is gone"
    return f"{text}; {UNSURE}" if modem.unsure else text


async def loss(modem: Modem) -> str:
    """What has become of the line to a phone, "" while it is there; its port asks about the phone before it tells."""
    channel = modem.channel
    if channel is None or not channel.port.closing_hangs_up or channel.port.is_open:
        return ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timing.LOSS_TOLD):
            await modem.line_lost.wait()
    return lost_words(modem, modem.lost)


def trouble(modem: Modem) -> str:
    """Why the modem cannot be reached now, whatever is done, with the mend; "" while it is worth trying."""
    modem.trouble = modem.host.radio_trouble(modem.device)
    return modem.trouble


def news(modem: Modem, *, showed_up: bool = False) -> None:
    """What `trouble` says may be another now; `showed_up`: the phone itself has been heard of."""
    before, now = modem.trouble, trouble(modem)
    time = asyncio.get_running_loop().time()
    match modem.state:
        case ModemState.FAILED if now:
            modem.show(replace(modem.view, state_reason=now))
        case ModemState.FAILED if showed_up and modem.pauses.shows_up(time):
            modem.move(ModemEvent.RETRY, "the phone is there again")
        case ModemState.FAILED if before and (modem.on_demand or time >= modem.pauses.until):
            modem.move(ModemEvent.RETRY, "Bluetooth works again")
        case ModemState.FAILED if before:  # the radio itself may have fallen because the phone was looked for
            modem.show(replace(modem.view, state_reason="Bluetooth works again; the phone is tried after the pause"))
            modem.restart()
        case state if now and state in IDLE and modem.channel is None:
            modem.move(ModemEvent.FAULT, now)
