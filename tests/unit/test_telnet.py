"""The telnet filter: every chunking gives the same, nothing loops, and binary is binary."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialupd.sessions.telnet import LONGEST, Telnet

IAC, SB, SE, WILL, WONT, DO, DONT = (bytes((code,)) for code in (255, 250, 240, 251, 252, 253, 254))
BINARY, ECHO, SGA, TIMING_MARK, TTYPE, NAWS, NEW_ENVIRON = (bytes((code,)) for code in (0, 1, 3, 6, 24, 31, 39))
# Likely to form commands.
DENSE = st.lists(
    st.sampled_from([IAC, SB, SE, WILL, WONT, DO, DONT, BINARY, ECHO, SGA, TTYPE, NAWS, b"\r", b"\n", b"a", b"\xf1"])
).map(b"".join)
STREAM = st.one_of(st.binary(max_size=200), DENSE)
SEND_TYPE = IAC + SB + TTYPE + b"\x01" + IAC + SE
ALL_BYTES = bytes(range(256))

CASES = [
    ("nothing special", b"Welcome\r\n", b"Welcome\r\n", b""),
    ("a byte of 255", b"a" + IAC + IAC + b"b", b"a\xffb", b""),
    ("CR NUL", b"a\r\0b\0c\r\r\0d", b"a\rb\0c\r\rd", b""),
    ("echo and go-ahead are theirs to do", IAC + WILL + ECHO + IAC + WILL + SGA, b"", IAC + DO + ECHO + IAC + DO + SGA),
    ("we do not echo", IAC + DO + ECHO, b"", IAC + WONT + ECHO),
    ("what nobody knows", IAC + DO + NEW_ENVIRON + IAC + WILL + b"\xc8", b"",
     IAC + WONT + NEW_ENVIRON + IAC + DONT + b"\xc8"),
    ("each timing mark is answered", (IAC + DO + TIMING_MARK) * 2, b"", (IAC + WONT + TIMING_MARK) * 2),
    ("no answer to what is so already", (IAC + WILL + ECHO) * 3 + IAC + WONT + SGA, b"", IAC + DO + ECHO),
    ("on and off", IAC + DO + SGA + IAC + DONT + SGA + IAC + DONT + SGA, b"", IAC + WILL + SGA + IAC + WONT + SGA),
    ("terminal type", IAC + DO + TTYPE + b"x" + SEND_TYPE, b"x", IAC + WILL + TTYPE + IAC + SB + TTYPE + b"\0VT100" +
     IAC + SE),
    ("its type is asked for unasked", SEND_TYPE, b"", b""),
    ("window size", IAC + DO + NAWS, b"", IAC + WILL + NAWS + IAC + SB + NAWS + b"\0\x50\0\x18" + IAC + SE),
    ("commands without an option", b"a" + b"".join(IAC + bytes((n,)) for n in range(241, 250)), b"a", b""),
    ("an unknown subnegotiation", IAC + SB + NEW_ENVIRON + b"x" + IAC + IAC + b"y" + IAC + SE + b"b", b"b", b""),
    ("one whose end was forgotten", IAC + SB + TTYPE + b"\x01" + IAC + WILL + ECHO + b"b", b"b", IAC + DO + ECHO),
    ("one that is too long", IAC + SB + TTYPE + b"\x01" * 9999 + IAC + SE + b"b", b"b", b""),
    ("binary leaves CR NUL alone", IAC + WILL + BINARY + b"\r\0\r\n" + IAC + IAC, b"\r\0\r\n\xff", IAC + DO + BINARY),
]  # fmt: skip


def heard(filter_: Telnet, data: bytes, sizes: list[int]) -> tuple[bytes, bytes]:
    text = answers = b""
    for size in sizes:
        more, answer = filter_.received(data[:size])
        text, answers, data = text + more, answers + answer, data[size:]
    more, answer = filter_.received(data)
    return text + more, answers + answer


@pytest.mark.parametrize(("data", "text", "answers"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_service_says(data: bytes, text: bytes, answers: bytes) -> None:
    assert Telnet().received(data) == (text, answers)
    assert heard(Telnet(), data, [1] * len(data)) == (text, answers)


@given(STREAM, st.lists(st.integers(0, 20)))
def test_any_chunking_gives_the_same(data: bytes, sizes: list[int]) -> None:
    assert heard(Telnet(), data, sizes) == heard(Telnet(), data, [])


@given(STREAM, st.integers(0, 50))
def test_what_a_caller_says_in_any_chunking(data: bytes, cut: int) -> None:
    telnet = Telnet()
    assert telnet.sent(data[:cut]) + telnet.sent(data[cut:]) == Telnet().sent(data)


@given(STREAM)
@settings(max_examples=300)
def test_two_of_us_come_to_rest(data: bytes) -> None:
    """Whatever was said at first, the answers to the answers end."""
    one, other = Telnet(), Telnet()
    answers = data
    for _ in range(4):
        _, answers = one.received(answers)
        _, answers = other.received(answers)
    assert answers == b""


@given(STREAM)
def test_little_is_kept(data: bytes) -> None:
    telnet = Telnet()
    telnet.received(IAC + SB + data * 20)
    assert len(telnet._sub) <= LONGEST


@pytest.mark.parametrize("binary", [False, True])
def test_every_byte_reaches_another_of_our_kind(binary: bool) -> None:
    """What one side sends the other receives: a transfer needs no binary, if both do as RFC 854 says."""
    blob = random.Random(1).randbytes(20_000) + ALL_BYTES + b"\r\0\r\n\r\r\0\0"
    ours, theirs = Telnet(), Telnet()
    if binary:
        ours.received(IAC + DO + BINARY)
        theirs.received(IAC + WILL + BINARY)
    assert theirs.received(ours.sent(blob)) == (blob, b"")


def test_binary_is_each_way_for_itself() -> None:
    telnet = Telnet()
    assert telnet.received(IAC + DO + BINARY) == (b"", IAC + WILL + BINARY)
    assert telnet.sent(b"\r\xff") == b"\r\xff\xff"
    assert telnet.received(b"\r\0") == (b"\r", b"")
    assert telnet.received(IAC + DONT + BINARY) == (b"", IAC + WONT + BINARY)
    assert telnet.sent(b"\r\n") == b"\r\0\n"
