"""What may be asked of a modem, each refused with `DialupError` when the modem is in no state for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from dialupd.at.dialstring import clean, masked, may_be, touches_line
from dialupd.at.results import Final, Result
from dialupd.at.secrecy import hidden
from dialupd.config.values import CLIENT, ClientSession, LoginSession, Mode, Policy
from dialupd.io.port import PortError
from dialupd.model import DialOptions, DialupError, Direction, EndReason, ErrorKind, ModemState
from dialupd.modem import calling, probe, timing
from dialupd.modem.callback import CallBack
from dialupd.modem.channel import Channel, NoReply, PortLost
from dialupd.modem.loan import Loan
from dialupd.modem.owner import Modem
from dialupd.modem.pauses import Pauses
from dialupd.modem.steps import Ending
from dialupd.policy import Stop
from dialupd.runtime import Foreseen
from dialupd.states import IDLE, IN_CALL, OPENING, ModemEvent, allows

DIAL_COMMAND = "ATDT"
DIAL_TIMEOUT = 70.0
"""Seconds: the modem's own wait for carrier, dialling, and some rings."""
MAX_TIMEOUT = 600.0
MAX_COMMAND = 200
MAX_WORDS = 100
"""Characters of who borrows a port, and of why."""


def dial(modem: Modem, number: str, options: DialOptions) -> int:
    """Place a call; its number."""
    _require(modem, ModemEvent.DIAL)
    cleaned, policy, own = _understood(modem, number, options)
    # A policy's own number counts for it, whoever dials it.
    return _dial(modem, cleaned, options, policy, policy if own else None)


def foresee(modem: Modem, number: str, options: DialOptions) -> Foreseen:
    """What `dial` would do."""
    _, policy, own = _understood(modem, number, options)
    session = _session(modem, options.session, policy)
    configured = own and policy is not None and session == policy.session
    clients = isinstance(modem.host.session(session), ClientSession)
    return Foreseen(session, policy.name if policy else "", configured or clients)


def _understood(modem: Modem, number: str, options: DialOptions) -> tuple[str, Policy | None, bool]:
    """The cleaned number, the policy that it is dialled by, and whether it is one of that policy's own."""
    try:
        cleaned = clean(number)
    except ValueError as error:
        raise DialupError(ErrorKind.INVALID_ARGS, str(error)) from None
    policy = _named_policy(modem, options.policy) if options.policy else modem.policy_for(Direction.OUTGOING)
    own = policy is not None and policy.mode is Mode.ORIGINATE and number_of(policy, cleaned)
    return cleaned, policy, own


def number_of(policy: Policy, number: str) -> bool:
    """Is the number, cleaned, or masked as it is shown, one of the policy's?"""
    return any(may_be(number, clean(one)) for one in policy.numbers)


def originate(modem: Modem, policy: Policy, options: DialOptions) -> int:
    """Place a call by a policy, to the number that is next; its number."""
    _require(modem, ModemEvent.DIAL)
    host = modem.host
    number = modem.memory.redialer.number(policy, host.calls_today(modem.id, policy), host.today())
    if isinstance(number, Stop):
        raise DialupError(ErrorKind.BLOCKED, f"the policy {policy.name} is blocked: {number.reason}; Resume clears it")
    return _dial(modem, clean(number), options, policy, policy)


def begin_call(modem: Modem, policy: Policy, number: str) -> None:
    """Prepare the call that a policy places by itself; the step to dialling is the activity's."""
    _prepare(modem, clean(number), DialOptions(), policy, policy)


def call_back(modem: Modem, user: str) -> None:
    """A user has logged in on the call that ends now, to be called back."""
    call = modem.call
    assert call is not None, "a session has a call"
    if call.view.direction is Direction.INCOMING:
        modem.call_backs.wanted(user, call.view.session, call.view.policy, asyncio.get_running_loop().time())


