"""A booted guest as a snapshot: built once, kept in a cache, restored in a second or two.

The root (`rootfs.py`) and the snapshot are cached apart, each under the hash of the sources that make it, so a change
of the agent costs a boot and not a new root.  The snapshot is QEMU's own migration stream of an idle guest whose agent
has answered.  The cache is $DIALUPD_VM_CACHE or ~/.cache/dialupd-vm and may be deleted at any time.

Rules: `machine()` is used both to make a snapshot and to restore it, because the devices and their order must be equal;
nothing of 9p is mounted while the snapshot is made, because that blocks migration.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.vm import rootfs
from tests.vm.channel import Channel, Qmp, connect

HERE = Path(__file__).parent
TREE = HERE.parent.parent
CACHE = Path(os.environ.get("DIALUPD_VM_CACHE") or Path.home() / ".cache/dialupd-vm")

KEPT = 3
"""Results of each kind that stay in the cache beside a new one."""

BOOT_S = 180.0
"""The first boot takes about 10 s under emulation on an idle host; the rest is for a busy one."""

KERNEL_LINE = (
    "console=ttyS0 quiet mitigations=off tsc=reliable no_timer_check random.trust_cpu=on cryptomgr.notests "
    "systemd.gpt_auto=0 systemd.show_status=no net.ifnames=0 panic=-1 norandmaps"
)
"""norandmaps: QEMU translates a program anew for each address that it lies at: three quarters of what a start costs."""

INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /lower /rw /new
busybox mount -t devtmpfs dev /dev
for module in /modules/*; do busybox insmod $module; done
while ! busybox test -b /dev/vda; do busybox sleep 0.05; done
busybox mount -t squashfs -o ro /dev/vda /lower
busybox mount -t tmpfs -o size=60% tmpfs /rw
busybox mkdir /rw/up /rw/work
busybox mount -t overlay -o lowerdir=/lower,upperdir=/rw/up,workdir=/rw/work overlay /new
busybox mkdir -p /new/usr/local/lib/lab /new/etc/systemd/system/multi-user.target.wants
busybox cp /agent.py /new/usr/local/lib/lab/
busybox cp /lab-agent.service /new/etc/systemd/system/
busybox ln -s ../lab-agent.service /new/etc/systemd/system/multi-user.target.wants/
busybox umount /dev
exec busybox switch_root /new /sbin/init
"""

AGENT_UNIT = """[Unit]
Description=The lab's control channel
Requires=dev-virtio\\x2dports-lab.device
After=dev-virtio\\x2dports-lab.device dbus.service systemd-udev-settle.service
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/lab/agent.py /dev/virtio-ports/lab
Delegate=yes
TasksMax=infinity
"""

WARM_UP = "; ".join(
    (
        "systemctl is-system-running --wait",
        "modprobe -a vhci_hcd 9p 9pnet_virtio ppp_async",
        # what the daemon imports comes from the page cache of the snapshot, not from the disk of every run
        "python3 -c 'import asyncio, dbus_next, pyudev, serial, sqlite3, tomllib'",
        "udevadm settle",
    )
)


@dataclass(frozen=True, slots=True)
class Image:
    """The files of a guest that is ready to be restored."""

    vmlinux: Path
    root: Path
    initrd: Path
    snapshot: Path


def ensure(say: Callable[[str], None] = lambda text: None) -> Image:
    """The cached image, built first where it is missing; raises BuildError."""
    base = cached("root", _hash("rootfs.py"), rootfs.build, say)

    def make(into: Path) -> None:
        _snapshot(base, into)

    top = cached("snapshot", image_key(), make, say)
    return Image(base / "vmlinux", base / "root.squashfs", top / "initrd", top / "snapshot.zst")


def image_key() -> str:
    """What the state of a restored guest depends on."""
    return _hash("rootfs.py", "image.py", "agent.py", "channel.py")


def machine(image: Image, run: Path) -> list[str | Path]:
    """QEMU's command line; its sockets and its console's log are in the directory `run`."""
    return [
        *("setpriv", "--pdeathsig", "KILL"),  # a test run that is killed leaves no guest behind
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "pc,usb=off,smm=off,vmport=off", "-accel", "tcg,thread=multi"),
        *("-cpu", "Nehalem-v1", "-smp", "2", "-m", "768"),  # what is newer in a CPU costs more to emulate
        *("-kernel", image.vmlinux, "-initrd", image.initrd, "-append", KERNEL_LINE),
        *("-drive", f"file={image.root},if=none,id=root,format=raw,readonly=on"),
        *("-device", "virtio-blk-pci,drive=root", "-device", "virtio-rng-pci"),
        *("-chardev", f"socket,id=agent,path={run}/agent,server=on,wait=off"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=lab"),
        *("-fsdev", f"local,id=tree,path={TREE},security_model=none,readonly=on"),
        *("-device", "virtio-9p-pci,fsdev=tree,mount_tag=tree"),
        *("-fsdev", f"local,id=packages,path={CACHE},security_model=none,readonly=on"),
        *("-device", "virtio-9p-pci,fsdev=packages,mount_tag=packages"),
        *("-serial", f"file:{run}/console.log", "-qmp", f"unix:{run}/qmp,server=on,wait=off"),
    ]


