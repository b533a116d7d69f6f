"""What a PPP link that is up adds to this machine: routes, and the far end's name servers.

Routes hang on the interface and vanish with it.  The default route has a metric, so it stands behind a better one and
leaves that alone.  pppd's own `defaultroute` is not used: it knows no metric in ppp 2.4.9 and replaces or refuses in
ways that differ between versions.

Name servers go to the first of these that takes them: systemd-resolved, which forgets them with the interface;
resolvconf(8); /etc/resolv.conf itself.  From the last two they are taken out when the link is down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dialupd.config.values import PppSession
from dialupd.io import resolvconf
from dialupd.io.child import LINES, Child, SpawnError
from dialupd.io.resolvconf import ResolvConfError

_log = logging.getLogger(__name__)

_SYSTEM: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# Seconds for ip, resolvectl or resolvconf, which answer within milliseconds unless the system is in trouble.
_PATIENCE: Final = 15.0
# For the last one, while the modem waits for its next call.
_LEAVING: Final = 3.0


class Network:
    """One link's; `run` works until it is cancelled, `up` says what is to be, `down` undoes it behind the link."""

    def __init__(self, config: PppSession, who: str, resolv_conf: Path) -> None:
        self._config = config
        self._who = who
        self._resolv_conf = resolv_conf
        self._wanted: tuple[str, tuple[str, ...]] = ("", ())
        self._changed = asyncio.Event()
        self._in_resolvconf = ""
        self._in_file = ""

    def up(self, interface: str, dns: tuple[str, ...]) -> None:
        """The link is up, or its name servers became known."""
        self._wanted = (interface, dns)
        self._changed.set()

    async def run(self) -> None:
        try:
            resolvconf.tidy(self._resolv_conf)
        except ResolvConfError as error:
            _log.info("%s: the name servers of a link that is gone may be left: %s", self._who, error)
        routed = False
        servers: tuple[str, ...] = ()
        while True:
            await self._changed.wait()
            self._changed.clear()
            interface, dns = self._wanted
            if not routed:
                routed = True
                await self._routes(interface)
            if self._config.dns and dns != servers:
                servers = dns
                await self._dns(interface, dns)

    async def down(self) -> None:
        """The interface is gone, and whoever waits for `run` has cancelled it."""
        if self._in_resolvconf:
            trouble = await _tool(["resolvconf", "-d", self._in_resolvconf], patience=_LEAVING)
            if trouble:
                _log.warning("%s: resolvconf keeps the name servers of a link that is gone: %s", self._who, trouble)
        if self._in_file:
            try:
                resolvconf.take_out(self._in_file, self._resolv_conf)
            except ResolvConfError as error:
                _log.warning("%s: the name servers of a link that is gone may be left: %s", self._who, error)

    async def _routes(self, interface: str) -> None:
        config = self._config
        routes = [[network, "dev", interface] for network in config.routes]
        if config.default_route:
            routes.append(["default", "dev", interface, "metric", str(config.metric)])
        for route in routes:
            family = ["-6"] if ":" in route[0] else []
            trouble = await _tool(["ip", *family, "route", "add", *route])
            if trouble:
                _log.warning("%s: no route %s: %s", self._who, " ".join(route), trouble)

    async def _dns(self, interface: str, dns: tuple[str, ...]) -> None:
        troubles: list[str] = []
        for take in (self._to_resolved, self._to_resolvconf, self._to_file):
            trouble = await take(interface, dns)
            if not trouble:
                return
            troubles.append(trouble)
        _log.warning(
            "%s: the far end's name servers %s are not used: %s", self._who, " ".join(dns), "; ".join(troubles)
        )

    async def _to_resolved(self, interface: str, dns: Sequence[str]) -> str:
        return await _tool(["resolvectl", "dns", interface, *dns])

    async def _to_resolvconf(self, interface: str, dns: Sequence[str]) -> str:
        record = f"{interface}.dialupd"
        trouble = await _tool(["resolvconf", "-a", record], "".join(f"nameserver {server}\n" for server in dns))
        if not trouble:
            self._in_resolvconf = record
        return trouble

    async def _to_file(self, interface: str, dns: Sequence[str]) -> str:
        self._in_file = interface
        try:
            resolvconf.put(interface, dns, self._resolv_conf)
        except ResolvConfError as error:
            self._in_file = ""
            return str(error)
        return ""


def tool_environment() -> Mapping[str, str]:
    """For programs of the system: where they are, and English messages."""
    return {"PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM}".lstrip(":"), "LC_ALL": "C"}


async def _tool(argv: list[str], told: str = "", *, patience: float = _PATIENCE) -> str:
    """Run a tool, `told` on its standard input; what went wrong, "" for nothing."""
    if shutil.which(argv[0], path=tool_environment()["PATH"]) is None:
        return f"{argv[0]} is not installed"
    said: list[str] = []
    stdin, ours = os.pipe()
    try:
        os.write(ours, told.encode())  # a few lines, for which a pipe has room
        os.close(ours)
        child = Child.spawn(argv, stdin=stdin, stdout=LINES, stderr=LINES, on_line=said.append, env=tool_environment())
    except SpawnError as error:
        return str(error)
    finally:
        os.close(stdin)
    try:
        async with asyncio.timeout(patience):
            status = await child.wait()
    except TimeoutError:
        return f"{argv[0]} did not end within {patience:.0f} s"
    finally:
        await child.stop(())
    return "" if status.ok else "; ".join(line for line in said if line)[:200] or str(status)
