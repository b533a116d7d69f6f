"""Ring-back: a first call announces the second, which is answered."""

from __future__ import annotations

import pytest
from modem_stage import ANSWER, SECOND, Stage, entry
from modem_stage import stage as stage

from dialupd.exchange.answers import Caller
from dialupd.model import DialOptions, EndReason, ModemState
from dialupd.policy import FIRST_RINGS

TWICE = ANSWER + 'ring-back = "60s"\n' + entry("100") + entry("200", "in")
AWAITED = f"the rings have stopped; who calls again within {60 * SECOND:g} s is answered"


async def rings(stage: Stage, modem: str, caller: str, often: int = 1) -> str:
    """Somebody rings and gives up; what is said of the modem then."""
    before = len(stage.told.states[modem])
    stage.exchange.ring("200", Caller(caller), rings=often)
    await stage.told.until(lambda: stage.told.states[modem][before:] == ["ringing", "ready"], "rung and over")
    return next(view for view in reversed(stage.told.all("modem")) if view.id == modem).state_reason


def test_the_second_call_is_answered(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        assert await rings(stage, answerer, "") == AWAITED
        assert stage.incoming().end_reason is EndReason.NO_ANSWER
        call = await stage.connect(caller, "200")
        view = await stage.state(answerer, ModemState.CONNECTED)
        assert view.rings == 1
        await stage.desk.hang_up_call(call)
        await stage.state(answerer, ModemState.READY)
        # It is over with that: the next one is a first one again.
        assert await rings(stage, answerer, "") == AWAITED

    stage.run(body, TWICE)


def test_a_modem_may_be_the_first_caller_too(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        call = await stage.desk.dial(caller, "200", DialOptions(timeout=0.3))
        assert (await stage.ended(call)).end_reason in (EndReason.TIMEOUT, EndReason.NO_ANSWER)
        view = await stage.state(answerer, ModemState.READY)
        assert view.state_reason.endswith("is answered")
        await stage.state(caller, ModemState.READY)
        await stage.connect(caller, "200")

    stage.run(body, TWICE)


@pytest.mark.parametrize(("first", "answered"), [("100", True), ("555", False)])
def test_where_numbers_are_known_it_is_the_same_caller(stage: Stage, first: str, answered: bool) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        assert await rings(stage, answerer, first, 2) == AWAITED
        call = await stage.desk.dial(caller, "200", DialOptions(timeout=0.6))
        if answered:
            await stage.state(answerer, ModemState.CONNECTED)
        else:
            assert (await stage.ended(call)).end_reason in (EndReason.TIMEOUT, EndReason.NO_ANSWER)
            assert "answering" not in stage.told.states[answerer]

    stage.run(body, TWICE)


def test_too_late(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        await rings(stage, answerer, "")
        await stage.told.until(lambda: stage.view(answerer).state_reason == "no second call has come")
        call = await stage.desk.dial(caller, "200", DialOptions(timeout=0.6))
        assert (await stage.ended(call)).end_reason in (EndReason.TIMEOUT, EndReason.NO_ANSWER)
        assert "answering" not in stage.told.states[answerer]

    stage.run(body, TWICE)


def test_who_rings_long_wants_a_person(stage: Stage) -> None:
    async def body() -> None:
        _, answerer = await stage.modems("100", "200")
        assert await rings(stage, answerer, "", FIRST_RINGS + 2) == "the rings have stopped"

    stage.run(body, TWICE)


def test_a_caller_who_was_rejected_by_hand_announces_nothing(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        await rings(stage, answerer, "555", 2)
        stage.exchange.ring("200", Caller("556"), rings=9)
        await stage.state(answerer, ModemState.RINGING)
        await stage.desk.hang_up(answerer)
        await stage.state(answerer, ModemState.READY)
        call = await stage.desk.dial(caller, "200", DialOptions(timeout=0.6))
        assert (await stage.ended(call)).end_reason in (EndReason.BUSY, EndReason.TIMEOUT, EndReason.NO_ANSWER)
        assert "answering" not in stage.told.states[answerer]

    stage.run(body, TWICE)


def test_a_suspended_policy_promises_nothing(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        await stage.desk.suspend("in")
        assert await rings(stage, answerer, "") == "the rings have stopped"
        await stage.desk.resume("in")
        call = await stage.desk.dial(caller, "200", DialOptions(timeout=0.6))
        assert (await stage.ended(call)).end_reason in (EndReason.TIMEOUT, EndReason.NO_ANSWER)
        assert "answering" not in stage.told.states[answerer]

    stage.run(body, TWICE)


def test_a_call_that_a_person_takes_ends_the_waiting(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        await rings(stage, answerer, "100", 2)
        stage.exchange.ring("200", Caller("556"), rings=2)
        await stage.state(answerer, ModemState.RINGING)
        await stage.desk.answer(answerer, DialOptions())
        await stage.state(answerer, ModemState.READY)
        before = len(stage.told.states[answerer])
        call = await stage.desk.dial(caller, "200", DialOptions(timeout=0.6))
        assert (await stage.ended(call)).end_reason in (EndReason.BUSY, EndReason.TIMEOUT, EndReason.NO_ANSWER)
        assert "answering" not in stage.told.states[answerer][before:]

    stage.run(body, TWICE)
