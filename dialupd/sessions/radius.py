"""What pppd's plugin `radius.so` is told for one call: its configuration, the shared secret and a dictionary.

The plugin carries a library of its own, of which Debian installs no file, so every call gets all of them.  What the
library (the same in ppp 2.4.9 and 2.5) asks for:

- lines end with a newline and have at most 511 bytes; a server with an empty name fails at once and without a word,
  which is how accounting is left out, for the library insists on a server of it;
- servers are asked by IPv4 only, each `radius_retries` times with `radius_timeout` seconds between, in which pppd does
  nothing else: a caller waits some 30 s for the answer, so the more servers, the fewer tries;
- the file of secrets is read for each request, so it stays until the call is over; a line of it has at most 127 bytes,
  and blanks end the secret, of which 48 bytes count;
- an attribute that the dictionary does not know is not sent, or is warned of when it comes.  FreeRADIUS signs answers
  with Message-Authenticator, so it stands there; the plugin does not check it.  Numbers in Microsoft's attributes are
  integers (RFC 2548), or encryption is refused;
- Calling-Station-Id is what `remotenumber` says; without one it would be `ipparam`, or empty in 2.5;
- values of `avpair` have at most 63 bytes, or the library writes beyond its buffer.

NAS-Port is the number of the ppp interface, which Framed-MTU needs too; the modem's name is NAS-Port-Id.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Final

from dialupd.config.values import Radius
from dialupd.io.secret import SecretError, read_credential, read_file
from dialupd.sessions.base import CallFacts
from dialupd.sessions.callfile import CallFile

LONGEST_SECRET: Final = 48
"""Bytes of it that the plugin takes."""

_TIMEOUT: Final = 3
"""Seconds for an answer: servers of a local network take milliseconds, those that ask others a second."""

_TRIES: Final = 3
_ALL_TRIES: Final = 8
"""Of all servers together, so that nobody waits for more than 24 s."""

_LONGEST_VALUE: Final = 60
"""Bytes of a value of `avpair`."""

UNKNOWN_CALLER: Final = "none"
"""The Calling-Station-Id of a caller whose number is not known, as in CALLER_ID."""

# RFC 2865, 2866, 2868 and 2869: what a server of PPP may be told and may tell.
_ATTRIBUTES: Final[Mapping[str, Mapping[str, int]]] = {
    "string": {
        "User-Name": 1, "User-Password": 2, "CHAP-Password": 3, "Filter-Id": 11, "Reply-Message": 18,
        "Callback-Number": 19, "Callback-Id": 20, "Framed-Route": 22, "State": 24, "Class": 25,
        "Called-Station-Id": 30, "Calling-Station-Id": 31, "NAS-Identifier": 32, "Proxy-State": 33,
        "Acct-Session-Id": 44, "Acct-Multi-Session-Id": 50, "CHAP-Challenge": 60, "Connect-Info": 77,
        "EAP-Message": 79, "Message-Authenticator": 80, "NAS-Port-Id": 87, "Framed-Pool": 88,
    },
    "integer": {
        "NAS-Port": 5, "Service-Type": 6, "Framed-Protocol": 7, "Framed-Routing": 10, "Framed-MTU": 12,
        "Framed-Compression": 13, "Session-Timeout": 27, "Idle-Timeout": 28, "Termination-Action": 29,
        "Acct-Status-Type": 40, "Acct-Delay-Time": 41, "Acct-Input-Octets": 42, "Acct-Output-Octets": 43,
        "Acct-Authentic": 45, "Acct-Session-Time": 46, "Acct-Input-Packets": 47, "Acct-Output-Packets": 48,
        "Acct-Terminate-Cause": 49, "Acct-Input-Gigawords": 52, "Acct-Output-Gigawords": 53, "NAS-Port-Type": 61,
        "Port-Limit": 62, "Acct-Interim-Interval": 85,
    },
    "ipaddr": {"NAS-IP-Address": 4, "Framed-IP-Address": 8, "Framed-IP-Netmask": 9},
}  # fmt: skip

# RFC 2548; 311 is Microsoft's number.
_MICROSOFT: Final[Mapping[str, Mapping[str, int]]] = {
    "string": {
        "MS-CHAP-Response": 1, "MS-CHAP-Error": 2, "MS-CHAP-Domain": 10, "MS-CHAP-Challenge": 11,
        "MS-CHAP-MPPE-Keys": 12, "MS-MPPE-Send-Key": 16, "MS-MPPE-Recv-Key": 17, "MS-CHAP2-Response": 25,
        "MS-CHAP2-Success": 26,
    },
    "integer": {"MS-MPPE-Encryption-Policy": 7, "MS-MPPE-Encryption-Types": 8},
    "ipaddr": {
        "MS-Primary-DNS-Server": 28, "MS-Secondary-DNS-Server": 29,
        "MS-Primary-NBNS-Server": 30, "MS-Secondary-NBNS-Server": 31,
    },
}  # fmt: skip


class RadiusFiles:
    """The files of one call, beside pppd's options; `remove` may be called at any time and again."""

    def __init__(self, run_directory: str, call: int) -> None:
        def file(name: str) -> CallFile:
            return CallFile(run_directory, call, f"radius.{name}")

        self._config, self._servers, self._dictionary = file("conf"), file("servers"), file("dictionary")
        self._sequence = file("seq")  # pppd makes it

    @property
    def config(self) -> str:
        """The path that pppd is told."""
        return self._config.path

    def write(self, radius: Radius) -> None:
        """Raises SecretError, OSError."""
        secret = shared_secret(radius)
        config = client_config(radius, self._servers.path, self._dictionary.path, self._sequence.path)
        self._servers.write(b"".join(b"%s %s\n" % (host.encode(), secret) for host in _hosts(radius)))
        self._dictionary.write(dictionary())
        self._config.write(config)

    def remove(self) -> None:
        for file in (self._config, self._servers, self._dictionary, self._sequence):
            file.remove()


