"""What a connected line becomes: the seam between a modem's owner and its sessions.

The owner of a modem lends the connected line to one session and awaits `run()`; it reads nothing from the line until
`run()` has returned.  A session reports what becomes known of it (`Progress`) through a callback on the loop and says
at the end why it ended (`SessionEnd`); it never raises for what a far end, a program or a configuration did.

`run()` is awaited once.  `stop()` asks it to end in good order and may come at any time and more than once: the first
reason stands.  Cancelling `run()` ends it at once: the child is killed, the descriptors are closed.

A line is a tty, or the socket of a Bluetooth link.  What sessions ask of the owner: TIOCEXCL is cleared before `run()`,
and afterwards raw termios are set again, because a child may have changed them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from dialupd.io import resolvconf
from dialupd.io.port import PortError
from dialupd.model import DialupError, Direction, EndReason, ErrorKind, SessionState


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of a call when its line is connected; `connect` is the text after CONNECT."""

    call: int
    modem: str
    device: str
    direction: Direction
    number: str = ""
    caller_id: str = ""
    caller_name: str = ""
    policy: str = ""
    session: str = ""
    line_rate: int = 0
    port_rate: int = 0
    connect: str = ""


class Line(Protocol):
    """The connected line, lent to a session until its `run()` returns."""

    @property
    def path(self) -> str:
        """The node, "/dev/ttyACM0", or "bluetooth:AA:BB:CC:DD:EE:FF", for messages and the environment."""

    @property
    def shows_carrier(self) -> bool:
        """Whether loss of carrier hangs up the tty (end of file or EIO); if not, only the text NO CARRIER shows it."""

    @property
    def tally(self) -> MutableSequence[int]:
        """Two numbers of 64 bits, where the relay counts the bytes that it took from the line and gave to it."""

    @property
    def early(self) -> bytes:
        """What was already read behind CONNECT, nearly always b"": the kernel keeps the rest for the session."""

    def dup(self) -> int:
        """A new descriptor of the line, raw and non-blocking; whoever takes it is the only reader and closes it.

        Raises PortError or OSError (`LINE_LOST`) when the port was lost in this moment.
        """


class KeptLine(Line, Protocol):
    """A line whose own descriptor the service manager can keep."""

    def fileno(self) -> int:
        """The owner's descriptor; PortError or OSError when it is lost."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What became known of a running session; None means unchanged.  `session` is its name, once `auto` has chosen."""

    session: str | None = None
    session_state: SessionState | None = None
    interface: str | None = None
    local_address: str | None = None
    remote_address: str | None = None
    dns: tuple[str, ...] | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """Why a session ended; `detail` is a sentence for a person, "" where the reason says all.

    `hopeless`: every further call would end the same way until a person has mended what `detail` says.  `call_back` is
    the user who has proved who he is and is to be called back, "" for nobody.
    """

    reason: EndReason
    detail: str = ""
    hopeless: bool = False
    call_back: str = ""


# What `Line.dup` raises, and how a session ends that finds its line lost when it begins.
LINE_LOST: Final = (PortError, OSError)
NEVER_BEGAN: Final = SessionEnd(EndReason.REMOTE_HANGUP, "the line was hung up before the session began")


@dataclass(frozen=True, slots=True)
class RuntimePaths:
    """Where sessions keep what lives no longer than a call; the directories exist, for us or for root alone to write.

    `shared_directory` is where all calls find one another, also those in other units; "": it is the same.
    """

    run_directory: str
    shared_directory: str = ""
    resolv_conf: Path = resolvconf.PATH


class Session(Protocol):
    """One use of a connected line."""

    async def run(self) -> SessionEnd:
        """Hold the session until it ends; afterwards nothing of it reads the line or lives on."""

    def stop(self, reason: EndReason) -> None:
        """End in good order and let `run()` return with this reason."""

    def counts(self) -> tuple[int, int]:
        """Bytes received and sent so far; they may be asked for at any time, before `run()` and after it too."""

    def open(self) -> int:
        """The caller's end of the data stream, to be closed by the taker; other than `client`: Unsupported."""


class StopRequest:
    """That a session is to end, and why; the first reason stands."""

    def __init__(self) -> None:
        self.reason = EndReason.NONE
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self, reason: EndReason) -> None:
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def before(self, task: asyncio.Task[object]) -> bool:
        """Wait for the task or the request, whichever is first; True: the request came and the task goes on."""
        waiter = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({waiter, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        return not task.done()


def not_a_stream() -> DialupError:
    """What `open()` raises in every session but `client`."""
    return DialupError(ErrorKind.UNSUPPORTED, "only a call with a session of type client has a data stream to open")
