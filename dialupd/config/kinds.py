"""The kinds of values that settings take: each says in words what it allows and reads what TOML gave.

`read` answers with the value or raises `Wrong`.  A `ValueError` inside means only "not of this kind": the message is
then made of what was found and of `what`, so every kind needs its words once, for the errors and for the reference.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from dialupd.at import dialstring
from dialupd.config.problems import SHOWN, Wrong, dotted, found, nearest, quoted
from dialupd.config.values import LoginStep

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=StrEnum)

LIST_LIMIT = 1000  # entries; more is a mistake, and every ring would walk through them
TEXT_LIMIT = 1024  # characters of any text
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:s|min|h|d) ?)+")
_DURATION_PART = re.compile(r"([0-9]{1,9})(s|min|h|d)")
LATER = "is not available in this version"
POOL_LIMIT = 4096  # addresses of one range; more modems than that hang on no machine
RADIUS_PORT = 1812
RADIUS_HOST = 64  # characters of a server's name that pppd's plugin compares
RADIUS_SERVERS = 4  # with more of them a caller would have hung up before the last one was asked
RADIUS_PORTS = 65534  # the one above is that of the accounting


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """`what` completes "… is not …", and stands in the reference."""

    what: str
    parse: Callable[[object], T_co]

    def read(self, value: object) -> T_co:
        try:
            return self.parse(value)
        except ValueError:
            raise Wrong(("", f"{found(value)} is not {self.what}")) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise ValueError
    return value


def text_like(what: str, pattern: str, change: Callable[[str], str] = str) -> Kind[str]:
    """Text that matches the pattern as a whole."""
    expression = re.compile(pattern, re.ASCII)

    def parse(value: object) -> str:
        text = _text(value)
        if not expression.fullmatch(text):
            raise ValueError
        return change(text)

    return Kind(what, parse)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def whole(low: int, high: int) -> Kind[int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Kind(f"a whole number from {low} to {high}", parse)


def one_of_numbers(*allowed: int) -> Kind[int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise ValueError
        return value

    return Kind("one of " + ", ".join(map(str, allowed)), parse)


def _packet(value: object) -> int:
    size = whole(0, 16384).parse(value)
    if 0 < size < 128:
        raise ValueError
    return size


def show_duration(seconds: float) -> str:
    """The shortest spelling in one unit: 600 is "10min"."""
    for unit in ("d", "h", "min"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds) // _UNITS[unit]}{unit}"
    return f"{int(seconds)}s"


def duration(low: float, high: float) -> Kind[float]:
    """Seconds as a float, from texts such as "90s", "10min" and "1h 30min"."""

    def parse(value: object) -> float:
        text = _text(value)
        if not _DURATION.fullmatch(text):
            raise ValueError
        seconds = float(sum(int(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text)))
        if not low <= seconds <= high:
            raise ValueError
        return seconds

    limits = f"from {show_duration(low)} to {show_duration(high)}"
    return Kind(f'a duration in s, min, h or d, such as "90s" or "10min", {limits}', parse)


def choice(options: type[E], hidden: tuple[str, ...] = (), later: tuple[str, ...] = (), hint: str = "") -> Kind[E]:
    """A word of the enumeration; `later` words are promised but not done yet, `hidden` ones are not for writing."""
    words = [str(option) for option in options if option not in hidden]

    def parse(value: object) -> E:
        if isinstance(value, str) and value in later:
            raise Wrong(("", f"{quoted(value)} {LATER}; allowed are {', '.join(words)}"))
        if not isinstance(value, str) or value not in words:
            near = nearest(value, words) if isinstance(value, str) else ""
            raise Wrong(("", f"{found(value)} is not one of {', '.join(words)}{hint}{near}"))
        return options(value)

    return Kind("one of " + ", ".join(words), parse)


def _items(value: object) -> list[object]:
    if not isinstance(value, list) or len(value) > LIST_LIMIT:
        raise ValueError
    return value


def list_of(kind: Kind[T], plural: str, *, least: int = 0) -> Kind[tuple[T, ...]]:
    """A list; every wrong entry is told, counted from 1."""

    def parse(value: object) -> tuple[T, ...]:
        items = _items(value)
        if len(items) < least:
            raise ValueError
        faults: list[tuple[str, str]] = []
        read: list[T] = []
        for place, item in enumerate(items, 1):
            try:
                read.append(kind.read(item))
            except Wrong as wrong:
                faults += [(f"[{place}]{where}", text) for where, text in wrong.faults]
        if faults:
            raise Wrong(*faults)
        return tuple(read)

    return Kind(("a list of " if not least else f"a list of at least {least} of ") + plural, parse)


def _number(value: object) -> str:
    text = _text(value)
    try:
        return dialstring.clean(text)
    except ValueError as error:
        raise Wrong(("", f"{quoted(text)} cannot be dialled: {error}")) from None


def _init(value: object) -> str:
    text = _text(value)
    if len(text) > 120 or not re.fullmatch(r"[Aa][Tt][ -~]*", text):
        raise ValueError
    return text


_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
PLACEHOLDERS = ("user", "password")


def _line(value: object) -> str:
    """What is expected of the far end, or sent to it."""
    text = _text(value)
    if not re.fullmatch(r"[ -~]{0,120}", text):
        raise ValueError
    return text


def _sent(value: object) -> str:
    """What is sent, before anything is put in."""
    text = _line(value)
    for word in _PLACEHOLDER.findall(text):
        if word not in PLACEHOLDERS:
            text = f"'{{{word[:SHOWN]}}}' is not {{user}} or {{password}}{nearest(word, PLACEHOLDERS)}"
            raise Wrong(("", text))
    return text


def _expected(value: object) -> tuple[str, ...]:
    """A text, or a list in which what is expected and what is sent in its absence alternate."""
    texts = tuple(_line(item) for item in (_items(value) if isinstance(value, list) else [value]))
    if len(texts) % 2 == 0:
        raise ValueError
    if not all(texts[::2]):
        raise Wrong(("", "expects an empty text, which comes at once"))
    for text in texts[1::2]:
        _sent(text)
    return texts


_STEP_KEYS = ("expect", "send", "timeout")


def _login_step(value: object) -> LoginStep:
    if not isinstance(value, dict):
        items = _items(value)
        if len(items) < 2:
            raise ValueError
        return LoginStep(_expected(items[:-1]), _sent(items[-1]))
    for key in value:
        if key not in _STEP_KEYS:
            raise Wrong(("." + dotted("", str(key)), f"is not a known key of a step{nearest(str(key), _STEP_KEYS)}"))
    if "expect" not in value or "send" not in value:
        raise ValueError
    timeout = duration(1, 600).read(value["timeout"]) if "timeout" in value else 0.0
    return LoginStep(_expected(value["expect"]), _sent(value["send"]), timeout)


def _login(value: object) -> tuple[LoginStep, ...] | None:
    """The steps; None for "auto"."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError
        return None
    return list_of(LOGIN_STEP, "steps").parse(value)


