"""What a test has in its hands: the hub of emulated modems, and daemons asked over D-Bus as any client would.

`Plug` commands plug.py in the guest.  `Daemon` runs `python3 -m dialupd` from the tree, on the system bus or on a
private one, in the root network namespace or in another.  What it publishes is read with busctl, which costs a guest
under emulation far less than another Python.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.vm import plug
from tests.vm.guest import Guest, GuestError

T = TypeVar("T")
Properties = dict[str, Any]

NAME = "org.dialupd1"
ROOT = "/org/dialupd1"
ASK_AGAIN_S = 0.1
"""Pause between two looks at what is published: a look takes about as long, and the guest has other work."""

PATIENCE_S = 45.0
"""Longest wait for a state; most come in a few seconds."""


class Plug:
    """The hub of emulated USB modems; see plug.py for the words."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        guest.spawn("plug", "python3 -m tests.vm.plug serve")
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


class Daemon:
    """One running dialupd."""

    def __init__(self, guest: Guest, config: str, *, name: str = "dialupd", netns: str = "") -> None:
        self.guest = guest
        self.name = name
        self._inside = f"ip netns exec {netns} " if netns else ""
        self.config = f"/etc/{name}.toml"
        self.write_config(config)
        if netns:
            self.bus = f"unix:path=/run/{name}-bus"
            guest.spawn(f"{name}-bus", f"dbus-daemon --session --nofork --address={self.bus}")
            guest.until(f"test -S /run/{name}-bus")
            self._busctl = f"busctl --address={self.bus} --json=short"
        else:
            self.bus = "system"
            guest.run("cp /src/dbus/org.dialupd1.conf /etc/dbus-1/system.d/")
            guest.run("busctl call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig")
            self._busctl = "busctl --json=short"
        self.pid = 0
        self.start()

    def write_config(self, text: str) -> None:
        self.guest.write(self.config, f'[daemon]\nstate-directory = "/var/lib/{self.name}"\n{text}')
        self.guest.run(f"mkdir -p /var/lib/{self.name}")

    def start(self) -> None:
        """Start it and wait until it has its name on the bus."""
        command = f"{self._inside}python3 -m dialupd --config {self.config} --bus {self.bus}"
        self.pid = self.guest.spawn(self.name, command)
        busy = f"kill -0 {self.pid} 2>/dev/null && {self._busctl} status {NAME} >/dev/null 2>&1"
        ended = f"! kill -0 {self.pid} 2>/dev/null"
        self.guest.until(f"{busy} || {ended}", PATIENCE_S)
        if self.guest.run(f"kill -0 {self.pid}", check=False).rc:
            raise GuestError(f"{self.name} ended at once:\n{self.log()}")

    def log(self) -> str:
        """What it has written to its log."""
        return self.guest.read(self.guest.logs[self.name])

    def follow(self) -> None:
        """Record from now on what it signals of calls, for `session_states`."""
        name = f"{self.name}-signals"
        calls = f"type='signal',sender='{NAME}',path_namespace='{ROOT}/call'"
        self.guest.spawn(name, f'{self._busctl} --match "{calls}" monitor')
        self.guest.until(f"grep -q Monitoring {self.guest.logs[name]}")

    def session_states(self, path: str) -> dict[str, int]:
        """The states that the session of a call has been through, in their order, and when each was signalled (µs)."""
        lines = self.guest.read(self.guest.logs[f"{self.name}-signals"]).splitlines()
        states: dict[str, int] = {}
        for line in lines:
            signal = json.loads(line) if line.startswith("{") else {}
            if signal.get("path") == path and signal["member"] == "PropertiesChanged":
                state = signal["payload"]["data"][1].get("SessionState")
                if state is not None:
                    states.setdefault(state["data"], signal["timestamp-realtime"])
        return states

    def stop(self, signal: str = "TERM") -> int:
        """End it with a signal; gives its exit status."""
        self.guest.run(f"kill -{signal} {self.pid}")
        return self.guest.wait(self.pid, 30)

    def call(self, path: str, interface: str, method: str, *arguments: str) -> Any:
        """Call a method, arguments as busctl takes them (signature first); gives the answer's values."""
        words = " ".join(f"'{word}'" for word in (f"{NAME}", path, f"{NAME}.{interface}", method, *arguments))
        out = self.guest.run(f"{self._busctl} call {words}", timeout=60).out
        return json.loads(out)["data"] if out.strip() else []

    def ctl(self, words: str, check: bool = True) -> Any:
        """dialupctl with --json; its answer."""
        out = self.guest.run(f"python3 -m dialupd.ctl --bus {self.bus} --json {words}", timeout=90, check=check).out
        return json.loads(out) if out.strip() else None

    def objects(self, interface: str) -> dict[str, Properties]:
        """The properties of one interface by object path."""
        asked = f"call {NAME} {ROOT} org.freedesktop.DBus.ObjectManager GetManagedObjects"
        tree = json.loads(self.guest.run(f"{self._busctl} {asked}").out)["data"][0]
        return {
            path: {key: value["data"] for key, value in interfaces[f"{NAME}.{interface}"].items()}
            for path, interfaces in sorted(tree.items())
            if f"{NAME}.{interface}" in interfaces
        }

    def modems(self) -> list[Properties]:
        return [{"path": path, **properties} for path, properties in self.objects("Modem").items()]

    def calls(self) -> list[Properties]:
        """Calls, the newest first."""
        found = [{"path": path, **properties} for path, properties in self.objects("Call").items()]
        return sorted(found, key=lambda call: int(call["path"].rpartition("/")[2]), reverse=True)

    def until(self, what: str, find: Callable[[], T | None], timeout: float = PATIENCE_S) -> T:
        """Look until `find` gives something; raises GuestError with all that is published."""
        deadline = time.monotonic() + timeout
        while True:
            found = find()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                state = json.dumps({"modems": self.modems(), "calls": self.calls()}, indent=1)
                raise GuestError(f"{self.name}: {what} not within {timeout} s; it publishes\n{state}")
            time.sleep(ASK_AGAIN_S)

    def modem(self, serial: str, state: str, timeout: float = PATIENCE_S) -> Properties:
        """Wait until the modem with that serial number is in that state ("gone": not there)."""

        def find() -> Properties | None:
            here = [modem for modem in self.modems() if modem["Serial"] == serial]
            if state == "gone":
                return None if here else {}
            return next((modem for modem in here if modem["State"] == state), None)

        return self.until(f"modem {serial} {state}", find, timeout)

    def ended(self, path: str, timeout: float = PATIENCE_S) -> Properties:
        """Wait for the end of a call."""

        def find() -> Properties | None:
            return next((call for call in self.calls() if call["path"] == path and call["State"] == "ended"), None)

        return self.until(f"the end of {path}", find, timeout)

    def running(self, timeout: float = PATIENCE_S) -> Properties:
        """Wait for a call whose session runs."""

        def find() -> Properties | None:
            return next((call for call in self.calls() if call["SessionState"] == "running"), None)

        return self.until("a running session", find, timeout)

    def dial(self, serial: str, number: str) -> str:
        """Dial by hand on a ready modem; the call's path."""
        path = self.modem(serial, "ready")["path"]
        return str(self.call(path, "Modem", "Dial", "sa{sv}", number, "0")[0])


def hold(guest: Guest, node: str) -> int:
    """A program that reads the port to its end and then keeps the dead descriptor; gives its pid."""
    code = "import os, signal, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print('open', flush=True)"
    guest.write("/tmp/hold.py", code + "; os.read(fd, 1); print('ended', flush=True); signal.pause()\n")
    pid = guest.spawn("holder", f"python3 /tmp/hold.py {node}")
    guest.until("grep -q open /var/log/lab-holder.log")
    return pid
