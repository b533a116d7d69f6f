"""Who may do what: every method of every interface, tried by people at the machine and away from it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import pytest

from dialupd.bus.interface import Interface, MethodSpec, load
from tests.vm.client import NAME, ROOT
from tests.vm.guest import Guest
from tests.vm.lab import Plug
from tests.vm.system import Person, System, at_the_machine, from_afar

SERVICE = "300"
"""A number that answers and echoes."""

CONFIG = """
[[modem]]
name = "rack"
match = { vendor = "0572", product = "1340", serial = "A1" }
policy = "out"

[[modem]]
name = "spare"
match = { vendor = "0572", product = "1340", serial = "B2" }
policy = "out"

[policy.out]
mode = "originate"
when = "manual"
numbers = ["300"]
session = "silent"

[session.silent]
type = "exec"
command = ["/bin/sleep", "infinity"]
"""
"""A call lasts until it is hung up; with a client's session it would end after a minute without its client."""

ARGUMENTS = {
    "number": SERVICE,
    "policy": "out",
    "options": "0",
    "filter": "0",
    "level": "debug",
    "command": "ATI",
    "timeout_ms": "0",
    "who": "somebody",
    "why": "to see",
}
"""Something sensible for every argument, so that only the authority stands between the caller and the deed."""

LOCAL = {"org.dialupd1.dial", "org.dialupd1.hang-up", "org.dialupd1.monitor"}
"""What somebody who sits at the machine may without a password."""

BUSCTL = ("busctl", "--allow-interactive-authorization=no")

XML = files("dialupd.bus").joinpath("xml")
INTERFACES = [load(name) for name in sorted(file.name.removesuffix(".xml") for file in XML.iterdir())]


@dataclass(frozen=True, slots=True)
class Line:
    """A modem on a call and one that is ready."""

    system: System
    plug: Plug
    busy: str
    ready: str
    call: str

    def at(self, interface: Interface) -> list[str]:
        """The objects that have the interface."""
        return {"Manager": [ROOT], "Modem": [self.busy, self.ready], "Call": [self.call]}[interface.name.split(".")[-1]]

    def state(self) -> tuple[object, object, int]:
        """All that is published, the history, and how much the modems have heard."""
        tree = self.system.call(ROOT, "ObjectManager", "GetManagedObjects", prefix="org.freedesktop.DBus")
        history = self.system.call(ROOT, "Manager", "History", "a{sv}", "0")
        heard = self.system.guest.read(self.system.guest.logs["plug"])
        return tree, history, len(heard.splitlines())


@pytest.fixture(scope="module")
def line(shared: Guest, hub: Plug) -> Line:
    system = System(shared, CONFIG)
    hub.conexant("A1", "--number 100")
    hub.conexant("B2", "--number 101")
    hub(f"service {SERVICE}")
    ready = system.modem("B2", "ready")["path"]
    call = system.dial("A1", SERVICE)
    system.running()
    busy = system.modem("A1", "connected")["path"]
    return Line(system, hub, busy, ready, call)


@pytest.fixture(scope="module")
def alice(shared: Guest) -> Person:
    return at_the_machine(shared, "alice")


@pytest.fixture(scope="module")
def bob(shared: Guest) -> Person:
    return from_afar(shared, "bob")


def requests(line: Line) -> Iterator[tuple[MethodSpec, str]]:
    """Every method on every object, and the words that ask for it."""
    for interface in INTERFACES:
        for method in interface.methods.values():
            values = [ARGUMENTS[argument.name] for argument in method.arguments]
            signature = [method.signature] if method.signature else []
            for path in line.at(interface):
                yield (
                    method,
                    shlex.join([*BUSCTL, "call", NAME, path, interface.name, method.name, *signature, *values]),
                )


def ask_all(person: Person, commands: list[str]) -> list[tuple[int, str]]:
    """The status and the words of each command, tried one after the other in the person's session."""
    script = "\n".join(f'said=$({command} 2>&1); echo "$? $said" | tr "\\n" " "; echo' for command in commands)
    lines = person.run(script, timeout=120).out.splitlines()
    assert len(lines) == len(commands), lines
    return [(int(status), words) for status, _, words in (line.partition(" ") for line in lines)]


def test_who_is_not_at_the_machine_may_nothing_and_changes_nothing(line: Line, bob: Person) -> None:
    before = line.state()
    wanted = list(requests(line))
    answers = ask_all(bob, [command for _, command in wanted])
    for (method, command), (status, words) in zip(wanted, answers, strict=True):
        assert status == 1 and f"not authorized for {method.action}: " in words, f"{command} gave {words}"
    assert line.state() == before


def test_no_property_can_be_set(line: Line, bob: Person) -> None:
    before = line.state()
    commands = [
        shlex.join([*BUSCTL, "set-property", NAME, path, interface.name, spec.name, "s", "x"])
        for interface in INTERFACES
        for path in line.at(interface)[:1]
        for spec in interface.properties.values()
    ]
    for command, (status, words) in zip(commands, ask_all(bob, commands), strict=True):
        assert status == 1, f"{command} gave {words}"
    assert line.state() == before


def test_who_sits_at_the_machine_is_asked_for_a_password_beyond_dialling(line: Line, alice: Person) -> None:
    before = line.state()
    wanted = [(method, command) for method, command in requests(line) if method.action not in LOCAL]
    answers = ask_all(alice, [command for _, command in wanted])
    for (method, command), (status, words) in zip(wanted, answers, strict=True):
        refusal = f"not authorized for {method.action}: it needs a password"
        assert status == 1 and refusal in words, f"{command} gave {words}"
    assert line.state() == before


def test_who_sits_at_the_machine_dials_and_hangs_up(line: Line, alice: Person) -> None:
    dialled = alice.run(f"busctl call {NAME} {line.ready} {NAME}.Modem Dial 'sa{{sv}}' {SERVICE} 0")
    assert dialled.rc == 0, dialled.out
    found = re.search(r'o "(\S+)"', dialled.out)
    assert found
    line.system.modem("B2", "connected")
    hung_up = alice.run(f"busctl call {NAME} {found[1]} {NAME}.Call HangUp")
    assert hung_up.rc == 0, hung_up.out
    assert line.system.ended(found[1])["EndReason"] == "local-hangup"
    line.system.modem("B2", "ready")
    history = alice.run(f"busctl call {NAME} {ROOT} {NAME}.Manager History 'a{{sv}}' 0")
    assert history.rc == 0 and '"local-hangup"' in history.out
