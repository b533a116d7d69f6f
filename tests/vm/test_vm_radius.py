"""A bank of two modems whose callers a real FreeRADIUS knows: accounts, addresses, refusals, accounting.

The bank is the packaged service, its sessions in their units; the callers are a daemon in a network namespace of its
own.  One guest for all: each test leaves the lines free.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.vm.client import Properties
from tests.vm.guest import Guest
from tests.vm.lab import Daemon, Plug
from tests.vm.system import System

LINES = {"C1": "100", "C2": "101"}
"""A caller's modem, and the line of the bank that it calls."""

SECRET = "testing-123"
PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "christmas", "dave": "dungeon", "erin": "emerald"}
OWN = {"alice": "172.16.1.77", "dave": "172.16.1.10", "erin": "172.16.1.11"}
"""Who has an address of his own: one outside the pool, two within it."""
POOL = {"172.16.1.10", "172.16.1.11"}

BANK = """
[[modem]]
name = "line-one"
match = { vendor = "0572", product = "1340", serial = "S1" }
policy = "dialin"

[[modem]]
name = "line-two"
match = { vendor = "0572", product = "1340", serial = "S2" }
policy = "dialin"

[policy.dialin]
mode = "answer"
rings = 2
session = "dialin"

[session.dialin]
type = "ppp"
role = "server"
local = "172.16.1.1"
remote = "172.16.1.10-172.16.1.11"
dns-servers = ["172.16.1.53"]
proxy-arp = true
mtu = 1400
auth = ["pap", "chap", "mschap-v2"]

[session.dialin.radius]
servers = ["127.0.0.1"]
secret-file = "/etc/dialupd/secrets/radius"
nas-identifier = "pop-7"
"""

CALLER = """
[[modem]]
name = "{serial}"
match = {{ vendor = "0572", product = "1340", serial = "{serial}" }}
"""
WHO = """
[session.{name}]
type = "ppp"
user = "{user}"
password-file = "/etc/passwords/{name}"
options = {options}
"""
ONLY = {
    "pap": ["usepeerdns", "refuse-chap", "refuse-mschap", "refuse-mschap-v2", "refuse-eap"],
    "chap": ["refuse-pap", "refuse-mschap", "refuse-mschap-v2", "refuse-eap"],
    "mschap-v2": ["refuse-pap", "refuse-chap", "refuse-mschap", "refuse-eap"],
}
WAYS = {"alice": "pap", "bob": "chap", "carol": "mschap-v2", "dave": "pap", "erin": "chap"}

RADIUSD = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = /etc/radius
run_dir = /run
logdir = /var/log
log {{
	destination = stdout
	auth = yes
}}
thread pool {{
	start_servers = 1
	max_servers = 1
	min_spare_servers = 1
	max_spare_servers = 1
}}
client bank {{
	ipaddr = 127.0.0.1
	secret = {secret}
}}
modules {{
	pap {{
	}}
	chap {{
	}}
	mschap {{
	}}
	files {{
		usersfile = ${{raddbdir}}/users
	}}
	detail asked {{
		filename = ${{logdir}}/radius-asked
	}}
	detail told {{
		filename = ${{logdir}}/radius-told
	}}
}}
server default {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = 1812
	}}
	listen {{
		type = acct
		ipaddr = 127.0.0.1
		port = 1813
	}}
	authorize {{
		asked
		chap
		mschap
		files
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
		Auth-Type CHAP {{
			chap
		}}
		Auth-Type MS-CHAP {{
			mschap
		}}
	}}
	accounting {{
		told
	}}
}}
"""


@dataclass
class Bank:
    """The bank, its callers, and the RADIUS server's process."""

    guest: Guest
    system: System
    callers: Daemon
    radius: int

    def dial(self, who: str, serial: str = "C1") -> str:
        modem = self.callers.modem(serial, "ready")["path"]
        options = ("1", "session", "s", who)
        return str(self.callers.call(modem, "Modem", "Dial", "sa{sv}", LINES[serial], *options)[0])

    def answered(self, before: set[str]) -> str:
        """The bank's call that was not there before."""

        def find() -> str | None:
            return next((call["path"] for call in self.system.calls() if call["path"] not in before), None)

        return self.system.until("a call that is answered", find, 90)

    def attempt(self, who: str, serial: str = "C1") -> tuple[str, str]:
        """The paths of a call at the bank and at the caller's."""
        before = {call["path"] for call in self.system.calls()}
        mine = self.dial(who, serial)
        return self.answered(before), mine

    def connect(self, who: str, serial: str = "C1") -> tuple[Properties, Properties]:
        """A link that is up, as the bank and as the caller publish it."""
        theirs, mine = self.attempt(who, serial)
        return up(self.system, theirs), up(self.callers, mine)

    def hang_up(self, theirs: Properties, mine: Properties) -> tuple[Properties, Properties]:
        self.callers.call(mine["path"], "Call", "HangUp")
        return self.system.ended(theirs["path"], 90), self.callers.ended(mine["path"], 90)

    def journal(self, path: str) -> str:
        """What was logged in the unit of a call at the bank."""
        return self.system.journal(f"-o cat -u dialupd-ppp@{path.rpartition('/')[2]}")

    def records(self, file: str, user: str) -> list[dict[str, str]]:
        """What the server has written down of a user, attribute by attribute."""
        text = self.guest.run(f"cat /var/log/radius-{file} 2>/dev/null", check=False).out
        found = [dict(re.findall(r"^\t(\S+) = (.*)$", part, re.MULTILINE)) for part in text.split("\n\n")]
        return [{key: value.strip('"') for key, value in one.items()} for one in found if f'"{user}"' in one.values()]

    def record(self, user: str, kind: str) -> dict[str, str]:
        """The newest record of that kind, as soon as it is there."""

        def find() -> dict[str, str] | None:
            told = [one for one in self.records("told", user) if one["Acct-Status-Type"] == kind]
            return told[-1] if told else None

        return self.system.until(f"the accounting's {kind} of {user}", find)


