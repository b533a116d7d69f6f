"""What may be dialled, and which commands would touch the line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.dialstring import MAX_LENGTH, Masking, clean, masked, may_be, touches_line


@pytest.mark.parametrize(
    ("number", "cleaned"),
    [
        ("5551212", "5551212"), ("555-1212", "5551212"), ("(0555) 12.12/3", "055512123"), ("+1 555 1212", "+15551212"),
        ("*99#", "*99#"), ("*99***1#", "*99***1#"), ("0,5551212", "0,5551212"), ("9w555", "9W555"), ("t5p5", "T5P5"),
        ("a-d", "AD"), ("1@2!3", "1@2!3"), ("5" * MAX_LENGTH, "5" * MAX_LENGTH), ("5 " * MAX_LENGTH, "5" * MAX_LENGTH),
    ],
)  # fmt: skip
def test_clean(number: str, cleaned: str) -> None:
    assert clean(number) == cleaned


@pytest.mark.parametrize(
    ("number", "word"),
    [
        ("", "empty"), (" -() ", "empty"), ("5;H0", "';'"), ("5\rATH", "\\r"), ("5\nATH", "\\n"), ("5\x00", "\\x00"),
        ("L", "'L'"), ("S=1", "'S'"), ("5R", "'R'"), ("٣٤٥", "u0663"), ("５", "uff15"), ("5^", "'^'"), ('5"', "'\"'"),
        ("5" * (MAX_LENGTH + 1), "81 characters"), ("example", "'E'"), ("5\t5", "\\t"), ("ß", "'S'"),
    ],
)  # fmt: skip
def test_refused(number: str, word: str) -> None:
    with pytest.raises(ValueError) as refused:
        clean(number)
    assert word in str(refused.value)
    assert str(refused.value).isprintable()


@given(st.text(max_size=100) | st.text("0123456789*#+ABCD,W@!TP ()./-;\r", max_size=100))
def test_only_what_a_number_is_made_of_comes_through(number: str) -> None:
    try:
        cleaned = clean(number)
    except ValueError:
        return
    assert 0 < len(cleaned) <= MAX_LENGTH
    assert set(cleaned) <= set("0123456789*#+ABCD,W@!TP")
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("number", "after_pause", "everything"),
    [
        ("5551212", "5551212", "xxxxxxx"),
        ("+15551212", "+15551212", "+xxxxxxxx"),
        ("18005551212,,1234567890#,0044", "18005551212,,xxxxxxxxxx#,xxxx", "xxxxxxxxxxx,,xxxxxxxxxx#,xxxx"),
        ("0W555A", "0W555A", "xWxxxx"),
        ("0,18005551212W12", "0,18005551212Wxx", "x,xxxxxxxxxxxWxx"),
        ("123,4567", "123,4567", "xxx,xxxx"),
        ("1,2,3,4,5", "1,2,3,4,x", "x,x,x,x,x"),
        ("5551212@99", "5551212@xx", "xxxxxxx@xx"),
        ("T5555,P5!6", "T5555,Px!x", "Txxxx,Px!x"),
        ("*99#", "*99#", "*xx#"),
        ("0000w 55-\n٣", "0000w xx-\nx", "xxxxw xx-\nx"),
        ("", "", ""),
    ],
)
def test_masked(number: str, after_pause: str, everything: str) -> None:
    assert masked(number, Masking.NONE) == number
    assert masked(number, Masking.AFTER_PAUSE) == after_pause
    assert masked(number, Masking.ALL) == everything


_DIALLED = st.text("0123456789*#+ABCD,W@!TP", max_size=20)


@given(_DIALLED, st.sampled_from(Masking))
def test_what_is_masked_stays_masked_and_is_known_again(number: str, how: Masking) -> None:
    shown = masked(number, how)
    assert masked(shown, how) == shown
    assert may_be(shown, number)
    assert may_be(number, number)


@given(_DIALLED, _DIALLED, st.sampled_from(Masking))
def test_only_what_shows_alike_is_taken_for_it(number: str, other: str, how: Masking) -> None:
    assert may_be(masked(number, how), other) == (masked(other, how) == masked(number, how))


@pytest.mark.parametrize(
    ("shown", "number"), [("555", "556"), ("55x", "5512"), ("55x", "55,"), ("0,xx", "1,23"), ("xxx", "5,5")]
)
def test_another_number(shown: str, number: str) -> None:
    assert not may_be(shown, number)


@pytest.mark.parametrize(
    "command",
    [
        "ATD5551212", "ATDT5", "atd5", "ATA", "ATH", "ATH0", "ATO", "A/", "ATE0D5", "ATX3DT5", "AT&D2D5", "ATS0=1A",
        "AT+MS=V34;D5", "AT+GMI;H", "AT;D5", "AT D 5", "ATZH", "ATDL", "AT*ID1;A", "AT#CID=1;D5", "ATL0D5", "AT&FH",
        "AT-C1DT5551212", "AT*P1D5", "AT$B1D5551212", "AT#X1D5", "AT^X1D5", "AT%C1D5", "AT\\N3D5",
        "AT%CD5", "AT% C D 5",
        "AT-CDL", "AT-CDS=0", "AT$BDS=1", "AT%CD*99#", "AT$BD+1555", "AT#CD*99#", "AT#CLS=8D5", "AT#CLS=8A", "AT*ID55",
        "AT-SDR=7A", "AT#CLS=8#CID=1D5", "AT$QCPWRDN;D5", "AT^SYSCFG=2,2;D5", "AT%CHUP", "AT%A0H", "AT#CID?D5",
    ],
)  # fmt: skip
def test_touches_the_line(command: str) -> None:
    assert touches_line(command)


@pytest.mark.parametrize(
    "command",
    [
        "AT", "ATI3", "ATZ", "AT&F", "AT&D2", "AT&V", "AT%C1", "AT\\N0", "ATS0=1", "ATS7?", "ATE1", "ATX4", "ATV0",
        "ATQ1", "AT+GMI", "AT+CGDCONT=1,\"IP\",\"data\"", "AT+FCLASS=0", "AT+MS=V34;+ER=1", "AT#CID=1", "AT*ID1",
        "AT-SDR=7", "AT+CPIN?", "AT^HCSQ?", "AT$QCMGF=1", "AT&C1&D2", "ATM1L2",
        "AT%CCID=1", "AT#CLS=8#CID=1", "AT#CC1", "AT^SYSCFG=2,2,3FFFFFDA,1,2", "AT$QCPWRDN", "AT^U2DIAG=0", "AT#SHDN",
        "AT-C1", "AT*P1", "AT$B1", "AT#X1E0", "AT*D1", "AT\\N3%C1-C0", "AT#CID=?", 'AT#SGACT=1,1,"ADA","HO"',
        "AT#CID=1;+GMI", "AT$QCPWRDN;+GMI", "AT-SDR=?",
    ],
)  # fmt: skip
def test_leaves_the_line_alone(command: str) -> None:
    assert not touches_line(command)


@given(st.text(max_size=40), st.sampled_from(["D5", "A", "H", "O"]))
def test_nothing_plain_hides_a_call(tail: str, what: str) -> None:
    touches_line(tail)
    assert touches_line(f"AT{what}{tail}")
    assert touches_line(f"ATE0V1{what}")
