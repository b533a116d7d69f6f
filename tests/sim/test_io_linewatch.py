"""Lines that others own: their end is noticed, whoever brings it about, and nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import pytest
from bus_control import open_fds

from dialupd.io.linewatch import LineWatch


@pytest.fixture
def line() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


class Looks:
    """How often the watch is woken; made before its first line."""

    def __init__(self, watch: LineWatch, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.first = asyncio.Event()
        self._look = watch._look
        monkeypatch.setattr(watch, "_look", self._noted)

    def _noted(self) -> None:
        self.count += 1
        self.first.set()
        self._look()


@pytest.mark.parametrize(
    "end",
    [
        lambda ours, far: far.close(),
        lambda ours, far: far.shutdown(socket.SHUT_RDWR),
        lambda ours, far: ours.shutdown(socket.SHUT_RDWR),
    ],
)
def test_the_end_is_noticed(
    line: tuple[socket.socket, socket.socket], end: Callable[[socket.socket, socket.socket], None]
) -> None:
    ours, far = line

    async def scenario() -> None:
        watch = LineWatch()
        watch.watch("a", ours.fileno())
        assert "a" in watch
        assert "b" not in watch
        end(ours, far)
        assert "a" not in watch
        # The copy is closed, the line's owner has his own.
        assert watch._lines == {}
        assert ours.fileno() >= 0
        watch.close()

    asyncio.run(scenario())
    ours.close()
    far.close()


def test_data_wakes_nobody_and_the_end_wakes_once(
    line: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, far = line

    async def scenario() -> None:
        watch = LineWatch()
        looks = Looks(watch, monkeypatch)
        watch.watch("a", ours.fileno())
        loop = asyncio.get_running_loop()
        ours.setblocking(False)
        far.send(b"RING\r\n")
        # The loop has seen the data when a reader of its own has.
        assert await loop.sock_recv(ours, 10) == b"RING\r\n"
        assert looks.count == 0
        far.close()
        await looks.first.wait()
        # The owner still holds the ended line, and is not hurried.
        for _ in range(20):
            await asyncio.sleep(0)
        assert looks.count == 1
        watch.close()

    asyncio.run(scenario())
    ours.close()


def test_a_line_is_ended_for_all_who_hold_it(line: tuple[socket.socket, socket.socket]) -> None:
    ours, far = line

    async def scenario() -> None:
        watch = LineWatch()
        watch.watch("a", ours.fileno())
        watch.end("a")
        watch.end("a")
        assert far.recv(1) == ours.recv(1) == b""
        watch.close()

    asyncio.run(scenario())
    ours.close()
    far.close()


def test_another_line_takes_the_place_of_the_one_before() -> None:
    first, second = socket.socketpair(), socket.socketpair()

    async def scenario() -> None:
        watch = LineWatch()
        watch.watch("a", first[0].fileno())
        watch.watch("a", second[0].fileno())
        assert first[1].recv(1) == b""
        assert "a" in watch
        watch.close()

    asyncio.run(scenario())
    second[0].send(b"lives")
    assert second[1].recv(9) == b"lives"
    for sock in (*first, *second):
        sock.close()


def test_a_line_that_is_forgotten_is_not_watched(
    line: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner still holds it, so the kernel alone would go on telling of it; its number may be another's."""
    ours, far = line

    async def scenario() -> None:
        watch = LineWatch()
        looks = Looks(watch, monkeypatch)
        for _ in range(3):
            watch.watch("a", ours.fileno())
            watch.forget("a")
        far.close()
        for _ in range(20):
            await asyncio.sleep(0)
        assert looks.count == 0
        watch.close()

    asyncio.run(scenario())
    ours.close()


def test_what_is_no_socket() -> None:
    async def scenario() -> None:
        before = open_fds()
        watch = LineWatch()
        with pytest.raises(OSError, match="Bad file descriptor"):
            watch.watch("a", 100_000)
        with open(os.devnull) as no_socket, pytest.raises(OSError, match="non-socket"):  # noqa: ASYNC230
            watch.watch("a", no_socket.fileno())
        assert "a" not in watch
        watch.close()
        assert open_fds() == before

    asyncio.run(scenario())
