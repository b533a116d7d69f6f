"""The configuration as rules of udev: which devices systemd starts dialupd for, and ModemManager keeps off.

`rules` says with udev's words what `match` decides about a device, and errs where udev has no words for it:

- A serial number that a device gives with blanks before it is another one to udev; then the rule does not fit.
- Of a port that is not on USB, udev asks all that the port hangs on for bus and driver, not the nearest alone; then
  the rule may fit where the entry does not.
- A path that is a link counts where a rule numbered below this file has made it, as udev's own are.

Where an entry asks for more than a whole USB device (an interface, a driver, a node, a place), only the ports that fit
are marked and ModemManager may have the others.  A device that is only awaited, since the generic driver is to be bound
to it first, is told to systemd alone.  Of what a radio link leads to, only a tty (/dev/rfcommN) that an entry names is
marked; the phones themselves are bluetoothd's, and udev knows nothing of them.  With `probe-unknown` every port is
marked that may be looked at.

Every value is written so that udev takes it for itself: nothing in it ends the rule, begins an alternative, or is a
pattern that the entry does not mean.  In what is matched udev substitutes nothing.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from dialupd.config.values import Config, Match, ModemEntry
from dialupd.match import CABLE_DRIVERS, KNOWN, Kind

CONFIGURED = "DIALUPD_CONFIGURED"
"""The property by which udev shows that a rule of the configuration fitted a device."""

_TO_SYSTEMD = f'TAG+="dialupd", TAG+="systemd", ENV{{SYSTEMD_WANTS}}+="dialupd-modem.target", ENV{{{CONFIGURED}}}="1"\n'
_FROM_MODEM_MANAGER = 'ENV{ID_MM_DEVICE_IGNORE}="1"\n'

_HEAD = """\
# Made from dialupd's configuration whenever dialupd reads it: a change of this file is lost.
ACTION=="remove", GOTO="dialupd_end"
SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{bDeviceClass}!="09", GOTO="dialupd_device"
SUBSYSTEM!="tty", GOTO="dialupd_end"
SUBSYSTEMS=="usb", GOTO="dialupd_usb_port"

