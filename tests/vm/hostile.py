"""A daemon that has been taken over: runs in the guest as its user and feeds session helpers what no daemon would say.

`python3 -m tests.vm.hostile SECONDS` listens at the daemon's socket, has the service manager start a unit for each of
`CASES`, sends it the case's packets and descriptors, waits until each session has begun or been refused, and so long
after that, and prints as JSON for each case what the helper said, what came out of the line, and which processes the
unit had then.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

SOCKET = "/run/dialupd/sessions.sock"
FIRST_CALL = 101
"""Call numbers of the cases, in their order."""
PATIENCE_S = 150.0
"""Longest wait for the sessions: some twenty programs start at once, under emulation."""
LOOK_S = 0.2
"""Pause between two looks at what has become of the cases."""
OWN = 4242
"""Stands in a packet for the number of the case's own call."""
CGROUPS = "/sys/fs/cgroup/system.slice"

FACTS: Mapping[str, Any] = {"call": OWN, "modem": "m", "device": "/dev/ttyACM0", "direction": "incoming"}


def packet(session: str, **facts: Any) -> bytes:
    """A `begin` that is well-formed but for what the case wants."""
    begin = {
        "is": "begin",
        "facts": {**FACTS, "session": session, **facts},
        "shows-carrier": True,
        "early": base64.b64encode(b"").decode(),
    }
    return json.dumps(begin).encode()


def terminal() -> tuple[int, int]:
    """The line: our end and the session's."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return ours, theirs


def tally(size: int = 16) -> int:
    fd = os.memfd_create("tally")
    os.truncate(fd, size)
    return fd


def opened(path: str, flags: int) -> Callable[[], int]:
    return lambda: os.open(path, flags)


def pipe() -> int:
    return os.pipe()[0]


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent to which unit; `line` and `counts` make descriptors in place of a terminal's and a memory's.

    They come with the first packet, or with `every` one.  `mark` comes out of the line once the session has begun.
    """

    kind: str
    packets: tuple[bytes, ...]
    line: Callable[[], int] | None = None
    counts: Callable[[], int] = tally
    descriptors: int = 2
    every: bool = False
    mark: bytes = b""


REFUSED: Mapping[str, Case] = {
    "a session that is not there": Case("exec", (packet("nothing"),)),
    "no session": Case("exec", (packet(""),)),
    "another call": Case("exec", (packet("menu", call=1),)),
    "a path": Case("exec", (packet("../../../tmp/evil"),)),
    "a path to a session": Case("exec", (packet("x/../menu"),)),
    "pppd's unit for a program": Case("ppp", (packet("menu"),)),
    "pppd's unit for a login": Case("ppp", (packet("console"),)),
    "a program's unit for pppd": Case("exec", (packet("dialin"),)),
    "the login's unit for a program": Case("login", (packet("menu"),)),
    "a regular file as the line": Case("exec", (packet("menu"),), line=opened("/etc/passwd", os.O_RDONLY)),
    "a device that is no terminal as the line": Case("exec", (packet("menu"),), line=opened("/dev/null", os.O_RDWR)),
    "a pipe as the line": Case("exec", (packet("menu"),), line=pipe),
    "a file for pppd as the line": Case("ppp", (packet("dialin"),), line=opened("/etc/passwd", os.O_RDONLY)),
    "a directory as the line": Case("login", (packet("console"),), line=opened("/", os.O_RDONLY)),
    "no line": Case("exec", (packet("menu"),), descriptors=0),
    "a line and nothing to count in": Case("exec", (packet("menu"),), descriptors=1),
    "nowhere to count": Case("ppp", (packet("dialin"),), counts=lambda: tally(0)),
    "a tally that cannot be written": Case("ppp", (packet("dialin"),), counts=opened("/etc/passwd", os.O_RDONLY)),
}
"""Attempts that the helper refuses in words."""

NO_MESSAGES: Mapping[str, bytes] = {
    "a line break in the number": packet("dialin", number="1\nplugin /tmp/evil.so"),
    "a line break in the caller's number": packet("console", caller_id="1\nroot"),
    "a null character": packet("menu", modem="x\0LD_PRELOAD=/tmp/evil.so"),
    "an escape sequence": packet("menu", caller_name="\x1b]0;evil\x07"),
    "an option of its own": packet("dialin", options=["plugin", "/tmp/evil.so"]),
    "a user": packet("menu", user="root"),
    "a command": packet("menu", command=["/usr/local/bin/canary"]),
    "a list for a text": packet("dialin", number=["1", "plugin"]),
    "a call that is no number": packet("menu", call="../7"),
    "a huge text": packet("menu", number="1" * 20000),
    "a huge packet": b'{"is": "begin"' + b" " * 100000 + b"}",
    "nested without end": b"[" * 30000,
    "no JSON": b"\xff\xfe\0\1" * 100,
    "nothing": b"null",
    "another kind": b'{"is": "exec"}',
    "a reason that is none": b'{"is": "stop", "reason": "root"}',
}
"""Packets of which a helper takes nothing, and goes on waiting for the line; each comes with descriptors."""

