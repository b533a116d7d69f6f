"""The table of subcommands, and the program around it.

Everything about a subcommand stands in its entry: what `--help` says, its examples, its arguments, what runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dialupd import __version__
from dialupd.cli import act, arguments, find, follow, show, terminal
from dialupd.cli.check import check
from dialupd.cli.front import DONE, FAILED, NO_DAEMON, USAGE, Front, Usage, front
from dialupd.cli.remote import BusError, NoDaemon, Remote, kind_of
from dialupd.cli.text import clean
from dialupd.cli.when import NoTime
from dialupd.model import ErrorKind

Run = Callable[[Front], Awaitable[int]]
Declare = Callable[[argparse.ArgumentParser], None]

INTERRUPTED = 130
"""What a shell says of a program that SIGINT ended."""

LONGEST_LINE = 1000
"""Characters of a complaint's line; the path of a configuration file may be long."""


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    summary: str
    run: Run
    declare: Declare
    examples: tuple[str, ...] = ()
    more: str = ""


def asks(run: Callable[[Front, Remote], Awaitable[int]]) -> Run:
    """A subcommand that needs the daemon."""

    async def with_daemon(given: Front) -> int:
        async with given.remote() as remote:
            return await run(given, remote)

    return with_daemon


COMMANDS = (
    Command(
        "status",
        "all modems and policies, with why they are as they are",
        asks(show.status),
        arguments.nothing,
        ("dialupctl", "dialupctl status", "dialupctl --json status | jq '.modems[].state'"),
        "This is what dialupctl without a subcommand does.",
    ),
    Command(
        "show",
        "all that is known of a modem and its call",
        asks(show.show),
        arguments.one_modem,
        ("dialupctl show rack", "dialupctl show /dev/ttyACM0"),
    ),
    Command(
        "monitor",
        "follow modems and calls as things happen",
        asks(follow.monitor),
        arguments.nothing,
        ("dialupctl monitor", "dialupctl --json monitor | jq --unbuffered ."),
        "Ends by Ctrl-C. With --json each line is one object. If the daemon stops, monitor waits for its return.",
    ),
    Command(
        "dial",
        "dial a number on a modem, or let a policy dial",
        asks(follow.dial),
        arguments.dial_arguments,
        (
            "dialupctl dial uplink",
            "dialupctl dial rack 5551212 --session internet",
            "dialupctl dial ttyACM0 '*99#' --timeout 30",
        ),
        "Waits until the call is connected (exit 0) or ended (exit 1, with the reason). Ctrl-C meanwhile hangs up.",
    ),
    Command(
        "answer",
        "answer the call that rings",
        asks(follow.answer),
        arguments.answer_arguments,
        ("dialupctl answer rack", "dialupctl answer rack --session console"),
    ),
    Command(
        terminal.NAME,
        "talk to the far end of a call, or have a program talk to it",
        asks(terminal.terminal),
        arguments.terminal_arguments,
        (
            "dialupctl terminal rack 5551212",
            "dialupctl terminal uplink",
            "dialupctl terminal rack 5551212 -- sz report.txt",
            "dialupctl terminal rack",
        ),
        "At the beginning of a line, ~. ends the call, ~C runs a command on the line (sz FILE, rz), ~? tells more.\n"
        "Without NUMBER it answers the call that rings or takes one that waits for a client; if there is none, it\n"
        "talks to the modem itself. PROGRAM gets the line as standard input and output, and gives the exit code.",
    ),
    Command(
        "hangup",
        "end a call",
        asks(act.hangup),
        arguments.hangup_arguments,
        ("dialupctl hangup rack", "dialupctl hangup call 12", "dialupctl hangup all"),
    ),
    Command(
        "enable", "put a disabled modem to use again", asks(act.enable), arguments.one_modem, ("dialupctl enable rack",)
    ),
    Command("disable", "leave a modem alone", asks(act.disable), arguments.one_modem, ("dialupctl disable rack",)),
    Command(
        "reset", "bring a modem back to a known state", asks(act.reset), arguments.one_modem, ("dialupctl reset rack",)
    ),
    Command(
        "history",
        "past calls, newest first",
        asks(show.history),
        arguments.history_arguments,
        (
            "dialupctl history --since today",
            "dialupctl history --modem rack --direction incoming --limit 0",
            'dialupctl --json history --since 7d | jq \'map(select(."end-reason" == "busy")) | length\'',
        ),
    ),
    Command(
        "check",
        "read the configuration and say what is wrong with it",
        check,
        arguments.check_arguments,
        ("dialupctl check", "dialupctl check ./dialupd.toml"),
        "Needs no daemon. The files of conf.d beside FILE are read too.",
    ),
    Command(
        "reload",
        "make the daemon read its configuration again",
        asks(act.reload),
        arguments.nothing,
        ("dialupctl reload",),
    ),
    Command(
        "rescan", "make the daemon look for modems again", asks(act.rescan), arguments.nothing, ("dialupctl rescan",)
    ),
    Command(
        "suspend", "keep a policy from acting", asks(act.suspend), arguments.one_policy, ("dialupctl suspend uplink",)
    ),
    Command(
        "resume",
        "let a policy act again; clears a block too",
        asks(act.resume),
        arguments.one_policy,
        ("dialupctl resume uplink",),
    ),
    Command(
        "set-policy",
        "give a modem another policy until the next reload",
        asks(act.set_policy),
        arguments.policy_arguments,
        ("dialupctl set-policy rack console-in", "dialupctl set-policy rack none"),
    ),
    Command(
        "command",
        "send an AT command and print the answer",
        asks(act.command),
        arguments.command_arguments,
        ("dialupctl command rack ATI3", 'dialupctl command rack \'AT+CGDCONT=1,"IP","internet"\''),
        "Exit 0 only when the modem says OK.",
    ),
    Command(
        "log-level",
        "how much the daemon logs",
        asks(act.log_level),
        arguments.level_arguments,
        ("dialupctl log-level debug",),
    ),
)

