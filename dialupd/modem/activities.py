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

from dialupd.config.values import CLIENT, ClientSession, PlainSession
from dialupd.events import DEFECT
from dialupd.io.journal import about, marked
from dialupd.io.port import Port, PortError, PortFault
from dialupd.model import DialupError, EndReason, ModemState
from dialupd.modem import calling, probe, timing
from dialupd.modem.channel import Channel, NoReply, PortLost
from dialupd.modem.hangup import HangUpFailed, hang_up
from dialupd.modem.kept import Kept, memo
from dialupd.modem.line import ConnectedLine
from dialupd.modem.owner import Activity, Ending, Modem, Step
from dialupd.modem.ready import away, binding, failed, for_ever, initialise, probing
from dialupd.modem.redialer import Entry
from dialupd.modem.requests import begin_call, call_back
from dialupd.modem.waiting import between_calls, calling_back
from dialupd.policy import Answer, Reject, Stop, answer_decision
from dialupd.sessions.base import CallFacts, SessionEnd
from dialupd.sessions.unit import kind_of
from dialupd.states import ModemEvent

log = logging.getLogger(__name__)

# -- waiting for a call


async def idle(modem: Modem) -> Step:
    """Wait: for a ring, for a request, or until the policy wants to dial."""
    if modem.memory.disabled:
        return Step(ModemEvent.DISABLE, "disabled by a person")
    if modem.applied != modem.entry:
        known = modem.applied is not None
        return Step(ModemEvent.RESET, "the configuration has changed" if known else "it must be set up anew")
    if modem.stale:
        return Step(ModemEvent.RESET, "the machine has slept")
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
    channel, call = modem.channel, modem.call
    assert channel is not None and call is not None
    modem.collided = False
    modem.carrier_lost.clear()
    plan = modem.plan
    assert plan is not None, "a call is begun with its plan"
    if plan.modulation:
        modem.applied = None
    plan = replace(plan, blind=modem.memory.blind and not plan.needs_tone)
    if session := modem.host.session(call.view.session):
        modem.host.runner.prepare(session, call.view.call)
    try:
        outcome = await calling.establish(channel, plan)
    except PortError as error:
        outcome = calling.Failed(EndReason.MODEM_ERROR, str(error), aborting=True)
    except PortLost:
        modem.end_call(EndReason.MODEM_LOST, "the modem was unplugged")
        return Step(ModemEvent.FAULT, "the port went away during the call")
    match outcome:
        case calling.Connected(line, text, blind):
            modem.memory.blind = blind
            call.connected(line)
            modem.connect_text = text
            return Step(ModemEvent.CONNECT, f"connected {text}".rstrip())
        case calling.Failed(reason, detail, aborting):
            if modem.collided and reason in (EndReason.NO_CARRIER, EndReason.BUSY, EndReason.MODEM_ERROR):
                reason, detail = EndReason.COLLISION, "the line rang while it was being dialled"
            modem.ending = Ending(reason, detail, in_command_state=not aborting, aborting=aborting)
            return Step(ModemEvent.CALL_FAILED, detail)


