"""One connection to a message bus.

Everything happens in the loop's thread and nothing blocks.  Outgoing messages are written at once while the
socket takes them and wait in a queue when it does not; a full socket is no error.  While the queue is long
no more is read, so a peer that asks without end cannot make it grow; a bus that takes nothing at all is
given up.  Incoming messages are handled a few at a time with the loop's other work between them, so a flood
delays nobody.

Descriptors: `send` owns those of its message and closes them once they are sent or dropped.  Those that
arrive are closed unless the one who waits for the reply asked for them; a connection opened with `call_fds`
shows those of a method call to its handler, and closes what the handler has not taken out of `unix_fds`.

A connection ends once, for whatever cause: everybody who waits gets `ConnectionLost`, the socket is closed,
and `wait_closed` says why.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from dialupd.bus.address import ConnectionLost, authenticate, bus_address, targets
from dialupd.bus.wire import (
    BUS_NAME,
    BUS_PATH,
    BusError,
    Frames,
    Message,
    MessageFlag,
    MessageType,
    MethodCall,
    WireError,
    decode,
    encode,
    error_reply,
    method_call,
)

log = logging.getLogger(__name__)

# A bus on this machine answers within milliseconds; a minute-long hang at start would hide what is wrong.
CONNECT_S: Final = 10.0
# What libdbus and sd-bus wait for a reply.
CALL_S: Final = 25.0
# How long the last replies may take to leave on an orderly close.
CLOSE_S: Final = 2.0

# Bytes of a received message.  A service gets small calls, and whoever may call it may keep it reading: of a call as
# long as this the arguments take a twentieth of a second.  A client may get every object of a large machine.
SERVICE_LIMIT: Final = 1 << 17
CLIENT_LIMIT: Final = 1 << 27
# dbus-daemon disconnects whoever sends more than its max_message_size, 32 MiB on the system bus.
_SEND_LIMIT: Final = 16 << 20
# Stop reading with this much unsent; give the bus up with that much.
_QUEUE_HIGH: Final = 1 << 20
_QUEUE_LIMIT: Final = 64 << 20

_MESSAGES_PER_TURN: Final = 32
_SECONDS_PER_TURN: Final = 0.005
# Below every limit, also that of a header: a skipped message has no other behind it in what is read at once.
_READ: Final = 1 << 16
# SCM_MAX_FD of the kernel: the most that can come with one message.
_FDS: Final = socket.CMSG_SPACE(253 * array.array("i").itemsize)

_NAME_DO_NOT_QUEUE: Final = 4
_NAME_OURS: Final = (1, 4)

Handler = Callable[[Message], None]


class NameTaken(Exception):
    """The wanted name belongs to another program."""


class CallTimeout(Exception):
    """No reply came in time."""


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        try:
            os.close(fd)
        except OSError as error:
            log.debug("closing descriptor %d: %s", fd, error)


class _Pending:
    __slots__ = ("destination", "future", "wants_fds")

    def __init__(self, destination: str, future: asyncio.Future[Message], wants_fds: bool) -> None:
        self.destination = destination
        self.future = future
        self.wants_fds = wants_fds

    def expects(self, sender: str | None) -> bool:
        """A reply from elsewhere is forged; who owns a well-known name is not known here."""
        exact = self.destination == BUS_NAME or self.destination.startswith(":")
        return not exact or sender in (self.destination, BUS_NAME)


class Connection:
    """Made by `open`; give `on_call` and `on_signal` something to call."""

    def __init__(self, sock: socket.socket, *, passes_fds: bool, limit: int, call_fds: bool) -> None:
        self.unique_name = ""
        self.passes_fds = passes_fds
        self._call_fds = call_fds
        self.on_call: Handler | None = None
        self.on_signal: list[Handler] = []
        self.on_end: list[Callable[[str], None]] = []
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._frames = Frames(limit)
        self._skipped = 0
        self._fds_in: deque[int] = deque()
        self._queue: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._queued = 0
        self._writing = False
        self._paused = False
        self._turn_scheduled = False
        self._serial = 0
        self._pending: dict[int, _Pending] = {}
        self._closed: asyncio.Future[str] = self._loop.create_future()
        self._drained = asyncio.Event()
        self._schedule_turn()

    @classmethod
    async def open(cls, bus: str, *, limit: int = SERVICE_LIMIT, call_fds: bool = False) -> Connection:
        """Connect to `system`, `session` or an address.  Raises ConnectionLost."""
        address = bus_address(bus)
        trouble: Exception = ConnectionLost(f'"{address}" names no bus')
        for family, target in targets(address):
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await cls._open(family, target, limit, call_fds)
            except TimeoutError:
                trouble = ConnectionLost("it does not answer")
            except (OSError, ConnectionLost, BusError) as error:
                trouble = error
        reason = trouble.strerror if isinstance(trouble, OSError) and trouble.strerror else str(trouble)
        raise ConnectionLost(f"cannot reach the bus at {address}: {reason}") from trouble

    @classmethod
    async def _open(cls, family: int, target: str | tuple[str, int], limit: int, call_fds: bool) -> Connection:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, target)
            passes_fds = await authenticate(sock)
            connection = cls(sock, passes_fds=passes_fds, limit=limit, call_fds=call_fds)
        except BaseException:
            sock.close()
            raise
        try:
            hello = await connection.call(MethodCall(BUS_NAME, BUS_PATH, BUS_NAME, "Hello"))
            connection.unique_name = str(hello.body[0])
        except BaseException:
            connection._end("the bus did not welcome us")
            raise
        return connection

    # -- life

    @property
    def connected(self) -> bool:
        return not self._closed.done()

    async def wait_closed(self) -> str:
        """Return when the connection has ended, with the reason in words."""
        return await asyncio.shield(self._closed)

    async def close(self) -> None:
        """Let what is queued leave, then end."""
        if self.connected and self._queue:
            self._drained.clear()
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._drained.wait()
            except TimeoutError:
                log.warning("%d bytes for the bus were never taken", self._queued)
        self._end("closed")

    def _end(self, reason: str) -> None:
        if self._closed.done():
            return
        self._closed.set_result(reason)
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for _, fds in self._queue:
            close_all(fds)
        self._queue.clear()
        close_all(self._fds_in)
        self._fds_in.clear()
        self._drained.set()
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(ConnectionLost(f"the bus is gone: {reason}"))
        self._pending.clear()
        for tell in self.on_end:
            tell(reason)

    # -- out

    def send(self, message: Message) -> int:
        """Queue a message, take its descriptors over, and return its serial.

        On a lost connection the message is dropped.  Raises ValueError or TypeError for what no message holds.
        """
        fds = tuple(message.unix_fds or ())
        try:
            if fds and not self.passes_fds:
                raise ValueError("this bus passes no descriptors")
            self._serial = self._serial % 0xFFFFFFFF + 1
            data = encode(message, self._serial)
            if len(data) > _SEND_LIMIT:
                raise ValueError(f"a message of {len(data)} bytes is more than the bus takes")
        except (ValueError, TypeError):
            close_all(fds)
            raise
        if not self.connected:
            close_all(fds)
            return message.serial
        self._queue.append((memoryview(data), fds))
        self._queued += len(data)
        if self._writing:
            self._hold_the_flow()
        else:
            self._flush()
        return message.serial

    def _flush(self) -> None:
        while self._queue:
            data, fds = self._queue[0]
            try:
                if fds:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                    count = self._sock.sendmsg([data], rights)
                else:
                    count = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._end(f"writing failed: {error.strerror}")
                return
            close_all(fds)
            self._queued -= count
            if count == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = (data[count:], ())
        if not self._queue:
            self._drained.set()
        if bool(self._queue) != self._writing:
            self._writing = bool(self._queue)
            if self._writing:
                self._loop.add_writer(self._sock, self._flush)
            else:
                self._loop.remove_writer(self._sock)
        self._hold_the_flow()

    def _hold_the_flow(self) -> None:
        if self._queued > _QUEUE_LIMIT:
            self._end("it takes no more messages")
        elif self._queued > _QUEUE_HIGH:
            self._pause_reading()
        else:
            self._resume_reading()

    async def call(
        self,
        call: MethodCall,
        *,
        within: float = CALL_S,
        flags: MessageFlag = MessageFlag.NONE,
        wants_fds: bool = False,
    ) -> Message:
        """Call a method and wait for its reply; with `wants_fds` the caller owns `unix_fds` of the reply.

        Raises BusError for an error reply, CallTimeout, ConnectionLost.
        """
        if not self.connected:
            raise ConnectionLost(f"the bus is gone: {self._closed.result()}")
        future: asyncio.Future[Message] = self._loop.create_future()
        serial = self._serial % 0xFFFFFFFF + 1
        self._pending[serial] = _Pending(call.destination, future, wants_fds)
        try:
            self.send(method_call(call, flags))
            async with asyncio.timeout(within):
                answer = await future
        except TimeoutError as error:
            text = f"{call.destination} did not answer {call.member} within {within:g} s"
            raise CallTimeout(text) from error
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                close_all(future.result().unix_fds)
            raise
        finally:
            self._pending.pop(serial, None)
        if answer.message_type is MessageType.ERROR:
            close_all(answer.unix_fds)
            text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
            raise BusError(answer.error_name or "", text or answer.error_name or "an error without words")
        return answer

    async def ask_bus(self, member: str, signature: str = "", body: Sequence[object] = ()) -> list[object]:
        """Call a method of the bus itself."""
        return list((await self.call(MethodCall(BUS_NAME, BUS_PATH, BUS_NAME, member, signature, body))).body)

    async def request_name(self, name: str) -> None:
        """Own a name or raise NameTaken; never wait in the queue for it."""
        (result,) = await self.ask_bus("RequestName", "su", [name, _NAME_DO_NOT_QUEUE])
        if result not in _NAME_OURS:
            raise NameTaken(f"{name} belongs to another program on this bus; is the daemon running already?")

    # -- in

    def _pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._loop.remove_reader(self._sock)

    def _resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            # What was left over at the pause comes first; the socket may have nothing new to wake us with.
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.remove_reader(self._sock)
            self._loop.call_soon(self._turn)

    def _readable(self) -> None:
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(_READ, _FDS, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(f"reading failed: {error.strerror}")
            return
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds_in.extend(fds)
        if flags & socket.MSG_CTRUNC:  # which of them are missing is not told, and those of two peers must not be mixed
            self._end("descriptors were lost: this process has too many open")
            return
        if not data:
            self._end("it closed the connection")
            return
        self._frames.feed(data)
        self._turn()

    def _turn(self) -> None:
        """Handle a few messages; with more at hand let the loop breathe before the next few."""
        self._turn_scheduled = False
        deadline = self._loop.time() + _SECONDS_PER_TURN
        for _ in range(_MESSAGES_PER_TURN):
            if self._paused or not self.connected:
                return
            try:
                frame = self._frames.take()
                if self._frames.skipped > self._skipped:
                    # It is longer than what is read at once, so all that has come and was not taken came with it.
                    self._skipped = self._frames.skipped
                    close_all(self._fds_in)
                    self._fds_in.clear()
                if frame is None:
                    self._loop.add_reader(self._sock, self._readable)
                    return
                self._frame(frame)
            except WireError as error:
                self._end(f"it sent what is no message: {error}")
                return
            if self._loop.time() > deadline:
                break
        if not self._paused and self.connected:
            self._schedule_turn()

    def _frame(self, frame: bytearray) -> None:
        message, count = decode(frame)
        fds = [self._fds_in.popleft() for _ in range(min(count, len(self._fds_in)))]
        if message is None:
            close_all(fds)
            return
        if message.message_type in (MessageType.METHOD_RETURN, MessageType.ERROR):
            pending = self._pending.get(message.reply_serial or 0)
            if pending is not None and pending.expects(message.sender) and not pending.future.done():
                _ = message.body  # whoever waits for it shall not find it unreadable
                if pending.wants_fds:
                    message.unix_fds, fds = fds, []
                pending.future.set_result(message)
            close_all(fds)
            return
        handlers: tuple[Handler, ...] = tuple(self.on_signal)
        if message.message_type is MessageType.METHOD_CALL:
            handlers = (self.on_call or self._offers_nothing,)
            if self._call_fds:
                message.unix_fds, fds = fds, []
        close_all(fds)
        for handler in handlers:
            try:
                handler(message)
            except Exception:
                log.exception("handling %s from %s failed", message.member, message.sender)
        close_all(message.unix_fds)

    def _offers_nothing(self, message: Message) -> None:
        if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            text = "This connection offers no objects."
            self.send(error_reply(message, f"{BUS_NAME}.Error.UnknownObject", text))
