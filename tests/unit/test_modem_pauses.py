"""When a failed modem is tried again."""

from __future__ import annotations

import pytest

from dialupd.modem import timing
from dialupd.modem.pauses import Pauses


def test_each_failure_doubles_the_pause() -> None:
    pauses, now, seen = Pauses(), 100.0, []
    for _ in range(9):
        attempts, until = pauses.failed(now, barred=False)
        seen.append((attempts, until - now))
        now = until
    assert seen == [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 320), (8, 600), (9, 600)]


@pytest.mark.parametrize(("open_for", "attempts"), [(0.0, 4), (timing.HELD - 1, 4), (timing.HELD, 1)])
def test_only_a_line_that_has_held_makes_them_begin_anew(open_for: float, attempts: int) -> None:
    pauses, now = Pauses(), 100.0
    for _ in range(3):
        _, now = pauses.failed(now, barred=False)
    pauses.opened(now, wanted=False)
    pauses.closed(now + open_for)
    pauses.closed(now + 10 * timing.HELD)  # once more, with no line
    assert pauses.failed(now + open_for, barred=False)[0] == attempts


def test_a_line_that_was_lost_before_the_modem_was_set_up_is_none() -> None:
    pauses = Pauses()
    pauses.failed(100.0, barred=False)
    pauses.closed(1000.0)
    assert pauses.failed(1000.0, barred=False)[0] == 2


def test_who_asks_for_a_line_and_gets_it_has_no_failures_behind_him() -> None:
    pauses = Pauses()
    pauses.failed(100.0, barred=False)
    pauses.opened(105.0, wanted=True)
    assert pauses.failed(106.0, barred=False) == (1, 111.0)


def test_what_keeps_us_from_trying_counts_for_itself() -> None:
    pauses = Pauses()
    _, until = pauses.failed(100.0, barred=False)
    _, until = pauses.failed(until, barred=False)
    assert pauses.failed(until, barred=True) == (1, until + 5)
    assert pauses.failed(until + 5, barred=True) == (2, until + 15)
    assert pauses.failed(until + 15, barred=False) == (3, until + 35)
    assert pauses.failed(until + 35, barred=True) == (1, until + 40)


def test_one_that_was_tried_before_its_time_waits_for_the_rest() -> None:
    pauses = Pauses()
    assert pauses.failed(100.0, barred=False) == (1, 105.0)
    assert pauses.failed(102.0, barred=False) == (1, 105.0)


def test_one_that_was_tried_before_its_time_and_worked_has_failed_anew() -> None:
    pauses = Pauses()
    pauses.failed(100.0, barred=False)
    pauses.failed(105.0, barred=False)
    pauses.opened(106.0, wanted=False)
    assert pauses.failed(107.0, barred=False) == (3, 127.0)


def test_one_that_shows_up_is_tried_at_once_but_not_often() -> None:
    pauses = Pauses()
    assert pauses.shows_up(0.0)
    assert not pauses.shows_up(timing.SHOWS_UP - 1)
    assert pauses.shows_up(timing.SHOWS_UP)
    assert not pauses.shows_up(timing.SHOWS_UP + 1)
