"""What pppd says, as values: its log lines and its exit status.

Pure.  Two tables: one of the lines that ppp 2.4.9 and 2.5 write to `logfd` while `debug` is on, and one of every exit
status of pppd(8) (20 and 21 stand in pppd.h only).  A line that no entry knows says nothing.  pppd quotes what the far
end said within its own lines, so every pattern is anchored at the line's begin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from dialupd.model import EndReason, SessionState
from dialupd.sessions.base import Progress

_ADDRESS = r"([0-9A-Fa-f.:]{2,45})"

_STATES: Final = (
    (re.compile(r"Connect: \S+ <--> "), SessionState.ESTABLISH),
    (re.compile(r"(?:sent|rcvd) \[(?:PAP|CHAP|EAP) "), SessionState.AUTHENTICATE),
    (re.compile(r"(?:sent|rcvd) \[(?:IPCP|IPV6CP|CCP) ConfReq "), SessionState.NETWORK),
    (re.compile(r"LCP terminated by peer|Terminating on signal |Connection terminated\.|Modem hangup"),
     SessionState.TERMINATE),
    (re.compile(r"Terminating connection due to lack of activity|Connect time expired|No response to \d+ echo-req"),
     SessionState.TERMINATE),
)  # fmt: skip

_ORDER: Final = (
    SessionState.STARTING,
    SessionState.LOGIN,
    SessionState.ESTABLISH,
    SessionState.AUTHENTICATE,
    SessionState.NETWORK,
    SessionState.RUNNING,
    SessionState.TERMINATE,
)

_INTERFACE = re.compile(r"(?:Using interface|Connect:) ([A-Za-z0-9_.-]{1,15})(?: |$)")
_RENAMED = re.compile(r"Renamed interface \S+ to ([A-Za-z0-9_.-]{1,15})$")
_LOCAL = re.compile(rf"local +IP address {_ADDRESS}$")
_REMOTE = re.compile(rf"remote +IP address {_ADDRESS}$")
_DNS = re.compile(rf"(?:primary|secondary) +DNS address {_ADDRESS}$")
_IPV6_UP = re.compile(r"(?:local|remote) +LL address [0-9A-Fa-f.:]+$")
_IPV4_ASKED = re.compile(r"sent \[IPCP ConfReq ")
_IPV4_REFUSED = re.compile(r"Protocol-Reject for .*\b0x8021\b|IPCP: timeout sending |IPCP terminated by peer")
_BYTES = re.compile(r"Sent (\d{1,19}) bytes, received (\d{1,19}) bytes\.?$")
_PEER_SPOKE = re.compile(r"rcvd \[LCP Conf")
_PEER_ENDED = re.compile(r"LCP terminated by peer")
_PROGRAM = re.compile(r"(?:/\S+/)?pppd: ")
_DEBUG = re.compile(r"(?:sent|rcvd) \[|Script |using channel |PAP: |Waiting for ")
_PEER_SAID = re.compile(r"(?:Remote message|CHAP authentication failed): (.+)")
# That it cannot write a file of its own (its number, /etc/ppp/resolv.conf) ends no link: pppd goes on without.
_TROUBLE = re.compile(
    r"Failed (?!to create (?:pid file )?/)|"
    r"(?:pppd|/\S+/pppd): |In file |Couldn't |Could not |Can't |[Cc]annot |Error |Peer |peer |No |Interface "
    r"|[A-Z0-9]+: timeout|MPPE |.*(?:is not authorized|requires root)"
)


@dataclass(frozen=True, slots=True)
class Said:
    """All that pppd's lines told so far."""

    state: SessionState = SessionState.STARTING
    interface: str = ""
    local: str = ""
    remote: str = ""
    dns: tuple[str, ...] = ()
    rx_bytes: int = 0
    tx_bytes: int = 0
    ipv6_up: bool = False
    asks_ipv4: bool = False
    peer_spoke: bool = False
    peer_ended: bool = False
    trouble: str = ""


