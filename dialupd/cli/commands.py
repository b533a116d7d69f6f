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
from dialupd.cli import act, find, follow, show
from dialupd.cli.check import check
from dialupd.cli.front import DONE, FAILED, NO_DAEMON, USAGE, Front, Usage, front
from dialupd.cli.remote import BusError, NoDaemon, Remote, kind_of
from dialupd.cli.text import clean
from dialupd.cli.when import NoTime
from dialupd.io.configfile import DEFAULT
from dialupd.model import Direction, ErrorKind

Run = Callable[[Front], Awaitable[int]]
Declare = Callable[[argparse.ArgumentParser], None]

INTERRUPTED = 130
"""What a shell says of a program that SIGINT ended."""

LOG_LEVELS = ("error", "warning", "info", "debug")
LONGEST_WAIT = 600
"""Seconds; the daemon's own bound for a command, and more than any network lets a call ring."""
LONGEST_LINE = 1000
"""Characters of a complaint's line; the path of a configuration file may be long."""
MODEM_HELP = "its id, name, device node (ttyACM0), or the beginning of one of them"


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


def nothing(parser: argparse.ArgumentParser) -> None:
    """No argument."""


def one_modem(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("modem", metavar="MODEM", help=MODEM_HELP)


def one_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("policy", metavar="POLICY", help="its name in the configuration")


def no_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-wait", action="store_true", help="return at once instead of waiting for the connection")


def seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= LONGEST_WAIT):
        raise argparse.ArgumentTypeError(f"{text!a} must be a whole number of seconds from 1 to {LONGEST_WAIT}")
    return int(text)


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 32):
        raise argparse.ArgumentTypeError(f"{text!a} must be a whole number")
    return int(text)


def dial_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="MODEM|POLICY", help=f"with NUMBER a modem ({MODEM_HELP}), else a policy")
    parser.add_argument("number", metavar="NUMBER", nargs="?", help="digits, * # + A-D and , W @ ! T P")
    parser.add_argument("--session", metavar="NAME", help="the session that gets the line, instead of the policy's")
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, help="give up after this time")
    parser.add_argument("--reverse", action="store_true", help="dial in answer mode (the R suffix)")
    no_wait(parser)


def answer_arguments(parser: argparse.ArgumentParser) -> None:
    one_modem(parser)
    parser.add_argument("--session", metavar="NAME", help="the session that gets the line, instead of the policy's")
    no_wait(parser)


def hangup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="MODEM | call N | all", nargs="+", help="which call to end")
    parser.add_argument(
        "--no-wait", action="store_true", help="return at once instead of waiting for the modem to be free"
    )


def history_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", metavar="TIME", help="calls begun at or after: 2026-03-01, 14:00, today, yesterday, 2h, 7d"
    )
    parser.add_argument("--until", metavar="TIME", help="calls begun before")
    parser.add_argument("--modem", metavar="MODEM", help="one modem's; its id for one that is not here any more")
    parser.add_argument("--policy", metavar="POLICY", help="one policy's")
    parser.add_argument("--number", metavar="NUMBER", help="to or from this number")
    parser.add_argument("--direction", choices=[str(one) for one in Direction])
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count,
        default=50,
        help="the newest N (default 50; 0 for as many as there are, at most 1000)",
    )


def check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", default=DEFAULT, help=f"default {DEFAULT}")


def policy_arguments(parser: argparse.ArgumentParser) -> None:
    one_modem(parser)
    parser.add_argument("policy", metavar="POLICY", help="its name in the configuration, or none")


def command_arguments(parser: argparse.ArgumentParser) -> None:
    one_modem(parser)
    parser.add_argument("at", metavar="AT…", nargs="+", help="the command; its parts are joined by blanks")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=5, help="wait so long for the answer (default 5)"
    )


def level_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("level", choices=LOG_LEVELS)


COMMANDS = (
    Command(
        "status",
        "all modems and policies, with why they are as they are",
        asks(show.status),
        nothing,
        ("dialupctl", "dialupctl status", "dialupctl --json status | jq '.modems[].state'"),
        "This is what dialupctl without a subcommand does.",
    ),
    Command(
        "show",
        "all that is known of a modem and its call",
        asks(show.show),
        one_modem,
        ("dialupctl show rack", "dialupctl show /dev/ttyACM0"),
    ),
    Command(
        "monitor",
        "follow modems and calls as things happen",
        asks(follow.monitor),
        nothing,
        ("dialupctl monitor", "dialupctl --json monitor | jq --unbuffered ."),
        "Ends by Ctrl-C. With --json each line is one object. If the daemon stops, monitor waits for its return.",
    ),
    Command(
        "dial",
        "dial a number on a modem, or let a policy dial",
        asks(follow.dial),
        dial_arguments,
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
        answer_arguments,
        ("dialupctl answer rack", "dialupctl answer rack --session console"),
    ),
    Command(
        "hangup",
        "end a call",
        asks(act.hangup),
        hangup_arguments,
        ("dialupctl hangup rack", "dialupctl hangup call 12", "dialupctl hangup all"),
    ),
    Command("enable", "put a disabled modem to use again", asks(act.enable), one_modem, ("dialupctl enable rack",)),
    Command("disable", "leave a modem alone", asks(act.disable), one_modem, ("dialupctl disable rack",)),
    Command("reset", "bring a modem back to a known state", asks(act.reset), one_modem, ("dialupctl reset rack",)),
    Command(
        "history",
        "past calls, newest first",
        asks(show.history),
        history_arguments,
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
        check_arguments,
        ("dialupctl check", "dialupctl check ./dialupd.toml"),
        "Needs no daemon. The files of conf.d beside FILE are read too.",
    ),
    Command("reload", "make the daemon read its configuration again", asks(act.reload), nothing, ("dialupctl reload",)),
    Command("rescan", "make the daemon look for modems again", asks(act.rescan), nothing, ("dialupctl rescan",)),
    Command("suspend", "keep a policy from acting", asks(act.suspend), one_policy, ("dialupctl suspend uplink",)),
    Command(
        "resume",
        "let a policy act again; clears a block too",
        asks(act.resume),
        one_policy,
        ("dialupctl resume uplink",),
    ),
    Command(
        "set-policy",
        "give a modem another policy until the next reload",
        asks(act.set_policy),
        policy_arguments,
        ("dialupctl set-policy rack console-in", "dialupctl set-policy rack none"),
    ),
    Command(
        "command",
        "send an AT command and print the answer",
        asks(act.command),
        command_arguments,
        ("dialupctl command rack ATI3", 'dialupctl command rack \'AT+CGDCONT=1,"IP","internet"\''),
        "Exit 0 only when the modem says OK.",
    ),
    Command(
        "log-level",
        "how much the daemon logs",
        asks(act.log_level),
        level_arguments,
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


def main(argv: Sequence[str] | None = None) -> int:
    """dialupctl; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    given = front(build().parse_args(argv))
    try:
        code = perform(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader had enough (`| head`); Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return code
