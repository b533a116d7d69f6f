"""Which devices are ours."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from dialupd.config.values import Config, Daemon, Match, ModemEntry
from dialupd.match import KNOWN, Ignore, Kind, Unsupported, Wanted, binding, find, fits, known, wanted
from dialupd.model import Device, DeviceClass, Transport

RACK = Device(
    sys_path="/sys/devices/x/tty/ttyACM0",
    node="/dev/ttyACM0",
    transport=Transport.CDC_ACM,
    bus="usb",
    driver="cdc_acm",
    vendor="0572",
    product="1340",
    serial="12345678",
    interface="00",
    path="pci-0000:00:14.0-usb-0:2:1.0",
)
ALL_OF_RACK = Match("0572", "1340", "12345678", "00", "cdc_acm", "pci-*-usb-0:?:1.0", "usb", "/dev/ttyACM*")
NOBODY = Device(
    "/sys/x", "/dev/ttyUSB0", Transport.USB_SERIAL, bus="usb", vendor="1234", product="5678", driver="option"
)
NOKIA = Device(
    "bluetooth:00:11:22:33:44:55",
    "bluetooth:00:11:22:33:44:55",
    Transport.BLUETOOTH,
    bus="bluetooth",
    driver="dun",
    path="hci0",
    address="00:11:22:33:44:55",
    model="Nokia 6310i",
    device_class=DeviceClass.PHONE,
)
TTY = Device("/sys/class/tty/rfcomm0", "/dev/rfcomm0", Transport.BLUETOOTH, bus="bluetooth", address=NOKIA.address)
BARE = replace(RACK, node="", driver="", interface="")
PROBING = Config(daemon=Daemon(probe_unknown=True))


def test_every_field_that_is_given_must_fit() -> None:
    assert fits(ALL_OF_RACK, RACK)
    for field in fields(Match):
        if not getattr(ALL_OF_RACK, field.name):  # those of Bluetooth
            assert not fits(replace(ALL_OF_RACK, **{field.name: "other"}), RACK)
            continue
        assert fits(replace(Match(), **{field.name: getattr(ALL_OF_RACK, field.name)}), RACK)
        assert not fits(replace(ALL_OF_RACK, **{field.name: "other"}), RACK)


def test_only_path_and_device_are_patterns() -> None:
    assert not fits(Match(vendor="057*"), RACK)
    assert not fits(Match(serial="*"), RACK)
    assert not fits(Match(path="PCI-*"), RACK)


def test_a_match_that_asks_nothing_fits_nothing() -> None:
    assert not fits(Match(), RACK)


def test_the_first_entry_wins() -> None:
    entries = [
        ModemEntry("a", Match(vendor="ffff")),
        ModemEntry("b", Match(vendor="0572")),
        ModemEntry("c", ALL_OF_RACK),
    ]
    assert find(entries, RACK) is entries[1]
    assert find(entries[:1], RACK) is None


def test_a_named_device_is_wanted_whatever_it_is() -> None:
    for known_device in KNOWN:
        device = replace(RACK, vendor=known_device.vendor, product=known_device.product or "0001")
        entry = ModemEntry(match=Match(vendor=known_device.vendor))
        assert wanted(Config(modems=(entry,)), device) == Wanted(entry)


def test_unnamed_devices_are_left_alone() -> None:
    assert wanted(Config(), RACK) == Ignore("Conexant CX93010 is named by no [[modem]], and probe-unknown is off")
    assert isinstance(wanted(Config(), NOBODY), Ignore)


@pytest.mark.parametrize("device", [RACK, NOBODY, replace(NOBODY, transport=Transport.SERIAL, vendor="", product="")])
def test_unnamed_devices_are_probed_when_told(device: Device) -> None:
    assert wanted(PROBING, device) == Wanted(None)


@pytest.mark.parametrize(
    "device",
    [
        replace(NOBODY, vendor="067b", product="2303"),
        replace(NOBODY, driver="ftdi_sio"),
        TTY,
    ],
)
def test_cables_and_radio_links_are_never_just_probed(device: Device) -> None:
    verdict = wanted(PROBING, device)
    assert isinstance(verdict, Ignore)
    assert "name it in a [[modem]]" in verdict.reason


@pytest.mark.parametrize(
    "match",
    [
        Match(address="00:11:22:33:44:55"),
        Match(name="Nokia *", device_class=DeviceClass.PHONE),
        Match(bus="bluetooth", driver="dun", path="hci?"),
    ],
)
def test_a_phone_is_taken_by_what_phones_have_and_its_tty_by_its_node(match: Match) -> None:
    entries = Config(modems=(ModemEntry("phone", match), ModemEntry("tty", Match(device="/dev/rfcomm*"))))
    assert wanted(entries, NOKIA) == Wanted(entries.modems[0])
    assert wanted(entries, TTY) == Wanted(entries.modems[1])
    assert isinstance(wanted(Config(modems=entries.modems[:1]), TTY), Ignore)
    assert isinstance(wanted(Config(modems=entries.modems[1:]), NOKIA), Ignore)


@pytest.mark.parametrize("match", [Match(path="*"), Match(driver="dun"), Match(device="*"), Match(path="*", bus="usb")])
def test_no_phone_is_taken_by_the_way(match: Match) -> None:
    assert isinstance(wanted(Config(modems=(ModemEntry(match=match),)), NOKIA), Ignore)


def test_a_tty_of_bluetooth_is_not_taken_by_the_way() -> None:
    assert isinstance(wanted(Config(modems=(ModemEntry(match=Match(bus="bluetooth")),)), TTY), Ignore)
    named = ModemEntry(match=Match(device="/dev/rfcomm0", address="00:11:22:33:44:55"))
    assert wanted(Config(modems=(named,)), TTY) == Wanted(named)
    assert isinstance(wanted(Config(modems=(named,)), replace(TTY, address="00:11:22:33:44:56")), Ignore)


def test_which_paired_phones_are_modems_without_an_entry() -> None:
    assert wanted(PROBING, NOKIA) == Wanted(None)
    assert isinstance(wanted(Config(), NOKIA), Ignore)
    serial = wanted(PROBING, replace(NOKIA, driver="spp"))
    assert isinstance(serial, Ignore)
    assert 'match = { address = "00:11:22:33:44:55" }' in serial.reason


def test_what_offers_no_service_is_no_modem_even_by_an_entry() -> None:
    entry = ModemEntry(match=Match(address=NOKIA.address))
    assert wanted(Config(modems=(entry,)), replace(NOKIA, driver="spp")) == Wanted(entry)
    assert isinstance(wanted(Config(modems=(entry,)), replace(NOKIA, driver="")), Ignore)


@pytest.mark.parametrize("node", ["", "/dev/ttyACM0"])
@pytest.mark.parametrize("config", [Config(), PROBING])
def test_soft_modems_are_shown_as_unsupported(node: str, config: Config) -> None:
    device = replace(RACK, vendor="047e", product="2892", node=node)
    verdict = wanted(config, device)
    assert verdict == Unsupported(
        "Agere V.92 soft modem leaves the work of a modem to a driver that Linux does not have"
    )


def test_the_generic_driver_is_never_bound_to_a_soft_modem() -> None:
    entry = ModemEntry(match=Match(vendor="047e", product="2892"), usbserial=True)
    device = replace(BARE, vendor="047e", product="2892")
    assert isinstance(wanted(Config(modems=(entry,)), device), Unsupported)


def test_the_generic_driver_goes_to_exactly_what_is_named() -> None:
    entry = ModemEntry(match=replace(ALL_OF_RACK, path="pci-*"), usbserial=True)
    assert binding([entry], BARE) is entry
    assert wanted(Config(modems=(entry,)), BARE) == Wanted(entry)
    assert binding([replace(entry, usbserial=False)], BARE) is None
    for field, value in (("product", "1341"), ("vendor", "0573"), ("serial", "1"), ("path", "usb")):
        assert binding([entry], replace(BARE, **{field: value})) is None  # type: ignore[arg-type]


def test_a_device_without_a_driver_says_how_to_bind_one() -> None:
    verdict = wanted(PROBING, replace(BARE, vendor="0421", product="0405"))
    assert verdict == Ignore(
        "no driver has taken Nokia 9500, which has no driver of its own; a [[modem]] with"
        ' match = { vendor = "0421", product = "0405" } and usbserial = true binds the generic one to it'
    )


def test_what_is_known_is_well_formed() -> None:
    ids = [(thing.vendor, thing.product) for thing in KNOWN]
    assert len(ids) == len(set(ids))
    for vendor, product in ids:
        assert len(vendor) == 4
        assert len(product) in (0, 4)
        assert int(vendor + (product or "0"), 16) >= 0
        assert vendor + product == (vendor + product).lower()
    assert all(thing.note for thing in KNOWN if thing.kind is Kind.SOFT)


def test_a_product_goes_before_its_vendor() -> None:
    nokia = known(replace(RACK, vendor="0421", product="0405"))
    other = known(replace(RACK, vendor="0421", product="0001"))
    assert nokia is not None
    assert other is not None
    assert (nokia.name, other.name) == ("Nokia 9500", "Nokia phone")
    assert known(NOBODY) is None
