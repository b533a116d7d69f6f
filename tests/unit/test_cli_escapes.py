"""What a person types on the line: escapes at the beginning of a line, everything else untouched, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.cli.escapes import HELP, Escape, Typed

TYPED = st.lists(st.sampled_from([b"~", b".", b"?", b"C", b"\x1a", b"\r", b"\n", b"a", b"\xff", b"\x03"])).map(b"".join)
Heard = list[bytes | Escape]


def heard(pieces: list[bytes]) -> Heard:
    """Text and escapes in their order, adjoining texts in one."""
    typed = Typed()
    found: Heard = []
    for piece in pieces:
        rest = piece
        while True:
            text, escape, rest = typed.feed(rest)
            if text and found and isinstance(found[-1], bytes):
                found[-1] += text
            elif text:
                found.append(text)
            if escape is None:
                break
            found.append(escape)
    return found


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (b"hello\r", [b"hello\r"]),
        (b"~.", [Escape.END]),
        (b"a\r~.b", [b"a\r", Escape.END, b"b"]),
        (b"a\n~?", [b"a\n", Escape.HELP]),
        (b"a~.", [b"a~."]),
        (b"~~.", [b"~."]),
        (b"~~~.\r~~", [b"~~.\r~"]),
        (b"~x~.", [b"~x~."]),
        (b"~\r~.", [b"~\r", Escape.END]),
        (b"~Csz file\r~C", [Escape.COMMAND, b"sz file\r", Escape.COMMAND]),
        (b"~?~?", [Escape.HELP, Escape.HELP]),
        (b"~\x1a", [Escape.SUSPEND]),
        (b"\x03\x1a\xff", [b"\x03\x1a\xff"]),
        (b"~", []),
    ],
)
def test_what_was_typed(typed: bytes, told: Heard) -> None:
    assert heard([typed]) == told
    assert heard([typed[at : at + 1] for at in range(len(typed))]) == told


@given(TYPED, st.integers(0, 30))
def test_any_cut_gives_the_same(typed: bytes, cut: int) -> None:
    assert heard([typed[:cut], typed[cut:]]) == heard([typed])


@given(st.binary().map(lambda data: data.replace(b"~", b"")))
def test_all_else_is_sent(typed: bytes) -> None:
    assert heard([typed]) == ([typed] if typed else [])


def test_the_help_names_each() -> None:
    keys = {line.split()[0] for line in HELP if line.startswith("~")}
    assert keys == {"~.", "~?", "~C", "~^Z", "~~"}
    assert len(keys) == len(Escape) + 1
