"""The entry of dialupctl; `dialupd.cli` is all of it."""

from __future__ import annotations

import sys

from dialupd.cli.commands import main as run


def main() -> None:
    sys.exit(run())


if __name__ == "__main__":
    main()
