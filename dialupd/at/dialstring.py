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
