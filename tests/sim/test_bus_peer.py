"""Another service on the bus: who owns its name, and what becomes of the descriptors that it sends."""

from __future__ import annotations

import asyncio
import os

import pytest
from bus_control import open_fds
from private_bus import PrivateBus, bus_fixture

from dialupd.bus.connection import Connection
from dialupd.bus.peer import Peer
from dialupd.bus.wire import Message, MethodCall, method_call, reply

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