def start_qemu(image: Image, run: Path, *more: str) -> subprocess.Popen[bytes]:
    with open(run / "qemu.log", "wb") as log:
        return subprocess.Popen([*machine(image, run), *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _hash(*names: str) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]


def cached(kind: str, key: str, make: Callable[[Path], None], say: Callable[[str], None]) -> Path:
    """The directory of that kind and key, filled by `make` where it is missing; those long unused go."""
    done = CACHE / f"{kind}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{kind}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.is_dir():
            os.utime(done)
            return done
        for old in sorted(CACHE.glob(f"{kind}-*/"), key=_used)[:-KEPT]:
            shutil.rmtree(old)
        say(f"building the guest's {kind} into {done}")
        work = Path(tempfile.mkdtemp(prefix=f"{kind}-new-", dir=CACHE))
        work.chmod(0o755)
        try:
            make(work)
            work.rename(done)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return done


def _used(directory: Path) -> float:
    return directory.stat().st_mtime


def _snapshot(base: Path, into: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise rootfs.BuildError("busybox is not installed on this host (Debian's busybox-static)")
    files = {
        "init": (INIT.encode(), 0o755),
        "bin/busybox": (Path(busybox).read_bytes(), 0o755),
        "agent.py": ((HERE / "agent.py").read_bytes(), 0o644),
        "lab-agent.service": (AGENT_UNIT.encode(), 0o644),
    }
    for module in sorted((base / "boot-modules").iterdir()):
        files[f"modules/{module.name}"] = (module.read_bytes(), 0o644)
    (into / "initrd").write_bytes(cpio(files))
    image = Image(base / "vmlinux", base / "root.squashfs", into / "initrd", into / "snapshot.zst")
    run = Path(tempfile.mkdtemp(prefix="dialupd-vm-"))
    try:
        qemu = start_qemu(image, run)
        try:
            _boot_and_save(run, image.snapshot, qemu)
        finally:
            qemu.kill()
            qemu.wait()
    finally:
        shutil.rmtree(run)


def _boot_and_save(run: Path, snapshot: Path, qemu: subprocess.Popen[bytes]) -> None:
    with _shown(run):
        agent = Channel(connect(run / "agent", qemu, BOOT_S))
        answer = agent.ask({"cmd": WARM_UP, "timeout": BOOT_S}, BOOT_S)
        if answer["rc"]:
            raise rootfs.BuildError(f"the guest came up, but its preparation failed: {answer['out']}")
        agent.close()
        save(run, qemu, snapshot)


def save(run: Path, qemu: subprocess.Popen[bytes], snapshot: Path) -> None:
    """Write the running guest to a file; nobody talks to its agent and nothing of 9p is mounted in it."""
    qmp = Qmp(connect(run / "qmp", qemu, 10))
    qmp.save(f"exec:zstd -q -3 > '{snapshot}'")
    qmp.close()


@contextmanager
def _shown(run: Path) -> Iterator[None]:
    """Turn a failure of the guest's boot into a BuildError that shows the console."""
    try:
        yield
    except (OSError, TimeoutError, EOFError) as error:
        raise rootfs.BuildError(f"the guest does not come up: {error}\n{last_words(run)}") from error


def last_words(run: Path) -> str:
    """The end of what the kernel and QEMU said."""
    text = ""
    for name in ("qemu.log", "console.log"):
        with suppress(OSError):
            text += f"--- {name}\n" + (run / name).read_text(errors="replace")[-3000:]
    return text


def cpio(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A newc archive (the kernel's early-userspace/buffer-format.rst) of plain files and their directories."""
    out = bytearray()

    def entry(name: str, data: bytes, mode: int) -> None:
        raw = name.encode() + b"\0"
        numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        out.extend(b"070701" + b"".join(b"%08x" % number for number in numbers) + raw)
        out.extend(bytes(-len(out) % 4) + data)
        out.extend(bytes(-len(out) % 4))

    parents = {str(parent): None for name in sorted(files) for parent in list(Path(name).parents)[-2::-1]}
    for parent in parents:
        entry(parent, b"", 0o040755)
    for name, (data, mode) in files.items():
        entry(name, data, 0o100000 | mode)
    entry("TRAILER!!!", b"", 0)
    return bytes(out)
