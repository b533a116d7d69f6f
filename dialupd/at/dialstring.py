"""What may be dialled.

A dial string is digits, `* # + A-D`, the modifiers `, W @ ! T P` and layout blanks (V.250 section 6.3.1).  Layout
goes, the rest stays; anything else could begin another command and is refused.

What is dialled behind a pause is mostly no telephone number but a calling card's or a PIN.  So a dial string is shown
`masked`; the whole one goes to the modem alone.
"""

from __future__ import annotations

import re
from enum import StrEnum

MAX_LENGTH = 80
"""Characters after cleaning; a modem's command line holds at least 80 (V.250 section 5.2.1 wants 40)."""

_LAYOUT = re.compile(r"[ ()./-]")
_FORBIDDEN = re.compile(r"[^0-9*#+A-D,W@!TP]", re.ASCII)


def clean(number: str) -> str:
    """The dial string without its layout; raises ValueError with a sentence for a person."""
    text = _LAYOUT.sub("", number).upper()
    if found := _FORBIDDEN.search(text):
        raise ValueError(
            f"a dial string cannot hold {found.group()!a}: it takes digits, * # + A-D and the modifiers , W @ ! T P"
        )
    if not text:
        raise ValueError("the dial string is empty: give a number such as 5551212 or *99#")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the dial string has {len(text)} characters: a modem's command line takes {MAX_LENGTH}")
    return text


class Masking(StrEnum):
    """Which digits of dialled numbers show as `x`; a pause is `,`, `W` or `@`, and counts when it follows a number."""

    NONE = "none"
    AFTER_PAUSE = "after-pause"
    ALL = "all"


# Polkit is asked with what a caller sent, so it need not be clean: every letter and digit but the modifiers counts.
_MASKABLE = re.compile(r"[^\W_TPWtpw]")
_PAUSES = frozenset(",Ww@")
# With fewer digits before it, a pause waits for the line of a PBX, and the number itself comes behind.
_SHORTEST_NUMBER = 4


def masked(number: str, how: Masking) -> str:
    """The dial string as it may be shown."""
    if how is Masking.NONE:
        return number
    begin = _behind_number(number) if how is Masking.AFTER_PAUSE else 0
    return number[:begin] + _MASKABLE.sub("x", number[begin:])


def _behind_number(number: str) -> int:
    """Where what stands behind the number's first pause begins."""
    digits = 0
    for index, letter in enumerate(number):
        if letter in _PAUSES and digits >= _SHORTEST_NUMBER:
            return index
        digits += _MASKABLE.match(letter) is not None
    return len(number)


def may_be(shown: str, number: str) -> bool:
    """May this be the number that is shown so, by whichever masking?"""
    return len(shown) == len(number) and all(
        s == n or (s == "x" and _MASKABLE.match(n)) for s, n in zip(shown, number, strict=True)
    )


# Behind a sign other than + a modem reads either a name or, like `&D2`, one letter and a number, and goes on with the
# next command at once: a letter that might begin one is never taken for part of a name without its `=`, `?` or end.
_HARMLESS = re.compile(
    r"""
      \+[^;]*;?
    | [\^$](?!.\d?DS[=?])[A-Z]\d?[A-Z]+[=?][^;]*;?            # ^SYSCFG=2,2,3FFFFFFF
    | [#*%-](?!.DS[=?])[A-Z]{2,}(?:=(?:"[^"]*"|[\d.,()])*|\?)   # #CLS=8, and the next command may follow at once
    | [#^][A-Z]{2,}(?=;|$)
    | [$*%-][A-Z](?![DAOH])[A-Z]+(?=;|$)                        # $QCPWRDN, but not -C and DL
    | \*ID[01](?=;|$)                                           # caller ID on or off
    | [&\\%#*^$-][A-Z]\d*
    | S\d+(?:=\d*|\?)?
    """,
    re.VERBOSE | re.ASCII,
)


def touches_line(command: str) -> bool:
    """Does a command line hold D, A, O or H, or repeat the last line, so that it would place, take or end a call?"""
    body = "".join(command.split()).upper()
    if body == "A/":
        return True
    left = _HARMLESS.sub("", body.removeprefix("AT"))
    return any(letter in left for letter in "DAOH")
