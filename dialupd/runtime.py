"""The seam between the runtime and its edges.

`Control` is what an edge may ask of the daemon; `Watcher` is how the daemon tells its observers (the bus,
the history, the log) what happened.  Both speak only the values of `dialupd.model`.

Rules: every request that cannot be done raises `DialupError`, whose kind and text reach the person who
asked.  A watcher is called in the loop's thread, in the order of events, and returns at once; it never
raises and never asks anything of the runtime from within, but for the plain readings (`modems`, `calls`,
`policies`, `config_error`).  A view that is passed is complete and never changes.  `subscribe` does not
replay what exists: the observer reads `modems()` and `calls()` in the same step of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dialupd.at.dialstring import Masking
from dialupd.model import CallView, DialOptions, HistoryFilter, ModemView


class Watcher(Protocol):
    """An observer of all modems and calls."""

    def modem_added(self, view: ModemView) -> None:
        """A modem came."""

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        """Something published of a modem changed; a change of state is `old.state != new.state`."""

    def modem_removed(self, view: ModemView) -> None:
        """A modem went; `view` is the last that was known of it."""

    def ringing(self, modem_id: str, info: Mapping[str, str | int]) -> None:
        """One ring: `rings`, and what is known so far of `caller-id`, `caller-name` and the like."""

    def call_added(self, view: CallView) -> None:
        """A call began: the first dial or ring."""

    def call_changed(self, old: CallView, new: CallView) -> None:
        """Something published of a call changed."""

    def call_removed(self, view: CallView) -> None:
        """A call is forgotten, a minute after its end."""

    def manager_changed(self) -> None:
        """ConfigError, the policies or the problems changed."""


Tell = Callable[[Callable[[Watcher], None]], None]
"""Calls every watcher."""


class Quiet:
    """A `Watcher` that does nothing: the base of those that care for some events only."""

    def modem_added(self, view: ModemView) -> None:
        """Nothing."""

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        """Nothing."""

    def modem_removed(self, view: ModemView) -> None:
        """Nothing."""

    def ringing(self, modem_id: str, info: Mapping[str, str | int]) -> None:
        """Nothing."""

    def call_added(self, view: CallView) -> None:
        """Nothing."""

    def call_changed(self, old: CallView, new: CallView) -> None:
        """Nothing."""

    def call_removed(self, view: CallView) -> None:
        """Nothing."""

    def manager_changed(self) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a call that is asked for would be; `as_configured`: a client's, or a policy's number with its session."""

    session: str
    policy: str
    as_configured: bool


class Control(Protocol):
    """What may be asked of the daemon.  Long work returns once it has begun; views report how it goes on."""

    @property
    def version(self) -> str:
        """The version of the daemon."""

    @property
    def config_file(self) -> str:
        """The main configuration file."""

    @property
    def config_error(self) -> str:
        """What is wrong with the configuration on disk, or ""."""

    @property
    def masking(self) -> Masking:
        """How numbers are shown."""

    def modems(self) -> Sequence[ModemView]:
        """All modems, as they are now."""

    def calls(self) -> Sequence[CallView]:
        """All calls that are not yet forgotten, as they are now."""

    def counts(self, call: int) -> tuple[int, int]:
        """Bytes that a call's session has received and sent so far; no watcher is told of them while it runs."""

    def policies(self) -> Sequence[tuple[str, str, str]]:
        """Name, mode and status of each policy."""

    def problems(self) -> Sequence[str]:
        """What is configured and cannot work now, each with the mend."""

    def subscribe(self, watcher: Watcher) -> None:
        """Tell `watcher` everything from now on."""

    async def reload(self) -> None:
        """Read the configuration again."""

    async def rescan(self) -> None:
        """Look for devices again."""

    async def originate(self, policy: str, options: DialOptions) -> int:
        """Start a call by a policy; the call's number."""

    async def suspend(self, policy: str) -> None:
        """Keep a policy from acting."""

    async def resume(self, policy: str) -> None:
        """Let a policy act again; clears a block too."""

    async def history(self, wanted: HistoryFilter) -> Sequence[CallView]:
        """Past calls, newest first."""

    def set_log_level(self, level: str) -> None:
        """From now on log what is at least this important."""

    def foresee_dial(self, modem_id: str, number: str, options: DialOptions) -> Foreseen:
        """What `dial` would do."""

    def foresee_originate(self, policy: str, options: DialOptions) -> Foreseen:
        """What `originate` would do."""

    async def dial(self, modem_id: str, number: str, options: DialOptions) -> int:
        """Dial a number; the call's number."""

    async def answer(self, modem_id: str, options: DialOptions) -> int:
        """Answer the call that rings; the call's number."""

    async def hang_up(self, modem_id: str) -> None:
        """End whatever goes on upon the line."""

    async def reset(self, modem_id: str) -> None:
        """Bring the modem back to a known state."""

    async def enable(self, modem_id: str) -> None:
        """Take charge of a disabled modem."""

    async def disable(self, modem_id: str) -> None:
        """Leave the modem alone until it is enabled."""

    async def set_policy(self, modem_id: str, policy: str) -> None:
        """Give the modem another policy until the next reload."""

    async def command(self, modem_id: str, text: str, timeout_s: float) -> tuple[str, list[str]]:
        """Send one AT command; its result code and the lines before it."""

    async def inhibit(self, modem_id: str, who: str, why: str) -> int:
        """Lend the port out; a file descriptor for the caller, the loan lasts until it is closed."""

    async def hang_up_call(self, call: int) -> None:
        """End a call."""

    async def open_call(self, call: int) -> int:
        """The data stream of a call with the session type client; a file descriptor for the caller."""
