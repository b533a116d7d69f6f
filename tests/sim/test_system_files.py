"""dialupd-system-files: from the wheel onto a system below a directory, and back."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dialupd.system_files import places
from dialupd.system_files.__main__ import main
from dialupd.system_files.places import File, Installation, RefusedError, wanted
from dialupd.system_files.placing import MANIFEST, System

ROOT = Path(__file__).parents[2]
OPT = Installation("/opt/dialupd/bin/python3", "/opt/dialupd/bin")
UNIT = "usr/local/lib/systemd/system/dialupd.service"
CONFIGURATION = "etc/dialupd/dialupd.toml"


def files_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, built from a copy: a build leaves files in its tree."""
    base = tmp_path_factory.mktemp("wheel")
    names = ("dialupd", "systemd", "dbus", "udev", "docs", "pyproject.toml", "README.md", "LICENSE")
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, base / "tree" / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, base / "tree" / name)
    argv = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", base, "."]
    done = subprocess.run(argv, cwd=base / "tree", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = base.glob("dialupd-*.whl")
    zipfile.ZipFile(built).extractall(base / "site")
    return base / "site"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "root"


def install(root: Path, files: list[File] | None = None) -> list[str]:
    """Install; what was kept."""
    system = System(root)
    system.install(list(wanted(OPT)) if files is None else files)
    return system.kept


def remove(root: Path) -> list[str]:
    system = System(root)
    system.remove()
    return system.kept


def test_the_wheel_has_the_program_and_all_that_goes_with_it(wheel: Path) -> None:
    tree = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dialupd").rglob("*")
        if path.suffix in (".py", ".xml") and "share" not in path.parts
    }
    for name, source in {
        "completion": "docs/completion",
        "systemd": "systemd",
        "dbus": "dbus",
        "udev": "udev",
        "example": "docs/example",
        "man": "docs/man",
    }.items():
        tree |= {f"dialupd/system_files/share/{name}/{path.name}" for path in (ROOT / source).iterdir()}
    there = {path.relative_to(wheel).as_posix() for path in (wheel / "dialupd").rglob("*") if path.is_file()}
    assert there == tree
    entries = next(wheel.glob("dialupd-*.dist-info")).joinpath("entry_points.txt").read_text()
    assert set(re.findall(r"^([\w-]+) =", entries, re.MULTILINE)) == {
        "dialupd", "dialupctl", "dialup-exchange", "dialupd-system-files",
    }  # fmt: skip


def test_from_the_wheel_onto_the_system_and_back(wheel: Path, root: Path) -> None:
    def run(command: str) -> str:
        argv = [sys.executable, "-m", "dialupd.system_files", command, "--root", str(root)]
        done = subprocess.run(argv, cwd=wheel, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    before = run("list")
    count = len(list(wanted(OPT)))
    assert len(re.findall(r"^ +not there  ", before, re.MULTILINE)) == count + 2  # and two directories
    assert "kept" not in run("install")
    assert run("list") == before.replace("not there", "installed")
    assert len(files_below(root)) == count + 1  # and the manifest
    run("remove")
    assert not root.exists()


def test_the_units_run_this_installation(root: Path) -> None:
    install(root)
    units = [path.read_text() for path in (root / UNIT).parent.iterdir()]
    programs = {argv0 for text in units for argv0 in re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)}
    assert programs == {"/opt/dialupd/bin/python3", "/opt/dialupd/bin/dialupd"}
    assert not any(re.search(r"/usr/bin/(python3|dialupd)\b", text) for text in units)
    assert (root / "usr/local/bin/dialupctl").readlink() == Path("/opt/dialupd/bin/dialupctl")


def test_secrets_are_for_root_alone(root: Path) -> None:
    install(root)
    assert (root / "etc/dialupd/secrets").stat().st_mode & 0o777 == 0o700
    assert (root / "etc/dialupd").stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in (root / UNIT).parent.iterdir()} == {0o644}


def test_twice_is_as_once(root: Path) -> None:
    install(root)
    there = files_below(root)
    assert install(root) == []
    assert files_below(root) == there


def test_an_update_replaces_what_is_unchanged_and_takes_away_what_is_gone(root: Path) -> None:
    files = list(wanted(OPT))
    old = [replace(file, content=b"old\n") if file.path.endswith(".service") else file for file in files]
    install(root, [*old, File("/usr/local/lib/systemd/system/dialupd-old.service", "", b"gone\n")])
    assert install(root, files) == []
    assert files_below(root) == {file.path[1:] for file in files} | {MANIFEST[1:]}
    assert (root / UNIT).read_bytes() == next(file.content for file in files if file.path == f"/{UNIT}")


