"""Child processes on the loop: spawn, lines of output, exit status, ending a whole group.

Each child leads a session and so a process group of its own, whose number is the child's.  Its end is told by a
pidfd: no thread, no signal handler, and no pipe held open by a grandchild keeps us waiting.  `stop` climbs a ladder of
signals and kills what is left of the group; `hang_up` reaches the groups that a shell on a terminal has made for its
jobs.  Whoever spawns a child waits for it or stops it.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

DEVNULL = subprocess.DEVNULL

# As stdout or stderr: read line by line into `on_line`.
LINES = subprocess.PIPE

# Longer lines are cut: the text goes to logs and parsers of ours, which know no such lines.
LINE_LIMIT = 1024

# A pipe's capacity: what a dead child can have left for us.
PIPE_BYTES = 64 * 1024

# pppd and shells end on SIGHUP and tell the far end; two more seconds for those that need SIGTERM.
GENTLE: tuple[tuple[Signals, float], ...] = ((signal.SIGHUP, 2.0), (signal.SIGTERM, 3.0))


# asm-generic/ioctls.h; Python has no name for it.
_TIOCGSID = 0x5429

# What the service manager says to the daemon is not for its children: they could speak in its name.
PRIVATE_VARIABLES = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
    | {"CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM"}
)


class SpawnError(Exception):
    """The program cannot be started: which, why and the mend."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a child ended: by exit (`signal` 0) or by a signal (`code` is then 128 + it, as a shell says)."""

    code: int
    signal: int = 0

    @property
    def ok(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        if not self.signal:
            return f"exit status {self.code}"
        try:
            return f"killed by {Signals(self.signal).name}"
        except ValueError:
            return f"killed by signal {self.signal}"


class LineReader:
    """Gives the lines of a pipe to a callback: printable text, at most LINE_LIMIT characters; closes the pipe."""

    def __init__(self, fd: int, on_line: Callable[[str], None]) -> None:
        self._fd = fd
        self._on_line = on_line
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._readable)

    def finish(self) -> None:
        """Take what is still in the pipe, then close it, even if a grandchild holds the other end."""
        left = PIPE_BYTES
        while self._fd >= 0 and left > 0:
            taken = self._readable()
            if not taken:
                break
            left -= taken
        self._end()

    def _readable(self) -> int:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the other end of a pty went
            data = b""
        if not data:
            self._end()
            return 0
        *lines, rest = (self._text + self._decoder.decode(data)).split("\n")
        # What goes beyond the limit is dropped here, so an endless line costs no memory.
        self._text = rest[: LINE_LIMIT + 1]
        for line in lines:
            self._give(line)
        return len(data)

    def _give(self, line: str) -> None:
        self._on_line("".join(c if c.isprintable() else " " for c in line[:LINE_LIMIT]).rstrip())

    def _end(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._text:
            self._give(self._text)


class Child:
    """A running or ended child; made by `spawn`."""

    def __init__(self, process: subprocess.Popen[bytes], reader: LineReader | None) -> None:
        self.pid = process.pid
        self.status: ExitStatus | None = None
        self._process = process
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[ExitStatus] = self._loop.create_future()
        self._sweep = False
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        stdin: int = DEVNULL,
        stdout: int = DEVNULL,
        stderr: int = DEVNULL,
        on_line: Callable[[str], None] | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        cwd: str | None = None,
        pass_fds: Iterable[int] = (),
        controlling_tty: bool = False,
    ) -> Child:
        """Start `argv`; raises SpawnError.

        `env` is the whole environment (None: ours, without what systemd tells the daemon alone); with `user`, who may
        be ourselves, its HOME, USER, LOGNAME and SHELL are that user's.  `stdout` or `stderr` as LINES go to `on_line`.
        With `controlling_tty` the terminal on stdin becomes the session's own, so that its hang-up reaches the program
        as SIGHUP.  Our copies of the descriptors stay ours.
        """
        program = shutil.which(argv[0], path=(env or os.environ).get("PATH"))
        if program is None:
            raise SpawnError(f"{argv[0]}: no such program, or not executable; install it or mend its path")
        environment = inherited_environment() if env is None else dict(env)
        command = [program, *argv[1:]]
        if controlling_tty:
            # util-linux; Python's preexec_fn is not safe beside threads.
            command = ["setsid", "--ctty", *command]
        account = _Account.of(user) if user else None
        if account is not None:
            environment |= account.environment
        wants_lines = on_line is not None and LINES in (stdout, stderr)
        ours, theirs = os.pipe() if wants_lines else (-1, -1)
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=theirs if stdout == LINES else stdout,
                stderr=theirs if stderr == LINES else stderr,
                env=environment,
                cwd=cwd,
                pass_fds=tuple(pass_fds),
                user=account.uid if account and account.differs else None,
                group=account.gid if account and account.differs else None,
                extra_groups=account.groups if account and account.differs else None,
                # setsid(1) makes the session itself, and would have to fork if the child led a group already.
                start_new_session=not controlling_tty,
            )
        except (OSError, subprocess.SubprocessError) as error:
            if wants_lines:
                os.close(ours)
            raise SpawnError(f"{argv[0]}: {error}") from error
        finally:
            if wants_lines:
                os.close(theirs)
        return cls(process, LineReader(ours, on_line) if on_line is not None and wants_lines else None)

    async def wait(self) -> ExitStatus:
        """Until the child has ended; its last lines have been given by then.  Any number may wait."""
        return await asyncio.shield(self._ended)

    def signal(self, number: Signals) -> None:
        """To the whole group; does nothing after the end."""
        if self.status is not None:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # setsid(1) has not made the group yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        except PermissionError:
            # The group is another user's by now (login does so); what may be told is told.
            pass

    async def stop(self, ladder: Iterable[tuple[Signals, float]] = GENTLE) -> ExitStatus:
        """Signal the group by `ladder` (signal, seconds to wait), at last SIGKILL; nobody of the group survives."""
        self._sweep = True
        for number, seconds in ladder:
            self.signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self.wait()
        self.signal(signal.SIGKILL)
        return await self.wait()

    def _on_exit(self) -> None:
        if self._sweep:
            # Before the child is reaped its number cannot be anyone else's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()  # returns at once: the pidfd says that it ended
        self.status = ExitStatus(code) if code >= 0 else ExitStatus(128 - code, -code)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._reader is not None:
            self._reader.finish()
        self._ended.set_result(self.status)


