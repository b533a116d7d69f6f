"""Children: their end, their lines, their group; every wait ends by an event."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

import pytest

from dialupd.io.child import LINE_LIMIT, LINES, Child, ExitStatus, SpawnError, hang_up

PATIENCE = 20.0


def run(scenario: Coroutine[None, None, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario

    asyncio.run(limited())


class Said:
    """The lines of a child; `first` waits until there is one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._some = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._some.set()

    async def first(self) -> str:
        await self._some.wait()
        return self.lines[0]


async def ends(process: int) -> None:
    """Wait for the end of a process that is not our child; `process` is a pidfd."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(process, ended.set_result, None)
    await ended
    asyncio.get_running_loop().remove_reader(process)
    os.close(process)


def standing(pid: int) -> tuple[int, int, int]:
    """Group, session and terminal of a process."""
    stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(stat[2]), int(stat[3]), int(stat[4])


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ("exit 0", ExitStatus(0), "exit status 0"),
        ("exit 19", ExitStatus(19), "exit status 19"),
        ("kill -TERM $$", ExitStatus(143, signal.SIGTERM), "killed by SIGTERM"),
    ],
)
def test_how_it_ended(command: str, status: ExitStatus, text: str) -> None:
    async def scenario() -> None:
        child = Child.spawn(["sh", "-c", command])
        first, second = await asyncio.gather(child.wait(), child.wait())
        assert first == second == status == child.status
        assert str(status) == text and status.ok is (status.code == 0)
        child.signal(signal.SIGKILL)
        assert await child.stop() == status

    run(scenario())


def test_lines_are_complete_when_it_has_ended() -> None:
    async def scenario() -> None:
        said = Said()
        child = Child.spawn(
            ["sh", "-c", "echo one; echo two >&2; printf 'half\\033[1m'"], stdout=LINES, stderr=LINES, on_line=said
        )
        await child.wait()
        assert said.lines == ["one", "two", "half [1m"]

    run(scenario())


def test_an_endless_line_is_cut_and_the_next_is_whole() -> None:
    async def scenario() -> None:
        said = Said()
        script = "import sys; sys.stdout.write('x' * 3000000 + '\\nnext\\n')"
        await Child.spawn([sys.executable, "-c", script], stdout=LINES, on_line=said).wait()
        assert said.lines == ["x" * LINE_LIMIT, "next"]

    run(scenario())


def test_a_grandchild_that_holds_the_pipe_does_not_keep_us() -> None:
    async def scenario() -> None:
        said = Said()
        child = Child.spawn(["sh", "-c", "sleep 60 & echo $!; exit 3"], stdout=LINES, on_line=said)
        assert await child.wait() == ExitStatus(3)
        os.kill(int(said.lines[0]), signal.SIGKILL)

    run(scenario())


def test_stop_climbs_the_ladder_and_leaves_nobody() -> None:
    async def scenario() -> None:
        said = Said()
        child = Child.spawn(
            ["sh", "-c", "trap '' HUP TERM; sleep 60 & echo $!; while :; do wait; done"], stdout=LINES, on_line=said
        )
        grandchild = os.pidfd_open(int(await said.first()))
        status = await child.stop([(signal.SIGHUP, 0.05), (signal.SIGTERM, 0.05)])
        assert status.signal == signal.SIGKILL
        await ends(grandchild)

    run(scenario())


def test_stop_is_gentle_and_sweeps_the_group() -> None:
    async def scenario() -> None:
        said = Said()
        command = "(trap '' HUP; exec sleep 60) & trap 'exit 7' HUP; echo $!; wait"
        child = Child.spawn(["sh", "-c", command], stdout=LINES, on_line=said)
        grandchild = os.pidfd_open(int(await said.first()))
        assert await child.stop([(signal.SIGHUP, 10.0)]) == ExitStatus(7)
        await ends(grandchild)

    run(scenario())


def test_hang_up_reaches_the_jobs_of_a_shell() -> None:
    """Each has a group of its own, which neither the kernel nor every shell tells."""

    async def scenario() -> None:
        said = Said()
        ours, theirs = os.openpty()
        child = Child.spawn(
            ["/bin/bash", "-c", "set -m; sleep 600 & echo $!; wait"],
            stdin=theirs, stdout=LINES, on_line=said, controlling_tty=True,
        )  # fmt: skip
        job = int(await said.first())
        assert standing(job) == (job, child.pid, standing(child.pid)[2])
        process = os.pidfd_open(job)
        hang_up(ours, child.pid)
        await ends(process)
        assert (await child.wait()).ok
        os.close(ours)
        os.close(theirs)

    run(scenario())


ELSEWHERE = """
import ctypes, fcntl, os, struct, sys, time
here = sys.argv[1].encode()
libc = ctypes.CDLL(None, use_errno=True)
libc.unshare(0x20000)
libc.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None)
if libc.mount(b"devpts", here, b"devpts", 0, b"newinstance,ptmxmode=0666"):
    sys.exit(os.strerror(ctypes.get_errno()))
