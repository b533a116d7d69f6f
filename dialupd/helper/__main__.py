"""`python3 -I -m dialupd.helper WORK [INSTANCE]`: what the units of dialupd run, started by systemd and nobody else."""

from __future__ import annotations

import dialupd.lean  # noqa: F401

# isort: split
import argparse
import sys

from dialupd.io.configfile import DEFAULT
from dialupd.sessions.protocol import Kind


def main(argv: list[str] | None = None) -> int:
    """0 done, 1 failed, 2 usage."""
    args = _parser().parse_args(argv)
    match args.work:
        case "config":
            from dialupd.helper import config  # each with its own libraries: a session needs none of udev's

            return config.main(args.config)
        case "usbserial":
            from dialupd.helper import bind

            return bind.main(args.instance, args.config)
        case work:
            from dialupd.helper import session

            return session.main(Kind(work), args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dialupd.helper", description=__doc__)
    parser.add_argument("--config", default=DEFAULT, metavar="FILE", help="the configuration (default: %(default)s)")
    parser.add_argument(
        "--run-directory", default="/run/dialupd", metavar="DIR", help="the daemon's (default: %(default)s)"
    )
    parser.add_argument(
        "--daemon",
        default="dialupd",
        metavar="USER",
        help="whose daemon is obeyed, beside root's (default: %(default)s)",
    )
    parser.add_argument(
        "--user",
        default="dialupd-session",
        metavar="USER",
        help="as whom sessions run that name nobody (default: %(default)s)",
    )
    works = parser.add_subparsers(dest="work", required=True, metavar="WORK")
    for kind in Kind:
        works.add_parser(kind.value, help=f"hold a session of kind {kind}").add_argument("instance", metavar="CALL")
    usbserial = works.add_parser("usbserial", help="bind USB devices to the generic serial driver")
    usbserial.add_argument("instance", metavar="VENDOR-PRODUCT")
    works.add_parser("config", help="make the configuration known to udev, and keep a copy of it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
