"""The log of what happens: every modem, ring, call and policy, as records with an event's id and fields.

It is an observer like the bus, so what it tells is what anybody may see: numbers are masked already.  A modem that
comes and goes, or fails and is tried again, for years, would say the same every few seconds: what repeats is told some
times, and then only after pauses that grow, with how often it was left out.  What is left out is logged at level debug.
Calls are never left out: each has cost something, and their own pauses bound them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dialupd import events
from dialupd.events import Event
from dialupd.io.journal import about
from dialupd.model import CallState, CallView, Direction, EndReason, ModemState, ModemView, SessionState
from dialupd.runtime import Quiet
from dialupd.states import IN_CALL

log = logging.getLogger(__name__)

FREE = 5
"""So often the same is told at once: somebody may be plugging in and out to see what happens."""
FIRST_PAUSE = 60.0
LONGEST_PAUSE = 86400.0
FACTOR = 4.0
"""Then so many seconds lie between two records of it, growing by the factor: 1, 4, 16, 64 minutes, … a day."""
QUIET = 3600.0
"""Seconds without it, after which it is new again; the pause that it has earned counts too."""
KNOWN_LIMIT = 500
"""Different things that are remembered; a modem has some ten."""

TROUBLE = frozenset(
    {
        EndReason.NO_DIALTONE,
        EndReason.NO_MODULATOR,
        EndReason.BLACKLISTED,
        EndReason.DIGITAL_LINE,
        EndReason.MODEM_ERROR,
        EndReason.MODEM_LOST,
        EndReason.AUTH_FAILED,
        EndReason.PEER_AUTH_FAILED,
        EndReason.PEER_NOT_PPP,
        EndReason.NEGOTIATION_FAILED,
        EndReason.SESSION_FAILED,
    }
)
"""Ends that want somebody's attention: warnings."""

_STATES: Mapping[ModemState, tuple[Event, int]] = {
    ModemState.FAILED: (events.MODEM_FAILED, logging.WARNING),
    ModemState.UNSUPPORTED: (events.MODEM_UNSUPPORTED, logging.WARNING),
    ModemState.BLOCKED: (events.POLICY_BLOCKED, logging.WARNING),
}
_ANY_STATE = (events.MODEM_STATE, logging.INFO)

SUSPENDED = "suspended"


class Readings(Protocol):
    """What is asked of the daemon; `runtime.Control` has it."""

    @property
    def config_error(self) -> str:
        """What is wrong with the configuration on disk, or ""."""

    def policies(self) -> Sequence[tuple[str, str, str]]:
        """Name, mode and status of each policy."""


@dataclass(slots=True)
class _Repeated:
    """How often the same came in a row; when it was told last, and when it came last."""

    told: float
    came: float
    times: int = 0
    left_out: int = 0
    pause: float = FIRST_PAUSE


