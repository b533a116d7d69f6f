"""The sessions tcp, exec and client over a pseudo-terminal, with real children and real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
from pathlib import Path

import pytest
from session_line import FACTS, PORT_GONE, LostLine, Record, line, run

from dialupd.config.values import ClientSession, ExecSession, PppSession, TcpSession
from dialupd.config.values import Session as SessionConfig
from dialupd.model import DialupError, EndReason, ErrorKind, SessionState
from dialupd.sessions import client, output, relay, tcp, terminal
from dialupd.sessions.base import CallFacts, Line, RuntimePaths, Session, SessionEnd
from dialupd.sessions.exec import ExecCall
from dialupd.sessions.start import make_session


def make(config: SessionConfig, pty: Line, record: Record, facts: CallFacts = FACTS) -> Session:
    return make_session(config, pty, facts, record, RuntimePaths("/nonexistent"))


def sh(script: str) -> ExecSession:
    return ExecSession("menu", ("/bin/sh", "-c", script))


def test_exec_has_a_cooked_terminal_and_the_callers_facts() -> None:
    script = (
        'test -t 0 && test -t 1 && test -t 2 && exec 3<>/dev/tty && read name && echo "hi $name '
        '$CALLER_ID/$CALLER_NAME/$CONNECT/$DEVICE/$DIALUPD_CALL/$TERM" && exit 4'
    )

    async def test() -> None:
        record = Record()
        with line() as pty:
            session = make(sh(script), pty, record)
            running = asyncio.create_task(session.run())
            await pty.send(b"Ann\r")
            got = await pty.receive(lambda got: b"vt100\r\n" in got)
            assert got == b"Ann\r\nhi Ann 5551212//33600/ARQ/ttyACM0/3/vt100\r\n"  # with the terminal's echo
            end = await running
            assert end.reason is EndReason.SESSION_ENDED
            assert "exit status 4" in end.detail
            assert record.states == [SessionState.STARTING, SessionState.RUNNING]
            assert (record.all.rx_bytes, record.all.tx_bytes) == (4, len(got))
            with pytest.raises(DialupError) as refused:
                session.open()
            assert refused.value.kind is ErrorKind.UNSUPPORTED

    run(test)


def test_exec_without_a_user_is_ours() -> None:
    """Nothing is set that only root may set; HOME and the like do not come from the daemon's own environment."""
    us = pwd.getpwuid(os.geteuid())

    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(sh("echo $HOME $USER $LOGNAME $(id -un)"), pty, Record()).run())
            got = await pty.receive(lambda got: got.endswith(b"\r\n"))
            assert got.decode().split() == [us.pw_dir, us.pw_name, us.pw_name, us.pw_name]
            await running

    run(test)


def test_exec_is_8_bit_clean_once_raw() -> None:
    blob = bytes(range(256)) * 40

    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(sh("stty raw -echo; echo go; exec cat"), pty, Record()).run())
            await pty.receive(lambda got: b"go" in got)
            sending = asyncio.create_task(pty.send(blob))
            assert (await pty.receive(lambda got: len(got) >= len(blob))) == blob
            await sending
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)


def test_exec_last_words_with_a_background_process_on_the_terminal() -> None:
    async def test() -> None:
        with line() as pty:
            # It inherits that HUP is ignored, and so keeps the terminal open behind the program's end.
            script = (
                "trap '' HUP; sleep 600 </dev/null & echo $! >&2; trap - HUP; "
                "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done"
            )
            running = asyncio.create_task(make(sh(script + "; echo good bye"), pty, Record()).run())
            got = await pty.receive(lambda got: b"good bye\r\n" in got)
            assert b"line 499\r\n" in got
            assert (await running).reason is EndReason.SESSION_ENDED
            os.kill(int(got.split()[0]), 9)

    run(test)


@pytest.mark.parametrize("shows_carrier", [True, False])
def test_exec_ends_with_the_carrier(shows_carrier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SILENCE", 0.05)
    told = tmp_path / "told"

    async def test() -> None:
        with line(shows_carrier=shows_carrier) as pty:
            script = f"trap 'echo HUP >{told}; exit 1' HUP; echo ready; while :; do sleep 0.05; done"
            running = asyncio.create_task(make(sh(script), pty, Record()).run())
            await pty.receive(lambda got: b"ready" in got)
            if shows_carrier:
                pty.hang_up()
            else:
                await pty.send(b"\r\nNO CARRIER\r\n")
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)
    assert told.read_text() == "HUP\n"


