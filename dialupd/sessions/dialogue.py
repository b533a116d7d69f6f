"""The dialogue before PPP as the configuration writes it: steps of expect and send, as in chat(8).

Pure: bytes and times come as arguments, what is to be done goes out as values.  A step waits for a text, literally,
then sends its answer and a CR.  Where the text does not come in time, the next of its sub-sends goes out and the next
of its sub-expects is waited for.  PPP begins as soon as the far end sends a PPP frame, which is then handed over whole,
or behind the last step once the far end is silent: before that its login may still echo what it hears, and pppd would
take the line for a loop.

How it fails decides whether there will be a further call.  A text of `login-abort`, or one that refuses when an
expected text fails to come, means behind the password that the far end does not take it: auth-failed, for a further
try may lock the account.  Everything else is negotiation-failed.  What came behind the password is never told, for
a far end may echo it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dialupd.config.values import LoginStep
from dialupd.model import EndReason
from dialupd.sessions.firstbytes import FRAME

# Seconds behind the last step: of silence that tells that the far end waits for us, and in all.
SETTLES: Final = 1.5
SETTLED: Final = 15.0
_KEPT: Final = 512
_TOLD: Final = 60
# Bytes of a frame's begin at most: the flag, and four bytes of which each may be escaped.
_HEADER: Final = 9

REFUSAL: Final = re.compile(
    r"incorrect|invalid|denied|refused|reject|fail|wrong|disabled|expired|locked|unknown user"
    r"|bad (?:password|login|user)|not (?:valid|authori[sz]ed|permitted)",
    re.IGNORECASE,
)
"""What a far end says that does not take a name and a password; it counts behind the password only."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send this."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Start:
    """Begin PPP; `rest` is what came of it already."""

    rest: bytes


@dataclass(frozen=True, slots=True)
class Fail:
    """The dialogue cannot go on; `text` is a sentence for a person."""

    reason: EndReason
    text: str


Action = Say | Start | Fail


class Dialogue(Protocol):
    """Talks until it gives Start or Fail, which is the last that it gives."""

    due: float
    """When to call `tick` if nothing comes before, on the clock of `now`."""

    def begin(self, now: float) -> list[Action]:
        """The first word, before anything is heard."""

    def feed(self, data: bytes, now: float) -> list[Action]:
        """What the far end said."""

    def tick(self, now: float) -> list[Action]:
        """It is `due`."""

    def hung_up(self) -> Fail:
        """The line is gone before the dialogue was over."""


class Frames:
    """Finds the first PPP frame in what comes."""

    def __init__(self) -> None:
        self._tail = bytearray()

    def feed(self, byte: int) -> bytes | None:
        """The frame's begin, once it is known for one."""
        self._tail.append(byte)
        del self._tail[:-_HEADER]
        found = FRAME.search(self._tail)
        return bytes(self._tail[found.start() :]) if found else None


