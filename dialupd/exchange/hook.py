"""A simulated modem's hook: what it does on the telephone line, from a ring or a dialled number to the end of the call.

Five states: off, command, dialling or answering (any character aborts those), data, and escaped (online command
state).  A phone's voice calls are here too.  `Hook` implements `Party` and `Station`; what the computer and the
operator ask for is modem.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from dialupd.at.results import Final

from . import phone
from .answers import Caller
from .bell import Bell
from .call import Call, Network, Party, Tone
from .carriers import Ability, Agreed
from .faults import Fault, parse_faults
from .front import Front
from .kinds import Kind
from .line import LineEnd
from .online import Online
from .settings import Settings
from .stations import Unattended
from .timing import Alarm


class State(Enum):
    """What the modem is doing, for its computer."""

    OFF = "off"
    COMMAND = "idle"
    DIALING = "dialling"
    ANSWERING = "answering"
    DATA = "connected"
    ESCAPED = "connected, in command state"


ONLINE = (State.DATA, State.ESCAPED)
_DIAL_FAULTS = {
    Fault.BLACKLISTED: Final.BLACKLISTED,
    Fault.DELAYED: Final.DELAYED,
    Fault.NO_DIALTONE: Final.NO_DIALTONE,
    Fault.BUSY: Final.BUSY,
}


class Hook:
    """The line of one modem with a number."""

    def __init__(
        self,
        network: Network,
        number: str,
        kind: Kind,
        *,
        name: str = "",
        private: bool = False,
        ring_text: str = "RING",
        faults: Iterable[str] = (),
    ) -> None:
        self.number = number
        self.kind = kind
        self.name = name
        self.state = State.OFF
        self.faults = parse_faults(faults)
        self.settings = Settings(kind)
        self._who = Caller("" if private else number, "" if private else name)
        self._ring_text = ring_text
        self._network = network
        self._front = Front(network.scheduler, self.settings, self.faults, self.writable)
        self._online = Online(network, self.settings, self._escaped)
        self._handset = phone.Handset(kind, self.faults)
        self._bell = Bell(network.scheduler, network.timing, self)
        self._call: Call | None = None
        self._limit = Alarm(network.scheduler)
        self._drop = Alarm(network.scheduler)
        self._deaf_until = 0.0
        self._waiting_for_answer = False
        self._dialled = ""
        self._prefix = ""
        self._dtr = False
        self._ri = False

    # -- Station and Party: the exchange's side ------------------------------------------------------------------------

    def ring(self, call: Call) -> Party | None:
        """It rings here."""
        if self.state is State.OFF or Fault.NO_ANSWER in self.faults:
            return Unattended(self.number)
        engaged = self._call is not None or self._handset.voice or self.state is not State.COMMAND
        if engaged or Fault.BUSY in self.faults:
            return None
        self._call = call
        self._bell.start()
        return self

    def rang(self, count: int) -> None:
        """Bell: RING, and whatever goes with it."""
        call = self._call
        if call is None:
            return
        self.settings.rings = count
        self._ri = True
        self.show()
        voice = self._handset.is_for_a_person(call)
        self._front.ring(self._ring_text, voice=voice)
        if self.kind.phone:
            self._say_caller(call)
        wanted = self.settings.register(0)
        # Without DTR nobody is there to talk to: V.250 section 6.3.8 with &D2.
        if 0 < wanted <= count and not voice and (self._dtr or self.settings.basic("&D") == 0):
            self._answer(abortable=False)

    def ring_over(self, count: int) -> None:
        """Bell: the pause after a ring."""
        self._ri = False
        self.show()
        if count == 1 and self._call is not None and not self.kind.phone:
            self._say_caller(self._call)

    def ability(self) -> Ability | None:
        """By its settings; nothing when it cannot train."""
        if self._handset.voice or Fault.NO_CARRIER in self.faults or not self._handset.has_modem:
            return None
        return self.settings.ability()

    def heard(self, tone: Tone) -> None:
        """The call that it makes goes on."""
        match tone:
            case Tone.RINGBACK:
                self._waiting_for_answer = True
            case Tone.BUSY:
                self._fail(Final.BUSY)
            case Tone.UNOBTAINABLE:
                self._fail(Final.NO_CARRIER)
            case Tone.VOICE | Tone.ANSWER:
                self._waiting_for_answer = False
                if self._handset.voice:
                    self._talk()
                elif tone is Tone.VOICE and self.kind.hears_voice:
                    self._fail(Final.VOICE)

    def connected(self, line: LineEnd, agreed: Agreed) -> None:
        """Trained: CONNECT."""
        self._online.begin(line, agreed)
        self._limit.stop()
        self._enter_data()
        self._arm_drop()

    def ended(self) -> None:
        """The far end is gone."""
        was = self.state
        if self._is_stuck():
            self._call = None
            self._online.lose()
            return
        self._release()
        if was is not State.COMMAND or self.kind.phone:
            self._final(Final.NO_CARRIER)

    def room(self) -> int:
        """Tap: how much the computer's side can take."""
        return self._front.room() if self.state is State.DATA else 0

    def take(self, data: bytes) -> None:
        """Tap: the far end's bytes."""
        self._front.pass_on(data)

    def hold(self, on: bool) -> None:
        """Tap: the line is full."""
        self._front.accept(not on)
        self.show()

    def writable(self) -> None:
        """The computer reads again."""
        if self.state is State.DATA:
            self._online.pump()

    def lose_carrier(self) -> bool:
        """Cut the call that it has, if any."""
        if self._call is None:
            return False
        self._call.cut()
        return True

    # -- a call begins -------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        for fault, code in _DIAL_FAULTS.items():
            if fault in self.faults:
                self._fail(code)
                return
        self._waiting_for_answer = Fault.NO_ANSWER in self.faults
        self._limit.set(self.settings.register(7) * self._network.timing.second, self._give_up)
        if not self._waiting_for_answer:
            self._call = Call(self._network, self, self._who, self._dialled, speech=self._handset.voice)
            self._call.place()

    def _talk(self) -> None:
        """A voice call is answered: the computer may go on, and ends it by ATH."""
        self._limit.stop()
        if self.state is State.DIALING:
            self._become(State.COMMAND)
            self._final(Final.OK)

    def _give_up(self) -> None:
        self._fail(Final.NO_ANSWER if self._waiting_for_answer else Final.NO_CARRIER)

    def _answer(self, *, abortable: bool) -> None:
        self._bell.stop()
        self._ri = False
        self._handset.voice = False
        self._busy_with(State.ANSWERING)
        if not abortable:
            self._deaf_until = float("inf")
        self._waiting_for_answer = False
        self._limit.set(self.settings.register(7) * self._network.timing.second, self._give_up)
        if self._call is not None:
            self._call.answer(Tone.ANSWER)

    # -- states --------------------------------------------------------------------------------------------------------

    def _become(self, state: State) -> None:
        self.state = state
        self.show()

    def _busy_with(self, state: State) -> None:
        self._deaf_until = self._network.scheduler.time() + self._network.timing.abort_grace
        self._become(state)

    def _enter_data(self) -> None:
        if self._online.agreed is None:
            return
        self._online.enter()
        self._front.connect(self._online.agreed)
        self._become(State.DATA)
        self.writable()

    def _escaped(self) -> None:
        self._become(State.ESCAPED)
        self._final(Final.OK)

    def _fail(self, code: Final) -> None:
        self._release()
        self._final(code)

    def _give_back(self) -> None:
        """End what goes on, but for a voice call that takes no notice."""
        if self._handset.voice and Fault.DEAF_TO_ATH in self.faults:
            self._become(State.COMMAND)
        else:
            self._release()

    def _release(self) -> None:
        """On hook; the other party hears of it, the computer is not told here."""
        call, self._call = self._call, None
        self._online.end()
        self._bell.stop()
        self.settings.rings = 0
        self._limit.stop()
        self._ri = self._handset.voice = False
        self._prefix = ""
        self.hold(False)
        if self.state is not State.OFF:
            self._become(State.COMMAND)
        self._arm_drop()
        if call is not None:
            call.hang_up(self)

    def _arm_drop(self) -> None:
        self._drop.stop()
        if self.state in ONLINE and Fault.DROPS in self.faults:
            self._drop.set(self.faults[Fault.DROPS], self.lose_carrier)

    def _is_stuck(self) -> bool:
        return Fault.STUCK in self.faults and self.state in ONLINE

    # -- towards the computer ------------------------------------------------------------------------------------------

    def _say_caller(self, call: Call) -> None:
        self._front.caller(call.who, self._network.now())

    def _final(self, code: Final) -> None:
        self._front.final(code)

    def show(self) -> None:
        """What the circuits tell."""
        self._front.show(carrier=self.state in ONLINE, ri=self._ri)
