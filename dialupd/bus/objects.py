"""The three kinds of objects: thin adapters from `Control` to the interfaces.

Each handler checks and converts its arguments, asks the control, and wraps the answer; it decides nothing.
The decorator `needs` names the action and the arguments that polkit is shown, and collects the handlers under
the names of the XML.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from dialupd.bus.authority import Action, Caller
from dialupd.bus.interface import Interface
from dialupd.bus.options import answer_options, dial_options, history_filter
from dialupd.bus.service import Handler
from dialupd.bus.values import ROOT, ViewTable, call_path, modem_path
from dialupd.bus.wire import Variant
from dialupd.model import CallView, DialupError, ErrorKind, ModemView
from dialupd.runtime import Control, Foreseen

Options = Mapping[str, Variant]

# What a modem answers in command state it answers within a second or two; some take longer to write to flash.
_COMMAND_MS: Final = 5000
_COMMAND_MAX_MS: Final = 600_000
_LEVELS: Final = ("debug", "info", "warning", "error")

_Run = Callable[..., Awaitable[list[Any]]]


def _handlers() -> tuple[dict[str, Handler], Callable[..., Callable[[_Run], _Run]]]:
    found: dict[str, Handler] = {}

    def needs(
        action: Action, *details: str, further: Callable[..., Mapping[str, str] | None] = lambda *_: None
    ) -> Callable[[_Run], _Run]:
        def note(run: _Run) -> _Run:
            name = "".join(part.capitalize() for part in run.__name__.split("_"))
            found[name] = Handler(action, details, run, further)
            return run

        return note

    return found, needs


def _exceeds(foreseen: Foreseen) -> Mapping[str, str] | None:
    """Root's sessions are for the numbers that root gave them, or any number would get their passwords."""
    return None if foreseen.as_configured else {"session": foreseen.session, "policy": foreseen.policy}


class ManagerObject:
    """/org/dialupd1."""

    handlers, needs = _handlers()
    path = ROOT

    def __init__(self, interface: Interface, calls: ViewTable, control: Control) -> None:
        self.interface = interface
        self.details: dict[str, str] = {}
        self._calls = calls
        self._control = control

    def properties(self) -> dict[str, Variant]:
        control = self._control
        values = {
            "Version": control.version,
            "ConfigFile": control.config_file,
            "ConfigError": control.config_error,
            "Modems": [modem_path(view.id) for view in control.modems()],
            "Calls": [call_path(view.call) for view in control.calls()],
            "Policies": [list(policy) for policy in control.policies()],
            "Problems": list(control.problems()),
        }
        return {item.name: Variant(item.signature, values[item.name]) for item in self.interface.properties.values()}

    @needs(Action.CONFIGURE)
    async def reload(self, _: Caller) -> list[Any]:
        await self._control.reload()
        return []

    @needs(Action.CONTROL)
    async def rescan(self, _: Caller) -> list[Any]:
        await self._control.rescan()
        return []

    def _other_session(self, policy: str, options: Options) -> Mapping[str, str] | None:
        return _exceeds(self._control.foresee_originate(policy, dial_options(options)))

    @needs(Action.DIAL, "policy", further=_other_session)
    async def originate(self, _: Caller, policy: str, options: Options) -> list[Any]:
        return [call_path(await self._control.originate(policy, dial_options(options)))]

    @needs(Action.CONTROL, "policy")
    async def suspend(self, _: Caller, policy: str) -> list[Any]:
        await self._control.suspend(policy)
        return []

    @needs(Action.CONTROL, "policy")
    async def resume(self, _: Caller, policy: str) -> list[Any]:
        await self._control.resume(policy)
        return []

    @needs(Action.MONITOR)
    async def history(self, _: Caller, wanted: Options) -> list[Any]:
        return [[self._calls.row(view) for view in await self._control.history(history_filter(wanted))]]

    @needs(Action.CONFIGURE)
    async def set_log_level(self, _: Caller, level: str) -> list[Any]:
        if level not in _LEVELS:
            raise DialupError(ErrorKind.INVALID_ARGS, f"the log level must be one of {', '.join(_LEVELS)}")
        self._control.set_log_level(level)
        return []


class ModemObject:
    """/org/dialupd1/modem/ID."""

    handlers, needs = _handlers()

    def __init__(self, interface: Interface, table: ViewTable, control: Control, view: ModemView) -> None:
        self.path = modem_path(view.id)
        self.interface = interface
        self.details = {"modem": view.id}
        self.view = view
        self._table = table
        self._control = control

    def properties(self) -> dict[str, Variant]:
        return self._table.properties(self.view)

    def _other_number(self, number: str, options: Options) -> Mapping[str, str] | None:
        return _exceeds(self._control.foresee_dial(self.view.id, number, dial_options(options)))

    @needs(Action.DIAL, "number", further=_other_number)
    async def dial(self, _: Caller, number: str, options: Options) -> list[Any]:
        return [call_path(await self._control.dial(self.view.id, number, dial_options(options)))]

    @needs(Action.ANSWER)
    async def answer(self, _: Caller, options: Options) -> list[Any]:
        return [call_path(await self._control.answer(self.view.id, answer_options(options)))]

    @needs(Action.HANG_UP)
    async def hang_up(self, _: Caller) -> list[Any]:
        await self._control.hang_up(self.view.id)
        return []

    @needs(Action.CONTROL)
    async def reset(self, _: Caller) -> list[Any]:
        await self._control.reset(self.view.id)
        return []

    @needs(Action.CONTROL)
    async def enable(self, _: Caller) -> list[Any]:
        await self._control.enable(self.view.id)
        return []

    @needs(Action.CONTROL)
    async def disable(self, _: Caller) -> list[Any]:
        await self._control.disable(self.view.id)
        return []

    @needs(Action.CONFIGURE, "policy")
    async def set_policy(self, _: Caller, policy: str) -> list[Any]:
        await self._control.set_policy(self.view.id, policy)
        return []

    @needs(Action.COMMAND, "command")
    async def command(self, _: Caller, command: str, timeout_ms: int) -> list[Any]:
        if timeout_ms > _COMMAND_MAX_MS:
            text = f"timeout_ms is {timeout_ms}; at most {_COMMAND_MAX_MS} (10 minutes) is allowed"
            raise DialupError(ErrorKind.INVALID_ARGS, text)
        seconds = (timeout_ms or _COMMAND_MS) / 1000
        result, lines = await self._control.command(self.view.id, command, seconds)
        return [result, list(lines)]

    @needs(Action.CONTROL, "who", "why")
    async def inhibit(self, _: Caller, who: str, why: str) -> list[Any]:
        return [await self._control.inhibit(self.view.id, who, why)]


class CallObject:
    """/org/dialupd1/call/N."""

    handlers, needs = _handlers()

    def __init__(self, interface: Interface, table: ViewTable, control: Control, view: CallView) -> None:
        self.path = call_path(view.call)
        self.interface = interface
        self.details = {"call": str(view.call), "modem": view.modem}
        self.view = view
        self._table = table
        self._control = control

    def properties(self) -> dict[str, Variant]:
        rx, tx = self._control.counts(self.view.call)
        return self._table.properties(replace(self.view, rx_bytes=rx, tx_bytes=tx))

    @needs(Action.HANG_UP)
    async def hang_up(self, _: Caller) -> list[Any]:
        await self._control.hang_up_call(self.view.call)
        return []

    @needs(Action.DIAL)
    async def open(self, _: Caller) -> list[Any]:
        return [await self._control.open_call(self.view.call)]
