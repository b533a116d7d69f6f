"""What the configuration says, as values.

Every field is plain and compared by value: a reload leaves untouched what compares equal to what was there before.
Texts are "" where nothing was written; durations are seconds.  Values are made by `config.load` and are checked there,
so a reader need not check them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from dialupd.at.dialstring import Masking
from dialupd.model import DeviceClass

Argv = tuple[str, ...]


class Flow(StrEnum):
    """Flow control between this machine and the modem."""

    RTSCTS = "rtscts"
    XONXOFF = "xonxoff"
    NONE = "none"


class Profile(StrEnum):
    """A named tuning of the modem; NONE leaves it as the maker set it."""

    NONE = ""
    VOIP = "voip"


class Mode(StrEnum):
    """Who begins the calls of a policy."""

    ANSWER = "answer"
    ORIGINATE = "originate"
    MANUAL = "manual"


class When(StrEnum):
    """When a policy that originates dials by itself."""

    ALWAYS = "always"
    MANUAL = "manual"


class SessionType(StrEnum):
    """The `type` of a session, which decides the class of its value."""

    PPP = "ppp"
    TCP = "tcp"
    LOGIN = "login"
    AUTO = "auto"
    EXEC = "exec"
    CLIENT = "client"


class Role(StrEnum):
    CLIENT = "client"
    SERVER = "server"


class Auth(StrEnum):
    """How a caller must prove who he is; the words are pppd's `require-` options."""

    PAP = "pap"
    CHAP = "chap"
    MSCHAP_V2 = "mschap-v2"


class Suspend(StrEnum):
    """What becomes of the calls when the machine is about to sleep."""

    HANG_UP = "hang-up"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Daemon:
    state_directory: str = "/var/lib/dialupd"
    probe_unknown: bool = False
    mask_numbers: Masking = Masking.AFTER_PAUSE
    suspend: Suspend = Suspend.HANG_UP


@dataclass(frozen=True, slots=True)
class Match:
    """What a device must show; "" is not asked about.  `path`, `device` and `name` are globs, the others exact.

    `address`, `name` and `device_class` are those of a Bluetooth device.
    """

    vendor: str = ""
    product: str = ""
    serial: str = ""
    interface: str = ""
    driver: str = ""
    path: str = ""
    bus: str = ""
    device: str = ""
    address: str = ""
    name: str = ""
    device_class: DeviceClass = DeviceClass.OTHER

    @property
    def phones(self) -> bool:
        """Whether it asks for phones that bluetoothd knows."""
        return bool(self.address or self.name or self.device_class or self.bus == "bluetooth") and not self.device

    @property
    def by_radio(self) -> bool:
        """Whether it asks for a modem that a radio link leads to, one on a node of the kernel's included."""
        return self.phones or self.device.startswith("/dev/rfcomm")


