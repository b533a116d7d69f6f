"""The files of the configuration on a disk."""

from __future__ import annotations

import logging
import os
import re
import stat
from pathlib import Path

import pytest

from dialupd.config.problems import ConfigError
from dialupd.config.values import Config
from dialupd.io.configfile import keep, read_config, read_config_or_last_good, read_last_good


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


class Place:
    """A directory with a configuration, and where its copy is kept."""

    def __init__(self, root: Path) -> None:
        self.path = str(root / "etc" / "dialupd.toml")
        self.kept = str(root / "run" / "dialupd-config" / "last-good.json")
        self.fragments = root / "etc" / "conf.d"
        self.fragments.mkdir(parents=True)
        self.write("[[modem]]\nname = 'one'\nmatch.vendor = '0572'\n")
        self.fragment("[[modem]]\nname = 'two'\nmatch.vendor = '0421'\n")

    def write(self, text: str) -> None:
        Path(self.path).write_text(text)

    def fragment(self, text: str) -> None:
        (self.fragments / "10.toml").write_text(text)

    def keep(self) -> Config:
        return keep(self.path, self.kept)

    def read(self) -> list[str]:
        return [modem.name for modem in read_config_or_last_good(self.path, self.kept).modems]

    def modes(self, main: int, fragment: int, main_place: int = 0o755, fragments: int = 0o755) -> str:
        """Keep a copy of files with these modes in directories with those, and say its mode."""
        (self.fragments / "10.toml").chmod(fragment)
        self.fragments.chmod(fragments)
        Path(self.path).chmod(main)
        Path(self.path).parent.chmod(main_place)
        self.keep()
        return f"{stat.S_IMODE(os.stat(self.kept).st_mode):o}"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_mistake_leaves_the_last_good_configuration_in_force(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.keep()
    assert place.read() == ["one", "two"]
    place.fragment("[[modem]]\nnaem = 'three'\n")
    with caplog.at_level("WARNING", "dialupd"):
        logging.getLogger("dialupd").addHandler(caplog.handler)
        assert place.read() == ["one", "two"]
        logging.getLogger("dialupd").removeHandler(caplog.handler)
    assert "did you mean 'name'" in caplog.text and "the last good configuration is used" in caplog.text
    with pytest.raises(ConfigError):
        place.keep()
    assert place.read() == ["one", "two"], "a mistake does not spoil the copy"
    place.fragment("[[modem]]\nname = 'three'\nmatch.vendor = '0421'\n")
    assert place.read() == ["one", "three"], "what stands there now comes first"


def test_without_a_copy_a_mistake_is_told(place: Place) -> None:
    place.write("x = 1")
    with pytest.raises(ConfigError, match="x: is not a known key"):
        place.read()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"/etc/other.toml": ""}', '{"PATH": "x = 1"}'])
def test_a_copy_that_is_of_no_use_is_none(place: Place, text: str) -> None:
    place.keep()
    Path(place.kept).write_text(text.replace("PATH", place.path))
    assert read_last_good(place.path, place.kept) is None


def test_a_copy_is_whole_or_not_there(place: Place) -> None:
    place.keep()
    first = os.stat(place.kept)
    place.keep()
    assert os.stat(place.kept).st_ino == first.st_ino, "the same again is not written again"
    Path(place.kept + ".new").write_text("left by a crash")
    place.write("")
    place.keep()
    assert place.read() == ["two"]
    assert os.listdir(os.path.dirname(place.kept)) == ["last-good.json"]


def test_a_copy_is_readable_for_no_more_than_every_original(place: Place) -> None:
    assert place.modes(0o644, 0o644) == "644"
    assert place.modes(0o644, 0o600) == "600"
    assert place.modes(0o644, 0o640) == "640"
    assert place.modes(0o640, 0o644) == "640"
    assert place.modes(0o604, 0o644) == "604"
    assert place.modes(0o644, 0o644, fragments=0o750) == "640"
    assert place.modes(0o644, 0o644, main_place=0o700) == "600"


def test_a_copy_of_a_linked_file_is_as_private_as_the_way_to_it(place: Place, tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "open").mkdir(parents=True)
    Path(place.path).rename(private / "open" / "modems.toml")
    Path(place.path).symlink_to(private / "open" / "modems.toml")
    assert place.modes(0o644, 0o644) == "644"
    private.chmod(0o700)
    assert place.modes(0o644, 0o644) == "600"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_a_copy_goes_to_the_group_that_reads_every_original(place: Place) -> None:
    os.chown(place.path, 0, 4)
    assert place.modes(0o640, 0o644) == "640"
    assert os.stat(place.kept).st_gid == 4
    os.chown(place.fragments / "10.toml", 0, 5)
    assert place.modes(0o640, 0o640) == "600"


@pytest.mark.parametrize("what", ["file", "fragment", "directory", "fragments"])
def test_root_obeys_nothing_that_others_may_write(place: Place, what: str) -> None:
    paths = {
        "file": Path(place.path),
        "fragment": place.fragments / "10.toml",
        "directory": place.fragments.parent,
        "fragments": place.fragments,
    }
    path = paths[what]
    path.chmod(path.stat().st_mode | stat.S_IWGRP)
    assert len(read_config(place.path).modems) == 2, "the daemon has no rights to lend"
    with pytest.raises(ConfigError, match=f"{re.escape(str(path))}: .*others than root may write it"):
        place.read()
    with pytest.raises(ConfigError, match="others than root may write it"):
        place.keep()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_root_obeys_no_other_owner_and_no_link_to_his_files(place: Place, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1000, 1000)
    (theirs / "x.toml").write_text("")
    (place.fragments / "20.toml").symlink_to(theirs / "x.toml")
    with pytest.raises(ConfigError, match=f"{re.escape(str(theirs))}: others than root may write it"):
        place.read()
    (place.fragments / "20.toml").unlink()
    os.chown(place.path, 1000, 1000)
    with pytest.raises(ConfigError, match=r"dialupd\.toml: cannot be read: others than root may write it"):
        place.read()


def test_a_copy_that_others_may_write_is_none(place: Place) -> None:
    place.keep()
    Path(place.kept).chmod(0o666)
    assert read_last_good(place.path, place.kept) is None
