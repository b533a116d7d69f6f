"""Callback: who logs in on a call is called back at the number that the configuration holds."""

from __future__ import annotations

import logging
import os
from itertools import pairwise

import pytest
from modem_stage import Stage, entry
from modem_stage import stage as stage

from dialupd.config.values import LoginSession
from dialupd.exchange.answers import Caller
from dialupd.model import CallState, CallView, DialOptions, Direction, EndReason, ModemState
from dialupd.modem import timing
from dialupd.modem.callback import TRIES
from dialupd.sessions import runners
from dialupd.sessions.base import CallFacts, Line, Report, RuntimePaths, Session, SessionEnd, StopRequest, not_a_stream
from dialupd.sessions.start import make_session

CONFIG = """
[session.console]
type = "login"
callback = { ann = "100" }

[session.line]
type = "client"

[policy.in]
mode = "answer"
rings = 1
session = "console"

[policy.home]
mode = "answer"
rings = 1
session = "line"
"""
HOME = CONFIG + entry("200", "in") + entry("100", "home")


class LoggedIn:
    """A login session in which ann proves who she is at once; on a call of ours she stays until it is ended."""

    def __init__(self, facts: CallFacts) -> None:
        self._facts = facts
        self._stop = StopRequest()

    async def run(self) -> SessionEnd:
        if self._facts.direction is Direction.INCOMING:
            return SessionEnd(EndReason.SESSION_ENDED, "ann is to be called back", call_back="ann")
        await self._stop.wait()
        return SessionEnd(self._stop.reason)

    def stop(self, reason: EndReason) -> None:
        self._stop.set(reason)

    def counts(self) -> tuple[int, int]:
        return 0, 0

    def open(self) -> int:
        raise not_a_stream()


@pytest.fixture(autouse=True)
def _at_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(config: object, line: Line, facts: CallFacts, report: Report, paths: RuntimePaths) -> Session:
        if isinstance(config, LoginSession):
            return LoggedIn(facts)
        return make_session(config, line, facts, report, paths)  # type: ignore[arg-type]

    monkeypatch.setattr(runners, "make_session", made)


async def call_in(stage: Stage) -> tuple[str, str]:
    """Ann calls from 100 and logs in, until her call has ended; the modems, hers first."""
    home, office = await stage.modems("100", "200")
    await stage.desk.dial(home, "200", DialOptions())
    await stage.told.until(lambda: came(stage, office) and came(stage, office)[0].state is CallState.ENDED, "called in")
    return home, office


def came(stage: Stage, office: str) -> list[CallView]:
    return [view for view in stage.desk.calls() if view.modem == office and view.direction is Direction.INCOMING]


def back(stage: Stage, office: str) -> list[CallView]:
    """The calls that the office has placed."""
    return [view for view in stage.desk.calls() if view.modem == office and view.direction is Direction.OUTGOING]


async def placed(stage: Stage, office: str, count: int, state: CallState = CallState.ENDED) -> list[CallView]:
    await stage.told.until(
        lambda: len(back(stage, office)) >= count and back(stage, office)[count - 1].state is state,
        f"call back {count} {state}",
    )
    return back(stage, office)


