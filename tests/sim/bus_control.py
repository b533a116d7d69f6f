"""A `Control` that notes what it is asked and lets a test decide what happens."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dialupd.at.dialstring import Masking
from dialupd.model import (
    CallState,
    CallView,
    DialOptions,
    DialupError,
    Direction,
    ErrorKind,
    HistoryFilter,
    ModemState,
    ModemView,
    Transport,
)
from dialupd.runtime import Foreseen, Watcher

MODEM = ModemView(
    id="0572_1340_12345678",
    name="rack",
    transport=Transport.CDC_ACM,
    device="/dev/ttyACM0",
    sys_path="/sys/devices/pci0000:00/usb1/1-2/1-2:1.0/tty/ttyACM0",
    driver="cdc_acm",
    vendor_id="0572",
    product_id="1340",
    serial="12345678",
    manufacturer="CONEXANT",
    model="CX93010",
    firmware="ACF3_V1.08",
    capabilities=("data", "fax", "caller-id"),
    modulations=("V22", "V32BIS", "V34", "V90"),
    state=ModemState.READY,
    state_reason="probed",
    state_since=1_700_000_000_000_000,
    policy="console-in",
)
CALL = CallView(
    call=7,
    modem=MODEM.id,
    direction=Direction.OUTGOING,
    number="5551212",
    policy="uplink",
    session="internet",
    state=CallState.CONNECTED,
    start_time=1_700_000_000_000_000,
    connect_time=1_700_000_020_000_000,
    line_rate=33600,
    port_rate=115200,
    modulation="V34",
    error_control="LAPM",
    compression="V42BIS",
    interface="ppp0",
    local_address="10.0.0.2",
    remote_address="10.0.0.1",
    dns=("10.0.0.1", "2001:db8::1"),
    rx_bytes=1234,
    tx_bytes=99,
)


class FakeControl:
    def __init__(self, modems: Sequence[ModemView] = (MODEM,), calls: Sequence[CallView] = (CALL,)) -> None:
        self.version = "0.1.0"
        self.config_file = "/etc/dialupd/dialupd.toml"
        self.config_error = ""
        self.trouble: list[str] = []
        self.masking = Masking.AFTER_PAUSE
        self.asked: list[tuple[Any, ...]] = []
        self.fail: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()
        self.counted: tuple[int, int] | None = None
        self.past: list[CallView] = list(calls)
        self.far_ends: list[socket.socket] = []
        self.watchers: list[Watcher] = []
        self._modems = {view.id: view for view in modems}
        self._calls = {view.call: view for view in calls}
        self._policies = [("console-in", "answer", "active"), ("uplink", "originate", "suspended")]

    # -- what the test makes happen

    def put_modem(self, view: ModemView) -> None:
        old = self._modems.get(view.id)
        self._modems[view.id] = view
        for watcher in self.watchers:
            if old is None:
                watcher.modem_added(view)
            else:
                watcher.modem_changed(old, view)

    def change_modem(self, **fields: Any) -> None:
        self.put_modem(replace(self._modems[MODEM.id], **fields))

    def remove_modem(self, modem_id: str) -> None:
        view = self._modems.pop(modem_id)
        for watcher in self.watchers:
            watcher.modem_removed(view)

    def put_call(self, view: CallView) -> None:
        old = self._calls.get(view.call)
        self._calls[view.call] = view
        for watcher in self.watchers:
            if old is None:
                watcher.call_added(view)
            else:
                watcher.call_changed(old, view)

    def change_call(self, **fields: Any) -> None:
        self.put_call(replace(self._calls[CALL.call], **fields))

    def remove_call(self, call: int) -> None:
        view = self._calls.pop(call)
        for watcher in self.watchers:
            watcher.call_removed(view)

    def ring(self, modem_id: str, **info: str | int) -> None:
        for watcher in self.watchers:
            watcher.ringing(modem_id, {key.replace("_", "-"): value for key, value in info.items()})

    def change_config(self, error: str) -> None:
        self.config_error = error
        for watcher in self.watchers:
            watcher.manager_changed()

    def change_problems(self, *problems: str) -> None:
        self.trouble = list(problems)
        for watcher in self.watchers:
            watcher.manager_changed()

    # -- Control

    async def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.hold is not None:
            self.held.set()
            await self.hold.wait()
        if self.fail is not None:
            raise self.fail

    def modems(self) -> Sequence[ModemView]:
        return tuple(self._modems.values())

    def calls(self) -> Sequence[CallView]:
        return tuple(self._calls.values())

    def counts(self, call: int) -> tuple[int, int]:
        return self.counted or (self._calls[call].rx_bytes, self._calls[call].tx_bytes)

    def policies(self) -> Sequence[tuple[str, str, str]]:
        return self._policies

    def problems(self) -> Sequence[str]:
        return self.trouble

    def subscribe(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    async def reload(self) -> None:
        await self._ask("reload")

    async def rescan(self) -> None:
        await self._ask("rescan")

    async def originate(self, policy: str, options: DialOptions) -> int:
        await self._ask("originate", policy, options)
        return 8

    async def suspend(self, policy: str) -> None:
        await self._ask("suspend", policy)

    async def resume(self, policy: str) -> None:
        await self._ask("resume", policy)

    async def history(self, wanted: HistoryFilter) -> Sequence[CallView]:
        await self._ask("history", wanted)
        return self.past[: wanted.limit]

    def set_log_level(self, level: str) -> None:
        self.asked.append(("set_log_level", level))

    def foresee_dial(self, modem_id: str, number: str, options: DialOptions) -> Foreseen:
        return Foreseen(options.session or "client", options.policy, not options.session)

    def foresee_originate(self, policy: str, options: DialOptions) -> Foreseen:
        return Foreseen(options.session or "internet", policy, not options.session)

    async def dial(self, modem_id: str, number: str, options: DialOptions) -> int:
        await self._ask("dial", modem_id, number, options)
        if not number.isdecimal():
            raise DialupError(ErrorKind.INVALID_ARGS, f"{number!r} is no number")
        return 8

    async def answer(self, modem_id: str, options: DialOptions) -> int:
        await self._ask("answer", modem_id, options)
        return 8

    async def hang_up(self, modem_id: str) -> None:
        await self._ask("hang_up", modem_id)

    async def reset(self, modem_id: str) -> None:
        await self._ask("reset", modem_id)

    async def enable(self, modem_id: str) -> None:
        await self._ask("enable", modem_id)

    async def disable(self, modem_id: str) -> None:
        await self._ask("disable", modem_id)

    async def set_policy(self, modem_id: str, policy: str) -> None:
        await self._ask("set_policy", modem_id, policy)

    async def command(self, modem_id: str, text: str, timeout_s: float) -> tuple[str, list[str]]:
        await self._ask("command", modem_id, text, timeout_s)
        return "OK", ["CONEXANT", "CX93010"]

    async def inhibit(self, modem_id: str, who: str, why: str) -> int:
        await self._ask("inhibit", modem_id, who, why)
        return self._descriptor()

    async def hang_up_call(self, call: int) -> None:
        await self._ask("hang_up_call", call)

    async def open_call(self, call: int) -> int:
        await self._ask("open_call", call)
        return self._descriptor()

    def _descriptor(self) -> int:
        near, far = socket.socketpair()
        self.far_ends.append(far)
        return near.detach()


def open_fds() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))
