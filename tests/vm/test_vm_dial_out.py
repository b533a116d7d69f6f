"""The programs that answer people's calls, called by dialupd: mgetty, and pppd with chat by the PPP HOWTO.

The tests share one guest.  Each leaves the line free.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm import peers
from tests.vm.client import Properties
from tests.vm.guest import Guest
from tests.vm.image import Image
from tests.vm.lab import Daemon, Plug
from tests.vm.peers import CALLER, PATIENCE_S, SERVER, USER

CONFIG = f"""
[[modem]]
match = {{ vendor = "0572", product = "1340", serial = "C0" }}

[session.direct]
type = "ppp"
user = "{USER}"
password-file = "/etc/secret"

[session.login]
type = "ppp"
user = "{USER}"
password-file = "/etc/secret"
login = [["ogin:", "{{user}}"], ["word:", "{{password}}"]]

[session.bare]
type = "ppp"
"""

LOGIN_CONFIG = "/AutoPPP/ - - /usr/sbin/pppd file /etc/ppp/options.dialin\n* - - /bin/login @\n"
DIALIN = f"auth require-chap {SERVER}:{CALLER} nodetach debug\n"
"""What mgetty starts for a caller who speaks PPP at once, as its own manual has it."""


@pytest.fixture(scope="module")
def machine(image: Image) -> Iterator[Guest]:
    with Guest.start(image) as running:
        yield running


@pytest.fixture(scope="module")
def telephones(machine: Guest) -> Plug:
    return Plug(machine)


@pytest.fixture(scope="module")
def node(telephones: Plug) -> str:
    """The port of the modem that is called, with the number 100."""
    return peers.terminal(telephones, "S0", "100")


@pytest.fixture(scope="module")
def calling(machine: Guest, telephones: Plug, node: str) -> Daemon:
    peers.prepare(machine)
    machine.write("/etc/mgetty/login.config", LOGIN_CONFIG, 0o600)
    machine.write("/etc/ppp/options.dialin", DIALIN)
    telephones.conexant("C0", "--number 200")
    machine.until("readlink -e /dev/serial/by-id/*_C0-if00", PATIENCE_S)
    return Daemon(machine, CONFIG, netns="cli")


@pytest.fixture
def daemon(calling: Daemon) -> Daemon:
    calling.modem("C0", "ready", PATIENCE_S)
    return calling


def dial(daemon: Daemon, session: str) -> Properties:
    """The call, once both ends have their addresses."""
    modem = daemon.modem("C0", "ready")["path"]
    path = str(daemon.call(modem, "Modem", "Dial", "sa{sv}", "100", "1", "session", "s", session)[0])
    call = daemon.until("the link or the end", lambda: settled(daemon, path), PATIENCE_S)
    assert call["SessionState"] == "running", daemon.log()
    daemon.guest.until(peers.BOTH_UP, PATIENCE_S)
    return call


def settled(daemon: Daemon, path: str) -> Properties | None:
    call = {"path": path, **daemon.objects("Call")[path]}
    return call if call["SessionState"] == "running" or call["State"] == "ended" else None


def carries(daemon: Daemon, call: Properties) -> None:
    """The link is as it should be, and ends when we end it."""
    assert (call["LocalAddress"], call["RemoteAddress"]) == (CALLER, SERVER)
    peers.ping(daemon.guest)
    peers.download(daemon.guest)
    daemon.call(str(call["path"]), "Call", "HangUp")
    over = daemon.ended(str(call["path"]), PATIENCE_S)
    assert over["EndReason"] == "local-hangup"
    assert over["RxBytes"] > 65536 and 0 < over["TxBytes"] < 65536


@pytest.mark.parametrize("session", ["direct", "login"])
def test_mgetty_answers(machine: Guest, node: str, daemon: Daemon, session: str) -> None:
    mgetty = peers.answer_by_mgetty(machine, node)
    call = dial(daemon, session)
    user = {"direct": "/AutoPPP/", "login": USER}[session]
    assert f"user='{user}'" in machine.read(machine.logs["mgetty's own"])
    carries(daemon, call)
    machine.wait(mgetty.pid, PATIENCE_S)


def test_pppd_and_chat_answer(machine: Guest, node: str, daemon: Daemon) -> None:
    answering = peers.answer_by_chat(machine, node, "noauth")
    carries(daemon, dial(daemon, "bare"))
    assert machine.wait(answering.pid, PATIENCE_S) in (0, 16), "the caller has closed the link and hung up"
