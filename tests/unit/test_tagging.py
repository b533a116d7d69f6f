"""Rules of udev out of the configuration: what they say, and that no value says more than itself."""

from __future__ import annotations

import ctypes
import fnmatch
import random
import re

import pytest

from dialupd.config.values import Config, Daemon, Match, ModemEntry
from dialupd.model import DeviceClass
from dialupd.tagging import exactly, glob, rules

LIBC = ctypes.CDLL(None)
# A key, how it is asked or given, and a value in one of udev's two spellings.
TERM = r'([A-Z]+)(?:\{[A-Za-z_]+\})?(?:==|!=|=|\+=)(?:"[^"\\]*"|e"(?:[^"\\]|\\x[0-9a-f]{2})*")'
RULE = re.compile(f"{TERM}(?:, {TERM})*")
HOSTILE = (
    'A"',
    "A\\",
    'A\\"',
    '", RUN+="/bin/sh -c true',
    '"\nRUN+="/bin/true',
    "a\nb",
    "a|b",
    "|",
    "a*",
    "?",
    "[a",
    "[a]",
    "[!a]",
    "$env{PATH}",
    "%k",
    "#",
    "é",
    "\\x22",
)
EVERY_LETTER = [chr(number) for number in range(0x20, 0x7F)]


def rules_of(*matches: Match, usbserial: bool = False, unknown: bool = False) -> str:
    entries = tuple(ModemEntry(match=match, usbserial=usbserial) for match in matches)
    return rules(Config(daemon=Daemon(probe_unknown=unknown), modems=entries))


def the_rules(text: str, label: str) -> list[str]:
    """The terms of the rules that lead to a label, in order."""
    return re.findall(rf'^(?:(.+), )?GOTO="dialupd_{label}"$', text, re.MULTILINE)


def udev_fits(pattern: str, name: str) -> bool:
    """What udev does with a value: alternatives between bars, patterns where one of *?[ stands in them."""
    for one in pattern.split("|"):
        if not set("*?[") & set(one):
            if one == name:
                return True
        elif LIBC.fnmatch(one.encode(), name.encode(), 0) == 0:
            return True
    return False


def test_nothing_is_ours_without_a_configuration() -> None:
    assert the_rules(rules(Config()), "ours") == []
    assert the_rules(rules(Config()), "awaited") == []


def test_a_whole_device_is_marked_with_all_its_ports() -> None:
    assert the_rules(rules_of(Match(vendor="0421", product="0405", serial="A 1")), "ours") == [
        'ATTRS{idVendor}=="0421", ATTRS{idProduct}=="0405", ATTRS{serial}=="A 1", ATTRS{bDeviceClass}!="09"',
        'ATTR{idVendor}=="0421", ATTR{idProduct}=="0405", ATTR{serial}=="A 1"',
    ]


@pytest.mark.parametrize(
    ("asked", "term"),
    [
        ({"interface": "02"}, 'ENV{ID_USB_INTERFACE_NUM}=="02"'),
        ({"driver": "option"}, 'ENV{ID_USB_DRIVER}=="option"'),
        ({"path": "pci-*-usb-0:?:1.0"}, 'ENV{ID_PATH}=="pci-*-usb-0:?:1.0"'),
        ({"device": "/dev/ttyUSB?"}, 'ENV{DEVNAME}=="/dev/ttyUSB?"'),
    ],
)
def test_of_a_device_with_several_ports_only_those_that_fit_are_marked(asked: dict[str, str], term: str) -> None:
    assert the_rules(rules_of(Match(vendor="12d1", **asked)), "ours") == [
        f'ATTRS{{idVendor}}=="12d1", ATTRS{{bDeviceClass}}!="09", {term}'
    ]


def test_a_port_that_is_not_on_usb() -> None:
    assert the_rules(rules_of(Match(bus="pnp", driver="serial")), "ours") == ['SUBSYSTEMS=="pnp", DRIVERS=="serial"']


def test_a_bus_alone_is_every_port_on_it_and_no_other_device() -> None:
    assert the_rules(rules_of(Match(bus="usb")), "ours") == [""]
    assert the_rules(rules_of(Match(bus="tty")), "ours") == []


def test_a_link_is_as_good_as_the_name_of_the_node() -> None:
    node, link = 'ENV{DEVNAME}=="/dev/serial/by-id/x"', 'SYMLINK=="serial/by-id/x"'
    assert the_rules(rules_of(Match(device="/dev/serial/by-id/x")), "ours") == [node, link, node, link]


def test_a_port_named_whole_is_marked_wherever_it_hangs() -> None:
    before, behind = rules_of(Match(device="/dev/rfcomm0"), Match(device="/dev/ttyS*")).split('DEVPATH=="/devices/v')
    assert the_rules(before, "ours") == ['ENV{DEVNAME}=="/dev/rfcomm0"', 'SYMLINK=="rfcomm0"']
    assert the_rules(behind, "ours")[0] == 'ENV{DEVNAME}=="/dev/ttyS*"'


@pytest.mark.parametrize(
    "match",
    [
        Match(address="00:11:22:33:44:55"),
        Match(name="Nokia *"),
        Match(device_class=DeviceClass.PHONE),
        Match(bus="bluetooth"),
        Match(vendor="0421", address="00:11:22:33:44:55"),
        Match(device="/dev/ttyACM0", name="*"),
    ],
)
def test_what_bluetoothd_alone_knows_makes_no_rule(match: Match) -> None:
    assert rules_of(match) == rules_of()


