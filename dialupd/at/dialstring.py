"""What may be dialled.

A dial string is digits, `* # + A-D`, the modifiers `, W @ ! T P` and layout blanks (V.250 section 6.3.1).  Layout
goes, the rest stays; anything else could begin another command and is refused.
"""

from __future__ import annotations

import re

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


_EXTENDED = re.compile(r"[+#*^$-][^;]*;?")
_PREFIXED = re.compile(r"[&\\%][A-Z][0-9]*|S[0-9]+(?:=[0-9]*|\?)?")


def touches_line(command: str) -> bool:
    """Does a command line hold D, A, O or H, or repeat the last line, so that it would place, take or end a call?"""
    body = command.strip().upper()
    if body == "A/":
        return True
    body = _PREFIXED.sub("", _EXTENDED.sub("", body.removeprefix("AT")))
    return any(letter in body for letter in "DAOH")
