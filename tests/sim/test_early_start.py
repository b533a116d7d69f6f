"""Units of sessions that begin while the modem still dials or answers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialupd.model import CallState, DialOptions, EndReason, ModemState
from dialupd.modem import timing
from dialupd.sessions import protocol, starting
from dialupd.sessions.gate import Gate
from dialupd.sessions.protocol import Hello, Kind
from tests.sim.modem_stage import QUICK, Scripted, entry
from tests.sim.unit_stage import UnitStage

SILENT = {"ATDT5": "", "ATA": ""}
"""It dials and answers until it is told how that ends."""

CONFIG = f"""
[session.echo]
type = "exec"
command = ["/bin/cat"]

[policy.in]
mode = "answer"
rings = 2
session = "echo"
deny-callers = ["666"]
{entry("300", "in")}
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UnitStage]:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(timing, name, seconds)
    yield UnitStage(tmp_path)


def _unit(call: int) -> str:
    return f"dialupd-exec@{call}.service"


async def _dialling(stage: UnitStage) -> tuple[str, Scripted, int]:
    """A modem that dials, and whose call's unit waits for the line."""
    modem, dce = await stage.scripted("300", SILENT)
    call = await stage.desk.dial(modem, "5", DialOptions(session="echo", timeout=600))
    await stage.prepared(call)
    assert stage.call(call).state is CallState.DIALING
    return modem, dce, call


