"""What a modem's owner needs of the daemon around it, and what is remembered of a modem while it is unplugged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dialupd.at.dialstring import Masking
from dialupd.config.values import Flow, Policy
from dialupd.config.values import Session as SessionConfig
from dialupd.io.port import Port
from dialupd.model import CallView, Device, ModemView
from dialupd.modem.call import Call
from dialupd.modem.callback import Counted
from dialupd.modem.loan import Loan
from dialupd.modem.redialer import Redialer
from dialupd.sessions.runners import Runner


@dataclass(frozen=True, slots=True)
class Unsure:
    """A voice call that a phone may have for us, to a number as it is shown; after `until`, loop time, it is over."""

    number: str
    until: float


@dataclass(slots=True)
class Memory:
    """Outlives the modem's object: what a person said of the modem, and where its policies stand."""

    disabled: bool = False
    policy: str | None = None
    """Given by SetPolicy; None: as configured."""
    refused_pin: str = ""
    """The PIN that the SIM refused, so that it is not tried until the SIM is locked."""
    loan: Loan | None = None
    """The port is lent out; a loan outlives re-plugging, which firmware tools bring about."""
    blind: bool = False
    """The line has a dial tone that the modem does not know: dial without waiting for it."""
    unsure: Unsure | None = None
    """None: there is none."""
    redialer: Redialer = field(default_factory=Redialer)
    called_back: Counted = field(default_factory=Counted)


class Host(Protocol):
    """Given to each owner; the registry is the only implementation."""

    @property
    def runner(self) -> Runner:
        """Where sessions run."""

    @property
    def masking(self) -> Masking:
        """How dialled numbers are shown."""

    def now(self) -> int:
        """Microseconds since the epoch."""

    def today(self) -> int:
        """The day's ordinal, local time."""

    def until_tomorrow(self) -> float:
        """Seconds to the next midnight, local time."""

    def policy(self, name: str) -> Policy | None:
        """The configured policy; None for "" too."""

    def session(self, name: str) -> SessionConfig | None:
        """The configured session; "client" is always there."""

    def suspended(self, policy: str) -> bool:
        """A person has suspended the policy."""

    def calls_today(self, modem: str, policy: Policy) -> int:
        """Calls to the policy's numbers that the history had of today at the start."""

    def new_call(self, view: CallView) -> Call:
        """A call with the next number in place of the view's; published at once."""

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        """Publish."""

    def ringing(self, modem: str, info: Mapping[str, str | int]) -> None:
        """Publish one ring."""

    def loan_begun(self, modem: str) -> None:
        """The modem's port was lent out."""

    def loan_ended(self, modem: str) -> None:
        """The borrower has given the port back."""

    async def open_port(self, device: Device, speed: int, flow: Flow) -> Port:
        """Open a line to the device, for us alone; raises PortError."""

    def adopt_port(self, device: Device, speed: int, flow: Flow, fd: int, *, carrier_counts: bool) -> Port:
        """The line of a call that has outlived an earlier daemon."""

    def radio_trouble(self, device: Device) -> str:
        """Why the device cannot be reached by radio now, with the mend; "" while it is worth trying."""

    async def bind(self, device: Device) -> None:
        """Bind the generic driver; raises BindError."""
