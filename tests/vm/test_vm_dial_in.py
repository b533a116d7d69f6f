"""The programs that people dial in with, answered by dialupd: wvdial, and pppd with chat by the PPP HOWTO.

The tests share one guest.  Each leaves the lines free.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm import peers
from tests.vm.client import Properties
from tests.vm.guest import Guest
from tests.vm.image import Image
from tests.vm.lab import Daemon, Plug
from tests.vm.peers import CALLER, PATIENCE_S, SECRET, SERVER, USER, Running

CONFIG = f"""
[[modem]]
match = {{ vendor = "0572", product = "1340", serial = "S0" }}
policy = "direct"

[[modem]]
match = {{ vendor = "0572", product = "1340", serial = "S1" }}
policy = "login"

[[modem]]
match = {{ vendor = "0572", product = "1340", serial = "S2" }}
policy = "auto"

[[modem]]
match = {{ vendor = "0421", product = "0405", serial = "V0" }}
usbserial = true
policy = "direct"

[policy.direct]
mode = "answer"
rings = 1
timeout = "15s"
session = "dialin"

[policy.login]
mode = "answer"
rings = 1
timeout = "15s"
session = "console"

[policy.auto]
mode = "answer"
rings = 1
timeout = "15s"
session = "either"

[session.dialin]
type = "ppp"
role = "server"
local = "{SERVER}"
remote = "{CALLER}"
auth = ["chap"]

[session.console]
type = "login"

[session.either]
type = "auto"
ppp = "dialin"
login = "console"
"""

LINES = {"100": "S0", "101": "S1", "102": "S2", "103": "V0"}
"""The modems that dialupd answers, by their numbers."""

CREDENTIALS = f"user {USER} password {SECRET}"


@pytest.fixture(scope="module")
def machine(image: Image) -> Iterator[Guest]:
    with Guest.start(image) as running:
        yield running


@pytest.fixture(scope="module")
def telephones(machine: Guest) -> Plug:
    return Plug(machine)


@pytest.fixture(scope="module")
def nodes(telephones: Plug) -> tuple[str, str]:
    """The ports of the callers' modems, with the numbers 200 and 201."""
    return peers.terminal(telephones, "C0", "200"), peers.terminal(telephones, "C1", "201")


@pytest.fixture(scope="module")
def answering(machine: Guest, telephones: Plug, nodes: tuple[str, str]) -> Daemon:
    peers.prepare(machine)
    machine.write("/etc/wvdial.conf", peers.WVDIAL.replace("NODE", nodes[0]))
    for number, serial in LINES.items():
        if serial != "V0":
            telephones.conexant(serial, f"--number {number}")
    daemon = Daemon(machine, CONFIG)
    telephones.add("0421", "0405", "V0", "--kind vendor --number 103 --make nokia")
    return daemon


@pytest.fixture
def daemon(machine: Guest, telephones: Plug, answering: Daemon) -> Iterator[Daemon]:
    """The daemon with its lines free; whoever still calls when the test is over is ended."""
    lines_free(answering)
    yield answering
    peers.clear_caller(machine)


def lines_free(daemon: Daemon) -> None:
    for serial in LINES.values():
        daemon.modem(serial, "ready", PATIENCE_S)


def newest(daemon: Daemon) -> Properties:
    """The call that has a link."""
    return daemon.running(PATIENCE_S)


def ended(daemon: Daemon, call: Properties) -> Properties:
    return daemon.ended(str(call["path"]), PATIENCE_S)


@pytest.mark.parametrize(
    ("dialler", "session"),
    [("direct", "dialin"), ("login", "console"), ("auto", "dialin"), ("auto-login", "console")],
)
def test_wvdial_dials_in(machine: Guest, daemon: Daemon, dialler: str, session: str) -> None:
    wvdial, aborted = peers.dial_in(machine, dialler, lambda: lines_free(daemon))
    print(f"wvdial aborted {aborted} times before")
    call = newest(daemon)
    assert (call["Direction"], call["Session"]) == ("incoming", session)
    if session == "dialin":
        assert (call["LocalAddress"], call["RemoteAddress"]) == (SERVER, CALLER)
    peers.ping(machine)
    peers.download(machine)
    wvdial.end()
    over = ended(daemon, call)
    assert over["TxBytes"] > 65536 and 0 < over["RxBytes"] < 65536
    assert over["EndReason"] == "remote-hangup"
    lines_free(daemon)


