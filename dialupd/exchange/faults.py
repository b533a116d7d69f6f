"""How a modem may misbehave, by name.

Most faults are questions that modem.py asks at one place ("does the dial tone come?").  Those that spoil the
bytes on their way to the computer live here, in `Mouth`, which stands between the modem and its wire.  A fault
may carry a number: `drops-carrier=3`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from .port import Wire
from .timing import Scheduler, Timer


class Fault(Enum):
    """Name, what it does, and the number that it takes (None: it takes none)."""

    BUSY = ("busy", "the line is engaged: for who calls it, and when it dials", None)
    NO_ANSWER = ("no-answer", "calls that it makes are not answered, calls to it do not reach it", None)
    NO_DIALTONE = ("no-dialtone", "dialling says NO DIALTONE", None)
    NO_CARRIER = ("no-carrier", "calls either way are answered, but the modems do not train", None)
    SILENT = ("silent", "says nothing at all", None)
    ECHO_FOREVER = ("echo-forever", "echoes commands whatever E says", None)
    LOOPED = ("looped", "sends every byte back and nothing else: a looped cable", None)
    GARBAGE = ("garbage", "puts line noise before everything it says", None)
    SLOW = ("slow", "says everything this many seconds late", 1.0)
    ONE_BYTE = ("one-byte-at-a-time", "sends every byte on its own, this many seconds apart", 0.001)
    DIES = ("dies-mid-connect", "breaks off in the middle of CONNECT and says nothing from then on", None)
    DROPS = ("drops-carrier", "loses the carrier this many seconds after CONNECT", 5.0)
    BLACKLISTED = ("blacklisted", "dialling says BLACKLISTED", None)
    DELAYED = ("delayed", "dialling says DELAYED", None)
    VOICE_ONLY = ("voice-only-phone", "makes voice calls: dialling says OK when it is answered", None)
    HASTY_OK = ("hasty-ok", "a phone's voice call is answered with OK at once, while the far end still rings", None)
    DEAF_TO_ATH = (
        "deaf-to-ath",
        "a phone's voice call outlives ATH and what aborts dialling; AT+CHUP ends it",
        None,
    )
    BATTERY = ("battery", "a phone's battery has this many percent left", 10.0)
    SIGNAL = ("signal", "a phone's signal is this strong, as +CSQ counts it: 0 to 31, 99 for none", 3.0)
    WRONG_SPEED = ("wrong-speed", "talks garbage unless the port is set to this rate", 9600.0)
    STUCK = ("stuck-online", "once connected, ignores +++, ATH, DTR and the loss of the carrier", None)

    def __init__(self, label: str, about: str, number: float | None) -> None:
        self.label = label
        self.about = about
        self.number = number


_BY_LABEL = {fault.label: fault for fault in Fault}


def parse_faults(texts: Iterable[str]) -> dict[Fault, float]:
    """`busy`, `drops-carrier=3`; raises ValueError with a sentence for a person."""
    faults = {}
    for text in texts:
        label, given, number = text.partition("=")
        fault = _BY_LABEL.get(label)
        if fault is None:
            raise ValueError(f"there is no fault {label!a}: take one of {', '.join(_BY_LABEL)}")
        if given and fault.number is None:
            raise ValueError(f"the fault {label} takes no number")
        try:
            value = float(number) if given else fault.number or 0.0
        except ValueError:
            raise ValueError(f"the fault {label} takes a number, such as {label}={fault.number:g}") from None
        if not 0 <= value < float("inf"):
            raise ValueError(f"the fault {label} takes a number from 0 up, not {number}")
        faults[fault] = value
    return faults


NOISE = b"\xf8\x00~\xc0x\x80\xfe\x1c"
"""What garbage looks like: no letters, no line ends, so that a good lexer can still find what follows."""
_DROP = b"CONN"


class Mouth:
    """What the modem says on its way to the wire, spoilt by the faults.

    In order always: while something waits, what comes after waits too.
    """

    def __init__(
        self, scheduler: Scheduler, wire: Wire, faults: dict[Fault, float], drained: Callable[[], object]
    ) -> None:
        self._scheduler = scheduler
        self._wire = wire
        self._faults = faults
        self._drained = drained
        self._late = bytearray()
        self._timer: Timer | None = None
        self._dead = False

    def say(self, data: bytes) -> None:
        """Text of the modem's own."""
        if Fault.DIES in self._faults and b"CONNECT" in data:
            self._put(data[: data.index(b"CONNECT")] + _DROP)
            self._dead = True
        elif Fault.GARBAGE in self._faults and data:
            self._put(NOISE + data)
        else:
            self._put(data)

    def pass_on(self, data: bytes) -> None:
        """The far end's bytes, and echo."""
        self._put(data)

    def loop(self, data: bytes) -> None:
        """The computer's own bytes, back to it."""
        self._wire.send(data)

    def backlog(self) -> int:
        """Bytes not yet taken by the computer."""
        return len(self._late) + self._wire.backlog()

    def muffled(self) -> bool:
        """Is what the computer says lost on this modem?"""
        return self._dead or Fault.SILENT in self._faults

    def babbles(self) -> bool:
        """Is the port at another rate than the modem?"""
        wanted = self._faults.get(Fault.WRONG_SPEED)
        return wanted is not None and self._wire.speed() not in (0, int(wanted))

    def heal(self) -> None:
        """The faults have changed: a modem that broke off speaks again."""
        self._dead = False

    def close(self) -> None:
        """Power off: what waits is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._late.clear()

    def _put(self, data: bytes) -> None:
        if not data or self._dead or Fault.SILENT in self._faults:
            return
        if self.babbles():
            data = NOISE
        if self._late or Fault.SLOW in self._faults or Fault.ONE_BYTE in self._faults:
            self._late += data
            if self._timer is None:
                self._timer = self._scheduler.call_later(self._faults.get(Fault.SLOW, 0.0), self._speak)
        else:
            self._wire.send(data)

    def _speak(self) -> None:
        self._timer = None
        pause = self._faults.get(Fault.ONE_BYTE)
        count = len(self._late) if pause is None else 1
        data = bytes(self._late[:count])
        del self._late[:count]
        self._wire.send(data)
        if self._late:
            self._timer = self._scheduler.call_later(pause or 0.0, self._speak)
        else:
            self._drained()
