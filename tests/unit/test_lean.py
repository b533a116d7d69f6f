"""The daemon's process holds no TLS and no GLib, which its libraries would bring along, and no Bluetooth unasked."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import dialupd.__main__, sys
print(sorted(name for name in ("_ssl", "ssl", "gi", "dialupd.bus.bluez") if sys.modules.get(name) is not None))
"""


def test_what_the_daemon_has_no_use_for_is_not_loaded() -> None:
    command = [sys.executable, "-c", LOADED]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
