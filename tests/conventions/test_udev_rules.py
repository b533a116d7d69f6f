"""The udev rule names the same analogue modems as the table of known numbers, and udev itself finds no fault in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dialupd.match import KNOWN, Kind

RULES = Path(__file__).parents[2] / "udev" / "70-dialupd.rules"
NAMES = re.compile(
    r'ATTRS\{idVendor\}=="(?P<vendor>[0-9a-f]{4})", ATTRS\{idProduct\}=="(?P<products>[0-9a-f|]+)", '
    r'GOTO="dialupd_ours"'
)


def test_the_rule_names_every_known_modem_and_nothing_else() -> None:
    named = [
        (found["vendor"], product)
        for line in RULES.read_text().splitlines()
        if (found := NAMES.fullmatch(line))
        for product in found["products"].split("|")
    ]
    assert sorted(named) == sorted((known.vendor, known.product) for known in KNOWN if known.kind is Kind.MODEM)


def test_every_line_that_asks_for_a_vendor_is_one_that_the_other_test_reads() -> None:
    asking = [line for line in RULES.read_text().splitlines() if "idVendor" in line and not line.startswith("#")]
    assert asking == [line for line in asking if NAMES.fullmatch(line)]


def test_udev_finds_no_fault_in_it() -> None:
    udevadm = shutil.which("udevadm")
    if udevadm is None or int(subprocess.run([udevadm, "--version"], capture_output=True, check=True).stdout) < 254:
        pytest.skip("udevadm verify came with systemd 254")
    done = subprocess.run([udevadm, "verify", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
