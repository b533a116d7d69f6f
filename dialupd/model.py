"""The words and values that every part shares.

Pure: no clock, no loop, no operating system.  The strings of the enumerations are what stands on the bus, in the
configuration and in the history, so they never change their spelling.  The `*View` values are complete snapshots: the
runtime publishes a new one at each change, and an observer (the bus, the history) compares it with the one before.

Times are microseconds since the epoch, realtime, 0 for "not yet"; rates are bit/s, 0 for "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Transport(StrEnum):
    """How a modem hangs on this machine."""

    CDC_ACM = "cdc-acm"
    USB_SERIAL = "usb-serial"
    BLUETOOTH = "bluetooth"
    SERIAL = "serial"
    NETWORK = "network"
    SOFTWARE = "software"


class DeviceClass(StrEnum):
    """What a Bluetooth device says it is: its major class (Bluetooth Assigned Numbers, section 2.8), with modems told
    apart from phones."""

    OTHER = ""
    COMPUTER = "computer"
    PHONE = "phone"
    MODEM = "modem"
    ACCESS_POINT = "access-point"


class ModemState(StrEnum):
    BINDING = "binding"
    PROBING = "probing"
    READY = "ready"
    RINGING = "ringing"
    ANSWERING = "answering"
    DIALING = "dialing"
    CONNECTED = "connected"
    HANGING_UP = "hanging-up"
    RESETTING = "resetting"
    DISABLED = "disabled"
    INHIBITED = "inhibited"
    BLOCKED = "blocked"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


class CallState(StrEnum):
    DIALING = "dialing"
    RINGING = "ringing"
    ANSWERING = "answering"
    CONNECTED = "connected"
    ENDED = "ended"


class SessionState(StrEnum):
    NONE = ""
    STARTING = "starting"
    LOGIN = "login"
    ESTABLISH = "establish"
    AUTHENTICATE = "authenticate"
    NETWORK = "network"
    RUNNING = "running"
    TERMINATE = "terminate"


class Direction(StrEnum):
    OUTGOING = "outgoing"
    INCOMING = "incoming"


class EndReason(StrEnum):
    """Why a call ended; "" while it goes on."""

    NONE = ""
    LOCAL_HANGUP = "local-hangup"
    REMOTE_HANGUP = "remote-hangup"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    NO_CARRIER = "no-carrier"
    NO_DIALTONE = "no-dialtone"
    NO_MODULATOR = "no-modulator"
    VOICE = "voice"
    FAX = "fax"
    BLACKLISTED = "blacklisted"
    DELAYED = "delayed"
    LINE_IN_USE = "line-in-use"
    DIGITAL_LINE = "digital-line"
    TIMEOUT = "timeout"
    MODEM_ERROR = "modem-error"
    MODEM_LOST = "modem-lost"
    REJECTED = "rejected"
    OUTSIDE_HOURS = "outside-hours"
    COLLISION = "collision"
    AUTH_FAILED = "auth-failed"
    PEER_AUTH_FAILED = "peer-auth-failed"
    PEER_NOT_PPP = "peer-not-ppp"
    NEGOTIATION_FAILED = "negotiation-failed"
    IDLE = "idle"
    MAX_DURATION = "max-duration"
    SESSION_ENDED = "session-ended"
    SESSION_FAILED = "session-failed"
    SHUTDOWN = "shutdown"


class ErrorKind(StrEnum):
    """The last element of the error's name on the bus."""

    FAILED = "Failed"
    INVALID_ARGS = "InvalidArgs"
    NOT_AUTHORIZED = "NotAuthorized"
    NOT_FOUND = "NotFound"
    WRONG_STATE = "WrongState"
    IN_PROGRESS = "InProgress"
    UNSUPPORTED = "Unsupported"
    TIMEOUT = "Timeout"
    THROTTLED = "Throttled"
    BLOCKED = "Blocked"


class DialupError(Exception):
    """A request that cannot be done: its kind for programs, its text (what, why, the mend) for a person."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Device:
    """A serial device as the kernel shows it; "" where the bus has no such thing.

    `sys_path` is the tty's, or for a device without a driver (`node == ""`) the USB device's.  `vendor` and `product`
    are four lower-case hex digits of the usb_device parent.  `interface` is bInterfaceNumber, two hex digits.

    A phone that bluetoothd knows has no node of the kernel's: `sys_path` and `node` are both "bluetooth:" and its
    `address`, "AA:BB:CC:DD:EE:FF"; `driver` is its service ("dun" or "spp"), `path` our adapter and `model` its name.
    """

    sys_path: str
    node: str
    transport: Transport
    bus: str = ""
    driver: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    interface: str = ""
    path: str = ""
    address: str = ""
    manufacturer: str = ""
    model: str = ""
    device_class: DeviceClass = DeviceClass.OTHER

    @property
    def radio(self) -> bool:
        """Whether the line to it is had from bluetoothd, not by opening a node."""
        return self.node.startswith(RADIO)

    @property
    def on_demand(self) -> bool:
        """Whether opening it begins a radio link, so that it is not opened just to look."""
        return self.transport is Transport.BLUETOOTH


RADIO = "bluetooth:"
"""What stands before a phone's address in place of a node."""


@dataclass(frozen=True, slots=True)
class ModemView:
    """All that is published of a modem; field names are the bus names in snake_case."""

    id: str
    name: str
    transport: Transport
    device: str = ""
    sys_path: str = ""
    driver: str = ""
    vendor_id: str = ""
    product_id: str = ""
    serial: str = ""
    address: str = ""
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    capabilities: tuple[str, ...] = ()
    modulations: tuple[str, ...] = ()
    signal: int = 0
    """dBm, 0 for "unknown"."""
    battery: int = -1
    """Percent, -1 for "unknown"."""
    state: ModemState = ModemState.PROBING
    state_reason: str = ""
    state_since: int = 0
    policy: str = ""
    call: int = 0
    rings: int = 0
    caller_id: str = ""
    attempts: int = 0
    next_attempt: int = 0


@dataclass(frozen=True, slots=True)
class CallView:
    """All that is published of a call and kept in the history; `modem` is the modem's id, `call` counts from 1."""

    call: int
    modem: str
    direction: Direction
    number: str = ""
    caller_id: str = ""
    caller_name: str = ""
    policy: str = ""
    session: str = ""
    state: CallState = CallState.DIALING
    session_state: SessionState = SessionState.NONE
    end_reason: EndReason = EndReason.NONE
    start_time: int = 0
    connect_time: int = 0
    end_time: int = 0
    line_rate: int = 0
    port_rate: int = 0
    modulation: str = ""
    error_control: str = ""
    compression: str = ""
    interface: str = ""
    local_address: str = ""
    remote_address: str = ""
    dns: tuple[str, ...] = ()
    rx_bytes: int = 0
    tx_bytes: int = 0
    detail: str = field(default="", compare=False)
    """A sentence on the end, "" where the reason says all: for the log, neither published nor kept."""


@dataclass(frozen=True, slots=True)
class DialOptions:
    """The options of Dial and Originate, checked; None and "" mean: as the policy says."""

    session: str = ""
    policy: str = ""
    timeout: float | None = None
    reverse: bool = False
    modulation: str = ""


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which calls History gives, newest first; None and "" do not narrow. `limit` 0 means no limit."""

    since: int = 0
    until: int = 0
    modem: str = ""
    policy: str = ""
    number: str = ""
    direction: str = ""
    limit: int = 0


Environment = Mapping[str, str]
