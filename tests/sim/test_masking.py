"""A calling card's digits go to the modem and nowhere else; PINs and passwords do not stand in the log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from modem_stage import ANSWER, Scripted, Stage, entry
from modem_stage import stage as stage

from dialupd.model import CallView, DialOptions, DialupError, HistoryFilter, ModemState, ModemView
from dialupd.runtime import Quiet

CARD = "8374651"
DIALLED = f"1000,{CARD}"
"""What has to be dialled to reach the modem with the number 10008374651."""


def scene(directory: Path, how: str = "after-pause", per_day: int = 3) -> str:
    policy = f"""
[daemon]
mask-numbers = "{how}"

[session.told]
type = "exec"
command = ["/bin/sh", "-c", "echo $CALLED_ID > {directory}/called"]

[policy.out]
mode = "originate"
when = "manual"
numbers = ["{DIALLED}"]
session = "told"
retry = {{ per-day = {per_day} }}
"""
    return policy + ANSWER + entry(f"1000{CARD}", "in") + entry("200", "out")


def other(text: str) -> str:
    """The text without the serial number of the modem that is called."""
    return text.replace(f"1000{CARD}", "")


async def reaches(stage: Stage) -> CallView:
    """The call by the policy, answered and over."""
    answerer, caller = await stage.modems(f"1000{CARD}", "200")
    call = await stage.desk.originate("out", DialOptions())
    view = await stage.ended(call)
    await stage.state(caller, ModemState.READY, ModemState.BLOCKED)
    await stage.state(answerer, ModemState.READY)
    assert view.connect_time, f"the whole number must reach the modem: {view.end_reason}"
    return view


def test_nobody_is_shown_the_card(stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dialupd")

    async def body() -> None:
        assert (await reaches(stage)).number == "1000,xxxxxxx"
        assert [row.number for row in await stage.rows() if row.direction == "outgoing"] == ["1000,xxxxxxx"]

    stage.run(body, scene(tmp_path))
    assert (tmp_path / "called").read_text() == "1000,xxxxxxx\n"
    ours = [record for record in caplog.records if not record.name.startswith("dialupd.exchange")]
    assert "> ATDT1000,xxxxxxx" in "\n".join(record.getMessage() for record in ours)
    assert CARD not in other("".join(record.getMessage() + repr(record.__dict__) for record in ours))
    for file in tmp_path.iterdir():
        assert CARD not in other(file.read_bytes().decode("latin-1")), file


def test_nothing_that_observers_are_told_has_it(stage: Stage, tmp_path: Path) -> None:
    seen: list[ModemView | CallView] = []

    class Watch(Quiet):
        def modem_changed(self, old: ModemView, new: ModemView) -> None:
            seen.append(new)

        def call_added(self, view: CallView) -> None:
            seen.append(view)

        def call_changed(self, old: CallView, new: CallView) -> None:
            seen.append(new)

    async def body() -> None:
        stage.registry.subscribe(Watch())
        await reaches(stage)

    stage.run(body, scene(tmp_path))
    assert "dialling 1000,xxxxxxx" in repr(seen)
    assert CARD not in other(repr(seen))


@pytest.mark.parametrize(("how", "shown"), [("none", DIALLED), ("all", "xxxx,xxxxxxx")])
def test_as_configured(stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, shown: str) -> None:
    caplog.set_level(logging.DEBUG, "dialupd.at")

    async def body() -> None:
        assert (await reaches(stage)).number == shown

    stage.run(body, scene(tmp_path, how))
    assert f"> ATDT{shown}" in caplog.text


def test_a_call_is_found_by_its_whole_number_however_it_was_masked(stage: Stage, tmp_path: Path) -> None:
    async def found(number: str) -> int:
        return len(await stage.desk.history(HistoryFilter(number=number, direction="outgoing")))

    async def body() -> None:
        await reaches(stage)

    async def look() -> None:
        assert await found(DIALLED) == 3
        assert await found("1000,xxxxxxx") == 2, "and the one that shows no digit may be it"
        assert await found("1000,999") == 0

    for how in ("none", "after-pause", "all"):
        stage.run(body, scene(tmp_path, how, per_day=0))
    stage.run(look, scene(tmp_path))


@pytest.mark.parametrize("before", ["none", "after-pause", "all"])
@pytest.mark.parametrize("after", ["none", "after-pause", "all"])
def test_the_day_s_limit_holds_over_a_restart(stage: Stage, tmp_path: Path, before: str, after: str) -> None:
    async def body() -> None:
        await reaches(stage)

    async def again() -> None:
        await stage.modem("200")
        await stage.told.until(lambda: stage.registry.modems()[0].state in (ModemState.READY, ModemState.BLOCKED))
        with pytest.raises(DialupError, match="blocked"):
            await stage.desk.originate("out", DialOptions())

    stage.run(body, scene(tmp_path, before, per_day=1))
    stage.run(again, scene(tmp_path, after, per_day=1))


class Echo(Scripted):
    """Says each command back with its first character lost, whatever E0 says."""

    lines = ""

    def received(self, data: bytes) -> None:
        self.lines += data.decode()
        self.say(data.decode().strip()[1:])
        super().received(data)


@pytest.mark.parametrize(
    ("command", "secret"),
    [('AT+CPIN="83746"', "83746"), ('AT+CLCK="SC",1,"83746"', "83746"), ('AT+CGAUTH=1,1,"web","sesame"', "sesame")],
)
def test_a_secret_that_a_person_sends_is_not_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture, command: str, secret: str
) -> None:
    caplog.set_level(logging.DEBUG, "dialupd")

    async def body() -> None:
        modem, dce = await stage.scripted("300", kind=Echo)
        assert isinstance(dce, Echo)
        assert (await stage.desk.command(modem, command, 2.0))[0] == "OK"
        assert secret in dce.lines

    stage.run(body, entry("300"))
    assert "=****" in caplog.text
    assert secret not in caplog.text
