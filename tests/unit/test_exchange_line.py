"""The data path: nothing lost, nothing unbounded, the rate kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from test_exchange_modem import Clock

from dialupd.exchange.line import DRAIN, HIGH, Line


class Source:
    """A tap that reads when it likes."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.limit = 1 << 30
        self.held = False

    def room(self) -> int:
        return self.limit - len(self.got)

    def take(self, data: bytes) -> None:
        assert 0 < len(data) <= self.room()
        self.got += data

    def hold(self, on: bool) -> None:
        assert on != self.held, "held and let go in turns"
        self.held = on


def pair(rate: float = 0.0, delay: float = 0.0) -> tuple[Clock, Source, Source, Line]:
    clock, one, other = Clock(), Source(), Source()
    return clock, one, other, Line(clock, one, other, rate=rate, delay=delay)


def test_without_rate_it_is_immediate() -> None:
    clock, one, other, line = pair()
    line.end(one).send(b"hello")
    line.end(other).send(b"world")
    assert (bytes(other.got), bytes(one.got)) == (b"hello", b"world")
    assert clock.pending() == 0


def test_rate_is_kept_over_time() -> None:
    clock, one, other, line = pair(rate=1000)
    line.end(one).send(bytes(5000))
    for second in range(1, 6):
        clock.pass_time(1)
        assert abs(len(other.got) - 1000 * second) <= 40, second
    clock.pass_time(0.1)
    assert len(other.got) == 5000
    assert clock.pending() == 0


def test_silence_saves_up_no_credit() -> None:
    clock, one, other, line = pair(rate=1000)
    clock.pass_time(100)
    line.end(one).send(bytes(1000))
    clock.pass_time(0.5)
    assert len(other.got) <= 520


def test_delay_comes_on_top() -> None:
    clock, one, other, line = pair(rate=1000, delay=0.5)
    line.end(one).send(bytes(20))
    clock.pass_time(0.51)
    assert not other.got
    clock.pass_time(0.02)
    assert len(other.got) == 20


def test_time_that_passes_within_a_step_strands_nothing() -> None:
    """What comes due between the delivery and the setting of the next timer still gets one."""
    clock, one, other, line = pair(delay=0.001)
    looked = clock.time

    def creeping() -> float:
        clock.now += 0.002
        return looked()

    clock.time = creeping  # type: ignore[method-assign]
    line.end(one).send(b"a")
    clock.pass_time(1)
    assert bytes(other.got) == b"a"


def test_backpressure_and_release() -> None:
    clock, one, other, line = pair()
    other.limit = 10
    end = line.end(one)
    sent = 0
    while not one.held:
        end.send(bytes(1000))
        sent += 1000
    assert sent <= HIGH + 2000
    assert clock.pending() == 0, "who waits for the sink polls nobody"
    other.limit = 1 << 30
    line.end(other).pump()
    assert len(other.got) == sent
    assert not one.held


def test_what_was_sent_before_the_hang_up_arrives() -> None:
    clock, one, other, line = pair(rate=1000)
    gone: list[float] = []
    line.end(one).send(bytes(500))
    line.leave(one, lambda: gone.append(clock.now))
    line.end(one).send(b"too late")
    line.end(other).send(b"to nobody")
    clock.pass_time(0.4)
    assert not gone
    clock.pass_time(0.2)
    assert len(other.got) == 500
    assert len(gone) == 1
    assert not one.got
    assert clock.pending() == 0


def test_a_sink_that_never_reads_hears_of_the_end_all_the_same() -> None:
    clock, one, other, line = pair()
    other.limit = 0
    gone: list[bool] = []
    line.end(one).send(b"abc")
    line.leave(one, lambda: gone.append(True))
    clock.pass_time(DRAIN + 0.1)
    assert gone == [True]


def test_a_cut_line_is_silent() -> None:
    clock, one, other, line = pair(rate=100, delay=1)
    line.end(one).send(bytes(100))
    line.close()
    clock.pass_time(10)
    assert not other.got
    assert clock.pending() == 0


@given(
    st.lists(st.binary(min_size=1, max_size=3000), max_size=12),
    st.sampled_from([0.0, 300.0, 50_000.0]),
    st.sampled_from([0.0, 0.05]),
    st.lists(st.integers(0, 4000), max_size=12),
)
def test_bytes_arrive_once_and_in_order(writes: list[bytes], rate: float, delay: float, rooms: list[int]) -> None:
    clock, one, other, line = pair(rate, delay)
    other.limit = 0
    for index, data in enumerate(writes):
        line.end(one).send(data)
        if index < len(rooms):
            other.limit += rooms[index]
            line.end(other).pump()
        clock.pass_time(0.3)
    other.limit = 1 << 30
    line.end(other).pump()
    clock.pass_time(300)
    assert bytes(other.got) == b"".join(writes)
    assert clock.pending() == 0
