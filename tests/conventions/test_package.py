"""What the Debian package and `dialupd-system-files` install is what the tree has; nothing is built here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from dialupd import __version__
from dialupd.io.configfile import read_config
from dialupd.system_files.places import Installation, wanted

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "debian"

# Where the Debian package puts each file that is not Python.
INSTALLED = {
    "docs/completion/dialupctl": "usr/share/bash-completion/completions",
    "dbus/org.dialupd1.conf": "usr/share/dbus-1/system.d",
    "dbus/org.dialupd1.policy": "usr/share/polkit-1/actions",
    "dbus/org.dialupd1.rules": "usr/share/polkit-1/rules.d",
    "dbus/org.dialupd1.service": "usr/share/dbus-1/system-services",
    "dialupd/bus/xml/org.dialupd1.Call.xml": "usr/share/dbus-1/interfaces",
    "dialupd/bus/xml/org.dialupd1.Manager.xml": "usr/share/dbus-1/interfaces",
    "dialupd/bus/xml/org.dialupd1.Modem.xml": "usr/share/dbus-1/interfaces",
    "docs/example/dialupd.toml": "etc/dialupd",
    "systemd/dialupd-config.service": "${env:UNITDIR}",
    "systemd/dialupd-exec@.service": "${env:UNITDIR}",
    "systemd/dialupd-login@.service": "${env:UNITDIR}",
    "systemd/dialupd-modem.target": "${env:UNITDIR}",
    "systemd/dialupd-ppp@.service": "${env:UNITDIR}",
    "systemd/dialupd-usbserial@.service": "${env:UNITDIR}",
    "systemd/dialupd.catalog": "usr/lib/systemd/catalog",
    "systemd/dialupd.service": "${env:UNITDIR}",
    "udev/70-dialupd.rules": "${env:UDEVDIR}/rules.d",
}
# debhelper has a tool of its own for it.
USER = "systemd/dialupd.sysusers"
# The command that it describes is not in the Debian package.
NOT_IN_DEBIAN = "docs/man/dialupd-system-files.8"


def tree(*directories: str) -> set[str]:
    """Every file in these directories."""
    return {
        path.relative_to(ROOT).as_posix()
        for name in directories
        for path in (ROOT / name).iterdir()
        if path.is_file() and not path.name.startswith(".")
    }


def words(name: str) -> list[list[str]]:
    return [line.split() for line in (DEBIAN / name).read_text().splitlines()]


def field(name: str) -> list[str]:
    """The entries of one field of debian/control, without versions and the like."""
    text = (DEBIAN / "control").read_text()
    found = re.search(rf"^{name}:\n((?: .*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [line.split()[0].rstrip(",") for line in found[1].splitlines()]


def test_the_package_has_every_file_in_its_place() -> None:
    placed = {
        path.relative_to(ROOT).as_posix(): directory
        for pattern, directory in words("dialupd.install")
        for path in ROOT.glob(pattern)
    }
    assert placed == INSTALLED
    assert tree("docs/completion", "dbus", "dialupd/bus/xml", "docs/example", "systemd", "udev") == {*INSTALLED, USER}


def test_the_package_has_the_user() -> None:
    assert (DEBIAN / "dialupd.sysusers").resolve() == ROOT / USER


def test_the_package_has_every_manual_page() -> None:
    listed = {line[0] for line in words("dialupd.manpages")}
    assert listed | {NOT_IN_DEBIAN} == tree("docs/man")
    assert NOT_IN_DEBIAN not in listed


def test_dialupd_system_files_has_every_file() -> None:
    names = {Path(file.path).name for file in wanted(Installation("/opt/dialupd/bin/python3", "/opt/dialupd/bin"))}
    there = {Path(name).name for name in (*INSTALLED, *tree("docs/man"))}
    assert names == there | {"dialupd.conf", "dialupctl", "dialup-exchange"}


def test_versions_agree() -> None:
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"dialupd ({__version__}) ")


def test_what_runs_needs_is_there_when_the_package_is_built() -> None:
    """The unit tests run then; at run time the same names come from pyproject.toml by ${python3:Depends}."""
    project = (ROOT / "pyproject.toml").read_text()
    found = re.search(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)
    assert found is not None
    needed = {re.split(r"[<>=]", name.strip().strip('"'))[0] for name in found[1].split(",")}
    debian = {f"python3-{name.removeprefix('py') if name == 'pyserial' else name}" for name in needed}
    assert debian <= set(field("Build-Depends"))
    assert "${python3:Depends}" in field("Depends")


def test_nothing_is_enabled_or_started() -> None:
    rules = (DEBIAN / "rules").read_text()
    assert re.findall(r"^\tdh_installsystemd (.*)$", rules, re.MULTILINE) == [
        "--no-enable --no-start --restart-after-upgrade dialupd.service"
    ]
    scripts = "".join(path.read_text() for path in DEBIAN.glob("dialupd.p*") if path.suffix != ".manpages")
    assert re.findall(r"(?:systemctl|deb-systemd-invoke|deb-systemd-helper) +([\w-]+)", scripts) == ["stop", "stop"]


@pytest.mark.parametrize("name", ["dialupd.postinst", "dialupd.postrm", "dialupd.prerm"])
def test_the_maintainer_scripts_are_sound(name: str) -> None:
    text = (DEBIAN / name).read_text()
    assert text.startswith("#!/bin/sh\nset -e\n")
    assert "\n#DEBHELPER#\n" in text
    subprocess.run(["sh", "-n", DEBIAN / name], check=True)


def test_the_tests_of_the_installed_package_are_listed_and_sound() -> None:
    listed = re.findall(r"^Tests: (.*)$", (DEBIAN / "tests" / "control").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (DEBIAN / "tests").iterdir() if path.name != "control")
    for name in listed:
        subprocess.run(["sh", "-n", DEBIAN / "tests" / name], check=True)


@pytest.mark.parametrize("name", ["rules", "tests/demo", "tests/service", "tests/unit"])
def test_what_is_run_can_be_run(name: str) -> None:
    assert os.access(DEBIAN / name, os.X_OK)


def test_the_configuration_that_is_installed_does_nothing() -> None:
    config = read_config(str(ROOT / "docs" / "example" / "dialupd.toml"))
    assert (config.modems, config.policies, config.sessions) == ((), {}, {})


def test_the_examples_in_it_are_right(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "example" / "dialupd.toml").read_text()
    example = tmp_path / "dialupd.toml"
    example.write_text(re.sub(r"^#(?=\[|\w+(-\w+)* = )", "", text, flags=re.MULTILINE))
    config = read_config(str(example))
    assert [entry.policy for entry in config.modems] == ["uplink", ""]
    assert config.policies["uplink"].session == "internet"
    assert list(config.sessions) == ["internet"]
