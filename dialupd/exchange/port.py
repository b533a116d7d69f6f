"""What stands between a simulated modem (the DCE) and whatever carries its bytes to the computer (the DTE).

A carrier (a pty, a given tty, an emulated USB device) owns one `Dce` and is its `Wire`.  Circuits are named as in
V.24: 108/2 is DTR, 109 is DCD, 125 is RI, 107 is DSR, 106 is CTS.

Order of calls: `attached`, then any of `dtr`, `received`, `writable`, then `detached`; attached again is a
re-plug.  All of them, and all calls of the modem to its wire, happen on the event loop's thread; `send` and
`circuits` may be called from within `received`, so a carrier must not call back into the modem from them.
"""

from __future__ import annotations

from typing import Protocol


class Wire(Protocol):
    """The carrier, as the modem sees it."""

    has_circuits: bool
    """False on a pty: DTR is never seen and DCD never shown, so the text is all there is."""

    def send(self, data: bytes) -> None:
        """Queue bytes towards the computer; never blocks."""

    def backlog(self) -> int:
        """Bytes queued and not yet taken: the modem stops reading from the line above its mark."""

    def accept(self, more: bool) -> None:
        """False: the modem's buffer is full, hold what comes from the computer until True.

        A pty stops reading, USB answers NAK; a carrier accepts from the start.
        What is in hand already may still be delivered: the modem has room for one read (64 KiB) beyond its mark.
        """

    def circuits(self, *, dcd: bool, ri: bool, dsr: bool, cts: bool) -> None:
        """Show the modem's output circuits to the computer; does nothing where there are none."""

    def speed(self) -> int:
        """The port's rate in bit/s as the computer has set it; 0 where that cannot be known."""


class Dce(Protocol):
    """The modem, as the carrier sees it."""

    def attached(self, wire: Wire) -> None:
        """Power on: the carrier is there."""

    def detached(self) -> None:
        """Power off: unplugged; a call in progress is lost for the far end too."""

    def received(self, data: bytes) -> None:
        """Bytes from the computer, in any chunking."""

    def dtr(self, up: bool) -> None:
        """Circuit 108/2 changed; down until the first call says otherwise, where there are circuits."""

    def writable(self) -> None:
        """The backlog has drained (to zero, or to what the carrier finds low)."""
