"""Real PPP over a phone's data channel, and what the far end says first: one daemon and one guest for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.client import NAME
from tests.vm.guest import Guest
from tests.vm.lab import Daemon, Plug

CONFIG = """
[[modem]]
name = "phone"
match = { vendor = "0421", product = "0405" }
usbserial = true
apn = "internet"
policy = "mobile"

[[modem]]
name = "modem"
match = { vendor = "0572", product = "1340" }
policy = "hand"

[policy.mobile]
mode = "originate"
when = "manual"
numbers = ["*99#"]
session = "mobile"

[policy.hand]
mode = "manual"
session = "mobile"

[session.mobile]
type = "ppp"
user = "web"
password-file = "/etc/secret"
"""

NUMBERS = {"N1": "100", "A1": "200"}
"""The phone's number, without modem lines, and a modem's, with them."""

NETWORK = "/tmp/network"
"""The program at the far end of *99#."""

SECRETS = '"web" * "correct horse" *\n'


@pytest.fixture(scope="module")
def daemon(common: Guest, bench: Plug) -> Daemon:
    """Has charge of a phone, which needs the generic driver, and of a modem."""
    common.run("ip netns add net && ip -n net link set lo up")
    common.write("/etc/netns/net/ppp/options", "")
    common.write("/etc/netns/net/ppp/pap-secrets", SECRETS, 0o600)
    common.write("/etc/secret", "correct horse\n", 0o600)
    bench(f"service '*99#' --command {NETWORK}")
    daemon = Daemon(common, CONFIG)
    bench.add("0421", "0405", "N1", f"--kind vendor --number {NUMBERS['N1']} --make nokia")
    bench.conexant("A1", f"--number {NUMBERS['A1']}")
    daemon.follow()
    return daemon


@pytest.fixture(autouse=True)
def free(common: Guest, daemon: Daemon) -> Iterator[None]:
    """*99# leads to an access server and the modems are ready, however the test before has ended."""
    pppd = "ip netns exec net pppd nodetach local require-pap 10.64.64.64:10.64.64.65 ms-dns 10.64.64.53"
    common.write(NETWORK, f"#!/bin/sh\nexec {pppd}\n", 0o755)
    for serial in NUMBERS:
        daemon.modem(serial, "ready")
    yield
    for call in daemon.calls():
        if call["State"] != "ended":
            common.run(f"{daemon.busctl} call {NAME} {call['path']} {NAME}.Call HangUp", check=False)
            daemon.ended(call["path"])


def originate(daemon: Daemon) -> str:
    return str(daemon.call("/org/dialupd1", "Manager", "Originate", "sa{sv}", "mobile", "0")[0])


def test_a_phone_on_the_packet_network(common: Guest, bench: Plug, daemon: Daemon) -> None:
    originate(daemon)
    call = daemon.running()
    assert (call["LocalAddress"], call["RemoteAddress"]) == ("10.64.64.65", "10.64.64.64")
    states = daemon.session_states(call["path"])
    assert list(states) == ["starting", "establish", "authenticate", "network", "running"]
    common.run("ping -c 5 -i 0.2 -W 5 10.64.64.64")
    assert "internet" in bench("show N1")["settings"]["+CGDCONT"]
    daemon.call(call["path"], "Call", "HangUp")
    assert daemon.ended(call["path"])["EndReason"] == "local-hangup"
    daemon.modem("N1", "ready")


def test_a_phone_that_loses_its_carrier(bench: Plug, daemon: Daemon) -> None:
    originate(daemon)
    path = daemon.running()["path"]
    bench("cut N1")
    assert daemon.ended(path)["EndReason"] == "remote-hangup"
    daemon.modem("N1", "ready")
    again = originate(daemon)
    assert daemon.running()["path"] == again


@pytest.mark.parametrize("serial", ["A1", "N1"], ids=["cdc", "vendor"])
def test_the_first_frame_behind_connect_arrives(common: Guest, daemon: Daemon, serial: str) -> None:
    number = NUMBERS[serial]
    request = bytes([0xFF, 0x03, 0xC0, 0x21, 1, 0x63, 0, 10, 5, 6, 1, 2, 3, int(number) // 100])
    # an LCP Configure-Request whose magic number tells whose call it is
    octal = "".join(f"\\{byte:03o}" for byte in hdlc(request))
    common.write(NETWORK, f"#!/bin/sh\nprintf '{octal}'\nexec cat > /tmp/heard\n", 0o755)
    earlier = len(common.read(common.logs["plug"]).splitlines())
    call = daemon.dial(serial, "*99#")
    daemon.modem(serial, "connected")
    # it is sent once only
    rcvd = f"rcvd .LCP ConfReq id=0x63 <magic 0x102030{request[-1]}>"
    common.until(f"journalctl -q --no-pager -o cat -t pppd | grep '{rcvd}'")
    daemon.call(call, "Call", "HangUp")
    assert daemon.ended(call)["EndReason"] == "local-hangup"
    daemon.modem(serial, "ready")
    # the far end is still on the line: it is hung up by DTR, or else by the escape sequence
    log = common.read(common.logs["plug"]).splitlines()[earlier:]
    last = [line.split(maxsplit=2)[2] for line in log if f" {number}" in line]
    hung_up = next(place for place, words in enumerate(last) if words.startswith(f"{number} hangs up"))
    assert (f"{number}: ATH" in last[hung_up - 2 : hung_up]) == (serial == "N1")


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
