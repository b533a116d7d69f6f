"""dialupd: the daemon's command line."""

from __future__ import annotations

import dialupd.lean  # noqa: F401

# isort: split
import argparse
import asyncio
import faulthandler
import sys

from dialupd import __version__
from dialupd.config.problems import ConfigError
from dialupd.control import LEVELS
from dialupd.daemon import Sessions, StartError, run
from dialupd.io.configfile import DEFAULT, read_config
from dialupd.logs import set_up_logging


def main(argv: list[str] | None = None) -> int:
    """0 ended in order, 1 failed, 2 usage."""
    args = _parser().parse_args(argv)
    if args.check:
        return _check(args.config)
    set_up_logging(args.log_level)
    # The watchdog's SIGABRT, like a crash, has each thread tell where it is.
    faulthandler.enable()
    try:
        asyncio.run(run(args.config, args.bus, Sessions(args.sessions)))
    except StartError as error:
        print(f"dialupd: {error}", file=sys.stderr)
        return 1
    return 0


def _check(path: str) -> int:
    try:
        config = read_config(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    names = ", ".join(entry.name or "(no name)" for entry in config.modems) or "none"
    print(f"{path}: good")
    print(f"modems:   {names}")
    print(f"policies: {', '.join(config.policies) or 'none'}")
    print(f"sessions: {', '.join(config.sessions) or 'none'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dialupd",
        description="Takes charge of every dial-up modem that its configuration names, and shows them on D-Bus.",
        epilog="Signals: SIGHUP reads the configuration again; SIGTERM and SIGINT hang up all calls and end. "
        "Talk to it with dialupctl or busctl.",
    )
    parser.add_argument("--config", default=DEFAULT, metavar="FILE", help="the configuration (default: %(default)s)")
    parser.add_argument(
        "--bus", default="system", metavar="BUS", help="system, session, or a D-Bus address (default: %(default)s)"
    )
    parser.add_argument(
        "--sessions",
        choices=[one.value for one in Sessions],
        default=Sessions.CHILDREN.value,
        help="where sessions run: children of the daemon, which then needs root's rights; or units of systemd, for "
        "a daemon without any, whose calls live on when it restarts (default: %(default)s)",
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="what to log (default: %(default)s)")
    parser.add_argument(
        "--check", action="store_true", help="read the configuration, say what is wrong with it, and end"
    )
    parser.add_argument("--version", action="version", version=f"dialupd {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