@pytest.mark.parametrize("how", ["busy", "hang up", "unplug"])
def test_a_dial_that_fails_ends_its_unit_at_once_and_without_a_word(
    stage: UnitStage, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        _, dce, call = await _dialling(stage)
        match how:
            case "busy":
                dce.say("\r\nBUSY\r\n")
            case "hang up":
                await stage.desk.hang_up_call(call)
            case "unplug":
                stage.registry.fleet.gone("/sys/test/300")
        await stage.ended(call)
        assert await stage.manager.ended(_unit(call)) == 0
        assert stage.manager.log(_unit(call)) == ""
        assert stage.manager.look() == {}
        assert stage.manager.started == [_unit(call)]

    stage.run(body, CONFIG)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_unit_that_waited_gets_the_line(stage: UnitStage) -> None:
    async def body() -> None:
        _, dce, call = await _dialling(stage)
        dce.say("\r\nCONNECT 33600\r\n")
        await stage.told.until(lambda: stage.call(call).session_state == "running", "running")
        assert stage.manager.started == [_unit(call)]
        await stage.desk.hang_up_call(call)
        await stage.ended(call)
        assert await stage.manager.ended(_unit(call)) == 0

    stage.run(body, CONFIG)


def test_redials_do_not_pile_up(stage: UnitStage) -> None:
    async def body() -> None:
        modem, _ = await stage.scripted("300", {"ATDT5": "\r\nBUSY\r\n"})
        for number in (1, 2, 3):
            assert (await stage.dialled(modem, "5", session="echo")).call == number
        for number in (1, 2, 3):
            # Not even begun, it is ended as systemd does it.
            assert await stage.manager.ended(_unit(number)) in (0, -signal.SIGTERM)
            assert stage.manager.log(_unit(number)) == ""

    stage.run(body, CONFIG)


def test_a_ring_that_is_not_answered_starts_nothing(stage: UnitStage) -> None:
    async def body() -> None:
        _, dce = await stage.scripted("300", SILENT)
        dce.say("\r\nRING\r\n")
        await stage.calls(1)
        assert stage.manager.started == []

    stage.run(body, CONFIG)


def test_a_caller_who_is_rejected_starts_nothing(stage: UnitStage) -> None:
    async def body() -> None:
        _, dce = await stage.scripted("300", SILENT)
        for text in ("RING", "NMBR = 666", "RING"):
            dce.say(f"\r\n{text}\r\n")
        (call,) = await stage.calls(1)
        assert call.end_reason is EndReason.REJECTED
        assert stage.manager.started == []

    stage.run(body, CONFIG)


def test_a_call_that_is_answered_starts_its_unit(stage: UnitStage) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("300", SILENT)
        for _ in range(2):
            dce.say("\r\nRING\r\n")
        await stage.state(modem, ModemState.ANSWERING)
        await stage.prepared(1)
        dce.say("\r\nNO CARRIER\r\n")
        assert (await stage.ended(1)).end_reason is EndReason.NO_CARRIER
        assert await stage.manager.ended(_unit(1)) == 0
        assert stage.manager.log(_unit(1)) == ""

    stage.run(body, CONFIG)


@pytest.mark.parametrize("connects", [False, True])
def test_a_unit_that_cannot_be_started_matters_only_if_the_call_connects(
    stage: UnitStage, connects: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        stage.manager.refuses = "polkit says no"
        answer = "\r\nCONNECT 33600\r\n" if connects else "\r\nBUSY\r\n"
        modem, _ = await stage.scripted("300", {"ATDT5": answer})
        view = await stage.dialled(modem, "5", session="echo")
        assert view.end_reason is (EndReason.SESSION_FAILED if connects else EndReason.BUSY)
        assert ("polkit says no" in view.detail) == connects

    stage.run(body, CONFIG)
    assert "polkit" not in caplog.text


def test_a_unit_that_dies_while_it_waits(stage: UnitStage) -> None:
    async def body() -> None:
        _, dce, call = await _dialling(stage)
        stage.kill(_unit(call))
        await asyncio.to_thread(stage.manager.running[_unit(call)].wait)
        dce.say("\r\nCONNECT 33600\r\n")
        view = await stage.ended(call)
        assert view.end_reason is EndReason.SESSION_FAILED
        assert f"{_unit(call)} ended before it got the line" in view.detail

    stage.run(body, CONFIG)


def test_a_unit_that_ends_before_its_first_word_is_noticed_at_once(
    stage: UnitStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "HELLO", 600.0)

    async def body() -> None:
        modem, _ = await stage.scripted("300", {"ATDT5": "\r\nCONNECT 33600\r\n"})
        begin = stage.manager._spawn
        monkeypatch.setattr(stage.manager, "_spawn", lambda unit, kind, call, *more: begin(unit, kind, "none", *more))
        view = await stage.dialled(modem, "5", session="echo")
        assert view.end_reason is EndReason.SESSION_FAILED
        assert f"{_unit(view.call)} was not started: its program ended with status 2" in view.detail

    stage.run(body, CONFIG)


def test_a_daemon_that_restarts_in_mid_dial_ends_the_unit(stage: UnitStage) -> None:
    async def body() -> None:
        _, _, call = await _dialling(stage)
        await stage.end(keep=True)
        status = await stage.manager.ended(_unit(call))
        await stage.begin()
        assert status == 0
        assert stage.manager.log(_unit(call)) == ""
        (row,) = await stage.rows()
        assert (row.call, row.end_reason) == (call, EndReason.SHUTDOWN)

    stage.run(body, CONFIG)


def test_a_session_whose_kind_has_changed_meanwhile_gets_a_unit_of_its_own(stage: UnitStage) -> None:
    async def body() -> None:
        _, dce, call = await _dialling(stage)
        stage.text = CONFIG.replace('type = "exec"\ncommand = ["/bin/cat"]', 'type = "login"')
        (stage.directory / "dialupd.toml").write_text(stage.text)
        await stage.desk.reload()
        dce.say("\r\nCONNECT 33600\r\n")
        login = f"dialupd-login@{call}.service"
        await stage.told.until(lambda: login in stage.manager.started, "login")
        assert await stage.manager.ended(_unit(call)) == 0
        if os.geteuid() == 0:
            await stage.told.until(lambda: stage.call(call).session_state == "login", "its prompt")
            await stage.desk.hang_up_call(call)
        await stage.ended(call)

    stage.run(body, CONFIG)


def test_a_unit_that_is_given_up_is_not_in_the_way_of_the_next(tmp_path: Path) -> None:
    """A call may lose the unit that was prepared for it in the moment in which its session asks for one."""

    async def test() -> None:
        gate = Gate(str(tmp_path))
        first = gate.expect(Kind.PPP, 7)
        second = gate.expect(Kind.PPP, 7)
        first.cancel()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as unit:
            unit.connect(str(tmp_path / protocol.SOCKET))
            protocol.send(unit, Hello(protocol.VERSION, Kind.PPP, 7))
            async with asyncio.timeout(20):
                (await second).close()
        gate.close()

    asyncio.run(test())
