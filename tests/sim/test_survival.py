"""Sessions in units of their own, and calls that outlive the daemon."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialupd.model import (
    CallState,
    CallView,
    DialOptions,
    DialupError,
    Direction,
    EndReason,
    ErrorKind,
    ModemState,
    ModemView,
    SessionState,
    Transport,
)
from dialupd.modem import timing
from dialupd.modem.kept import Kept, memo, read_memo
from dialupd.sessions import protocol, starting
from dialupd.sleep import Sleeper
from dialupd.wishes import FILE, Wishes, WishKeeper
from tests.sim.modem_stage import QUICK, Scripted, Stream, entry
from tests.sim.unit_stage import UnitStage

ECHO = f"""
[session.echo]
type = "exec"
command = ["/bin/sh", "-c", "stty raw -echo; echo ready; exec cat"]

[policy.in]
mode = "answer"
rings = 1
session = "echo"
{entry("200", "in")}
{entry("100")}
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UnitStage]:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(timing, name, seconds)
    monkeypatch.setattr(timing, "SESSION_STOP", 8.0)
    yield UnitStage(tmp_path)


async def _talk(stage: UnitStage) -> tuple[int, Stream]:
    """A call with a stream on this side and an echo on the other, both in units."""
    caller, _ = await stage.modems("100", "200")
    call = await stage.connect(caller, "200")
    stream = Stream(await stage.desk.open_call(call))
    await stream.until(b"ready")
    return call, stream


def _id(stage: UnitStage, number: str) -> str:
    return next(view.id for view in stage.registry.modems() if view.serial == number)


