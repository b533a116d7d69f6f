"""The Debian package of the tree as it stands, and a guest in which it is installed.

`build` makes the package on the host, in a clean copy of what git tracks or would track, and beside it the same thing
with a higher version, for upgrades.  `installed` is a snapshot of a guest after `dpkg -i`, with nothing enabled or
started: under emulation the installation takes far longer than the restoring of a snapshot.

Rules: both are cached under the hash of the sources; tests are no sources of the package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.vm.guest import Guest
from tests.vm.image import CACHE, TREE, Image, cached, image_key
from tests.vm.rootfs import BuildError, command

NOT_PACKAGED = ("tests/", ".ci/")
INSTALL_S = 180.0
"""dpkg and the compilation of the modules under emulation, on a busy host."""


@dataclass(frozen=True, slots=True)
class Package:
    """The packages' places in the guest, once `mount` has brought the share."""

    key: str
    version: str
    file: str
    newer_version: str
    newer_file: str


def build(say: Callable[[str], None] = lambda text: None) -> Package:
    """The package of the tree, built first where it is missing; raises BuildError."""
    sources = _sources()
    key = _hash(sources)

    def make(into: Path) -> None:
        _build(sources, into)

    directory = cached("package", key, make, say)
    older, newer = (next((directory / name).glob("dialupd_*.deb")) for name in ("tree", "newer"))
    versions = (_field(file, "Version") for file in (older, newer))
    places = (f"/packages/{file.relative_to(CACHE)}" for file in (older, newer))
    version, newer_version = versions
    file, newer_file = places
    return Package(key, version, file, newer_version, newer_file)


def installed(image: Image, package: Package, say: Callable[[str], None] = lambda text: None) -> Image:
    """The image with the package installed in it; raises BuildError, GuestError when dpkg fails."""

    def make(into: Path) -> None:
        with Guest.start(image) as guest:
            install(guest, package.file)
            guest.run("udevadm settle")
            guest.save(into / "snapshot.zst")

    top = cached("installed", f"{image_key()}-{package.key}", make, say)
    return replace(image, snapshot=top / "snapshot.zst")


def install(guest: Guest, file: str) -> None:
    """dpkg -i, as an administrator would without a mirror: what the package depends on is in the guest."""
    guest.run("mountpoint -q /packages || mount -t 9p -o trans=virtio,version=9p2000.L,ro packages /packages")
    # a service manager's own environment, not the lab's: the package must find its modules where it puts them
    guest.run(f"env -u PYTHONPATH -u PYTHONDONTWRITEBYTECODE DEBIAN_FRONTEND=noninteractive dpkg -i {file}", INSTALL_S)


def _sources() -> list[Path]:
    listing = command("listing the sources", ["git", "ls-files", "-coz", "--exclude-standard"], cwd=TREE)
    names = sorted(name for name in listing.split("\0") if name and not name.startswith(NOT_PACKAGED))
    return [Path(name) for name in names if os.path.lexists(TREE / name)]  # one that was deleted is tracked still


def _hash(sources: list[Path]) -> str:
    digest = hashlib.sha256()
    for name in sources:
        file = TREE / name
        data = str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()
        digest.update(f"{name} {file.lstat().st_mode} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:16]


def _build(sources: list[Path], into: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="dialupd-package-") as scratch:
        tree = Path(scratch) / "dialupd"
        for name in sources:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, tree / name, follow_symlinks=False)
        _run("building the package", ["dpkg-buildpackage", "-b", "-us", "-uc"], tree)
        debs = list(Path(scratch).glob("dialupd_*.deb"))
        if len(debs) != 1:
            raise BuildError(f"building the package gave {[deb.name for deb in debs]}")
        for place in ("tree", "newer"):
            (into / place).mkdir()
        deb = Path(shutil.copy(debs[0], into / "tree"))
        unpacked = Path(scratch) / "unpacked"
        command("unpacking the package", ["dpkg-deb", "-R", deb, unpacked])
        control = unpacked / "DEBIAN/control"
        version = _field(deb, "Version")
        control.write_text(control.read_text().replace(f"Version: {version}\n", f"Version: {version}+newer\n"))
        command("packing the newer package", ["dpkg-deb", "-b", "--root-owner-group", unpacked, into / "newer"])


def _run(what: str, argv: list[str], cwd: Path) -> None:
    """A step in the environment of a login shell: what builds a package must not see the test run's Python."""
    unchecked = {"DEB_BUILD_OPTIONS": "nocheck", "DEB_BUILD_PROFILES": "nocheck"}
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **unchecked}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{what} failed ({argv[0]} gave {done.returncode}):\n{(done.stdout + done.stderr)[-4000:]}")


def _field(deb: Path, name: str) -> str:
    return command("reading the package", ["dpkg-deb", "-f", deb, name]).strip()
