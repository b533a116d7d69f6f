"""Imported first by a program that runs for years, it keeps out of the process what the process has no use for.

Libraries of ours take others along when those are there, whether asked or not: asyncio takes ssl and with it OpenSSL,
dbus-next takes GLib.  That is 8 MB, a fifth of the daemon, which speaks no TLS and has a loop.  A None in `sys.modules`
is Python's own way to say that a module is not to be had, and both libraries are written for that.
"""

from __future__ import annotations

import sys
from typing import Any, cast

for _name in ("ssl", "gi"):
    cast("dict[str, Any]", sys.modules).setdefault(_name, None)
