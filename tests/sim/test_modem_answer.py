"""What may go wrong while a call is being answered."""

from __future__ import annotations

import logging

import pytest
from modem_stage import ANSWER, Stage, entry
from modem_stage import stage as stage

from dialupd.exchange.answers import Caller
from dialupd.model import EndReason, ModemState
from dialupd.modem import timing


def test_who_gives_up_in_that_moment_is_not_answered_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """NO CARRIER soon after ATA is this call's: another ATA would hold the line for all of S7."""
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        monkeypatch.setattr(timing, "STALE", 10.0)
        (modem,) = await stage.modems("200")
        stage.exchange.ring("200", Caller("5551212"), rings=9)
        (call,) = await stage.calls(1)
        assert call.end_reason is EndReason.NO_CARRIER
        await stage.state(modem, ModemState.READY)

    stage.run(body, ANSWER + entry("200", "in"))
    assert caplog.text.count("> ATA") == 1


@pytest.mark.parametrize("answer", ["FAX", "+FCO", "CONNECT FAX"])
def test_a_fax_machine_that_calls_gets_no_session(stage: Stage, answer: str) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("300", {"ATA": f"\r\n{answer}\r\n"})
        dce.say("\r\nRING\r\n")
        (call,) = await stage.calls(1)
        assert (call.end_reason, call.connect_time) == (EndReason.FAX, 0)
        assert "a fax machine calls" in call.detail
        await stage.state(modem, ModemState.READY)

    stage.run(body, ANSWER + entry("300", "in"))