def test_a_call_in_units_from_dialling_to_hanging_up(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        stream.send(b"hello")
        await stream.until(b"hello")
        assert sorted(stage.manager.started) == ["dialupd-exec@1.service", "dialupd-exec@2.service"]
        answered = stage.incoming()
        assert stage.desk.counts(answered.call)[0] >= 5
        assert {name.split("-")[0] for name in stage.manager.look()} >= {"port", "call", "session", "tally"}
        await stage.desk.hang_up_call(call)
        await stream.end()
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        view = await stage.ended(answered.call)
        assert view.end_reason is EndReason.REMOTE_HANGUP
        assert view.rx_bytes >= 5
        for name in tuple(stage.manager.running):
            assert await stage.manager.ended(name) == 0
        assert stage.manager.look() == {}

    stage.run(body, ECHO)


def test_a_call_outlives_the_daemon_and_its_stream_misses_no_byte(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        before = stage.call(call)
        answered = stage.incoming()
        stream.send(b"before ")
        await stage.end(keep=True)
        stream.send(b"meanwhile ")
        await stream.until(b"meanwhile ")  # nobody is there but the sessions
        await stage.begin()
        view = stage.call(call)
        assert (view.state, view.session_state) == (CallState.CONNECTED, SessionState.STARTING)
        assert (view.start_time, view.number, view.connect_time) == (before.start_time, "200", before.connect_time)
        assert stage.call(answered.call).caller_id == answered.caller_id
        await stage.told.until(lambda: stage.call(call).session_state is SessionState.RUNNING, "told again")
        modem = next(view for view in stage.registry.modems() if view.serial == "100")
        assert (modem.state, modem.call, modem.model) == (ModemState.CONNECTED, call, "CX93001")
        stream.send(b"after")
        await stream.until(b"after")
        assert bytes(stream.got).endswith(b"before meanwhile after")
        with pytest.raises(DialupError) as refused:
            await stage.desk.open_call(call)
        assert refused.value.kind is ErrorKind.IN_PROGRESS
        await stage.desk.hang_up_call(answered.call)
        await stream.end()
        await stage.ended(call)
        rows = await stage.rows()
        assert {row.call: row.end_reason for row in rows} == {
            call: EndReason.REMOTE_HANGUP,
            answered.call: EndReason.LOCAL_HANGUP,
        }
        for number in ("100", "200"):  # set up anew, as nobody knows what they are set up for
            await stage.state(_id(stage, number), ModemState.READY)
        again = await stage.connect(modem.id, "200")
        assert again == 3
        await stage.desk.hang_up_call(again)
        await stage.ended(again)

    stage.run(body, ECHO)


def test_twice_in_a_row(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        for text in (b"one ", b"two "):
            await stage.restart()
            stream.send(text)
            await stream.until(text)
        await stage.desk.hang_up_call(call)
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO)


def test_a_stream_that_nobody_has_opened_can_be_opened_after_the_restart(stage: UnitStage) -> None:
    async def body() -> None:
        caller, _ = await stage.modems("100", "200")
        call = await stage.connect(caller, "200")
        await stage.told.until(lambda: stage.manager.look().keys() >= {f"stream-{call}", "session-2"}, "kept")
        await stage.restart()
        stream = Stream(await stage.desk.open_call(call))
        await stream.until(b"ready")
        await stage.desk.hang_up_call(call)
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO)


def test_the_time_limit_of_a_call_counts_from_its_beginning(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        answered = stage.incoming().call
        await stage.restart()
        view = await stage.ended(answered)
        assert view.end_reason is EndReason.MAX_DURATION
        assert 3.0 <= (view.end_time - view.connect_time) / 1e6 < 4.5
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO.replace("rings = 1", 'rings = 1\nmax-duration = "150s"'))


def test_what_cannot_go_on_is_ended_and_told(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        answered = stage.incoming().call
        await stage.end(keep=True)
        stage.unplug("200")
        await stage.begin()
        assert stage.call(answered).end_reason is EndReason.MODEM_LOST
        assert await stage.manager.ended(f"dialupd-exec@{answered}.service") == 0
        await stage.desk.hang_up_call(call)
        await stream.end()
        await stage.ended(call)
        rows = {row.call: row.end_reason for row in await stage.rows()}
        assert rows[answered] is EndReason.MODEM_LOST

    stage.run(body, ECHO)


def test_a_daemon_that_is_stopped_for_good_ends_its_sessions(stage: UnitStage) -> None:
    async def body() -> None:
        _, stream = await _talk(stage)
        await stage.end(keep=True)
        stage.manager.empty()
        await stream.end()
        for name in tuple(stage.manager.running):
            assert await stage.manager.ended(name) == 0
            assert "shutdown" in stage.manager.log(name)
        await stage.begin()
        assert stage.desk.calls() == []
        assert {row.end_reason for row in await stage.rows()} == {EndReason.SHUTDOWN}

    stage.run(body, ECHO)


def test_a_session_that_is_killed_ends_its_call(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        answered = stage.incoming().call
        stage.kill(f"dialupd-exec@{answered}.service")
        view = await stage.ended(answered)
        assert view.end_reason is EndReason.SESSION_FAILED
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO)


def test_a_unit_that_cannot_be_started_ends_the_call_with_its_words(stage: UnitStage) -> None:
    async def body() -> None:
        caller, _ = await stage.modems("100", "200")
        stage.manager.refuses = "polkit says no"
        view = await stage.dialled(caller, "200")
        assert view.end_reason is EndReason.SESSION_FAILED
        assert "polkit says no" in view.detail

    stage.run(body, ECHO)


def test_a_unit_that_never_asks_for_the_line(stage: UnitStage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(name: str) -> None:
        stage.manager.started.append(name)

    async def body() -> None:
        monkeypatch.setattr(starting, "HELLO", 0.1)
        monkeypatch.setattr(stage.manager, "start", nothing)
        caller, _ = await stage.modems("100", "200")
        view = await stage.dialled(caller, "200")
        assert view.end_reason is EndReason.SESSION_FAILED
        assert "did not ask for the line" in view.detail

    stage.run(body, ECHO)


def test_a_session_that_root_has_changed_meanwhile_is_refused_in_words(stage: UnitStage) -> None:
    async def body() -> None:
        caller, _ = await stage.modems("100", "200")
        (stage.directory / "dialupd.toml").write_text('[session.echo]\ntype = "ppp"\n')
        call = await stage.connect(caller, "200")
        incoming = stage.incoming()
        view = await stage.ended(incoming.call)
        assert view.end_reason is EndReason.SESSION_FAILED
        assert "another kind" in view.detail
        await stage.ended(call)

    stage.run(body, ECHO)


def test_a_port_that_is_lent_stays_lent(stage: UnitStage) -> None:
    async def body() -> None:
        modem, _ = await stage.modems("100", "200")
        loan = await stage.desk.inhibit(modem, "minicom", "looking")
        await stage.restart()
        assert stage.view(modem).state is ModemState.INHIBITED
        os.close(loan)
        await stage.state(modem, ModemState.READY)
        assert stage.manager.look() == {}

    stage.run(body, ECHO)


def test_a_call_that_is_not_connected_yet_is_hung_up(stage: UnitStage) -> None:
    async def body() -> None:
        caller, _ = await stage.modems("100", "200")
        call = await stage.desk.dial(caller, "300", DialOptions())
        await stage.end(keep=True)
        await stage.begin()
        (row,) = await stage.rows()
        assert (row.call, row.end_reason) == (call, EndReason.SHUTDOWN)

    stage.run(body, ECHO)


def test_what_people_asked_for_is_not_forgotten(stage: UnitStage) -> None:
    async def body() -> None:
        modem, other = await stage.modems("100", "200")
        await stage.desk.disable(modem)
        await stage.desk.suspend("in")
        await stage.desk.set_policy(other, "")
        await stage.restart()
        assert stage.view(modem).state is ModemState.DISABLED
        assert stage.desk.policies() == [("in", "answer", "suspended")]
        assert stage.view(other).policy == ""
        await stage.desk.enable(modem)
        await stage.desk.resume("in")
        await stage.desk.reload()
        await stage.restart()
        await stage.state(modem, ModemState.READY)
        assert stage.desk.policies() == [("in", "answer", "active")]
        assert stage.view(other).policy == "in"

    stage.run(body, ECHO)


@pytest.mark.parametrize("text", ["", "[]", '{"disabled": 1}', '{"disabled": [], "suspended": [], "policies": 3}'])
def test_wishes_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert WishKeeper(str(tmp_path), Wishes).read() == Wishes()


def test_a_machine_that_sleeps(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        sleeper = Sleeper(stage.registry)
        await sleeper.before()
        assert stage.call(call).end_reason is EndReason.SHUTDOWN
        assert stage.call(2).end_reason in (EndReason.SHUTDOWN, EndReason.REMOTE_HANGUP)
        await stream.end()
        modem = _id(stage, "100")
        await stage.state(modem, ModemState.READY)
        before = len(stage.told.states[modem])
        sleeper.after()
        await stage.state(modem, ModemState.READY)
        assert stage.told.states[modem][before:] == ["resetting", "ready"]

    stage.run(body, ECHO)


@pytest.mark.parametrize("ended", [False, True], ids=["while its call ends", "while it is initialised"])
def test_a_modem_that_still_hangs_up_when_the_machine_wakes_is_probed_afterwards(stage: UnitStage, ended: bool) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        modem = _id(stage, "100")
        sleeper = Sleeper(stage.registry)
        going = asyncio.create_task(sleeper.before())
        await stage.state(modem, ModemState.HANGING_UP)
        if ended:
            await stage.ended(call)
        going.cancel()  # logind waits no longer
        await asyncio.wait({going})
        assert stage.view(modem).state is ModemState.HANGING_UP
        sleeper.after()
        seen = len(stage.told.states[modem])
        await stage.told.until(lambda: len(stage.told.states[modem]) >= seen + 3, "probed again")
        assert stage.told.states[modem][seen:] == ["ready", "resetting", "ready"]
        assert stage.call(call).end_reason is EndReason.SHUTDOWN
        await stream.end()

    stage.run(body, ECHO)


def test_a_machine_that_sleeps_over_its_calls(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        sleeper = Sleeper(stage.registry)
        await sleeper.before()
        sleeper.after()
        stream.send(b"still here")
        await stream.until(b"still here")
        await stage.desk.hang_up_call(call)
        await stream.end()
        await stage.ended(call)

    stage.run(body, f'[daemon]\nsuspend = "keep"\n{ECHO}')


def test_an_owner_that_hangs_is_found_out(stage: UnitStage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        modem, _ = await stage.modems("100", "200")
        monkeypatch.setattr(timing, "HUNG", 0.2)
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        while loop.time() < idle_since + 0.3:  # an idle modem hangs never
            await stage.desk.command(modem, "AT", 1.0)
        assert stage.registry.hung() == ""
        never = asyncio.Event()

        async def stuck(path: str) -> None:
            await never.wait()

        stage.registry.open_gate = stuck
        await stage.desk.reset(modem)
        async with asyncio.timeout(5):
            while not stage.registry.hung():  # noqa: ASYNC110  time itself is waited for
                await asyncio.sleep(0.01)
        assert stage.registry.hung() == modem
        never.set()
        await stage.state(modem, ModemState.READY)
        assert stage.registry.hung() == ""

    stage.run(body, ECHO)


def test_a_daemon_that_restarts_over_a_broken_configuration_goes_on_with_the_last_good_one(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        good = stage.registry.config
        stage.last_good = lambda: good
        stage.text = "nonsense ["
        await stage.restart()
        assert "test.toml" in stage.registry.config_error
        stream.send(b"unharmed")
        await stream.until(b"unharmed")
        await stage.desk.hang_up_call(call)
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO)


UPLINK = """
[session.quiet]
type = "exec"
command = ["/bin/sleep", "60"]

[policy.up]
mode = "originate"
numbers = ["71", "200"]
session = "quiet"
retry = { first = "1s", max = "2s", per-day = 2 }
"""


def _uplink(per_day: int) -> str:
    caller = entry("100", "up")
    return ECHO.replace(entry("100"), caller) + UPLINK.replace("per-day = 2", f"per-day = {per_day}")


async def _dialled_up(stage: UnitStage) -> CallView:
    """The call that the policy has placed, connected, after one to an engaged number."""
    stage.exchange.special("71", "busy")
    for number in ("200", "100"):
        await stage.modem(number)
    up = [CallState.ENDED, CallState.CONNECTED]
    await stage.told.until(lambda: [view.state for view in _outgoing(stage)] == up, "the second number")
    kept = {f"tally-{view.call}" for view in stage.desk.calls()[1:]}
    await stage.told.until(lambda: len(kept) == 2 and stage.manager.look().keys() >= kept, "kept")
    return _outgoing(stage)[-1]


def _outgoing(stage: UnitStage) -> list[CallView]:
    return [view for view in stage.desk.calls() if view.direction == "outgoing"]


def test_a_link_that_is_always_up_comes_back_after_the_sleep(stage: UnitStage) -> None:
    async def body() -> None:
        call = await _dialled_up(stage)
        sleeper = Sleeper(stage.registry)
        await sleeper.before()
        assert stage.call(call.call).end_reason is EndReason.SHUTDOWN
        assert len(_outgoing(stage)) == 2
        sleeper.after()
        await stage.told.until(lambda: len(_outgoing(stage)) > 2, "dialled again")

    stage.run(body, _uplink(0))


def test_a_link_whose_hanging_up_the_sleep_has_cut_comes_back_too(stage: UnitStage) -> None:
    async def body() -> None:
        call = await _dialled_up(stage)
        sleeper = Sleeper(stage.registry)
        going = asyncio.create_task(sleeper.before())
        await stage.state(_id(stage, "100"), ModemState.HANGING_UP)
        going.cancel()  # logind waits no longer
        await asyncio.wait({going})
        sleeper.after()
        assert (await stage.ended(call.call)).end_reason is EndReason.SHUTDOWN
        await stage.told.until(lambda: len(_outgoing(stage)) > 2, "dialled again")

    stage.run(body, _uplink(0))


def test_a_modem_that_is_unplugged_does_not_hold_up_the_sleep(stage: UnitStage) -> None:
    async def body() -> None:
        _, stream = await _talk(stage)
        going = asyncio.create_task(Sleeper(stage.registry).before())
        await stage.state(_id(stage, "100"), ModemState.HANGING_UP)
        for number in ("100", "200"):
            stage.registry.fleet.gone(f"/sys/test/{number}")
        await asyncio.wait_for(going, 5.0)
        await stream.end()

    stage.run(body, ECHO)


def test_the_day_s_limit_counts_over_a_restart_in_mid_call(stage: UnitStage) -> None:
    async def body() -> None:
        call = await _dialled_up(stage)
        await stage.restart()
        modem = _id(stage, "100")
        await stage.desk.hang_up_call(stage.incoming().call)
        await stage.ended(call.call)
        await stage.state(modem, ModemState.BLOCKED)
        assert "2 calls were dialled today" in stage.view(modem).state_reason
        assert len(_outgoing(stage)) == 1

    stage.run(body, _uplink(2))


def test_a_call_whose_modem_is_unplugged_keeps_its_counts(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        stream.send(b"hello")
        await stream.until(b"hello")
        answered = stage.incoming().call
        stage.registry.fleet.gone("/sys/test/200")
        view = await stage.ended(answered)
        assert view.end_reason is EndReason.MODEM_LOST
        assert view.rx_bytes >= 5
        assert view.tx_bytes >= 5
        await stage.desk.hang_up_call(call)
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO)


def test_a_session_that_dies_before_it_gets_the_line(stage: UnitStage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(name: str) -> None:
        call = int(name.partition("@")[2].partition(".")[0])
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(stage.directory / protocol.SOCKET))
            protocol.send(sock, protocol.Hello(protocol.VERSION, protocol.Kind.EXEC, call))

    async def body() -> None:
        monkeypatch.setattr(stage.manager, "start", dies)
        caller, _ = await stage.modems("100", "200")
        view = await stage.dialled(caller, "200")
        assert view.end_reason is EndReason.SESSION_FAILED
        assert f"dialupd-exec@{view.call}.service" in view.detail

    stage.run(body, ECHO)


def test_a_modem_of_many_modulations_is_remembered() -> None:
    names = tuple(f"V{number}" for number in range(10, 40))
    modem = ModemView("m", "m", Transport.CDC_ACM, state=ModemState.CONNECTED, modulations=names)
    call = CallView(1, "m", Direction.OUTGOING, state=CallState.CONNECTED)
    kept, _ = read_memo(memo(Kept("/dev/ttyACM0", protocol.Kind.EXEC, 0), call, modem))
    assert kept.modulations == names


class Slow(Scripted):
    """It takes a twentieth of a second for each command that begins with AT+SLOW."""

    def say(self, text: str) -> None:
        if self._slow:
            asyncio.get_running_loop().call_later(0.05, super().say, text)
        else:
            super().say(text)

    def received(self, data: bytes) -> None:
        self._slow = b"SLOW" in data
        super().received(data)

    _slow = False


async def _until_state(stage: UnitStage, modem: str, state: ModemState) -> None:
    """Meanwhile the watchdog is fed."""
    async with asyncio.timeout(10):
        while stage.view(modem).state is not state:
            assert stage.registry.hung() == ""
            await asyncio.sleep(0.01)


def test_a_long_list_of_commands_is_no_hanging(stage: UnitStage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        modem, _ = await stage.scripted("300", kind=Slow)
        monkeypatch.setattr(timing, "HUNG", 0.3)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await stage.desk.reset(modem)
        await _until_state(stage, modem, ModemState.READY)
        assert loop.time() - begun > 0.5

    commands = ", ".join(f'"AT+SLOW={number}"' for number in range(12))
    stage.run(body, entry("300", more=f"init = [{commands}]"))


def test_a_call_that_waits_for_a_person_s_command_is_no_hanging(
    stage: UnitStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        modem, _ = await stage.scripted("300", {"AT+COPS=?": "", "ATDT5": "\r\nBUSY\r\n"})
        monkeypatch.setattr(timing, "HUNG", 0.2)
        asking = asyncio.create_task(stage.desk.command(modem, "AT+COPS=?", 1.0))
        await asyncio.sleep(0)
        call = await stage.desk.dial(modem, "5", DialOptions(timeout=0.2))
        await _until_state(stage, modem, ModemState.READY)
        assert stage.call(call).end_reason is EndReason.BUSY
        with pytest.raises(DialupError):
            await asking

    stage.run(body, entry("300"))


def test_a_driver_that_is_never_bound_is_no_hanging(stage: UnitStage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(unit: str) -> None:
        await asyncio.get_running_loop().create_future()

    async def body() -> None:
        assert timing.BIND + timing.BIND_WAIT < timing.HUNG
        monkeypatch.setattr(timing, "BIND", 0.1)
        monkeypatch.setattr(stage.manager, "start", never)
        stage.registry.fleet.present(stage.device("300", ""))
        (modem,) = (view.id for view in stage.registry.modems())
        view = await stage.state(modem, ModemState.FAILED)
        assert "bound" in view.state_reason

    stage.run(body, entry("300", more="usbserial = true"))


def test_a_session_that_does_not_end_in_time_leaves_the_line(stage: UnitStage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        answered = stage.incoming()
        monkeypatch.setattr(timing, "SESSION_STOP", 0.3)
        await stage.desk.hang_up_call(answered.call)
        assert (await stage.ended(answered.call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.state(answered.modem, ModemState.READY)
        assert ModemState.FAILED not in stage.told.states[answered.modem]
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO.replace("stty", "trap '' HUP TERM; stty").replace("exec cat", "while :; do sleep 1; done"))


def test_a_systemd_that_is_slow_to_let_go_of_a_port_is_in_nobody_s_way(stage: UnitStage) -> None:
    async def body() -> None:
        call, stream = await _talk(stage)
        await stage.restart()
        stage.manager.look()
        stage.manager.busy = True
        answered = stage.incoming()
        await stage.desk.hang_up_call(answered.call)
        await stage.state(answered.modem, ModemState.READY, ModemState.FAILED)
        await stage.state(answered.modem, ModemState.RESETTING, ModemState.FAILED)
        await stage.state(answered.modem, ModemState.READY, ModemState.FAILED)
        assert ModemState.FAILED not in stage.told.states[answered.modem]
        stage.manager.busy = False
        await stream.end()
        await stage.ended(call)

    stage.run(body, ECHO)
