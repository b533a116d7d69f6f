"""What a `[[modem]]` says of Bluetooth must be about a phone, and about one that there can be."""

from __future__ import annotations

from collections.abc import Mapping

from dialupd.config import settings as s
from dialupd.config.problems import quoted
from dialupd.config.reader import Reader
from dialupd.config.values import Match, Mode, ModemEntry, Policy
from dialupd.radio import Service

_PHONES = (s.BLUETOOTH_ADDRESS, s.BLUETOOTH_NAME, s.BLUETOOTH_CLASS)
_USB = (s.VENDOR, s.PRODUCT, s.SERIAL, s.INTERFACE)


def check_match(r: Reader, match: Match) -> None:
    """Tell what no device can show at once."""
    asked = [setting.key for setting in _PHONES if r.has(setting)]
    if asked:
        for setting in _USB:
            if r.has(setting):
                r.tell(setting, f"is a USB device's, and {asked[0]} a Bluetooth phone's; no device has both")
        if match.bus not in ("", "bluetooth"):
            r.tell(s.BUS, f'must be "bluetooth" beside {asked[0]}, or be left out')
    if match.device:
        if not match.device.startswith("/dev/rfcomm"):
            wrong = asked
        else:  # the kernel tells the address of the phone that such a port leads to
            wrong = [key for key in asked if key != s.BLUETOOTH_ADDRESS.key]
        if wrong:
            r.tell(s.DEVICE, f"is a node, and {wrong[0]} a Bluetooth phone's, which has none; take one of the two out")
    elif match.driver in (Service.DIAL_UP, Service.SERIAL) and not match.phones:
        r.tell(
            s.DRIVER,
            f'{quoted(match.driver)} is a Bluetooth phone\'s; say which: address, name, class, or bus = "bluetooth"',
        )


def check_modem(r: Reader, entry: ModemEntry, policies: Mapping[str, Policy]) -> None:
    """Tell what has no effect on such a modem."""
    if entry.match.phones:
        for line in (s.SPEED, s.FLOW):
            if r.has(line):
                r.tell(line, "has no effect on a Bluetooth phone, whose line is no serial port; take it out")
    if not entry.match.by_radio:
        for setting in (s.KEEP_CONNECTED, s.DISCONNECT_AFTER):
            if r.has(setting):
                text = "has an effect only on a Bluetooth phone; match.address, match.name or match.class say which"
                r.tell(setting, text)
    elif entry.keep_connected and r.has(s.DISCONNECT_AFTER):
        r.tell(s.DISCONNECT_AFTER, "has no effect beside keep-connected = true")
    elif not entry.keep_connected and entry.policy in policies and policies[entry.policy].mode is Mode.ANSWER:
        text = f"{quoted(entry.policy)} answers calls, and a phone rings here only with keep-connected = true; add that"
        r.tell(s.MODEM_POLICY, text)
