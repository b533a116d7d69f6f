"""The composition root: every part is made here and given to those that need it.

The bus may go and come back: modems and calls go on meanwhile.  SIGTERM and SIGINT end in order, SIGHUP reads the
configuration again.  The watchdog of the service manager is fed by the loop, so a loop that hangs is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from dialupd import __version__
from dialupd.bus.address import ConnectionLost
from dialupd.bus.connection import NameTaken
from dialupd.bus.front import Front, serve
from dialupd.bus.wire import BusError
from dialupd.control import Desk
from dialupd.io.configfile import read_config
from dialupd.io.notify import Notifier
from dialupd.io.store import Store
from dialupd.model import CallView, ModemView
from dialupd.registry import Registry
from dialupd.runtime import Quiet
from dialupd.sessions.base import RuntimePaths

log = logging.getLogger(__name__)

RECONNECT_FIRST = 1.0
RECONNECT_MAX = 30.0
"""Seconds between attempts to reach a bus that went away, doubling: dbus-daemon is back within a second or two."""


RUN_DIRECTORY = Path("/run/dialupd")


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


async def run(config_file: str, bus: str) -> None:
    """Run until a signal ends it; StartError when the bus cannot be had at the start."""
    notifier = Notifier()
    with _run_directory() as run_directory:
        registry = Registry(config_file, partial(read_config, config_file), RuntimePaths(run_directory))
        registry.load()
        store = Store(registry.config.daemon.state_directory)
        registry.subscribe(Historian(store))
        registry.subscribe(StatusLine(registry, notifier))
        try:
            front = await _first_front(bus, registry)
            async with asyncio.TaskGroup() as group:
                on_bus = group.create_task(_stay_on_bus(front, bus, registry), name="bus")
                await registry.start(store)
                watchdog = group.create_task(_feed(notifier), name="watchdog")
                with _signals(registry, notifier) as stop:
                    notifier.ready(StatusLine(registry, notifier).text())
                    log.info("dialupd %s is ready on the bus %s", __version__, bus)
                    await stop.wait()
                log.info("ending: calls are hung up")
                notifier.stopping("hanging up")
                await registry.close()
                on_bus.cancel()
                watchdog.cancel()
        finally:
            await registry.close()
            await store.close()
            notifier.close()


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
            log.warning("the bus is gone (%s); modems and calls go on", reason)
            registry.unsubscribe(front)
            await front.close()
            front = await _reconnect(bus, registry)
            log.info("the bus is back")
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


async def _feed(notifier: Notifier) -> None:
    if notifier.watchdog_interval is None:
        return
    while True:
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
    """Make the directory ours; false when another daemon has it, whose calls have the same numbers as ours."""
    directory.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Formatter(logging.Formatter):
    """The journal's priority prefixes where the journal reads (sd-daemon(3)), the time where a person does."""

    PRIORITIES: Mapping[int, int] = {10: 7, 20: 6, 30: 4, 40: 3, 50: 2}

    def __init__(self, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        prefix = f"<{self.PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in text.splitlines())


def set_up_logging(level: str) -> None:
    """Log to stderr, where the journal or a person reads."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(_is_journal()))
    logger = logging.getLogger("dialupd")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())


def _is_journal() -> bool:
    """Does stderr lead to the journal?  The variable alone may be inherited from a service (systemd.exec(5))."""
    status = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
