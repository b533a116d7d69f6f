"""Mobile phones: what they can do and tell, calls that are none of ours, and voice calls that must not run on."""

from __future__ import annotations

import logging

import pytest
from modem_stage import ANSWER, Scripted, Stage, entry
from modem_stage import stage as stage

from dialupd.exchange.answers import Caller
from dialupd.model import CallState, DialOptions, DialupError, EndReason, ErrorKind, ModemState
from dialupd.modem import handset

PHONE = {
    "AT+GCAP": "\r\n+GCAP: +CGSM\r\n\r\nOK\r\n",
    "AT+CBST=?": "\r\n+CBST: (0-7),(0),(0-3)\r\n\r\nOK\r\n",
    "AT+CIND=?": '\r\n+CIND: ("battchg",(0-5)),("signal",(0-5)),("service",(0,1))\r\n\r\nOK\r\n',
    "AT+CBC": "\r\n+CBC: 0,63\r\n\r\nOK\r\n",
}


def sent(caplog: pytest.LogCaptureFixture) -> list[str]:
    texts = [record.getMessage() for record in caplog.records if record.name == "dialupd.at"]
    return [text.partition(" > ")[2] for text in texts if " > " in text]


# -- what it can do


@pytest.mark.parametrize(
    ("kind", "capabilities"),
    [("nokia", ("data", "gsm", "packet", "circuit", "caller-id")), ("voice-phone", ("gsm", "caller-id"))],
)
def test_what_a_phone_can_do_and_tells(stage: Stage, kind: str, capabilities: tuple[str, ...]) -> None:
    async def body() -> None:
        modem, analogue = await stage.modem("100", kind=kind, faults=["battery=63", "signal=10"]), "200"
        view = await stage.state(modem, ModemState.READY)
        assert view.capabilities == capabilities
        assert (view.signal, view.battery) == (-93, 63)
        (other,) = await stage.modems(analogue)
        assert (stage.view(other).signal, stage.view(other).battery) == (0, -1)

    stage.run(body, entry("100") + entry("200"))


def test_a_phone_that_does_not_say_that_it_is_one(stage: Stage) -> None:
    answers = {
        "AT+GCAP": "\r\nERROR\r\n",
        "AT+CGMI": "\r\nACME\r\n\r\nOK\r\n",
        "AT+CSQ": "\r\n+CSQ: 99,99\r\n\r\nOK\r\n",
    }

    async def body() -> None:
        modem, _ = await stage.scripted("100", answers)
        view = stage.view(modem)
        assert "gsm" in view.capabilities
        assert "data" not in view.capabilities
        assert view.manufacturer == "ACME"
        assert (view.signal, view.battery) == (0, -1)

    stage.run(body, entry("100"))


