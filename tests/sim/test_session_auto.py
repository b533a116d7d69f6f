"""The session auto: what a caller's first bytes bring about, by hand and in units."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from session_line import FACTS, PORT_GONE, LostLine, PtyLine, Record, line, run

from dialupd.config.values import AutoSession, ExecSession, LoginSession, PlainSession, PppSession, Role
from dialupd.config.values import Session as SessionConfig
from dialupd.model import DialupError, EndReason, ErrorKind, SessionState
from dialupd.modem import timing
from dialupd.sessions import auto, firstbytes
from dialupd.sessions.auto import AutoCall
from dialupd.sessions.base import CallFacts, Line, RuntimePaths, Session, SessionEnd
from dialupd.sessions.start import make_session
from tests.sim.modem_stage import QUICK, Stream, entry
from tests.sim.unit_stage import UnitStage

FRAME = bytes.fromhex("7eff7d23c0217d217d207d207d2f7d227d267d207d207d207d207d277d227d287d222ea17e")
BEGIN = FRAME[: FRAME.index(0x21) + 1]
WAIT = 0.05
LONG = 600.0

ECHOES = 'stty raw -echo; echo "ready $DIALUPD_SESSION"; exec cat'
# A stand-in that shows what it gets of the line, as a real one would whose kernel has PPP.
PPPD = """#!/bin/sh
python3 -c 'import os, select
while select.select([0], [], [], 0)[0] and os.read(0, 4096): pass'
echo 'Using interface ppp7' >&2; echo 'Connect: ppp7 <--> /dev/pts/3' >&2
cat
exit 16
"""


class Chosen:
    """A session that ends at once; implements `Session`."""

    def __init__(self, config: PlainSession, line: Line, facts: CallFacts) -> None:
        self.config, self.line, self.facts = config, line, facts

    async def run(self) -> SessionEnd:
        return SessionEnd(EndReason.SESSION_ENDED)


def sessions(wait: float) -> dict[str, SessionConfig]:
    return {
        "who": AutoSession("who", ppp="dialin", login="menu", wait=wait),
        "plain": AutoSession("plain", ppp="dialin", wait=wait),
        "broken": AutoSession("broken", ppp="gone", login="gone", wait=wait),
        "dialin": PppSession("dialin", role=Role.SERVER, local="10.0.0.1", remote="10.0.0.2"),
        "menu": ExecSession("menu", ("/bin/sh", "-c", 'read name; echo "hi $name of $DIALUPD_SESSION"')),
    }


class Listener:
    """An auto session on a line, and what it has chosen."""

    def __init__(self, pty: PtyLine, name: str = "who", wait: float = LONG, begin: auto.Begin | None = None) -> None:
        self.record = Record()
        self.chosen: list[Chosen] = []
        known = sessions(wait)
        config = known[name]
        assert isinstance(config, AutoSession)
        self.call = AutoCall(config, known.get, pty, FACTS, self.record, begin or self._begin)  # type: ignore[arg-type]

    def _begin(self, config: PlainSession, line: Line, facts: CallFacts) -> Session:
        self.chosen.append(Chosen(config, line, facts))
        return self.chosen[-1]  # type: ignore[return-value]


@pytest.mark.parametrize("noise", [b"", b"\xff\x80", b"~~", b"CLIENT"], ids=repr)
@pytest.mark.parametrize("cut", [1, 3, len(BEGIN) - 1])
def test_a_frame_s_begin_is_enough(noise: bytes, cut: int) -> None:
    async def test() -> None:
        with line() as pty:
            listener = Listener(pty)
            running = asyncio.create_task(listener.call.run())
            await pty.send(noise + BEGIN[:cut])
            await pty.send(BEGIN[cut:])
            assert (await running).reason is EndReason.SESSION_ENDED
            (chosen,) = listener.chosen
            assert (chosen.config.name, chosen.facts.session, chosen.facts.call) == ("dialin", "dialin", 3)
            assert chosen.line.early == (b"~" + BEGIN if noise == b"~~" else BEGIN)[-len(BEGIN) :]
            assert listener.record.all.session == "dialin"
            assert listener.call.counts  # the session's own from now on
            assert pty.left() == b""
            await pty.send(FRAME[len(BEGIN) :])
            assert pty.near_reads() == FRAME[len(BEGIN) :]

    run(test)


def test_who_types_on_and_on_gets_the_prompt_in_the_end() -> None:
    async def test() -> None:
        with line() as pty:
            listener = Listener(pty, wait=0.1)
            running = asyncio.create_task(listener.call.run())
            typed = 0
            while not listener.chosen and typed < firstbytes.MOST:
                await pty.send(b"x")
                typed += 1
                await asyncio.wait({running}, timeout=0.02)
            await running
            assert listener.chosen[0].config.name == "menu"
            assert typed < firstbytes.MOST, "he would have been listened to for ever"

    run(test)


def test_what_the_modem_s_owner_has_read_counts() -> None:
    async def test() -> None:
        with line(early=BEGIN[:4]) as pty:
            listener = Listener(pty)
            running = asyncio.create_task(listener.call.run())
            await pty.send(BEGIN[4:])
            await running
            assert listener.chosen[0].line.early == BEGIN

    run(test)


def test_a_script_s_last_enter_before_ppp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firstbytes, "PPP_FOLLOWS", LONG)

    async def test() -> None:
        with line() as pty:
            listener = Listener(pty)
            running = asyncio.create_task(listener.call.run())
            await pty.send(b"\r")
            for byte in BEGIN:
                await pty.send(bytes((byte,)))
            await running
            assert listener.chosen[0].config.name == "dialin"
            assert listener.chosen[0].line.early == BEGIN

    run(test)


@pytest.mark.parametrize(
    ("said", "early"),
    [
        (b"\r", b""),
        (b"\n", b""),
        (b"\r\n", b""),
        (b"bob\r", b"bob\r"),
        (b"bob\r\n", b"bob\r"),
        (b"\r\nbob\rsesame\r", b"bob\rsesame\r"),
        (b"x" * 600, b""),
    ],
)
def test_enter_brings_the_login_and_what_was_typed(said: bytes, early: bytes) -> None:
    async def test() -> None:
        with line() as pty:
            listener = Listener(pty)
            running = asyncio.create_task(listener.call.run())
            await pty.send(said)
            await running
            (chosen,) = listener.chosen
            assert (chosen.config.name, chosen.line.early) == ("menu", early)
            assert pty.left() == b""

    run(test)


@pytest.mark.parametrize(("said", "early"), [(b"", b""), (b"bo", b"bo"), (BEGIN[:-1], BEGIN[:-1])])
def test_silence_brings_the_login(said: bytes, early: bytes) -> None:
    async def test() -> None:
        with line() as pty:
            listener = Listener(pty, "plain", WAIT)
            running = asyncio.create_task(listener.call.run())
            await pty.send(said)
            await running
            (chosen,) = listener.chosen
            assert chosen.config == LoginSession("plain")
            assert (chosen.facts.session, chosen.line.early) == ("plain", early)

    run(test)


def test_what_was_typed_reaches_the_program() -> None:
    async def test() -> None:
        with line() as pty:

            def begin(config: PlainSession, heard: Line, facts: CallFacts) -> Session:
                return make_session(config, heard, facts, listener.record, RuntimePaths("/nonexistent"))

            listener = Listener(pty, begin=begin)
            running = asyncio.create_task(listener.call.run())
            await listener.record.state(SessionState.STARTING)
            with pytest.raises(DialupError) as early:
                listener.call.open()
            assert early.value.kind is ErrorKind.WRONG_STATE
            await pty.send(b"Ann\r")
            assert b"hi Ann of menu" in await pty.receive(lambda got: got.endswith(b"menu\r\n"))
            await running
            assert listener.call.counts()[0] == 4
            with pytest.raises(DialupError) as never:
                listener.call.open()
            assert never.value.kind is ErrorKind.UNSUPPORTED

    run(test)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs agetty")
def test_a_name_that_was_typed_is_agetty_s(tmp_path: Path) -> None:
    async def test() -> None:
        with line() as pty:

            def begin(config: PlainSession, heard: Line, facts: CallFacts) -> Session:
                return make_session(config, heard, facts, listener.record, RuntimePaths("/nonexistent"))

            listener = Listener(pty, "plain", begin=begin)
            running = asyncio.create_task(listener.call.run())
            await pty.send(b"nobody-here\r")
            got = await pty.receive(lambda got: got.endswith(b"assword: "))
            assert got.count(b"login: ") == 1
            assert b"login: nobody-here\r" in got
            listener.call.stop(EndReason.LOCAL_HANGUP)
            assert (await running).reason is EndReason.LOCAL_HANGUP

    run(test)


def test_pppd_gets_every_byte_from_the_first_frame_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pppd(tmp_path, monkeypatch)

    async def test() -> None:
        with line() as pty:

            def begin(config: PlainSession, heard: Line, facts: CallFacts) -> Session:
                return make_session(config, heard, facts, listener.record, RuntimePaths(str(tmp_path)))

            listener = Listener(pty, begin=begin)
            running = asyncio.create_task(listener.call.run())
            await pty.send(b"\xff" + 3 * FRAME)
            assert await pty.receive(lambda got: len(got) >= 3 * len(FRAME)) == 3 * FRAME
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)


def test_a_fax_that_calls() -> None:
    async def test() -> None:
        with line() as pty:
            listener = Listener(pty)
            running = asyncio.create_task(listener.call.run())
            await pty.send(b"\r\n+FCO\r\n")
            assert await running == auto.FAX_CALLS
            assert not listener.chosen

    run(test)


@pytest.mark.parametrize("shows_carrier", [True, False])
def test_the_caller_hangs_up_meanwhile(shows_carrier: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "SILENCE", 0.05)

    async def test() -> None:
        with line(shows_carrier=shows_carrier) as pty:
            listener = Listener(pty)
            running = asyncio.create_task(listener.call.run())
            await pty.send(b"bo")
            if shows_carrier:
                await listener.record.state(SessionState.STARTING)
                pty.hang_up()
            else:
                await pty.send(b"\r\nNO CARRIER\r\n")
            assert (await running).reason is EndReason.REMOTE_HANGUP
            assert not listener.chosen

    run(test)


def test_a_line_that_is_lost_before_it_is_listened_to() -> None:
    async def test() -> None:
        pty = LostLine(PORT_GONE)
        try:
            assert (await Listener(pty).call.run()).reason is EndReason.REMOTE_HANGUP
        finally:
            pty.close()

    run(test)


@pytest.mark.parametrize("again", [EndReason.LOCAL_HANGUP, EndReason.SHUTDOWN])
def test_it_is_stopped_while_it_listens(again: EndReason) -> None:
    async def test() -> None:
        with line() as pty:
            listener = Listener(pty)
            running = asyncio.create_task(listener.call.run())
            await listener.record.state(SessionState.STARTING)
            listener.call.stop(EndReason.LOCAL_HANGUP)
            listener.call.stop(again)
            assert (await running).reason is EndReason.LOCAL_HANGUP
            assert not listener.chosen

    run(test)


def test_it_is_cancelled_while_it_listens() -> None:
    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(Listener(pty).call.run())
            await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait({running})
            assert running.cancelled()

    run(test)


@pytest.mark.parametrize("said", [BEGIN, b"\n"])
def test_a_session_that_is_not_configured_any_more(said: bytes) -> None:
    async def test() -> None:
        with line() as pty:
            listener = Listener(pty, "broken")
            running = asyncio.create_task(listener.call.run())
            await pty.send(said)
            end = await running
            assert end.reason is EndReason.SESSION_FAILED
            assert "broken" in end.detail

    run(test)


# -- with modems and units

AUTO = f"""
[session.who]
type = "auto"
ppp = "dialin"
login = "menu"
wait = "1s"

