"""Bluetooth links over socketpairs: every byte once and in order, every way to end, and who else holds the socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dialupd.io.port import WRITE_LIMIT, Lost, Port, PortError, PortFault
from dialupd.io.radioport import INPUT_LIMIT, RadioPort, is_rfcomm, rfcomm

PATIENCE = 10.0
PATH = "bluetooth:AA:BB:CC:DD:EE:FF"


class Phone:
    """The far end of a line, each new one in place of the last; and what its radio says."""

    def __init__(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
        self.kind = kind
        self.copies: list[int] = []
        """bluetoothd's: it holds each line that it has given away."""
        self.far: socket.socket
        self.trouble: PortError | None = None
        self.gate: asyncio.Event | None = None
        self.reach: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.asked = asyncio.Event()
        self.lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self.port = RadioPort(PATH, "the Nokia", self.line(), self.connect, self.out_of_reach)
        # A second call would raise InvalidStateError in the loop.
        self.port.on_lost = self.lost.set_result

    def line(self) -> int:
        near, self.far = socket.socketpair(socket.AF_UNIX, self.kind)
        self.far.setblocking(False)
        self.copies.append(os.dup(near.fileno()))
        return near.detach()

    async def connect(self) -> int:
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return self.line()

    async def out_of_reach(self) -> bool:
        self.asked.set()
        return await self.reach

    async def hears(self, data: bytes) -> None:
        got = b""
        while got != data:
            more = await asyncio.get_running_loop().sock_recv(self.far, 65536)
            assert more, f"the line ended after {got!r}"
            got += more

    async def hears_the_end(self) -> None:
        assert await asyncio.get_running_loop().sock_recv(self.far, 1) == b""


