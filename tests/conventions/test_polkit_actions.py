"""The installed polkit actions are those that the daemon asks about, and nobody far away may anything by default."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from dialupd.bus.authority import Action

ACTIONS = ElementTree.parse(Path(__file__).parents[2] / "dbus" / "org.dialupd1.policy").findall("action")


def test_every_action_is_defined_once() -> None:
    assert sorted(action.attrib["id"] for action in ACTIONS) == sorted(Action)


def test_only_an_active_local_user_is_let_in_by_default() -> None:
    for action in ACTIONS:
        assert action.findtext("defaults/allow_any") == "no"
        assert action.findtext("defaults/allow_inactive") == "no"


def test_what_an_active_local_user_may() -> None:
    may = {action.attrib["id"].rpartition(".")[2]: action.findtext("defaults/allow_active") for action in ACTIONS}
    free = {name for name, word in may.items() if word == "yes"}
    assert free == {"monitor", "dial", "hang-up"}
    assert {may[name] for name in may.keys() - free} == {"auth_admin_keep"}