[session.dialin]
type = "ppp"
role = "server"
local = "10.0.0.1"
remote = "10.0.0.2"
auth = []

[session.menu]
type = "exec"
command = ["/bin/sh", "-c", {ECHOES!r}]

[policy.in]
mode = "answer"
rings = 1
session = "who"
{entry("200", "in")}
{entry("100")}
"""

# Units begin slowly on a busy machine.
PATIENT = AUTO.replace('"1s"', '"2min"')


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UnitStage]:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(timing, name, seconds)
    _pppd(tmp_path, monkeypatch)
    yield UnitStage(tmp_path)


def _pppd(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = directory / "bin"
    programs.mkdir()
    (programs / "pppd").write_text(PPPD)
    (programs / "pppd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


async def _called(stage: UnitStage) -> tuple[int, int, Stream]:
    """Calls of both sides and the caller's stream."""
    caller, _ = await stage.modems("100", "200")
    call = await stage.connect(caller, "200")
    stream = Stream(await stage.desk.open_call(call))
    answered = stage.incoming().call
    await stage.told.until(lambda: stage.call(answered).session_state is SessionState.STARTING, "listening")
    return call, answered, stream


def _unit(kind: str, call: int) -> str:
    return f"dialupd-{kind}@{call}.service"


def _session(stage: UnitStage, call: int, name: str) -> Callable[[], bool]:
    return lambda: stage.call(call).session == name


