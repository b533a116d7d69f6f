"""Phones by Bluetooth: the line is opened when it is wanted, and closed again; what ends a call, and what follows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from modem_stage import ANSWER, Scripted, Stage, Stream
from modem_stage import stage as stage

from dialupd.exchange.answers import Caller
from dialupd.io.store import Store
from dialupd.model import (
    CallState,
    CallView,
    DialOptions,
    DialupError,
    Direction,
    EndReason,
    ErrorKind,
    ModemState,
    Transport,
)
from dialupd.modem.owner import RESTING
from dialupd.modem.reach import CLOSED, OUT_OF_RANGE
from dialupd.radio import RadioFault
from dialupd.sleep import Sleeper
from tests.sim.exchange_radio import ExchangeRadio
from tests.sim.unit_stage import Manager, UnitStage

S = ModemState
ADDRESS = "AA:BB:CC:00:00:01"
ID = "bluetooth_AA_BB_CC_00_00_01"
AWAY = "Nokia: the phone is out of range"


def phone(more: str = "", name: str = "nokia") -> str:
    return f'\n[[modem]]\nname = "{name}"\nmatch = {{ address = "{ADDRESS}" }}\n{more}\n'


KEPT = phone("keep-connected = true\n")
REMOTE = '\n[[modem]]\nname = "m200"\nmatch = { serial = "200", vendor = "0572" }\npolicy = "in"\n'
CONNECTED = -1
MOMENTS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, CONNECTED)
LINGERS = 'disconnect-after = "1h"\n'
ALWAYS = """
[session.cat]
type = "exec"
command = ["/bin/cat"]

