"""The completion for bash knows every command and option that there is, and the names that the daemon tells."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

import pytest

from dialupd.cli.commands import COMMANDS, build

SCRIPT = Path(__file__).parents[2] / "docs" / "completion" / "dialupctl"
STATUS = """\
{
  "version": "1",
  "policies": [
    {
      "name": "uplink",
      "mode": "originate"
    }
  ],
  "modems": [
    {
      "id": "a",
      "name": "rack"
    },
    {
      "id": "b",
      "name": "$(touch /tmp/no)"
    }
  ],
  "calls": []
}
"""


def offered(tmp_path: Path, *words: str) -> set[str]:
    """What bash offers for the last word, with a dialupctl that tells `STATUS`."""
    (tmp_path / "status").write_text(STATUS)
    program = tmp_path / "dialupctl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nexec cat {tmp_path}/status\n')
    program.chmod(0o755)
    ask = 'source "$0"; COMP_WORDS=(dialupctl "$@"); COMP_CWORD=$#; _dialupctl; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-uc", ask, SCRIPT, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_every_command(tmp_path: Path) -> None:
    assert {command.name for command in COMMANDS} <= offered(tmp_path, "")
    assert offered(tmp_path, "ter") == {"terminal"}


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_option(name: str, tmp_path: Path) -> None:
    (table,) = (one for one in build()._actions if isinstance(one, argparse._SubParsersAction))
    there = {word for action in table.choices[name]._actions for word in action.option_strings if word.startswith("--")}
    assert offered(tmp_path, name, "--") == there


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("show", ""), {"rack"}),
        (("dial", ""), {"rack", "uplink"}),
        (("terminal", "u"), {"uplink"}),
        (("suspend", "u"), {"uplink"}),
        (("set-policy", "rack", ""), {"uplink", "none"}),
        (("hangup", ""), {"rack", "call", "all"}),
        (("history", "--modem", ""), {"rack"}),
        (("log-level", "d"), {"debug"}),
        (("command", "rack", "AT"), set()),
    ],
)
def test_names(words: tuple[str, ...], names: set[str], tmp_path: Path) -> None:
    assert offered(tmp_path, *words) == names


def test_the_bus_that_was_named_is_asked(tmp_path: Path) -> None:
    assert offered(tmp_path, "--bus", "session", "show", "r") == {"rack"}
    assert (tmp_path / "asked").read_text() == "--bus session --json status\n"
