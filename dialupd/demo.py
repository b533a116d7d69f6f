"""`python3 -m dialupd.demo`: a whole call, without a modem and without root.

Everything is real but the telephone network: a message bus of its own, two simulated modems on ptys, and the daemon as
it runs on a machine, with a configuration of a few lines.  One modem dials the other through the bus; a line of text
goes there and an answer comes back; the history has both calls.  All of it lives in a temporary directory and ends with
the demonstration.

It succeeds only if each step really happened; else it shows what the daemon said.  Every wait ends by an event or by
`STEP_S`, never by guessing how long something takes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from signal import Signals

from dialupd.bus.client import Client, NoDaemon, OwnerChanged
from dialupd.bus.values import CALL, call_path, modem_path
from dialupd.bus.wire import BusError
from dialupd.cli import show
from dialupd.cli.remote import Event, Remote, Thing, What
from dialupd.cli.rows import Row, called, number, text
from dialupd.cli.text import Style, clean, table
from dialupd.io.child import LINES, Child, SpawnError
from dialupd.model import CallState, Direction, ModemState

STEP_S = 15.0
"""Seconds for one step; the longest, a call, takes two on an idle machine."""
LOG_LINES = 60
"""Lines of each program that are kept, to be shown when something fails."""
QUICK: tuple[tuple[Signals, float], ...] = ((signal.SIGTERM, 3.0),)

CALLER, ANSWERER = "100", "200"
HELLO = "hello from the calling side"
LOGGED = ("exchange", "dialupd")

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""

CONFIG = """\
[daemon]
state-directory = "{state}"

[[modem]]
name = "caller"
match = {{ device = "{caller}" }}
policy = "outgoing"

[[modem]]
name = "answerer"
match = {{ device = "{answerer}" }}
policy = "incoming"

[policy.outgoing]
mode = "originate"
when = "manual"
numbers = ["{number}"]
session = "terminal"

[policy.incoming]
mode = "answer"
rings = 2
session = "greeting"

[session.terminal]
type = "client"

[session.greeting]
type = "exec"
command = ["{greeting}"]
"""

GREETING = """\
#!/bin/sh
# The program that a caller gets: the line is its terminal.
stty -echo
echo "Welcome, caller $CALLER_ID. Say something."
while read -r line; do
    echo "You said: $line"
done
"""


class Failed(Exception):
    """A step did not happen; the text says which and why."""


class Stage:
    """What the steps share: where the files are, how long it has taken, what the programs said."""

    def __init__(self, directory: Path, programs: AsyncExitStack) -> None:
        self.directory = directory
        self.logs: dict[str, deque[str]] = {name: deque(maxlen=LOG_LINES) for name in LOGGED}
        self.bus = ""
        self._programs = programs
        self._began = time.monotonic()

    def say(self, words: str) -> None:
        """One line of the story."""
        tell(f"{time.monotonic() - self._began:5.1f} s  {words}")

    def start(self, argv: list[str], on_line: Callable[[str], None]) -> Child:
        """Run a program until the end of the demonstration."""
        try:
            child = Child.spawn(argv, stdout=LINES, stderr=LINES, on_line=on_line)
        except SpawnError as error:
            raise Failed(str(error)) from error
        self._programs.push_async_callback(child.stop, QUICK)
        return child

    async def printed(self, argv: list[str], word: str, log: Callable[[str], None]) -> str:
        """Start a program and wait for its line that begins with `word`."""
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_line(line: str) -> None:
            log(line)
            if line.startswith(word) and not told.done():
                told.set_result(line)

        child = self.start(argv, on_line)
        ended = asyncio.ensure_future(child.wait())
        await asyncio.wait((told, ended), timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            raise Failed(f"{argv[0]} did not start: {ended.result() if ended.done() else 'it says nothing'}")
        return told.result()


def tell(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


async def start_bus(stage: Stage) -> None:
    config = stage.directory / "bus.conf"
    config.write_text(BUS.format(socket=stage.directory / "bus"))
    said: list[str] = []
    argv = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"]
    try:
        address = await stage.printed(argv, "unix:", said.append)
    except Failed as error:
        raise Failed(f"{error}\n  " + "\n  ".join(said or ["the package dbus-daemon has it"])) from error
    stage.bus = address.partition(",")[0]
    stage.say("a message bus of our own is up")


async def start_exchange(stage: Stage) -> tuple[str, str]:
    """The two modems' devices."""
    lines = stage.directory / "lines"
    argv = [sys.executable, "-m", "dialupd.exchange", "--modem", f"{CALLER}:name=DEMO", "--modem", ANSWERER]
    # A network in a hurry: the real one takes six seconds from ring to ring and twenty to train.
    argv += ["--ring-interval", "300ms", "--dial-time", "200ms", "--connect-time", "300ms", "--directory", str(lines)]
    await stage.printed(argv, "READY", stage.logs["exchange"].append)
    devices = os.readlink(lines / CALLER), os.readlink(lines / ANSWERER)
    stage.say(
        f"a telephone exchange with two modems: number {CALLER} on {devices[0]}, number {ANSWERER} on {devices[1]}"
    )
    return devices


