"""The dialogue that is made up as the far end asks, over transcripts of terminal servers, hosts and providers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.model import EndReason
from dialupd.sessions.autologin import LONGEST, SILENCE, AutoLogin
from dialupd.sessions.dialogue import Action, Fail, Say, Start
from dialupd.sessions.prompts import Asks, Prompt, asked, begins_ppp, refuses, seen

FRAME = b'~\xff}#\xc0!}!}!} }4}"}&} }*} } }%}&\xa4X\xcbs}\'}"}(}"\xa2\xd3~'
PLAIN_FRAME = b"~\xff\x03\xc0!\x01\x01\x00\x14\x02\x06~"


class Clock:
    """Holds a dialogue with a far end that is written down; its clock goes only when somebody waits."""

    def __init__(self, chunk: int, *, aborts: tuple[str, ...] = (), patience: float = 45.0) -> None:
        self.now = 100.0
        self.login = AutoLogin(aborts, patience, "web", b"s3cret")
        self.chunk = chunk
        self.said: list[bytes] = []
        self.end: Start | Fail | None = None
        self.take(self.login.begin(self.now))

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.end is None, "nothing comes behind the end"
            if isinstance(action, Say):
                self.said.append(action.data)
            else:
                self.end = action

    def hear(self, data: bytes) -> None:
        """In pieces; what comes behind the end is pppd's, as what the last piece gave back."""
        size = self.chunk or max(len(data), 1)
        for piece in (data[at : at + size] for at in range(0, len(data), size)):
            if isinstance(self.end, Start):
                self.end = Start(self.end.rest + piece)
            elif self.end is None:
                self.now += 0.01
                self.take(self.login.feed(piece, self.now))

    def wait(self) -> None:
        """Until something is said, or it is over."""
        before = len(self.said)
        while self.end is None and len(self.said) == before:
            assert self.login.due >= self.now
            self.now = self.login.due
            self.take(self.login.tick(self.now))


