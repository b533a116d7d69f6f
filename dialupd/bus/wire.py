"""dbus-next 0.2.3, mended.

The library is used for its messages, variants, signatures and marshalling only; nothing else imports it.
Its connection and its service framework are replaced by `connection` and `service`, which settles most of
its defects by not having them.  What stays is mended here, once, when this module is imported, so that
whoever gets `Message` or `Variant` gets them whole:

- a NUL or a lone surrogate in an outgoing string: the bus disconnects the sender.  Both become U+FFFD or `?`.
- validators ending in `$` let a trailing newline pass: the bus disconnects the sender.
- the cache of signatures grows with every signature that any peer sends.  It is bounded.
- the reader ends the connection at an unknown message type or header field, which the specification wants
  ignored, and forgets how many descriptors a message has.  `decode` reads whole frames and does neither; and it reads
  bodies only when they are asked for.
- importing it warns on Python 3.13 and later.
"""

from __future__ import annotations

import contextlib
import re
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from dbus_next import validators
    from dbus_next._private.address import parse_address
    from dbus_next._private.marshaller import Marshaller
    from dbus_next._private.unmarshaller import Unmarshaller
    from dbus_next.constants import MessageFlag, MessageType
    from dbus_next.message import Message
    from dbus_next.signature import SignatureTree, Variant

__all__ = [
    "BUS_NAME",
    "BUS_PATH",
    "BusError",
    "Frames",
    "Message",
    "MessageFlag",
    "MessageType",
    "MethodCall",
    "SignatureTree",
    "Variant",
    "WireError",
    "decode",
    "encode",
    "error_reply",
    "method_call",
    "parse_address",
    "reply",
    "signal",
    "unwrap",
]

BUS_NAME: Final = "org.freedesktop.DBus"
BUS_PATH: Final = "/org/freedesktop/DBus"

# A service sees a handful of signatures; a peer can invent any number.
_SIGNATURES_KEPT: Final = 256

# The fixed header: endianness, type, flags, version, body length, serial, length of the header fields.
_FIXED: Final = 16
_HEAD: Final = struct.Struct("<BBBBIII")
# Bytes of the header fields.  All names in them are bounded but the object's path, which is read whatever it is of.
_FIELDS_LIMIT: Final = 1 << 16
# A header field that is a string or a number: its code, the variant's signature, the length or the number.
_FIELD: Final = struct.Struct("<BBcBI")
_FIELDS: Final = SignatureTree("a(yv)").types[0]
_LITTLE: Final = ord("l")
_BIG: Final = ord("B")
_FIELD_NAMES: Final = {
    1: "path",
    2: "interface",
    3: "member",
    4: "error_name",
    5: "reply_serial",
    6: "destination",
    7: "sender",
    8: "signature",
    9: "unix_fds",
}


class BusError(Exception):
    """An error on the bus: a well-known name for programs, a text for a person."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


class WireError(Exception):
    """Bytes that are no message."""


class _Bounded(dict[str, SignatureTree]):
    def __setitem__(self, key: str, value: SignatureTree) -> None:
        if len(self) >= _SIGNATURES_KEPT:
            self.clear()
        super().__setitem__(key, value)


def _write_string(self: Any, value: str, _type: Any = None) -> int:
    data = value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    written: int = self.write_uint32(len(data))
    self.buffer.extend(data)
    self.buffer.append(0)
    return written + len(data) + 1


def _mend_library() -> None:
    validators._bus_name_re = re.compile(r"\A[A-Za-z_-][A-Za-z0-9_-]*\Z")
    validators._path_re = re.compile(r"\A[A-Za-z0-9_]+\Z")
    validators._element_re = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")
    SignatureTree._cache = _Bounded()
    Marshaller.write_string = _write_string  # type: ignore[method-assign]


_mend_library()


class _Decoder(Unmarshaller):
    """Reads from one whole frame and never from the socket."""

    def __init__(self, frame: bytearray) -> None:
        super().__init__(None)  # type: ignore[no-untyped-call]
        self.buf = frame

    def read(self, n: int, prefetch: bool = False) -> int:
        start: int = self.offset
        if start + n > len(self.buf):
            raise WireError("the message is shorter than it says")
        if not prefetch:
            self.offset = start + n
        return start


class Frames:
    """Cuts a stream of bytes into messages; one of more than `limit` bytes is thrown away as it comes.

    So is one with an endless header.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._skip = 0
        self.skipped = 0

    def feed(self, data: bytes) -> None:
        if self._skip:
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            data = data[dropped:]
        self._buffer += data

    def take(self) -> bytearray | None:
        """The next whole message, or None for "feed me"."""
        buffer = self._buffer
        while len(buffer) >= _FIXED:
            if buffer[0] == _LITTLE:
                layout = "<"
            elif buffer[0] == _BIG:
                layout = ">"
            else:
                raise WireError("a message begins with neither l nor B")
            (body,) = struct.unpack_from(layout + "I", buffer, 4)
            (fields,) = struct.unpack_from(layout + "I", buffer, 12)
            size = _FIXED + fields + (-fields) % 8 + body
            if size > self._limit or fields > _FIELDS_LIMIT:
                self.skipped += 1
                self._skip = max(0, size - len(buffer))
                del buffer[:size]
                continue
            if size > len(buffer):
                return None
            frame = buffer[:size]
            del buffer[:size]
            return frame
        return None


