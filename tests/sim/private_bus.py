"""A dbus-daemon of one's own, for one test.

    from private_bus import PrivateBus, private_bus

    with private_bus() as bus:                 # a session-like bus: everybody may everything
        asyncio.run(scenario(bus.address))

    with private_bus(policy=text) as bus: ...  # another policy, limits or service directory (busconfig elements)

Or take the fixture: `from private_bus import bus_fixture as bus` and an argument named `bus`.  The daemon keeps to
nothing of this machine: no service files, no configuration but the one below.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

OPEN_POLICY = """
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
"""

# What Debian's system.conf says, reduced to what decides about messages.
SYSTEM_POLICY = """
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
"""

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  {policy}
</busconfig>
"""


@dataclass(frozen=True, slots=True)
class PrivateBus:
    address: str
    directory: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """The bus dies; its clients see the end of the connection."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """The bus neither reads nor writes until `go_on`."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def environment(self) -> dict[str, str]:
        """For programs that take the session bus from the environment."""
        return {**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.address}


@contextmanager
def private_bus(policy: str = OPEN_POLICY) -> Iterator[PrivateBus]:
    program = shutil.which("dbus-daemon")
    if program is None:
        pytest.fail("dbus-daemon is not installed: apt-get install dbus-daemon")
    with tempfile.TemporaryDirectory(prefix="dialupd-bus-") as name:
        directory = Path(name)
        socket = directory / "bus"
        config = directory / "bus.conf"
        config.write_text(_CONFIG.format(socket=socket, policy=policy))
        reader, writer = os.pipe()
        command = [program, f"--config-file={config}", "--nofork", f"--print-address={writer}"]
        # What it says about its own limits is noise in a test's output.
        with (directory / "log").open("wb") as log, subprocess.Popen(command, pass_fds=[writer], stderr=log) as process:
            os.close(writer)
            with open(reader, encoding="ascii") as pipe:
                address = pipe.readline().strip()
            try:
                assert address, "dbus-daemon did not start"
                yield PrivateBus(address, directory, process)
            finally:
                process.kill()


@pytest.fixture(name="bus")
def bus_fixture() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus
