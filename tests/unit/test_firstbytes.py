"""What a caller's first bytes mean, in every chunking."""

from __future__ import annotations

import itertools
import random

import pytest

from dialupd.sessions.firstbytes import MOST, PPP_FOLLOWS, SETTLES, FirstBytes, Heard

FLAG, REST = b"\x7e", b"\x7d\x21\x7d\x21\x7d\x20\x7d\x34\x7d\x22\x7d\x26\x12\x34\x7e"
BEGIN = (0xFF, 0x03, 0xC0, 0x21)

# pppd 2.4.9's and Windows' first words, as they come.
PPPD = bytes.fromhex("7eff7d23c0217d217d217d207d347d227d267d207d207d207d207d257d26282b1a1f7d277d227d287d22c2c07e")
WINDOWS = bytes.fromhex("7eff7d23c0217d217d207d207d2f7d227d267d207d207d207d207d277d227d287d222ea17e")


def forms(of: tuple[int, ...]) -> list[bytes]:
    """The bytes, each plain and each escaped."""
    each = ((bytes((byte,)), bytes((0x7D, byte ^ 0x20))) for byte in of)
    return [b"".join(parts) for parts in itertools.product(*each)]


BEGINS = [
    *(FLAG + begin for begin in forms(BEGIN)),
    *(FLAG + begin for begin in forms(BEGIN[2:])),
    *forms(BEGIN),  # the first flag was lost
]
NOISE = [b"", b"~", b"~~~", b"\xff", b"\x00\x7d", b"bob", b"\x7e\xff\x7d\x23\xc0", b"}!}!} }8~", b"\xff\x03\x00\x21"]


def whole(data: bytes) -> Heard:
    return FirstBytes().feed(data)


@pytest.mark.parametrize("begin", BEGINS, ids=bytes.hex)
def test_a_frame_s_begin_is_ppp_from_its_protocol_on(begin: bytes) -> None:
    for noise in NOISE:
        first = FirstBytes()
        for byte in noise + begin[:-1]:
            assert first.feed(bytes((byte,))) is Heard.NOTHING
        assert first.feed(begin[-1:]) is Heard.PPP
        flagged = FLAG + begin if noise.endswith(FLAG) and not begin.startswith(FLAG) else begin
        assert first.frames() == flagged
        assert first.feed(REST) is Heard.PPP
        assert first.frames() == flagged + REST


@pytest.mark.parametrize("frame", [PPPD, WINDOWS], ids=["pppd", "windows"])
def test_no_byte_of_a_real_frame_is_lost_in_any_chunking(frame: bytes) -> None:
    for cut in range(1, len(frame)):
        first = FirstBytes()
        assert Heard.PPP in (first.feed(frame[:cut]), first.feed(frame[cut:]))
        assert first.frames() == frame


@pytest.mark.parametrize(
    "data",
    [
        b"\x7e\xff\x03\x80\x21",  # IPCP does not begin a link
        b"\x7e\xff\x7d\x03\xc0\x21",
        b"\x7e\x03\xc0\x21",
        b"\xc0\x21",
        b"\xff\x7d\x23\x7d\x7d\xe0\x21",
        b"\x7e\xff\x03\xc0\x7e\x21",
        b"root~",
        b"C0 21",
    ],
    ids=bytes.hex,
)
def test_what_is_no_frame_s_begin(data: bytes) -> None:
    assert whole(data) is Heard.NOTHING


def test_noise_and_a_line_before_ppp_are_not_handed_on() -> None:
    first = FirstBytes()
    assert first.feed(b"\r\n\xff\x80ATZ\r" + PPPD) is Heard.PPP
    assert first.frames() == PPPD


@pytest.mark.parametrize(
    ("data", "heard", "typed"),
    [
        (b"", Heard.NOTHING, b""),
        (b"bob", Heard.NOTHING, b"bob"),
        (b"\r", Heard.UNSURE, b""),
        (b"\n", Heard.ENTER, b""),
        (b"\r\n", Heard.UNSURE, b""),
        (b"\r\r", Heard.ENTER, b""),
        (b"\0\0\r", Heard.UNSURE, b""),
        (b"bob\r", Heard.UNSURE, b"bob\r"),
        (b"bob\n", Heard.ENTER, b"bob\r"),
        (b"bob\r\n", Heard.UNSURE, b"bob\r"),
        (b"bob\rsecret", Heard.ENTER, b"bob\rsecret"),
        (b"bob\r\nsecret\r", Heard.ENTER, b"bob\rsecret\r"),
        (b"\r\nbob\r\n", Heard.ENTER, b"bob\r"),
        (b"\r\nBOB", Heard.UNSURE, b"BOB"),
        (b"\xe4\xf6\r", Heard.UNSURE, b"\xe4\xf6\r"),
        (b"x" * (MOST - 1), Heard.NOTHING, b"x" * (MOST - 1)),
        (b"x" * MOST, Heard.ENTER, b""),
    ],
)
def test_a_line(data: bytes, heard: Heard, typed: bytes) -> None:
    first = FirstBytes()
    assert first.feed(data) is heard
    assert first.typed() == typed


@pytest.mark.parametrize(("data", "patience"), [(b"\r", PPP_FOLLOWS), (b"\r\n", PPP_FOLLOWS), (b"bob\r", SETTLES)])
def test_an_empty_line_may_be_a_script_s_last_word(data: bytes, patience: float) -> None:
    first = FirstBytes()
    assert first.feed(data) is Heard.UNSURE
    assert first.patience == patience
    assert first.feed(PPPD) is Heard.PPP
    assert first.frames() == PPPD


@pytest.mark.parametrize("word", ["+FCO", "+FCON", "FAX", "CONNECT FAX", "+FCERROR", "+F4", "+F44"])
def test_a_modem_reports_a_fax(word: str) -> None:
    report = f"\r\n{word}\r\n".encode()
    assert whole(report) is Heard.FAX
    first = FirstBytes()
    for byte in report[:-1]:
        assert first.feed(bytes((byte,))) is Heard.UNSURE
    assert first.feed(report[-1:]) is Heard.FAX


@pytest.mark.parametrize("typed", [b"FAX\r", b"+FCO\r\n", b"\r\nFAX FROM BOB\r\n", b"\r\nfax\r\n", b"\r\n+FCOX\r\n"])
def test_a_caller_who_types_such_a_word_is_no_fax(typed: bytes) -> None:
    assert whole(typed) is not Heard.FAX


def test_the_modem_s_no_carrier_counts_as_the_last_word_only() -> None:
    first = FirstBytes()
    assert first.feed(b"bo\r\nNO CARRIER\r\n") is Heard.CARRIER_LOST
    assert first.feed(b"b") is Heard.ENTER


def test_any_bytes_in_any_chunks_get_the_same_verdict() -> None:
    chance = random.Random(3)
    alphabet = b"~~\xff\x03\xc0\x21}}\xdf\x23\xe0\x01\r\n+FCO"
    for _ in range(2000):
        data = bytes(chance.choice(alphabet) for _ in range(chance.randrange(40)))
        first, at = FirstBytes(), 0
        heard = Heard.NOTHING
        while at < len(data) and heard is not Heard.PPP:
            step = chance.randrange(1, 6)
            heard = first.feed(data[at : at + step])
            at += step
        together = FirstBytes()
        assert (together.feed(data) is Heard.PPP) == (heard is Heard.PPP)
        if heard is Heard.PPP:
            assert data[: min(at, len(data))].endswith(first.frames())
            assert together.frames().startswith(first.frames())
