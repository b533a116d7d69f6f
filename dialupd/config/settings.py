"""The table of settings: every key that the configuration takes, once.

From it come the reading, the defaults (which are those of `values`), the errors about unknown keys and the reference.
`only` names the values of the section's deciding key (a policy's mode, a ppp session's role) with which a setting has
an effect; elsewhere it is an error, since nothing that is written may be without effect.  `later` keys are promised
names that this version does not do: they are told apart from misspellings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from dialupd.at.dialstring import Masking
from dialupd.config import kinds
from dialupd.config.kinds import Kind, choice, duration, list_of, one_of_numbers, whole
from dialupd.config.values import (
    Auth,
    AutoSession,
    Daemon,
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
    SessionType,
    Suspend,
    TcpSession,
    When,
)
from dialupd.model import DeviceClass

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """`default` of a required setting only fills the place until the error is told."""

    key: str
    kind: Kind[T_co]
    default: T_co
    help: str
    required: bool = False
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubTable:
    """A key whose value is a table with settings of its own."""

    key: str
    section: Section
    help: str
    required: bool = False
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """The settings of one table. `title` is how it is written; `decider` the key that `only` speaks of."""

    title: str
    help: str
    settings: tuple[Setting[object] | SubTable, ...]
    decider: str = ""
    later: tuple[str, ...] = ()


def _section(
    title: str, help: str, *settings: Setting[object] | SubTable, decider: str = "", later: tuple[str, ...] = ()
) -> Section:
    return Section(title, help, settings, decider, later)


YEAR = 365 * 86400.0

_DAEMON = Daemon()
STATE_DIRECTORY = Setting("state-directory", kinds.PATH, _DAEMON.state_directory, "where the call history is kept")
PROBE_UNKNOWN = Setting(
    "probe-unknown", kinds.BOOLEAN, _DAEMON.probe_unknown,
    "look for modems on serial devices that no [[modem]] names, never on serial cables and `/dev/rfcommN`; take in "
    "paired Bluetooth phones with Dial-Up Networking, whose radio link is not opened by that",
)  # fmt: skip
MASK_NUMBERS = Setting(
    "mask-numbers", choice(Masking), _DAEMON.mask_numbers,
    "which digits of dialled numbers show as `x` wherever a number is shown; behind a pause (`,`, `W` or `@`) that "
    "follows a number mostly stand a calling card's, or a PIN",
)  # fmt: skip
SUSPEND = Setting(
    "suspend", choice(Suspend), _DAEMON.suspend,
    "what becomes of calls when the machine is about to sleep: they are ended in order, or kept; a sleeping machine "
    "does not answer the far end, so kept calls last only through a short sleep, if the modem has power meanwhile",
)  # fmt: skip
DAEMON = _section("[daemon]", "The daemon itself.", STATE_DIRECTORY, PROBE_UNKNOWN, MASK_NUMBERS, SUSPEND)

_MATCH = Match()
VENDOR = Setting("vendor", kinds.HEX4, _MATCH.vendor, "USB vendor")
PRODUCT = Setting("product", kinds.HEX4, _MATCH.product, "USB product; wants `vendor` beside it")
SERIAL = Setting("serial", kinds.PRINTABLE, _MATCH.serial, "USB serial number")
INTERFACE = Setting("interface", kinds.HEX2, _MATCH.interface, "USB interface number, for devices with several ports")
DRIVER = Setting(
    "driver", kinds.WORD, _MATCH.driver, 'kernel driver, such as "cdc_acm"; of a Bluetooth phone "dun" or "spp"'
)
PATH = Setting(
    "path", kinds.GLOB, _MATCH.path, "place on the bus: a pattern for udev's ID_PATH; for a Bluetooth phone our "
    'adapter, such as "hci0"',
)  # fmt: skip
BUS = Setting("bus", kinds.WORD, _MATCH.bus, 'bus of the device as udev names it, such as "usb"')
DEVICE = Setting("device", kinds.DEVICE_GLOB, _MATCH.device, "the device node")
BLUETOOTH_ADDRESS = Setting("address", kinds.BLUETOOTH_ADDRESS, _MATCH.address, "address of a paired Bluetooth phone")
BLUETOOTH_NAME = Setting(
    "name", kinds.NAME_GLOB, _MATCH.name, "name of a paired Bluetooth phone, as `bluetoothctl devices` lists it"
)
BLUETOOTH_CLASS = Setting(
    "class", choice(DeviceClass, hidden=("",)), _MATCH.device_class, "what a paired Bluetooth device says it is"
)
MATCH = _section(
    "match", "Which devices a `[[modem]]` is for: every field that is given must fit, and one is needed.",
    VENDOR, PRODUCT, SERIAL, INTERFACE, DRIVER, PATH, BUS, DEVICE, BLUETOOTH_ADDRESS, BLUETOOTH_NAME, BLUETOOTH_CLASS,
    later=("url",),
)  # fmt: skip

_MODEM = ModemEntry()
MODEM_NAME = Setting("name", kinds.NAME, _MODEM.name, "name by which people and commands call the modem")
USBSERIAL = Setting(
    "usbserial", kinds.BOOLEAN, _MODEM.usbserial,
    "bind the generic serial driver to this vendor and product, for modems that no driver takes",
)  # fmt: skip
SPEED = Setting(
    "speed",
    one_of_numbers(300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600),
    _MODEM.speed, "speed of the port in bit/s, not of the line",
)  # fmt: skip
FLOW = Setting("flow", choice(Flow), _MODEM.flow, "flow control between this machine and the modem")
INIT = Setting(
    "init", list_of(kinds.INIT, "AT commands"), _MODEM.init,
    "commands sent after the built-in ones, each of which must answer OK",
)  # fmt: skip
PROFILE = Setting(
    "profile", choice(Profile, hidden=("",)), _MODEM.profile,
    "a built-in tuning: `voip` limits the modulation for lines that run over the Internet",
)  # fmt: skip
COUNTRY = Setting("country", kinds.COUNTRY, _MODEM.country, "country of the line, set with AT+GCI")
PIN_FILE = Setting(
    "pin-file", kinds.PATH, _MODEM.pin_file,
    "file with the PIN of the SIM card; root's, and only root and the daemon's group may read it",
)  # fmt: skip
PIN_CREDENTIAL = Setting(
    "pin-credential", kinds.NAME, _MODEM.pin_credential,
    "credential of dialupd.service with the PIN of the SIM card, instead of `pin-file`",
)  # fmt: skip
APN = Setting("apn", kinds.APN, _MODEM.apn, "access point name of phones and sticks, set with AT+CGDCONT")
CONTEXT = Setting(
    "context", whole(1, 16), _MODEM.context, "the context that `apn` is for: `*99***2#` dials the second one, `*99#` "
    "mostly the first; any other is dialled as it is written, with what the phone has for it",
)  # fmt: skip
BEARER = Setting(
    "bearer", kinds.BEARER, _MODEM.bearer, "bearer of data calls to a telephone number, set with AT+CBST; for phones "
    "and networks that still have such calls",
)  # fmt: skip
KEEP_CONNECTED = Setting(
    "keep-connected", kinds.BOOLEAN, _MODEM.keep_connected,
    "hold the radio link to a Bluetooth phone open, so that it can ring here; else it is opened for a call only",
)  # fmt: skip
DISCONNECT_AFTER = Setting(
    "disconnect-after", duration(1, 86400), _MODEM.disconnect_after,
    "how long the radio link stays open after its last use, without `keep-connected`",
)  # fmt: skip
MODEM_POLICY = Setting(
    "policy", kinds.NAME, _MODEM.policy, "the policy the modem follows; without one it only does what is asked by hand"
)
MODEM = _section(
    "[[modem]]", "A modem, or a kind of modem. The first entry that fits a device is used.",
    MODEM_NAME, SubTable("match", MATCH, "which devices the entry is for", required=True),
    USBSERIAL, SPEED, FLOW, INIT, PROFILE, COUNTRY, PIN_FILE, PIN_CREDENTIAL, APN, CONTEXT, BEARER, KEEP_CONNECTED,
    DISCONNECT_AFTER, MODEM_POLICY,
)  # fmt: skip

_RETRY = Retry()
RETRY_FIRST = Setting("first", duration(1, 86400), _RETRY.first, "pause before the second call; it doubles each time")
RETRY_MAX = Setting("max", duration(1, 7 * 86400), _RETRY.max, "longest pause")
RETRY_ATTEMPTS = Setting(
    "attempts", whole(0, 100000), _RETRY.attempts, "failed calls in a row until the policy is blocked; 0 is no limit"
)
RETRY_PER_DAY = Setting(
    "per-day",
    whole(0, 100000),
    _RETRY.per_day,
    "calls in one day until the policy is blocked for the rest of it; 0 is no limit",
)
RETRY = _section(
    "retry", "The pauses and limits of redialling. `dialupctl resume` lifts a block.",
    RETRY_FIRST, RETRY_MAX, RETRY_ATTEMPTS, RETRY_PER_DAY,
)  # fmt: skip

_POLICY = Policy(name="", mode=Mode.MANUAL)
_ANSWER, _ORIGINATE, _DIALS = ("answer",), ("originate",), ("originate", "manual")
MODE = Setting("mode", choice(Mode), _POLICY.mode, "who begins the calls", required=True)
RINGS = Setting(
    "rings", whole(1, 20), _POLICY.rings, "ring at which a call is answered; the caller's number comes after the first",
    only=_ANSWER,
)  # fmt: skip
POLICY_SESSION = Setting(
    "session", kinds.NAME, _POLICY.session, "the session that gets a connected line; may be left out with `manual`"
)
ALLOW_CALLERS = Setting(
    "allow-callers", list_of(kinds.CALLER, "number patterns"), _POLICY.allow_callers,
    'callers that are answered; nothing means everybody; "none" is a call without a number', only=_ANSWER,
)  # fmt: skip
DENY_CALLERS = Setting(
    "deny-callers", list_of(kinds.CALLER, "number patterns"), _POLICY.deny_callers,
    "callers that are never answered, asked before `allow-callers`", only=_ANSWER,
)  # fmt: skip
RING_BACK = Setting(
    "ring-back", duration(5, 600), _POLICY.ring_back,
    "answer only who rings, hangs up and calls again within this time, and then at the first ring; a telephone or a "
    "fax can share the line so", only=_ANSWER,
)  # fmt: skip
MAX_DURATION = Setting(
    "max-duration", duration(1, YEAR), _POLICY.max_duration, "longest time that one call may stay connected"
)
WHEN = Setting(
    "when",
    choice(When, later=("demand",), hint=" (calendar expressions and demand are not available in this version)"),
    _POLICY.when, "dial by itself and again after each end, or only when asked", only=_ORIGINATE,
)  # fmt: skip
NUMBERS = Setting(
    "numbers", list_of(kinds.NUMBER, "numbers that can be dialled", least=1), _POLICY.numbers,
    "numbers to dial, the next one after a failure", only=_DIALS,
)  # fmt: skip
DIAL_COMMAND = Setting("dial-command", kinds.DIAL_COMMAND, _POLICY.dial_command, "what stands before the number")
TIMEOUT = Setting(
    "timeout", duration(5, 600), _POLICY.timeout,
    "longest wait for a carrier, dialling or answering; more than the modem's own (S7, mostly 50 to 60 s)",
)  # fmt: skip
POLICY = _section(
    "[policy.NAME]", "What a modem does by itself.",
    MODE, RINGS, POLICY_SESSION, ALLOW_CALLERS, DENY_CALLERS, RING_BACK, MAX_DURATION,
    WHEN, NUMBERS, DIAL_COMMAND, TIMEOUT,
    SubTable("retry", RETRY, "pauses and limits of redialling", only=_ORIGINATE),
    decider="mode", later=("hours", "ask"),
)  # fmt: skip

SESSION_TYPE = Setting("type", choice(SessionType), SessionType.CLIENT, "what takes the line", required=True)

_PPP = PppSession("")
_CLIENT, _SERVER = ("client",), ("server",)
ROLE = Setting(
    "role", choice(Role), _PPP.role, "`client` joins the far end's network, `server` lets a caller into this one"
)
PPP_USER = Setting("user", kinds.WORD, _PPP.user, "name that the far end knows us by", only=_CLIENT)
PASSWORD_FILE = Setting(
    "password-file", kinds.PATH, _PPP.password_file,
    "file whose first line is the password, which only root may read; wants `user`", only=_CLIENT,
)  # fmt: skip
PASSWORD_CREDENTIAL = Setting(
    "password-credential", kinds.NAME, _PPP.password_credential,
    "credential of dialupd-ppp@.service with the password, instead of `password-file`", only=_CLIENT,
)  # fmt: skip
DEFAULT_ROUTE = Setting(
    "default-route", kinds.BOOLEAN, _PPP.default_route, "send everything else over this link", only=_CLIENT
)
METRIC = Setting(
    "metric", whole(0, 2**32 - 1), _PPP.metric, "metric of the default route; the lowest one of the machine is used",
    only=_CLIENT,
)  # fmt: skip
DNS = Setting("dns", kinds.BOOLEAN, _PPP.dns, "use the name servers that the far end gives", only=_CLIENT)
IDLE = Setting(
    "idle",
    duration(1, YEAR),
    _PPP.idle,
    'hang up after so long without traffic; with when = "always" it is dialled again after retry.first',
)
LOGIN: Setting[tuple[LoginStep, ...] | None] = Setting(
    "login", kinds.LOGIN, _PPP.login,
    "what to wait for and what to send before PPP begins; `{user}` and `{password}` stand for those of the session. "
    'What is to be sent when a text does not come stands between: `["ogin:", "", "ogin:", "{user}"]`. "auto" answers '
    "what asks for a name or a password, and menus that offer PPP", only=_CLIENT,
)  # fmt: skip
PPP_LOGIN_TIMEOUT = Setting(
    "login-timeout", duration(1, 600), _PPP.login_timeout, "longest wait for a text of `login`", only=_CLIENT
)
LOGIN_ABORT = Setting(
    "login-abort", list_of(kinds.HEARD, "texts"), _PPP.login_abort,
    'texts that end the login, such as "incorrect"', only=_CLIENT,
)  # fmt: skip
MTU = Setting("mtu", kinds.PACKET, _PPP.mtu, "longest packet that is sent, in bytes; 0 is what pppd takes (1500)")
MRU = Setting("mru", kinds.PACKET, _PPP.mru, "longest packet that is taken, in bytes; 0 is what pppd takes (1500)")
COMPRESSION = Setting(
    "compression", kinds.BOOLEAN, _PPP.compression, "agree on compression of data and headers if the far end can"
)
IPV6 = Setting(
    "ipv6", kinds.BOOLEAN, _PPP.ipv6,
    "IPv6 beside IPv4, if the far end has it too; with `server` only where it is written, for a caller can announce "
    "routes by it",
)  # fmt: skip
ROUTES = Setting(
    "routes", list_of(kinds.NETWORK, "networks"), _PPP.routes, "networks behind the far end, reached over this link"
)
OPTIONS = Setting("options", list_of(kinds.ARGUMENT, "texts"), _PPP.options, "more options for pppd, one word each")
LOCAL = Setting("local", kinds.IPV4, _PPP.local, "address of this end; needed with `server`")
REMOTE = Setting(
    "remote", kinds.REMOTE, ("", ""), "address of the far end, or a range of which each caller gets one; needed with "
    "`server`",
)  # fmt: skip
DNS_SERVERS = Setting(
    "dns-servers", list_of(kinds.IPV4, "IPv4 addresses"), _PPP.dns_servers,
    "name servers that the caller is told, at most two", only=_SERVER,
)  # fmt: skip
PROXY_ARP = Setting(
    "proxy-arp", kinds.BOOLEAN, _PPP.proxy_arp,
    "let the caller show up in the local network, where its address must belong", only=_SERVER,
)  # fmt: skip
MAX_SESSIONS = Setting(
    "max-sessions", whole(0, 10000), _PPP.max_sessions, "callers at a time; 0 is no limit", only=_SERVER
)
AUTH = Setting(
    "auth", list_of(choice(Auth, hint='; servers stand in the table "radius"'), "pap, chap and mschap-v2"), _PPP.auth,
    "ways in which a caller may prove who he is, by pppd's own secrets or by `radius`; needed with `server`, where [] "
    "lets anyone in", only=_SERVER,
)  # fmt: skip
_RADIUS = Radius(())
RADIUS_SERVERS = Setting(
    "servers", list_of(kinds.RADIUS_SERVER, "servers", least=1), _RADIUS.servers,
    "servers to ask, the next one when one does not answer", required=True,
)  # fmt: skip
SECRET_FILE = Setting(
    "secret-file", kinds.PATH, _RADIUS.secret_file,
    "file whose first line is the secret shared with the servers, which only root may read",
)  # fmt: skip
SECRET_CREDENTIAL = Setting(
    "secret-credential", kinds.NAME, _RADIUS.secret_credential,
    "credential of dialupd-ppp@.service with that secret, instead of `secret-file`",
)  # fmt: skip
ACCOUNTING = Setting(
    "accounting", kinds.BOOLEAN, _RADIUS.accounting, "tell the servers when a caller comes and goes, on the next port"
)
NAS_IDENTIFIER = Setting(
    "nas-identifier", kinds.WORD, _RADIUS.nas_identifier, "what this machine calls itself; else its host name"
)
RADIUS = _section(
    "radius", "Who may come in is known by RADIUS servers, in place of pppd's secrets.",
    RADIUS_SERVERS, SECRET_FILE, SECRET_CREDENTIAL, ACCOUNTING, NAS_IDENTIFIER,
)  # fmt: skip
PPP_RADIUS = SubTable("radius", RADIUS, "ask RADIUS servers in place of pppd's secrets", only=_SERVER)
PPP = _section(
    '[session.NAME] with type = "ppp"', "PPP on the line, by pppd.",
    SESSION_TYPE, ROLE, PPP_USER, PASSWORD_FILE, PASSWORD_CREDENTIAL, DEFAULT_ROUTE, METRIC, DNS, IDLE, LOGIN,
    PPP_LOGIN_TIMEOUT, LOGIN_ABORT, MTU, MRU, COMPRESSION, IPV6, ROUTES, OPTIONS, LOCAL, REMOTE, DNS_SERVERS, PROXY_ARP,
    MAX_SESSIONS, AUTH, PPP_RADIUS,
    decider="role",
)  # fmt: skip
TCP_ADDRESS = Setting("address", kinds.ADDRESS, ("", 0), "the service, by name or by address", required=True)
TELNET = Setting(
    "telnet", kinds.BOOLEAN, TcpSession("", "", 0).telnet,
    "the service speaks telnet; its negotiation is answered here, and the caller sees nothing of it",
)  # fmt: skip
TCP = _section(
    '[session.NAME] with type = "tcp"', "The line is joined to a TCP service.", SESSION_TYPE, TCP_ADDRESS, TELNET
)

_LOGIN = LoginSession("")
ROOT = Setting("root", kinds.BOOLEAN, _LOGIN.root, "let root log in too")
LOGIN_TIMEOUT = Setting(
    "login-timeout", duration(5, 3600), _LOGIN.login_timeout, "time to give name and password; then the call ends"
)
ISSUE_FILE = Setting(
    "issue-file", kinds.PATH, _LOGIN.issue_file, "what is shown before the prompt, in place of /etc/issue; its escapes "
    "are those of agetty(8)",
)  # fmt: skip
TERMINAL = Setting("terminal", kinds.TERMINAL, _LOGIN.terminal, "the type of the caller's terminal, in TERM")
CALLBACK = Setting(
    "callback", kinds.CALLBACK, _LOGIN.callback,
    "users who are hung up when they have logged in, and called back at their number, where they log in again",
)  # fmt: skip
LOGIN_SESSION = _section(
    '[session.NAME] with type = "login"', "The line is a terminal at which people log in.",
    SESSION_TYPE, ROOT, LOGIN_TIMEOUT, ISSUE_FILE, TERMINAL, CALLBACK,
)  # fmt: skip

_AUTO = AutoSession("", "")
AUTO_PPP = Setting(
    "ppp", kinds.NAME, _AUTO.ppp, 'the session for a caller who speaks PPP; it has role = "server"', required=True
)
AUTO_LOGIN = Setting(
    "login", kinds.NAME, _AUTO.login,
    "the session for any other caller, of type login, exec, tcp or client; without one, a plain login",
)  # fmt: skip
WAIT = Setting(
    "wait", duration(1, 120), _AUTO.wait, "how long a silent caller is listened to before he gets the session `login`"
)
AUTO = _section(
    '[session.NAME] with type = "auto"',
    "What the caller sends first decides which of two sessions the line gets.",
    SESSION_TYPE, AUTO_PPP, AUTO_LOGIN, WAIT,
)  # fmt: skip
COMMAND = Setting("command", kinds.COMMAND, (), "the program and its arguments; no shell is between", required=True)
EXEC_USER = Setting("user", kinds.USER_NAME, "", "who runs it; without one, `dialupd-session`, a user with no rights")
EXEC = _section(
    '[session.NAME] with type = "exec"', "The line is a program's standard input, output and error.",
    SESSION_TYPE, COMMAND, EXEC_USER,
)  # fmt: skip
CLIENT = _section(
    '[session.NAME] with type = "client"', "The line waits for a program that takes it over D-Bus.", SESSION_TYPE
)
SESSIONS = {
    SessionType.PPP: PPP,
    SessionType.TCP: TCP,
    SessionType.LOGIN: LOGIN_SESSION,
    SessionType.AUTO: AUTO,
    SessionType.EXEC: EXEC,
    SessionType.CLIENT: CLIENT,
}

ALL = (DAEMON, MODEM, MATCH, POLICY, RETRY, PPP, RADIUS, TCP, LOGIN_SESSION, AUTO, EXEC, CLIENT)
TOP = ("daemon", "modem", "policy", "session")
