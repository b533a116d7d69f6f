"""What people do on the lines of the packaged service: they log in, move files, are called back, speak PPP where others
log in, and reach the world through a provider.

The person has a modem that no daemon looks at, and a terminal of plain cat.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.vm import calls
from tests.vm.calls import human, incoming, say
from tests.vm.client import ROOT
from tests.vm.guest import Guest, GuestError
from tests.vm.lab import Plug
from tests.vm.peers import CALLER, DIALLER, SERVER, call_by_chat
from tests.vm.rootfs import PEOPLE
from tests.vm.system import BARE, System

PATIENCE_S = 90.0
HUMAN, FRONT, BOARD, PROVIDER = "200", "102", "101", "301"
"""Numbers: the person's, the one where everybody calls, a board's, and that of a way into the world."""

SIZE = 256 * 1024

CONFIG = f"""
[[modem]]
name = "front"
match = {{ vendor = "0572", product = "1340", serial = "B2" }}
policy = "front"

[[modem]]
name = "board"
match = {{ vendor = "0572", product = "1340", serial = "D1" }}
policy = "board"

[[modem]]
name = "uplink"
match = {{ vendor = "0572", product = "1340", serial = "A1" }}
policy = "uplink"

[policy.uplink]
mode = "originate"
when = "manual"
numbers = ["{PROVIDER}"]
session = "internet"

[policy.front]
mode = "answer"
rings = 2
session = "front"

[policy.board]
mode = "answer"
rings = 1
session = "board"

[session.front]
type = "auto"
ppp = "dialin"
login = "console"
wait = "30s"

[session.internet]
type = "ppp"
default-route = true
dns = true

[session.dialin]
type = "ppp"
role = "server"
local = "{SERVER}"
remote = "{CALLER}-172.16.1.9"
auth = ["chap"]

[session.console]
type = "login"
callback = {{ bob = "{HUMAN}" }}

[session.board]
type = "tcp"
address = "127.0.0.1:6400"
"""


@pytest.fixture(scope="module")
def system(shared: Guest, hub: Plug) -> System:
    guest = shared
    guest.run("ip netns add cli && ip -n cli link set lo up")
    guest.write("/etc/netns/cli/ppp/options", "")
    guest.write("/etc/netns/cli/ppp/chap-secrets", '"web" * "horse" *\n', 0o600)
    guest.write("/etc/ppp/chap-secrets", '"web" * "horse" *\n', 0o600)
    guest.run(f"install -d -m 777 /srv/up && head -c {SIZE} /dev/urandom > /tmp/blob")
    hub.add("1234", "5678", calls.HUMAN, f"--number {HUMAN}")
    hub.conexant("B2", f"--number {FRONT}")
    hub.conexant("D1", f"--number {BOARD}")
    hub.conexant("A1", "--number 100")
    guest.until("test -c /dev/ttyACM3")
    system = System(guest, CONFIG)
    for serial in ("A1", "B2", "D1"):
        system.modem(serial, "ready")
    return system


@pytest.fixture(autouse=True)
def free_lines(system: System) -> Iterator[None]:
    yield
    for call in system.calls():
        if call["State"] != "ended":
            with suppress(GuestError):  # the person may have hung up in this moment
                system.call(call["path"], "Call", "HangUp")
            system.ended(call["path"])
    for serial in ("A1", "B2", "D1"):
        system.modem(serial, "ready")


@pytest.fixture
def terminal(system: System, hub: Plug) -> Iterator[str]:
    """The person's port; what comes from it is in /tmp/heard."""
    node = human(hub)
    system.guest.run(f"stty -F {node} raw -echo 115200 clocal")
    pid = system.guest.spawn("human", f"sh -c 'exec cat {node} > /tmp/heard'")
    yield node
    system.guest.run(f"kill {pid}; cat /tmp/heard", check=False)


def log_in(system: System, node: str, name: str) -> str:
    """Answer the prompts; the call's path, once a shell is there."""
    guest = system.guest
    guest.until("grep -aq 'login: ' /tmp/heard", PATIENCE_S)
    say(guest, node, name, "assword: ")
    say(guest, node, PEOPLE[name], rf"{name}@lab:.*\$ ")
    return incoming(system)


def test_a_caller_logs_in_and_is_known_by_his_number(system: System, terminal: str) -> None:
    guest = system.guest
    say(guest, terminal, f"ATDT{FRONT}", "CONNECT")
    say(guest, terminal, "", "login: ")
    call = log_in(system, terminal, "alice")
    say(guest, terminal, "echo $CALLER_ID+$DIALUPD_MODEM+$DIALUPD_SESSION+$TERM+${CONNECT%% *}", f"{HUMAN}.*vt100")
    heard = guest.read("/tmp/heard")
    modem = system.modem("B2", "connected")
    assert f"{HUMAN}+{modem['Id']}+console+vt100+" in heard.replace("\r", "").splitlines()[-2]
    assert "alice" in guest.run("who").out and f"(tel:{HUMAN})" in guest.run("who").out
    assert system.objects("Call")[call]["Session"] == "console"
    assert system.units() == [f"dialupd-login@{call.rpartition('/')[2]}.service"]
    say(guest, terminal, "exit", "NO CARRIER")
    assert system.ended(call)["EndReason"] == "session-ended"
    guest.until("! who | grep alice")
    assert f"tel:{HUMAN}" in guest.run("last -n 1 alice").out


