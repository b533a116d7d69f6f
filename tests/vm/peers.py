"""The programs that people use on dial-up lines, at one end or at both: wvdial, mgetty, chat and pppd.

Who calls lives in the network namespace `cli`, who is called in the guest's own, so that one end can ping the other.
A program's modem has the numbers of no known modem, and no daemon looks at it.

wvdial aborts by an assertion of its own in many of its runs: `dial_in` begins anew and tells how often that was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.vm.guest import Guest, GuestError
from tests.vm.lab import Plug

PATIENCE_S = 90.0
"""Longest wait for what a peer does: a call of wvdial's with its dialogue takes 10 s on an idle host."""

SERVER, CALLER = "172.16.1.1", "172.16.1.2"
"""The addresses of who is called and of who calls."""

USER, SECRET = "web", "horse"
"""The account at who is called, for PPP's authentication and for login(1)."""

WRONG = "donkey"
"""A password that is none."""

SECRETS = f'"{USER}" * "{SECRET}" *\n'

# The account's shell of the PPP HOWTO: pppd, which is setuid root, on the terminal that login has given.  Until it has
# turned off the echo a caller's frames come back to him, and his pppd gives up, for it sees a looped line.
PPP_LOGIN = "#!/bin/sh\nmesg n\nstty -echo\necho Entering PPP mode.\nexec /usr/sbin/pppd call dialin\n"
PPP_DIALIN = f"nodetach silent noauth {SERVER}:{CALLER}\n"

WVDIAL = f"""[Dialer Defaults]
Modem = NODE
Baud = 115200
Init1 = ATZ
Init2 = ATQ0 V1 E1 S0=0
Username = {USER}
Password = {SECRET}
[Dialer direct]
Phone = 100
Stupid Mode = on
[Dialer login]
Phone = 101
[Dialer auto]
Phone = 102
Stupid Mode = on
[Dialer auto-login]
Phone = 102
"""

WVDIAL_RUNS = 20
"""Runs of wvdial for one that does not abort."""

# The dialler of the PPP HOWTO, without a login and with one.  The modem may still have to say how the last call ended.
DIALLER = """TIMEOUT 10
ABORT '\\nBUSY\\r'
ABORT '\\nNO ANSWER\\r'
'' \\rAT
'OK-+++\\c-OK' ATH0
TIMEOUT 60
ABORT 'NO CARRIER'
OK ATDTNUMBER
CONNECT ''
"""
DIALLER_LOGIN = DIALLER + f"ogin:--ogin: {USER}\nassword: {SECRET}\nmode. \\c\n"

# The other end of the same: nothing answers but this script.
ANSWERER = "TIMEOUT 5\n'' ATZ\nOK ''\nTIMEOUT 120\nRING ATA\nCONNECT ''\n"


@dataclass(frozen=True, slots=True)
class Running:
    """A program of the lab: its pid is its group's, its name its log's."""

    guest: Guest
    name: str
    pid: int

    @property
    def alive(self) -> bool:
        return self.guest.run(f"kill -0 {self.pid} 2>/dev/null", check=False).rc == 0

    def log(self) -> str:
        return self.guest.read(self.guest.logs[self.name])

    def until(self, condition: str) -> None:
        """Wait for a condition of the shell's; raises GuestError as soon as the program has ended without."""
        over = f"! kill -0 {self.pid} 2>/dev/null"
        self.guest.until(f"{condition} || {over}", PATIENCE_S)
        if self.guest.run(condition, check=False).rc:
            raise GuestError(f"{self.name} has ended, and not yet: {condition}\n{self.log()}")

    def end(self, signal: str = "TERM") -> int:
        """Signal it and wait for its end; its status."""
        self.guest.run(f"kill -{signal} {self.pid}", check=False)
        return self.guest.wait(self.pid, PATIENCE_S)


def prepare(guest: Guest) -> None:
    """The namespace `cli`, the account and the secrets."""
    guest.run("ip netns add cli && ip -n cli link set lo up")
    for name in ("ppp/options", "ppp/resolv.conf", "resolv.conf"):
        guest.write(f"/etc/netns/cli/{name}", "")
    for name in ("pap", "chap"):  # wvdial writes its own over those that it sees
        guest.write(f"/etc/ppp/{name}-secrets", SECRETS, 0o600)
        guest.write(f"/etc/netns/cli/ppp/{name}-secrets", SECRETS, 0o600)
    guest.write("/etc/netns/cli/ppp/peers/wvdial", "noauth\nusepeerdns\n")
    guest.write("/etc/secret", f"{SECRET}\n", 0o600)
    guest.write("/etc/ppp/ppplogin", PPP_LOGIN, 0o755)
    guest.write("/etc/ppp/peers/dialin", PPP_DIALIN)
    guest.run(f"useradd --create-home --groups dip --shell /etc/ppp/ppplogin {USER}")
    guest.run(f"echo {USER}:{SECRET} | chpasswd")