async def connected(modem: Modem) -> Step:
    """Lend the line to the session, until it ends, the carrier goes or the time is over."""
    channel, call = modem.channel, modem.call
    assert channel is not None and call is not None
    policy = modem.host.policy(call.view.policy)
    try:
        if modem.session_task is None:  # else an earlier daemon has begun it
            modem.session_task = await _begin_session(modem, channel)
        task = modem.session_task
    except PortError as error:
        if modem.carrier_lost.is_set():
            modem.ending = Ending(EndReason.REMOTE_HANGUP, "the carrier is gone", in_command_state=True)
            return Step(ModemEvent.CARRIER_LOST, "the carrier is gone")
        modem.ending = Ending(EndReason.SESSION_FAILED, str(error))
        return Step(ModemEvent.HANG_UP, str(error))
    carrier = asyncio.create_task(modem.carrier_lost.wait(), name=f"{modem.id}: carrier")
    limit = policy.max_duration if policy and policy.max_duration else None
    left = None if limit is None else max(0.0, call.connected_at + limit - asyncio.get_running_loop().time())
    try:
        await asyncio.wait({task, carrier}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        carrier.cancel()
    if modem.carrier_lost.is_set():
        modem.ending = Ending(EndReason.REMOTE_HANGUP, "the carrier is gone", in_command_state=True)
        return Step(ModemEvent.CARRIER_LOST, "the carrier is gone")
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


async def _begin_session(modem: Modem, channel: Channel) -> asyncio.Task[SessionEnd]:
    call, port = modem.call, channel.port
    assert call is not None
    view = call.view
    early = channel.release()
    shows_carrier = await _carrier_shows(port)
    port.prepare_handover()
    config = modem.host.session(view.session)
    if config is None:
        raise PortError(PortFault.IO, f"the session {view.session} was taken out of the configuration")
    facts = CallFacts(
        call=view.call,
        modem=modem.id,
        device=port.path,
        direction=view.direction,
        number=view.number,
        caller_id=view.caller_id,
        caller_name=view.caller_name,
        policy=view.policy,
        session=view.session,
        line_rate=view.line_rate,
        port_rate=view.port_rate,
        connect=modem.connect_text,
    )
    line = ConnectedLine(port, shows_carrier, early)

    def described(plain: PlainSession) -> bytes:
        kept = Kept(
            device=port.path,
            kind=kind_of(plain),
            connected=int(call.connected_at * 1000),
            counted=modem.dialled_policy.name if modem.dialled_policy else "",
            connect_text=modem.connect_text,
            shows_carrier=int(shows_carrier),
            streams=int(isinstance(plain, ClientSession)),
        )
        return memo(kept, call.view, modem.view)

    runner = modem.host.runner
    call.session = session = runner.session(config, modem.host.session, line, facts, call.progress, described)
    context = marked(CALL=view.call)
    return asyncio.create_task(session.run(), name=f"{modem.id}: session {view.session}", context=context)


async def _carrier_shows(port: Port) -> bool:
    """Does the port show this call's carrier?  Then the kernel is to hang it up when carrier goes."""
    lines = port.lines()
    if lines is not None and not lines.dcd:
        await asyncio.sleep(timing.CARRIER_GRACE)
        lines = port.lines()
    if lines is None or not lines.dcd:
        return False
    port.carrier_watch(True)
    return True


async def hanging_up(modem: Modem) -> Step:
    """End the session in good order, bring the modem back to command state, and initialise it for the next call."""
    if modem.call is not None:
        modem.host.runner.forget(modem.call.view.call)
    await _end_session(modem)
    channel, ending = modem.channel, modem.ending
    if channel is None:
        ending = ending.modem_lost()
        modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
        return Step(ModemEvent.FAULT, "the port is gone")
    try:
        await _line_down(channel, ending)
    except (PortError, PortLost) as error:
        text = f"the modem went away: {error}"
        lost = isinstance(error, PortLost) or error.reason in (PortFault.GONE, PortFault.IO)
        ending = ending.modem_lost(text) if lost else replace(ending, detail=ending.detail or text)
        modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
        return Step(ModemEvent.FAULT, text)
    except HangUpFailed as error:
        modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
        return Step(ModemEvent.FAULT, str(error))
    modem.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
    try:
        if modem.applied == modem.entry:
            await initialise(modem, modem.entry, channel, modem.findings)
    except (PortError, PortLost, NoReply, probe.ProbeError) as error:
        return Step(ModemEvent.FAULT, str(error))
    return Step(ModemEvent.HUNG_UP, "the line is free")


async def _line_down(channel: Channel, ending: Ending) -> None:
    port = channel.port
    for last in (False, True):
        try:
            if last or not port.is_open:
                await port.reopen()
            elif channel.handed_over:
                port.take_back()
            channel.resume()
            await hang_up(channel, in_command_state=ending.in_command_state, aborting=ending.aborting)
        except (PortLost, PortError):
            # Carrier went in the same moment: the kernel has hung the port up, and it can be opened again.
            if last:
                raise
        else:
            return


async def _end_session(modem: Modem) -> None:
    task = modem.session_task
    if task is None:
        return
    if modem.carrier_lost.is_set():
        await asyncio.wait({task}, timeout=timing.SESSION_NOTICES)
    by_itself = task.done()
    if not by_itself:
        call = modem.call
        if call is not None and call.session is not None:
            call.session.stop(modem.ending.reason)
        await asyncio.wait({task}, timeout=timing.SESSION_STOP)
    if not task.done():
        log.warning("%s: the session did not end in %g s and is killed", modem.id, timing.SESSION_STOP)
        task.cancel()
        await asyncio.wait({task})
    modem.session_task = None
    if task.cancelled():
        return
    if defect := task.exception():
        log.error("%s: a defect of dialupd ended the session", modem.id, exc_info=defect, extra=about(DEFECT))
        return
    if user := task.result().call_back:
        call_back(modem, user)
    if modem.carrier_lost.is_set() and (by_itself or modem.ending.reason is EndReason.REMOTE_HANGUP):
        # Who breaks off a session hangs up at once: the session knows why, the carrier only that.
        end = task.result()
        detail = end.detail or (modem.ending.detail if end.reason is modem.ending.reason else "")
        modem.ending = replace(modem.ending, reason=end.reason, detail=detail, hopeless=end.hopeless)


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
