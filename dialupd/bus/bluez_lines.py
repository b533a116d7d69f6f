"""Lines to phones: the profiles that we register with bluetoothd, and the sockets that it hands us for them.

ConnectProfile pages the phone, asks it for the channel of the service and connects to that; the socket comes by
NewConnection, and only then is ConnectProfile answered.  bluetoothd keeps a copy of the socket and sees by it that the
line has ended, so whoever closes a line shuts it down, and nothing else need be told.

Rules that BlueZ (src/profile.c, src/device.c, src/service.c of 5.66 to 5.82) makes necessary:

- What it takes for connected is answered with success and no socket.  It is asked to disconnect, and once more.
- A connection in the making is never told DisconnectProfile: if paging then fails, BlueZ forgets to answer the caller
  and is busy with the phone for good.  One that is cancelled here goes on until the phone answers or paging ends, and
  the late socket is refused; whoever asks anew meanwhile is told "in progress", waits, and may be given that socket.
- Out of paging, BlueZ may try Low Energy, for as long as the kernel likes.  Past our limit it is told to stop by
  Disconnect, if the phone is not connected, so that nobody else's link ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dialupd.bus import bluez_words as words
from dialupd.bus.address import ConnectionLost
from dialupd.bus.bluez_devices import DEVICE, UUIDS, Known
from dialupd.bus.connection import CallTimeout, Connection, close_all
from dialupd.bus.wire import (
    BUS_NAME,
    BusError,
    Message,
    MessageFlag,
    MethodCall,
    Variant,
    error_reply,
    method_call,
    reply,
)
from dialupd.io.linewatch import LineWatch
from dialupd.radio import RadioError, RadioFault, Service

log = logging.getLogger(__name__)

_ROOT: Final = "/org/bluez"
_MANAGER: Final = "org.bluez.ProfileManager1"
_PROFILE: Final = "org.bluez.Profile1"
_PATHS: Final = {service: f"/org/dialupd1/bluetooth/{service.value}" for service in UUIDS}
_SERVED: Final = {path: service for service, path in _PATHS.items()}

# Seconds that a connection may take: paging takes 5 at most, the question for the channel some more.
_LIMIT: Final = 25.0
# Seconds that it takes at most to register a profile, which asks nobody.
_ANSWERS: Final = 5.0
# Seconds between attempts while bluetoothd is busy with the phone; it tells nobody when it has done.
_AGAIN: Final = 0.5
# Seconds for which the line before may still be closing.
_CLOSING: Final = 3.0
# A channel that still closes makes the new socket's connect(2) fail with EBUSY, which comes out as either.
_STILL_CLOSING: Final = ("br-connection-busy", "br-connection-create-socket")


class _Attempt:
    """A connection in the making: the descriptor that has come for it; whether bluetoothd was busy when asked last."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.fd = -1
        self.busy = False
        self.arrived = asyncio.Event()