def shared_secret(radius: Radius) -> bytes:
    """The secret as the plugin can take it; raises SecretError."""
    if radius.secret_file:
        what = f"secret-file {radius.secret_file}"
        secret = read_file("secret-file", radius.secret_file)
    else:
        what = f"secret-credential {radius.secret_credential}"
        secret = read_credential("secret-credential", radius.secret_credential, "dialupd-ppp@.service")
    if len(secret) > LONGEST_SECRET:
        raise SecretError(f"{what} has {len(secret)} bytes; pppd's plugin takes at most {LONGEST_SECRET}")
    if secret.split() != [secret]:
        raise SecretError(f"{what} holds a blank, where pppd's plugin would end the secret")
    return secret


def client_config(radius: Radius, servers: str, dictionary_: str, sequence: str) -> bytes:
    """radiusclient.conf; the map of ports is empty."""
    tries = max(1, min(_TRIES, _ALL_TRIES // len(radius.servers)))
    accounting = ",".join(f"{host}:{port + 1}" for host, port in radius.servers) if radius.accounting else ":1"
    settings = {
        "authserver": ",".join(f"{host}:{port}" for host, port in radius.servers),
        "acctserver": accounting,
        "servers": servers,
        "dictionary": dictionary_,
        "seqfile": sequence,
        "mapfile": os.devnull,
        "radius_timeout": str(_TIMEOUT),
        "radius_retries": str(tries),
        # Without it the plugin looks its own address up by the host's name, and fails where that has none.
        "nas_identifier": radius.nas_identifier or socket.gethostname(),
    }
    return "".join(f"{key} {value}\n" for key, value in settings.items()).encode()


def unanswered(radius: Radius, complaints: Sequence[str]) -> str:
    """Why nobody said yes or no, by what the plugin's library complained about; "" if somebody did.

    It asks one server after the other and complains of each that it cannot reach; at an answer that is not signed with
    the secret it stops.
    """
    unsigned = [text for text in complaints if "invalid reply digest" in text]
    if unsigned:
        return f"a RADIUS server's answer does not fit the secret that it is to share with us ({unsigned[-1]})"
    names = {f"couldn't resolve hostname: {host}" for host in _hosts(radius)}
    silent = [text for text in complaints if text.startswith("no reply from RADIUS server") or text in names]
    if len(silent) < len(radius.servers):
        return ""
    return f"no RADIUS server answered ({'; '.join(silent)})"


def pairs(facts: CallFacts) -> list[str]:
    """What servers are told of the call beyond what the plugin knows, as values of `avpair`."""
    known = {"NAS-Port-Id": facts.modem, "Connect-Info": facts.connect or str(facts.line_rate or "")}
    return [f'{name}="{_value(text)}"' for name, text in known.items() if _value(text)]


def dictionary() -> bytes:
    lines = ["VENDOR Microsoft 311"]
    for vendor, attributes in (("", _ATTRIBUTES), (" Microsoft", _MICROSOFT)):
        for kind, named in attributes.items():
            lines += [f"ATTRIBUTE {name} {number} {kind}{vendor}" for name, number in named.items()]
    return "\n".join([*lines, ""]).encode()


def _hosts(radius: Radius) -> list[str]:
    return list(dict.fromkeys(host for host, _ in radius.servers))


def _value(text: str) -> str:
    return "".join(c for c in text if " " <= c <= "~" and c not in '"\\')[:_LONGEST_VALUE].strip()
