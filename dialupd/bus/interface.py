"""The interface XML, which is the truth about what stands on the bus.

`load` reads a file of `bus/xml` into an `Interface`: what the service checks calls against, encodes properties and
signals by, and shows to those who introspect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Final
from xml.etree import ElementTree

ACTION_ANNOTATION: Final = "org.dialupd1.Action"
_EMITS_ANNOTATION: Final = "org.freedesktop.DBus.Property.EmitsChangedSignal"

DOCTYPE: Final = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


class Emits(StrEnum):
    """What PropertiesChanged says of a property."""

    VALUE = "true"
    NEVER = "false"
    CONST = "const"


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    signature: str


@dataclass(frozen=True, slots=True)
class MethodSpec:
    name: str
    arguments: tuple[Argument, ...]
    results: tuple[Argument, ...]
    action: str

    @property
    def signature(self) -> str:
        return "".join(item.signature for item in self.arguments)

    @property
    def result_signature(self) -> str:
        return "".join(item.signature for item in self.results)


@dataclass(frozen=True, slots=True)
class SignalSpec:
    name: str
    arguments: tuple[Argument, ...]

    @property
    def signature(self) -> str:
        return "".join(item.signature for item in self.arguments)


@dataclass(frozen=True, slots=True)
class PropertySpec:
    name: str
    signature: str
    emits: Emits


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    methods: Mapping[str, MethodSpec]
    signals: Mapping[str, SignalSpec]
    properties: Mapping[str, PropertySpec]
    xml: str


def load(name: str) -> Interface:
    """The interface of that name, from the package's own XML."""
    text = (files("dialupd.bus") / "xml" / f"{name}.xml").read_text(encoding="utf-8")
    element = ElementTree.fromstring(text).find("interface")  # noqa: S314 -- our own file
    if element is None or element.get("name") != name:
        raise ValueError(f"{name}.xml does not hold the interface {name}")
    return _parse(element)


def parse_many(text: str) -> list[Interface]:
    """All interfaces of an introspection answer or of a fragment like it."""
    return [_parse(element) for element in ElementTree.fromstring(text).iter("interface")]  # noqa: S314 -- our own


def _parse(element: ElementTree.Element) -> Interface:
    ElementTree.indent(element, "  ", level=1)
    element.tail = None
    return Interface(
        name=element.attrib["name"],
        methods={item.name: item for item in map(_method, element.findall("method"))},
        signals={
            item.attrib["name"]: SignalSpec(item.attrib["name"], _arguments(item.findall("arg")))
            for item in element.findall("signal")
        },
        properties={item.name: item for item in map(_property, element.findall("property"))},
        xml=f"  {ElementTree.tostring(element, encoding='unicode')}\n",
    )


def _annotation(element: ElementTree.Element, name: str, default: str = "") -> str:
    for item in element.findall("annotation"):
        if item.get("name") == name:
            return item.attrib["value"]
    return default


def _arguments(elements: Iterable[ElementTree.Element]) -> tuple[Argument, ...]:
    return tuple(Argument(item.get("name", ""), item.attrib["type"]) for item in elements)


def _method(element: ElementTree.Element) -> MethodSpec:
    arguments = element.findall("arg")
    return MethodSpec(
        name=element.attrib["name"],
        arguments=_arguments(item for item in arguments if item.get("direction", "in") == "in"),
        results=_arguments(item for item in arguments if item.get("direction") == "out"),
        action=_annotation(element, ACTION_ANNOTATION),
    )


def _property(element: ElementTree.Element) -> PropertySpec:
    emits = Emits(_annotation(element, _EMITS_ANNOTATION, Emits.VALUE))
    return PropertySpec(element.attrib["name"], element.attrib["type"], emits)


def node_xml(interfaces: Iterable[Interface], children: Iterable[str]) -> str:
    """What Introspect answers."""
    parts = [DOCTYPE, "<node>\n"]
    parts += [interface.xml for interface in interfaces]
    # An element of an object path has letters, digits and _ only, so there is nothing to escape.
    parts += [f'  <node name="{child}"/>\n' for child in children]
    parts.append("</node>\n")
    return "".join(parts)


_STANDARD: Final = """
<node>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId"><arg name="machine_uuid" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect"><arg name="xml_data" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
</node>
"""

PEER: Final = "org.freedesktop.DBus.Peer"
INTROSPECTABLE: Final = "org.freedesktop.DBus.Introspectable"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"


def standard() -> dict[str, Interface]:
    """The interfaces of the specification, by name."""
    return {interface.name: interface for interface in parse_many(_STANDARD)}
