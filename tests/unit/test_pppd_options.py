"""The options file for pppd: quoting, roles, and pppd's own opinion of it where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dialupd.config.values import Auth, PppSession, Radius, Role
from dialupd.model import Direction
from dialupd.sessions.base import CallFacts
from dialupd.sessions.pppd_options import Granted, options_file, quote

FACTS = CallFacts(call=7, modem="usb-1", device="/dev/ttyACM0", direction=Direction.OUTGOING, policy="uplink")
HOSTILE = 'a"b\\c d\te\'f#$ `x`\n"plugin" evil.so\n'
NOTHING = Granted()
PPPD = shutil.which("pppd", path="/usr/sbin:/sbin:/usr/bin")


def words(text: bytes) -> list[bytes]:
    """As getword() of pppd's options.c reads a file, but for the escapes that we never write."""
    out: list[bytes] = []
    word: bytearray | None = None
    quoted = 0
    at = 0
    while at < len(text):
        byte = text[at]
        if byte == ord("\\"):
            word = word if word is not None else bytearray()
            if text[at + 1 : at + 2].isdigit():
                word.append(int(text[at + 1 : at + 4], 8))
                at += 4
            else:
                word.append(text[at + 1])
                at += 2
            continue
        if quoted:
            if byte == quoted:
                quoted = 0
            elif word is not None:
                word.append(byte)
        elif byte in b"\"'":
            word, quoted = word if word is not None else bytearray(), byte
        elif byte in b" \t\n\r\v\f":
            if word is not None:
                out.append(bytes(word))
                word = None
        else:
            assert byte != ord("#"), "a comment"
            word = word if word is not None else bytearray()
            word.append(byte)
        at += 1
    return [*out, bytes(word)] if word is not None else out


@given(st.binary(max_size=60).filter(lambda word: b"\0" not in word))
@example(HOSTILE.encode())
@example(b"")
@example(b"\x01234")
def test_quoted_word_is_one_word(word: bytes) -> None:
    assert words(quote(word) + b"\nnoauth\n") == [word, b"noauth"]


def client(**given: object) -> list[bytes]:
    config = PppSession(name="internet", user=HOSTILE, **given)  # type: ignore[arg-type]
    return words(options_file(config, FACTS, b'hun"ter\\2 #', software_flow=False))


def test_client() -> None:
    found = client(dns=True, idle=600.0, options=("nodeflate", "mtu", "296"))
    assert found[found.index(b"user") + 1] == HOSTILE.encode()
    assert found[found.index(b"password") + 1] == b'hun"ter\\2 #'
    assert found[found.index(b"idle") + 1] == b"600"
    assert found[found.index(b"mtu") + 1] == b"296"
    for word in (b"noauth", b"noipdefault", b"usepeerdns", b"nodefaultroute", b"notty", b"nodetach", b"hide-password"):
        assert word in found
    for word in (b"auth", b"defaultroute", b"plugin", b"replacedefaultroute", b"noreplacedefaultroute"):
        assert word not in found


def test_what_must_hold_comes_last() -> None:
    found = client(options=("persist", "show-password", "updetach"))
    for ours, theirs in ((b"nopersist", b"persist"), (b"hide-password", b"show-password"), (b"nodetach", b"updetach")):
        assert found.index(ours) > found.index(theirs)


def test_server() -> None:
    config = PppSession("in", Role.SERVER, local="172.16.1.1", remote="172.16.1.2", auth=(Auth.CHAP, Auth.MSCHAP_V2))
    found = words(options_file(config, FACTS, None, software_flow=True))
    assert b"172.16.1.1:172.16.1.2" in found
    assert [word for word in found if b"auth" in word or b"require" in word] == [
        b"auth",
        b"require-chap",
        b"require-mschap-v2",
    ]
    assert found[found.index(b"asyncmap") + 1] == b"a0000"
    assert b"user" not in found and b"password" not in found


def served(granted: Granted = NOTHING, caller: str = "", **given: object) -> list[bytes]:
    config = PppSession("in", Role.SERVER, local="172.16.1.1", auth=(Auth.CHAP,), **given)  # type: ignore[arg-type]
    facts = replace(FACTS, direction=Direction.INCOMING, caller_id=caller, connect="33600/ARQ")
    return words(options_file(config, facts, None, software_flow=False, granted=granted))