def _callback(value: object) -> tuple[tuple[str, str], ...]:
    """(user, number), by the user's name."""
    if not isinstance(value, dict) or not value or len(value) > LIST_LIMIT:
        raise ValueError
    faults: list[tuple[str, str]] = []
    read: list[tuple[str, str]] = []
    for user, number in value.items():
        try:
            read.append((USER_NAME.read(user), NUMBER.read(number)))
        except Wrong as wrong:
            faults += [("." + dotted("", str(user)) + where, text) for where, text in wrong.faults]
    if faults:
        raise Wrong(*faults)
    return tuple(sorted(read))


def _address(value: object) -> tuple[str, int]:
    """(host, port) from "host:port" or "[IPv6]:port"."""
    text = _text(value)
    parts = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})", text)
    if parts is None:
        raise ValueError
    host, port = parts[1] or parts[2], int(parts[3])
    if not 0 < port < 65536:
        raise ValueError
    if parts[1]:
        ipaddress.IPv6Address(host)
    return host, port


def _ipv4(value: object) -> str:
    return str(ipaddress.IPv4Address(_text(value)))


def _remote(value: object) -> tuple[str, str]:
    """(first, last) of a range, twice the same for one address."""
    first, dash, last = _text(value).partition("-")
    begin, end = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last if dash else first)
    if dash and not 0 < int(end) - int(begin) < POOL_LIMIT:
        raise Wrong(("", f"{quoted(_text(value))} is not a range from low to high of at most {POOL_LIMIT} addresses"))
    return str(begin), str(end)


def in_pool(address: str, pool: tuple[str, str]) -> bool:
    """Whether an address is one of the range."""
    first, last = map(ipaddress.IPv4Address, pool)
    return first <= ipaddress.IPv4Address(address) <= last


def _network(value: object) -> str:
    return str(ipaddress.ip_network(_text(value)))


