"""The dialogue before PPP that is made up as the far end asks: `login = "auto"`.

Pure, as `dialogue` has it.  The far end is listened to; where it says nothing, a CR wakes it now and then.  Once its
text has paused, the open line at its end is read (`prompts`) and answered.  PPP begins with the first PPP frame, with a
line that says so, some time behind the command that starts it, or when the far end has been silent for long.

A password is sent once.  A far end that asks again behind it has refused it: another try, in this call or in a further
one, may lock the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dialupd.model import EndReason
from dialupd.sessions.dialogue import REFUSAL, Aborts, Action, Fail, Frames, Say, Start, aborted, hung_up
from dialupd.sessions.prompts import Asks, Prompt, asked, begins_ppp, refuses, seen

# Seconds.  The first CR wakes a terminal server that waits for one; the others come seldom, since each may be answered
# by a prompt of its own once a slow host has come to life.
FIRST_CR: Final = 1.0
NEXT_CR: Final = 3.0
# A text that stops for so long has come to its end; a modem that repeats a block makes shorter gaps.
PAUSE: Final = 0.4
# After so long a prompt may also be a line that was ended.
LONG_PAUSE: Final = 3.0
# Behind the command that starts PPP nothing more need come; elsewhere somebody may be thinking.
BEHIND_COMMAND: Final = 3.0
SILENCE: Final = 10.0
# A far end that never stops talking.
LONGEST: Final = 180.0

_MOST_NAMES: Final = 3
_MOST_COMMANDS: Final = 2
_MOST_ANSWERS: Final = 12
_KEPT: Final = 4096
_CR: Final = b"\r"
_ENDS: Final = b"\r\n"


class AutoLogin:
    """A `Dialogue`; `patience` is how long the far end may say nothing at all."""

    def __init__(self, aborts: Sequence[str], patience: float, user: str, password: bytes) -> None:
        self.due = 0.0
        self._patience = patience
        self._user = user.encode()
        self._password = password
        self._aborts = Aborts(aborts)
        self._frames = Frames()
        self._begun = self._latest = 0.0
        """When it began, and when something was heard or said last."""
        self._heard = bytearray()
        """What came behind our last word."""
        self._line = bytearray()
        self._sent = b""
        self._silent = True
        """Nothing was heard yet."""
        self._looked = 0
        """How often the present text was looked at since it paused."""
        self._names = self._commands = self._answers = 0
        self._secret = False
        self._command = False
        """Our last word was one that starts PPP."""

    def begin(self, now: float) -> list[Action]:
        self._begun = self._latest = now
        self.due = now + FIRST_CR
        return []

    def feed(self, data: bytes, now: float) -> list[Action]:
        for index, byte in enumerate(data):
            if (action := self._byte(byte)) is not None:
                return [Start(action.rest + data[index + 1 :])] if isinstance(action, Start) else [action]
        if now - self._begun > LONGEST:
            text = f"the far end talked for {LONGEST:.0f} s and did not come to PPP"
            return [Fail(EndReason.NEGOTIATION_FAILED, text)]
        self._silent = False
        self._looked = 0
        self._latest = now
        self.due = now + PAUSE
        return []

    def tick(self, now: float) -> list[Action]:
        if self._silent:
            if now - self._begun >= self._patience:
                return [Start(b"")]
            self.due = min(now + NEXT_CR, self._begun + self._patience)
            return [Say(_CR)]
        self._looked += 1
        match self._looked:
            case 1:
                self.due = self._latest + LONG_PAUSE
                return self._answer(self._asked(ended=False), now)
            case 2:
                self.due = self._latest + (BEHIND_COMMAND if self._command else SILENCE)
                return self._answer(self._asked(ended=True), now)
            case _:
                return [self._end_of_patience()]

    def hung_up(self) -> Fail:
        return hung_up(seen(self._heard), secret=self._secret)

    def _byte(self, byte: int) -> Start | Fail | None:
        frame = self._frames.feed(byte)
        if frame is not None:
            return Start(frame)
        if text := self._aborts.feed(byte):
            return aborted(text, secret=self._secret)
        self._heard.append(byte)
        del self._heard[:-_KEPT]
        if byte & 0x7F not in _ENDS:
            self._line.append(byte)
            del self._line[:-_KEPT]
            return None
        line = seen(self._line)
        self._line.clear()
        if self._answers and begins_ppp(line):  # a greeting may say anything
            return Start(b"")
        if self._secret and refuses(line):
            return Fail(EndReason.AUTH_FAILED, "the far end refused our name or password")
        return None

    def _asked(self, *, ended: bool) -> Prompt:
        return asked(seen(self._heard), seen(self._sent).strip(), ended=ended)

    def _answer(self, prompt: Prompt, now: float) -> list[Action]:
        if prompt.asks is Asks.NOTHING:
            return []
        self._answers += 1
        if self._answers > _MOST_ANSWERS:
            return [Start(b"")]
        match prompt.asks:
            case Asks.NAME | Asks.PASSWORD if self._secret:
                return [Fail(EndReason.AUTH_FAILED, f"the far end asked for {prompt.asks.value} behind the password")]
            case Asks.NAME:
                self._names += 1
                if self._names > _MOST_NAMES:
                    text = "the far end asked for the user's name again and again"
                    return [Fail(EndReason.NEGOTIATION_FAILED, text)]
                return [self._say(self._user, now)]
            case Asks.PASSWORD:
                self._secret = True
                return [self._say(self._password, now)]
            case Asks.CHOICE:
                self._commands += 1
                if self._commands > _MOST_COMMANDS:
                    return [Start(b"")]
                return [self._say(prompt.answer.encode(), now, command=True)]
            case _:
                return [self._say(b"", now)]

    def _say(self, word: bytes, now: float, *, command: bool = False) -> Say:
        self._sent = word
        self._command = command
        self._heard.clear()
        self._line.clear()
        self._looked = 0
        self._latest = now
        self.due = now + LONG_PAUSE
        return Say(word + _CR)

    def _end_of_patience(self) -> Start | Fail:
        if self._secret and REFUSAL.search(seen(self._heard)):
            return Fail(EndReason.AUTH_FAILED, "the far end refused our name or password and said no more")
        return Start(b"")
