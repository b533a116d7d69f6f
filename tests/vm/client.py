"""A client of the bus: what a daemon publishes, asked with busctl, which costs a guest far less than another Python."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.vm.guest import Guest, GuestError

T = TypeVar("T")
Properties = dict[str, Any]

NAME = "org.dialupd1"
ROOT = "/org/dialupd1"
ASK_AGAIN_S = 0.25
"""Pause between two looks at what is published: a look keeps the daemon busy for a third of that, and it has work."""

PATIENCE_S = 90.0
"""Longest wait for a state; most come in a few seconds, on a busy host a daemon's start in half a minute."""


class Client:
    """Asks the daemon that has the name on one bus."""

    def __init__(self, guest: Guest, name: str, busctl: str) -> None:
        self.guest = guest
        self.name = name
        self.busctl = busctl

    def follow(self) -> None:
        """Record from now on what it signals of calls, for `session_states`."""
        name = f"{self.name}-signals"
        calls = f"type='signal',sender='{NAME}',path_namespace='{ROOT}/call'"
        self.guest.spawn(name, f'{self.busctl} --match "{calls}" monitor')
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

    def call(self, path: str, interface: str, method: str, *arguments: str, prefix: str = NAME) -> Any:
        """Call a method, arguments as busctl takes them (signature first); gives the answer's values."""
        words = " ".join(f"'{word}'" for word in (f"{NAME}", path, f"{prefix}.{interface}", method, *arguments))
        out = self.guest.run(f"{self.busctl} call {words}", timeout=60).out
        return json.loads(out)["data"] if out.strip() else []

    def objects(self, interface: str) -> dict[str, Properties]:
        """The properties of one interface by object path."""
        tree = self.call(ROOT, "ObjectManager", "GetManagedObjects", prefix="org.freedesktop.DBus")[0]
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
