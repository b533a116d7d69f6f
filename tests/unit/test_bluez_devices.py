"""What bluetoothd says, in any order and of any kind, is a list of phones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.bus.bluez_devices import ADAPTER, DEVICE, UUIDS, Tree
from dialupd.bus.wire import Variant
from dialupd.model import DeviceClass
from dialupd.radio import Phone, Service

HCI0 = "/org/bluez/hci0"
PATH = f"{HCI0}/dev_AA_BB_CC_00_00_01"
ADDRESS = "AA:BB:CC:00:00:01"
DUN, SPP = UUIDS[Service.DIAL_UP], UUIDS[Service.SERIAL]


def device(**values: Variant) -> dict[str, dict[str, Variant]]:
    known = {"Address": Variant("s", ADDRESS), "Paired": Variant("b", True), **values}
    return {DEVICE: known, "org.bluez.Network1": {}}


def tree(**values: Variant) -> Tree:
    found = Tree()
    found.added(HCI0, {ADAPTER: {"Powered": Variant("b", True)}})
    found.added(PATH, device(**values))
    return found


def phone(**values: Variant) -> Phone:
    (known,) = tree(**values).phones().values()
    return known.phone


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (0x5A020C, DeviceClass.PHONE),
        (0x000204, DeviceClass.PHONE),
        (0x000210, DeviceClass.MODEM),
        (0x0C0110, DeviceClass.COMPUTER),
        (0x020300, DeviceClass.ACCESS_POINT),
        (0x240404, DeviceClass.OTHER),
        (0, DeviceClass.OTHER),
        (0xFFFFFFFF, DeviceClass.OTHER),
    ],
)
def test_the_class_of_device(number: int, wanted: DeviceClass) -> None:
    assert phone(Class=Variant("u", number)).device_class is wanted


@pytest.mark.parametrize(
    ("uuids", "wanted"),
    [
        ([], Service.NONE),
        ([DUN], Service.DIAL_UP),
        ([SPP, DUN.upper()], Service.DIAL_UP),
        ([SPP], Service.SERIAL),
        ([DUN[4:8], "", "0000111f-0000-1000-8000-00805f9b34fb"], Service.NONE),
    ],
)
def test_the_service(uuids: list[str], wanted: Service) -> None:
    assert phone(UUIDs=Variant("as", uuids)).service is wanted


def test_the_name_is_printable_and_bounded() -> None:
    assert phone(Name=Variant("s", "Jane's\n\x1b[1m\u202ephone ")).name == "Jane's  [1m phone"
    assert phone(Name=Variant("s", "a"), Alias=Variant("s", "b" * 300)).name == "b" * 128
    assert phone(Name=Variant("u", 7)).name == ""


@pytest.mark.parametrize("address", ["AA:BB:CC:00:00:0", f"{ADDRESS}\nx", "AA-BB-CC-00-00-01", "", "٠" * 17])
def test_what_has_no_address_is_no_phone(address: str) -> None:
    assert tree(Address=Variant("s", address)).phones() == {}


def test_the_adapter_is_that_of_the_property_or_of_the_path() -> None:
    assert phone().adapter == "hci0"
    assert phone(Adapter=Variant("o", "/org/bluez/hci7")).adapter == "hci7"
    assert phone(Adapter=Variant("o", "/")).adapter == ""
    (known,) = tree(Adapter=Variant("o", "/org/bluez/hci7")).phones().values()
    assert not known.powered


def test_what_changes_says_whether_it_matters() -> None:
    found = tree()
    assert not found.changed(PATH, DEVICE, {"RSSI": Variant("n", -40)}, ["TxPower"])
    assert not found.changed(PATH, DEVICE, {"Paired": Variant("b", True)}, [])
    assert not found.changed(PATH, "org.bluez.Network1", {"Paired": Variant("b", False)}, [])
    assert not found.changed(f"{PATH}x", DEVICE, {"Paired": Variant("b", False)}, [])
    assert not found.added(PATH, device())
    assert not found.added(f"{PATH}/player0", {"org.bluez.MediaPlayer1": {}})
    assert not found.removed(PATH, ["org.bluez.Network1"])
    assert found.changed(PATH, DEVICE, {"Class": Variant("u", 0x204)}, [])
    assert found.changed(PATH, DEVICE, {}, ["Class"])
    assert found.changed(HCI0, ADAPTER, {"Powered": Variant("b", False)}, [])
    assert found.adapters == {"hci0": False}
    assert found.removed(PATH, [DEVICE])
    assert not found.removed(PATH, [DEVICE])
    assert found.removed(HCI0, [ADAPTER])
    assert (found.adapters, found.phones()) == ({}, {})


def test_beacons_are_not_shown_until_they_are_paired() -> None:
    found = Tree()
    assert not found.added(PATH, {DEVICE: {"Address": Variant("s", ADDRESS)}})
    assert found.phones() == {}
    assert found.changed(PATH, DEVICE, {"Paired": Variant("b", True)}, [])
    assert set(found.phones()) == {ADDRESS}


def test_what_is_kept_is_bounded() -> None:
    found = Tree()
    for number in range(5000):
        address = f"AA:BB:CC:00:{number >> 8:02X}:{number & 255:02X}"
        found.added(f"{HCI0}/dev_{number}", device(Address=Variant("s", address)))
    assert len(found.phones()) == 4096
    # None that is paired makes room; what is known can still change.
    assert not found.added(PATH, device(Address=Variant("s", ADDRESS.replace("AA:", "BB:"))))
    assert found.added(f"{HCI0}/dev_0", device(Alias=Variant("s", "first")))


def test_strangers_make_room() -> None:
    """Somebody near invents devices; the phone that is paired stays, and one that comes late is still seen."""
    found = tree()
    found.added(f"{HCI0}/dev_1", device(Paired=Variant("b", False), Connected=Variant("b", True)))
    for number in range(5000):
        address = f"AA:BB:CC:01:{number >> 8:02X}:{number & 255:02X}"
        stranger = {"Address": Variant("s", address), "Class": Variant("u", 0x204)}
        assert found.added(f"{HCI0}/dev_x{number}", {DEVICE: stranger})
    phones = found.phones()
    assert len(phones) == 4095
    assert ADDRESS in phones and "AA:BB:CC:01:13:87" in phones and "AA:BB:CC:01:00:00" not in phones
    assert found.changed(f"{HCI0}/dev_1", DEVICE, {"Paired": Variant("b", True)}, [])


variants = st.one_of(
    st.builds(Variant, st.just("s"), st.text()),
    st.builds(Variant, st.just("s"), st.sampled_from([ADDRESS, "11:22:33:44:55:66"])),
    st.builds(Variant, st.just("o"), st.sampled_from(["/", HCI0])),
    st.builds(Variant, st.just("b"), st.booleans()),
    st.builds(Variant, st.just("u"), st.integers(0, 2**32 - 1)),
    st.builds(Variant, st.just("as"), st.lists(st.sampled_from([DUN, SPP, "x"]))),
)
names = ["Address", "Alias", "Name", "Class", "Paired", "Connected", "UUIDs", "Adapter", "Powered"]
properties = st.dictionaries(st.sampled_from(names), variants)
paths = st.sampled_from([HCI0, PATH, f"{PATH}x", "/"])
kinds = st.sampled_from([ADAPTER, DEVICE, "org.bluez.Network1"])
events = st.one_of(
    st.tuples(st.just("added"), paths, st.dictionaries(kinds, properties)),
    st.tuples(st.just("removed"), paths, st.lists(kinds)),
    st.tuples(st.just("changed"), paths, kinds, properties, st.lists(st.sampled_from(names))),
)


@given(st.lists(events, max_size=12))
def test_anything_said_in_any_order(story: list[tuple[str, ...]]) -> None:
    """It is taken, and whatever alters the phones or the adapters says so."""
    found = Tree()
    for event, *arguments in story:
        before = (found.phones(), found.adapters)
        changed = getattr(found, event)(*arguments)
        assert changed or (found.phones(), found.adapters) == before
        for address, known in found.phones().items():
            assert known.phone.address == address
            assert known.phone.name.isprintable()
