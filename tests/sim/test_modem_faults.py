"""How a call ends, by the name of what is wrong with the modem or the number."""

from __future__ import annotations

import logging

import pytest
from modem_stage import ANSWER, Stage, entry
from modem_stage import stage as stage

from dialupd.model import DialOptions, EndReason, ModemState, Transport

TWO = ANSWER + entry("100") + entry("200", "in")


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (["busy"], [], EndReason.BUSY),
        ([], ["busy"], EndReason.BUSY),
        (["no-answer"], [], EndReason.NO_ANSWER),
        ([], ["no-answer"], EndReason.NO_ANSWER),
        (["no-dialtone"], [], EndReason.NO_DIALTONE),
        (["no-carrier"], [], EndReason.NO_CARRIER),
        ([], ["no-carrier"], EndReason.NO_CARRIER),
        (["blacklisted"], [], EndReason.BLACKLISTED),
        (["delayed"], [], EndReason.DELAYED),
        (["voice-only-phone"], [], EndReason.NO_MODULATOR),
    ],
)
def test_a_call_that_fails(stage: Stage, ours: list[str], theirs: list[str], reason: EndReason) -> None:
    async def body() -> None:
        modem, other = await stage.modems("100", "200")
        stage.sim("100").set_faults(ours)
        stage.sim("200").set_faults(theirs)
        call = await stage.dialled(modem, "200")
        assert call.end_reason is reason
        assert call.connect_time == 0
        assert call.end_time >= call.start_time > 0
        assert (call.direction, call.number, call.session) == ("outgoing", "200", "client")
        assert stage.view(modem).state is ModemState.READY
        assert stage.told.states[modem][-4:] == ["ready", "dialing", "hanging-up", "ready"]
        await stage.state(other, ModemState.READY)
        assert stage.sim("100").peer == ""
        stage.sim("100").set_faults([])
        stage.sim("200").set_faults([])
        assert stage.call(await stage.connect(modem, "200")).line_rate > 0

    stage.run(body, TWO)


@pytest.mark.parametrize(
    ("what", "kind", "reason"),
    [
        ("busy", "conexant", EndReason.BUSY),
        ("no-answer", "conexant", EndReason.NO_ANSWER),
        ("voice", "usr", EndReason.VOICE),
        ("voice", "conexant", EndReason.NO_CARRIER),
        ("voice", "nokia", EndReason.NO_CARRIER),
    ],
)
def test_a_number_that_is_no_modem(stage: Stage, what: str, kind: str, reason: EndReason) -> None:
    async def body() -> None:
        stage.exchange.special("5", what)
        (modem,) = await stage.modems("100", kind=kind)
        assert (await stage.dialled(modem, "5")).end_reason is reason
        assert (await stage.dialled(modem, "77")).end_reason is EndReason.NO_CARRIER, "nobody has this number"
        assert stage.view(modem).state is ModemState.READY

    stage.run(body, entry("100"))


def test_without_a_dial_tone_it_is_dialled_blind_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        (modem,) = await stage.modems("100", faults=["no-dialtone"])
        caplog.clear()
        assert (await stage.dialled(modem, "200")).end_reason is EndReason.NO_DIALTONE
        said = [record.getMessage().partition(" > ")[2] for record in caplog.records if " > " in record.getMessage()]
        at = said.index("ATDT200")
        assert said[at : at + 3] == ["ATDT200", "ATX3", "ATDT200"]
        assert said.count("ATDT200") == 2
        assert not stage.view(modem).attempts
        assert "ATX4" in said[at + 3 :], "the next call waits for the tone again"

    stage.run(body, entry("100"))


def test_a_no_carrier_of_the_last_call_is_not_of_this_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dialupd.modem.timing.STALE", 5.0)
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        (modem,) = await stage.modems("100")
        assert (await stage.dialled(modem, "77")).end_reason is EndReason.NO_CARRIER
        assert sum(record.getMessage().endswith("> ATDT77") for record in caplog.records) == 2

    stage.run(body, entry("100"))