def test_a_bluetooth_tty_that_is_named_is_marked_with_its_link_up_and_down() -> None:
    before, _ = rules_of(Match(bus="bluetooth", device="/dev/rfcomm0", address="00:11:22:33:44:55")).split(
        'DEVPATH=="/devices/v'
    )
    address = 'ATTR{address}=="00:11:22:33:44:55"'
    assert the_rules(before, "ours") == [
        f'{address}, ENV{{DEVNAME}}=="/dev/rfcomm0"',
        f'{address}, SYMLINK=="rfcomm0"',
    ]


def test_a_device_without_driver_is_told_to_systemd_but_not_taken_from_modemmanager() -> None:
    text = rules_of(Match(vendor="0421", product="0405", interface="01", path="pci-*"), usbserial=True)
    assert the_rules(text, "awaited") == ['ATTR{idVendor}=="0421", ATTR{idProduct}=="0405", ENV{ID_PATH}=="pci-*"']
    ours, awaited = text.split('\nLABEL="dialupd_ours"\n')[1].split('LABEL="dialupd_awaited"\n')
    assert ours == 'ENV{ID_MM_DEVICE_IGNORE}="1"\n'
    assert awaited.splitlines()[0] == (
        'TAG+="dialupd", TAG+="systemd", ENV{SYSTEMD_WANTS}+="dialupd-modem.target", ENV{DIALUPD_CONFIGURED}="1"'
    )


def test_the_same_match_makes_one_rule() -> None:
    once = rules_of(Match(vendor="0572"))
    assert rules_of(Match(vendor="0572"), Match(vendor="0572")) == once


def test_probing_marks_what_may_be_looked_at() -> None:
    text = rules_of(Match(vendor="067b"), unknown=True)
    usb = text.split('LABEL="dialupd_usb_port"\n')[1].split("LABEL")[0].splitlines()
    named = usb.index('ATTRS{idVendor}=="067b", ATTRS{bDeviceClass}!="09", GOTO="dialupd_ours"')
    cable = usb.index(
        'ATTRS{idVendor}=="067b", ATTRS{idProduct}=="2303", ATTRS{bDeviceClass}!="09", GOTO="dialupd_end"'
    )
    soft = usb.index('ATTRS{idVendor}=="0fca", ATTRS{bDeviceClass}!="09", GOTO="dialupd_end"')
    driver = usb.index('ENV{ID_USB_DRIVER}=="ch341|ch341-uart|cp210x|ftdi_sio|pl2303", GOTO="dialupd_end"')
    every = usb.index('GOTO="dialupd_ours"')
    assert named < min(cable, soft, driver) < max(cable, soft, driver) < every
    assert 'GOTO="dialupd_ours"\n\nLABEL="dialupd_usb_port"' in text, "ports that are not on USB"


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["vendor", "serial", "interface", "driver", "path", "bus", "device"])
def test_no_value_ends_a_rule_or_begins_one(name: str, text: str) -> None:
    for usbserial in (False, True):
        for line in rules_of(Match(**{name: text}), usbserial=usbserial).splitlines():
            assert not line or line.startswith("# Made from") or RULE.fullmatch(line), line
            assert not set(re.findall(TERM, line)) & {"RUN", "PROGRAM", "IMPORT"}, line


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.isascii()])
def test_an_exact_value_fits_itself_alone(text: str) -> None:
    pattern = exactly(text)
    assert udev_fits(pattern, text)
    for place in range(len(text)):
        for letter in EVERY_LETTER:
            other = text[:place] + letter + text[place + 1 :]
            assert udev_fits(pattern, other) == (other == text), (pattern, other)
    assert not udev_fits(pattern, text + "x")
    assert not udev_fits(pattern, "")


@pytest.mark.parametrize(
    "pattern",
    [
        "*", "?", "a*", "[a-c]x", "[!a-c]", "[]a]", "[!]a]", "[", "a[", "[]", "[!", "[a", "a|b", "[|]", "[!|]", "[{-}]",
        "[z-a]", "[!z-a]", "[^a]", "[a^]", "[a-]", "[-a]", "[\\a]", "\\*", "\\[a]", "[[:alpha:]]", "[[.a.]]", "[a]b]",
        "a\\", "[!-~]", "[ -~]", "[*]", "[?]", "[[]", "pci-0000:??:1[0-9].?-usb-*:1.[!1]",
    ],
)  # fmt: skip
def test_a_pattern_fits_what_it_fits_in_the_configuration(pattern: str) -> None:
    check(pattern, [*EVERY_LETTER, "", *(a + b for a in EVERY_LETTER for b in "ax]*\\|b")])


def test_random_patterns_fit_alike() -> None:
    dice = random.Random(1)
    for _ in range(3000):
        pattern = "".join(dice.choices("ab-]![^|\\*?{}", k=dice.randint(1, 8)))
        names = ["".join(dice.choices("ab-]![^|\\*?{}", k=dice.randint(0, 5))) for _ in range(20)]
        check(pattern, names)


def check(pattern: str, names: list[str]) -> None:
    translated = glob(pattern)
    for name in names:
        wanted = fnmatch.fnmatchcase(name, pattern)
        assert udev_fits(translated, name) == wanted, f"{pattern!r} as {translated!r} on {name!r}"
