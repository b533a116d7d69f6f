"""The options file that one pppd is given.

Pure.  The file and not the command line carries all options, because argv is for everybody to read.  Order is meaning:
pppd reads /etc/ppp/options first, then this file, where the session's own `options` stand behind our defaults and
before what must hold.  Debian's /etc/ppp/options says `auth`, `crtscts`, `lock` and `modem`: `auth` and `lock` are
undone here in words, the others mean nothing with `notty`.

`replacedefaultroute` and `noreplacedefaultroute` are never used: ppp 2.5.3 rejects both.  `defaultroute` is not either:
the route is set with a metric by the session.
"""

from __future__ import annotations

from typing import Final

from dialupd.config.values import PppSession, Role
from dialupd.sessions.base import CallFacts

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


def options_file(config: PppSession, facts: CallFacts, password: bytes | None, *, software_flow: bool) -> bytes:
    """The whole file; `software_flow`: XON and XOFF on this line are the modem's and must be escaped by both ends."""
    lines: list[bytes] = [line.encode() for line in _TIMING]
    lines += [b"nodefaultroute", b"noproxyarp", b"asyncmap a0000" if software_flow else b"asyncmap 0"]
    match config.role:
        case Role.CLIENT:
            lines += _client(config, password)
        case Role.SERVER:
            lines += _server(config)
    if config.idle:
        lines.append(b"idle %d" % max(1, round(config.idle)))
    lines += [quote(option.encode()) for option in config.options]
    for name, value in (("CALL", str(facts.call)), ("MODEM", facts.modem), ("DEVICE", facts.device)):
        lines.append(b"set " + quote(f"DIALUPD_{name}={value}".encode()))
    lines.append(b"set " + quote(f"DIALUPD_POLICY={facts.policy}".encode()))
    lines += [line.encode() for line in _FIXED]
    lines += [f"linkname {link_name(facts)}".encode(), f"ipparam call-{facts.call}".encode()]
    return b"\n".join(lines) + b"\n"


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


def _server(config: PppSession) -> list[bytes]:
    lines = [f"{config.local}:{config.remote}".encode()] if config.local or config.remote else []
    if not config.auth:
        return [*lines, b"noauth"]
    return [*lines, b"auth", *(f"require-{method}".encode() for method in config.auth)]