EXIT_CODES = "exit: 0 done, 1 failed, 2 usage, 3 no daemon"


def _epilog(command: Command) -> str:
    examples = "\n".join(f"  {example}" for example in command.examples)
    return "\n\n".join(part for part in (command.more, f"examples:\n{examples}", EXIT_CODES) if part)


def _layout(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28)


def build() -> argparse.ArgumentParser:
    """The parser, made from the table."""
    parser = argparse.ArgumentParser(
        prog="dialupctl",
        description="Shows and controls the dial-up modems in the charge of dialupd.",
        epilog=f"dialupctl COMMAND --help tells more of each, with examples.\n\n{EXIT_CODES}",
        formatter_class=_layout,
    )
    parser.add_argument(
        "--bus",
        metavar="BUS",
        default="system",
        help="system (default), session, or an address such as unix:path=/run/x",
    )
    parser.add_argument("--json", action="store_true", help="for programs: JSON with stable keys on stdout")
    parser.add_argument("--version", action="version", version=f"dialupctl {__version__}")
    parser.set_defaults(run=COMMANDS[0].run, command=COMMANDS[0].name)
    table = parser.add_subparsers(metavar="COMMAND", title="commands")
    for command in COMMANDS:
        entry = table.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog=_epilog(command),
            formatter_class=_layout,
        )
        command.declare(entry)
        # Both are accepted on either side of the subcommand; here they must not overwrite what stood before it.
        entry.add_argument("--bus", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        entry.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        entry.set_defaults(run=command.run, command=command.name)
    return parser


def perform(given: Front) -> int:
    """Run the subcommand; every failure becomes a sentence and an exit code."""
    run: Run = given.args.run

    async def whole() -> int:
        return await run(given)

    def fail(text: str, code: int) -> int:
        shown = [clean(line, LONGEST_LINE) for line in text.splitlines()]
        given.out.advise("dialupctl: " + "\n  ".join(shown))
        return code

    try:
        return asyncio.run(whole())
    except NoDaemon as error:
        fail(str(error), NO_DAEMON)
        given.out.advise(start_advice(given.args.bus))
        return NO_DAEMON
    except BusError as error:
        return fail(f"{error}{advice(error)}", FAILED)
    except (find.NotFound, act.StillBusy, NoTime) as error:
        return fail(str(error), FAILED)
    except Usage as error:
        return fail(str(error), USAGE)
    except KeyboardInterrupt:
        return DONE if given.args.command == "monitor" else INTERRUPTED


def start_advice(bus: str) -> str:
    if bus == "system":
        return "Start it with: systemctl start dialupd"
    return f"Start it with: systemctl start dialupd (system bus), or python3 -m dialupd --bus {bus}"


def advice(error: BusError) -> str:
    """What to do about an error whose text cannot say it."""
    return (
        " (try it as root, or as a user whom polkit asks for a password)"
        if kind_of(error) is ErrorKind.NOT_AUTHORIZED
        else ""
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for.  Behind `terminal ... --` stands a program's own command line, which is not ours to read."""
    cut = argv.index("--") if "--" in argv else len(argv)
    if cut == len(argv) or terminal.NAME not in argv[:cut]:
        return build().parse_args(argv)
    parser = build()
    args = parser.parse_args(argv[:cut])
    args.program = argv[cut + 1 :]
    if not args.program:
        parser.error("say which program behind --: dialupctl terminal MODEM NUMBER -- PROGRAM")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """dialupctl; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    given = front(parse(sys.argv[1:] if argv is None else argv))
    try:
        code = perform(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader had enough (`| head`); Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return code
