"""Calls that a test can look at while something happens to the daemon, the bus or the machine.

Each goes on for as long as the test wants and is then asked whether anything was lost: a download over PPP by its
checksum, a login by the lines that its shell counts, an echo by comparing what comes back.  `moves` tells that data
still flows.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.vm.client import ROOT, Properties
from tests.vm.guest import Guest
from tests.vm.lab import Plug
from tests.vm.rootfs import PEOPLE
from tests.vm.system import System

PROVIDER, BBS, CONSOLE = "300", "301", "102"
"""Numbers: a provider's PPP server, a service that echoes, a modem that answers with a login."""

HUMAN = "H1"
"""The serial number of a modem that dialupd leaves alone: a person with a terminal has it."""

SECRET = "correct horse"
"""The password at the provider's."""

CONFIG = """
[[modem]]
name = "uplink"
match = { vendor = "0572", product = "1340", serial = "A1" }
policy = "out"

[[modem]]
name = "desk"
match = { vendor = "0572", product = "1340", serial = "D1" }
policy = "out"

[[modem]]
name = "door"
match = { vendor = "0572", product = "1340", serial = "B2" }
policy = "in"

[policy.out]
mode = "originate"
when = "manual"
numbers = ["300"]
session = "internet"

[policy.in]
mode = "answer"
rings = 1
session = "console"

[session.internet]
type = "ppp"
user = "web"
password-file = "/etc/dialupd/secrets/provider"

[session.console]
type = "login"

[session.bbs]
type = "tcp"
address = "127.0.0.1:6400"

[session.raw]
type = "client"
"""

ENOUGH = {"ppp": 20000, "exec": 1024, "login": 30}
"""Bytes that show that a line works, by its unit's kind: less may stand in buffers of the kernel and of programs."""

ECHO = '''
import asyncio, os, socket, sys, time

def echo(stream):
    """Lockstep: each block must come back as it was before the next one goes out."""
    stream.settimeout(None)
    count = 0
    while not os.path.exists("/tmp/enough"):
        block = os.urandom(256)
        stream.sendall(block)
        back = b""
        while len(back) < len(block):
            more = stream.recv(len(block) - len(back))
            if not more:
                sys.exit(f"the end after {count} blocks")
            back += more
        if back != block:
            sys.exit(f"block {count} came back changed")
        count += 1
        time.sleep(0.05)
        with open("/tmp/echoed", "ab") as file:
            file.write(block)
    print("whole", count)

async def client(path):
    from dbus_next import BusType, Message
    from dbus_next.aio import MessageBus
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    reply = await bus.call(Message("org.dialupd1", path, "org.dialupd1.Call", "Open"))
    if not reply.unix_fds:
        sys.exit(f"no stream: {reply.body}")
    return socket.socket(fileno=reply.unix_fds[0])

if sys.argv[1] == "tcp":
    listener = socket.create_server(("127.0.0.1", 6400))
    echo(listener.accept()[0])
else:
    stream = asyncio.run(client(sys.argv[1]))
    stream.setblocking(True)
    echo(stream)
'''

# An unhurried stream: under emulation a full one would leave the daemon no time. The block is longer than what pppd's
# compression remembers.
SENDER = """#!/bin/sh
while ! test -e /tmp/enough; do cat /tmp/block; sleep 1; done | tee /tmp/sent |
    socat -u - TCP-LISTEN:5000,bind=$1,reuseaddr
"""


@dataclass(frozen=True, slots=True)
class Going:
    """A call with data on it: its path, its session's unit and that unit's process, and the file that grows."""

    system: System
    path: str
    kind: str
    unit: str
    pid: str
    grows: str

    @property
    def call(self) -> Properties:
        """What is published of it, without what changes while data flows."""
        found = self.system.objects("Call")[self.path]
        return {key: value for key, value in found.items() if key not in ("RxBytes", "TxBytes")}

    def moves(self, timeout: float = 30) -> None:
        """Wait until more data has come over the line than could have been under way already."""
        size = int(self.system.guest.run(f"stat -c %s {self.grows}").out)
        self.system.guest.until(f"test $(stat -c %s {self.grows}) -gt {size + ENOUGH[self.kind]}", timeout)


