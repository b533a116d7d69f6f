"""The dialogue of configured steps: what is said when, and how it ends."""

from __future__ import annotations

import pytest

from dialupd.config.values import LoginStep
from dialupd.model import EndReason
from dialupd.sessions.dialogue import SETTLED, SETTLES, Action, Fail, Say, Start, Steps, fill

FRAME = b"~\xff}#\xc0!}!}!} }4~"
CLASSIC = (LoginStep(("ogin:",), "{user}"), LoginStep(("ssword:",), "{password}"))


def steps(*made: LoginStep, aborts: tuple[str, ...] = ()) -> Steps:
    dialogue = Steps(made, aborts, 45.0, "web", b"s3cret")
    assert dialogue.begin(0.0) == []
    return dialogue


def heard(dialogue: Steps, data: bytes, chunk: int = 0, now: float = 1.0) -> list[Action]:
    done: list[Action] = []
    size = chunk or max(len(data), 1)
    for at in range(0, len(data), size):
        piece = data[at : at + size]
        if done and isinstance(done[-1], Start):
            done[-1] = Start(done[-1].rest + piece)
        else:
            done += dialogue.feed(piece, now)
    return done


@pytest.mark.parametrize("chunk", [0, 1, 2, 5])
def test_the_classic(chunk: int) -> None:
    done = heard(steps(*CLASSIC), b"Welcome\r\nlogin: web\r\nPassword:" + FRAME, chunk)
    assert done == [Say(b"web\r"), Say(b"s3cret\r"), Start(FRAME)]


@pytest.mark.parametrize("chunk", [0, 1, 4])
def test_a_frame_ends_the_dialogue(chunk: int) -> None:
    assert heard(steps(*CLASSIC), b"noise\x7e\x7e" + FRAME, chunk) == [Start(FRAME)]


def test_what_is_expected_next_is_not_looked_for_in_what_came_before() -> None:
    dialogue = steps(LoginStep(("a",), "1"), LoginStep(("a",), "2"))
    assert heard(dialogue, b"a") == [Say(b"1\r")]
    assert heard(dialogue, b"a") == [Say(b"2\r")]


def test_sub_expects() -> None:
    """As chat's `ogin:--ogin:-BREAK-ogin: {user}`."""
    dialogue = steps(LoginStep(("ogin:", "", "ogin:", "hello", "ogin:"), "{user}", timeout=5.0))
    assert dialogue.due == 5.0
    assert dialogue.tick(5.0) == [Say(b"\r")]
    assert dialogue.due == 10.0
    assert dialogue.tick(10.0) == [Say(b"hello\r")]
    assert heard(dialogue, b"login:") == [Say(b"web\r")]


def test_ppp_begins_once_the_far_end_is_silent() -> None:
    dialogue = steps(*CLASSIC)
    assert heard(dialogue, b"login:password:", now=1.0) == [Say(b"web\r"), Say(b"s3cret\r")]
    assert dialogue.due == 1.0 + SETTLES
    assert heard(dialogue, b"\r\nLast login: Monday, 2 failed logins\r\n", now=2.0) == []
    assert dialogue.due == 2.0 + SETTLES
    assert dialogue.tick(2.0 + SETTLES) == [Start(b"")]


def test_a_far_end_that_talks_on_and_on_is_interrupted() -> None:
    dialogue = steps(*CLASSIC)
    heard(dialogue, b"login:password:", now=1.0)
    heard(dialogue, b"more and ", now=SETTLED)
    heard(dialogue, b"more", now=SETTLED + 0.9)
    assert dialogue.due == SETTLED + 1.0
    assert dialogue.tick(SETTLED + 1.0) == [Start(b"")]


@pytest.mark.parametrize("said", [b"\r\nLogin incorrect\r\nlogin: ", b"\r\n% Access denied\r\n\r\nUsername: "])
def test_a_refusal_behind_the_last_step(said: bytes) -> None:
    dialogue = steps(*CLASSIC)
    heard(dialogue, b"login:password:")
    heard(dialogue, said)
    assert dialogue.tick(9.0) == [Fail(EndReason.AUTH_FAILED, "the far end refused our name or password")]


def test_timeouts_of_steps() -> None:
    dialogue = steps(LoginStep(("a",), "1"), LoginStep(("b",), "2", timeout=7.0))
    assert dialogue.due == 45.0
    heard(dialogue, b"a", now=10.0)
    assert dialogue.due == 17.0


def test_a_text_that_does_not_come() -> None:
    dialogue = steps(*CLASSIC)
    heard(dialogue, b"\x1b[2JWho are you?")
    assert dialogue.tick(45.0) == [
        Fail(EndReason.NEGOTIATION_FAILED, 'the far end did not say "ogin:" within 45 s; it said "[2JWho are you?"')
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\r\nLogin incorrect\r\nlogin: ", EndReason.AUTH_FAILED),
        (b"\r\nInvalid password s3cret", EndReason.AUTH_FAILED),
        (b"\r\nWelcome", EndReason.NEGOTIATION_FAILED),
    ],
)
def test_behind_the_password(said: bytes, reason: EndReason) -> None:
    dialogue = steps(*CLASSIC, LoginStep(("PPP",), ""))
    heard(dialogue, b"failed, login:password:")
    heard(dialogue, said)
    for end in (*dialogue.tick(46.0), dialogue.hung_up()):
        assert isinstance(end, Fail)
        assert end.reason is reason
        assert "s3cret" not in end.text


def test_a_hang_up_before_the_password_is_one() -> None:
    dialogue = steps(*CLASSIC)
    heard(dialogue, b"failed, login:")
    assert dialogue.hung_up().reason is EndReason.REMOTE_HANGUP


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"login: BUSY", EndReason.NEGOTIATION_FAILED), (b"login: password: incorrect", EndReason.AUTH_FAILED)],
)
@pytest.mark.parametrize("chunk", [0, 1])
def test_abort_texts(data: bytes, reason: EndReason, chunk: int) -> None:
    dialogue = steps(*CLASSIC, LoginStep(("PPP",), ""), aborts=("BUSY", "incorrect"))
    end = heard(dialogue, data, chunk)[-1]
    assert isinstance(end, Fail)
    assert end.reason is reason


def test_fill() -> None:
    assert fill("{user}/{password}", "{password}", b"{user}") == b"{password}/{user}\r"
    assert fill("plain", "u", b"p") == b"plain\r"
