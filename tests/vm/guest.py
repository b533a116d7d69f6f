"""A running guest, seen from the host: `Guest.start()` restores the snapshot, `run` and `spawn` use its shell.

The project's tree is at /src, read-only.  Every guest starts from the same clean state; nothing it writes survives it.
"""

from __future__ import annotations

import compileall
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from tests.vm.channel import Channel, connect
from tests.vm.image import TREE, Image, last_words, save, start_qemu
from tests.vm.rootfs import BuildError

ANSWER_S = 60.0
"""A restored guest answers in about a second on an idle host."""

LOOK_S = 0.1
"""Pause between two looks at a condition in the guest, where what is waited for needs the processor too."""

GUEST_PYTHON = (3, 11)

ENVIRONMENT = "export PYTHONPATH=/src PYTHONDONTWRITEBYTECODE=1 HOME=/root LANG=C.UTF-8; "


class GuestError(AssertionError):
    """A command in the guest failed where it must not; the text holds the command and its output."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command gave: its status and its output with its messages, in their order."""

    rc: int
    out: str


class Guest:
    """One virtual machine; ends with `stop` or the `with` block."""

    def __init__(self, run: Path, qemu: subprocess.Popen[bytes], agent: Channel) -> None:
        self._run = run
        self._qemu = qemu
        self._agent = agent
        self._since = time.time()
        self.logs: dict[str, str] = {}

    @classmethod
    def start(cls, image: Image) -> Guest:
        """Restore the snapshot, set the clock and mount the tree; raises BuildError with the console's end."""
        if sys.version_info[:2] == GUEST_PYTHON:  # compiling under emulation takes seconds
            for package in ("dialupd", "tests/vm"):
                compileall.compile_dir(TREE / package, quiet=2)
        run = Path(tempfile.mkdtemp(prefix="dialupd-vm-"))
        qemu = start_qemu(image, run, "-incoming", f"exec:zstd -q -dc '{image.snapshot}'")
        try:
            agent = Channel(connect(run / "agent", qemu, 10))
            guest = cls(run, qemu, agent)
            mount = "mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose tree /src"
            guest.run(f"date -s @{time.time():.3f} && {mount}", timeout=ANSWER_S)
            return guest
        except (OSError, TimeoutError, EOFError, GuestError) as error:
            words = last_words(run)
            qemu.kill()
            qemu.wait()
            shutil.rmtree(run)
            raise BuildError(f"the guest's snapshot does not come back: {error}\n{words}") from error

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._agent.close()
        self._qemu.kill()
        self._qemu.wait()
        shutil.rmtree(self._run)

    def save(self, snapshot: Path) -> None:
        """Write this guest to a file as a snapshot, and end it."""
        self.run("sync; umount /src; umount /packages || true")
        self._agent.close()
        save(self._run, self._qemu, snapshot)

    def run(self, cmd: str, timeout: float = 60, check: bool = True) -> Result:
        """Run a shell command as root to its end; status 124 when the time is over."""
        answer = self._agent.ask({"cmd": ENVIRONMENT + cmd, "timeout": timeout}, timeout + 30)
        result = Result(answer["rc"], answer["out"])
        if check and result.rc:
            raise GuestError(f"in the guest: {cmd}\ngave {result.rc}:\n{result.out}")
        return result

    def spawn(self, name: str, cmd: str) -> int:
        """Start a shell command in the background, its output in /var/log/lab-<name>.log; gives its pid (and group)."""
        log = f"/var/log/lab-{name}.log"
        self.logs[name] = log
        answer = self._agent.ask({"spawn": f"{ENVIRONMENT}exec {cmd}", "log": log}, 30)
        return int(answer["pid"])

    def wait(self, pid: int, timeout: float) -> int:
        """The exit status of a spawned command (negative: the signal); raises GuestError when it still runs."""
        answer = self._agent.ask({"wait": pid, "timeout": timeout}, timeout + 30)
        if answer["out"]:
            raise GuestError(f"process {pid} in the guest: {answer['out']} after {timeout} s")
        return int(answer["rc"])

    def python(self, code: str, timeout: float = 60) -> str:
        """Run a piece of Python, indented as it stands in the test; gives what it printed."""
        return self.run(f"python3 - <<'PYTHON'\n{textwrap.dedent(code)}\nPYTHON", timeout).out

    def read(self, path: str) -> str:
        return self.run(f"cat {shlex.quote(path)}").out

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        quoted = shlex.quote(path)
        self.run(f"mkdir -p $(dirname {quoted}); printf %s {shlex.quote(text)} > {quoted}; chmod {mode:o} {quoted}")

    def until(self, condition: str, timeout: float = 60) -> Result:
        """Wait in the guest until a shell condition holds; raises GuestError with what it last said."""
        loop = f'while ! result=$( {condition} ); do sleep {LOOK_S}; done 2>&1; printf %s "$result"'
        result = self.run(loop, timeout, check=False)
        if result.rc:
            raise GuestError(f"in the guest, not within {timeout} s: {condition}\n{result.out[-2000:]}")
        return result

    def report(self) -> str:
        """The logs that explain a failure: those of spawned programs, the kernel's and the journal's ends."""
        parts = []
        commands = {name: f"tail -n 120 {log}" for name, log in self.logs.items()}
        commands["journal"] = (
            f"journalctl --no-pager -q -o short-precise --no-hostname --since @{self._since:.0f} | "
            "grep -v 'vhci_hcd: u' | tail -n 100"
        )
        for name, cmd in commands.items():
            parts.append(f"--- {name}\n{self.run(cmd, check=False).out}")
        return "\n".join(parts)
