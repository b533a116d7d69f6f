"""The simulated modem: V.250 towards the computer; towards the exchange it is a `Hook`.

It knows no loop and no descriptor: time comes from a `Scheduler`, bytes through `Dce` and, by front.py, `Wire`.
Beside it stand orders.py, which reads command lines, online.py with the line of a connected modem, and phone.py with
what a mobile phone has more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cached_property

from dialupd.at.results import Final

from . import phone
from .call import Tone
from .commands import Dial, Extended, read_dial
from .faults import Fault, parse_faults
from .hook import ONLINE, Hook, State
from .orders import Orders
from .port import Wire

log = logging.getLogger("dialupd.exchange")


class SimModem(Hook):
    """One modem with a number, as its computer and the operator of the exchange have it; implements Dce."""

    @cached_property
    def _orders(self) -> Orders:
        return Orders(self, self.settings, self._front)

    # -- what the operator of the exchange does ------------------------------------------------------------------------

    def set_faults(self, faults: Iterable[str]) -> None:
        """Replace all faults; an empty list heals. Raises ValueError for a name that is none."""
        wanted = parse_faults(faults)
        before = phone.Levels.of(self.faults)
        self.faults.clear()
        self.faults.update(wanted)
        self._front.heal()
        if self.state in ONLINE and self._call is None and not self._is_stuck():
            self._fail(Final.NO_CARRIER)
        self._arm_drop()
        if self.state is State.COMMAND:
            for line in phone.changes(before, phone.Levels.of(self.faults), self.settings.extended("+CMER")):
                self._front.information(line)

    @property
    def peer(self) -> str:
        """The other party's number, or empty."""
        if self._call is None:
            return ""
        return self._call.number if self._call.caller is self else self._call.caller.number

    @property
    def doing(self) -> str:
        """For a person: what goes on, a voice call of a phone in command state included."""
        return "voice call" if self._handset.voice and self.state in (State.COMMAND, State.OFF) else self.state.value

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
        if not (self.kind.phone and self._handset.voice):
            self._release()
        self._front.unplug()
        self._orders.clear()
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
                data = self._orders.listen(data)
            elif self.state is State.DATA:
                self._online.send(data, escapable=not self._is_stuck())
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
                self._online.leave()
                self._escaped()
            case 2 | 3 as action:
                if self.state is not State.COMMAND:
                    self._give_back()
                    self._final(Final.OK)
                if action == 3:
                    self.settings.recall()
                    self.show()

    # -- commands ------------------------------------------------------------------------------------------------------

    def tells(self, command: Extended) -> tuple[str, ...] | None:
        """What a phone says of itself."""
        dials = self.state is State.DIALING or self._handset.voice
        return self._handset.tells(command, self._call, self, self._dialled if dials else None)

    def go_online(self) -> bool:
        """ATO"""
        if self.state is not State.ESCAPED:
            return False
        self._enter_data()
        return True

    def put_down(self) -> None:
        """ATH"""
        if not self._is_stuck():
            self._give_back()

    def end_talk(self) -> None:
        """+CHUP ends whatever call there is."""
        if not self._is_stuck():
            self._release()

    def restart(self) -> None:
        """ATZ"""
        self._give_back()
        self.settings.recall()
        self.show()

    def dial(self, command: Dial) -> bool:
        """ATD"""
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
        self._handset.voice = command.stay or not self._handset.has_modem
        timing = self._network.timing
        pauses = plan.pauses * self.settings.register(8) * timing.second
        stay = command.stay or (self._handset.voice and Fault.HASTY_OK in self.faults)
        if not stay:
            self._busy_with(State.DIALING)
        self._limit.set(timing.dial_time + pauses, self._place)
        return stay

    def pick_up(self) -> None:
        """ATA"""
        call = self._call
        if self.state is not State.COMMAND or (call is not None and call.caller is self):
            self._final(Final.ERROR)
        elif call is not None and self._handset.is_for_a_person(call):
            self._bell.stop()
            self._ri, self._handset.voice = False, True
            call.answer(Tone.VOICE)
            self._final(Final.OK)
        else:
            self._answer(abortable=True)
