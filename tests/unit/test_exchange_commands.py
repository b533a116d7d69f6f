"""The exchange's command side: the parser, the reader, the settings, the wording of answers."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.results import Final
from dialupd.at.results import final as read_final
from dialupd.exchange import answers
from dialupd.exchange.answers import Caller
from dialupd.exchange.carriers import DIGITAL, Ability, Agreed, agree
from dialupd.exchange.commands import Bad, Basic, Dial, DialPlan, Extended, Op, Register, parse, read_dial
from dialupd.exchange.escape import EscapeDetector
from dialupd.exchange.kinds import CONEXANT, GENERIC, KINDS, NOKIA, USR, VOICE_PHONE, Kind
from dialupd.exchange.reader import MAX_BODY, CommandReader
from dialupd.exchange.settings import Settings

LINES = [
    ("", []),
    ("E0", [Basic("E", 0)]),
    ("e0v1 q0", [Basic("E", 0), Basic("V", 1), Basic("Q", 0)]),
    ("&F&C1&D2", [Basic("&F", 0), Basic("&C", 1), Basic("&D", 2)]),
    ("\\N3%C0", [Basic("\\N", 3), Basic("%C", 0)]),
    ("S0=1", [Register(0, 1)]),
    ("S7=55S8?", [Register(7, 55), Register(8, None)]),
    ("S10=", [Register(10, 0)]),
    ("X4DT555-1212", [Basic("X", 4), Dial("T555-1212", False)]),
    ("D123;H", [Dial("123", True), Basic("H", 0)]),
    ("DT*99#", [Dial("T*99#", False)]),
    ("+MS=V34,1,9600,33600;X3", [Extended("+MS", Op.SET, "V34,1,9600,33600"), Basic("X", 3)]),
    ("+MS?;+MS=?", [Extended("+MS", Op.READ), Extended("+MS", Op.TEST)]),
    ("+GMI", [Extended("+GMI", Op.ACT)]),
    ('+CGDCONT=1,"IP","My apn;x"', [Extended("+CGDCONT", Op.SET, '1,"IP","My apn;x"')]),
    ("#CLS=8#CID=1", [Extended("#CLS", Op.SET, "8"), Extended("#CID", Op.SET, "1")]),
    ("%CCID=1E1", [Extended("%CCID", Op.SET, "1"), Basic("E", 1)]),
    ("*ID1", [Extended("*ID", Op.SET, "1")]),
    ("-SDR=7", [Extended("-SDR", Op.SET, "7")]),
    ("E0=5V1", [Basic("E", 0), Bad("=5V1")]),
    ("+MS!?x", [Bad("+MS!?X")]),
    ("Q0\xe9", [Basic("Q", 0), Bad("\xc9")]),
    ("S7=9999", [Register(7, 999), Bad("9")]),
    ("A", [Basic("A", 0)]),
]


@pytest.mark.parametrize(("text", "commands"), LINES)
def test_parse(text: str, commands: list[object]) -> None:
    assert list(parse(text)) == commands


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_any_text_parses_to_an_end(text: str) -> None:
    commands = list(parse(text))
    assert sum(isinstance(command, Bad) for command in commands) <= 1
    assert len(commands) <= len(text)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("T5551212", DialPlan("5551212", 0, False)),
        ("P9,,W123", DialPlan("9123", 2, False)),
        ("555R", DialPlan("555", 0, True)),
        ("T0@1!2", DialPlan("012", 0, False)),
        ("+49 (30)", DialPlan("+4930", 0, False)),
    ],
)
def test_read_dial(text: str, plan: DialPlan) -> None:
    assert read_dial(text) == plan


def bodies(data: bytes, cuts: list[int] | None = None) -> tuple[list[str | None], bytes]:
    """What a reader makes of the bytes, cut at those places; and its echo."""
    reader, found, echo = CommandReader(), [], b""
    edges = [0, *sorted(cuts or []), len(data)]
    for start, end in itertools.pairwise(edges):
        part = data[start:end]
        while part:
            heard = reader.feed(part, end=13, backspace=8)
            echo += heard.echo
            if heard.complete:
                found.append(heard.body)
            part = part[heard.used :]
    return found, echo


READINGS = [
    (b"AT\r", [""]),
    (b"ATE0\rATV1\r", ["E0", "V1"]),
    (b"at&f\r\n", ["&f"]),
    (b"noise ATX\r", ["X"]),
    (b"AAT1\r", ["1"]),
    (b"\r\n\r\nATI\r", ["I"]),
    (b"ATE1\x08\x080\r", ["0"]),
    (b"ATE1\x080\r", ["E0"]),
    (b"ATI3\rA/", ["I3", "I3"]),
    (b"A/", [""]),
    (b"AT" + b"1" * (MAX_BODY + 1) + b"\rATI\r", [None, "I"]),
    (b"AT" + b"1" * MAX_BODY + b"\r", ["1" * MAX_BODY]),
    (b"\xc1\xd4\r", [""]),
]


@pytest.mark.parametrize(("data", "expected"), READINGS)
def test_reader_whole_and_byte_by_byte(data: bytes, expected: list[str | None]) -> None:
    assert bodies(data) == (expected, data)
    assert bodies(data, list(range(1, len(data)))) == (expected, data)


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=8))
def test_reader_does_not_mind_chunking(data: bytes, cuts: list[int]) -> None:
    data = b"AT" + data + b"\rATZ\r"
    assert bodies(data, [cut for cut in cuts if cut < len(data)]) == bodies(data)


def escapes(*events: tuple[float, bytes], guard: float = 1.0, char: int = 43) -> list[bool]:
    detector = EscapeDetector()
    detector.restart(0.0)
    return [detector.passed(data, when, char=char, guard=guard) for when, data in events]


def test_escape_guard() -> None:
    assert escapes((1.0, b"+++")) == [True]
    assert escapes((1.5, b"+"), (1.6, b"+"), (1.7, b"+")) == [False, False, True]
    assert escapes((1.5, b"++"), (1.6, b"+"), (1.7, b"x")) == [False, True, False]
    assert escapes((0.9, b"+++")) == [False], "no silence before"
    assert escapes((2.0, b"x"), (2.5, b"+++")) == [False, False]
    assert escapes((2.0, b"x+++")) == [False]
    assert escapes((2.0, b"++++")) == [False]
    assert escapes((2.0, b"+++"), (2.1, b"+")) == [True, False]
    assert escapes((2.0, b"+"), (3.5, b"++")) == [False, False], "a pause in between begins anew"
    assert escapes((2.0, b"+++"), char=200) == [False], "S2 above 127 turns it off"


def said(kind: Kind, line: str) -> list[str] | None:
    """Lines said by a fresh modem for a command line; None when it was ERROR."""
    settings, lines = Settings(kind), []
    for command in parse(line):
        assert not isinstance(command, Dial)
        answer = None if isinstance(command, Bad) else settings.apply(command)
        if answer is None:
            return None
        lines += answer
    return lines


CONVERSATIONS = [
    (CONEXANT, "E0V1Q0X4&C1&D2S0=0\\N3&K3W2", []),
    (CONEXANT, "E2", None),
    (CONEXANT, "S7=300", None),
    (CONEXANT, "S200=1", None),
    (CONEXANT, "S1=1", None),
    (CONEXANT, "S7?S12?S0?", ["050", "050", "000"]),
    (CONEXANT, "S7=60S7?", ["060"]),
    (CONEXANT, "I0I3", ["56000", "CX93001-EIS_V0.2002-V92"]),
    (CONEXANT, "+GMI;+GMM", ["CONEXANT", "CX93001"]),
    (CONEXANT, "+GCI?;+GCI=00;+GCI?", ["+GCI: B5", "+GCI: 00"]),
    (CONEXANT, "+GCI=ZZ", None),
    (CONEXANT, "+VCID=?", ["+VCID: (0-2)"]),
    (CONEXANT, "+VCID=7", None),
    (CONEXANT, "#CID=1", None),
    (CONEXANT, "+MS=V34,1,300,33600;+MS?", ["+MS: V34,1,300,33600"]),
    (CONEXANT, "+MS=V99", None),
    (CONEXANT, "+FCLASS=?;+FCLASS?", ["0,1,1.0,8", "0"]),
    (CONEXANT, "+FCLASS=1.0", []),
    (CONEXANT, "+ES=1;+DS=0;+MR=1;+ER=1;+DR=1;+ILRR=1", []),
    (CONEXANT, "+CLIP=1", None),
    (CONEXANT, "+GMI=1", None),
    (CONEXANT, "+GCAP?", None),
    (CONEXANT, "S7=99&FS7?", ["050"]),
    (USR, "#CID=1&A3&H1&B1", []),
    (USR, "+MS=V34", None),
    (USR, "+VCID=1", None),
    (USR, "I0", ["5601"]),
    (NOKIA, "+CPIN?", ["+CPIN: READY"]),
    (NOKIA, '+CPIN="1234"', []),
    (NOKIA, '+CGDCONT=1,"IP","internet"', []),
    (NOKIA, "+CGDCONT=x", None),
    (NOKIA, "+CBST=7,0,1;+CBST?", ["+CBST: 7,0,1"]),
    (NOKIA, "+CLIP=1;+CRC=1", []),
    (NOKIA, "+CSQ=?", ["+CSQ: (0-31,99),(99)"]),
    (NOKIA, "+CHUP?", None),
    (NOKIA, "+CMER=3,0,0,1;+CMER?", ["+CMER: 3,0,0,1"]),
    (VOICE_PHONE, "+CBST=?", None),
    (VOICE_PHONE, "+CGDCONT=?", None),
    (NOKIA, "+CGMR", ["V 05.50", "27-03-06", "RH-12"]),
    (NOKIA, "&A3", None),
    (GENERIC, "%CCID=1", []),
    (GENERIC, "+ES=3", None),
]


@pytest.mark.parametrize(("kind", "line", "expected"), CONVERSATIONS, ids=lambda value: getattr(value, "name", None))
def test_settings(kind: Kind, line: str, expected: list[str] | None) -> None:
    assert said(kind, line) == expected


def test_profile_is_kept_and_recalled() -> None:
    settings = Settings(CONEXANT)
    for command in parse("E0S7=70&W0E1S7=80"):
        assert settings.apply(command) == ()  # type: ignore[arg-type]
    settings.recall()
    assert (settings.basic("E"), settings.register(7)) == (0, 70)
    settings.factory()
    assert (settings.basic("E"), settings.register(7)) == (1, 50)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_takes_its_own_defaults(kind: Kind) -> None:
    """What a modem reports by `?` it takes back by `=`, as a program that saves and restores expects."""
    for name, item in kind.extended.items():
        if item.takes is not None and item.default and name not in ("+CPIN", "+CREG", "+CGREG"):
            assert said(kind, f"{name}={item.default}") == [], name
    assert said(kind, f"{kind.caller_command}=1") == []


def text_of(kind: Kind, setup: str, code: Final) -> bytes:
    return answers.result(settings_after(kind, setup), code)


def settings_after(kind: Kind, setup: str) -> Settings:
    settings = Settings(kind)
    for command in parse(setup):
        assert settings.apply(command) is not None  # type: ignore[arg-type]
    return settings


@pytest.mark.parametrize(
    ("setup", "code", "expected"),
    [
        ("", Final.OK, b"\r\nOK\r\n"),
        ("V0", Final.OK, b"0\r"),
        ("Q1", Final.OK, b""),
        ("V0", Final.NO_CARRIER, b"3\r"),
        ("S3=33S4=34", Final.OK, b'!"OK!"'),
        ("X4", Final.BUSY, b"\r\nBUSY\r\n"),
        ("X3", Final.BUSY, b"\r\nBUSY\r\n"),
        ("X2", Final.BUSY, b"\r\nNO CARRIER\r\n"),
        ("X0", Final.BUSY, b"\r\nNO CARRIER\r\n"),
        ("X3", Final.NO_DIALTONE, b"\r\nNO CARRIER\r\n"),
        ("X2", Final.NO_DIALTONE, b"\r\nNO DIALTONE\r\n"),
        ("X1V0", Final.BUSY, b"3\r"),
        ("X0", Final.NO_ANSWER, b"\r\nNO ANSWER\r\n"),
    ],
)
def test_results(setup: str, code: Final, expected: bytes) -> None:
    assert text_of(CONEXANT, setup, code) == expected


@pytest.mark.parametrize("code", Final)
def test_every_result_is_one_that_the_product_reads(code: Final) -> None:
    text = answers.result(Settings(CONEXANT), code).decode().strip()
    found = read_final(text)
    assert found is not None
    assert found.code is code


V34 = Agreed("V34", 33600, True, True)
PLAIN = Agreed("V22B", 2400, False, False)


@pytest.mark.parametrize(
    ("kind", "setup", "agreed", "expected"),
    [
        (CONEXANT, "", V34, ["CONNECT 115200"]),
        (CONEXANT, "X0", V34, ["CONNECT"]),
        (CONEXANT, "W2", V34, ["CONNECT 33600"]),
        (CONEXANT, "W1", V34, ["CARRIER 33600", "PROTOCOL: LAPM", "COMPRESSION: V.42 bis", "CONNECT 115200"]),
        (
            CONEXANT,
            "+MR=1;+ER=1;+DR=1;+ILRR=1",
            V34,
            ["+MCR: V34", "+MRR: 33600", "+ER: LAPM", "+DR: V42B", "+ILRR: 115200", "CONNECT 115200"],
        ),
        (
            CONEXANT,
            "+MR=1;+ER=1;+DR=1",
            PLAIN,
            ["+MCR: V22B", "+MRR: 2400", "+ER: NONE", "+DR: NONE", "CONNECT 115200"],
        ),
        (USR, "", V34, ["CONNECT 33600/ARQ/V34/LAPM/V42BIS"]),
        (USR, "", PLAIN, ["CONNECT 2400/NONE"]),
        (GENERIC, "", PLAIN, ["CONNECT 2400"]),
        (NOKIA, "", PLAIN, ["CONNECT"]),
    ],
)
def test_connect(kind: Kind, setup: str, agreed: Agreed, expected: list[str]) -> None:
    text = answers.connect(settings_after(kind, setup), agreed, 115200).decode()
    assert [line for line in text.split("\r\n") if line] == expected
    assert read_final(expected[-1]) is not None


def test_connect_in_numbers_is_a_digit() -> None:
    assert answers.connect(settings_after(CONEXANT, "V0"), V34, 115200) == b"1\r"


WHEN = datetime(2024, 3, 9, 14, 5)


@pytest.mark.parametrize(
    ("kind", "setup", "caller", "expected"),
    [
        (CONEXANT, "", Caller("100"), b""),
        (
            CONEXANT,
            "+VCID=1",
            Caller("100", "BOB"),
            b"\r\nDATE = 0309\r\n\r\nTIME = 1405\r\n\r\nNMBR = 100\r\n\r\nNAME = BOB\r\n",
        ),
        (CONEXANT, "+VCID=1;+GCI=FD", Caller("100", "BOB"), b""),
        (CONEXANT, "+VCID=1", Caller(""), b"\r\nDATE = 0309\r\n\r\nTIME = 1405\r\n\r\nNMBR = P\r\n"),
        (USR, "#CID=1", Caller("5"), b"\r\nDATE = 0309\r\n\r\nTIME = 1405\r\n\r\nNMBR = 5\r\n"),
        (NOKIA, "+CLIP=1", Caller("+4930", "Bo"), b'\r\n+CLIP: "+4930",145,,,"Bo",0\r\n'),
        (NOKIA, "+CLIP=1", Caller(""), b'\r\n+CLIP: "",128,,,,1\r\n'),
    ],
)
def test_caller_id(kind: Kind, setup: str, caller: Caller, expected: bytes) -> None:
    assert answers.caller_id(settings_after(kind, setup), caller, WHEN) == expected


@pytest.mark.parametrize(
    ("setup", "ability"),
    [
        ("", Ability("V90", 33600, True, True)),
        ("+MS=V22B", Ability("V22B", 2400, True, True)),
        ("+MS=V34,1,300,9600", Ability("V34", 9600, True, True)),
        ("\\N0", Ability("V90", 33600, False, True)),
        ("+ES=1", Ability("V90", 33600, False, True)),
        ("+DS=0", Ability("V90", 33600, True, False)),
    ],
)
def test_ability(setup: str, ability: Ability) -> None:
    assert settings_after(CONEXANT, setup).ability() == ability


def test_agreement_is_the_smaller_of_both() -> None:
    fast, slow = Ability("V90", 33600, True, True), Ability("V32", 9600, False, True)
    assert agree(fast, fast) == Agreed("V34", 33600, True, True)
    assert agree(fast, slow) == agree(slow, fast) == Agreed("V32", 9600, False, False)
    assert agree(slow, DIGITAL) == Agreed("V32", 9600, False, False)
    assert agree(DIGITAL, DIGITAL).modulation == ""
