"""Placing and answering a call: what is sent, and what each outcome means.

A result is taken at its word but for three that experience knows better: a NO CARRIER that comes before the modem can
have gone off hook belongs to the last call; NO DIALTONE on a line whose tone the modem does not know (a PBX, VoIP, the
wrong country) is answered by dialling blind once; and OK to a dialled number means that a phone without a modulator has
placed a voice call, or places it still (`voice` ends it).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from dialupd.at.connect import Connection, connection
from dialupd.at.dialstring import Masking, masked
from dialupd.at.exchange import Reply
from dialupd.at.results import Final
from dialupd.model import EndReason
from dialupd.modem import timing
from dialupd.modem.channel import Channel, NoReply
from dialupd.sessions.auto import FAX_CALLS

log = logging.getLogger(__name__)

ANSWER = "ATA"
ANSWER_TIMEOUT = timing.CARRIER_WAIT + timing.CARRIER_MARGIN

BLIND = "ATX3"
"""Do not wait for a dial tone, but know the busy tone (V.250 section 6.2.7)."""

OUTCOMES: dict[Final, tuple[EndReason, str]] = {
    Final.OK: (
        EndReason.NO_MODULATOR,
        "the phone placed a voice call and said OK: it has no data modem for this number; dial a packet service such "
        "as *99#, set bearer where the phone can make data calls, or use an analogue or USB modem",
    ),
    Final.NO_CARRIER: (EndReason.NO_CARRIER, "no modem answered at the far end"),
    Final.ERROR: (EndReason.MODEM_ERROR, "the modem refused the command"),
    Final.NO_DIALTONE: (EndReason.NO_DIALTONE, "there is no dial tone: is the line plugged in and free?"),
    Final.BUSY: (EndReason.BUSY, "the far end is engaged"),
    Final.NO_ANSWER: (EndReason.NO_ANSWER, "the far end rang and nobody answered"),
    Final.VOICE: (EndReason.VOICE, "a person answered"),
    Final.FAX: (EndReason.FAX, "a fax machine answered"),
    Final.DELAYED: (EndReason.DELAYED, "the modem's own redial limiter asks for a pause"),
    Final.BLACKLISTED: (EndReason.BLACKLISTED, "the modem's own redial limiter has locked the number"),
    Final.LINE_IN_USE: (EndReason.LINE_IN_USE, "another telephone on the line is off hook"),
    Final.DIGITAL_LINE: (EndReason.DIGITAL_LINE, "this is a digital PBX line: unplug the modem, it may be damaged"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A call to be placed or answered.

    `command` is the AT line, `shown` the same as it may be logged, `timeout` the seconds from its sending to CONNECT;
    `blind` dials without a dial tone, which `needs_tone` forbids: then who is on the line already is not taken for who
    was to be called.
    """

    command: str
    timeout: float
    modulation: str = ""
    blind: bool = False
    needs_tone: bool = False
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """The line is up; `text` is what stood behind CONNECT; `blind`: it was dialled without a dial tone."""

    line: Connection
    text: str
    blind: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The call was not established. `aborting`: the modem has not answered and must be stopped."""

    reason: EndReason
    detail: str
    aborting: bool = False


Outcome = Connected | Failed


def dial_plan(
    number: str, dial_command: str, timeout: float, how: Masking, *, reverse: bool = False, modulation: str = ""
) -> Plan:
    """The plan for a cleaned dial string; `reverse` dials in answer mode (V.250 section 6.3.1, the R modifier)."""
    end = "R" if reverse else ""
    # A dial command may hold digits of its own, a PBX's or a calling card's.
    command, dials, digits = dial_command.rpartition("D")
    shown = f"{command}{dials}{masked(digits, how)}{masked(number, how)}{end}"
    return Plan(f"{dial_command}{number}{end}", timeout, modulation, shown=shown)


async def establish(channel: Channel, plan: Plan) -> Outcome:
    """Send the plan's command and wait for the outcome; PortLost, PortError."""
    try:
        if plan.modulation:
            reply = await channel.command(f"AT+MS={plan.modulation}")
            if not reply.ok:
                return Failed(EndReason.MODEM_ERROR, f"the modem refuses the modulation {plan.modulation}")
        wait = int(min(255, plan.timeout - timing.CARRIER_MARGIN))
        if wait > timing.CARRIER_WAIT:
            await channel.command(f"ATS7={wait}")
        if plan.blind:
            await channel.command(BLIND)
    except NoReply as error:
        return Failed(EndReason.MODEM_ERROR, str(error), aborting=True)
    return await _attempt(channel, plan)


async def _attempt(channel: Channel, plan: Plan) -> Outcome:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + plan.timeout
    dials = plan.command != ANSWER
    # Not so when answering: a caller may give up in that moment, and a second ATA holds the line for all of S7.
    again_stale, blind = dials, plan.blind
    while True:
        begun = loop.time()
        try:
            reply = await channel.afresh(plan.command, deadline - begun, chunk=1, shown=plan.shown or None)
        except NoReply:
            return Failed(EndReason.TIMEOUT, f"no answer from the modem in {plan.timeout:g} s", aborting=True)
        code = reply.result.code
        if code is Final.FAX or (code is Final.CONNECT and reply.result.detail.startswith("FAX")):
            return Failed(*OUTCOMES[Final.FAX]) if dials else Failed(FAX_CALLS.reason, FAX_CALLS.detail)
        if code is Final.CONNECT:
            return Connected(connection(reply.result.detail, reply.information), reply.result.detail, blind)
        if code is Final.NO_CARRIER and again_stale and loop.time() - begun < timing.STALE:
            log.info("%s: NO CARRIER came too soon to be of this call; trying once more", channel.port.path)
            again_stale = False
        elif code is Final.NO_DIALTONE and not blind and dials and not plan.needs_tone:
            log.info("%s: no dial tone was recognised; dialling once without waiting for it", channel.port.path)
            blind = True
            try:
                await channel.command(BLIND)
            except NoReply as error:
                return Failed(EndReason.MODEM_ERROR, str(error), aborting=True)
        elif code is Final.NO_CARRIER and blind and not plan.blind:
            # Blind, a modem on a dead line hears nothing: what it has said before tells more.
            return Failed(*OUTCOMES[Final.NO_DIALTONE])
        else:
            return _failed(reply)


def _failed(reply: Reply) -> Failed:
    reason, detail = OUTCOMES[reply.result.code]
    return Failed(reason, f"{detail} ({reply.result.detail})" if reply.result.detail else detail)
