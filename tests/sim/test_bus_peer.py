"""Another service on the bus: who owns its name, and what becomes of the descriptors that it sends."""

from __future__ import annotations

import asyncio
import os
import resource

import pytest
from bus_control import open_fds
from private_bus import PrivateBus, bus_fixture

from dialupd.bus.connection import Connection
from dialupd.bus.peer import Peer
from dialupd.bus.wire import Message, MethodCall, method_call, reply, signal

__all__ = ["bus_fixture"]

NAME = "org.example.Peer"


def test_the_owner_changes_right_behind_the_answer(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer and the change come in one piece, so the change is handled before the answer is looked at."""

    async def scenario() -> None:
        async with asyncio.timeout(20):
            old, new, ours = [await Connection.open(bus.address) for _ in range(3)]
            await old.request_name(NAME)
            await new.ask_bus("RequestName", "su", [NAME, 0])
            changed = asyncio.Event()
            peer = Peer(ours, NAME, lambda _: None, changed.set)
            ask = ours.ask_bus

            async def slow(member: str, *arguments: object) -> list[object]:
                answer = await ask(member, *arguments)  # type: ignore[arg-type]
                if member == "GetNameOwner":
                    assert answer == [old.unique_name]
                    await old.close()
                    await changed.wait()
                return answer

            monkeypatch.setattr(ours, "ask_bus", slow)
            await peer.meet()
            assert peer.owner == new.unique_name
            changed.clear()
            await new.close()
            await changed.wait()
            assert peer.owner == ""
            await ours.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("call_fds", [True, False])
def test_descriptors_in_method_calls(bus: PrivateBus, call_fds: bool) -> None:
    """Who asked for them sees them; what he does not take is closed, also when he fails."""

    async def scenario() -> None:
        async with asyncio.timeout(20):
            ours = await Connection.open(bus.address, call_fds=call_fds)
            theirs = await Connection.open(bus.address)
            taken: list[int] = []

            def handler(message: Message) -> None:
                if message.unix_fds and not taken:
                    taken.append(message.unix_fds.pop(0))
                ours.send(reply(message, "u", [len(message.unix_fds)]))
                if message.unix_fds:
                    raise ValueError("a handler that fails")

            ours.on_call = handler
            for _ in range(20):
                call = method_call(MethodCall(ours.unique_name, "/", "org.example.Taker", "Take"))
                call.unix_fds = list(os.pipe())
                theirs.send(call)
            # Answered when all before are handled; the bus passes descriptors in the order of sending.
            await theirs.call(MethodCall(ours.unique_name, "/", "org.example.Taker", "Take"))
            here = open_fds()
            for fd in taken:
                assert not os.get_inheritable(fd)
                os.close(fd)
            assert open_fds() == here - (1 if call_fds else 0)
            assert len(taken) == (1 if call_fds else 0)
            await ours.close()
            await theirs.close()

    before = open_fds()
    asyncio.run(scenario())
    assert open_fds() == before


def test_the_descriptors_of_a_message_that_is_skipped(bus: PrivateBus) -> None:
    """A stranger's signal that is longer than we read takes its descriptors with it: they are nobody else's."""

    async def scenario() -> None:
        async with asyncio.timeout(20):
            ours = await Connection.open(bus.address, limit=1 << 17, call_fds=True)
            stranger, friend = [await Connection.open(bus.address) for _ in range(2)]
            got: list[os.stat_result] = []

            def handler(message: Message) -> None:
                got.extend(os.fstat(fd) for fd in message.unix_fds)
                ours.send(reply(message, "", []))

            ours.on_call = handler
            before = open_fds()
            for _ in range(3):
                flood = signal("/", "org.example.Flood", "Come", "s", ["x" * (1 << 18)])
                flood.destination = ours.unique_name
                flood.unix_fds = list(os.pipe())
                stranger.send(flood)
            await stranger.ask_bus("GetId")  # the bus has them by then, and ours is behind them
            ends = os.pipe()
            sent = os.fstat(ends[0])
            call = method_call(MethodCall(ours.unique_name, "/", "org.example.Taker", "Take"))
            call.unix_fds = [ends[0]]
            os.close(ends[1])
            friend.send(call)
            await friend.call(MethodCall(ours.unique_name, "/", "org.example.Taker", "Take"))
            assert [one.st_ino for one in got] == [sent.st_ino]
            assert open_fds() == before
            for connection in (ours, stranger, friend):
                await connection.close()

    asyncio.run(scenario())


def test_descriptors_that_the_kernel_had_to_drop_end_the_connection(bus: PrivateBus) -> None:
    """Which of them are missing is not told: a stranger's could be taken for another's."""

    async def scenario() -> None:
        async with asyncio.timeout(20):
            ours, theirs = [await Connection.open(bus.address) for _ in range(2)]
            full = resource.getrlimit(resource.RLIMIT_NOFILE)
            call = method_call(MethodCall(ours.unique_name, "/", "org.example.Taker", "Take"))
            call.unix_fds = list(os.pipe())
            try:
                # The connection's own way stays open: only what comes beside a message needs new numbers.
                resource.setrlimit(resource.RLIMIT_NOFILE, (0, full[1]))
                theirs.send(call)
                assert "descriptors" in await ours.wait_closed()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, full)
            await theirs.close()

    asyncio.run(scenario())
