"""pppd's lines and exit statuses, as the tables of pppd_words know them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.model import EndReason, SessionState
from dialupd.sessions.base import Progress, SessionEnd
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


RANKS = ("primary  ", "secondary")


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
    assert verdict(0, end) == SessionEnd(EndReason.REMOTE_HANGUP, "the far end closed the link")
    assert verdict(5, end).reason is EndReason.REMOTE_HANGUP


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
    assert verdict(10, end).reason in (EndReason.PEER_NOT_PPP, EndReason.NEGOTIATION_FAILED)


def test_only_the_latest_two_name_servers_are_kept() -> None:
    lines = [f"{rank} DNS address 10.0.{number}.{at}" for number in range(99) for at, rank in enumerate(RANKS)]
    end, _ = said(lines)
    assert end.dns == ("10.0.98.0", "10.0.98.1")
    assert hear(end, "primary   DNS address 10.0.98.0").dns == end.dns
    assert hear(end, "primary   DNS address 10.0.98.1").dns == ("10.0.98.1",)
    assert hear(Said(), "secondary DNS address 10.0.0.1").dns == ("10.0.0.1",)


def test_table_of_exits_is_complete() -> None:
    assert set(EXITS) == set(range(22))
    assert all(known.text and known.reason is not EndReason.NONE for known in EXITS.values())


def test_what_a_person_must_mend_is_not_dialled_again() -> None:
    assert {status for status in EXITS if verdict(status, Said()).hopeless} == {2, 3, 4, 9, 20}


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
    assert verdict(status, said(lines)[0]).reason is reason


GIVES_UP = {
    "LCP: timeout sending Config-Requests": EndReason.PEER_NOT_PPP,
    "No response to 4 echo-requests": EndReason.TIMEOUT,
    "Terminating connection due to lack of activity.": EndReason.IDLE,
    "Connect time expired": EndReason.MAX_DURATION,
    "Serial line is looped back.": EndReason.PEER_NOT_PPP,
}


@pytest.mark.parametrize(("line", "reason"), GIVES_UP.items(), ids=GIVES_UP)
def test_pppd_s_own_end_is_no_hang_up(line: str, reason: EndReason) -> None:
    # so it ends with `notty`, ppp 2.4.9: the line was up to the last
    end = said([line, "Connection terminated.", "Modem hangup"])[0]
    assert verdict(16, end).reason is reason
    assert verdict(16, said(["Connection terminated.", "Modem hangup"])[0]).reason is EndReason.REMOTE_HANGUP


HUNG_UP = ["Modem hangup", "Connection terminated."]
TERMINATED = ["LCP terminated by peer (Failed to authenticate)", "Connection terminated."]
OVER_THE_PASSWORD = {
    # ppp 2.4.9 and 2.5: upap.c, chap-new.c and chap.c, chap_ms.c, eap.c
    "PAP": ["Remote message: Login incorrect", "PAP authentication failed"],
    "PAP without words": ["PAP authentication failed"],
    "PAP not spoken": ["PAP authentication failed due to protocol-reject"],
    "CHAP": ["CHAP authentication failed: Access denied", "CHAP authentication failed"],
    "CHAP without words": ["CHAP authentication failed", "CHAP authentication failed"],
    "MS-CHAP": ["MS-CHAP authentication failed: E=691 Authentication failure", "CHAP authentication failed"],
    "MS-CHAP of another code": ["Unknown MS-CHAP authentication failure: E=123 R=0", "CHAP authentication failed"],
    "MS-CHAP, the far end is not who it says": [
        "MS-CHAPv2 mutual authentication failed.", "CHAP authentication failed"
    ],
    "EAP": ["EAP: peer reports authentication failure"],
    "PAP while LCP is negotiated anew": [
        'rcvd [PAP AuthNak id=0x1 "Login incorrect"]', "Discarded non-LCP packet when LCP not open"
    ],
    "CHAP while LCP is negotiated anew": [
        'rcvd [CHAP Failure id=0x7e "Access denied"]', "Discarded non-LCP packet when LCP not open"
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", OVER_THE_PASSWORD.values(), ids=OVER_THE_PASSWORD)
@pytest.mark.parametrize(
    ("status", "last"), [(19, TERMINATED), (16, HUNG_UP), (15, []), (10, []), (5, HUNG_UP), (0, TERMINATED)]
)
def test_a_refused_password_is_one_however_the_line_ended(lines: list[str], status: int, last: list[str]) -> None:
    end, _ = said(["Connect: ppp0 <--> /dev/pts/3", "rcvd [LCP ConfReq id=0x1]", *lines, *last])
    assert verdict(status, end).reason is EndReason.AUTH_FAILED


@pytest.mark.parametrize("status", [11, 16, 15, 10, 5, 0])
@pytest.mark.parametrize(
    "line",
    [
        "Peer web failed CHAP authentication",
        "Peer web failed PAP Session verification",
        "PAP peer authentication failed for web",
        "PAP authentication of peer failed (protocol-reject)",
        "EAP authentication of peer failed on Protocol-Reject",
        "peer refused to authenticate: terminating link",
    ],
)
def test_a_caller_who_is_refused_is_one_however_the_line_ended(status: int, line: str) -> None:
    end, _ = said(["Connect: ppp0 <--> /dev/pts/3", "rcvd [LCP ConfReq id=0x1]", line, *HUNG_UP])
    assert verdict(status, end).reason is EndReason.PEER_AUTH_FAILED


@pytest.mark.parametrize(
    "line",
    [
        "Remote message: CHAP authentication failed",
        'rcvd [PAP AuthAck id=0x1 "PAP authentication failed"]',
        "CHAP authentication succeeded: PAP authentication failed",
        "Peer web authenticated with CHAP",
        "PAP peer authentication succeeded for failed CHAP",
    ],
)
def test_what_only_sounds_like_a_refusal(line: str) -> None:
    end, _ = said(["rcvd [LCP ConfReq id=0x1]", line])
    assert verdict(16, end).reason is EndReason.REMOTE_HANGUP
    assert verdict(10, end).reason is EndReason.NEGOTIATION_FAILED


@pytest.mark.parametrize(
    "line",
    [
        "No response to PAP authenticate-requests",
        "CHAP authentication timed out",
        "EAP: timeout waiting for Request from peer",
    ],
)
def test_no_answer_is_no_refusal(line: str) -> None:
    assert verdict(19, said([line])[0]).reason is EndReason.NEGOTIATION_FAILED


@pytest.mark.parametrize(
    "proof",
    [
        'sent [PAP AuthReq id=0x1 user="web" password=<hidden>]',
        'sent [CHAP Response id=0x7 <a0b1>, name = "web"]',
        "sent [EAP Response id=0x1 MD5-Challenge <Value 0a>]",
    ],
)
def test_a_hang_up_on_our_password_is_not_dialled_for_ever(proof: str) -> None:
    """The frame that refuses is often lost where the far end hangs up behind it."""
    end, _ = said(["rcvd [LCP ConfReq id=0x1]", proof])
    for status, line in ((16, "Modem hangup"), (0, "LCP terminated by peer (no)"), (5, "LCP terminated by peer")):
        assert verdict(status, hear(end, line)).reason is EndReason.NEGOTIATION_FAILED
    for word in ("PAP", "CHAP", "EAP"):
        taken = hear(end, f"{word} authentication succeeded")
        assert verdict(16, hear(taken, "Modem hangup")).reason is EndReason.REMOTE_HANGUP


def test_the_kernel_without_ppp() -> None:
    """As ppp 2.4.9 and 2.5.2 say it; the advice goes on over several lines."""
    lines = [
        "Couldn't open the /dev/ppp device: No such file or directory",
        "/usr/sbin/pppd: You need to create the /dev/ppp device node by",
        "executing the following command as root:",
        "        mknod /dev/ppp c 108 0",
    ]
    end = verdict(4, said(lines)[0])
    assert end.hopeless
    assert end.detail.endswith("(Couldn't open the /dev/ppp device: No such file or directory)")


@pytest.mark.parametrize(
    "line", ["Renamed interface ppp0 to isp.1", "Detected interface name change from ppp0 to isp.1."]
)
def test_an_interface_is_renamed(line: str) -> None:
    assert said(["Using interface ppp0", line])[0].interface == "isp.1"


def test_a_peer_that_is_who_it_says_is_no_trouble() -> None:
    assert said(["Peer web authenticated with CHAP"])[0].trouble == ""


def test_trouble_reaches_the_detail() -> None:
    end, _ = said(["/usr/sbin/pppd: In file /run/x: unrecognized option 'frob'"])
    assert "unrecognized option 'frob'" in verdict(2, end).detail
    end, _ = said(["Remote message: Login incorrect", "PAP authentication failed"])
    assert 'it said "Login incorrect"' in verdict(19, end).detail
    assert 'it said "E=691 Authentication failure"' in verdict(16, said(OVER_THE_PASSWORD["MS-CHAP"])[0]).detail
    assert "modprobe" in verdict(4, Said()).detail


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
