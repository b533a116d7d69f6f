"""The time of a D-Bus call as its caller has it, without the cost of a client library.

The request is marshalled once and sent as it is; the answer is read to its last byte and not decoded.  What is left is
the service, the bus and two wake-ups.  Blocking and single-threaded on purpose: a loop would be part of the figure.
"""

from __future__ import annotations

import os
import socket
import struct
import time

from dbus_next import Message

# type, flags, version, then body length, serial, length of the header fields (little-endian messages only)
_HEAD = struct.Struct("<cBBBIII")
_ERROR = 3
_SIGNAL = 4


class Caller:
    """A connection to one bus."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address.removeprefix("unix:path=").partition(",")[0])
        self._serial = 0
        uid = str(os.getuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\n")
        if not self._socket.recv(256).startswith(b"OK"):
            raise ConnectionError(f"{address} does not let us in")
        self._socket.sendall(b"BEGIN\r\n")
        self.time("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")

    def close(self) -> None:
        self._socket.close()

    def time(
        self, name: str, path: str, interface: str, member: str, signature: str = "", body: tuple[object, ...] = ()
    ) -> float:
        """Seconds from the sending of a call to the last byte of its answer."""
        self._serial += 1
        message = Message(
            destination=name,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            serial=self._serial,
        )
        data = bytes(message._marshall())
        begun = time.perf_counter()
        self._socket.sendall(data)
        while (kind := self._message()) == _SIGNAL:
            pass
        taken = time.perf_counter() - begun
        if kind == _ERROR:
            raise ValueError(f"{name} refuses {interface}.{member}")
        return taken

    def _message(self) -> int:
        """Read one message; its type."""
        head = self._exactly(16)
        _, kind, _, _, body, _, fields = _HEAD.unpack(head)
        self._exactly(-(-fields // 8) * 8 + body)
        return int(kind)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._socket.recv(size)
            if not part:
                raise ConnectionError("the bus is gone")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
