"""What may be asked of a modem in every state, and what plugging, lending and reloading do to it."""

from __future__ import annotations

import asyncio
import os

import pytest
from modem_stage import ANSWER, PATIENCE, Stage, Stream, entry
from modem_stage import stage as stage

from dialupd.exchange.answers import Caller
from dialupd.io.lock import UucpLock
from dialupd.model import DialOptions, DialupError, EndReason, ErrorKind, ModemState
from dialupd.modem.call import Call

S = ModemState
BOTH = ANSWER + entry("100") + entry("200", "in") + entry("300")


async def into(stage: Stage, state: ModemState) -> str:
    """A modem that has come to the state in the way that it does in life; its number is 300."""
    desk = stage.desk
    if state is S.PROBING:
        modem = await stage.modem("300", faults=["silent"])
        await stage.state(modem, S.PROBING)
        return modem
    if state is S.FAILED:
        modem = await stage.modem("300", faults=["looped"])
        await stage.state(modem, S.FAILED)
        return modem
    (modem,) = await stage.modems("300")
    match state:
        case S.RINGING:
            stage.exchange.ring("300", Caller("5551212"), rings=50)
        case S.DIALING:
            stage.exchange.special("5", "no-answer")
            await desk.dial(modem, "5", DialOptions())
        case S.ANSWERING:
            stage.exchange.ring("300", Caller("5551212"), rings=50)
            await stage.state(modem, S.RINGING)
            await desk.answer(modem, DialOptions())
        case S.CONNECTED:
            stage.exchange.special("5", "echo")
            await stage.connect(modem, "5")
        case S.HANGING_UP:
            stage.exchange.special("5", "echo")
            await stage.connect(modem, "5")
            await desk.hang_up(modem)
        case S.RESETTING:
            stage.sim("300").set_faults(["silent"])
            await desk.reset(modem)
        case S.DISABLED:
            await desk.disable(modem)
        case S.INHIBITED:
            stage.loan = await desk.inhibit(modem, "minicom", "a look")
        case _:
            pass
    await stage.state(modem, state)
    return modem


HERE = [S.PROBING, S.READY, S.RINGING, S.DIALING, S.ANSWERING, S.CONNECTED, S.HANGING_UP, S.RESETTING, S.DISABLED,
        S.INHIBITED, S.FAILED]  # fmt: skip
IN_CALL = {S.RINGING, S.DIALING, S.ANSWERING, S.CONNECTED, S.HANGING_UP}


def returned(stage: Stage) -> None:
    if stage.loan >= 0:
        os.close(stage.loan)
        stage.loan = -1


@pytest.mark.parametrize("state", HERE)
def test_unplugged_in_every_state(stage: Stage, state: ModemState) -> None:
    async def body() -> None:
        modem = await into(stage, state)
        stage.exchange.unplug("300")
        stage.registry.fleet.gone("/sys/test/300")
        await stage.gone(modem)
        for call in await stage.calls(1 if state in IN_CALL else 0):
            assert call.end_reason is EndReason.MODEM_LOST
        with pytest.raises(DialupError) as nobody:
            await stage.desk.hang_up(modem)
        assert nobody.value.kind is ErrorKind.NOT_FOUND
        returned(stage)
        stage.sim("300").set_faults([])
        assert await stage.plug("300") == modem, "it is known again"
        await stage.state(modem, S.DISABLED if state is S.DISABLED else S.READY)

    stage.run(body, BOTH)


@pytest.mark.parametrize("state", [S.READY, S.RINGING, S.DIALING, S.ANSWERING, S.CONNECTED, S.HANGING_UP, S.RESETTING])
def test_the_port_goes_before_udev_says_so(stage: Stage, state: ModemState) -> None:
    async def body() -> None:
        modem = await into(stage, state)
        stage.exchange.unplug("300")
        view = await stage.state(modem, S.FAILED)
        assert view.state_reason
        for call in await stage.calls(1 if state in IN_CALL else 0):
            assert call.end_reason is EndReason.MODEM_LOST
        stage.registry.fleet.gone("/sys/test/300")
        await stage.gone(modem)

    stage.run(body, BOTH)


