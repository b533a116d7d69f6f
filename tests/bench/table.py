"""Rows of figures and the table that they make."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HEADS = ("What", "dialupd", "Beside it", "Goal", "Rounds")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `rounds` says how often, and in the guest that it was there."""

    what: str
    ours: str
    theirs: str = "–"
    goal: str = "–"
    rounds: str = "1"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the sorted values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def seconds(value: float) -> str:
    """With the unit that suits it."""
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.0f} µs"


def median(values: Sequence[float]) -> str:
    """`median (lowest–highest)`."""
    if not values:
        return "none came to an end"
    low, high = min(values), max(values)
    return f"{seconds(statistics.median(values))} ({seconds(low)} – {seconds(high)})"


def tail(values: Sequence[float]) -> str:
    """`p50, p99`."""
    if not values:
        return "none came to an end"
    return f"p50 {seconds(quantile(values, 0.5))}, p99 {seconds(quantile(values, 0.99))}"


def markdown(rows: Sequence[Row]) -> str:
    cells = [HEADS, *((row.what, row.ours, row.theirs, row.goal, row.rounds) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADS))]
    lines = []
    for row in cells:
        lines.append("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |")
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
