"""UUCP locks between real processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dialupd.io.lock import LockHeldError, UucpLock, lock_name

DEVICE = "/dev/ttyACM7"
TAKER = """
import sys
from dialupd.io.lock import UucpLock, LockHeldError
sys.stdin.readline()
try:
    UucpLock.take(sys.argv[1], sys.argv[2])
    print("taken", flush=True)
except LockHeldError:
    print("held", flush=True)
sys.stdin.readline()
"""


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_the_file_is_what_other_programs_read(tmp_path: Path) -> None:
    lock = UucpLock.take(DEVICE, str(tmp_path))
    path = tmp_path / "LCK..ttyACM7"
    assert path.read_text() == f"{os.getpid():10d}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_symlink_locks_its_device(tmp_path: Path) -> None:
    link = tmp_path / "modem"
    link.symlink_to("/dev/null")
    assert lock_name(str(link)) == "LCK..null"
    assert lock_name("/dev/pts/3") == "LCK..pts_3"


def test_a_living_holder_is_named(tmp_path: Path) -> None:
    (tmp_path / "LCK..ttyACM7").write_text(f"{os.getppid():10d}\n")
    with pytest.raises(LockHeldError) as caught:
        UucpLock.take(DEVICE, str(tmp_path))
    assert caught.value.pid == os.getppid()
    assert caught.value.command == Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    assert [entry.name for entry in tmp_path.iterdir()] == ["LCK..ttyACM7"]


@pytest.mark.parametrize("form", ["hdb", "binary", "garbage", "own", "huge", "old-empty"])
def test_a_dead_lock_is_taken_over(tmp_path: Path, form: str) -> None:
    pid = dead_pid()
    content = {
        "hdb": f"{pid:10d}\n".encode(),
        "binary": pid.to_bytes(4, "little"),
        "garbage": b"\xff\xfe" * 40,
        "own": f"{os.getpid():10d}\n".encode(),
        "huge": b"9999999999\n",
        "old-empty": b"",
    }[form]
    path = tmp_path / "LCK..ttyACM7"
    path.write_bytes(content)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    UucpLock.take(DEVICE, str(tmp_path))
    assert path.read_text() == f"{os.getpid():10d}\n"


def test_a_lock_just_being_written_is_honoured(tmp_path: Path) -> None:
    (tmp_path / "LCK..ttyACM7").touch()
    with pytest.raises(LockHeldError):
        UucpLock.take(DEVICE, str(tmp_path))


def test_release_leaves_another_owners_lock(tmp_path: Path) -> None:
    lock = UucpLock.take(DEVICE, str(tmp_path))
    path = tmp_path / "LCK..ttyACM7"
    other = tmp_path / "other"
    other.write_text(f"{os.getppid():10d}\n")
    other.rename(path)
    lock.release()
    assert path.read_text() == f"{os.getppid():10d}\n"


def test_no_directory_means_no_lock_and_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lock = UucpLock.take(DEVICE, str(tmp_path / "absent"))
    assert lock.path is None
    assert len(caplog.records) == 1
    lock.release()


@pytest.mark.parametrize("stale", [False, True])
def test_one_of_many_wins(tmp_path: Path, stale: bool) -> None:
    for _ in range(3):
        path = tmp_path / "LCK..ttyACM7"
        path.unlink(missing_ok=True)
        if stale:
            path.write_text(f"{dead_pid():10d}\n")
            os.utime(path, (1_000_000_000, 1_000_000_000))
        takers = [
            subprocess.Popen(
                [sys.executable, "-c", TAKER, DEVICE, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        try:
            for taker in takers:
                assert taker.stdin is not None
                taker.stdin.write("go\n")
                taker.stdin.flush()
            said = [taker.stdout.readline().strip() for taker in takers if taker.stdout is not None]
            assert sorted(said) == ["held"] * 3 + ["taken"]
            winner = takers[said.index("taken")]
            assert path.read_text() == f"{winner.pid:10d}\n"
            assert len(list(tmp_path.iterdir())) == 1
        finally:
            for taker in takers:
                taker.communicate("end\n", timeout=30)
