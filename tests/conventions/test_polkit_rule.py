"""The rule by which the daemon starts and stops its units: exactly those, and nothing else.

The rule is run for real, in the interpreter that polkit has (Duktape), with an action and a subject as polkit makes
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import dukpy
import pytest

RULES = Path(__file__).parents[2] / "dbus" / "org.dialupd1.rules"
MANAGE = "org.freedesktop.systemd1.manage-units"

# What polkit's own init.js says, as far as a rule can see it; details are properties of the action.
POLKIT = """
var rules = [];
var polkit = {
    Result: {NO: "no", YES: "yes", AUTH_SELF: "auth_self", AUTH_SELF_KEEP: "auth_self_keep",
             AUTH_ADMIN: "auth_admin", AUTH_ADMIN_KEEP: "auth_admin_keep", NOT_HANDLED: null},
    addRule: function(rule) { rules.push(rule); }
};
function ask(question) {
    var action = {id: question.id};
    for (var key in question.details)
        action["_detail_" + key] = question.details[key];
    action.lookup = function(key) { return this["_detail_" + key]; };
    var subject = {user: question.user, groups: [], local: false, active: false};
    for (var i = 0; i < rules.length; i++) {
        var result = rules[i](action, subject);
        if (result)
            return result;
    }
    return "not handled";
}
"""
MESSAGE = "Authentication is required to {} '$(unit)'."

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def ask() -> Ask:
    interpreter = dukpy.JSInterpreter()
    interpreter.evaljs(POLKIT + RULES.read_text("utf-8") + "\nrules.length;")

    def ask(
        unit: str | None,
        verb: str | None = "start",
        user: str = "dialupd",
        action: str = MANAGE,
        message: str | None = None,
    ) -> str:
        details: Mapping[str, str | None] = {
            "unit": unit,
            "verb": verb,
            "polkit.message": message or MESSAGE.format(verb),
            "polkit.gettext_domain": "systemd",
        }
        told = {key: value for key, value in details.items() if value is not None}
        question = {"id": action, "user": user, "details": told if verb or unit else {}}
        return str(interpreter.evaljs("ask(dukpy.question);", question=question))

    return ask


OURS = (
    "dialupd-ppp@1.service",
    "dialupd-login@12.service",
    "dialupd-exec@123456789012.service",
    "dialupd-usbserial@0572-1340.service",
    "dialupd-usbserial@abcd-ef01.service",
    "dialupd-config.service",
)


@pytest.mark.parametrize("verb", ["start", "stop"])
@pytest.mark.parametrize("unit", OURS)
def test_the_daemon_may_start_and_stop_its_units(ask: Ask, unit: str, verb: str) -> None:
    assert ask(unit, verb) == "yes"


@pytest.mark.parametrize(
    "unit",
    [
        "",
        "ssh.service",
        "dialupd.service",
        "dialupd-modem.target",
        "dialupd-ppp.service",
        "dialupd-ppp@.service",
        "dialupd-ppp@x.service",
        "dialupd-ppp@-1.service",
        "dialupd-ppp@1.5.service",
        "dialupd-ppp@0x1.service",
        "dialupd-ppp@1 .service",
        "dialupd-ppp@1.socket",
        "dialupd-ppp@1.service.service",
        "dialupd-ppp@1.service ",
        " dialupd-ppp@1.service",
        "dialupd-ppp@1.service\n",
        "\ndialupd-ppp@1.service",
        "ssh.service\ndialupd-ppp@1.service",
        "dialupd-ppp@1.service\nssh.service",
        "dialupd-ppp@1\n.service",
        "dialupd-ppp@1\\x2fx.service",
        "dialupd-ppp@1/../ssh.service",
        "dialupd-exec@../../etc/x.service",
        "dialupd-ppp@1xservice",
        "dialupd-ppp@١.service",  # a digit, but not of ours
        "Dialupd-ppp@1.service",
        "xdialupd-ppp@1.service",
        "dialupd-pppx@1.service",
        "dialupd-(ppp|login|exec)@1.service",
        "dialupd-usbserial@0572-134.service",
        "dialupd-usbserial@0572-13400.service",
        "dialupd-usbserial@0572-ABCD.service",
        "dialupd-usbserial@05721340.service",
        "dialupd-usbserial@0572-134g.service",
        "dialupd-usbserial@0572-1340.service\n",
        "dialupd-config.service\n",
        "dialupd-config@1.service",
        "xdialupd-config.service",
        "dialupd-config.serviceX",
    ],
)
def test_other_units_are_left_to_others(ask: Ask, unit: str) -> None:
    assert ask(unit, "start") == "not handled"
    assert ask(unit, "stop") == "not handled"


@pytest.mark.parametrize(
    "verb",
    [
        *("restart", "try-restart", "reload", "reload-or-restart", "kill", "clean", "freeze", "thaw", "set-property"),
        *("start-transient", "isolate", "", "Start", "start\n", "start stop", None),
    ],
)
@pytest.mark.parametrize("unit", OURS)
def test_nothing_else_is_done_to_its_units(ask: Ask, unit: str, verb: str | None) -> None:
    assert ask(unit, verb) == "not handled"


@pytest.mark.parametrize("user", ["root", "alice", "", "dialupd2", "xdialupd", "Dialupd", "dialupd\n", "dialup"])
def test_nobody_else_gets_anything(ask: Ask, user: str) -> None:
    assert {ask(unit, user=user) for unit in OURS} == {"not handled"}


@pytest.mark.parametrize(
    "action",
    [
        "org.freedesktop.systemd1.manage-unit-files",
        "org.freedesktop.systemd1.reload-daemon",
        "org.freedesktop.systemd1.set-environment",
        "org.freedesktop.systemd1.manage-units.x",
        "org.freedesktop.login1.power-off",
        "org.dialupd1.command",
        "",
    ],
)
def test_nothing_else_is_granted(ask: Ask, action: str) -> None:
    assert {ask(unit, action=action) for unit in OURS} == {"not handled"}


def test_a_request_without_a_unit_is_left_to_others(ask: Ask) -> None:
    assert ask(None) == "not handled"
    assert ask(None, None) == "not handled"


@pytest.mark.parametrize("unit", OURS)
def test_a_transient_unit_under_such_a_name_is_left_to_others(ask: Ask, unit: str) -> None:
    # The words of systemd 257.
    assert ask(unit, message="Authentication is required to start transient unit '$(unit)'.") == "not handled"