def test_exec_that_will_not_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the hang-up SIGHUP, then SIGTERM, then SIGKILL."""
    monkeypatch.setattr(terminal, "_LEAVING", 0.3)
    monkeypatch.setattr(terminal, "_DYING", 0.3)
    told = tmp_path / "told"

    async def test() -> None:
        with line() as pty:
            script = (
                f"trap 'echo HUP >>{told}' HUP; trap 'echo TERM >>{told}' TERM; echo $$; "
                "while :; do sleep 0.05 </dev/null >/dev/null; done 2>/dev/null"
            )
            running = asyncio.create_task(make(sh(script), pty, Record()).run())
            pid = int(await pty.receive(lambda got: got.endswith(b"\n")))
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    run(test)
    said = told.read_text().split()
    assert (said[0], said[-1]) == ("HUP", "TERM")


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
def test_exec_shares_a_serial_console() -> None:
    """The program is a console server's: a caller talks to what is on another port, 8-bit clean."""
    blob = bytes(range(256)) * 8

    async def test() -> None:
        with line() as pty, line() as console:
            program = ("socat", "-,raw,echo=0", f"{console.path},b9600,raw,echo=0,nonblock")
            running = asyncio.create_task(make(ExecSession("console", program), pty, Record()).run())
            await console.send(b"router login: ")
            assert await pty.receive(lambda got: got.endswith(b": ")) == b"router login: "
            await pty.send(blob)
            assert await console.receive(lambda got: len(got) >= len(blob)) == blob
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP

    run(test)


def test_exec_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        with line() as pty:
            session = make(sh("trap 'echo sorry; exit' HUP; echo ready; while :; do sleep 0.05; done"), pty, Record())
            running = asyncio.create_task(session.run())
            await pty.receive(lambda got: b"ready" in got)
            session.stop(EndReason.MAX_DURATION)
            session.stop(EndReason.SHUTDOWN)
            await pty.receive(lambda got: b"sorry\r\n" in got)
            assert (await running).reason is EndReason.MAX_DURATION

    run(test)


def test_exec_cancelled_kills_the_child() -> None:
    async def test() -> None:
        with line() as pty:
            running = asyncio.create_task(make(sh("trap '' HUP TERM; echo $$; sleep 600"), pty, Record()).run())
            pid = int(await pty.receive(lambda got: got.endswith(b"\n")))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    run(test)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (ExecSession("x", ("/no/such/program",)), "/no/such/program"),
        (ExecSession("x", ("/bin/sh",), user="no-such-user"), "no-such-user"),
    ],
)
def test_exec_that_cannot_start_tells_the_caller(config: ExecSession, word: str) -> None:
    async def test() -> None:
        with line() as pty:
            end = await make(config, pty, Record()).run()
            assert end.reason is EndReason.SESSION_FAILED
            assert word in end.detail
            assert b"not available" in pty.left()

    run(test)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_exec_as_another_user() -> None:
    async def test() -> None:
        with line() as pty:
            config = ExecSession("menu", ("/bin/sh", "-c", "id -un; : <$(tty) && echo mine"), user="nobody")
            running = asyncio.create_task(make(config, pty, Record()).run())
            assert await pty.receive(lambda got: b"mine" in got) == b"nobody\r\nmine\r\n"
            await running

    run(test)


def test_exec_environment_is_printable_and_bounded() -> None:
    facts = CallFacts(3, "m", "/dev/ttyS0", FACTS.direction, caller_id="\x1b[2J$(id)\n" + "9" * 500, caller_name="\0x")
    found = terminal.environment(facts, "menu")
    assert found["CALLER_ID"].startswith("[2J$(id)999") and len(found["CALLER_ID"]) == 80
    assert found["CALLER_NAME"] == "x"
    assert terminal.environment(CallFacts(3, "m", "/dev/ttyS0", FACTS.direction), "menu")["CALLER_ID"] == "none"


