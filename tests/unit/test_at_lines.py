"""The lexer: the same lines whatever the chunking, bounded whatever comes, nothing of the far end's lost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.lines import MAX_LINE, Lexer, Line, Prompt, Wait, printable

CASES = {
    "verbose": (b"\r\nOK\r\n", ["OK"]),
    "echo and reply": (b"AT\r\r\nOK\r\n", ["AT", "OK"]),
    "information": (b"\r\nV 05.50\r\n27-03-06\r\nRH-12\r\n\r\nOK\r\n", ["V 05.50", "27-03-06", "RH-12", "OK"]),
    "LF alone": (b"\nOK\nRING\n", ["OK", "RING"]),
    "CR alone": (b"OK\rRING\r", ["OK", "RING"]),
    "doubled CR": (b"\r\r\nOK\r\r\n", ["OK"]),
    "blank lines": (b"\r\n \r\n\t\r\n\r\nOK\r\n", ["OK"]),
    "numeric": (b"0\r3\r2\r", ["0", "3", "2"]),
    "two digits": (b"13\r\n", ["13"]),
    "trailing blanks": (b"OK  \r\n", ["OK"]),
    "noise": (b"\xf8\x00\r\nOK\r\n", ["··", "OK"]),
    "control characters": (b"\x1b[2JRING\x07\r\n", ["·[2JRING·"]),
    "tab": (b"A\tB\r\n", ["A B"]),
    "prompt": (b"\r\n> ", [">"]),
    "prompt in turn": (b"\r\n> \r\nOK\r\n", [">", "OK"]),
    "text behind a prompt": (b"> hello\r\n", [">", "hello"]),
    "no prompt": (b"a > b\r\n", ["a > b"]),
    "longest": (b"x" * MAX_LINE + b"\r\nOK\r\n", ["x" * MAX_LINE, "OK"]),
    "too long": (b"x" * (MAX_LINE + 1) + b"\r\nOK\r\n", ["OK"]),
    "far too long": (b"x" * (5 * MAX_LINE) + b"> \r\nOK\r\n", ["OK"]),
    "long, then LF": (b"x" * (MAX_LINE + 9) + b"\nOK\n", ["OK"]),
}


def texts(lexer: Lexer, *, flush: bool = False) -> list[str]:
    found = []
    while not isinstance(token := lexer.flush() if flush else lexer.next(), Wait):
        found.append(token.text if isinstance(token, Line) else ">")
    return found


def lex(chunks: list[bytes]) -> list[str]:
    lexer = Lexer()
    found = []
    for chunk in chunks:
        lexer.feed(chunk)
        found += texts(lexer)
    return found + texts(lexer, flush=True)


@pytest.mark.parametrize(("data", "expected"), CASES.values(), ids=CASES.keys())
def test_lines(data: bytes, expected: list[str]) -> None:
    assert lex([data]) == expected, "whole"
    assert lex([bytes([byte]) for byte in data]) == expected, "byte by byte"
    assert lex([data[:1], data[1:-1], data[-1:]]) == expected
    assert lex([data + data]) == [*lex([data]), *expected]


def test_a_trailing_cr_is_unsure_until_flushed() -> None:
    lexer = Lexer()
    lexer.feed(b"\r\nOK\r")
    assert lexer.next() is Wait.UNSURE
    assert lexer.next() is Wait.UNSURE
    assert lexer.flush() == Line("OK")
    lexer.feed(b"\n")
    assert lexer.next() is Wait.NEED_MORE


def test_a_digit_has_no_lf_to_wait_for() -> None:
    lexer = Lexer()
    lexer.feed(b"0\r")
    assert lexer.next() == Line("0")


def test_a_prompt_has_no_end_to_wait_for() -> None:
    lexer = Lexer()
    lexer.feed(b"\r\n>")
    assert lexer.next() is Wait.NEED_MORE
    lexer.feed(b" ")
    assert lexer.next() == Prompt()


def test_clear_forgets_everything() -> None:
    lexer = Lexer()
    lexer.feed(b"y" * (MAX_LINE + 5))
    assert lexer.next() is Wait.NEED_MORE
    assert lexer.overflows == 1
    lexer.clear()
    lexer.feed(b"OK\r\n")
    assert lexer.next() == Line("OK")


# The bytes that mean something to it are frequent, so that short examples meet its corners.
ANY = st.lists(st.sampled_from([b"\r", b"\n", b"> ", b"0", b"OK", b"~\xff}#", b"q" * 300, b"\x00"]), max_size=14).map(
    b"".join
) | st.binary(max_size=80)


@given(ANY, st.lists(st.integers(0, 4000), max_size=8))
def test_any_bytes_in_any_chunking_give_the_same_lines(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(edges)]
    whole = lex([data])
    assert lex(chunks) == whole
    assert all(line and len(line) <= MAX_LINE and line.isprintable() for line in whole)


@given(st.lists(st.binary(min_size=1, max_size=600), max_size=12))
def test_it_never_holds_more_than_a_line(chunks: list[bytes]) -> None:
    lexer = Lexer()
    for chunk in chunks:
        lexer.feed(chunk)
        texts(lexer)
        rest = lexer.take_rest()
        assert len(rest) <= MAX_LINE
        lexer.feed(rest)


@given(st.binary(max_size=60), st.booleans())
def test_what_follows_connect_is_kept_exactly(far: bytes, at_once: bool) -> None:
    lexer = Lexer()
    lexer.feed(b"\r\nCONNECT 33600\r\n" + (far if at_once else b""))
    assert lexer.next() == Line("CONNECT 33600")
    if not at_once:
        lexer.feed(far)
    assert lexer.take_rest() == far
    assert lexer.next() is Wait.NEED_MORE


def test_printable() -> None:
    assert printable(bytes(range(256))).isprintable()
    assert printable(b"caf\xe9\t!") == "caf· !"
