"""The machine sleeps and wakes: what becomes of calls, policies and modems.

A sleeping machine answers nobody, and its modems may lose their power.  By default calls are hung up before, in order;
`daemon.suspend = "keep"` leaves them to the far end's patience.  No policy dials between the two.  On waking every
modem is probed again, one that is on a call or still hangs up as soon as that is over, one whose line is opened on
demand when it is wanted next; and devices are looked for, as either may have changed unseen.  A policy that keeps a
link up dials again.
"""

from __future__ import annotations

import asyncio
import logging

from dialupd.config.values import Suspend
from dialupd.model import EndReason, ModemState
from dialupd.modem import requests
from dialupd.registry import Registry
from dialupd.states import IN_CALL, ModemEvent, allows

log = logging.getLogger(__name__)


class Sleeper:
    """Does to one registry what the sleep of the machine asks for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def before(self) -> None:
        """Until the machine may sleep; cancelled when it waits no longer."""
        self._registry.asleep = True
        if self._registry.config.daemon.suspend is Suspend.KEEP:
            return
        busy = [modem for modem in self._registry.present() if modem.state in IN_CALL]
        for modem in busy:
            requests.hang_up(modem, EndReason.SHUTDOWN)
        await asyncio.gather(*(modem.settled() for modem in busy))

    def after(self) -> None:
        """The machine is awake."""
        self._registry.asleep = False
        for memory in self._registry.fleet.memories.values():
            memory.redialer.wake()
        for modem in self._registry.present():
            if allows(modem.state, ModemEvent.RESET) and not modem.on_demand:
                modem.move(ModemEvent.RESET, "the machine has slept")
                continue
            modem.stale = True
            if modem.on_demand:  # its line, which the sleep has cut, is not opened before it is wanted
                requests.refresh(modem)
            if modem.state is ModemState.HANGING_UP and modem.ending.reason is EndReason.SHUTDOWN:
                modem.dialled_policy = None  # its end is still to come, and must not have the policy rest
        self._registry.rescan()
