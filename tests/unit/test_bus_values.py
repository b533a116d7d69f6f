"""Views as properties, option dictionaries, and the XML against model and code."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from importlib.resources import files
from typing import Any

import pytest

from dialupd.bus.authority import Action
from dialupd.bus.interface import Emits, load
from dialupd.bus.objects import CallObject, ManagerObject, ModemObject
from dialupd.bus.options import MAX_ROWS, answer_options, dial_options, history_filter
from dialupd.bus.values import CALL, MANAGER, MODEM, ViewTable, call_path, modem_path, ring_info
from dialupd.bus.wire import Variant, signal, unwrap
from dialupd.model import (
    CallState,
    CallView,
    DialOptions,
    DialupError,
    Direction,
    EndReason,
    ErrorKind,
    HistoryFilter,
    ModemState,
    ModemView,
    SessionState,
    Transport,
)

MODEM_VIEW = ModemView("a", "b", Transport.SERIAL)
CALL_VIEW = CallView(1, "a", Direction.INCOMING)
OBJECTS = {MANAGER: ManagerObject, MODEM: ModemObject, CALL: CallObject}

# The contract: what must stand on the bus, written down a second time and on purpose.
CONTRACT = {
    MANAGER: {
        "methods": {
            "Reload": ("", ""),
            "Rescan": ("", ""),
            "Originate": ("sa{sv}", "o"),
            "Suspend": ("s", ""),
            "Resume": ("s", ""),
            "History": ("a{sv}", "aa{sv}"),
            "SetLogLevel": ("s", ""),
        },
        "signals": {},
        "properties": "Version s ConfigFile s ConfigError s Modems ao Calls ao Policies a(sss) Problems as",
    },
    MODEM: {
        "methods": {
            "Dial": ("sa{sv}", "o"),
            "Answer": ("a{sv}", "o"),
            "HangUp": ("", ""),
            "Reset": ("", ""),
            "Enable": ("", ""),
            "Disable": ("", ""),
            "SetPolicy": ("s", ""),
            "Command": ("su", "sas"),
            "Inhibit": ("ss", "h"),
        },
        "signals": {"StateChanged": "sss", "Ringing": "a{sv}"},
        "properties": (
            "Id s Name s Transport s Device s SysPath s Driver s VendorId s ProductId s Serial s Address s "
            "Manufacturer s Model s Firmware s Capabilities as Modulations as Signal i Battery i "
            "State s StateReason s StateSince t Policy s Call o Rings u CallerId s Attempts u NextAttempt t"
        ),
    },
    CALL: {
        "methods": {"HangUp": ("", ""), "Open": ("", "h")},
        "signals": {"StateChanged": "sss"},
        "properties": (
            "Modem o Direction s Number s CallerId s CallerName s Policy s Session s State s SessionState s "
            "EndReason s StartTime t ConnectTime t EndTime t LineRate u PortRate u Modulation s "
            "ErrorControl s Compression s Interface s LocalAddress s RemoteAddress s Dns as RxBytes t TxBytes t"
        ),
    },
}


@pytest.mark.parametrize("name", CONTRACT)
def test_the_xml_is_the_contract(name: str) -> None:
    interface = load(name)
    contract: dict[str, Any] = CONTRACT[name]
    methods = {key: (spec.signature, spec.result_signature) for key, spec in interface.methods.items()}
    assert methods == contract["methods"]
    assert {key: spec.signature for key, spec in interface.signals.items()} == contract["signals"]
    words = contract["properties"].split()
    assert {key: spec.signature for key, spec in interface.properties.items()} == dict(
        zip(words[::2], words[1::2], strict=True)
    )


@pytest.mark.parametrize("name", CONTRACT)
def test_the_code_is_the_xml(name: str) -> None:
    interface = load(name)
    handlers = OBJECTS[name].handlers
    assert set(handlers) == set(interface.methods)
    for key, handler in handlers.items():
        spec = interface.methods[key]
        assert spec.action == handler.action, f"{name}.{key}: the XML names another action than the code"
        assert set(handler.details) <= {argument.name for argument in spec.arguments}
    assert all(argument.name for spec in interface.methods.values() for argument in spec.arguments + spec.results)


def test_every_action_is_needed_for_something() -> None:
    used = {handler.action for kind in OBJECTS.values() for handler in kind.handlers.values()}
    assert used == set(Action)


@pytest.mark.parametrize("name", CONTRACT)
def test_everything_is_documented(name: str) -> None:
    text = (files("dialupd.bus") / "xml" / f"{name}.xml").read_text(encoding="utf-8")
    pattern = r'<!--\s*(\w+):((?:(?!-->).)*)-->\s*<(?:method|signal|property) name="(\w+)"'
    documented = {match[3]: match[2] for match in re.finditer(pattern, text, re.DOTALL) if match[1] == match[3]}
    interface = load(name)
    assert set(documented) == {*interface.methods, *interface.signals, *interface.properties}
    for key, spec in {**interface.methods, **interface.signals}.items():
        arguments = list(spec.arguments) + list(getattr(spec, "results", ()))
        assert re.findall(r"@(\w+):", documented[key]) == [argument.name for argument in arguments]


@pytest.mark.parametrize("enumeration", [ModemState, CallState, SessionState, EndReason, Transport, ErrorKind])
def test_the_documentation_names_every_value(enumeration: type) -> None:
    text = " ".join((files("dialupd.bus") / "xml" / f"{name}.xml").read_text(encoding="utf-8") for name in CONTRACT)
    words = set(re.findall(r"[\w-]+", text))
    assert {str(value) for value in enumeration if value} <= words  # type: ignore[attr-defined]


def test_const_and_silent_properties() -> None:
    modem, call = load(MODEM).properties, load(CALL).properties
    const = {name for name, spec in modem.items() if spec.emits is Emits.CONST}
    expected = "Id Name Transport Device SysPath Driver VendorId ProductId Serial Address"
    assert const == set(expected.split())
    assert {name for name, spec in call.items() if spec.emits is Emits.NEVER} == {"RxBytes", "TxBytes"}


@pytest.mark.parametrize(("view", "name"), [(MODEM_VIEW, MODEM), (CALL_VIEW, CALL)])
def test_every_field_is_published(view: ModemView | CallView, name: str) -> None:
    table = ViewTable(type(view), load(name))
    properties = table.properties(view)
    published = {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower() for key in properties}
    # A call's number is the name of its object; the detail of its end is for the log alone.
    assert {item.name for item in fields(view)} - published == ({"call", "detail"} if name == CALL else set())
    assert set(table.row(view)) == {key.replace("_", "-") for key in published}


def test_a_property_without_a_field_is_found_at_start() -> None:
    with pytest.raises(ValueError, match="has no field"):
        ViewTable(CallView, load(MODEM))


def test_only_what_changed_is_told() -> None:
    table = ViewTable(ModemView, load(MODEM))
    new = replace(MODEM_VIEW, state=ModemState.READY, call=3, capabilities=("data",))
    assert unwrap(table.changes(MODEM_VIEW, new)) == {
        "State": "ready",
        "Call": "/org/dialupd1/call/3",
        "Capabilities": ["data"],
    }
    assert not table.is_another(MODEM_VIEW, new)
    assert table.is_another(MODEM_VIEW, replace(MODEM_VIEW, device="/dev/ttyS0"))
    calls = ViewTable(CallView, load(CALL))
    assert calls.changes(CALL_VIEW, replace(CALL_VIEW, rx_bytes=5)) == {}


def test_any_view_can_be_sent() -> None:
    hostile = replace(
        MODEM_VIEW,
        manufacturer="a\0b\udcff",
        rings=-1,
        signal=-1 << 40,
        battery=1 << 40,
        attempts=1 << 40,
        next_attempt=1 << 70,
        capabilities=("\0",),
    )
    properties = ViewTable(ModemView, load(MODEM)).properties(hostile)
    assert unwrap(properties)["Rings"] == 0
    assert (unwrap(properties)["Signal"], unwrap(properties)["Battery"]) == (-0x80000000, 0x7FFFFFFF)
    assert unwrap(properties)["Attempts"] == 0xFFFFFFFF
    message = signal("/a", "a.b", "C", "a{sv}", [properties])
    assert message._marshall()
    assert unwrap(ring_info({"rings": 2, "caller-id": "+1555"})) == {"rings": 2, "caller-id": "+1555"}
    assert ring_info({"rings": -5})["rings"] == Variant("u", 0)


def test_paths() -> None:
    assert modem_path("abc_1") == "/org/dialupd1/modem/abc_1"
    assert modem_path("1-2.3/é\n") == "/org/dialupd1/modem/1_2d2_2e3_2f_c3_a9_0a"
    assert modem_path("") == "/org/dialupd1/modem/_"
    assert call_path(0) == "/"
    assert call_path(12) == "/org/dialupd1/call/12"


def test_options() -> None:
    given = {
        "session": Variant("s", "x"),
        "policy": Variant("s", "p"),
        "timeout": Variant("u", 30),
        "reverse": Variant("b", True),
        "modulation": Variant("s", "V34"),
    }
    assert dial_options(given) == DialOptions("x", "p", 30, True, "V34")
    assert dial_options({}) == DialOptions()
    filled = {
        "since": Variant("t", 1),
        "until": Variant("t", 2),
        "modem": Variant("s", "m"),
        "policy": Variant("s", "p"),
        "number": Variant("s", "n"),
        "direction": Variant("s", "incoming"),
        "limit": Variant("u", 3),
    }
    assert history_filter(filled) == HistoryFilter(1, 2, "m", "p", "n", "incoming", 3)
    assert history_filter({"modem": Variant("s", modem_path("usb_1_2"))}).modem == "usb_1_2"
    assert history_filter({}).modem == ""
    assert history_filter({}).limit == MAX_ROWS
    assert history_filter({"limit": Variant("u", 10**6)}).limit == MAX_ROWS


@pytest.mark.parametrize(
    ("parse", "given", "words"),
    [
        (dial_options, {"sesion": Variant("s", "x")}, ['"sesion"', '"session"', "timeout u"]),
        (dial_options, {"timeout": Variant("i", 3)}, ['"timeout"', "type i", "u, an unsigned"]),
        (dial_options, {"timeout": Variant("u", 0)}, ['"timeout"', "at least 1"]),
        (dial_options, {"reverse": Variant("u", 1)}, ['"reverse"', "b, a boolean"]),
        (dial_options, {"\0\n" + "x" * 500: Variant("u", 1)}, ['"\\x00\\nxxx']),
        (answer_options, {"reverse": Variant("b", True)}, ['"reverse"', "session s"]),
        (history_filter, {"since": Variant("u", 1)}, ['"since"', "type u", "t, an unsigned 64"]),
        (history_filter, {"direction": Variant("s", "up")}, ['"direction"', '"outgoing"']),
    ],
)
def test_wrong_options(parse: Any, given: dict[str, Variant], words: list[str]) -> None:
    with pytest.raises(DialupError) as caught:
        parse(given)
    assert caught.value.kind is ErrorKind.INVALID_ARGS
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value)) < 300
