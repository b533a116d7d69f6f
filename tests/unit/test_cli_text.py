"""What dialupctl shows, without a bus."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.cli import find, rows, when, words
from dialupd.cli.commands import COMMANDS, build
from dialupd.cli.text import LONGEST, Style, clean, fields, table, width
from dialupd.model import CallState, EndReason, ModemState, SessionState

PLAIN = Style(False)
S = when.SECOND


@given(st.text())
def test_clean_text_cannot_move_a_cursor(text: str) -> None:
    shown = clean(text)
    assert shown.isprintable()
    assert len(shown) <= LONGEST


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("EVE\x1b[2J\x1b[1;1H", "EVE"),
        ("\x1b]0;title\x07EVE", "EVE"),
        ("a\r\nb\tc", "a  b c"),
        ("a\u202eb\u200bc", "abc"),
        ("\x9b31mred", "31mred"),
        ("a\x00b\x7f", "ab"),
    ],
)
def test_hostile_text(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


def test_table_aligns_by_columns_on_screen_and_leaves_empty_ones_out() -> None:
    shown = table(("A", "B", "C", "D"), [("漢字", "", "x", "last"), ("b", "", "", "z")], PLAIN)
    assert shown.split("\n") == ["A     C  D", "漢字  x  last", "b     -  z"]
    assert {width(line.rpartition("  ")[0]) for line in shown.split("\n")} == {7}


def test_fields_leave_out_what_is_not_known() -> None:
    assert fields([("name", "rack"), ("id", ""), ("x", "y")], PLAIN) == "name  rack\n   x  y"


def test_colours_only_where_they_are_seen() -> None:
    assert Style(True).state("failed", "failed") == "\x1b[31mfailed\x1b[0m"
    assert PLAIN.state("failed", "failed") == "failed"


@pytest.mark.parametrize(
    ("micro", "shown"),
    [
        (0, "0 s"),
        (59 * S, "59 s"),
        (60 * S, "1 min"),
        (725 * S, "12 min 5 s"),
        (3599 * S, "59 min 59 s"),
        (7380 * S, "2 h 3 min"),
        (86400 * S, "1 d"),
        (100 * 86400 * S + 3600 * S, "100 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_span(micro: int, shown: str) -> None:
    assert when.span(micro) == shown


@given(st.integers(0, 1 << 64))
def test_any_time_of_the_bus_can_be_shown(at: int) -> None:
    now = when.micros(datetime(2026, 3, 1))
    assert when.full(at).isprintable()
    assert when.stamp(at, now).isprintable()
    assert when.ago(at, now).isprintable()


def test_ago_rounds_so_that_nothing_is_due_too_early() -> None:
    assert when.ago(8_500_000, S) == "in 8 s"
    assert when.ago(S, 13 * S) == "12 s ago"
    assert when.ago(S, S + 5) == "now"
    assert when.ago(0, S) == ""


def test_parse_times() -> None:
    now = datetime(2026, 3, 1, 15, 30)
    cases = {
        "now": now,
        "today": datetime(2026, 3, 1),
        "yesterday": datetime(2026, 2, 28),
        "14:00": datetime(2026, 3, 1, 14),
        "90min": now - timedelta(minutes=90),
        "2h ago": now - timedelta(hours=2),
        "7d": now - timedelta(days=7),
        "2026-02-03": datetime(2026, 2, 3),
        "2026-02-03 04:05": datetime(2026, 2, 3, 4, 5),
    }
    for text, moment in cases.items():
        assert when.parse(text, now) == when.micros(moment), text
    assert when.parse("@12", now) == 12 * S


@pytest.mark.parametrize(
    "text", ["", "zzz", "25:00", "2026-13-01", "@", "99999999999999d", "@1e400", "1e3", "0001-01-01x"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(when.NoTime, match="is no time"):
        when.parse(text, datetime(2026, 3, 1))


def test_every_state_and_reason_has_words() -> None:
    assert set(words.END_REASONS) == set(EndReason)
    assert set(words.MODEM_STATES) == set(ModemState)
    assert set(words.CALL_STATES) == set(CallState)
    assert set(words.SESSION_STATES) == set(SessionState)
    assert "no data modem. Use its packet data (*99#)" in words.end_reason("no-modulator")
    assert "error 678" in words.end_reason("no-modulator")


def test_words_of_a_newer_daemon_are_shown_as_they_are() -> None:
    assert words.end_reason("eaten-by\x1b-goat") == "eaten-by-goat"
    assert words.because("waits-for-line") == "waits for line"
    assert words.because("no answer to AT-command") == "no answer to AT-command"


def test_rows_have_kebab_keys_and_plain_values() -> None:
    assert rows.row({"StateSince": 5, "Dns": ["a"], "CallerId": "1", "RxBytes": 7}) == {
        "state-since": 5,
        "dns": ["a"],
        "caller-id": "1",
        "rx-bytes": 7,
    }
    assert rows.call_number("/org/dialupd1/call/12") == 12
    assert [rows.call_number(path) for path in ("/", "/org/dialupd1/call/x", "/org/dialupd1/call/²")] == [0, 0, 0]


RACK = {"id": "0572_1340_1", "name": "rack", "device": "/dev/ttyACM0"}
PHONE = {"id": "0421_0405_9", "name": "phone", "device": "/dev/ttyACM10"}


@pytest.mark.parametrize("wanted", ["0572_1340_1", "rack", "RACK", "/dev/ttyACM0", "ttyACM0", "ra", "0572"])
def test_a_modem_is_found(wanted: str) -> None:
    assert find.modem(wanted, [RACK, PHONE]) is RACK


def test_no_phone_takes_the_id_of_another_modem_for_its_name() -> None:
    rogue = {**PHONE, "name": str(RACK["id"]).upper()}
    assert find.modem(str(RACK["id"]), [rogue, RACK]) is RACK


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("rcak", "no modem 'rcak': there is rack"),
        ("zzzzzz", "no modem 'zzzzzz': there is phone or rack"),
        ("ttyACM", "'ttyACM' means more than one modem: say 0421_0405_9 or 0572_1340_1"),
        ("\x1b[31m", "no modem '': there is phone or rack"),
        ("", "no modem '': there is phone or rack"),
    ],
)
def test_a_miss_offers_names(wanted: str, told: str) -> None:
    with pytest.raises(find.NotFound) as caught:
        find.modem(wanted, [RACK, PHONE])
    assert str(caught.value) == told


def test_no_modem_at_all_says_what_to_do() -> None:
    with pytest.raises(find.NotFound, match="plug one in"):
        find.modem("rack", [])


def test_a_policy_is_found_by_its_name_only() -> None:
    assert find.policy("uplink", ["uplink"]) == "uplink"
    with pytest.raises(find.NotFound, match="there is uplink"):
        find.policy("up", ["uplink"])
    with pytest.raises(find.NotFound, match="reload"):
        find.policy("up", [])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_has_help_with_examples(command, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit) as caught:
        build().parse_args([command.name, "--help"])
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    assert command.examples
    for example in command.examples:
        assert example in shown
    assert "exit: 0 done" in shown


@pytest.mark.parametrize(
    "argv",
    [
        ["show"],
        ["dial"],
        ["nonsense"],
        ["dial", "rack", "1", "--timeout", "0"],
        ["dial", "rack", "1", "--timeout", "x"],
        ["history", "--limit", "-1"],
        ["history", "--direction", "up"],
        ["log-level", "loud"],
        ["hangup"],
    ],
)
def test_usage_is_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build().parse_args(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err


def test_json_may_stand_before_or_after_the_command() -> None:
    assert build().parse_args(["--json", "status"]).json
    assert build().parse_args(["status", "--json"]).json
    assert not build().parse_args(["status"]).json
    assert build().parse_args([]).command == "status"


def test_the_bus_may_stand_before_or_after_the_command() -> None:
    assert build().parse_args(["--bus", "session", "status"]).bus == "session"
    assert build().parse_args(["status", "--bus", "session"]).bus == "session"
    assert build().parse_args(["status"]).bus == "system"


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
    ],
)
def test_when_colours_are_used(
    terminal: bool, environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(StringIO):
        def isatty(self) -> bool:
            return terminal

    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Style.of(Stream()).on is coloured