def up(daemon: System | Daemon, path: str) -> Properties:
    def find() -> Properties | None:
        call = daemon.objects("Call")[path]
        assert call["State"] != "ended", f"{path} ended: {call['EndReason']}"
        # the far end's address is told with the line behind that of the state
        return {"path": path, **call} if call["SessionState"] == "running" and call["RemoteAddress"] else None

    return daemon.until(f"{path} running", find, 90)


def start_radius(guest: Guest) -> int:
    pid = guest.spawn("radius", "freeradius -f -d /etc/radius")
    guest.until(f"ss -lun | grep -q 127.0.0.1:1813 || ! kill -0 {pid}", timeout=120)
    assert guest.run(f"kill -0 {pid}", check=False).rc == 0, guest.read(guest.logs["radius"])
    return pid


@pytest.fixture(scope="module")
def bank(shared: Guest, hub: Plug) -> Bank:
    guest = shared
    guest.run("ip netns add cli && ip -n cli link set lo up")
    guest.write("/etc/netns/cli/ppp/options", "")
    guest.write("/etc/netns/cli/ppp/resolv.conf", "")
    guest.run("ip link add lan type veth peer name wire && ip link set wire up && ip link set lan up")
    guest.run("ip addr add 172.16.1.1/24 dev lan")
    guest.run("install -d -m 700 /etc/dialupd/secrets /etc/passwords /etc/radius")
    guest.write("/etc/dialupd/secrets/radius", f"{SECRET}\n", 0o600)
    guest.write("/etc/radius/radiusd.conf", RADIUSD.format(secret=SECRET))
    users = [
        f'{name} Cleartext-Password := "{password}"\n'
        f"\tService-Type = Framed-User, Framed-Protocol = PPP, Framed-IP-Address = {OWN.get(name, '255.255.255.254')}\n"
        for name, password in PASSWORDS.items()
    ]
    guest.write("/etc/radius/users", "\n".join(users))
    config = "".join(CALLER.format(serial=serial) for serial in LINES)
    for name, user in {**{user: user for user in PASSWORDS}, "mallory": "bob"}.items():
        guest.write(f"/etc/passwords/{name}", f"{PASSWORDS.get(name, 'guess')}\n", 0o600)
        config += WHO.format(name=name, user=user, options=ONLY[WAYS[user]])
    hub.conexant("C1", "--number 200")
    hub.conexant("C2", "--number 201")
    hub.conexant("S1", "--number 100")
    hub.conexant("S2", "--number 101")
    guest.until("test -c /dev/ttyACM3")
    radius = start_radius(guest)
    system = System(guest, BANK)
    callers = Daemon(guest, config, name="callers", netns="cli")
    for serial in ("S1", "S2"):
        system.modem(serial, "ready")
    return Bank(guest, system, callers, radius)


@pytest.fixture(autouse=True)
def free_lines(bank: Bank) -> Iterator[None]:
    """However a test ends, the next one finds nobody on the line."""
    yield
    for call in bank.callers.calls():
        if call["State"] != "ended":
            bank.callers.call(call["path"], "Call", "HangUp")
    for serial in LINES:
        bank.callers.modem(serial, "ready", 90)
    for serial in ("S1", "S2"):
        bank.system.modem(serial, "ready", 90)