def test_ppp_in_a_unit_that_waits_for_it(stage: UnitStage) -> None:
    async def body() -> None:
        call, answered, stream = await _called(stage)
        assert stage.call(answered).session == "who"
        stream.send(b"\xff" + FRAME)
        await stage.told.until(_session(stage, answered, "dialin"), "PPP")
        await stream.until(FRAME)
        assert bytes(stream.got) == FRAME
        assert stage.manager.started == [_unit("exec", call), _unit("ppp", answered)]
        await stage.restart()
        assert stage.call(answered).session == "dialin"
        stream.send(b"more")
        await stream.until(b"more")
        await stage.desk.hang_up_call(answered)
        await stream.end()
        assert (await stage.ended(answered)).end_reason is EndReason.LOCAL_HANGUP
        await stage.ended(call)
        assert {row.call: row.session for row in await stage.rows()} == {call: "client", answered: "dialin"}

    stage.run(body, PATIENT)


@pytest.mark.parametrize(("said", "config"), [(b"", AUTO), (b"Ann\r", PATIENT)], ids=["silence", "a name"])
def test_a_login_in_a_unit_of_its_own(stage: UnitStage, said: bytes, config: str) -> None:
    async def body() -> None:
        call, answered, stream = await _called(stage)
        if said:
            await stage.prepared(answered)
            stream.send(said)
        await stream.until(b"ready menu")
        assert stage.call(answered).session == "menu"
        assert stage.manager.started == [_unit("exec", call), _unit("ppp", answered), _unit("exec", answered)]
        # Where silence decides, the unit may not even have begun to wait.
        assert await stage.manager.ended(_unit("ppp", answered)) in ((0,) if said else (0, -signal.SIGTERM))
        assert stage.manager.log(_unit("ppp", answered)) == ""
        stream.send(b"hello")
        await stream.until(b"hello")
        await stage.restart()
        stream.send(b"again")
        await stream.until(b"again")
        await stage.desk.hang_up_call(call)
        await stream.end()
        assert (await stage.ended(answered)).end_reason is EndReason.REMOTE_HANGUP
        await stage.ended(call)

    stage.run(body, config)


