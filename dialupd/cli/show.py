"""status, show, history: what is, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from dialupd.cli import find, when, words
from dialupd.cli.front import DONE, Front
from dialupd.cli.remote import Filter, Remote
from dialupd.cli.rows import Plain, Row, by_name, called, number, text, texts
from dialupd.cli.text import LONGEST_SENTENCE, clean, fields, table
from dialupd.model import CallState, Direction, ModemState

MOST = 1000
"""Rows that the daemon gives at once."""


def party(call: Row) -> str:
    """The far end as a person says it: `to *99#`, `from 5551212 (ANN)`, `from an unknown caller`."""
    if text(call, "direction") == Direction.OUTGOING:
        return f"to {clean(text(call, 'number'))}"
    name = clean(text(call, "caller-name"))
    return f"from {clean(text(call, 'caller-id')) or 'an unknown caller'}" + (f" ({name})" if name else "")


def rate(call: Row) -> str:
    return f"{number(call, 'line-rate')} bit/s" if number(call, "line-rate") else ""


def line_words(call: Row) -> str:
    """What the two modems agreed on."""
    told = (clean(text(call, key)) for key in ("modulation", "error-control", "compression"))
    return ", ".join(part for part in (rate(call), *told) if part)


def call_line(call: Row) -> str:
    """A call under way, in one line."""
    state = words.call_state(text(call, "state"))
    session = words.session_state(text(call, "session-state")) if text(call, "state") == CallState.CONNECTED else ""
    link = " ".join(part for part in (clean(text(call, "interface")), clean(text(call, "local-address"))) if part)
    return ", ".join(
        part for part in (f"call {number(call, 'call')} {party(call)}: {state}", rate(call), session, link) if part
    )


def detail(modem: Row, call: Row | None, now: int) -> str:
    """Why the modem is as it is, and what comes next."""
    parts = []
    if call is not None:
        parts.append(call_line(call))
    elif text(modem, "state") == ModemState.RINGING:
        parts.append(f"ring {number(modem, 'rings')}")
        if text(modem, "caller-id"):
            parts.append(f"from {clean(text(modem, 'caller-id'))}")
    elif text(modem, "state-reason"):
        parts.append(words.because(text(modem, "state-reason")))
    if number(modem, "next-attempt"):
        parts.append(f"next attempt {when.ago(number(modem, 'next-attempt'), now)}")
    return ", ".join(parts)


def current_call(modem: Row, remote: Remote) -> Row | None:
    return remote.call(number(modem, "call")) if number(modem, "call") else None


async def status(front: Front, remote: Remote) -> int:
    out, now = front.out, front.now()
    modems = by_name(remote.modems.values())
    if out.json:
        out.emit(
            {
                **remote.manager,
                "policies": [{"name": name, "mode": mode, "status": told} for name, mode, told in remote.policies],
                "modems": modems,
                "calls": list(remote.calls.values()),
            }
        )
        return DONE
    out.line(
        f"dialupd {clean(text(remote.manager, 'version'))}, configuration {clean(text(remote.manager, 'config-file'))}"
    )
    if error := text(remote.manager, "config-error"):
        out.line(out.style.bad("the configuration on disk has an error and the one before it stays in force:"))
        for line in error.splitlines():
            out.line(f"  {clean(line)}")
    out.line("")
    if modems:
        heads = ("MODEM", "DEVICE", "STATE", "FOR", "POLICY", "DETAIL")
        rows = [
            (
                clean(called(modem)),
                clean(text(modem, "device")),
                clean(text(modem, "state")),
                when.span(now - number(modem, "state-since")) if number(modem, "state-since") else "",
                clean(text(modem, "policy")),
                detail(modem, current_call(modem, remote), now),
            )
            for modem in modems
        ]
        out.line(table(heads, rows, out.style, colour_by=2))
    else:
        out.line(words.NO_MODEM)
    out.line("")
    if remote.policies:
        rows_of_policies = [(clean(name), clean(mode), words.because(told)) for name, mode, told in remote.policies]
        out.line(table(("POLICY", "MODE", "STATUS"), rows_of_policies, out.style))
    else:
        out.line(words.NO_POLICY)
    if problems := texts(remote.manager, "problems"):
        out.line("")
        out.line(out.style.bad("what is configured and cannot work yet:"))
        for problem in problems:
            out.line(f"  {clean(problem, LONGEST_SENTENCE)}")
    return DONE


def usb_ids(modem: Row) -> str:
    ids = (clean(text(modem, "vendor-id")), clean(text(modem, "product-id")))
    return ":".join(ids) if all(ids) else ""


def _is_for_speech(modem: Row) -> bool:
    capabilities = texts(modem, "capabilities")
    return "gsm" in capabilities and "data" not in capabilities


def modem_fields(modem: Row, now: int) -> list[tuple[str, str]]:
    """A modem in full; what is not known is left out later."""
    state = clean(text(modem, "state"))
    since = number(modem, "state-since")
    attempts = number(modem, "attempts")
    return [
        ("name", clean(text(modem, "name"))),
        ("id", clean(text(modem, "id"))),
        ("state", f"{state} ({words.modem_state(state)})" if words.modem_state(state) != state else state),
        ("why", words.because(text(modem, "state-reason"))),
        ("since", f"{when.full(since)} ({when.ago(since, now)})" if since else ""),
        ("policy", clean(text(modem, "policy"))),
        ("rings", str(number(modem, "rings") or "")),
        ("caller", clean(text(modem, "caller-id"))),
        ("failed attempts", str(attempts or "")),
        ("next attempt", when.ago(number(modem, "next-attempt"), now)),
        ("device", clean(text(modem, "device"))),
        ("transport", clean(text(modem, "transport"))),
        ("driver", clean(text(modem, "driver"))),
        ("usb id", usb_ids(modem)),
        ("serial", clean(text(modem, "serial"))),
        ("address", clean(text(modem, "address"))),
        ("path", clean(text(modem, "sys-path"))),
        ("manufacturer", clean(text(modem, "manufacturer"))),
        ("model", clean(text(modem, "model"))),
        ("firmware", clean(text(modem, "firmware"))),
        ("can", clean(", ".join(texts(modem, "capabilities")))),
        ("but", words.NO_DATA if _is_for_speech(modem) else ""),
        ("modulations", clean(", ".join(texts(modem, "modulations")))),
        ("signal", words.signal(number(modem, "signal"))),
        ("battery", words.battery(number(modem, "battery", -1))),
    ]


def call_fields(call: Row, now: int) -> list[tuple[str, str]]:
    """A call in full."""
    start, connect, end = (number(call, key) for key in ("start-time", "connect-time", "end-time"))
    port = f"port at {number(call, 'port-rate')} bit/s" if number(call, "port-rate") else ""
    return [
        ("call", f"{number(call, 'call')}, {clean(text(call, 'direction'))}, {party(call)}"),
        ("state", words.call_state(text(call, "state"))),
        (
            "session",
            ", ".join(filter(None, (clean(text(call, "session")), words.session_state(text(call, "session-state"))))),
        ),
        ("end", words.end_reason(text(call, "end-reason")) if text(call, "end-reason") else ""),
        ("policy", clean(text(call, "policy"))),
        ("begun", f"{when.full(start)} ({when.ago(start, now)})" if start else ""),
        ("connected for", when.span((end or now) - connect) if connect else ""),
        ("line", ", ".join(filter(None, (line_words(call), port)))),
        ("interface", clean(text(call, "interface"))),
        ("address", clean(text(call, "local-address"))),
        ("far address", clean(text(call, "remote-address"))),
        ("name servers", clean(", ".join(texts(call, "dns")))),
        ("received", f"{number(call, 'rx-bytes')} bytes" if number(call, "rx-bytes") else ""),
        ("sent", f"{number(call, 'tx-bytes')} bytes" if number(call, "tx-bytes") else ""),
    ]


async def show(front: Front, remote: Remote) -> int:
    out, now = front.out, front.now()
    modem = find.chosen(front.args.modem, remote)
    call = await remote.refresh(number(modem, "call")) if number(modem, "call") else None
    if out.json:
        out.emit({**modem, "current-call": call or {}})
        return DONE
    out.line(fields(modem_fields(modem, now), out.style))
    if call is not None:
        out.line("")
        out.line(fields(call_fields(call, now), out.style))
    return DONE


def history_filter(front: Front, remote: Remote) -> Filter:
    """What was asked for, in the daemon's terms; a modem that is here may be named loosely, one long gone by its id."""
    args, now = front.args, datetime.now()
    wanted: dict[str, Plain] = {}
    for key in ("since", "until"):
        if given := getattr(args, key):
            wanted[key] = when.parse(given, now)
    if args.modem:
        try:
            wanted["modem"] = text(find.modem(args.modem, list(remote.modems.values())), "id")
        except find.NotFound:
            wanted["modem"] = args.modem
    for key in ("policy", "number", "direction"):
        if given := getattr(args, key):
            wanted[key] = given
    wanted["limit"] = args.limit
    return wanted


