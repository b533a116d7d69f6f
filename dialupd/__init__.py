"""dialupd: takes charge of every dial-up modem on a Linux machine."""

__version__ = "0.1.0"