def begin_call_back(modem: Modem, wish: CallBack) -> None:
    """Prepare the call to a user's number; raises DialupError where it is not to be placed any more."""
    session = modem.host.session(wish.session)
    number = dict(session.callback).get(wish.user) if isinstance(session, LoginSession) else None
    if number is None:
        raise DialupError(ErrorKind.NOT_FOUND, f"the session {wish.session} has no number of his any more")
    if modem.host.suspended(wish.policy):
        raise DialupError(ErrorKind.BLOCKED, "its policy is suspended, or the machine goes to sleep")
    # The policy by which he called in: it bounds this call too.
    policy = modem.host.policy(wish.policy)
    _prepare(modem, clean(number), DialOptions(session=wish.session), policy, None)
    # Where the exchange leaves the line to the caller until he hangs up too, he may wait there for this call.
    assert modem.plan is not None
    modem.plan = replace(modem.plan, needs_tone=True)


def _dial(modem: Modem, number: str, options: DialOptions, policy: Policy | None, counted: Policy | None) -> int:
    call = _prepare(modem, number, options, policy, counted)
    modem.move(ModemEvent.DIAL, f"dialling {masked(number, modem.host.masking)}")
    return call


def _prepare(modem: Modem, number: str, options: DialOptions, policy: Policy | None, counted: Policy | None) -> int:
    timeout = _timeout(options, policy.timeout if policy else DIAL_TIMEOUT)
    modulation = _modulation(modem, options)
    session = _session(modem, options.session, policy)
    command = policy.dial_command if policy else DIAL_COMMAND
    how = modem.host.masking
    modem.plan = calling.dial_plan(number, command, timeout, how, reverse=options.reverse, modulation=modulation)
    modem.dialled_policy = counted
    # From here on it is only shown: the plan alone has the whole number.
    call = modem.new_call(Direction.OUTGOING, masked(number, how), policy.name if policy else "", session)
    return call.view.call


def answer(modem: Modem, options: DialOptions) -> int:
    """Answer the call that rings; its number."""
    _require(modem, ModemEvent.ANSWER)
    call = modem.call
    assert call is not None, "a modem rings only with a call"
    policy = _named_policy(modem, options.policy) if options.policy else modem.policy_for(Direction.INCOMING)
    session = _session(modem, options.session, policy)
    timeout = _timeout(options, policy.timeout if policy else calling.ANSWER_TIMEOUT)
    modem.plan = calling.Plan(calling.ANSWER, timeout, _modulation(modem, options))
    modem.first_call = None
    call.answering(session, policy.name if policy else "")
    modem.move(ModemEvent.ANSWER, "answered by hand")
    return call.view.call


def hang_up(modem: Modem, reason: EndReason = EndReason.LOCAL_HANGUP) -> None:
    """End the call in progress; a ringing one is rejected."""
    match modem.state:
        case ModemState.HANGING_UP:
            return
        case ModemState.RINGING:
            modem.first_call = None
            modem.ignore_rings()
            modem.ending = Ending(
                EndReason.REJECTED if reason is EndReason.LOCAL_HANGUP else reason, in_command_state=True
            )
        case ModemState.DIALING | ModemState.ANSWERING:
            modem.ending = Ending(reason, aborting=True)
        case ModemState.CONNECTED:
            modem.ending = Ending(reason)
        case _:
            raise DialupError(ErrorKind.WRONG_STATE, f"the modem {modem.view.name} is {modem.state}: there is no call")
    modem.move(ModemEvent.HANG_UP, "asked to hang up" if reason is EndReason.LOCAL_HANGUP else reason)


def reset(modem: Modem) -> None:
    """Bring the modem back to a known state, from the ground up."""
    modem.memory.refused_pin = ""
    _require(modem, ModemEvent.RESET)
    modem.move(ModemEvent.RESET, "asked to reset")


