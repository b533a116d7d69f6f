"""The simulated modem without a loop: a clock wound by hand, a wire that is a list."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

import pytest

from dialupd.exchange.answers import Caller
from dialupd.exchange.call import Call, Network, Station
from dialupd.exchange.hook import State
from dialupd.exchange.kinds import KINDS
from dialupd.exchange.modem import SimModem
from dialupd.exchange.port import Dce, Wire
from dialupd.exchange.stations import BusyStation, EchoStation, SilentStation, Telephone, VoiceStation
from dialupd.exchange.timing import Timing


class Handle:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """A scheduler whose time passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.order = itertools.count()
        self.queue: list[tuple[float, int, Handle]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Handle:
        handle = Handle(callback)
        heapq.heappush(self.queue, (self.now + delay, next(self.order), handle))
        return handle

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.queue and self.queue[0][0] <= end:
            when, _, handle = heapq.heappop(self.queue)
            self.now = max(self.now, when)
            if handle.callback is not None:
                handle.callback()
        self.now = end

    def pending(self) -> int:
        return sum(handle.callback is not None for _, _, handle in self.queue)


class ListWire:
    """A computer that reads at once, or (`reading` False) not at all."""

    def __init__(self, *, has_circuits: bool = True) -> None:
        self.has_circuits = has_circuits
        self.out = bytearray()
        self.reading = True
        self.accepting = True
        self.rate = 0
        self.dcd = self.ri = self.dsr = self.cts = False

    def send(self, data: bytes) -> None:
        self.out += data

    def backlog(self) -> int:
        return 0 if self.reading else len(self.out)

    def accept(self, more: bool) -> None:
        self.accepting = more

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        self.dcd, self.ri, self.dsr, self.cts = dcd, ri, dsr, cts

    def speed(self) -> int:
        return self.rate

    def take(self) -> bytes:
        data = bytes(self.out)
        self.out.clear()
        return data


class Town:
    """Some modems and numbers on one hand-wound network."""

    def __init__(self, timing: Timing | None = None, line_rate: int = 0, delay: float = 0.0) -> None:
        self.clock = Clock()
        self.stations: dict[str, Station] = {}
        self.network = Network(
            scheduler=self.clock,
            timing=timing or Timing(),
            find=self.stations.get,
            now=lambda: datetime(2024, 3, 9, 14, 5),
            line_rate=line_rate,
            delay=delay,
        )
        self.stations["busy"] = BusyStation()

    def modem(
        self, number: str, kind: str = "conexant", *faults: str, circuits: bool = True, name: str = ""
    ) -> tuple[SimModem, ListWire]:
        modem = SimModem(self.network, number, KINDS[kind], name=name, faults=faults)
        wire = ListWire(has_circuits=circuits)
        self.stations[number] = modem
        modem.attached(wire)
        modem.dtr(True)
        self.tell(modem, "ATE0")
        assert wire.take().endswith(b"\r\nOK\r\n") or faults
        wire.take()
        return modem, wire

    @staticmethod
    def tell(modem: SimModem, line: str) -> None:
        modem.received(line.encode() + b"\r")

    def connect(self, *faults: str) -> tuple[SimModem, ListWire, SimModem, ListWire]:
        """100 has called 200, both are in data state and have said so."""
        (one, wire), (other, far) = self.modem("100", "conexant", *faults), self.modem("200")
        self.tell(one, "ATDT200")
        self.clock.pass_time(1.1)
        assert lines(far.take()) == ["RING"]
        self.tell(other, "ATA")
        self.clock.pass_time(3.1)
        assert one.state is other.state is State.DATA
        assert lines(far.take()) == ["CONNECT 115200"]
        wire.take()
        return one, wire, other, far


def lines(data: bytes) -> list[str]:
    return [line for line in data.decode("latin-1").split("\r\n") if line]


def test_the_protocols_fit() -> None:
    dce: Dce = Town().modem("1")[0]
    wire: Wire = ListWire()
    assert dce is not None
    assert wire is not None


DIALOGUES = [
    ("AT\r", b"\r\nOK\r\n"),
    ("ATE1\rAT\r", b"\r\nOK\r\nAT\r\r\nOK\r\n"),
    ("ATV0\r", b"0\r"),
    ("ATV0\rATFOO\r", b"0\r4\r"),
    ("ATQ1\rATI\r", b""),
    ("ATI3I0\r", b"\r\nCX93001-EIS_V0.2002-V92\r\n\r\n56000\r\n\r\nOK\r\n"),
    ("ATV0S7?\r", b"050\r\n0\r"),
    ("ATE1X9E0\r", b"\r\nERROR\r\n"),
    ("ATS7=60X9\rATS7?\r", b"\r\nERROR\r\n\r\n060\r\n\r\nOK\r\n"),
    ("ATX9S7=60\rATS7?\r", b"\r\nERROR\r\n\r\n050\r\n\r\nOK\r\n"),
    ("ATH\r", b"\r\nOK\r\n"),
    ("ATO\r", b"\r\nERROR\r\n"),
    ("ATS7=9\rATZ\rATS7?\r", b"\r\nOK\r\n" * 2 + b"ATS7?\r\r\n050\r\n\r\nOK\r\n"),
    ("ATS3=33\rAT!", b"!\nOK!\n" * 2),
    ("ATI0\rA/", (b"\r\n56000\r\n\r\nOK\r\n") * 2),
    ("AT" + "1" * 300 + "\r", b"\r\nERROR\r\n"),
    ("AT+GMI;+VCID=1;+FOO\r", b"\r\nCONEXANT\r\n\r\nERROR\r\n"),
]


@pytest.mark.parametrize(("typed", "answer"), DIALOGUES)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_dialogue_in_any_chunking(typed: str, answer: bytes, step: int) -> None:
    modem, wire = Town().modem("100")
    data = typed.encode()
    for start in range(0, len(data), step):
        modem.received(data[start : start + step])
    assert bytes(wire.out) == answer


def test_echo_comes_as_typed() -> None:
    modem, wire = Town().modem("100")
    Town.tell(modem, "ATE1")
    wire.take()
    modem.received(b"AT")
    assert wire.take() == b"AT"
    modem.received(b"I0\r\n")
    assert wire.take() == b"I0\r\r\n56000\r\n\r\nOK\r\n\n"


def test_a_call_from_dial_to_hang_up() -> None:
    town = Town()
    one, wire, other, far = town.connect()
    assert (wire.dcd, far.dcd, wire.dsr, wire.cts) == (True, True, True, True)
    one.received(b"hello")
    other.received(b"there")
    assert (far.take(), wire.take()) == (b"hello", b"there")
    town.clock.pass_time(1.0)
    one.received(b"+++")
    town.clock.pass_time(0.9)
    assert wire.take() == b""
    town.clock.pass_time(0.2)
    assert wire.take() == b"\r\nOK\r\n"
    assert wire.dcd
    other.received(b"held back")
    assert wire.take() == b""
    town.tell(one, "ATO")
    assert wire.take() == b"\r\nCONNECT 115200\r\nheld back"
    town.clock.pass_time(1.0)
    one.received(b"+++")
    town.clock.pass_time(1.0)
    wire.take()
    town.tell(one, "ATH")
    assert wire.take() == b"\r\nOK\r\n"
    assert far.take() == b"+++" * 2 + b"\r\nNO CARRIER\r\n"
    assert (wire.dcd, far.dcd) == (False, False)
    town.clock.pass_time(60)
    assert town.clock.pending() == 0, "an idle exchange has no timers"
    assert (wire.take(), far.take()) == (b"", b"")


def test_escape_needs_both_silences() -> None:
    town = Town()
    one, wire, _, far = town.connect()
    one.received(b"x")
    one.received(b"+++")
    town.clock.pass_time(5)
    assert one.state is State.DATA
    one.received(b"+++")
    town.clock.pass_time(0.5)
    one.received(b"y")
    town.clock.pass_time(5)
    assert one.state is State.DATA
    assert (far.take(), wire.take()) == (b"x++++++y", b"")


@pytest.mark.parametrize(
    ("number", "result"), [("busy", "BUSY"), ("999", "NO CARRIER"), ("silent", "NO ANSWER"), ("voice", "NO CARRIER")]
)
def test_numbers_that_do_not_connect(number: str, result: str) -> None:
    town = Town()
    town.stations["1"] = BusyStation()
    town.stations["2"] = SilentStation()
    town.stations["3"] = VoiceStation(town.clock, town.network.timing)
    modem, wire = town.modem("100")
    town.tell(modem, "ATDT" + {"busy": "1", "silent": "2", "voice": "3"}.get(number, number))
    town.clock.pass_time(0.9)
    assert wire.take() == b""
    town.clock.pass_time(60)
    assert lines(wire.take()) == [result]
    assert modem.state is State.COMMAND


def test_carrier_wait_is_s7_and_comma_is_s8() -> None:
    town = Town()
    town.stations["2"] = SilentStation()
    modem, wire = town.modem("100")
    town.tell(modem, "ATS7=10S8=4DT,,2")
    town.clock.pass_time(1 + 8 + 9.9)
    assert wire.take() == b""
    town.clock.pass_time(0.2)
    assert lines(wire.take()) == ["NO ANSWER"]


def test_any_character_aborts_dialling_after_the_grace() -> None:
    town = Town()
    _, far = town.modem("200")
    modem, wire = town.modem("100")
    modem.received(b"ATDT200\r\n")
    town.clock.pass_time(2)
    assert lines(far.take()) == ["RING"]
    assert modem.state is State.DIALING
    modem.received(b"x")
    assert lines(wire.take()) == ["NO CARRIER"]
    town.clock.pass_time(20)
    assert far.take() == b"", "the bell has stopped"


def test_abort_while_answering() -> None:
    town = Town()
    other, far = town.modem("200")
    modem, wire = town.modem("100")
    town.tell(modem, "ATDT200")
    town.clock.pass_time(1.5)
    town.tell(other, "ATA")
    town.clock.pass_time(0.5)
    other.received(b" ")
    assert lines(far.take()) == ["RING", "NO CARRIER"]
    assert lines(wire.take()) == ["NO CARRIER"]


def test_answering_without_a_ring_gives_up() -> None:
    town = Town()
    modem, wire = town.modem("100")
    town.tell(modem, "ATA")
    town.clock.pass_time(50.1)
    assert lines(wire.take()) == ["NO CARRIER"]


def test_semicolon_keeps_the_digits_for_the_next_dial() -> None:
    town = Town()
    _, far = town.modem("2001")
    modem, wire = town.modem("100")
    town.tell(modem, "ATDT20;E0")
    assert lines(wire.take()) == ["OK"]
    town.tell(modem, "ATD01")
    town.clock.pass_time(1.1)
    assert lines(far.take()) == ["RING"]


def test_redial() -> None:
    town = Town()
    town.stations["5"] = BusyStation()
    modem, wire = town.modem("100")
    for command in ("ATD5", "ATDL"):
        town.tell(modem, command)
        town.clock.pass_time(2)
        assert lines(wire.take()) == ["BUSY"]


def test_rings_caller_id_and_ri() -> None:
    town = Town()
    modem, wire = town.modem("200")
    caller, _ = town.modem("100", name="BOB")
    town.tell(modem, "AT+VCID=1")
    wire.take()
    town.tell(caller, "ATD200")
    town.clock.pass_time(1.1)
    assert lines(wire.take()) == ["RING"]
    assert wire.ri
    town.clock.pass_time(2)
    assert lines(wire.take()) == ["DATE = 0309", "TIME = 1405", "NMBR = 100", "NAME = BOB"]
    assert not wire.ri
    town.clock.pass_time(12)
    assert lines(wire.take()) == ["RING", "RING"]
    town.tell(modem, "ATS1?")
    assert lines(wire.take()) == ["003", "OK"]


def test_a_phone_shows_clip_after_every_ring() -> None:
    town = Town()
    modem, wire = town.modem("200", "nokia")
    caller, _ = town.modem("100")
    town.tell(modem, "AT+CLIP=1;+CRC=1")
    wire.take()
    town.tell(caller, "ATD200")
    town.clock.pass_time(8)
    assert lines(wire.take()) == ["+CRING: REL ASYNC", '+CLIP: "100",129,,,"",0'] * 2
    town.tell(caller, "ATH")
    assert lines(wire.take()) == ["NO CARRIER"], "a phone says that the caller gave up"


def test_auto_answer_counts_rings_and_needs_dtr() -> None:
    town = Town()
    modem, wire = town.modem("200")
    caller, far = town.modem("100")
    town.tell(modem, "ATS0=2")
    wire.take()
    town.tell(caller, "ATD200")
    town.clock.pass_time(1 + 6 + 3.1)
    assert lines(wire.take()) == ["RING", "RING", "CONNECT 115200"]
    caller.dtr(False)
    assert lines(wire.take()) == ["NO CARRIER"]
    assert lines(far.take()) == ["CONNECT 115200", "OK"]
    caller.dtr(True)
    modem.dtr(False)
    town.tell(caller, "ATD200")
    town.clock.pass_time(30)
    assert set(lines(wire.take())) == {"RING"}


@pytest.mark.parametrize(
    ("setting", "state", "said"),
    [("&D0", State.DATA, []), ("&D1", State.ESCAPED, ["OK"]), ("&D2", State.COMMAND, ["OK"])],
)
def test_dtr_drop(setting: str, state: State, said: list[str]) -> None:
    town = Town()
    one, wire, _, _ = town.connect()
    town.clock.pass_time(1)
    one.received(b"+++")
    town.clock.pass_time(1)
    town.tell(one, f"AT{setting}O")
    wire.take()
    one.dtr(False)
    assert one.state is state
    assert lines(wire.take()) == said


def test_dcd_is_always_on_with_c0() -> None:
    modem, wire = Town().modem("100")
    assert not wire.dcd
    Town.tell(modem, "AT&C0")
    assert wire.dcd
    Town.tell(modem, "AT&C1")
    assert not wire.dcd


def test_unplugging_loses_the_call_for_the_far_end() -> None:
    town = Town()
    one, wire, other, far = town.connect()
    one.detached()
    assert lines(far.take()) == ["NO CARRIER"]
    wire.take()
    town.tell(one, "AT")
    assert wire.take() == b""
    town.tell(other, "ATD100")
    town.clock.pass_time(60)
    assert lines(far.take()) == ["NO ANSWER"], "a modem without power rings unheard"
    one.attached(wire)
    town.tell(one, "ATI0")
    assert b"56000" in wire.take()


def test_collision_and_engaged() -> None:
    town = Town()
    one, wire, other, far = town.connect()
    third, near = town.modem("300")
    town.tell(third, "ATD200")
    town.clock.pass_time(2)
    assert lines(near.take()) == ["BUSY"]
    one.dtr(False)
    far.take()
    wire.take()
    town.tell(third, "ATD200")
    town.clock.pass_time(2)
    town.tell(other, "ATD300")
    assert lines(far.take()) == ["RING", "NO CARRIER"]
    assert lines(near.take()) == ["NO CARRIER"]


def test_modulation_is_what_both_can_do() -> None:
    town = Town()
    (one, wire), (other, far) = town.modem("100"), town.modem("200", "usr")
    town.tell(one, "AT+MS=V22B;+ES=1;+MR=1;+ER=1")
    wire.take()
    town.tell(one, "ATD200")
    town.clock.pass_time(1.1)
    town.tell(other, "ATA")
    town.clock.pass_time(3)
    assert lines(wire.take()) == ["+MCR: V22B", "+MRR: 2400", "+ER: NONE", "CONNECT 115200"]
    assert lines(far.take()) == ["RING", "CONNECT 2400/NONE"]


def test_port_rate_is_what_the_computer_set() -> None:
    town = Town()
    town.stations["5"] = EchoStation(town.clock, town.network.timing)
    modem, wire = town.modem("100")
    wire.rate = 57600
    town.tell(modem, "ATD5")
    town.clock.pass_time(6)
    assert lines(wire.take()) == ["CONNECT 57600"]
    modem.received(b"abc")
    assert wire.take() == b"abc"


def test_voice_is_heard_by_some() -> None:
    town = Town()
    town.stations["3"] = VoiceStation(town.clock, town.network.timing)
    modem, wire = town.modem("100", "usr")
    town.tell(modem, "ATD3")
    town.clock.pass_time(5)
    assert lines(wire.take()) == ["VOICE"]


def test_a_human_calls() -> None:
    town = Town()
    modem, wire = town.modem("100")
    town.tell(modem, "AT+VCID=1")
    wire.take()
    phone = Telephone("5551212", town.clock, town.network.timing, rings=2)
    phone.call(Call(town.network, phone, Caller("5551212", "ALICE"), "100"))
    town.clock.pass_time(60)
    assert lines(wire.take()) == ["RING", "DATE = 0309", "TIME = 1405", "NMBR = 5551212", "NAME = ALICE", "RING"]
    assert town.clock.pending() == 0


def test_silence_while_the_computer_does_not_read() -> None:
    """A ring nobody reads is lost rather than kept, and far data waits on the line without bound being broken."""
    town = Town()
    one, wire, other, far = town.connect()
    wire.reading = False
    sent = 0
    while far.accepting:
        other.received(b"z" * 1000)
        sent += 1000
        assert sent < 200_000
    assert len(wire.out) <= 17_000
    wire.reading = True
    got = wire.take()
    one.writable()
    got += wire.take()
    assert got == b"z" * sent
    assert far.accepting


def test_no_carrier_comes_after_all_the_data_that_waits() -> None:
    town = Town()
    one, wire, other, _ = town.connect()
    wire.reading = False
    other.received(b"z" * 50_000)
    other.dtr(False)
    town.clock.pass_time(10)
    assert wire.take() == b"z" * 16_384 + b"\r\nNO CARRIER\r\n", "what the computer never reads is lost at last"
    assert one.state is State.COMMAND


def test_rings_are_not_hoarded() -> None:
    town = Town()
    modem, wire = town.modem("200")
    caller, _ = town.modem("100")
    wire.reading = False
    town.tell(caller, "ATS7=255D200")
    town.clock.pass_time(200)
    assert modem.settings.rings > 30
    assert lines(wire.take()) == ["RING"]