async def start_daemon(stage: Stage, client: Client, devices: tuple[str, str]) -> None:
    """Returns when the daemon has its name on the bus."""
    greeting = stage.directory / "greeting"
    greeting.write_text(GREETING)
    greeting.chmod(0o755)
    (stage.directory / "state").mkdir()
    config = stage.directory / "dialupd.toml"
    config.write_text(
        CONFIG.format(
            state=stage.directory / "state",
            caller=devices[0],
            answerer=devices[1],
            number=ANSWERER,
            greeting=greeting,
        )
    )
    follower = await client.follow()
    argv = [sys.executable, "-m", "dialupd", "--config", str(config), "--bus", stage.bus]
    ended = asyncio.ensure_future(stage.start(argv, stage.logs["dialupd"].append).wait())
    named = asyncio.ensure_future(anext(follower))
    await asyncio.wait((named, ended), timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED)
    if not (named.done() and isinstance(named.result(), OwnerChanged)):
        named.cancel()
        raise Failed(f"dialupd did not start: {ended.result() if ended.done() else 'its name is not on the bus'}")
    stage.say(f"dialupd runs with {config}")


async def until(remote: Remote, what: str, happened: Callable[[], bool], seen: Callable[[Event], None]) -> None:
    """Follow what the daemon tells until `happened`."""
    try:
        async with asyncio.timeout(STEP_S):
            while not happened():
                event = await remote.next_event()
                if event.thing is Thing.DAEMON and event.what is What.LOST:
                    raise Failed("dialupd stopped")
                seen(event)
    except TimeoutError:
        raise Failed(f"{what}: not within {STEP_S:.0f} s") from None


def ready(remote: Remote) -> bool:
    states = [text(modem, "state") for modem in remote.modems.values()]
    return states == [ModemState.READY] * 2


async def both_ready(stage: Stage, remote: Remote) -> None:
    await until(remote, "both modems ready", lambda: ready(remote), lambda _: None)
    for modem in sorted(remote.modems.values(), key=called):
        what = " ".join(filter(None, (clean(text(modem, "manufacturer")), clean(text(modem, "model")))))
        stage.say(f"modem {called(modem)} is ready: {what or 'a modem'} on {text(modem, 'device')}")


async def connect(stage: Stage, remote: Remote) -> int:
    """The number of the outgoing call, when the line stands."""
    call = await remote.originate("outgoing", {})
    stage.say(f"policy outgoing dials {ANSWERER}: call {call}")

    def seen(event: Event) -> None:
        if event.what is What.RINGING:
            stage.say(
                f"modem {called(event.row)} rings, caller {clean(text(event.changed, 'caller-id')) or 'not known yet'}"
            )
        elif (
            event.thing is Thing.CALL
            and event.what is What.STATE
            and text(event.row, "direction") == Direction.INCOMING
        ):
            stage.say(f"call {number(event.row, 'call')}, incoming: {text(event.changed, 'new')}")

    def settled() -> bool:
        row = remote.call(call)
        return row is not None and text(row, "state") in (CallState.CONNECTED, CallState.ENDED)

    await until(remote, f"call {call} connected", settled, seen)
    row = remote.call(call) or {}
    if text(row, "state") != CallState.CONNECTED:
        raise Failed(f"call {call} ended: {text(row, 'end-reason')}")
    stage.say(f"call {call}, outgoing: connected{', ' + show.rate(row) if show.rate(row) else ''}")
    return call


async def talk(stage: Stage, client: Client, call: int) -> None:
    """The greeting, a line there, and an answer back."""
    (descriptor,) = await client.call(call_path(call), CALL, "Open")
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    try:
        async with asyncio.timeout(STEP_S):
            greeting = clean((await reader.readline()).decode("utf-8", "replace"))
            stage.say(f'over the line comes "{greeting}"')
            if greeting != f"Welcome, caller {CALLER}. Say something.":
                raise Failed("that is not the greeting of the answering side")
            writer.write(f"{HELLO}\r".encode())
            stage.say(f'we send "{HELLO}"')
            answer = clean((await reader.readline()).decode("utf-8", "replace"))
            stage.say(f'over the line comes "{answer}"')
            if answer != f"You said: {HELLO}":
                raise Failed("that is not the answer to what was sent")
            await client.call(call_path(call), CALL, "HangUp")
            stage.say(f"we hang up call {call}")
            await reader.read()
    except TimeoutError:
        raise Failed(f"nothing came over the line within {STEP_S:.0f} s") from None
    finally:
        writer.close()


