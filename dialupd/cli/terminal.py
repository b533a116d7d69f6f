"""terminal: a call whose data stream a person or a program has, or the modem itself.

Who asks for it gets the stream of a call with the session `client`, which is dialled, answered or waiting already; with
no call to be had, a modem that is free is borrowed and its port opened here.  Progress and the end are told on stderr,
so stdout has the far end's bytes alone.  Whatever ends this program also ends the call, and leaves the terminal as it
was.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from dialupd.cli import find, words
from dialupd.cli.follow import dial_options, settled_or_hung_up
from dialupd.cli.front import DONE, FAILED, Front, Usage
from dialupd.cli.join import Ended, Join, run_on, say
from dialupd.cli.remote import DialOption, NoDaemon, Remote, Thing, What
from dialupd.cli.rows import Row, called, number, text
from dialupd.cli.text import clean
from dialupd.cli.tty import Terminal
from dialupd.config.values import CLIENT, Flow
from dialupd.io.lock import LockHeldError, UucpLock
from dialupd.io.port import PortError, PortFault
from dialupd.model import RADIO, CallState, EndReason, ModemState

NAME: Final = "terminal"
END_S: Final = 15.0
"""Seconds for the call to end when the stream is closed: its last bytes go out first."""
IN_ORDER: Final = frozenset({EndReason.LOCAL_HANGUP, EndReason.REMOTE_HANGUP, EndReason.SESSION_ENDED})
HINT: Final = "~. ends it, ~? tells more"
# A modem that the daemon has used echoes nothing.
TALKATIVE: Final = b"ATE1Q0V1\r"


class NotTaken(Exception):
    """The line cannot be had; the text says why."""


class Signalled:
    """SIGTERM and SIGHUP cancel the task in their `with` block; `number` says which one came."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        # What nohup(1) has ignored stays so.
        self._signals = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]

    def __enter__(self) -> Signalled:
        for one in self._signals:
            self._loop.add_signal_handler(one, self._came, one)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._signals:
            self._loop.remove_signal_handler(one)

    def _came(self, one: signal.Signals) -> None:
        if not self.number and self._task is not None:
            self.number = one
            self._task.cancel()


async def terminal(front: Front, remote: Remote) -> int:
    """The exit code is the program's, if one was given; a signal's is 128 and its number."""
    if front.args.json:
        raise Usage("terminal has no --json: its output is the far end's")
    with Signalled() as signalled:
        try:
            call = await _begun(front, remote)
            if call:
                return await _on_call(front, remote, call)
            return await _on_modem(front, remote, find.chosen(front.args.target, remote))
        except NotTaken as error:
            say(f"dialupctl: {clean(str(error))}")
            return FAILED
        except asyncio.CancelledError:
            if not signalled.number:
                raise
            return 128 + signalled.number


async def _begun(front: Front, remote: Remote) -> int:
    """The call to have the stream of; 0 where there is none, and the modem is free."""
    args = front.args
    options: dict[str, DialOption] = {**dial_options(front), "session": CLIENT}
    if args.number:
        return await remote.dial(find.chosen(args.target, remote), args.number, options)
    if args.target in (one[0] for one in remote.policies):
        return await remote.originate(args.target, options)
    modem = find.chosen(args.target, remote)
    match text(modem, "state"):
        case ModemState.RINGING:
            return await remote.answer(modem, {"session": CLIENT})
        case _:
            return number(modem, "call")


async def _on_call(front: Front, remote: Remote, call: int) -> int:
    last = await settled_or_hung_up(front, remote, call, say)
    if text(last, "state") != CallState.CONNECTED:
        say(f"dialupctl: call {call} ended: {words.end_reason(text(last, 'end-reason'))}")
        return FAILED
    stream = await remote.open_call(call)
    ending = asyncio.create_task(_ending(remote, call), name=f"call {call} ends")
    try:
        with _closing(stream):
            if front.args.program:
                status, ended = await run_on(stream, front.args.program), Ended.HERE
            else:
                status, ended = DONE, await _joined(front, stream)
        return _told(call, ended, await _within(ending)) or status
    finally:
        ending.cancel()
        await asyncio.wait({ending})


async def _joined(front: Front, stream: int) -> Ended:
    return await Join(stream, Terminal(), hint=HINT, hang_up_at_eof=front.args.hang_up_at_eof).run()


async def _ending(remote: Remote, call: int) -> Row | None:
    """The call when it has ended; None when nobody can tell.  It may outlive a daemon that is restarted."""
    while True:
        now = remote.call(call)
        if now is not None and text(now, "state") == CallState.ENDED:
            return now
        try:
            event = await remote.next_event()
        except NoDaemon:
            return None
        gone = event.thing is Thing.CALL and event.what is What.REMOVED and number(event.row, "call") == call
        if gone or (event.what is What.BACK and remote.call(call) is None):
            return None


async def _within(ending: asyncio.Task[Row | None]) -> Row | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            return await asyncio.shield(ending)
    return None


def _told(call: int, ended: Ended, last: Row | None) -> int:
    """Tell the end; whether the call was ended by one of the two sides."""
    reason = text(last, "end-reason") if last is not None else ""
    if reason == EndReason.SESSION_ENDED or (ended is Ended.HERE and not reason):
        reason = EndReason.LOCAL_HANGUP  # the stream was ours to close
    if not reason:
        say(f"call {call} ended; the daemon cannot say why")
        return FAILED
    in_order = reason in IN_ORDER
    say(f"{'' if in_order else 'dialupctl: '}call {call} ended: {words.end_reason(reason)}")
    return DONE if in_order else FAILED


async def _on_modem(front: Front, remote: Remote, modem: Row) -> int:
    name, device = clean(called(modem)), text(modem, "device")
    if device.startswith(RADIO):
        mend = f"dialupctl command {shlex.quote(name)} AT..., or terminal with a number"
        raise NotTaken(f"{name} is a phone by Bluetooth, which has no port to open: use {mend}")
    with _closing(await remote.inhibit(modem, "terminal")), _port(device, front.args.speed) as port:
        say(f"{name}: no call, so this is the modem itself, {clean(device)} at {front.args.speed} bit/s")
        if front.args.program:
            return await run_on(port, front.args.program)
        if os.isatty(0):
            os.write(port, TALKATIVE)
        ended = await _joined(front, port)
    say(f"{name}: given back" if ended is Ended.HERE else f"dialupctl: {name}: the modem went away")
    return DONE if ended is Ended.HERE else FAILED


@contextlib.contextmanager
def _port(device: str, speed: int) -> Iterator[int]:
    """The port, opened and locked as by any program; raises NotTaken."""
    from dialupd.io.tty import open_tty  # noqa: PLC0415 - pyserial is slow to load, and few come here

    try:
        lock = UucpLock.take(device)
    except LockHeldError as error:
        raise NotTaken(str(error)) from None
    with contextlib.ExitStack() as held:
        held.callback(lock.release)
        try:
            port = open_tty(device, speed, Flow.RTSCTS)
        except PortError as error:
            denied = f"{device} is for root and the group dialout; with a number nobody needs to open it"
            raise NotTaken(denied if error.reason is PortFault.DENIED else str(error)) from None
        held.callback(os.close, port)
        yield port


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)
