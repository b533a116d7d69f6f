"""The udev rule names the same analogue modems as the table of known numbers."""

from __future__ import annotations

import re
from pathlib import Path

from dialupd.match import KNOWN, Kind

RULES = Path(__file__).parents[2] / "udev" / "70-dialupd.rules"
NAMES = re.compile(
    r'ATTRS\{idVendor\}=="(?P<vendor>[0-9a-f]{4})", ATTRS\{idProduct\}=="(?P<products>[0-9a-f|]+)", '
    r'TAG\+="dialupd", ENV\{ID_MM_DEVICE_IGNORE\}="1"'
)


def test_the_rule_names_every_known_modem_and_nothing_else() -> None:
    named = [
        (found["vendor"], product)
        for line in RULES.read_text().splitlines()
        if (found := NAMES.fullmatch(line))
        for product in found["products"].split("|")
    ]
    assert sorted(named) == sorted((known.vendor, known.product) for known in KNOWN if known.kind is Kind.MODEM)