def test_a_phone_without_a_modulator_hangs_up_its_voice_call_at_once(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("100", kind="nokia", faults=["voice-only-phone"])
        stage.exchange.special("5", "voice")
        call = await stage.desk.dial(modem, "5", DialOptions())
        await stage.ended(call)
        assert stage.call(call).end_reason is EndReason.NO_MODULATOR
        view = await stage.state(modem, ModemState.READY)
        assert stage.sim("100").peer == "", "nobody pays for a call that carries nothing"
        assert view.call == 0

    stage.run(body, entry("100"))


@pytest.mark.parametrize("fault", ["echo-forever", "garbage", "slow=0.01", "one-byte-at-a-time=0"])
@pytest.mark.parametrize("kind", ["conexant", "usr", "generic", "nokia"])
def test_an_odd_modem_still_does_its_work(stage: Stage, fault: str, kind: str) -> None:
    async def body() -> None:
        modem, other = await stage.modems("100", "200", kind=kind, faults=[fault])
        view = stage.view(modem)
        assert view.manufacturer + view.model
        assert "data" in view.capabilities
        assert "caller-id" in view.capabilities
        call = await stage.connect(modem, "200")
        await stage.desk.hang_up(modem)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        assert (await stage.ended(stage.incoming().call)).end_reason is EndReason.REMOTE_HANGUP
        await stage.state(modem, ModemState.READY)
        await stage.state(other, ModemState.READY)

    stage.run(body, TWO)


@pytest.mark.parametrize(
    ("fault", "said"),
    [("silent", "does not answer"), ("looped", "sends back what it gets"), ("wrong-speed=9600", "does not answer")],
)
def test_a_modem_that_cannot_be_used_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    monkeypatch.setattr("dialupd.modem.timing.SYNC", 0.1)
    monkeypatch.setattr("dialupd.modem.timing.SYNC_TRIES", 2)

    async def body() -> None:
        modem = await stage.modem("100", faults=[fault])
        view = await stage.state(modem, ModemState.FAILED)
        assert said in view.state_reason
        await stage.told.until(lambda: stage.view(modem).attempts >= 2, "a second attempt")
        assert stage.view(modem).next_attempt > view.state_since
        stage.sim("100").set_faults([])
        view = await stage.state(modem, ModemState.READY)
        assert (view.attempts, view.next_attempt) == (0, 0)

    stage.run(body, entry("100"))


def test_a_serial_modem_is_found_at_another_speed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.modem.timing.SYNC", 0.1)

    async def body() -> None:
        modem = await stage.modem("100", faults=["wrong-speed=38400"], transport=Transport.SERIAL)
        await stage.state(modem, ModemState.READY)
        assert stage.told.states[modem] == ["probing", "ready"]

    stage.run(body, entry("100"))


def test_a_modem_that_dies_while_it_dials(stage: Stage) -> None:
    async def body() -> None:
        modem, _ = await stage.modems("100", "200")
        stage.sim("100").set_faults(["dies-mid-connect"])
        call = await stage.dialled(modem, "200", timeout=0.3)
        assert call.end_reason is EndReason.TIMEOUT
        view = await stage.state(modem, ModemState.FAILED)
        assert view.state_reason
        stage.sim("100").set_faults([])
        await stage.state(modem, ModemState.READY)

    stage.run(body, TWO)


def test_the_carrier_drops(stage: Stage) -> None:
    async def body() -> None:
        modem, other = await stage.modems("100", "200", faults=["drops-carrier=0.05"])
        call = await stage.connect(modem, "200")
        assert (await stage.ended(call)).end_reason is EndReason.REMOTE_HANGUP
        assert (await stage.ended(stage.incoming().call)).end_reason is EndReason.REMOTE_HANGUP
        await stage.state(modem, ModemState.READY)
        await stage.state(other, ModemState.READY)

    stage.run(body, TWO)


def test_a_modem_that_stays_online_is_a_failed_one(stage: Stage) -> None:
    async def body() -> None:
        modem, _ = await stage.modems("100", "200")
        call = await stage.connect(modem, "200")
        stage.sim("100").set_faults(["stuck-online"])
        await stage.desk.hang_up(modem)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        view = await stage.state(modem, ModemState.FAILED)
        assert "data mode" in view.state_reason
        stage.sim("100").set_faults([])
        await stage.state(modem, ModemState.READY)

    stage.run(body, TWO)
