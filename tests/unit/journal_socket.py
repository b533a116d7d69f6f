"""A socket in journald's place, which reads what journald reads."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path


def decode(datagram: bytes) -> dict[str, str]:
    """As journald reads it: `NAME=value`, or `NAME`, the length as 64 bits little-endian, and the value."""
    fields: dict[str, str] = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", rest)
            value, end, rest = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
        datagram = rest
    return fields


class Journal:
    """A socket in journald's place."""

    def __init__(self, directory: Path) -> None:
        self.address = str(directory / "journal")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def __enter__(self) -> Journal:
        self._socket.bind(self.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        Path(self.address).unlink()

    def fileno(self) -> int:
        return self._socket.fileno()

    def entries(self) -> list[dict[str, str]]:
        """All that has come since the last time."""
        return list(self._read())

    def _read(self) -> Iterator[dict[str, str]]:
        while True:
            try:
                yield decode(self._socket.recv(1 << 20))
            except BlockingIOError:
                return
