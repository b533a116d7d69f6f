"""What needs a kernel with USB and PPP: measured in the virtual machine of tests/vm, dialupd and its peers alike.

The guest runs under emulation, many times slower than this machine and Python slower still: its figures compare
programs with one another and are no figures of the product.  The times are the guest's own clock in the logs of the
simulated modems and of `ip monitor`, so asking costs the measured programs nothing.
"""

from __future__ import annotations

import asyncio
import re
import statistics
from collections.abc import Callable
from datetime import datetime

from tests.bench.programs import Missed
from tests.bench.stage import Stage
from tests.bench.table import Row, median
from tests.vm.guest import Guest, GuestError
from tests.vm.image import ensure
from tests.vm.lab import Daemon, Plug
from tests.vm.rootfs import BuildError

SERVER = """
[[modem]]
name = "dialin"
match = { vendor = "0572", product = "1340", serial = "S1" }
policy = "dialin"
[policy.dialin]
mode = "answer"
rings = 1
session = "dialin"
[session.dialin]
type = "ppp"
role = "server"
local = "172.16.1.1"
remote = "172.16.1.2"
auth = ["chap"]
"""
CLIENT = """
[[modem]]
name = "caller"
match = { vendor = "0572", product = "1340", serial = "C1" }
policy = "uplink"
[policy.uplink]
mode = "originate"
when = "manual"
numbers = ["100"]
session = "internet"
[session.internet]
type = "ppp"
user = "web"
password-file = "/etc/secret"
"""
WVDIAL = """[Dialer Defaults]
Modem = /dev/ttyACM0
Baud = 115200
Init1 = ATZ
Phone = 100
Username = web
Password = horse
Stupid Mode = on
"""
SECRET = "horse"
SECRETS = f'"web" * "{SECRET}" *\n'
AUTO_PPP = "/AutoPPP/ - - /usr/sbin/pppd file /etc/ppp/options.dialin\n* - - /bin/login @\n"
PPP_DIALIN = "auth require-chap 172.16.1.1:172.16.1.2 nodetach\n"
ADDRESSES = ("172.16.1.1", "172.16.1.2")
LINE_RATE = 33600
PORT = 9000
AMOUNT = 48_000
"""Bytes of one transfer: some ten seconds at the line's rate."""
TRANSFER_S = 120.0
UP_S = 45.0
"""wvdial and mgetty together need up to 8 s."""


async def guest(stage: Stage) -> list[Row]:
    """One guest for everything: the same modems, the same minute."""
    try:
        return await asyncio.to_thread(_guest, stage)
    except (BuildError, GuestError) as error:
        raise Missed(str(error)) from error


def _guest(stage: Stage) -> list[Row]:
    with Guest.start(ensure(print)) as machine:
        lab = _Lab(machine, Plug(machine, LINE_RATE))
        memory = lab.memory()
        plugged = [lab.plugged_in() for _ in range(stage.rounds(6, 2))]
        ours = [lab.by_dialupd() for _ in range(stage.rounds(6, 2))]
        through_ours = list(lab.passed)
        lab.passed.clear()
        lab.end_dialupd()
        probed = [lab.by_wvdialconf() for _ in range(stage.rounds(3, 1))]
        theirs, aborted = lab.by_wvdial(stage.rounds(4, 1), stage.rounds(16, 5))
    return [
        Row(
            "From the tty node of a USB modem to `ready`, udev included",
            median(plugged),
            f"wvdialconf, from its first command to its last: {median(probed)}, {len(probed)} rounds",
            "a third",
            f"{len(plugged)} in the guest",
        ),
        Row(
            "ATD → an address at both ends, dialupd at both",
            median(ours),
            f"wvdial to mgetty: {median(theirs)}, {len(theirs)} rounds; {aborted} more runs of wvdial aborted",
            "3 s",
            f"{len(ours)} in the guest",
        ),
        Row(
            f"{AMOUNT // 1000} kB by TCP over that PPP at {LINE_RATE} bit/s, from the caller and then to him",
            _rates(through_ours),
            f"pppd on the port itself: {_rates(lab.passed)}, {len(lab.passed)} rounds",
            "within 5 %",
            f"{len(through_ours)} in the guest",
        ),
        Row("Memory with 1 modem, Debian's Python", *memory, "RSS ≤ 30 MiB", "1 in the guest"),
    ]


