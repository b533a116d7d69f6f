"""dial, answer, monitor: what happens as it happens.

`dial` and `answer` wait until the call is connected or ended, and say each step.  Ctrl-C while they wait hangs the call
up: nobody is left behind on a line that costs money.  `monitor` goes on until Ctrl-C; when the daemon goes away it says
so and waits for its return.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from dialupd.cli import find, when, words
from dialupd.cli.act import chosen
from dialupd.cli.front import DONE, FAILED, Front, Usage
from dialupd.cli.remote import BusError, DialOption, Event, NoDaemon, Remote, Thing, What
from dialupd.cli.rows import Json, Plain, Row, called, number, text
from dialupd.cli.show import line_words, party
from dialupd.cli.text import LONGEST_SENTENCE, clean, pad
from dialupd.model import CallState

_SETTLED = frozenset({CallState.CONNECTED, CallState.ENDED})

_IN_OTHER_LINES = frozenset(
    {"state", "state-reason", "state-since", "call", "rings", "caller-id", "caller-name", "attempts", "end-reason"}
    | {"start-time", "connect-time", "end-time", "rx-bytes", "tx-bytes", "session"}
    | {"line-rate", "port-rate", "modulation", "error-control", "compression"}
)
"""Properties whose change comes with a state change or a ring, which has its own line."""

_LEVELS = {"signal": words.signal, "battery": words.battery}


def dial_options(front: Front) -> dict[str, DialOption]:
    args = front.args
    options: dict[str, DialOption] = {}
    if args.session:
        options["session"] = args.session
    if args.timeout:
        options["timeout"] = args.timeout
    if args.reverse:
        options["reverse"] = True
    return options


async def dial(front: Front, remote: Remote) -> int:
    """With a number the target is a modem; without one it is a policy, which has its own numbers."""
    args = front.args
    modems = list(remote.modems.values())
    if args.number:
        modem = find.chosen(args.target, remote)
        call = await remote.dial(modem, args.number, dial_options(front))
    else:
        names = [one[0] for one in remote.policies]
        if args.target not in names and any(args.target in (text(one, "id"), text(one, "name")) for one in modems):
            raise Usage(
                f"{clean(args.target)!r} is a modem: say which number, as dialupctl dial {clean(args.target)} 5551212;"
                " without a number a policy dials its own"
            )
        call = await remote.originate(find.policy(args.target, names), dial_options(front))
    return await begun(front, remote, call)


async def answer(front: Front, remote: Remote) -> int:
    options: dict[str, DialOption] = {"session": front.args.session} if front.args.session else {}
    return await begun(front, remote, await remote.answer(chosen(front, remote), options))


async def begun(front: Front, remote: Remote, call: int) -> int:
    """The call is under way: wait for it, or only say its number."""
    out = front.out
    if front.args.no_wait:
        return out.done(f"call {call}: begun; dialupctl monitor follows it", {"call": call})
    last = await settled_or_hung_up(front, remote, call, out.advise if out.json else out.line)
    if out.json:
        out.emit(last)
    elif text(last, "state") == CallState.CONNECTED:
        out.line(f"hang up with: dialupctl hangup call {call}")
    else:
        out.advise(f"dialupctl: call {call} ended: {words.end_reason(text(last, 'end-reason'))}")
    return DONE if text(last, "state") == CallState.CONNECTED else FAILED


async def settled_or_hung_up(front: Front, remote: Remote, call: int, tell: Callable[[str], None]) -> Row:
    """What `settled` says; who is interrupted while he waits leaves nobody on the line."""
    try:
        return await settled(front, remote, call, tell)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):  # the terminal may be what is gone
            front.out.advise(f"call {call}: interrupted, hanging up")
        try:
            await remote.hang_up_call(call)
        except (BusError, NoDaemon) as error:
            with contextlib.suppress(OSError):
                front.out.advise(f"dialupctl: {clean(str(error))}")
        raise


async def settled(front: Front, remote: Remote, call: int, tell: Callable[[str], None]) -> Row:
    """The call once it is connected or ended; each state on the way is told.  Raises find.NotFound when it is lost."""
    told = ""
    began = front.now()
    while True:
        now = remote.call(call)
        if now is not None and (state := text(now, "state")) != told:
            told = state
            if not front.out.json and state != CallState.ENDED:
                where = clean(remote.modem_name(text(now, "modem")))
                tell(f"call {call}: {progress(now, where, front.now() - began)}")
        if now is not None and told in _SETTLED:
            return now
        event = await remote.next_event()
        gone = event.thing is Thing.CALL and event.what is What.REMOVED and number(event.row, "call") == call
        if gone or event.what is What.LOST:
            raise find.NotFound(f"call {call} is lost: the daemon stopped; see dialupctl history")


def progress(call: Row, where: str, waited: int) -> str:
    """How far a call has come."""
    match text(call, "state"):
        case CallState.DIALING:
            return f"dialling {clean(text(call, 'number'))} on {where}"
        case CallState.CONNECTED:
            session = clean(text(call, "session"))
            parts = (
                f"connected on {where} after {when.span(waited)}",
                line_words(call),
                session and f"session {session}",
            )
            return ", ".join(part for part in parts if part)
        case state:
            return f"{words.call_state(state)} {party(call)} on {where}"


def modems_counted(count: int) -> str:
    return f"{count} modem{'' if count == 1 else 's'}"


def subject(event: Event) -> str:
    match event.thing:
        case Thing.MODEM:
            return clean(called(event.row))
        case Thing.CALL:
            return f"call {number(event.row, 'call')}"
        case Thing.POLICY:
            return clean(text(event.row, "policy"))
        case Thing.CONFIGURATION | Thing.PROBLEM | Thing.DAEMON:
            return str(event.thing)


def told_value(key: str, value: Plain, now: int) -> str:
    """One changed property for the timeline; "" for what says nothing to a person."""
    if key == "session-state":
        return words.session_state(value) if isinstance(value, str) else ""
    if key == "next-attempt":
        return f"next attempt {when.ago(value, now)}" if isinstance(value, int) and value else ""
    if key in _LEVELS and isinstance(value, int):
        return f"{key} {_LEVELS[key](value) or 'not told'}"
    shown = clean(", ".join(value) if isinstance(value, list) else str(value))
    return f"{key.replace('-', ' ')} {shown}" if shown and shown != "0" else f"{key.replace('-', ' ')} cleared"


def story(event: Event, remote: Remote, now: int) -> str:
    """The event in words; "" when another event tells it."""
    row, changed = event.row, event.changed
    match event.thing, event.what:
        case Thing.MODEM, What.ADDED:
            return f"found on {clean(text(row, 'device')) or 'a device without a node'}, {clean(text(row, 'state'))}"
        case Thing.MODEM, What.REMOVED:
            return "gone"
        case Thing.CALL, What.ADDED:
            where = clean(remote.modem_name(text(row, "modem")))
            return f"{party(row)} on {where}, {words.call_state(text(row, 'state'))}"
        case Thing.CALL, What.REMOVED:
            return ""
        case ((Thing.MODEM | Thing.CALL), What.STATE):
            return told_state(event)
        case Thing.MODEM, What.RINGING:
            caller, name = clean(text(changed, "caller-id")), clean(text(changed, "caller-name"))
            return (
                f"ring {number(changed, 'rings')}"
                + (f" from {caller}" if caller else "")
                + (f" ({name})" if name else "")
            )
        case ((Thing.MODEM | Thing.CALL), _):
            parts = [told_value(key, value, now) for key, value in changed.items() if key not in _IN_OTHER_LINES]
            return ", ".join(part for part in parts if part)
        case Thing.POLICY, _:
            return f"{clean(text(row, 'mode'))}, {words.because(text(row, 'status'))}"
        case Thing.CONFIGURATION, _:
            error = text(row, "config-error")
            return f"error, the one before stays in force: {clean(error)}" if error else "in order again"
        case Thing.PROBLEM, _:
            problem = clean(text(row, "problem"), LONGEST_SENTENCE)
            return f"over: {problem}" if event.what is What.REMOVED else problem
        case Thing.DAEMON, What.LOST:
            return "the daemon is gone; waiting for its return"
        case _:
            return f"the daemon is back with {modems_counted(len(remote.modems))}"


def told_state(event: Event) -> str:
    row, new, reason = event.row, text(event.changed, "new"), text(event.changed, "reason")
    if event.thing is Thing.MODEM:
        why = words.because(reason)
        return f"{clean(new)} (was {clean(text(event.changed, 'old'))})" + (f": {why}" if why and why != new else "")
    if new == CallState.ENDED:
        length = number(row, "end-time") - number(row, "connect-time")
        after = f", after {when.span(length)}" if number(row, "connect-time") and length > 0 else ""
        return f"ended: {words.end_reason(reason or text(row, 'end-reason'))}{after}"
    parts = [words.call_state(new)]
    if new == CallState.CONNECTED:
        session = clean(text(row, "session"))
        parts += [line_words(row), session and f"session {session}"]
    return ", ".join(part for part in parts if part)


def as_json(event: Event, now: int) -> dict[str, Json]:
    """One event for a program: what happened to which modem or call, and all that is known of it now."""
    named: dict[str, Json] = {"time": now, "event": f"{event.thing}-{event.what}"}
    if event.thing is Thing.MODEM:
        named["modem"] = text(event.row, "id")
    if event.thing is Thing.CALL:
        named["call"] = number(event.row, "call")
    if event.thing is Thing.PROBLEM:
        named["problem"] = text(event.row, "problem")
        return named
    if event.what in (What.STATE, What.RINGING) or event.thing in (Thing.POLICY, Thing.CONFIGURATION):
        named |= event.changed
    elif event.what is What.CHANGED:
        named["changed"] = event.changed
    elif event.what in (What.ADDED, What.PRESENT):
        named["properties"] = event.row
    return named


async def monitor(front: Front, remote: Remote) -> int:
    """Ends by Ctrl-C only, or with the bus.  A program is told what there is at first and when the daemon is back."""
    out = front.out

    def emit(events: Iterable[Event]) -> None:
        for event in events:
            out.emit(as_json(event, front.now()), indent=False)

    if out.json:
        emit(remote.present())
    else:
        out.line(f"watching {modems_counted(len(remote.modems))}; Ctrl-C ends")
    while True:
        event = await remote.next_event()
        now = front.now()
        if out.json:
            emit([event, *(remote.present() if event.what is What.BACK else [])])
        elif told := story(event, remote, now):
            stamp = when.stamp(now, now)
            out.line(f"{stamp}  {pad(subject(event), 10)}  {told}")
