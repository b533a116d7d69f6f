"""The guest's files: a Debian root as squashfs, the kernel as ELF, and the few modules that mount that root.

mmdebstrap makes a minimal root without documentation; from the kernel package only the modules of `MODULES` and what
they depend on are kept.  The result is read-only and is used under a tmpfs, so every guest starts clean.  The package
sources are those of the host's apt, asked from apt itself.

Rules: everything that shapes the result stands in this file, because its hash is the cache key of the result; a
failure names the step that failed and shows its output.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "polkitd", "kmod", "iproute2", "iputils-ping", "procps"),
    # people who log in, at the machine and over a line
    *("libpam-systemd", "login", "passwd"),
    # what dialupd stands on
    *("ppp", "python3", "python3-dbus-next", "python3-pyudev", "python3-serial", "python3-tomli"),
    # what it is compared with, and what helps to look
    *("wvdial", "mgetty", "modemmanager", "bluez", "bluez-test-tools", "socat", "strace"),
    # the far end of a session: who may dial in, terminals, file transfer
    *("freeradius", "cu", "minicom", "lrzsz"),
)

BOOT_MODULES = ("virtio_pci", "virtio_blk", "squashfs", "overlay")
MODULES = (
    *BOOT_MODULES,
    *("virtio_console", "virtio_rng", "9p", "9pnet_virtio", "autofs4", "fuse", "configfs", "loop"),
    *("vhci_hcd", "cdc_acm", "usbserial", "option", "pl2303", "ftdi_sio"),
    *("ppp_generic", "ppp_async", "ppp_deflate", "bsd_comp", "ppp_mppe", "slhc", "crc_ccitt", "tun", "veth", "dummy"),
    *("bluetooth", "rfcomm", "hci_vhci", "algif_skcipher", "algif_hash", "cmac", "ecb", "ecdh_generic", "uhid"),
)  # no usb_storage: the emulated disk answers no command, and nothing but the tested daemon may want its interface
NO_DOCS = ("doc", "man", "locale", "zoneinfo", "info", "i18n", "bash-completion", "lintian")
MASKED = (
    *("systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "proc-sys-fs-binfmt_misc.mount"),
    *("getty@tty1.service", "serial-getty@ttyS0.service", "wpa_supplicant.service", "systemd-timesyncd.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
)
NOT_AT_BOOT = ("ModemManager.service", "bluetooth.service", "freeradius.service")
PEOPLE = {"alice": "wonderland", "bob": "builder"}
"""Ordinary users and their passwords."""


class BuildError(Exception):
    """The guest cannot be built on this host; the text says which step failed and why."""


def command(what: str, argv: Sequence[str | Path], stdin: str = "", cwd: Path | None = None) -> str:
    """Run one step of the build and give its standard output; raises BuildError with the end of its messages."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, cwd=cwd, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{what}: {error.filename} is not installed on this host") from error
    if done.returncode:
        raise BuildError(f"{what} failed ({argv[0]} gave {done.returncode}):\n{(done.stderr or done.stdout)[-3000:]}")
    return done.stdout


def apt_sources() -> str:
    """The host's own Debian sources of the suite, one line each."""
    fields = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
    listing = command("reading apt's sources", ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    lines = []
    for row in dict.fromkeys(listing.splitlines()):
        uri, release, component, origin = row.split("|")
        if origin == "Debian" and release.split("-")[0] == SUITE:
            lines.append(f"deb {uri} {release} {component}\n")
    if not lines:
        raise BuildError(f"apt on this host knows no Debian {SUITE}: add it to its sources and run apt-get update")
    return "".join(lines)


def build(into: Path) -> None:
    """Make `root.squashfs`, `vmlinux` and `boot-modules/` in the empty directory `into`."""
    root = into / "root"
    settings = ("Acquire::Check-Valid-Until", "Acquire::http::Proxy")
    known = {name: command("reading apt's settings", ["apt-config", "shell", "v", name]).strip() for name in settings}
    options = [f"--aptopt={name} {value.removeprefix('v=')}" for name, value in known.items() if value]
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in NO_DOCS]
    argv: list[str | Path] = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        *options,
    ]
    command("making the root", [*argv, SUITE, root, "-"], stdin=apt_sources())
    _configure(root)
    version = _kernel(into, root)
    squash: list[str | Path] = [
        "mksquashfs",
        root,
        into / "root.squashfs",
        "-comp",
        "lz4",
        "-noappend",
        "-quiet",
        "-no-progress",
    ]
    command("packing the root", squash)
    boot = into / "boot-modules"
    boot.mkdir()
    base = root / "lib/modules" / version
    for place, relative in enumerate(closure(base, BOOT_MODULES)):
        shutil.copy(base / relative, boot / f"{place:02}-{Path(relative).name}")
    shutil.rmtree(root)


