"""What the journal tells, and what nothing ever tells: one call with a password, watched from all sides."""

from __future__ import annotations

import json

import pytest

from tests.vm.calls import Going, download, downloaded, hang_up, prepare
from tests.vm.client import NAME, ROOT
from tests.vm.guest import Guest
from tests.vm.lab import Plug
from tests.vm.system import System

MARK = "xyzzy-plugh-9c1f"
"""The password; it stands in two files of root's and must be seen nowhere else."""

CARD = "24680135"
"""Digits of a calling card, behind a pause in the number."""

WATCH = """
import os, sys, time
mark = open("/etc/dialupd/secrets/provider", "rb").read().strip()
seen = set()
while not os.path.exists("/tmp/watched"):
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        for what in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{what}", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            if what == "cmdline" and b"pppd" in text:
                seen.add("pppd")
            if mark in text:
                print(what, text, flush=True)
    print("round", sorted(seen), flush=True)
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def watched(shared: Guest, hub: Plug) -> tuple[System, Going]:
    """A call from its first command to its end, at debug level, with watchers on the bus and on all processes."""
    system = prepare(shared, hub)
    shared.write("/etc/dialupd/secrets/provider", f"{MARK}\n", 0o600)
    shared.write("/etc/netns/net/ppp/pap-secrets", f'"web" * "{MARK}" *\n', 0o600)
    shared.write("/tmp/watch.py", WATCH)
    shared.spawn("watch", "python3 /tmp/watch.py")
    shared.run("busctl --json=short monitor > /tmp/monitor 2>&1 &")
    shared.until("grep -q Monitoring /tmp/monitor && grep -q round /var/log/lab-watch.log")
    system.call(ROOT, "Manager", "SetLogLevel", "s", "debug")
    call = download(system)
    call.moves()
    downloaded(system)
    hang_up(system, call)
    modem = system.modem("D1", "ready")["path"]
    other = str(system.call(modem, "Modem", "Dial", "sa{sv}", f"18005551212,,{CARD}", "1", "session", "s", "raw")[0])
    system.ended(other)
    shared.run("touch /tmp/watched")
    shared.until("! pgrep -f '[w]atch.py'")
    return system, call


def test_the_password_is_seen_nowhere(watched: tuple[System, Going]) -> None:
    guest = watched[0].guest
    rounds = guest.read("/var/log/lab-watch.log").splitlines()
    assert any("pppd" in line for line in rounds), "the watcher saw pppd at work"
    assert [line for line in rounds if not line.startswith("round")] == []
    assert guest.run("grep -c PropertiesChanged /tmp/monitor").out.strip() != "0"
    guest.run("journalctl -q --no-pager -o export > /tmp/journal")
    places = "/tmp/journal /tmp/monitor /var/lib/dialupd /run --exclude-dir=udev"
    assert guest.run(f"grep -rslaF {MARK} {places}", check=False).out == ""
    found = guest.run(f"grep -rslaF {MARK} /etc /root /home /tmp /var --exclude=lab-*", check=False).out.split()
    assert sorted(found) == ["/etc/dialupd/secrets/provider", "/etc/netns/net/ppp/pap-secrets"]


def test_a_calling_cards_digits_are_seen_nowhere(watched: tuple[System, Going]) -> None:
    guest = watched[0].guest
    assert CARD in guest.read(guest.logs["plug"]), "the modem got them"
    guest.run(f"busctl --json=short call {NAME} {ROOT} {NAME}.Manager History 'a{{sv}}' 0 > /tmp/history")
    # what the caller himself says to the bus is his own
    guest.run('grep -v \'"member":"Dial"\' /tmp/monitor > /tmp/bus')
    assert guest.run(f"grep -laF {CARD} /tmp/journal /tmp/bus /tmp/history", check=False).out == ""
    assert "18005551212,,xxxxxxxx" in guest.read("/tmp/history")


def test_each_event_has_its_fields_and_its_explanation(watched: tuple[System, Going]) -> None:
    system, call = watched
    number = call.path.rpartition("/")[2]
    out = system.guest.run(f"journalctl -q --no-pager -o json CALL={number}").out
    events = [json.loads(line) for line in out.splitlines()]
    told = [event for event in events if "MESSAGE_ID" in event]
    assert len({event["MESSAGE_ID"] for event in told}) >= 3, "begun, connected, ended"
    assert {event["MODEM"] for event in told} == {call.call["Modem"].rpartition("/")[2]}
    ended = told[-1]
    assert ended["REASON"] == "local-hangup"
    assert {event["_SYSTEMD_UNIT"] for event in events} >= {"dialupd.service", call.unit}
    explained = system.guest.run(f"journalctl -q --no-pager -x CALL={number} MESSAGE_ID={ended['MESSAGE_ID']}").out
    assert (
        f"Subject: Call {number} has ended: it was hung up on this side" in explained
        and "Defined-By: dialupd" in explained
    )
    catalogue = system.guest.run("journalctl --list-catalog").out
    for event in told:
        assert event["MESSAGE_ID"] in catalogue


def test_at_traffic_is_there_at_debug_level_and_only_there(watched: tuple[System, Going]) -> None:
    system, _ = watched
    debug = system.guest.run("journalctl -q --no-pager -o cat -u dialupd PRIORITY=7").out
    assert "ATDT300" in debug
    louder = system.guest.run("journalctl -q --no-pager -o cat -u dialupd -p info").out
    assert "ATDT" not in louder and "call" in louder
