"""The simulated exchange behind emulated USB modems, used by hand and by pppd with chat: no dialupd in it.

When these fail, the laboratory is broken and not the daemon.
"""

from __future__ import annotations

from tests.vm.guest import Guest
from tests.vm.lab import Plug

BY_HAND = """
import fcntl, os, struct, termios, tty

def lines(fd):
    return struct.unpack("i", fcntl.ioctl(fd, termios.TIOCMGET, b"1234"))[0]

def expect(fd, wanted):
    got = b""
    while wanted not in got:
        got += os.read(fd, 4096)
    return got

caller, called = (os.open(f"/dev/ttyACM{n}", os.O_RDWR | os.O_NOCTTY) for n in (0, 1))
for fd in (caller, called):
    tty.setraw(fd)
    settings = termios.tcgetattr(fd)
    settings[2] |= termios.CLOCAL
    settings[4] = settings[5] = termios.B115200
    termios.tcsetattr(fd, termios.TCSANOW, settings)
    os.write(fd, b"AT&FE0&C1&D2+VCID=1\\r")
    expect(fd, b"OK\\r\\n")
    assert not lines(fd) & termios.TIOCM_CD
os.write(caller, b"ATDT100\\r")
assert b"NMBR = 200" in expect(called, b"NMBR = 200\\r\\n")
os.write(called, b"ATA\\r")
for fd in (caller, called):
    expect(fd, b"CONNECT 115200\\r\\n")
os.write(caller, b"a question")
expect(called, b"a question")
os.write(called, b"an answer")
expect(caller, b"an answer")
assert all(lines(fd) & termios.TIOCM_CD for fd in (caller, called))
fcntl.ioctl(caller, termios.TIOCMBIC, struct.pack("i", termios.TIOCM_DTR))
expect(called, b"NO CARRIER\\r\\n")
assert not lines(called) & termios.TIOCM_CD
print("done")
"""


def test_a_call_by_hand(common: Guest, bench: Plug) -> None:
    bench.conexant("C1", "--number 200")
    common.until("test -c /dev/ttyACM0")
    bench.conexant("S1", "--number 100")
    common.until("test -c /dev/ttyACM1")
    assert common.python(BY_HAND) == "done\n"
    assert bench("show S1")["state"] == "idle"


def test_pppd_and_chat_reach_a_service(common: Guest, bench: Plug) -> None:
    common.run("ip netns add net && ip -n net link set lo up")
    common.write("/etc/netns/net/ppp/options", "")
    common.write("/etc/netns/net/ppp/pap-secrets", '"web" * "correct horse" *\n', 0o600)
    pppd = "ip netns exec net pppd nodetach local require-pap 10.64.64.64:10.64.64.65 ms-dns 10.64.64.53"
    bench(f"service '*99#' --command '{pppd}'")
    bench("clear")
    common.until("! ls /dev/ttyACM* 2>/dev/null")
    bench.conexant("C2", "--number 201")
    common.until("test -c /dev/ttyACM0")
    common.write("/etc/ppp/options", "")
    common.write("/tmp/chat", "TIMEOUT 10 '' ATZ OK ATE0 OK 'ATDT*99#' CONNECT ''\n")
    pid = common.spawn(
        "pppd",
        "pppd /dev/ttyACM0 115200 nodetach noauth debug lcp-restart 1 noipdefault nodefaultroute "
        "user web password 'correct horse' connect 'chat -v -s -f /tmp/chat'",
    )
    common.until("ip -4 addr show ppp0 2>/dev/null | grep 10.64.64.65")
    common.run("ping -c 3 -i 0.2 -W 5 10.64.64.64")
    common.run(f"kill {pid}")
    assert common.wait(pid, 20) == 5
    common.until("! ip netns exec net ip link show ppp0")
