"""A password's way through a whole ppp session: to pppd and the far end, and to nowhere else."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from session_line import FACTS, PtyLine, Record, line, run

from dialupd.config.values import LoginStep, PppSession
from dialupd.model import EndReason, SessionState
from dialupd.sessions import autologin
from dialupd.sessions.base import RuntimePaths, SessionEnd
from dialupd.sessions.callfile import CallFile, sweep
from dialupd.sessions.start import make_session

MARKER = "mark3r-hunter2"

PPPD = r"""#!/bin/sh
say() { for line; do echo "$line" >&2; done; }
exec 3<"$2"
say 'using channel 1' 'Using interface ppp7' 'Connect: ppp7 <--> /dev/pts/3' 'rcvd [LCP ConfReq id=0x1]' \
    'sent [PAP AuthReq id=0x1 user="web" password=<hidden>]'
read go
say 'rcvd [PAP AuthNak id=0x1 "No, PASSWORD is not it"]' 'Remote message: No, PASSWORD is not it' \
    'PAP authentication failed'
exit 19
"""


def processes() -> Iterator[int]:
    """We, and all that came from us."""
    parents = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    for process in parents:
        ancestor = process
        while ancestor not in (0, os.getpid()):
            ancestor = parents.get(ancestor, 0)
        if ancestor:
            yield process


def shown() -> bytes:
    """What everybody or the same user can read of our processes: command lines, environments, names of open files."""
    found = b""
    for process in processes():
        for what in ("cmdline", "environ"):
            try:
                found += Path(f"/proc/{process}/{what}").read_bytes()
            except OSError:
                continue
    return found


def written(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "secret"
    path.parent.mkdir()
    path.write_text(f"{MARKER}\n")
    path.chmod(0o600)
    return path


async def whole_session(
    config: PppSession, pty: PtyLine, record: Record, directory: Path
) -> tuple[SessionEnd, bytes, bytes]:
    """How it ended, what went over the line, and what the processes showed while pppd ran."""
    running = asyncio.create_task(make_session(config, pty, FACTS, record, RuntimePaths(str(directory))).run())
    await pty.send(b"Password:")
    sent = await pty.receive(lambda got: got.endswith(b"\r"))
    # Some far ends say back what they hear.
    await pty.send(sent + b"\r\nOK ")
    await record.until(lambda known: known.session_state not in (SessionState.STARTING, SessionState.LOGIN, None))
    found = shown()
    await pty.send(b"go\n")
    return await running, sent, found


@pytest.mark.parametrize("source", ["file", "credential", "file, said as it is asked for"])
def test_a_password_shows_nowhere(
    source: str, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    programs, directory = tmp_path / "bin", tmp_path / "run"
    programs.mkdir()
    directory.mkdir(mode=0o700)
    pppd = programs / "pppd"
    pppd.write_text(PPPD.replace("PASSWORD", MARKER).replace("exec 3<", f'cp "$2" {tmp_path}/read; exec 3<'))
    pppd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    config = PppSession("p", user="web", login=(LoginStep(("word:",), "{password}"), LoginStep(("OK ",), "ppp")))
    if source == "credential":
        config = replace(config, password_credential=secret.name)
    else:
        config = replace(config, password_file=str(secret))
    if "asked" in source:
        monkeypatch.setattr(autologin, "LONG_PAUSE", 0.5)
        monkeypatch.setattr(autologin, "SILENCE", 0.6)
        config = replace(config, login=(), auto_login=True)

    async def test() -> None:
        record = Record()
        with line() as pty:
            end, sent, found = await whole_session(config, pty, record, directory)
        assert sent == f"{MARKER}\r".encode()
        assert f'password "{MARKER}"'.encode() in (tmp_path / "read").read_bytes()
        assert end.reason is EndReason.AUTH_FAILED
        assert end.detail.endswith('(it said "No, **** is not it")')
        assert b"pppd" in found and MARKER.encode() not in found
        assert MARKER not in repr(asdict(record.all))

    run(test)
    assert "Remote message: No, **** is not it" in caplog.text
    assert MARKER not in caplog.text
    assert written(directory) == {}


@pytest.mark.skipif(
    not os.path.exists("/dev/ppp") or shutil.which("pppd", path="/usr/sbin") is None or os.geteuid() != 0,
    reason="a kernel with PPP, pppd and root",
)
def test_a_password_shows_nowhere_in_pppd_itself(
    secret: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = PppSession(
        "p", user="web", password_file=str(secret),
        login=(LoginStep(("word:",), "{password}"), LoginStep(("OK ",), "ppp")),
        options=("show-password", "lcp-max-configure", "2"),
    )  # fmt: skip

    async def test() -> None:
        record = Record()
        with line() as pty:
            _, _, found = await whole_session(config, pty, record, tmp_path)
        assert b"pppd" in found and MARKER.encode() not in found

    run(test)
    assert "Connect:" in caplog.text and MARKER not in caplog.text
    assert written(tmp_path) == {str(secret): f"{MARKER}\n".encode()}


def test_what_a_crash_has_left_is_swept_up(tmp_path: Path) -> None:
    CallFile(str(tmp_path), 7, "options").write(b"password x")
    (tmp_path / "sessions.sock").touch()
    sweep(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["sessions.sock"]
