"""The files of the configuration on a disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dialupd.config.problems import ConfigError
from dialupd.config.values import Config
from dialupd.io.configfile import read_config


def test_fragments_follow_in_order(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "dialupd.toml").write_text("[[modem]]\nname = 'main'\nmatch.vendor = '0572'\n")
    for name in ("20-b.toml", "10-a.toml"):
        (tmp_path / "conf.d" / name).write_text(f"[[modem]]\nname = '{name}'\nmatch.vendor = '0572'\n")
    (tmp_path / "conf.d" / "30-c.toml.dpkg-old").write_text("broken")
    (tmp_path / "conf.d" / ".hidden.toml").write_text("broken")
    config = read_config(str(tmp_path / "dialupd.toml"))
    assert [modem.name for modem in config.modems] == ["main", "10-a.toml", "20-b.toml"]


def test_no_fragments_are_needed(tmp_path: Path) -> None:
    (tmp_path / "dialupd.toml").write_text("")
    assert read_config(str(tmp_path / "dialupd.toml")) == Config()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        read_config(str(tmp_path / "nowhere.toml"))


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_what_is_no_file_neither_blocks_nor_passes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "dialupd.toml"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: "):
        read_config(str(path))


def test_a_file_that_never_ends_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "dialupd.toml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="cannot be read: it is not a regular file"):
        read_config(str(tmp_path / "dialupd.toml"))


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "dialupd.toml").write_text("#" * (2 << 20))
    with pytest.raises(ConfigError, match="at most 1048576"):
        read_config(str(tmp_path / "dialupd.toml"))


def test_a_fragment_that_cannot_be_read_is_told_with_the_other_errors(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "dialupd.toml").write_text("x = 1")
    (tmp_path / "conf.d" / "a.toml").symlink_to("nowhere")
    with pytest.raises(ConfigError) as caught:
        read_config(str(tmp_path / "dialupd.toml"))
    assert len(caught.value.problems) == 2


def test_a_name_with_a_nul_is_an_error() -> None:
    with pytest.raises(ConfigError):
        read_config("/x\0y")
