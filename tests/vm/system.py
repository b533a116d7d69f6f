"""The packaged service in a guest, and people who use it.

`System` configures dialupd as an administrator would, in /etc/dialupd, and starts it with systemctl.  A `Person` is an
ordinary user with a session of logind's own making, at the machine or from afar.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from tests.vm.client import NAME, PATIENCE_S, Client
from tests.vm.guest import Guest, Result

CONFIG = "/etc/dialupd/dialupd.toml"
UNIT = "dialupd.service"
BARE = "env -u PYTHONPATH -u PYTHONDONTWRITEBYTECODE "
"""Before a command of the package: it must find its modules by itself."""


class System(Client):
    """dialupd as a service of the system."""

    def __init__(self, guest: Guest, config: str) -> None:
        super().__init__(guest, "dialupd", "busctl --json=short")
        self.configure(config)
        guest.run(f"systemctl enable {UNIT} && systemctl reload-or-restart {UNIT}", timeout=2 * PATIENCE_S)

    def configure(self, text: str) -> None:
        self.guest.write(CONFIG, text)

    @property
    def pid(self) -> int:
        return int(self.show(UNIT, "MainPID"))

    def show(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.guest.run(f"systemctl show -P {what} {shlex.quote(unit)}").out.strip()

    def units(self, pattern: str = "dialupd-*@*.service") -> list[str]:
        """The units that match and run or are about to."""
        states = "--state=active,activating,deactivating,reloading"
        listing = self.guest.run(f"systemctl list-units --plain --no-legend {states} '{pattern}'").out
        return sorted(line.split()[0] for line in listing.splitlines())

    def journal(self, words: str = "-u dialupd -o cat") -> str:
        return self.guest.run(f"journalctl -q --no-pager {words}").out

    def answers(self, timeout: float = PATIENCE_S) -> None:
        """Wait until the name has an owner on the bus that tells its objects."""
        tree = f"{self.busctl} --auto-start=no call {NAME} /org/dialupd1 org.freedesktop.DBus.ObjectManager"
        self.guest.until(f"{tree} GetManagedObjects >/dev/null 2>&1", timeout)

    def ctl(self, words: str, check: bool = True) -> Any:
        """dialupctl with --json; its answer."""
        out = self.guest.run(f"{BARE} dialupctl --json {words}", timeout=90, check=check).out
        return json.loads(out) if out.strip() else None


@dataclass(frozen=True, slots=True)
class Person:
    """A user with a session; `run` does something in it."""

    guest: Guest
    name: str
    session: str

    def run(self, cmd: str, timeout: float = 30) -> Result:
        """A shell command within the person's session, with nothing of the lab's environment; whatever it gives."""
        within = f"/sys/fs/cgroup/user.slice/user-$(id -u {self.name}).slice/session-{self.session}.scope/cgroup.procs"
        become = f"setpriv --reuid={self.name} --regid={self.name} --init-groups env -i PATH=/usr/bin:/bin LANG=C.UTF-8"
        quoted = shlex.quote(cmd)
        return self.guest.run(f"echo $$ > {within} && exec {become} sh -c {quoted}", timeout, check=False)


def at_the_machine(guest: Guest, name: str) -> Person:
    """Log a user in on the first console: an active local session."""
    tty = "-p TTYPath=/dev/tty1 -p StandardInput=tty -p StandardOutput=journal"
    guest.run(f"systemd-run -q --unit=lab-{name} -p PAMName=login -p User={name} {tty} sleep infinity")
    return Person(guest, name, _session(guest, name, {"Seat": "seat0", "Active": "yes", "Remote": "no"}))


def from_afar(guest: Guest, name: str) -> Person:
    """Log a user in from another machine: a session without a seat."""
    login = f'EXEC:"login -f -h 192.0.2.7 {name}",pty,setsid,ctty,stderr'
    guest.spawn(f"lab-{name}", f"sh -c 'sleep infinity | socat - {login}'")
    return Person(guest, name, _session(guest, name, {"Seat": "", "Active": "yes", "Remote": "yes"}))


def _session(guest: Guest, name: str, wanted: dict[str, str]) -> str:
    """The number of a user's session, once it is there; it must be what was wanted."""
    session = guest.until(f"loginctl show-user -P Sessions {name} 2>/dev/null | grep .").out.split()[0]
    guest.until(f"test -d /sys/fs/cgroup/user.slice/user-$(id -u {name}).slice/session-{session}.scope")
    for key, value in wanted.items():
        guest.until(f'test "$(loginctl show-session -P {key} {session})" = "{value}"')
    return session
