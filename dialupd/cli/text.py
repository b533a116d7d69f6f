"""Text for a terminal: cleaned, aligned, and plain where nobody sees colours.

What modems, callers and far ends sent reaches the terminal only through `clean`: control characters, escape sequences'
introducers and characters that reorder a line are gone, so no caller name can move the cursor or forge a row.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
"""Whole CSI and OSC sequences (ECMA-48 section 5.4); what is left of others loses its ESC."""

LONGEST = 200
"""Characters of one cleaned value; a caller name or a modem's answer is far shorter."""

LONGEST_SENTENCE = 500
"""Characters of one sentence of the daemon's, with its mend."""


def clean(text: str, limit: int = LONGEST) -> str:
    """The text with printable characters only, on one line, at most `limit` long."""
    text = _SEQUENCE.sub("", text)
    kept = "".join(" " if char.isspace() else char for char in text if char.isspace() or char.isprintable())
    kept = kept.strip()
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def width(text: str) -> int:
    """Columns that the text takes: wide characters take two, combining ones none."""
    columns = 0
    for char in text:
        if not unicodedata.combining(char):
            columns += 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
    return columns


@dataclass(frozen=True, slots=True)
class Style:
    """Colours by meaning; all of them are the text itself when `on` is false."""

    on: bool = False

    @classmethod
    def of(cls, stream: TextIO) -> Style:
        """Colours only for a terminal that has them and a person who wants them (no-color.org)."""
        return cls(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb")

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text

    def head(self, text: str) -> str:
        return self._wrap("1", text)

    def good(self, text: str) -> str:
        return self._wrap("32", text)

    def busy(self, text: str) -> str:
        return self._wrap("33", text)

    def bad(self, text: str) -> str:
        return self._wrap("31", text)

    def state(self, word: str, shown: str) -> str:
        """`shown` in the colour of the modem or call state `word`."""
        match word:
            case "connected" | "ready":
                return self.good(shown)
            case "failed" | "blocked" | "unsupported":
                return self.bad(shown)
            case "ringing" | "answering" | "dialing" | "hanging-up" | "resetting" | "binding" | "probing":
                return self.busy(shown)
            case _:
                return shown


def pad(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], style: Style, colour_by: int = -1) -> str:
    """Aligned columns under their heads; the cell in column `colour_by` is coloured as a state.

    A column that holds nothing is left out, and the last one is not padded.
    """
    filled = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    widths = {at: max(width(heads[at]), *(width(row[at] or "-") for row in rows)) for at in filled}
    lines = []
    for number, row in enumerate([heads, *rows]):
        cells = []
        for at in filled:
            shown = row[at] or "-"
            padded = shown if at == filled[-1] else pad(shown, widths[at])
            if number == 0:
                padded = style.head(padded)
            elif at == colour_by:
                padded = style.state(row[at], padded)
            cells.append(padded)
        lines.append("  ".join(cells))
    return "\n".join(lines)


def fields(pairs: Sequence[tuple[str, str]], style: Style) -> str:
    """`label: value` with aligned values; a pair without a value is left out."""
    shown = [(label, value) for label, value in pairs if value]
    columns = max((width(label) for label, _ in shown), default=0)
    return "\n".join(f"{style.head(label.rjust(columns))}  {value}" for label, value in shown)