def test_called_back(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dialupd.modem")

    async def body() -> None:
        home, office = await call_in(stage)
        (first,) = came(stage, office)
        assert (first.end_reason, first.detail) == (EndReason.SESSION_ENDED, "ann is to be called back")
        view = await stage.state(office, ModemState.READY)
        await stage.told.until(lambda: stage.view(office).next_attempt, "announced")
        assert stage.view(office).state_reason == "ann is to be called back"
        assert view.policy == "in"
        (second,) = await placed(stage, office, 1, CallState.CONNECTED)
        assert (second.number, second.session, second.policy) == ("100", "console", "in")
        assert second.start_time - first.end_time >= timing.CALL_BACK_PAUSE * 1e6
        await stage.state(home, ModemState.CONNECTED)
        await stage.desk.hang_up_call(second.call)
        await stage.state(office, ModemState.READY)
        assert stage.view(office).state_reason == "the line is free"
        rows = [row for row in await stage.rows() if row.modem == office]
        assert [row.direction for row in rows] == ["outgoing", "incoming"]

    stage.run(body, HOME)
    assert "ann will be called back" in caplog.text


def test_what_fails_is_tried_again_and_given_up(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        _, office = await call_in(stage)
        calls = await placed(stage, office, TRIES)
        assert {call.end_reason for call in calls} == {EndReason.NO_CARRIER}
        for one, other in pairwise(calls):
            assert other.start_time - one.end_time >= timing.CALL_BACK_AGAIN * 1e6
        await stage.state(office, ModemState.READY)
        assert stage.view(office).next_attempt == 0
        assert len(back(stage, office)) == TRIES

    stage.run(body, HOME.replace('ann = "100"', 'ann = "77"'))
    assert "ann is not called back: 3 calls have failed, the last one with no-carrier" in caplog.text


def test_somebody_s_call_goes_first(stage: Stage) -> None:
    async def body() -> None:
        home, office = await call_in(stage)
        await stage.state(office, ModemState.READY)
        await stage.settle(office)
        other = await stage.desk.dial(office, "77", DialOptions(session="client"))
        await stage.ended(other)
        calls = await placed(stage, office, 2, CallState.CONNECTED)
        assert [call.number for call in calls] == ["77", "100"]
        assert calls[1].start_time - calls[0].end_time >= timing.CALL_BACK_PAUSE * 1e6
        await stage.state(home, ModemState.CONNECTED)

    stage.run(body, HOME)


def test_a_call_that_comes_goes_first(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "CALL_BACK_PAUSE", 1.0)

    async def body() -> None:
        _, office = await call_in(stage)
        await stage.state(office, ModemState.READY)
        stage.exchange.ring("200", Caller("555"), rings=3)
        await stage.told.until(lambda: len(came(stage, office)) == 2)
        (call,) = await placed(stage, office, 1, CallState.CONNECTED)
        other = came(stage, office)[1]
        assert call.start_time - other.end_time >= timing.CALL_BACK_PAUSE * 1e6

    stage.run(body, HOME)


@pytest.mark.parametrize("how", ["disabled", "suspended", "reloaded", "unplugged", "lent"])
def test_what_ends_it(stage: Stage, how: str, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        _, office = await call_in(stage)
        if how == "disabled":
            await stage.desk.disable(office)
            await stage.state(office, ModemState.DISABLED)
        elif how == "suspended":
            await stage.desk.suspend("in")
        elif how == "reloaded":
            stage.text = HOME.replace("ann = ", "eve = ")
            await stage.desk.reload()
        elif how == "lent":
            await stage.state(office, ModemState.READY)
            os.close(await stage.desk.inhibit(office, "test", ""))
        else:
            await stage.state(office, ModemState.READY)
            stage.registry.fleet.gone("/sys/test/200")
            await stage.gone(office)
        await stage.told.until(lambda: "is not called back" in caplog.text)
        assert back(stage, office) == []

    stage.run(body, HOME)
    assert len([one for one in caplog.messages if "ann is not called back" in one]) == 1


def test_the_number_is_the_configuration_s_own(stage: Stage) -> None:
    async def body() -> None:
        _, office = await call_in(stage)
        stage.text = HOME.replace('ann = "100"', 'ann = "78"')
        await stage.desk.reload()
        (call,) = await placed(stage, office, 1)
        assert call.number == "78"

    stage.run(body, HOME)


def test_nobody_without_a_number_is_called(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a session tells: what it cannot do is name a number."""

    async def body() -> None:
        _, office = await call_in(stage)
        await stage.told.until(lambda: "is not called back" in caplog.text)
        assert back(stage, office) == []
        await stage.told.until(lambda: stage.view(office).state_reason.startswith("ann is not called back: "))

    stage.run(body, HOME.replace("ann = ", "eve = "))
    assert "ann is not called back: the session console has no number of his any more" in caplog.text


@pytest.mark.parametrize("known", [False, True])
def test_who_stays_on_the_line_is_not_who_is_called(
    stage: Stage, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a dial tone the last caller may still be there, even where other calls are dialled without one."""
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        home = await stage.modem("100")
        office = await stage.modem("200", faults=["no-dialtone"])
        for modem in (home, office):
            await stage.state(modem, ModemState.READY)
        stage.registry.fleet.modems[office].memory.blind = known
        await stage.desk.dial(home, "200", DialOptions())
        (call,) = await placed(stage, office, 1)
        assert call.end_reason is EndReason.NO_DIALTONE

    stage.run(body, HOME)
    said = [
        message.partition("_200 > ")[2] for message in caplog.messages if "_200 > ATX" in message or "ATDT" in message
    ]
    at = said.index("ATDT100")
    assert said[at - 1] == "ATX4"
    assert "ATX3" not in said[at:]
