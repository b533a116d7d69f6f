"""Ports over ptys: every byte once and in order, every way to end, and who else may have the port."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import sys
import termios
import threading
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dialupd.config.values import Flow
from dialupd.io.child import LINES, Child
from dialupd.io.port import Lost, Port, PortError, PortFault
from dialupd.io.ttyport import TtyPort

PATIENCE = 10.0


class Line:
    """The modem's side of a pty."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(self.master)
        self.path = os.ttyname(slave)
        os.close(slave)

    def send(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)

    def hang_up(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@asynccontextmanager
async def opened(tmp_path: Path, **options: Flow | int) -> AsyncIterator[tuple[TtyPort, Line]]:
    line = Line()
    port = await TtyPort.open(line.path, lock_directory=str(tmp_path), **options)  # type: ignore[arg-type]
    try:
        yield port, line
    finally:
        port.close()
        line.hang_up()


class Inbox:
    """Collects what a port reads; `until` waits for so many bytes."""

    def __init__(self) -> None:
        self.data = b""
        self._changed = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    async def until(self, done: Callable[[bytes], bool]) -> bytes:
        async with asyncio.timeout(PATIENCE):
            while not done(self.data):
                self._changed.clear()
                await self._changed.wait()
        return self.data


def lost_of(port: Port) -> asyncio.Future[Lost]:
    """Resolved by the loss; a second call of on_lost would raise InvalidStateError in the loop."""
    lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
    port.on_lost = lost.set_result
    return lost


def attributes(port: Port) -> list[object]:
    return list(termios.tcgetattr(port.fileno()))


def test_open_sets_everything_whatever_was_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        line = Line()
        before = termios.tcgetattr(line.master)
        before[0] |= termios.ICRNL | termios.ISTRIP | termios.IXON
        before[1] |= termios.OPOST | termios.ONLCR
        before[2] |= termios.CSTOPB | termios.CRTSCTS
        before[3] |= termios.ECHO | termios.ICANON | termios.ISIG
        termios.tcsetattr(line.master, termios.TCSANOW, before)
        port = await TtyPort.open(line.path, 57600, Flow.XONXOFF, lock_directory=str(tmp_path))
        iflag, oflag, cflag, lflag, ispeed, ospeed, _ = termios.tcgetattr(port.fileno())
        assert iflag == termios.IGNBRK | termios.IGNPAR | termios.IXON | termios.IXOFF
        assert oflag == 0 and lflag == 0
        wanted = termios.CS8 | termios.CREAD | termios.CLOCAL | termios.HUPCL
        ignored = termios.CBAUD | termios.CIBAUD if hasattr(termios, "CIBAUD") else 0o010017 | 0o2003600000
        assert cflag & ~ignored == wanted
        assert (ispeed, ospeed) == (termios.B57600, termios.B57600)
        port.close()
        line.hang_up()

    asyncio.run(scenario())


def test_reads_and_writes_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            inbox = Inbox()
            port.start_reading(inbox)
            line.send(b"\r\nRING\r\n")
            assert await inbox.until(lambda data: data.endswith(b"G\r\n")) == b"\r\nRING\r\n"
            port.write(b"AT")
            port.write(b"Z\r")
            await port.drain(PATIENCE)
            assert os.read(line.master, 100) == b"ATZ\r"

    asyncio.run(scenario())


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_hand_over_after_connect_loses_no_byte(tmp_path: Path, cut: int) -> None:
    """What follows CONNECT reaches the session, wherever the burst is cut; and a session cannot make us wait."""
    connect, frame = b"\r\nCONNECT 33600\r\n", bytes([0x7E, 0xFF, 0x7D, 0x23, 0xC0, 0x21, 0x11, 0x13, 0x7E]) * 3

    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            inbox = Inbox()
            done = asyncio.Event()

            def take(data: bytes) -> None:
                assert len(data) == 1
                inbox(data)
                if inbox.data.endswith(b"33600\r\n"):
                    port.stop_reading()
                    done.set()

            port.start_reading(take)
            port.chunk = 1
            burst = connect + frame
            line.send(burst[:cut])
            line.send(burst[cut:])
            async with asyncio.timeout(PATIENCE):
                await done.wait()
            assert inbox.data == connect
            port.prepare_handover()
            session = port.dup_fd()
            assert not os.get_blocking(session) and not os.get_inheritable(session)
            os.set_blocking(session, True)
            assert not os.get_blocking(port.fileno())
            got = b""
            while len(got) < len(frame):  # the kernel may pass on what was sent in two pieces as two
                got += os.read(session, 200)
            assert got == frame
            os.close(session)
            port.take_back()
            port.start_reading(inbox)
            line.send(b"NO CARRIER\r\n")
            assert (await inbox.until(lambda data: data.endswith(b"ER\r\n"))).endswith(b"NO CARRIER\r\n")

    asyncio.run(scenario())


def test_a_session_that_opens_the_node_gets_in_and_its_settings_are_undone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            before = attributes(port)
            port.prepare_handover()
            line.send(b"hello")
            script = (
                "import os, sys, termios\n"
                "fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)\n"
                "print(os.read(fd, 9))\n"
                "a = termios.tcgetattr(fd)\n"
                "a[3] |= termios.ECHO | termios.ICANON | termios.ISIG\n"
                "a[4] = a[5] = termios.B9600\n"
                "termios.tcsetattr(fd, termios.TCSANOW, a)\n"
            )
            told: list[str] = []
            child = Child.spawn([sys.executable, "-c", script, port.path], stdout=LINES, on_line=told.append)
            async with asyncio.timeout(PATIENCE):
                assert (await child.wait()).ok
            assert told == ["b'hello'"]
            assert attributes(port) != before
            port.take_back(flush=True)
            assert attributes(port) == before
            assert not os.get_blocking(port.fileno())

    asyncio.run(scenario())


def test_take_back_restores_the_line_discipline(tmp_path: Path) -> None:
    slip = 1

    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            port.prepare_handover()
            try:
                fcntl.ioctl(port.fileno(), termios.TIOCSETD, struct.pack("i", slip))
            except OSError as error:
                assert error.errno in (errno.EINVAL, errno.EPERM, errno.ENOENT)
                pytest.skip("no other line discipline in this kernel")
            port.take_back()
            inbox = Inbox()
            port.start_reading(inbox)
            line.send(b"OK\r\n")
            await inbox.until(lambda data: data == b"OK\r\n")

    asyncio.run(scenario())


@pytest.mark.parametrize("reading", [True, False])
def test_unplugging_is_told_once_reading_or_not(tmp_path: Path, reading: bool) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            lost = lost_of(port)
            if reading:
                port.start_reading(Inbox())
            line.hang_up()
            async with asyncio.timeout(PATIENCE):
                assert await lost is Lost.GONE
            assert not port.is_open
            with pytest.raises(PortError) as caught:
                port.write(b"AT\r")
            assert caught.value.reason is PortFault.GONE
            with pytest.raises(PortError):
                await port.reopen()

    asyncio.run(scenario())


def test_unplugging_during_a_session_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            lost = lost_of(port)
            port.start_reading(Inbox())
            port.prepare_handover()
            line.send(b"data that the session has not read")
            line.hang_up()
            async with asyncio.timeout(PATIENCE):
                assert await lost is Lost.HUNG_UP

    asyncio.run(scenario())


def test_a_kernel_hang_up_is_seen_and_reopen_mends_it(tmp_path: Path) -> None:
    """TIOCVHANGUP does what the kernel does when carrier goes and CLOCAL is off."""
    if os.geteuid() != 0:
        pytest.skip("TIOCVHANGUP needs root")

    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            port.carrier_watch(True)
            lost = lost_of(port)
            assert not termios.tcgetattr(port.fileno())[2] & termios.CLOCAL
            fcntl.ioctl(port.fileno(), 0x5437)
            async with asyncio.timeout(PATIENCE):
                assert await lost is Lost.HUNG_UP
            await port.reopen()
            assert termios.tcgetattr(port.fileno())[2] & termios.CLOCAL
            inbox = Inbox()
            port.start_reading(inbox)
            line.send(b"OK\r\n")
            await inbox.until(lambda data: data == b"OK\r\n")
            assert lost_of(port).done() is False

    asyncio.run(scenario())


def test_no_wakeups_while_a_session_leaves_data_waiting(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            wakeups = 0
            watched = port._watched

            def count() -> None:
                nonlocal wakeups
                wakeups += 1
                watched()

            asyncio.get_running_loop().add_reader(port._watch.fileno(), count)
            line.send(b"unread")
            other, far = os.pipe()
            os.write(far, b"x" * 300)
            turns: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def turn() -> None:
                if not os.read(other, 1) or wakeups > 50:
                    turns.set_result(None)

            asyncio.get_running_loop().add_reader(other, turn)
            os.close(far)
            async with asyncio.timeout(PATIENCE):
                await turns
            asyncio.get_running_loop().remove_reader(other)
            os.close(other)
            assert wakeups <= 2

    asyncio.run(scenario())


def test_stuck_flow_times_out_and_close_does_not_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, flow=Flow.XONXOFF) as (port, line):
            line.send(b"\x13")
            port.write(b"x" * 100_000)
            with pytest.raises(PortError) as caught:
                await port.drain(0.05)
            assert caught.value.reason is PortFault.IO
            with pytest.raises(PortError):
                port.write(b"x" * 200_000)
            begin = asyncio.get_running_loop().time()
            port.close()
            assert asyncio.get_running_loop().time() - begin < 1.0

    asyncio.run(scenario())


def test_output_that_the_modem_does_not_take_is_closed_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, _):
            loop_thread = threading.get_ident()
            closed_in: list[int] = []
            fd = port.fileno()
            close = os.close

            def note(number: int) -> None:
                if number == fd:
                    closed_in.append(threading.get_ident())
                close(number)

            monkeypatch.setattr("dialupd.io.ttyport.discard_output", lambda number: False)
            monkeypatch.setattr(os, "close", note)
            port.close()
            await asyncio.get_running_loop().shutdown_default_executor()
            assert closed_in and closed_in[0] != loop_thread
            assert os.listdir(tmp_path) == []

    asyncio.run(scenario())


