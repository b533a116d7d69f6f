"""The command dialupd-system-files."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dialupd.system_files.places import DIRECTORIES, UNITS, File, Installation, RefusedError, wanted
from dialupd.system_files.placing import System


def _run(*argv: str) -> bool:
    """Run one command of the system; a failure is told, with the command, and is not the end."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        print(f"dialupd-system-files: {argv[0]} is not installed; skipped: {' '.join(argv)}", file=sys.stderr)
        return False
    if done.returncode:
        print(f"dialupd-system-files: failed: {' '.join(argv)}\n{done.stderr.rstrip()}", file=sys.stderr)
    return done.returncode == 0


def _reload() -> bool:
    """Tell all that read those files, as far as they run: in a chroot or a container not all of them do."""
    bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
    readers = (
        ("/", ("journalctl", "--update-catalog")),
        ("/run/systemd/system", ("systemctl", "daemon-reload")),
        ("/run/dbus/system_bus_socket", ("busctl", "call", *bus)),
        ("/run/udev/control", ("udevadm", "control", "--reload")),
    )
    told = True
    for sign, argv in readers:
        if Path(sign).exists():
            told = _run(*argv) and told
    return told


def _list(system: System, files: Iterable[File]) -> int:
    why = ""
    for file in files:
        if file.why != why:
            why = file.why
            print(f"{why}:")
        print(f"    {system.state(file):9}  {system.place(file.path)}" + (f" -> {file.target}" if file.target else ""))
    print("the directories for more of the configuration, and for its secrets:")
    for path, mode in DIRECTORIES:
        state = "installed" if system.place(path).is_dir() else "not there"
        print(f"    {state}  {system.place(path)} (mode {mode:04o})")
    return 0


def _install(system: System, files: Sequence[File], live: bool) -> int:
    system.check_packages()
    system.install(files)
    print(f"{len(files)} files; `dialupd-system-files list` names them, `dialupd-system-files remove` takes them back")
    told = True
    if live:
        # The user first: the bus ignores a policy for one who is not there when it reads it.
        told = all(_run("systemd-sysusers", file.path) for file in files if "/sysusers.d/" in file.path)
        told = _reload() and told
        if Path("/run/systemd/system").exists():
            told = _run("systemctl", "try-restart", "dialupd.service") and told
        print("now write /etc/dialupd/dialupd.toml, and then: systemctl enable --now dialupd")
    else:
        print(f"the user is still to be created: systemd-sysusers --root={system.root}")
    return 0 if told else 1


def _remove(system: System, live: bool) -> int:
    if live and Path("/run/systemd/system").exists() and system.mark(f"{UNITS}/dialupd.service") is not None:
        _run("systemctl", "disable", "--now", "dialupd.service")
    system.remove()
    if live:
        # The user, the configuration that was changed and the history of calls are not ours to take.
        print("left: the user dialupd, and the history of calls in /var/lib/dialupd")
        return 0 if _reload() else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dialupd-system-files",
        description="Puts the units, policies, rules and manual pages of this installation of dialupd onto the system, "
        "and takes them back. The Debian package needs none of it.",
        epilog="`list` says what goes where and why, and whether it is there. `install` puts it there, creates the "
        "user dialupd, and has systemd, the bus and udev read it; it is also what an update of dialupd needs. `remove` "
        "stops the daemon and takes back all that nobody has changed since; the rest is kept and named.",
    )
    parser.add_argument("command", choices=("list", "install", "remove"))
    parser.add_argument(
        "--root", metavar="DIR", help="put the files below DIR, for an image or a look; nothing running is told"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """0 done, 1 refused or not all done, 2 usage."""
    args = _parser().parse_args(argv)
    live = args.root is None
    try:
        if live and args.command != "list" and os.geteuid() != 0:
            raise RefusedError("this changes the system and needs root; run it with sudo, or look first: list")
        installation = Installation.running()
        system = System(Path(args.root or "/").absolute())
        if args.command == "remove":
            status = _remove(system, live)
        else:
            installation.check()
            files = list(wanted(installation))
            if args.command == "list":
                status = _list(system, files)
            else:
                if live:
                    installation.check_trust()
                status = _install(system, files, live)
    except (RefusedError, OSError) as error:
        print(f"dialupd-system-files: {error}", file=sys.stderr)
        return 1
    for line in system.kept:
        print(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