@dataclass(frozen=True, slots=True)
class ModemEntry:
    """One `[[modem]]`.  `init` commands are whole ("AT…"); `policy` "" means only what the bus asks for.

    `bearer` is what follows AT+CBST=, "" for as the phone has it; `context` the PDP context that `apn` is for.
    `keep_connected` holds the radio link open, else it is closed `disconnect_after` seconds after its last use.
    """

    name: str = ""
    match: Match = Match()
    usbserial: bool = False
    speed: int = 115200
    flow: Flow = Flow.RTSCTS
    init: tuple[str, ...] = ()
    profile: Profile = Profile.NONE
    country: str = ""
    pin_file: str = ""
    pin_credential: str = ""
    apn: str = ""
    context: int = 1
    bearer: str = ""
    keep_connected: bool = False
    disconnect_after: float = 20.0
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Pauses between calls, doubled from `first` to `max`; `attempts` in a row and `per_day` are 0 for no limit."""

    first: float = 5.0
    max: float = 600.0
    attempts: int = 0
    per_day: int = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """One `[policy.NAME]`.  `timeout` bounds one dialling, `max_duration` (0 = none) one connected call, `ring_back`
    (0 = no) the time from the end of a first, short ringing to the call that is answered."""

    name: str
    mode: Mode
    session: str = ""
    rings: int = 2
    allow_callers: tuple[str, ...] = ()
    deny_callers: tuple[str, ...] = ()
    ring_back: float = 0.0
    max_duration: float = 0.0
    when: When = When.ALWAYS
    numbers: tuple[str, ...] = ()
    dial_command: str = "ATDT"
    timeout: float = 70.0
    retry: Retry = Retry()


@dataclass(frozen=True, slots=True)
class LoginStep:
    """One step of the dialogue before PPP: wait for `expect[0]`, then send `send`.

    `expect` alternates between what is waited for and what is sent when it does not come in time, as in chat(8), so its
    length is odd.  `timeout` 0 is the session's `login_timeout`.
    """

    expect: tuple[str, ...]
    send: str
    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class Radius:
    """Servers as (host, port) of the authentication, tried in order; accounting goes to the port above."""

    servers: tuple[tuple[str, int], ...]
    secret_file: str = ""
    secret_credential: str = ""
    accounting: bool = True
    nas_identifier: str = ""


@dataclass(frozen=True, slots=True)
class PppSession:
    """`type = "ppp"`.  `dns` asks the far end for name servers, `dns_servers` tells them to it; `idle` 0 is never;
    `mtu` and `mru` 0 are pppd's own.  A server gives `remote`, or one address of `pool` (first, last); `max_sessions` 0
    is no limit.  `auto_login` stands for a dialogue that is made up as the far end asks."""

    name: str
    role: Role = Role.CLIENT
    user: str = ""
    password_file: str = ""
    password_credential: str = ""
    default_route: bool = False
    metric: int = 700
    dns: bool = False
    idle: float = 0.0
    login: tuple[LoginStep, ...] = ()
    auto_login: bool = False
    login_timeout: float = 45.0
    login_abort: tuple[str, ...] = ()
    mtu: int = 0
    mru: int = 0
    compression: bool = True
    ipv6: bool = True
    routes: tuple[str, ...] = ()
    options: Argv = ()
    local: str = ""
    remote: str = ""
    pool: tuple[str, str] = ("", "")
    dns_servers: tuple[str, ...] = ()
    proxy_arp: bool = False
    max_sessions: int = 0
    auth: tuple[Auth, ...] = ()
    radius: Radius | None = None


@dataclass(frozen=True, slots=True)
class TcpSession:
    """`type = "tcp"`: the line is joined to a TCP service; an IPv6 host stands here without its brackets.  `telnet`:
    the service speaks telnet, the caller does not."""

    name: str
    host: str
    port: int
    telnet: bool = False


@dataclass(frozen=True, slots=True)
class LoginSession:
    """`type = "login"`: agetty and login on the line; `root`: whether root may log in; `login_timeout` until in.

    `callback` has (user, number): who logs in under that name is hung up and called back there.  `issue_file` "" is
    /etc/issue; `terminal` is the caller's TERM.
    """

    name: str
    root: bool = False
    login_timeout: float = 60.0
    issue_file: str = ""
    terminal: str = "vt100"
    callback: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AutoSession:
    """`type = "auto"`: the session `ppp` for a caller whose machine speaks PPP, the session `login` for any other.

    `login` "" is a login session with nothing configured; `wait` is how long a silent caller is listened to.
    """

    name: str
    ppp: str
    login: str = ""
    wait: float = 5.0


@dataclass(frozen=True, slots=True)
class ExecSession:
    """`type = "exec"`: the line is the program's stdin, stdout and stderr; `user` "" is the daemon's own."""

    name: str
    command: Argv
    user: str = ""


@dataclass(frozen=True, slots=True)
class ClientSession:
    """`type = "client"`: a client on the bus takes the data stream with Open()."""

    name: str


CLIENT = "client"
"""The session that needs no configuration: a call for which nobody has said another has it."""

PlainSession = PppSession | TcpSession | LoginSession | ExecSession | ClientSession
"""What can hold a line itself."""
Session = PlainSession | AutoSession


@dataclass(frozen=True, slots=True)
class Config:
    """All of it; `modems` stand in the order in which they are tried."""

    daemon: Daemon = Daemon()
    modems: tuple[ModemEntry, ...] = ()
    policies: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType({}))
    sessions: Mapping[str, Session] = field(default_factory=lambda: MappingProxyType({}))

    def session(self, name: str) -> Session | None:
        """The session of that name; CLIENT is always there."""
        return self.sessions.get(name) or (ClientSession(name) if name == CLIENT else None)
