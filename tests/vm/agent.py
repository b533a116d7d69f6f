"""The guest's end of the lab's control channel: one JSON object a line over a virtio-serial port.

A request {"id", "cmd", "timeout"} runs a shell command and is answered {"id", "rc", "out"} when the command itself
ends; {"id", "spawn", "log"} starts one, is answered {"id", "pid"} at once and reports {"exit": pid, "rc"} when asked by
{"id", "wait": pid, "timeout"}.  Runs on the guest's own python and imports nothing of the project.

Rules: commands write into files, never into a pipe of the agent, so that a daemon left behind by a command cannot hold
the answer back; every command is a session of its own and is killed as a group when its time is over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

OUTPUT_LIMIT = 1_000_000
"""Bytes of output in one answer; what is longer loses its beginning."""

IDLE_S = 0.02
"""Pause between reads while no host is connected: a virtio port then reads as ended, and nothing can wait for it."""


class Agent:
    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._spawned: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        pending = b""
        while True:
            chunk = os.read(self._port, 65536)
            if not chunk:
                pending = b""
                time.sleep(IDLE_S)
                continue
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                threading.Thread(target=self._handle, args=(line,), daemon=True).start()

    def _handle(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            answer = self._answer(request)
        except Exception as error:  # noqa: BLE001 - the outermost edge: the host shows it
            answer = {"rc": -1, "out": f"the guest's agent failed: {error!r} for {line[:200]!r}"}
            request = {}
        data = json.dumps({"id": request.get("id"), **answer}).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._port, data) :]

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "spawn" in request:
            with open(request["log"], "ab") as log:
                process = start(request["spawn"], log.fileno())
            self._spawned[process.pid] = process
            threading.Thread(target=process.wait, daemon=True).start()  # no zombie that would look alive
            return {"rc": 0, "pid": process.pid}
        if "wait" in request:
            return self._wait(self._spawned[request["wait"]], request["timeout"])
        with tempfile.TemporaryFile() as output:
            process = start(request["cmd"], output.fileno())
            try:
                rc = process.wait(request["timeout"])
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                rc = 124
            end = output.seek(0, os.SEEK_END)
            output.seek(max(0, end - OUTPUT_LIMIT))
            return {"rc": rc, "out": output.read().decode(errors="replace")}

    def _wait(self, process: subprocess.Popen[bytes], timeout: float) -> dict[str, Any]:
        try:
            return {"rc": process.wait(timeout), "out": ""}
        except subprocess.TimeoutExpired:
            return {"rc": 124, "out": "still running"}


def start(shell: str, output: int) -> subprocess.Popen[bytes]:
    argv = ["/bin/sh", "-c", shell]
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
    )


if __name__ == "__main__":
    Agent(os.open(sys.argv[1], os.O_RDWR)).serve()
