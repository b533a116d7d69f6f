"""Points in time and durations, for people: local, and relative where the day is the same.

On the bus and in the history a time is microseconds since the epoch, 0 for "not yet".
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

SECOND = 1_000_000

_AGO = re.compile(r"(\d+)\s*(s|sec|m|min|h|d|w)(?:\s*ago)?", re.ASCII)
_UNITS = {
    "s": timedelta(seconds=1),
    "sec": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?", re.ASCII)


class NoTime(ValueError):
    """The text is no time; the message says what is."""


def micros(moment: datetime) -> int:
    return int(moment.timestamp() * SECOND)


def local(at: int) -> datetime | None:
    """The local time; None for a time that no calendar holds."""
    try:
        return datetime.fromtimestamp(at / SECOND).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def parse(text: str, now: datetime) -> int:
    """`2026-03-01`, `2026-03-01 14:00`, `14:00`, `today`, `yesterday`, `now`, `90min`, `2h ago`, `@seconds`.

    Raises NoTime with a sentence for a person.
    """
    word = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if word == "now":
            return micros(now)
        if word == "today":
            return micros(midnight)
        if word == "yesterday":
            return micros(midnight - timedelta(days=1))
        if found := _AGO.fullmatch(word):
            return max(0, micros(now - int(found[1]) * _UNITS[found[2]]))
        if word.startswith("@"):
            return max(0, int(float(word[1:]) * SECOND))
        if _CLOCK.fullmatch(word):
            hour, minute, *rest = (int(part) for part in word.split(":"))
            return micros(midnight.replace(hour=hour, minute=minute, second=rest[0] if rest else 0))
        return max(0, micros(datetime.fromisoformat(text.strip())))
    except (ValueError, OverflowError, OSError):
        raise NoTime(
            f"{text!a} is no time: write 2026-03-01, '2026-03-01 14:00', 14:00, today, yesterday,"
            " or how long ago: 90min, 2h, 7d"
        ) from None


def span(micro: int) -> str:
    """A duration in its two largest units: `45 s`, `12 min 5 s`, `2 h 3 min`, `3 d 4 h`."""
    seconds = max(0, micro) // SECOND
    if seconds < 60:
        return f"{seconds} s"
    for large, large_unit, small, small_unit in ((60, "min", 1, "s"), (3600, "h", 60, "min"), (86400, "d", 3600, "h")):
        if seconds < large * (60 if large == 60 else 24) or large == 86400:
            whole, rest = divmod(seconds, large)
            return f"{whole} {large_unit} {rest // small} {small_unit}" if rest // small else f"{whole} {large_unit}"
    raise AssertionError("the last unit takes every rest")


def ago(at: int, now: int) -> str:
    """`12 s ago`, `in 8 s`."""
    if not at:
        return ""
    away = at - now
    if abs(away) < SECOND:
        return "now"
    return f"in {span(away + SECOND - 1)}" if away > 0 else f"{span(-away)} ago"


def stamp(at: int, now: int) -> str:
    """The local time, as short as clear: `14:03:12` today, `Mar 01 14:03` this year, else `2025-03-01 14:03`."""
    if not at:
        return ""
    moment, today = local(at), local(now)
    if moment is None or today is None:
        return f"@{at // SECOND}"
    if moment.date() == today.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%b %d %H:%M}" if moment.year == today.year else f"{moment:%Y-%m-%d %H:%M}"


def full(at: int) -> str:
    """The whole local date and time."""
    if not at:
        return ""
    moment = local(at)
    return f"{moment:%a %Y-%m-%d %H:%M:%S}" if moment is not None else f"@{at // SECOND}"
