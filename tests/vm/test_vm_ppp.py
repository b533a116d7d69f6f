"""Real PPP over simulated lines: two daemons call one another, in a guest that the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from tests.vm.client import NAME
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

SECRETS = '"web" * "correct horse" *\n'


@pytest.fixture(scope="module")
def daemons(common: Guest, bench: Plug) -> tuple[Daemon, Daemon]:
    """A daemon that answers number 100 and, in the network namespace `cli`, one that calls it."""
    common.run("ip netns add cli && ip -n cli link set lo up")
    common.write("/etc/netns/cli/ppp/options", "")
    common.write("/etc/netns/cli/ppp/resolv.conf", "")
    common.write("/etc/netns/cli/resolv.conf", "")
    common.write("/etc/ppp/chap-secrets", SECRETS, 0o600)
    # udev's own events stay in the namespace that udevd is in: the caller's modem is there before its daemon
    bench.conexant("C1", "--number 200")
    bench.conexant("S1", "--number 100")
    common.until("test -c /dev/ttyACM1")
    server = Daemon(common, SERVER, name="server")
    client = Daemon(common, CLIENT, name="client", netns="cli")
    return server, client


@pytest.fixture
def pair(common: Guest, daemons: tuple[Daemon, Daemon]) -> Iterator[tuple[Daemon, Daemon]]:
    """Both, with free lines; afterwards too, however the test ended."""
    server, client = daemons
    common.write("/etc/secret", "correct horse\n", 0o600)
    server.modem("S1", "ready")
    client.modem("C1", "ready")
    yield server, client
    for daemon in daemons:
        for call in daemon.calls():
            if call["State"] != "ended":
                # the other side may have ended it meanwhile
                daemon.guest.run(f"{daemon.busctl} call {NAME} {call['path']} {NAME}.Call HangUp", check=False)
                daemon.ended(call["path"])


def originate(client: Daemon, policy: str = "uplink") -> str:
    return str(client.call("/org/dialupd1", "Manager", "Originate", "sa{sv}", policy, "0")[0])


def both_up(server: Daemon, client: Daemon) -> tuple[dict[str, object], dict[str, object]]:
    call = originate(client)
    mine = client.running()
    assert mine["path"] == call
    return server.running(), mine


def test_two_modems_carry_ip(common: Guest, pair: tuple[Daemon, Daemon]) -> None:
    server, client = pair
    theirs, mine = both_up(server, client)
    assert (mine["LocalAddress"], mine["RemoteAddress"]) == ("172.16.1.2", "172.16.1.1")
    assert (theirs["LocalAddress"], theirs["RemoteAddress"]) == ("172.16.1.1", "172.16.1.2")
    assert (mine["Direction"], theirs["Direction"]) == ("outgoing", "incoming")
    client.until("name servers", lambda: True if client.calls()[0]["Dns"] == ["172.16.1.53"] else None)
    common.until("ip -n cli route | grep '^default dev ppp0 .*metric 700'")
    common.run("ip netns exec cli ping -c 10 -i 0.2 -W 5 172.16.1.1")
    common.run("head -c 1048576 /dev/urandom > /tmp/blob")
    common.spawn("sender", "socat -u FILE:/tmp/blob TCP-LISTEN:5000,bind=172.16.1.1,reuseaddr")
    common.until("ss -ltn | grep -q :5000")
    got = common.run("ip netns exec cli socat -u TCP:172.16.1.1:5000 - | sha256sum", timeout=90).out
    assert got.split()[0] == common.run("sha256sum < /tmp/blob").out.split()[0]
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


def test_pppd_is_talkative_only_until_the_link_is_up(common: Guest, pair: tuple[Daemon, Daemon]) -> None:
    journal = "journalctl -q --no-pager -o cat -t pppd"
    earlier = len(common.run(journal).out.splitlines())
    both_up(*pair)
    # the server's pppd asks for an echo every four seconds: this outlasts three
    common.run("ip netns exec cli ping -c 14 -i 1 -W 5 172.16.1.1")
    lines = common.run(journal).out.splitlines()[earlier:]
    echoes = [line for line in lines if line.startswith("sent [LCP EchoReq")]
    assert any("id=0x0 " in line for line in echoes)
    assert not any("id=0x2 " in line for line in echoes)


@pytest.mark.parametrize("who", ["caller", "called", "network"])
def test_both_are_ready_again_after_the_end(common: Guest, bench: Plug, pair: tuple[Daemon, Daemon], who: str) -> None:
    server, client = pair
    earlier = {daemon.name: len(daemon.log()) for daemon in pair}
    theirs, mine = both_up(server, client)
    match who:
        case "caller":
            client.call(str(mine["path"]), "Call", "HangUp")
        case "called":
            server.call(str(theirs["path"]), "Call", "HangUp")
        case _:
            bench("cut C1")
    reasons = {
        "caller": ("local-hangup", "remote-hangup"),
        "called": ("remote-hangup", "local-hangup"),
        "network": ("remote-hangup", "remote-hangup"),
    }[who]
    assert client.ended(str(mine["path"]))["EndReason"] == reasons[0]
    assert server.ended(str(theirs["path"]))["EndReason"] == reasons[1]
    client.modem("C1", "ready")
    server.modem("S1", "ready")
    log = {daemon.name: daemon.log()[earlier[daemon.name] :] for daemon in pair}
    match who:
        case "caller":
            assert "LCP terminated by peer" in log["server"]
        case "called":
            assert "LCP terminated by peer" in log["client"]
        case _:
            assert "pppd ended: exit status 16" in log["client"], "pppd itself saw the hang-up"
            assert "pppd ended: exit status 16" in log["server"]
    assert common.run("pgrep -x pppd", check=False).rc != 0, "no pppd is left"
    assert "default" not in common.run("ip -n cli route").out
    both_up(server, client)  # once more


def test_a_wrong_password_is_said_and_not_tried_again(common: Guest, pair: tuple[Daemon, Daemon]) -> None:
    server, client = pair
    common.write("/etc/secret", "wrong\n", 0o600)
    call = originate(client)
    assert client.ended(call)["EndReason"] == "auth-failed"
    assert server.ended(server.calls()[0]["path"])["EndReason"] == "peer-auth-failed"
    server.modem("S1", "ready")