"""
# What `io.describe` takes for no port, unless an entry names it whole.
_NO_PORTS = """\
DEVPATH=="/devices/virtual/*", GOTO="dialupd_end"
KERNEL=="rfcomm*|ttyGS*|ttyDBC*", GOTO="dialupd_end"
ATTR{type}=="0", GOTO="dialupd_end"
"""
_END = 'GOTO="dialupd_end"\n'

# Above a device on USB there are only hubs; so this is the device itself, and none of those.
_NO_HUB = 'ATTRS{bDeviceClass}!="09"'

_PRINTABLE = tuple(map(chr, range(0x20, 0x7F)))
_WILD = frozenset("*?[")


def rules(config: Config) -> str:
    """The whole file."""
    entries = [entry for entry in config.modems if _of_udev(entry.match)]
    unknown = config.daemon.probe_unknown
    return "".join(
        (
            _HEAD,
            *_ours(terms for entry in entries if _names_node(entry.match) for terms in _port(entry.match)),
            _NO_PORTS,
            *_ours(terms for entry in entries if not _names_node(entry.match) for terms in _port(entry.match)),
            'GOTO="dialupd_ours"\n' if unknown else _END,
            '\nLABEL="dialupd_usb_port"\n',
            *_ours(terms for entry in entries for terms in _usb_port(entry.match)),
            *(_unknown_usb_ports() if unknown else (_END,)),
            '\nLABEL="dialupd_device"\n',
            *_ours(terms for entry in entries for terms in _device(entry.match)),
            *_going_to("awaited", (terms for entry in entries for terms in _awaited(entry))),
            _END,
            '\nLABEL="dialupd_ours"\n',
            _FROM_MODEM_MANAGER,
            'LABEL="dialupd_awaited"\n',
            _TO_SYSTEMD,
            '\nLABEL="dialupd_end"\n',
        )
    )


def _of_udev(match: Match) -> bool:
    """Whether udev knows what it asks for: only bluetoothd knows a phone, and what it is called."""
    return not (match.phones or match.name or match.device_class)


def _names_node(match: Match) -> bool:
    """Whether it names one node, or a link to one, by its whole path."""
    return bool(match.device) and not _WILD & set(match.device)


def _ours(found: Iterable[list[str]]) -> Iterable[str]:
    return _going_to("ours", found)


def _going_to(label: str, found: Iterable[list[str]]) -> Iterable[str]:
    """A rule for each list of terms; the same one only once."""
    return dict.fromkeys(", ".join((*terms, f'GOTO="dialupd_{label}"\n')) for terms in found)


def _port(match: Match) -> Iterable[list[str]]:
    """A port that is not on USB."""
    of_usb = (match.vendor, match.product, match.serial, match.interface)
    # A Bluetooth tty hangs on nothing while its link is down.
    bus = match.bus if match.bus != "bluetooth" else ""
    # The kernel's own layers between a port and its bus are no bus.
    if any(of_usb) or match.bus in ("usb", "tty", "serial-base", "serial", "usb-serial"):
        return ()
    # Both in one rule are asked of one and the same parent.
    address = _is("ATTR{address}", match.address)
    return _with_node(match, [*_is("SUBSYSTEMS", bus), *_is("DRIVERS", match.driver), *_path(match), *address])


def _usb_port(match: Match) -> Iterable[list[str]]:
    if match.bus not in ("", "usb") or match.address:
        return ()
    interface = [*_is("ENV{ID_USB_INTERFACE_NUM}", match.interface), *_is("ENV{ID_USB_DRIVER}", match.driver)]
    return _with_node(match, [*_identity(match, "ATTRS"), *interface, *_path(match)])


def _device(match: Match) -> Iterable[list[str]]:
    """A whole USB device: all its ports fit."""
    if any((match.interface, match.driver, match.path, match.device, match.address)) or match.bus not in ("", "usb"):
        return
    if terms := _identity(match, "ATTR"):
        yield terms


def _awaited(entry: ModemEntry) -> Iterable[list[str]]:
    """What `match.binding` fits."""
    if entry.usbserial:
        yield [*_identity(entry.match, "ATTR"), *_path(entry.match)]


def _identity(match: Match, attribute: str) -> list[str]:
    """The terms on the USB device itself, by its attributes."""
    fields = (("idVendor", match.vendor), ("idProduct", match.product), ("serial", match.serial))
    terms = [term for name, value in fields for term in _is(f"{attribute}{{{name}}}", value)]
    return [*terms, _NO_HUB] if terms and attribute == "ATTRS" else terms


def _path(match: Match) -> list[str]:
    return [f"ENV{{ID_PATH}}=={_quoted(glob(match.path))}"] if match.path else []


def _with_node(match: Match, terms: list[str]) -> Iterable[list[str]]:
    """The terms with those on the node, if it is asked about; a link to it is as good as its name."""
    if not match.device:
        if terms or match.bus:
            yield terms
        return
    yield [*terms, f"ENV{{DEVNAME}}=={_quoted(glob(match.device))}"]
    if _names_node(match) and match.device.startswith("/dev/"):
        yield [*terms, *_is("SYMLINK", match.device.removeprefix("/dev/"))]


def _unknown_usb_ports() -> Iterable[str]:
    """Behind the entries: the ports that `match.wanted` would not look at, then all the others."""
    for known in KNOWN:
        if known.kind in (Kind.SOFT, Kind.CABLE):
            terms = [*_is("ATTRS{idVendor}", known.vendor), *_is("ATTRS{idProduct}", known.product), _NO_HUB]
            yield ", ".join((*terms, _END))
    yield f'ENV{{ID_USB_DRIVER}}=="{"|".join(sorted(CABLE_DRIVERS))}", {_END}'
    yield 'GOTO="dialupd_ours"\n'


def _is(key: str, value: str) -> list[str]:
    """The term that the key has exactly this value; none where nothing is asked."""
    return [f"{key}=={_quoted(exactly(value))}"] if value else []


def exactly(value: str) -> str:
    """The pattern of udev that fits this value alone."""
    wild = bool(_WILD & set(value)) or "|" in value
    return "".join(_literal(letter, wild) for letter in value)


def glob(pattern: str) -> str:
    """The pattern of udev that fits what Python's fnmatch fits."""
    parts: list[str] = []
    wild = bool(_WILD & set(pattern)) or "|" in pattern
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        end = _end_of_class(pattern, at) if letter == "[" else at + 1
        if letter == "[" and end > at + 1:
            parts.append(_class({one for one in _PRINTABLE if fnmatch.fnmatchcase(one, pattern[at:end])}))
        else:
            parts.append(letter if letter in "*?" else _literal(letter, wild))
        at = end
    return "".join(parts)


def _end_of_class(pattern: str, at: int) -> int:
    """Behind the class that begins here; behind the bracket alone where none ends it, as fnmatch has it."""
    first = at + 1
    if pattern[first : first + 1] == "!":
        first += 1
    end = pattern.find("]", first + 1)
    return end + 1 if end >= 0 else at + 1


def _literal(letter: str, wild: bool) -> str:
    # A bar separates alternatives wherever it stands, and nothing escapes it.
    if letter == "|":
        return _class({letter})
    return "\\" + letter if letter in _WILD or (wild and letter == "\\") else letter


def _class(letters: set[str]) -> str:
    """A class in brackets; with a bar among the letters it says which ones are not meant."""
    if len(letters) == len(_PRINTABLE):
        return "?"
    if "|" in letters:
        return f"[!{_members(set(_PRINTABLE) - letters)}]"
    # An empty class of Python's, such as [z-a], fits nothing; and no value has a line break.
    return f"[{_members(letters)}]" if letters else "\n"


def _members(letters: set[str]) -> str:
    """The letters in their order, three and more in a row as a range."""
    parts: list[str] = []
    row: list[str] = []
    for letter in _PRINTABLE:
        if letter in letters:
            row.append(_member(letter))
        if row and (letter not in letters or letter == _PRINTABLE[-1]):
            parts.append("".join(row) if len(row) < 3 else f"{row[0]}-{row[-1]}")
            row = []
    return "".join(parts)


def _member(letter: str) -> str:
    return letter if letter.isalnum() else "\\" + letter


def _quoted(pattern: str) -> str:
    """As a value of a rule; what is not plain goes as bytes in udev's escapes."""
    plain = set(_PRINTABLE) - set('"\\')
    if set(pattern) <= plain:
        return f'"{pattern}"'
    return 'e"' + "".join(c if c in plain else "".join(f"\\x{b:02x}" for b in c.encode()) for c in pattern) + '"'