def test_a_plain_login_needs_no_session_of_its_own(stage: UnitStage) -> None:
    """Its unit finds it by the auto session's name; nobody but root gets further."""

    async def body() -> None:
        call, answered, stream = await _called(stage)
        stream.send(b"\n")
        await stage.told.until(lambda: _unit("login", answered) in stage.manager.started, "login")
        if os.geteuid() == 0:
            await stream.until(b"login: ")
            await stage.desk.hang_up_call(call)
        else:
            await stream.until(b"not available")
        await stream.end()
        await stage.ended(call)
        assert (await stage.ended(answered)).session == "who"

    stage.run(body, PATIENT.replace('login = "menu"\n', ""))


def test_a_daemon_that_restarts_while_it_listens_hangs_up(stage: UnitStage) -> None:
    async def body() -> None:
        _, answered, stream = await _called(stage)
        await stage.prepared(answered)
        await stage.end(keep=True)
        assert await stage.manager.ended(_unit("ppp", answered)) == 0
        await stage.begin()
        rows = {row.call: row for row in await stage.rows()}
        assert rows[answered].end_reason is EndReason.SHUTDOWN
        await stream.end()

    stage.run(body, PATIENT)


def test_a_hang_up_while_it_listens_leaves_nothing(stage: UnitStage) -> None:
    async def body() -> None:
        call, answered, stream = await _called(stage)
        await stage.prepared(answered)
        await stage.desk.hang_up_call(call)
        await stream.end()
        assert (await stage.ended(answered)).end_reason is EndReason.REMOTE_HANGUP
        await stage.ended(call)
        assert await stage.manager.ended(_unit("ppp", answered)) == 0
        assert stage.manager.log(_unit("ppp", answered)) == ""
        assert stage.manager.look() == {}

    stage.run(body, PATIENT)
