"""Real PPP over simulated lines: two daemons call one another; a phone's data channel; a far end that refuses."""

from __future__ import annotations

import pytest

from tests.vm.guest import Guest
from tests.vm.lab import Daemon, Plug

SERVER = """
[[modem]]
name = "dialin"
match = { vendor = "0572", product = "1340", serial = "S1" }
policy = "dialin"

[policy.dialin]
mode = "answer"
rings = 1
session = "dialin"

[session.dialin]
type = "ppp"
role = "server"
local = "172.16.1.1"
remote = "172.16.1.2"
auth = ["chap"]
options = ["ms-dns", "172.16.1.53"]
"""

CLIENT = """
[[modem]]
name = "caller"
match = { vendor = "0572", product = "1340", serial = "C1" }
policy = "uplink"

[policy.uplink]
mode = "originate"
when = "manual"
numbers = ["100"]
session = "internet"

[session.internet]
type = "ppp"
user = "web"
password-file = "/etc/secret"
default-route = true
metric = 700
dns = true
"""

PHONE = """
[[modem]]
name = "phone"
match = { vendor = "0421", product = "0405" }
usbserial = true
apn = "internet"
policy = "mobile"

[policy.mobile]
mode = "originate"
when = "manual"
numbers = ["*99#"]
session = "mobile"

[session.mobile]
type = "ppp"
user = "web"
password-file = "/etc/secret"
"""

SECRETS = '"web" * "correct horse" *\n'


@pytest.fixture
def pair(guest: Guest, plug: Plug) -> tuple[Daemon, Daemon]:
    """A daemon that answers number 100 and, in the network namespace `cli`, one that calls it."""
    guest.run("ip netns add cli && ip -n cli link set lo up")
    guest.write("/etc/netns/cli/ppp/options", "")
    guest.write("/etc/netns/cli/ppp/resolv.conf", "")
    guest.write("/etc/netns/cli/resolv.conf", "")
    guest.write("/etc/ppp/chap-secrets", SECRETS, 0o600)
    guest.write("/etc/secret", "correct horse\n", 0o600)
    # udev's own events stay in the namespace that udevd is in: the caller's modem is there before its daemon
    plug.conexant("C1", "--number 200")
    plug.conexant("S1", "--number 100")
    guest.until("test -c /dev/ttyACM1")
    server = Daemon(guest, SERVER, name="server")
    client = Daemon(guest, CLIENT, name="client", netns="cli")
    server.modem("S1", "ready")
    client.modem("C1", "ready")
    return server, client


def originate(client: Daemon, policy: str = "uplink") -> str:
    return str(client.call("/org/dialupd1", "Manager", "Originate", "sa{sv}", policy, "0")[0])


def both_up(server: Daemon, client: Daemon) -> tuple[dict[str, object], dict[str, object]]:
    call = originate(client)
    mine = client.running()
    assert mine["path"] == call
    return server.running(), mine


def test_two_modems_carry_ip(guest: Guest, pair: tuple[Daemon, Daemon]) -> None:
    server, client = pair
    theirs, mine = both_up(server, client)
    assert (mine["LocalAddress"], mine["RemoteAddress"]) == ("172.16.1.2", "172.16.1.1")
    assert (theirs["LocalAddress"], theirs["RemoteAddress"]) == ("172.16.1.1", "172.16.1.2")
    assert (mine["Direction"], theirs["Direction"]) == ("outgoing", "incoming")
    assert mine["Dns"] == ["172.16.1.53"]
    routes = guest.run("ip -n cli route").out
    assert f"default dev {mine['Interface']}" in routes and "metric 700" in routes
    guest.run("ip netns exec cli ping -c 10 -i 0.2 -W 5 172.16.1.1")
    guest.run("head -c 1048576 /dev/urandom > /tmp/blob")
    guest.spawn("sender", "socat -u FILE:/tmp/blob TCP-LISTEN:5000,bind=172.16.1.1,reuseaddr")
    guest.until("ss -ltn | grep -q :5000")
    got = guest.run("ip netns exec cli socat -u TCP:172.16.1.1:5000 - | sha256sum", timeout=90).out
    assert got.split()[0] == guest.run("sha256sum < /tmp/blob").out.split()[0]
    [moved] = [call for call in client.calls() if call["path"] == mine["path"]]
    assert moved["RxBytes"] > 1048576


@pytest.mark.parametrize("who", ["caller", "called", "network"])
def test_both_are_ready_again_after_the_end(guest: Guest, plug: Plug, pair: tuple[Daemon, Daemon], who: str) -> None:
    server, client = pair
    theirs, mine = both_up(server, client)
    match who:
        case "caller":
            client.call(str(mine["path"]), "Call", "HangUp")
        case "called":
            server.call(str(theirs["path"]), "Call", "HangUp")
        case _:
            plug("cut C1")
    far = {"remote-hangup", "session-ended"}
    reasons = {
        "caller": ({"local-hangup"}, far),
        "called": (far, {"local-hangup"}),
        "network": ({"remote-hangup"}, {"remote-hangup"}),
    }[who]
    assert client.ended(str(mine["path"]))["EndReason"] in reasons[0]
    assert server.ended(str(theirs["path"]))["EndReason"] in reasons[1]
    client.modem("C1", "ready")
    server.modem("S1", "ready")
    assert guest.run("pgrep -x pppd", check=False).rc != 0, "no pppd is left"
    assert "default" not in guest.run("ip -n cli route").out
    both_up(server, client)


def test_a_wrong_password_is_said_and_not_tried_again(guest: Guest, pair: tuple[Daemon, Daemon]) -> None:
    server, client = pair
    guest.write("/etc/secret", "wrong\n", 0o600)
    call = originate(client)
    assert client.ended(call)["EndReason"] == "auth-failed"
    assert server.ended(server.calls()[0]["path"])["EndReason"] == "peer-auth-failed"
    server.modem("S1", "ready")


def test_a_phone_on_the_packet_network(guest: Guest, plug: Plug) -> None:
    guest.run("ip netns add net && ip -n net link set lo up")
    guest.write("/etc/netns/net/ppp/options", "")
    guest.write("/etc/netns/net/ppp/pap-secrets", SECRETS, 0o600)
    guest.write("/etc/secret", "correct horse\n", 0o600)
    pppd = "ip netns exec net pppd nodetach local require-pap 10.64.64.64:10.64.64.65 ms-dns 10.64.64.53"
    plug(f"service '*99#' --command '{pppd}'")
    daemon = Daemon(guest, PHONE)
    plug.add("0421", "0405", "N1", "--kind vendor --number 100 --make nokia")
    daemon.modem("N1", "ready")
    originate(daemon, "mobile")
    call = daemon.running()
    assert (call["LocalAddress"], call["RemoteAddress"]) == ("10.64.64.65", "10.64.64.64")
    guest.run("ping -c 5 -i 0.2 -W 5 10.64.64.64")
    assert "internet" in plug("show N1")["settings"]["+CGDCONT"]
    daemon.call(call["path"], "Call", "HangUp")
    assert daemon.ended(call["path"])["EndReason"] == "local-hangup"
    daemon.modem("N1", "ready")
