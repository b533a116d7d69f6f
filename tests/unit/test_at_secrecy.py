"""No PIN, no password and no calling card's digits in the log of the dialogue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.dialstring import Masking, masked
from dialupd.at.secrecy import heard, hidden


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('AT+CPIN="1234"', "AT+CPIN=****"),
        ("AT+CPIN=1234", "AT+CPIN=****"),
        ("at+cpin=1234,5678", "at+cpin=****"),
        ('AT+CPIN="12345678","1234";+CREG?', "AT+CPIN=****;+CREG?"),
        ("AT + C P I N = 12 34", "AT+CPIN=****"),
        ('AT+CLCK="SC",1,"1234"', "AT+CLCK=****"),
        ('AT+CPWD="SC","1234","43;21"', "AT+CPWD=****"),
        ('AT+CGAUTH=1,1,"web","secret;word"', "AT+CGAUTH=****"),
        ('ATE0;+CGAUTH=1,2,"a b","c', "ATE0;+CGAUTH=****"),
        ('AT^AUTHDATA=1,2,"","secret","web"', "AT^AUTHDATA=****"),
        ('AT$QCPDPP=1,1,"secret","web"', "AT$QCPDPP=****"),
        ('AT#PASSW="secret"', "AT#PASSW=****"),
        ('+CGAUTH: 1,1,"web","secret"', "+CGAUTH: ****"),
        ('#PASSW: "secret"', "#PASSW: ****"),
        ('+CLCC: 1,0,0,0,0,"05551212,,1234",129,"ADA"', "+CLCC: 1,0,0,0,0,****"),
        ("+CLCC: 1,0,0,0,0,+15551212", "+CLCC: 1,0,0,0,0,****"),
        ("+CLCC: 1,0,0,0,0,5551212,129", "+CLCC: 1,0,0,0,0,****"),
        ("+CLCC: 1, 0, 0, 0, 0, 5551212", "+CLCC: 1, 0, 0, 0, 0, ****"),
        ("+CLCC: 1,0,0,0,0", "+CLCC: 1,0,0,0,0"),
        *((text, text) for text in (
            "AT+CPIN?", "AT+CPIN=?", "+CPIN: SIM PIN", "AT+CLCK=?", "+CLCK: 1", "AT+MS=V34,1,300,33600", "ATS10=50",
            'AT+CGDCONT=1,"IP","internet"', "ATDT5551212", "OK", "", "CONNECT 33600/V.34", "RING", "AT D 5",
            "AT+CGAUTH?",
        )),
    ],
)  # fmt: skip
def test_hidden(text: str, shown: str) -> None:
    assert hidden(text) == shown


DIAL = "ATDT0,5551212,,1234"
SHOWN = "ATDT0,xxxxxxx,,xxxx"


@pytest.mark.parametrize(
    ("line", "logged"),
    [
        (DIAL, SHOWN),
        (DIAL.lower(), SHOWN),
        (" " + DIAL, SHOWN),
        ("·" + DIAL, SHOWN),
        ("T0,5551212,,12", SHOWN),
        ("551212,,1234", SHOWN),
        ("AT·T0,5551212,,1234", "AT·T0,****,,****"),
        ("number 5551212 refused", "number **** refused"),
        ("BUSY", "BUSY"),
        ("CONNECT 33600", "CONNECT 33600"),
        ("NO CARRIER", "NO CARRIER"),
        ("", ""),
        ("OK", "OK"),
        ('+CGAUTH: 1,1,"web","secret"', "+CGAUTH: ****"),
    ],
)
def test_heard(line: str, logged: str) -> None:
    assert heard(line, DIAL, SHOWN) == logged


def test_a_command_without_a_secret_leaves_its_echo() -> None:
    assert heard("ATI3", "ATI3", "ATI3") == "ATI3"
    assert heard("115200", "AT+IPR=115200", "AT+IPR=115200") == "115200"


@pytest.mark.parametrize("echo", ['AT+CPIN="83746"', '·T+CPIN="83746"', 'AT+CPIN="83746', "83746", "at+cpin=83746"])
def test_no_echo_tells_the_pin(echo: str) -> None:
    assert "83746" not in heard(echo, 'AT+CPIN="83746"', 'AT+CPIN="****"')


@given(st.text("0123456789", min_size=4, max_size=12), st.text(max_size=10), st.text(max_size=10))
def test_what_surrounds_an_echo_does_not_open_it(card: str, before: str, after: str) -> None:
    command = f"ATDT5551212,{card}"
    shown = f"ATDT{masked(f'5551212,{card}', Masking.AFTER_PAUSE)}"
    assert card not in heard(f"{before}{command}{after}", command, shown)
    if card not in before + after:
        assert card not in heard(f"{before}{card}{after}", command, shown)
