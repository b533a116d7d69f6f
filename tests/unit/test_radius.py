"""What pppd's RADIUS plugin is told: its files, within what its library can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dialupd.config.values import PppSession, Radius, Role
from dialupd.io.secret import SecretError
from dialupd.model import Direction
from dialupd.sessions.admission import Admission
from dialupd.sessions.base import CallFacts, RuntimePaths
from dialupd.sessions.pool import FullError
from dialupd.sessions.pppd_words import Said, hear
from dialupd.sessions.radius import client_config, dictionary, pairs, unanswered

FACTS = CallFacts(call=7, modem="usb-1", device="/dev/ttyACM0", direction=Direction.INCOMING, connect="33600/ARQ/V34")
ONE = Radius((("10.0.0.1", 1812),), "/secret")


def settings(radius: Radius) -> dict[str, str]:
    text = client_config(radius, "/run/servers", "/run/dictionary", "/run/seq").decode()
    assert all(len(line) < 511 for line in text.splitlines()) and text.endswith("\n")
    return dict(line.split(" ", 1) for line in text.splitlines())


def test_servers_in_their_order() -> None:
    found = settings(replace(ONE, servers=(("10.0.0.2", 1812), ("radius.example", 1645))))
    assert found["authserver"] == "10.0.0.2:1812,radius.example:1645"
    assert found["acctserver"] == "10.0.0.2:1813,radius.example:1646"


def test_no_accounting_is_a_server_that_fails_without_a_word() -> None:
    assert settings(replace(ONE, accounting=False))["acctserver"] == ":1"


@pytest.mark.parametrize("count", range(1, 5))
def test_a_caller_need_not_wait_longer_than_callers_do(count: int) -> None:
    found = settings(replace(ONE, servers=(("h" * 64, 65534),) * count))
    tries, seconds = int(found["radius_retries"]), int(found["radius_timeout"])
    assert tries >= 2
    assert tries * seconds * count <= 24


def test_the_machine_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "north")
    assert settings(ONE)["nas_identifier"] == "north"
    assert settings(replace(ONE, nas_identifier="pop-7"))["nas_identifier"] == "pop-7"


def test_the_dictionary_is_one() -> None:
    names, numbers, vendors = set(), set(), set()
    for line in dictionary().decode().splitlines():
        match line.split():
            case ["VENDOR", name, _]:
                vendors.add(name)
            case ["ATTRIBUTE", name, number, kind, *vendor]:
                assert len(name) <= 32 and 0 < int(number) < 256 and kind in ("string", "integer", "ipaddr")
                assert set(vendor) <= vendors
                assert name not in names and (number, *vendor) not in numbers
                names.add(name)
                numbers.add((number, *vendor))
            case _:
                pytest.fail(line)
    # what the plugin sends by number (radius.c, buildreq.c), and the answers that it reads
    assert {int(number) for number, *vendor in numbers if not vendor} >= {
        *(1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 18, 22, 25, 27, 28, 31, 32),
        *(40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 60, 61, 80, 85),
    }
    assert {int(number) for number, *vendor in numbers if vendor} >= {1, 7, 8, 11, 12, 16, 17, 25, 26, 28, 29, 30, 31}


def test_what_is_told_of_the_call() -> None:
    assert pairs(FACTS) == ['NAS-Port-Id="usb-1"', 'Connect-Info="33600/ARQ/V34"']
    assert pairs(replace(FACTS, connect="", line_rate=33600))[1:] == ['Connect-Info="33600"']
    assert pairs(replace(FACTS, connect=""))[1:] == []


def test_no_value_leaves_its_quotes_or_its_buffer() -> None:
    for value in pairs(replace(FACTS, modem='a"b\\c\nd\x80é' * 20, connect='"' * 80)):
        text = value.partition("=")[2]
        assert text[0] == text[-1] == '"' and '"' not in text[1:-1] and len(text) <= 62
        assert text.isascii() and text.isprintable() and "\\" not in text


SILENT = "rc_send_server: no reply from RADIUS server ns.example:1812"
UNKNOWN = "rc_get_ipaddr: couldn't resolve hostname: nowhere"
UNSIGNED = "rc_check_reply: received invalid reply digest from RADIUS server"
# of the machine's own name, and of an address that has none: neither keeps a server from being asked
HARMLESS = (
    "rc_get_ipaddr: couldn't resolve hostname: myself",
    "rc_own_ipaddress: couldn't get own IP address",
    "rc_ip_hostname: couldn't look up host by addr: 0A000001",
    "RADIUS plugin initialized.",
)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), ""),
        (HARMLESS, ""),
        ((SILENT,), ""),
        ((*HARMLESS, SILENT), ""),
        ((SILENT, SILENT), "no RADIUS server answered"),
        ((SILENT, *HARMLESS, UNKNOWN), "no RADIUS server answered"),
        ((UNSIGNED,), "does not fit the secret"),
        ((SILENT, UNSIGNED), "does not fit the secret"),
    ],
)
def test_whether_anybody_has_said_no(lines: tuple[str, ...], why: str) -> None:
    said = Said()
    for line in (*lines, "PAP peer authentication failed for bob"):
        said = hear(said, line)
    told = unanswered(replace(ONE, servers=(("ns.example", 1812), ("nowhere", 1812))), said.radius)
    assert why in told and bool(why) == bool(told)


def test_a_plugin_that_complains_for_ever_fills_no_memory() -> None:
    said = Said()
    for number in range(100):
        said = hear(said, f"rc_avpair_gen: received unknown attribute {number}")
    assert 0 < len(said.radius) < 20


@pytest.fixture
def admission(tmp_path: Path) -> Callable[[bytes], Admission]:
    def of(secret: bytes) -> Admission:
        file = tmp_path / "secret"
        file.write_bytes(secret)
        file.chmod(0o600)
        radius = Radius((("10.0.0.1", 1812), ("10.0.0.1", 1912), ("ns", 1812)), str(file))
        config = PppSession("in", Role.SERVER, local="172.16.1.1", remote="172.16.1.2", radius=radius)
        (tmp_path / "run").mkdir(exist_ok=True)
        return Admission(config, FACTS, RuntimePaths(str(tmp_path / "run"), str(tmp_path / "shared")))

    return of


def test_files_live_as_long_as_the_call(tmp_path: Path, admission: Callable[[bytes], Admission]) -> None:
    (tmp_path / "run").mkdir()
    one = admission(b"testing-123\n")
    granted = one.enter()
    directory = tmp_path / "run" / "call-7"
    assert granted.address == "172.16.1.2"
    assert granted.radius_config == str(directory / "radius.conf")
    assert (directory / "radius.servers").read_text() == "10.0.0.1 testing-123\nns testing-123\n"
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    (directory / "radius.seq").write_text("17\n")  # by pppd
    with pytest.raises(FullError):
        admission(b"testing-123").enter()
    one.leave()
    one.leave()
    assert not directory.exists()
    admission(b"x").enter()


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (b"s" * 49, "has 49 bytes"),
        (b"correct horse", "holds a blank"),
        (b"correct\thorse", "holds a blank"),
        (b" correct", "holds a blank"),
    ],
)
def test_secrets_that_the_plugin_would_cut(
    tmp_path: Path, admission: Callable[[bytes], Admission], secret: bytes, says: str
) -> None:
    with pytest.raises(SecretError, match=says) as caught:
        admission(secret).enter()
    assert secret.decode() not in str(caught.value)
    assert list((tmp_path / "run").iterdir()) == []
    admission(b"s" * 48).enter()