def test_what_the_caller_is_given() -> None:
    found = served(
        Granted("172.16.1.17"),
        pool=("172.16.1.10", "172.16.1.20"),
        dns_servers=("10.0.0.1", "10.0.0.2"),
        proxy_arp=True,
    )
    assert b"172.16.1.1:172.16.1.17" in found
    assert b"proxyarp" in found and b"noproxyarp" not in found
    assert [found[at + 1] for at, word in enumerate(found) if word == b"ms-dns"] == [b"10.0.0.1", b"10.0.0.2"]


def test_a_caller_gets_nothing_that_is_not_configured() -> None:
    found = served(remote="172.16.1.2")
    assert b"noproxyarp" in found
    for word in (b"proxyarp", b"ms-dns", b"plugin", b"remotenumber", b"mtu", b"mru"):
        assert word not in found


def test_sizes_compression_and_ipv6() -> None:
    found = client(mtu=296, mru=576, compression=False, ipv6=False)
    assert found[found.index(b"mtu") + 1] == b"296"
    assert found[found.index(b"mru") + 1] == b"576"
    off = {b"noccp", b"novj", b"nopcomp", b"noaccomp", b"noipv6"}
    assert off <= set(found) and b"+ipv6" not in found
    assert b"+ipv6" in client() and not off & set(client())


def test_the_sessions_own_options_may_say_otherwise() -> None:
    found = client(mtu=296, compression=False, options=("mtu", "576", "ccp"))
    assert len(found) - found[::-1].index(b"mtu") == found.index(b"576")
    assert found.index(b"ccp") > found.index(b"noccp")


def test_radius() -> None:
    config = "/run/call 7/radius.conf"
    found = served(Granted("172.16.1.2", config), caller=HOSTILE)
    plugin = found.index(b"plugin")
    assert found[plugin + 1] == b"radius.so"
    at = found.index(b"radius-config-file")
    assert at > plugin and found[at + 1] == config.encode()
    pairs = [found[at + 1] for at, word in enumerate(found) if word == b"avpair"]
    assert pairs == [b'NAS-Port-Id="usb-1"', b'Connect-Info="33600/ARQ"']
    assert found[found.index(b"remotenumber") + 1] == HOSTILE.encode()


def test_the_callers_number_for_radius_and_for_allow_number() -> None:
    assert served(caller="5551212")[served(caller="5551212").index(b"remotenumber") + 1] == b"5551212"
    found = served(Granted("172.16.1.2", "/radius.conf"))
    # or the plugin would take `ipparam` for it
    assert found[found.index(b"remotenumber") + 1] == b"none"


def test_server_that_lets_anyone_in() -> None:
    config = PppSession("in", Role.SERVER, local="172.16.1.1", remote="172.16.1.2")
    found = words(options_file(config, FACTS, None, software_flow=False))
    assert b"noauth" in found and b"auth" not in found


def dryrun(config: PppSession, file: Path) -> subprocess.CompletedProcess[str]:
    granted = Granted("172.16.1.2", str(file.with_name("radius.conf")) if config.radius else "")
    file.write_bytes(options_file(config, FACTS, b"secret", software_flow=False, granted=granted))
    argv = [str(PPPD), "file", str(file), "dryrun"]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)


@pytest.mark.skipif(PPPD is None, reason="pppd is not installed")
@pytest.mark.parametrize(
    "config",
    [
        PppSession("a", user=HOSTILE, dns=True, idle=90.0, options=("nodeflate", "mtu", "296")),
        PppSession("b", Role.SERVER, local="172.16.1.1", remote="172.16.1.2"),
        PppSession("c", user="web", mtu=296, mru=576, compression=False, ipv6=False),
        PppSession(
            "d",
            Role.SERVER,
            local="172.16.1.1",
            pool=("172.16.1.10", "172.16.1.20"),
            dns_servers=("10.0.0.1", "10.0.0.2"),
            proxy_arp=True,
            auth=tuple(Auth),
            radius=Radius((("10.0.0.1", 1812),), "/secret"),
        ),
    ],
)
def test_pppd_takes_it(config: PppSession, tmp_path: Path) -> None:
    run = dryrun(config, tmp_path / "options")
    # 0 with PPP in the kernel, 4 without, 3 where neither we nor pppd are root: in each case behind the options.
    assert run.returncode in (0, 3, 4), run.stdout + run.stderr
    assert "In file" not in run.stderr


@pytest.mark.skipif(PPPD is None, reason="pppd is not installed")
def test_pppd_refuses_what_is_none(tmp_path: Path) -> None:
    run = dryrun(PppSession("a", options=("frobnicate",)), tmp_path / "options")
    assert run.returncode == 2
    assert "frobnicate" in run.stderr