class _Received(Message):
    """Its body is read when it is first asked for, which may raise WireError.

    Any peer may send us signals of any size, and to read a megabyte may take half a second.
    """

    def __init__(self, read: Callable[[], list[Any]], **fields: Any) -> None:
        super().__init__(**fields)
        self._read: Callable[[], list[Any]] | None = read

    @property
    def body(self) -> list[Any]:
        if self._read is not None:
            self.body = self._read()
        return self._body

    @body.setter
    def body(self, value: list[Any]) -> None:
        self._body, self._read = value, None


def decode(frame: bytearray) -> tuple[Message | None, int]:
    """A message and its number of descriptors; None for a type that must be ignored.  Raises WireError."""
    with _wire_errors():
        return _decode(_Decoder(frame))


@contextlib.contextmanager
def _wire_errors() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, LookupError, RecursionError, struct.error) as error:
        raise WireError(f"unreadable message: {error}") from error


def _decode(reader: Any) -> tuple[Message | None, int]:
    reader.endian = reader.read_byte()
    kind = reader.read_byte()
    flags = reader.read_byte()
    version = reader.read_byte()
    if version != 1:
        raise WireError(f"protocol version {version}")
    body_length = reader.read_uint32()
    serial = reader.read_uint32()
    fields: dict[str, Any] = {}
    for code, value in reader.read_argument(_FIELDS):
        if code in _FIELD_NAMES:
            fields[_FIELD_NAMES[code]] = value.value
    reader.align(8)
    fds = int(fields.pop("unix_fds", 0))
    try:
        message_type = MessageType(kind)
    except ValueError:
        return None, fds
    tree = SignatureTree._get(fields.pop("signature", ""))

    def read() -> list[Any]:
        with _wire_errors():
            return [reader.read_argument(part) for part in tree.types] if body_length else []

    message = _Received(
        read,
        message_type=message_type,
        flags=MessageFlag(flags),
        serial=serial,
        signature=tree,
        unix_fds=[],
        **fields,
    )
    return message, fds


def encode(message: Message, serial: int) -> bytes:
    """The bytes of a message.  Raises ValueError or TypeError when the body does not fit the signature."""
    message.serial = serial
    body = bytes(Marshaller(message.signature, message.body).marshall())  # type: ignore[no-untyped-call]
    # By hand: the library's own way through variants takes as long as the body does.
    fields = bytearray()
    names = (message.path, message.interface, message.member, message.error_name)
    for code, name in zip((1, 2, 3, 4, 6), (*names, message.destination), strict=True):
        if name:
            data = name.encode()
            fields += bytes(-len(fields) % 8) + _FIELD.pack(code, 1, b"o" if code == 1 else b"s", 0, len(data))
            fields += data + b"\0"
    for code, number in ((5, message.reply_serial), (9, len(message.unix_fds))):
        if number:
            fields += bytes(-len(fields) % 8) + _FIELD.pack(code, 1, b"u", 0, number)
    if message.signature:
        data = message.signature.encode()
        fields += bytes(-len(fields) % 8) + bytes((8, 1)) + b"g\0" + bytes((len(data),)) + data + b"\0"
    head = _HEAD.pack(_LITTLE, message.message_type.value, message.flags.value, 1, len(body), serial, len(fields))
    return head + fields + bytes(-len(fields) % 8) + body


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A method call to be sent."""

    destination: str
    path: str
    interface: str
    member: str
    signature: str = ""
    body: Sequence[object] = ()


def method_call(call: MethodCall, flags: MessageFlag = MessageFlag.NONE) -> Message:
    return Message(
        destination=call.destination,
        path=call.path,
        interface=call.interface,
        member=call.member,
        signature=call.signature,
        body=list(call.body),
        flags=flags,
        unix_fds=[],
    )


def signal(path: str, interface: str, member: str, signature: str, body: Iterable[object]) -> Message:
    return Message.new_signal(path, interface, member, signature, list(body), [])


def reply(to: Message, signature: str, body: Iterable[object], fds: Iterable[int] = ()) -> Message:
    """The answer to a call; `fds` are what the `h` values of the body count."""
    return Message.new_method_return(to, signature, list(body), list(fds))


def error_reply(to: Message, name: str, text: str) -> Message:
    return Message.new_error(to, name, text)


def unwrap(value: object) -> Any:
    """A value with every variant in it replaced by what it holds."""
    match value:
        case Variant():
            return unwrap(value.value)
        case dict():
            return {key: unwrap(item) for key, item in value.items()}
        case list():
            return [unwrap(item) for item in value]
        case _:
            return value
