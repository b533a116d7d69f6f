"""What a test has in its hands: the hub of emulated modems, and daemons asked over D-Bus as any client would.

`Plug` commands plug.py in the guest.  `Daemon` runs `python3 -m dialupd` from the tree, on the system bus or on a
private one, in the root network namespace or in another.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from tests.vm import plug
from tests.vm.client import NAME, PATIENCE_S, Client
from tests.vm.guest import Guest, GuestError


class Plug:
    """The hub of emulated USB modems; see plug.py for the words."""

    def __init__(self, guest: Guest, line_rate: int = 0) -> None:
        self.guest = guest
        guest.spawn("plug", f"python3 -m tests.vm.plug serve --line-rate {line_rate}")
        guest.until(f"test -S {plug.SOCKET}", timeout=60)

    def __call__(self, words: str) -> dict[str, Any]:
        request = shlex.quote(json.dumps(plug.parse(shlex.split(words))))
        # a client in Python would cost the guest half a second each time
        out = self.guest.run(f"echo {request} | socat -t 60 - UNIX-CONNECT:{plug.SOCKET}", timeout=90).out
        answer: dict[str, Any] = json.loads(out)
        if "error" in answer:
            raise GuestError(f"plug {words}: {answer['error']}")
        return answer

    def add(self, vid: str, pid: str, serial: str, words: str = "") -> dict[str, Any]:
        return self(f"add --vid {vid} --pid {pid} --serial {serial} {words}")

    def conexant(self, serial: str, words: str = "") -> dict[str, Any]:
        return self.add("0572", "1340", serial, words)


class Daemon(Client):
    """One running dialupd."""

    def __init__(self, guest: Guest, config: str, *, name: str = "dialupd", netns: str = "") -> None:
        self._inside = f"ip netns exec {netns} " if netns else ""
        self.config = f"/etc/{name}.toml"
        self.bus = f"unix:path=/run/{name}-bus" if netns else "system"
        super().__init__(guest, name, "busctl --json=short" + (f" --address={self.bus}" if netns else ""))
        self.write_config(config)
        if netns:
            guest.spawn(f"{name}-bus", f"dbus-daemon --session --nofork --address={self.bus}")
            guest.until(f"test -S /run/{name}-bus")
        else:
            guest.run("cp /src/dbus/org.dialupd1.conf /etc/dbus-1/system.d/")
            guest.run("busctl call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig")
        self.pid = 0
        self.start()

    def write_config(self, text: str) -> None:
        self.guest.write(self.config, f'[daemon]\nstate-directory = "/var/lib/{self.name}"\n{text}')
        self.guest.run(f"mkdir -p /var/lib/{self.name}")

    def start(self) -> None:
        """Start it and wait until it has its name on the bus."""
        command = f"{self._inside}python3 -m dialupd --config {self.config} --bus {self.bus}"
        self.pid = self.guest.spawn(self.name, command)
        busy = f"kill -0 {self.pid} 2>/dev/null && {self.busctl} status {NAME} >/dev/null 2>&1"
        ended = f"! kill -0 {self.pid} 2>/dev/null"
        self.guest.until(f"{busy} || {ended}", PATIENCE_S)
        if self.guest.run(f"kill -0 {self.pid}", check=False).rc:
            raise GuestError(f"{self.name} ended at once:\n{self.log()}")

    def log(self) -> str:
        """What it has written to its log."""
        return self.guest.read(self.guest.logs[self.name])

    def stop(self, signal: str = "TERM") -> int:
        """End it with a signal; gives its exit status."""
        self.guest.run(f"kill -{signal} {self.pid}")
        return self.guest.wait(self.pid, 30)

    def ctl(self, words: str, check: bool = True) -> Any:
        """dialupctl with --json; its answer."""
        out = self.guest.run(f"python3 -m dialupd.ctl --bus {self.bus} --json {words}", timeout=90, check=check).out
        return json.loads(out) if out.strip() else None


def hold(guest: Guest, node: str) -> int:
    """A program that reads the port to its end and then keeps the dead descriptor; gives its pid."""
    code = "import os, signal, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print('open', flush=True)"
    guest.write("/tmp/hold.py", code + "; os.read(fd, 1); print('ended', flush=True); signal.pause()\n")
    pid = guest.spawn("holder", f"python3 /tmp/hold.py {node}")
    guest.until("grep -q open /var/log/lab-holder.log")
    return pid
