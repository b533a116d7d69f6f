"""What is known of a line from CONNECT and what came before it: every maker's form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.connect import CARRIERS, Connection, connection

CASES = [
    ("", (), Connection()),
    ("33600", (), Connection(33600)),
    ("115200", (), Connection(0, 115200)),
    ("460800", (), Connection(0, 460800)),
    # V.250
    (
        "115200",
        ("+MCR: V34", "+MRR: 33600,31200", "+ER: LAPM", "+DR: V42B", "+ILRR: 115200"),
        Connection(33600, 115200, "V.34", "LAPM", "V.42bis"),
    ),
    (
        "49333",
        ("+MCR: V90", "+MRR: 49333,31200", "+ER: LAPM", "+DR: V44"),
        Connection(49333, 49333, "V.90", "LAPM", "V.44"),
    ),
    ("2400", ("+MCR: V22B", "+MRR: 2400", "+ER: NONE", "+DR: NONE"), Connection(2400, 2400, "V.22bis", "none", "none")),
    ("", ("+ER: ALT", "+DR: ALT"), Connection(0, 0, "", "MNP", "MNP 5")),
    ("", ("+DR: V42B RD",), Connection(compression="V.42bis")),
    ("", ("+DR: V44 TD",), Connection(compression="V.44")),
    # Rockwell, Conexant
    (
        "115200",
        ("CARRIER 33600", "PROTOCOL: LAPM", "COMPRESSION: V.42 bis"),
        Connection(33600, 115200, "", "LAPM", "V.42bis"),
    ),
    ("57600", ("CARRIER 14400", "PROTOCOL: ALT", "COMPRESSION: CLASS 5"), Connection(14400, 57600, "", "MNP", "MNP 5")),
    ("", ("PROTOCOL: ALT-CELLULAR", "COMPRESSION: NONE"), Connection(0, 0, "", "MNP 10", "none")),
    ("19200", ("CARRIER 1200", "PROTOCOL: NONE"), Connection(1200, 19200, "", "none", "")),
    # U.S. Robotics
    ("28800/ARQ/V34/LAPM/V42BIS", (), Connection(28800, 0, "V.34", "ARQ", "V.42bis")),
    ("14400/ARQ/V32/MNP/MNP5", (), Connection(14400, 0, "V.32", "ARQ", "MNP 5")),
    ("16800/ARQ/HST", (), Connection(16800, 0, "HST", "ARQ", "")),
    ("9600/NONE", (), Connection(9600, 0, "", "none", "")),
    ("52000/ARQ/x2/LAPM/V42BIS", (), Connection(52000, 0, "x2", "ARQ", "V.42bis")),
    ("28800/ARQ/CELLULAR", (), Connection(28800, 0, "", "ARQ", "")),
    ("28800/SYNC", (), Connection(28800)),
    # ZyXEL
    ("38400/V.32bis 14400/V.42bis", (), Connection(14400, 38400, "V.32bis", "", "V.42bis")),
    # Agere, Lucent
    ("48000 V42bis", (), Connection(48000, 0, "", "", "V.42bis")),
    ("48000 V.42bis", (), Connection(48000, 0, "", "", "V.42bis")),
    ("33600 V.42", (), Connection(33600, 0, "", "LAPM", "")),
    ("31200 MNP 4", (), Connection(31200, 0, "", "MNP", "")),
    ("31200 NoEC", (), Connection(31200, 0, "", "none", "")),
    # slmodemd
    (
        "115200",
        ("Modulation: V.34", "Protocol: V.42", "Compression: V.42bis", "TxRate: 33600"),
        Connection(33600, 115200, "V.34", "LAPM", "V.42bis"),
    ),
    # what is no report, or makes no sense
    ("33600", ("RING", "CARRIER", "CARRIER lost", "+MCR:", "MODULATION V34"), Connection(33600)),
    ("GPRS", (), Connection()),
    ('"PPP"', (), Connection()),
    ("0", (), Connection()),
    ("99999999999999", (), Connection(0, 999999999)),
]


@pytest.mark.parametrize(("detail", "reports", "expected"), CASES)
def test_connection(detail: str, reports: tuple[str, ...], expected: Connection) -> None:
    assert connection(detail, reports) == expected


@pytest.mark.parametrize(("code", "name"), CARRIERS.items())
def test_every_carrier_of_v250_has_a_name(code: str, name: str) -> None:
    assert connection("", [f"+MCR: {code}"]).modulation == name


def test_the_last_report_counts() -> None:
    assert connection("", ["+MRR: 2400", "+MRR: 33600"]).line_rate == 33600


LINES = st.text(max_size=60) | st.sampled_from(["+MRR: ", "CARRIER ", "+ER: ", "Modulation: "]).flatmap(
    lambda head: st.text(max_size=60).map(lambda tail: head + tail)
)


@given(st.text(max_size=80), st.lists(LINES, max_size=4))
def test_any_text_is_harmless(detail: str, reports: list[str]) -> None:
    found = connection(detail, reports)
    assert 0 <= found.line_rate < 10**9
    assert 0 <= found.port_rate < 10**9
    assert all(len(name) <= 20 for name in (found.modulation, found.error_control, found.compression))