def enable(modem: Modem) -> None:
    """Take charge of a disabled modem; one that is not disabled stays as it is."""
    modem.memory.disabled = False
    if modem.state is not ModemState.DISABLED:
        return
    modem.pauses = Pauses()
    if modem.memory.loan is not None:
        modem.move(ModemEvent.INHIBIT, "enabled; the port is still lent")
    else:
        modem.move(ModemEvent.ENABLE if modem.device.node else ModemEvent.BIND, "enabled")


def disable(modem: Modem) -> None:
    """Leave the modem alone until it is enabled; a call in progress is hung up first."""
    modem.memory.disabled = True
    if modem.state in IN_CALL:
        hang_up(modem)
    elif modem.state is not ModemState.DISABLED:
        _require(modem, ModemEvent.DISABLE)
        modem.move(ModemEvent.DISABLE, "disabled by a person")


def set_policy(modem: Modem, name: str) -> None:
    """Give the modem another policy, "" for none."""
    if name and _named_policy(modem, name).mode is Mode.ANSWER and modem.on_demand:
        text = f"{name} answers calls, and a phone rings here only with keep-connected = true in its [[modem]]"
        raise DialupError(ErrorKind.INVALID_ARGS, text)
    modem.memory.policy = name
    refresh(modem)


def inhibit(modem: Modem, who: str, why: str) -> int:
    """Lend the port out; the borrower's descriptor, whose closing ends the loan, and nothing else does."""
    for key, text in (("who", who), ("why", why)):
        if len(text) > MAX_WORDS or not text.isprintable():
            raise DialupError(ErrorKind.INVALID_ARGS, f"{key} is at most {MAX_WORDS} printable characters")
    if modem.state in IN_CALL:
        raise DialupError(ErrorKind.WRONG_STATE, f"the modem {modem.view.name} is on a call: hang up first")
    _require(modem, ModemEvent.INHIBIT)
    if modem.memory.loan is not None:
        raise DialupError(ErrorKind.IN_PROGRESS, f"the port of the modem {modem.view.name} is lent already")

    modem.memory.loan = loan = Loan(partial(modem.host.loan_ended, modem.id))
    modem.host.loan_begun(modem.id)
    modem.close_port()
    modem.move(ModemEvent.INHIBIT, f"lent to {who}: {why}" if why else f"lent to {who}")
    return loan.borrowers


async def command(modem: Modem, text: str, timeout: float) -> tuple[str, list[str]]:
    """Send one AT command to an idle modem; its result and the lines before it."""
    line = text.strip()
    if modem.state not in IDLE and not _on_its_way(modem):
        raise _takes_no_command(modem)
    if not line.upper().startswith(("AT", "A/")) or not (line.isascii() and line.isprintable()):
        raise DialupError(
            ErrorKind.INVALID_ARGS, f"{text!a} is no command line: it begins with AT and is printable ASCII"
        )
    if len(line) > MAX_COMMAND:
        raise DialupError(ErrorKind.INVALID_ARGS, f"the command has {len(line)} characters; at most {MAX_COMMAND}")
    if touches_line(line):
        raise DialupError(ErrorKind.INVALID_ARGS, f"{line} would place, take or end a call: use Dial, Answer or HangUp")
    channel = await _line_of(modem)
    try:
        # Until all is as it was nothing else is sent: a call that begins meanwhile waits.
        async with channel.turn():
            if modem.state not in IDLE:
                raise DialupError(ErrorKind.WRONG_STATE, f"the modem {modem.view.name} is {modem.state} now")
            # V0 makes its own reply a digit already (V.250 section 6.2.6).
            channel.numeric = "V0" in line.upper()
            try:
                reply = await channel.command(line, timeout or timing.REPLY)
            finally:
                channel.numeric = False
                # E1, Q1 or V0 would leave us deaf; what else was set is the person's own wish.
                await probe.synchronise(channel)
                await probe.base(channel)
                modem.used()
    except NoReply as error:
        raise DialupError(ErrorKind.TIMEOUT, str(error)) from None
    except probe.ProbeError as error:
        if modem.channel is channel and modem.state in IDLE:
            modem.move(ModemEvent.RESET, f"deaf after {hidden(line)}")
        raise DialupError(ErrorKind.FAILED, str(error)) from None
    except (PortLost, PortError) as error:
        raise DialupError(ErrorKind.FAILED, f"the modem went away: {error}") from None
    return _words(reply.result), list(reply.information)


