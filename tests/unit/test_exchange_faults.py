"""Each fault by name: what the computer sees of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_exchange_modem import ListWire, Town, lines

from dialupd.exchange.faults import NOISE, Fault, parse_faults
from dialupd.exchange.hook import State
from dialupd.exchange.stations import EchoStation


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ("busy", "BUSY"),
        ("no-answer", "NO ANSWER"),
        ("no-dialtone", "NO DIALTONE"),
        ("blacklisted", "BLACKLISTED"),
        ("delayed", "DELAYED"),
        ("no-carrier", "NO CARRIER"),
        ("voice-only-phone", "OK"),
    ],
)
def test_dialling_into_a_fault(fault: str, result: str) -> None:
    town = Town()
    town.stations["5"] = EchoStation(town.clock, town.network.timing)
    modem, wire = town.modem("100", "conexant", fault)
    town.tell(modem, "ATD5")
    town.clock.pass_time(0.9)
    assert wire.take() == b""
    town.clock.pass_time(60)
    assert lines(wire.take())[:1] == [result]
    assert modem.state is State.COMMAND


@pytest.mark.parametrize(("fault", "result"), [("busy", "BUSY"), ("no-answer", "NO ANSWER")])
def test_calling_into_a_fault(fault: str, result: str) -> None:
    town = Town()
    _, far = town.modem("200", "conexant", fault)
    modem, wire = town.modem("100")
    town.tell(modem, "ATD200")
    town.clock.pass_time(60)
    assert lines(wire.take()) == [result]
    assert far.take() == b""


def test_no_carrier_is_seen_at_both_ends() -> None:
    town = Town()
    other, far = town.modem("200", "conexant", "no-carrier")
    modem, wire = town.modem("100")
    town.tell(modem, "ATD200")
    town.clock.pass_time(1.5)
    town.tell(other, "ATA")
    town.clock.pass_time(4)
    assert lines(far.take()) == ["RING", "NO CARRIER"]
    assert lines(wire.take()) == ["NO CARRIER"]


def test_silent_and_its_healing_at_run_time() -> None:
    town = Town()
    modem, wire = town.modem("100", "conexant", "silent")
    town.tell(modem, "AT")
    assert wire.take() == b""
    modem.set_faults([])
    town.tell(modem, "AT")
    assert wire.take().endswith(b"OK\r\n")


def test_echo_forever_and_looped() -> None:
    town = Town()
    modem, wire = town.modem("100", "conexant", "echo-forever")
    town.tell(modem, "ATE0")
    assert wire.take() == b"ATE0\r\r\nOK\r\n"
    modem.set_faults(["looped"])
    town.tell(modem, "ATE0")
    assert wire.take() == b"ATE0\r"


def test_a_looped_cable_is_bounded() -> None:
    town = Town()
    modem, wire = town.modem("100", "conexant", "looped")
    wire.reading = False
    for _ in range(100):
        modem.received(b"x" * 1000)
    assert len(wire.out) <= 17_000


def test_garbage_stands_before_what_is_said() -> None:
    modem, wire = Town().modem("100", "conexant", "garbage")
    Town.tell(modem, "AT")
    assert wire.take() == NOISE + b"\r\nOK\r\n"


def test_slow() -> None:
    town = Town()
    modem, wire = town.modem("100", "conexant", "slow=2")
    town.clock.pass_time(3)
    wire.take()
    town.tell(modem, "AT")
    town.clock.pass_time(1.9)
    assert wire.take() == b""
    town.clock.pass_time(0.2)
    assert wire.take() == b"\r\nOK\r\n"


def test_one_byte_at_a_time_keeps_order_and_pace() -> None:
    town = Town()
    modem, wire = town.modem("100", "conexant", "one-byte-at-a-time=0.1")
    town.clock.pass_time(5)
    wire.take()
    town.tell(modem, "AT")
    town.tell(modem, "ATI0")
    town.clock.pass_time(0.001)
    assert wire.take() == b"\r"
    town.clock.pass_time(0.1)
    assert wire.take() == b"\n"
    town.clock.pass_time(5)
    assert wire.take() == b"OK\r\n" + b"\r\n56000\r\n\r\nOK\r\n"


def test_one_byte_at_a_time_loses_no_data() -> None:
    town = Town()
    one, wire, other, far = town.connect()
    one.set_faults(["one-byte-at-a-time=0.0001"])
    data = bytes(range(256)) * 200
    for start in range(0, len(data), 1000):
        other.received(data[start : start + 1000])
        town.clock.pass_time(0.001)
    assert not far.accepting, "the line pushes back"
    town.clock.pass_time(10)
    assert wire.take() == data
    assert far.accepting


def test_dies_mid_connect() -> None:
    town = Town()
    town.stations["5"] = EchoStation(town.clock, town.network.timing)
    modem, wire = town.modem("100", "conexant", "dies-mid-connect")
    town.tell(modem, "ATD5")
    town.clock.pass_time(10)
    assert wire.take() == b"\r\nCONN"
    town.tell(modem, "ATH")
    town.clock.pass_time(10)
    assert wire.take() == b""
    modem.detached()
    modem.attached(ListWire())
    assert modem.state is State.COMMAND


def test_drops_carrier() -> None:
    town = Town()
    one, wire, _, far = town.connect("drops-carrier=4")
    town.clock.pass_time(3.8)
    assert wire.take() == b""
    town.clock.pass_time(0.3)
    assert lines(wire.take()) == lines(far.take()) == ["NO CARRIER"]
    assert not wire.dcd
    one.set_faults(["drops-carrier=1"])
    assert town.clock.pending() == 0, "only a call has a carrier to lose"


def test_drops_carrier_set_during_a_call() -> None:
    town = Town()
    one, wire, _, _ = town.connect()
    one.set_faults(["drops-carrier=1"])
    town.clock.pass_time(1.1)
    assert lines(wire.take()) == ["NO CARRIER"]


def test_voice_only_phone_keeps_the_voice_call() -> None:
    town = Town()
    other, far = town.modem("200")
    modem, wire = town.modem("100", "nokia", "voice-only-phone")
    town.tell(modem, "ATD200")
    town.clock.pass_time(1.1)
    assert wire.take() == b""
    town.tell(other, "ATA")
    assert lines(wire.take()) == ["OK"]
    town.tell(modem, "ATH")
    assert lines(wire.take()) == ["OK"]
    assert lines(far.take()) == ["RING", "NO CARRIER"]


def test_wrong_speed() -> None:
    town = Town()
    modem, wire = town.modem("100")
    modem.set_faults(["wrong-speed=9600"])
    wire.rate = 115200
    town.tell(modem, "AT")
    assert wire.take() == NOISE
    wire.rate = 9600
    town.tell(modem, "AT")
    assert wire.take() == b"\r\nOK\r\n"


def test_stuck_online_ignores_everything() -> None:
    town = Town()
    one, wire, other, far = town.connect("stuck-online")
    town.clock.pass_time(2)
    one.received(b"+++")
    town.clock.pass_time(2)
    one.received(b"ATH\r")
    one.dtr(False)
    assert one.state is State.DATA
    assert far.take() == b"+++ATH\r"
    other.dtr(False)
    assert one.state is State.DATA
    assert wire.dcd
    assert wire.take() == b""
    one.set_faults([])
    assert lines(wire.take()) == ["NO CARRIER"]


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.label)
def test_no_fault_breaks_a_random_conversation(fault: Fault) -> None:
    """Whatever is wrong, the modem lives, keeps its bounds and can be healed."""
    town = Town()
    town.stations["5"] = EchoStation(town.clock, town.network.timing)
    modem, wire = town.modem("100", "conexant", fault.label)
    for data in (b"AT\r", b"ATD5\r", b"\x00\xff" * 50, b"+++", b"ATH\r", b"ATA\r", b"A", b"T\r"):
        modem.received(data)
        town.clock.pass_time(7)
        modem.dtr(False)
        modem.dtr(True)
    assert len(wire.out) < 20_000
    modem.set_faults([])
    modem.detached()
    wire.out.clear()
    modem.attached(wire)
    town.tell(modem, "ATE0")
    town.clock.pass_time(100)
    assert wire.take().endswith(b"\r\nOK\r\n")
    assert town.clock.pending() == 0


def test_fault_names() -> None:
    assert parse_faults(["busy", "slow=3", "drops-carrier"]) == {Fault.BUSY: 0, Fault.SLOW: 3, Fault.DROPS: 5}
    for wrong, word in (("bussy", "bussy"), ("busy=1", "no number"), ("slow=x", "number"), ("slow=-1", "0 up"),
                        ("slow=inf", "0 up"), ("slow=nan", "0 up")):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            parse_faults([wrong])


def test_the_manual_has_every_fault_in_its_words() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "dialup-exchange.md").read_text()
    for fault in Fault:
        label = fault.label if fault.number is None else f"{fault.label}[={fault.number:g}]"
        assert f"| `{label}` | {fault.about} |" in manual
