"""dialupctl as a program, against the real bus layer over a control that a test moves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from bus_control import CALL, MODEM, FakeControl
from private_bus import PrivateBus, bus_fixture  # noqa: F401

from dialupd.bus.front import Front, serve
from dialupd.model import (
    CallState,
    CallView,
    DialOptions,
    DialupError,
    Direction,
    EndReason,
    ErrorKind,
    HistoryFilter,
    ModemState,
    SessionState,
)

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 20
"""A step that takes longer hangs."""

PHONE = replace(
    MODEM,
    id="0421_0405_9",
    name="ph\x1b[31mone",
    device="/dev/ttyUSB0",
    state=ModemState.FAILED,
    state_reason="does not answer",
)
DIALLED = CallView(call=8, modem=MODEM.id, direction=Direction.OUTGOING, number="5551212", state=CallState.DIALING)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Program:
    """One run of dialupctl."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, bus: str, *argv: str) -> Program:
        command = [sys.executable, "-m", "dialupd.ctl", "--bus", bus, *argv]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe))

    async def line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            line = await self._process.stdout.readline()
        assert line, "dialupctl ended"
        return line.decode().rstrip("\n")

    async def line_with(self, word: str) -> str:
        while word not in (line := await self.line()):
            pass
        return line

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    async def end(self) -> Answer:
        async with asyncio.timeout(LIMIT_S):
            out, err = await self._process.communicate()
        assert self._process.returncode is not None
        assert "Traceback" not in err.decode()
        return Answer(self._process.returncode, out.decode(), err.decode())


class Lab:
    def __init__(self, bus: PrivateBus, control: FakeControl, front: Front) -> None:
        self.bus = bus
        self.control = control
        self.front = front

    async def start(self, *argv: str) -> Program:
        return await Program.start(self.bus.address, *argv)

    async def run(self, *argv: str) -> Answer:
        return await (await self.start(*argv)).end()


def with_lab(bus: PrivateBus, scenario: Callable[[Lab], Awaitable[None]], control: FakeControl | None = None) -> None:
    async def whole() -> None:
        served = control or FakeControl()
        lab = Lab(bus, served, await serve(bus.address, served))
        try:
            await scenario(lab)
        finally:
            await lab.front.close()

    asyncio.run(whole())


