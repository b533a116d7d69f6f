"""Binds USB devices to the kernel's generic serial driver: those that the configuration says it of, and no others.

The instance is VVVV-PPPP, vendor and product in lower-case hex as the daemon names them.  Why it failed goes to the
log and to the unit's status text, where the daemon finds it.
"""

from __future__ import annotations

import asyncio
import logging
import re

from dialupd.config.problems import ConfigError
from dialupd.config.values import Config
from dialupd.io.configfile import DEFAULT, KEPT, read_config_or_last_good
from dialupd.io.notify import Notifier
from dialupd.io.usbserial import BindError, UsbSerial
from dialupd.logs import set_up_logging

log = logging.getLogger(__name__)


def main(instance: str, config_file: str = DEFAULT, kept: str = KEPT, usbserial: UsbSerial | None = None) -> int:
    """0 done, 1 failed, 2 no such instance."""
    set_up_logging("info")
    notifier = Notifier()
    try:
        if not (name := re.fullmatch(r"([0-9a-f]{4})-([0-9a-f]{4})", instance)):
            log.error("%r is not a vendor and product such as 0421-0405", instance)
            return 2
        vendor, product = name.groups()
        if not _is_configured(read_config_or_last_good(config_file, kept), vendor, product):
            raise BindError(
                f"{config_file}: no [[modem]] with usbserial = true has "
                f'match = {{ vendor = "{vendor}", product = "{product}" }}'
            )
        asyncio.run((usbserial or UsbSerial()).bind(vendor, product))
    except (BindError, ConfigError) as error:
        log.error("%s", error)
        notifier.status(str(error))
        return 1
    finally:
        notifier.close()
    return 0


def _is_configured(config: Config, vendor: str, product: str) -> bool:
    return any(
        entry.usbserial and (entry.match.vendor, entry.match.product) == (vendor, product) for entry in config.modems
    )
