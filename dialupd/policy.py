"""What a policy decides: whether to answer, and when to dial again.

With `ring_back` only a second call is answered, as mgetty has it: whoever shares the line with a modem hears one short
ringing, and the modem takes the call that follows.

Pure: rings, callers, end reasons and days come as arguments, pauses go out as seconds.  Whoever holds a `Redial` keeps
the one that each step gives back.

Redialling is bounded in every way that costs money or harms others: pauses double, calls are counted in a row and by
the day, and what can never succeed stops at once.  An end that was wanted is no failure: the first pause follows it, so
that a short job does not dial without rest.  A stop lasts until a person lifts it (`Redial.resumed`), the one by
the day's limit until midnight at the longest.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dialupd.config.values import Mode, Policy, Retry, When
from dialupd.model import EndReason

GOOD_CALL = 45.0
"""Seconds connected after which a call counts as good and pauses begin anew (the time that wvdial takes)."""
DELAYED_PAUSE = 300.0
"""Seconds; the modem enforces a pause of its own, mostly one to five minutes, and refuses to dial before."""
BLACKLISTED_PAUSE = 7200.0
"""Seconds; modems keep a number on their list for between half an hour and two hours."""
LINE_PAUSE = 60.0
"""Seconds; somebody talks on the line, or a second call came in."""
HUMAN_PAUSE = 900.0
"""Seconds; a person or a fax has answered, who is not to be rung every few seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let it ring on."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Never answer this call."""

    reason: str


def caller_fits(patterns: Iterable[str], caller: str) -> bool:
    """Whether a pattern fits the whole number; "none" fits the call without one."""
    return any(
        pattern == "none" if not caller else pattern != "none" and fnmatch.fnmatchcase(caller, pattern)
        for pattern in patterns
    )


FIRST_RINGS = 4
"""The most that a first call may ring: who hangs up early rings once or twice, who rings on wants a person."""


@dataclass(frozen=True, slots=True)
class FirstCall:
    """A call that has rung and was not answered: its number, "" for none, and until when a second one is awaited."""

    caller: str
    until: float


def first_call(policy: Policy | None, rings: int, caller: str, now: float) -> FirstCall | None:
    """What a call that has rung so often in vain means for the next one; `now` is when it was over, on any clock."""
    if policy is None or policy.mode is not Mode.ANSWER or not policy.ring_back or rings > FIRST_RINGS:
        return None
    return FirstCall(caller, now + policy.ring_back)


def answer_decision(
    policy: Policy, rings: int, caller: str | None, began: float = 0.0, first: FirstCall | None = None
) -> Answer | Wait | Reject:
    """What to do at this ring of a call that `began` then, after a `first` one.

    `caller` is None as long as no number has come, "" if it is withheld.
    """
    if policy.mode is not Mode.ANSWER:
        return Wait()
    if policy.allow_callers or policy.deny_callers:
        if caller is None and rings < 2:  # the number comes between the first ring and the second
            return Wait()
        who = f"the caller {caller}" if caller else "a caller without a number"
        if caller_fits(policy.deny_callers, caller or ""):
            return Reject(f"{who} is in deny-callers of the policy {policy.name}")
        if policy.allow_callers and not caller_fits(policy.allow_callers, caller or ""):
            return Reject(f"{who} is not in allow-callers of the policy {policy.name}")
    if policy.ring_back:
        if first is None or began > first.until:
            return Wait()
        # Another number is somebody else's; where the first call had one, this one's is waited for.
        return Answer() if first.caller in ("", caller) else Wait()
    return Answer() if rings >= policy.rings else Wait()


