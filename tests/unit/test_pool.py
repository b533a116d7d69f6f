"""Addresses and room for callers: one call each, over processes, and the order in which they are given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dialupd.config.values import PppSession, Role
from dialupd.sessions.pool import FullError, Place, by_age

FIRST, SECOND, THIRD = (f"172.16.1.{number}" for number in (9, 10, 11))
RANGE = (FIRST, THIRD)


def place(directory: Path, name: str = "in", **given: object) -> Place:
    config = PppSession(name, Role.SERVER, local="172.16.1.1", **given)  # type: ignore[arg-type]
    return Place(str(directory), config)


def taken(directory: Path, name: str = "in", **given: object) -> Place:
    found = place(directory, name, **given)
    found.take()
    return found


def test_each_call_gets_an_address_of_its_own(tmp_path: Path) -> None:
    calls = [taken(tmp_path, pool=RANGE) for _ in range(3)]
    assert [call.address for call in calls] == [FIRST, SECOND, THIRD]
    with pytest.raises(FullError, match=r"all addresses of 172\.16\.1\.9-172\.16\.1\.11 are taken"):
        taken(tmp_path, pool=RANGE)
    calls[1].release()
    calls[1].release()
    assert taken(tmp_path, pool=RANGE).address == SECOND


def test_ranges_of_two_sessions_overlap(tmp_path: Path) -> None:
    one = taken(tmp_path, "one", pool=RANGE)
    other = taken(tmp_path, "other", pool=(FIRST, SECOND))
    assert (one.address, other.address) == (FIRST, SECOND)
    with pytest.raises(FullError):
        taken(tmp_path, "other", pool=(FIRST, SECOND))
    third = taken(tmp_path, "third", remote=THIRD)
    assert third.address == THIRD
    with pytest.raises(FullError, match=r"172\.16\.1\.11 is another call's"):
        taken(tmp_path, "fourth", remote=THIRD)


def test_the_address_unused_for_longest_is_next(tmp_path: Path) -> None:
    calls = [taken(tmp_path, pool=RANGE) for _ in range(3)]
    for age, call in zip((30, 10, 20), calls, strict=True):
        address = call.address
        call.release()
        os.utime(tmp_path / "addresses" / address, (1e9 - age, 1e9 - age))
    assert by_age([FIRST, SECOND, THIRD], str(tmp_path / "addresses")) == [FIRST, THIRD, SECOND]
    again = taken(tmp_path, pool=RANGE)
    assert again.address == FIRST
    again.release()
    assert taken(tmp_path, pool=RANGE).address == THIRD


def test_room_for_so_many_callers(tmp_path: Path) -> None:
    calls = [taken(tmp_path, pool=RANGE, max_sessions=2) for _ in range(2)]
    with pytest.raises(FullError, match="the session in has its 2 callers"):
        taken(tmp_path, pool=RANGE, max_sessions=2)
    other = taken(tmp_path, "other", pool=RANGE, max_sessions=1)
    assert other.address == THIRD, "who was turned away keeps no address"
    calls[0].release()
    assert taken(tmp_path, pool=RANGE, max_sessions=2).address == FIRST


def test_no_address_no_room(tmp_path: Path) -> None:
    held = taken(tmp_path, "other", remote=FIRST)
    for _ in range(2):
        with pytest.raises(FullError, match="is another call's"):
            taken(tmp_path, remote=FIRST, max_sessions=1)
    held.release()
    assert taken(tmp_path, remote=FIRST, max_sessions=1).address == FIRST


def test_an_address_of_the_callers_own(tmp_path: Path) -> None:
    alice, bob = taken(tmp_path, pool=RANGE), taken(tmp_path, pool=RANGE)
    assert bob.settle(bob.address)
    assert not alice.settle(SECOND), "bob has it"
    assert alice.address == FIRST
    assert alice.settle("10.0.0.7")
    again = taken(tmp_path, remote=FIRST)
    assert again.address == FIRST, "what alice does not need is free"
    assert not bob.settle("10.0.0.7"), "the same user called twice"
    alice.release()
    assert bob.settle("10.0.0.7")


def test_an_end_of_any_kind_frees_it(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.unit.test_pool import taken, RANGE
held = taken(Path({str(tmp_path)!r}), pool=RANGE, max_sessions=1)
print(held.address, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == FIRST
        assert taken(tmp_path, "else", pool=RANGE).address == SECOND
        with pytest.raises(FullError):
            taken(tmp_path, pool=RANGE, max_sessions=1)
        other.kill()
    os.utime(tmp_path / "addresses" / FIRST, (0, 0))
    assert taken(tmp_path, pool=RANGE, max_sessions=1).address == FIRST


def test_a_client_needs_none(tmp_path: Path) -> None:
    found = Place(str(tmp_path / "nothing"), PppSession("out", remote=FIRST))
    found.take()
    assert found.address == ""
    assert found.settle(FIRST)
    assert not (tmp_path / "nothing").exists()


def test_files_are_for_us_alone(tmp_path: Path) -> None:
    taken(tmp_path, pool=RANGE, max_sessions=1)
    found = sorted(tmp_path.rglob("*"))
    assert {path.stat().st_mode & 0o077 for path in found} == {0}
    (tmp_path / "addresses" / SECOND).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        taken(tmp_path, remote=SECOND)
    assert not (tmp_path / "elsewhere").exists()