def terminal(plug: Plug, serial: str, number: str) -> str:
    """Plug in a modem for a program; its port."""
    plug.add("1234", "5678", serial, f"--number {number}")
    return plug.guest.until(f"readlink -e /dev/serial/by-id/*_{serial}-if00", PATIENCE_S).out.strip()


def address(of: str, netns: str = "") -> str:
    """The condition that this end has its address on the link."""
    inside = f"-n {netns} " if netns else ""
    return f"ip {inside}-4 -o address show up | grep -q 'inet {of} peer'"


BOTH_UP = f"{{ {address(CALLER, 'cli')} && {address(SERVER)}; }}"


def ping(guest: Guest, count: int = 5) -> None:
    """All must come back, from the caller to the called."""
    guest.run(f"ip netns exec cli ping -c {count} -i 0.2 -W 20 {SERVER}", timeout=PATIENCE_S)


def download(guest: Guest, size: int = 65536) -> None:
    """Fetch so many bytes from the called to the caller, and compare them."""
    guest.run(f"head -c {size} /dev/urandom > /tmp/blob")
    guest.spawn("sender", f"socat -u FILE:/tmp/blob TCP-LISTEN:5000,bind={SERVER},reuseaddr")
    guest.until("ss -ltn | grep -q :5000", PATIENCE_S)
    guest.run(f"ip netns exec cli socat -u TCP:{SERVER}:5000 CREATE:/tmp/got", timeout=PATIENCE_S)
    guest.run("cmp /tmp/blob /tmp/got")


def dial_in(guest: Guest, dialler: str, until_free: Callable[[], None]) -> tuple[Running, int]:
    """wvdial with a link at both ends, and how many of its runs aborted before; each begins with a free line."""
    for aborted in range(WVDIAL_RUNS):
        until_free()
        name = f"wvdial-{dialler}-{aborted}"
        wvdial = Running(guest, name, guest.spawn(name, f"ip netns exec cli wvdial {dialler}"))
        try:
            wvdial.until(BOTH_UP)
            guest.run(f"kill -0 {wvdial.pid}")
        except GuestError:
            if "Assertion" not in wvdial.log():
                raise
            clear_caller(guest)
        else:
            return wvdial, aborted
    raise GuestError(f"wvdial aborted in {WVDIAL_RUNS} runs, one after the other")


def clear_caller(guest: Guest) -> None:
    """End all that runs in the caller's namespace: a wvdial that aborts leaves its pppd to nobody."""
    guest.run("ip netns pids cli | xargs -r kill -TERM")
    guest.until('test -z "$(ip netns pids cli)"', PATIENCE_S)


def call_by_chat(
    guest: Guest, node: str, script: str, number: str, options: str = "", name: str = "pppd-calls"
) -> Running:
    """pppd that dials by chat, in the caller's namespace."""
    guest.write(f"/tmp/{name}.chat", script.replace("NUMBER", number))
    connect = f"connect 'chat -v -s -f /tmp/{name}.chat'"
    command = f"pppd {node} 115200 nodetach noauth debug noipdefault nodefaultroute crtscts modem {options} {connect}"
    return Running(guest, name, guest.spawn(name, f"ip netns exec cli {command}"))


def answer_by_chat(guest: Guest, node: str, options: str) -> Running:
    """pppd that waits for RING by chat; it listens when its modem has been initialised."""
    guest.write("/tmp/answerer", ANSWERER)
    connect = "connect 'chat -v -s -f /tmp/answerer'"
    command = f"pppd {node} 115200 nodetach debug crtscts modem {SERVER}:{CALLER} {options} {connect}"
    running = Running(guest, "pppd-answers", guest.spawn("pppd-answers", command))
    running.until(f"grep -q 'expect (RING)' {guest.logs['pppd-answers']}")
    return running


def answer_by_mgetty(guest: Guest, node: str) -> Running:
    """mgetty, waiting for a call.

    What the modem says about the end of the last call makes it give up at once; then it is started again, as by init.
    """
    tty = node.removeprefix("/dev/")
    log = guest.logs["mgetty's own"] = f"/var/log/mgetty/mg_{tty}.log"
    while True:
        guest.run(f"rm -f {log}")
        running = Running(guest, "mgetty", guest.spawn("mgetty", f"mgetty -D -n 1 -x 4 -s 115200 {tty}"))
        try:
            running.until(f"grep -q 'waiting\\.\\.\\.' {log}")
            return running
        except GuestError:
            if "``NO CARRIER''" not in guest.read(log):
                raise
