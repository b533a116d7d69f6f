"""Rings, callers and calls: who is answered, what is shown, and who ends it."""

from __future__ import annotations

import pytest
from modem_stage import ANSWER, Stage, Stream, entry
from modem_stage import stage as stage

from dialupd.exchange.answers import Caller
from dialupd.model import CallState, DialOptions, DialupError, EndReason, ErrorKind, ModemState

TWO = ANSWER + entry("100") + entry("200", "in")


def answering(more: str = "", rings: int = 2) -> str:
    return (
        f'[session.line]\ntype = "client"\n[policy.in]\nmode = "answer"\nrings = {rings}\nsession = "line"\n{more}\n'
        + entry("100")
        + entry("200", "in")
    )


def test_a_whole_call(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        call = await stage.connect(caller, "2-00", session="client")
        await stage.state(answerer, ModemState.CONNECTED)
        back = stage.incoming().call
        ours = Stream(await stage.desk.open_call(call))
        theirs = Stream(await stage.desk.open_call(back))
        ours.send(b"hello")
        await theirs.until(b"hello")
        theirs.send(bytes(range(256)))
        await ours.until(bytes(range(256)))
        assert (stage.call(call).rx_bytes, stage.call(call).tx_bytes) == stage.desk.counts(call) == (256, 5)
        assert stage.desk.counts(back) == (5, 256)
        with pytest.raises(DialupError) as taken:
            await stage.desk.open_call(call)
        assert taken.value.kind is ErrorKind.IN_PROGRESS
        await stage.desk.hang_up_call(back)
        await ours.end()
        await theirs.end()
        assert (await stage.ended(call)).end_reason is EndReason.REMOTE_HANGUP
        assert (await stage.ended(back)).end_reason is EndReason.LOCAL_HANGUP
        await stage.state(caller, ModemState.READY)
        view = await stage.state(answerer, ModemState.READY)
        assert (view.call, view.rings, view.caller_id) == (0, 0, "")
        assert stage.told.states[caller] == ["probing", "ready", "dialing", "connected", "hanging-up", "ready"]
        assert stage.told.states[answerer] == [
            "probing", "ready", "ringing", "answering", "connected", "hanging-up", "ready",
        ]  # fmt: skip
        incoming, outgoing = await stage.rows()
        assert (outgoing.call, incoming.call) == (call, back)
        assert outgoing == stage.call(call)
        assert incoming == stage.call(back)
        assert (incoming.direction, incoming.policy, incoming.session) == ("incoming", "in", "line")
        assert (outgoing.number, outgoing.policy, outgoing.session) == ("200", "", "client")
        assert outgoing.start_time < outgoing.connect_time < outgoing.end_time
        assert outgoing.line_rate > 0
        assert outgoing.modulation
        assert outgoing.rx_bytes >= 256
        with pytest.raises(DialupError, match="has ended"):
            await stage.desk.hang_up_call(call)

    stage.run(body, TWO)


def test_an_ended_call_is_forgotten_after_a_while(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialupd.modem.timing.CALL_KEPT", 0.05)

    async def body() -> None:
        (modem,) = await stage.modems("100")
        call = await stage.desk.dial(modem, "77", DialOptions())
        await stage.told.until(lambda: stage.told.all("call removed"))
        (view,) = stage.told.all("call removed")
        assert (view.call, view.state) == (call, CallState.ENDED)
        assert view.end_time > 0
        assert stage.desk.calls() == []
        with pytest.raises(DialupError) as gone:
            await stage.desk.hang_up_call(call)
        assert gone.value.kind is ErrorKind.NOT_FOUND
        assert [row.call for row in await stage.rows()] == [call]

    stage.run(body, TWO)


@pytest.mark.parametrize("kind", ["conexant", "usr", "generic", "nokia"])
def test_the_caller_is_shown_and_answered_after_its_rings(stage: Stage, kind: str) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("200", kind=kind)
        (caller,) = await stage.modems("5551212", name="ADA")
        await stage.desk.dial(caller, "200", DialOptions())
        await stage.state(modem, ModemState.ANSWERING)
        call = stage.incoming()
        assert (call.caller_id, call.caller_name) == ("5551212", "ADA")
        rings = stage.told.all("ringing")
        assert [ring["rings"] for ring in rings] == [1, 2, 3]
        assert rings[-1]["caller-id"] == "5551212"
        assert stage.view(modem).caller_id == "5551212"

    stage.run(body, answering(rings=3) + entry("5551212"))


@pytest.mark.parametrize(
    ("lists", "number", "answered"),
    [
        ('allow-callers = ["+1555*", "555*"]', "5551212", True),
        ('allow-callers = ["555*"]', "6661212", False),
        ('allow-callers = ["555*"]', "", False),
        ('allow-callers = ["none"]', "", True),
        ('deny-callers = ["5551212"]', "5551212", False),
        ('deny-callers = ["5551212"]', "5551213", True),
        ('deny-callers = ["none"]', "", False),
        ('deny-callers = ["5551212"]\nallow-callers = ["555*"]', "5551212", False),
    ],
)
def test_only_who_may_is_answered(stage: Stage, lists: str, number: str, answered: bool) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("200")
        stage.exchange.ring("200", Caller(number), rings=5)
        if answered:
            await stage.state(modem, ModemState.ANSWERING)
            return
        (call,) = await stage.calls(1)
        assert call.end_reason is EndReason.REJECTED
        assert call.connect_time == 0
        await stage.state(modem, ModemState.READY)
        assert stage.told.states[modem] == ["probing", "ready", "ringing", "ready"]

    stage.run(body, answering(lists, rings=1))


def test_the_rings_of_a_rejected_call_are_no_new_call(stage: Stage) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("200")
        for _ in range(5):
            dce.say('\r\nRING\r\n\r\n+CLIP: "5551212",129\r\n')
        (call,) = await stage.calls(1)
        assert (call.end_reason, call.caller_id) == (EndReason.REJECTED, "5551212")
        await stage.settle(modem)
        assert len(stage.desk.calls()) == 1
        assert stage.view(modem).state is ModemState.READY

    stage.run(body, answering('deny-callers = ["5551212"]', rings=1))


def test_who_hides_is_not_taken_for_the_caller_before(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who was rejected rings on, with his number; the next caller must not inherit it."""

    async def body() -> None:
        modem, dce = await stage.scripted("200")
        for _ in range(3):
            dce.say('\r\nRING\r\n\r\n+CLIP: "5551212",129\r\n')
        (call,) = await stage.calls(1)
        assert (call.end_reason, call.caller_id) == (EndReason.REJECTED, "5551212")
        await stage.settle(modem)
        monkeypatch.setattr("dialupd.modem.timing.RING_TIMEOUT", 0.001)
        while len(stage.desk.calls()) == 1:
            dce.say("\r\nRING\r\n")
            await stage.state(modem, ModemState.READY)
            await stage.settle(modem)
        await stage.calls(2)
        assert stage.incoming().caller_id == ""
        assert stage.told.all("ringing")[-1] == {"rings": 1}

    stage.run(body, answering('deny-callers = ["5551212"]', rings=1))


def test_the_caller_gives_up(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("200")
        stage.exchange.ring("200", Caller("5551212"), rings=2)
        (call,) = await stage.calls(1)
        assert (call.end_reason, call.caller_id) == (EndReason.NO_ANSWER, "5551212")
        view = await stage.state(modem, ModemState.READY)
        assert (view.rings, view.caller_id, view.call) == (0, "", 0)

    stage.run(body, answering(rings=5))


def test_answered_by_hand(stage: Stage) -> None:
    async def body() -> None:
        caller, other = await stage.modems("100", "300")
        with pytest.raises(DialupError) as early:
            await stage.desk.answer(other, DialOptions())
        assert early.value.kind is ErrorKind.WRONG_STATE
        out = await stage.desk.dial(caller, "300", DialOptions())
        await stage.state(other, ModemState.RINGING)
        with pytest.raises(DialupError, match="no session"):
            await stage.desk.answer(other, DialOptions(session="nobody"))
        with pytest.raises(DialupError, match="no policy"):
            await stage.desk.answer(other, DialOptions(policy="nobody"))
        assert stage.view(other).state is ModemState.RINGING, "a refused answer changes nothing"
        call = await stage.desk.answer(other, DialOptions(session="line"))
        with pytest.raises(DialupError):
            await stage.desk.answer(other, DialOptions())
        await stage.state(other, ModemState.CONNECTED)
        assert stage.call(call).session == "line"
        await stage.desk.hang_up(caller)
        assert (await stage.ended(call)).end_reason is EndReason.REMOTE_HANGUP
        assert (await stage.ended(out)).end_reason is EndReason.LOCAL_HANGUP

    stage.run(body, ANSWER + entry("100") + entry("300"))


def test_rejected_by_hand(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("300")
        stage.exchange.ring("300", Caller("5551212"), rings=4)
        await stage.state(modem, ModemState.RINGING)
        await stage.desk.hang_up(modem)
        (call,) = await stage.calls(1)
        assert call.end_reason is EndReason.REJECTED
        await stage.state(modem, ModemState.READY)
        with pytest.raises(DialupError) as nothing:
            await stage.desk.hang_up(modem)
        assert nothing.value.kind is ErrorKind.WRONG_STATE

    stage.run(body, entry("300"))


@pytest.mark.parametrize(
    "text",
    [
        "RING 5551212\x1b[2J",
        "NAME=\x07\x1b]0;x\x07" + "A" * 400,
        "CONNECT 33600",
        "OK",
        "NO CARRIER",
        "NMBR=" + "9" * 300,
        "\x00\xff" * 400,
        '+CLIP: "\x1b[2J' + "1" * 200 + '",145,,,"\x07evil\xad"',
        "80" + "1B5B324A" * 40,
        "> ",
        "RING;$(reboot);`id`",
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_hostile_text(stage: Stage, text: str) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("300")
        for _ in range(2):
            dce.say(f"\r\nRING\r\n\r\n{text}\r\n")
        await stage.told.until(lambda: stage.told.all("call added"))
        await stage.calls(1)
        await stage.settle(modem)
        for view in [*stage.told.all("call"), *stage.told.all("call added")]:
            assert (view.caller_id + view.caller_name).isprintable()
            assert len(view.caller_id) <= 40
            assert len(view.caller_name) <= 60
        for view in stage.told.all("modem"):
            assert (view.caller_id + view.state_reason + view.model).isprintable()
        for info in stage.told.all("ringing"):
            assert all(str(value).isprintable() and len(str(value)) <= 60 for value in info.values())
        assert stage.view(modem).state is ModemState.READY

    stage.run(body, entry("300"))


def test_max_duration(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        call = await stage.connect(caller, "200")
        assert (await stage.ended(stage.incoming().call)).end_reason is EndReason.MAX_DURATION
        assert (await stage.ended(call)).end_reason is EndReason.REMOTE_HANGUP
        await stage.state(answerer, ModemState.READY)

    stage.run(body, answering('max-duration = "10s"', rings=1))


def test_what_cannot_be_dialled(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("100")
        for number in ("", "5551212;H0", "5\rATH", "x", "9" * 81, "5\x00", "٣"):
            with pytest.raises(DialupError) as refused:
                await stage.desk.dial(modem, number, DialOptions())
            assert refused.value.kind is ErrorKind.INVALID_ARGS
        for options in (DialOptions(timeout=1e9), DialOptions(modulation="V34;H"), DialOptions(modulation="NONE")):
            with pytest.raises(DialupError) as refused:
                await stage.desk.dial(modem, "5", options)
            assert refused.value.kind is ErrorKind.INVALID_ARGS
        for options in (DialOptions(session="no"), DialOptions(policy="no")):
            with pytest.raises(DialupError) as refused:
                await stage.desk.dial(modem, "5", options)
            assert refused.value.kind is ErrorKind.NOT_FOUND
        assert stage.desk.calls() == []
        assert stage.view(modem).state is ModemState.READY

    stage.run(body, entry("100"))


def test_two_at_once_cannot_both_dial(stage: Stage) -> None:
    async def body() -> None:
        (modem,) = await stage.modems("100")
        stage.exchange.special("5", "no-answer")
        await stage.desk.dial(modem, "5", DialOptions())
        with pytest.raises(DialupError) as second:
            await stage.desk.dial(modem, "5", DialOptions())
        assert second.value.kind is ErrorKind.WRONG_STATE
        await stage.desk.hang_up(modem)
        await stage.desk.hang_up(modem)
        (call,) = await stage.calls(1)
        assert call.end_reason is EndReason.LOCAL_HANGUP
        await stage.state(modem, ModemState.READY)
        assert len(stage.desk.calls()) == 1

    stage.run(body, entry("100"))


def test_modulation_and_reverse(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "dialupd.at")

    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")
        call = await stage.connect(caller, "200", modulation="V22B", reverse=True)
        assert stage.call(call).modulation == "V.22bis"
        assert stage.call(call).line_rate == 2400
        await stage.desk.hang_up(caller)
        await stage.ended(call)
        said = [record.getMessage() for record in caplog.records]
        assert any(text.endswith("> ATDT200R") for text in said)
        # What one call has asked for is not left to the next.
        await stage.told.until(lambda: "resetting" in stage.told.states[caller])
        await stage.state(caller, ModemState.READY)
        await stage.state(answerer, ModemState.READY)
        again = await stage.connect(caller, "200")
        assert stage.call(again).modulation != "V.22bis"

    stage.run(body, TWO)
