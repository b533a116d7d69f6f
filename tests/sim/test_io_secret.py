"""Secrets from real files: whose they may be, who may read them, and what leads to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dialupd.config.values import ModemEntry
from dialupd.io import secret
from dialupd.io.secret import SecretError, read_credential, read_file
from dialupd.modem.probe import ProbeError
from dialupd.modem.ready import pin_of

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def made(path: Path, text: bytes = b"hunter2\n", mode: int = 0o600) -> Path:
    path.write_bytes(text)
    path.chmod(mode)
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(SecretError) as error:
        read_file("password-file", str(path))
    assert str(path) in str(error.value)
    assert "hunter2" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "secret_in_it"),
    [
        (b"hunter2", b"hunter2"),
        (b"hunter2\r\nmore", b"hunter2"),
        (b" p\xff \n", b" p\xff "),
        (b"\xc3\xa4\n", b"\xc3\xa4"),
    ],
)
def test_the_first_line_is_the_secret(tmp_path: Path, text: bytes, secret_in_it: bytes) -> None:
    assert read_file("password-file", str(made(tmp_path / "s", text))) == secret_in_it


@pytest.mark.parametrize(
    ("text", "word"),
    [(b"", "empty"), (b"\nhunter2\n", "empty"), (b"hunter2\0\n", "NUL")],
    ids=["nothing", "later", "nul"],
)
def test_what_is_no_secret(tmp_path: Path, text: bytes, word: str) -> None:
    assert word in refused(made(tmp_path / "s", text))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o610, 0o644, 0o660])
def test_a_file_that_others_may_use(tmp_path: Path, mode: int) -> None:
    path = made(tmp_path / "s", mode=mode)
    assert f"chmod 0600 {path}" in refused(path)


@as_root
def test_a_group_may_read_if_it_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "s", mode=0o640)
    os.chown(path, 0, NOBODY)
    assert "not the daemon's" in refused(path)
    monkeypatch.setattr(secret, "GROUP", "nogroup")
    assert read_file("pin-file", str(path)) == b"hunter2"
    os.chown(path, NOBODY, NOBODY)
    assert "chown root" in refused(path)


@as_root
def test_a_file_of_another_user(tmp_path: Path) -> None:
    path = made(tmp_path / "s")
    os.chown(path, NOBODY, -1)
    assert f"chown root {path}" in refused(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "regular" in refused(tmp_path / "fifo")
    assert "regular" in refused(tmp_path)
    assert "regular" in refused("/")
    assert "create it" in refused(tmp_path / "none")
    assert "create it" in refused(tmp_path / "none" / "s")


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link that others may set leads to a file of root's that they may not read."""
    real = tmp_path / "real"
    real.mkdir()
    path = made(real / "s")
    (tmp_path / "s").symlink_to(path)
    (tmp_path / "way").symlink_to(real)
    for wrong in (tmp_path / "s", tmp_path / "way" / "s"):
        assert f"symbolic link, which is not followed; name {tmp_path}/real" in refused(wrong)
    assert read_file("password-file", f"{real}/../real/./s") == b"hunter2"


def test_a_directory_that_others_may_write_to(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    path = made(tmp_path / "d" / "s")
    for mode in (0o777, 0o770, 0o702):
        (tmp_path / "d").chmod(mode)
        assert f"chmod go-w {tmp_path}/d" in refused(path)
    (tmp_path / "d").chmod(0o1777)
    assert read_file("password-file", str(path)) == b"hunter2"


@as_root
def test_a_directory_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    path = made(tmp_path / "d" / "s")
    os.chown(tmp_path / "d", NOBODY, -1)
    assert f"chown root {tmp_path}/d" in refused(path)


def test_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(
        SecretError, match=r"isp: systemd gave us no credentials; give it by `systemctl edit u\.service`"
    ):
        read_credential("password-credential", "isp", "u.service")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SecretError, match="LoadCredential=isp:"):
        read_credential("password-credential", "isp", "u.service")
    made(tmp_path / "isp", b"hunter2\n", 0o440)
    assert read_credential("password-credential", "isp", "u.service") == b"hunter2"
    made(tmp_path / "empty", b"")
    with pytest.raises(SecretError, match="password-credential empty: its first line is empty"):
        read_credential("password-credential", "empty", "u.service")


def test_the_pin_of_a_modem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pin_of(ModemEntry()) == ""
    path = made(tmp_path / "pin", b"1234\n")
    assert pin_of(ModemEntry(pin_file=str(path))) == "1234"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert pin_of(ModemEntry(pin_credential="pin")) == "1234"
    made(path, b"12345678901\n")
    with pytest.raises(ProbeError, match=r"^pin-credential pin holds no PIN of four to eight digits$"):
        pin_of(ModemEntry(pin_credential="pin"))
    path.chmod(0o644)
    with pytest.raises(ProbeError, match="open to others"):
        pin_of(ModemEntry(pin_file=str(path)))