def going(system: System, path: str, kind: str, grows: str) -> Going:
    system.until(f"{path} running", lambda: True if system.objects("Call")[path]["SessionState"] == "running" else None)
    unit = f"dialupd-{kind}@{path.rpartition('/')[2]}.service"
    return Going(system, path, kind, unit, system.show(unit, "MainPID"), grows)


def prepare(guest: Guest, plug: Plug) -> System:
    """The service with its modems ready, a provider, an echo and a person with a modem of his own."""
    guest.run("ip netns add net && ip -n net link set lo up")
    guest.write("/etc/netns/net/ppp/options", "")
    guest.write("/etc/netns/net/ppp/pap-secrets", f'"web" * "{SECRET}" *\n', 0o600)
    guest.run("install -d -m 700 /etc/dialupd/secrets")
    guest.write("/etc/dialupd/secrets/provider", f"{SECRET}\n", 0o600)
    guest.run("head -c 40000 /dev/urandom > /tmp/block")
    guest.write("/tmp/sender", SENDER, 0o755)
    guest.write("/tmp/echo.py", ECHO)
    plug.add("1234", "5678", HUMAN, "--number 200")
    plug.conexant("A1", "--number 100")
    plug.conexant("D1", "--number 101")
    plug.conexant("B2", f"--number {CONSOLE}")
    guest.until("test -c /dev/ttyACM3")
    pppd = "ip netns exec net pppd nodetach local require-pap 10.64.64.64:10.64.64.65"
    node = human(plug)
    guest.run(f"stty -F {node} raw -echo 115200 clocal")
    guest.spawn("human", f"sh -c 'exec cat {node} >> /tmp/heard'")
    plug(f"service {PROVIDER} --command '{pppd}'")
    plug(f"service {BBS}")
    system = System(guest, CONFIG)
    for serial in ("A1", "D1", "B2"):
        system.modem(serial, "ready")
    return system


def download(system: System) -> Going:
    """Call the provider and begin to fetch something from there."""
    guest = system.guest
    guest.run("rm -f /tmp/enough /tmp/sent /tmp/got")
    system.modem("A1", "ready")
    path = str(system.call(ROOT, "Manager", "Originate", "sa{sv}", "out", "0")[0])
    system.until(f"{path} running", lambda: True if system.objects("Call")[path]["SessionState"] == "running" else None)
    guest.spawn("sender", "ip netns exec net /tmp/sender 10.64.64.64")
    guest.until("ip netns exec net ss -ltn | grep -q :5000")
    guest.spawn("receiver", "socat -u TCP:10.64.64.64:5000 CREATE:/tmp/got")
    guest.until("test -s /tmp/got")
    return going(system, path, "ppp", "/tmp/got")


def downloaded(system: System) -> None:
    """End the download: every byte must have come as it was sent."""
    guest = system.guest
    guest.run("touch /tmp/enough")
    guest.until("! pgrep -f 'TCP-LISTEN[:]5000'", timeout=60)
    guest.until("! pgrep -f 'CREATE[:]/tmp/got'", timeout=60)
    sums = guest.run("sha256sum < /tmp/sent; sha256sum < /tmp/got; stat -c %s /tmp/got").out.split()
    assert sums[0] == sums[2], f"{sums[4]} bytes came, and not those that were sent"


