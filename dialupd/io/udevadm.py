"""Rules of udev made at run time: written, read by udevd, and carried out for the devices that they are about.

The file's mode says how far that came: only root may read it until udevd has done with it, so a run that failed is
made up for by the next one, while one that changes nothing touches nothing.  The devices are those that the new rules
fit and those that show a mark of the old; no other device of the machine has an event made for it.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyudev

from dialupd.io.child import inherited_environment
from dialupd.io.describe import UdevDevice, describe_bare_usb, describe_tty, usb_device_of
from dialupd.io.replace import replace, says
from dialupd.io.udev import UDEVD
from dialupd.model import Device
from dialupd.tagging import CONFIGURED

log = logging.getLogger(__name__)

RULES = Path("/run/udev/rules.d/71-dialupd-configured.rules")

# For udevd to carry out the events; it may have others before them, with modprobe and slow devices.
SECONDS = 20.0

# Is it about this device, whose node has these links?
Fits = Callable[[Device, Sequence[str]], bool]


class UdevError(Exception):
    """udev does not know of the rules, or not of all: why, and the mend."""


def all_devices() -> Iterable[UdevDevice]:
    """The ttys and USB devices of this machine, as udev knows them."""
    context = pyudev.Context()
    yield from context.list_devices(subsystem="tty")
    yield from context.list_devices(subsystem="usb", DEVTYPE="usb_device")


class RulesFile:
    """One file of rules; `udevd` is there while udevd runs."""

    def __init__(
        self,
        path: Path = RULES,
        *,
        devices: Callable[[], Iterable[UdevDevice]] = all_devices,
        udevadm: Sequence[str] = ("udevadm",),
        udevd: str = UDEVD,
    ) -> None:
        self._path = path
        self._devices = devices
        self._udevadm = udevadm
        self._udevd = udevd

    def put_in_force(self, text: str, fits: Fits) -> bool:
        """Make these the rules; they are about what `fits`. False when they were already; raises UdevError."""
        content = text.encode()
        if not os.path.exists(self._udevd):
            log.info("there is no udev here, and nobody to have rules for")
            return False
        try:
            if says(self._path, content, 0o644):
                return False
            replace(self._path, content, 0o600)
            self._tell_udevd(fits)
            self._path.chmod(0o644)
        except OSError as error:
            raise UdevError(f"{self._path}: {error.strerror or error}") from error
        return True

    def _tell_udevd(self, fits: Fits) -> None:
        self._run("control", "--reload")
        if concerned := self._concerned(fits):
            self._run("trigger", "--action=change", "--settle", *concerned)

    def _concerned(self, fits: Fits) -> list[str]:
        """The sysfs paths of the devices that the new rules or the old ones are about."""
        found: dict[str, None] = {}
        for device in self._devices():
            described = describe_tty(device) if device.subsystem == "tty" else describe_bare_usb(device)
            links = device.properties.get("DEVLINKS", "").split()
            if CONFIGURED in device.properties or (described is not None and fits(described, links)):
                usb = usb_device_of(device)
                found |= dict.fromkeys([usb.sys_path] if usb is not None else [])
                found[device.sys_path] = None
        return list(found)

    def _run(self, *arguments: str) -> None:
        said = f"udevadm {' '.join(arguments[:2])}"
        command = [*self._udevadm, *arguments]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
                env=inherited_environment(),  # without what systemd tells us alone
            )
        except subprocess.TimeoutExpired:
            raise UdevError(f"{said} takes more than {SECONDS:.0f} s; see journalctl -u systemd-udevd") from None
        except OSError as error:
            raise UdevError(f"{said}: {error.strerror}") from error
        if done.returncode != 0:
            why = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise UdevError(f"{said}: {why[-1]}; see journalctl -u systemd-udevd")
