"""The reference page of the configuration, made from the table of settings.

python3 -m dialupd.config.reference > docs/configuration.md
"""

from __future__ import annotations

import sys

from dialupd.config.kinds import show_duration
from dialupd.config.settings import ALL, Section, Setting

INTRODUCTION = """\
# Configuration

The daemon reads `/etc/dialupd/dialupd.toml`, then every `/etc/dialupd/conf.d/*.toml` in the order of their names. The
files are TOML 1.0. They add up: `[[modem]]` entries of later files are tried after those of earlier ones, and a
policy or session may have its keys in several files, but a key that two files give is an error.

`dialupd --check` reads the files and says everything that is wrong with them; `dialupctl reload` puts a change into
force. A reload with an error keeps what was in force. What a change does not touch goes on undisturbed, and a modem on
a call takes its change when the call has ended.

An unknown key is an error, and so is a key that has no effect where it stands. In the messages `modem[2]` is the second
`[[modem]]` of the file. Secrets do not belong in these files: `password-file` and `pin-file` name the files that hold
them, `password-credential` and `pin-credential` what systemd keeps; see [sessions.md](sessions.md#secrets).
"""

EXAMPLE = """\
[[modem]]
name = "rack"
match = { vendor = "0572", product = "1340", serial = "12345678" }
country = "B5"
policy = "callers"

[[modem]]
name = "uplink"
match = { path = "pci-0000:00:14.0-usb-0:2:*" }
init = ["ATM0"]
policy = "uplink"

[policy.callers]
mode = "answer"
rings = 2
allow-callers = ["+1555*", "none"]
max-duration = "2h"
session = "callers"

[policy.uplink]
mode = "originate"
numbers = ["5551212", "5551213"]
retry = { first = "5s", max = "10min", attempts = 0, per-day = 100 }
session = "internet"

[session.internet]
type = "ppp"
user = "web"
password-file = "/etc/dialupd/secrets/isp"
default-route = true
dns = true

[session.dialin]
type = "ppp"
role = "server"
local = "172.16.1.1"
remote = "172.16.1.2"
auth = ["chap", "mschap-v2"]
idle = "10min"

[session.callers]
type = "auto"
ppp = "dialin"
login = "menu"

[session.menu]
type = "exec"
command = ["/usr/local/bin/menu", "--modem"]
user = "bbs"

[session.bbs]
type = "tcp"
address = "127.0.0.1:6400"
"""

NOTES = """\
## How the parts go together

- The first `[[modem]]` that fits a device is used. Identity is the vendor, product and serial number or the place on
  the bus; `device` is for ports that have nothing else, since names such as `ttyACM0` change;
  a link such as `/dev/modem` or one below `/dev/serial/by-id` serves as well.
- `usbserial = true` binds the generic driver to the vendor and product of the entry as soon as such a device shows up
  without a driver. Only ids that stand here are ever bound.
- A policy with `mode = "answer"` answers, one with `mode = "originate"` dials, and one with `mode = "manual"` leaves
  both to commands. An answering policy wants a session that a caller can use (`ppp` with `role = "server"`, `login`,
  `auto`, `exec`, `tcp`, `client`), an originating one the other half of it (`ppp` with `role = "client"`, `exec`,
  `tcp`; `client` with `when = "manual"` only).
- Callers: a pattern must fit the whole number. With a list of callers the daemon waits for the second ring if the
  number has not come by the first. Digits are compared as the line sends them: `+1555*` does not fit `1555…`.
- Redialling: the pause begins with `first`, doubles up to `max`, and begins anew after a call that stayed connected for
  45 s. Refused credentials, a phone without a data modem and a digital line end redialling at once, as do the limits:
  the policy is then blocked until `dialupctl resume`, by the limit of the day until midnight at the longest.
- Dialled numbers are shown masked: of `18005551212,,12345678` the log, the bus, the history, polkit and programs of
  sessions see `18005551212,,xxxxxxxx` with the default of `mask-numbers`, and only the modem gets the digits behind the
  pause. A pause behind three digits or fewer waits for the line of a PBX and hides nothing: `0,5551212`.
- Durations are whole numbers with `s`, `min`, `h` or `d`: "90s", "10min", "1h 30min".
"""


def show(setting: Setting[object]) -> str:
    """The default as TOML writes it, "" if nothing or something that only holds the place."""
    value = setting.default
    if setting.required or value in ("", (), ("", "")):
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, float):
        return f'`"{show_duration(value)}"`' if value else ""
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _rows(section: Section) -> list[str]:
    rows = ["| Key | Value | Default | |", "|---|---|---|---|"]
    for setting in section.settings:
        what, default = "a table, see below", ""
        if isinstance(setting, Setting):
            what, default = setting.kind.what, show(setting)
        if setting.required:
            default = "needed"
        only = f" With {section.decider} {' or '.join(setting.only)} only." if setting.only else ""
        text = setting.help[0].upper() + setting.help[1:]
        rows.append(f"| `{setting.key}` | {_cell(what)} | {default} | {_cell(text)}.{only} |")
    return rows


def _cell(text: str) -> str:
    """In a table `|` would begin a cell, and outside of code `*` might begin emphasis."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("*", "\\*") for index, part in enumerate(parts))


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Example\n", f"```toml\n{EXAMPLE}```\n"]
    for section in ALL:
        title = f"`{section.title}`" if " with " not in section.title else section.title
        parts.append(f"## {title}\n\n{section.help}\n\n" + "\n".join(_rows(section)) + "\n")
    parts.append(NOTES)
    return "\n".join(parts)


def main() -> None:
    sys.stdout.write(reference())


if __name__ == "__main__":
    main()
