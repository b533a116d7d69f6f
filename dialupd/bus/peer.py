"""Another service on the bus, by its well-known name.

Calls go to the unique name of its owner, so that nobody else can answer them, and its signals count only when they come
from there: any peer can send any signal to us alone.  A service that is not there is not started by asking for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from dialupd.bus.connection import CALL_S, Connection, Handler, close_all
from dialupd.bus.wire import BUS_NAME, BUS_PATH, BusError, Message, MethodCall, Variant, unwrap

_NO_OWNER: Final = f"{BUS_NAME}.Error.NameHasNoOwner"
# A service that runs itself anew, as systemd does at its upgrade, loses the calls that it has not answered.
_UNANSWERED: Final = (f"{BUS_NAME}.Error.NoReply", f"{BUS_NAME}.Error.ServiceUnknown", _NO_OWNER)


class Peer:
    """`owner` is the unique name, "" while there is none; `on_owner` is called when it has changed."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        on_signal: Handler,
        on_owner: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.owner = ""
        self._connection = connection
        self._on_signal = on_signal
        self._on_owner = on_owner
        self._told = False

    async def meet(self, *rules: str) -> None:
        """Ask for the signals that the match rules describe and learn who owns the name."""
        self._connection.on_signal.append(self._signal)
        owner_rule = f"type='signal',sender='{BUS_NAME}',path='{BUS_PATH}',member='NameOwnerChanged',arg0='{self.name}'"
        for rule in (owner_rule, *(f"type='signal',sender='{self.name}',{rule}" for rule in rules)):
            await self._connection.ask_bus("AddMatch", "s", [rule])
        try:
            (owner,) = await self._connection.ask_bus("GetNameOwner", "s", [self.name])
        except BusError as error:
            if error.name != _NO_OWNER:
                raise
            owner = ""
        # A change that came right behind the answer has been seen before the answer is.
        if not self._told:
            self.owner = str(owner)

    def _signal(self, message: Message) -> None:
        if message.sender == self.owner:
            self._on_signal(message)
        elif message.sender == BUS_NAME and message.member == "NameOwnerChanged" and message.body[0] == self.name:
            self.owner, self._told = message.body[2], True
            self._on_owner()

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
        *,
        answer: str = "",
        within: float = CALL_S,
        wants_fds: bool = False,
    ) -> Message:
        """Call a method whose reply has the signature `answer`; asked again once of a new owner.

        Raises BusError for an error and for another reply, CallTimeout, ConnectionLost.
        """
        asked = self.owner
        try:
            return await self._call(
                MethodCall(asked, path, interface, member, signature, body), answer, within, wants_fds
            )
        except BusError as error:
            if error.name not in _UNANSWERED or self.owner in ("", asked):
                raise
        again = MethodCall(self.owner, path, interface, member, signature, body)
        return await self._call(again, answer, within, wants_fds)

    async def _call(self, call: MethodCall, answer: str, within: float, wants_fds: bool) -> Message:
        if not call.destination:
            raise BusError(_NO_OWNER, f"{self.name} is not on this bus")
        reply = await self._connection.call(call, within=within, wants_fds=wants_fds)
        if reply.signature != answer:
            close_all(reply.unix_fds)
            raise self._nonsense(call.member)
        return reply

    def _nonsense(self, member: str) -> BusError:
        return BusError(f"{BUS_NAME}.Error.InvalidSignature", f"{self.name} answered {member} with something else")

    async def get(self, path: str, interface: str, name: str, signature: str) -> object:
        """The value of a property, which must be of that signature."""
        reply = await self.call(path, f"{BUS_NAME}.Properties", "Get", "ss", [interface, name], answer="v")
        value = reply.body[0]
        if not isinstance(value, Variant) or value.signature != signature:
            raise self._nonsense(f"Get {name}")
        found: object = unwrap(value)
        return found