def _on_its_way(modem: Modem) -> bool:
    """Is the line being opened for somebody who waits for it?"""
    return modem.on_demand and modem.state in OPENING


async def _line_of(modem: Modem) -> Channel:
    """The line of an idle modem, which is opened where it rests; DialupError."""
    while _on_its_way(modem) or (modem.on_demand and modem.state in IDLE and modem.channel is None):
        modem.line_wanted += 1
        try:
            if modem.state in IDLE:
                modem.move(ModemEvent.OPEN, "the line is wanted for a command")
            await modem.out_of(OPENING)
        finally:
            modem.line_wanted -= 1
        if modem.over:
            raise DialupError(ErrorKind.FAILED, f"the modem {modem.view.name} went away")
        if modem.state is ModemState.FAILED:
            raise DialupError(ErrorKind.FAILED, modem.view.state_reason)
    if modem.state not in IDLE or modem.channel is None:
        raise _takes_no_command(modem)
    return modem.channel


def _takes_no_command(modem: Modem) -> DialupError:
    return DialupError(ErrorKind.WRONG_STATE, f"the modem {modem.view.name} is {modem.state}: it takes no command now")


def _words(result: Result) -> str:
    """The result as the modem said it; an error's detail is its whole line."""
    if result.code is Final.ERROR and result.detail:
        return result.detail
    return f"{result.code.value} {result.detail}".rstrip()


def resume(modem: Modem, policy: Policy) -> None:
    """A person lifts the policy's limits."""
    modem.memory.redialer.resume(policy, modem.host.today())
    refresh(modem)


def refresh(modem: Modem) -> None:
    """Decide anew what to do by the policy."""
    if modem.state is ModemState.BLOCKED:
        modem.move(ModemEvent.UNBLOCK, "the policy has changed")
    elif modem.state in (ModemState.READY, ModemState.RINGING):
        modem.restart()
    modem.show(replace(modem.view, policy=modem.policy.name if modem.policy is not None else ""))


def _named_policy(modem: Modem, name: str) -> Policy:
    policy = modem.host.policy(name)
    if policy is None:
        raise DialupError(ErrorKind.NOT_FOUND, f"no policy {name!r} is configured")
    return policy


def _session(modem: Modem, wanted: str, policy: Policy | None) -> str:
    name = wanted or (policy.session if policy else "") or CLIENT
    if modem.host.session(name) is None:
        raise DialupError(ErrorKind.NOT_FOUND, f"no session {name!r} is configured")
    return name


def _timeout(options: DialOptions, usual: float) -> float:
    timeout = options.timeout or usual
    if timeout > MAX_TIMEOUT:
        raise DialupError(ErrorKind.INVALID_ARGS, f"timeout is {timeout:g} s; at most {MAX_TIMEOUT:g} s make sense")
    return timeout


def _modulation(modem: Modem, options: DialOptions) -> str:
    known = modem.view.modulations
    if options.modulation and options.modulation not in known:
        names = ", ".join(known) or "it names none"
        raise DialupError(ErrorKind.INVALID_ARGS, f"{options.modulation!a} is no modulation of this modem: {names}")
    return options.modulation


def _require(modem: Modem, event: ModemEvent) -> None:
    if not allows(modem.state, event):
        why = f" ({modem.view.state_reason})" if modem.view.state_reason else ""
        mend = "; Reset tries it at once" if modem.state is ModemState.FAILED else ""
        raise DialupError(ErrorKind.WRONG_STATE, f"the modem {modem.view.name} is {modem.state}{why}{mend}")
