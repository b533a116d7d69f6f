"""The seam to the service manager: session units and the privileged helpers are started and stopped by name.

The daemon says only which unit; what runs in it, root's configuration says.  `dialupd.bus.systemd` implements it.
"""

from __future__ import annotations

from typing import Protocol


class UnitError(Exception):
    """A unit cannot be started or stopped: which, why and the mend."""


class Units(Protocol):
    """The units that the daemon may start and stop."""

    async def start(self, unit: str) -> None:
        """Start the unit and wait until its start job is done; raises UnitError."""

    async def stop(self, unit: str) -> None:
        """Stop the unit and wait until it is down; one that is not loaded is down already. Raises UnitError."""
