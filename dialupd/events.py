"""The kinds of events that the log tells, each with the id by which `journalctl -x` finds its explanation.

An id is for ever: what is written in a journal keeps it, and `systemd/dialupd.catalog` has one entry for each.  The
name is for people and filters (the field EVENT); it may stand for several ids, where one explanation would not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dialupd.model import EndReason


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is 32 hex digits, as journald wants MESSAGE_ID."""

    name: str
    id: str


DAEMON_STARTED = Event("daemon-started", "97aafc525a724d018b09bc1bef215fa6")
DAEMON_STOPPING = Event("daemon-stopping", "8eb825993850463ab1608e4c42ee46ab")
BUS_LOST = Event("bus-lost", "41084f30797d463ca89d9df13ef3a403")
BUS_BACK = Event("bus-back", "64071e2de764445dbf2b8691e01ce59a")
CONFIG_LOADED = Event("config-loaded", "2d5c45293301439d833ef0ed78f38012")
CONFIG_ERROR = Event("config-error", "a1fdcbaddaa04daf8f0aefb47c799e88")
PROBLEM = Event("problem", "3b5f5a867e9c4be99ed0f30a1277efdd")
MODEM_FOUND = Event("modem-found", "ef47a21ac1654cc6b65077ef7058b25a")
MODEM_GONE = Event("modem-gone", "4ae33d08f9f24250a3d634fb4cef1542")
MODEM_STATE = Event("modem-state", "2ff6a66b85944363820e722f2587991c")
MODEM_FAILED = Event("modem-failed", "e8ff8656c77e47efbe206e38b69d4bf1")
MODEM_UNSUPPORTED = Event("modem-unsupported", "8ddb3b139df94df5835ba37db1df2378")
POLICY_BLOCKED = Event("policy-blocked", "5754b040aaf741d5b765954d207866df")
POLICY_SUSPENDED = Event("policy-suspended", "9657727c1f874cbdb5ce7033f8474406")
POLICY_RESUMED = Event("policy-resumed", "c960017539f041e28f1474c6591b58f4")
RING = Event("ring", "81092e703ad248de9ce45de12c5a6401")
CALL_BEGUN = Event("call-begun", "7636020364994c8388c1b7e4a1975dcf")
CALL_RESUMED = Event("call-resumed", "7e77362e7037441bac20cec1a3e71249")
CALL_CONNECTED = Event("call-connected", "45930c36b6af4d9caf57d573c77c3d8c")
CALL_BACK_FAILED = Event("call-back-failed", "d61ae01bd0b54cbf83f3f697af21f210")
SESSION_RUNNING = Event("session-running", "5ceffec206a1400cb2e87c3fe9a54adc")
DEFECT = Event("defect", "586822089e8a40b0a32178bcfa73c655")
LOG_LOST = Event("log-lost", "633eb4c433934839b3efc3f81503798e")

_ENDS = {
    EndReason.LOCAL_HANGUP: "78edb7edd9c346eca4930945ebf66051",
    EndReason.REMOTE_HANGUP: "d62f77f819c14817923fd6638f5f6c4f",
    EndReason.BUSY: "b27b3ec139a5460ba7a3fd17c6d9ab08",
    EndReason.NO_ANSWER: "a9bc9e2d20fa4b60872065de907f1098",
    EndReason.NO_CARRIER: "566a1468674a47899f48777a6bcc2cb0",
    EndReason.NO_DIALTONE: "4884f6deb7384590a96687dffed956b0",
    EndReason.NO_MODULATOR: "ca2c006be419488faed84f7bdc5a8aeb",
    EndReason.VOICE: "d6ba4246d74b4b71b75dd8c074dd9bb7",
    EndReason.FAX: "42116927432b44d9a78f97e42753967e",
    EndReason.BLACKLISTED: "d32f96bc22c64805831ab19fa9fb8beb",
    EndReason.DELAYED: "9f9d9236b1904215b7fab2758789ef15",
    EndReason.LINE_IN_USE: "24acfe1e50f140c2a8d849caccf9970d",
    EndReason.DIGITAL_LINE: "929efeaa8c2b48ca91099a2e984c7d96",
    EndReason.TIMEOUT: "041501d1bab640d4b52e81193bee03eb",
    EndReason.MODEM_ERROR: "89123b3fbc1b4e15b87085466fe86e94",
    EndReason.MODEM_LOST: "a1a66ee343244fda9bb894f8e1509fb4",
    EndReason.REJECTED: "1e58168144754d9c9051660ff234ba5d",
    EndReason.OUTSIDE_HOURS: "be66bdb480d44299b64d5e4cc086748c",
    EndReason.COLLISION: "ea180c16fb9c428e82e45c3eeb956d82",
    EndReason.AUTH_FAILED: "e2288f986fad45cd93dd2c056db1d032",
    EndReason.PEER_AUTH_FAILED: "b4de5950744c4ba9b3d2776f32ed3022",
    EndReason.PEER_NOT_PPP: "1fab6af3a7614a6d9f971a419e7866ba",
    EndReason.NEGOTIATION_FAILED: "98ede19750e24dc49d5f39e09a9fe80f",
    EndReason.IDLE: "78aaf7cc76824d379c60b60a0f3f2113",
    EndReason.MAX_DURATION: "982dd88070c2443ab71611544df692d0",
    EndReason.SESSION_ENDED: "c96e4e6e88674f0a8fc53bd89edfbe07",
    EndReason.SESSION_FAILED: "83ba5b1c077946009b5530d08c5df76a",
    EndReason.SHUTDOWN: "12288eadb16a41e3afe015e8771d25a8",
}
CALL_ENDED: Mapping[EndReason, Event] = {reason: Event("call-ended", id) for reason, id in _ENDS.items()}
"""One for each reason: each has its own explanation."""

EVENTS: tuple[Event, ...] = (
    DAEMON_STARTED, DAEMON_STOPPING, BUS_LOST, BUS_BACK, CONFIG_LOADED, CONFIG_ERROR, PROBLEM,
    MODEM_FOUND, MODEM_GONE, MODEM_STATE, MODEM_FAILED, MODEM_UNSUPPORTED, POLICY_BLOCKED,
    POLICY_SUSPENDED, POLICY_RESUMED, RING, CALL_BEGUN, CALL_RESUMED, CALL_CONNECTED,
    SESSION_RUNNING, CALL_BACK_FAILED, DEFECT, LOG_LOST,
    *CALL_ENDED.values(),
)  # fmt: skip
