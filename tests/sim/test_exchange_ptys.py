"""The exchange over real ptys and programs, in the test's own loop."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import select
import termios
import tty
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dialupd.exchange.answers import Caller
from dialupd.exchange.exchange import Exchange
from dialupd.exchange.faults import NOISE
from dialupd.exchange.timing import Timing

PATIENCE = 30.0


class Computer:
    """A program that has a modem's tty open."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.got = bytearray()
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self.fd)
        self.got += data
        self._more.set()

    def say(self, text: str) -> None:
        os.write(self.fd, text.encode() + b"\r")

    async def until(self, *texts: str) -> bytes:
        """Wait for one of the texts; gives and forgets everything up to its end."""
        async with asyncio.timeout(PATIENCE):
            while True:
                ends = [self.got.find(text.encode()) + len(text) for text in texts if text.encode() in self.got]
                if ends:
                    found = bytes(self.got[: min(ends)])
                    del self.got[: min(ends)]
                    return found
                self._more.clear()
                await self._more.wait()

    async def count(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < size:
                self._more.clear()
                await self._more.wait()
        data = bytes(self.got[:size])
        del self.got[:size]
        return data

    async def ask(self, text: str, answer: str = "OK\r\n") -> bytes:
        self.say(text)
        return await self.until(answer)

    async def send(self, data: bytes) -> None:
        """All of it, as fast as the modem takes it."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view[:4096]) :]
            except BlockingIOError:
                ready = asyncio.Event()
                self._loop.add_writer(self.fd, ready.set)
                await asyncio.wait_for(ready.wait(), PATIENCE)
                self._loop.remove_writer(self.fd)

    def close(self) -> None:
        self._loop.remove_reader(self.fd)
        os.close(self.fd)


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Runs it; nothing may be left behind: no task, no descriptor, no child."""
    before = len(os.listdir("/proc/self/fd"))

    async def checked() -> None:
        await body()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(checked())
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


async def connect(exchange: Exchange) -> tuple[Computer, Computer]:
    for number in ("100", "200"):
        exchange.modem(number)
    one, other = Computer(await exchange.on_pty("100")), Computer(await exchange.on_pty("200"))
    await other.ask("ATE0S0=1")
    await one.ask("ATE0")
    one.say("ATDT200")
    await one.until("CONNECT 38400\r\n")
    await other.until("CONNECT 38400\r\n")
    return one, other


@pytest.mark.parametrize(("line_rate", "delay"), [(0, 0.0), (16_000_000, 0.0), (0, 0.01), (8_000_000, 0.02)])
def test_a_mebibyte_both_ways_at_once(line_rate: int, delay: float) -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick(), line_rate=line_rate, delay=delay) as exchange:
            one, other = await connect(exchange)
            there, back = random.Random(1).randbytes(1 << 20), random.Random(2).randbytes(1 << 20)
            async with asyncio.TaskGroup() as group:
                group.create_task(one.send(there))
                group.create_task(other.send(back))
                got_there = group.create_task(other.count(len(there)))
                got_back = group.create_task(one.count(len(back)))
            for sent, got in ((there, got_there.result()), (back, got_back.result())):
                assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()
            assert not one.got
            assert not other.got
            one.close()
            other.close()

    run(body)


def test_a_slow_reader_holds_the_sender() -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick()) as exchange:
            one, other = await connect(exchange)
            loop = asyncio.get_running_loop()
            loop.remove_reader(other.fd)
            data = random.Random(3).randbytes(1 << 19)
            sending = asyncio.create_task(one.send(data))
            # The exchange stops reading, so the loop comes to rest with the sender stuck.
            rest = 0
            while rest < 50:
                rest = 0 if select.select([], [one.fd], [], 0)[1] else rest + 1
                await asyncio.sleep(0)
            assert not sending.done()
            loop.add_reader(other.fd, other._read)
            assert await other.count(len(data)) == data
            await sending
            one.close()
            other.close()

    run(body)


def test_the_computer_may_close_and_open_again() -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick()) as exchange:
            exchange.modem("100")
            path = await exchange.on_pty("100")
            for _ in range(3):
                computer = Computer(path)
                await computer.ask("AT")
                computer.close()
            # Settings are the modem's, and a tty's settings are kept by the modem's own descriptor.
            computer = Computer(path)
            attributes = termios.tcgetattr(computer.fd)
            attributes[4] = attributes[5] = termios.B9600
            termios.tcsetattr(computer.fd, termios.TCSANOW, attributes)
            await computer.ask("ATE0")
            computer.close()
            computer = Computer(path)
            assert await computer.ask("ATI0") == b"\r\n56000\r\n\r\nOK\r\n"
            assert exchange.modems["100"].settings.basic("E") == 0
            computer.close()

    run(body)


def test_unplug_and_plug_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick(), directory=tmp_path) as exchange:
            one, other = await connect(exchange)
            assert names(tmp_path) == ["100", "200"]
            exchange.unplug("100")
            assert names(tmp_path) == ["200"]
            await other.until("NO CARRIER")
            one.close()
            path = await exchange.on_pty("100")
            assert path == str(tmp_path / "100")
            one = Computer(path)
            await one.ask("AT")
            one.close()
            other.close()
            with pytest.raises(ValueError, match="plugged in already"):
                await exchange.on_pty("100")
        assert names(tmp_path) == []

    run(body)


def test_a_link_never_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "100").write_text("precious")

    async def body() -> None:
        async with Exchange(directory=tmp_path) as exchange:
            exchange.modem("100")
            with pytest.raises(FileExistsError):
                await exchange.on_pty("100")

    run(body)
    assert (tmp_path / "100").read_text() == "precious"


