"""Name servers put into a file and taken out again: what was there, and what others change meanwhile, stays."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.io import resolvconf
from dialupd.io.resolvconf import ResolvConfError, put, take_out, tidy, with_servers, without

HOME = "# mine\nsearch example.net\nnameserver 192.168.1.1\nnameserver 192.168.1.2\noptions edns0\n"
THERE = "lo"
"""An interface that every machine has."""


def servers(text: str) -> list[str]:
    """As the C library reads them."""
    return [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]


def test_the_far_end_s_are_the_only_ones_and_the_rest_stays() -> None:
    text = with_servers(HOME, "ppp0", ["10.0.0.53", "10.0.0.54"])
    assert servers(text) == ["10.0.0.53", "10.0.0.54"]
    assert "search example.net\n" in text
    assert "options edns0\n" in text
    assert without(text, lambda name: name == "ppp0") == HOME
    assert without(text, lambda name: name == "ppp1") == text


def test_new_ones_take_the_old_ones_place() -> None:
    text = with_servers(with_servers(HOME, "ppp0", ["10.0.0.53"]), "ppp0", ["10.0.0.54"])
    assert servers(text) == ["10.0.0.54"]
    assert without(text, lambda _: True) == HOME


@pytest.mark.parametrize("order", [("ppp0", "ppp1"), ("ppp1", "ppp0")])
def test_two_links(order: tuple[str, str]) -> None:
    servers_of = {"ppp0": "10.0.0.53", "ppp1": "10.1.0.53"}
    text = with_servers(with_servers(HOME, "ppp0", ["10.0.0.53"]), "ppp1", ["10.1.0.53"])
    assert servers(text) == ["10.1.0.53", "10.0.0.53"], "the last one that came up is first"
    text = without(text, lambda name: name == order[0])
    assert servers(text) == [servers_of[order[1]]]
    assert without(text, lambda name: name == order[1]) == HOME


def test_what_others_add_meanwhile_stays() -> None:
    text = with_servers(HOME, "ppp0", ["10.0.0.53"]) + "nameserver 9.9.9.9\n"
    assert without(text, lambda _: True) == HOME + "nameserver 9.9.9.9\n"


def test_a_file_that_others_have_written_anew_is_theirs() -> None:
    theirs = "nameserver 9.9.9.9\n"
    assert without(theirs, lambda _: True) == theirs


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=200))
def test_whatever_the_file_says_is_there_again(text: str) -> None:
    if "# dialupd" not in text:
        assert without(with_servers(text, "ppp0", ["10.0.0.53"]), lambda _: True) == text


def test_in_place(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(HOME)
    inode = file.stat().st_ino
    put(THERE, ["10.0.0.53"], file)
    assert servers(file.read_text()) == ["10.0.0.53"]
    tidy(file)
    assert servers(file.read_text()) == ["10.0.0.53"], "its interface is there"
    take_out(THERE, file)
    assert (file.read_text(), file.stat().st_ino) == (HOME, inode)


def test_what_a_killed_process_has_left_goes(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    for mend in (tidy, lambda path: put(THERE, ["10.1.0.53"], path), lambda path: take_out("ppp9", path)):
        file.write_text(with_servers(HOME, "gone0", ["10.0.0.53"]))
        mend(file)
        assert "10.0.0.53" not in file.read_text()
        take_out(THERE, file)
        assert file.read_text() == HOME


def test_files_that_are_left_alone(tmp_path: Path) -> None:
    file, link = tmp_path / "real", tmp_path / "link"
    file.write_text(HOME)
    link.symlink_to(file)
    with pytest.raises(ResolvConfError, match="symbolic link"):
        put(THERE, ["10.0.0.53"], link)
    with pytest.raises(ResolvConfError, match="No such file"):
        put(THERE, ["10.0.0.53"], tmp_path / "none")
    with pytest.raises(ResolvConfError, match="Is a directory"):
        put(THERE, ["10.0.0.53"], tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ResolvConfError, match="no file of name servers"):
        put(THERE, ["10.0.0.53"], tmp_path / "fifo")
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ResolvConfError, match="locked"):
            put(THERE, ["10.0.0.53"], file)
    assert file.read_text() == HOME
    tidy(tmp_path / "none")


def test_nothing_is_written_where_nothing_is_to_be_undone(tmp_path: Path) -> None:
    file, link = tmp_path / "real", tmp_path / "link"
    file.write_text(HOME)
    link.symlink_to(file)
    take_out("ppp0", link)
    tidy(link)
    with pytest.raises(ResolvConfError, match="symbolic link"):
        file.write_text(with_servers(HOME, "gone0", ["10.0.0.53"]))
        tidy(link)


def test_what_could_not_be_taken_out_again_is_not_put_in(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    text = "#" * (resolvconf.LONGEST - 1) + "\n"
    file.write_text(text)
    with pytest.raises(ResolvConfError, match="no room"):
        put(THERE, ["10.0.0.53"], file)
    assert file.read_text() == text
