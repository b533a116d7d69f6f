"""One command in flight: what each line is to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.at.exchange import MAX_INFORMATION, Consumed, Exchange, Reply, Stray, Unsolicited
from dialupd.at.results import Final, Result


def played(command: str, *lines: str) -> tuple[Exchange, list[object]]:
    exchange = Exchange()
    assert exchange.command(command) == command.encode() + b"\r"
    return exchange, [exchange.line(line) for line in lines]


def test_a_reply() -> None:
    exchange, events = played("ATI3", "ATI3", "CX93001", "V1", "OK")
    assert events == [Consumed()] * 3 + [Reply("ATI3", Result(Final.OK), ("CX93001", "V1"))]
    assert exchange.in_flight is None
    assert isinstance(events[-1], Reply)
    assert events[-1].ok


def test_without_echo_and_in_another_case() -> None:
    assert played("AT", "OK")[1] == [Reply("AT", Result(Final.OK), ())]
    assert played("ate0", "ATE0", "OK")[1][-1] == Reply("ate0", Result(Final.OK), ())


def test_a_ring_comes_between() -> None:
    exchange, events = played("ATI", "33600", "RING", "NMBR = 5551212", "V1", "OK")
    assert events[1:3] == [Unsolicited("RING"), Unsolicited("NMBR = 5551212")]
    assert events[-1] == Reply("ATI", Result(Final.OK), ("33600", "V1"))
    assert exchange.line("RING") == Unsolicited("RING")


def test_connect_with_its_reports() -> None:
    _, events = played("ATDT5", "+MCR: V34", "+MRR: 33600", "CONNECT 115200")
    assert events[-1] == Reply("ATDT5", Result(Final.CONNECT, "115200"), ("+MCR: V34", "+MRR: 33600"))


def test_what_was_asked_for_is_information() -> None:
    _, events = played("AT+CREG?", "+CREG: 0,1", '+CMTI: "SM",1', "OK")
    assert events == [
        Consumed(), Unsolicited('+CMTI: "SM",1'), Reply("AT+CREG?", Result(Final.OK), ("+CREG: 0,1",)),
    ]  # fmt: skip


def test_nothing_in_flight() -> None:
    exchange = Exchange()
    assert exchange.line("NO CARRIER") == Stray(Result(Final.NO_CARRIER))
    assert exchange.line("OK") == Stray(Result(Final.OK))
    assert exchange.line("Welcome") == Unsolicited("Welcome")


def test_only_one_at_a_time() -> None:
    exchange, _ = played("AT")
    with pytest.raises(ValueError, match="in flight"):
        exchange.command("ATI")
    exchange.abandon()
    assert exchange.line("OK") == Stray(Result(Final.OK)), "too late"
    exchange.command("ATI")


@pytest.mark.parametrize("text", ["AT\rATD5", "AT\n", "AT\x00", "AT\xe9", "AT\x7f", "AT\t"])
def test_no_command_line(text: str) -> None:
    exchange = Exchange()
    with pytest.raises(ValueError, match="printable ASCII"):
        exchange.command(text)
    assert exchange.in_flight is None


def test_digits() -> None:
    exchange, _ = played("ATV0")
    assert exchange.line("0") == Consumed()
    exchange.numeric = True
    assert exchange.line("2") == Unsolicited("2")
    assert exchange.line("4") == Reply("ATV0", Result(Final.ERROR), ("0",))


def test_an_endless_answer_is_cut() -> None:
    _, events = played("AT&V", *["S00:000"] * 500, "OK")
    assert isinstance(events[-1], Reply)
    assert len(events[-1].information) == MAX_INFORMATION


@given(st.lists(st.text(max_size=30) | st.sampled_from(["OK", "RING", "CONNECT", "AT+X?", "ERROR"]), max_size=12))
def test_at_most_one_reply_and_only_after_a_result(lines: list[str]) -> None:
    _, events = played("AT+X?", *lines)
    replies = [index for index, event in enumerate(events) if isinstance(event, Reply)]
    assert len(replies) <= 1
    end = replies[0] if replies else len(events)
    assert all(not isinstance(event, Stray) for event in events[:end])
    assert all(isinstance(event, (Stray, Unsolicited)) for event in events[end + 1 :])