number = -1
while number < int(sys.argv[2]):
    master = os.open(here + b"/ptmx", os.O_RDWR | os.O_NOCTTY)
    number = struct.unpack("I", fcntl.ioctl(master, 0x80045430, bytes(4)))[0]
fcntl.ioctl(master, 0x40045431, bytes(4))
os.open(here + b"/%d" % number, os.O_RDWR)
print(number, flush=True)
time.sleep(600)
"""
"""A process as in a container, on the terminal of this number there."""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount terminals")
def test_hang_up_spares_a_terminal_of_the_same_number_in_a_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours, theirs = os.openpty()
        child = Child.spawn(["/bin/cat"], stdin=theirs, stdout=theirs, controlling_tty=True)
        said = Said()
        number = os.path.basename(os.ttyname(theirs))
        other = Child.spawn(
            [sys.executable, "-c", ELSEWHERE, str(tmp_path), number], stdout=LINES, stderr=LINES, on_line=said
        )
        try:
            assert await said.first() == number
            os.write(ours, b"x\n")
            assert os.read(ours, 1) == b"x"
            assert standing(other.pid)[2] == os.fstat(theirs).st_rdev
            hang_up(ours, 0)
            assert (await child.wait()).signal == signal.SIGHUP
            os.kill(other.pid, signal.SIGTERM)
            assert (await other.wait()).signal == signal.SIGTERM
        finally:
            await other.stop(())
            await child.stop(())
            os.close(ours)
            os.close(theirs)

    run(scenario())


def test_a_cancelled_wait_does_not_lose_the_end() -> None:
    async def scenario() -> None:
        child = Child.spawn(["sh", "-c", "read line; exit 4"], stdin=(pipe := os.pipe())[0])
        waiting = asyncio.ensure_future(child.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        os.close(pipe[1])
        os.close(pipe[0])
        assert await child.wait() == ExitStatus(4)

    run(scenario())


def test_a_program_on_a_terminal_is_hung_up_with_it() -> None:
    async def scenario() -> None:
        master, slave = os.openpty()
        said = Said()
        child = Child.spawn(
            ["sh", "-c", "tty >&2; cat"], stdin=slave, stdout=slave, stderr=LINES, on_line=said, controlling_tty=True
        )
        assert await said.first() == os.ttyname(slave)
        group, session, terminal = standing(child.pid)
        assert group == session == child.pid
        assert terminal == os.fstat(slave).st_rdev
        os.close(slave)
        os.close(master)
        status = await child.wait()
        assert status.signal == signal.SIGHUP or not status.ok

    run(scenario())


def test_descriptors_and_environment_are_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
        said = Said()
        read, write = os.pipe()
        command = f'echo "${{NOTIFY_SOCKET-none}}"; ls -x /proc/self/fd; echo passed > /proc/self/fd/{write}'
        child = Child.spawn(["sh", "-c", command], stdout=LINES, on_line=said, pass_fds=[write])
        assert (await child.wait()).ok
        assert os.read(read, 100) == b"passed\n"
        # 3 is what `ls` opened to list
        assert said.lines[0] == "none"
        assert set(said.lines[1].split()) == {"0", "1", "2", "3", str(write)}
        os.close(read)
        os.close(write)
        await Child.spawn(
            ["sh", "-c", "echo $A; env"], env={"A": "b", "PATH": "/usr/bin:/bin"}, stdout=LINES, on_line=said
        ).wait()
        assert said.lines[2] == "b"
        assert not [line for line in said.lines[3:] if not line.startswith(("A=", "PATH=", "PWD=", "SHLVL=", "_="))]

    run(scenario())


def test_as_another_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")

    async def scenario() -> None:
        said = Said()
        await Child.spawn(
            ["sh", "-c", "id -u; id -G; echo $HOME $USER"], stdout=LINES, on_line=said, user="nobody"
        ).wait()
        entry = pwd.getpwnam("nobody")
        groups = sorted(os.getgrouplist("nobody", entry.pw_gid))
        assert said.lines[0] == str(entry.pw_uid)
        assert sorted(map(int, said.lines[1].split())) == groups
        assert said.lines[2] == f"{entry.pw_dir} nobody"

    run(scenario())


def test_what_cannot_start_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("no program\n")
    script.chmod(0o755)

    async def scenario() -> None:
        before = len(os.listdir("/proc/self/fd"))
        for argv, user in ((["/nonexistent/menu"], None), ([str(script)], None), (["true"], "no-such-user")):
            with pytest.raises(SpawnError) as caught:
                Child.spawn(argv, user=user, stdout=LINES, on_line=lambda line: None)
            assert (user or argv[0]) in str(caught.value)
        assert len(os.listdir("/proc/self/fd")) == before
        for _ in range(10):
            await Child.spawn(["true"], stdout=LINES, on_line=lambda line: None).wait()
        assert len(os.listdir("/proc/self/fd")) == before

    run(scenario())
