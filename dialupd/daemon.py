"""The composition root: every part is made here and given to those that need it.

The bus may go and come back: modems and calls go on meanwhile.  SIGTERM and SIGINT end in order, SIGHUP reads the
configuration again.  The watchdog of the service manager is fed only while the loop and every modem's owner are alive.
When the service manager restarts the daemon, SIGTERM hangs nothing up: what the descriptor store and the session units
hold is taken over by the next daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path

from dialupd import __version__
from dialupd.bus.address import ConnectionLost
from dialupd.bus.connection import NameTaken
from dialupd.bus.front import Front, serve
from dialupd.bus.logind import Sleep
from dialupd.bus.systemd import Systemd
from dialupd.bus.wire import BusError
from dialupd.chronicle import Chronicle
from dialupd.control import Desk
from dialupd.events import BUS_BACK, BUS_LOST, DAEMON_STARTED, DAEMON_STOPPING, DEFECT
from dialupd.io.configfile import read_config, read_last_good
from dialupd.io.fdstore import inherited
from dialupd.io.journal import about
from dialupd.io.notify import Notifier
from dialupd.io.store import Store
from dialupd.model import CallView, ModemView
from dialupd.radio import Radio
from dialupd.registry import Registry
from dialupd.runtime import Quiet
from dialupd.sessions.base import RuntimePaths
from dialupd.sleep import Sleeper
from dialupd.system import AsService, ByHand
from dialupd.wishes import WishKeeper

log = logging.getLogger(__name__)

RECONNECT_FIRST = 1.0
RECONNECT_MAX = 30.0
"""Seconds between attempts to reach a bus that went away, doubling: dbus-daemon is back within a second or two."""


RUN_DIRECTORY = Path("/run/dialupd")

SYSTEM_BUS = "system"
"""Where systemd and bluetoothd are, whatever bus we serve on."""

RESTARTS = frozenset({"restart", "try-restart"})
"""Jobs of our own unit after which another daemon comes."""


class StartError(Exception):
    """The daemon cannot start: why, and the mend."""


class Historian(Quiet):
    """Writes every change of a call to the history."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def call_added(self, view: CallView) -> None:
        self._store.begin(view)

    def call_changed(self, old: CallView, new: CallView) -> None:
        self._store.update(new)


class StatusLine(Quiet):
    """One line for `systemctl status`."""

    def __init__(self, registry: Registry, notifier: Notifier) -> None:
        self._registry = registry
        self._notifier = notifier

    def text(self) -> str:
        if self._registry.config_error:
            return f"configuration: {self._registry.config_error}"
        states = [view.state.value for view in self._registry.modems()]
        counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        return f"modems: {counts}" if counts else "no modem"

    def modem_added(self, view: ModemView) -> None:
        self._notifier.status(self.text())

    def modem_removed(self, view: ModemView) -> None:
        self._notifier.status(self.text())

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        if old.state is not new.state:
            self._notifier.status(self.text())

    def manager_changed(self) -> None:
        self._notifier.status(self.text())


class Sessions(StrEnum):
    """Where sessions run: as children of the daemon, or in units of the service manager."""

    CHILDREN = "children"
    UNITS = "units"


