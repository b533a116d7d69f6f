"""What of the talk with a modem may stand in a log.

Commands that carry a PIN or a password are known by their names; whoever sends another secret (a dial string with a
calling card's digits) says how it is to be shown.  A modem may repeat what it was told, whole or garbled, so what it
says is searched for the same secret.
"""

from __future__ import annotations

import re

HIDDEN = "****"

# PINs, PUKs and the passwords of facilities and of packet networks: 3GPP TS 27.007 (+), Huawei (^), Qualcomm ($),
# Telit (#), u-blox (+UAUTHREQ, +UPSD).
_COMMANDS = re.compile(
    r"""((?:\+(?:CPIN2?|CLCK|CPWD|CGAUTH|EPIN|UAUTHREQ|UPSD)
          |\^(?:CPIN2?|AUTHDATA)
          |\$QCPDPP
          |\#(?:PASSW|PDPAUTH|PDPPASSW)
        )=)(?!\?)(?:"[^"]*"?|[^";])+""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
# Asked for, some of these are told as plainly as they were set.
_ANSWERS = re.compile(r"((?:\+(?:CGAUTH|UPSD)|\^AUTHDATA|\$QCPDPP|#PASSW|#PDPAUTH):).+", re.IGNORECASE | re.ASCII)
# The list of calls has a dialled number back in full, however its dialling was shown.
_LISTED = re.compile(r"(\+CLCC: ?(?:(?:[0-9]*, ?){5}|[0-9, ]*(?=[^0-9, ]))).+", re.IGNORECASE | re.ASCII)
_RUNS = (re.compile(r"[0-9]{3,}"), re.compile(r"[0-9A-Za-z]{3,}"))


def hidden(text: str) -> str:
    """A command line or an answer without its secrets."""
    compact = "".join(text.split())  # a modem reads over blanks
    if _COMMANDS.search(compact):
        text = _COMMANDS.sub(rf"\g<1>{HIDDEN}", compact)
    return _LISTED.sub(rf"\g<1>{HIDDEN}", _ANSWERS.sub(rf"\g<1> {HIDDEN}", text))


def heard(line: str, command: str, shown: str) -> str:
    """A line from the modem as it may be logged, when `command` was sent last and may be shown as `shown`."""
    if shown != command:
        said, sent = line.strip().upper(), command.upper()
        if said and (sent in said or (len(said) >= 3 and said in sent)):
            return shown
        for run in _RUNS:
            open_ = set(run.findall(shown))
            for secret in sorted(set(run.findall(command)) - open_, key=len, reverse=True):
                line = line.replace(secret, HIDDEN)
    return hidden(line)
