"""Real PPP over simulated lines: two daemons call one another; a phone's data channel; a far end that refuses."""

from __future__ import annotations

from typing import cast

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
options = ["ms-dns", "172.16.1.53", "lcp-echo-interval", "4"]
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
"""

MODEM = """
[[modem]]
name = "modem"
match = { vendor = "0572", product = "1340" }
policy = "mobile"
"""

MOBILE = """
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
    client.until("name servers", lambda: True if client.calls()[0]["Dns"] == ["172.16.1.53"] else None)
    guest.until("ip -n cli route | grep '^default dev ppp0 .*metric 700'")
    guest.run("ip netns exec cli ping -c 10 -i 0.2 -W 5 172.16.1.1")
    guest.run("head -c 1048576 /dev/urandom > /tmp/blob")
    guest.spawn("sender", "socat -u FILE:/tmp/blob TCP-LISTEN:5000,bind=172.16.1.1,reuseaddr")
    guest.until("ss -ltn | grep -q :5000")
    got = guest.run("ip netns exec cli socat -u TCP:172.16.1.1:5000 - | sha256sum", timeout=90).out
    assert got.split()[0] == guest.run("sha256sum < /tmp/blob").out.split()[0]
    client.call(str(mine["path"]), "Call", "HangUp")
    received, sent = client.ended(str(mine["path"])), server.ended(str(theirs["path"]))
    assert received["RxBytes"] > 1 << 20 and sent["TxBytes"] > 1 << 20
    assert 0 < received["TxBytes"] < 1 << 18 and 0 < sent["RxBytes"] < 1 << 18


def test_a_session_tells_its_states_and_is_quick(pair: tuple[Daemon, Daemon]) -> None:
    for daemon in pair:
        daemon.follow()
    for daemon, call in zip(pair, both_up(*pair), strict=True):
        states = daemon.session_states(str(call["path"]))
        assert list(states) == ["starting", "establish", "authenticate", "network", "running"]
        seconds = (states["running"] - cast(int, call["ConnectTime"])) / 1e6
        print(f"{daemon.name}: {seconds:.2f} s from CONNECT to running")
        assert seconds < 3, "a lost frame costs a second or more"


def test_pppd_is_talkative_only_until_the_link_is_up(guest: Guest, pair: tuple[Daemon, Daemon]) -> None:
    both_up(*pair)
    # the server's pppd asks for an echo every four seconds: this outlasts three
    guest.run("ip netns exec cli ping -c 14 -i 1 -W 5 172.16.1.1")
    lines = guest.run("journalctl -q --no-pager -o cat -t pppd").out.splitlines()
    echoes = [line for line in lines if line.startswith("sent [LCP EchoReq")]
    assert any("id=0x0 " in line for line in echoes)
    assert not any("id=0x2 " in line for line in echoes)


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
    reasons = {
        "caller": ("local-hangup", "remote-hangup"),
        "called": ("remote-hangup", "local-hangup"),
        "network": ("remote-hangup", "remote-hangup"),
    }[who]
    assert client.ended(str(mine["path"]))["EndReason"] == reasons[0]
    assert server.ended(str(theirs["path"]))["EndReason"] == reasons[1]
    client.modem("C1", "ready")
    server.modem("S1", "ready")
    match who:
        case "caller":
            assert "LCP terminated by peer" in server.log()
        case "called":
            assert "LCP terminated by peer" in client.log()
        case _:
            assert "pppd ended: exit status 16" in client.log(), "pppd itself saw the hang-up"
            assert "pppd ended: exit status 16" in server.log()
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


@pytest.fixture
def phone(guest: Guest, plug: Plug) -> Daemon:
    """A phone whose *99# leads to an access server, and the daemon that has charge of it."""
    guest.run("ip netns add net && ip -n net link set lo up")
    guest.write("/etc/netns/net/ppp/options", "")
    guest.write("/etc/netns/net/ppp/pap-secrets", SECRETS, 0o600)
    guest.write("/etc/secret", "correct horse\n", 0o600)
    pppd = "ip netns exec net pppd nodetach local require-pap 10.64.64.64:10.64.64.65 ms-dns 10.64.64.53"
    plug(f"service '*99#' --command '{pppd}'")
    daemon = Daemon(guest, PHONE + MOBILE)
    plug.add("0421", "0405", "N1", "--kind vendor --number 100 --make nokia")
    daemon.modem("N1", "ready")
    return daemon


def test_a_phone_on_the_packet_network(guest: Guest, plug: Plug, phone: Daemon) -> None:
    phone.follow()
    originate(phone, "mobile")
    call = phone.running()
    assert (call["LocalAddress"], call["RemoteAddress"]) == ("10.64.64.65", "10.64.64.64")
    states = phone.session_states(call["path"])
    assert list(states) == ["starting", "establish", "authenticate", "network", "running"]
    guest.run("ping -c 5 -i 0.2 -W 5 10.64.64.64")
    assert "internet" in plug("show N1")["settings"]["+CGDCONT"]
    phone.call(call["path"], "Call", "HangUp")
    assert phone.ended(call["path"])["EndReason"] == "local-hangup"
    phone.modem("N1", "ready")


def test_a_phone_that_loses_its_carrier(plug: Plug, phone: Daemon) -> None:
    originate(phone, "mobile")
    path = phone.running()["path"]
    plug("cut N1")
    assert phone.ended(path)["EndReason"] == "remote-hangup"
    phone.modem("N1", "ready")
    originate(phone, "mobile")
    phone.running()


@pytest.mark.parametrize("kind", ["cdc", "vendor"])
def test_the_first_frame_behind_connect_arrives(guest: Guest, plug: Plug, kind: str) -> None:
    request = bytes([0xFF, 0x03, 0xC0, 0x21, 1, 0x63, 0, 10, 5, 6, 1, 2, 3, 4])  # LCP Configure-Request, a magic number
    octal = "".join(f"\\{byte:03o}" for byte in hdlc(request))
    guest.write("/tmp/first", f"#!/bin/sh\nprintf '{octal}'\nexec cat > /tmp/heard\n", 0o755)
    guest.write("/etc/secret", "correct horse\n", 0o600)
    plug("service '*99#' --command /tmp/first")
    match kind:
        case "cdc":
            daemon = Daemon(guest, MODEM + MOBILE)
            plug.conexant("N1", "--number 100")
        case _:
            daemon = Daemon(guest, PHONE + MOBILE)
            plug.add("0421", "0405", "N1", "--kind vendor --number 100 --make nokia")
    daemon.modem("N1", "ready")
    call = originate(daemon, "mobile")
    daemon.modem("N1", "connected")
    # it is sent once only
    guest.until("journalctl -q --no-pager -o cat -t pppd | grep 'rcvd .LCP ConfReq id=0x63 <magic 0x1020304>'")
    daemon.call(call, "Call", "HangUp")
    assert daemon.ended(call)["EndReason"] == "local-hangup"
    daemon.modem("N1", "ready")
    # the far end is still on the line: it is hung up by DTR, or else by the escape sequence
    log = guest.read(guest.logs["plug"]).splitlines()
    last = [line.split(maxsplit=2)[2] for line in log if " 100" in line]
    hung_up = next(number for number, words in enumerate(last) if words.startswith("100 hangs up"))
    assert ("100: ATH" in last[hung_up - 2 : hung_up]) == (kind == "vendor")


def hdlc(frame: bytes) -> bytes:
    """A PPP frame as it goes over an asynchronous line before anything is negotiated (RFC 1662)."""
    fcs = 0xFFFF
    for byte in frame:
        fcs ^= byte
        for _ in range(8):
            fcs = fcs >> 1 ^ (0x8408 if fcs & 1 else 0)
    whole = frame + (fcs ^ 0xFFFF).to_bytes(2, "little")
    escaped = (bytes((0x7D, byte ^ 0x20)) if byte < 0x20 or byte in b"\x7d\x7e" else bytes((byte,)) for byte in whole)
    return b"\x7e" + b"".join(escaped) + b"\x7e"
