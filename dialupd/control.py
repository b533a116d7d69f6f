"""What the edges may ask, in the words of `runtime.Control`: each request finds its modem, call or policy."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dialupd import __version__
from dialupd.at.dialstring import Masking
from dialupd.config.values import ClientSession, Mode, Policy
from dialupd.model import CallView, DialOptions, DialupError, ErrorKind, HistoryFilter, ModemState, ModemView
from dialupd.modem import requests
from dialupd.modem.owner import Modem
from dialupd.registry import Registry
from dialupd.runtime import Foreseen, Watcher
from dialupd.states import IDLE

LEVELS = ("debug", "info", "warning", "error")


class Desk:
    """The `Control` of one registry."""

    version = __version__

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def config_file(self) -> str:
        return self._registry.config_file

    @property
    def config_error(self) -> str:
        return self._registry.config_error

    @property
    def masking(self) -> Masking:
        return self._registry.config.daemon.mask_numbers

    def subscribe(self, watcher: Watcher) -> None:
        self._registry.subscribe(watcher)

    def modems(self) -> Sequence[ModemView]:
        return self._registry.modems()

    def calls(self) -> Sequence[CallView]:
        return self._registry.calls.views()

    def counts(self, call: int) -> tuple[int, int]:
        view = self._registry.calls.get(call).refreshed()
        return view.rx_bytes, view.tx_bytes

    def policies(self) -> Sequence[tuple[str, str, str]]:
        configured = self._registry.config.policies.values()
        return [(policy.name, policy.mode.value, self._status(policy)) for policy in configured]

    def problems(self) -> Sequence[str]:
        return self._registry.problems()

    def set_log_level(self, level: str) -> None:
        if level not in LEVELS:
            raise DialupError(ErrorKind.INVALID_ARGS, f"no log level {level!r}: it is one of {', '.join(LEVELS)}")
        logging.getLogger("dialupd").setLevel(level.upper())

    async def reload(self) -> None:
        self._registry.load()
        if self.config_error:
            raise DialupError(ErrorKind.FAILED, f"the old configuration stays in force:\n{self.config_error}")

    async def rescan(self) -> None:
        self._registry.rescan()

    async def history(self, wanted: HistoryFilter) -> Sequence[CallView]:
        return await self._registry.history(wanted)

    # -- policies

    async def originate(self, policy: str, options: DialOptions) -> int:
        wanted = self._policy(policy)
        if wanted.name in self._registry.suspended_policies:
            raise DialupError(ErrorKind.BLOCKED, f"the policy {policy} is suspended: Resume lets it act again")
        if not wanted.numbers:
            raise DialupError(ErrorKind.INVALID_ARGS, f"the policy {policy} has no numbers: use Dial with a number")
        there = self._registry.present()
        free = [modem for modem in there if modem.policy is None or modem.policy.mode is Mode.MANUAL]
        candidates = self._users(wanted) or free
        if not candidates:
            raise DialupError(ErrorKind.NOT_FOUND, f"no modem is there for the policy {policy}")
        modem = min(candidates, key=_effort)
        return requests.originate(modem, wanted, options)

    async def suspend(self, policy: str) -> None:
        wanted = self._policy(policy)
        self._registry.suspended_policies.add(wanted.name)
        self._decide_anew(wanted)

    async def resume(self, policy: str) -> None:
        wanted = self._policy(policy)
        self._registry.suspended_policies.discard(wanted.name)
        for modem in self._users(wanted):
            requests.resume(modem, wanted)
        self._decide_anew(wanted)

    def _decide_anew(self, policy: Policy) -> None:
        for modem in self._users(policy):
            requests.refresh(modem)
        self._registry.tell(lambda watcher: watcher.manager_changed())

    def _status(self, policy: Policy) -> str:
        if policy.name in self._registry.suspended_policies:
            return "suspended"
        users = self._users(policy)
        blocked = [modem for modem in users if modem.state is ModemState.BLOCKED]
        if blocked:
            return f"blocked: {blocked[0].view.state_reason}"
        return "active" if users else "no modem"

    def _users(self, policy: Policy) -> Sequence[Modem]:
        return [modem for modem in self._registry.present() if modem.policy is policy]

    def _policy(self, name: str) -> Policy:
        policy = self._registry.policy(name)
        if policy is None:
            raise DialupError(ErrorKind.NOT_FOUND, f"no policy {name!r} is configured")
        return policy

    # -- modems

    def foresee_dial(self, modem_id: str, number: str, options: DialOptions) -> Foreseen:
        return requests.foresee(self._registry.modem(modem_id), number, options)

    def foresee_originate(self, policy: str, options: DialOptions) -> Foreseen:
        wanted = self._policy(policy)
        session = options.session or wanted.session
        own = session == wanted.session or isinstance(self._registry.session(session), ClientSession)
        return Foreseen(session, policy, own)

    async def dial(self, modem_id: str, number: str, options: DialOptions) -> int:
        return requests.dial(self._registry.modem(modem_id), number, options)

    async def answer(self, modem_id: str, options: DialOptions) -> int:
        return requests.answer(self._registry.modem(modem_id), options)

    async def hang_up(self, modem_id: str) -> None:
        requests.hang_up(self._registry.modem(modem_id))

    async def reset(self, modem_id: str) -> None:
        requests.reset(self._registry.modem(modem_id))

    async def enable(self, modem_id: str) -> None:
        requests.enable(self._registry.modem(modem_id))

    async def disable(self, modem_id: str) -> None:
        requests.disable(self._registry.modem(modem_id))

    async def set_policy(self, modem_id: str, policy: str) -> None:
        requests.set_policy(self._registry.modem(modem_id), policy)
        self._registry.tell(lambda watcher: watcher.manager_changed())

    async def command(self, modem_id: str, text: str, timeout_s: float) -> tuple[str, list[str]]:
        return await requests.command(self._registry.modem(modem_id), text, timeout_s)

    async def inhibit(self, modem_id: str, who: str, why: str) -> int:
        return requests.inhibit(self._registry.modem(modem_id), who, why)

    # -- calls

    async def hang_up_call(self, call: int) -> None:
        found = self._registry.calls.get(call)
        if not found.ended:
            modem = self._registry.modem(found.view.modem)
            if modem.call is found:
                requests.hang_up(modem)
                return
        raise DialupError(ErrorKind.WRONG_STATE, f"call {call} has ended ({found.view.end_reason})")

    async def open_call(self, call: int) -> int:
        found = self._registry.calls.get(call)
        session = await found.running()
        if session is None:
            raise DialupError(ErrorKind.WRONG_STATE, f"call {call} is {found.view.state}: there is no data stream")
        return session.open()


def _effort(modem: Modem) -> tuple[bool, bool, bool]:
    """What it takes to dial by the modem; a line that is open needs no radio, and no battery of a phone's."""
    return modem.state is not ModemState.READY, modem.state not in IDLE, modem.on_demand and modem.channel is None
