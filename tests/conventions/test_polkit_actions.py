"""The installed polkit actions are those that the daemon asks about, and nobody far away may anything by default."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from dialupd.bus.authority import Action

POLICY = ElementTree.parse(Path(__file__).parents[2] / "dbus" / "org.dialupd1.policy")
ACTIONS = POLICY.findall("action")


def test_every_action_is_defined_once() -> None:
    assert sorted(action.attrib["id"] for action in ACTIONS) == sorted(Action)


def test_a_dialog_can_say_whose_actions_they_are() -> None:
    assert POLICY.findtext("vendor") == "dialupd"
    assert POLICY.findtext("vendor_url")
    # A name of the freedesktop icon naming specification, which every theme knows.
    assert POLICY.findtext("icon_name") == "modem"


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.attrib["id"])
def test_a_person_is_told_what_is_wanted(action: ElementTree.Element) -> None:
    description, message = action.findtext("description"), action.findtext("message")
    assert description
    assert message == f"Authentication is required to {description[0].lower()}{description[1:]}"


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.attrib["id"])
def test_the_daemon_may_ask_about_others(action: ElementTree.Element) -> None:
    # polkit lets a user that is not root ask about other processes, and pass details, only for actions that it owns.
    notes = {note.attrib["key"]: note.text for note in action.findall("annotate")}
    assert notes == {"org.freedesktop.policykit.owner": "unix-user:dialupd"}


def test_only_an_active_local_user_is_let_in_by_default() -> None:
    for action in ACTIONS:
        assert action.findtext("defaults/allow_any") == "no"
        assert action.findtext("defaults/allow_inactive") == "no"


def test_what_an_active_local_user_may() -> None:
    may = {action.attrib["id"].rpartition(".")[2]: action.findtext("defaults/allow_active") for action in ACTIONS}
    free = {name for name, word in may.items() if word == "yes"}
    assert free == {"monitor", "dial", "hang-up"}
    assert {may[name] for name in may.keys() - free} == {"auth_admin_keep"}
