"""How PPP between two daemons begins and ends: each way to prove who one is, far ends that are none, and every end.

The tests share one guest and two daemons, whose configurations each test writes anew.  What test_vm_ppp.py has is not
repeated here: an end that is asked for, and the loss of the carrier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.vm import peers
from tests.vm.client import ROOT
from tests.vm.guest import Guest
from tests.vm.image import Image
from tests.vm.lab import Daemon, Plug
from tests.vm.peers import CALLER, PATIENCE_S, SECRET, SERVER, USER, WRONG

ANSWERING = f"""
[[modem]]
match = {{ vendor = "0572", product = "1340", serial = "S0" }}
policy = "in"

[policy.in]
mode = "answer"
rings = 1
timeout = "15s"
session = "dialin"
POLICY

[session.dialin]
type = "ppp"
role = "server"
local = "{SERVER}"
remote = "{CALLER}"
SESSION
"""

CALLING = f"""
[[modem]]
match = {{ vendor = "0572", product = "1340", serial = "C0" }}
policy = "out"

[policy.out]
mode = "originate"
numbers = ["NUMBER"]
session = "internet"
retry = {{ first = "1s" }}
POLICY

[session.internet]
type = "ppp"
user = "{USER}"
password-file = "/etc/secret"
SESSION
"""

MANUAL = 'when = "manual"'
CHAP = 'auth = ["chap"]'
ECHOES, TALKS = "300", "301"
"""Numbers: who answers sends everything back, or greets and asks for a name."""

BBS = "#!/bin/sh\nprintf '\\r\\nWelcome to the Bulletin Board!\\r\\n\\r\\nYour name: '\nexec cat > /dev/null\n"
SOON_DEAD = 'options = ["lcp-echo-interval", "2", "lcp-echo-failure", "3"]'
"""A far end that says nothing for so many seconds is gone."""


def answering(policy: str = "", session: str = CHAP) -> str:
    return ANSWERING.replace("POLICY", policy).replace("SESSION", session)


def calling(policy: str = MANUAL, session: str = "", number: str = "100") -> str:
    return CALLING.replace("NUMBER", number).replace("POLICY", policy).replace("SESSION", session)


@dataclass(frozen=True, slots=True)
class Pair:
    """Who answers the number 100 and, in the network namespace `cli`, who calls it."""

    plug: Plug
    server: Daemon
    client: Daemon

    def answering(self, policy: str = "", session: str = CHAP) -> None:
        """Configure who answers."""
        self.server.modem("S0", "ready", PATIENCE_S)
        self.server.write_config(answering(policy, session))
        self.server.call(ROOT, "Manager", "Reload")

    def calling(self, policy: str = MANUAL, session: str = "", number: str = "100") -> None:
        """Configure who calls."""
        self.client.write_config(calling(policy, session, number))
        self.client.call(ROOT, "Manager", "Reload")

    def originate(self) -> str:
        self.client.modem("C0", "ready", PATIENCE_S)
        return str(self.client.call(ROOT, "Manager", "Originate", "sa{sv}", "out", "0")[0])

    def call(self) -> tuple[str, str]:
        """The paths of a call at the server and at the client, as soon as it rings: it may end by itself."""
        before = {call["path"] for call in self.server.calls()}
        mine = self.originate()

        def rings() -> str | None:
            return next((str(call["path"]) for call in self.server.calls() if call["path"] not in before), None)

        return self.server.until("the call", rings, PATIENCE_S), mine

    def both_up(self) -> tuple[str, str]:
        """The paths of the call at the server and at the client, with a link."""
        mine = self.originate()
        assert self.client.running(PATIENCE_S)["path"] == mine
        return str(self.server.running(PATIENCE_S)["path"]), mine

    def ends(self, theirs: str, mine: str) -> tuple[str, str]:
        """The reasons of the server and of the client, whose lines are free again."""
        over = self.server.ended(theirs, PATIENCE_S), self.client.ended(mine, PATIENCE_S)
        self.server.modem("S0", "ready", PATIENCE_S)
        self.client.modem("C0", "ready", PATIENCE_S)
        return str(over[0]["EndReason"]), str(over[1]["EndReason"])

    def one_hangs_up(self) -> bool:
        return any(modem["State"] != "connected" for modem in (*self.client.modems(), *self.server.modems()))

    def pppd(self, daemon: Daemon) -> str:
        """The process of a daemon's pppd."""
        return self.server.guest.run(f"pgrep -x -P {daemon.pid} pppd").out.strip()


@pytest.fixture(scope="module")
def machine(image: Image) -> Iterator[Guest]:
    with Guest.start(image) as running:
        yield running


@pytest.fixture(scope="module")
def couple(machine: Guest) -> Pair:
    plug = Plug(machine)
    peers.prepare(machine)
    machine.write("/etc/wrong", f"{WRONG}\n", 0o600)
    machine.write("/tmp/bbs", BBS, 0o755)
    plug(f"service {ECHOES}")
    plug(f"service {TALKS} --command /tmp/bbs")
    # udev's own events stay in the namespace that udevd is in: the caller's modem is there before its daemon
    plug.conexant("C0", "--number 200")
    plug.conexant("S0", "--number 100")
    for serial in ("C0", "S0"):
        machine.until(f"readlink -e /dev/serial/by-id/*_{serial}-if00", PATIENCE_S)
    server = Daemon(machine, answering(), name="server")
    return Pair(plug, server, Daemon(machine, calling(), name="client", netns="cli"))


