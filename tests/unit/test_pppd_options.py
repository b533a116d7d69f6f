"""The options file for pppd: quoting, roles, and pppd's own opinion of it where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dialupd.config.values import Auth, PppSession, Role
from dialupd.model import Direction
from dialupd.sessions.base import CallFacts
from dialupd.sessions.pppd_options import options_file, quote

FACTS = CallFacts(call=7, modem="usb-1", device="/dev/ttyACM0", direction=Direction.OUTGOING, policy="uplink")
HOSTILE = 'a"b\\c d\te\'f#$ `x`\n"plugin" evil.so\n'
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


def test_server_that_lets_anyone_in() -> None:
    config = PppSession("in", Role.SERVER, local="172.16.1.1", remote="172.16.1.2")
    found = words(options_file(config, FACTS, None, software_flow=False))
    assert b"noauth" in found and b"auth" not in found


def dryrun(config: PppSession, file: Path) -> subprocess.CompletedProcess[str]:
    file.write_bytes(options_file(config, FACTS, b"secret", software_flow=False))
    argv = [str(PPPD), "file", str(file), "dryrun"]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)


@pytest.mark.skipif(PPPD is None, reason="pppd is not installed")
@pytest.mark.parametrize(
    "config",
    [
        PppSession("a", user=HOSTILE, dns=True, idle=90.0, options=("nodeflate", "mtu", "296")),
        PppSession("b", Role.SERVER, local="172.16.1.1", remote="172.16.1.2"),
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
