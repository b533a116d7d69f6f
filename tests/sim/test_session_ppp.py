"""The session ppp with a stand-in for pppd that speaks its log language; the real one needs a kernel with PPP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from session_line import FACTS, PORT_GONE, LostLine, Record, line, run

from dialupd.config.values import LoginStep, PppSession, Role
from dialupd.io.notify import Notifier
from dialupd.io.resolvconf import with_servers
from dialupd.model import EndReason, SessionState
from dialupd.sessions import autologin, ppp, relay
from dialupd.sessions.base import Line, RuntimePaths, Session
from dialupd.sessions.network import Network
from dialupd.sessions.start import make_session
from dialupd.system import ByHand

LINK_UP = """
say 'using channel 1' 'Using interface ppp7' 'Connect: ppp7 <--> /dev/pts/3' \
    'rcvd [LCP ConfReq id=0x1]' 'rcvd [CHAP Challenge id=0x1]' 'sent [IPCP ConfReq id=0x1 <addr 0.0.0.0>]' \
    'local  IP address 10.0.0.2' 'remote IP address 10.0.0.1' 'primary   DNS address 192.0.2.53'
"""

TAKES_THE_LINE = """
python3 -c 'import os, select
while select.select([0], [], [], 0)[0] and os.read(0, 4096): pass'
say 'Using interface ppp7' 'Connect: ppp7 <--> /dev/pts/3'
"""
"""Like the real one: what comes before its line discipline is in place is lost."""


class Lab:
    """A directory with programs of its own in front of PATH, and a run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run"
        self.run.mkdir(mode=0o700)
        self.bin = path / "bin"
        self.bin.mkdir()

    def program(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text('#!/bin/sh\nsay() { for line; do echo "$line" >&2; done; }\n' + script)
        file.chmod(0o755)

    def secret(self, text: str, mode: int = 0o600) -> str:
        file = self.path / "secret"
        file.write_text(text)
        file.chmod(mode)
        return str(file)

    def make(self, config: PppSession, pty: Line, record: Record) -> Session:
        return make_session(
            config, pty, FACTS, record, RuntimePaths(str(self.run), resolv_conf=self.path / "resolv.conf")
        )


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    return made


def test_a_port_that_is_lost_while_pppd_starts(lab: Lab) -> None:
    lab.program("pppd", LINK_UP + "head -c 4 >/dev/null; printf abc; sleep 600 & wait")

    async def test() -> None:
        record = Record()
        with contextlib.closing(LostLine(PORT_GONE, dups=1)) as pty:
            session = lab.make(PppSession("p"), pty, record)
            running = asyncio.create_task(session.run())
            await pty.send(b"here")
            await pty.receive(lambda got: got == b"abc")
            assert session.counts() == (4, 3)
            pty.hang_up()
            session.stop(EndReason.REMOTE_HANGUP)
            assert (await running).reason is EndReason.REMOTE_HANGUP
            assert (record.all.rx_bytes, record.all.tx_bytes) == (4, 3)

    run(test)


def test_a_call(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppp, "_QUIET", 0.05)
    config = PppSession("p", user="web", password_file=lab.secret("hunter2\n"), default_route=True, metric=5, dns=True)
    lab.program("ip", f'echo "ip $*" >>{lab.path}/tools')
    lab.program("resolvectl", f'echo "resolvectl $*" >>{lab.path}/tools; kill $(cat {lab.path}/sleeper)')
    lab.program(
        "pppd",
        f"""
        trap 'echo >{lab.path}/quiet' USR1
        tr '\\0' '\\n' </proc/$$/cmdline >{lab.path}/argv; env >{lab.path}/env
        ls -l "$2" >{lab.path}/mode; cp "$2" {lab.path}/copy
        sleep 600 & echo $! >{lab.path}/sleeper
        {LINK_UP}
        head -c 4
        while kill -0 $! 2>/dev/null || [ ! -e {lab.path}/quiet ]; do wait $!; done
        [ -e "$2" ] && say 'pppd: options are still there'
        say 'LCP terminated by peer' 'Sent 100 bytes, received 200 bytes.'
        exit 5
        """,
    )

    async def test() -> None:
        record = Record()
        with line() as pty:
            await pty.send(b"\xff\x00~}")
            running = asyncio.create_task(lab.make(config, pty, record).run())
            assert await pty.receive(lambda got: len(got) == 4) == b"\xff\x00~}"
            end = await running
        assert end.reason is EndReason.REMOTE_HANGUP, end
        assert record.states == [
            SessionState.STARTING,
            SessionState.ESTABLISH,
            SessionState.AUTHENTICATE,
            SessionState.NETWORK,
            SessionState.RUNNING,
            SessionState.TERMINATE,
        ]
        known = record.all
        assert (known.interface, known.local_address, known.remote_address) == ("ppp7", "10.0.0.2", "10.0.0.1")
        assert (known.dns, known.tx_bytes, known.rx_bytes) == (("192.0.2.53",), 100, 200)

    run(test)
    assert (lab.path / "tools").read_text().splitlines() == [
        "ip route add default dev ppp7 metric 5",
        "resolvectl dns ppp7 192.0.2.53",
    ]
    assert "hunter2" not in (lab.path / "argv").read_text() + (lab.path / "env").read_text()
    assert 'password "hunter2"' in (lab.path / "copy").read_text()
    assert (lab.path / "mode").read_text().startswith("-rw------- ")
    assert list(lab.run.iterdir()) == []


DNS_UP = LINK_UP.replace("ppp7", "lo")  # an interface that every machine has


def held_up(lab: Lab, lines: str, until: str) -> str:
    """A pppd that talks, and ends when the tools have done what the test waits for."""
    return f"{lines} while ! grep -q '{until}' {lab.path}/tools {lab.path}/resolv.conf; do sleep 0.02; done; exit 5"


def test_name_servers_by_resolvconf(lab: Lab) -> None:
    (lab.path / "resolv.conf").write_text("nameserver 192.168.1.1\n")
    lab.program("resolvectl", "say 'Unit dbus-org.freedesktop.resolve1.service not found.'; exit 1")
    lab.program("resolvconf", f'echo "resolvconf $* $(cat)" >>{lab.path}/tools')
    lab.program("pppd", held_up(lab, DNS_UP, "resolvconf -a"))

    async def test() -> None:
        with line() as pty:
            await lab.make(PppSession("p", dns=True), pty, Record()).run()

    run(test)
    assert (lab.path / "tools").read_text().splitlines() == [
        "resolvconf -a lo.dialupd nameserver 192.0.2.53",
        "resolvconf -d lo.dialupd ",
    ]
    assert (lab.path / "resolv.conf").read_text() == "nameserver 192.168.1.1\n"


@pytest.mark.parametrize("ends", ["by itself", "cancelled"])
def test_name_servers_by_the_file(lab: Lab, ends: str) -> None:
    file = lab.path / "resolv.conf"
    file.write_text("nameserver 192.168.1.1\n")
    for tool in ("resolvectl", "resolvconf"):
        lab.program(tool, "exit 1")
    last = "exit 5" if ends == "by itself" else "say 'Using interface ppp9'; sleep 600"
    lab.program("pppd", f"{DNS_UP} while ! grep -q '^nameserver 192.0.2.53' {file}; do sleep 0.02; done; {last}")

    async def test() -> None:
        record = Record()
        with line() as pty:
            running = asyncio.create_task(lab.make(PppSession("p", dns=True), pty, record).run())
            if ends == "by itself":
                assert (await running).reason is EndReason.SESSION_ENDED
                return
            await record.until(lambda known: known.interface == "ppp9")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    run(test)
    assert file.read_text() == "nameserver 192.168.1.1\n"


def test_name_servers_go_though_the_end_takes_too_long(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled while he tidies up tidies up all the same."""
    file = lab.path / "resolv.conf"
    file.write_text("nameserver 192.168.1.1\n")
    for tool in ("resolvectl", "resolvconf"):
        lab.program(tool, "exit 1")
    lab.program("pppd", f"{DNS_UP} while ! grep -q '^nameserver 192.0.2.53' {file}; do sleep 0.02; done; exit 5")
    network = Network.run

    async def test() -> None:
        leaving, may_leave = asyncio.Event(), asyncio.Event()

        async def slow(one: Network) -> None:
            try:
                await network(one)
            finally:
                leaving.set()
                await may_leave.wait()

        monkeypatch.setattr(Network, "run", slow)
        with line() as pty:
            running = asyncio.create_task(lab.make(PppSession("p", dns=True), pty, Record()).run())
            await leaving.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            may_leave.set()

    run(test)
    assert file.read_text() == "nameserver 192.168.1.1\n"


def test_name_servers_that_a_killed_process_has_left(lab: Lab) -> None:
    file = lab.path / "resolv.conf"
    lab.program("pppd", f"while grep -q 192.0.2.53 {file}; do sleep 0.02; done")

    async def test() -> None:
        with line() as pty:
            await lab.make(PppSession("p"), pty, Record()).run()

    file.write_text(with_servers("nameserver 192.168.1.1\n", "gone0", ["192.0.2.53"]))
    run(test)
    assert file.read_text() == "nameserver 192.168.1.1\n"
    file.write_text(with_servers("nameserver 192.168.1.1\n", "gone0", ["192.0.2.53"]))
    ByHand(RuntimePaths(str(lab.run), resolv_conf=file), Notifier({}))
    assert file.read_text() == "nameserver 192.168.1.1\n"


def test_name_servers_that_nobody_takes(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    (lab.path / "resolv.conf").symlink_to("/run/keeper/resolv.conf")
    for tool in ("resolvectl", "resolvconf"):
        lab.program(tool, f"say 'no {tool} today'; echo {tool} >>{lab.path}/tools; exit 1")
    lab.program("ip", f"say 'no routes today'; echo ip >>{lab.path}/tools; exit 1")
    lab.program("pppd", held_up(lab, DNS_UP, "resolvconf"))

    async def test() -> None:
        with line() as pty:
            await lab.make(PppSession("p", dns=True, routes=("10.0.0.0/8",)), pty, Record()).run()

    run(test)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "no route 10.0.0.0/8 dev lo: no routes today" in warnings[0]
    assert all(word in warnings[1] for word in ("192.0.2.53 are not used", "no resolvectl today", "/run/keeper/"))


@pytest.mark.parametrize("role", Role)
def test_routes(lab: Lab, role: Role) -> None:
    lab.program("ip", f'echo "ip $*" >>{lab.path}/tools')
    lab.program("pppd", held_up(lab, LINK_UP, "metric 700" if role is Role.CLIENT else "2001:db8"))

    async def test() -> None:
        config = PppSession("p", role, default_route=role is Role.CLIENT, routes=("10.0.0.0/8", "2001:db8::/32"))
        with line() as pty:
            await lab.make(config, pty, Record()).run()

    run(test)
    default = ["ip route add default dev ppp7 metric 700"] if role is Role.CLIENT else []
    assert (lab.path / "tools").read_text().splitlines() == [
        "ip route add 10.0.0.0/8 dev ppp7",
        "ip -6 route add 2001:db8::/32 dev ppp7",
        *default,
    ]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root has rights to give up, with util-linux"
)
def test_calls_with_the_rights_of_the_unit(tmp_path: Path) -> None:
    """In a unit of its own a session is root, and may do no more of what root may than to administer networks."""
    rights = ("--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs")
    tests = "test_a_call or test_stop_lets or test_pppd_that_hears or test_cancelled or test_stale"
    # A place of its own: tidying up where other runs have theirs takes rights that it has not.
    place = f"--basetemp={tmp_path / 'inside'}"
    pytest_itself = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", place, __file__, "-k", tests)
    done = subprocess.run(["setpriv", *rights, *pytest_itself], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pppd_is_not_disturbed_while_it_talks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppp, "_QUIET", 0.5)
    lab.program(
        "pppd",
        f"""
        trap 'say "rcvd [LCP EchoReq $talking]"; kill $!; exit 0' USR1
        sleep 600 &
        {LINK_UP}
        for talking in 1 2 3 4 5 6 7 8; do say 'rcvd [LCP EchoRep id=0x1]'; sleep 0.1; done
        talking=over
        while :; do wait $!; done
        """,
    )
    heard: list[str] = []
    monkeypatch.setattr(ppp, "is_detail", heard.append)

    async def test() -> None:
        with line() as pty:
            await lab.make(PppSession("p"), pty, Record()).run()

    run(test)
    assert "rcvd [LCP EchoReq over]" in heard


def test_stop_lets_pppd_say_goodbye(lab: Lab) -> None:
    lab.program("pppd", f"trap 'printf bye; exit 5' TERM\ntrap '' USR1\n{LINK_UP}\nwhile :; do sleep 0.02; done")

    async def test() -> None:
        record = Record()
        with line() as pty:
            session = lab.make(PppSession("p"), pty, record)
            running = asyncio.create_task(session.run())
            await record.state(SessionState.ESTABLISH)
            session.stop(EndReason.MAX_DURATION)
            session.stop(EndReason.SHUTDOWN)
            assert await pty.receive(lambda got: got == b"bye")
            assert (await running).reason is EndReason.MAX_DURATION

    run(test)


def test_pppd_that_hears_nothing_is_killed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppp, "_TERMINATING", 0.05)
    lab.program("pppd", "trap '' TERM USR1\nsay 'Using interface ppp7'\nwhile :; do sleep 0.02; done")

    async def test() -> None:
        record = Record()
        with line() as pty:
            session = lab.make(PppSession("p"), pty, record)
            running = asyncio.create_task(session.run())
            await record.until(lambda known: known.interface == "ppp7")
            session.stop(EndReason.LOCAL_HANGUP)
            assert (await running).reason is EndReason.LOCAL_HANGUP

    run(test)


def test_cancelled(lab: Lab) -> None:
    lab.program("pppd", "trap '' TERM\necho $$\nwhile :; do sleep 0.02; done")

    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(lab.make(PppSession("p"), pty, Record()).run())
            pid = int(await pty.receive(lambda got: got.endswith(b"\n")))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            with pytest.raises(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    run(test)
    assert list(lab.run.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "reason", "word"),
    [
        (
            "say 'rcvd [CHAP Failure id=0x1 \"Access denied\"]' 'CHAP authentication failed: Access denied' "
            "'CHAP authentication failed' 'Modem hangup' 'Connection terminated.'; exit 16",
            "auth-failed",
            "Access denied",
        ),
        (
            "say 'rcvd [LCP ConfReq id=0x1]' 'Remote message: Login incorrect'; exit 19",
            "auth-failed",
            "Login incorrect",
        ),
        ("say 'LCP: timeout sending Config-Requests'; exit 10", "peer-not-ppp", "nothing of PPP"),
        ("say \"pppd: In file x: unrecognized option 'frob'\"; exit 2", "session-failed", "frob"),
        ('say "Couldn\'t open the /dev/ppp device: No such file or directory"; exit 4', "session-failed", "kernel"),
        ("kill -9 $$", "session-failed", "signal 9"),
        ("exit 16", "remote-hangup", ""),
    ],
)
def test_ends(lab: Lab, script: str, reason: str, word: str) -> None:
    lab.program("pppd", script)

    async def test() -> None:
        with line() as pty:
            end = await lab.make(PppSession("p", Role.SERVER), pty, Record()).run()
        assert (end.reason.value, word in end.detail) == (reason, True), end

    run(test)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("CHAP authentication failed", EndReason.AUTH_FAILED),
        ("PAP peer authentication failed for web", EndReason.PEER_AUTH_FAILED),
        ("local  IP address 10.0.0.1", EndReason.REMOTE_HANGUP),
    ],
)
def test_the_owner_sees_the_carrier_go_first(lab: Lab, said: str, reason: EndReason) -> None:
    lab.program(
        "pppd",
        f"trap 'say \"Terminating on signal 15\"; exit 5' TERM; {LINK_UP} say '{said}' 'Using interface ppp8'; "
        "while :; do sleep 0.02; done",
    )

    async def test() -> None:
        record = Record()
        with line() as pty:
            session = lab.make(PppSession("p"), pty, record)
            running = asyncio.create_task(session.run())
            await record.until(lambda known: known.interface == "ppp8")
            session.stop(EndReason.REMOTE_HANGUP)
            assert (await running).reason is reason

    run(test)


def test_a_person_who_hangs_up_is_told_so(lab: Lab) -> None:
    lab.program(
        "pppd",
        f"trap 'exit 5' TERM; {LINK_UP} say 'CHAP authentication failed' 'Using interface ppp8'; "
        "while :; do sleep 0.02; done",
    )

    async def test() -> None:
        record = Record()
        with line() as pty:
            session = lab.make(PppSession("p"), pty, record)
            running = asyncio.create_task(session.run())
            await record.until(lambda known: known.interface == "ppp8")
            session.stop(EndReason.LOCAL_HANGUP)
            assert (await running).reason is EndReason.LOCAL_HANGUP

    run(test)


def test_no_pppd(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppp, "tool_environment", lambda: {"PATH": str(lab.bin)})

    async def test() -> None:
        with line() as pty:
            end = await lab.make(PppSession("p"), pty, Record()).run()
        assert end.reason is EndReason.SESSION_FAILED
        assert "pppd" in end.detail and "package ppp" in end.detail
        assert end.hopeless

    run(test)
    assert list(lab.run.iterdir()) == []


def test_secrets_that_are_none(lab: Lab) -> None:
    fifo = lab.path / "fifo"
    os.mkfifo(fifo, 0o600)
    cases = {
        lab.secret("x", 0o644): "chmod",
        str(lab.path): "regular",
        str(fifo): "regular",
        str(lab.path / "none"): "create it",
    }

    async def test() -> None:
        with line() as pty:
            for path, word in cases.items():
                end = await lab.make(PppSession("p", user="u", password_file=path), pty, Record()).run()
                assert end.reason is EndReason.SESSION_FAILED
                assert path in end.detail and word in end.detail
            long = lab.secret("x" * 300)
            end = await lab.make(PppSession("p", user="u", password_file=long), pty, Record()).run()
            assert "255" in end.detail and "xxx" not in end.detail

    run(test)


@pytest.mark.parametrize("shows_carrier", [True, False])
def test_login(lab: Lab, shows_carrier: bool) -> None:
    """The bytes behind the last expected text are pppd's."""
    lab.program("pppd", f"{TAKES_THE_LINE} head -c 6")
    config = PppSession(
        "p",
        user="{password}",
        password_file=lab.secret("pa{user}ss"),
        login=(LoginStep(("ogin:",), "{user}"), LoginStep(("word:",), "{password}"), LoginStep(("PPP ",), "go")),
    )

    async def test() -> None:
        record = Record()
        with line(shows_carrier=shows_carrier) as pty:
            running = asyncio.create_task(lab.make(config, pty, record).run())
            await pty.send(b"Welcome\r\nlogin: ")
            assert await pty.receive(lambda got: got.endswith(b"\r")) == b"{password}\r"
            await pty.send(b"{password}\r\nPassword:")
            assert await pty.receive(lambda got: got.endswith(b"\r")) == b"pa{user}ss\r"
            await pty.send(b"\r\nPPP ~\xff}#\xc0!")
            got = await pty.receive(lambda got: got.endswith(b"!"))
            assert got == b"go\r~\xff}#\xc0!"
            await running
            assert SessionState.LOGIN in record.states

    run(test)


def test_login_that_fails(lab: Lab) -> None:
    config = PppSession(
        "p",
        user="u",
        password_file=lab.secret("s3cret"),
        login=(LoginStep(("a:",), "{password}"), LoginStep(("b:",), "x")),
        login_timeout=0.1,
        login_abort=("no, no",),
    )

    async def test() -> None:
        with line() as pty:
            await pty.send(b"\x1b[2Jhello")
            end = await lab.make(config, pty, Record()).run()
            assert end.reason is EndReason.NEGOTIATION_FAILED
            assert '"a:"' in end.detail and "[2Jhello" in end.detail and "\x1b" not in end.detail
            await pty.send(b"a:s3cret")
            end = await lab.make(config, pty, Record()).run()
            assert '"b:"' in end.detail and "s3cret" not in end.detail
            await pty.send(b"a:s3cret no, no")
            end = await lab.make(config, pty, Record()).run()
            assert end.reason is EndReason.AUTH_FAILED
            assert "no, no" in end.detail and "s3cret" not in end.detail

    run(test)


def test_login_hung_up_and_stopped(lab: Lab) -> None:
    config = PppSession("p", login=(LoginStep(("never:",), "x"),))

    async def test() -> None:
        with line() as pty:
            record = Record()
            session = lab.make(config, pty, record)
            running = asyncio.create_task(session.run())
            await record.state(SessionState.LOGIN)
            session.stop(EndReason.LOCAL_HANGUP)
            assert (await running).reason is EndReason.LOCAL_HANGUP
            record = Record()
            running = asyncio.create_task(lab.make(config, pty, record).run())
            await record.state(SessionState.LOGIN)
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)


def test_hung_up_with_a_refusal(lab: Lab) -> None:
    config = PppSession("p", user="u", password_file=lab.secret("s3cret"), auto_login=True)

    async def test() -> None:
        with line() as pty:
            session = lab.make(config, pty, Record())
            running = asyncio.create_task(session.run())
            await pty.send(b"Password:")
            assert await pty.receive(lambda got: got.endswith(b"\r")) == b"s3cret\r"
            last = b"\r\nSorry, that is wrong."
            await pty.send(last)
            while session.counts()[0] < len(b"Password:" + last):  # noqa: ASYNC110 - counting tells nobody
                await asyncio.sleep(0)
            pty.hang_up()
            end = await running
            assert end.reason is EndReason.AUTH_FAILED, end

    run(test)


def test_auto_login(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """PPP begins at the first frame, and none of it is lost."""
    monkeypatch.setattr(autologin, "PAUSE", 0.05)
    frame = b"~\xff}#\xc0!}!}!} }4~"
    lab.program("pppd", f"{TAKES_THE_LINE} head -c {len(frame)}")
    config = PppSession("p", user="web", password_file=lab.secret("s3cret"), auto_login=True)

    async def test() -> None:
        record = Record()
        with line() as pty:
            running = asyncio.create_task(lab.make(config, pty, record).run())
            await pty.send(b"\r\nUsername: ")
            assert await pty.receive(lambda got: got.endswith(b"\r")) == b"web\r"
            await pty.send(b"web\r\nPassword: ")
            assert await pty.receive(lambda got: got.endswith(b"\r")) == b"s3cret\r"
            await pty.send(b"\r\nWelcome\r\n" + frame[:7])
            await pty.send(frame[7:])
            assert await pty.receive(lambda got: len(got) >= len(frame)) == frame
            await running
            assert SessionState.LOGIN in record.states

    run(test)


def test_a_frame_amid_the_steps_begins_ppp(lab: Lab) -> None:
    frame = b"~\xff\x03\xc0!\x01\x01\x00\x04~"
    lab.program("pppd", f"{TAKES_THE_LINE} head -c {len(frame)}")

    async def test() -> None:
        with line() as pty:
            config = PppSession("p", login=(LoginStep(("never:",), "x"),))
            running = asyncio.create_task(lab.make(config, pty, Record()).run())
            await pty.send(b"no login here" + frame)
            assert await pty.receive(lambda got: len(got) >= len(frame)) == frame
            await running

    run(test)


def test_port_without_modem_lines(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO CARRIER ends pppd's stream; what came early is first in it."""
    monkeypatch.setattr(relay, "SILENCE", 0.05)
    lab.program("pppd", f"{TAKES_THE_LINE} cat; exit 16")

    async def test() -> None:
        record = Record()
        with line(shows_carrier=False, early=b"~ea") as pty:
            running = asyncio.create_task(lab.make(PppSession("p"), pty, record).run())
            await pty.send(b"rly~")
            assert await pty.receive(lambda got: len(got) == 7) == b"~early~"
            await pty.send(b"\r\nNO CARRIER\r\n")
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)


def test_stale_options_of_an_earlier_run_are_replaced(lab: Lab) -> None:
    stale = lab.run / f"call-{FACTS.call}"
    stale.mkdir()
    (stale / "options").symlink_to(lab.path / "elsewhere")
    lab.program("pppd", f'cp "$2" {lab.path}/copy')

    async def test() -> None:
        with line() as pty:
            await lab.make(PppSession("p"), pty, Record()).run()

    run(test)
    assert not (lab.path / "elsewhere").exists()
    assert stat.S_ISREG((lab.path / "copy").stat().st_mode)
