"""Whether rfkill keeps Bluetooth silent, as sysfs says.

Each transmitter that can be blocked is a directory (Documentation/ABI/stable/sysfs-class-rfkill).  A soft block is
lifted by a command, a hard one by a switch, a key or the firmware's setup alone.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

_CLASS = Path("/sys/class/rfkill")


class Block(StrEnum):
    NONE = ""
    SOFT = "soft"
    HARD = "hard"


def bluetooth_block(directory: Path = _CLASS) -> Block:
    """The hardest block on any Bluetooth transmitter of this machine."""
    found = Block.NONE
    for transmitter in sorted(directory.glob("rfkill*")):
        try:
            if (transmitter / "type").read_text().strip() != "bluetooth":
                continue
            if (transmitter / "hard").read_text().strip() == "1":
                return Block.HARD
            if (transmitter / "soft").read_text().strip() == "1":
                found = Block.SOFT
        except (OSError, ValueError):  # it went while we read
            continue
    return found
