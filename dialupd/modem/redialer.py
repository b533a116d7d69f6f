"""When a modem dials by itself: `policy.Redial` with a clock, kept over calls and over unplugging."""

from __future__ import annotations

from dataclasses import dataclass, field

from dialupd.config.values import Mode, Policy, When
from dialupd.model import EndReason
from dialupd.policy import Next, Redial, Rest, Stop


@dataclass(slots=True)
class Entry:
    """Where one policy stands on one modem; `due` is loop time, None: not yet decided; `resting`: only when asked."""

    policy: Policy
    redial: Redial
    due: float | None = None
    number: int = 0
    resting: bool = False


@dataclass(slots=True)
class Redialer:
    """All policies of one modem; the caller brings loop time in seconds and the day's ordinal."""

    _entries: dict[str, Entry] = field(default_factory=dict)

    def plan(self, policy: Policy, calls_today: int, now: float, today: int) -> Entry | Rest | Stop:
        """When to dial next under the policy: an entry that is due at a time, not by itself, or not at all."""
        if policy.mode is not Mode.ORIGINATE:
            return Rest()
        entry = self._entry(policy, calls_today, today)
        if stop := entry.redial.blocked(today):
            entry.due = None
            return stop
        if policy.when is not When.ALWAYS or entry.resting:
            return Rest()
        if entry.due is None:
            match entry.redial.first(today):
                case Next(delay, number):
                    entry.due, entry.number = now + delay, number
                case decision:
                    return decision
        return entry

    def number(self, policy: Policy, calls_today: int, today: int) -> str | Stop:
        """The number that is next when a person asks for a call by the policy."""
        redial = self._entry(policy, calls_today, today).redial
        return redial.blocked(today) or policy.numbers[redial.number % len(policy.numbers)]

    def ended(
        self,
        policy: Policy,
        reason: EndReason,
        connected: float,
        now: float,
        today: int,
        calls_today: int = 0,
        *,
        hopeless: str = "",
        dialled: bool = True,
    ) -> None:
        """A call by the policy has ended, after so many seconds connected; `hopeless` says why no further one can
        succeed, and `dialled` that its number was sent to the modem."""
        entry = self._entry(policy, calls_today, today)
        entry.redial, decision = entry.redial.after(reason, connected, today, hopeless, dialled=dialled)
        entry.due, entry.resting = None, isinstance(decision, Rest)
        if isinstance(decision, Next):
            entry.due, entry.number = now + decision.delay, decision.number

    def attempts(self, policy: Policy) -> int:
        """Calls in a row that failed."""
        entry = self._entries.get(policy.name)
        return entry.redial.failures if entry else 0

    def wake(self) -> None:
        """What rests since a shutdown acts again: the machine has slept only."""
        for entry in self._entries.values():
            entry.resting = False

    def resume(self, policy: Policy, today: int) -> None:
        """A person lifts every limit."""
        entry = self._entry(policy, 0, today)
        entry.redial, entry.due, entry.resting = entry.redial.resumed(today), None, False

    def _entry(self, policy: Policy, calls_today: int, today: int) -> Entry:
        entry = self._entries.get(policy.name)
        if entry is None or entry.policy != policy:
            calls = entry.redial.calls if entry and entry.redial.day == today else calls_today
            entry = self._entries[policy.name] = Entry(policy, Redial.of(policy, today, calls))
        return entry
