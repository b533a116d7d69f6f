"""A USB modem comes, goes in every state, and comes again: one daemon on the system bus, one guest for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.client import NAME
from tests.vm.guest import Guest
from tests.vm.lab import Daemon, Plug, hold

NOBODY = "200"
"""A number whose modem is plugged in and which nobody answers."""

SERVICE = "300"
"""A number that answers and echoes."""

CONFIG = """
[[modem]]
name = "rack"
match = { vendor = "0572", product = "1340", serial = "A1" }
policy = "hand"

[policy.hand]
mode = "manual"
session = "raw"

[session.raw]
type = "client"
"""


@pytest.fixture(scope="module")
def daemon(common: Guest, bench: Plug) -> Daemon:
    daemon = Daemon(common, CONFIG)
    bench.conexant("Z9", f"--number {NOBODY}")
    common.until("test -c /dev/ttyACM0")
    bench.conexant("A1", "--number 100")
    bench(f"service {SERVICE}")
    return daemon


@pytest.fixture(autouse=True)
def free(common: Guest, daemon: Daemon) -> Iterator[None]:
    """The modem is ready, however the test before has ended."""
    daemon.modem("A1", "ready")
    yield
    for call in daemon.calls():
        if call["State"] != "ended":
            common.run(f"{daemon.busctl} call {NAME} {call['path']} {NAME}.Call HangUp", check=False)
            daemon.ended(call["path"])


def test_a_conexant_becomes_ready_and_tells_what_it_is(daemon: Daemon) -> None:
    modem = daemon.modem("A1", "ready")
    assert modem["Name"] == "rack"
    assert (modem["Device"], modem["Driver"], modem["Transport"]) == ("/dev/ttyACM1", "cdc_acm", "cdc-acm")
    assert (modem["VendorId"], modem["ProductId"]) == ("0572", "1340")
    assert "CONEXANT" in modem["Manufacturer"].upper()
    assert {"data", "fax"} <= set(modem["Capabilities"])
    assert modem["Policy"] == "hand"


def test_two_alike_are_told_apart_by_their_serial_numbers(daemon: Daemon) -> None:
    assert {modem["Serial"] for modem in daemon.modems() if modem["Name"] == "rack"} == {"A1"}


def test_a_modem_that_was_there_before_the_daemon(bench: Plug, daemon: Daemon) -> None:
    assert daemon.stop() == 0
    assert bench("show A1")["dtr"] is False, "the port is closed"
    daemon.start()
    daemon.modem("A1", "ready")


@pytest.mark.parametrize("state", ["ready", "dialing", "connected"])
def test_unplugged_and_plugged_in_again(bench: Plug, daemon: Daemon, state: str) -> None:
    path = daemon.modem("A1", "ready")["path"]
    call = ""
    if state != "ready":
        call = daemon.dial("A1", NOBODY if state == "dialing" else SERVICE)
        daemon.modem("A1", state)
    bench("unplug A1")
    daemon.modem("A1", "gone")
    if call:
        assert daemon.ended(call)["EndReason"] == "modem-lost"
    bench("replug A1")
    assert daemon.modem("A1", "ready")["path"] == path


@pytest.mark.parametrize("who", ["caller", "network"])
def test_a_call_ends_and_the_next_one_goes_through(common: Guest, bench: Plug, daemon: Daemon, who: str) -> None:
    device = daemon.modem("A1", "ready")["Device"]
    earlier = len(common.read(common.logs["plug"]))
    call = daemon.dial("A1", SERVICE)
    daemon.modem("A1", "connected")
    match who:
        case "caller":
            daemon.call(call, "Call", "HangUp")
            reason = "local-hangup"
        case _:
            bench("cut A1")
            reason = "remote-hangup"
    assert daemon.ended(call)["EndReason"] == reason
    assert daemon.modem("A1", "ready")["Device"] == device
    log = common.read(common.logs["plug"])[earlier:]
    dialled = log.index(f"ATDT{SERVICE}")
    if who == "caller":
        assert "100: AT" not in log[dialled : log.index("100 hangs up", dialled)], "hung up by DTR, not by a command"
    daemon.dial("A1", SERVICE)
    daemon.modem("A1", "connected")


def test_recognised_under_another_number(common: Guest, bench: Plug, daemon: Daemon) -> None:
    first = daemon.modem("A1", "ready")
    hold(common, first["Device"])
    bench("unplug A1")
    daemon.modem("A1", "gone")
    bench("replug A1")
    again = daemon.modem("A1", "ready")
    assert again["Device"] not in ("", first["Device"])
    assert (again["path"], again["Id"]) == (first["path"], first["Id"])
