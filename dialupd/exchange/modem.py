"""The simulated modem: V.250 towards the computer, a `Party` of calls towards the exchange.

Five states: off, command, dialling or answering (any character aborts those), data, and escaped (online command
state).  It knows no loop and no descriptor: time comes from a `Scheduler`, bytes through `Dce` and, by
front.py, `Wire`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from dialupd.at.results import Final

from . import phone
from .answers import Caller
from .bell import Bell
from .call import Call, Network, Party, Tone
from .carriers import Ability, Agreed
from .commands import Bad, Basic, Command, Dial, Extended, Op, Register, parse, read_dial
from .escape import EscapeDetector
from .faults import Fault, parse_faults
from .front import Front
from .kinds import Kind
from .line import LineEnd
from .port import Wire
from .reader import CommandReader
from .settings import Settings
from .stations import Unattended
from .timing import Timer

log = logging.getLogger("dialupd.exchange")


class State(Enum):
    """What the modem is doing, for its computer."""

    OFF = "off"
    COMMAND = "idle"
    DIALING = "dialling"
    ANSWERING = "answering"
    DATA = "connected"
    ESCAPED = "connected, in command state"


_ONLINE = (State.DATA, State.ESCAPED)
_DIAL_FAULTS = {
    Fault.BLACKLISTED: Final.BLACKLISTED,
    Fault.DELAYED: Final.DELAYED,
    Fault.NO_DIALTONE: Final.NO_DIALTONE,
    Fault.BUSY: Final.BUSY,
}


class SimModem:
    """One modem with a number; implements Dce, Party and Station."""

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
        self._reader = CommandReader()
        self._escape = EscapeDetector()
        self._bell = Bell(network.scheduler, network.timing, self)
        self._call: Call | None = None
        self._line: LineEnd | None = None
        self._agreed: Agreed | None = None
        self._timer: Timer | None = None
        self._drop_timer: Timer | None = None
        self._deaf_until = 0.0
        self._waiting_for_answer = False
        self._voice = False
        self._dialled = ""
        self._prefix = ""
        self._dtr = False
        self._ri = False

    # -- what the operator of the exchange does ------------------------------------------------------------------------

    def set_faults(self, faults: Iterable[str]) -> None:
        """Replace all faults; an empty list heals. Raises ValueError for a name that is none."""
        wanted = parse_faults(faults)
        before = phone.Levels.of(self.faults)
        self.faults.clear()
        self.faults.update(wanted)
        self._front.heal()
        if self.state in _ONLINE and self._call is None and not self._is_stuck():
            self._fail(Final.NO_CARRIER)
        self._arm_drop()
        if self.state is State.COMMAND:
            for line in phone.changes(before, phone.Levels.of(self.faults), self.settings.extended("+CMER")):
                self._front.information(line)

    def lose_carrier(self) -> bool:
        """Cut the call that it has, if any."""
        if self._call is None:
            return False
        self._call.cut()
        return True

    @property
    def peer(self) -> str:
        """The other party's number, or empty."""
        if self._call is None:
            return ""
        return self._call.number if self._call.caller is self else self._call.caller.number

    @property
    def doing(self) -> str:
        """For a person: what goes on, a voice call of a phone in command state included."""
        return "voice call" if self._voice and self.state in (State.COMMAND, State.OFF) else self.state.value

    # -- Dce: the computer's side --------------------------------------------------------------------------------------

    def attached(self, wire: Wire) -> None:
        """Power on."""
        self._front.plug(wire)
        self.settings.recall()
        self._dtr = not wire.has_circuits
        self._ri = False
        self._become(State.COMMAND)

    def detached(self) -> None:
        """Power off; a phone has its own, and a voice call goes on without the computer."""
        if not (self.kind.phone and self._voice):
            self._release()
        self._front.unplug()
        self._reader.clear()
        self.state = State.OFF

    def received(self, data: bytes) -> None:
        """Bytes from the computer."""
        if Fault.LOOPED in self.faults:
            self._front.loop(data)
            return
        if self._front.deaf():
            return
        while data:
            if self.state in (State.COMMAND, State.ESCAPED):
                data = self._listen(data)
            elif self.state is State.DATA:
                self._to_line(data)
                return
            elif self._network.scheduler.time() < self._deaf_until:
                return
            else:
                log.info("%s aborts", self.number)
                self._give_back()
                self._final(Final.NO_CARRIER)
                data = data[1:]

    def dtr(self, up: bool) -> None:
        """&D says what its drop means."""
        if up == self._dtr:
            return
        self._dtr = up
        if up or self.state is State.OFF or self._is_stuck():
            return
        match self.settings.basic("&D"):
            case 1 if self.state is State.DATA:
                self._stop_timer()
                self._become(State.ESCAPED)
                self._final(Final.OK)
            case 2 | 3 as action:
                if self.state is not State.COMMAND:
                    self._give_back()
                    self._final(Final.OK)
                if action == 3:
                    self.settings.recall()
                    self._show()

    def writable(self) -> None:
        """The computer reads again."""
        if self._line is not None and self.state is State.DATA:
            self._line.pump()

    # -- Station and Party: the exchange's side ------------------------------------------------------------------------

    def ring(self, call: Call) -> Party | None:
        """It rings here."""
        if self.state is State.OFF or Fault.NO_ANSWER in self.faults:
            return Unattended(self.number)
        engaged = self._call is not None or self._voice or self.state is not State.COMMAND
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
        self._show()
        voice = self._is_for_a_person(call)
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
        self._show()
        if count == 1 and self._call is not None and not self.kind.phone:
            self._say_caller(self._call)

    def ability(self) -> Ability | None:
        """By its settings; nothing when it cannot train."""
        if self._voice or Fault.NO_CARRIER in self.faults or not self._has_modem():
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
                if self._voice:
                    self._talk()
                elif tone is Tone.VOICE and self.kind.hears_voice:
                    self._fail(Final.VOICE)

    def connected(self, line: LineEnd, agreed: Agreed) -> None:
        """Trained: CONNECT."""
        self._line = line
        self._agreed = agreed
        self._stop_timer()
        self._enter_data()
        self._arm_drop()

    def ended(self) -> None:
        """The far end is gone."""
        was = self.state
        if self._is_stuck():
            self._call = self._line = None
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
        self._show()

    # -- commands ------------------------------------------------------------------------------------------------------

    def _listen(self, data: bytes) -> bytes:
        settings = self.settings
        heard = self._reader.feed(data, end=settings.register(3), backspace=settings.register(5))
        self._front.echo(heard.echo)
        if heard.complete:
            if heard.body is None:
                self._final(Final.ERROR)
            else:
                log.debug("%s: AT%s", self.number, heard.body)
                self._run(parse(heard.body))
        return data[heard.used :]

    def _run(self, commands: Iterator[Command]) -> None:
        for command in commands:
            match command:
                case Bad():
                    self._final(Final.ERROR)
                    return
                case Dial():
                    if not self._dial(command):
                        return
                case Basic("A"):
                    self._answer_command()
                    return
                case Basic("O"):
                    if self.state is State.ESCAPED:
                        self._enter_data()
                    else:
                        self._final(Final.ERROR)
                    return
                case Basic("H", number) if number <= 1:
                    if not self._is_stuck():
                        self._give_back()
                case Extended("+CHUP", Op.ACT) if self.kind.phone:
                    if not self._is_stuck():
                        self._release()
                case Basic("Z", number) if number <= 1:
                    self._give_back()
                    self.settings.recall()
                    self._show()
                    break
                case Basic() | Register() | Extended():
                    lines = self._apply(command)
                    if lines is None:
                        self._final(Final.ERROR)
                        return
                    for line in lines:
                        self._front.information(line)
                    self._show()
        self._final(Final.OK)

    def _apply(self, command: Basic | Register | Extended) -> tuple[str, ...] | None:
        if self.kind.phone and isinstance(command, Extended):
            lines = phone.tells(command, phone.Levels.of(self.faults), self._call_now())
            if lines is not None:
                return lines
        return self.settings.apply(command)

    def _call_now(self) -> phone.Talk | None:
        if self._call is None and not self._voice and self.state is not State.DIALING:
            return None
        incoming = self._call is not None and self._call.caller is not self
        voice = self._voice or (self._call is not None and self._is_for_a_person(self._call))
        return phone.talk(self._call, self._dialled, incoming=incoming, voice=voice)

    def _has_modem(self) -> bool:
        return self.kind.data and Fault.VOICE_ONLY not in self.faults

    def _is_for_a_person(self, call: Call) -> bool:
        return self.kind.phone and (call.speech or not self._has_modem())

    def _dial(self, command: Dial) -> bool:
        """True: the line of commands goes on; False: the result comes later, or was said."""
        plan = read_dial(command.text)
        if self.state is not State.COMMAND:
            self._final(Final.ERROR)
            return False
        if self._call is not None:
            log.info("%s dials while it rings", self.number)
            self._release()
            self._final(Final.NO_CARRIER)
            return False
        number = self._dialled if command.text == "L" else self._prefix + plan.number
        if command.stay and not self.kind.phone:
            self._prefix = number
            return True
        if not self.kind.data and set(number) & set("*#"):
            self._final(Final.ERROR)
            return False
        if plan.reverse:
            log.info("%s dials in answer mode", self.number)
        self._dialled, self._prefix = number, ""
        self._voice = command.stay or not self._has_modem()
        timing = self._network.timing
        pauses = plan.pauses * self.settings.register(8) * timing.second
        stay = command.stay or (self._voice and Fault.HASTY_OK in self.faults)
        if not stay:
            self._busy_with(State.DIALING)
        self._arm(timing.dial_time + pauses, self._place)
        return stay

    def _place(self) -> None:
        for fault, code in _DIAL_FAULTS.items():
            if fault in self.faults:
                self._fail(code)
                return
        self._waiting_for_answer = Fault.NO_ANSWER in self.faults
        self._arm(self.settings.register(7) * self._network.timing.second, self._give_up)
        if not self._waiting_for_answer:
            self._call = Call(self._network, self, self._who, self._dialled, speech=self._voice)
            self._call.place()

    def _talk(self) -> None:
        """A voice call is answered: the computer may go on, and ends it by ATH."""
        self._stop_timer()
        if self.state is State.DIALING:
            self._become(State.COMMAND)
            self._final(Final.OK)

    def _give_up(self) -> None:
        self._fail(Final.NO_ANSWER if self._waiting_for_answer else Final.NO_CARRIER)

    def _answer_command(self) -> None:
        calls = self._call is not None and self._call.caller is self
        if self.state is State.COMMAND and self._call is not None and not calls and self._is_for_a_person(self._call):
            self._bell.stop()
            self._ri, self._voice = False, True
            self._call.answer(Tone.VOICE)
            self._final(Final.OK)
        elif self.state is State.COMMAND and not calls:
            self._answer(abortable=True)
        else:
            self._final(Final.ERROR)

    def _answer(self, *, abortable: bool) -> None:
        self._bell.stop()
        self._ri = False
        self._voice = False
        self._busy_with(State.ANSWERING)
        if not abortable:
            self._deaf_until = float("inf")
        self._waiting_for_answer = False
        self._arm(self.settings.register(7) * self._network.timing.second, self._give_up)
        if self._call is not None:
            self._call.answer(Tone.ANSWER)

    # -- states --------------------------------------------------------------------------------------------------------

    def _become(self, state: State) -> None:
        self.state = state
        self._show()

    def _busy_with(self, state: State) -> None:
        self._deaf_until = self._network.scheduler.time() + self._network.timing.abort_grace
        self._become(state)

    def _enter_data(self) -> None:
        if self._agreed is None:
            return
        self._escape.restart(self._network.scheduler.time())
        self._front.connect(self._agreed)
        self._become(State.DATA)
        self.writable()

    def _to_line(self, data: bytes) -> None:
        if not self._is_stuck():
            now, second = self._network.scheduler.time(), self._network.timing.second
            guard = self.settings.register(12) * 0.02 * second
            if self._escape.passed(data, now, char=self.settings.register(2), guard=guard):
                self._arm(guard, self._escaped)
            else:
                self._stop_timer()
        if self._line is not None:
            self._line.send(data)

    def _escaped(self) -> None:
        self._become(State.ESCAPED)
        self._final(Final.OK)

    def _fail(self, code: Final) -> None:
        self._release()
        self._final(code)

    def _give_back(self) -> None:
        """End what goes on, but for a voice call that takes no notice."""
        if self._voice and Fault.DEAF_TO_ATH in self.faults:
            self._become(State.COMMAND)
        else:
            self._release()

    def _release(self) -> None:
        """On hook; the other party hears of it, the computer is not told here."""
        call, self._call = self._call, None
        self._line = self._agreed = None
        self._bell.stop()
        self.settings.rings = 0
        self._stop_timer()
        self._ri = self._voice = False
        self._prefix = ""
        self.hold(False)
        if self.state is not State.OFF:
            self._become(State.COMMAND)
        self._arm_drop()
        if call is not None:
            call.hang_up(self)

    def _arm(self, delay: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._network.scheduler.call_later(delay, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm_drop(self) -> None:
        if self._drop_timer is not None:
            self._drop_timer.cancel()
            self._drop_timer = None
        if self.state in _ONLINE and Fault.DROPS in self.faults:
            self._drop_timer = self._network.scheduler.call_later(self.faults[Fault.DROPS], self.lose_carrier)

    def _is_stuck(self) -> bool:
        return Fault.STUCK in self.faults and self.state in _ONLINE

    # -- towards the computer ------------------------------------------------------------------------------------------

    def _say_caller(self, call: Call) -> None:
        self._front.caller(call.who, self._network.now())

    def _final(self, code: Final) -> None:
        self._front.final(code)

    def _show(self) -> None:
        self._front.show(carrier=self.state in _ONLINE, ri=self._ri)
