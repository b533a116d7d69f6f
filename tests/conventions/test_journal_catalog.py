"""The message catalogue explains each event with fields that its records have, and journalctl takes it."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dialupd import events
from dialupd.chronicle import Chronicle
from dialupd.events import EVENTS
from dialupd.model import CallState, CallView, Direction, EndReason, ModemState, ModemView, SessionState, Transport

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "systemd" / "dialupd.catalog"
TEXT = CATALOG.read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^-- ([0-9a-f]{32})\n(.*?)(?=^-- |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def test_table_and_catalogue_agree() -> None:
    ids = [event.id for event in EVENTS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", identity) for identity in ids)
    assert TEXT.count("\n-- ") == len(ENTRIES)
    assert ENTRIES.keys() == set(ids)
    assert events.CALL_ENDED.keys() == {reason for reason in EndReason if reason}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event.name}-{event.id[:4]}")
def test_an_entry_is_whole(event: events.Event) -> None:
    head, _, text = ENTRIES[event.id].partition("\n\n")
    assert re.fullmatch(r"Subject: \S.*\nDefined-By: dialupd\nSupport: \S+", head)
    assert len(text.split()) >= 5
    assert all(len(line) < 80 for line in text.splitlines())


def test_no_two_explanations_are_the_same() -> None:
    assert len(set(ENTRIES.values())) == len(ENTRIES)


def test_every_field_of_an_explanation_is_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    """Records with as little in them as there can be: a field that is missing shows as its bare name."""
    caplog.set_level(logging.DEBUG, "dialupd.chronicle")

    class Daemon:
        config_error = "wrong"
        suspended = "suspended"

        def policies(self) -> list[tuple[str, str, str]]:
            return [("p", "manual", self.suspended)]

    daemon = Daemon()
    chronicle = Chronicle(daemon, lambda: 0.0)
    modem = ModemView("m", "name", Transport.SERIAL, device="/dev/ttyS0", policy="p", state_reason="why")
    call = CallView(1, "m", Direction.OUTGOING, session="client")
    chronicle.modem_added(modem)
    for state in ModemState:
        chronicle.modem_changed(modem, replace(modem, state=state))
    chronicle.modem_removed(modem)
    chronicle.ringing("m", {"rings": 1})
    chronicle.call_added(call)
    up = replace(call, state=CallState.CONNECTED)
    chronicle.call_added(up)
    chronicle.call_changed(call, replace(up, session_state=SessionState.RUNNING))
    for reason in events.CALL_ENDED:
        chronicle.call_changed(up, replace(up, state=CallState.ENDED, end_reason=reason))
    chronicle.manager_changed()
    daemon.suspended = ""
    chronicle.manager_changed()

    told = set()
    for record in caplog.records:
        fields = record.__dict__["fields"]
        told.add(fields["MESSAGE_ID"])
        wanted = set(re.findall(r"@([A-Z_]+)@", ENTRIES[fields["MESSAGE_ID"]]))
        assert wanted <= fields.keys(), fields["EVENT"]
    elsewhere = {
        events.DAEMON_STARTED, events.DAEMON_STOPPING, events.BUS_LOST, events.BUS_BACK, events.CONFIG_LOADED,
        events.DEFECT, events.LOG_LOST, events.CALL_BACK_FAILED, events.PROBLEM,
    }  # fmt: skip
    assert told == {event.id for event in EVENTS if event not in elsewhere}


def test_every_event_is_told_by_somebody() -> None:
    sources = [path for path in (ROOT / "dialupd").rglob("*.py") if path.name != "events.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    names = {name for name, value in vars(events).items() if isinstance(value, events.Event)}
    assert {name for name in names if not re.search(rf"(?:events\.|about\(){name}\b", text)} == set()


def test_the_page_lists_each_event() -> None:
    page = (ROOT / "docs" / "journal.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)`(?:, `REASON=([a-z-]+)`)? \| `([0-9a-f]{32})` \|", page, re.MULTILINE)
    reasons = {event.id: reason.value for reason, event in events.CALL_ENDED.items()}
    assert rows == [(event.name, reasons.get(event.id, ""), event.id) for event in EVENTS]


def test_journalctl_takes_it(tmp_path: Path) -> None:
    directory = tmp_path / "usr/lib/systemd/catalog"
    directory.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, directory)
    done = _journalctl(tmp_path, "--update-catalog")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    listed = _journalctl(tmp_path, "--list-catalog").stdout.splitlines()
    assert {line.split()[0] for line in listed} == ENTRIES.keys()
    busy = _journalctl(tmp_path, "--dump-catalog", events.CALL_ENDED[EndReason.BUSY].id).stdout
    assert "the number is busy" in busy


def _journalctl(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["journalctl", f"--root={root}", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