def log_in(system: System, plug: Plug) -> Going:
    """A person calls, logs in and has the shell count lines."""
    guest = system.guest
    node = human(plug)
    guest.run("rm -f /tmp/enough; : > /tmp/heard")
    system.modem("B2", "ready")
    say(guest, node, "ATDT" + CONSOLE, "CONNECT")
    system.until("the caller", lambda: True if incoming(system) else None)
    guest.until("grep -aq 'login: ' /tmp/heard", timeout=60)
    say(guest, node, "alice", "assword: ")
    say(guest, node, PEOPLE["alice"], r"alice@lab:.*\$ ")
    count = "i=0; until test -e /tmp/enough; do echo line $i; i=$((i+1)); sleep 0.4; done; echo the e''nd is $i"
    say(guest, node, count, "line 3")
    return going(system, incoming(system), "login", "/tmp/heard")


def human(plug: Plug) -> str:
    """The port of the person's modem."""
    return f"/dev/{plug(f'show {HUMAN}')['nodes'][0]}"


def incoming(system: System) -> str:
    """The path of the incoming call that goes on, if there is one."""
    found = (call["path"] for call in system.calls() if call["Direction"] == "incoming" and call["State"] != "ended")
    return str(next(found, ""))


def say(guest: Guest, node: str, text: str, until: str) -> None:
    """Type a line at the person's terminal and wait for what is to come then."""
    seen = guest.run("stat -c %s /tmp/heard").out.strip() if text else "0"
    guest.write("/tmp/line", text + "\r")
    guest.run(f"cat /tmp/line > {node}")
    guest.until(f"tail -c +{seen} /tmp/heard | grep -aqE '{until}'", timeout=60)


def logged_in_all_the_time(system: System) -> None:
    """The shell's lines must have come in their order, none missing, to the last."""
    guest = system.guest
    guest.run("touch /tmp/enough")
    guest.until("grep -aq '^the end is' /tmp/heard", timeout=60)
    lines = [line.split() for line in guest.read("/tmp/heard").splitlines()]
    numbers = [int(words[1]) for words in lines if len(words) == 2 and words[0] == "line" and words[1].isdecimal()]
    last = next(int(words[3]) for words in lines if words[:3] == ["the", "end", "is"])
    assert numbers == list(range(last))


def echo(system: System, session: str) -> Going:
    """Call the echo with a session of type `tcp` or `client` and compare what comes back."""
    guest = system.guest
    guest.run("rm -f /tmp/enough /tmp/echoed")
    if session == "bbs":
        guest.spawn("echo", "python3 /tmp/echo.py tcp")
        guest.until("ss -ltn | grep -q :6400")
    modem = system.modem("D1", "ready")["path"]
    path = str(system.call(modem, "Modem", "Dial", "sa{sv}", BBS, "1", "session", "s", session)[0])
    if session == "raw":
        system.modem("D1", "connected")
        guest.spawn("echo", f"python3 /tmp/echo.py {path}")
    guest.until("test -s /tmp/echoed", timeout=60)
    return going(system, path, "exec", "/tmp/echoed")


def echoed(system: System) -> None:
    """All that was sent has come back."""
    system.guest.run("touch /tmp/enough")
    system.guest.until("grep -q whole /var/log/lab-echo.log", timeout=60)


def hang_up(system: System, call: Going) -> None:
    """End a call and wait until its unit is gone."""
    system.call(call.path, "Call", "HangUp")
    assert system.ended(call.path)["EndReason"] == "local-hangup"
    system.guest.until(f"! systemctl is-active -q {call.unit}")


def tidy(system: System) -> None:
    """Let the next test begin with free lines, however the last one ended."""
    system.guest.run("touch /tmp/enough")
    for call in system.calls():
        if call["State"] != "ended":
            system.call(call["path"], "Call", "HangUp")
            system.ended(call["path"])
    for serial in ("A1", "B2", "D1"):
        system.modem(serial, "ready")


def newest_rows(system: System, count: int) -> list[Properties]:
    """The newest calls in the history, the last one first."""
    rows = system.call(ROOT, "Manager", "History", "a{sv}", "1", "limit", "u", str(count))[0]
    return [{key: value["data"] for key, value in row.items()} for row in rows]
