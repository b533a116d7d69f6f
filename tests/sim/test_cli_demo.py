"""The demonstration: it succeeds when a call really happened, leaves nothing behind, and fails honestly."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from subprocess import PIPE

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary directory must be empty again afterwards."""
    yield {**os.environ, "TMPDIR": str(tmp_path)}
    assert list(tmp_path.iterdir()) == []
    assert processes_naming(str(tmp_path)) == []


def processes_naming(word: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if word in line:
                found.append(line)
    return found


@contextmanager
def demo(environment: dict[str, str], *argv: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "dialupd.demo", *argv]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:  # else a test that failed would wait for it for ever
                process.terminate()


def test_a_whole_call(place: dict[str, str]) -> None:
    with demo(place) as process:
        out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, err) == (0, ""), out
    for step in (
        '"Welcome, caller 100. Say something."',
        '"You said: hello',
        "outgoing: connected",
        "to 200",
        "from 100",
    ):
        assert step in out


def test_kept_running_it_can_be_played_with(place: dict[str, str]) -> None:
    with demo(place, "--keep") as process:
        assert process.stdout is not None
        told = list(takewhile(lambda line: "Ctrl-C ends everything" not in line, process.stdout))
        (alias,) = (line for line in told if "alias dialupctl=" in line)
        dialupctl = shlex.split(alias)[1].removeprefix("dialupctl=").split()
        assert "  dialupctl dial outgoing\n" in told

        def run(*argv: str) -> str:
            command = [*dialupctl, *argv]
            return subprocess.run(command, cwd=ROOT, stdout=PIPE, text=True, check=True, timeout=LIMIT_S).stdout

        assert {modem["state"] for modem in json.loads(run("status", "--json"))["modems"]} == {"ready"}
        assert "connected on caller" in run("dial", "outgoing")
        assert run("hangup", "all") == "caller, answerer: hung up\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, err) == (0, "")


def test_terminated_it_leaves_nothing_behind(place: dict[str, str]) -> None:
    with demo(place, "--keep") as process:
        assert process.stdout is not None
        assert "message bus" in process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, err) == (0, "")


def test_what_is_missing_is_named(place: dict[str, str]) -> None:
    with demo({**place, "PATH": "/nonexistent"}) as process:
        out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, err) == (1, "")
    assert "dbus-daemon: no such program" in out
