"""What a modem's owner does in each state; each activity ends with the step that comes next.

An activity may be cancelled at any await, when a request or the line has moved the state; what it leaves behind is then
taken up by the activity of the new state: `hanging_up` ends a session that still runs and aborts a dialling that is
still under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from dialupd.at import phone
from dialupd.config.values import CLIENT
from dialupd.events import DEFECT
from dialupd.io.journal import about
from dialupd.io.port import PortError, PortFault
from dialupd.model import DialupError, Direction, EndReason, ModemState
from dialupd.modem import calling, handset, probe, reach, timing
from dialupd.modem.channel import Channel, NoReply, PortLost
from dialupd.modem.hangup import HangUpFailed
from dialupd.modem.host import Unsure
from dialupd.modem.lending import begin_session, end_session, line_ended
from dialupd.modem.linedown import line_down
from dialupd.modem.owner import RESTING, Activity, Modem
from dialupd.modem.ready import away, binding, failed, for_ever, initialise, open_line, probing
from dialupd.modem.redialer import Entry
from dialupd.modem.requests import begin_call
from dialupd.modem.steps import Ending, Step
from dialupd.modem.waiting import between_calls, calling_back, quiet
from dialupd.policy import Answer, Reject, Stop, answer_decision
from dialupd.states import ModemEvent

log = logging.getLogger(__name__)

# -- waiting for a call


async def idle(modem: Modem) -> Step:
    """Wait: for a ring, for a request, or until the policy wants to dial."""
    if modem.memory.disabled:
        return Step(ModemEvent.DISABLE, "disabled by a person")
    if modem.on_demand:
        if modem.stale or modem.applied != modem.entry:
            modem.stale = False
            modem.rest()
        if modem.channel is None and (trouble := reach.trouble(modem)):
            return Step(ModemEvent.FAULT, trouble)
        async with quiet(modem):
            return await _idle(modem)
    if modem.channel is None:
        return Step(ModemEvent.OPEN, "the line is to be kept open")
    if modem.applied != modem.entry:
        known = modem.applied is not None
        return Step(ModemEvent.RESET, "the configuration has changed" if known else "it must be set up anew")
    if modem.stale:
        return Step(ModemEvent.RESET, "the machine has slept")
    return await _idle(modem)


async def _idle(modem: Modem) -> Step:
    blocked = modem.state is ModemState.BLOCKED
    policy, host = modem.policy, modem.host
    modem.show(replace(modem.view, policy=policy.name if policy else "", attempts=0, next_attempt=0))
    if step := await calling_back(modem):
        return step
    if policy is None or host.suspended(policy.name):
        return Step(ModemEvent.UNBLOCK, "its policy does not dial") if blocked else await for_ever()
    loop = asyncio.get_running_loop()
    redialer = modem.memory.redialer
    match redialer.plan(policy, host.calls_today(modem.id, policy), loop.time(), host.today()):
        case Entry(due=due, number=number) if due is not None:
            if blocked:
                return Step(ModemEvent.UNBLOCK, "calls again")
            pause = max(0.0, due - loop.time())
            modem.show(
                replace(
                    modem.view,
                    attempts=redialer.attempts(policy),
                    next_attempt=host.now() + int(pause * 1e6),
                )
            )
            await asyncio.sleep(pause)
            try:
                begin_call(modem, policy, policy.numbers[number % len(policy.numbers)])
            except DialupError as error:
                return Step(ModemEvent.BLOCK, str(error))
            return Step(ModemEvent.DIAL, f"the policy {policy.name} dials")
        case Stop(reason, for_today):
            if not blocked:
                return Step(ModemEvent.BLOCK, reason)
            modem.show(replace(modem.view, attempts=redialer.attempts(policy)))
            if not for_today:
                await for_ever()
            await asyncio.sleep(host.until_tomorrow())
            return Step(ModemEvent.UNBLOCK, "a new day")
        case _:
            if blocked:
                return Step(ModemEvent.UNBLOCK, "its policy does not dial by itself")
            return await between_calls(modem)


async def ringing(modem: Modem) -> Step:
    """Each ring begins this anew: answer if it is time, else wait for the next."""
    policy, call = modem.policy, modem.call
    assert call is not None, "a modem rings only with a call"
    if policy is not None and not modem.host.suspended(policy.name):
        caller = modem.caller
        number = caller.number or ("" if caller.withheld else None)
        match answer_decision(policy, modem.view.rings, number, call.began_at, modem.first_call):
            case Answer():
                modem.first_call = None
                modem.plan = calling.Plan(calling.ANSWER, policy.timeout)
                call.answering(policy.session or CLIENT, policy.name)
                return Step(ModemEvent.ANSWER, f"the policy {policy.name} answers")
            case Reject(reason):
                modem.ignore_rings()
                modem.end_call(EndReason.REJECTED, reason)
                return Step(ModemEvent.RINGS_END, reason)
            case _:
                pass
    await asyncio.sleep(timing.RING_TIMEOUT)
    return Step(ModemEvent.RINGS_END, modem.rang("the rings have stopped"))


# -- a call


async def establishing(modem: Modem) -> Step:
    """Dial or answer, until the modems are connected or it is clear that they will not be."""
    call, plan = modem.call, modem.plan
    assert call is not None and plan is not None, "a call is begun with its plan"
    modem.carrier_lost.clear()
    if modem.channel is None:
        begun, reason = asyncio.get_running_loop().time(), modem.view.state_reason
        if step := await _opening(modem, plan.timeout):
            return step
        modem.show(replace(modem.view, state_reason=reason))
        left = plan.timeout - (asyncio.get_running_loop().time() - begun)
        plan = replace(plan, timeout=max(0.1, round(left, 1)))
    channel = modem.channel
    assert channel is not None
    modem.collided = False
    if plan.modulation:
        modem.applied = None
    plan = replace(plan, blind=modem.memory.blind and not plan.needs_tone)
    if session := modem.host.session(call.view.session):
        modem.host.runner.prepare(session, call.view.call)
    call.dialled = True
    if call.view.direction is Direction.OUTGOING and phone.may_be_spoken(call.view.number):
        until = asyncio.get_running_loop().time() + plan.timeout + timing.RUNS_ON
        modem.memory.unsure = Unsure(call.view.number, until)
    try:
        outcome = await calling.establish(channel, plan)
    except PortError as error:
        if text := await reach.loss(modem):
            return _lost_before_connect(modem, text)
        outcome = calling.Failed(EndReason.MODEM_ERROR, str(error), aborting=True)
    except PortLost as error:
        return _lost_before_connect(modem, reach.lost_words(modem, error.lost))
    match outcome:
        case calling.Connected(line, text, blind):
            modem.memory.blind = blind
            modem.memory.unsure = None  # it is no voice call
            call.connected(line)
            modem.connect_text = text
            return Step(ModemEvent.CONNECT, f"connected {text}".rstrip())
        case calling.Failed(reason, detail, aborting):
            if modem.collided and reason in (EndReason.NO_CARRIER, EndReason.BUSY, EndReason.MODEM_ERROR):
                reason, detail = EndReason.COLLISION, "the line rang while it was being dialled"
            told = ""
            if call.view.direction is Direction.OUTGOING:
                told = handset.rang_a_person(call.view.number, modem.findings.capabilities, reason)
            detail = f"{detail}; {told}" if told else detail
            modem.ending = Ending(reason, detail, in_command_state=not aborting, aborting=aborting, hopeless=bool(told))
            return Step(ModemEvent.CALL_FAILED, detail)


async def _opening(modem: Modem, timeout: float) -> Step | None:
    """Open the line of a modem that has rested; None: it is open."""
    try:
        async with asyncio.timeout(timeout):
            await open_line(modem, known=True)
    except TimeoutError:
        detail = f"the modem was not ready within {timeout:g} s"
        modem.ending = Ending(EndReason.TIMEOUT, detail)
        return Step(ModemEvent.CALL_FAILED, detail)
    except PortLost as error:
        return _lost_before_connect(modem, reach.lost_words(modem, error.lost))
    except (PortError, probe.ProbeError) as error:
        reason = EndReason.MODEM_LOST if isinstance(error, PortError) else EndReason.MODEM_ERROR
        modem.end_call(reason, str(error))
        return Step(ModemEvent.FAULT, str(error))
    return None


def _lost_before_connect(modem: Modem, text: str) -> Step:
    modem.end_call(EndReason.MODEM_LOST, text)
    return Step(ModemEvent.FAULT, text)


async def connected(modem: Modem) -> Step:
    """Lend the line to the session, until it ends, the carrier goes or the time is over."""
    channel, call = modem.channel, modem.call
    assert channel is not None and call is not None
    policy = modem.host.policy(call.view.policy)
    try:
        if modem.session_task is None:  # else an earlier daemon has begun it
            modem.session_task = await begin_session(modem, channel)
        task = modem.session_task
    except PortError as error:
        if await _line_is_lost(modem):
            return _carrier_lost(modem)
        modem.ending = Ending(EndReason.SESSION_FAILED, str(error))
        return Step(ModemEvent.HANG_UP, str(error))
    carrier = asyncio.create_task(modem.carrier_lost.wait(), name=f"{modem.id}: carrier")
    limit = policy.max_duration if policy and policy.max_duration else None
    left = None if limit is None else max(0.0, call.connected_at + limit - asyncio.get_running_loop().time())
    try:
        await asyncio.wait({task, carrier}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        carrier.cancel()
    if await _line_is_lost(modem):
        return _carrier_lost(modem)
    if not task.done():
        modem.ending = Ending(EndReason.MAX_DURATION, f"max-duration of the policy is {limit:g} s")
        return Step(ModemEvent.HANG_UP, "the call has lasted as long as it may")
    if defect := task.exception():
        log.error("%s: a defect of dialupd ended the session", modem.id, exc_info=defect, extra=about(DEFECT))
        modem.ending = Ending(EndReason.SESSION_FAILED, "a defect of dialupd ended the session; see the log")
        return Step(ModemEvent.HANG_UP, modem.ending.detail)
    end = task.result()
    lost = end.reason is EndReason.REMOTE_HANGUP
    modem.ending = Ending(end.reason, end.detail, in_command_state=lost, hopeless=end.hopeless)
    event = ModemEvent.CARRIER_LOST if lost else ModemEvent.HANG_UP
    return Step(event, end.detail or end.reason)


async def _line_is_lost(modem: Modem) -> bool:
    await reach.loss(modem)
    return modem.carrier_lost.is_set()


def _carrier_lost(modem: Modem) -> Step:
    modem.ending = line_ended(modem)
    return Step(ModemEvent.CARRIER_LOST, modem.ending.detail)


# -- its end


async def hanging_up(modem: Modem) -> Step:
    """End the session in good order, bring the modem back to command state, and initialise it for the next call."""
    if modem.call is not None:
        modem.host.runner.forget(modem.call.view.call)
    await end_session(modem)
    channel, ending = modem.channel, modem.ending
    if modem.device.on_demand and (channel is None or _needs_no_more(channel, ending)):
        return _over(modem, ending)
    if channel is None:
        ending = ending.modem_lost()
        modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
        return Step(ModemEvent.FAULT, "the port is gone")
    try:
        await line_down(modem, channel, ending)
    except (PortError, PortLost) as error:
        if modem.device.on_demand:  # it went with the line; it is not looked for again only to be hung up
            return _over(modem, ending)
        text = f"the modem went away: {error}"
        lost = isinstance(error, PortLost) or error.reason in (PortFault.GONE, PortFault.IO)
        ending = ending.modem_lost(text) if lost else replace(ending, detail=ending.detail or text)
        modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
        return Step(ModemEvent.FAULT, text)
    except HangUpFailed as error:
        modem.end_call(ending.reason, "; ".join(filter(None, (ending.detail, str(error)))), hopeless=ending.hopeless)
        return Step(ModemEvent.FAULT, str(error))
    modem.memory.unsure = None
    modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
    try:
        if modem.applied == modem.entry:
            await initialise(modem, modem.entry, channel, modem.findings)
    except (PortError, PortLost, NoReply, probe.ProbeError) as error:
        words = await reach.loss(modem)
        if words and modem.on_demand:
            modem.close_port()
            return Step(ModemEvent.HUNG_UP, RESTING)
        return Step(ModemEvent.FAULT, words or str(error))
    return Step(ModemEvent.HUNG_UP, "the line is free")


def _needs_no_more(channel: Channel, ending: Ending) -> bool:
    """Is the line lost, or ends the call by closing it?  A voice call goes on without it, so that is never trusted."""
    port = channel.port
    return not port.is_open or (port.closing_hangs_up and not ending.in_command_state and not ending.aborting)


def _over(modem: Modem, ending: Ending) -> Step:
    """Close a line that is opened on demand, and with it the call."""
    modem.close_port()
    if modem.unsure and not ending.detail.endswith(reach.UNSURE):
        ending = replace(ending, detail="; ".join(filter(None, (ending.detail, f"the line was lost: {reach.UNSURE}"))))
    modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
    if ending.reason is EndReason.MODEM_LOST:
        return Step(ModemEvent.FAULT, ending.detail)
    return Step(ModemEvent.HUNG_UP, RESTING if modem.on_demand else "the line is free")


ACTIVITIES: Mapping[ModemState, Activity] = {
    ModemState.BINDING: binding,
    ModemState.PROBING: probing,
    ModemState.READY: idle,
    ModemState.RINGING: ringing,
    ModemState.ANSWERING: establishing,
    ModemState.DIALING: establishing,
    ModemState.CONNECTED: connected,
    ModemState.HANGING_UP: hanging_up,
    ModemState.RESETTING: probing,
    ModemState.DISABLED: away,
    ModemState.INHIBITED: away,
    ModemState.BLOCKED: idle,
    ModemState.UNSUPPORTED: away,
    ModemState.FAILED: failed,
}
