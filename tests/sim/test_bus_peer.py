"""Another service on the bus: who owns its name."""

from __future__ import annotations

import asyncio

import pytest
from private_bus import PrivateBus, bus_fixture

from dialupd.bus.connection import Connection
from dialupd.bus.peer import Peer

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
