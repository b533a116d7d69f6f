"""The simulated mobile phones: calls to and from people, and what they tell of themselves."""

from __future__ import annotations

import pytest
from test_exchange_modem import ListWire, Town, lines

from dialupd.exchange.answers import Caller
from dialupd.exchange.call import Call
from dialupd.exchange.hook import State
from dialupd.exchange.modem import SimModem
from dialupd.exchange.stations import EchoStation, SilentStation, Telephone, VoiceStation


def town() -> Town:
    town = Town()
    town.stations["5"] = VoiceStation(town.clock, town.network.timing)
    town.stations["6"] = SilentStation()
    town.stations["*99#"] = EchoStation(town.clock, town.network.timing)
    return town


def said(modem: SimModem, wire: ListWire, line: str) -> list[str]:
    wire.take()
    Town.tell(modem, line)
    return lines(wire.take())


def human(town: Town, number: str, rings: int = 3) -> Call:
    phone = Telephone("5551212", town.clock, town.network.timing, rings)
    call = Call(town.network, phone, Caller("5551212"), number, speech=True)
    phone.call(call)
    return call


def test_a_voice_phone_calls_a_person_whatever_is_dialled() -> None:
    place = town()
    modem, wire = place.modem("100", "voice-phone")
    assert said(modem, wire, "ATD*99#") == ["ERROR"]
    assert said(modem, wire, "ATD5") == []
    assert modem.state is State.DIALING
    place.clock.pass_time(5)
    assert lines(wire.take()) == ["OK"]
    assert (modem.state, modem.doing, modem.peer) == (State.COMMAND, "voice call", "5")
    assert said(modem, wire, "AT+CLCC") == ['+CLCC: 1,0,0,0,0,"5",129', "OK"]
    assert said(modem, wire, "AT+CPAS") == ["+CPAS: 4", "OK"]
    assert said(modem, wire, "ATH") == ["OK"]
    assert (modem.doing, modem.peer) == ("idle", "")
    assert said(modem, wire, "AT+CLCC") == ["OK"]
    assert said(modem, wire, "AT+CPAS") == ["+CPAS: 0", "OK"]


def test_the_stages_of_a_hasty_voice_call() -> None:
    place = town()
    modem, wire = place.modem("100", "voice-phone", "hasty-ok")
    assert said(modem, wire, "ATD6,") == ["OK"]
    assert said(modem, wire, "AT+CLCC") == ['+CLCC: 1,0,2,0,0,"6",129', "OK"]
    other, far = place.modem("200")
    assert said(other, far, "ATD100") == []
    place.clock.pass_time(1)
    assert lines(far.take()) == ["BUSY"]
    place.tell(other, "ATH")
    place.clock.pass_time(3)
    assert said(modem, wire, "AT+CLCC") == ['+CLCC: 1,0,3,0,0,"6",129', "OK"]
    assert said(modem, wire, "AT+CHUP") == ["OK"]
    assert modem.peer == ""
    assert place.clock.pending() == 0


@pytest.mark.parametrize("faults", [["deaf-to-ath"], ["deaf-to-ath", "hasty-ok"]])
def test_deaf_to_ath(faults: list[str]) -> None:
    place = town()
    modem, wire = place.modem("100", "voice-phone", *faults)
    said(modem, wire, "ATD5")
    place.clock.pass_time(5)
    for command in ("ATH", "ATZ"):
        assert said(modem, wire, command) == ["OK"]
        assert modem.peer == "5"
    said(modem, wire, "ATE0")
    assert said(modem, wire, "AT+CHUP") == ["OK"]
    assert modem.peer == ""


def test_deaf_to_what_aborts_dialling() -> None:
    place = town()
    modem, wire = place.modem("100", "voice-phone", "deaf-to-ath")
    said(modem, wire, "ATD6")
    place.clock.pass_time(3)
    modem.received(b"\r")
    assert lines(wire.take()) == ["NO CARRIER"]
    assert (modem.doing, modem.peer) == ("voice call", "6")
    modem.received(b"AT+CHUP\r")
    assert modem.peer == ""