@dataclass(frozen=True, slots=True)
class Next:
    """Dial `numbers[number]` after `delay` seconds."""

    delay: float
    number: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is dialled until somebody asks."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Blocked: nothing is dialled until a person lifts it, or if `for_today` until the day has changed."""

    reason: str
    for_today: bool = False


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a failure weighs: `turn` = it speaks against the number; `limit` = so many in a row stop.

    The pause of a rule that turns is owed to its number, so it is kept when all numbers have had their turn.
    """

    turn: bool = True
    pause: float = 0.0
    limit: int = 0
    text: str = ""


_NEVER = 1
_FEW = 5
RULES = {
    EndReason.NONE: _Rule(),
    EndReason.LOCAL_HANGUP: _Rule(turn=False),
    EndReason.REMOTE_HANGUP: _Rule(),
    EndReason.BUSY: _Rule(),
    EndReason.NO_ANSWER: _Rule(),
    EndReason.NO_CARRIER: _Rule(),
    EndReason.NO_DIALTONE: _Rule(turn=False),
    EndReason.NO_MODULATOR: _Rule(
        limit=_NEVER,
        text="the phone placed a voice call: it has no data modem; dial *99# or give the policy to another modem",
    ),
    EndReason.VOICE: _Rule(pause=HUMAN_PAUSE),
    EndReason.FAX: _Rule(pause=HUMAN_PAUSE),
    EndReason.BLACKLISTED: _Rule(pause=BLACKLISTED_PAUSE),
    EndReason.DELAYED: _Rule(turn=False, pause=DELAYED_PAUSE),
    EndReason.LINE_IN_USE: _Rule(turn=False, pause=LINE_PAUSE),
    EndReason.DIGITAL_LINE: _Rule(limit=_NEVER, text="the line is digital and may harm the modem; unplug it"),
    EndReason.TIMEOUT: _Rule(),
    EndReason.MODEM_ERROR: _Rule(turn=False),
    EndReason.MODEM_LOST: _Rule(turn=False),
    EndReason.REJECTED: _Rule(),
    EndReason.OUTSIDE_HOURS: _Rule(turn=False),
    EndReason.COLLISION: _Rule(turn=False, pause=LINE_PAUSE),
    EndReason.AUTH_FAILED: _Rule(
        limit=_NEVER, text="the far end refused user or password; mend them, or the account is locked before long"
    ),
    EndReason.PEER_AUTH_FAILED: _Rule(limit=_FEW, text="the far end did not prove who it is, again and again"),
    EndReason.PEER_NOT_PPP: _Rule(
        limit=_FEW, text="the far end does not speak PPP, again and again; it may want a login first"
    ),
    EndReason.NEGOTIATION_FAILED: _Rule(limit=_FEW, text="PPP found no common terms, again and again; see the log"),
    EndReason.IDLE: _Rule(turn=False),
    EndReason.MAX_DURATION: _Rule(turn=False),
    EndReason.SESSION_ENDED: _Rule(turn=False),
    EndReason.SESSION_FAILED: _Rule(limit=_FEW, text="the session failed again and again; see the log"),
    EndReason.SHUTDOWN: _Rule(turn=False),
}
# after this dialling again would undo what was wanted
RESTING = frozenset({EndReason.SHUTDOWN})
# somebody or something here wanted the end: it is no failure, however short the call was
WANTED = RESTING | {EndReason.LOCAL_HANGUP, EndReason.IDLE, EndReason.MAX_DURATION, EndReason.SESSION_ENDED}
# these are failures however long the line was up: PPP may take its time to find out
NEVER_GOOD = frozenset(
    {
        EndReason.NO_MODULATOR,
        EndReason.DIGITAL_LINE,
        EndReason.AUTH_FAILED,
        EndReason.PEER_AUTH_FAILED,
        EndReason.PEER_NOT_PPP,
        EndReason.NEGOTIATION_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Redial:
    """Where a policy stands: which number is next, and what failed before.

    `day` is any number that changes at midnight (a date's ordinal), `calls` counts the calls dialled on it.
    """

    retry: Retry
    numbers: int
    when: When
    number: int = 0
    failures: int = 0
    reason: EndReason = EndReason.NONE
    repeats: int = 0
    owed: float = 0.0
    day: int = 0
    calls: int = 0
    stopped: str = ""

    @classmethod
    def of(cls, policy: Policy, day: int, calls: int = 0) -> Redial:
        """A fresh start; `calls` were dialled on that day already (a restart does not forgive them)."""
        when = policy.when if policy.mode is Mode.ORIGINATE else When.MANUAL
        return cls(policy.retry, len(policy.numbers), when, day=day, calls=calls)

    def first(self, day: int) -> Next | Rest | Stop:
        """What to do when the policy comes into force, its modem gets ready, a block is lifted or the day changes."""
        if stop := self.blocked(day):
            return stop
        if self.when is not When.ALWAYS:
            return Rest()
        return Next(self._backoff() if self.failures else 0.0, self.number)

    def blocked(self, day: int) -> Stop | None:
        """Why nothing may be dialled under this policy, not even by hand."""
        if self.stopped:
            return Stop(self.stopped)
        if self.retry.per_day and day == self.day and self.calls >= self.retry.per_day:
            return Stop(f"{self.calls} calls were dialled today: the limit is retry.per-day", for_today=True)
        return None

    def after(
        self, reason: EndReason, connected: float, day: int, hopeless: str = "", *, dialled: bool = True
    ) -> tuple[Redial, Next | Rest | Stop]:
        """The end of one call that was connected for so many seconds: where the policy stands now.

        `hopeless` says why every further call would end the same way, "" where it might not; it stops at once.  One
        that was not `dialled`, since its modem was out of reach, has cost nothing and is none of the day's.
        """
        state = replace(self, day=day, calls=(self.calls if day == self.day else 0) + dialled)
        pause = 0.0
        good = connected > 0 if reason in WANTED else connected >= GOOD_CALL and reason not in NEVER_GOOD
        if good:
            state = replace(state, number=0, failures=0, reason=reason, repeats=0, owed=0.0)
        elif reason not in WANTED:  # dialling that was given up tells nothing of the number
            state, pause = state._failed(reason, RULES[reason])
        if hopeless:
            state = replace(state, stopped=hopeless)
        if stop := state.blocked(day):
            return state, stop
        if self.when is not When.ALWAYS or reason in RESTING:
            return state, Rest()
        return state, Next(max(state._backoff(), pause), state.number)

    def resumed(self, day: int) -> Redial:
        """As new, by a person's word: limits and pauses begin again."""
        return Redial(self.retry, self.numbers, self.when, day=day)

    def _failed(self, reason: EndReason, rule: _Rule) -> tuple[Redial, float]:
        """The state after one more failure, and the least pause that it asks for."""
        failures = self.failures + 1
        repeats = self.repeats + 1 if reason is self.reason else 1
        stopped = self.stopped
        if rule.limit and repeats >= rule.limit:
            stopped = rule.text
        elif self.retry.attempts and failures >= self.retry.attempts:
            stopped = f"{failures} calls in a row failed, the last one with {reason}: the limit is retry.attempts"
        number, pause, owed = self.number, rule.pause, self.owed
        if rule.turn:
            number = (number + 1) % max(self.numbers, 1)
            owed = max(owed, rule.pause)
            pause, owed = (owed, 0.0) if number == 0 else (0.0, owed)
        return replace(
            self, number=number, failures=failures, reason=reason, repeats=repeats, owed=owed, stopped=stopped
        ), pause

    def _backoff(self) -> float:
        """The pause after so many failures: first, twice that and so on, never longer than max."""
        doublings = min(max(self.failures - 1, 0), 32)
        return min(self.retry.first * float(2**doublings), self.retry.max)
