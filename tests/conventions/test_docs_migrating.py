"""Every example of a configuration in the documentation loads, and the page for those who move here tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from dialupd.cli.commands import COMMANDS
from dialupd.config import settings as s
from dialupd.config.load import load
from dialupd.config.settings import Setting, SubTable
from dialupd.config.values import LoginSession, Mode, ModemEntry, Policy, PppSession, Retry
from dialupd.policy import GOOD_CALL, NEVER_GOOD, RESTING, RULES, WANTED
from dialupd.sessions.pppd_words import EXITS, Exit

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
PAGE = (ROOT / "docs" / "migrating.md").read_text()

SECTIONS = {
    "daemon": s.DAEMON, "modem": s.MODEM, "match": s.MATCH, "policy": s.POLICY, "retry": s.RETRY, "ppp": s.PPP,
    "radius": s.RADIUS, "login": s.LOGIN_SESSION, "auto": s.AUTO, "exec": s.EXEC, "tcp": s.TCP,
}  # fmt: skip
# What stands in the second column in place of a key.
WORDS = ("by itself", "none", "not yet")
STOPS = "stops at once"


def examples() -> list[tuple[str, str]]:
    """(page and number, text) of every block marked as TOML."""
    return [
        (f"{page.name}-{number}", block)
        for page in PAGES
        for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.M | re.S), 1)
    ]


def tables() -> list[list[tuple[str, ...]]]:
    """The page's tables, each as the cells of its rows with the head first."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.M):
        rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in block.splitlines()]
        assert set("".join(rows[1])) <= set("|- "), rows[0]
        found.append([rows[0], *rows[2:]])
    return found


def tables_of_keys() -> list[list[tuple[str, ...]]]:
    return [table for table in tables() if len(table[0]) == 3 and table[0][1] == "dialupd"]


ROWS = [row for table in tables_of_keys() for row in table[1:]]


@pytest.mark.parametrize(("place", "text"), examples(), ids=[place for place, _ in examples()])
def test_an_example_loads(place: str, text: str) -> None:
    load([(place, text.encode())])


def test_there_are_examples() -> None:
    assert len([place for place, _ in examples() if place.startswith("migrating.md")]) >= 4


def test_a_row_names_what_there_is() -> None:
    """A key of the settings, with a value that it takes; a command; or one of the words that say that there is none."""
    assert len(ROWS) > 100
    for old, there, remark in ROWS:
        if there in WORDS:
            assert there != "none" or remark, f"say why there is none for {old}"
            continue
        words = re.findall(r"`([^`]+)`", there)
        assert words and not re.sub(r"`[^`]+`", "", there).strip(" ,"), f"{there!r} is neither keys nor one of {WORDS}"
        for word in words:
            names_something(word)


def test_the_text_names_what_there_is() -> None:
    """What looks like a key of ours, or like one of our commands, is one."""
    ours = re.findall(rf"`((?:(?:{'|'.join(SECTIONS)})\.[a-z]|dialupctl )[^`]+)`", PAGE)
    assert len(ours) > 100
    for word in ours:
        if word != "login.config":
            names_something(word)


def names_something(word: str) -> None:
    if word.startswith("dialupctl "):
        command = next(part for part in word.split()[1:] if not part.startswith("-"))
        assert command in {command.name for command in COMMANDS}, f"there is no command {word}"
        return
    name, given, value = word.partition(" = ")
    section, _, key = name.partition(".")
    setting = {setting.key: setting for setting in SECTIONS[section].settings}.get(key)
    assert setting is not None, f"there is no key {name}"
    if given:
        assert isinstance(setting, Setting)
        setting.kind.read(tomli.loads(f"it = {value}")["it"])


def test_no_table_has_a_key_twice() -> None:
    for table in tables_of_keys():
        keys = [key for row in table[1:] for key in re.findall(r"`([^`]+)`", row[0])]
        assert len(keys) == len(set(keys)), sorted({key for key in keys if keys.count(key) > 1})


def test_every_ppp_key_has_its_place() -> None:
    """Whoever knows pppd finds each of our keys by the option that it stands for."""
    told = {word for row in ROWS for word in re.findall(r"`(?:ppp)\.([a-z0-9-]+)", row[1])}
    ours = {setting.key for setting in s.PPP.settings if not isinstance(setting, SubTable)}
    assert ours - told == {"type", "max-sessions"}


def what_redialling_does(end: Exit) -> str:
    """The words of the page for what the policy does after such an end."""
    if end.hopeless:
        return STOPS
    if end.reason in RESTING | WANTED:
        return "no failure: dials again after `retry.first`"
    rule = RULES[end.reason]
    if rule.limit == 1:
        return STOPS
    assert not rule.pause, "the page has no words for a pause yet"
    number = "the next number" if rule.turn else "the same number"
    stop = f"; after {rule.limit} such calls in a row it stops" if rule.limit else ""
    return f"dials {number} after the pause{stop}"


def test_every_exit_status_of_pppd() -> None:
    table = next(table for table in tables() if table[0][0] == "Exit status")
    told = {int(status): (words, reason, redial) for status, words, reason, redial in table[1:]}
    assert told == {
        status: (end.text, f"`{end.reason.value}`", what_redialling_does(end)) for status, end in EXITS.items()
    }


def test_what_a_long_call_does_not_mend() -> None:
    never = [status for status, end in EXITS.items() if end.reason in NEVER_GOOD]
    assert GOOD_CALL == 45
    assert f"not after {', '.join(map(str, never[:-1]))} and {never[-1]}." in PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            heads = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, link


def test_the_defaults_that_it_tells() -> None:
    """Those of ours that a row sets beside the old program's."""
    retry, policy, ppp, login = Retry(), Policy("", Mode.ANSWER), PppSession(""), LoginSession("")
    assert (retry.first, retry.max, retry.attempts, retry.per_day) == (5, 600, 0, 100)
    assert (policy.rings, policy.timeout, policy.dial_command) == (2, 70, "ATDT")
    assert (ppp.login_timeout, ppp.metric, ppp.dns, ppp.default_route) == (45, 700, False, False)
    assert (login.login_timeout, login.terminal, ModemEntry().speed) == (60, "vt100", 115200)