CISCO = [
    (b"\r\n\r\nUser Access Verification\r\n\r\nUsername: ", b"web\r"),
    (b"web\r\nPassword: ", b"s3cret\r"),
    (b"\r\n\r\nas5300>", b"ppp\r"),
    (b"ppp\r\nEntering PPP mode.\r\n", None),
]
LIVINGSTON = [
    (b"\r\nts1.example.net (S12) login: ", b"web\r"),
    (b"web\r\nPassword: ", b"s3cret\r"),
    (b"\r\nPPP session from (10.0.0.1) to 10.0.0.77 beginning....\r\n", None),
]
ASCEND = [
    (b"** Ascend Pipeline Terminal Server **\r\n\r\nLogin: ", b"web\r"),
    (b"web\r\nPassword: ", b"s3cret\r"),
    (b"\r\n\r\n   Entering PPP Mode.\r\n   IP address is 10.1.2.3\r\n", None),
]
SHIVA = [
    (b"@ Userid: ", b"web\r"),
    (b"web\r\nPassword? ", b"s3cret\r"),
    (b"\r\nShiva LanRover/8E, Patch 4.5.0\r\nLR> ", b"ppp\r"),
    (b"ppp\r\nPacket mode enabled\r\n", None),
]
ANNEX = [
    (b"\r\nAnnex Command Line Interpreter   *   Copyright (C) 1988, 1997\r\n\r\n", b""),
    (b"Checking authorization, Please wait...\r\nAnnex username: ", b"web\r"),
    (b"web\r\nAnnex password: ", b"s3cret\r"),
    (b"\r\n\r\nPermission granted\r\n\x07annex: ", b"ppp\r"),
    (b"ppp\r\nSwitching to PPP.\r\n", None),
]
UNIX = [
    (b"\r\nDebian GNU/Linux 12 isp ttyS0\r\n\r\nisp login: ", b"web\r"),
    (b"web\r\nPassword: ", b"s3cret\r"),
    (
        b"\r\nLinux isp 6.1.0\r\nLast login: Tue Nov  3 12:00:01 UTC 2026 on ttyS0\r\n"
        b"There were 2 failed login attempts since the last successful login.\r\nYou have mail.\r\nweb@isp:~$ ",
        b"ppp\r",
    ),
    (b"ppp\r\n", None),
]
MENU = [
    (b"Welcome to ExampleNet\r\nEnter your user name: ", b"web\r"),
    (b"web\r\nEnter your password: ", b"s3cret\r"),
    (b"\r\n\r\n  1) Shell account\r\n  2) SLIP\r\n  3) PPP\r\n  4) Quit\r\n\r\nYour choice [1-4]: ", b"3\r"),
    (b"3\r\nStarting PPP now\r\n", None),
]
ROWS = [
    (b"Login:", b"web\r"),
    (b"\r\nPassword:", b"s3cret\r"),
    (
        b"\r\n cslip   Compressed SLIP\r\n pp      Point to Point Protocol (PPP)\r\n quit    Leave\r\n\r\nservice> ",
        b"pp\r",
    ),
    (b"pp\r\n", None),
]
INLINE = [
    (b"User ID (ex: jsmith):", b"web\r"),
    (b"web\r\nPassword:", b"s3cret\r"),
    (b"\r\nSelect service (1=SLIP, 2=PPP): ", b"2\r"),
    (b"\r\n", None),
]
PAGED = [
    (b"\x1b[2J\x1b[1;1HACME Online\r\nPlease press ENTER to continue", b"\r"),
    (b"\r\nlogon: ", b"web\r"),
    (b"\r\nPassword for web: ", b"s3cret\r"),
    (b"\r\n", None),
]
LINE_PASSWORD = [
    (b"\r\nUser Access Verification\r\n\r\nPassword: ", b"s3cret\r"),
    (b"\r\nas2511>", b"ppp\r"),
    (b"ppp\r\nEntering PPP mode.\r\nAsync interface address is unnumbered (Ethernet0)\r\n"
     b"Your IP address is 10.9.8.7. MTU is 1500 bytes\r\n", None),
]  # fmt: skip
SPANISH = [
    (b"Usuario: ", b"web\r"),
    (b"web\r\nContrase\xc3\xb1a: ", b"s3cret\r"),
    (b"\r\n", None),
]
SEVEN_BITS = [
    (bytes(byte | 0x80 for byte in b"\r\nlogin: "), b"web\r"),
    (bytes(byte | 0x80 for byte in b"web\r\nPassword: "), b"s3cret\r"),
    (b"\r\n", None),
]
PROMPTS_ON_LINES = [
    (b"ExampleNet\r\nEnter Username:\r\n", b"web\r"),
    (b"Enter Password:\r\n", b"s3cret\r"),
    (b"OK\r\n", None),
]
SCRIPTS = {
    "cisco": CISCO, "livingston": LIVINGSTON, "ascend": ASCEND, "shiva": SHIVA, "annex": ANNEX, "unix": UNIX,
    "menu": MENU, "rows": ROWS, "inline": INLINE, "paged": PAGED, "line password": LINE_PASSWORD, "spanish": SPANISH,
    "seven bits": SEVEN_BITS, "prompts on lines": PROMPTS_ON_LINES,
}  # fmt: skip


@pytest.mark.parametrize("chunk", [0, 1, 2, 3, 7], ids=lambda chunk: f"chunks of {chunk or 'all'}")
@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("frame", [FRAME, PLAIN_FRAME], ids=["escaped", "plain"])
def test_gets_in(name: str, chunk: int, frame: bytes) -> None:
    clock = Clock(chunk)
    for heard, answer in SCRIPTS[name]:
        if answer is None:
            clock.hear(heard + frame)
            break
        before = len(clock.said)
        clock.hear(heard)
        if answer:
            clock.wait()
            assert clock.said[before:] == [answer], heard
    assert isinstance(clock.end, Start), clock.end
    assert clock.end.rest.endswith(frame), "no byte of it is lost"


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (b"\r\nLogin incorrect\r\n", "refused"),
        (b"\r\n% Authentication failed.\r\n", "refused"),
        (b"\r\n% Login invalid\r\n\r\nUsername: ", "refused"),
        (b"\r\n% Access denied\r\n", "refused"),
        (b"\r\nInvalid Login\r\nlogin: ", "refused"),
        (b"\r\nBad password.\r\n", "refused"),
        (b"\r\nUnknown user name or account: web\r\n", "refused"),
        (b"\r\n\r\nlogin: ", "the user's name behind the password"),
        (b"\r\nPassword: ", "the password behind the password"),
        (b"\r\nSorry, we could not let you in: your account was disabled by the operator, call us\r\n", "said no more"),
    ],
)
@pytest.mark.parametrize("chunk", [0, 1])
def test_a_refused_password_is_not_said_again(last: bytes, text: str, chunk: int) -> None:
    clock = Clock(chunk)
    clock.hear(b"login: ")
    clock.wait()
    clock.hear(b"web\r\nPassword: ")
    clock.wait()
    clock.hear(last)
    while clock.end is None:
        clock.wait()
    assert isinstance(clock.end, Fail)
    assert clock.end.reason is EndReason.AUTH_FAILED
    assert text in clock.end.text
    assert clock.said.count(b"s3cret\r") == 1
    assert "s3cret" not in clock.end.text


