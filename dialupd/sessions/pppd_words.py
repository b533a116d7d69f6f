"""What pppd says, as values: its log lines and its exit status.

Pure.  Two tables: one of the lines that ppp 2.4.9 and 2.5 write to `logfd` while `debug` is on, and one of every exit
status of pppd(8) (20 and 21 stand in pppd.h only).  A line that no entry knows says nothing.  pppd quotes what the far
end said within its own lines, so every pattern is anchored at the line's begin.

The status alone may mislead: pppd keeps one number, and what happens last overwrites it.  A far end that refuses a
password and hangs up at once makes 19 a 16, so what pppd said of the authentication decides.  So does what it said when
it gave up by itself: with `notty` it takes its own closing of the line, once a timer has run out, for a hang-up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from dialupd.model import EndReason, SessionState
from dialupd.sessions.base import Progress, SessionEnd

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
_RENAMED = re.compile(r"(?:Renamed interface|Detected interface name change from) \S+ to ([A-Za-z0-9_.-]{1,15}?)\.?$")
_LOCAL = re.compile(rf"local +IP address {_ADDRESS}$")
_REMOTE = re.compile(rf"remote +IP address {_ADDRESS}$")
_DNS = re.compile(rf"(primary|secondary) +DNS address {_ADDRESS}$")
_IPV6_UP = re.compile(r"(?:local|remote) +LL address [0-9A-Fa-f.:]+$")
_IPV4_ASKED = re.compile(r"sent \[IPCP ConfReq ")
_IPV4_REFUSED = re.compile(r"Protocol-Reject for .*\b0x8021\b|IPCP: timeout sending |IPCP terminated by peer")
_BYTES = re.compile(r"Sent (\d{1,19}) bytes, received (\d{1,19}) bytes\.?$")
_PEER_SPOKE = re.compile(r"rcvd \[LCP Conf")
_PEER_ENDED = re.compile(r"LCP terminated by peer")
_PROGRAM = re.compile(r"(?:/\S+/)?pppd: ")
_DEBUG = re.compile(r"(?:sent|rcvd) \[|Script |using channel |PAP: |Waiting for ")
_PEER_SAID = re.compile(
    r"(?:Remote message|(?:MS-)?CHAP authentication failed|Unknown MS-CHAP authentication failure): (.+)"
)
_WE_REFUSED = re.compile(
    r"(?:PAP|(?:MS-)?CHAP|EAP) authentication failed|Unknown MS-CHAP authentication failure"
    r"|EAP: peer reports authentication failure|MS-CHAPv2 mutual authentication failed"
    # pppd drops it without a word while LCP is negotiated anew, as on a line slower than lcp-restart
    r"|rcvd \[(?:PAP AuthNak|CHAP Failure) "
)
_NOT_ANSWERED = re.compile(
    r"No response to PAP authenticate-requests|CHAP authentication timed out|EAP: timeout waiting for Request"
)
_WE_PROVE = re.compile(r"sent \[(?:PAP AuthReq|CHAP Response|EAP Response) ")
_WE_ACCEPTED = re.compile(r"(?:PAP|CHAP|EAP) authentication succeeded")
_PEER_REFUSED = re.compile(
    r"Peer \S.* failed (?:PAP|CHAP|EAP) |PAP peer authentication failed|(?:PAP|EAP) authentication of peer failed"
    r"|peer refused to authenticate|EAP: no response to Requests"
)
# Why pppd ends the link by itself, and the exit status that this is.
_CAUSES: Final = (
    (re.compile(r"LCP: timeout sending Config-Requests"), 10),
    (re.compile(r"Terminating connection due to lack of activity"), 12),
    (re.compile(r"Connect time expired"), 13),
    (re.compile(r"No response to \d+ echo-requests"), 15),
    (re.compile(r"Serial line is looped back"), 17),
)
# That it cannot write a file of its own (its number, /etc/ppp/resolv.conf) ends no link: pppd goes on without.
_TROUBLE = re.compile(
    r"Failed (?!to create (?:pid file )?/)|"
    r"(?:pppd|/\S+/pppd): |In file |Couldn't |Could not |Can't |[Cc]annot |Error |Peer |peer |No |Interface "
    r"|[A-Z0-9]+: timeout|MPPE |MS-CHAPv2 mutual |.*(?:is not authorized|requires root)"
)
# What the library of the RADIUS plugin complains about, each function with its name.
_RADIUS = re.compile(r"(?:rc_[a-z_]+|RADIUS): +(.+)")
_MOST_KEPT: Final = 16
# Good news, and the first line of a long advice behind what says the same in short.
_NO_TROUBLE = re.compile(r"Peer .* authenticated with |(?:/\S+/)?pppd: (?:You need to create|This system lacks)")


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
    we_refused: bool = False
    peer_refused: bool = False
    not_answered: bool = False
    on_trial: bool = False
    """The far end has our name and password and has not said yet what it makes of them."""
    cause: int = 0
    trouble: str = ""
    radius: tuple[str, ...] = ()


def hear(said: Said, line: str) -> Said:
    """What is known after one more line; a state never goes back, whatever a renegotiation prints.

    The link runs when its addresses are known: with the line behind the local address, which tells the remote one if
    there is one, or with IPv6, which may come up first, when no IPv4 is asked for any more.
    """
    addressed = bool(said.local)
    said = _cause(_authentication(said, line), line)
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
        said = replace(said, dns=_servers(said.dns, match[2], first=match[1] == "primary"))
    elif _IPV6_UP.match(line):
        said = replace(said, ipv6_up=True)
    elif _IPV4_REFUSED.match(line):
        said = replace(said, asks_ipv4=False)
    elif match := _BYTES.match(line):
        said = replace(said, tx_bytes=int(match[1]), rx_bytes=int(match[2]))
    elif _PEER_ENDED.match(line):
        said = replace(said, peer_ended=True)
    elif match := _RADIUS.match(line):
        said = replace(said, radius=(*said.radius, match[1])[-_MOST_KEPT:])
    elif match := _PEER_SAID.match(line):
        said = replace(said, trouble=f'it said "{match[1].strip()}"')
    elif _TROUBLE.match(line) and not _NO_TROUBLE.match(line):
        said = replace(said, trouble=_PROGRAM.sub("", line))
    up = addressed or (said.ipv6_up and not said.asks_ipv4)
    if up and _ORDER.index(said.state) < _ORDER.index(SessionState.RUNNING):
        return replace(said, state=SessionState.RUNNING)
    for pattern, state in _STATES:
        if pattern.match(line) and _ORDER.index(state) > _ORDER.index(said.state):
            return replace(said, state=state)
    return said


def _servers(known: tuple[str, ...], server: str, *, first: bool) -> tuple[str, ...]:
    """At most two: a far end that negotiates again and again names others each time."""
    both = (server, *known[1:]) if first else (*known[:1], server)
    return tuple(dict.fromkeys(both))


def _authentication(said: Said, line: str) -> Said:
    if _WE_REFUSED.match(line):
        return replace(said, we_refused=True)
    if _PEER_REFUSED.match(line):
        return replace(said, peer_refused=True)
    if _WE_PROVE.match(line):
        return replace(said, on_trial=True)
    if _WE_ACCEPTED.match(line):
        return replace(said, on_trial=False)
    return replace(said, not_answered=True) if _NOT_ANSWERED.match(line) else said


def _cause(said: Said, line: str) -> Said:
    cause = next((status for pattern, status in _CAUSES if pattern.match(line)), 0)
    return replace(said, cause=said.cause or cause) if cause else said


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


@dataclass(frozen=True, slots=True)
class Exit:
    """What a status means; `hopeless`: every further call would end the same until a person has mended it."""

    reason: EndReason
    text: str
    hopeless: bool = False


EXITS: Final = {
    0: Exit(EndReason.SESSION_ENDED, "the link was closed"),
    1: Exit(_FAILED, "pppd met a fatal error"),
    2: Exit(_FAILED, "pppd refused its options; check `options` of the session and /etc/ppp/options", hopeless=True),
    3: Exit(
        _FAILED,
        "pppd is neither run by root nor setuid root; run dialupd as root or install pppd setuid root",
        hopeless=True,
    ),
    4: Exit(
        _FAILED,
        "the kernel has no PPP; `modprobe ppp_async` loads it where the kernel was built with it",
        hopeless=True,
    ),
    5: Exit(EndReason.SESSION_ENDED, "pppd was asked to end from outside"),
    6: Exit(_FAILED, "pppd found the port locked"),
    7: Exit(_FAILED, "pppd could not open the port"),
    8: Exit(_FAILED, "the connect script among pppd's options failed"),
    9: Exit(_FAILED, "the pty command among pppd's options failed", hopeless=True),
    10: Exit(EndReason.NEGOTIATION_FAILED, "PPP was spoken but no network protocol came up"),
    11: Exit(EndReason.PEER_AUTH_FAILED, "the far end did not prove who it is"),
    12: Exit(EndReason.IDLE, "the link was idle"),
    13: Exit(EndReason.MAX_DURATION, "pppd's maxconnect time is over"),
    14: Exit(EndReason.SESSION_ENDED, "the far end calls back"),
    15: Exit(EndReason.TIMEOUT, "the far end stopped answering"),
    16: Exit(EndReason.REMOTE_HANGUP, "the line was hung up"),
    17: Exit(EndReason.PEER_NOT_PPP, "the far end echoes what it hears and speaks no PPP"),
    18: Exit(_FAILED, "the init script among pppd's options failed"),
    19: Exit(EndReason.AUTH_FAILED, "the far end refused our name or password"),
    20: Exit(EndReason.SESSION_ENDED, "pppd's traffic limit is reached", hopeless=True),
    21: Exit(EndReason.REJECTED, "pppd's allow-number does not allow this caller"),
}
# These are overwritten by whichever end of the line comes first, so what was said of the authentication counts more.
_ANY_END: Final = frozenset({0, 5, 10, 15, 16})
_WITHOUT_TROUBLE: Final = frozenset({EndReason.SESSION_ENDED, EndReason.REMOTE_HANGUP, EndReason.IDLE})


def verdict(status: int, said: Said) -> SessionEnd:
    """Why pppd ended: its exit status (negative: the signal that killed it) seen in the light of its lines."""
    if status < 0:
        return SessionEnd(_FAILED, f"pppd was killed by signal {-status}")
    if status == 16 and said.cause:
        status = said.cause
    if status in _ANY_END and said.we_refused:
        status = 19
    elif status in _ANY_END and said.peer_refused:
        status = 11
    known = EXITS.get(status, Exit(_FAILED, f"pppd ended with the unknown status {status}"))
    if status == 10 and not said.peer_spoke:
        return SessionEnd(EndReason.PEER_NOT_PPP, "nothing of PPP came from the far end")
    if said.on_trial and (status == 16 or (status in (0, 5) and said.peer_ended)):
        return SessionEnd(EndReason.NEGOTIATION_FAILED, "the far end hung up when it had our name and password")
    if status in (0, 5) and said.peer_ended:
        return SessionEnd(EndReason.REMOTE_HANGUP, "the far end closed the link")
    if status == 19 and said.not_answered and not said.we_refused:
        known = Exit(EndReason.NEGOTIATION_FAILED, "the far end did not answer our name and password")
    text = known.text
    if said.trouble and known.reason not in _WITHOUT_TROUBLE:
        text = f"{text} ({said.trouble})"
    return SessionEnd(known.reason, text, known.hopeless)
