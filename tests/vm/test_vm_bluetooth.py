"""Phones over Bluetooth: the kernel's own stack, the real bluetoothd on both sides, pairing included.

The phones are simulated ones on controllers of their own (phone.py).  The first test has seen the service start on a
machine without bluetoothd; all others find the phones paired and at rest, however the test before has ended.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.vm import phone
from tests.vm.client import NAME, ROOT, Properties
from tests.vm.guest import Guest, GuestError
from tests.vm.image import Image
from tests.vm.system import UNIT, System

MOBILE, VOICE, DOOR, SERIAL = (f"00:AA:01:0{number}:00:42" for number in (2, 3, 4, 1))
"""Addresses as btvirt counts them: the controller of the machine itself is the first."""

PROVIDER, CONSOLE, PERSON = "*99#", "300", "555"
FAR, NEAR = "10.64.64.64", "10.64.64.65"

CONFIG = f"""
[[modem]]
name = "mobile"
match = {{ address = "{MOBILE}" }}
apn = "internet"
disconnect-after = "1s"
policy = "out"

[[modem]]
name = "voice"
match = {{ address = "{VOICE}" }}
disconnect-after = "1s"
policy = "out"

[[modem]]
name = "door"
match = {{ name = "The door*", class = "phone" }}
keep-connected = true
policy = "in"

[[modem]]
name = "serial"
match = {{ address = "{SERIAL}" }}
disconnect-after = "1s"
policy = "out"

[[modem]]
name = "bound"
match = {{ device = "/dev/rfcomm5" }}
disconnect-after = "1s"
policy = "out"

[policy.out]
mode = "manual"
session = "internet"

[policy.in]
mode = "answer"
rings = 1
session = "echo"

[session.internet]
type = "ppp"
user = "web"
password-file = "/etc/dialupd/secrets/provider"

[session.echo]
type = "exec"
command = ["/bin/cat"]

[session.raw]
type = "client"
"""


class Phones:
    """The simulated phones; see phone.py for the words."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        guest.run("modprobe -a bluetooth rfcomm hci_vhci")
        guest.spawn("btvirt", "btvirt -s")
        guest.until("test -S /tmp/bt-server-bredrle")
        guest.spawn("phones", "python3 -m tests.vm.phone")
        guest.until(f"test -S {phone.SOCKET}")

    def __call__(self, words: str) -> dict[str, Any]:
        out = self.guest.run(f"echo {shlex.quote(words)} | socat -t 60 - UNIX-CONNECT:{phone.SOCKET}", timeout=90).out
        if not out:
            raise GuestError(f"phones: {words}: no answer\n{self.guest.report()}")
        answer: dict[str, Any] = json.loads(out or '{"error": "no answer"}')
        if "error" in answer:
            told = "\n".join(self.said()[-40:])
            kernel = self.guest.run("dmesg | tail -n 20; journalctl -u bluetooth -n 20", check=False).out
            raise GuestError(f"phones: {words}: {answer['error']}\n{told}\n{kernel}")
        return answer

    def said(self, since: int = 0) -> list[str]:
        """What the exchange has logged."""
        return self.guest.read(self.guest.logs["phones"]).splitlines()[since:]


@dataclass(frozen=True, slots=True)
class Lab:
    system: System
    phones: Phones
    without: str

    @property
    def guest(self) -> Guest:
        return self.system.guest

    def modem(self, name: str, state: str) -> Properties:
        """Wait until that modem is in that state ("gone": not there)."""

        def find() -> Properties | None:
            here = [modem for modem in self.system.modems() if modem["Name"] == name]
            if state == "gone":
                return None if here else {}
            return next((modem for modem in here if modem["State"] == state), None)

        return self.system.until(f"modem {name} {state}", find)

    def dial(self, name: str, number: str, session: str = "") -> str:
        options = ("1", "session", "s", session) if session else ("0",)
        path = self.modem(name, "ready")["path"]
        return str(self.system.call(path, "Modem", "Dial", "sa{sv}", number, *options)[0])

    def problems(self) -> list[str]:
        words = f"get-property {NAME} {ROOT} {NAME}.Manager Problems"
        found: list[str] = json.loads(self.guest.run(f"{self.system.busctl} {words}").out)["data"]
        return found

    def apart(self, address: str) -> None:
        """Wait until the radio link to that phone is closed."""
        self.guest.until(f"test \"$({_connected(address)})\" = 'b false'")

    def online(self, name: str) -> str:
        """Dial the provider; the call, once there is an Internet on it."""
        call = self.dial(name, PROVIDER)
        self.system.until(f"{call} running", lambda: self._running(call))
        self.ping()
        return call

    def _running(self, call: str) -> bool | None:
        properties = self.system.objects("Call")[call]
        assert properties["State"] != "ended", properties
        return True if properties["SessionState"] == "running" else None

    def ping(self) -> None:
        self.guest.run(f"ping -c 3 -i 0.2 -W 5 {FAR}")

    def hang_up(self, call: str) -> None:
        self.system.call(call, "Call", "HangUp")
        assert self.system.ended(call)["EndReason"] == "local-hangup"