def test_what_was_changed_is_kept_and_named(root: Path) -> None:
    install(root)
    (root / UNIT).write_text("changed\n")
    again = install(root)
    assert again == [
        f"{root / UNIT}: kept, because somebody changed it or put it there; "
        "move it away and install again to have the new one"
    ]
    assert remove(root) == [f"{root / UNIT}: kept, because it was changed since it was put there"]
    assert files_below(root) == {UNIT}


def test_what_somebody_else_put_is_neither_replaced_nor_taken(root: Path) -> None:
    (root / UNIT).parent.mkdir(parents=True)
    (root / UNIT).write_text("theirs\n")
    assert len(install(root)) == 1
    assert remove(root) == []
    assert files_below(root) == {UNIT}


def test_the_configuration_is_the_administrator_s(root: Path) -> None:
    install(root)
    (root / CONFIGURATION).write_text("[daemon]\n")
    (root / "etc/dialupd/secrets/isp").write_text("password\n")
    assert install(root) == [f"{root / CONFIGURATION}: kept, it is yours"]
    remove(root)
    assert files_below(root) == {CONFIGURATION, "etc/dialupd/secrets/isp"}
    assert (root / CONFIGURATION).read_text() == "[daemon]\n"


def test_directories_that_were_there_stay(root: Path) -> None:
    (root / "usr/local/bin").mkdir(parents=True)
    install(root)
    remove(root)
    assert [path.relative_to(root).as_posix() for path in sorted(root.rglob("*"))] == [
        "usr",
        "usr/local",
        "usr/local/bin",
    ]


def test_an_interrupted_installation_can_be_taken_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = System._put

    def interrupted(self: System, file: File) -> None:
        if "polkit" in file.path:
            raise KeyboardInterrupt
        put(self, file)

    monkeypatch.setattr(System, "_put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        install(root)
    assert (root / UNIT).exists()
    assert remove(root) == []
    assert not root.exists()


def test_it_refuses_beside_the_package(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "lib/systemd/system").mkdir(parents=True)
    (root / "lib/systemd/system/dialupd.service").touch()
    assert main(["install", "--root", str(root)]) == 1
    assert "a package has installed all this already" in capsys.readouterr().err
    assert len(files_below(root)) == 1


def test_a_damaged_manifest_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(root)
    for text in ("", "[]", '{"files": {}}', '{"files": [], "directories": []}', '{"files": {}, "directories": 1}'):
        (root / MANIFEST[1:]).write_text(text)
        assert main(["remove", "--root", str(root)]) == 1
        assert "system-files.json is damaged" in capsys.readouterr().err


def test_the_system_itself_needs_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for command in ("install", "remove"):
        assert main([command]) == 1
        assert "run it with sudo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("python", "scripts", "words"),
    [
        ("/opt/my modems/bin/python3", "/opt", "such characters"),
        ("/usr/bin/python3", "/opt/50%/bin", "such characters"),
        ("/usr/bin/python3", "/nonexistent/bin", "/nonexistent/bin/dialupd is not there"),
    ],
)
def test_it_refuses_what_a_unit_cannot_run(python: str, scripts: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        Installation(python, scripts).check()


def test_it_refuses_what_others_can_change_and_what_units_cannot_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "bin"
    scripts.mkdir()
    installation = Installation("/usr/bin/python3", str(scripts))
    monkeypatch.setattr(places, "HERE", Path("/usr/lib"))
    monkeypatch.setattr(places, "UNSEEN", (str(tmp_path),))
    with pytest.raises(RefusedError, match="the units cannot see"):
        installation.check_trust()
    monkeypatch.setattr(places, "UNSEEN", ())
    scripts.chmod(0o777)
    with pytest.raises(RefusedError, match=f"^{re.escape(str(scripts))}: root would run"):
        installation.check_trust()


def test_each_link_on_the_way_is_looked_at(tmp_path: Path) -> None:
    for name in ("bin", "between"):
        (tmp_path / name).mkdir()
    (tmp_path / "between" / "python3").symlink_to("/usr/bin/env")
    (tmp_path / "bin" / "python3").symlink_to("../between/python3")
    ways = list(places._ways(tmp_path / "bin" / "python3"))
    assert tmp_path / "between" / "python3" in ways
    assert ways[-1] == Path("/usr/bin/env").resolve()
