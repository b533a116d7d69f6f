"""Lending the connected line to its session, and taking it back."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from dialupd.config.values import ClientSession, PlainSession
from dialupd.events import DEFECT
from dialupd.io.journal import about, marked
from dialupd.io.port import Lost, Port, PortError, PortFault
from dialupd.model import EndReason
from dialupd.modem import reach, timing
from dialupd.modem.channel import Channel
from dialupd.modem.kept import Kept, memo
from dialupd.modem.line import ConnectedLine
from dialupd.modem.owner import Modem
from dialupd.modem.requests import call_back
from dialupd.modem.steps import Ending
from dialupd.radio import Service
from dialupd.sessions.base import CallFacts, SessionEnd
from dialupd.sessions.unit import kind_of

log = logging.getLogger(__name__)

LINE_ENDED = frozenset({EndReason.REMOTE_HANGUP, EndReason.MODEM_LOST})
_LESS = (EndReason.REMOTE_HANGUP, EndReason.SESSION_ENDED)
"""What a session says that has seen its line end; a radio knows how it did."""


def line_ended(modem: Modem) -> Ending:
    """How the call ends whose line was lost."""
    if not modem.device.radio:
        return Ending(EndReason.REMOTE_HANGUP, "the carrier is gone", in_command_state=True)
    reason = EndReason.MODEM_LOST if modem.lost is Lost.GONE else EndReason.REMOTE_HANGUP
    return Ending(reason, reach.lost_words(modem, modem.lost))


async def begin_session(modem: Modem, channel: Channel) -> asyncio.Task[SessionEnd]:
    """Lend the line; PortError when it is lost already."""
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
        if (device := modem.device).radio:
            kept = replace(
                kept,
                name=device.model,
                service=Service(device.driver),
                adapter=device.path,
                device_class=device.device_class,
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


async def end_session(modem: Modem) -> None:
    """Until nothing of the session reads the line; what it knows of the call's end goes into `modem.ending`."""
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
    end = task.result()
    if modem.carrier_lost.is_set() and (by_itself or modem.ending.reason in LINE_ENDED):
        if modem.device.radio and end.reason in (modem.ending.reason, *_LESS):
            return
        # Who breaks off a session hangs up at once: the session knows why, the carrier only that.
        detail = end.detail or (modem.ending.detail if end.reason is modem.ending.reason else "")
        modem.ending = replace(modem.ending, reason=end.reason, detail=detail, hopeless=end.hopeless)
