"""Files put below a root directory, and the manifest that lets them be taken back."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dialupd.system_files.places import CONFIGURATION, DIRECTORIES, File, RefusedError, digest

MANIFEST = "/usr/local/lib/dialupd/system-files.json"
# Where distribution packages put the unit: with it there, the files are there already.
PACKAGED = ("/lib/systemd/system/dialupd.service", "/usr/lib/systemd/system/dialupd.service")


@dataclass(slots=True)
class Manifest:
    """What an installation has put: files with their marks, and directories that were not there before."""

    files: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)


class System:
    """The files below `root`, and the manifest of those that are ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept: list[str] = []
        """What was not touched, with the reason."""
        self._manifest = self._read_manifest()

    def place(self, path: str) -> Path:
        return self.root / PurePosixPath(path).relative_to("/")

    def mark(self, path: str) -> str | None:
        """The mark of what is there; None if nothing is."""
        place = self.place(path)
        if place.is_symlink():
            return f"link {place.readlink()}"
        return digest(place.read_bytes()) if place.exists() else None

    def state(self, file: File) -> str:
        there = self.mark(file.path)
        if there is None:
            return "not there"
        return "installed" if there == file.mark else "differs"

    def check_packages(self) -> None:
        for path in PACKAGED:
            if self.place(path).exists():
                raise RefusedError(
                    f"{self.place(path)} is there: a package has installed all this already; remove it first "
                    "(apt-get remove dialupd), or use it"
                )

    def install(self, files: Sequence[File]) -> None:
        """Put what is not there, replace what is unchanged, take away what is obsolete."""
        known = self._manifest.files
        self._take_back({path: mark for path, mark in known.items() if path not in {file.path for file in files}})
        put = []
        self._manifest.files = {}
        for file in files:
            there = self.mark(file.path)
            if there in (None, file.mark, known.get(file.path)):
                put.append(file)
                self._manifest.files[file.path] = file.mark
                continue
            if file.path in known:
                self._manifest.files[file.path] = known[file.path]
            if file.path.startswith(CONFIGURATION):
                self.kept.append(f"{self.place(file.path)}: kept, it is yours")
            else:
                self.kept.append(
                    f"{self.place(file.path)}: kept, because somebody changed it or put it there; "
                    "move it away and install again to have the new one"
                )
        # The manifest is there before the files are: what is left of an interruption can be taken back.
        for path, mode in ((str(PurePosixPath(MANIFEST).parent), 0o755), *DIRECTORIES):
            self._make_directory(path, mode)
        for file in put:
            self._make_directory(str(PurePosixPath(file.path).parent), 0o755)
        self._write_manifest()
        for file in put:
            self._put(file)

    def remove(self) -> None:
        """Take back all that is as it was put."""
        self._take_back(self._manifest.files)
        self.place(MANIFEST).unlink(missing_ok=True)
        for path in sorted(self._manifest.directories, reverse=True):
            try:
                self.place(path).rmdir()
            except OSError:
                continue  # something else is in it, or it is gone

    def _take_back(self, files: dict[str, str]) -> None:
        # The last goes first: polkit's rule must never stand without the units that it names.
        for path, mark in reversed(files.items()):
            there = self.mark(path)
            if there == mark:
                self.place(path).unlink()
            elif there is not None:
                self.kept.append(f"{self.place(path)}: kept, because it was changed since it was put there")

    def _make_directory(self, path: str, mode: int) -> None:
        missing = [step for step in (path, *map(str, PurePosixPath(path).parents)) if not self.place(step).exists()]
        for step in reversed(missing):
            self.place(step).mkdir()
            self.place(step).chmod(mode if step == path else 0o755)
            self._manifest.directories.append(step)

    def _put(self, file: File) -> None:
        place = self.place(file.path)
        new = place.with_name(f".{place.name}.new")
        new.unlink(missing_ok=True)
        if file.target:
            new.symlink_to(file.target)
        else:
            new.write_bytes(file.content)
            new.chmod(0o644)
        os.replace(new, place)

    def _write_manifest(self) -> None:
        text = json.dumps({"files": self._manifest.files, "directories": self._manifest.directories}, indent=1)
        self._put(File(MANIFEST, "", f"{text}\n".encode()))

    def _read_manifest(self) -> Manifest:
        place = self.place(MANIFEST)
        try:
            read = json.loads(place.read_text())
            files = {str(path): str(mark) for path, mark in read["files"].items()}
            directories = [str(path) for path in read["directories"]]
        except FileNotFoundError:
            return Manifest()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RefusedError(f"{place} is damaged ({error}); delete it, and what it listed by hand") from error
        return Manifest(files, directories)