def history_table(calls: Sequence[Row], names: Mapping[str, str], now: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for call in calls:
        connect, end = number(call, "connect-time"), number(call, "end-time")
        modem = text(call, "modem")
        rows.append(
            (
                str(number(call, "call") or ""),
                when.stamp(number(call, "start-time"), now),
                clean(names.get(modem, modem)),
                party(call),
                clean(text(call, "policy")),
                when.span((end or now) - connect) if connect else "",
                str(number(call, "line-rate") or ""),
                words.short_end(text(call, "end-reason")) if end else words.call_state(text(call, "state")),
            )
        )
    return rows


async def history(front: Front, remote: Remote) -> int:
    out = front.out
    wanted = history_filter(front, remote)
    calls = await remote.history(wanted)
    if out.json:
        out.emit(calls)
    elif calls:
        names = {text(modem, "id"): called(modem) for modem in remote.modems.values()}
        heads = ("CALL", "BEGUN", "MODEM", "PARTY", "POLICY", "CONNECTED", "BIT/S", "END")
        out.line(table(heads, history_table(calls, names, front.now()), out.style))
        if len(calls) in (front.args.limit, MOST):
            out.advise(f"these are the newest {len(calls)}: --limit, --since and --until show others")
    else:
        out.line(words.NO_MATCH if len(wanted) > 1 else words.NO_HISTORY)
    return DONE