def test_status_says_how_everything_is_and_why(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.put_modem(replace(PHONE, next_attempt=time.time_ns() // 1000 + 60_000_000))
        lab.control.change_modem(state=ModemState.CONNECTED, call=CALL.call)
        answer = await lab.run("status")
        assert answer.code == 0
        assert "\x1b" not in answer.out
        rows = {line.split()[0]: line for line in answer.out.splitlines() if line}
        assert "call 7 to 5551212: connected, 33600 bit/s, ppp0 10.0.0.2" in rows["rack"]
        assert "does not answer, next attempt in" in rows["phone"]
        assert rows["uplink"].split() == ["uplink", "originate", "suspended"]
        told = (await lab.run("--json", "status")).json()
        assert {modem["name"]: modem["state"] for modem in told["modems"]}["rack"] == "connected"
        assert [(call["call"], call["modem"]) for call in told["calls"]] == [(7, MODEM.id)]
        assert told["policies"][0] == {"name": "console-in", "mode": "answer", "status": "active"}

    with_lab(bus, scenario)


def test_empty_states_say_what_to_do(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        assert "no modem: plug one in" in (await lab.run()).out
        assert "no call yet" in (await lab.run("history")).out
        assert "no call matches" in (await lab.run("history", "--number", "1")).out
        answer = await lab.run("show", "rack")
        assert (answer.code, answer.out) == (1, "")
        assert "plug one in" in answer.err

    with_lab(bus, scenario, FakeControl([], []))


def test_a_configuration_error_is_shown(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.change_config("/etc/dialupd/dialupd.toml: policy.x.mod: unknown key\nand\x1b[2J another")
        shown = (await lab.run("status")).out
        assert "  /etc/dialupd/dialupd.toml: policy.x.mod: unknown key\n  and another\n" in shown
        lab.control.fail = DialupError(ErrorKind.FAILED, "dialupd.toml: mod: unknown key\ndialupd.toml: x: bad")
        answer = await lab.run("reload")
        assert answer.code == 1
        assert answer.err == "dialupctl: dialupd.toml: mod: unknown key\n  dialupd.toml: x: bad\n"

    with_lab(bus, scenario)


UNPAIRED = "nokia (00:11:22:33:44:55): it is not paired\x1b[2J: bluetoothctl pair 00:11:22:33:44:55" + " x" * 150
UNKNOWN = 'name = "BB-9 *": no such phone is paired'


def test_what_cannot_work_yet_is_shown_with_its_mend(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        assert "cannot work yet" not in (await lab.run("status")).out
        lab.control.change_problems("bluetoothd does not run: start it", UNPAIRED, UNKNOWN)
        shown = (await lab.run("status")).out.splitlines()
        at = shown.index("what is configured and cannot work yet:")
        assert shown[at + 1 :] == [
            "  bluetoothd does not run: start it",
            f"  {UNPAIRED.replace(chr(27) + '[2J', '')}",
            f"  {UNKNOWN}",
        ]
        assert (await lab.run("status", "--json")).json()["problems"][1:] == [UNPAIRED, UNKNOWN]

    with_lab(bus, scenario)


def test_a_phone_that_is_no_modem_yet_says_why(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        for asked in (
            ("show", "NOKIA"),
            ("reset", "00:11:22:33:44:55"),
            ("dial", "bluetooth_00_11_22_33_44_55", "*99#"),
            ("terminal", "nokia"),
            ("hangup", "nokia"),
        ):
            answer = await lab.run(*asked)
            assert (answer.code, answer.out) == (1, ""), asked
            assert "it is not paired: bluetoothctl pair 00:11:22:33:44:55" in answer.err, asked
        asked_for_another = (await lab.run("show", "nok")).err
        assert "no modem 'nok': there is rack\n  bluetoothd does not run: start it\n  nokia (" in asked_for_another

    control = FakeControl()
    control.trouble = ["bluetoothd does not run: start it", UNPAIRED]
    with_lab(bus, scenario, control)


def test_show_has_the_call_too(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.change_modem(state=ModemState.CONNECTED, call=CALL.call)
        lab.control.change_call(rx_bytes=4321)
        shown = (await lab.run("show", "ttyACM0")).out
        for expected in (
            "0572:1340",
            "33600 bit/s, V34, LAPM, V42BIS, port at 115200 bit/s",
            "4321 bytes",
            "2001:db8::1",
        ):
            assert expected in shown
        told = (await lab.run("show", "rack", "--json")).json()
        assert (told["vendor-id"], told["call"], told["current-call"]["rx-bytes"]) == ("0572", 7, 4321)

    with_lab(bus, scenario)


def test_show_has_what_a_phone_tells_of_itself(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        plain = (await lab.run("show", "rack")).out
        assert "signal" not in plain
        assert "battery" not in plain
        lab.control.change_modem(signal=-93, battery=0)
        shown = (await lab.run("show", "rack")).out
        assert re.search(r"^ *signal +-93 dBm$", shown, re.MULTILINE)
        assert re.search(r"^ *battery +0 %$", shown, re.MULTILINE)
        assert "voice call" not in shown
        lab.control.change_modem(capabilities=("gsm", "caller-id"))
        shown = (await lab.run("show", "rack")).out
        assert re.search(r"^ *can +gsm, caller-id\n *but +it names no data service: .*voice call$", shown, re.MULTILINE)
        told = (await lab.run("show", "rack", "--json")).json()
        assert (told["signal"], told["battery"]) == (-93, 0)

    with_lab(bus, scenario)


def test_history_filters_and_words(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        ended = {"state": CallState.ENDED, "end_time": CALL.connect_time + 65_000_000}
        lab.control.past = [
            replace(CALL, end_reason=EndReason.REMOTE_HANGUP, **ended),
            replace(
                CALL,
                direction=Direction.INCOMING,
                caller_id="555",
                caller_name="E\x1b[2JVE",
                end_reason=EndReason.BUSY,
                **ended,
            ),
        ]
        argv = "history --since @1700000000 --modem rack --policy uplink --number 5 --direction outgoing --limit 2"
        answer = await lab.run(*argv.split())
        wanted = HistoryFilter(1_700_000_000_000_000, 0, MODEM.id, "uplink", "5", "outgoing", 2)
        assert lab.control.asked == [("history", wanted)]
        first, second = answer.out.splitlines()[1:]
        assert "rack   to 5551212" in first
        assert first.endswith("1 min 5 s  33600  the far end hung up")
        assert "from 555 (EVE)" in second
        told = (await lab.run("history", "--json")).json()
        assert [call["end-reason"] for call in told] == ["remote-hangup", "busy"]
        assert {call["modem"] for call in told} == {MODEM.id}
        answer = await lab.run("history", "--since", "soon")
        assert (answer.code, answer.out) == (1, "")

    with_lab(bus, scenario)


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        ("enable rack", ("enable", MODEM.id)),
        ("disable /dev/ttyACM0", ("disable", MODEM.id)),
        ("reset 0572", ("reset", MODEM.id)),
        ("hangup rack --no-wait", ("hang_up", MODEM.id)),
        ("hangup call 7 --no-wait", ("hang_up_call", 7)),
        ("hangup all --no-wait", ("hang_up_call", 7)),
        ("set-policy rack uplink", ("set_policy", MODEM.id, "uplink")),
        ("set-policy rack none", ("set_policy", MODEM.id, "")),
        ("suspend uplink", ("suspend", "uplink")),
        ("resume uplink", ("resume", "uplink")),
        ("rescan", ("rescan",)),
        ("reload", ("reload",)),
        ("log-level debug", ("set_log_level", "debug")),
        ("command rack AT +GMM --timeout 9", ("command", MODEM.id, "AT +GMM", 9.0)),
        ("answer rack --session console --no-wait", ("answer", MODEM.id, DialOptions(session="console"))),
        (
            "dial rack 5551212 --session x --timeout 30 --reverse --no-wait",
            ("dial", MODEM.id, "5551212", DialOptions(session="x", timeout=30, reverse=True)),
        ),
        ("dial uplink --no-wait", ("originate", "uplink", DialOptions())),
    ],
)
def test_each_request_reaches_the_daemon(bus: PrivateBus, argv: str, asked: tuple[Any, ...]) -> None:
    async def scenario(lab: Lab) -> None:
        answer = await lab.run(*argv.split())
        assert (answer.code, answer.err) == (0, "")
        assert answer.out
        assert lab.control.asked == [asked]
        told = (await lab.run("--json", *argv.split())).json()
        assert isinstance(told, dict)

    with_lab(bus, scenario)


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        ("show rcak", 1, "no modem 'rcak': there is rack"),
        ("suspend up", 1, "no policy 'up': there is"),
        ("hangup call 99", 1, "no call 99: there is call 7"),
        ("hangup call x", 2, "no call number"),
        ("hangup call", 2, "say which call"),
        ("hangup a b c", 2, "say what to hang up"),
        ("dial rack", 2, "say which number"),
        ("dial nothing", 1, "no policy 'nothing'"),
        ("dial rack x", 1, "'x' is no number"),
    ],
)
def test_what_cannot_be_done_is_told(bus: PrivateBus, argv: str, code: int, told: str) -> None:
    async def scenario(lab: Lab) -> None:
        answer = await lab.run(*argv.split())
        assert (answer.code, answer.out) == (code, "")
        assert answer.err.startswith("dialupctl: ")
        assert told in answer.err

    with_lab(bus, scenario)


def test_a_refusal_says_how_to_get_the_right(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.fail = DialupError(ErrorKind.NOT_AUTHORIZED, "org.dialupd1.control is not allowed")
        answer = await lab.run("reset", "rack")
        assert answer.code == 1
        assert "as root" in answer.err

    with_lab(bus, scenario)


def test_a_command_that_fails_shows_the_answer(bus: PrivateBus) -> None:
    class Failing(FakeControl):
        async def command(self, modem_id: str, text: str, timeout_s: float) -> tuple[str, list[str]]:
            return "ERROR", ["ba\x1b[31md"]

    async def scenario(lab: Lab) -> None:
        answer = await lab.run("command", "rack", "AT+X")
        assert (answer.code, answer.out) == (1, "bad\nERROR\n")
        assert (await lab.run("--json", "command", "rack", "AT+X")).json()["result"] == "ERROR"

    with_lab(bus, scenario, Failing())


def test_dial_tells_the_progress_and_ends_with_the_connection(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.put_call(DIALLED)
        program = await lab.start("dial", "rack", "5551212")
        assert await program.line() == "call 8: dialling 5551212 on rack"
        connected = replace(DIALLED, state=CallState.CONNECTED, connect_time=1, line_rate=33600, session="internet")
        lab.control.put_call(connected)
        answer = await program.end()
        assert answer.code == 0
        told = answer.out.splitlines()
        assert told[0].startswith("call 8: connected on rack after ")
        assert told[0].endswith(", 33600 bit/s, session internet")
        assert told[1] == "hang up with: dialupctl hangup call 8"

    with_lab(bus, scenario)


def test_dial_ends_with_the_reason(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.put_call(DIALLED)
        program = await lab.start("dial", "uplink")
        await program.line_with("dialling")
        lab.control.put_call(replace(DIALLED, state=CallState.ENDED, end_reason=EndReason.NO_MODULATOR))
        answer = await program.end()
        assert answer.code == 1
        assert "it has no data modem. Use its packet data" in answer.err
        told = await lab.run("--json", "dial", "uplink")
        assert told.code == 1
        assert told.json()["end-reason"] == "no-modulator"

    with_lab(bus, scenario)


def test_an_interrupted_dial_hangs_up(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.put_call(DIALLED)
        program = await lab.start("dial", "rack", "5551212")
        await program.line_with("dialling")
        program.interrupt()
        answer = await program.end()
        assert answer.code == 130
        assert ("hang_up_call", 8) in lab.control.asked

    with_lab(bus, scenario)


def test_dial_does_not_wait_for_a_daemon_that_is_gone(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        lab.control.put_call(DIALLED)
        program = await lab.start("dial", "rack", "5551212")
        await program.line_with("dialling")
        await lab.front.close()
        answer = await program.end()
        assert answer.code == 1
        assert "call 8 is lost" in answer.err

    with_lab(bus, scenario)


def test_hangup_waits_until_the_modem_is_free(bus: PrivateBus) -> None:
    class HangingUp(FakeControl):
        async def hang_up_call(self, call: int) -> None:
            await super().hang_up_call(call)
            self.change_modem(state=ModemState.HANGING_UP)
            asyncio.get_running_loop().call_later(0.1, lambda: self.change_modem(state=ModemState.READY))

    async def scenario(lab: Lab) -> None:
        lab.control.change_modem(state=ModemState.CONNECTED)
        answer = await lab.run("hangup", "all")
        assert (answer.code, answer.out) == (0, "rack: hung up\n")
        assert lab.control.modems()[0].state is ModemState.READY

    with_lab(bus, scenario, HangingUp())


def test_monitor_tells_a_call_as_a_story(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        program = await lab.start("monitor")
        assert await program.line() == "watching 1 modem; Ctrl-C ends"
        lab.control.change_modem(state=ModemState.RINGING, state_reason="the line rings")
        assert (await program.line()).endswith("rack        ringing (was ready): the line rings")
        lab.control.ring(MODEM.id, rings=2, caller_id="555", caller_name="E\x1b[2JVE")
        assert (await program.line()).endswith("ring 2 from 555 (EVE)")
        incoming = replace(DIALLED, direction=Direction.INCOMING, caller_id="555", state=CallState.RINGING)
        lab.control.put_call(incoming)
        assert (await program.line()).endswith("call 8      from 555 on rack, ringing")
        connected = replace(incoming, state=CallState.CONNECTED, connect_time=1_000_000, line_rate=33600)
        lab.control.put_call(connected)
        assert (await program.line()).endswith("call 8      connected, 33600 bit/s")
        running = replace(connected, session_state=SessionState.RUNNING, interface="ppp0")
        lab.control.put_call(running)
        assert (await program.line()).endswith("session running, interface ppp0")
        ended = replace(running, state=CallState.ENDED, end_reason=EndReason.REMOTE_HANGUP, end_time=66_000_000)
        lab.control.put_call(ended)
        assert (await program.line_with("ended")).endswith("ended: the far end hung up, after 1 min 5 s")
        lab.control.change_config("policy.x: bad")
        assert (await program.line()).endswith("error, the one before stays in force: policy.x: bad")
        lab.control.put_modem(PHONE)
        assert (await program.line()).endswith("phone       found on /dev/ttyUSB0, failed")
        lab.control.remove_modem(PHONE.id)
        assert (await program.line()).endswith("phone       gone")
        program.interrupt()
        answer = await program.end()
        assert (answer.code, answer.err) == (0, "")

    with_lab(bus, scenario)


def test_monitor_json_is_an_object_a_line(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        program = await lab.start("--json", "monitor")
        first = json.loads(await program.line())
        assert (first["event"], first["modem"], first["properties"]["name"]) == ("modem-present", MODEM.id, "rack")
        assert json.loads(await program.line())["call"] == 7
        lab.control.change_modem(state=ModemState.DISABLED, state_reason="asked for")
        changed = json.loads(await program.line())
        assert changed["event"] == "modem-changed"
        assert changed["changed"] == {"state": "disabled", "state-reason": "asked for"}
        state = json.loads(await program.line())
        assert {key: state[key] for key in ("event", "modem", "old", "new", "reason")} == {
            "event": "modem-state",
            "modem": MODEM.id,
            "old": "ready",
            "new": "disabled",
            "reason": "asked for",
        }
        lab.control.remove_call(7)
        assert json.loads(await program.line())["event"] == "call-removed"
        program.interrupt()
        assert (await program.end()).code == 0

    with_lab(bus, scenario)


def test_monitor_tells_what_cannot_work_and_when_that_is_over(bus: PrivateBus) -> None:
    gone = "bluetoothd does not run: start it"

    async def scenario(lab: Lab) -> None:
        lab.control.change_problems(gone)
        person, program = await lab.start("monitor"), await lab.start("--json", "monitor")
        await person.line_with("watching")
        assert json.loads(await program.line_with("problem-"))["problem"] == gone
        lab.control.change_problems(gone, UNPAIRED)
        shown = UNPAIRED.replace("\x1b[2J", "")
        assert (await person.line_with("problem")).endswith(f"  problem     {shown}")
        told = json.loads(await program.line())
        assert (told["event"], told["problem"]) == ("problem-added", UNPAIRED)
        lab.control.change_problems(gone)
        assert (await person.line_with("problem")).endswith(f"  problem     over: {shown}")
        told = json.loads(await program.line())
        assert (told["event"], told["problem"]) == ("problem-removed", UNPAIRED)
        for one in (person, program):
            one.interrupt()
            assert (await one.end()).code == 0

    with_lab(bus, scenario)


def test_monitor_tells_signal_and_battery(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        person = await lab.start("monitor")
        await person.line_with("watching")
        lab.control.change_modem(signal=-93, battery=40)
        assert (await person.line_with("signal")).endswith("  signal -93 dBm, battery 40 %")
        lab.control.change_modem(signal=0, battery=-1)
        assert (await person.line_with("signal")).endswith("  signal not told, battery not told")
        person.interrupt()
        assert (await person.end()).code == 0

    with_lab(bus, scenario)


def test_monitor_waits_for_the_daemon_to_return(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        program = await lab.start("monitor")
        await program.line()
        await lab.front.close()
        assert (await program.line()).endswith("the daemon is gone; waiting for its return")
        second = FakeControl([MODEM, PHONE], [])
        lab.front = await serve(bus.address, second)
        assert (await program.line()).endswith("the daemon is back with 2 modems")
        second.change_modem(state=ModemState.DISABLED, state_reason="")
        assert (await program.line()).endswith("rack        disabled (was ready)")
        bus.kill()
        answer = await program.end()
        assert answer.code == 3
        assert "the bus is gone" in answer.err

    with_lab(bus, scenario)


def test_no_daemon_is_exit_code_3_and_says_how_to_start_it(bus: PrivateBus) -> None:
    async def scenario() -> None:
        for address in (bus.address, "unix:path=/nonexistent/bus"):
            answer = await (await Program.start(address, "status")).end()
            assert (answer.code, answer.out) == (3, "")
            assert "systemctl start dialupd" in answer.err

    asyncio.run(scenario())


def test_a_reader_that_goes_away_is_no_trouble(bus: PrivateBus) -> None:
    async def scenario(lab: Lab) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "dialupd.ctl", "--bus", bus.address, "--json", "status"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        async with asyncio.timeout(LIMIT_S):
            _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")

    with_lab(bus, scenario)


def test_check_reads_a_configuration_without_the_daemon(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('[session.s]\ntype = "client"\n[policy.p]\nmode = "answer"\nsession = "s"\n')
    bad.write_text('[policy.p]\nmod = "answer"\nsession = "s"\n')

    async def scenario() -> None:
        answer = await (await Program.start("unix:path=/nonexistent", "check", str(good))).end()
        assert answer.code == 0
        assert "policies: 1" in answer.out
        answer = await (await Program.start("unix:path=/nonexistent", "check", str(bad))).end()
        assert answer.code == 1
        assert f"{bad}: policy.p.mod: " in answer.out
        told = (await (await Program.start("unix:path=/nonexistent", "--json", "check", str(bad))).end()).json()
        assert "policy.p.mod" in [problem["key"] for problem in told["problems"]]
        answer = await (await Program.start("unix:path=/nonexistent", "check", str(tmp_path / "none.toml"))).end()
        assert answer.code == 1
        assert "cannot be read" in answer.out

    asyncio.run(scenario())
