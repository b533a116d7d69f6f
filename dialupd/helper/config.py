"""What root does about the configuration: keeps the last good copy, and makes its devices known to udev.

Runs before the daemon and again at each reload.  With a mistake in the configuration the copy and udev's rules stay as
they are.  The status is 1 when anything is left undone, which `systemctl --failed` shows; the daemon starts all the
same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from dialupd.config.problems import ConfigError
from dialupd.config.values import Config
from dialupd.io.configfile import DEFAULT, KEPT, keep
from dialupd.io.notify import Notifier
from dialupd.io.udevadm import RulesFile, UdevError
from dialupd.logs import set_up_logging
from dialupd.match import Wanted, wanted
from dialupd.model import Device
from dialupd.tagging import rules

log = logging.getLogger(__name__)


def main(config_file: str = DEFAULT, kept: str = KEPT, rules_file: RulesFile | None = None) -> int:
    """0 done, 1 failed."""
    set_up_logging("info")
    notifier = Notifier()
    try:
        config = keep(config_file, kept)
        if (rules_file or RulesFile()).put_in_force(rules(config), partial(_is_ours, config)):
            log.info("udev's rules follow the configuration")
    except ConfigError as error:
        for problem in error.problems:
            log.error("configuration: %s", problem)
        notifier.status(str(error.problems[0]))
        return 1
    except (UdevError, OSError) as error:
        log.error("%s", error)
        notifier.status(str(error))
        return 1
    finally:
        notifier.close()
    return 0


def _is_ours(config: Config, device: Device, links: Sequence[str]) -> bool:
    """Will the daemon open it, also where an entry names it by a link?"""
    return isinstance(wanted(config, device), Wanted) or any(entry.match.device in links for entry in config.modems)