def test_context_and_bearer_are_set(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        await stage.modems("100", kind="nokia")
        assert 'AT+CGDCONT=2,"IP","web"' in sent(caplog)
        assert "AT+CBST=71,0,1" in sent(caplog)

    stage.run(body, entry("100", more='apn = "web"\ncontext = 2\nbearer = "71,0,1"'))


@pytest.mark.parametrize(
    ("more", "key"), [('bearer = "7,0,1"', "AT+CBST=7,0,1 (key bearer)"), ('apn = "web"', "(key apn)")]
)
def test_what_the_phone_refuses_is_told_with_its_key(stage: Stage, more: str, key: str) -> None:
    async def body() -> None:
        modem = await stage.modem("100", kind="voice-phone")
        view = await stage.state(modem, ModemState.FAILED)
        assert key in view.state_reason

    stage.run(body, entry("100", more=more))


def test_another_context_is_dialled_as_written(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        stage.exchange.special("*99#", "echo")
        (modem,) = await stage.modems("100", kind="nokia")
        call = await stage.connect(modem, "*99***3#")
        await stage.desk.hang_up(modem)
        await stage.ended(call)
        assert "ATDT*99***3#" in sent(caplog)

    stage.run(body, entry("100", more='apn = "web"\ncontext = 2'))


# -- what it tells by itself


def test_battery_and_signal_follow_the_display(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("100", kind="nokia")
        assert (stage.view(modem).signal, stage.view(modem).battery) == (-73, 100)
        stage.sim("100").set_faults(["battery=41", "signal=9"])
        await stage.told.until(lambda: (stage.view(modem).battery, stage.view(modem).signal) == (40, -101))
        stage.sim("100").set_faults(["battery=42", "signal=10"])
        await stage.settle(modem)
        assert stage.view(modem).battery == 40, "no bar has changed"
        call = await stage.dialled(modem, "77")
        assert call.end_reason is EndReason.NO_CARRIER
        assert (stage.view(modem).signal, stage.view(modem).battery) == (-93, 42), "asked again after the call"

    stage.run(body, entry("100"))


@pytest.mark.parametrize(
    "text", ["+CIEV: 1", "+CIEV: 99,99", "+CIEV: 1,9", "+CIEV: \x00", "+CIEV: 4,1", "+CIEV:" + "9" * 500]
)
def test_odd_events_change_nothing(stage: Stage, text: str) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("100", PHONE)
        before = stage.view(modem)
        assert before.battery == 63
        dce.say(f"\r\n{text}\r\n")
        await stage.settle(modem)
        assert stage.view(modem) == before
        dce.say("\r\n+CIEV: 1,1\r\n")
        await stage.told.until(lambda: stage.view(modem).battery == 20)

    stage.run(body, entry("100"))


# -- calls that are none of ours


@pytest.mark.parametrize("ring", ["+CRING: VOICE", "+CRING: FAX", '+CRING: GPRS "IP"', "RING"])
def test_a_call_for_the_owner_is_left_alone(stage: Stage, caplog: pytest.LogCaptureFixture, ring: str) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        modem, dce = await stage.scripted("200", PHONE)
        caplog.clear()
        for _ in range(3):
            dce.say(f'\r\n{ring}\r\n\r\n+CLIP: "5551212",129\r\n')
        await stage.settle(modem)
        assert "left to the phone's owner" in stage.view(modem).state_reason
        for refused in (stage.desk.answer(modem, DialOptions()), stage.desk.hang_up(modem)):
            with pytest.raises(DialupError) as error:
                await refused
            assert error.value.kind is ErrorKind.WRONG_STATE
        dce.say("\r\nNO CARRIER\r\n")
        await stage.settle(modem)
        assert stage.told.states[modem] == ["probing", "ready"]
        assert stage.desk.calls() == []
        assert stage.told.all("ringing") == []
        assert not {text[:3] for text in sent(caplog)} & {"ATA", "ATH"}
        assert "AT+CHUP" not in sent(caplog)

    stage.run(body, ANSWER + entry("200", "in"))


async def _connected(stage: Stage, call: int) -> bool:
    await stage.told.until(lambda: stage.call(call).state in (CallState.CONNECTED, CallState.ENDED))
    return stage.call(call).state is CallState.CONNECTED


def test_a_person_calls_a_phone_that_answers_data_calls(stage: Stage) -> None:
    async def body() -> None:
        caller, modem = (await stage.modems("100"))[0], (await stage.modems("200", kind="nokia"))[0]
        stage.exchange.ring("200", Caller("5551212"), rings=2)
        await stage.told.until(lambda: "VOICE" in stage.view(modem).state_reason)
        # Then a modem calls, as soon as the phone is free.
        while (call := await stage.desk.dial(caller, "200", DialOptions())) and not await _connected(stage, call):
            assert stage.call(call).end_reason is EndReason.BUSY
            await stage.state(caller, ModemState.READY)
        await stage.state(modem, ModemState.CONNECTED)
        (incoming,) = (view for view in stage.desk.calls() if view.direction == "incoming")
        assert (incoming.caller_id, incoming.session) == ("100", "line")

    stage.run(body, ANSWER + entry("100") + entry("200", "in"))


# -- voice calls that were to be data calls


@pytest.mark.parametrize("kind", ["voice-phone", "nokia"])
@pytest.mark.parametrize(
    ("faults", "number"),
    [
        ([], "5"),
        (["deaf-to-ath"], "5"),
        (["hasty-ok"], "5"),
        (["hasty-ok"], "6"),
        (["deaf-to-ath", "hasty-ok"], "5"),
        (["deaf-to-ath", "hasty-ok"], "6"),
    ],
)
def test_a_voice_call_is_ended_at_once(stage: Stage, kind: str, faults: list[str], number: str) -> None:
    async def body() -> None:
        stage.exchange.special("5", "voice")
        stage.exchange.special("6", "no-answer")
        (modem,) = await stage.modems("100", kind=kind, faults=[*faults, "voice-only-phone"])
        call = await stage.dialled(modem, number)
        assert call.end_reason is EndReason.NO_MODULATOR
        assert stage.view(modem).state is ModemState.READY
        assert (stage.sim("100").doing, stage.sim("100").peer) == ("idle", "")
        again = await stage.dialled(modem, number)
        assert again.end_reason is EndReason.NO_MODULATOR, "by hand it may be tried again"

    stage.run(body, entry("100"))


def test_the_words_tell_what_to_do_instead(stage: Stage) -> None:
    async def body() -> None:
        stage.exchange.special("5", "voice")
        (modem,) = await stage.modems("100", kind="voice-phone")
        await stage.dialled(modem, "5")
        (ended,) = [view for view in stage.told.all("call") if view.end_time]
        for word in ("voice call", "*99#", "bearer", "analogue"):
            assert word in ended.detail

    stage.run(body, entry("100"))


def test_a_policy_does_not_ring_a_person_again(stage: Stage) -> None:
    config = """
[session.line]
type = "exec"
command = ["/bin/true"]
[policy.out]
mode = "originate"
when = "always"
numbers = ["5", "6"]
session = "line"
"""

    async def body() -> None:
        stage.exchange.special("5", "voice")
        stage.exchange.special("6", "voice")
        modem = await stage.modem("100", kind="voice-phone")
        view = await stage.state(modem, ModemState.BLOCKED)
        assert "voice call" in view.state_reason
        (call,) = await stage.calls(1)
        assert call.end_reason is EndReason.NO_MODULATOR
        with pytest.raises(DialupError) as error:
            await stage.desk.originate("out", DialOptions())
        assert error.value.kind is ErrorKind.BLOCKED
        assert len(stage.desk.calls()) == 1
        assert stage.sim("100").peer == ""

    stage.run(body, config + entry("100", "out"))


@pytest.mark.parametrize(
    ("number", "capabilities", "reason", "rang"),
    [
        ("5551212", ("gsm", "caller-id"), EndReason.NO_ANSWER, True),
        ("5551212", ("gsm", "caller-id"), EndReason.MODEM_ERROR, False),
        ("*99#", ("gsm", "caller-id"), EndReason.NO_CARRIER, False),
        ("5551212", ("data", "gsm", "circuit"), EndReason.NO_CARRIER, False),
        ("5551212", (), EndReason.NO_CARRIER, False),
    ],
)
def test_what_can_only_have_been_a_voice_call(
    number: str, capabilities: tuple[str, ...], reason: EndReason, rang: bool
) -> None:
    assert bool(handset.rang_a_person(number, capabilities, reason)) is rang


@pytest.mark.parametrize(("kind", "number", "rings_on"), [("voice-phone", "6", False), ("nokia", "6", True)])
def test_who_does_not_pick_up_is_not_rung_again(stage: Stage, kind: str, number: str, rings_on: bool) -> None:
    config = f"""
[session.line]
type = "exec"
command = ["/bin/true"]
[policy.out]
mode = "originate"
when = "always"
numbers = ["{number}"]
session = "line"
retry = {{ first = "1s", max = "1s" }}
"""

    async def body() -> None:
        stage.exchange.special("6", "busy")
        modem = await stage.modem("100", kind=kind)
        if rings_on:
            await stage.calls(2)
            return
        view = await stage.state(modem, ModemState.BLOCKED)
        assert "names no data service" in view.state_reason
        (call,) = await stage.calls(1)
        assert call.end_reason is EndReason.BUSY

    stage.run(body, config + entry("100", "out"))


@pytest.mark.parametrize("faults", [[], ["deaf-to-ath"]])
@pytest.mark.parametrize("how", ["hang up", "timeout", "disable"])
def test_a_voice_call_that_still_rings_is_not_left_to_itself(stage: Stage, faults: list[str], how: str) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("100", kind="voice-phone", faults=faults)
        (other,) = await stage.modems("200")
        number = await stage.desk.dial(modem, "200", DialOptions(timeout=0.15 if how == "timeout" else 20.0))
        await stage.state(other, ModemState.RINGING)
        if how == "hang up":
            await stage.desk.hang_up(modem)
        elif how == "disable":
            await stage.desk.disable(modem)
        call = await stage.ended(number)
        assert call.end_reason is (EndReason.TIMEOUT if how == "timeout" else EndReason.LOCAL_HANGUP)
        await stage.state(modem, ModemState.DISABLED if how == "disable" else ModemState.READY)
        assert (stage.sim("100").doing, stage.sim("100").peer) == ("idle", "")

    stage.run(body, entry("100") + entry("200"))


OK = "\r\nOK\r\n"
ERROR = "\r\nERROR\r\n"
LISTED = '\r\n+CLCC: 1,0,0,0,0,"5",129\r\n' + OK
TALKING = LISTED
PLACING = '\r\n+CLCC: 1,0,2,0,0,"5",129\r\n' + OK
PRIVATE = '\r\n+CLCC: 1,1,0,0,0,"5551212",129\r\n' + OK


@pytest.mark.parametrize(
    ("answers", "orders", "state"),
    [
        ({"AT+CLCC": OK}, ["ATH"], ModemState.READY),
        ({"AT+CLCC": OK, "ATH": "\r\nNO CARRIER\r\n"}, ["ATH"], ModemState.READY),
        ({"AT+CLCC": OK, "ATH": ERROR}, ["ATH"], ModemState.READY),
        ({"AT+CLCC": PRIVATE}, ["ATH"], ModemState.READY),
        ({"AT+CLCC": ERROR, "AT+CPAS": "\r\n+CPAS: 0\r\n" + OK}, ["ATH"], ModemState.READY),
        ({"AT+CLCC": ERROR, "AT+CPAS": ERROR}, ["ATH", "AT+CHUP"] * 2, ModemState.READY),
        ({"AT+CLCC": ERROR, "AT+CPAS": ERROR, "ATH": ERROR}, ["ATH", "AT+CHUP"] * 2, ModemState.READY),
        ({"AT+CLCC": ERROR, "AT+CPAS": ERROR, "AT+CHUP": ERROR}, ["ATH", "AT+CHUP"] * 2, ModemState.READY),
        ({"AT+CLCC": LISTED}, ["ATH", "AT+CHUP"] * 5, ModemState.FAILED),
        ({"AT+CLCC": ERROR, "AT+CPAS": "\r\n+CPAS: 4\r\n" + OK}, ["ATH", "AT+CHUP"] * 5, ModemState.FAILED),
        (
            {"AT+CLCC": ERROR, "AT+CPAS": ERROR, "ATH": ERROR, "AT+CHUP": ERROR},
            ["ATH", "AT+CHUP"] * 5,
            ModemState.FAILED,
        ),
    ],
)
def test_what_is_tried_until_the_phone_says_that_it_is_over(
    stage: Stage, caplog: pytest.LogCaptureFixture, answers: dict[str, str], orders: list[str], state: ModemState
) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        modem, _ = await stage.scripted("100", PHONE | answers)
        caplog.clear()
        call = await stage.dialled(modem, "5")
        assert call.end_reason is EndReason.NO_MODULATOR
        assert stage.view(modem).state is state
        said = sent(caplog)
        first = [text for text in said[said.index("ATDT5") :] if text in ("ATH", "AT+CHUP")]
        assert first[: len(orders) + 1] == orders
        if state is ModemState.FAILED:
            assert "on the phone itself" in stage.view(modem).state_reason

    stage.run(body, entry("100"))


class Hasty(Scripted):
    """Says OK to dialling at once; its call is listed, and can be ended, only when it is asked for a second time."""

    asked = 0
    ended = False

    def received(self, data: bytes) -> None:
        text = data.decode("latin-1")
        if "AT+CLCC" in text:
            self.asked += 1
            self.say(OK if self.asked == 1 or self.ended else LISTED)
        else:
            self.ended |= self.asked > 1 and text.startswith(("ATH\r", "AT+CHUP"))
            super().received(data)


def test_a_voice_call_that_begins_after_its_ok_is_found(stage: Stage) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("100", PHONE, Hasty)
        assert isinstance(dce, Hasty)
        assert (await stage.dialled(modem, "5")).end_reason is EndReason.NO_MODULATOR
        assert dce.asked > 2
        assert dce.ended
        assert stage.view(modem).state is ModemState.READY

    stage.run(body, entry("100"))


@pytest.mark.parametrize("said", ["NO CARRIER", "BUSY", "NO ANSWER", "ERROR", "+CME ERROR: 30"])
@pytest.mark.parametrize(("listed", "orders"), [(OK, []), (PRIVATE, []), (TALKING, []), (PLACING, ["ATH", "AT+CHUP"])])
def test_a_dialling_that_fails_ends_no_call_of_the_owner(
    stage: Stage, caplog: pytest.LogCaptureFixture, said: str, listed: str, orders: list[str]
) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        modem, _ = await stage.scripted("100", PHONE | {"ATDT*99#": f"\r\n{said}\r\n", "AT+CLCC": listed})
        caplog.clear()
        number = await stage.desk.dial(modem, "*99#", DialOptions())
        call = await stage.ended(number)
        assert call.end_reason is not EndReason.NO_MODULATOR
        await stage.state(modem, ModemState.FAILED if orders else ModemState.READY)
        text = sent(caplog)
        assert [line for line in text[text.index("ATDT*99#") :] if line in ("ATH", "AT+CHUP")][:2] == orders

    stage.run(body, entry("100"))


def test_a_pin_stands_in_no_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pin = stage.directory / "pin"
    pin.write_text("4711\n")
    pin.chmod(0o600)

    async def body() -> None:
        modem, _ = await stage.scripted("100", PHONE | {"AT+CPIN?": "\r\n+CPIN: SIM PIN\r\n" + OK})
        assert stage.view(modem).state is ModemState.READY
        assert 'AT+CPIN="****"' in sent(caplog)
        assert "4711" not in caplog.text

    stage.run(body, entry("100", more=f'pin-file = "{pin}"'))


@pytest.mark.parametrize("asked", ["READY", "SIM PIN2", "SIM PUK2", "PH-SIM PIN"])
def test_a_pin_is_given_to_nothing_else(stage: Stage, caplog: pytest.LogCaptureFixture, asked: str) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")
    pin = stage.directory / "pin"
    pin.write_text("4711\n")
    pin.chmod(0o600)

    async def body() -> None:
        await stage.scripted("100", PHONE | {"AT+CPIN?": f"\r\n+CPIN: {asked}\r\n" + OK})
        assert "AT+CPIN?" in sent(caplog)
        assert not [text for text in sent(caplog) if text.startswith("AT+CPIN=")]

    stage.run(body, entry("100", more=f'pin-file = "{pin}"'))


def test_a_locked_sim_is_told(stage: Stage) -> None:
    answers = dict(PHONE)

    async def body() -> None:
        modem, _ = await stage.scripted("100", answers)
        answers["AT+CPIN?"] = "\r\n+CPIN: SIM PUK\r\n" + OK
        await stage.desk.reset(modem)
        view = await stage.state(modem, ModemState.FAILED)
        assert "PUK" in view.state_reason

    stage.run(body, entry("100"))
