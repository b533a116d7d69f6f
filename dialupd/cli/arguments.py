"""The arguments of the subcommands, as argparse takes them."""

from __future__ import annotations

import argparse

from dialupd.io.configfile import DEFAULT
from dialupd.model import Direction

LOG_LEVELS = ("error", "warning", "info", "debug")
LONGEST_WAIT = 600
"""Seconds; the daemon's own bound for a command, and more than any network lets a call ring."""
MODEM_HELP = "its id, name, device node (ttyACM0), or the beginning of one of them"


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


def terminal_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "dialupctl terminal [options] MODEM [NUMBER] [-- PROGRAM ...]\n       dialupctl terminal [options] POLICY"
    )
    parser.add_argument(
        "target", metavar="MODEM|POLICY", help=f"a modem ({MODEM_HELP}), or a policy, which dials its own"
    )
    parser.add_argument(
        "number", metavar="NUMBER", nargs="?", help="to dial; without one, the call that rings or waits, or the modem"
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, help="give up dialling after this time")
    parser.add_argument("--reverse", action="store_true", help="dial in answer mode (the R suffix)")
    parser.add_argument(
        "--hang-up-at-eof", action="store_true", help="hang up at the end of a standard input that is no terminal"
    )
    parser.add_argument(
        "--speed",
        metavar="RATE",
        type=count,
        default=115200,
        help="of the port, for talking to the modem itself (default 115200)",
    )
    parser.set_defaults(session=None, program=[])


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