class Aborts:
    """Watches for the texts of `login-abort`."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [(text, text.encode()) for text in texts]
        self._longest = max((len(raw) for _, raw in self._texts), default=0)
        self._tail = bytearray()

    def feed(self, byte: int) -> str:
        """The text that has come just now, "" for none."""
        self._tail.append(byte)
        del self._tail[: -max(self._longest, 1)]
        return next((text for text, raw in self._texts if self._tail.endswith(raw)), "")


def aborted(text: str, *, secret: bool) -> Fail:
    """How a text of `login-abort` ends the dialogue; `secret`: the password was sent before."""
    if secret:
        return Fail(EndReason.AUTH_FAILED, f'the far end said "{text}" behind the password')
    return Fail(EndReason.NEGOTIATION_FAILED, f'the far end said "{text}"')


def hung_up(heard: str, *, secret: bool) -> Fail:
    """How a hang-up ends the dialogue; `heard` is what came behind the password."""
    if secret and REFUSAL.search(heard):
        return Fail(EndReason.AUTH_FAILED, "the far end refused our name or password and hung up")
    if secret:
        return Fail(EndReason.NEGOTIATION_FAILED, "the far end hung up when it had our password")
    return Fail(EndReason.REMOTE_HANGUP, "the line was hung up during the login")


def fill(send: str, user: str, password: bytes) -> bytes:
    """`send` with `{user}` and `{password}` put in, once: what is put in is not looked at again."""
    values = {"{user}": user.encode(), "{password}": password}
    parts = re.split(r"(\{user\}|\{password\})", send)
    return b"".join(values.get(part, part.encode()) for part in parts) + b"\r"


class Steps:
    """The dialogue of the configured steps."""

    def __init__(
        self, steps: Sequence[LoginStep], aborts: Sequence[str], timeout: float, user: str, password: bytes
    ) -> None:
        self.due = 0.0
        self._steps = steps
        self._timeout = timeout
        self._user = user
        self._password = password
        self._aborts = Aborts(aborts)
        self._frames = Frames()
        self._step = 0
        self._turn = 0
        """Which text of the step's `expect` is waited for."""
        self._heard = bytearray()
        self._behind = bytearray()
        """What came behind the password."""
        self._secret = False
        self._settled: float | None = None
        """Behind the last step: when PPP begins at the latest."""

    def begin(self, now: float) -> list[Action]:
        return self._wait(now)

    def feed(self, data: bytes, now: float) -> list[Action]:
        done: list[Action] = []
        for index, byte in enumerate(data):
            done += self._byte(byte, now)
            if done and isinstance(done[-1], Start):
                return [*done[:-1], Start(done[-1].rest + data[index + 1 :])]
            if done and isinstance(done[-1], Fail):
                break
        if self._settled is not None:
            self.due = min(now + SETTLES, self._settled)
        return done

    def tick(self, now: float) -> list[Action]:
        if self._settled is not None:
            return [self._silent()]
        step = self._steps[self._step]
        if self._turn + 1 < len(step.expect):
            send = step.expect[self._turn + 1]
            self._turn += 2
            return [self._said(send), *self._wait(now)]
        seconds = step.timeout or self._timeout
        text = f'the far end did not say "{step.expect[self._turn]}" within {seconds:g} s'
        if not self._secret:
            return [Fail(EndReason.NEGOTIATION_FAILED, f'{text}; it said "{_printable(self._heard)}"')]
        if REFUSAL.search(_plain(self._behind)):
            return [Fail(EndReason.AUTH_FAILED, f"{text}, and refused our name or password")]
        return [Fail(EndReason.NEGOTIATION_FAILED, text)]

    def hung_up(self) -> Fail:
        return hung_up(_plain(self._behind), secret=self._secret)

    def _byte(self, byte: int, now: float) -> list[Action]:
        frame = self._frames.feed(byte)
        if frame is not None:
            return [Start(frame)]
        self._heard.append(byte)
        if self._secret:
            self._behind.append(byte)
            del self._behind[:-_KEPT]
        if text := self._aborts.feed(byte):
            return [aborted(text, secret=self._secret)]
        if self._settled is not None:
            return []
        expected = self._expected
        if not self._heard.endswith(expected):
            del self._heard[: -max(_KEPT, len(expected))]
            return []
        return [self._answer(), *self._wait(now)]

    @property
    def _expected(self) -> bytes:
        return self._steps[self._step].expect[self._turn].encode()

    def _answer(self) -> Say:
        send = self._steps[self._step].send
        self._step += 1
        self._turn = 0
        return self._said(send)

    def _said(self, send: str) -> Say:
        if "{password}" in send:
            self._secret = True
            self._behind.clear()
        return Say(fill(send, self._user, self._password))

    def _silent(self) -> Action:
        """The far end waits: for PPP, or for another try."""
        behind = _plain(self._behind)
        if self._secret and behind.rstrip().endswith(":") and REFUSAL.search(behind):
            return Fail(EndReason.AUTH_FAILED, "the far end refused our name or password")
        return Start(b"")

    def _wait(self, now: float) -> list[Action]:
        """Wait for the next text, or for silence behind the last."""
        if self._step == len(self._steps):
            self._settled = now + SETTLED
            self.due = now + SETTLES
            return []
        self._heard.clear()
        self.due = now + (self._steps[self._step].timeout or self._timeout)
        return []


def _plain(heard: bytes | bytearray) -> str:
    return heard.decode("utf-8", "replace")


def _printable(heard: bytes | bytearray) -> str:
    text = " ".join(_plain(heard).split())
    return "".join(c for c in text if c.isprintable())[-_TOLD:]
