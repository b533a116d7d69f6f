"""How a PPP session ends decides whether its policy dials again; pppd is a stand-in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from modem_stage import ANSWER, Stage, entry
from modem_stage import stage as stage

from dialupd.io.port import Lost
from dialupd.io.ttyport import TtyPort
from dialupd.model import EndReason, ModemState
from dialupd.modem import linedown, timing
from dialupd.modem.channel import PortLost

UPLINK = (
    ANSWER
    + '[session.net]\ntype = "ppp"\n'
    + '[policy.up]\nmode = "originate"\nnumbers = ["200"]\nsession = "net"\nretry = { first = "1s" }\n'
    + entry("100", "up")
    + entry("200", "in")
)


@pytest.fixture
def pppd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that stands in PATH for pppd."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "pppd"


def program(file: Path, script: str) -> None:
    file.write_text(f'#!/bin/sh\nsay() {{ for line; do echo "$line" >&2; done; }}\n{script}\n')
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ("say 'pppd: Please load the ppp_generic kernel module.'; exit 4", EndReason.SESSION_FAILED, "has no PPP"),
        ("say \"pppd: unrecognized option 'frob'\"; exit 2", EndReason.SESSION_FAILED, "option 'frob'"),
        ("exit 20", EndReason.SESSION_ENDED, "traffic limit"),
        ("say 'PAP authentication failed' 'Modem hangup'; exit 16", EndReason.AUTH_FAILED, "refused user or password"),
    ],
)
def test_what_a_person_must_mend_is_dialled_once(
    stage: Stage, pppd: Path, script: str, reason: EndReason, words: str
) -> None:
    program(pppd, script)

    async def body() -> None:
        await stage.modem("200")
        modem = await stage.modem("100")
        view = await stage.state(modem, ModemState.BLOCKED)
        assert words in view.state_reason
        (call,) = await stage.calls(1, modem)
        assert call.end_reason is reason
        await stage.desk.resume("up")
        assert len(await stage.calls(2, modem)) == 2

    stage.run(body, UPLINK)


def test_a_refused_password_is_known_though_the_carrier_went_first(
    stage: Stage, pppd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pppd takes longer over its end than the session is given to notice the hang-up."""
    monkeypatch.setattr(timing, "SESSION_NOTICES", 0.2)
    program(
        pppd,
        "trap 'exit 5' TERM; say 'Connect: ppp7 <--> x' 'CHAP authentication failed: no' 'CHAP authentication failed'\n"
        "while :; do sleep 0.02; done",
    )

    ports: list[TtyPort] = []
    original = TtyPort.prepare_handover

    def prepare_handover(port: TtyPort) -> None:
        ports.append(port)
        original(port)

    monkeypatch.setattr(TtyPort, "prepare_handover", prepare_handover)

    async def body() -> None:
        await stage.modem("200")
        modem = await stage.modem("100")
        await stage.told.until(lambda: any(call.session_state == "establish" for call in stage.desk.calls()))
        port = next(port for port in ports if port.path == stage.view(modem).device)
        assert port.on_lost is not None
        port.on_lost(Lost.HUNG_UP)  # as the kernel tells of a lost carrier, which a pseudo-terminal does not have
        await stage.state(modem, ModemState.BLOCKED)
        (call,) = await stage.calls(1, modem)
        assert call.end_reason is EndReason.AUTH_FAILED

    stage.run(body, UPLINK)


def test_a_refused_password_is_not_forgotten_with_a_modem_that_goes_away(
    stage: Stage, pppd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some modems leave the bus when DTR drops; the account would be locked by a call that begins when it is back."""
    program(pppd, "say 'PAP authentication failed'; exit 19")

    async def gone(*_args: object, **_how: object) -> None:
        raise PortLost(Lost.GONE)

    monkeypatch.setattr(linedown, "hang_up", gone)

    async def body() -> None:
        await stage.modem("200")
        modem = await stage.modem("100")
        view = await stage.state(modem, ModemState.BLOCKED)
        assert "failed" in stage.told.states[modem]
        assert "refused user or password" in view.state_reason
        (call,) = await stage.calls(1, modem)
        assert call.end_reason is EndReason.AUTH_FAILED

    stage.run(body, UPLINK)
