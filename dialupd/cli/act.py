"""The subcommands that ask the daemon to do one thing and say what was done."""

from __future__ import annotations

import asyncio

from dialupd.cli import find
from dialupd.cli.front import DONE, FAILED, Front, Usage
from dialupd.cli.remote import Remote
from dialupd.cli.rows import Plain, Row, called, number, text
from dialupd.cli.text import clean
from dialupd.states import IN_CALL

HANG_UP_S = 60.0
"""A modem that does not listen is asked in several ways and then reset, which takes its time."""
LINE = 2000
"""Characters of one line of a modem's answer that are shown."""

_DONE = {
    "Enable": "in use again: it is probed now",
    "Disable": "disabled: dialupd leaves it alone until dialupctl enable",
    "Reset": "being reset",
}


class StillBusy(Exception):
    """What was asked for goes on for longer than anybody waits."""


def chosen(front: Front, remote: Remote) -> Row:
    return find.chosen(front.args.modem, remote)


async def _modem_does(front: Front, remote: Remote, member: str) -> int:
    modem = chosen(front, remote)
    await remote.on_modem(modem, member)
    return front.out.done(f"{clean(called(modem))}: {_DONE[member]}", {"modem": text(modem, "id")})


async def enable(front: Front, remote: Remote) -> int:
    return await _modem_does(front, remote, "Enable")


async def disable(front: Front, remote: Remote) -> int:
    return await _modem_does(front, remote, "Disable")


async def reset(front: Front, remote: Remote) -> int:
    return await _modem_does(front, remote, "Reset")


async def hangup(front: Front, remote: Remote) -> int:
    """`MODEM`, `call N` or `all`; a modem of the name `all` or `call` is reached by its id.

    Waits until the modem takes a next call, so that one may be dialled at once.
    """
    match front.args.what:
        case ["all"]:
            calls = remote.open_calls()
        case ["call", wanted]:
            calls = [_call_of_number(remote, wanted)]
        case ["call"]:
            raise Usage("say which call: dialupctl hangup call N")
        case [wanted]:
            modem = find.chosen(wanted, remote)
            await remote.on_modem(modem, "HangUp")
            return await _hung_up(front, remote, [modem])
        case _:
            raise Usage("say what to hang up: a MODEM, call N, or all")
    for call in calls:
        await remote.hang_up_call(number(call, "call"))
    return await _hung_up(front, remote, [remote.modem(text(call, "modem")) for call in calls])


def _call_of_number(remote: Remote, wanted: str) -> Row:
    if not (wanted.isascii() and wanted.isdigit()):
        raise Usage(f"{clean(wanted)!r} is no call number: see dialupctl status")
    call = remote.call(int(wanted))
    if call is None:
        under_way = [f"call {number(one, 'call')}" for one in remote.open_calls()]
        raise find.NotFound(f"no call {int(wanted)}: there is {find.offer(under_way) if under_way else 'none'}")
    return call


async def _hung_up(front: Front, remote: Remote, modems: list[Row]) -> int:
    ids = [text(modem, "id") for modem in modems]
    names = ", ".join(clean(called(modem)) for modem in modems)
    if front.args.no_wait:
        return front.out.done(f"{names}: hanging up" if ids else "no call is under way", {"modems": ids})
    try:
        async with asyncio.timeout(HANG_UP_S):
            while any(text(remote.modem(one), "state") in IN_CALL for one in ids):
                await remote.next_event()
    except TimeoutError:
        raise StillBusy(f"{names}: still hanging up after {HANG_UP_S:.0f} s; see dialupctl status") from None
    return front.out.done(f"{names}: hung up" if ids else "no call is under way", {"modems": ids})


async def set_policy(front: Front, remote: Remote) -> int:
    modem = chosen(front, remote)
    policy = (
        "" if front.args.policy in ("none", "") else find.policy(front.args.policy, [one[0] for one in remote.policies])
    )
    await remote.on_modem(modem, "SetPolicy", "s", policy)
    told = f"policy {clean(policy)} from now on" if policy else "no policy from now on: it does only what you ask"
    return front.out.done(f"{clean(called(modem))}: {told}", {"modem": text(modem, "id"), "policy": policy})


async def command(front: Front, remote: Remote) -> int:
    """Sends an AT command; a result other than OK is a failure."""
    modem = chosen(front, remote)
    at_command = " ".join(front.args.at)
    result, lines = await remote.command(modem, at_command, round(front.args.timeout * 1000))
    if front.out.json:
        front.out.emit({"result": result, "lines": lines})
    else:
        for line in [*lines, result]:
            front.out.line(clean(line, LINE))
    return DONE if result == "OK" else FAILED


async def reload(front: Front, remote: Remote) -> int:
    """Reads the configuration again; an error in it is the daemon's answer."""
    await remote.ask_manager("Reload")
    return front.out.done("configuration read", {"config-file": text(remote.manager, "config-file")})


async def rescan(front: Front, remote: Remote) -> int:
    await remote.ask_manager("Rescan")
    return front.out.done("looking for modems: see dialupctl status", {})


async def _policy_does(front: Front, remote: Remote, member: str, told: str) -> int:
    policy = find.policy(front.args.policy, [one[0] for one in remote.policies])
    await remote.ask_manager(member, "s", policy)
    return front.out.done(f"{clean(policy)}: {told}", {"policy": policy})


async def suspend(front: Front, remote: Remote) -> int:
    return await _policy_does(
        front, remote, "Suspend", "suspended: it neither answers nor dials until dialupctl resume"
    )


async def resume(front: Front, remote: Remote) -> int:
    return await _policy_does(front, remote, "Resume", "in force")


async def log_level(front: Front, remote: Remote) -> int:
    level = front.args.level
    await remote.ask_manager("SetLogLevel", "s", level)
    value: dict[str, Plain] = {"log-level": level}
    return front.out.done(f"the daemon logs {level} and above: see journalctl -u dialupd", value)