def test_the_far_end_hangs_up() -> None:
    clock = Clock(0)
    assert clock.login.hung_up().reason is EndReason.REMOTE_HANGUP
    clock.hear(b"Password: ")
    clock.wait()
    assert clock.login.hung_up().reason is EndReason.NEGOTIATION_FAILED
    clock.hear(b"\r\nSorry, that was a wrong one. s3cret")
    fail = clock.login.hung_up()
    assert fail.reason is EndReason.AUTH_FAILED
    assert "s3cret" not in fail.text


def test_a_silent_far_end_is_woken_now_and_then_and_then_ppp_begins() -> None:
    clock = Clock(0, patience=10.0)
    while clock.end is None:
        clock.wait()
    assert clock.said == [b"\r"] * 3
    assert clock.end == Start(b"")
    assert clock.now == 110.0


def test_a_greeting_does_not_begin_ppp() -> None:
    clock = Clock(1)
    clock.hear(b"Your IP address is 10.0.0.1\r\nEntering PPP mode\r\nlogin: ")
    clock.wait()
    assert (clock.said, clock.end) == ([b"web\r"], None)


def test_ppp_at_once() -> None:
    clock = Clock(1)
    clock.hear(b"\x00\xff" + FRAME)
    assert clock.end == Start(FRAME)
    assert clock.said == []


def test_behind_the_command_ppp_begins_soon_and_else_after_a_long_silence() -> None:
    clock = Clock(0)
    clock.hear(b"ts>")
    clock.wait()
    begun = clock.now
    clock.hear(b"ppp\r\n")
    clock.wait()
    assert clock.end == Start(b"")
    assert clock.now - begun < 5
    clock = Clock(0)
    clock.hear(b"Welcome to nowhere\r\n")
    clock.wait()
    assert clock.end == Start(b"")
    assert clock.now == pytest.approx(100.0 + SILENCE, abs=0.1)


def test_unknown_prompts_and_names_have_a_limit() -> None:
    clock = Clock(0)
    for _ in range(3):
        clock.hear(b"\r\nwhat> ")
        clock.wait()
    assert (clock.said, clock.end) == ([b"ppp\r"] * 2, Start(b""))
    clock = Clock(0)
    for _ in range(4):
        clock.hear(b"\r\nlogin: ")
        clock.wait()
    assert isinstance(clock.end, Fail)
    assert (clock.said, clock.end.reason) == ([b"web\r"] * 3, EndReason.NEGOTIATION_FAILED)


def test_a_far_end_that_never_stops() -> None:
    clock = Clock(0)
    while clock.end is None:
        clock.hear(b"bla\r\n")
        assert clock.now < 101 + LONGEST
    assert isinstance(clock.end, Fail)
    assert clock.end.reason is EndReason.NEGOTIATION_FAILED