class Lines:
    """Of one bluetoothd at a time, told by `meet`."""

    def __init__(self) -> None:
        # Why a service is not ours.
        self.refused: dict[Service, str] = {}
        self._registered: set[Service] = set()
        self._complained: set[str] = set()
        self._attempts: dict[str, _Attempt] = {}
        self._watch = LineWatch()
        self._connection: Connection | None = None
        self._owner: Callable[[], str] = lambda: ""

    def meet(self, connection: Connection | None, owner: Callable[[], str] = lambda: "") -> None:
        """There is another bluetoothd, or none: nothing is registered."""
        self._connection, self._owner = connection, owner
        self._registered.clear()
        self.refused.clear()

    def close(self) -> None:
        self._watch.close()

    # -- profiles

    def serves(self, service: Service) -> bool:
        return service in self._registered

    async def register(self) -> None:
        """Register what is not yet ours; `refused` says what stays so."""
        for service in UUIDS:
            if service not in self._registered:
                await self._register(service)

    async def _register(self, service: Service) -> None:
        options = {
            "Name": Variant("s", f"dialupd: {words.SERVICES[service]}"),
            "Role": Variant("s", "client"),
            "AutoConnect": Variant("b", False),
            "RequireAuthentication": Variant("b", True),
        }
        body: list[object] = [_PATHS[service], UUIDS[service], options]
        owner = self._owner()
        try:
            await self._call(_ROOT, _MANAGER, "RegisterProfile", "osa{sv}", body, within=_ANSWERS)
        except BusError as error:
            if error.name != words.ALREADY_EXISTS:  # by us, a moment ago
                self._note(service, owner, error)
                return
        except (ConnectionLost, CallTimeout) as error:
            self._note(service, owner, error)
            return
        if owner == self._owner():
            self._registered.add(service)
            self.refused.pop(service, None)

    def _note(self, service: Service, owner: str, error: Exception) -> None:
        if owner != self._owner():
            return
        self.refused[service] = text = words.not_ours(service, error)
        if text not in self._complained:
            self._complained.add(text)
            log.info("%s", text)

    def on_call(self, message: Message) -> None:
        """bluetoothd calls org.bluez.Profile1; nobody else may."""
        try:
            self._serve(message)
        except BusError as error:
            answer = error_reply(message, error.name, error.text)
        else:
            answer = reply(message, "", [])
        if self._connection is not None and not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._connection.send(answer)

    def _serve(self, message: Message) -> None:
        service = _SERVED.get(message.path or "")
        if service is None or message.sender != self._owner():
            raise BusError(f"{BUS_NAME}.Error.AccessDenied", "Only bluetoothd is served, at its profiles")
        match message.interface, message.member, message.signature:
            case (_profile, "NewConnection", "oha{sv}") if _profile == _PROFILE:
                self._take(message, service)
            case (_profile, "RequestDisconnection", "o") if _profile == _PROFILE:
                self._watch.end(message.body[0])
            case (_profile, "Release", "") if _profile == _PROFILE:
                self._registered.discard(service)
            case _:
                raise BusError(f"{BUS_NAME}.Error.UnknownMethod", "There is no such method")

    def _take(self, message: Message, service: Service) -> None:
        """The line for a connection that is wanted; any other is refused, and closed with its message.

        Any user may have bluetoothd connect a phone's other service to us.
        """
        path, index = message.body[0], message.body[1]
        attempt = self._attempts.get(path)
        wanted = attempt is not None and attempt.service is service and attempt.fd < 0
        if attempt is None or not wanted or index >= len(message.unix_fds):
            raise BusError(words.CANCELED, "Nobody waits for this connection")
        fd = message.unix_fds[index]
        try:
            os.set_blocking(fd, False)
            self._watch.watch(path, fd)
        except OSError as error:
            raise BusError(words.CANCELED, f"The line cannot be kept: {error.strerror}") from error
        attempt.fd = message.unix_fds.pop(index)
        attempt.arrived.set()

    # -- lines

    async def open(self, known: Known, connected: Callable[[], bool]) -> int:
        """A line to the phone, by the service that it has; `connected` is asked whether it is now.

        Raises RadioError.
        """
        phone, path = known.phone, known.path
        if path in self._attempts:
            raise words.busy(phone)
        attempt = self._attempts[path] = _Attempt(phone.service)
        try:
            async with asyncio.timeout(_LIMIT):
                await self._connect(known, attempt)
            fd, attempt.fd = attempt.fd, -1
            return fd
        except TimeoutError:
            # What keeps it busy for so long is no longer alive, and nobody else can free it.
            if not connected():
                self._give_up(path)
            raise (words.busy if attempt.busy else words.no_answer)(phone) from None
        except (ConnectionLost, CallTimeout) as error:
            raise RadioError(RadioFault.ABSENT, f"{words.called(phone)} was not reached: {error}") from None
        finally:
            del self._attempts[path]
            if attempt.fd >= 0:
                self._watch.end(path)
                close_all([attempt.fd])

    async def _connect(self, known: Known, attempt: _Attempt) -> None:
        """Return when the line has arrived."""
        path, uuid = known.path, UUIDS[known.phone.service]
        begun = asyncio.get_running_loop().time()
        asked_to_end = False
        # Whoever had the line before wants another, so that one is of no use.
        self._watch.end(path)
        while attempt.fd < 0:
            try:
                await self._call(path, DEVICE, "ConnectProfile", "s", [uuid])
            except BusError as error:
                waited = asyncio.get_running_loop().time() - begun
                closing = error.text in _STILL_CLOSING and waited < _CLOSING
                attempt.busy = closing or error.name == words.IN_PROGRESS
                if attempt.busy:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(attempt.arrived.wait(), _AGAIN)
                    continue
                if error.name != words.ALREADY_CONNECTED:
                    raise words.refusal(known.phone, error) from None
            if attempt.fd < 0:
                if asked_to_end:
                    raise words.no_line(known.phone)
                asked_to_end = True
                with suppress(BusError):
                    await self._call(path, DEVICE, "DisconnectProfile", "s", [uuid])

    def _give_up(self, path: str) -> None:
        if self._connection is not None and (owner := self._owner()):
            stop = MethodCall(owner, path, DEVICE, "Disconnect")
            self._connection.send(method_call(stop, MessageFlag.NO_REPLY_EXPECTED))

    async def _call(
        self, path: str, interface: str, member: str, signature: str, body: list[object], within: float = _LIMIT
    ) -> None:
        """To the bluetoothd of now, and to no other that comes while it is asked."""
        owner = self._owner()
        if self._connection is None or not owner:
            raise BusError(f"{BUS_NAME}.Error.NameHasNoOwner", "bluetoothd does not run")
        call = MethodCall(owner, path, interface, member, signature, body)
        await self._connection.call(call, within=within)
