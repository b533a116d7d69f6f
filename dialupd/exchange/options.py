"""The command line of dialup-exchange, read into values.

A modem is `NUMBER[:WORD[,WORD...]]`, where a word is a fault (`busy`, `drops-carrier=3`) or one of `kind=`,
`name=`, `tty=`, `ring=`, `private`.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dialupd import __version__

from .faults import Fault, parse_faults
from .kinds import KINDS
from .stations import SPECIAL
from .timing import Timing

_EXAMPLES = """\
examples:
  dialup-exchange --modem 100 --modem 200 --directory /tmp/modems
        two modems on /tmp/modems/100 and /tmp/modems/200; say ATDT200 to the first
  dialup-exchange --modem 100:kind=nokia --service '*99#=pppd noauth 10.0.0.1:10.0.0.2'
        a mobile phone, and pppd behind its data number
  dialup-exchange --modem 100:kind=voice-phone --number 300=voice
        a phone that calls a person where a modem was to be called
  dialup-exchange --modem 100:slow=2 --modem 200:drops-carrier=10 --line-rate 33600 --delay 50ms
"""


@dataclass(frozen=True, slots=True)
class ModemOption:
    """One --modem."""

    number: str
    kind: str = "conexant"
    name: str = ""
    tty: str = ""
    ring_text: str = "RING"
    private: bool = False
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """The whole command line."""

    modems: tuple[ModemOption, ...]
    services: tuple[tuple[str, tuple[str, ...]], ...]
    special: tuple[tuple[str, str], ...]
    directory: Path | None
    timing: Timing
    line_rate: int
    delay: float
    ready_fd: int
    control: Path | None
    verbose: bool


def read_options(argv: Sequence[str] | None = None) -> Options:
    """Exits with a message and status 2 for a wrong command line, as argparse does."""
    parser = _parser()
    given = parser.parse_args(argv)
    if not given.modem:
        parser.error("give at least one modem, such as --modem 100 --modem 200")
    normal = Timing()
    return Options(
        modems=tuple(given.modem),
        services=tuple(given.service),
        special=tuple(given.number),
        directory=given.directory,
        timing=Timing(
            ring_interval=normal.ring_interval if given.ring_interval is None else given.ring_interval,
            connect_time=normal.connect_time if given.connect_time is None else given.connect_time,
            dial_time=normal.dial_time if given.dial_time is None else given.dial_time,
            answer_delay=normal.answer_delay if given.answer_delay is None else given.answer_delay,
        ),
        line_rate=given.line_rate,
        delay=given.delay,
        ready_fd=given.ready_fd,
        control=given.control,
        verbose=given.verbose,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dialup-exchange",
        description="A telephone exchange with simulated modems, each on a tty of its own.",
        epilog=_EXAMPLES + "\n" + _tables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--modem", type=_modem, action="append", metavar="NUMBER[:WORD,...]",
        help="a modem; words are faults, kind=KIND, name=TEXT, tty=/dev/..., ring=TEXT, private")  # fmt: skip
    add("--service", type=_service, action="append", default=[], metavar="NUMBER=PROGRAM...",
        help="a number that runs a program on the line for each call")  # fmt: skip
    add("--number", type=_special, action="append", default=[], metavar="NUMBER=WHAT",
        help=f"a number that is {', '.join(SPECIAL)}")  # fmt: skip
    add("--directory", type=Path, help="put links named by the numbers here; it is made if need be")
    add("--line-rate", type=_rate, default=0, metavar="BIT/S", help="pace the data (default: as fast as it goes)")
    add("--delay", type=seconds, default=0.0, metavar="TIME", help="from one end to the other, such as 50ms")
    add("--ring-interval", type=_positive, metavar="TIME", help="from one RING to the next (default 6s)")
    add("--connect-time", type=seconds, metavar="TIME", help="from the answer to CONNECT (default 3s)")
    add("--dial-time", type=seconds, metavar="TIME", help="from ATD to the first ring (default 1s)")
    add("--answer-delay", type=seconds, metavar="TIME", help="how long a service lets it ring (default 1s)")
    add("--ready-fd", type=int, default=-1, metavar="N", help="write READY and a line end to this descriptor")
    add("--control", type=Path, metavar="SOCKET", help="take commands on this UNIX socket too")
    add("--verbose", action="store_true", help="log every command line")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _tables() -> str:
    kinds = "".join(f"  {kind.name:20} {kind.about}\n" for kind in KINDS.values())
    faults = ""
    for fault in Fault:
        label = fault.label if fault.number is None else f"{fault.label}[={fault.number:g}]"
        faults += f"  {label:26} {fault.about}\n"
    return f"kinds:\n{kinds}\nfaults:\n{faults}"


def _modem(text: str) -> ModemOption:
    number, _, words = text.partition(":")
    values = {"kind": "conexant", "name": "", "tty": "", "ring": "RING"}
    private, faults = False, []
    for word in filter(None, words.split(",")):
        key, given, value = word.partition("=")
        if given and key in values:
            values[key] = value
        elif word == "private":
            private = True
        else:
            faults.append(word)
    try:
        parse_faults(faults)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; or kind=, name=, tty=, ring=, private") from None
    if values["kind"] not in KINDS:
        raise argparse.ArgumentTypeError(f"there is no kind {values['kind']!a}: take one of {', '.join(KINDS)}")
    return ModemOption(number, values["kind"], values["name"], values["tty"], values["ring"], private, tuple(faults))


def _service(text: str) -> tuple[str, tuple[str, ...]]:
    number, given, command = text.partition("=")
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{command!a}: {error}") from None
    if not given or not argv:
        raise argparse.ArgumentTypeError(f"{text!a} should be NUMBER=PROGRAM ARGUMENTS")
    return number, argv


def _special(text: str) -> tuple[str, str]:
    number, _, what = text.partition("=")
    if what not in SPECIAL:
        raise argparse.ArgumentTypeError(f"{text!a} should be NUMBER={'|'.join(SPECIAL)}")
    return number, what


_TIME = re.compile(r"(?P<number>\d{1,6}(?:\.\d{1,6})?)(?P<unit>ms|s|)", re.ASCII)


def seconds(text: str) -> float:
    """`50ms`, `2s`, `0.5`."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!a} is no time: write 50ms, 2s or 0.5")
    return float(match["number"]) / (1000 if match["unit"] == "ms" else 1)


def _positive(text: str) -> float:
    value = seconds(text)
    if value < 0.01:
        raise argparse.ArgumentTypeError(f"{text!a} is too short: 10ms at least")
    return value


def _rate(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or 0 < int(text) < 75:
        raise argparse.ArgumentTypeError(f"{text!a} is no line rate: give bit/s, such as 33600")
    return int(text)
