"""Who calls: every maker's form, and text that means harm."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.callerid import MAX_NAME, MAX_NUMBER, CallerId, collect
from dialupd.at.lines import printable


def hexed(*parameters: tuple[int, bytes]) -> str:
    """A raw MDMF message, its checksum last."""
    body = b"".join(bytes([kind, len(value)]) + value for kind, value in parameters)
    return (bytes([0x80, len(body)]) + body + b"\x55").hex().upper()


CASES = {
    "rockwell": (
        ["DATE = 0309", "TIME = 1405", "NMBR = 5551212", "NAME = ADA LOVELACE", "MESG = 0F"],
        CallerId("5551212", "ADA LOVELACE", date="0309", time="1405"),
    ),
    "without blanks": (
        ["DATE=0309", "TIME=1405", "NMBR=5551212", "NAME=ADA"],
        CallerId("5551212", "ADA", date="0309", time="1405"),
    ),
    "private": (["NMBR = P"], CallerId(withheld="private")),
    "out of area": (["NMBR=O"], CallerId(withheld="out of area")),
    "private in words": (["NMBR = PRIVATE", "NAME = PRIVATE"], CallerId(withheld="private")),
    "DDN_NMBR": (["DDN_NMBR= 5551212"], CallerId("5551212")),
    "NBR": (["NBR=5551212"], CallerId("5551212")),
    "ANID": (["ANID = 5551212"], CallerId("5551212")),
    "NDID": (["NDID = 100"], CallerId(called="100")),
    "zyxel": (
        ["CALLER NAME: ADA", "CALLER NUMBER: 5551212", "CALLED NUMBER: 100"],
        CallerId("5551212", "ADA", "100"),
    ),
    "zyxel without": (["REASON FOR NO CALLER NUMBER: OUT OF AREA"], CallerId(withheld="OUT OF AREA")),
    "isdn": (["FM:5551212 /1/ TO:100"], CallerId("5551212", called="100")),
    "isdn, short": (["FM:5551212 TO:100"], CallerId("5551212", called="100")),
    "CALLER'S NUMBER": (["CALLER'S NUMBER: 5551212"], CallerId("5551212")),
    "CallerID": (["CallerID: 5551212"], CallerId("5551212")),
    "Diverting number": (["Diverting number: 5551212"], CallerId()),
    "clip": (['+CLIP: "5551212",129'], CallerId("5551212")),
    "clip, international": (['+CLIP: "+15551212",145,,,"ADA",0'], CallerId("+15551212", "ADA")),
    "clip, international by its type": (['+CLIP: "15551212",145,"",,"ADA"'], CallerId("+15551212", "ADA")),
    "clip, a name with a comma": (['+CLIP: "5551212",129,,,"Lovelace, Ada",0'], CallerId("5551212", "Lovelace, Ada")),
    "clip, a name without quotes": (['+CLIP: "5551212",129,,,ADA,0'], CallerId("5551212", "ADA")),
    "clip, sub-address": (['+CLIP: "5551212",129,"",0,"ADA",0'], CallerId("5551212", "ADA")),
    "clip, withheld": (['+CLIP: "",128,,,,1'], CallerId(withheld="private")),
    "clip, unavailable": (['+CLIP: "",128,,,,2'], CallerId(withheld="unavailable")),
    "cring": (["+CRING: REL ASYNC"], CallerId(service="REL ASYNC")),
    "ring with a number": (["RING 5551212"], CallerId("5551212")),
    "distinctive ring": (["RING 1", "RING A"], CallerId()),
    "ring from;to": (["RING;5551212;100"], CallerId("5551212", called="100")),
    "ring/to": (["RING/100"], CallerId(called="100")),
    "cadence": (["DRON=20", "DROF=40"], CallerId()),
    "mdmf": (
        [hexed((0x01, b"03091405"), (0x02, b"5551212"), (0x07, b"ADA"), (0x03, b"100"))],
        CallerId("5551212", "ADA", "100", "0309", "1405"),
    ),
    "mdmf, withheld": (
        [hexed((0x01, b"03091405"), (0x04, b"P"))],
        CallerId(date="0309", time="1405", withheld="private"),
    ),
    "sdmf": (["0412" + b"030914055551212000".hex().upper() + "55"], CallerId("5551212000", date="0309", time="1405")),
    "sdmf, withheld": (
        ["0409" + b"03091405P".hex().upper() + "55"],
        CallerId(date="0309", time="1405", withheld="private"),
    ),
    "layout": (["NMBR = (555) 12-12"], CallerId("5551212")),
    "nothing": (["", "OK", "NMBR", "NMBR =", "DATE = tomorrow", "CONNECT 33600", "80", "80ZZ"], CallerId()),
}


@pytest.mark.parametrize(("lines", "expected"), CASES.values(), ids=CASES.keys())
def test_forms(lines: list[str], expected: CallerId) -> None:
    assert reduce(collect, lines, CallerId()) == expected


def test_lines_add_up_and_the_rest_changes_nothing() -> None:
    known = reduce(collect, ["NMBR=5551212", "RING", "OK", "NAME=ADA", "DRON=20"], CallerId())
    assert known == CallerId("5551212", "ADA")
    assert collect(known, "RING") is known


HOSTILE = [
    "NMBR = $(reboot)", "NMBR = `id`;rm -rf /", "NMBR = ../../etc/passwd", "NAME = <script>alert(1)</script>",
    "NAME = " + "A" * 5000, "NMBR = " + "9" * 5000, '+CLIP: "' + "1" * 3000 + '",129', "RING " + "5" * 3000,
    "FM:" + "5" * 3000 + " TO:" + "6" * 3000, "+CRING: " + "X" * 3000, "80FF" + "01FF" * 80, "04FF" + "00" * 100,
    "800601FF0702FF07", "NAME = \u202egnp.exe", "REASON FOR NO CALLER NUMBER: " + "Z" * 3000,
    "NMBR = \x1b[2J5551212\x07", "80" + "10070E" + "1B5B324A1B5B33316D07000D0A41",
]  # fmt: skip


def check(known: CallerId) -> None:
    assert len(known.number) <= MAX_NUMBER
    assert len(known.called) <= MAX_NUMBER
    assert len(known.name) <= MAX_NAME
    assert len(known.withheld) <= MAX_NUMBER
    assert len(known.service) <= MAX_NUMBER
    assert not set(known.number + known.called) & set("$`;|&<>()/\\'\" .\r\n")
    for text in (known.number, known.name, known.called, known.withheld, known.service, known.date, known.time):
        assert text.isprintable()


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_cut_and_cleaned(line: str) -> None:
    check(collect(CallerId(), line))


HEADS = [
    "", "NMBR = ", "NAME=", "RING;", "RING/", '+CLIP: "', "FM:", "+CRING: ", "80", "04", "CALLED NUMBER: ",
    "REASON FOR NO CALLER NAME: ",
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(HEADS), st.text(max_size=80)), max_size=4))
def test_any_line_is_harmless(lines: list[tuple[str, str]]) -> None:
    check(reduce(collect, (head + tail for head, tail in lines), CallerId()))


@given(st.binary(min_size=4, max_size=160), st.sampled_from(["80", "04"]))
def test_any_raw_message_is_harmless(message: bytes, kind: str) -> None:
    check(collect(CallerId(), kind + message.hex().upper()))


@given(st.binary(max_size=100))
def test_any_bytes_of_the_port_are_harmless(data: bytes) -> None:
    check(collect(CallerId(), printable(data)))