async def run(config_file: str, bus: str, sessions: Sessions) -> None:
    """Run until a signal ends it; StartError when the bus cannot be had at the start."""
    notifier = Notifier()
    descriptors = inherited(os.environ)
    with _run_directory() as run_directory:
        systemd = Systemd(SYSTEM_BUS)
        system = (
            AsService(systemd, run_directory, notifier, descriptors)
            if sessions is Sessions.UNITS
            else ByHand(RuntimePaths(run_directory), notifier)
        )
        last_good = partial(read_last_good, config_file)
        registry = Registry(config_file, partial(read_config, config_file), system, last_good=last_good, radio=_radio)
        registry.subscribe(Chronicle(Desk(registry), asyncio.get_running_loop().time))
        registry.load()
        store = Store(registry.config.daemon.state_directory)
        wishes = WishKeeper(run_directory, registry.wishes)
        if sessions is Sessions.UNITS:  # else nobody tells a restart from a fresh start
            registry.wish(wishes.read())
            registry.subscribe(wishes)
        registry.subscribe(Historian(store))
        registry.subscribe(StatusLine(registry, notifier))
        try:
            front = await _first_front(bus, registry)
            async with asyncio.TaskGroup() as group:
                on_bus = group.create_task(_stay_on_bus(front, bus, registry), name="bus")
                await registry.start(store)
                sleeper = Sleeper(registry)
                helpers = [group.create_task(_feed(notifier, registry), name="watchdog")]
                if bus == SYSTEM_BUS:
                    sleep = Sleep(SYSTEM_BUS, sleeper.before, sleeper.after)
                    helpers.append(group.create_task(sleep.run(), name="sleep"))
                with _signals(registry, notifier) as stop:
                    notifier.ready(StatusLine(registry, notifier).text())
                    started = about(DAEMON_STARTED, VERSION=__version__, BUS=bus)
                    log.info("dialupd %s is ready on the bus %s", __version__, bus, extra=started)
                    await stop.wait()
                keep = sessions is Sessions.UNITS and await systemd.own_job() in RESTARTS
                stopping = about(DAEMON_STOPPING, REASON="restart" if keep else "stop")
                log.info("ending: calls %s", "go on without us" if keep else "are hung up", extra=stopping)
                notifier.stopping("restarting" if keep else "hanging up")
                await registry.close(keep_calls=keep)
                on_bus.cancel()
                for task in helpers:
                    task.cancel()
        finally:
            # In order it is closed already; after a defect the next daemon takes over what it can.
            await registry.close(keep_calls=True)
            await system.close()
            await systemd.close()
            await store.close()
            notifier.close()


def _radio() -> Radio:
    from dialupd.bus.bluez import Bluez  # noqa: PLC0415 - a quarter of a megabyte, and few have a phone

    return Bluez(SYSTEM_BUS)


async def _first_front(bus: str, registry: Registry) -> Front:
    try:
        return await serve(bus, Desk(registry))
    except NameTaken:
        raise StartError(f"another dialupd runs on the bus {bus}; stop it, or give --bus another") from None
    except BusError as error:
        raise StartError(
            f"the bus {bus} refuses the name: {error}; its policy, org.dialupd1.conf, must allow this user to own it"
        ) from None
    except ConnectionLost as error:
        raise StartError(f"there is no bus {bus}: {error}") from None


async def _stay_on_bus(front: Front, bus: str, registry: Registry) -> None:
    try:
        while True:
            reason = await front.wait_closed()
            log.warning("the bus is gone (%s); modems and calls go on", reason, extra=about(BUS_LOST, REASON=reason))
            registry.unsubscribe(front)
            await front.close()
            front = await _reconnect(bus, registry)
            log.info("the bus is back", extra=about(BUS_BACK))
    finally:
        await front.close()


async def _reconnect(bus: str, registry: Registry) -> Front:
    pause = RECONNECT_FIRST
    while True:
        await asyncio.sleep(pause)
        try:
            return await serve(bus, Desk(registry))
        except (NameTaken, BusError, ConnectionLost) as error:
            log.debug("still no bus: %s", error)
        pause = min(2 * pause, RECONNECT_MAX)


async def _feed(notifier: Notifier, registry: Registry) -> None:
    """Tell systemd that the loop and every modem's owner are alive; silence has it restart us, and calls live on."""
    if notifier.watchdog_interval is None:
        return
    while True:
        if hung := registry.hung():
            text = "%s hangs: the watchdog is not fed any more, systemd starts the daemon anew"
            log.critical(text, hung, extra=about(DEFECT, MODEM=hung))
            return
        notifier.watchdog()
        await asyncio.sleep(notifier.watchdog_interval)


@contextlib.contextmanager
def _signals(registry: Registry, notifier: Notifier) -> Iterator[asyncio.Event]:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def reload() -> None:
        notifier.reloading()
        registry.load()
        notifier.ready(StatusLine(registry, notifier).text())

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _run_directory() -> Iterator[str]:
    """Where per-call files live, for us alone: systemd's, /run/dialupd as root, else one that ends with us."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    with contextlib.ExitStack() as stack:
        if given:
            yield given
        elif os.geteuid() == 0 and _lock_directory(RUN_DIRECTORY, stack):
            yield str(RUN_DIRECTORY)
        else:
            yield stack.enter_context(tempfile.TemporaryDirectory(prefix="dialupd-"))


def _lock_directory(directory: Path, stack: contextlib.ExitStack) -> bool:
    """Make the directory ours; false when another daemon has it, whose calls have the same numbers as ours.

    The service's belongs to its user, who could exchange what pppd then reads as root.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
