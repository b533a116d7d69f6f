"""A USB modem comes, goes in every state, and comes again: one daemon on the system bus."""

from __future__ import annotations

import pytest

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


def test_a_conexant_becomes_ready_and_tells_what_it_is(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.conexant("A1", "--number 100")
    modem = daemon.modem("A1", "ready")
    assert modem["Name"] == "rack"
    assert (modem["Device"], modem["Driver"], modem["Transport"]) == ("/dev/ttyACM0", "cdc_acm", "cdc-acm")
    assert (modem["VendorId"], modem["ProductId"]) == ("0572", "1340")
    assert "CONEXANT" in modem["Manufacturer"].upper()
    assert {"data", "fax"} <= set(modem["Capabilities"])
    assert modem["Policy"] == "hand"


def test_a_modem_that_was_there_before_the_daemon(guest: Guest, plug: Plug) -> None:
    plug.conexant("A1", "--number 100")
    guest.until("test -c /dev/ttyACM0")
    daemon = Daemon(guest, CONFIG)
    daemon.modem("A1", "ready")
    assert daemon.stop() == 0
    assert plug("show A1")["dtr"] is False, "the port is closed"


@pytest.mark.parametrize("state", ["ready", "dialing", "connected"])
def test_unplugged_and_plugged_in_again(guest: Guest, plug: Plug, state: str) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.conexant("A1", "--number 100")
    plug.conexant("Z9", f"--number {NOBODY}")
    plug(f"service {SERVICE}")
    path = daemon.modem("A1", "ready")["path"]
    call = ""
    if state != "ready":
        call = daemon.dial("A1", NOBODY if state == "dialing" else SERVICE)
        daemon.modem("A1", state)
    plug("unplug A1")
    daemon.modem("A1", "gone")
    if call:
        assert daemon.ended(call)["EndReason"] == "modem-lost"
    plug("replug A1")
    assert daemon.modem("A1", "ready")["path"] == path
    assert daemon.stop() == 0


@pytest.mark.parametrize("who", ["caller", "network"])
def test_a_call_ends_and_the_next_one_goes_through(guest: Guest, plug: Plug, who: str) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.conexant("A1", "--number 100")
    plug(f"service {SERVICE}")
    call = daemon.dial("A1", SERVICE)
    daemon.modem("A1", "connected")
    match who:
        case "caller":
            daemon.call(call, "Call", "HangUp")
            reason = "local-hangup"
        case _:
            plug("cut A1")
            reason = "remote-hangup"
    assert daemon.ended(call)["EndReason"] == reason
    assert daemon.modem("A1", "ready")["Device"] == "/dev/ttyACM0"
    log = guest.read(guest.logs["plug"])
    dialled = log.index(f"ATDT{SERVICE}")
    if who == "caller":
        assert "100: AT" not in log[dialled : log.index("100 hangs up", dialled)], "hung up by DTR, not by a command"
    daemon.dial("A1", SERVICE)
    daemon.modem("A1", "connected")


def test_recognised_under_another_number(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.conexant("A1", "--number 100")
    first = daemon.modem("A1", "ready")
    assert first["Device"] == "/dev/ttyACM0"
    hold(guest, "/dev/ttyACM0")
    plug("unplug A1")
    daemon.modem("A1", "gone")
    plug("replug A1")
    again = daemon.modem("A1", "ready")
    assert again["Device"] == "/dev/ttyACM1"
    assert (again["path"], again["Id"]) == (first["path"], first["Id"])


def test_two_alike_are_told_apart_by_their_serial_numbers(guest: Guest, plug: Plug) -> None:
    daemon = Daemon(guest, CONFIG)
    plug.conexant("B2", "--number 101")
    plug.conexant("A1", "--number 100")
    assert daemon.modem("A1", "ready")["Name"] == "rack"
    assert not [modem for modem in daemon.modems() if modem["Serial"] == "B2" and modem["Name"] == "rack"]
