"""A directory of an emulated disk made real, for a command to work on.

Files keep their modification times: a copier goes by size and time.  Between two passes only what
differs is written again.  Models regular files, directories, symbolic and hard links; leaves out
owners, access rights and holes.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from simulator.blocks import BLOCK_BYTES
from simulator.digest import file_term
from simulator.disk import Disk
from simulator.inode import Inode
from simulator.namespace import Directory, Node, Symlink

Times = Callable[[Inode], int]
"""The modification time of a file, in ns since 1970."""


class Entry(NamedTuple):
    """What stands under a name of a real directory."""

    kind: str
    """``file``, ``directory``, ``link`` or ``other``."""
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    target: str = ""


class Mirror:
    """A real directory that is made equal to an emulated one.

    Arguments
    ---------
    place: the directory, which exists and is empty.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._written: dict[str, tuple[int, Entry]] = {}
        """What was written of each file, and what its entry was then."""

    def entries(self) -> dict[str, Entry]:
        """All names below the directory, parents first, and what stands there."""
        found: dict[str, Entry] = {}
        for directory, names, files in os.walk(self.place):
            names.sort()
            for name in sorted([*names, *files]):
                path = Path(directory, name)
                found["/" + str(path.relative_to(self.place))] = _entry(path)
        return found

    def show(self, disk: Disk, root: str, times: Times) -> None:
        """Make the directory equal to what is below ``root``."""
        wanted = {path[len(root.rstrip("/")) :]: node for path, node in disk.names.walk(root)}
        self.show_nodes(wanted, times)

    def show_nodes(self, wanted: dict[str, Node], times: Times) -> None:
        """As :meth:`show`, for nodes by their names."""
        present = self.entries()
        for path in sorted(present, reverse=True):
            if path not in wanted or present[path].kind != _kind(wanted[path]):
                self._remove(path, present.pop(path))
        first_names: dict[int, str] = {}
        for path in sorted(wanted):
            node = wanted[path]
            place = self.real(path)
            if isinstance(node, Directory):
                place.mkdir(exist_ok=True)
            elif isinstance(node, Symlink):
                if path not in present or present[path].target != node.target:
                    place.unlink(missing_ok=True)
                    place.symlink_to(node.target)
            else:
                self._file(path, node, present.get(path), times(node), first_names)

    def real(self, path: str) -> Path:
        """Where a name of the emulated directory really is."""
        return self.place / path.lstrip("/")

    def _file(
        self,
        path: str,
        node: Inode,
        present: Entry | None,
        modified_ns: int,
        first_names: dict[int, str],
    ) -> None:
        first = first_names.setdefault(node.number, path)
        place = self.real(path)
        if first != path:  # a second name of the same file
            place.unlink(missing_ok=True)
            os.link(self.real(first), place)
            return
        term = file_term(node)
        rewritten = present is None or self._written.get(path) != (term, present)
        if rewritten:
            place.unlink(missing_ok=True)
            write_file(node, place)
        if rewritten or (present is not None and present.modified_ns != modified_ns):
            os.utime(place, ns=(modified_ns, modified_ns))
        self._written[path] = term, _entry(place)

    def now_equals(self, disk: Disk, root: str) -> None:
        """What a command has made of the directory has been carried out below ``root``."""
        for path, node in disk.names.walk(root):
            name = path[len(root.rstrip("/")) :]
            if isinstance(node, Inode) and self.real(name).is_file():
                self._written[name] = file_term(node), _entry(self.real(name))

    def _remove(self, path: str, entry: Entry) -> None:
        place = self.real(path)
        if entry.kind == "directory":
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        self._written.pop(path, None)


def make_accessible(place: Path) -> None:
    """Let this user look through a directory, and read and take away what is in it.

    A command may have taken that away from everybody but root; access rights are left out here.
    """
    _allow(place, stat.S_IRWXU)
    for directory, names, files in os.walk(place):
        for name in names:
            _allow(Path(directory, name), stat.S_IRWXU)
        for name in files:
            _allow(Path(directory, name), stat.S_IRUSR)


def _allow(path: Path, wanted: int) -> None:
    mode = path.lstat().st_mode
    if mode & wanted != wanted and not stat.S_ISLNK(mode):
        path.chmod(stat.S_IMODE(mode) | wanted)


def write_file(node: Inode, place: Path) -> None:
    """Write an emulated file's bytes to a new real one."""
    with place.open("xb") as file:
        for number in sorted(node.blocks):
            block = node.blocks.get(number)
            if block and number * BLOCK_BYTES < node.size:
                file.seek(number * BLOCK_BYTES)
                file.write(block[: node.size - number * BLOCK_BYTES])
        file.truncate(node.size)


def _kind(node: Node) -> str:
    if isinstance(node, Directory):
        return "directory"
    return "link" if isinstance(node, Symlink) else "file"


def _entry(path: Path) -> Entry:
    found = path.lstat()
    kind, target = "other", ""
    if path.is_symlink():
        kind, target = "link", str(path.readlink())
    elif path.is_dir():
        kind = "directory"
    elif path.is_file():
        kind = "file"
    return Entry(kind, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, target)