[policy.up]
mode = "originate"
numbers = ["200"]
session = "cat"
retry = { first = "1s", max = "2s" }
"""


@pytest.fixture(autouse=True)
def bluetooth(stage: Stage) -> Iterator[None]:
    stage.radio = found = ExchangeRadio()
    yield
    assert found.open_lines() == 0, "a line is left open"


def radio(stage: Stage) -> ExchangeRadio:
    assert isinstance(stage.radio, ExchangeRadio)
    return stage.radio


async def here(stage: Stage, kind: str = "nokia", *, ready: bool = True) -> str:
    """The phone is paired, and another modem is there to be called."""
    if "200" in stage.text and "200" not in stage.exchange.modems:
        await stage.modems("200")
    radio(stage).pair(ADDRESS, "Nokia", stage.exchange.modem("300", kind=kind))
    if ready:
        await stage.state(ID, S.READY)
    return ID


async def closed(stage: Stage) -> None:
    """Until the line is closed and the modem rests."""
    await stage.told.until(lambda: stage.view(ID).state_reason == RESTING and not radio(stage).open_lines(), "at rest")
    assert stage.registry.fleet.modems[ID].channel is None


async def open_gate(stage: Stage) -> asyncio.Event:
    gate = asyncio.Event()
    radio(stage).gate = gate.wait
    return gate


async def paged(stage: Stage, count: int) -> None:
    await stage.told.until(lambda: radio(stage).connects >= count, f"connect {count}")


def words(error: pytest.ExceptionInfo[DialupError]) -> tuple[ErrorKind, str]:
    return error.value.kind, str(error.value)


async def moment(stage: Stage, count: int) -> None:
    """So many turns of the loop, which are more or less far into the connecting and dialling, or its success."""
    if count == CONNECTED:
        await stage.state(ID, S.CONNECTED)
    for _ in range(count):
        await asyncio.sleep(0)


async def reload(stage: Stage, config: str) -> None:
    stage.text = config
    await stage.desk.reload()


# -- at rest


def test_a_phone_that_is_there_is_ready_and_not_connected(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        view = stage.view(ID)
        assert (view.state_reason, view.name, view.address) == (RESTING, "nokia", ADDRESS)
        assert stage.told.states[ID] == ["probing", "ready"]
        assert radio(stage).connects == 0

    stage.run(body, phone())


def test_a_dial_opens_the_line_and_the_end_of_a_data_call_closes_it(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        gate = await open_gate(stage)
        call = await stage.desk.dial(ID, "200", DialOptions())
        await paged(stage, 1)
        view = stage.view(ID)
        assert (view.state, view.state_reason) == (S.DIALING, "connecting to nokia by Bluetooth")
        gate.set()
        await stage.state(ID, S.CONNECTED)
        reasons = [event.state_reason for what, event in stage.told.events if what == "modem" and event.id == ID]
        assert reasons.index("connecting to nokia by Bluetooth") < len(reasons) - 1 - reasons[::-1].index(
            "dialling 200"
        )
        assert stage.view(ID).manufacturer == "Nokia"
        assert "gsm" in stage.view(ID).capabilities
        stream, theirs = await streams(stage, call)
        stream.send(b"there")
        await theirs.until(b"there")
        far = radio(stage).far(ADDRESS)
        await stage.desk.hang_up(ID)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.state(ID, S.READY)
        await asyncio.wait_for(far.closed.wait(), 5)
        await closed(stage)
        assert stage.told.states[ID] == ["probing", "ready", "dialing", "connected", "hanging-up", "ready"]
        await stream.end()
        await theirs.end()
        assert "gsm" in stage.view(ID).capabilities, "what was found stays published"

    stage.run(body, ANSWER + REMOTE + phone())


async def streams(stage: Stage, call: int) -> tuple[Stream, Stream]:
    await stage.told.until(lambda: any(view.direction == "incoming" for view in stage.desk.calls()), "a ring")
    ours = Stream(await stage.desk.open_call(call))
    other = stage.incoming().call
    await stage.told.until(lambda: stage.call(other).state is CallState.CONNECTED, "the other side")
    return ours, Stream(await stage.desk.open_call(other))


def test_a_second_call_finds_the_phone_known(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "dialupd.at")

    async def body() -> None:
        await here(stage)
        for _ in range(2):
            caplog.clear()
            call = await stage.connect(ID, "200")
            sent = [text for text in caplog.messages if text.startswith(f"{ID} >")]
            assert any("AT+CLIP=1" in text for text in sent), "it is set up each time"
            asked = any("GMM" in text for text in sent)
            await stage.desk.hang_up(ID)
            await stage.ended(call)
            await closed(stage)
            await ready(stage, "200")
        assert not asked
        assert radio(stage).connects == 2

    stage.run(body, ANSWER + REMOTE + phone())


def test_after_a_failed_dial_the_line_stays_for_the_next_and_closes_when_quiet(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        stage.exchange.special("400", "busy")
        assert (await stage.dialled(ID, "400")).end_reason is EndReason.BUSY
        assert radio(stage).open_lines() == 1
        assert (await stage.dialled(ID, "400")).end_reason is EndReason.BUSY
        assert radio(stage).connects == 1
        assert not stage.registry.fleet.modems[ID].unsure, "both calls are known to be over"
        await closed(stage)
        assert stage.view(ID).state is S.READY

    stage.run(body, phone('disconnect-after = "30s"\n'))


def test_the_line_stays_as_long_as_it_is_of_use(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        for _ in range(5):
            assert (await stage.desk.command(ID, "AT+CGMM", 2.0))[1] == ["Nokia 6230"]
        assert radio(stage).connects == 1
        await closed(stage)
        await stage.desk.command(ID, "AT", 2.0)
        assert radio(stage).connects == 2

    stage.run(body, phone())


def test_a_call_in_the_moment_in_which_the_line_is_to_be_closed_has_it(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        stage.exchange.special("400", "busy")
        await stage.desk.command(ID, "AT", 2.0)
        modem = stage.registry.fleet.modems[ID]
        assert modem.channel is not None
        async with modem.channel.turn():
            while not modem.channel._turn._waiters:  # noqa: ASYNC110 - who closes it waits for his turn
                await asyncio.sleep(0)
            modem.used_at -= 3600.0
        assert (await stage.dialled(ID, "400")).end_reason is EndReason.BUSY
        assert radio(stage).connects == 1

    stage.run(body, phone())


def test_rings_in_the_quiet_time_are_shown_and_the_line_closes_after_them(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await stage.desk.command(ID, "AT", 2.0)
        await stage.modem("100")
        call = await stage.desk.dial(await ready(stage, "100"), "300", DialOptions())
        await stage.state(ID, S.RINGING)
        await stage.desk.hang_up(_id(stage, "100"))
        await stage.ended(call)
        await stage.state(ID, S.READY)
        await closed(stage)
        assert radio(stage).connects == 1

    stage.run(body, phone('disconnect-after = "50s"\n') + REMOTE.replace("200", "100").replace('policy = "in"', ""))


def _id(stage: Stage, number: str) -> str:
    return next(view.id for view in stage.registry.modems() if view.serial == number)


async def ready(stage: Stage, number: str) -> str:
    await stage.state(_id(stage, number), S.READY)
    return _id(stage, number)


# -- on request


def test_a_reset_opens_the_line(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await stage.desk.reset(ID)
        assert stage.view(ID).state is S.RESETTING
        await stage.told.until(lambda: stage.view(ID).state is S.READY and stage.view(ID).model)
        assert radio(stage).connects == 1
        await closed(stage)

    stage.run(body, phone())


def test_a_reset_tries_a_phone_that_has_failed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.modem.timing.RETRY_FIRST", 3600.0)
    monkeypatch.setattr("dialupd.modem.timing.RETRY_MAX", 3600.0)

    async def body() -> None:
        await here(stage)
        radio(stage).refuse(ADDRESS, RadioFault.OUT_OF_RANGE, AWAY)
        await stage.desk.reset(ID)
        await stage.state(ID, S.FAILED)
        radio(stage).allow(ADDRESS)
        await stage.desk.reset(ID)
        await stage.state(ID, S.READY)
        assert radio(stage).open_lines() == 1

    stage.run(body, phone(LINGERS))


def test_commands_open_the_line_once_and_wait_for_it(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        gate = await open_gate(stage)
        asked = [asyncio.create_task(stage.desk.command(ID, "AT+CGMM", 2.0)) for _ in range(3)]
        await paged(stage, 1)
        view = stage.view(ID)
        assert (view.state, view.state_reason) == (S.PROBING, "connecting to nokia by Bluetooth")
        with pytest.raises(DialupError) as error:
            await stage.desk.dial(ID, "200", DialOptions())
        assert error.value.kind is ErrorKind.WRONG_STATE
        gate.set()
        for task in asked:
            assert await task == ("OK", ["Nokia 6230"])
        assert radio(stage).connects == 1
        await closed(stage)

    stage.run(body, phone())


def test_a_command_gets_the_radio_s_words(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        radio(stage).refuse(ADDRESS, RadioFault.OUT_OF_RANGE, AWAY)
        with pytest.raises(DialupError) as error:
            await stage.desk.command(ID, "AT", 2.0)
        assert words(error) == (ErrorKind.FAILED, AWAY)
        assert (await stage.state(ID, S.FAILED)).state_reason == AWAY
        with pytest.raises(DialupError) as error:
            await stage.desk.command(ID, "AT", 2.0)
        assert error.value.kind is ErrorKind.WRONG_STATE
        await stage.state(ID, S.READY)
        assert radio(stage).connects == 1, "the retry does not page the phone"

    stage.run(body, phone())


def test_nonsense_opens_nothing(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        for text in ("hello", "ATD123", "AT" + "X" * 300):
            with pytest.raises(DialupError) as error:
                await stage.desk.command(ID, text, 2.0)
            assert error.value.kind is ErrorKind.INVALID_ARGS
        assert radio(stage).connects == 0

    stage.run(body, phone())


def test_a_command_whose_phone_goes_meanwhile(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await open_gate(stage)
        asked = asyncio.create_task(stage.desk.command(ID, "AT", 2.0))
        await paged(stage, 1)
        radio(stage).remove(ADDRESS)
        with pytest.raises(DialupError) as error:
            await asked
        assert "went away" in str(error.value)
        await stage.gone(ID)
        assert radio(stage).given_up == 1

    stage.run(body, phone())


@pytest.mark.parametrize("how", ["disable", "inhibit"])
def test_taken_away_and_given_back_at_rest(stage: Stage, how: str) -> None:
    async def body() -> None:
        await here(stage)
        if how == "disable":
            await stage.desk.disable(ID)
            await stage.state(ID, S.DISABLED)
            await stage.desk.enable(ID)
        else:
            loan = await stage.desk.inhibit(ID, "me", "")
            await stage.state(ID, S.INHIBITED)
            os.close(loan)
        await stage.state(ID, S.READY)
        assert stage.view(ID).state_reason == RESTING
        assert radio(stage).connects == 0

    stage.run(body, phone())


@pytest.mark.parametrize("how", ["disable", "inhibit"])
def test_taken_away_while_the_line_is_open(stage: Stage, how: str) -> None:
    async def body() -> None:
        await here(stage)
        await stage.desk.command(ID, "AT", 2.0)
        far = radio(stage).far(ADDRESS)
        if how == "disable":
            await stage.desk.disable(ID)
        else:
            stage.loan = await stage.desk.inhibit(ID, "me", "")
        await asyncio.wait_for(far.closed.wait(), 5)
        if stage.loan >= 0:
            os.close(stage.loan)
            await stage.state(ID, S.READY)

    stage.run(body, phone(LINGERS))


# -- connecting fails


def test_a_call_to_a_phone_out_of_range(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        radio(stage).refuse(ADDRESS, RadioFault.OUT_OF_RANGE, AWAY)
        call = await stage.desk.dial(ID, "200", DialOptions())
        view = await stage.ended(call)
        assert (view.end_reason, view.detail) == (EndReason.MODEM_LOST, AWAY)
        failed = await stage.state(ID, S.FAILED)
        assert failed.state_reason == AWAY
        await stage.state(ID, S.READY)
        assert stage.view(ID).state_reason == RESTING
        assert radio(stage).connects == 1
        radio(stage).allow(ADDRESS)
        await stage.desk.command(ID, "AT", 2.0)
        assert stage.registry.fleet.modems[ID].pauses.failures == 0

    stage.run(body, phone())


def test_the_pauses_double_as_long_as_the_phone_is_not_reached(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        radio(stage).refuse(ADDRESS, RadioFault.OUT_OF_RANGE, AWAY)
        seen = []
        for _ in range(3):
            await stage.desk.dial(ID, "200", DialOptions())
            await stage.state(ID, S.FAILED)
            await stage.told.until(lambda: stage.view(ID).next_attempt, "a next attempt")
            seen.append(stage.view(ID).attempts)
            await stage.state(ID, S.READY)
        assert seen == [1, 2, 3]
        assert radio(stage).connects == 3

    stage.run(body, phone())


def test_a_phone_that_connects_and_says_nothing(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        stage.sim("300").set_faults(["silent"])
        view = await stage.ended(await stage.desk.dial(ID, "200", DialOptions()))
        assert view.end_reason is EndReason.MODEM_ERROR
        await stage.state(ID, S.FAILED)
        assert radio(stage).open_lines() <= 1

    stage.run(body, phone())


def test_hung_up_while_connecting(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        gate = await open_gate(stage)
        call = await stage.desk.dial(ID, "200", DialOptions())
        await paged(stage, 1)
        await stage.desk.hang_up(ID)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.state(ID, S.READY)
        assert stage.view(ID).state_reason == RESTING
        assert radio(stage).given_up == 1
        gate.set()
        assert radio(stage).open_lines() == 0
        assert "failed" not in stage.told.states[ID]

    stage.run(body, phone())


def test_hung_up_at_any_moment(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        for count in MOMENTS:
            await ready(stage, "200")
            await stage.desk.dial(ID, "200", DialOptions())
            await moment(stage, count)
            await stage.desk.hang_up(ID)
            await stage.state(ID, S.READY)
            assert all(view.state is CallState.ENDED for view in stage.desk.calls() if view.modem == ID)
        ends = {view.end_reason for view in stage.desk.calls() if view.modem == ID}
        assert ends == {EndReason.LOCAL_HANGUP}
        assert "failed" not in stage.told.states[ID]
        assert "connected" in stage.told.states[ID]

    stage.run(body, ANSWER + REMOTE + phone())


def test_the_time_limit_of_a_call_covers_the_connecting(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await open_gate(stage)
        view = await stage.ended(await stage.desk.dial(ID, "200", DialOptions(timeout=0.2)))
        assert view.end_reason is EndReason.TIMEOUT
        await stage.state(ID, S.READY)
        assert radio(stage).given_up == 1
        await closed(stage)

    stage.run(body, phone())


# -- the line is lost in a call


async def _connected(stage: Stage) -> tuple[CallView, Stream]:
    await here(stage)
    call = await stage.connect(ID, "200")
    stream, theirs = await streams(stage, call)
    stream.send(b"there")
    await theirs.until(b"there")
    theirs.close()
    return stage.call(call), stream


def test_out_of_range_in_mid_call(stage: Stage) -> None:
    async def body() -> None:
        call, stream = await _connected(stage)
        radio(stage).lose(ADDRESS)
        view = await stage.ended(call.call)
        assert (view.end_reason, view.detail) == (EndReason.MODEM_LOST, OUT_OF_RANGE)
        assert (await stage.state(ID, S.FAILED)).state_reason == OUT_OF_RANGE
        await stream.end()
        await stage.state(ID, S.READY)
        assert radio(stage).connects == 1, "it is not paged again to be hung up"

    stage.run(body, ANSWER + REMOTE + phone())


def test_the_phone_closes_the_line_in_mid_call(stage: Stage) -> None:
    async def body() -> None:
        call, stream = await _connected(stage)
        radio(stage).far(ADDRESS).close()
        view = await stage.ended(call.call)
        assert (view.end_reason, view.detail) == (EndReason.REMOTE_HANGUP, CLOSED)
        await stream.end()
        await stage.state(ID, S.READY)
        assert "failed" not in stage.told.states[ID]
        assert radio(stage).connects == 1
        await closed(stage)

    stage.run(body, ANSWER + REMOTE + phone())


def test_a_program_that_ends_with_the_line_has_not_ended_the_call(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        call = await stage.desk.dial(ID, "200", DialOptions(session="cat"))
        await stage.told.until(lambda: stage.call(call).session_state == "running", "the program")
        radio(stage).lose(ADDRESS)
        assert (await stage.ended(call)).end_reason is EndReason.MODEM_LOST

    stage.run(body, ANSWER + REMOTE + phone() + '\n[session.cat]\ntype = "exec"\ncommand = ["/bin/cat"]\n')


def test_the_far_end_hangs_up_and_the_phone_says_so(stage: Stage) -> None:
    async def body() -> None:
        call, stream = await _connected(stage)
        await stage.desk.hang_up(_id(stage, "200"))
        assert (await stage.ended(call.call)).end_reason is EndReason.REMOTE_HANGUP
        await stage.state(ID, S.READY)
        await stream.end()
        await closed(stage)
        assert radio(stage).connects == 1

    stage.run(body, ANSWER + REMOTE + phone())


def test_lost_while_it_dials(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        stage.exchange.special("400", "no-answer")
        for lose in (True, False):
            call = await stage.desk.dial(ID, "400", DialOptions())
            await stage.told.until(lambda: radio(stage).open_lines() and stage.view(ID).state_reason == "dialling 400")
            radio(stage).lose(ADDRESS) if lose else radio(stage).far(ADDRESS).close()
            view = await stage.ended(call)
            assert view.end_reason is EndReason.MODEM_LOST
            assert view.detail == f"{OUT_OF_RANGE if lose else CLOSED}; see on the phone itself that no call goes on"
            await stage.state(ID, S.READY)
            radio(stage).allow(ADDRESS)
        assert radio(stage).connects == 2

    stage.run(body, phone())


@pytest.mark.parametrize("how", ["out of range", "closed", "adapter gone"])
def test_lost_at_any_moment(stage: Stage, how: str) -> None:
    async def body() -> None:
        await here(stage)
        connected = False
        for count in MOMENTS:
            await ready(stage, "200")
            call = await stage.desk.dial(ID, "200", DialOptions())
            await paged(stage, radio(stage).connects + 1)
            await moment(stage, count)
            match how:
                case "out of range":
                    radio(stage).lose(ADDRESS)
                case "closed":
                    radio(stage).far(ADDRESS).close()
                case _:
                    radio(stage).remove(ADDRESS)
            view = await stage.ended(call)
            radio(stage).allow(ADDRESS)
            if how == "adapter gone":
                await stage.gone(ID)
                radio(stage).pair(ADDRESS, "Nokia", stage.sim("300"))
            await stage.state(ID, S.READY)
            ends = {EndReason.MODEM_LOST, EndReason.REMOTE_HANGUP} if how == "closed" else {EndReason.MODEM_LOST}
            assert view.end_reason in ends, view.detail
            connected = connected or view.connect_time > 0
        assert connected

    stage.run(body, ANSWER + REMOTE + phone())


def test_lost_in_the_quiet_time(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await stage.desk.command(ID, "AT", 2.0)
        radio(stage).lose(ADDRESS)
        await closed(stage)
        assert stage.told.states[ID][-1] == "ready"
        assert "failed" not in stage.told.states[ID]

    stage.run(body, phone(LINGERS))


# -- a voice call that must not run on


@pytest.mark.parametrize("faults", [(), ("deaf-to-ath",)])
def test_a_phone_that_places_a_voice_call(stage: Stage, faults: tuple[str, ...]) -> None:
    async def body() -> None:
        await here(stage, "voice-phone")
        stage.sim("300").set_faults(faults)
        stage.exchange.special("400", "voice")
        view = await stage.ended(await stage.desk.dial(ID, "400", DialOptions()))
        assert view.end_reason is EndReason.NO_MODULATOR
        await stage.state(ID, S.READY)
        _, lines = await stage.desk.command(ID, "AT+CLCC", 2.0)
        assert lines == [], "no call is left"
        assert "failed" not in stage.told.states[ID]
        await closed(stage)

    stage.run(body, phone())


def test_hung_up_while_a_voice_call_is_being_placed(stage: Stage) -> None:
    async def body() -> None:
        await here(stage, "voice-phone")
        stage.exchange.special("400", "no-answer")
        call = await stage.desk.dial(ID, "400", DialOptions())
        await stage.told.until(lambda: stage.view(ID).state_reason == "dialling 400", "dialling")
        await stage.desk.hang_up(ID)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.state(ID, S.READY)
        assert (await stage.desk.command(ID, "AT+CLCC", 2.0))[1] == []

    stage.run(body, phone())


class VoiceCall(Scripted):
    """A phone whose voice call nothing ends; `gone` is called when it is asked for its calls."""

    gone: Callable[[], None] | None = None

    def received(self, data: bytes) -> None:
        if b"+CLCC" in data and self.gone is not None:
            self.gone()
        else:
            super().received(data)


async def voice_call(stage: Stage) -> VoiceCall:
    dce = VoiceCall({"AT+CLCC": "\r\n+CLCC: 1,0,0,0,0\r\n\r\nOK\r\n"})
    radio(stage).pair(ADDRESS, "Nokia", dce)
    await stage.state(ID, S.READY)
    return dce


@pytest.mark.parametrize(("clears", "ends"), [(0.01, 60.0), (60.0, 0.1)])
def test_a_voice_call_that_cannot_be_ended_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, clears: float, ends: float
) -> None:
    monkeypatch.setattr("dialupd.modem.timing.VOICE_CLEARS", clears)
    monkeypatch.setattr("dialupd.modem.timing.VOICE_ENDS", ends)

    async def body() -> None:
        await voice_call(stage)
        view = await stage.ended(await stage.desk.dial(ID, "400", DialOptions()))
        assert view.end_reason is EndReason.NO_MODULATOR
        assert "on the phone itself" in view.detail
        assert "on the phone itself" in (await stage.state(ID, S.FAILED)).state_reason

    stage.run(body, phone())


def test_the_line_is_lost_before_a_voice_call_is_ended(stage: Stage) -> None:
    async def body() -> None:
        dce = await voice_call(stage)
        dce.gone = lambda: radio(stage).lose(ADDRESS)
        view = await stage.ended(await stage.desk.dial(ID, "400", DialOptions()))
        assert view.end_reason is EndReason.NO_MODULATOR
        assert "on the phone itself" in view.detail
        assert radio(stage).connects == 1
        await stage.state(ID, S.READY)

    stage.run(body, phone())


SOMEBODY = REMOTE.replace('policy = "in"\n', "")


async def lost_in_a_voice_call(stage: Stage) -> None:
    """The phone rings somebody when the line to it is lost, and goes on ringing."""
    await here(stage, "voice-phone")
    call = await stage.desk.dial(ID, "200", DialOptions())
    await stage.state(_id(stage, "200"), S.RINGING)
    radio(stage).lose(ADDRESS)
    view = await stage.ended(call)
    assert view.end_reason is EndReason.MODEM_LOST
    assert "on the phone itself" in view.detail
    assert stage.sim("300").doing == "voice call"
    await stage.state(ID, S.READY)
    radio(stage).allow(ADDRESS)


def test_a_voice_call_that_outlives_the_line_is_ended_at_the_next_opening(stage: Stage) -> None:
    async def body() -> None:
        await lost_in_a_voice_call(stage)
        assert (await stage.desk.command(ID, "AT+CLCC", 2.0))[1] == []
        assert (stage.sim("300").doing, stage.sim("300").peer) == ("idle", "")

    stage.run(body, SOMEBODY + phone())


class Talking(Scripted):
    """Lists one call until it is hung up; keeps what it was told."""

    def __init__(self, listed: str) -> None:
        super().__init__()
        self.listed = listed
        self.told: list[str] = []

    def received(self, data: bytes) -> None:
        text = data.decode("latin-1").strip()
        self.told.append(text)
        if text == "AT+CLCC" and self.listed:
            self.say(f"\r\n{self.listed}\r\n\r\nOK\r\n")
            return
        if text == "ATH":
            self.listed = ""
        super().received(data)


@pytest.mark.parametrize(
    ("dialled", "listed", "ours"),
    [
        ("400", '+CLCC: 1,0,0,0,0,"400",129', True),
        ("400", "+CLCC: 1,0,3,0,0", True),
        ("400", "+CLCC: 1,0,0,0,0", False),
        ("400", '+CLCC: 1,0,0,0,0,"5551",129', False),
        ("400", '+CLCC: 1,1,0,0,0,"400",129', False),
        ("xxx", '+CLCC: 1,0,2,0,0,"400",129', True),
        ("xxx", '+CLCC: 1,0,0,0,0,"400",129', False),
    ],
)
def test_a_call_that_was_being_dialled_when_the_daemon_was_killed(
    stage: Stage, tmp_path: Path, dialled: str, listed: str, ours: bool
) -> None:
    async def body() -> None:
        dce = Talking(listed)
        radio(stage).pair(ADDRESS, "Nokia", dce)
        await stage.state(ID, S.READY)
        assert radio(stage).connects == 0
        await stage.desk.command(ID, "AT", 2.0)
        assert dce.told.count("AT+CLCC") >= 1
        assert ("ATH" in dce.told) is ours
        dce.told.clear()
        await closed(stage)
        await stage.desk.command(ID, "AT", 2.0)
        assert "AT+CLCC" not in dce.told, "that is done once"

    asyncio.run(remember(tmp_path, CallView(7, ID, Direction.OUTGOING, dialled, state=CallState.DIALING)))
    stage.run(body, phone())


def test_a_voice_call_of_long_ago_is_looked_for_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """By now it is the owner who has called the same number."""
    monkeypatch.setattr("dialupd.modem.timing.RUNS_ON", -3600.0)

    async def body() -> None:
        await lost_in_a_voice_call(stage)
        dce = Talking('+CLCC: 1,0,0,0,0,"200",129')
        radio(stage).pair(ADDRESS, "Nokia", dce)
        await stage.desk.command(ID, "AT", 2.0)
        assert dce.listed
        assert not stage.registry.fleet.modems[ID].unsure

    stage.run(body, SOMEBODY + phone())


def test_a_call_that_cannot_be_ended_at_the_next_opening_is_told_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialupd.modem.timing.VOICE_CLEARS", 0.01)

    async def body() -> None:
        await lost_in_a_voice_call(stage)
        dce = VoiceCall({"AT+CLCC": '\r\n+CLCC: 1,0,0,0,0,"200",129\r\n\r\nOK\r\n'})
        radio(stage).pair(ADDRESS, "Nokia", dce)
        with pytest.raises(DialupError) as error:
            await stage.desk.command(ID, "AT", 2.0)
        assert "on the phone itself" in str(error.value)
        await stage.state(ID, S.READY)
        assert (await stage.desk.command(ID, "AT", 2.0))[0] == "OK"

    stage.run(body, SOMEBODY + phone())


# -- keep-connected


def test_a_line_that_is_kept_open_answers(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        assert stage.told.states[ID] == ["probing", "ready"]
        assert radio(stage).open_lines() == 1
        reasons = [event.state_reason for what, event in stage.told.events if what == "modem" and event.id == ID]
        assert "connecting to nokia by Bluetooth" in reasons
        caller = await stage.modem("100")
        await stage.state(caller, S.READY)
        call = await stage.connect(caller, "300")
        await stage.state(ID, S.CONNECTED)
        await stage.desk.hang_up(caller)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        theirs = await stage.ended(stage.incoming().call)
        assert theirs.end_reason is EndReason.REMOTE_HANGUP
        await stage.state(ID, S.READY)
        assert radio(stage).open_lines() == 1

    stage.run(
        body,
        ANSWER
        + phone('keep-connected = true\npolicy = "in"\n')
        + '\n[[modem]]\nname = "m100"\nmatch = { serial = "100", vendor = "0572" }\n',
    )


def test_a_line_that_is_kept_open_comes_back_after_a_call(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        call = await stage.connect(ID, "200")
        gate = await open_gate(stage)
        await stage.desk.hang_up(ID)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await paged(stage, 2)
        assert stage.view(ID).state is S.PROBING, "the call's end does not wait for it"
        gate.set()
        await stage.state(ID, S.READY)
        assert radio(stage).open_lines() == 1
        assert "failed" not in stage.told.states[ID]

    stage.run(body, ANSWER + REMOTE + KEPT)


@pytest.mark.parametrize("lose", [True, False])
def test_a_line_that_is_kept_open_comes_back_after_a_loss(stage: Stage, lose: bool) -> None:
    async def body() -> None:
        await here(stage)
        radio(stage).lose(ADDRESS) if lose else radio(stage).far(ADDRESS).close()
        assert (await stage.state(ID, S.FAILED)).state_reason == (OUT_OF_RANGE if lose else CLOSED)
        if lose:
            await paged(stage, 3)
        radio(stage).allow(ADDRESS)
        await stage.state(ID, S.READY)
        assert radio(stage).open_lines() == 1

    stage.run(body, KEPT)


def test_a_phone_that_takes_the_line_only_to_close_it_is_left_in_peace(stage: Stage) -> None:
    """Opening brings the radio link up each time, and that is no news of the phone."""

    async def body() -> None:
        async def link_up() -> None:
            radio(stage).change(ADDRESS, connected=True)

        radio(stage).gate = link_up
        await here(stage, ready=False)
        seen = []
        for _ in range(3):
            await stage.state(ID, S.READY)
            radio(stage).far(ADDRESS).close()
            await stage.state(ID, S.FAILED)
            radio(stage).change(ADDRESS, connected=False)
            await stage.told.until(lambda: stage.view(ID).next_attempt, "a next attempt")
            seen.append(stage.view(ID).attempts)
        assert seen == [1, 2, 3]

    stage.run(body, KEPT)


def test_a_phone_that_refuses_and_whose_link_comes_and_goes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.modem.timing.RETRY_FIRST", 3600.0)
    monkeypatch.setattr("dialupd.modem.timing.RETRY_MAX", 3600.0)

    async def body() -> None:
        radio(stage).refuse(ADDRESS, RadioFault.REFUSED, "Nokia: it refuses the connection")
        await here(stage, ready=False)
        for _ in range(5):
            await stage.state(ID, S.FAILED)
            await stage.told.until(lambda: stage.view(ID).next_attempt, "a next attempt")
            radio(stage).change(ADDRESS, connected=True)
            radio(stage).change(ADDRESS, connected=False)
        assert radio(stage).connects == 2

    stage.run(body, KEPT)


def test_a_radio_that_falls_because_the_phone_is_looked_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is back each time, and that must not make the phone be looked for at once and again."""
    monkeypatch.setattr("dialupd.modem.timing.RETRY_MAX", 3600.0)

    async def body() -> None:
        radio(stage).refuse(ADDRESS, RadioFault.FAILED, "Nokia: bluetoothd ended while it was connecting")
        await here(stage, ready=False)
        seen = []
        for count in range(1, 4):
            await stage.told.until(lambda: stage.view(ID).attempts == count, f"failure {count}")  # noqa: B023
            radio(stage).trouble_is("bluetoothd does not run; start it")
            radio(stage).trouble_is("")
            assert stage.view(ID).state is S.FAILED
            assert "tried after the pause" in stage.view(ID).state_reason
            seen.append(radio(stage).connects)
        assert seen == [1, 2, 3]

    stage.run(body, KEPT)