def test_a_big_write_arrives_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            data = bytes(range(256)) * 400
            got = bytearray()
            os.set_blocking(line.master, False)
            loop = asyncio.get_running_loop()
            whole = asyncio.Event()

            def take() -> None:
                got.extend(os.read(line.master, 4096))
                if len(got) == len(data):
                    whole.set()

            loop.add_reader(line.master, take)
            port.write(data)
            await port.drain(PATIENCE)
            async with asyncio.timeout(PATIENCE):
                await whole.wait()
            loop.remove_reader(line.master)
            assert bytes(got) == data

    asyncio.run(scenario())


def test_drain_ends_when_the_port_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            port.write(b"x" * 100_000)
            draining = asyncio.ensure_future(port.drain(PATIENCE))
            asyncio.get_running_loop().call_soon(line.hang_up)
            with pytest.raises(PortError) as caught:
                await draining
            assert caught.value.reason is PortFault.GONE

    asyncio.run(scenario())


def test_a_port_without_lines_is_tolerated(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, _):
            assert port.has_lines is False
            assert port.lines() is None
            port.set_dtr(False)
            port.set_dtr(True)

    asyncio.run(scenario())


def test_second_open_is_refused_and_close_frees(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as (port, line):
            with pytest.raises(PortError) as caught:
                await TtyPort.open(line.path, lock_directory=str(tmp_path))
            assert caught.value.reason is PortFault.BUSY
            port.close()
            port.close()
            assert os.listdir(tmp_path) == []
            again = await TtyPort.open(line.path, lock_directory=str(tmp_path))
            again.close()

    asyncio.run(scenario())


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    async def scenario() -> None:
        line = Line()
        lock = tmp_path / ("LCK.." + line.path.removeprefix("/dev/").replace("/", "_"))
        lock.write_text(f"{os.getppid():10d}\n")
        with pytest.raises(PortError) as caught:
            await TtyPort.open(line.path, lock_directory=str(tmp_path))
        assert caught.value.reason is PortFault.LOCKED
        assert str(os.getppid()) in str(caught.value)
        assert lock.exists()
        line.hang_up()

    asyncio.run(scenario())


def test_errors_have_reasons_and_leave_no_lock(tmp_path: Path) -> None:
    async def scenario() -> None:
        plain, locks = tmp_path / "plain", tmp_path / "locks"
        plain.write_text("keep")
        locks.mkdir()
        for path, speed, reason in (
            (str(tmp_path / "nothing"), 115200, PortFault.GONE),
            (str(plain), 115200, PortFault.NOT_A_TTY),
            ("/dev/null", 115200, PortFault.NOT_A_TTY),
            ("/dev/ptmx", 123457, PortFault.IO),
        ):
            with pytest.raises(PortError) as caught:
                await TtyPort.open(path, speed, lock_directory=str(locks))
            assert caught.value.reason is reason, path
            assert path in str(caught.value)
        assert plain.read_text() == "keep"
        assert os.listdir(locks) == []

    asyncio.run(scenario())


def test_cancelled_open_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        line = Line()
        before = len(os.listdir("/proc/self/fd"))
        opening = asyncio.ensure_future(TtyPort.open(line.path, lock_directory=str(tmp_path)))
        asyncio.get_running_loop().call_soon(opening.cancel)
        with pytest.raises(asyncio.CancelledError):
            await opening
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0)
        assert os.listdir(tmp_path) == []
        assert len(os.listdir("/proc/self/fd")) == before
        line.hang_up()

    asyncio.run(scenario())


def test_no_descriptor_is_left_after_many_ports(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path):
            pass
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            async with opened(tmp_path) as (port, line):
                port.start_reading(lambda data: None)
                line.hang_up()
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())