class Thinner:
    """Says of each record whether it is told now; nothing waits for a timer."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], _Repeated] = {}

    def __len__(self) -> int:
        return len(self._known)

    def take(self, key: tuple[str, ...], now: float) -> tuple[int, float] | None:
        """None: leave it out.  Else how often the same was left out, and in how many seconds."""
        known = self._known.pop(key, None) or _Repeated(now, now)
        if now - known.came > max(known.pause, QUIET):
            known.times, known.pause = 0, FIRST_PAUSE
        known.came = now
        known.times += 1
        self._known[key] = known  # what came last stands last
        if len(self._known) > KNOWN_LIMIT:
            del self._known[next(iter(self._known))]
        if known.times > FREE:
            if now - known.told < known.pause:
                known.left_out += 1
                return None
            known.pause = min(known.pause * FACTOR, LONGEST_PAUSE)
        left, since = known.left_out, now - known.told
        known.told, known.left_out = now, 0
        return left, since


class Chronicle(Quiet):
    """The `Watcher` that writes the log; `clock` gives seconds that never jump."""

    def __init__(self, readings: Readings, clock: Callable[[], float]) -> None:
        self._readings = readings
        self._clock = clock
        self._thinner = Thinner()
        self._config_error = ""
        self._suspended: frozenset[str] = frozenset()

    # -- modems

    def modem_added(self, view: ModemView) -> None:
        where = view.device or view.sys_path
        text = f"{view.id}: {view.name} found on {where}"
        self._tell_modem(events.MODEM_FOUND, logging.INFO, text, view, (), DEVICE=where, STATE=view.state)
        if view.state in _STATES:
            self._state(view, "")

    def modem_removed(self, view: ModemView) -> None:
        self._tell_modem(events.MODEM_GONE, logging.INFO, f"{view.id}: gone", view, (), DEVICE=view.device)

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        if old.state is not new.state:
            self._state(new, old.state)

    def _state(self, view: ModemView, old: str) -> None:
        event, level = _STATES.get(view.state, _ANY_STATE)
        reason = view.state_reason
        text = f"{view.id}: {f'{old} -> ' if old else ''}{view.state} ({reason})"
        fields = {"STATE": view.state, "OLD_STATE": old, "REASON": reason, "CALL": view.call or None}
        if view.state in IN_CALL or old in IN_CALL:
            self._write(event, level, text, view, fields)
        else:
            self._tell_modem(event, level, text, view, (view.state, old, re.sub(r"\d+", "#", reason)), **fields)

    def ringing(self, modem_id: str, info: Mapping[str, str | int]) -> None:
        caller = " ".join(str(info[key]) for key in ("caller-id", "caller-name", "withheld") if key in info)
        fields = {key.replace("-", "_").upper(): value for key, value in info.items()}
        text = f"{modem_id}: ring {info.get('rings', '')}{f' from {caller}' if caller else ''}"
        log.info("%s", text, extra=about(events.RING, MODEM=modem_id, **fields))

    # -- calls

    def call_added(self, view: CallView) -> None:
        if view.state is CallState.CONNECTED:
            text = f"call {view.call} goes on: it has outlived a restart of the daemon"
            self._tell_call(events.CALL_RESUMED, logging.INFO, text, view)
            return
        what = f"dialling {view.number}" if view.direction is Direction.OUTGOING else "the line rings"
        policy = f" by the policy {view.policy}" if view.policy else ""
        self._tell_call(events.CALL_BEGUN, logging.INFO, f"call {view.call} begun: {what}{policy}", view)

    def call_changed(self, old: CallView, new: CallView) -> None:
        if new.state is not old.state and new.state is CallState.CONNECTED:
            self._connected(new)
        if new.session_state is not old.session_state and new.session_state is SessionState.RUNNING:
            self._running(new)
        if new.state is not old.state and new.state is CallState.ENDED:
            self._ended(new)

    def _connected(self, view: CallView) -> None:
        rate = f"{view.line_rate} bit/s" if view.line_rate else "rate not told"
        line = ", ".join(filter(None, (rate, view.modulation, view.error_control, view.compression)))
        fields = {
            "LINE_RATE": view.line_rate or None,
            "PORT_RATE": view.port_rate or None,
            "MODULATION": view.modulation,
            "ERROR_CONTROL": view.error_control,
            "COMPRESSION": view.compression,
        }
        text = f"call {view.call} connected: {line}, session {view.session}"
        self._tell_call(events.CALL_CONNECTED, logging.INFO, text, view, **fields)

    def _running(self, view: CallView) -> None:
        addresses = f", {view.local_address} to {view.remote_address}" if view.local_address else ""
        link = f" on {view.interface}{addresses}" if view.interface else ""
        fields = {
            "INTERFACE": view.interface,
            "LOCAL_ADDRESS": view.local_address,
            "REMOTE_ADDRESS": view.remote_address,
        }
        text = f"call {view.call}: the session {view.session} runs{link}"
        self._tell_call(events.SESSION_RUNNING, logging.INFO, text, view, **fields)

    def _ended(self, view: CallView) -> None:
        reason = view.end_reason
        connected = max(0, view.end_time - view.connect_time) // 1_000_000 if view.connect_time else 0
        after = (
            f" after {connected} s, {view.rx_bytes} bytes received and {view.tx_bytes} sent"
            if view.connect_time
            else " without a connection"
        )
        text = f"call {view.call} ended{after}: {reason}{f' ({view.detail})' if view.detail else ''}"
        fields = {
            "REASON": reason,
            "DETAIL": view.detail,
            "DURATION": connected,
            "RX_BYTES": view.rx_bytes,
            "TX_BYTES": view.tx_bytes,
        }
        level = logging.WARNING if reason in TROUBLE else logging.INFO
        self._tell_call(events.CALL_ENDED[reason], level, text, view, **fields)

    # -- the daemon

    def manager_changed(self) -> None:
        error = self._readings.config_error
        if error and error != self._config_error:
            log.error(
                "the configuration has errors; what was in force stays in force\n%s",
                error,
                extra=about(events.CONFIG_ERROR),
            )
        self._config_error = error
        suspended = frozenset(name for name, _, status in self._readings.policies() if status == SUSPENDED)
        for name in sorted(suspended - self._suspended):
            log.info("policy %s: suspended", name, extra=about(events.POLICY_SUSPENDED, POLICY=name))
        for name in sorted(self._suspended - suspended):
            log.info("policy %s: may act again", name, extra=about(events.POLICY_RESUMED, POLICY=name))
        self._suspended = suspended

    # -- how it is told

    def _tell_modem(
        self, event: Event, level: int, text: str, view: ModemView, key: tuple[str, ...], **fields: object
    ) -> None:
        found = self._thinner.take((event.name, view.id, *key), self._clock())
        if found is None:
            level = logging.DEBUG
        elif found[0]:
            count, seconds = found
            times = "once" if count == 1 else f"{count} times"
            text = f"{text}; {times} more in the {_span(seconds)} before"
            fields["REPEATED"] = count
        self._write(event, level, text, view, fields)

    def _write(self, event: Event, level: int, text: str, view: ModemView, fields: Mapping[str, object]) -> None:
        extra = about(event, MODEM=view.id, MODEM_NAME=view.name, POLICY=view.policy, **fields)
        log.log(level, "%s", text, extra=extra)

    def _tell_call(self, event: Event, level: int, text: str, view: CallView, **fields: object) -> None:
        extra = about(
            event,
            MODEM=view.modem,
            CALL=view.call,
            DIRECTION=view.direction,
            NUMBER=view.number,
            CALLER_ID=view.caller_id,
            CALLER_NAME=view.caller_name,
            POLICY=view.policy,
            SESSION=view.session,
            STATE=view.state,
            **fields,
        )
        log.log(level, "%s: %s", view.modem, text, extra=extra)


def _span(seconds: float) -> str:
    """In the largest unit that leaves a number of at least two."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