def _radius_server(value: object) -> tuple[str, int]:
    """(host, port of the authentication)."""
    text = _text(value)
    host, port = _address(text if re.search(r"[]a-zA-Z0-9.-]:[0-9]+$", text) else f"{text}:{RADIUS_PORT}")
    if ":" in host:
        raise Wrong(("", f"{quoted(text)} is an IPv6 address; pppd's plugin asks servers by IPv4 only"))
    if len(host) > RADIUS_HOST or port > RADIUS_PORTS:
        raise ValueError
    return host, port


def _argument(value: object) -> str:
    text = _text(value)
    if not text.isprintable():
        raise ValueError
    return text


def _command(value: object) -> tuple[str, ...]:
    arguments = list_of(Kind("printable text", _argument), "texts").parse(value)
    if not arguments or not re.fullmatch(r"/[^\0]+", arguments[0]):
        raise ValueError
    return arguments


BOOLEAN = Kind("true or false", _boolean)
NAME = text_like(
    "a name (a letter or digit, then letters, digits, '.', '_' or '-', at most 64)", r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
)
PATH = text_like("an absolute path", r"/[^\x00-\x1f\x7f]{0,1000}")
HEX4 = text_like("four hex digits (0-9a-f), as lsusb prints them", r"[0-9A-Fa-f]{4}", str.lower)
HEX2 = text_like('two hex digits, such as "00"', r"[0-9A-Fa-f]{2}", str.lower)
COUNTRY = text_like('a T.35 country code, two hex digits such as "B5" (USA)', r"[0-9A-Fa-f]{2}", str.upper)
WORD = text_like("printable text without blanks", r"[!-~]{1,200}")
PRINTABLE = text_like("printable text", r"[ -~]{1,200}")
DEVICE_GLOB = text_like('a whole path such as "/dev/ttyS0", in which * and ? stand for others', r"/[!-~]{1,200}")
GLOB = text_like("a pattern of printable characters, in which * and ? stand for others", r"[!-~]{1,200}")
APN = text_like("an access point name (letters, digits, '.', '_' and '-')", r"[A-Za-z0-9._-]{1,100}")
BLUETOOTH_ADDRESS = text_like(
    'a Bluetooth address such as "00:11:22:33:44:55"', r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}", str.upper
)
NAME_GLOB = text_like("a name, in which * and ? stand for others", r"[^\x00-\x1f\x7f]{1,200}")
BEARER = text_like(
    'what follows AT+CBST=, such as "7,0,1" (9600 bit/s to an analogue modem) or "71,0,1" (to ISDN)',
    r"[0-9]{1,3}(?:,[0-9]){0,2}",
)
CALLER = text_like(
    'a number pattern (digits, letters, + # - . with * and ?) or "none" for calls without a number',
    r"none|[0-9A-Za-z+#*?.-]{1,64}",
)
DIAL_COMMAND = text_like(
    'a dial command that the number can follow, such as "ATDT" or "ATX3DP"',
    r"AT(?:[A-Z0-9&\\%$*#=,+ -]{0,40})D[TP]?[0-9*#,W@! ]{0,20}",
)
USER_NAME = text_like("a user's name", r"[a-z_][a-z0-9_-]{0,31}")
NUMBER = Kind("a number that can be dialled", _number)
INIT = Kind("a command that begins with AT, printable, of at most 120 characters", _init)
HEARD = text_like("printable text of 1 to 120 characters", r"[ -~]{1,120}")
LOGIN_STEP = Kind('a step such as ["ogin:", "{user}"] or { expect = "ogin:", send = "{user}" }', _login_step)
LOGIN = Kind('"auto" or a list of steps such as ["ogin:", "{user}"]', _login)
CALLBACK = Kind('a table of users and numbers that can be dialled, such as { alice = "5551212" }', _callback)
TERMINAL = text_like('a type of terminal, such as "vt100"', r"[A-Za-z0-9][A-Za-z0-9+._-]{0,31}")
PACKET = Kind("a whole number from 128 to 16384, or 0", _packet)
NETWORK = Kind('a network such as "10.0.0.0/8" or "2001:db8::/32"', _network)
RADIUS_SERVER = Kind('a host with its port, such as "10.0.0.1:1812" (the port may be left out)', _radius_server)
ADDRESS = Kind('"host:port" or "[IPv6 address]:port"', _address)
IPV4 = Kind("an IPv4 address", _ipv4)
REMOTE = Kind('an IPv4 address, or a range of them such as "172.16.1.10-172.16.1.20"', _remote)
ARGUMENT = Kind("printable text", _argument)
COMMAND = Kind("a list of texts that begins with the program's absolute path", _command)