@pytest.mark.parametrize(
    ("who", "proof"), [("alice", "User-Password"), ("bob", "CHAP-Password"), ("carol", "MS-CHAP2-Response")]
)
def test_a_caller_whom_the_server_knows(bank: Bank, who: str, proof: str) -> None:
    theirs, mine = bank.connect(who)
    assert mine["RemoteAddress"] == theirs["LocalAddress"] == "172.16.1.1"
    address = mine["LocalAddress"]
    assert address == theirs["RemoteAddress"]
    assert address == OWN[who] if who in OWN else address in POOL
    if who == "alice":
        assert mine["Dns"] == ["172.16.1.53"]
    assert address in bank.guest.run("ip neigh show proxy dev lan").out.split()
    assert "mtu 1400" in bank.guest.run(f"ip -o link show {theirs['Interface']}").out
    bank.guest.run("ip netns exec cli ping -c 3 -i 0.2 -W 10 172.16.1.1")
    asked = bank.records("asked", who)[-1]
    assert proof in asked
    start = bank.record(who, "Start")
    for record in (asked, start):
        assert record["Calling-Station-Id"] == "200"
        assert record["NAS-Identifier"] == "pop-7"
        assert record["NAS-Port-Id"].endswith("_S1")
        assert record["Connect-Info"]
    ends = bank.hang_up(theirs, mine)
    assert [end["EndReason"] for end in ends] == ["remote-hangup", "local-hangup"]
    stop = bank.record(who, "Stop")
    assert stop["Acct-Session-Id"] == start["Acct-Session-Id"]
    assert stop["Framed-IP-Address"] == start["Framed-IP-Address"] == address
    assert stop["Calling-Station-Id"] == "200"
    # three pings of 84 bytes each way
    assert int(stop["Acct-Input-Octets"]) >= 252 and int(stop["Acct-Output-Octets"]) >= 252
    assert 0 < int(stop["Acct-Session-Time"]) < 600
    assert stop["Acct-Terminate-Cause"] == "User-Request"
    assert address not in bank.guest.run("ip neigh show proxy dev lan").out.split()


def test_nobody_gets_an_address_that_another_call_has(bank: Bank) -> None:
    bob = bank.connect("bob", "C1")
    address = bob[1]["LocalAddress"]
    bank.guest.run("systemctl restart dialupd", timeout=90)
    bank.system.answers(90)
    carol = bank.connect("carol", "C2")
    assert {address, carol[1]["LocalAddress"]} == POOL
    bank.hang_up(*carol)
    # whose own address bob has from the pool
    rival = next(name for name, own in OWN.items() if own == address)
    bank.system.modem("S2", "ready")
    theirs, mine = bank.attempt(rival, "C2")
    assert bank.system.ended(theirs, 90)["EndReason"] == "rejected"
    assert f"the caller's own address {address} is another call's" in bank.journal(theirs)
    bank.callers.ended(mine, 90)
    bank.guest.run(f"ping -c 3 -i 0.2 -W 10 {address}")
    assert up(bank.callers, bob[1]["path"])["LocalAddress"] == address
    bank.hang_up(*bob)


def test_a_caller_whom_the_server_refuses(bank: Bank) -> None:
    theirs, mine = bank.attempt("mallory")
    assert bank.callers.ended(mine, 90)["EndReason"] == "auth-failed"
    assert bank.system.ended(theirs, 90)["EndReason"] == "peer-auth-failed"
    # nothing was to be reached before, and nothing is afterwards
    assert "IPCP" not in bank.journal(theirs)


def test_a_server_that_does_not_answer_is_no_refusal(bank: Bank) -> None:
    bank.guest.run(f"kill -STOP {bank.radius}")
    try:
        theirs, mine = bank.attempt("alice")
        assert bank.system.ended(theirs, 90)["EndReason"] == "session-failed"
        assert "no RADIUS server answered" in bank.journal(theirs)
        assert bank.callers.ended(mine, 90)["EndReason"] == "auth-failed"
    finally:
        bank.guest.run(f"kill -CONT {bank.radius}")


def test_the_secret_stays_where_it_is(bank: Bank) -> None:
    theirs, mine = bank.connect("alice")
    number = theirs["path"].rpartition("/")[2]
    modes = f"stat -c '%a %U' /run/dialupd-session/{number} /run/dialupd-session/{number}/call-{number}/*"
    assert set(bank.guest.run(modes).out.splitlines()) == {"700 root", "600 root"}
    argv = bank.guest.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").out
    assert "pppd file" in argv and SECRET not in argv
    bank.hang_up(theirs, mine)
    bank.guest.until(f"! test -e /run/dialupd-session/{number}")
    assert SECRET not in bank.guest.run("journalctl -q --no-pager").out