def test_gone_and_back_in_the_same_moment(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        for _ in range(3):
            stage.exchange.unplug("300")
            stage.registry.fleet.gone("/sys/test/300")
            await stage.exchange.on_pty("300")
            path = stage.exchange.path("300")
            stage.registry.fleet.present(stage.device("300", path))
        await stage.told.until(lambda: len(stage.told.all("modem removed")) >= 1)
        await stage.told.until(lambda: [view.state for view in stage.registry.modems()] == [S.READY])
        assert stage.view(modem).device == path

    stage.run(body, BOTH)


@pytest.mark.parametrize("state", sorted(IN_CALL))
def test_hung_up_in_every_state(stage: Stage, state: ModemState) -> None:
    async def body() -> None:
        modem = await into(stage, state)
        await stage.desk.hang_up(modem)
        (call,) = await stage.calls(1)
        assert call.end_reason is (EndReason.REJECTED if state is S.RINGING else EndReason.LOCAL_HANGUP)
        await stage.state(modem, S.READY)
        assert stage.sim("300").peer == ""
        stage.exchange.special("7", "echo")
        await stage.connect(modem, "7")

    stage.run(body, BOTH)


@pytest.mark.parametrize("state", HERE)
def test_disabled_in_every_state(stage: Stage, state: ModemState) -> None:
    async def body() -> None:
        modem = await into(stage, state)
        await stage.desk.disable(modem)
        await stage.state(modem, S.DISABLED)
        for call in await stage.calls(1 if state in IN_CALL else 0):
            assert call.end_reason in (EndReason.LOCAL_HANGUP, EndReason.REJECTED)
        for asked in (stage.desk.dial(modem, "5", DialOptions()), stage.desk.reset(modem)):
            with pytest.raises(DialupError) as refused:
                await asked
            assert refused.value.kind is ErrorKind.WRONG_STATE
        stage.sim("300").set_faults([])
        await stage.desk.disable(modem)
        await stage.desk.enable(modem)
        if state is S.INHIBITED:
            assert stage.view(modem).state is S.INHIBITED, "somebody else has the port"
            returned(stage)
        await stage.state(modem, S.READY)
        await stage.desk.enable(modem)
        assert stage.view(modem).state is S.READY

    stage.run(body, BOTH)


@pytest.mark.parametrize("state", HERE)
def test_reset_in_every_state(stage: Stage, state: ModemState) -> None:
    async def body() -> None:
        modem = await into(stage, state)
        if state in IN_CALL | {S.DISABLED, S.INHIBITED, S.RESETTING}:
            with pytest.raises(DialupError) as refused:
                await stage.desk.reset(modem)
            assert refused.value.kind is ErrorKind.WRONG_STATE
            assert state.value in str(refused.value)
        else:
            await stage.desk.reset(modem)
            stage.sim("300").set_faults([])
            await stage.state(modem, S.READY)
        returned(stage)

    stage.run(body, BOTH)


@pytest.mark.parametrize("state", HERE)
def test_lent_in_every_state(stage: Stage, state: ModemState) -> None:
    async def body() -> None:
        modem = await into(stage, state)
        if state in IN_CALL | {S.INHIBITED}:
            with pytest.raises(DialupError) as refused:
                await stage.desk.inhibit(modem, "minicom", "")
            assert refused.value.kind is ErrorKind.WRONG_STATE
            returned(stage)
            return
        lent = await stage.desk.inhibit(modem, "minicom", "a look")
        view = await stage.state(modem, S.INHIBITED)
        assert "minicom" in view.state_reason
        port = os.open(view.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)  # nobody keeps it
        os.close(port)
        os.write(lent, b"what a borrower writes means nothing")
        stage.sim("300").set_faults([])
        os.close(lent)
        await stage.state(modem, S.DISABLED if state is S.DISABLED else S.READY)

    stage.run(body, BOTH)


def test_the_daemon_ends_while_the_port_is_lent(stage: Stage) -> None:
    async def body() -> None:
        await into(stage, S.INHIBITED)
        await stage.registry.close()
        returned(stage)

    stage.run(body, BOTH)


@pytest.mark.parametrize("state", HERE)
def test_the_daemon_ends_in_every_state(stage: Stage, state: ModemState) -> None:
    async def body() -> None:
        modem = await into(stage, state)
        await stage.registry.close()
        await stage.gone(modem)
        for call in await stage.calls(1 if state in IN_CALL else 0):
            assert call.end_reason is (EndReason.LOCAL_HANGUP if state is S.HANGING_UP else EndReason.SHUTDOWN)
        assert stage.sim("300").peer == "", "nobody pays for a line that nobody holds"
        assert {row.end_reason for row in await stage.rows()} == {view.end_reason for view in stage.desk.calls()}
        returned(stage)

    stage.run(body, BOTH)


def test_the_daemon_ends_in_a_call_between_its_own_modems(stage: Stage) -> None:
    async def body() -> None:
        caller, _ = await stage.modems("100", "200")
        call = await stage.connect(caller, "200")
        await stage.told.until(lambda: len(stage.desk.calls()) == 2 and stage.incoming().connect_time)
        stream = Stream(await stage.desk.open_call(call))
        await stage.registry.close()
        await stream.end()
        ends = {view.end_reason for view in stage.desk.calls()}
        assert ends <= {EndReason.SHUTDOWN, EndReason.REMOTE_HANGUP}
        assert EndReason.SHUTDOWN in ends
        assert all(row.end_time for row in await stage.rows())

    stage.run(body, BOTH)


# -- commands


def test_a_person_s_commands(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        command = stage.desk.command
        result, lines = await command(modem, "ATI3", 2.0)
        assert result == "OK"
        assert lines
        assert (await command(modem, "  at+gmm ", 0.0))[0] == "OK"
        assert await command(modem, "AT+NOPE", 2.0) == ("ERROR", [])
        for text in ("ATD5", "ATA", "ATH", "A/", "ATE0D5", "AT+MS=V34;D5"):
            with pytest.raises(DialupError, match="use Dial") as refused:
                await command(modem, text, 2.0)
            assert refused.value.kind is ErrorKind.INVALID_ARGS
        for text in ("", "hello", "AT\rATD5", "AT\x00", "ATé", "AT" + "x" * 500):
            with pytest.raises(DialupError) as refused:
                await command(modem, text, 2.0)
            assert refused.value.kind is ErrorKind.INVALID_ARGS
        assert stage.sim("300").peer == ""

    stage.run(body, BOTH)


@pytest.mark.parametrize("text", ["ATE1", "ATQ1", "ATV0", "ATE1Q1V0", "ATZ", "AT&F", "ATX0", "ATS0=1"])
def test_no_command_makes_us_deaf(stage: Stage, text: str) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        try:
            assert (await stage.desk.command(modem, text, 0.2))[0] == "OK"
        except DialupError as error:
            assert "Q1" in text
            assert error.kind is ErrorKind.TIMEOUT
        assert (await stage.desk.command(modem, "AT", 1.0)) == ("OK", [])
        assert stage.sim("300").settings.register(0) == 0, "the modem does not answer by itself"
        stage.exchange.special("5", "busy")
        assert (await stage.dialled(modem, "5")).end_reason is EndReason.BUSY

    stage.run(body, BOTH)


def test_a_call_that_begins_during_a_command_waits_for_its_end(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of the command or of what restores the settings after it may be sent once the call is dialled."""
    caplog.set_level("DEBUG", "dialupd.at")

    async def body() -> None:
        (modem,) = await stage.modems("300", faults=["slow=0.01"])
        stage.exchange.special("5", "echo")
        asking = asyncio.create_task(stage.desk.command(modem, "ATI3", 2.0))
        await stage.told.until(lambda: any(text.endswith("> ATI3") for text in caplog.messages) or _kick(stage))
        call = await stage.desk.dial(modem, "5", DialOptions())
        assert (await asking)[0] == "OK"
        await stage.state(modem, S.CONNECTED)
        said = [text.partition(" > ")[2] for text in caplog.messages if " > " in text]
        assert said[-1] == "ATDT5"
        await stage.desk.hang_up(modem)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.state(modem, S.READY)

    stage.run(body, BOTH)


def _kick(stage: Stage) -> bool:
    asyncio.get_running_loop().call_soon(stage.told.look_again)
    return False


@pytest.mark.parametrize("what", ["disable", "reset", "inhibit", "gone", "close"])
def test_a_command_in_flight_ends_with_its_port(stage: Stage, caplog: pytest.LogCaptureFixture, what: str) -> None:
    caplog.set_level("DEBUG", "dialupd.at")

    async def body() -> None:
        (modem,) = await stage.modems("300")
        stage.sim("300").set_faults(["silent"])
        asking = asyncio.create_task(stage.desk.command(modem, "ATI3", 60.0))
        await stage.told.until(lambda: any(text.endswith("> ATI3") for text in caplog.messages) or _kick(stage))
        match what:
            case "disable":
                await stage.desk.disable(modem)
            case "reset":
                await stage.desk.reset(modem)
            case "inhibit":
                os.close(await stage.desk.inhibit(modem, "a test", ""))
            case "gone":
                stage.exchange.unplug("300")
                stage.registry.fleet.gone("/sys/test/300")
            case _:
                await stage.registry.close()
        await asyncio.wait({asking}, timeout=PATIENCE)
        assert asking.done(), "it waits for a port that nobody has"
        with pytest.raises(DialupError) as lost:
            await asking
        assert lost.value.kind is ErrorKind.FAILED

    stage.run(body, BOTH)


def test_a_modem_that_a_command_has_made_deaf_is_reset(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.modem.timing.SYNC", 0.05)

    async def body() -> None:
        (modem,) = await stage.modems("300")
        stage.sim("300").set_faults(["silent"])
        with pytest.raises(DialupError):
            await stage.desk.command(modem, "AT", 0.05)
        await stage.state(modem, S.RESETTING, S.FAILED)
        stage.sim("300").set_faults([])
        await stage.state(modem, S.READY)

    stage.run(body, BOTH)


# -- policies


UPLINK = """
[session.line]
type = "exec"
command = ["/bin/cat"]

[policy.up]
mode = "originate"
numbers = ["71", "72"]
session = "line"
retry = {{ first = "2s", max = "8s", attempts = {attempts}, per-day = {per_day} }}
"""


def uplink(attempts: int = 0, per_day: int = 0) -> str:
    return UPLINK.format(attempts=attempts, per_day=per_day) + entry("100", "up") + entry("200")


def test_it_dials_by_itself_with_the_numbers_in_turn(stage: Stage) -> None:
    async def body() -> None:
        stage.exchange.special("71", "busy")
        stage.exchange.special("72", "busy")
        modem = await stage.modem("100")
        calls = await stage.calls(4)
        assert [call.number for call in calls[:4]] == ["71", "72", "71", "72"]
        assert {call.end_reason for call in calls} == {EndReason.BUSY}
        assert {call.policy for call in calls} == {"up"}
        pauses = [calls[n + 1].start_time - calls[n].end_time for n in range(3)]
        assert pauses[0] >= 0.04e6
        assert pauses[1] >= 0.08e6
        assert pauses[2] >= 0.16e6
        await stage.told.until(lambda: stage.view(modem).state is S.READY and stage.view(modem).next_attempt)
        assert stage.view(modem).attempts >= 4
        await stage.desk.suspend("up")
        assert ("up", "originate", "suspended") in stage.desk.policies()
        await stage.told.until(lambda: stage.view(modem).next_attempt == 0)
        with pytest.raises(DialupError) as refused:
            await stage.desk.originate("up", DialOptions())
        assert refused.value.kind is ErrorKind.BLOCKED
        count = len(stage.desk.calls())
        await stage.settle(modem)
        assert len(stage.desk.calls()) == count
        await stage.desk.resume("up")
        await stage.calls(count + 1)
        with pytest.raises(DialupError) as unknown:
            await stage.desk.suspend("nobody")
        assert unknown.value.kind is ErrorKind.NOT_FOUND

    stage.run(body, uplink())


@pytest.mark.parametrize(("limits", "said"), [({"attempts": 2}, "attempts"), ({"per_day": 2}, "per-day")])
def test_a_limit_blocks_until_somebody_resumes(stage: Stage, limits: dict[str, int], said: str) -> None:
    async def body() -> None:
        modem = await stage.modem("100")
        view = await stage.state(modem, S.BLOCKED)
        assert said in view.state_reason
        assert len(stage.desk.calls()) == 2
        (status,) = [status for name, _, status in stage.desk.policies() if name == "up"]
        assert status.startswith("blocked")
        with pytest.raises(DialupError) as refused:
            await stage.desk.originate("up", DialOptions())
        assert refused.value.kind is ErrorKind.BLOCKED
        # By hand any number may be dialled, and a call may come in.
        stage.exchange.special("5", "busy")
        assert (await stage.dialled(modem, "5")).end_reason is EndReason.BUSY
        await stage.state(modem, S.BLOCKED)
        stage.exchange.ring("100", Caller("5551212"), rings=2)
        await stage.state(modem, S.RINGING)
        await stage.state(modem, S.BLOCKED)
        await stage.desk.resume("up")
        await stage.calls(5, modem)

    stage.run(body, uplink(**limits))


def test_the_history_counts_for_the_day_s_limit(stage: Stage) -> None:
    async def first() -> None:
        await stage.state(await stage.modem("100"), S.BLOCKED)

    async def again() -> None:
        modem = await stage.modem("100")
        await stage.state(modem, S.BLOCKED)
        assert stage.desk.calls() == []
        assert len(await stage.rows()) == 2

    stage.run(first, uplink(per_day=2))
    stage.run(again, uplink(per_day=2))


def test_originate_takes_the_modem_of_the_policy(stage: Stage) -> None:
    async def body() -> None:
        modem, _ = await stage.modems("100", "200")
        stage.exchange.special("71", "echo")
        call = await stage.desk.originate("up", DialOptions(session="client"))
        view = stage.call(call)
        assert (view.modem, view.number, view.policy, view.session) == (modem, "71", "up", "client")
        await stage.state(modem, S.CONNECTED)
        with pytest.raises(DialupError) as busy:
            await stage.desk.originate("up", DialOptions())
        assert busy.value.kind is ErrorKind.WRONG_STATE

    stage.run(body, uplink().replace('mode = "originate"', 'mode = "originate"\nwhen = "manual"'))


def test_the_policy_of_a_modem_can_be_changed(stage: Stage) -> None:
    async def body() -> None:
        caller, other = await stage.modems("100", "300")
        with pytest.raises(DialupError):
            await stage.desk.set_policy(other, "nobody")
        await stage.desk.set_policy(other, "in")
        assert stage.view(other).policy == "in"
        await stage.connect(caller, "300")
        await stage.desk.hang_up(caller)
        await stage.state(other, S.READY)
        await stage.desk.set_policy(other, "")
        assert stage.view(other).policy == ""

    stage.run(body, BOTH)


# -- configuration


async def reload(stage: Stage, text: str) -> None:
    stage.text = text
    await stage.desk.reload()


def test_a_reload_initialises_a_ready_modem_anew(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "dialupd.at")

    async def body() -> None:
        (modem,) = await stage.modems("300")
        caplog.clear()
        await reload(stage, BOTH)
        assert stage.told.states[modem] == ["probing", "ready"], "what compares equal is untouched"
        await reload(stage, ANSWER + entry("300", "in", 'init = ["ATS10=33"]'))
        await stage.state(modem, S.RESETTING)
        view = await stage.state(modem, S.READY)
        assert view.policy == "in"
        assert any(text.endswith("> ATS10=33") for text in caplog.messages)
        await reload(stage, ANSWER + entry("300", "in", 'init = ["AT+NOPE"]'))
        view = await stage.state(modem, S.FAILED)
        assert "AT+NOPE" in view.state_reason
        await reload(stage, BOTH)
        assert stage.view(modem).state is S.PROBING, "a mended configuration is tried at once"
        await stage.state(modem, S.READY)

    stage.run(body, BOTH)


def test_a_reload_leaves_a_call_alone(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        call = await stage.connect(caller, "200")
        await stage.state(answerer, S.CONNECTED)
        await reload(stage, ANSWER + entry("200", "", 'init = ["ATS10=33"]'))
        assert stage.view(caller).state is S.CONNECTED
        stream = Stream(await stage.desk.open_call(call))
        theirs = Stream(await stage.desk.open_call(stage.incoming().call))
        stream.send(b"still there")
        await theirs.until(b"still there")
        await stage.desk.hang_up(caller)
        assert (await stage.ended(call)).end_reason is EndReason.LOCAL_HANGUP
        await stage.gone(caller)
        await stage.told.until(lambda: "resetting" in stage.told.states[answerer])
        await stage.state(answerer, S.READY)
        await stream.end()
        await theirs.end()

    stage.run(body, BOTH)


def test_a_reload_with_an_error_keeps_the_old_one(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        with pytest.raises(DialupError, match="the old configuration stays"):
            await reload(stage, "[policy.x]\nmode = 'dance'\n")
        assert "dance" in stage.registry.config_error
        assert stage.view(modem).state is S.READY
        assert [name for name, _, _ in stage.desk.policies()] == ["in"]
        await reload(stage, BOTH)
        assert stage.registry.config_error == ""

    stage.run(body, BOTH)


def test_a_modem_that_the_configuration_forgets_goes_and_comes_back(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        await reload(stage, ANSWER)
        await stage.gone(modem)
        await reload(stage, BOTH)
        await stage.told.until(stage.registry.modems)
        await stage.state(modem, S.READY)

    stage.run(body, BOTH)


def test_a_port_named_by_a_link_without_udev(stage: Stage) -> None:
    async def body() -> None:
        stage.exchange.modem("400")
        path = await stage.exchange.on_pty("400")
        link = stage.directory / "modem"
        link.symlink_to(path)
        await stage.desk.rescan()
        await stage.told.until(stage.registry.modems)
        (view,) = stage.registry.modems()
        await stage.state(view.id, S.READY)
        assert stage.view(view.id).name == "linked"

    stage.run(body, f'[[modem]]\nname = "linked"\nmatch = {{ device = "{stage.directory}/modem" }}\n')


# -- what must not be lost


def test_a_cancelled_open_leaves_nothing(stage: Stage) -> None:
    async def body() -> None:
        opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def gate(_: str) -> None:
            if not opening.done():
                opening.set_result(None)
            await never

        stage.registry.open_gate = gate
        modem = await stage.modem("300")
        await opening
        stage.registry.fleet.gone("/sys/test/300")
        await stage.gone(modem)

    stage.run(body, BOTH)


def test_another_program_s_port_is_told_and_tried_again(stage: Stage) -> None:
    async def body() -> None:
        stage.exchange.modem("300")
        path = await stage.exchange.on_pty("300")
        lock = UucpLock.take(path, str(stage.directory))
        for file in stage.directory.glob("LCK..*"):
            file.write_text("         1\n")
        stage.registry.fleet.present(stage.device("300", path))
        modem = stage.registry.modems()[0].id
        view = await stage.state(modem, S.FAILED)
        assert "1" in view.state_reason
        for file in stage.directory.glob("LCK..*"):
            file.unlink()
        lock.release()
        await stage.state(modem, S.READY)

    stage.run(body, BOTH)


def test_a_defect_in_one_modem_harms_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.modem.timing.DEFECT_PAUSE", 0.05)

    async def body() -> None:
        one, other = await stage.modems("100", "300")
        stage.exchange.special("5", "echo")
        kept = await stage.connect(other, "5")

        def broken(self: Call, *_: object) -> None:
            raise RuntimeError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr(Call, "connected", broken)
            call = await stage.desk.dial(one, "5", DialOptions())
            assert (await stage.ended(call)).end_reason is EndReason.MODEM_LOST
            await stage.gone(one)
        await stage.told.until(lambda: len(stage.registry.modems()) == 2, "it is taken up again")
        await stage.state(one, S.READY)
        assert stage.call(kept).end_time == 0

    stage.run(body, BOTH)


HOURLY = """
[policy.up]
mode = "originate"
numbers = ["999"]
retry = { first = "1h", max = "2h" }
session = "work"

[session.work]
type = "exec"
command = ["/bin/true"]
"""


def test_set_policy_lasts_until_a_reload(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        await stage.desk.set_policy(modem, "up")
        assert (await stage.calls(1, modem))[0].policy == "up"
        await stage.told.until(lambda: stage.view(modem).next_attempt, "the next attempt")
        await reload(stage, BOTH)
        await stage.told.until(lambda: not stage.view(modem).next_attempt, "no next attempt")
        assert stage.view(modem).policy == ""
        assert stage.view(modem).state is S.READY

    stage.run(body, BOTH + HOURLY)


def test_a_loan_outlives_plugging_in_again(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        stage.loan = await stage.desk.inhibit(modem, "a firmware tool", "")
        device = stage.device("300", stage.view(modem).device)
        stage.registry.fleet.gone(device.sys_path)
        await stage.gone(modem)
        stage.registry.fleet.present(device)
        assert stage.view(modem).state is S.INHIBITED
        returned(stage)
        await stage.state(modem, S.READY)

    stage.run(body, BOTH)


def test_the_words_of_a_borrower_are_bounded(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        for who in ("x" * 101, "a\nb", "\x1b[2J"):
            with pytest.raises(DialupError) as refused:
                await stage.desk.inhibit(modem, who, "")
            assert refused.value.kind is ErrorKind.INVALID_ARGS
        assert stage.view(modem).state is S.READY

    stage.run(body, BOTH)


def test_a_call_out_never_takes_the_policy_for_calls_in(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("200")
        stage.exchange.special("5", "busy")
        call = await stage.desk.dial(modem, "5", DialOptions())
        ended = await stage.ended(call)
        assert (ended.policy, ended.session) == ("", "client")

    stage.run(body, BOTH)


FORESEEN = """
[session.isp]
type = "tcp"
address = "127.0.0.1:9"

[session.mine]
type = "client"

[policy.uplink]
mode = "originate"
when = "manual"
numbers = ["200", "1-800"]
session = "isp"
"""


@pytest.mark.parametrize(
    ("number", "options", "session", "as_configured"),
    [
        ("200", DialOptions(), "isp", True),
        ("1800", DialOptions(), "isp", True),
        ("300", DialOptions(), "isp", False),
        ("300", DialOptions(session="client"), "client", True),
        ("300", DialOptions(session="mine"), "mine", True),
        ("300", DialOptions(session="isp"), "isp", False),
        ("300", DialOptions(policy="uplink"), "isp", False),
        ("200", DialOptions(policy="uplink"), "isp", True),
    ],
)
def test_what_is_dialled_as_root_configured_it(
    stage: Stage, number: str, options: DialOptions, session: str, as_configured: bool
) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("100")
        foreseen = stage.desk.foresee_dial(modem, number, options)
        assert (foreseen.session, foreseen.as_configured) == (session, as_configured)
        assert not stage.desk.foresee_originate("uplink", DialOptions(session="other")).as_configured
        assert stage.desk.foresee_originate("uplink", DialOptions()).as_configured
        assert stage.desk.foresee_originate("uplink", DialOptions(session="mine")).as_configured

    stage.run(body, FORESEEN + entry("100", "uplink"))
