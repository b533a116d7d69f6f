"""The relay between a line and a descriptor: every byte, both ways, and every way to end."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest
from session_line import joined, line, run

from dialupd.sessions import pump
from dialupd.sessions import relay as module
from dialupd.sessions.relay import CarrierText, Closed, Relay

ALL_BYTES = bytes(range(256))


def test_every_byte_both_ways() -> None:
    blob = random.Random(1).randbytes(300_000) + ALL_BYTES  # more than all buffers hold

    async def test() -> None:
        loop = asyncio.get_running_loop()
        with line() as pty:
            other, end = joined()
            relay = Relay(pty.dup(), other)
            running = asyncio.create_task(relay.run())

            async def collect() -> bytes:
                got = b""
                while len(got) < len(blob):
                    got += await loop.sock_recv(end, 65536)
                return got

            there, back, *_ = await asyncio.gather(
                collect(),
                pty.receive(lambda got: len(got) >= len(blob)),
                pty.send(blob),
                loop.sock_sendall(end, blob),
            )
            assert there == blob
            assert back == blob
            end.close()
            assert await running is Closed.OTHER
            assert (relay.rx, relay.tx) == (len(blob), len(blob))

    run(test)


def test_last_words_reach_the_line() -> None:
    words = b"x" * 100_000 + b"goodbye"

    async def test() -> None:
        loop = asyncio.get_running_loop()
        with line() as pty:
            other, end = joined()
            running = asyncio.create_task(Relay(pty.dup(), other).run())

            async def say() -> None:
                await loop.sock_sendall(end, words)
                end.close()

            got, _ = await asyncio.gather(pty.receive(lambda got: got.endswith(b"goodbye")), say())
            assert got == words
            assert await running is Closed.OTHER

    run(test)


def test_last_words_of_the_line_reach_the_other() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        with line() as pty:
            other, end = joined()
            running = asyncio.create_task(Relay(pty.dup(), other).run())
            await pty.send(b"bye")
            assert await loop.sock_recv(end, 10) == b"bye"
            pty.hang_up()
            assert await running is Closed.LINE
            assert await loop.sock_recv(end, 10) == b""
            end.close()

    run(test)


def test_hangup_is_seen_behind_a_full_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "STALL", 0.05)

    async def test() -> None:
        with line() as pty:
            other, end = joined()
            running = asyncio.create_task(Relay(pty.dup(), other).run())
            filling = asyncio.create_task(pty.send(b"y" * 5_000_000))
            await asyncio.wait({filling}, timeout=0.3)  # nobody takes it: all buffers are full by now
            assert not filling.done()
            filling.cancel()
            await asyncio.wait({filling})
            pty.hang_up()
            assert await running is Closed.LINE
            end.close()

    run(test)


def test_line_that_takes_nothing_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "STALL", 0.05)

    async def test() -> None:
        with line() as pty:
            other, end = joined()
            running = asyncio.create_task(Relay(pty.dup(), other).run())
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    end.send(b"z" * 65536)
                    await asyncio.sleep(0)
            end.close()
            assert await running is Closed.OTHER

    run(test)


def test_early_bytes_come_first() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        with line() as pty:
            await pty.send(b"later")
            other, end = joined()
            relay = Relay(pty.dup(), other, early=b"early ")
            running = asyncio.create_task(relay.run())
            got = b""
            while len(got) < 11:
                got += await loop.sock_recv(end, 20)
            assert got == b"early later"
            relay.stop()
            assert await running is Closed.STOPPED
            end.close()

    run(test)


def test_cancelled_relay_closes_both() -> None:
    async def test() -> None:
        with line() as pty:
            other, end = joined()
            running = asyncio.create_task(Relay(pty.dup(), other).run())
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert end.recv(1) == b""
            end.close()

    run(test)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_no_carrier_ends_a_line_without_modem_lines(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.05)

    async def test() -> None:
        with line(shows_carrier=False) as pty:
            other, end = joined()
            running = asyncio.create_task(Relay(pty.dup(), other, watch_text=True).run())
            text = b"data\r\nNO CARRIER\r\n"
            for at in range(0, len(text), size):
                await pty.send(text[at : at + size])
            assert await running is Closed.LINE
            end.close()

    run(test)


@pytest.mark.parametrize("text", [b"\r\nNO CARRIER\r\nhe typed\r\n", b"\r\nNO CARRIER", b"NO CARRIER\r\n"])
def test_no_carrier_within_data_ends_nothing(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.02)

    async def test() -> None:
        with line(shows_carrier=False) as pty:
            other, end = joined()
            relay = Relay(pty.dup(), other, watch_text=True)
            running = asyncio.create_task(relay.run())
            await pty.send(text)
            await asyncio.wait({running}, timeout=0.2)
            assert not running.done()
            relay.stop()
            await running
            end.close()

    run(test)


def test_no_carrier_on_a_line_that_shows_carrier_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.02)

    async def test() -> None:
        with line() as pty:
            other, end = joined()
            relay = Relay(pty.dup(), other)
            running = asyncio.create_task(relay.run())
            await pty.send(b"\r\nNO CARRIER\r\n")
            await asyncio.wait({running}, timeout=0.2)
            assert not running.done()
            relay.stop()
            await running
            end.close()

    run(test)


def test_carrier_text_across_any_cut() -> None:
    text = b"abc\r\nNO CARRIER\r\n"
    for cut in range(len(text)):
        watch = CarrierText()
        assert not watch.feed(text[:cut])
        assert watch.feed(text[cut:])
        assert not watch.feed(b"x")


def test_relay_that_never_ran_closes_both() -> None:
    async def test() -> None:
        near, end = socket.socketpair()
        relay = Relay(near.detach(), os.dup(end.fileno()))
        relay.close()
        relay.close()
        end.close()

    run(test)


@pytest.mark.parametrize("returned", [b"", b"returned"])
def test_what_is_held_when_it_ends_reaches_nobody_else(returned: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that begins to listen too late may find the number of its descriptor to be another's."""
    monkeypatch.setattr(pump, "STALL", 0.05)

    async def test() -> None:
        with line() as pty:
            other, end = joined()
            relay = Relay(pty.dup(), other, early=b"a frame's begin")
            relay.hold()
            running = asyncio.create_task(relay.run())
            pty.hang_up()
            assert await running is Closed.LINE
            end.close()
            numbers = [end.detach() for end in socket.socketpair()]  # the first free numbers, and so the relay's own
            assert other in numbers
            relay.hold(returned)
            relay.release()
            for number in numbers:
                with socket.socket(fileno=number) as reader:
                    reader.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        reader.recv(100)
                    reader.detach()
            for number in numbers:
                os.close(number)

    run(test)
