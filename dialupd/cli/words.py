"""States and reasons as sentences that a person understands, and what to do about them.

Each table has every member of its enumeration; a word that a newer daemon says is shown as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from dialupd.cli.text import clean
from dialupd.model import CallState, EndReason, ModemState, SessionState

NO_MODEM = "no modem: plug one in, or name it in /etc/dialupd/dialupd.toml"
NO_HISTORY = "no call yet: dial one (dialupctl dial MODEM NUMBER), or give a policy that answers"
NO_MATCH = "no call matches: widen the filter (dialupctl history --help)"
NO_POLICY = "no policy: modems do only what dialupctl asks; add [policy.NAME] to /etc/dialupd/dialupd.toml"


@dataclass(frozen=True, slots=True)
class Said:
    """What happened, and what to know or do about it; tables show the first alone."""

    happened: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.happened}. {self.mend}" if self.mend else self.happened


NO_DATA = "it names no data service: a number that it dials may become a voice call"

END_REASONS: dict[EndReason, Said] = {
    EndReason.NONE: Said("the call goes on"),
    EndReason.LOCAL_HANGUP: Said("hung up on this side"),
    EndReason.REMOTE_HANGUP: Said("the far end hung up"),
    EndReason.BUSY: Said("the number is busy"),
    EndReason.NO_ANSWER: Said("it rang and nobody answered"),
    EndReason.NO_CARRIER: Said("no modem took the call", "The far end gave no carrier, or the two could not agree."),
    EndReason.NO_DIALTONE: Said("no dial tone", "Is the telephone cable plugged in and the line alive?"),
    EndReason.NO_MODULATOR: Said(
        "the phone placed a voice call and said OK: it has no data modem",
        "Use its packet data (*99#), its data calls (key bearer) where it can make them, or an analogue or USB modem. "
        "Systems that take no notice of that OK wait in vain and call it error 678: the far end did not answer.",
    ),
    EndReason.VOICE: Said("a person answered, not a modem"),
    EndReason.FAX: Said("there is a fax machine at the far end, not a data modem"),
    EndReason.BLACKLISTED: Said("the modem's own redial limiter refuses this number", "Wait, or reset the modem."),
    EndReason.DELAYED: Said("the modem's own redial limiter delays this number", "Wait before the next attempt."),
    EndReason.LINE_IN_USE: Said("another telephone on this line is off the hook"),
    EndReason.DIGITAL_LINE: Said(
        "this is a digital (PBX) line", "It can damage the modem: unplug it and use an analogue line."
    ),
    EndReason.TIMEOUT: Said("no connection in the time allowed", "See --timeout, or timeout of the policy."),
    EndReason.MODEM_ERROR: Said("the modem refused the command", "The journal has its answer (journalctl -u dialupd)."),
    EndReason.MODEM_LOST: Said("the modem went away", "It was unplugged, or its port died."),
    EndReason.REJECTED: Said("the call was turned away on this side"),
    EndReason.OUTSIDE_HOURS: Said("the call came outside the policy's hours"),
    EndReason.COLLISION: Said("a call came in at the moment of dialling", "Try again."),
    EndReason.AUTH_FAILED: Said(
        "the far end refused our name or password", "See user and password-file of the session."
    ),
    EndReason.PEER_AUTH_FAILED: Said("the caller gave a wrong name or password"),
    EndReason.PEER_NOT_PPP: Said(
        "the far end does not speak PPP", "Does it want a login first, or is it another service?"
    ),
    EndReason.NEGOTIATION_FAILED: Said("PPP could not agree with the far end on options or addresses"),
    EndReason.IDLE: Said("hung up: nothing was sent for the idle time"),
    EndReason.MAX_DURATION: Said("hung up: the call reached its max-duration"),
    EndReason.SESSION_ENDED: Said("the session ended in order"),
    EndReason.SESSION_FAILED: Said("the session failed", "The journal says why (journalctl -u dialupd)."),
    EndReason.SHUTDOWN: Said("the daemon stopped"),
}

MODEM_STATES: dict[ModemState, str] = {
    ModemState.BINDING: "waits for its driver",
    ModemState.PROBING: "being asked what it is",
    ModemState.READY: "ready",
    ModemState.RINGING: "rings",
    ModemState.ANSWERING: "answers a call",
    ModemState.DIALING: "dials",
    ModemState.CONNECTED: "on a call",
    ModemState.HANGING_UP: "hangs up",
    ModemState.RESETTING: "being reset",
    ModemState.DISABLED: "disabled: dialupctl enable puts it to use",
    ModemState.INHIBITED: "lent to another program",
    ModemState.BLOCKED: "blocked: dialupctl resume POLICY frees it",
    ModemState.UNSUPPORTED: "not a modem that dialupd can use",
    ModemState.FAILED: "failed",
}

CALL_STATES: dict[CallState, str] = {
    CallState.DIALING: "dialling",
    CallState.RINGING: "ringing",
    CallState.ANSWERING: "answering",
    CallState.CONNECTED: "connected",
    CallState.ENDED: "ended",
}

SESSION_STATES: dict[SessionState, str] = {
    SessionState.NONE: "",
    SessionState.STARTING: "session starting",
    SessionState.LOGIN: "logging in",
    SessionState.ESTABLISH: "PPP: agreeing on the link",
    SessionState.AUTHENTICATE: "PPP: name and password",
    SessionState.NETWORK: "PPP: agreeing on addresses",
    SessionState.RUNNING: "session running",
    SessionState.TERMINATE: "session ending",
}


def end_reason(word: str) -> str:
    """The whole sentence."""
    try:
        return str(END_REASONS[EndReason(word)])
    except ValueError:
        return clean(word)


def short_end(word: str) -> str:
    """What happened, without advice."""
    try:
        return END_REASONS[EndReason(word)].happened
    except ValueError:
        return clean(word)


def modem_state(word: str) -> str:
    try:
        return MODEM_STATES[ModemState(word)]
    except ValueError:
        return clean(word)


def call_state(word: str) -> str:
    try:
        return CALL_STATES[CallState(word)]
    except ValueError:
        return clean(word)


def session_state(word: str) -> str:
    try:
        return SESSION_STATES[SessionState(word)]
    except ValueError:
        return clean(word)


def because(reason: str) -> str:
    """A state's reason: an end reason in words, a word of the daemon's with its hyphens opened."""
    if not reason:
        return ""
    try:
        return END_REASONS[EndReason(reason)].happened
    except ValueError:
        opened = clean(reason)
        return opened if " " in opened else opened.replace("-", " ")


def signal(dbm: int) -> str:
    return f"{dbm} dBm" if dbm else ""


def battery(percent: int) -> str:
    return f"{percent} %" if percent >= 0 else ""