async def service(words: bytes) -> tuple[asyncio.Server, TcpSession]:
    """A TCP service that echoes, and ends a connection at `words`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome\r\n")
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
            if words in data:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, TcpSession("bbs", "127.0.0.1", server.sockets[0].getsockname()[1])


def test_tcp() -> None:
    async def test() -> None:
        server, config = await service(b"quit")
        async with server:
            record = Record()
            with line() as pty:
                running = asyncio.create_task(make(config, pty, record).run())
                await pty.send(b"\x00\xff\x11\x13")
                await pty.receive(lambda got: got == b"welcome\r\n\x00\xff\x11\x13")
                await pty.send(b"quit")
                assert (await running).reason is EndReason.SESSION_ENDED
                assert pty.left() == b"quit"
                assert record.states[-1] is SessionState.RUNNING
                assert (record.all.rx_bytes, record.all.tx_bytes) == (8, 17)

    run(test)


def test_tcp_hangup_and_stop() -> None:
    async def test() -> None:
        server, config = await service(b"quit")
        async with server:
            with line() as pty:
                running = asyncio.create_task(make(config, pty, Record()).run())
                await pty.receive(lambda got: b"welcome" in got)
                pty.hang_up()
                assert (await running).reason is EndReason.REMOTE_HANGUP
            with line() as pty:
                session = make(config, pty, Record())
                running = asyncio.create_task(session.run())
                await pty.receive(lambda got: b"welcome" in got)
                session.stop(EndReason.LOCAL_HANGUP)
                assert (await running).reason is EndReason.LOCAL_HANGUP

    run(test)


def test_tcp_refused_tells_the_caller() -> None:
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
            config = TcpSession("bbs", "127.0.0.1", unused.getsockname()[1])
            with line() as pty:
                end = await make(config, pty, Record()).run()
                assert end.reason is EndReason.SESSION_FAILED
                assert "refused" in end.detail and "is the service running?" in end.detail
                assert pty.left() == b"\r\nThe service cannot be reached now. Please call again later.\r\n"

    run(test)


@pytest.fixture
def silent_service(monkeypatch: pytest.MonkeyPatch) -> TcpSession:
    """A service that never accepts: connecting waits."""

    async def never(sock: socket.socket, address: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", staticmethod(never))
    return TcpSession("bbs", "127.0.0.1", 9)


def test_tcp_without_answer(silent_service: TcpSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "PATIENCE", 0.05)

    async def test() -> None:
        with line() as pty:
            end = await make(silent_service, pty, Record()).run()
            assert end.reason is EndReason.SESSION_FAILED
            assert "in time" in end.detail

    run(test)


def test_tcp_stopped_and_cancelled_while_connecting(silent_service: TcpSession) -> None:
    async def test() -> None:
        with line() as pty:
            record = Record()
            session = make(silent_service, pty, record)
            running = asyncio.create_task(session.run())
            await record.state(SessionState.STARTING)
            session.stop(EndReason.SHUTDOWN)
            assert (await running).reason is EndReason.SHUTDOWN
            running = asyncio.create_task(make(silent_service, pty, Record()).run())
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    run(test)


@pytest.mark.parametrize("config", [sh("echo no"), ClientSession("stream"), TcpSession("bbs", "127.0.0.1", 9)])
def test_stopped_before_it_runs(config: SessionConfig) -> None:
    async def test() -> None:
        with line() as pty:
            session = make(config, pty, Record())
            session.stop(EndReason.SHUTDOWN)
            assert (await session.run()).reason is EndReason.SHUTDOWN
            assert pty.left() == b""

    run(test)


@pytest.mark.parametrize("error", [PORT_GONE, OSError(5, "Input/output error")], ids=["closed", "hung-up"])
@pytest.mark.parametrize("kind", ["exec", "client", "tcp", "ppp"])
def test_a_port_that_is_lost_at_the_start(kind: str, error: Exception, tmp_path: Path) -> None:
    async def test() -> None:
        server, service_config = await service(b"quit")
        configs: dict[str, SessionConfig] = {
            "exec": sh(f"touch {tmp_path}/ran"),
            "client": ClientSession("stream"),
            "tcp": service_config,
            "ppp": PppSession("p"),
        }
        async with server:
            with contextlib.closing(LostLine(error)) as pty:
                session = make(configs[kind], pty, Record())
                end = await session.run()
                assert end == SessionEnd(EndReason.REMOTE_HANGUP, "the line was hung up before the session began")
                assert session.counts() == (0, 0)

    run(test)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_lost_before_the_last_words() -> None:
    async def test() -> None:
        with contextlib.closing(LostLine(PORT_GONE, dups=1)) as pty:
            end = await make(ExecSession("x", ("/no/such/program",)), pty, Record()).run()
            assert end.reason is EndReason.SESSION_FAILED

    run(test)


def test_client() -> None:
    async def test() -> None:
        with line(early=b"NAME") as pty:
            record = Record()
            session = make(ClientSession("stream"), pty, record)
            with pytest.raises(DialupError) as refused:
                session.open()
            assert refused.value.kind is ErrorKind.WRONG_STATE
            running = asyncio.create_task(session.run())
            await record.state(SessionState.STARTING)
            await pty.send(b": ")
            stream = socket.socket(fileno=session.open())
            stream.setblocking(False)
            with pytest.raises(DialupError) as refused:
                session.open()
            assert refused.value.kind is ErrorKind.IN_PROGRESS
            loop = asyncio.get_running_loop()
            got = b""
            while len(got) < 6:
                got += await loop.sock_recv(stream, 10)
            assert got == b"NAME: "
            stream.send(b"Ann")
            assert await pty.receive(lambda got: len(got) == 3) == b"Ann"
            assert session.counts() == (6, 3)
            stream.close()
            assert (await running).reason is EndReason.SESSION_ENDED
            assert record.states == [SessionState.STARTING, SessionState.RUNNING]
            with pytest.raises(DialupError) as refused:
                session.open()
            assert refused.value.kind is ErrorKind.WRONG_STATE

    run(test)


def test_client_hangup_gives_end_of_file() -> None:
    async def test() -> None:
        with line() as pty:
            record = Record()
            session = make(ClientSession("stream"), pty, record)
            running = asyncio.create_task(session.run())
            await record.state(SessionState.STARTING)
            await asyncio.sleep(0)
            stream = socket.socket(fileno=session.open())
            pty.hang_up()
            assert (await running).reason is EndReason.REMOTE_HANGUP
            assert stream.recv(1) == b""
            stream.close()

    run(test)


def test_client_that_shuts_down_its_sending_side() -> None:
    """All that it wrote goes out, then the call ends."""
    words = b"w" * 50_000

    async def test() -> None:
        with line() as pty:
            record = Record()
            session = make(ClientSession("stream"), pty, record)
            running = asyncio.create_task(session.run())
            await record.state(SessionState.STARTING)
            await asyncio.sleep(0)
            with socket.socket(fileno=session.open()) as stream:
                stream.setblocking(False)
                sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(stream, words))
                got = await pty.receive(lambda got: len(got) > 1000)
                sending.add_done_callback(lambda _: stream.shutdown(socket.SHUT_WR))
                got += await pty.receive(lambda more: len(got) + len(more) >= len(words))
                assert got == words
                assert (await running).reason is EndReason.SESSION_ENDED

    run(test)


def test_client_whose_words_nobody_takes_any_more_gets_an_end_and_no_error() -> None:
    async def test() -> None:
        with line() as pty:
            record = Record()
            session = make(ClientSession("stream"), pty, record)
            running = asyncio.create_task(session.run())
            await record.state(SessionState.STARTING)
            await asyncio.sleep(0)
            with socket.socket(fileno=session.open()) as stream:
                stream.setblocking(False)
                with contextlib.suppress(BlockingIOError):  # all buffers are full
                    while True:
                        stream.send(b"x" * 4096)
                pty.hang_up()
                assert (await running).reason is EndReason.REMOTE_HANGUP
                assert stream.recv(1) == b""

    run(test)


def test_client_that_nobody_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.05)

    async def test() -> None:
        with line() as pty:
            end = await make(ClientSession("stream"), pty, Record()).run()
            assert end.reason is EndReason.SESSION_FAILED
            assert "nobody opened" in end.detail

    run(test)


def test_farewell_gives_up_on_a_line_that_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "STALL", 0.05)

    async def test() -> None:
        ours, theirs = socket.socketpair()  # a socket tells unsent bytes through the same ioctl as a tty
        ours.send(b"unread")
        async with asyncio.timeout(5):
            await output.output_sent(ours.fileno(), asyncio.Event())
        ours.close()
        theirs.close()

    run(test)


def test_a_program_that_begins_while_we_fail_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as for want of descriptors: nothing may be left on the line."""

    def no_more(_call: object, _terminal: str) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(ExecCall, "_began", no_more)

    async def test() -> None:
        with line() as pty:
            before = set(os.listdir("/proc/self/fd"))
            with pytest.raises(OSError, match="Too many"):
                await make(sh("exec sleep 600"), pty, Record()).run()
            assert set(os.listdir("/proc/self/fd")) == before

    run(test)
