"""A Bluetooth link to a phone on the loop: an RFCOMM socket, without modem lines and without settings.

Others hold the socket too: bluetoothd, a session's unit, the service manager.  Therefore `close` shuts the connection
down first; it takes with it what is left to send, for the kernel disconnects behind that.  To `leave` it shuts nothing
down.  O_NONBLOCK belongs to the socket, so all who hold it have it non-blocking.

The socket tells alike that the phone has closed the line and that the phone is out of reach; so after a loss that is
asked of whoever watches the radio, and only then `on_lost` is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from typing import Final

from dialupd.io.port import Lost, Port

# <sys/socket.h>, <bluetooth/bluetooth.h>; Python may be built without them.
AF_BLUETOOTH: Final = 31
BTPROTO_RFCOMM: Final = 3

# What a phone can have sent before we throw it away; one that goes on sending is not listened to for ever.
INPUT_LIMIT: Final = 64 * 1024


class RadioPort(Port):
    """A connected line to the phone; made with its socket, which is the port's from then on.

    `connect` gives such a socket anew or raises PortError, and leaves nothing open when it is cancelled; `out_of_reach`
    says whether the radio link has gone with a line that ended.
    """

    closing_hangs_up = True

    def __init__(
        self,
        path: str,
        phone: str,
        fd: int,
        connect: Callable[[], Awaitable[int]],
        out_of_reach: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(path, f"the line to {phone}")
        self._connect = connect
        self._out_of_reach = out_of_reach
        self._asking: asyncio.Task[None] | None = None
        self._adopt(fd)

    def flush_input(self) -> None:
        fd = self.fileno()
        left = INPUT_LIMIT
        with contextlib.suppress(OSError):  # nothing more; or the end, which the port's own reading or watch will see
            while left > 0 and (data := os.read(fd, left)):
                left -= len(data)

    def lines(self) -> None:
        return None

    def set_dtr(self, up: bool) -> None:
        self.fileno()

    def carrier_watch(self, on: bool) -> None:
        self.fileno()

    def prepare_handover(self) -> None:
        self.fileno()
        self.stop_reading()

    def dup_fd(self) -> int:
        return os.dup(self.fileno())

    def take_back(self, *, flush: bool = False) -> None:
        os.set_blocking(self.fileno(), False)
        if flush:
            self.flush_input()

    # -- inside

    def _adopt(self, fd: int) -> None:
        os.set_blocking(fd, False)
        super()._adopt(fd)

    async def _open_again(self) -> int:
        self._left()
        return await self._connect()

    def _put_away(self, fd: int, then: Callable[[], None] = lambda: None) -> None:
        with socket.socket(fileno=fd) as line, contextlib.suppress(OSError):  # it has ended already
            line.shutdown(socket.SHUT_RDWR)
        then()

    def _lose(self) -> None:
        if self._fd < 0:
            return
        self._drop_fd()
        self._asking = asyncio.create_task(self._tell_how(), name=f"{self.path}: how the line was lost")

    async def _tell_how(self) -> None:
        gone = await self._out_of_reach()
        self._asking = None
        self._tell(Lost.GONE if gone else Lost.HUNG_UP)

    def _left(self) -> None:
        """Nobody wants to know any more how a line was lost."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()


def is_rfcomm(fd: int) -> bool:
    """Is the descriptor an RFCOMM socket?"""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as line:
        domain, kind, protocol = (
            line.getsockopt(socket.SOL_SOCKET, what) for what in (socket.SO_DOMAIN, socket.SO_TYPE, socket.SO_PROTOCOL)
        )
    return rfcomm(domain, kind, protocol)


def rfcomm(domain: int, kind: int, protocol: int) -> bool:
    """Are these an RFCOMM socket's SO_DOMAIN, SO_TYPE and SO_PROTOCOL?"""
    return (domain, kind, protocol) == (AF_BLUETOOTH, socket.SOCK_STREAM, BTPROTO_RFCOMM)