def _connected(address: str) -> str:
    device = f"/org/bluez/hci0/dev_{address.replace(':', '_')}"
    return f"busctl get-property org.bluez {device} org.bluez.Device1 Connected"


@pytest.fixture(scope="module")
def lab(installed: Image, aloud: Callable[[Callable[[Callable[[str], None]], None]], None]) -> Iterator[Lab]:
    """The emulated radio, or the kernel of Debian 12 on it, now and then fails while the phones are paired: then all of
    it is said, and a fresh guest is tried."""
    for last in (False, True):
        with Guest.start(installed) as guest:
            try:
                found = _set_up(guest)
            except AssertionError as error:
                if last:
                    raise
                trouble = f"the Bluetooth lab is set up once more: {error}"
                aloud(lambda say, trouble=trouble: say(trouble))
                continue
            yield found
            return


def _set_up(guest: Guest) -> Lab:
    guest.run("ip netns add net && ip -n net link set lo up")
    guest.write("/etc/netns/net/ppp/options", "")
    guest.write("/etc/netns/net/ppp/pap-secrets", '"web" * "correct horse" *\n', 0o600)
    guest.run("install -d -m 700 /etc/dialupd/secrets")
    guest.write("/etc/dialupd/secrets/provider", "correct horse\n", 0o600)
    system = System(guest, CONFIG)
    system.answers()
    phones = Phones(guest)
    lab = Lab(system, phones, system.journal())
    pppd = f"ip netns exec net pppd nodetach local require-pap {FAR}:{NEAR}"
    phones(f"service '{PROVIDER}' '{pppd}'")
    phones(f"service {PERSON} voice")
    phones("controller")
    # Class of Device: smartphone, for all controllers alike
    guest.run("sed -i 's/^.General.$/&\\nClass = 0x00020C/' /etc/bluetooth/main.conf && systemctl start bluetooth")
    # a record is to be seen on every controller, so the one without Dial-Up Networking is paired before there is any
    phones("offer spp")
    phones("phone 400 nokia 'A serial phone'")
    phones(f"pair hci0 {SERIAL}")
    phones("offer dun spp")
    phones("phone 100 nokia 'A mobile phone'")
    phones("phone 200 voice-phone 'A phone for talking'")
    phones(f"phone {CONSOLE} nokia 'The door of the lab'")
    for address in (MOBILE, VOICE, DOOR):
        phones(f"pair hci0 {address}")
    return lab


@pytest.fixture(autouse=True)
def at_rest(lab: Lab) -> Iterator[None]:
    for name in ("mobile", "voice", "door", "serial"):
        lab.modem(name, "ready")
    yield
    for call in lab.system.calls():
        if call["State"] != "ended":
            lab.guest.run(f"{lab.system.busctl} call {NAME} {call['path']} {NAME}.Call HangUp", check=False)
            lab.system.ended(call["path"])


def test_a_machine_without_bluetoothd_is_told_so_once(lab: Lab) -> None:
    about = [line for line in lab.without.splitlines() if "luetooth" in line]
    assert len(about) == 1, lab.without
    assert lab.problems() == []


def test_a_phone_on_the_packet_network(lab: Lab) -> None:
    lab.apart(MOBILE)
    modem = lab.modem("mobile", "ready")
    assert (modem["Transport"], modem["Address"]) == ("bluetooth", MOBILE)
    call = lab.online("mobile")
    assert (lab.system.objects("Call")[call]["LocalAddress"]) == NEAR
    assert "internet" in lab.phones("show hci2")["settings"]["+CGDCONT"]
    lab.hang_up(call)
    lab.modem("mobile", "ready")
    lab.apart(MOBILE)
    assert lab.phones("show hci2")["line"] is False


def test_two_phones_at_once_and_one_of_them_answers(lab: Lab) -> None:
    call = lab.dial("mobile", CONSOLE, "raw")
    lab.modem("door", "connected")
    lab.modem("mobile", "connected")
    incoming = next(call for call in lab.system.calls() if call["Direction"] == "incoming")
    assert incoming["State"] == "connected"
    lab.hang_up(call)
    assert lab.system.ended(incoming["path"])["EndReason"] == "remote-hangup"
    lab.modem("door", "ready")
    assert lab.phones("show hci4")["line"] is True