def _configure(root: Path) -> None:
    system = root / "etc/systemd/system"
    for unit in MASKED:
        (system / unit).unlink(missing_ok=True)
        (system / unit).symlink_to("/dev/null")
    for link in [*system.glob("*"), *system.glob("*/*")]:
        if link.is_symlink() and Path(link.readlink()).name in NOT_AT_BOOT:  # the wants and the D-Bus alias
            link.unlink()
    (root / "etc/hostname").write_text("lab\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost lab\n")
    (root / "etc/fstab").write_text("")
    (root / "etc/machine-id").write_text("6c61626c61626c61626c61626c61626c\n")
    for place in ("src", "packages"):
        (root / place).mkdir()
    for name, password in PEOPLE.items():
        command("making the users", ["chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", name])
        command("making the users", ["chroot", root, "chpasswd"], stdin=f"{name}:{password}\n")
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)


def _kernel(into: Path, root: Path) -> str:
    """Unpack the kernel that linux-image-amd64 stands for; gives its version."""
    listing = command("finding the kernel", ["apt-cache", "depends", "--important", "linux-image-amd64"])
    names = [line.split()[-1] for line in listing.splitlines() if line.split()[0] == "Depends:"]
    if not names:
        raise BuildError("apt on this host knows no linux-image-amd64")
    command("fetching the kernel", ["apt-get", "download", "-o", "APT::Sandbox::User=root", names[0]], cwd=into)
    package = next(into.glob("linux-image-*.deb"))
    unpacked = into / "kernel"
    command("unpacking the kernel", ["dpkg-deb", "-x", package, unpacked])
    version = next((unpacked / "lib/modules").iterdir()).name
    (into / "vmlinux").write_bytes(vmlinux((unpacked / "boot" / f"vmlinuz-{version}").read_bytes()))
    shutil.copytree(unpacked / "lib/modules", root / "lib/modules", dirs_exist_ok=True)
    base = root / "lib/modules" / version
    command("indexing the modules", ["chroot", root, "depmod", version])
    wanted = set(closure(base, MODULES))
    for file in (base / "kernel").rglob("*.ko"):
        if str(file.relative_to(base)) not in wanted:
            file.unlink()
    command("indexing the modules", ["chroot", root, "depmod", version])
    package.unlink()
    shutil.rmtree(unpacked)
    return version


def closure(base: Path, names: Iterable[str]) -> list[str]:
    """Paths below `base` of the named modules and what they need, dependencies first; built-in ones are left out."""
    needs: dict[str, list[str]] = {}
    for line in (base / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[file] = rest.split()
    by_name = {Path(file).stem.replace("-", "_"): file for file in needs}
    builtin = {Path(line).stem.replace("-", "_") for line in (base / "modules.builtin").read_text().split()}
    order: dict[str, None] = {}

    def add(file: str) -> None:
        for other in reversed(needs[file]):
            add(other)
        order.setdefault(file)

    for name in names:
        if name in by_name:
            add(by_name[name])
        elif name not in builtin:
            raise BuildError(f"the kernel package has no module {name}")
    return list(order)


def vmlinux(bzimage: bytes) -> bytes:
    """The ELF inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length)."""
    start = (bzimage[0x1F1] + 1) * 512
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    payload = bzimage[start + offset : start + offset + length - 4]  # the last four bytes are the unpacked size
    if not payload.startswith(b"\xfd7zXZ"):
        raise BuildError(f"the kernel is packed by something else than xz: it begins {payload[:6].hex()}")
    return lzma.decompress(payload)
