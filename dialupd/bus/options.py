"""Option dictionaries, a{sv} with kebab-case keys.

A key that is not known or has another type is an error that names the key, what came and what is allowed: a misspelt
option that is silently ignored would dial with the wrong settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from dialupd.bus.values import modem_id
from dialupd.bus.wire import Variant
from dialupd.model import DialOptions, DialupError, ErrorKind, HistoryFilter

# More rows would block the loop for a noticeable time while they are encoded.
MAX_ROWS: Final = 1000

_DIAL: Final = {"session": "s", "policy": "s", "timeout": "u", "reverse": "b", "modulation": "s"}
_ANSWER: Final = {key: signature for key, signature in _DIAL.items() if key != "reverse"}
_HISTORY: Final = {
    "since": "t",
    "until": "t",
    "modem": "s",
    "policy": "s",
    "number": "s",
    "direction": "s",
    "limit": "u",
}
_WORDS: Final = {
    "s": "a string",
    "b": "a boolean",
    "u": "an unsigned 32-bit number",
    "t": "an unsigned 64-bit number",
}
_DIRECTIONS: Final = ("", "incoming", "outgoing")
_SHOWN: Final = 40


def _wrong(text: str) -> DialupError:
    return DialupError(ErrorKind.INVALID_ARGS, text)


def _checked(given: Mapping[str, Variant], allowed: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, variant in given.items():
        signature = allowed.get(key)
        if signature is None:
            near = get_close_matches(key[:_SHOWN], allowed, 1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            known = ", ".join(f"{name} {kind}" for name, kind in allowed.items())
            shown = ascii(key[:_SHOWN])[1:-1]
            raise _wrong(f'unknown option "{shown}"{hint}; allowed are {known}')
        if variant.signature != signature:
            found, wanted = variant.signature, f"{signature}, {_WORDS[signature]}"
            raise _wrong(f'option "{key}" has the type {found}; it must be {wanted}')
        values[key] = variant.value
    return values


def dial_options(given: Mapping[str, Variant]) -> DialOptions:
    return _dial_options(_checked(given, _DIAL))


def answer_options(given: Mapping[str, Variant]) -> DialOptions:
    return _dial_options(_checked(given, _ANSWER))


def _dial_options(values: dict[str, Any]) -> DialOptions:
    if values.get("timeout") == 0:
        raise _wrong('option "timeout" is 0; it must be at least 1 second')
    return DialOptions(**values)


def history_filter(given: Mapping[str, Variant]) -> HistoryFilter:
    values = _checked(given, _HISTORY)
    if values.get("direction", "") not in _DIRECTIONS:
        raise _wrong('option "direction" must be "incoming", "outgoing" or ""')
    values["modem"] = modem_id(values.get("modem", ""))
    values["limit"] = min(values.get("limit") or MAX_ROWS, MAX_ROWS)
    return HistoryFilter(**values)