def test_a_program_as_the_far_end() -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick()) as exchange:
            exchange.modem("100", name="BOB")
            exchange.service(
                "1", ["sh", "-c", 'echo "$CALLER>$CALLED" > /dev/tty; read line; echo "got $line"; exit 3']
            )
            exchange.service("2", ["/no/such/program"])
            exchange.service("3", ["cat"])
            computer = Computer(await exchange.on_pty("100"))
            await computer.ask("ATE0")
            computer.say("ATD1")
            await computer.until("100>1\n")
            os.write(computer.fd, b"hello\n")
            ending = await computer.until("NO CARRIER")
            assert ending == b"got hello\n\r\nNO CARRIER", "all output comes before the end"
            computer.say("ATD2")
            await computer.until("CONNECT 38400\r\n")
            await computer.until("NO CARRIER")
            computer.say("ATD3")
            await computer.until("CONNECT 38400\r\n")
            data = random.Random(4).randbytes(200_000).replace(b"\x1a", b"-")
            sending = asyncio.create_task(computer.send(data))
            assert await computer.count(len(data)) == data
            await sending
            exchange.modems["100"].lose_carrier()
            await computer.until("NO CARRIER")
            computer.close()

    run(body)


def test_the_program_gets_a_hangup_and_is_killed_if_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.exchange.service.GRACE", 0.1)

    async def body() -> None:
        async with Exchange(timing=Timing.quick()) as exchange:
            exchange.modem("100")
            exchange.service("1", ["sh", "-c", "trap 'exit 0' HUP; echo ready; while :; do read x; done"])
            exchange.service("2", ["sh", "-c", "trap '' HUP; echo ready; exec sleep 1000 <&- >&- 2>&-"])
            computer = Computer(await exchange.on_pty("100"))
            for number in ("1", "2"):
                computer.say(f"ATD{number}")
                await computer.until("ready")
                exchange.modems["100"].lose_carrier()
                await computer.until("NO CARRIER")
            computer.close()

    run(body)


def test_a_program_ends_with_the_exchange() -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick()) as exchange:
            exchange.modem("100")
            exchange.service("*99#", ["sh", "-c", "echo ready; cat"])
            computer = Computer(await exchange.on_pty("100"))
            computer.say("ATD*99***1#")
            await computer.until("ready")
        computer.close()

    run(body)


def test_two_hundred_modems_ring_at_once_and_rest_without_work() -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick()) as exchange:
            computers = {}
            for index in range(200):
                number = str(1000 + index)
                exchange.modem(number)
                computers[number] = Computer(await exchange.on_pty(number))
            for computer in computers.values():
                computer.say("AT+VCID=1")
            for computer in computers.values():
                await computer.until("OK\r\n")
            for number in computers:  # a caller who gives up soon may do so before a busy machine rings again
                exchange.ring(number, Caller("5551212"), rings=1000)
            for computer in computers.values():
                for _ in range(2):
                    await computer.until("RING\r\n")
            for number in computers:
                exchange.modems[number].lose_carrier()
            loop = asyncio.get_running_loop()
            assert all(handle.cancelled() for handle in loop._scheduled), "an idle exchange has no timers"
            for computer in computers.values():
                computer.close()

    run(body)


def test_wrong_speed_is_seen_on_a_pty() -> None:
    async def body() -> None:
        async with Exchange(timing=Timing.quick()) as exchange:
            exchange.modem("100", faults=["wrong-speed=9600"])
            computer = Computer(await exchange.on_pty("100"))
            computer.say("AT")
            attributes = termios.tcgetattr(computer.fd)
            attributes[4] = attributes[5] = termios.B9600
            await computer.count(len(NOISE))
            termios.tcsetattr(computer.fd, termios.TCSANOW, attributes)
            computer.say("ATI0")
            assert b"56000" in await computer.until("OK")
            computer.close()

    run(body)


def test_a_given_tty() -> None:
    """A pty's slave stands in for the serial port; it has no circuits, which must not hurt."""

    async def body() -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        async with Exchange(timing=Timing.quick()) as exchange:
            modem = exchange.modem("100")
            await exchange.on_tty("100", os.ttyname(slave))
            os.write(master, b"ATE0\r")
            loop = asyncio.get_running_loop()
            got = bytearray()
            done = asyncio.Event()

            def read() -> None:
                got.extend(os.read(master, 4096))
                if b"OK\r\n" in got:
                    done.set()

            loop.add_reader(master, read)
            await asyncio.wait_for(done.wait(), PATIENCE)
            loop.remove_reader(master)
            exchange.modem("200")
            with pytest.raises(OSError, match="no tty"):
                await exchange.on_tty("200", "/dev/null")
            assert modem.state.value == "idle"
        os.close(master)
        os.close(slave)

    run(body)


def test_wrong_uses_are_named() -> None:
    async def body() -> None:
        async with Exchange() as exchange:
            exchange.modem("100")
            for wrong, word in (
                (lambda: exchange.modem("100"), "given twice"),
                (lambda: exchange.modem("../x"), "is no number"),
                (lambda: exchange.modem("1", kind="hayes"), "conexant"),
                (lambda: exchange.modem("1", faults=["x"]), "no fault"),
                (lambda: exchange.special("1", "x"), "take one of"),
                (lambda: exchange.service("1", []), "no program"),
                (lambda: exchange.unplug("1"), "no plugged modem"),
            ):
                with pytest.raises(ValueError, match=word):
                    wrong()

    run(body)