@pytest.fixture
def pair(machine: Guest, couple: Pair) -> Pair:
    """The two with free lines, as they are when nothing else is said."""
    machine.write("/etc/secret", f"{SECRET}\n", 0o600)
    for serial in ("C0", "S0"):
        couple.plug(f"fault {serial}")
    couple.answering()
    couple.calling()
    return couple


METHODS = {"pap": "<auth pap>", "chap": "<auth chap MD5>", "mschap-v2": "<auth chap MS-v2>"}
"""What pppd's log calls them."""


@pytest.mark.parametrize("method", METHODS)
def test_the_caller_proves_who_he_is(machine: Guest, pair: Pair, method: str) -> None:
    pair.answering(session=f'auth = ["{method}"]')
    before = len(agreed(machine))
    theirs, mine = pair.both_up()
    assert set(agreed(machine)[before:]) == {METHODS[method]}
    peers.ping(machine)
    pair.client.call(mine, "Call", "HangUp")
    assert pair.ends(theirs, mine) == ("remote-hangup", "local-hangup")


def agreed(machine: Guest) -> list[str]:
    """What callers have agreed to up to now, one method for each link."""
    lines = machine.run("journalctl -q --no-pager -o cat -t pppd").out.splitlines()
    acks = [line for line in lines if line.startswith("rcvd [LCP ConfAck ")]
    return [found[0] for line in acks if (found := re.search("<auth [^>]*>", line))]


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_password_blocks_the_policy(machine: Guest, pair: Pair, method: str) -> None:
    pair.answering(session=f'auth = ["{method}"]')
    machine.run("cp -p /etc/wrong /etc/secret")
    before = {call["path"] for call in pair.server.calls()}
    pair.calling(policy='when = "always"')
    blocked = pair.client.modem("C0", "blocked", PATIENCE_S)
    assert "password" in blocked["StateReason"]
    assert pair.client.calls()[0]["EndReason"] == "auth-failed"
    pair.server.modem("S0", "ready", PATIENCE_S)
    calls = [call["EndReason"] for call in pair.server.calls() if call["path"] not in before]
    assert calls == ["peer-auth-failed"], "one call, and no other after it"
    machine.write("/etc/secret", f"{SECRET}\n", 0o600)
    pair.client.call(ROOT, "Manager", "Resume", "s", "out")
    mine = pair.client.running(PATIENCE_S)["path"]
    theirs = pair.server.running(PATIENCE_S)["path"]
    pair.calling()
    pair.client.call(mine, "Call", "HangUp")
    pair.ends(theirs, mine)


@pytest.mark.parametrize(("number", "detail"), [(ECHOES, "echoes what it hears"), (TALKS, "nothing of PPP came")])
def test_a_far_end_that_speaks_no_ppp(pair: Pair, number: str, detail: str) -> None:
    pair.calling(session='options = ["lcp-max-configure", "5"]', number=number)
    call = pair.originate()
    assert pair.client.ended(call, PATIENCE_S)["EndReason"] == "peer-not-ppp"
    assert detail in pair.client.log().rpartition("pppd ended")[2]
    pair.client.modem("C0", "ready", PATIENCE_S)


@pytest.mark.parametrize("who", ["caller", "called"])
def test_a_peer_that_dies_is_noticed(machine: Guest, pair: Pair, who: str) -> None:
    pair.answering(session=f"{CHAP}\n{SOON_DEAD}")
    pair.calling(session=SOON_DEAD)
    theirs, mine = pair.both_up()
    dead = pair.pppd(pair.client if who == "caller" else pair.server)
    machine.run(f"kill -STOP {dead}")
    # the one that still lives hangs up, and the other's end of the line is gone then
    reasons = {"caller": ("timeout", "remote-hangup"), "called": ("remote-hangup", "timeout")}[who]
    assert pair.ends(theirs, mine) == reasons
    assert machine.run("pgrep -x pppd", check=False).rc != 0, "no pppd is left, not even the one that was stopped"


def test_a_line_that_goes_dead_is_noticed(pair: Pair) -> None:
    pair.answering(session=f"{CHAP}\n{SOON_DEAD}")
    pair.calling(session=SOON_DEAD)
    theirs, mine = pair.both_up()
    for serial in ("C0", "S0"):  # the carrier stays
        pair.plug(f"fault {serial} silent")
    pair.client.until("one that hangs up", lambda: True if pair.one_hangs_up() else None, PATIENCE_S)
    for serial in ("C0", "S0"):
        pair.plug(f"fault {serial}")
    assert "timeout" in pair.ends(theirs, mine)


@pytest.mark.parametrize(
    ("who", "reasons"), [("caller", ("remote-hangup", "idle")), ("called", ("idle", "remote-hangup"))]
)
def test_an_idle_link_is_closed(pair: Pair, who: str, reasons: tuple[str, str]) -> None:
    if who == "called":
        pair.answering(session=f'{CHAP}\nidle = "4s"')
    else:
        pair.calling(session='idle = "4s"')
    assert pair.ends(*pair.call()) == reasons


@pytest.mark.parametrize(
    ("who", "reasons"), [("caller", ("remote-hangup", "max-duration")), ("called", ("max-duration", "remote-hangup"))]
)
def test_a_call_lasts_as_long_as_it_may(pair: Pair, who: str, reasons: tuple[str, str]) -> None:
    if who == "called":
        pair.answering(policy='max-duration = "8s"')
    else:
        pair.calling(policy=f'{MANUAL}\nmax-duration = "8s"')
    assert pair.ends(*pair.call()) == reasons
