"""All modems and calls of one daemon, its configuration, and its observers.

The modems themselves are the `fleet`'s.  The registry is the `Host` of their owners, and says what the configuration
in force wants of them; what the edges may ask of it stands in `control`.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dialupd.at.dialstring import Masking
from dialupd.calls import CallBook
from dialupd.config.problems import ConfigError
from dialupd.config.values import Config, Flow, Policy
from dialupd.config.values import Session as SessionConfig
from dialupd.events import CONFIG_LOADED
from dialupd.fleet import FindDevices, Fleet
from dialupd.inheritance import LOAN
from dialupd.io.journal import about
from dialupd.io.port import Port
from dialupd.io.store import Store
from dialupd.io.ttyport import TtyPort
from dialupd.io.udev import Devices
from dialupd.model import (
    CallView,
    Device,
    DialupError,
    EndReason,
    ErrorKind,
    HistoryFilter,
    ModemState,
    ModemView,
)
from dialupd.modem import requests, timing
from dialupd.modem.call import Call
from dialupd.modem.host import Memory, Unsure
from dialupd.modem.loan import Loan
from dialupd.modem.owner import Modem
from dialupd.phones import Phones
from dialupd.radio import Radio
from dialupd.runtime import Watcher
from dialupd.states import IN_CALL, ModemEvent
from dialupd.system import System
from dialupd.wishes import Wishes

log = logging.getLogger(__name__)


class Registry:
    """One for each daemon: `load` reads the configuration, `start` takes the devices up, `close` lets them go."""

    def __init__(
        self,
        config_file: str,
        read_config: Callable[[], Config],
        system: System,
        find_devices: FindDevices = Devices,
        *,
        last_good: Callable[[], Config | None] = lambda: None,
        radio: Callable[[], Radio] | None = None,
    ) -> None:
        self.config_file = config_file
        self.config_error = ""
        self.config = Config()
        self.runner = system.runner
        self._read_config = read_config
        self._last_good = last_good
        self._store: Store | None = None
        self._system = system
        self._watchers: list[Watcher] = []
        self.calls = CallBook(self.now, self.tell)
        self.fleet = Fleet(self, lambda: self.config, find_devices, system.inheritance, self.calls.resume, self.tell)
        self._phones = self._with(radio) if radio is not None else None
        self.suspended_policies: set[str] = set()
        self.asleep = False
        """The machine is about to sleep, or has not told yet that it is awake."""
        self._loop = asyncio.get_running_loop()

    def _with(self, radio: Callable[[], Radio]) -> Phones:
        def changed() -> None:
            self.tell(lambda watcher: watcher.manager_changed())

        fleet = self.fleet
        return Phones(
            radio, lambda: self.config, fleet.radio_in_use, fleet.present, fleet.gone, fleet.radio_news, changed
        )

    # -- life

    def load(self) -> None:
        """Read the configuration; with an error in it the old one stays and `config_error` says what is wrong."""
        try:
            config = self._read_config()
        except ConfigError as error:
            self.config_error = str(error)
            if self._store is None and (last_good := self._last_good()) is not None:
                log.warning("the last good configuration is in force, as it was before")
                self._apply(last_good)
        else:
            self.config_error = ""
            self._apply(config)
        if self._store is not None:  # at the start the service manager has seen to it
            self._system.configuration_read()
        self.tell(lambda watcher: watcher.manager_changed())

    async def start(self, store: Store) -> None:
        """Take up what the history and the daemon before us know of earlier calls; then the devices."""
        self._store = store
        left = self._system.inheritance
        await self.calls.recall(store, left.calls)
        over = self._loop.time() + timing.RUNS_ON
        for identity, number in self.calls.cut.items():
            self.fleet.memories.setdefault(identity, Memory()).unsure = Unsure(number, over)
        for identity, fd in left.loans.items():
            loan = Loan(partial(self.loan_ended, identity), fd)
            self.fleet.memories.setdefault(identity, Memory()).loan = loan
        self.fleet.finder.start()
        self.fleet.look_for_named_ports()
        if self._phones is not None:
            self._phones.attend()
            if left.calls:
                await self._phones.looked()
                for phone in left.phones():
                    self._phones.take_for_there(phone)
        for view in left.give_up():
            self.calls.resume(view).end(EndReason.MODEM_LOST, "the modem went while the daemon restarted")

    async def close(self, *, keep_calls: bool = False) -> None:
        """Hang up all calls in order, then let every modem go; `keep_calls` leaves what it can to the next daemon."""
        self.fleet.closing = True
        self.fleet.finder.stop()
        busy = []
        for modem in list(self.fleet.modems.values()):
            if keep_calls and not self.fleet.leaving(modem) and modem.keep_call():
                log.info("%s: its call goes on", modem.id)
                self.fleet.remove(modem)
            elif modem.state in IN_CALL and not self.fleet.leaving(modem):
                requests.hang_up(modem, EndReason.SHUTDOWN)
                busy.append(modem)
            else:
                self.fleet.remove(modem)
        try:
            async with asyncio.timeout(timing.SHUTDOWN):
                await asyncio.gather(*(modem.settled() for modem in busy))
        except TimeoutError:
            log.warning("not every call could be hung up in %g s; their ports are closed", timing.SHUTDOWN)
        for memory in self.fleet.memories.values():
            if memory.loan is not None:  # one that the store keeps goes on
                memory.loan.close()
        tasks = [self.fleet.remove(modem) for modem in list(self.fleet.modems.values())]
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._phones is not None:
            await self._phones.close()

    # -- configuration

    def _apply(self, config: Config) -> None:
        in_force = {modem.id: modem.policy for modem in self.fleet.modems.values()}
        old, self.config = self.config, config
        modems, policies = len(config.modems), len(config.policies)
        loaded = about(CONFIG_LOADED, MODEMS=modems, POLICIES=policies)
        log.info("configuration: %d modems, %d policies", modems, policies, extra=loaded)
        for memory in self.fleet.memories.values():
            memory.policy = None  # SetPolicy lasts until a reload
        if self._store is None:
            return
        if config.daemon.state_directory != old.daemon.state_directory:
            log.warning("daemon.state-directory has changed: that takes effect at the next start")
        if self._phones is not None:
            self._phones.attend()
        for modem in list(self.fleet.modems.values()):
            self.fleet.consider(modem.device)
            if in_force[modem.id] != modem.policy and not self.fleet.leaving(modem):
                requests.refresh(modem)
        for device in list(self.fleet.devices.values()):
            if self.fleet.modem_on(device.sys_path) is None:
                self.fleet.consider(device)
        self.fleet.look_for_named_ports()

    # -- Host

    def now(self) -> int:
        return time.time_ns() // 1000

    def today(self) -> int:
        return datetime.date.today().toordinal()

    def until_tomorrow(self) -> float:
        now = datetime.datetime.now()
        midnight = datetime.datetime.combine(now.date() + datetime.timedelta(days=1), datetime.time())
        return (midnight - now).total_seconds() + 1.0

    @property
    def masking(self) -> Masking:
        return self.config.daemon.mask_numbers

    def policy(self, name: str) -> Policy | None:
        return self.config.policies.get(name)

    def session(self, name: str) -> SessionConfig | None:
        return self.config.session(name)

    def suspended(self, policy: str) -> bool:
        return self.fleet.closing or self.asleep or policy in self.suspended_policies

    def loan_begun(self, modem: str) -> None:
        loan = self.fleet.memories[modem].loan
        if loan is not None:
            self._system.store.put(f"{LOAN}-{modem}", loan.fileno())

    def loan_ended(self, modem: str) -> None:
        self._system.store.drop(f"{LOAN}-{modem}")
        self.fleet.memories[modem].loan = None
        there = self.fleet.modems.get(modem)
        if there is not None and there.state is ModemState.INHIBITED and not self.fleet.leaving(there):
            there.move(ModemEvent.RELEASE, "the port is back")

    def calls_today(self, modem: str, policy: Policy) -> int:
        return self.calls.dialled_today(modem, policy)

    def new_call(self, view: CallView) -> Call:
        return self.calls.begin(view)

    def ringing(self, modem: str, info: Mapping[str, str | int]) -> None:
        self.tell(lambda watcher: watcher.ringing(modem, info))

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        self.tell(lambda watcher: watcher.modem_changed(old, new))
        if old.state in IN_CALL and new.state not in IN_CALL:
            self._loop.call_soon(self._after_call, new.id)
        if ModemState.BLOCKED in (old.state, new.state) and old.state is not new.state:
            self.tell(lambda watcher: watcher.manager_changed())

    def _after_call(self, modem: str) -> None:
        self.fleet.after_call(modem)
        if self._phones is not None:
            self._phones.attend()

    async def open_port(self, device: Device, speed: int, flow: Flow) -> Port:
        if device.radio:
            return await self._by_radio(device).open(device)
        return await TtyPort.open(device.node, speed, flow)

    def adopt_port(self, device: Device, speed: int, flow: Flow, fd: int, *, carrier_counts: bool) -> Port:
        if device.radio:
            return self._by_radio(device).port(device, fd)
        return TtyPort.adopt(device.node, speed, flow, fd, carrier_counts=carrier_counts)

    def radio_trouble(self, device: Device) -> str:
        return self._by_radio(device).trouble() if device.radio else ""

    def _by_radio(self, device: Device) -> Phones:
        assert self._phones is not None, f"who else has told of {device.node}?"
        return self._phones

    async def bind(self, device: Device) -> None:
        await self._system.bind(device.vendor, device.product)

    # -- for those who ask

    def wishes(self) -> Wishes:
        """What people have asked for and a restart must not forget."""
        memories = self.fleet.memories.items()
        return Wishes(
            frozenset(modem for modem, memory in memories if memory.disabled),
            frozenset(self.suspended_policies),
            {modem: memory.policy for modem, memory in memories if memory.policy is not None},
        )

    def wish(self, wishes: Wishes) -> None:
        """Before `start`: what people have asked for of an earlier daemon."""
        self.suspended_policies |= wishes.suspended
        for modem in wishes.disabled:
            self.fleet.memories.setdefault(modem, Memory()).disabled = True
        for modem, policy in wishes.policies.items():
            self.fleet.memories.setdefault(modem, Memory()).policy = policy

    def hung(self) -> str:
        """The modem whose owner does not come on though it should have long since, "" for none."""
        return next((modem.id for modem in self.fleet.modems.values() if modem.hung), "")

    def subscribe(self, watcher: Watcher) -> None:
        """Tell `watcher` everything from now on."""
        self._watchers.append(watcher)

    def unsubscribe(self, watcher: Watcher) -> None:
        self._watchers.remove(watcher)

    def tell(self, what: Callable[[Watcher], None]) -> None:
        """Call each watcher."""
        for watcher in tuple(self._watchers):
            what(watcher)

    def present(self) -> Sequence[Modem]:
        """The modems that are not on their way out."""
        return [modem for modem in self.fleet.modems.values() if not self.fleet.leaving(modem)]

    def modem(self, identity: str) -> Modem:
        """Raises DialupError when there is none of this id."""
        modem = self.fleet.modems.get(identity)
        if modem is None or self.fleet.leaving(modem):
            raise DialupError(ErrorKind.NOT_FOUND, f"no modem {identity!r}")
        return modem

    def modems(self) -> Sequence[ModemView]:
        return [modem.view for modem in self.fleet.modems.values()]

    def problems(self) -> Sequence[str]:
        """What is configured and cannot work now."""
        return self._phones.problems if self._phones is not None else ()

    def rescan(self) -> None:
        """Look for devices again."""
        self.fleet.finder.rescan()
        if self._phones is not None:
            self._phones.rescan()
        self.fleet.take_up()

    async def history(self, wanted: HistoryFilter) -> Sequence[CallView]:
        if self._store is None:
            raise DialupError(ErrorKind.FAILED, "the daemon is starting: the history is not open yet")
        return await self._store.query(wanted)
