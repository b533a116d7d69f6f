"""The session login: agetty and login(1) on a simulated line, for people who are real only inside a mount namespace."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from session_line import FACTS, PATIENCE, PtyLine, Record, line, run

from dialupd.config.values import LoginSession
from dialupd.io.child import Child
from dialupd.model import EndReason, SessionState
from dialupd.sessions import login_front
from dialupd.sessions.base import Line, RuntimePaths, Session
from dialupd.sessions.getty import agetty, caller_host
from dialupd.sessions.relay import Relay
from dialupd.sessions.start import make_session

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs agetty")
CONFIG = LoginSession("console")

NEWNS = 0x20000
PRIVATE, BIND = 1 << 18 | 1 << 14, 1 << 12
libc = ctypes.CDLL(None, use_errno=True)

# utmp(5): type, pid, line, id, user, host, and what is of no interest here.
UTMP = struct.Struct("=h2xi32s4s32s256s52x")
LOGIN_PROCESS, USER_PROCESS, DEAD_PROCESS = 6, 7, 8

# Of the passwords "sesame" and "toor"; the third account has none.
SESAME = "$6$dialupd$avoyrWqnmIk5D9r/AcWkRTBP4eOz6OZjEkQIz8J9Xq/MYwtgi8qiH6qAGPvE0IfAQ69CUxBNlv27S2C6h/F7P1"
TOOR = "$6$dialupd$pZanMVP.7SC6n/n6fPy.jVKz1aaLaOeYCGHolgyLpZMKvlap6TUlXx3mTQyhx/Vge4Cuq6VFoOU/IXWH2MMuT/"
ACCOUNTS = {
    "passwd": """
root:x:0:0::/root:/bin/sh
toor:x:0:0::/root:/bin/sh
ann:x:4242:4242::/:/bin/sh
old:x:4244:4244::/:/bin/sh
none:x:4243:4243::/:/bin/sh
""",
    "shadow": f"""
root:{TOOR}:19000::::::
toor:{TOOR}:19000::::::
ann:{SESAME}:19000::::::
old:{SESAME}:19000:::::1:
none::19000::::::
""",
    "pam.d/login": """
auth required pam_unix.so nullok nodelay
account required pam_unix.so
session optional pam_lastlog.so
session required pam_permit.so
""",
}


def make(pty: Line, record: Record, config: LoginSession = CONFIG) -> Session:
    return make_session(config, pty, FACTS, record, RuntimePaths("/nonexistent"))


def mount(source: str, target: str, kind: str, flags: int) -> None:
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None):
        raise OSError(ctypes.get_errno(), f"mount {source} {target}")


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine of our own, as far as login sees: its users, its rules, its records of who is logged in."""
    if os.geteuid() != 0:
        pytest.skip("only root runs login")
    files = tmp_path_factory.mktemp("etc")
    outside, here = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), Path.cwd()
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.unshare(NEWNS):
            pytest.skip(f"no mount namespace here: {os.strerror(ctypes.get_errno())}")
        try:
            try:
                mount("none", "/", "none", PRIVATE)
            except OSError as error:
                pytest.skip(f"the root is no mount of its own here: {error}")
            for name, text in ACCOUNTS.items():
                file = files / Path(name).name
                file.write_text(text.lstrip())
                file.chmod(0o644)
                mount(str(file), f"/etc/{name}", "none", BIND)
            for directory in ("/run", "/var/log"):
                mount("tmpfs", directory, "tmpfs", 0)
            for record in ("/run/utmp", "/var/log/wtmp"):
                Path(record).touch()
            yield
        finally:
            if libc.setns(outside, NEWNS):
                raise OSError(ctypes.get_errno(), "setns")
            # setns has gone to the namespace's root, which in a chroot is another.
            os.fchdir(root)
            os.chroot(".")
            os.chdir(here)
    finally:
        os.close(outside)
        os.close(root)


async def log_in(pty: PtyLine, name: str, password: str) -> None:
    """Answer both questions; what comes then is for the test."""
    await pty.receive(lambda got: got.endswith(b"login: "))
    await pty.send(f"{name}\r".encode())
    got = await pty.receive(lambda got: got.endswith(b"assword: "))
    assert got.startswith(name.encode()) and got.count(b"\n") == 1, got
    await pty.send(f"{password}\r".encode())