def test_a_person_who_calls_the_phone_is_let_ring(lab: Lab) -> None:
    since = len(lab.phones.said())
    lab.phones(f"ring {CONSOLE} {PERSON} 2")
    lab.guest.until(f"tail -n +{since + 1} {lab.guest.logs['phones']} | grep -q '{PERSON} hangs up'")
    assert not any("ATA" in line or "ATH" in line for line in lab.phones.said(since))
    lab.modem("door", "ready")


def test_out_of_range_in_mid_call(lab: Lab) -> None:
    call = lab.online("mobile")
    lab.phones(f"away {MOBILE}")
    assert lab.system.ended(call)["EndReason"] == "modem-lost"
    lab.phones(f"near {MOBILE}")
    lab.hang_up(lab.online("mobile"))


def test_the_phone_closes_the_line(lab: Lab) -> None:
    call = lab.online("mobile")
    lab.phones("drop hci2")
    assert lab.system.ended(call)["EndReason"] == "remote-hangup"


def test_a_phone_that_only_talks(lab: Lab) -> None:
    since = len(lab.phones.said())
    call = lab.dial("voice", PERSON)
    ended = lab.system.ended(call)
    assert ended["EndReason"] == "no-modulator"
    assert lab.phones("show hci3")["state"] == "idle"
    said = lab.phones.said(since)
    assert any("ATH" in line or "CHUP" in line for line in said), said


def test_a_serial_port_alone(lab: Lab) -> None:
    assert lab.modem("serial", "ready")["Driver"] == "spp"
    lab.hang_up(lab.online("serial"))
    lab.apart(SERIAL)


def test_a_terminal_bound_by_hand(lab: Lab) -> None:
    lab.guest.run(f"rfcomm bind 5 {SERIAL} 5 && rfcomm bind 6 {VOICE} 4")
    modem = lab.modem("bound", "ready")
    assert (modem["Device"], modem["Address"]) == ("/dev/rfcomm5", SERIAL)
    lab.hang_up(lab.online("bound"))
    lab.modem("bound", "ready")
    lab.apart(SERIAL)
    assert "/dev/rfcomm6" not in lab.system.journal()
    assert lab.phones("show hci3")["line"] is False
    lab.guest.run("rfcomm release 5 && rfcomm release 6")
    lab.modem("bound", "gone")


def test_the_daemon_restarts_in_mid_call(lab: Lab) -> None:
    call = lab.online("mobile")
    pid = lab.system.pid
    lab.guest.run(f"systemctl restart {UNIT}", timeout=60)
    lab.system.answers()
    assert lab.system.pid != pid
    lab.system.until(f"{call} again", lambda: lab.system.objects("Call").get(call))
    lab.ping()
    lab.hang_up(call)
    lab.modem("mobile", "ready")
    lab.apart(MOBILE)


def test_bluetoothd_is_killed_in_mid_call(lab: Lab) -> None:
    call = lab.online("mobile")
    lab.guest.run("systemctl kill -s KILL bluetooth")
    assert "luetooth" in lab.modem("voice", "failed")["StateReason"]
    lab.ping()
    lab.hang_up(call)
    lab.modem("mobile", "failed")
    lab.guest.run("systemctl start bluetooth")
    lab.hang_up(lab.online("mobile"))


def test_bluetoothd_restarts_in_mid_call(lab: Lab) -> None:
    call = lab.online("mobile")
    lab.guest.run("systemctl restart bluetooth")
    assert lab.system.ended(call)["EndReason"] == "modem-lost"
    lab.hang_up(lab.online("mobile"))


def test_the_adapter_is_unplugged_in_mid_call(lab: Lab) -> None:
    call = lab.online("mobile")
    lab.phones("unplug hci0")
    assert lab.system.ended(call)["EndReason"] == "modem-lost"
    lab.modem("mobile", "gone")
    lab.system.until("the problem", lambda: any(MOBILE in problem for problem in lab.problems()) or None)
    lab.phones("controller")
    lab.hang_up(lab.online("mobile"))


def test_another_program_has_the_profiles(lab: Lab) -> None:
    lab.guest.run(f"systemctl stop {UNIT}", timeout=60)
    for uuid in ("1101", "1103"):
        lab.phones(f"claim {uuid}")
    lab.guest.run(f"systemctl start {UNIT}", timeout=60)
    lab.system.answers()
    assert "another program" in lab.modem("mobile", "failed")["StateReason"]
    lab.system.until("it", lambda: any("another program" in problem for problem in lab.problems()) or None)
    for uuid in ("1101", "1103"):
        lab.phones(f"unclaim {uuid}")
    lab.hang_up(lab.online("mobile"))
    lab.system.until("no problem", lambda: None if lab.problems() else True)
