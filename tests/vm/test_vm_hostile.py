"""What a daemon gains that has been taken over: nothing that /etc/dialupd does not grant.

Everything is tried as the daemon's own user, outside its sandbox, by the files and names that this user controls: the
service manager's interface, the socket at which session units ask for their line, its directories, its names of units.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.vm.guest import Guest, Result
from tests.vm.hostile import NO_MESSAGES, REFUSED, SILENT, SOCKET
from tests.vm.lab import Plug
from tests.vm.system import CONFIG as CONFIG_FILE

CONFIG = """
[[modem]]
name = "phone"
match = { vendor = "0421", product = "0405" }
usbserial = true

[session.dialin]
type = "ppp"
role = "server"
local = "172.16.1.1"
remote = "172.16.1.2"
auth = ["chap"]

[session.console]
type = "login"

[session.menu]
type = "exec"
command = ["/usr/local/bin/menu", "--modem"]
user = "bob"
"""

MENU = """#!/bin/sh
echo "menu $* runs as $(id -un) with $(id -Gn)"
export -p
exec sleep 60
"""

CANARY = """#!/bin/sh
logger -t canary "$(id -un) $*"
"""

AS_DAEMON = (
    "setpriv --reuid=dialupd --regid=dialupd --init-groups --bounding-set=-all --inh-caps=-all "
    "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/src PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8 "
)

SETTLE_S = 4
"""How long each helper is watched after it has begun its session or refused to: pppd gives up after ten."""

SYSTEMD = "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager"


@pytest.fixture(scope="module")
def machine(shared: Guest) -> Guest:
    """The package with a configuration, its daemon not running, its runtime directory in the hands of its user."""
    shared.write(CONFIG_FILE, CONFIG)
    shared.write("/usr/local/bin/menu", MENU, 0o755)
    shared.write("/usr/local/bin/canary", CANARY, 0o755)
    shared.write("/etc/systemd/system/lab-owned.service", "[Service]\nExecStart=/usr/local/bin/canary started\n")
    shared.write("/etc/ppp/chap-secrets", '"web" * "correct horse" *\n', 0o600)
    shared.run("systemctl daemon-reload && systemctl start dialupd-config.service")
    shared.run("install -d -o dialupd -g dialupd -m 750 /run/dialupd /var/lib/dialupd")
    return shared


def as_daemon(guest: Guest, command: str, timeout: float = 90) -> Result:
    return guest.run(f"{AS_DAEMON} sh -c {shlex.quote(command)}", timeout, check=False)


def fingerprint(guest: Guest) -> str:
    """All that root has on the disk that matters: names, owners, modes, sizes, times of change."""
    places = "/etc /usr/local /root /usr/lib/systemd /run/systemd/system /run/systemd/transient /run/dialupd-config"
    return guest.run(f"find {places} -printf '%p %u %g %m %s %T@\\n' 2>/dev/null | sort | sha256sum").out


@pytest.fixture(scope="module")
def played(machine: Guest) -> dict[str, dict[str, Any]]:
    """What came of each attempt upon a helper."""
    before = fingerprint(machine)
    result = as_daemon(machine, f"python3 -m tests.vm.hostile {SETTLE_S}", timeout=300)
    assert result.rc == 0, result.out
    assert fingerprint(machine) == before
    machine.until("! systemctl -q is-active 'dialupd-*@*.service'", timeout=60)
    told: dict[str, dict[str, Any]] = json.loads(result.out.splitlines()[-1])
    return told


@pytest.fixture(autouse=True)
def quiet(machine: Guest) -> Iterator[None]:
    """Whatever was tried, the canary has not sung."""
    yield
    assert machine.run("journalctl -q -t canary").out == ""


OTHERS = (
    *("lab-owned.service", "ssh.service", "systemd-udevd.service", "rescue.target", "poweroff.target"),
    *("dialupd.service", "dialupd-modem.target", "dialupd-other@1.service", "xdialupd-ppp@1.service"),
    *("dialupd-exec@.service", "dialupd-exec@x.service", "dialupd-exec@-1.service", "dialupd-exec@1x.service"),
    *("dialupd-exec@../../etc/x.service", "dialupd-exec@1\\x2f2.service", "dialupd-exec@１.service"),
    *("dialupd-ppp@1.target", "dialupd-ppp@1.timer", "dialupd-ppp@1.service "),
    *("dialupd-usbserial@0421.service", "dialupd-usbserial@0421-04055.service", "dialupd-usbserial@ZZZZ-0405.service"),
)


@pytest.mark.parametrize("verb", ["StartUnit", "StopUnit"])
def test_no_other_unit_can_be_asked_for(machine: Guest, verb: str) -> None:
    script = "\n".join(f"busctl call {SYSTEMD} {verb} ss {shlex.quote(unit)} replace 2>&1 | head -1" for unit in OTHERS)
    answers = as_daemon(machine, script).out.splitlines()
    for unit, answer in zip(OTHERS, answers, strict=True):
        known = (
            "Access denied",
            "nteractive authentication",
            "is not valid",
            "not loaded",
            "missing the instance name",
        )
        assert answer.startswith("Call failed: ") and any(word in answer for word in known), f"{unit}: {answer}"


def test_nothing_else_can_be_asked_of_the_service_manager(machine: Guest) -> None:
    before = fingerprint(machine)
    exec_canary = "ExecStart 'a(sasb)' 1 /usr/local/bin/canary 2 canary transient false"
    attempts = (
        f"StartTransientUnit 'ssa(sv)a(sa(sv))' dialupd-exec@8.service replace 1 {exec_canary} 0",
        f"StartTransientUnit 'ssa(sv)a(sa(sv))' x.service replace 1 {exec_canary} 0",
        *(f"{verb} ss dialupd-exec@9.service replace" for verb in ("RestartUnit", "TryRestartUnit", "ReloadUnit")),
        *(f"{verb} ss lab-owned.service replace" for verb in ("RestartUnit", "ReloadOrRestartUnit")),
        "StartUnitReplace sss dialupd-exec@8.service lab-owned.service replace",
        "EnqueueUnitJob sss lab-owned.service start replace",
        "KillUnit ssi dialupd-config.service all 9",
        "KillUnit ssi systemd-journald.service all 9",
        "SetUnitProperties 'sba(sv)' dialupd-exec@8.service true 1 CPUWeight t 1",
        "MaskUnitFiles asbb 1 dialupd-exec@.service true true",
        "EnableUnitFiles asbb 1 lab-owned.service true true",
        "LinkUnitFiles asbb 1 /var/lib/dialupd/x.service true true",
        "EditUnitFiles asb 1 dialupd-exec@.service true",
        "BindMountUnit sssbb dialupd-exec@8.service /var/lib/dialupd /etc true true",
        "AttachProcessesToUnit ssau dialupd-config.service / 0",
        "SetEnvironment as 1 PYTHONPATH=/var/lib/dialupd",
        "Reload", "Reexecute", "PowerOff", "Reboot",
    )  # fmt: skip
    script = "\n".join(f"busctl call {SYSTEMD} {attempt} 2>&1 | head -1" for attempt in attempts)
    answers = as_daemon(machine, script).out.splitlines()
    for attempt, answer in zip(attempts, answers, strict=True):
        known = ("Access denied", "nteractive authentication", "Unknown method", "not loaded")
        assert any(word in answer for word in known), f"{attempt}: {answer}"
    assert fingerprint(machine) == before


def test_roots_directories_are_not_its_to_write(machine: Guest) -> None:
    places = (
        *("/etc/dialupd", "/etc/dialupd/conf.d", "/etc/dialupd/secrets", "/etc/ppp", "/etc/systemd/system"),
        *(
            "/run/dialupd-config",
            "/run/dialupd-session",
            "/run/udev/rules.d",
            "/run/systemd/system",
            "/run",
            "/var/lib",
        ),
        *("/usr/lib/python3/dist-packages/dialupd", "/etc/polkit-1/rules.d", "/usr/share/polkit-1/rules.d"),
    )
    script = "\n".join(f"touch {place}/x 2>/dev/null && echo {place}" for place in places)
    assert as_daemon(machine, script).out == ""
    assert as_daemon(machine, "cat /etc/dialupd/secrets/* /etc/ppp/chap-secrets /etc/shadow 2>/dev/null").out == ""


@pytest.mark.parametrize("name", REFUSED)
def test_a_helper_refuses_in_words(played: dict[str, dict[str, Any]], name: str) -> None:
    told = played[name]
    assert told["said"], "the helper ended without a word"
    last = told["said"][-1]
    assert (last["is"], last["reason"]) == ("ended", "session-failed")
    assert last["detail"]
    assert (told["line"], told["processes"]) == ("", ["python3"])


@pytest.mark.parametrize("kind", SILENT)
def test_a_helper_takes_nothing_of_what_is_no_message(
    machine: Guest, played: dict[str, dict[str, Any]], kind: str
) -> None:
    told = played[kind]
    assert (told["line"], told["processes"]) == ("", ["python3"])
    assert [one for one in told["said"] if one.get("detail") != "the daemon gave no line"] == []
    refused = f"journalctl -q -o cat -u 'dialupd-{kind}@*' | grep -c 'says what is no message'"
    # each was looked at, but what is too long for a packet
    machine.until(f'test "$({refused})" -ge {len(NO_MESSAGES) - 1}')


def test_facts_cannot_change_what_pppd_is_told(machine: Guest, played: dict[str, dict[str, Any]]) -> None:
    told = played["facts that look like options"]
    assert told["processes"] == ["pppd", "pppd", "python3"]
    assert "~" in told["line"], "pppd speaks"
    assert "evil" not in machine.run("journalctl -q -t pppd -o cat").out


def test_facts_cannot_change_the_login(played: dict[str, dict[str, Any]]) -> None:
    told = played["facts that look like a login"]
    assert told["processes"] == ["agetty", "python3"]
    assert "login:" in told["line"]
    assert "root" not in told["line"]


def test_a_program_runs_as_root_configured_it(played: dict[str, dict[str, Any]]) -> None:
    told = played["facts that look like the environment"]
    lines = told["line"].replace("\r", "").splitlines()
    assert lines[0] == "menu --modem runs as bob with bob"
    variables = {line.split("=")[0].removeprefix("export ") for line in lines if line.startswith("export ")}
    assert not {name for name in variables if name.startswith(("LD_", "PYTHON", "BASH_"))}
    assert {"PATH", "HOME", "DIALUPD_MODEM"} <= variables
    assert told["processes"] == ["python3", "sleep"]


@pytest.mark.parametrize(
    "target", ["/run/udev/control", "/run/systemd/private", "/run/dbus/system_bus_socket", "/etc/passwd"]
)
def test_the_socket_may_be_a_link_to_anything(machine: Guest, target: str) -> None:
    before = fingerprint(machine)
    as_daemon(machine, f"ln -sf {target} {SOCKET}; systemctl --no-ask-password start dialupd-exec@7.service")
    machine.run("systemctl stop 'dialupd-exec@*.service'", timeout=60)
    as_daemon(machine, f"rm {SOCKET}")
    assert machine.run("systemctl is-active systemd-udevd dbus").out.split() == ["active", "active"]
    assert fingerprint(machine) == before


def test_only_what_root_names_is_given_a_driver(machine: Guest, hub: Plug) -> None:
    for product, serial in (("0405", "N1"), ("0406", "N2")):
        hub.add("0421", product, serial, "--kind vendor")
        machine.until(f"grep -lx {product} /sys/bus/usb/devices/*/idProduct")
    machine.run("udevadm settle; modprobe usbserial")
    assert as_daemon(machine, "systemctl --no-ask-password start dialupd-usbserial@0421-0405.service").rc == 0
    assert as_daemon(machine, "systemctl --no-ask-password start dialupd-usbserial@0421-0406.service").rc == 1
    assert (hub("show N1")["nodes"], hub("show N2")["nodes"]) == (["ttyUSB0"], [])


def test_its_own_directories_lead_nowhere(machine: Guest) -> None:
    before = fingerprint(machine)
    as_daemon(machine, "ln -sf /etc/shadow /var/lib/dialupd/history.sqlite; ln -sf /etc/dialupd/x /var/lib/dialupd/x")
    as_daemon(machine, "ln -sf /etc/x /run/lock/LCK..ttyACM0; ln -sf /etc /run/dialupd/config")
    machine.run("systemctl start dialupd.service", timeout=60, check=False)
    machine.run("systemctl stop dialupd.service", timeout=60, check=False)
    machine.run("rm -f /run/lock/LCK..ttyACM0 /var/lib/dialupd/history.sqlite")
    assert fingerprint(machine) == before
    assert machine.run("stat -c '%U %a' /etc/shadow").out == "root 640\n"
