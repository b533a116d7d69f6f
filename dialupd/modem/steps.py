"""What the activities of a modem's owner tell each other: what comes next, and why a call is being ended."""

from __future__ import annotations

from dataclasses import dataclass

from dialupd.model import EndReason
from dialupd.policy import NEVER_GOOD
from dialupd.states import ModemEvent


@dataclass(frozen=True, slots=True)
class Step:
    """What an activity ends with."""

    event: ModemEvent
    reason: str


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the call in progress is being ended, and what the hang-up must know of the modem."""

    reason: EndReason
    detail: str = ""
    in_command_state: bool = False
    aborting: bool = False
    hopeless: bool = False

    def modem_lost(self, detail: str = "") -> Ending:
        """The same when the modem is gone too: whatever forbids a further call stays the reason."""
        if self.hopeless or self.reason in NEVER_GOOD:
            return self
        return Ending(EndReason.MODEM_LOST, detail)
