"""What a daemon and a session that runs in a unit of its own say to each other.

Messages are JSON in packets of a SOCK_SEQPACKET socket, each with the word `is` that names its kind; descriptors come
beside a packet.  The session says `hello` and gets `begin` with the line, which may take as long as a modem dials.
From then on it tells `news` and at last `ended`, and does not leave before the daemon has closed the socket: a daemon
that takes a running session over asks it to `tell` everything again.  The daemon may say `stop` at any time.  The end
of the socket tells the session that the daemon is gone for good, since over a restart the service manager holds the
daemon's end; behind a `stop` it tells that the time for a good end is over.

Either side may be of another version or hostile: what comes is checked here, field by field, and what is no message
raises ProtocolError.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dialupd.model import EndReason
from dialupd.sessions.base import CallFacts, Progress, SessionEnd

VERSION = 1
SOCKET = "sessions.sock"
"""Its name in the daemon's runtime directory."""
LONGEST = 32768
"""Bytes of a packet: the longest is `begin` with what the far end sent before the session began."""
LONGEST_TEXT = 1024
MOST_ITEMS = 256
"""Of a list: a modem may name any number of modulations within its answer."""
MOST_DESCRIPTORS = 3

T = TypeVar("T")


class ProtocolError(Exception):
    """A packet is no message, or no message of its place."""


class Kind(StrEnum):
    """What a session's unit is made for: the word in its name, `dialupd-KIND@CALL.service`."""

    PPP = "ppp"
    LOGIN = "login"
    EXEC = "exec"


@dataclass(frozen=True, slots=True)
class Hello:
    """A session's first word; `version` is of this protocol."""

    version: int
    kind: Kind
    call: int


@dataclass(frozen=True, slots=True)
class Begin:
    """The call, with the descriptors of the line, the tally, and for a `client` session of the stream."""

    facts: CallFacts
    shows_carrier: bool
    early: bytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Say all that is known of the session, and its end if it has ended."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End in good order."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class News:
    """What became known of the session."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over."""

    end: SessionEnd


Message = Hello | Begin | Tell | Stop | News | Ended
_WORDS: Mapping[type[Message], str] = {
    Hello: "hello",
    Begin: "begin",
    Tell: "tell",
    Stop: "stop",
    News: "news",
    Ended: "ended",
}


def encode(message: Message) -> bytes:
    """The packet of a message."""
    values: dict[str, Any] = {"is": _WORDS[type(message)]}
    match message:
        case Hello(version, kind, call):
            values |= {"version": version, "kind": kind, "call": call}
        case Begin(facts, shows_carrier, early):
            values |= {"facts": plain(facts), "shows-carrier": shows_carrier, "early": base64.b64encode(early).decode()}
        case Stop(reason):
            values["reason"] = reason
        case News(progress):
            values["progress"] = {key: value for key, value in plain(progress).items() if value is not None}
        case Ended(end):
            values |= {"reason": end.reason, "detail": printable(end.detail), "hopeless": end.hopeless}
            values["call-back"] = printable(end.call_back)
        case Tell():
            pass
    return json.dumps(values).encode()


def decode(packet: bytes) -> Message:
    """The message of a packet; raises ProtocolError."""
    try:
        values = json.loads(packet)
    except (ValueError, RecursionError):
        raise ProtocolError("it is no JSON") from None
    if not isinstance(values, dict):
        raise ProtocolError("it is no JSON object")
    try:
        match values.pop("is", None):
            case "hello":
                return Hello(_number(values["version"]), Kind(values["kind"]), _number(values["call"]))
            case "begin":
                early = base64.b64decode(_text(values["early"], LONGEST), validate=True)
                return Begin(typed(CallFacts, values["facts"]), values["shows-carrier"] is True, early)
            case "tell":
                return Tell()
            case "stop":
                return Stop(EndReason(values["reason"]))
            case "news":
                return News(typed(Progress, values["progress"]))
            case "ended":
                hopeless = values.get("hopeless") is True  # a session of an earlier version does not say it
                user = _text(values.get("call-back", ""))
                return Ended(SessionEnd(EndReason(values["reason"]), _text(values["detail"]), hopeless, user))
            case _:
                raise ProtocolError("it is of no known kind")
    except (KeyError, ValueError, TypeError, binascii.Error) as error:
        raise ProtocolError(f"a field is missing or wrong: {error}") from None


def plain(value: object) -> dict[str, Any]:
    """The fields of a flat dataclass as JSON takes them."""
    found = ((field.name, getattr(value, field.name)) for field in fields(value))  # type: ignore[arg-type]
    return {name: printable(one) if isinstance(one, str) else one for name, one in found}


def printable(text: str) -> str:
    """The text as the other side takes it."""
    return "".join(c if c.isprintable() else " " for c in text[:LONGEST_TEXT])


def typed(kind: type[T], values: object) -> T:
    """A flat dataclass from a JSON object: texts are printable and bounded. Raises ValueError, TypeError, KeyError."""
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    hints = get_type_hints(kind)
    unknown = values.keys() - hints.keys()
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(sorted(map(repr, unknown)))[:LONGEST_TEXT]}")
    return kind(**{name: _value(hints[name], value) for name, value in values.items()})


def _value(hint: Any, value: object) -> object:
    options = get_args(hint)
    if isinstance(hint, UnionType):
        return None if value is None else _value(next(one for one in options if one is not NoneType), value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or len(value) > MOST_ITEMS:
            raise ValueError("a list of texts is wanted")
        return tuple(_text(one) for one in value)
    if issubclass(hint, StrEnum):
        return hint(value)
    return _number(value) if hint is int else _text(value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("a number is wanted")
    return value


def _text(value: object, longest: int = LONGEST_TEXT) -> str:
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise ValueError("a printable text is wanted")
    return value


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors; None at the end. Raises BlockingIOError, ProtocolError."""
    try:
        packet, found, flags, _ = socket.recv_fds(sock, LONGEST, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    if not packet:
        close(found)
        return None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ProtocolError("it is too long")
        return decode(packet), list(found)
    except ProtocolError:
        close(found)
        raise


def send(sock: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Raises OSError; BlockingIOError when the other side does not read."""
    socket.send_fds(sock, [encode(message)], descriptors)


def close(descriptors: Sequence[int]) -> None:
    """Close what was received and is not wanted."""
    for fd in descriptors:
        os.close(fd)


def peer_user(sock: socket.socket) -> int:
    """The user who made the other end of a socket of this machine (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])
