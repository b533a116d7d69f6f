"""The host's ends of the guest's sockets: the agent's JSON lines and QEMU's machine protocol.

Blocking sockets with a deadline on every read: a guest that dies or hangs ends a wait with EOFError or TimeoutError,
never with silence.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any


def connect(path: Path, process: subprocess.Popen[bytes], timeout: float) -> socket.socket:
    """Connect to a socket that `process` is about to make; EOFError when the process ends first."""
    deadline = time.monotonic() + timeout
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
            return client
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
        if process.poll() is not None:
            raise EOFError(f"QEMU ended at once with status {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"QEMU made no socket {path} within {timeout:.0f} s")
        time.sleep(0.02)


class Lines:
    """JSON objects, one a line, over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending = b""

    def close(self) -> None:
        self._sock.close()

    def write(self, message: dict[str, Any]) -> None:
        self._sock.settimeout(30)
        self._sock.sendall(json.dumps(message).encode() + b"\n")

    def read(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the guest does not answer")
            self._sock.settimeout(left)
            chunk = self._sock.recv(65536)
            if not chunk:
                raise EOFError("QEMU closed the connection")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


class Channel(Lines):
    """Requests to the agent; an answer that comes after its deadline is dropped, not taken for the next one's."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._last = 0

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        self._last += 1
        deadline = time.monotonic() + timeout
        self.write({"id": self._last, **request})
        while True:
            answer = self.read(deadline)
            if answer.get("id") in (self._last, None):
                return answer


class Qmp(Lines):
    """QEMU's control: only what a snapshot needs."""

    SAVE_S = 120.0

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.read(time.monotonic() + 10)
        self.execute("qmp_capabilities")

    def execute(self, name: str, **arguments: Any) -> None:
        self.write({"execute": name, "arguments": arguments})
        while True:
            message = self.read(time.monotonic() + 30)
            if "error" in message:
                raise OSError(f"QEMU refuses {name}: {message['error'].get('desc')}")
            if "return" in message:
                return

    def save(self, uri: str) -> None:
        """Write the running machine to `uri`.  It is not stopped before, or it would come back stopped."""
        self.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        self.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.execute("migrate", uri=uri)
        deadline = time.monotonic() + self.SAVE_S
        while True:
            message = self.read(deadline)
            if message.get("event") == "MIGRATION":
                status = message["data"]["status"]
                if status == "completed":
                    return
                if status == "failed":
                    raise OSError("QEMU cannot save the guest: the migration failed")