async def over(stage: Stage, remote: Remote) -> None:
    """Both calls ended, both modems ready again, both calls in the history."""
    told: set[int] = set()

    def seen(event: Event) -> None:
        if event.thing is Thing.CALL and event.what is What.STATE and text(event.changed, "new") == CallState.ENDED:
            told.add(number(event.row, "call"))
            direction, reason = text(event.row, "direction"), text(event.changed, "reason")
            stage.say(f"call {number(event.row, 'call')}, {direction}: ended, {reason}")

    await until(remote, "the end of both calls", lambda: not remote.open_calls() and ready(remote), seen)
    stage.say("both modems are ready again")
    history = await remote.history({"limit": 2})
    names = {text(modem, "id"): called(modem) for modem in remote.modems.values()}
    now = time.time_ns() // 1000
    heads = ("CALL", "BEGUN", "MODEM", "PARTY", "POLICY", "CONNECTED", "BIT/S", "END")
    stage.say("the history has both calls:")
    tell("")
    tell(table(heads, show.history_table(history, names, now), Style.of(sys.stdout)))
    tell("")
    if {text(row, "direction") for row in history} != set(Direction) or not all(map(was_connected, history)):
        raise Failed("the history should have an outgoing and an incoming call, both connected and ended")


def was_connected(call: Row) -> bool:
    return bool(number(call, "connect-time") and number(call, "end-time"))


def whats_next(stage: Stage, remote: Remote, *, kept: bool) -> None:
    if not kept:
        tell("That was a whole call. To play with it: python3 -m dialupd.demo --keep")
        tell("To use a modem of yours: plug it in, name it in /etc/dialupd/dialupd.toml, systemctl start dialupd,")
        tell("and see what it does with: dialupctl monitor")
        return
    caller = next(modem for modem in remote.modems.values() if called(modem) == "caller")
    busctl = f"busctl --address={stage.bus}"
    path = modem_path(text(caller, "id"))
    tell("It goes on running. In another terminal try, in this directory:")
    for line in (
        f"alias dialupctl='{sys.executable} -m dialupd.ctl --bus {stage.bus}'",
        "dialupctl status",
        "dialupctl monitor",
        "dialupctl dial outgoing",
        "dialupctl hangup all",
        "dialupctl terminal caller 200",
        "dialupctl dial caller 999",
        "dialupctl command caller ATI3",
        "dialupctl history",
        f"{busctl} tree org.dialupd1",
        f"{busctl} introspect org.dialupd1 {path}",
        f"{busctl} call org.dialupd1 {path} org.dialupd1.Modem Dial 'sa{{sv}}' {ANSWERER} 0",
    ):
        tell(f"  {line}")
    tell(f"The configuration is {stage.directory / 'dialupd.toml'}; Ctrl-C ends everything.")


async def play(stage: Stage, *, keep: bool) -> None:
    await start_bus(stage)
    devices = await start_exchange(stage)
    async with await Client.connect(stage.bus) as client:
        await start_daemon(stage, client, devices)
        async with Remote(stage.bus) as remote:
            await both_ready(stage, remote)
            call = await connect(stage, remote)
            await talk(stage, client, call)
            await over(stage, remote)
            whats_next(stage, remote, kept=keep)
            while keep:
                await remote.next_event()


async def perform(*, keep: bool) -> int:
    """The exit code; everything that was started has ended."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="dialupd-demo-"))
        stage = Stage(Path(directory), await stack.enter_async_context(AsyncExitStack()))
        try:
            await play(stage, keep=keep)
        except (Failed, NoDaemon, BusError) as error:
            stage.say(f"failed: {error}")
            for name, lines in stage.logs.items():
                tell(f"\nwhat {name} said last:")
                tell("\n".join(f"  {clean(line)}" for line in lines) or "  nothing")
            return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m dialupd.demo", description="A whole call without a modem.")
    parser.add_argument("--keep", action="store_true", help="leave it running afterwards, to play with, until Ctrl-C")
    keep = parser.parse_args().keep
    try:
        return asyncio.run(perform(keep=keep))
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell("")
        return 0 if keep else 130


if __name__ == "__main__":
    sys.exit(main())