def hang_up(master: int, spared: int) -> None:
    """SIGHUP to all on a pseudo-terminal, given its master, but for one group, which is told otherwise.

    The kernel tells the leader of the session and the foreground only, and not every shell tells its other jobs.  They
    are known by their session: the terminal's number is another one's too, in each container that has terminals.
    """
    try:
        (session,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGSID, bytes(4)))
    except OSError:  # it is no session's terminal
        return
    with contextlib.ExitStack() as opened:
        found = []
        for process in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
            if _is_on(process, session, spared):
                with contextlib.suppress(OSError):
                    pidfd = os.pidfd_open(process)
                    opened.callback(os.close, pidfd)
                    if _is_on(process, session, spared):
                        found.append(pidfd)
        # Found first: with the first one told, the leader may end, and then it is no one's terminal any more.
        for pidfd in found:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGHUP)


def _is_on(process: int, session: int, spared: int) -> bool:
    """Is it of the session, and has that session's terminal?"""
    try:
        text = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False
    group, its_session, terminal = text.rpartition(b")")[2].split()[2:5]
    return int(its_session) == session and terminal != b"0" and int(group) != spared


def inherited_environment() -> dict[str, str]:
    """Our environment, as a child may have it."""
    return {name: value for name, value in os.environ.items() if name not in PRIVATE_VARIABLES}


@dataclass(frozen=True, slots=True)
class _Account:
    """Who a child runs as; nothing is to be set where we are that user already, who may not set it."""

    differs: bool
    uid: int
    gid: int
    groups: list[int]
    environment: Mapping[str, str]

    @classmethod
    def of(cls, user: str) -> _Account:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise SpawnError(f"user {user!r} does not exist; create it or mend the configuration") from None
        return cls(
            entry.pw_uid != os.geteuid(),
            entry.pw_uid,
            entry.pw_gid,
            os.getgrouplist(user, entry.pw_gid),
            {
                "HOME": entry.pw_dir,
                "USER": user,
                "LOGNAME": user,
                "SHELL": entry.pw_shell if Path(entry.pw_shell).exists() else "/bin/sh",
            },
        )
