"""Reading the configuration: what is accepted, what every error says, and that nothing makes the reader fall over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from dialupd.config.load import load
from dialupd.config.problems import ConfigError, Problem
from dialupd.config.reference import EXAMPLE, reference
from dialupd.config.settings import ALL, SESSIONS, Section, Setting
from dialupd.config.values import (
    Auth,
    AutoSession,
    ClientSession,
    Config,
    ExecSession,
    Flow,
    LoginSession,
    LoginStep,
    Match,
    Mode,
    ModemEntry,
    Policy,
    PppSession,
    Profile,
    Radius,
    Retry,
    Role,
    Suspend,
    TcpSession,
    When,
)
from dialupd.model import DeviceClass

ROOT = Path(__file__).parents[2]

FULL = """
[daemon]
state-directory = "/srv/state"
probe-unknown = true
suspend = "keep"

[[modem]]
name = "rack"
match.vendor = "0572"
match.product = "134A"
match.serial = "12345678"
match.interface = "0A"
match.driver = "cdc_acm"
match.path = "pci-*"
match.bus = "usb"
match.device = "/dev/ttyACM*"
usbserial = true
speed = 57600
flow = "none"
init = ["AT&F", "ate0v1q0"]
profile = "voip"
country = "b5"
pin-file = "/etc/dialupd/pin"
apn = "internet"
policy = "in"

[policy.in]
mode = "answer"
rings = 3
session = "dialin"
allow-callers = ["+1555*", "none"]
deny-callers = ["+15550?"]
ring-back = "1min"
max-duration = "1h 30min"
timeout = "80s"

[policy.out]
mode = "originate"
when = "manual"
numbers = ["*99#", "555-1212"]
dial-command = "ATX3DP"
timeout = "90s"
retry = { first = "7s", max = "1h", attempts = 3, per-day = 20 }
session = "internet"

[policy.hand]
mode = "manual"

[session.internet]
type = "ppp"
user = "web"
password-file = "/etc/dialupd/secrets/isp"
default-route = true
metric = 10
dns = true
idle = "10min"
login = [["ogin:", "{user}"], ["word:", "", "word:", "{password}"], { expect = "host:", send = "ppp", timeout = "5s" }]
login-timeout = "20s"
login-abort = ["incorrect"]
mtu = 1000
mru = 1400
compression = false
ipv6 = false
routes = ["10.0.0.0/8", "2001:db8::/32"]
options = ["nodeflate"]

[session.dialin]
type = "ppp"
role = "server"
local = "172.16.1.1"
remote = "172.16.1.2-172.16.1.9"
auth = ["chap", "mschap-v2"]
dns-servers = ["10.0.0.1"]
proxy-arp = true
max-sessions = 4

[session.dialin.radius]
servers = ["10.0.0.1", "radius.example:1645"]
secret-file = "/etc/dialupd/secrets/radius"
accounting = false
nas-identifier = "rack"

[session.menu]
type = "exec"
command = ["/usr/local/bin/menu", "--modem"]
user = "bbs"

[session.console]
type = "login"
root = true
login-timeout = "90s"
issue-file = "/etc/issue.dialin"
terminal = "ansi"
callback = { bob = "555-1213", alice = "555-1212" }

[session.who]
type = "auto"
ppp = "dialin"
login = "console"
wait = "9s"

[session.bbs]
type = "tcp"
address = "[::1]:6400"
telnet = true