def hear(said: Said, line: str) -> Said:
    """What is known after one more line; a state never goes back, whatever a renegotiation prints.

    The link runs when its addresses are known: with the line behind the local address, which tells the remote one if
    there is one, or with IPv6, which may come up first, when no IPv4 is asked for any more.
    """
    addressed = bool(said.local)
    if line.startswith(("sent [", "rcvd [")):
        said = replace(
            said,
            peer_spoke=said.peer_spoke or _PEER_SPOKE.match(line) is not None,
            asks_ipv4=said.asks_ipv4 or _IPV4_ASKED.match(line) is not None,
        )
    elif match := _INTERFACE.match(line) or _RENAMED.match(line):
        said = replace(said, interface=match[1])
    elif match := _LOCAL.match(line):
        said = replace(said, local=match[1])
    elif match := _REMOTE.match(line):
        said = replace(said, remote=match[1])
    elif match := _DNS.match(line):
        said = said if match[1] in said.dns else replace(said, dns=(*said.dns, match[1]))
    elif _IPV6_UP.match(line):
        said = replace(said, ipv6_up=True)
    elif _IPV4_REFUSED.match(line):
        said = replace(said, asks_ipv4=False)
    elif match := _BYTES.match(line):
        said = replace(said, tx_bytes=int(match[1]), rx_bytes=int(match[2]))
    elif _PEER_ENDED.match(line):
        said = replace(said, peer_ended=True)
    elif match := _PEER_SAID.match(line):
        said = replace(said, trouble=f'it said "{match[1].strip()}"')
    elif _TROUBLE.match(line):
        said = replace(said, trouble=_PROGRAM.sub("", line))
    up = addressed or (said.ipv6_up and not said.asks_ipv4)
    if up and _ORDER.index(said.state) < _ORDER.index(SessionState.RUNNING):
        return replace(said, state=SessionState.RUNNING)
    for pattern, state in _STATES:
        if pattern.match(line) and _ORDER.index(state) > _ORDER.index(said.state):
            return replace(said, state=state)
    return said


def changes(old: Said, new: Said) -> Progress | None:
    """What an observer learns from the step `old` to `new`; None: nothing."""
    progress = Progress(
        session_state=new.state if new.state is not old.state else None,
        interface=new.interface if new.interface != old.interface else None,
        local_address=new.local if new.local != old.local else None,
        remote_address=new.remote if new.remote != old.remote else None,
        dns=new.dns if new.dns != old.dns else None,
        rx_bytes=new.rx_bytes if new.rx_bytes != old.rx_bytes else None,
        tx_bytes=new.tx_bytes if new.tx_bytes != old.tx_bytes else None,
    )
    return progress if progress != Progress() else None


def is_detail(line: str) -> bool:
    """Whether a line is negotiation detail, of use only while debugging."""
    return _DEBUG.match(line) is not None


_FAILED = EndReason.SESSION_FAILED

EXITS: Final = {
    0: (EndReason.SESSION_ENDED, "the link was closed"),
    1: (_FAILED, "pppd met a fatal error"),
    2: (_FAILED, "pppd refused its options; check `options` of the session and /etc/ppp/options"),
    3: (_FAILED, "pppd is neither run by root nor setuid root; run dialupd as root or install pppd setuid root"),
    4: (_FAILED, "the kernel has no PPP; `modprobe ppp_async` loads it where the kernel was built with it"),
    5: (EndReason.SESSION_ENDED, "pppd was asked to end from outside"),
    6: (_FAILED, "pppd found the port locked"),
    7: (_FAILED, "pppd could not open the port"),
    8: (_FAILED, "the connect script among pppd's options failed"),
    9: (_FAILED, "the pty command among pppd's options failed"),
    10: (EndReason.NEGOTIATION_FAILED, "PPP was spoken but no network protocol came up"),
    11: (EndReason.PEER_AUTH_FAILED, "the far end did not prove who it is"),
    12: (EndReason.IDLE, "the link was idle"),
    13: (EndReason.MAX_DURATION, "pppd's maxconnect time is over"),
    14: (EndReason.SESSION_ENDED, "the far end calls back"),
    15: (EndReason.TIMEOUT, "the far end stopped answering"),
    16: (EndReason.REMOTE_HANGUP, "the line was hung up"),
    17: (EndReason.PEER_NOT_PPP, "the far end echoes what it hears and speaks no PPP"),
    18: (_FAILED, "the init script among pppd's options failed"),
    19: (EndReason.AUTH_FAILED, "the far end refused our name or password"),
    20: (EndReason.SESSION_ENDED, "pppd's traffic limit is reached"),
    21: (EndReason.REJECTED, "pppd's allow-number does not allow this caller"),
}


def verdict(status: int, said: Said) -> tuple[EndReason, str]:
    """Why pppd ended: its exit status (negative: the signal that killed it) seen in the light of its lines."""
    if status < 0:
        return _FAILED, f"pppd was killed by signal {-status}"
    reason, text = EXITS.get(status, (_FAILED, f"pppd ended with the unknown status {status}"))
    if status == 10 and not said.peer_spoke:
        return EndReason.PEER_NOT_PPP, "nothing of PPP came from the far end"
    if status in (0, 5) and said.peer_ended:
        return EndReason.REMOTE_HANGUP, "the far end closed the link"
    if said.trouble and reason not in (EndReason.SESSION_ENDED, EndReason.REMOTE_HANGUP, EndReason.IDLE):
        return reason, f"{text} ({said.trouble})"
    return reason, text
