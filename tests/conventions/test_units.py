"""The units: systemd takes them as they are, what they confine stays confined, and what they leave out says why."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVICES = sorted(SYSTEMD.glob("*.service"))
SESSIONS = ("dialupd-exec@.service", "dialupd-login@.service", "dialupd-ppp@.service")

# The exposure that `systemd-analyze security` finds at most, in tenths.  A login is as open as one at the console.
EXPOSURE: Mapping[str, int] = {
    "dialupd.service": 15,
    "dialupd-config.service": 20,
    "dialupd-exec@.service": 30,
    "dialupd-login@.service": 97,
    "dialupd-ppp@.service": 30,
    "dialupd-usbserial@.service": 20,
}

# A root directory of their own is for services that bring one; and of devices, even what DevicePolicy=closed leaves
# (null, zero, pseudo-terminals) counts as some.
NEEDS_NO_REASON = {"RootDirectory", "DeviceAllow"}

# Systems on which the tests run need not have installed any of it.
STAND_INS = {"/usr/bin/dialupd": "/bin/sh", "/usr/bin/python3": "/bin/sh", "/bin/kill": "/bin/sh"}
OF_EVERY_MACHINE = ("sysinit.target", "basic.target", "shutdown.target")


def settings(name: str) -> list[tuple[str, str, str]]:
    """Section, key and value of each line, in their order."""
    found, section = [], ""
    for line in (SYSTEMD / name).read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.append((section, key, value))
    return found


def values(name: str, key: str) -> list[str]:
    return [value for _, other, value in settings(name) if other == key]


def words(name: str, key: str) -> set[str]:
    return {word for value in values(name, key) for word in value.split()}


def analyze(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    command = ["systemd-analyze", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout, done.stderr


def verified(directory: Path) -> str:
    """What `systemd-analyze verify` has to say about the units there; nothing else of the machine is looked at."""
    units = sorted(path for path in directory.iterdir() if path.suffix in (".service", ".target"))
    machine = directory / "machine"
    machine.mkdir(exist_ok=True)
    for name in OF_EVERY_MACHINE:
        (machine / name).write_text("[Unit]\nDefaultDependencies=no\n", "utf-8")
    places = {"SYSTEMD_UNIT_PATH": f"{directory}:{machine}"}
    code, out, errors = analyze("verify", "--man=no", *units, environment=places)
    return out + errors if out or errors or not code else f"exit status {code}"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    for path in SYSTEMD.iterdir():
        if path.suffix in (".service", ".target"):
            text = path.read_text("utf-8")
            for program, other in STAND_INS.items():
                text = text.replace(program, other)
            (tmp_path / path.name).write_text(text, "utf-8")
    return tmp_path


def test_systemd_takes_them(installed: Path) -> None:
    assert verified(installed) == ""


@pytest.mark.parametrize("line", ["PrivateTempt=yes", "SystemCallFilter=@nonsense", "ExecStart=/usr/bin/nothing-such"])
def test_systemd_would_tell_a_mistake(installed: Path, line: str) -> None:
    unit = installed / "dialupd-ppp@.service"
    unit.write_text(f"{unit.read_text('utf-8')}\n[Service]\n{line}\n", "utf-8")
    assert line.partition("=")[2] in verified(installed) or line.partition("=")[0] in verified(installed)


def test_every_service_has_a_limit_of_exposure() -> None:
    assert sorted(EXPOSURE) == [path.name for path in SERVICES]


@pytest.mark.parametrize(("name", "limit"), EXPOSURE.items())
def test_exposure(name: str, limit: int) -> None:
    code, out, errors = analyze("security", "--offline=true", f"--threshold={limit}", SYSTEMD / name)
    assert code == 0, f"{out.splitlines()[-1:]} {errors}"


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_what_is_relaxed_or_left_out_is_named_in_the_unit(path: Path) -> None:
    code, out, errors = analyze("security", "--offline=true", "--json=short", path)
    assert code == 0, errors
    open_ = {row["name"].partition("=")[0] for row in json.loads(out) if float(row["exposure"] or 0) > 0}
    assert open_, "systemd-analyze finds nothing at all"
    unit = path.read_text("utf-8")
    assert {name for name in open_ - NEEDS_NO_REASON if not re.search(rf"\b{name}\b", unit)} == set()


def test_every_unit_is_documented() -> None:
    for path in (*SERVICES, SYSTEMD / "dialupd-modem.target"):
        assert values(path.name, "Description"), path.name
        assert all(page.startswith("man:") for page in words(path.name, "Documentation")), path.name
        assert words(path.name, "Documentation"), path.name


# -- the daemon


def test_the_daemon_has_no_privilege() -> None:
    name = "dialupd.service"
    assert values(name, "User") == ["dialupd"]
    assert values(name, "CapabilityBoundingSet") == [""]
    assert values(name, "AmbientCapabilities") == [""]
    assert values(name, "DevicePolicy") == ["closed"]
    assert words(name, "RestrictAddressFamilies") == {"AF_UNIX", "AF_NETLINK"}
    assert all(re.fullmatch(r"char-\d+ rw", value) for value in values(name, "DeviceAllow"))
    # Each line of the kind takes rights away; a `+` or `!` before a program would give them back.
    assert all(value.startswith("/") for key in ("ExecStart", "ExecReload") for value in values(name, key))


def test_the_daemon_survives() -> None:
    name = "dialupd.service"
    assert values(name, "Type") == ["notify"]
    assert values(name, "Restart") == ["on-failure"]
    assert values(name, "StartLimitIntervalSec") == ["0"]
    assert values(name, "WatchdogSec")
    assert int(values(name, "FileDescriptorStoreMax")[0]) >= 4096
    # Descriptors come back with the restart, all at once.
    assert int(values(name, "LimitNOFILE")[0]) > int(values(name, "FileDescriptorStoreMax")[0])
    assert values(name, "RuntimeDirectoryPreserve") == ["restart"]


def test_only_an_enabled_daemon_is_started_by_the_bus() -> None:
    alias = "dbus-org.dialupd1.service"
    activation = (SYSTEMD.parent / "dbus" / "org.dialupd1.service").read_text("utf-8").splitlines()
    assert f"SystemdService={alias}" in activation
    assert ("Install", "Alias", alias) in settings("dialupd.service")
    assert words("dialupd.service", "WantedBy") == {"multi-user.target", "dialupd-modem.target"}
    installs = [path.name for path in SERVICES if any(section == "Install" for section, _, _ in settings(path.name))]
    assert installs == ["dialupd.service"]


# -- the sessions


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_outlive_the_daemon(name: str) -> None:
    keys = {key for section, key, _ in settings(name) if section == "Unit"}
    assert keys.isdisjoint({"Requires", "Requisite", "BindsTo", "PartOf", "Upholds", "PropagatesStopTo"})
    # At the machine's shutdown units stop in the reverse of this order.
    assert "dialupd.service" in words(name, "After")


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_leave_nothing_behind(name: str) -> None:
    assert values(name, "CollectMode") == ["inactive-or-failed"]
    assert values(name, "Restart") == []


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_end_in_order(name: str) -> None:
    # The helper alone gets SIGTERM.  SIGHUP would end it at once.
    assert values(name, "KillMode") == ["mixed"]
    assert values(name, "SendSIGHUP") == []
    # LCP's farewell takes seven seconds, the scripts of ip-down five.
    assert int(values(name, "TimeoutStopSec")[0].removesuffix("s")) >= 15


@pytest.mark.parametrize(
    ("name", "capabilities"),
    [
        ("dialupd-ppp@.service", "CAP_NET_ADMIN"),
        ("dialupd-exec@.service", "CAP_SETUID CAP_SETGID"),
        ("dialupd-usbserial@.service", "CAP_SYS_MODULE"),
        ("dialupd-config.service", ""),
    ],
)
def test_helpers_have_few_capabilities(name: str, capabilities: str) -> None:
    assert values(name, "CapabilityBoundingSet") == [capabilities]
    assert values(name, "NoNewPrivileges") == ["yes"]
    # With User=, be it root, systemd 257 takes CAP_SETUID away.
    assert values(name, "User") == []


@pytest.mark.parametrize(
    "path", [path for path in SERVICES if path.name != "dialupd.service"], ids=lambda path: path.name
)
def test_helpers_run_from_the_system_alone(path: Path) -> None:
    work = re.fullmatch(r"dialupd-(\w+)@?\.service", path.name)
    assert work
    instance = " %i" if "@" in path.name else ""
    # -I: neither the environment nor the working directory has a say in which modules are loaded.
    assert values(path.name, "ExecStart") == [f"/usr/bin/python3 -I -m dialupd.helper {work[1]}{instance}"]
    assert not {"Environment", "EnvironmentFile", "PassEnvironment"} & {key for _, key, _ in settings(path.name)}


def test_secrets_for_pppd_are_for_root_alone() -> None:
    name = "dialupd-ppp@.service"
    assert values(name, "RuntimeDirectory") == ["dialupd-session/%i"]
    assert values(name, "RuntimeDirectoryMode") == ["0700"]
    assert "/run/dialupd-session" in words(name, "ReadWritePaths"), "where the helpers of all calls lock addresses"
    assert "-/etc/resolv.conf" in words(name, "ReadWritePaths"), "the far end's name servers are put there"
    assert values(name, "UMask") == ["0077"]
