"""The way to a bus: its address, and the handshake that opens a connection."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from dialupd.bus.wire import parse_address

_AUTH_LINE: Final = 4096

Target = str | tuple[str, int]


class ConnectionLost(Exception):
    """There is no bus, or no longer."""


def bus_address(bus: str) -> str:
    """The address for `system`, `session` or an address itself."""
    match bus:
        case "system":
            return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"
        case "session":
            if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
                return address
            if runtime := os.environ.get("XDG_RUNTIME_DIR"):
                return f"unix:path={runtime}/bus"
            raise ConnectionLost("no session bus: DBUS_SESSION_BUS_ADDRESS and XDG_RUNTIME_DIR are not set")
        case _:
            return bus


def targets(address: str) -> list[tuple[socket.AddressFamily, Target]]:
    try:
        parsed = parse_address(address)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ConnectionLost(f'"{address}" is no bus address: {error}') from error
    found: list[tuple[socket.AddressFamily, Target]] = []
    for transport, options in parsed:
        match transport:
            case "unix" if "path" in options:
                found.append((socket.AF_UNIX, options["path"]))
            case "unix" if "abstract" in options:
                found.append((socket.AF_UNIX, "\0" + options["abstract"]))
            case "tcp" if options.get("port", "").isdecimal():
                found.append((socket.AF_INET, (options.get("host", "localhost"), int(options["port"]))))
            case _:
                known = "unix:path=, unix:abstract= and tcp:host=,port="
                raise ConnectionLost(f'"{address}" is none of the known bus addresses: {known}')
    return found


async def authenticate(sock: socket.socket) -> bool:
    """The EXTERNAL handshake; whether descriptors can be passed."""
    loop = asyncio.get_running_loop()

    async def ask(line: str) -> str:
        await loop.sock_sendall(sock, line.encode() + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            data = await loop.sock_recv(sock, _AUTH_LINE)
            if not data:
                raise ConnectionLost("the bus hung up during authentication")
            answer += data
            if len(answer) > _AUTH_LINE:
                raise ConnectionLost("the bus talks nonsense during authentication")
        return answer.decode("ascii", "replace").strip()

    uid = str(os.getuid()).encode().hex()
    answer = await ask(f"\0AUTH EXTERNAL {uid}")
    if answer.split()[:1] != ["OK"]:
        raise ConnectionLost(f"the bus refused authentication: {answer}")
    passes_fds = await ask("NEGOTIATE_UNIX_FD") == "AGREE_UNIX_FD"
    await loop.sock_sendall(sock, b"BEGIN\r\n")
    return passes_fds