def test_a_machine_that_speaks_ppp_calls_the_same_number(system: System, hub: Plug) -> None:
    guest = system.guest
    pppd = call_by_chat(guest, human(hub), DIALLER, FRONT, "user web")
    call = system.running(PATIENCE_S)
    assert (call["Session"], call["LocalAddress"], call["RemoteAddress"]) == ("dialin", SERVER, CALLER)
    assert system.units() == [f"dialupd-ppp@{call['path'].rpartition('/')[2]}.service"]
    guest.run(f"ip netns exec cli ping -c 5 -i 0.2 -W 20 {SERVER}", timeout=PATIENCE_S)
    pppd.end()
    ended = system.ended(call["path"])
    assert ended["EndReason"] == "remote-hangup"
    assert int(ended["RxBytes"]) > 0
    guest.until("! systemctl is-active -q 'dialupd-ppp@*.service'")


@pytest.mark.parametrize("way", ["up", "down"])
def test_zmodem_through_the_board(system: System, hub: Plug, way: str) -> None:
    guest, node = system.guest, human(hub)
    # one end sends, the other receives, the caller's on its port and the board's on the connection
    sends, takes = "sz --binary /tmp/blob", "rz --binary --overwrite"
    here, there = (sends, takes) if way == "up" else (takes, sends)
    guest.run("rm -f /srv/up/*")
    guest.write("/srv/there", f"#!/bin/sh\ncd /srv/up && exec {there}\n", 0o755)
    guest.write("/srv/here", f"#!/bin/sh\ncd /srv/up\nchat -t 60 '' ATDT{BOARD} CONNECT '\\c' && exec {here}\n", 0o755)
    board = guest.spawn("board", "socat TCP-LISTEN:6400,bind=127.0.0.1,reuseaddr EXEC:/srv/there")
    guest.until("ss -ltn | grep -q :6400", PATIENCE_S)
    caller = guest.spawn("caller", f"sh -c 'exec /srv/here < {node} > {node}'")
    assert guest.wait(caller, 2 * PATIENCE_S) == 0
    guest.wait(board, PATIENCE_S)
    guest.run("cmp /tmp/blob /srv/up/blob")


def test_a_user_is_called_back(system: System, terminal: str) -> None:
    guest = system.guest
    say(guest, terminal, f"ATDT{FRONT}", "CONNECT")
    say(guest, terminal, "", "login: ")
    first = incoming(system)
    say(guest, terminal, "bob", "assword: ")
    say(guest, terminal, PEOPLE["bob"], "NO CARRIER")
    assert system.ended(first)["EndReason"] == "session-ended"
    say(guest, terminal, "", "RING")
    guest.run(": > /tmp/heard")
    say(guest, terminal, "ATA", "login: ")
    say(guest, terminal, "bob", "assword: ")
    say(guest, terminal, PEOPLE["bob"], r"bob@lab:.*\$ ")
    back = system.calls()[0]
    assert (back["Direction"], back["Number"], back["Session"]) == ("outgoing", HUMAN, "console")
    say(guest, terminal, "exit", "NO CARRIER")


def test_a_terminal_on_a_call(system: System, hub: Plug) -> None:
    """dialupctl calls a board, a program of its own speaks there, and the status is that program's."""
    guest = system.guest
    guest.run("rm -f /srv/up/*")
    guest.write("/srv/there", "#!/bin/sh\ncd /srv/up && exec rz --binary --overwrite\n", 0o755)
    hub("service 300 --command /srv/there")
    done = guest.run(f"{BARE} dialupctl terminal front 300 -- sz --binary /tmp/blob", timeout=2 * PATIENCE_S)
    assert "connected" in done.out
    guest.until("cmp /tmp/blob /srv/up/blob", PATIENCE_S)
    assert system.ended(system.calls()[0]["path"])["Session"] == "client"


def test_name_servers_and_the_way_come_and_go_with_the_call(system: System, hub: Plug) -> None:
    guest = system.guest
    before = "# by hand\nnameserver 192.0.2.1\n"
    guest.write("/etc/resolv.conf", before)
    guest.run("ip netns add net && ip -n net link set lo up")
    guest.write("/etc/netns/net/ppp/options", "")
    pppd = "ip netns exec net pppd nodetach local noauth 10.64.64.64:10.64.64.65 ms-dns 10.64.64.53"
    hub(f"service {PROVIDER} --command '{pppd}'")
    path = str(system.call(ROOT, "Manager", "Originate", "sa{sv}", "uplink", "0")[0])
    guest.until("grep -q '^nameserver 10.64.64.53' /etc/resolv.conf", PATIENCE_S)
    guest.until("ip route show default | grep -q 'dev ppp0 .*metric 700'", PATIENCE_S)
    assert "\nnameserver 192.0.2.1" not in guest.read("/etc/resolv.conf"), "the far end's alone are asked"
    assert system.objects("Call")[path]["Dns"] == ["10.64.64.53"]
    system.call(path, "Call", "HangUp")
    assert system.ended(path)["EndReason"] == "local-hangup"
    guest.until("! systemctl is-active -q 'dialupd-ppp@*.service'", PATIENCE_S)
    assert guest.read("/etc/resolv.conf") == before
    assert guest.run("ip route show default").out == ""
