"""The manual pages name every command, option and key that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dialupd import __main__ as daemon
from dialupd.cli.commands import COMMANDS, build
from dialupd.config import settings
from dialupd.exchange import options as exchange
from dialupd.system_files import __main__ as system_files

PAGES = Path(__file__).parents[2] / "docs" / "man"


def words(page: str) -> set[str]:
    """Every word of the page, with its options written `--so`."""
    text = (PAGES / page).read_text().replace("Fl \\-", "--").replace("\\-", "-")
    return set(re.findall(r"[\w-]+", text))


@pytest.mark.parametrize(
    ("page", "help_text"),
    [
        ("dialupd.8", daemon._parser().format_help()),
        ("dialupctl.1", build().format_help()),
        ("dialup-exchange.1", exchange._parser().format_usage()),
        ("dialupd-system-files.8", system_files._parser().format_help()),
    ],
)
def test_every_option(page: str, help_text: str) -> None:
    there = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_text)) - {"--help", "--version"}
    assert there - words(page) == set()


def test_every_command() -> None:
    assert {command.name for command in COMMANDS} - words("dialupctl.1") == set()


def test_every_key_of_the_configuration() -> None:
    there = {row.key for section in settings.ALL for row in section.settings}
    assert there - words("dialupd.toml.5") == set()
