"""pppd's lines and exit statuses, as the tables of pppd_words know them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.model import EndReason, SessionState
from dialupd.sessions.base import Progress
from dialupd.sessions.pppd_words import EXITS, Said, changes, hear, is_detail, verdict

# What ppp 2.4.9 said on a call to an access server, shortened.
CLIENT = """\
using channel 1
Using interface ppp0
Connect: ppp0 <--> /dev/pts/3
sent [LCP ConfReq id=0x1 <asyncmap 0x0> <magic 0x2f4f> <pcomp> <accomp>]
rcvd [LCP ConfReq id=0x1 <asyncmap 0x0> <auth chap MD5> <magic 0x4c5d> <pcomp> <accomp>]
sent [LCP ConfAck id=0x1 <asyncmap 0x0> <auth chap MD5> <magic 0x4c5d> <pcomp> <accomp>]
rcvd [CHAP Challenge id=0x7 <4fc2>, name = "nas"]
sent [CHAP Response id=0x7 <a0b1>, name = "web"]
rcvd [CHAP Success id=0x7 "Access granted"]
CHAP authentication succeeded: Access granted
CHAP authentication succeeded
sent [IPCP ConfReq id=0x1 <compress VJ 0f 01> <addr 0.0.0.0> <ms-dns1 0.0.0.0> <ms-dns2 0.0.0.0>]
sent [CCP ConfReq id=0x1 <deflate 15> <deflate(old#) 15> <bsd v1 15>]
rcvd [IPCP ConfAck id=0x2 <compress VJ 0f 01> <addr 172.16.1.2> <ms-dns1 192.0.2.53> <ms-dns2 192.0.2.54>]
local  IP address 172.16.1.2
remote IP address 172.16.1.1
primary   DNS address 192.0.2.53
secondary DNS address 192.0.2.54
Script /etc/ppp/ip-up started (pid 311)
LCP terminated by peer
Connect time 2.5 minutes.
Sent 4021 bytes, received 88123 bytes.
Connection terminated.
""".splitlines()


def said(lines: list[str]) -> tuple[Said, list[Progress]]:
    now, steps = Said(), []
    for line in lines:
        old, now = now, hear(now, line)
        if progress := changes(old, now):
            steps.append(progress)
    return now, steps


def test_a_whole_call() -> None:
    end, steps = said(CLIENT)
    assert [step.session_state for step in steps if step.session_state] == [
        SessionState.ESTABLISH,
        SessionState.AUTHENTICATE,
        SessionState.NETWORK,
        SessionState.RUNNING,
        SessionState.TERMINATE,
    ]
    assert (end.interface, end.local, end.remote) == ("ppp0", "172.16.1.2", "172.16.1.1")
    assert end.dns == ("192.0.2.53", "192.0.2.54")
    assert (end.tx_bytes, end.rx_bytes) == (4021, 88123)
    assert verdict(0, end) == (EndReason.REMOTE_HANGUP, "the far end closed the link")
    assert verdict(5, end)[0] is EndReason.REMOTE_HANGUP


def test_no_authentication_and_no_debug() -> None:
    addresses = ["local  IP address 10.0.0.1", "remote IP address 10.0.0.2"]
    end, steps = said(["Using interface ppp1", "Connect: ppp1 <--> /dev/pts/9", *addresses])
    assert [step.session_state for step in steps if step.session_state] == [
        SessionState.ESTABLISH,
        SessionState.RUNNING,
    ]
    assert end.interface == "ppp1"


LINK_LOCAL = ["local  LL address fe80::1", "remote LL address fe80::2"]
ASKED = ["Connect: ppp0 <--> /dev/pts/3", "sent [IPCP ConfReq id=0x1 <addr 0.0.0.0>]"]
REFUSED = "Protocol-Reject for 'Internet Protocol Control Protocol' (0x8021) received"


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([*ASKED, *LINK_LOCAL], SessionState.NETWORK),
        ([*ASKED, *LINK_LOCAL, "local  IP address 10.0.0.1"], SessionState.NETWORK),
        ([*ASKED, *LINK_LOCAL, "local  IP address 10.0.0.1", "remote IP address 10.0.0.2"], SessionState.RUNNING),
        ([*ASKED, "local  IP address 10.0.0.1", "Script /etc/ppp/ip-up started (pid 9)"], SessionState.RUNNING),
        ([*ASKED, *LINK_LOCAL, REFUSED], SessionState.RUNNING),
        ([*ASKED, *LINK_LOCAL, "IPCP: timeout sending Config-Requests"], SessionState.RUNNING),
        ([*ASKED, REFUSED, *LINK_LOCAL], SessionState.RUNNING),
        ([*ASKED, REFUSED], SessionState.NETWORK),
        (["Connect: ppp0 <--> /dev/pts/3", *LINK_LOCAL], SessionState.RUNNING),
    ],
)
def test_ipv6_alone_makes_a_link_run_only_without_ipv4(lines: list[str], state: SessionState) -> None:
    end, _ = said(lines)
    assert end.state is state


def test_state_never_goes_back() -> None:
    end, _ = said([*CLIENT[:15], "sent [IPCP ConfReq id=0x2 <addr 1.2.3.4>]", "Connect: ppp0 <--> /dev/pts/3"])
    assert end.state is SessionState.RUNNING


@pytest.mark.parametrize(
    "line",
    [
        'rcvd [PAP AuthNak id=0x1 "local  IP address 6.6.6.6"]',
        "Remote message: local  IP address 6.6.6.6",
        "Remote message: LCP terminated by peer",
        "local  IP address 6.6.6.6 and more",
        "Using interface ../../etc",
    ],
)
def test_far_end_cannot_speak_for_pppd(line: str) -> None:
    end = hear(Said(), line)
    assert (end.interface, end.local, end.remote, end.dns, end.peer_ended) == ("", "", "", (), False)
    assert end.state in (SessionState.STARTING, SessionState.AUTHENTICATE)


@given(st.lists(st.text(max_size=80), max_size=5))
def test_any_text_is_harmless(lines: list[str]) -> None:
    end, _ = said(lines)
    assert verdict(10, end)[0] in (EndReason.PEER_NOT_PPP, EndReason.NEGOTIATION_FAILED)


def test_table_of_exits_is_complete() -> None:
    assert set(EXITS) == set(range(22))
    assert all(text and reason is not EndReason.NONE for reason, text in EXITS.values())


@pytest.mark.parametrize(
    ("status", "lines", "reason"),
    [
        (10, [], EndReason.PEER_NOT_PPP),
        (10, ["rcvd [LCP ConfReq id=0x1]"], EndReason.NEGOTIATION_FAILED),
        (11, [], EndReason.PEER_AUTH_FAILED),
        (12, [], EndReason.IDLE),
        (15, [], EndReason.TIMEOUT),
        (16, [], EndReason.REMOTE_HANGUP),
        (17, [], EndReason.PEER_NOT_PPP),
        (19, [], EndReason.AUTH_FAILED),
        (0, [], EndReason.SESSION_ENDED),
        (77, [], EndReason.SESSION_FAILED),
        (-9, [], EndReason.SESSION_FAILED),
    ],
)
def test_verdicts(status: int, lines: list[str], reason: EndReason) -> None:
    assert verdict(status, said(lines)[0])[0] is reason


def test_trouble_reaches_the_detail() -> None:
    end, _ = said(["/usr/sbin/pppd: In file /run/x: unrecognized option 'frob'"])
    assert "unrecognized option 'frob'" in verdict(2, end)[1]
    end, _ = said(["Remote message: Login incorrect", "PAP authentication failed"])
    assert 'it said "Login incorrect"' in verdict(19, end)[1]
    assert "modprobe" in verdict(4, Said())[1]


def test_what_pppd_goes_on_without_is_no_trouble() -> None:
    """In its unit it may not write to /run and /etc."""
    lines = [
        f"Failed to create {what}: Read-only file system" for what in ("pid file /run/ppp0.pid", "/etc/ppp/resolv.conf")
    ]
    assert said(lines)[0].trouble == ""
    assert said(["Failed to open /dev/ptmx", *lines])[0].trouble == "Failed to open /dev/ptmx"


def test_detail() -> None:
    assert is_detail("sent [LCP EchoReq id=0x1 magic=0x1]")
    assert not is_detail("local  IP address 1.2.3.4")
