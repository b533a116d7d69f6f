"""dialup-exchange as a program: readiness, the table, the control socket, its messages and its end."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "dialupd.exchange"]
PATIENCE = 30


def refused(*arguments: str) -> str:
    """What it says on stderr when it does not start."""
    done = subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give at least one modem"),
        (["--modem", "100:bussy"], "there is no fault 'bussy'"),
        (["--modem", "100:kind=x"], "there is no kind 'x'"),
        (["--modem", "100:busy=1"], "takes no number"),
        (["--modem", "abc"], "'abc' is no number"),
        (["--modem", "100", "--modem", "100"], "given twice"),
        (["--modem", "100", "--number", "1=x"], "should be NUMBER=busy|"),
        (["--modem", "100", "--service", "1"], "should be NUMBER=PROGRAM"),
        (["--modem", "100", "--service", "1='x"], "No closing quotation"),
        (["--modem", "100", "--delay", "soon"], "is no time"),
        (["--modem", "100", "--ring-interval", "0"], "too short"),
        (["--modem", "100", "--line-rate", "7"], "is no line rate"),
        (["--modem", "100:tty=/no/such"], "/no/such"),
        (["--modem", "100:tty=/dev/null"], "/dev/null is no tty"),
        (["--modem", "100", "--ready-fd", "77"], "77"),
        (["--modem", "100", "--directory", "/dev/null/x"], "/dev/null/x"),
    ],
)
def test_refusals_say_what_is_wrong(arguments: list[str], sentence: str) -> None:
    assert sentence in refused(*arguments)


def test_help_lists_kinds_and_faults() -> None:
    text = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    for word in ("conexant", "nokia", "drops-carrier[=5]", "one-byte-at-a-time", "examples:"):
        assert word in text


class Running:
    """The program, ready."""

    def __init__(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> None:
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments, "--ready-fd", str(write)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[write],
        )
        os.close(write)
        with os.fdopen(read) as ready:
            assert ready.read() == "READY\n"

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0
        assert "Traceback" not in err
        return out, err


def say(fd: int, text: str, until: str) -> str:
    """Talks to a modem; blocking reads, as a shell script would."""
    os.write(fd, text.encode())
    got = b""
    while until.encode() not in got:
        got += os.read(fd, 4096)
    return got.decode("latin-1")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_call_and_a_clean_end(tmp_path: Path, how: signal.Signals) -> None:
    directory, control = tmp_path / "ttys", tmp_path / "control"
    program = Running(
        "--modem", "100", "--modem", "200:kind=usr,name=BOB", "--number", "300=busy", "--service", "400=echo hello",
        "--directory", str(directory), "--control", str(control), "--connect-time", "10ms", "--dial-time", "10ms",
        "--answer-delay", "10ms", "--ring-interval", "50ms", "--verbose",
    )  # fmt: skip
    one, other = (os.open(directory / number, os.O_RDWR | os.O_NOCTTY) for number in ("100", "200"))
    assert "OK" in say(one, "ATE0\r", "OK\r\n")
    assert "BUSY" in say(one, "ATD300\r", "BUSY\r\n")
    assert "hello\n" in say(one, "ATD400\r", "NO CARRIER\r\n")
    say(other, "ATS0=1\r", "OK\r\n")
    say(one, "ATD200\r", "CONNECT")
    with socket.socket(socket.AF_UNIX) as operator:
        operator.settimeout(PATIENCE)
        operator.connect(str(control))
        assert control.stat().st_mode & 0o777 == 0o600
        talk = operator.makefile("rw")

        def ask(line: str) -> str:
            talk.write(line + "\n")
            talk.flush()
            answer = []
            while (text := talk.readline()) != ".\n":
                assert text
                answer.append(text)
            return "".join(answer)

        table = ask("list")
        assert f"{directory}/200" in table
        assert "connected" in table
        assert ask("hangup 100") == "ok\n"
        say(one, "", "NO CARRIER\r\n")
        assert ask("hangup 100").startswith("error: 100 has no call")
        assert ask("fault 100 busy,slow=0.01") == "ok\n"
        assert "busy,slow" in ask("list")
        assert ask("fault 100 nonsense").startswith("error: there is no fault 'nonsense'")
        assert ask("fault 100") == "ok\n"
        assert ask("ring 100 5551212 2") == "ok\n"
        say(one, "", "RING\r\n")
        for wrong in ("ring 100 5 x", "ring 100 5 -1", "dance 100", "list 100", "dance", "fault 999 busy"):
            assert ask(wrong).startswith("error: "), wrong
        assert "hangup NUMBER" in ask("help")
        assert ask("unplug 100") == "ok\n"
        assert not (directory / "100").exists()
        assert ask("plug 100") == f"{directory}/100\n"
    out, err = program.end(how)
    os.close(one)
    os.close(other)
    assert out.startswith("number")
    assert "READY\n" in out
    assert "100 dials 200" in err
    assert "200: AT" in err
    assert list(directory.iterdir()) == []
    assert not control.exists()


def test_commands_on_the_terminal() -> None:
    master, slave = pty.openpty()
    program = Running("--modem", "100", stdin=slave)
    os.write(master, b"list\nfault 100 slow\nlist\n")
    assert program.process.stdout is not None
    seen = ""
    while "slow" not in seen:
        seen += program.process.stdout.readline()
    out, _ = program.end()
    os.close(master)
    os.close(slave)
    assert "Traceback" not in out