def _rates(passed: list[tuple[float, float]]) -> str:
    """The medians of both directions."""
    if not passed:
        return "none came to an end"
    up, down = (statistics.median(AMOUNT / taken[way] / 1e3 for taken in passed) for way in (0, 1))
    return f"{up:.2f} kB/s and {down:.2f} kB/s"


class _Lab:
    """Two modems on USB, the caller's programs in a network namespace of their own."""

    def __init__(self, guest: Guest, plug: Plug) -> None:
        self._guest = guest
        self._plug = plug
        self.passed: list[tuple[float, float]] = []
        """Of each call, the seconds that the transfers took: from the caller, to him."""
        guest.run("ip netns add cli && ip -n cli link set lo up")
        guest.write("/etc/netns/cli/ppp/options", "")
        guest.write("/etc/netns/cli/ppp/resolv.conf", "")
        guest.write("/etc/netns/cli/ppp/peers/wvdial", "noauth\nusepeerdns\n")
        guest.write("/etc/netns/cli/resolv.conf", "")
        guest.write("/etc/ppp/chap-secrets", SECRETS, 0o600)
        guest.write("/etc/secret", f"{SECRET}\n", 0o600)
        plug.conexant("C1", "--number 200")
        plug.conexant("S1", "--number 100")
        guest.until("test -c /dev/ttyACM1")
        guest.spawn("addresses-server", "ip -ts -o -4 monitor address")
        guest.spawn("addresses-client", "ip netns exec cli ip -ts -o -4 monitor address")
        self._server = Daemon(guest, SERVER, name="server")
        self._client = Daemon(guest, CLIENT, name="client", netns="cli")

    def plugged_in(self) -> float:
        """The modem of the server leaves and comes again."""
        self._server.modem("S1", "ready")
        self._plug("unplug S1")
        self._server.modem("S1", "gone")
        marks = self._marks()
        self._plug("replug S1")
        node = self._server.modem("S1", "ready")["Device"]
        born = self._guest.run(f"stat -c %w {node}").out
        ready = self._said("server", "-> ready", marks)
        if ready is None:
            raise GuestError("the log of the daemon does not tell of the modem")
        return (ready - _clock(born)).total_seconds()

    def by_wvdialconf(self) -> float:
        """What it does with one of the two modems."""
        marks = self._marks()
        self._guest.run("wvdialconf /tmp/wvdial.conf", timeout=60)
        first, last = (self._said("plug", "100: AT", marks, which) for which in ("head", "tail"))
        if first is None or last is None:
            raise GuestError("wvdialconf has asked the modem nothing")
        return (last - first).total_seconds()

    def by_dialupd(self) -> float:
        """One call between two daemons."""
        self._server.modem("S1", "ready")
        self._client.modem("C1", "ready")
        marks = self._marks()
        call = self._client.call("/org/dialupd1", "Manager", "Originate", "sa{sv}", "uplink", "0")[0]
        taken = self._up(marks, lambda: None)
        self.passed.append(self._transfers())
        self._client.call(call, "Call", "HangUp")
        self._client.ended(call)
        return taken

    def memory(self) -> tuple[str, str]:
        """The server's daemon, and a ModemManager that has found nothing to do."""
        self._server.modem("S1", "ready")
        self._guest.run("systemctl start ModemManager", timeout=60)
        peer = int(self._guest.run("systemctl show -P MainPID ModemManager").out)
        cells = [self._resident(self._server.pid), f"ModemManager: {self._resident(peer)}"]
        self._guest.run("systemctl stop ModemManager", timeout=60)
        return cells[0], cells[1]

    def _resident(self, pid: int) -> str:
        status = self._guest.read(f"/proc/{pid}/status") + self._guest.read(f"/proc/{pid}/smaps_rollup")
        sizes = {key: int(value) / 1024 for key, value in re.findall(r"^(VmRSS|Pss):\s+(\d+) kB", status, re.M)}
        return f"RSS {sizes['VmRSS']:.1f} MiB, PSS {sizes['Pss']:.1f} MiB"

    def end_dialupd(self) -> None:
        self._server.stop()
        self._client.stop()

    def by_wvdial(self, wanted: int, most: int) -> tuple[list[float], int]:
        """Calls from wvdial to an mgetty that is started again after each; and how many runs of wvdial aborted."""
        self._guest.write("/etc/wvdial.conf", WVDIAL)
        self._guest.write("/etc/mgetty/login.config", AUTO_PPP, 0o600)
        self._guest.write("/etc/ppp/options.dialin", PPP_DIALIN)
        taken: list[float] = []
        aborted = 0
        while len(taken) < wanted and len(taken) + aborted < most:
            mgetty = self._guest.spawn("mgetty", "mgetty -D -n 1 -x 0 -s 115200 ttyACM1")
            marks = self._marks()
            # its last command of the initialisation, and the time in which it does not listen
            self._until(lambda marks=marks: self._said("plug", "100: ATQ0V1H0", marks), "mgetty's initialisation")
            self._guest.run("sleep 2")
            marks = self._marks()
            wvdial = self._guest.spawn("wvdial", "ip netns exec cli wvdial")
            try:
                taken.append(self._up(marks, lambda wvdial=wvdial: self._guest.run(f"kill -0 {wvdial}")))
                self.passed.append(self._transfers())
            except GuestError:
                aborted += 1
            # an aborted wvdial leaves pppd to nobody; what is still there goes with its group
            ends = f"kill -TERM -{wvdial}; pkill -x pppd; kill -TERM {mgetty}; sleep 3"
            self._guest.run(f"{ends}; kill -KILL -{wvdial} -{mgetty}", check=False)
        return taken, aborted

    def _transfers(self) -> tuple[float, float]:
        """Seconds for the bytes from the caller, and to him."""
        caller = "ip netns exec cli "
        return self._transfer(caller, "", ADDRESSES[0]), self._transfer("", caller, ADDRESSES[1])

    def _transfer(self, sender: str, receiver: str, address: str) -> float:
        """From before the connection to the last byte at its other end."""
        times = self._guest.run(
            f"rm -f /tmp/listens; {receiver}socat -u -dd TCP-LISTEN:{PORT},bind={address},reuseaddr - 2>/tmp/listens "
            f"| {{ wc -c; date +%s.%N; }} >/tmp/came & "
            "while ! grep -q listening /tmp/listens; do sleep 0.1; done; date +%s.%N; "
            f"head -c {AMOUNT} /dev/urandom | {sender}socat -u - TCP:{address}:{PORT}; wait; cat /tmp/came",
            timeout=TRANSFER_S,
        ).out.split()
        begun, count, ended = times
        if int(count) != AMOUNT:
            raise GuestError(f"{count} of {AMOUNT} bytes came through")
        return float(ended) - float(begun)

    # -- reading the logs

    def _marks(self) -> dict[str, int]:
        """How long each log is now: what comes later belongs to the next call."""
        out = self._guest.run("wc -c " + " ".join(self._guest.logs.values())).out
        sizes = {path: int(size) for size, path in re.findall(r"(\d+) (/\S+)", out)}
        return {name: sizes.get(path, 0) for name, path in self._guest.logs.items()}

    def _said(self, name: str, words: str, marks: dict[str, int], which: str = "head") -> datetime | None:
        """When a log had these words after its mark, for the first time (head) or for the last (tail)."""
        log = f"tail -c +{marks.get(name, 0) + 1} {self._guest.logs[name]}"
        line = self._guest.run(f"{log} | grep -F -e '{words}' | {which} -n 1", check=False).out
        return _clock(line) if line else None

    def _until(self, find: Callable[[], datetime | None], what: str) -> datetime:
        for _ in range(int(UP_S / 0.5)):
            if (when := find()) is not None:
                return when
            self._guest.run("sleep 0.5")
        raise GuestError(f"{what} did not come\n{self._guest.report()}")

    def _up(self, marks: dict[str, int], alive: Callable[[], object]) -> float:
        """Seconds from ATD to the later one of the two addresses; GuestError when `alive` is not."""

        def both() -> datetime | None:
            alive()
            found = [
                self._said(f"addresses-{end}", f"inet {address}", marks)
                for end, address in zip(("server", "client"), ADDRESSES, strict=True)
            ]
            return max(filter(None, found)) if all(found) else None

        end = self._until(both, "an address at both ends")
        dialled = self._said("plug", "200: ATDT100", marks)
        if dialled is None:
            raise GuestError("no modem was dialled")
        return (end - dialled).total_seconds()


def _clock(text: str) -> datetime:
    """The time of day in a line of a log, down to the microsecond."""
    stamp = re.search(r"(\d\d:\d\d:\d\d)[.,](\d{1,6})", text)
    if stamp is None:
        raise GuestError(f"there is no time in {text!r}")
    return datetime.strptime(f"{stamp[1]}.{stamp[2]}", "%H:%M:%S.%f")
