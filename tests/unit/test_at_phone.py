"""What a phone tells of itself and its calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at import phone
from dialupd.at.phone import Indicator

SE = '("battchg",(0-5)),("signal",(0-5)),("batterywarning",(0-1)),("service",(0-1)),("message",(0,1))'
KNOWN = phone.indicators(SE)


@pytest.mark.parametrize(
    ("said", "dbm"),
    [
        ("+CSQ: 20,99", -73),
        ("20,99", -73),
        ("+CSQ: 0,0", -113),
        ("+CSQ:31,7", -51),
        ("+CSQ: 99,99", 0),
        ("+CSQ: 32,99", 0),
        ("+CSQ: 199,99", 0),
        ("+CSQ: -5,99", 0),
        ("", 0),
        ("ERROR", 0),
        ("+CSQ: ٣,99", 0),
    ],
)
def test_signal(said: str, dbm: int) -> None:
    assert phone.signal_dbm(said) == dbm


@pytest.mark.parametrize(
    ("said", "percent"),
    [
        ("+CBC: 0,100", 100),
        ("1,37", 37),
        ("+CBC: 0,0", 0),
        ("+CBC: 0,63,3891", 63),
        ("+CBC: 2,0", -1),
        ("+CBC: 3,50", -1),
        ("+CBC: 0,101", -1),
        ("+CBC: 3.891V", -1),
        ("+CBC: 100", -1),
        ("", -1),
    ],
)
def test_battery(said: str, percent: int) -> None:
    assert phone.battery_percent(said) == percent


def test_indicators() -> None:
    assert [item.name for item in KNOWN] == ["battchg", "signal", "batterywarning", "service", "message"]
    assert [item.most for item in KNOWN] == [5, 5, 1, 1, 1]
    assert phone.indicators('( "Signal" , (0,5) )') == (Indicator("signal", 5),)
    assert phone.indicators("(0-5),(0-5)") == ()


@pytest.mark.parametrize(
    "odd",
    ['("SMS full!",(0,1))', '("roam",(0,1,2,3,4,5,6,7,8,9))', '("übertragen",(0,1))', '("",())', '("gprs",(0..1))'],
)
def test_an_odd_indicator_has_its_place(odd: str) -> None:
    known = phone.indicators(f'{odd},("signal",(0-5))')
    assert phone.event("+CIEV: 2,3", known) == (Indicator("signal", 5), 3)
    assert phone.event("+CIEV: 1,12", known) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("+CIEV: 1,3", (KNOWN[0], 3)),
        ("+CIEV:2,5", (KNOWN[1], 5)),
        ("+CIEV: 0,3", None),
        ("+CIEV: 6,1", None),
        ("+CIEV: 1,6", None),
        ("+CIEV: 1", None),
        ('+CIEV: "MESSAGE",1', None),
        ("+CSQ: 1,3", None),
    ],
)
def test_event(line: str, told: tuple[Indicator, int] | None) -> None:
    assert phone.event(line, KNOWN) == told


@pytest.mark.parametrize(
    ("known", "bars", "percent"),
    [(-1, 3, 60), (100, 3, 60), (63, 3, 63), (50, 3, 50), (49, 3, 60), (100, 5, 100), (40, 0, 0), (5, 0, 5)],
)
def test_a_bar_does_not_spoil_what_is_known_better(known: int, bars: int, percent: int) -> None:
    assert phone.estimate(known, KNOWN[0], bars, 0, 100) == percent


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("+CRING: ASYNC", True),
        ("+CRING: REL ASYNC", True),
        ("+CRING: SYNC", True),
        ("+CRING: REL SYNC", True),
        ("+CRING: ASYNC,0", True),
        ("+CRING: VOICE", False),
        ("+CRING: VOICE/ASYNC", False),
        ("+CRING: ALT VOICE/REL ASYNC", False),
        ("+CRING: ALT REL ASYNC/VOICE", False),
        ("+CRING: FAX", False),
        ('+CRING: GPRS "IP"', False),
        ("+CRING: ASYNCHRONOUS", False),
        ("RING", False),
    ],
)
def test_only_data_rings_for_us(line: str, ours: bool) -> None:
    assert phone.is_data_ring(line) is ours


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ('+CLCC: 1,0,0,0,0,"5551212",129', True),
        ('+CLCC: 1,0,2,0,0,"5551212",129,"ADA"', True),
        ("+CLCC: 1,0,3,0,0", True),
        ('+CLCC: 1, 0, 2, 0, 0, "5551212", 129', True),
        ('+CLCC: 1,0,0,9,0,"5551212",129', True),
        ('+CLCC: 1,0,0,4,0,"5551212",129', True),
        ('+CLCC: 1,0,0,7,0,"5551212",129', False),
        ('+CLCC: 1,1,0,0,0,"5551212",129', False),
        ('+CLCC: 2,1,4,0,0,"5551212",129', False),
        ('+CLCC: 1,0,1,0,0,"5551212",129', False),
        ('+CLCC: 1,0,0,1,0,"*99#",129', False),
        ("+CLCC: 1,0,0", False),
        ("", False),
    ],
)
def test_our_voice_call(line: str, ours: bool) -> None:
    assert phone.placed_voice(line) is ours


@pytest.mark.parametrize(("stage", "ours"), [(0, False), (1, False), (2, True), (3, True), (4, False)])
def test_our_voice_call_on_its_way(stage: int, ours: bool) -> None:
    assert phone.placing_voice(f'+CLCC: 1,0,{stage},0,0,"5551212",129') is ours
    assert not phone.placing_voice(f'+CLCC: 1,1,{stage},0,0,"5551212",129')
    assert not phone.placing_voice(f'+CLCC: 1,0,{stage},1,0,"*99#",129')


@pytest.mark.parametrize(
    ("lines", "busy"),
    [(["+CPAS: 4"], True), (["+CPAS: 0"], False), (["+CPAS: 3"], False), (["", "+CPAS:4"], True), ([], None)],
)
def test_activity(lines: list[str], busy: bool | None) -> None:
    assert phone.in_call(lines) is busy


_SAID = st.text(max_size=80) | st.from_regex(r"\+(CSQ|CBC|CIEV|CLCC|CPAS|CRING): ?[0-9A-Z,\"/ ]{0,40}")


@given(_SAID, st.integers(-200, 200))
def test_whatever_is_said_is_read(text: str, known: int) -> None:
    assert phone.signal_dbm(text) in {0, *range(-113, -50, 2)}
    assert -1 <= phone.battery_percent(text) <= 100
    for indicator in phone.indicators(text):
        assert indicator.name.isprintable()
    if told := phone.event(text, KNOWN):
        indicator, value = told
        assert 0 <= value <= indicator.most
        assert phone.estimate(known, indicator, value, 0, 100) in {known, *range(101)}
    assert phone.in_call([text]) in (None, True, False)
    assert phone.placed_voice(text) in (True, False)
    assert phone.is_data_ring(text) in (True, False)


@pytest.mark.parametrize(
    ("called", "number", "same"),
    [
        ("5551212", "5551212", True),
        ("+15551212", "5551212", True),
        ("5551212", "5551212,,99", True),
        ("5551213", "5551212", False),
        ("15", "5", False),
        ("", "5551212", False),
        ("5551212", "xxxxxxx", False),
    ],
)
def test_whom_a_phone_has_called(called: str, number: str, same: bool) -> None:
    assert phone.placed_to(f'+CLCC: 1,0,0,0,0,"{called}",129', number) is same
    assert not phone.placed_to(f'+CLCC: 1,1,0,0,0,"{called}",129', number), "a call that came in"


def test_of_a_call_whose_number_is_not_told_only_one_on_its_way_is_meant() -> None:
    assert phone.placed_to("+CLCC: 1,0,3,0,0", "5551212")
    assert not phone.placed_to("+CLCC: 1,0,0,0,0", "5551212")
    assert phone.placed_to('+CLCC: 1,0,2,0,0,"5551212",129', "xxxxxxx")


@pytest.mark.parametrize(
    ("number", "may"),
    [
        ("5551212", True),
        ("+15551212", True),
        ("*99#", False),
        ("*99***1#", False),
        ("*99#,", False),
        ("#31#5551212", True),
        ("5551212#", True),
    ],
)
def test_what_may_be_a_voice_call(number: str, may: bool) -> None:
    assert phone.may_be_spoken(number) is may