def play(body: Callable[[Phone], Awaitable[None]], kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """Play it; what was wrong in the loop fails, and neither task nor descriptor is left."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        faults: list[str] = []
        loop.set_exception_handler(lambda loop, context: faults.append(str(context)))
        before = len(os.listdir("/proc/self/fd"))
        phone = Phone(kind)
        async with asyncio.timeout(PATIENCE):
            await body(phone)
        phone.port.close()
        phone.far.close()
        for copy in phone.copies:
            os.close(copy)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left)
        assert not faults
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())


def closes(phone: Phone) -> None:
    phone.far.close()


def resets(phone: Phone) -> None:
    """What was not read resets the line."""
    os.write(phone.port.fileno(), b"unread")
    phone.far.close()


def ended_for_another(phone: Phone) -> None:
    """As an RFCOMM socket whose error another holder has read: reading says EAGAIN, and the hang-up stays."""
    with socket.socket(fileno=os.dup(phone.port.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def test_reads_and_writes_in_order() -> None:
    async def body(phone: Phone) -> None:
        got: asyncio.Queue[bytes] = asyncio.Queue()
        phone.port.start_reading(got.put_nowait, chunk=1)
        phone.far.send(b"OK")
        assert [await got.get(), await got.get()] == [b"O", b"K"]
        phone.port.write(b"AT")
        phone.port.write(b"Z\r")
        await phone.port.drain(PATIENCE)
        await phone.hears(b"ATZ\r")
        assert not os.get_blocking(phone.port.fileno())
        assert phone.port.path == PATH

    play(body)


def test_it_has_no_modem_lines() -> None:
    async def body(phone: Phone) -> None:
        port: Port = phone.port
        port.set_dtr(False)
        port.carrier_watch(True)
        assert (port.lines(), port.has_lines, port.closing_hangs_up) == (None, False, True)
        port.close()
        for question in (lambda: port.set_dtr(True), lambda: port.carrier_watch(False), port.dup_fd):
            with pytest.raises(PortError, match="the line to the Nokia is not open"):
                question()

    play(body)


@pytest.mark.parametrize(("reach", "lost"), [(True, Lost.GONE), (False, Lost.HUNG_UP)])
@pytest.mark.parametrize("use", ["reading", "waiting", "lent"])
@pytest.mark.parametrize("end", [closes, resets, ended_for_another])
def test_a_loss_is_told_once_and_its_kind(end: Callable[[Phone], None], use: str, reach: bool, lost: Lost) -> None:
    async def body(phone: Phone) -> None:
        if use != "waiting":
            phone.port.start_reading(lambda data: None)
        if use == "lent":
            phone.port.prepare_handover()
        end(phone)
        await phone.asked.wait()
        assert not phone.port.is_open and not phone.lost.done()
        with pytest.raises(PortError, match="the Nokia") as caught:
            phone.port.write(b"AT\r")
        assert caught.value.reason is PortFault.GONE
        phone.reach.set_result(reach)
        assert await phone.lost is lost

    play(body, socket.SOCK_DGRAM if end is ended_for_another else socket.SOCK_STREAM)


def test_what_came_before_the_end_is_read_first() -> None:
    async def body(phone: Phone) -> None:
        phone.reach.set_result(False)
        got = bytearray()
        phone.far.send(b"\r\nNO CARRIER\r\n")
        closes(phone)
        phone.port.start_reading(got.extend, chunk=1)
        await phone.lost
        assert got == b"\r\nNO CARRIER\r\n"

    play(body)


@pytest.mark.parametrize("end", [RadioPort.close, RadioPort.leave])
def test_nobody_is_told_after_the_end(end: Callable[[RadioPort], None]) -> None:
    async def body(phone: Phone) -> None:
        closes(phone)
        await phone.asked.wait()
        end(phone.port)
        end(phone.port)
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        assert phone.reach.cancelled() and not phone.lost.done()
        with pytest.raises(PortError, match="closed"):
            await phone.port.reopen()

    play(body)


def test_who_is_told_may_close() -> None:
    async def body(phone: Phone) -> None:
        told = asyncio.Event()

        def lost(why: Lost) -> None:
            phone.port.close()
            told.set()

        phone.port.on_lost = lost
        phone.reach.set_result(True)
        closes(phone)
        await told.wait()

    play(body)


def test_a_write_after_the_end_is_a_loss() -> None:
    async def body(phone: Phone) -> None:
        phone.reach.set_result(False)
        closes(phone)
        phone.port.write(b"AT\r")
        await phone.port.drain(PATIENCE)
        assert await phone.lost is Lost.HUNG_UP

    play(body)


def test_stuck_flow_times_out_and_names_the_phone() -> None:
    async def body(phone: Phone) -> None:
        phone.port.write(bytes(WRITE_LIMIT))
        with pytest.raises(PortError, match="the line to the Nokia took nothing"):
            await phone.port.drain(0.01)
        with pytest.raises(PortError, match="the Nokia has not taken") as caught:
            phone.port.write(bytes(WRITE_LIMIT))
        assert caught.value.reason is PortFault.IO
        draining = asyncio.ensure_future(phone.port.drain())
        asyncio.get_running_loop().call_soon(phone.port.close)
        with pytest.raises(PortError, match="not open"):
            await draining

    play(body)


def test_close_ends_the_line_though_others_hold_it_and_leave_does_not() -> None:
    async def body(phone: Phone) -> None:
        phone.port.write(b"ATH\r")
        phone.port.close()
        await phone.hears(b"ATH\r")
        await phone.hears_the_end()
        phone.far.close()

        phone.port = RadioPort(PATH, "the Nokia", phone.line(), phone.connect, phone.out_of_reach)
        phone.port.leave()
        os.write(phone.copies[-1], b"still here")
        await phone.hears(b"still here")
        phone.far.send(b"and here")
        assert os.read(phone.copies[-1], 100) == b"and here"

    play(body)


def test_a_session_gets_what_follows_and_the_port_comes_back() -> None:
    async def body(phone: Phone) -> None:
        got = asyncio.Event()

        def take(data: bytes) -> None:
            phone.port.stop_reading()
            got.set()

        phone.port.start_reading(take, chunk=1)
        phone.far.send(b"\n~frame")
        await got.wait()
        phone.port.prepare_handover()
        session = phone.port.dup_fd()
        assert not os.get_blocking(session) and not os.get_inheritable(session)
        assert os.read(session, 100) == b"~frame"
        os.set_blocking(session, True)  # it belongs to all who hold the socket
        phone.port.take_back()
        assert not os.get_blocking(phone.port.fileno())
        os.close(session)
        phone.far.send(b"left over")
        phone.port.take_back(flush=True)
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        phone.port.start_reading(heard.put_nowait)
        phone.far.send(b"OK")
        assert await heard.get() == b"OK"

    play(body)


@pytest.mark.parametrize("end", [closes, resets])
def test_to_flush_does_not_hide_the_end(end: Callable[[Phone], None]) -> None:
    async def body(phone: Phone) -> None:
        phone.reach.set_result(False)
        phone.far.send(b"stale")
        end(phone)
        phone.port.flush_input()
        phone.port.start_reading(lambda data: pytest.fail("it was to be thrown away"))
        assert await phone.lost is Lost.HUNG_UP

    play(body)


def test_to_flush_listens_to_no_phone_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(phone: Phone) -> None:
        read, taken = os.read, 0

        def endless(fd: int, count: int) -> bytes:
            nonlocal taken
            if fd != phone.port.fileno():
                return read(fd, count)
            taken += min(count, 1000)
            return bytes(min(count, 1000))

        monkeypatch.setattr(os, "read", endless)
        phone.port.flush_input()
        monkeypatch.undo()
        assert taken == INPUT_LIMIT

    play(body)


def test_reopen_ends_the_old_line_and_asks_no_more_how_it_was_lost() -> None:
    async def body(phone: Phone) -> None:
        old = phone.far
        await phone.port.reopen()
        assert old.recv(1) == b""
        old.close()
        closes(phone)
        await phone.asked.wait()
        await phone.port.reopen()
        assert phone.reach.cancelled() and not phone.lost.done()
        phone.port.write(b"AT\r")
        await phone.hears(b"AT\r")

    play(body)


def test_a_phone_that_is_not_reached() -> None:
    async def body(phone: Phone) -> None:
        phone.trouble = PortError(PortFault.UNREACHABLE, "the Nokia is out of range")
        with pytest.raises(PortError, match="out of range"):
            await phone.port.reopen()
        assert not phone.port.is_open
        phone.far.close()
        phone.trouble = None
        await phone.port.reopen()
        assert phone.port.is_open and not phone.lost.done()

    play(body)


def test_closed_while_it_is_connected_anew() -> None:
    async def body(phone: Phone) -> None:
        phone.gate = asyncio.Event()
        opening = asyncio.ensure_future(phone.port.reopen())
        await phone.hears_the_end()
        phone.far.close()
        phone.port.close()
        phone.gate.set()
        with pytest.raises(PortError, match="was closed while it was being opened"):
            await opening
        await phone.hears_the_end()

    play(body)


def test_a_connecting_that_is_given_up() -> None:
    async def body(phone: Phone) -> None:
        phone.gate = asyncio.Event()
        opening = asyncio.ensure_future(phone.port.reopen())
        await phone.hears_the_end()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert not phone.port.is_open

    play(body)


@pytest.mark.parametrize(
    ("domain", "kind", "protocol", "answer"),
    [
        (31, socket.SOCK_STREAM, 3, True),
        (31, socket.SOCK_STREAM, 0, False),
        (31, socket.SOCK_SEQPACKET, 0, False),  # L2CAP
        (31, socket.SOCK_RAW, 1, False),  # HCI
        (31, socket.SOCK_SEQPACKET, 3, False),
        (socket.AF_UNIX, socket.SOCK_STREAM, 3, False),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, False),
        (socket.AF_INET, socket.SOCK_STREAM, 3, False),
    ],
)
def test_what_is_a_bluetooth_line(domain: int, kind: int, protocol: int, answer: bool) -> None:
    assert rfcomm(domain, kind, protocol) is answer


def test_what_is_none(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    with near, far, socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "file").open("wb") as file:
        master, slave = os.openpty()
        try:
            found = [is_rfcomm(fd) for fd in (near.fileno(), server.fileno(), file.fileno(), slave)]
        finally:
            os.close(master)
            os.close(slave)
    assert found == [False] * 4