SILENT: Mapping[str, Case] = {
    kind: Case(kind, tuple(NO_MESSAGES.values()), every=True) for kind in ("ppp", "login", "exec")
}
"""All of these, one after the other, to one helper of each kind."""

FRAMED: Mapping[str, Case] = {
    "facts that look like options": Case(
        "ppp",
        (
            packet(
                "dialin",
                number="plugin /tmp/evil.so",
                caller_id="connect /usr/local/bin/canary",
                caller_name="pty '/usr/local/bin/canary'",
                modem="-x",
                device="/etc/shadow",
                policy="file /tmp/evil",
            ),
        ),
        mark=b"~",
    ),
    "facts that look like a login": Case(
        "login",
        (
            packet(
                "console", caller_id="-froot", caller_name="$(/usr/local/bin/canary)", modem="`canary`", device="-froot"
            ),
        ),
        mark=b"login:",
    ),
    "facts that look like the environment": Case(
        "exec",
        (
            packet(
                "menu", modem="LD_PRELOAD=/tmp/evil.so", caller_id="PATH=/tmp", number="; canary", policy="$(canary)"
            ),
        ),
        mark=b"export PATH",
    ),
}
"""Attempts that begin the session as root configured it: the facts are told and do nothing."""

CASES = {**REFUSED, **SILENT, **FRAMED}


@dataclass(slots=True)
class Played:
    """What came of a case; `line` is our end of the terminal, `processes` the commands of the unit's processes."""

    unit: str
    case: Case
    helper: socket.socket
    line: int
    said: list[Any] = field(default_factory=list)
    seen: bytes = b""
    decided_at: float = 0.0
    processes: list[str] | None = None

    def read(self, ready: int | socket.socket) -> bool:
        """Take what is ready; False at its end."""
        if ready == self.line:
            try:
                data = os.read(self.line, 65536)
            except OSError:
                return False
            self.seen += data
            return bool(data)
        packet = self.helper.recv(65536)
        if packet:
            self.said.append(json.loads(packet))
        return bool(packet)

    def look(self, settle_s: float) -> None:
        """Note which processes there are, once the session has begun or been refused and so much time has passed."""
        now = time.monotonic()
        if not self.decided_at and (self.case.mark in self.seen if self.case.mark else self.said or self.case.every):
            self.decided_at = now
        if self.processes is None and self.decided_at and now >= self.decided_at + settle_s:
            self.processes = self._processes()

    def _processes(self) -> list[str]:
        kind = self.unit.partition("@")[0].replace("-", "\\x2d")
        try:
            with open(f"{CGROUPS}/system-{kind}.slice/{self.unit}/cgroup.procs") as file:
                pids = file.read().split()
        except OSError:
            return []
        names = []
        for pid in pids:
            with open(f"/proc/{pid}/comm") as file:
                names.append(file.read().strip())
        return sorted(names)


def play_all(settle_s: float) -> dict[str, Played]:
    """Act all cases out, side by side; by name."""
    with suppress(FileNotFoundError):
        os.unlink(SOCKET)
    gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gate.bind(SOCKET)
    os.chmod(SOCKET, 0o660)
    gate.listen(len(CASES))
    by_call = dict(enumerate(CASES, FIRST_CALL))
    units = [f"dialupd-{CASES[name].kind}@{call}.service" for call, name in by_call.items()]
    subprocess.run(["systemctl", "--no-ask-password", "start", *units], check=True)
    played: dict[str, Played] = {}
    while len(played) < len(CASES):
        helper, _ = gate.accept()
        hello = json.loads(helper.recv(65536))
        name = by_call[hello["call"]]
        case = CASES[name]
        ours, theirs = terminal()
        played[name] = Played(f"dialupd-{case.kind}@{hello['call']}.service", case, helper, ours)
        descriptors = [case.line() if case.line else theirs, case.counts()][: case.descriptors]
        for packet in case.packets:
            own = packet.replace(str(OWN).encode(), str(hello["call"]).encode())
            with suppress(OSError):  # longer than a packet may be
                socket.send_fds(helper, [own], descriptors)
            descriptors = descriptors if case.every else []
    watch(list(played.values()), settle_s)
    return played


def watch(played: list[Played], settle_s: float) -> None:
    """Take what the helpers say and what comes over the lines, until the end of each case has been seen.

    Those that are to say nothing are looked at last, when all the others have had the time for what they do.
    """
    sources: dict[int | socket.socket, Played] = {}
    for one in played:
        sources |= {one.helper: one, one.line: one}
    until = time.monotonic() + PATIENCE_S
    for group in ([one for one in played if not one.case.every], [one for one in played if one.case.every]):
        while any(one.processes is None for one in group) and time.monotonic() < until:
            for ready in select.select(list(sources), [], [], LOOK_S)[0]:
                if not sources[ready].read(ready):
                    del sources[ready]
            for one in group:
                one.look(settle_s)


def main() -> int:
    played = play_all(float(sys.argv[1]))
    told = {
        name: {"said": one.said, "line": one.seen.decode("latin-1"), "processes": one.processes}
        for name, one in played.items()
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
