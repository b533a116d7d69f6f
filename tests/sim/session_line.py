"""A connected line for the tests of sessions: a pseudo-terminal whose far end the test holds."""

from __future__ import annotations

import asyncio
import os
import socket
import tty
from array import array
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dialupd.io.port import PortError, PortFault
from dialupd.model import Direction, SessionState
from dialupd.sessions.base import CallFacts, Progress

FACTS = CallFacts(
    call=3,
    modem="usb-1",
    device="/dev/ttyACM0",
    direction=Direction.INCOMING,
    caller_id="5551212",
    policy="in",
    session="test",
    line_rate=33600,
    port_rate=115200,
    connect="33600/ARQ",
)
PATIENCE = 20.0
PORT_GONE = PortError(PortFault.GONE, "/dev/ttyACM0 is not open")


class PtyLine:
    """Implements `Line`; closing the far end hangs up the line, as a lost carrier does."""

    def __init__(self, *, shows_carrier: bool = True, early: bytes = b"") -> None:
        self.shows_carrier = shows_carrier
        self.early = early
        self.tally = array("Q", (0, 0))
        self._far, self._near = os.openpty()
        tty.setraw(self._near)
        os.set_blocking(self._far, False)
        self.path = os.ttyname(self._near)

    def dup(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def far_dup(self) -> int:
        """The far end for another reader."""
        return os.dup(self._far)

    async def send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data:
            try:
                data = data[os.write(self._far, data) :]
            except BlockingIOError:
                await _ready(loop.add_writer, loop.remove_writer, self._far)

    async def receive(self, until: Callable[[bytes], bool]) -> bytes:
        """What comes at the far end, until it is enough."""
        loop = asyncio.get_running_loop()
        got = b""
        async with asyncio.timeout(PATIENCE):
            while not until(got):
                try:
                    got += os.read(self._far, 65536)
                except BlockingIOError:
                    await _ready(loop.add_reader, loop.remove_reader, self._far)
        return got

    def left(self) -> bytes:
        """What came and was not received."""
        try:
            return os.read(self._far, 65536)
        except BlockingIOError:
            return b""

    def near_reads(self) -> bytes:
        """What the line still holds for its next reader."""
        os.set_blocking(self._near, False)
        try:
            return os.read(self._near, 4096)
        except BlockingIOError:
            return b""

    def hang_up(self) -> None:
        os.close(self._far)
        self._far = -1

    def close(self) -> None:
        for fd in (self._far, self._near):
            if fd >= 0:
                os.close(fd)


class SocketLine(PtyLine):
    """A Bluetooth link's like: a socket of which the daemon has a copy too.

    With `ends_quietly` its end looks as an RFCOMM socket's does to all but one of those who hold it: nothing to read,
    for ever, and a hang-up.
    """

    def __init__(self, *, ends_quietly: bool = False) -> None:
        self.shows_carrier = False
        self.early = b""
        self.tally = array("Q", (0, 0))
        self._quietly = ends_quietly
        # A datagram socket that is shut down behaves like that.
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM if ends_quietly else socket.SOCK_STREAM)
        for end in (near, far):
            end.setblocking(False)
        self._near, self._far = near.detach(), far.detach()
        self.path = "bluetooth:AA:BB:CC:DD:EE:FF"

    def dup(self) -> int:
        return os.dup(self._near)

    def hang_up(self) -> None:
        if self._quietly:
            with socket.socket(fileno=os.dup(self._near)) as copy:
                copy.shutdown(socket.SHUT_RDWR)
        else:
            super().hang_up()


class LostLine(PtyLine):
    """Its port is lost after `dups` descriptors were taken."""

    def __init__(self, error: Exception, dups: int = 0) -> None:
        super().__init__()
        self._error = error
        self._dups = dups

    def dup(self) -> int:
        if self._dups == 0:
            raise self._error
        self._dups -= 1
        return super().dup()


async def _ready(add: Callable[..., None], remove: Callable[[int], object], fd: int) -> None:
    event = asyncio.Event()
    add(fd, event.set)
    try:
        await event.wait()
    finally:
        remove(fd)


class Record:
    """Collects Progress and lets a test wait for a state."""

    def __init__(self) -> None:
        self.all = Progress()
        self.states: list[SessionState] = []
        self._changed = asyncio.Condition()
        self._events: list[tuple[Callable[[Progress], bool], asyncio.Event]] = []

    def __call__(self, progress: Progress) -> None:
        known = {name: value for name in Progress.__slots__ if (value := getattr(progress, name)) is not None}
        self.all = replace(self.all, **known)
        if progress.session_state is not None:
            self.states.append(progress.session_state)
        for condition, event in self._events:
            if condition(self.all):
                event.set()

    async def until(self, condition: Callable[[Progress], bool]) -> None:
        event = asyncio.Event()
        self._events.append((condition, event))
        if condition(self.all):
            return
        async with asyncio.timeout(PATIENCE):
            await event.wait()

    async def state(self, state: SessionState) -> None:
        await self.until(lambda known: known.session_state is state)


@contextmanager
def line(*, shows_carrier: bool = True, early: bytes = b"") -> Iterator[PtyLine]:
    made = PtyLine(shows_carrier=shows_carrier, early=early)
    try:
        yield made
    finally:
        made.close()


def descriptors() -> set[str]:
    """What is open, without the loop's own."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name}:{os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            pass
    return found


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop of its own: it ends in time and leaves no task, no child and no descriptor behind."""

    async def checked() -> None:
        loop = asyncio.get_running_loop()
        before = descriptors()
        async with asyncio.timeout(2 * PATIENCE):
            await test()
        await loop.shutdown_default_executor()
        deadline = loop.time() + 2
        while loop.time() < deadline and (descriptors() - before or len(asyncio.all_tasks()) > 1):  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # a server of the test closes its connections a little later
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert descriptors() - before == set()

    asyncio.run(checked())
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    assert not children.exists() or children.read_text() == ""


def joined() -> tuple[int, socket.socket]:
    """A descriptor for the relay and the test's end of it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return ours.detach(), theirs