async def ends(pid: int) -> None:
    """Wait for the end of a process that is not our child.  Without a thread: `accounts` goes back by setns(2)."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await gone.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


@pytest.mark.parametrize("root", [False, True])
def test_a_person_logs_in_and_out(accounts: None, root: bool) -> None:
    async def test() -> None:
        record = Record()
        with line() as pty:
            running = asyncio.create_task(make(pty, record, LoginSession("console", root=root)).run())
            await log_in(pty, "ann", "sesame")
            await pty.receive(lambda got: got.endswith(b"$ "))
            assert record.states == [SessionState.STARTING, SessionState.LOGIN, SessionState.RUNNING]
            await pty.send(b"env | sort; id -u; ls -l $(tty); who; echo th''is is all; exit 3\r")
            got = await pty.receive(lambda got: b"this is all\r\n" in got)
            if b"ann      pts/" in got:  # login keeps utmp up to Debian 12
                assert b"(tel:5551212)" in got
            for known in (b"CALLER_ID=5551212", b"DIALUPD_CALL=3", b"USER=ann", b"HOME=/", b"TERM=vt100", b"\n4242\r"):
                assert known in got
            assert b"LC_CTYPE" not in got and b"crw" in got and b" ann " in got
            end = await running
        assert end.reason is EndReason.SESSION_ENDED

    run(test)


@pytest.mark.parametrize("how", ["leaves", "is hung up"])
def test_nobody_stays_in_the_records(accounts: None, how: str) -> None:
    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(pty, Record()).run())
            await log_in(pty, "ann", "sesame")
            await pty.receive(lambda got: got.endswith(b"$ "))
            if how == "leaves":
                await pty.send(b"exit\r")
            else:
                pty.hang_up()
            await running

    run(test)
    assert b"ann" not in subprocess.run(["who", "/run/utmp"], capture_output=True, check=True).stdout
    records = [
        (kind, terminal, user.rstrip(b"\0"), host.rstrip(b"\0"))
        for kind, _, terminal, _, user, host in UTMP.iter_unpack(Path("/var/log/wtmp").read_bytes())
    ]
    came = next(record for record in reversed(records) if record[0] in (LOGIN_PROCESS, USER_PROCESS))
    # From Debian 13 on login(1) leaves no record, and agetty's is the only one.
    assert came[2:] in ((b"ann", b"tel:5551212"), (b"LOGIN", b"tel:5551212"))
    assert records[-1][:2] == (DEAD_PROCESS, came[1])


def test_the_greeting_and_the_terminal_are_the_configuration_s(accounts: None) -> None:
    issue = Path("/run/issue.modem")
    issue.write_text("Welcome to \\n on \\l at \\b.\n")

    async def test() -> None:
        config = LoginSession("console", issue_file=str(issue), terminal="ansi")
        with line() as pty:
            running = asyncio.create_task(make(pty, Record(), config).run())
            got = await pty.receive(lambda got: got.endswith(b"login: "))
            assert re.search(rb"^\r?\nWelcome to \S+ on pts/\d+ at 115200\.\r\n\S+ login: $", got.lstrip(b"\r"))
            await pty.send(b"ann\r")
            await pty.receive(lambda got: got.endswith(b"assword: "))
            await pty.send(b"sesame\r")
            await pty.receive(lambda got: got.endswith(b"$ "))
            await pty.send(b"echo $TERM; stty; exit\r")
            got = await pty.receive(lambda got: b"speed" in got and got.endswith(b"\r\n"))
            assert b"\r\nansi\r\nspeed 115200 baud" in got
            await running

    run(test)


@pytest.mark.skipif(shutil.which("rz") is None, reason="needs lrzsz")
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_file_through_the_shell(accounts: None, tmp_path: Path, way: str) -> None:
    content = bytes(range(256)) * 512 + b"\r\n~.+++\x11\x13\x18\xff" * 64
    near, far = Path("/run/here"), tmp_path / "there"
    for directory in (near, far):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777)
    source, target = (far, near) if way == "up" else (near, far)
    (source / "file").write_bytes(content)
    (target / "file").unlink(missing_ok=True)

    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(pty, Record()).run())
            await log_in(pty, "ann", "sesame")
            await pty.receive(lambda got: got.endswith(b"$ "))
            here, there = ("rz -q -b", "sz -q -b file") if way == "up" else ("sz -q -b file", "rz -q -b")
            await pty.send(f"cd /run/here; {here}; exit\r".encode())
            await pty.receive(lambda got: b"**\x18B0" in got)  # before that the terminal would echo what comes
            ours, theirs = socket.socketpair()
            with theirs:
                relaying = asyncio.create_task(Relay(pty.far_dup(), ours.detach()).run())
                child = Child.spawn(there.split(), stdin=theirs.fileno(), stdout=theirs.fileno(), cwd=str(far))
                # Not until the far end's has ended: lrzsz flushes a terminal at its end, and with it its own last
                # words, for which another one waits half a minute.
                assert (await running).reason is EndReason.SESSION_ENDED
                await child.stop(())
            await relaying
        assert (target / "file").read_bytes() == content

    run(test)


@pytest.mark.parametrize("name", ["root", "toor"])
def test_root_sees_what_a_wrong_password_sees(accounts: None, name: str) -> None:
    async def test() -> None:
        told = []
        for who, password in ((name, "toor"), ("ann", "wrong"), ("nobody-here", "sesame"), ("none", "")):
            record = Record()
            with line() as pty:
                running = asyncio.create_task(make(pty, record).run())
                await log_in(pty, who, password)
                got = b""
                for _ in range(login_front.TRIES - 1):
                    got += await pty.receive(lambda got: got.endswith(b"login: "))
                    await pty.send(f"{who}\r".encode())
                    got += await pty.receive(lambda got: got.endswith(b"assword: "))
                    await pty.send(f"{password}\r".encode())
                got += await pty.receive(lambda got: b"incorrect\r\n" in got)
                end = await running
            told.append(got.replace(who.encode(), b"NAME"))
            assert end.reason is EndReason.PEER_AUTH_FAILED
            assert SessionState.RUNNING not in record.states
        assert set(told) == {told[0]}

    run(test)


def test_a_second_try(accounts: None) -> None:
    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(pty, Record()).run())
            await log_in(pty, "root", "toor")
            await log_in(pty, "ann", "sesame")
            await pty.receive(lambda got: got.endswith(b"$ "))
            await pty.send(b"exit\r")
            assert (await running).reason is EndReason.SESSION_ENDED

    run(test)


def test_root_where_root_may(accounts: None) -> None:
    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(pty, Record(), LoginSession("console", root=True)).run())
            await log_in(pty, "root", "toor")
            await pty.receive(lambda got: got.endswith(b"# "))
            await pty.send(b"exit\r")
            assert (await running).reason is EndReason.SESSION_ENDED

    run(test)


@pytest.mark.parametrize("how", ["hung up", "stopped", "cancelled"])
def test_the_end_of_a_call_ends_what_was_begun(accounts: None, how: str) -> None:
    async def test() -> None:
        with line() as pty:
            session = make(pty, Record())
            running = asyncio.create_task(session.run())
            await log_in(pty, "ann", "sesame")
            await pty.receive(lambda got: got.endswith(b"$ "))
            await pty.send(b"sleep 600 & echo $! $$ $PPID rea''dy\r")
            got = await pty.receive(lambda got: b" ready\r\n" in got)
            pids = [int(word) for word in got.split(b" ready\r\n")[-2].split()[-3:]]
            if how == "hung up":
                pty.hang_up()
                assert (await running).reason is EndReason.REMOTE_HANGUP
            elif how == "stopped":
                session.stop(EndReason.MAX_DURATION)
                assert (await running).reason is EndReason.MAX_DURATION
            else:
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
            for pid in pids:
                await ends(pid)

    run(test)


@pytest.mark.parametrize(
    ("asked", "root", "callback"),
    [
        (b"login: ", False, ()),
        (b"assword: ", False, ()),
        (b"login: ", True, ()),
        (b"assword: ", True, (("ann", "5550000"),)),
    ],
)
def test_nobody_logs_in(accounts: None, asked: bytes, root: bool, callback: tuple[tuple[str, str], ...]) -> None:
    async def test() -> None:
        with line() as pty:
            config = LoginSession("console", root=root, login_timeout=1.5, callback=callback)
            running = asyncio.create_task(make(pty, Record(), config).run())
            if asked == b"assword: ":
                await pty.receive(lambda got: got.endswith(b"login: "))
                await pty.send(b"ann\r")
            await pty.receive(lambda got: got.endswith(asked))
            end = await running
            assert end.reason is EndReason.TIMEOUT
            assert end.detail == "nobody logged in within 2 s"

    run(test)


@as_root
@pytest.mark.parametrize("how", ["hung up", "stopped"])
def test_a_call_that_ends_at_the_prompt(how: str) -> None:
    async def test() -> None:
        with line() as pty:
            session = make(pty, Record())
            running = asyncio.create_task(session.run())
            await pty.receive(lambda got: got.endswith(b"login: "))
            if how == "hung up":
                pty.hang_up()
            else:
                session.stop(EndReason.SHUTDOWN)
            wanted = EndReason.REMOTE_HANGUP if how == "hung up" else EndReason.SHUTDOWN
            assert (await running).reason is wanted

    run(test)


def test_others_than_root_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    async def test() -> None:
        with line() as pty:
            end = await make(pty, Record()).run()
            assert end.reason is EndReason.SESSION_FAILED
            assert "needs root" in end.detail
            assert b"not available" in pty.left()

    run(test)


@pytest.mark.parametrize(
    ("caller", "host"),
    [
        ("5551212", "tel:5551212"),
        ("+1 (555) 12-12", "tel:+155512-12"),
        ("", ""),
        ("127.0.0.1", "tel:127001"),
        ("-froot", "tel:-froot"),
        ("\x1b[2J\n\x00", "tel:2J"),
        ("ä", ""),
        ("9" * 500, "tel:" + "9" * 36),
    ],
)
def test_the_caller_as_a_host(caller: str, host: str) -> None:
    assert caller_host(caller) == host
    command = agetty(CONFIG, replace(FACTS, caller_id=caller))
    assert ("--host" in command) == bool(host)
    assert not [word for word in command if not word.isprintable()]
