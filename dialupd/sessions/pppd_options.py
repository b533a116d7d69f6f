"""The options file that one pppd is given.

Pure.  The file and not the command line carries all options, because argv is for everybody to read.  Order is meaning:
pppd reads /etc/ppp/options first, then this file, where the session's own `options` stand behind our defaults and
before what must hold.  Debian's /etc/ppp/options says `auth`, `crtscts`, `lock` and `modem`: `auth` and `lock` are
undone here in words, the others mean nothing with `notty`.

What a caller is allowed, by which address and by whose word, is settled before: `Granted` says it.

`replacedefaultroute` and `noreplacedefaultroute` are never used: ppp 2.5.3 rejects both.  `defaultroute` is not either:
the route is set with a metric by the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dialupd.config.values import PppSession, Role
from dialupd.sessions.base import CallFacts
from dialupd.sessions.radius import UNKNOWN_CALLER, pairs

# MAXNAMELEN and MAXSECRETLEN of pppd are 256 with the NUL; pppd cuts longer ones silently.
LONGEST_NAME: Final = 255

# One lost or early Conf-Req costs a whole restart interval, three seconds by default: at one second a link is up in
# 0.5-1.5 s instead of 3.5-4.1 s.  The number of tries is raised so that the patience of 30 s stays.
_TIMING: Final = (
    "lcp-restart 1",
    "lcp-max-configure 30",
    "ipcp-restart 1",
    "ipcp-max-configure 30",
    "lcp-echo-interval 30",
    "lcp-echo-failure 4",
)

# `debug` makes pppd tell its phases; logfd 2 because `notty` takes 0 and 1 and option errors go to 2 in any case.
_FIXED: Final = ("notty", "nodetach", "nolock", "nopersist", "logfd 2", "debug", "hide-password")

# CCP with its compressors, Van Jacobson's of TCP headers, and the omission of PPP's own header fields: whatever needs
# both ends to agree on how bytes are packed, and what a far end with mistakes of its own trips over.
_UNCOMPRESSED: Final = (b"noccp", b"novj", b"nopcomp", b"noaccomp")


def quote(word: bytes) -> bytes:
    """One word of an options file.  Inside quotes only the quote, the backslash and octal escapes mean anything."""
    out = bytearray(b'"')
    for byte in word:
        if byte in b'"\\':
            out += b"\\" + bytes((byte,))
        elif byte < 0x20 or byte == 0x7F:
            out += b"\\%03o" % byte
        else:
            out.append(byte)
    out += b'"'
    return bytes(out)


def link_name(facts: CallFacts) -> str:
    """The name in /run/ppp-NAME.pid and in LINKNAME of pppd's scripts."""
    return f"dialupd-{facts.call}"


@dataclass(frozen=True, slots=True)
class Granted:
    """For a caller: the address that was taken for him, and the plugin's configuration where RADIUS decides."""

    address: str = ""
    radius_config: str = ""


def options_file(
    config: PppSession,
    facts: CallFacts,
    password: bytes | None,
    *,
    software_flow: bool,
    granted: Granted = Granted(),
) -> bytes:
    """The whole file; `software_flow`: XON and XOFF on this line are the modem's and must be escaped by both ends."""
    lines: list[bytes] = [line.encode() for line in _TIMING]
    lines += [b"nodefaultroute", b"asyncmap a0000" if software_flow else b"asyncmap 0"]
    lines += _link(config)
    match config.role:
        case Role.CLIENT:
            lines += _client(config, password)
        case Role.SERVER:
            lines += _server(config, facts, granted)
    if config.idle:
        lines.append(b"idle %d" % max(1, round(config.idle)))
    lines += [quote(option.encode()) for option in config.options]
    for name, value in (("CALL", str(facts.call)), ("MODEM", facts.modem), ("DEVICE", facts.device)):
        lines.append(b"set " + quote(f"DIALUPD_{name}={value}".encode()))
    lines.append(b"set " + quote(f"DIALUPD_POLICY={facts.policy}".encode()))
    lines += [line.encode() for line in _FIXED]
    lines += [f"linkname {link_name(facts)}".encode(), f"ipparam call-{facts.call}".encode()]
    return b"\n".join(lines) + b"\n"


def _link(config: PppSession) -> list[bytes]:
    lines = [b"proxyarp" if config.proxy_arp else b"noproxyarp", b"+ipv6" if config.ipv6 else b"noipv6"]
    lines += [b"%s %d" % (name, size) for name, size in ((b"mtu", config.mtu), (b"mru", config.mru)) if size]
    return lines if config.compression else [*lines, *_UNCOMPRESSED]


def _client(config: PppSession, password: bytes | None) -> list[bytes]:
    lines = [b"noauth", b"ipcp-accept-local", b"ipcp-accept-remote"]
    if config.local or config.remote:
        lines.append(f"{config.local}:{config.remote}".encode())
    if not config.local:
        lines.append(b"noipdefault")
    if config.user:
        lines.append(b"user " + quote(config.user.encode()))
    if password is not None:
        lines.append(b"password " + quote(password))
    if config.dns:
        lines.append(b"usepeerdns")
    return lines


def _server(config: PppSession, facts: CallFacts, granted: Granted) -> list[bytes]:
    lines = [f"{config.local}:{granted.address or config.remote}".encode()]
    lines += [f"ms-dns {server}".encode() for server in config.dns_servers]
    if granted.radius_config:
        # The plugin first: the options behind it are its own.
        lines += [b"plugin radius.so", b"radius-config-file " + quote(granted.radius_config.encode())]
        lines += [b"avpair " + quote(pair.encode()) for pair in pairs(facts)]
    caller = facts.caller_id or (UNKNOWN_CALLER if granted.radius_config else "")
    if caller:
        lines.append(b"remotenumber " + quote(caller.encode()))
    if not config.auth:
        return [*lines, b"noauth"]
    return [*lines, b"auth", *(f"require-{method}".encode() for method in config.auth)]
