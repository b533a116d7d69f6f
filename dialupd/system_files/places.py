"""What goes where on the system, and why.

`PLACES` is all of it: below /usr/local and /etc, as befits what no package manager owns, with one exception that polkit
forces.
"""

from __future__ import annotations

import hashlib
import re
import stat
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
UNITS = "/usr/local/lib/systemd/system"
# dialupd.service has ProtectHome= and the sandboxes of its kind: nothing below these is to be seen in there.
UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108
# As the kernel follows them.
MOST_LINKS = 40
# What may stand in ExecStart= without quoting.
PLAIN = re.compile(r"/[A-Za-z0-9_./+-]+")
COMMANDS = ("dialupctl", "dialup-exchange")
CONFIGURATION = "/etc/dialupd"


class RefusedError(Exception):
    """It cannot be done as things are; the text says why and names the mend."""


@dataclass(frozen=True, slots=True)
class Place:
    """All files of `source`, seen from here, that match `pattern` go to `directory`."""

    source: str
    pattern: str
    directory: str
    why: str


PLACES = (
    Place("share/systemd", "*.service", UNITS, "units: the daemon, its sessions and its helpers"),
    Place("share/systemd", "*.target", UNITS, "the target that udev pulls in for a modem"),
    Place("share/systemd", "*.sysusers", "/usr/local/lib/sysusers.d", "the user and group that the daemon runs as"),
    Place("share/systemd", "*.catalog", "/usr/local/lib/systemd/catalog", "what `journalctl -x` says of its messages"),
    Place("share/dbus", "*.conf", "/etc/dbus-1/system.d", "who may own the name on the bus, and talk to it"),
    Place("share/dbus", "*.service", "/usr/local/share/dbus-1/system-services", "a message on the bus starts it"),
    Place("../bus/xml", "*.xml", "/usr/local/share/dbus-1/interfaces", "its interfaces, for programmers"),
    Place("share/dbus", "*.policy", "/usr/share/polkit-1/actions", "what polkit decides; it looks nowhere else"),
    Place("share/dbus", "*.rules", "/etc/polkit-1/rules.d", "lets the daemon start its own units, and no others"),
    Place("share/udev", "*.rules", "/usr/local/lib/udev/rules.d", "tells systemd of modems; ModemManager stays away"),
    Place("share/man", "*.1", "/usr/local/share/man/man1", "manual pages"),
    Place("share/man", "*.5", "/usr/local/share/man/man5", "manual pages"),
    Place("share/man", "*.8", "/usr/local/share/man/man8", "manual pages"),
    Place("share/completion", "dialupctl", "/usr/local/share/bash-completion/completions", "what TAB offers"),
    Place("share/example", "*.toml", CONFIGURATION, "the configuration, yours to write: it does nothing as it comes"),
)  # fmt: skip
DIRECTORIES = ((f"{CONFIGURATION}/conf.d", 0o755), (f"{CONFIGURATION}/secrets", 0o700))


@dataclass(frozen=True, slots=True)
class File:
    """What is to stand at `path`: `content`, or a link to `target`."""

    path: str
    why: str
    content: bytes = b""
    target: str = ""

    @property
    def mark(self) -> str:
        """What the manifest keeps, and what a changed file does not have."""
        return f"link {self.target}" if self.target else digest(self.content)


@dataclass(frozen=True, slots=True)
class Installation:
    """The interpreter and the directory of scripts that the units are to run."""

    python: str
    scripts: str

    @classmethod
    def running(cls) -> Installation:
        return cls(sys.executable, sysconfig.get_path("scripts"))

    def check(self) -> None:
        """Refuses paths that a unit cannot name, and scripts that are not there."""
        for path in (self.python, self.scripts):
            if not PLAIN.fullmatch(path):
                raise RefusedError(f"{path}: a unit cannot name a path with such characters; install dialupd elsewhere")
        if not Path(self.scripts, "dialupd").exists():
            raise RefusedError(f"{self.scripts}/dialupd is not there; install dialupd with pip, for instance in a venv")

    def check_trust(self) -> None:
        """Refuses an installation that a user other than root could change, or that the units cannot see."""
        places = (Path(self.python), Path(self.scripts), HERE)
        steps = {step: place for place in places for way in _ways(place) for step in (way, *way.parents)}
        for step, place in steps.items():
            if str(step) in UNSEEN:
                raise RefusedError(
                    f"{place}: the units cannot see what is below {step}; "
                    "install dialupd elsewhere, for instance in a venv at /opt/dialupd"
                )
        for step in steps:
            status = step.stat()
            if status.st_uid != 0 or stat.S_IMODE(status.st_mode) & 0o022:
                raise RefusedError(
                    f"{step}: root would run what a user other than root can change; "
                    "make it root's (chown root:root, chmod go-w) or install dialupd elsewhere"
                )


def _ways(place: Path) -> Iterator[Path]:
    """The place, each that a link leads to on the way, and where it really is."""
    yield place
    way = place
    for _ in range(MOST_LINKS):
        if not way.is_symlink():
            break
        way = way.parent / way.readlink()
        yield way.parent.resolve() / way.name
    yield place.resolve()


def wanted(installation: Installation) -> Iterator[File]:
    """Every file that an installation has."""
    for place in PLACES:
        for source in sorted((HERE / place.source).glob(place.pattern)):
            name = source.stem + ".conf" if place.pattern == "*.sysusers" else source.name
            content = source.read_bytes()
            if place.directory == UNITS:
                content = _rewritten(content, installation)
            yield File(f"{place.directory}/{name}", place.why, content)
    if installation.scripts != "/usr/local/bin":
        for name in COMMANDS:
            yield File(f"/usr/local/bin/{name}", "the commands", target=f"{installation.scripts}/{name}")


def _rewritten(unit: bytes, installation: Installation) -> bytes:
    text = re.sub(r"/usr/bin/python3(?![\w.-])", installation.python, unit.decode())
    return re.sub(r"/usr/bin/dialupd(?![\w.-])", f"{installation.scripts}/dialupd", text).encode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
