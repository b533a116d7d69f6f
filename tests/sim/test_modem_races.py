"""Requests and losses at every moment of a call: whichever turn of the loop they meet, nothing is lost or left.

The modem of these tests answers at once, so that so many turns of the loop reach from dialling into the session and out
of it again.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from modem_stage import ANSWER, Stage, entry
from modem_stage import stage as stage

from dialupd.model import CallState, DialOptions, DialupError, EndReason, ModemState

S = ModemState
CONNECTS = {"ATDT5": "\r\nCONNECT 33600\r\n", "ATA": "\r\nCONNECT 33600\r\n"}
CONNECTED = -1
TURNS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, CONNECTED)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def moment(stage: Stage, modem: str, count: int) -> None:
    """So many turns of the loop, which are more or less far into the call, or its being connected."""
    if count == CONNECTED:
        await stage.state(modem, S.CONNECTED)
    await turns(count)


def all_ended(stage: Stage) -> bool:
    return all(view.state is CallState.ENDED for view in stage.desk.calls())


@pytest.mark.parametrize("direction", ["out", "in"])
def test_hung_up_at_any_moment(stage: Stage, direction: str) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("300", CONNECTS)
        for count in TURNS:
            if direction == "out":
                await stage.desk.dial(modem, "5", DialOptions())
            else:
                dce.say("\r\nRING\r\n")
                await stage.state(modem, S.RINGING)
                await stage.desk.answer(modem, DialOptions())
            await moment(stage, modem, count)
            await stage.desk.hang_up(modem)
            await stage.state(modem, S.READY)
            assert all_ended(stage)
            assert stage.desk.calls()[-1].end_reason is EndReason.LOCAL_HANGUP
        seen = stage.told.states[modem]
        assert 0 < seen.count("connected") < len(TURNS), "before and behind CONNECT"
        assert "failed" not in seen
        assert len(stage.desk.calls()) == len(TURNS)

    stage.run(body, entry("300"))


def test_unplugged_at_any_moment(stage: Stage) -> None:
    async def body() -> None:
        for place, count in enumerate(TURNS):
            modem, _ = await stage.scripted(f"3{place:02}", CONNECTS)
            await stage.desk.dial(modem, "5", DialOptions())
            await moment(stage, modem, count)
            stage.carriers[-1].close()
            await turns(abs(count) % 5)
            stage.registry.fleet.gone(f"/sys/test/3{place:02}")
            await stage.gone(modem)
            assert all_ended(stage)
            assert stage.desk.calls()[-1].end_reason is EndReason.MODEM_LOST
        seen = [states.count("connected") for states in stage.told.states.values()]
        assert 0 < sum(seen) < len(TURNS), "before and behind CONNECT"

    stage.run(body, "".join(entry(f"3{place:02}") for place in range(len(TURNS))))


def test_the_line_rings_at_any_moment_of_a_dialling(stage: Stage) -> None:
    """Either call may win, and the other is refused or is a collision; none is left without an end."""

    async def body() -> None:
        modem, dce = await stage.scripted("300", {"ATDT5": "\r\nNO CARRIER\r\n"})
        for count in TURNS:
            dce.say("\r\nRING\r\n")
            await turns(abs(count) % 7)
            with contextlib.suppress(DialupError):
                await stage.desk.dial(modem, "5", DialOptions())
            await stage.told.until(lambda: stage.view(modem).state is S.READY and all_ended(stage), "both ended")
        reasons = {view.end_reason for view in stage.desk.calls()}
        assert reasons <= {EndReason.COLLISION, EndReason.NO_CARRIER, EndReason.NO_ANSWER}

    stage.run(body, entry("300"))


def test_a_ring_during_the_dialling_is_a_collision(stage: Stage) -> None:
    async def body() -> None:
        modem, _ = await stage.scripted("300", {"ATDT5": "\r\nRING\r\n\r\nNO CARRIER\r\n"})
        assert (await stage.dialled(modem, "5")).end_reason is EndReason.COLLISION
        assert len(stage.desk.calls()) == 1

    stage.run(body, entry("300"))


def test_the_rings_end_at_any_moment_of_the_answering(stage: Stage) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("300", {"ATA": "\r\nNO CARRIER\r\n"})
        for count in TURNS:
            dce.say("\r\nRING\r\n")
            await turns(abs(count) % 9)
            dce.say("\r\nNO CARRIER\r\n")
            await stage.calls(len(stage.desk.calls()) or 1)
            await stage.told.until(lambda: stage.view(modem).state is S.READY and all_ended(stage), "all ended")
        assert stage.desk.calls()
        reasons = {view.end_reason for view in stage.desk.calls()}
        assert reasons <= {EndReason.NO_ANSWER, EndReason.NO_CARRIER}

    stage.run(body, ANSWER + entry("300", "in"))


def test_the_daemon_ends_at_any_moment(stage: Stage) -> None:
    for count in TURNS:

        async def body(count: int = count) -> None:
            modem, _ = await stage.scripted("300", CONNECTS)
            await stage.desk.dial(modem, "5", DialOptions())
            await moment(stage, modem, count)
            await stage.registry.close()
            assert stage.registry.modems() == []
            (call,) = stage.desk.calls()
            assert call.end_reason is EndReason.SHUTDOWN

        stage.run(body, entry("300"))
        stage.carriers.clear()