def test_a_policy_that_answers_is_refused_where_nothing_can_ring(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        with pytest.raises(DialupError) as refused:
            await stage.desk.set_policy(ID, "in")
        assert words(refused)[0] is ErrorKind.INVALID_ARGS
        assert "keep-connected = true" in str(refused.value)
        assert stage.view(ID).policy == ""

    stage.run(body, ANSWER + phone())


def test_who_dials_a_failed_phone_is_told_what_tries_at_once(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        radio(stage).trouble_is("bluetoothd does not run")
        await stage.state(ID, S.FAILED)
        with pytest.raises(DialupError, match=r"is failed .*; Reset tries it at once") as refused:
            await stage.desk.dial(ID, "200", DialOptions())
        assert words(refused)[0] is ErrorKind.WRONG_STATE

    stage.run(body, phone())


def test_keep_connected_switched_on_and_off(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await reload(stage, KEPT)
        await stage.told.until(lambda: stage.view(ID).state is S.READY and radio(stage).open_lines(), "connected")
        assert radio(stage).connects == 1
        await reload(stage, phone())
        await closed(stage)
        await reload(stage, phone('apn = "other"\n'))
        assert stage.view(ID).state is S.READY
        assert radio(stage).connects == 1, "another entry is for the next call"

    stage.run(body, phone())


def test_another_entry_in_the_quiet_time(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await stage.desk.command(ID, "AT", 2.0)
        await reload(stage, phone(LINGERS + 'init = ["ATS10=33"]\n'))
        await closed(stage)
        assert (await stage.desk.command(ID, "ATS10?", 2.0))[1] == ["033"]

    stage.run(body, phone(LINGERS))


# -- policies


def test_a_policy_dials_from_rest_and_again(stage: Stage) -> None:
    async def body() -> None:
        await here(stage, ready=False)
        await stage.state(ID, S.CONNECTED)
        await stage.desk.hang_up(_id(stage, "200"))
        await stage.told.until(lambda: stage.told.states[ID].count("connected") == 2, "dialled again")
        await stage.desk.suspend("up")
        await stage.desk.hang_up(ID)
        await stage.state(ID, S.READY)
        await closed(stage)

    stage.run(body, ANSWER + ALWAYS + REMOTE + phone('policy = "up"\n'))


def test_a_policy_that_is_set_dials_and_one_that_is_blocked_rests(stage: Stage) -> None:
    async def body() -> None:
        await here(stage, "voice-phone")
        stage.exchange.special("400", "voice")
        await stage.desk.set_policy(ID, "up")
        view = await stage.state(ID, S.BLOCKED)
        assert "voice call" in view.state_reason
        await asyncio.wait_for(radio(stage).far(ADDRESS).closed.wait(), 5)
        assert "voice call" in stage.view(ID).state_reason
        assert (await stage.desk.command(ID, "AT", 2.0))[0] == "OK"
        await stage.state(ID, S.BLOCKED)
        await stage.desk.set_policy(ID, "")
        await stage.state(ID, S.READY)
        await closed(stage)

    stage.run(body, ALWAYS.replace('["200"]', '["400"]') + phone())


def test_a_phone_out_of_range_uses_up_no_calls_of_the_day(stage: Stage) -> None:
    """Else it would not be dialled on the day on which it is back."""

    async def body() -> None:
        radio(stage).refuse(ADDRESS, RadioFault.OUT_OF_RANGE, AWAY)
        await here(stage, ready=False)
        await stage.calls(3, ID)
        assert stage.view(ID).state is not S.BLOCKED
        radio(stage).allow(ADDRESS)
        await stage.state(ID, S.CONNECTED)
        await stage.desk.hang_up(ID)
        assert "limit is retry.per-day" in (await stage.state(ID, S.BLOCKED)).state_reason

    policy = ALWAYS.replace('max = "2s"', 'max = "2s", per-day = 1')
    stage.run(body, ANSWER + policy + REMOTE + phone('policy = "up"\n'))


@pytest.mark.parametrize(("reason", "state"), [(EndReason.MODEM_LOST, S.CONNECTED), (EndReason.NO_CARRIER, S.BLOCKED)])
def test_what_was_not_dialled_before_a_restart_is_not_counted_either(
    stage: Stage, tmp_path: Path, reason: EndReason, state: ModemState
) -> None:
    async def body() -> None:
        await here(stage, ready=False)
        await stage.state(ID, S.CONNECTED, S.BLOCKED)
        assert stage.view(ID).state is state

    call = CallView(7, ID, Direction.OUTGOING, "200", policy="up", state=CallState.ENDED, end_reason=reason)
    asyncio.run(remember(tmp_path, call))
    policy = ALWAYS.replace('max = "2s"', 'max = "2s", per-day = 1')
    stage.run(body, ANSWER + policy + REMOTE + phone('policy = "up"\n'))


async def remember(directory: Path, call: CallView) -> None:
    """A daemon before has left the call in the history."""
    store = Store(str(directory))
    store.begin(replace(call, start_time=time.time_ns() // 1000))
    await store.close()


@pytest.mark.parametrize("first", ["phone", "wired"])
def test_a_policy_prefers_a_line_that_is_open(stage: Stage, first: str) -> None:
    wired = '\n[[modem]]\nname = "m100"\nmatch = { serial = "100", vendor = "0572" }\npolicy = "up"\n'

    async def body() -> None:
        if first == "wired":
            await stage.modem("100")
        await here(stage)
        if first == "phone":
            await stage.modem("100")
        await ready(stage, "100")
        stage.exchange.special("400", "busy")
        calls = [await stage.desk.originate("up", DialOptions()) for _ in range(2)]
        assert [stage.call(call).modem for call in calls] == [_id(stage, "100"), ID]
        for call in calls:
            await stage.ended(call)

    manual = ALWAYS.replace('["200"]', '["400"]').replace("session =", 'when = "manual"\nsession =')
    stage.run(body, manual + wired + phone('policy = "up"\n'))


# -- the radio's news


def test_trouble_and_its_end(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        radio(stage).trouble_is("Bluetooth is switched off; switch it on")
        assert stage.view(ID).state is S.FAILED
        assert stage.view(ID).state_reason == "Bluetooth is switched off; switch it on"
        radio(stage).trouble_is("bluetoothd does not run; start it")
        assert stage.view(ID).state_reason == "bluetoothd does not run; start it"
        await stage.told.until(lambda: stage.told.states[ID].count("failed") > 2, "retries")
        assert set(stage.told.states[ID]) == {"probing", "ready", "failed"}
        assert stage.registry.fleet.modems[ID].pauses.failures == 0, "the phone itself was not tried"
        assert radio(stage).connects == 0
        seen = stage.told.states[ID].count("ready")
        radio(stage).trouble_is("")
        await stage.state(ID, S.READY)
        assert stage.told.states[ID].count("ready") == seen + 1
        assert radio(stage).connects == 0

    stage.run(body, phone())


def test_a_phone_that_shows_up_is_tried_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.modem.timing.RETRY_FIRST", 3600.0)
    monkeypatch.setattr("dialupd.modem.timing.RETRY_MAX", 3600.0)

    async def body() -> None:
        radio(stage).refuse(ADDRESS, RadioFault.OUT_OF_RANGE, AWAY)
        await here(stage, ready=False)
        await stage.state(ID, S.FAILED)
        radio(stage).allow(ADDRESS)
        radio(stage).change(ADDRESS, connected=True)
        await stage.state(ID, S.READY)
        assert radio(stage).open_lines() == 1
        radio(stage).trouble_is("bluetoothd does not run; start it")
        assert stage.view(ID).state is S.READY, "a line that lives goes on"
        radio(stage).far(ADDRESS).close()
        await stage.state(ID, S.FAILED)
        radio(stage).trouble_is("")
        await stage.state(ID, S.READY)

    stage.run(body, KEPT)


def test_trouble_leaves_a_call_alone_and_shows_after_it(stage: Stage) -> None:
    async def body() -> None:
        call, stream = await _connected(stage)
        radio(stage).trouble_is("bluetoothd does not run; start it")
        assert stage.view(ID).state is S.CONNECTED
        await stage.desk.hang_up(ID)
        assert (await stage.ended(call.call)).end_reason is EndReason.LOCAL_HANGUP
        assert (await stage.state(ID, S.FAILED)).state_reason == "bluetoothd does not run; start it"
        await stream.end()

    stage.run(body, ANSWER + REMOTE + phone())


def test_the_adapter_goes_in_mid_call(stage: Stage) -> None:
    async def body() -> None:
        call, stream = await _connected(stage)
        radio(stage).remove(ADDRESS)
        assert (await stage.ended(call.call)).end_reason is EndReason.MODEM_LOST
        await stage.gone(ID)
        await stream.end()

    stage.run(body, ANSWER + REMOTE + phone())


@pytest.mark.parametrize("kept", [False, True])
def test_the_machine_sleeps(stage: Stage, kept: bool) -> None:
    async def body() -> None:
        await here(stage)
        await stage.desk.command(ID, "AT", 2.0)
        sleeper = Sleeper(stage.registry)
        await sleeper.before()
        sleeper.after()
        if kept:
            assert stage.view(ID).state is S.RESETTING
            await stage.state(ID, S.READY)
            assert radio(stage).connects == 2
        else:
            await closed(stage)
            assert radio(stage).connects == 1

    stage.run(body, KEPT if kept else phone(LINGERS))


def test_the_daemon_ends_while_it_connects(stage: Stage) -> None:
    async def body() -> None:
        await here(stage)
        await open_gate(stage)
        call = await stage.desk.dial(ID, "200", DialOptions())
        await paged(stage, 1)
        await stage.registry.close()
        assert (await stage.ended(call)).end_reason is EndReason.SHUTDOWN
        assert radio(stage).given_up == 1

    stage.run(body, phone())


def test_connecting_is_not_hung(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        await here(stage)
        gate = await open_gate(stage)
        call = await stage.desk.dial(ID, "200", DialOptions())
        await paged(stage, 1)
        modem = stage.registry.fleet.modems[ID]
        now = asyncio.get_running_loop().time()
        monkeypatch.setattr(modem, "_busy_since", now - 25 - 70)
        assert not modem.hung
        gate.set()
        await stage.ended(call)

    stage.run(body, phone())


def test_a_phone_is_another_caller_s(stage: Stage) -> None:
    """A call for its owner rings on a phone that is kept connected; it is left alone."""

    async def body() -> None:
        await here(stage)
        stage.exchange.ring("300", Caller("5551"), rings=2)
        await stage.told.until(lambda: "phone's owner" in stage.view(ID).state_reason, "told")
        assert stage.view(ID).state is S.READY
        assert list(stage.desk.calls()) == []

    stage.run(body, ANSWER + phone('keep-connected = true\npolicy = "in"\n'))


# -- a tty of the kernel's to a phone


async def bound_by_hand(stage: Stage) -> str:
    await stage.modems("200")
    stage.exchange.modem("500", kind="nokia")
    path = await stage.exchange.on_pty("500")
    # As a pattern, so that the port is looked for by nobody else.
    entry = f'\n[[modem]]\nname = "rfcomm"\nmatch = {{ device = "{path[:-1]}[{path[-1]}]" }}\n'
    await reload(stage, ANSWER + REMOTE + entry)
    stage.registry.fleet.present(stage.device("500", path, Transport.BLUETOOTH))
    modem = _id(stage, "500")
    await stage.state(modem, S.READY)
    return modem


def _is_open(stage: Stage, modem: str) -> bool:
    return stage.registry.fleet.modems[modem].channel is not None


def test_a_tty_to_a_phone_is_opened_on_demand_too(stage: Stage) -> None:
    async def body() -> None:
        modem = await bound_by_hand(stage)
        assert not _is_open(stage, modem)
        assert stage.view(modem).state_reason == RESTING
        call = await stage.connect(modem, "200")
        await stage.desk.hang_up(modem)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.state(modem, S.READY)
        await stage.told.until(lambda: not _is_open(stage, modem), "closed")
        assert "failed" not in stage.told.states[modem]

    stage.run(body, ANSWER + REMOTE)


def test_a_tty_to_a_phone_is_lost_in_mid_call(stage: Stage) -> None:
    async def body() -> None:
        modem = await bound_by_hand(stage)
        call = await stage.connect(modem, "200")
        ours, theirs = await streams(stage, call)
        stage.exchange.unplug("500")
        await ours.end()
        await theirs.end()
        assert (await stage.ended(call)).end_reason is EndReason.REMOTE_HANGUP
        await stage.state(modem, S.READY)
        assert not _is_open(stage, modem)

    stage.run(body, ANSWER + REMOTE)


# -- a restart of the daemon

# A session's unit takes no line but a tty and RFCOMM; a socket pair stands in for the latter here.
HELPER = """
import runpy
import dialupd.io.radioport as port
port.rfcomm = lambda *_: True
runpy.run_module("dialupd.helper", run_name="__main__")
"""
ECHO = """
[session.echo]
type = "exec"
command = ["/bin/sh", "-c", "stty raw -echo; echo ready; exec cat"]

[policy.in]
mode = "answer"
rings = 1
session = "echo"
"""


@pytest.fixture
def units(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnitStage:
    monkeypatch.setattr(Manager, "HELPER", ("-c", HELPER))
    monkeypatch.setattr("dialupd.modem.timing.SESSION_STOP", 8.0)
    found = UnitStage(tmp_path)
    found.radio = stage.radio
    return found


@pytest.mark.parametrize("end", ["hung up", "out of range", "closed by the phone"])
def test_a_call_outlives_the_daemon(units: UnitStage, end: str) -> None:
    async def body() -> None:
        await here(units)
        call = await units.connect(ID, "200")
        stream = Stream(await units.desk.open_call(call))
        await stream.until(b"ready")
        await units.restart()
        modem = units.view(ID)
        assert (modem.state, modem.call, modem.model) == (S.CONNECTED, call, "Nokia 6230")
        assert radio(units).connects == 1
        stream.send(b"still there")
        await stream.until(b"still there")
        match end:
            case "hung up":
                await units.desk.hang_up_call(call)
                reason = EndReason.LOCAL_HANGUP
            case "out of range":
                radio(units).lose(ADDRESS)
                reason = EndReason.MODEM_LOST
            case _:
                radio(units).far(ADDRESS).close()
                reason = EndReason.REMOTE_HANGUP
        await stream.end()
        assert (await units.ended(call)).end_reason is reason
        await units.state(ID, S.READY)
        assert radio(units).connects == 1
        await units.told.until(lambda: not radio(units).open_lines(), "closed")

    units.run(body, ECHO + REMOTE + phone())


@pytest.mark.parametrize("back", [False, True])
def test_a_call_outlives_the_daemon_while_bluetoothd_is_away(units: UnitStage, back: bool) -> None:
    async def body() -> None:
        await here(units)
        nokia = radio(units).known[ADDRESS]
        call = await units.connect(ID, "200")
        stream = Stream(await units.desk.open_call(call))
        await stream.until(b"ready")
        await units.end(keep=True)
        radio(units).known.clear()
        radio(units).why = "bluetoothd does not run; start it"
        await units.begin()
        assert units.view(ID).state is S.CONNECTED
        await units.desk.rescan()
        await units.desk.reload()
        stream.send(b"still there")
        await stream.until(b"still there")
        if back:
            radio(units).put(nokia)
            radio(units).trouble_is("")
        await units.desk.hang_up_call(call)
        assert (await units.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        if back:
            await units.state(ID, S.READY)
        else:
            await units.gone(ID)
            radio(units).put(nokia)
            radio(units).trouble_is("")
            await units.state(ID, S.READY)
        await stream.end()

    units.run(body, ECHO + REMOTE + phone().replace(f'address = "{ADDRESS}"', 'name = "Nok*", class = "phone"'))
