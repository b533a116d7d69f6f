"""What a PPP link that is up adds to this machine: a default route with a metric, and its name servers.

Both hang on the interface and vanish with it, so there is nothing to undo.  pppd's own `defaultroute` is not used: it
knows no metric in ppp 2.4.9 and replaces or refuses in ways that differ between versions.  Name servers go to
systemd-resolved where it runs; /etc/resolv.conf is never touched.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Final

from dialupd.config.values import PppSession
from dialupd.io.child import LINES, Child, SpawnError

_log = logging.getLogger(__name__)

_SYSTEM: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# Seconds for ip or resolvectl, which answer within milliseconds unless the system is in trouble.
_PATIENCE: Final = 15.0


class Network:
    """One link's; `run` works until it is cancelled, `up` says what is to be."""

    def __init__(self, config: PppSession, who: str) -> None:
        self._config = config
        self._who = who
        self._wanted: tuple[str, tuple[str, ...]] = ("", ())
        self._changed = asyncio.Event()

    def up(self, interface: str, dns: tuple[str, ...]) -> None:
        """The link is up, or its name servers became known."""
        self._wanted = (interface, dns)
        self._changed.set()

    async def run(self) -> None:
        routed = False
        servers: tuple[str, ...] = ()
        while True:
            await self._changed.wait()
            self._changed.clear()
            interface, dns = self._wanted
            if self._config.default_route and not routed:
                routed = True
                await self._route(interface)
            if self._config.dns and dns != servers:
                servers = dns
                await self._dns(interface, dns)

    async def _route(self, interface: str) -> None:
        metric = str(self._config.metric)
        trouble = await _tool(["ip", "route", "add", "default", "dev", interface, "metric", metric])
        if trouble:
            _log.warning("%s: no default route over %s with metric %s: %s", self._who, interface, metric, trouble)

    async def _dns(self, interface: str, dns: tuple[str, ...]) -> None:
        trouble = await _tool(["resolvectl", "dns", interface, *dns])
        if trouble:
            _log.warning(
                "%s: the far end's name servers %s are not used, for systemd-resolved does not take them: %s",
                self._who,
                " ".join(dns),
                trouble,
            )


def tool_environment() -> Mapping[str, str]:
    """For programs of the system: where they are, and English messages."""
    return {"PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM}".lstrip(":"), "LC_ALL": "C"}


async def _tool(argv: list[str]) -> str:
    """Run a tool; what went wrong, "" for nothing."""
    said: list[str] = []
    try:
        child = Child.spawn(argv, stdout=LINES, stderr=LINES, on_line=said.append, env=tool_environment())
    except SpawnError as error:
        return str(error)
    try:
        async with asyncio.timeout(_PATIENCE):
            status = await child.wait()
    except TimeoutError:
        return f"{argv[0]} did not end within {_PATIENCE:.0f} s"
    finally:
        await child.stop(())
    return "" if status.ok else "; ".join(line for line in said if line)[:200] or str(status)
