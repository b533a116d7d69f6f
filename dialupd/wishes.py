"""What people have asked for, kept over a restart of the daemon: disabled modems, suspended policies, SetPolicy.

It stands in the runtime directory, which systemd empties when the service is stopped and leaves alone when it is
restarted: after an upgrade in the night, a link that somebody suspended stays down.  How far a policy's redialling has
come is not kept: a restart is a fresh start, but for the limit of a day, which the history knows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dialupd.io.replace import replace
from dialupd.model import ModemView
from dialupd.runtime import Quiet

log = logging.getLogger(__name__)

FILE = "wishes.json"


@dataclass(frozen=True, slots=True)
class Wishes:
    """`policies` are those given by SetPolicy, "" for none, by the modem's id."""

    disabled: frozenset[str] = frozenset()
    suspended: frozenset[str] = frozenset()
    policies: Mapping[str, str] = field(default_factory=dict)


class WishKeeper(Quiet):
    """Writes the wishes down whenever they have changed."""

    def __init__(self, directory: str, now: Callable[[], Wishes]) -> None:
        self._path = Path(directory) / FILE
        self._now = now
        self._written = Wishes()

    def read(self) -> Wishes:
        """What the daemon before us has written; nothing where there is nothing, or nonsense."""
        try:
            values = json.loads(self._path.read_bytes())
            self._written = Wishes(
                frozenset(map(str, values["disabled"])),
                frozenset(map(str, values["suspended"])),
                {str(modem): str(policy) for modem, policy in values["policies"].items()},
            )
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be used, so modems and policies are as configured: %s", self._path, error)
        return self._written

    def modem_changed(self, old: ModemView, new: ModemView) -> None:
        if (old.state, old.policy) != (new.state, new.policy):
            self._write()

    def manager_changed(self) -> None:
        self._write()

    def _write(self) -> None:
        wishes = self._now()
        if wishes == self._written:
            return
        values = {
            "disabled": sorted(wishes.disabled),
            "suspended": sorted(wishes.suspended),
            "policies": dict(wishes.policies),
        }
        try:
            replace(self._path, json.dumps(values).encode(), 0o600)
        except OSError as error:
            log.warning("%s cannot be written, so a restart will forget what was asked for: %s", self._path, error)
        else:
            self._written = wishes
