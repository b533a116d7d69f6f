"""`python3 -m tests.vm build` makes the guest, `python3 -m tests.vm shell 'command' ...` tries commands in one."""

from __future__ import annotations

import sys

from tests.vm.guest import Guest
from tests.vm.image import ensure
from tests.vm.rootfs import BuildError


def main(argv: list[str]) -> int:
    match argv:
        case ["build"]:
            image = ensure(print)
            print(image.snapshot)
        case ["shell", *commands] if commands:
            with Guest.start(ensure(print)) as guest:
                for command in commands:
                    result = guest.run(command, timeout=600, check=False)
                    print(result.out, end="", flush=True)
                    if result.rc:
                        return result.rc
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BuildError as failure:
        sys.exit(f"tests.vm: {failure}")