[session.bus]
type = "client"
"""


def read(*texts: str) -> Config:
    return load([(f"{place}.toml" if place else "dialupd.toml", text.encode()) for place, text in enumerate(texts)])


def problems(*texts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*texts)
    return [str(problem) for problem in caught.value.problems]


def test_every_key_arrives() -> None:
    config = read(FULL)
    assert (config.daemon.state_directory, config.daemon.probe_unknown) == ("/srv/state", True)
    assert config.daemon.suspend is Suspend.KEEP
    assert config.modems == (
        ModemEntry(
            name="rack",
            match=Match("0572", "134a", "12345678", "0a", "cdc_acm", "pci-*", "usb", "/dev/ttyACM*"),
            usbserial=True,
            speed=57600,
            flow=Flow.NONE,
            init=("AT&F", "ate0v1q0"),
            profile=Profile.VOIP,
            country="B5",
            pin_file="/etc/dialupd/pin",
            apn="internet",
            policy="in",
        ),
    )
    assert config.policies == {
        "in": Policy(
            name="in",
            mode=Mode.ANSWER,
            session="dialin",
            rings=3,
            allow_callers=("+1555*", "none"),
            deny_callers=("+15550?",),
            ring_back=60.0,
            max_duration=5400.0,
            timeout=80.0,
        ),
        "out": Policy(
            name="out",
            mode=Mode.ORIGINATE,
            session="internet",
            when=When.MANUAL,
            numbers=("*99#", "5551212"),
            dial_command="ATX3DP",
            timeout=90.0,
            retry=Retry(7.0, 3600.0, 3, 20),
        ),
        "hand": Policy(name="hand", mode=Mode.MANUAL),
    }
    assert config.sessions == {
        "internet": PppSession(
            name="internet",
            user="web",
            password_file="/etc/dialupd/secrets/isp",
            default_route=True,
            metric=10,
            dns=True,
            idle=600.0,
            login=(
                LoginStep(("ogin:",), "{user}"),
                LoginStep(("word:", "", "word:"), "{password}"),
                LoginStep(("host:",), "ppp", 5.0),
            ),
            login_timeout=20.0,
            login_abort=("incorrect",),
            mtu=1000,
            mru=1400,
            compression=False,
            ipv6=False,
            routes=("10.0.0.0/8", "2001:db8::/32"),
            options=("nodeflate",),
        ),
        "dialin": PppSession(
            name="dialin",
            role=Role.SERVER,
            local="172.16.1.1",
            ipv6=False,
            pool=("172.16.1.2", "172.16.1.9"),
            auth=(Auth.CHAP, Auth.MSCHAP_V2),
            dns_servers=("10.0.0.1",),
            proxy_arp=True,
            max_sessions=4,
            radius=Radius(
                (("10.0.0.1", 1812), ("radius.example", 1645)),
                secret_file="/etc/dialupd/secrets/radius",
                accounting=False,
                nas_identifier="rack",
            ),
        ),
        "menu": ExecSession("menu", ("/usr/local/bin/menu", "--modem"), "bbs"),
        "console": LoginSession(
            "console",
            root=True,
            login_timeout=90.0,
            issue_file="/etc/issue.dialin",
            terminal="ansi",
            callback=(("alice", "5551212"), ("bob", "5551213")),
        ),
        "who": AutoSession("who", ppp="dialin", login="console", wait=9.0),
        "bbs": TcpSession("bbs", "::1", 6400, telnet=True),
        "bus": ClientSession("bus"),
    }


def test_credentials_in_place_of_files() -> None:
    modem = read(MODEM + 'pin-credential = "pin"').modems[0]
    assert (modem.pin_file, modem.pin_credential) == ("", "pin")
    session = read(PPP + 'user = "u"\npassword-credential = "isp"\nlogin = [["a", "{password}"]]').sessions["s"]
    assert isinstance(session, PppSession)
    assert (session.password_file, session.password_credential) == ("", "isp")
    assert read(LOGIN).sessions["s"] == LoginSession("s", root=False, login_timeout=60.0)


def test_equal_texts_make_equal_configurations() -> None:
    assert read(FULL) == read(FULL)
    assert read(FULL) != read(FULL.replace("rings = 3", "rings = 4"))


def test_nothing_written_is_the_defaults() -> None:
    assert read("") == Config()
    assert load([]) == Config()
    assert read("[[modem]]\nmatch.vendor = '0572'").modems == (ModemEntry(match=Match(vendor="0572")),)


MODEM = '[[modem]]\nmatch.vendor = "0572"\n'
PHONE = "[[modem]]\n"
ANSWER = '[session.s]\ntype = "client"\n[policy.p]\nmode = "answer"\nsession = "s"\n'
ORIGINATE = '[session.s]\ntype = "ppp"\n[policy.p]\nmode = "originate"\nsession = "s"\n{}\n'.replace(
    "{}", 'numbers = ["1"]'
)
PPP = '[session.s]\ntype = "ppp"\n'
SERVER = PPP + 'role = "server"\nlocal = "10.0.0.1"\nremote = "10.0.0.2"\n'
LOGIN = '[session.s]\ntype = "login"\n'
AUTO = f"{SERVER}auth = []\n[session.a]\ntype = 'auto'\nppp = 's'\n"
EXEC = '[session.s]\ntype = "exec"\n'

CASES = [
    # the outermost shape
    ("modems = 1", "modems: is not a known key; there are daemon, modem, policy, session; did you mean 'modem'?"),
    ("daemon = 1", "daemon: the number 1 is not a table; write [daemon]"),
    ("modem = 1", "modem: the number 1 is not a list of tables; write [[modem]]"),
    ("[modem]", "modem: a table is not a list of tables; write [[modem]]"),
    ("modem = [1]", "modem[1]: the number 1 is not a table; write [[modem]], then its keys"),
    ("policy = true", "policy: true is not a table; write [policy.NAME]"),
    (
        "session.x = 2020-01-01",
        "session.x: the date or time 2020-01-01 is not a table; write [session.NAME], then its keys",
    ),
    ('"a b" = 1', "'a b': is not a known key; there are daemon, modem, policy, session"),
    ("[policy.'a b']\nmode = 'manual'", "policy.'a b': 'a b' is not a name (a letter or digit, then"),
    # files that are no TOML
    ("[daemon", "is not TOML: "),
    ("x = " + "[" * 5000, "is nested too deep"),
    ("x = " + "9" * 5000, "is not TOML: it holds a number that is too long"),
    ("#" * (1 << 20) + "\n", "has 1048577 bytes; a configuration has at most 1048576"),
    # daemon
    ('daemon.state-directory = "x"', "daemon.state-directory: 'x' is not an absolute path"),
    ("daemon.probe-unknown = 1", "daemon.probe-unknown: the number 1 is not true or false"),
    ("daemon.probe_unknown = true", "daemon.probe_unknown: is not a known key; did you mean 'probe-unknown'?"),
    # modem
    ("[[modem]]", "modem[1]: needs the key 'match': which devices the entry is for"),
    (MODEM + "[[modem]]\nmatch = {}", "modem[2].match: is empty; it needs one of vendor, product, serial, interface"),
    (MODEM + "[[modem]]\nmatch.vendor = 'zz'", "modem[2].match.vendor: 'zz' is not four hex digits (0-9a-f), as lsusb"),
    ("[[modem]]\nmatch = 5", "modem[1].match: is not a table; write { key = value, … }"),
    ("[[modem]]\nmatch.product = '0001'", "modem[1].match.product: means nothing without the vendor; add it"),
    (PHONE + "match.address = 'x'", "modem[1].match.address: 'x' is not a Bluetooth address such as"),
    (
        PHONE + "match.address = '00:11:22:33:44:55\\n'",
        "modem[1].match.address: '00:11:22:33:44:55\\n' is not a Bluetooth",
    ),
    (PHONE + "match.class = 'phon'", "modem[1].match.class: 'phon' is not one of computer, phone, modem, access-point"),
    (PHONE + "match.name = ''", "modem[1].match.name: '' is not a name, in which * and ? stand for others"),
    (PHONE + "match.class = 'phone'\nbearer = '7;D'", "modem[1].bearer: '7;D' is not what follows AT+CBST=, such as"),
    (PHONE + "match.class = 'phone'\ncontext = 2", "modem[1].context: means nothing without the 'apn' that it is for"),
    (
        PHONE + "match.class = 'phone'\napn = 'x'\ncontext = 17",
        "modem[1].context: the number 17 is not a whole number from",
    ),
    (
        MODEM + "keep-connected = true",
        "modem[1].keep-connected: has an effect only on a Bluetooth phone; match.address",
    ),
    (MODEM + "disconnect-after = '5s'", "modem[1].disconnect-after: has an effect only on a Bluetooth phone"),
    (
        PHONE + "match.class = 'phone'\nkeep-connected = true\ndisconnect-after = '5s'",
        "modem[1].disconnect-after: has no effect beside keep-connected = true",
    ),
    (
        PHONE + "match.class = 'phone'\npolicy = 'p'\n" + ANSWER,
        "modem[1].policy: 'p' answers calls, and a phone rings here only with keep-connected = true; add that",
    ),
    (
        PHONE + "match = { name = 'Nokia*', vendor = '0421' }",
        "modem[1].match.vendor: is a USB device's, and name a Bluetooth phone's; no device has both",
    ),
    (
        PHONE + "match = { address = '00:11:22:33:44:55', bus = 'usb' }",
        'modem[1].match.bus: must be "bluetooth" beside address',
    ),
    (
        PHONE + "match = { address = '00:11:22:33:44:55', device = '/dev/ttyS0' }",
        "modem[1].match.device: is a node, and address a Bluetooth phone's, which has none",
    ),
    (PHONE + "match = { class = 'phone', device = '/dev/rfcomm0' }", "modem[1].match.device: is a node, and class a"),
    (PHONE + "match.driver = 'dun'", "modem[1].match.driver: 'dun' is a Bluetooth phone's; say which: address, name"),
    (PHONE + "match.class = 'phone'\nspeed = 9600", "modem[1].speed: has no effect on a Bluetooth phone"),
    (PHONE + "match.class = 'phone'\nflow = 'none'", "modem[1].flow: has no effect on a Bluetooth phone"),
    ("[[modem]]\nmatch.url = 'x'", "modem[1].match.url: is not available in this version"),
    ("[[modem]]\nmatch.device = 'ttyS0'", "modem[1].match.device: 'ttyS0' is not a whole path such as"),
    (MODEM + "speed = 115201", "modem[1].speed: the number 115201 is not one of 300, 1200,"),
    (MODEM + "speed = true", "modem[1].speed: true is not one of 300, 1200,"),
    (MODEM + "speed = inf", "modem[1].speed: the number inf is not one of 300, 1200,"),
    (MODEM + "speed = 0x" + "f" * 9000, "modem[1].speed: a number beyond 64 bits is not one of 300"),
    (MODEM + "flow = 'rtcts'", "modem[1].flow: 'rtcts' is not one of rtscts, xonxoff, none; did you mean 'rtscts'?"),
    (MODEM + "flow = {}", "modem[1].flow: a table is not one of rtscts, xonxoff, none"),
    (MODEM + "flow.a.b = 1", "modem[1].flow: a table is not one of rtscts, xonxoff, none"),
    (MODEM + "profile = ''", "modem[1].profile: '' is not one of voip"),
    (MODEM + "init = 'AT'", "modem[1].init: 'AT' is not a list of AT commands"),
    (MODEM + "init = ['AT', 'X3']", "modem[1].init[2]: 'X3' is not a command that begins with AT, printable"),
    (MODEM + 'init = ["AT\\rATD1"]', "modem[1].init[1]: 'AT\\u000dATD1' is not a command that begins with AT"),
    (MODEM + "country = 'USA'", "modem[1].country: 'USA' is not a T.35 country code"),
    (MODEM + "apn = 'a\"b'", "modem[1].apn: 'a\"b' is not an access point name"),
    (MODEM + "usbserial = true", "modem[1].usbserial: needs match.vendor and match.product"),
    (MODEM + "policy = 'pp'\n" + ANSWER, "modem[1].policy: there is no [policy.pp]"),
    (
        MODEM + "policy = 'uplnk'\n[policy.uplink]\nmode = 'manual'",
        "there is no [policy.uplnk]; did you mean 'uplink'?",
    ),
    (
        MODEM + "name = 'a'\n" + MODEM + "name = 'a'",
        "modem[2].name: 'a' is the name of modem[1] in dialupd.toml already",
    ),
    # policy
    ("[policy.p]", "policy.p: needs the key 'mode': who begins the calls"),
    ("[policy.p]\nmode = 'answers'", "policy.p.mode: 'answers' is not one of answer, originate, manual; did you mean"),
    ("[policy.p]\nmode = 'answer'", "policy.p: needs the key 'session' with mode = \"answer\""),
    (
        "[policy.p]\nmode = 'originate'\nsession = 's'\n" + PPP,
        "policy.p: needs the key 'numbers' with mode = \"originate\"",
    ),
    (ANSWER + "hours = []", "policy.p.hours: is not available in this version"),
    (ANSWER + "ask = 1", "policy.p.ask: is not available in this version"),
    (ANSWER + "rings = 0", "policy.p.rings: the number 0 is not a whole number from 1 to 20"),
    (
        ANSWER + "numbers = ['1']",
        'policy.p.numbers: has no effect with mode = "answer"; it is for "originate" or "manual"',
    ),
    (ANSWER + "retry.first = '1s'", 'policy.p.retry: has no effect with mode = "answer"; it is for "originate"'),
    (ANSWER + "when = 'always'", 'policy.p.when: has no effect with mode = "answer"; it is for "originate"'),
    (ANSWER + "allow-callers = ['a b']", "policy.p.allow-callers[1]: 'a b' is not a number pattern"),
    (ANSWER + "max-duration = 90", "policy.p.max-duration: the number 90 is not a duration in s, min, h or d, such as"),
    (ANSWER + "max-duration = '90'", "policy.p.max-duration: '90' is not a duration in s, min, h or d, such as"),
    (ORIGINATE + "rings = 2", 'policy.p.rings: has no effect with mode = "originate"; it is for "answer"'),
    (
        ORIGINATE + "when = 'demand'",
        "policy.p.when: 'demand' is not available in this version; allowed are always, manual",
    ),
    (ORIGINATE + "when = 'Mon 08:00'", "policy.p.when: 'Mon 08:00' is not one of always, manual (calendar expressions"),
    (ORIGINATE + "dial-command = 'ATA'", "policy.p.dial-command: 'ATA' is not a dial command"),
    (ORIGINATE + "timeout = '1s'", "policy.p.timeout: '1s' is not a duration in s, min, h or d, such as"),
    (
        ORIGINATE + "retry = { first = '20min' }",
        "policy.p.retry.first: is longer than 'max', the longest pause (10min)",
    ),
    (ORIGINATE + "retry.frist = '1s'", "policy.p.retry.frist: is not a known key; did you mean 'first'?"),
    (ORIGINATE + "retry = 3", "policy.p.retry: is not a table; write { key = value, … }"),
    (ORIGINATE.replace('["1"]', "[]"), "policy.p.numbers: a list is not a list of at least 1 of numbers"),
    (ORIGINATE.replace('"1"', '"1;H"'), "policy.p.numbers[1]: '1;H' cannot be dialled: "),
    (ORIGINATE.replace('"1"', "1"), "policy.p.numbers[1]: the number 1 is not a number that can be dialled"),
    (ORIGINATE.replace("session.s", "session.t"), "policy.p.session: there is no [session.s]"),
    (
        ORIGINATE.replace('"ppp"', '"client"'),
        "policy.p.session: 's' waits for a program, so nothing may dial by itself",
    ),
    (
        SERVER + "auth = []\n[policy.p]\nmode = 'originate'\nsession = 's'\nnumbers = ['1']",
        "policy.p.session: 's' has role = \"server\", which is for calls that are answered",
    ),
    (
        PPP + "[policy.p]\nmode = 'answer'\nsession = 's'",
        "policy.p.session: 's' has role = \"client\"; callers need role",
    ),
    (
        MODEM + "pin-file = '/x'\npin-credential = 'x'",
        "modem[1].pin-credential: stands beside 'pin-file'; one of the two",
    ),
    # session
    ("[session.s]", "session.s: needs the key 'type': what takes the line"),
    ("[session.s]\ntype = 'auto'", "session.s: needs the key 'ppp': the session for a caller who speaks PPP"),
    (AUTO.replace("ppp = 's'", "ppp = 'S'"), "session.a.ppp: there is no [session.S]; did you mean 's'?"),
    (AUTO.replace("ppp = 's'", "ppp = 'a'"), "session.a.ppp: 'a' is no session with type = \"ppp\" and role"),
    (AUTO + "login = 's'", "session.a.login: 's' is no session of type login, exec, tcp or client"),
    (AUTO + "login = 'a'", "session.a.login: 'a' is no session of type login, exec, tcp or client"),
    (
        AUTO + "[policy.p]\nmode = 'originate'\nsession = 'a'\nnumbers = ['1']",
        "policy.p.session: 'a' listens to callers; a call that is dialled needs another",
    ),
    (LOGIN + "callback = {}", "session.s.callback: a table is not a table of users and numbers"),
    (LOGIN + "callback = { al = '5;H' }", "session.s.callback.al: '5;H' cannot be dialled"),
    (LOGIN + "callback = { AL = '5' }", "session.s.callback.AL: 'AL' is not a user's name"),
    (LOGIN + "terminal = 'vt100 '", "session.s.terminal: 'vt100 ' is not a type of terminal"),
    (LOGIN + "login-timeout = '2s'", "session.s.login-timeout: '2s' is not a duration in s, min, h or d"),
    (LOGIN + "user = 'ann'", 'session.s.user: is not a known key of the session type "login"'),
    (PPP + "remote = 'pool'", "session.s.remote: 'pool' is not an IPv4 address, or a range of them"),
    (PPP + "remote = '10.0.0.2-10.0.0.9'", 'session.s.remote: is a range, which is for role = "server"'),
    (
        SERVER.replace("10.0.0.2", "10.0.0.9-10.0.0.2") + "auth = []",
        "session.s.remote: '10.0.0.9-10.0.0.2' is not a range from low to high of at most 4096 addresses",
    ),
    (
        SERVER.replace("10.0.0.2", "10.0.0.0-10.0.0.9") + "auth = []",
        "session.s.remote: holds the address of this end too, 10.0.0.1",
    ),
    (
        SERVER + "auth = ['radius']",
        "session.s.auth[1]: 'radius' is not one of pap, chap, mschap-v2; servers stand in the",
    ),
    (SERVER + "auth = []\ndns-servers = ['1.1.1.1', '8.8.8.8', '9.9.9.9']", "session.s.dns-servers: has 3 addresses"),
    (SERVER + "auth = ['pap']\n[session.s.radius]\nsecret-file = '/x'", "session.s.radius: needs the key 'servers'"),
    (
        SERVER + "auth = ['pap']\nradius = { servers = ['h:0'], secret-file = '/x' }",
        "session.s.radius.servers[1]: 'h:0' is not a host with its port",
    ),
    (
        SERVER + "auth = ['pap']\nradius = { servers = ['h', '[::1]'], secret-file = '/x' }",
        "session.s.radius.servers[2]: '[::1]' is an IPv6 address; pppd's plugin asks servers by IPv4 only",
    ),
    (
        SERVER + "auth = ['pap']\nradius = { servers = ['h:65535'], secret-file = '/x' }",
        "session.s.radius.servers[1]: 'h:65535' is not a host with its port",
    ),
    (
        SERVER + "auth = ['pap']\nradius = { servers = ['a', 'b', 'c', 'd', 'e'], secret-file = '/x' }",
        "session.s.radius.servers: has 5 servers; at most 4 can be asked in time",
    ),
    (
        SERVER + "auth = ['pap']\nradius = { servers = ['h'] }",
        "session.s.radius: needs the key 'secret-file' or 'secret-",
    ),
    (
        SERVER + "auth = ['pap']\nradius = { servers = ['h'], secret-file = '/x', secret-credential = 'x' }",
        "session.s.radius.secret-credential: stands beside 'secret-file'",
    ),
    (SERVER + "auth = []\nradius = { servers = ['h'], secret-file = '/x' }", "session.s.radius: has nothing to ask"),
    (PPP + "radius = { servers = ['h'], secret-file = '/x' }", 'session.s.radius: has no effect with role = "client"'),
    (PPP + "routes = ['10.0.0.1/8']", "session.s.routes[1]: '10.0.0.1/8' is not a network"),
    (PPP + "mtu = 127", "session.s.mtu: the number 127 is not a whole number from 128 to 16384, or 0"),
    (PPP + "login = 'on'", "session.s.login: 'on' is not \"auto\" or a list of steps"),
    (PPP + "login = 'auto'", "session.s.login: \"auto\" needs 'user', and 'password-file' or"),
    (PPP + "login-timeout = '5s'", "session.s.login-timeout: has no effect without 'login'"),
    (PPP + "login = [['', 'x']]", "session.s.login[1]: expects an empty text, which comes at once"),
    (PPP + "login = [['a', 'b', 'c']]", "session.s.login[1]: a list is not a step"),
    (PPP + "login = [{ expect = 'a' }]", "session.s.login[1]: a table is not a step"),
    (
        PPP + "login = [{ expect = 'a', sent = 'b' }]",
        "session.s.login[1].sent: is not a known key of a step; did you mean 'send'?",
    ),
    (PPP + "login = [['a', 'b']]\nlogin-abort = ['']", "session.s.login-abort[1]: '' is not printable text of 1"),
    (PPP + "login = [['a', '{usr}']]", "session.s.login[1]: '{usr}' is not {user} or {password}"),
    (SERVER, "session.s: needs the key 'auth' with role = \"server\": "),
    (
        SERVER.replace("local", "#") + "auth = []",
        "session.s: needs the key 'local' with role = \"server\": address of this end",
    ),
    (SERVER + "auth = []\ndns = true", 'session.s.dns: has no effect with role = "server"; it is for "client"'),
    (PPP + "auth = ['pap']", 'session.s.auth: has no effect with role = "client"; it is for "server"'),
    (PPP + "local = '10.0.0.1'\nremote = '10.0.0.1'", "session.s.remote: is the address of this end too"),
    (PPP + "local = '10.0.0.256'", "session.s.local: '10.0.0.256' is not an IPv4 address"),
    (PPP + "local = 5", "session.s.local: the number 5 is not an IPv4 address"),
    (PPP + "password-file = '/x'", "session.s.password-file: is of no use without 'user'; add it"),
    (PPP + "password-credential = 'x'", "session.s.password-credential: is of no use without 'user'; add it"),
    (
        PPP + "user = 'u'\npassword-file = '/x'\npassword-credential = 'x'",
        "session.s.password-credential: stands beside 'password-file'; one of the two, please",
    ),
    (PPP + "user = 'u'\npassword-credential = '../x'", "session.s.password-credential: '../x' is not a name"),
    (PPP + "login = [['a', '{password}']]", "session.s.login: sends {password}, but there is no 'password-file'"),
    (PPP + "login = [['a', '{user}']]", "session.s.login: sends {user}, but there is no 'user'"),
    (PPP + "login = [['a', '{pasword}']]", "session.s.login[1]: '{pasword}' is not {user} or {password}; did you mean"),
    (PPP + "login = [['a']]", "session.s.login[1]: a list is not a step such as"),
    (PPP + "login = [[1, 2]]", "session.s.login[1]: a list is not a step such as"),
    (PPP + 'options = ["a\\nb"]', "session.s.options[1]: 'a\\u000ab' is not printable text"),
    (PPP + "address = 'x:1'", 'session.s.address: is not a known key of the session type "ppp"'),
    (EXEC, "session.s: needs the key 'command': the program and its arguments"),
    (EXEC + "command = ['menu']", "session.s.command: a list is not a list of texts that begins with the program's"),
    (EXEC + "command = ['/bin/x', 1]", "session.s.command[2]: the number 1 is not printable text"),
    (EXEC + "command = ['/bin/x']\nuser = '-x'", "session.s.user: '-x' is not a user's name"),
    ("[session.s]\ntype = 'tcp'\naddress = 'h:0'", 'session.s.address: \'h:0\' is not "host:port" or "[IPv6'),
    ("[session.s]\ntype = 'tcp'\naddress = '[::g]:1'", "session.s.address: '[::g]:1' is not \"host:port\""),
    ("[session.s]\ntype = 'tcp'\naddress = '[1::2::3]:1'", "session.s.address: '[1::2::3]:1' is not \"host:port\""),
]


@pytest.mark.parametrize(("text", "message"), CASES, ids=[message[:60] for _, message in CASES])
def test_an_error_names_file_key_and_mend(text: str, message: str) -> None:
    lines = problems(text)
    assert len(lines) == 1, lines
    assert lines[0].startswith("dialupd.toml: ")
    assert message in lines[0]


def test_all_errors_are_told_at_once() -> None:
    lines = problems("[daemon]\nx = 1\n[[modem]]\nspeed = 1\n", "[policy.p]\n[session.s]\ntype = 'tcp'\n")
    assert [line.split(": ")[0:2] for line in lines] == [
        ["dialupd.toml", "daemon.x"],
        ["1.toml", "session.s"],
        ["1.toml", "policy.p"],
        ["dialupd.toml", "modem[1]"],
        ["dialupd.toml", "modem[1].speed"],
    ]


def test_an_error_is_told_without_false_ones_behind_it() -> None:
    """What hangs on a wrong value is not complained of too."""
    assert len(problems("[[modem]]\nmatch = { vendor = 'zz', product = '0001' }\nusbserial = true")) == 1
    assert len(problems(ORIGINATE.replace('"ppp"', '"slip"'))) == 1


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigError, match=r"^dialupd\.toml: line 2 is not UTF-8 text: byte 0xff$"):
        load([("dialupd.toml", b"# \xc3\xa4\n\xff")])


def test_files_add_up() -> None:
    config = read(
        MODEM + "name = 'a'\npolicy = 'p'\n[session.s]\ntype = 'ppp'",
        "[[modem]]\nmatch.vendor = '0001'\nname = 'b'\n[session.s]\nuser = 'u'\n",
        "[policy.p]\nmode = 'originate'\nsession = 's'\nretry.attempts = 3\n",
        "[policy.p]\nnumbers = ['1']\nretry.per-day = 4\n[daemon]\nprobe-unknown = true",
    )
    assert [modem.name for modem in config.modems] == ["a", "b"]
    assert config.sessions["s"] == PppSession("s", user="u")
    assert (config.policies["p"].retry.attempts, config.policies["p"].retry.per_day) == (3, 4)
    assert config.daemon.probe_unknown


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("daemon.probe-unknown = true", "daemon.probe-unknown = false", "1.toml: daemon.probe-unknown: is given in"),
        (PPP, PPP, "1.toml: session.s.type: is given in dialupd.toml already; keep one of the two"),
        ("daemon.x = 1", "daemon.x.y = 1", "1.toml: daemon.x: is given in dialupd.toml already; keep one of the two"),
    ],
)
def test_what_two_files_give_names_both(first: str, second: str, message: str) -> None:
    assert any(line.startswith(message) for line in problems(first, second))


def test_modem_names_of_two_files_name_both() -> None:
    assert problems(MODEM + "name = 'a'", MODEM + "name = 'a'") == [
        "1.toml: modem[1].name: 'a' is the name of modem[1] in dialupd.toml already; names must differ"
    ]


def test_messages_are_printable_and_short() -> None:
    hostile = "\\u0007\\u001b[31m" + "x" * 5000
    for line in problems(f'[daemon]\n"{hostile}" = 1\nstate-directory = "{hostile}"\n["{hostile}"]'):
        assert line.isprintable()
        assert len(line) < 400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("10min", 600.0), ("2h", 7200.0), ("1d", 86400.0), ("1h30min", 5400.0), ("1h 30min", 5400.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read(ANSWER + f"max-duration = '{text}'").policies["p"].max_duration == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1ms", "1.5h", "s1", "0s", "366d", "1S", "9" * 30 + "s"])
def test_what_is_no_duration(text: str) -> None:
    assert len(problems(ANSWER + f"max-duration = '{text}'")) == 1


# -- Bluetooth


def test_a_phone_is_matched_by_address_name_and_class() -> None:
    (entry,) = read(
        PHONE + "match = { address = 'aa:bb:cc:dd:ee:ff', name = 'Nokia *', class = 'phone' }\n"
        "keep-connected = true\napn = 'internet'\ncontext = 2\nbearer = '71,0,1'"
    ).modems
    assert entry.match == Match(address="AA:BB:CC:DD:EE:FF", name="Nokia *", device_class=DeviceClass.PHONE)
    assert (entry.keep_connected, entry.context, entry.bearer) == (True, 2, "71,0,1")
    assert entry.match.phones
    assert entry.match.by_radio


@pytest.mark.parametrize(
    ("match", "phones", "by_radio"),
    [
        ("name = 'x'", True, True),
        ("class = 'computer'", True, True),
        ("bus = 'bluetooth'", True, True),
        ("bus = 'bluetooth', driver = 'dun', path = 'hci0'", True, True),
        ("class = 'phone', bus = 'bluetooth'", True, True),
        ("bus = 'usb'", False, False),
        ("device = '/dev/rfcomm0'", False, True),
        ("device = '/dev/rfcomm0', address = '00:11:22:33:44:55'", False, True),
        ("device = '/dev/ttyS0'", False, False),
    ],
)
def test_what_asks_for_bluetooth(match: str, phones: bool, by_radio: bool) -> None:
    found = read(PHONE + f"match = {{ {match} }}").modems[0].match
    assert (found.phones, found.by_radio) == (phones, by_radio)


def test_a_tty_of_bluetooth_may_be_held_open() -> None:
    text = PHONE + "match.device = '/dev/rfcomm0'\nkeep-connected = true\npolicy = 'p'\n" + ANSWER
    assert read(text).modems[0].keep_connected


# -- the table of settings


def test_defaults_are_read_back_from_the_table() -> None:
    """A default that is written out means the same as leaving the key out."""
    shown = [row.split(" | ") for row in reference().splitlines() if row.startswith("| `")]
    written = {row[0].strip("|` "): row[2].strip("`") for row in shown if row[2].startswith("`")}
    text = (
        f"[daemon]\nstate-directory = {written['state-directory']}\nprobe-unknown = {written['probe-unknown']}\n"
        f"suspend = {written['suspend']}\n"
        + MODEM
        + "".join(f"{key} = {written[key]}\n" for key in ("usbserial", "speed", "flow"))
        + PPP
        + "".join(f"{key} = {written[key]}\n" for key in ("role", "default-route", "metric", "dns"))
        + "[policy.p]\nmode = 'originate'\nnumbers = ['1']\nsession = 's'\n"
        + "".join(f"{key} = {written[key]}\n" for key in ("when", "dial-command", "timeout"))
        + "".join(f"retry.{key} = {written[key]}\n" for key in ("first", "max", "attempts", "per-day"))
    )
    assert read(text) == read(MODEM + PPP + "[policy.p]\nmode = 'originate'\nnumbers = ['1']\nsession = 's'\n")


def test_callers_get_ipv6_only_where_it_is_written() -> None:
    server = SERVER + "auth = []\n"
    assert [config.ipv6 for text in (PPP, server, server + "ipv6 = true") for config in ppp_sessions(text)] == [
        True,
        False,
        True,
    ]


def ppp_sessions(text: str) -> list[PppSession]:
    return [session for session in read(text).sessions.values() if isinstance(session, PppSession)]


def keys_of(section: Section) -> set[str]:
    return {setting.key.replace("-", "_") for setting in section.settings}


@pytest.mark.parametrize(
    ("section", "value", "besides"),
    [
        (0, Config().daemon, set()),
        (1, ModemEntry(), set()),
        (2, Match(), {"device_class"}),
        (3, Policy("", Mode.MANUAL), {"name"}),
        (4, Retry(), set()),
        (5, PppSession(""), {"name", "auto_login", "pool"}),
        (6, Radius(()), set()),
        (8, LoginSession(""), {"name"}),
        (9, AutoSession("", ""), {"name"}),
    ],
)
def test_every_field_has_its_setting(section: int, value: object, besides: set[str]) -> None:
    names = {field.name for field in fields(value)} - besides  # type: ignore[arg-type]
    assert keys_of(ALL[section]) - {"type", "class"} == names


def test_the_page_is_in_step() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == reference(), (
        "run: python3 -m dialupd.config.reference > docs/configuration.md"
    )


def test_the_page_is_made_by_its_command() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "dialupd.config.reference"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert made.stdout == reference()


def test_the_example_is_valid() -> None:
    assert len(read(EXAMPLE).modems) == 2


# -- hostile structures


def all_keys() -> Iterator[str]:
    yield from ("daemon", "modem", "policy", "session", "x")
    for section in ALL:
        yield from section.later
        for setting in section.settings:
            yield setting.key


WORDS = [
    "",
    "ppp",
    "exec",
    "tcp",
    "client",
    "auto",
    "answer",
    "originate",
    "manual",
    "always",
    "server",
    "p",
    "s",
    "AT",
]
scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**2000, max_value=2**2001),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=20),
    st.dates(),
    st.times(),
    st.datetimes(),
)
tables = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(sorted(set(all_keys()))) | st.text(max_size=5), inner),
    ),
    max_leaves=15,
)
named = st.dictionaries(st.sampled_from(["p", "s", "a b"]), tables, max_size=2)
documents = st.fixed_dictionaries(
    {},
    optional={
        "daemon": tables,
        "modem": st.lists(tables, max_size=3) | tables,
        "policy": named | tables,
        "session": named,
    },
)


def check_clean(files: list[tuple[str, bytes]]) -> None:
    try:
        assert isinstance(load(files), Config)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert isinstance(problem, Problem)
            assert str(problem).isprintable()
            assert len(str(problem)) < 2000


@given(documents)
def test_any_structure_gives_a_configuration_or_clean_errors(document: dict[str, object]) -> None:
    original = tomli.loads
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tomli, "loads", lambda _: document)
        check_clean([("a.toml", b""), ("b.toml", b"")])
    assert tomli.loads is original


@given(st.lists(st.binary(max_size=60) | st.text("[]{}\"'=.,\n modempolicy", max_size=60).map(str.encode), max_size=3))
def test_any_bytes_give_a_configuration_or_clean_errors(texts: list[bytes]) -> None:
    check_clean([(f"{place}.toml", text) for place, text in enumerate(texts)])


def settings_with_sections() -> list[tuple[str, str, str]]:
    starts = {0: "[daemon]", 1: MODEM, 2: "[[modem]]\n[modem.match]", 3: "[policy.p]", 4: "[policy.p.retry]"}
    starts |= {5 + place: f"[session.s]\ntype = '{kind}'" for place, kind in enumerate(SESSIONS)}
    return [
        (starts[place], setting.key, type(setting).__name__)
        for place, section in enumerate(ALL)
        for setting in section.settings
        if isinstance(setting, Setting) and setting.key != "type"
    ]


@pytest.mark.parametrize(("start", "key", "_kind"), settings_with_sections())
def test_every_setting_refuses_odd_types(start: str, key: str, _kind: str) -> None:
    for value in ("nan", "2020-01-01T00:00:00Z", "12:00:00", "{ a = 1 }", "[[[]]]", "0.5", "-1"):
        lines = problems(f"{start}\n{key} = {value}\n")
        assert any(f"{key}" in line and " is not " in line for line in lines), value
