"""Result codes, rings and what comes unasked: whole lines only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.results import NUMERIC, VERBOSE, Final, Result, final, is_ring, is_unsolicited

FINALS = [
    ("OK", Final.OK, ""),
    (" OK ", Final.OK, ""),
    ("CONNECT", Final.CONNECT, ""),
    ("CONNECT 33600", Final.CONNECT, "33600"),
    ("CONNECT 28800/ARQ/V34/LAPM/V42BIS", Final.CONNECT, "28800/ARQ/V34/LAPM/V42BIS"),
    ("CONNECT 38400/V.32bis 14400/V.42bis", Final.CONNECT, "38400/V.32bis 14400/V.42bis"),
    ("CONNECT 48000 V42bis", Final.CONNECT, "48000 V42bis"),
    ("CONNECT/ARQ", Final.CONNECT, "ARQ"),
    ("NO CARRIER", Final.NO_CARRIER, ""),
    ("ERROR", Final.ERROR, ""),
    ("NO DIALTONE", Final.NO_DIALTONE, ""),
    ("NO DIAL TONE", Final.NO_DIALTONE, ""),
    ("BUSY", Final.BUSY, ""),
    ("NO ANSWER", Final.NO_ANSWER, ""),
    ("VOICE", Final.VOICE, ""),
    ("FAX", Final.FAX, ""),
    ("+FCON", Final.FAX, ""),
    ("+FCO", Final.FAX, ""),
    ("DELAYED", Final.DELAYED, ""),
    ("DELAYED 00:01:30", Final.DELAYED, "00:01:30"),
    ("DELAYED 5", Final.DELAYED, "5"),
    ("BLACKLISTED", Final.BLACKLISTED, ""),
    ("BLACKLIST FULL", Final.BLACKLISTED, ""),
    ("LINE IN USE", Final.LINE_IN_USE, ""),
    ("DIGITAL LINE DETECTED", Final.DIGITAL_LINE, ""),
    ("+CME ERROR: 30", Final.ERROR, "+CME ERROR: 30"),
    ("+CMS ERROR: 500", Final.ERROR, "+CMS ERROR: 500"),
    ("+EXT ERROR: 3", Final.ERROR, "+EXT ERROR: 3"),
    ("MODEM ERROR: 4", Final.ERROR, "MODEM ERROR: 4"),
    ("COMMAND NOT SUPPORT", Final.ERROR, ""),
]


@pytest.mark.parametrize(("line", "code", "detail"), FINALS)
def test_final(line: str, code: Final, detail: str) -> None:
    assert final(line) == Result(code, detail)


@pytest.mark.parametrize(
    "line",
    [
        "", "CONNECTED TO BBS", "CONNECT to the BBS now", "NO CARRIER DETECTED", "OKAY", "IS BUSY", "ERRORS: 3",
        "ok", "0", "3", "RING", "+CSQ: 20,99", "DELAYED by rain", "FAX,VOICE", "CONNECTION", "connect 33600", "٣",
    ],
)  # fmt: skip
def test_not_final(line: str) -> None:
    assert final(line) is None


def test_digits_are_results_only_when_asked_for() -> None:
    for digit, code in NUMERIC.items():
        assert final(digit) is None
        assert final(digit, numeric=True) == Result(code)
    for line in ("2", "5", "9", "10", "24", "33", "٣", "0 "[:1] * 2):
        assert final(line, numeric=True) is None, line


def test_every_code_is_said_by_some_line() -> None:
    assert {code for _, code, _ in FINALS} == set(Final)
    assert {line for line, _, _ in FINALS} >= {"OK"} & VERBOSE.keys()


@pytest.mark.parametrize(
    "line",
    [
        "RING", "RING 1", "RING A", "RING 5551212", "RING;5551212;100", "RING/100", "+CRING: VOICE",
        "+CRING: REL ASYNC", "+CRING: GPRS", "+CRING: FAX", '+CRING: GPRS "IP","10.0.0.1"',
    ],
)  # fmt: skip
def test_rings(line: str) -> None:
    assert is_ring(line)
    assert is_unsolicited(line)
    assert is_unsolicited(line, "ATDT5")
    assert final(line) is None


@pytest.mark.parametrize("line", ["RINGING", "RRING", "ring", "RINGS", "+CRING:", "2", "", "BORING"])
def test_no_rings(line: str) -> None:
    assert not is_ring(line)


def test_the_numeric_ring() -> None:
    assert is_ring("2", numeric=True)
    assert not is_ring("22", numeric=True)


@pytest.mark.parametrize(
    "line",
    [
        '+CMTI: "SM",1', "+CREG: 1", "+CGREG: 0,1", "+CEREG: 5", "^RSSI: 12", "^BOOT: 1,0,0", "+CLIP: \"5\",129",
        "DATE = 0309", "NMBR=5551212", "DRON=20", "CALLER NUMBER: 5551212", "FM:5551212 TO:100", "+ZUSIMR:2",
        "REASON FOR NO CALLER NUMBER: P", "8010020A35353531323132303030", "RINGING",
    ],
)  # fmt: skip
def test_unasked(line: str) -> None:
    assert is_unsolicited(line)
    assert is_unsolicited(line, "ATDT5551212")


@pytest.mark.parametrize(
    ("line", "command"),
    [("+CREG: 0,1", "AT+CREG?"), ("+CLIP: 1,1", "AT+CLIP?"), ("^RSSI: 12", "AT^RSSI?"), ("+CGREG: 0,1", "at+cgreg?")],
)
def test_an_answer_that_was_asked_for_is_no_noise(line: str, command: str) -> None:
    assert not is_unsolicited(line, command)
    assert is_unsolicited(line, "ATH")


@pytest.mark.parametrize("line", ["CX93001", "+CSQ: 20,99", "OK", "V 05.50", "", "+GCAP: +FCLASS"])
def test_information_is_no_noise(line: str) -> None:
    assert not is_unsolicited(line, "AT")


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_harmless(text: str, numeric: bool) -> None:
    result = final(text, numeric=numeric)
    assert result is None or isinstance(result.code, Final)
    is_ring(text, numeric=numeric)
    is_unsolicited(text, text)