def test_pppd_and_chat_call(machine: Guest, daemon: Daemon, nodes: tuple[str, str]) -> None:
    caller = peers.call_by_chat(machine, nodes[0], peers.DIALLER, "100", CREDENTIALS)
    caller.until(peers.BOTH_UP)
    call = newest(daemon)
    peers.ping(machine)
    assert caller.end() == 5, "pppd ends as it was told to"
    assert ended(daemon, call)["EndReason"] == "remote-hangup"


def test_pppd_and_chat_log_in(machine: Guest, daemon: Daemon, nodes: tuple[str, str]) -> None:
    caller = peers.call_by_chat(machine, nodes[0], peers.DIALLER_LOGIN, "101")
    caller.until(peers.BOTH_UP)
    call = newest(daemon)
    assert call["Session"] == "console"
    peers.ping(machine)
    assert caller.end() == 5
    ended(daemon, call)


def test_a_second_caller_hears_busy(machine: Guest, daemon: Daemon, nodes: tuple[str, str]) -> None:
    first = peers.call_by_chat(machine, nodes[0], peers.DIALLER, "100", CREDENTIALS, "first")
    first.until(peers.BOTH_UP)
    call = newest(daemon)
    pings = machine.spawn("pings", f"ip netns exec cli ping -i 0.2 -W 20 {SERVER}")
    second = peers.call_by_chat(machine, nodes[1], peers.DIALLER, "100", CREDENTIALS, "second")
    assert machine.wait(second.pid, PATIENCE_S) == 8, "the connect script has failed"
    assert "BUSY" in second.log()
    machine.run(f"kill -INT {pings}")
    machine.wait(pings, PATIENCE_S)
    said = machine.read(machine.logs["pings"])
    assert " 0% packet loss" in said, said
    calls = daemon.calls()
    assert (calls[0]["path"], calls[0]["State"]) == (call["path"], "connected"), "nobody else has called"
    first.end()
    assert ended(daemon, call)["EndReason"] == "remote-hangup"


# It holds the port, and its pppd does not touch the modem's lines: the call goes on when PPP is over.
STAYS = """#!/bin/sh
exec 3<>$1
dial="chat -s -f /tmp/stays.chat"
ip netns exec cli pppd $1 115200 nodetach noauth noipdefault nodefaultroute local $2 connect "$dial"
echo the link is over
exec sleep infinity
"""


@pytest.mark.parametrize("who", ["caller", "caller, who stays on the line", "called"])
def test_a_port_without_modem_lines(
    machine: Guest, telephones: Plug, daemon: Daemon, nodes: tuple[str, str], who: str
) -> None:
    """Whoever ends the call, the modem is hung up: by what it says, or else by the escape sequence and ATH."""
    stays = who.endswith("line")
    if stays:
        machine.write("/tmp/stays", STAYS, 0o755)
        machine.write("/tmp/stays.chat", peers.DIALLER.replace("NUMBER", "103"))
        caller = Running(machine, "stays", machine.spawn("stays", f"/tmp/stays {nodes[0]} '{CREDENTIALS}'"))
    else:
        caller = peers.call_by_chat(machine, nodes[0], peers.DIALLER, "103", CREDENTIALS)
    caller.until(peers.BOTH_UP)
    call = newest(daemon)
    assert daemon.modem("V0", "connected")["Device"] == "/dev/ttyUSB0"
    peers.ping(machine)
    said = len(commands(machine))
    match who:
        case "called":
            daemon.call(str(call["path"]), "Call", "HangUp")
            assert ended(daemon, call)["EndReason"] == "local-hangup"
            assert machine.wait(caller.pid, PATIENCE_S) in (0, 16)
        case "caller":
            assert caller.end() == 5
            assert ended(daemon, call)["EndReason"] == "remote-hangup"
        case _:
            machine.run("ip netns pids cli | xargs kill -TERM")
            machine.until(f"grep -q over {machine.logs['stays']}", PATIENCE_S)
            assert ended(daemon, call)["EndReason"] == "remote-hangup"
            assert telephones("show C0")["state"] == "idle", "it was called who hung up"
            caller.end("KILL")
    daemon.modem("V0", "ready", PATIENCE_S)
    after = commands(machine)[said:]
    assert any(line.endswith("103: ATH") for line in after)
    who_hangs_up = next(line for line in after if "hangs up" in line)
    assert ("103 hangs up" in who_hangs_up) == (who != "caller")


def commands(machine: Guest) -> list[str]:
    """What the modems have heard and done up to now."""
    return machine.read(machine.logs["plug"]).splitlines()