def test_abort_texts() -> None:
    for before, reason in ((b"", EndReason.NEGOTIATION_FAILED), (b"Password:", EndReason.AUTH_FAILED)):
        clock = Clock(1, aborts=("all ports busy",))
        if before:
            clock.hear(before)
            clock.wait()
        clock.hear(b"\r\nSorry, all ports busy")
        assert isinstance(clock.end, Fail)
        assert clock.end.reason is reason
        assert "all ports busy" in clock.end.text


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("login:", Asks.NAME), ("ppp login: ", Asks.NAME), ("hostname login: ", Asks.NAME), ("Username> ", Asks.NAME),
        ("Enter your userid:", Asks.NAME), ("User ID? ", Asks.NAME), ("Sign-On:", Asks.NAME), ("Name:", Asks.NAME),
        ("Benutzerkennung: ", Asks.NAME), ("Login ID [5 characters]: ", Asks.NAME),
        ("Password:", Asks.PASSWORD), ("Enter password> ", Asks.PASSWORD), ("web's Password: ", Asks.PASSWORD),
        ("Passwort: ", Asks.PASSWORD), ("Password (8 characters): ", Asks.PASSWORD), ("Mot de passe : ", Asks.PASSWORD),
        ("$ ", Asks.CHOICE), ("ts1# ", Asks.CHOICE), ("Command:", Asks.CHOICE), ("Host Name:", Asks.CHOICE),
        ("-- More --", Asks.KEY), ("Hit any key to go on", Asks.KEY),
        ("TERM = (vt100) ", Asks.KEY), ("Terminal type? ", Asks.KEY),
        # the password is for none of these
        ("New password:", Asks.NOTHING), ("Change your password?", Asks.NOTHING), ("Forgot password?", Asks.NOTHING),
        ("Password incorrect:", Asks.NOTHING), ("Verify password:", Asks.NOTHING), ("Bad password.", Asks.NOTHING),
        ("Your password expires in 3 days.", Asks.NOTHING), ("Password accepted", Asks.NOTHING),
        ("Passport number:", Asks.CHOICE), ("compass:", Asks.CHOICE), ("Password", Asks.NOTHING),
        # not prompts at all
        ("Last login: Tue Nov 3", Asks.NOTHING), ("Last login:", Asks.CHOICE), ("hello", Asks.NOTHING),
        ("", Asks.NOTHING), ("login: \r\n", Asks.NOTHING), ("x" * 500 + ":", Asks.NOTHING),
        ("login: web", Asks.NOTHING),
    ],
)  # fmt: skip
def test_prompts(text: str, asks: Asks) -> None:
    assert asked(text).asks is asks


def test_our_own_words_are_no_prompt() -> None:
    assert asked("password:", "password:") == Prompt(Asks.NOTHING)


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ("1. SLIP  2. PPP  3. Telnet\r\n> ", "2"),
        ("[P] PPP\r\n[S] SLIP\r\nChoice: ", "P"),
        ("(4) Start a PPP session\r\n:", "4"),
        ("T  Telnet\r\nP  PPP\r\nOption? ", "P"),
        ("ppp - start PPP\r\nslip - start SLIP\r\n> ", "ppp"),
        ("Note: PPP users read news\r\nts> ", "ppp"),
        ("Type ppp to start PPP\r\nts> ", "ppp"),
    ],
)
def test_menus(lines: str, answer: str) -> None:
    assert asked(lines) == Prompt(Asks.CHOICE, answer)


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        ("Entering PPP mode.", True), ("   Entering PPP Mode.", True), ("Switching to PPP.", True),
        ("PPP session from (10.0.0.1) to 10.0.0.77 beginning....", True), ("Packet mode enabled", True),
        ("Your IP address is 10.0.0.1. MTU is 1500 bytes", True), ("PPP started", True),
        ("Type ppp to start PPP", False), ("3) PPP", False), ("Your IP address is logged", False),
    ],
)  # fmt: skip
def test_lines_that_begin_ppp(line: str, begins: bool) -> None:
    assert begins_ppp(line) is begins


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("Login incorrect", True), ("% Bad passwords", True), ("Access denied.", True),
        ("Invalid login, try again", True),
        ("*** Authentication failure ***", True), ("Password incorrect. Goodbye", True), ("Unknown user", True),
        ("There were 2 failed login attempts since the last successful login.", False),
        ("Unauthorized access is prohibited.", False),
        ("Login at 12:00, the last one failed at 11:00 from Rome", False),
        ("Welcome", False), ("", False),
    ],
)  # fmt: skip
def test_lines_that_refuse(line: str, refused: bool) -> None:
    assert refuses(line) is refused


def test_what_a_person_sees() -> None:
    assert seen(b"\x1b[1;31mlogin\x1b[0m:\x00 \x07") == "login: "


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
def test_any_bytes_are_harmless_and_the_password_goes_out_once_at_most(pieces: list[bytes], asking: bool) -> None:
    clock = Clock(0)
    for piece in pieces:
        clock.hear(piece + (b"\r\nPassword: " if asking else b""))
        if clock.end is None:
            clock.wait()
    assert clock.said.count(b"s3cret\r") <= int(asking)