def test_a_voice_call_goes_on_without_the_computer() -> None:
    place = town()
    modem, wire = place.modem("100", "voice-phone")
    said(modem, wire, "ATD5")
    modem.detached()
    place.clock.pass_time(5)
    assert (modem.doing, modem.peer) == ("voice call", "5")
    modem.attached(wire)
    said(modem, wire, "ATE0")
    assert said(modem, wire, "AT+CLCC") == ['+CLCC: 1,0,0,0,0,"5",129', "OK"]
    assert said(modem, wire, "ATH") == ["OK"]
    assert modem.peer == ""
    assert place.clock.pending() == 0


def test_a_nokia_calls_a_modem_by_data_and_its_packet_service() -> None:
    place = town()
    modem, wire = place.modem("100", "nokia")
    said(modem, wire, "ATD*99#")
    place.clock.pass_time(10)
    assert lines(wire.take()) == ["CONNECT"]
    assert modem.state is State.DATA


def test_the_ring_says_who_calls() -> None:
    place = town()
    phones = [place.modem(number, kind) for number, kind in (("200", "nokia"), ("201", "voice-phone"))]
    for modem, wire in phones:
        assert said(modem, wire, "AT+CRC=1;S0=1") == ["OK"]
        human(place, modem.number)
        place.clock.pass_time(1)
        assert lines(wire.take()) == ["+CRING: VOICE"], "and no modem answers it"
        assert said(modem, wire, "AT+CLCC") == ['+CLCC: 1,1,4,0,0,"5551212",129', "OK"]
        assert said(modem, wire, "AT+CPAS") == ["+CPAS: 3", "OK"]
        assert said(modem, wire, "ATA") == ["OK"]
        assert (modem.state, modem.doing) == (State.COMMAND, "voice call")
        assert said(modem, wire, "AT+CLCC") == ['+CLCC: 1,1,0,0,0,"5551212",129', "OK"]
        place.clock.pass_time(60)
        assert lines(wire.take()) == ["NO CARRIER"]
        assert modem.peer == ""
    caller, _ = place.modem("100")
    talker, _ = place.modem("101", "voice-phone")
    for one, (modem, wire), expected in (
        (caller, phones[0], "+CRING: REL ASYNC"),
        (talker, phones[0], "+CRING: VOICE"),
        (caller, phones[1], "+CRING: VOICE"),
    ):
        assert said(modem, wire, "ATS0=0") == ["OK"]
        place.tell(one, f"ATD{modem.number}")
        place.clock.pass_time(2)
        assert lines(wire.take()) == [expected]
        place.tell(one, "AT")
        place.tell(one, "ATH")


def test_levels_and_their_events() -> None:
    place = town()
    modem, wire = place.modem("100", "nokia", "battery=37", "signal=10")
    assert said(modem, wire, "AT+CSQ;+CBC") == ["+CSQ: 10,99", "+CBC: 0,37", "OK"]
    assert said(modem, wire, "AT+CIND?") == ["+CIND: 2,2,1,0", "OK"]
    assert said(modem, wire, "AT+CIND=?") == [
        '+CIND: ("battchg",(0-5)),("signal",(0-5)),("service",(0,1)),("call",(0,1))',
        "OK",
    ]
    modem.set_faults(["battery=90", "signal=10"])
    assert wire.take() == b"", "nobody has asked for it"
    assert said(modem, wire, "AT+CMER=3,0,0,1") == ["OK"]
    modem.set_faults(["battery=10", "signal=11"])
    assert lines(wire.take()) == ["+CIEV: 1,0"]
    modem.set_faults(["signal=99"])
    assert lines(wire.take()) == ["+CIEV: 1,5", "+CIEV: 2,0"]
    assert said(modem, wire, "AT+CSQ;+CBC") == ["+CSQ: 99,99", "+CBC: 0,100", "OK"]
