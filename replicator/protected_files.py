"""The protected files as they are now, read from beside the program that writes them.

A synchronization reads the files that there were at operation 0.  Since then they may have
been renamed, replaced or removed; a file is therefore known by its inode, and its name is
only where one looks first.  What is gone reads as nothing: whatever made it disappear is an
operation that will be replayed.  They are opened for reading only: many a program makes a
file read-only once it is written.  (An inode number may be given to a new file after the old
one is gone: what is read then belongs to a file that the replay removes.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from replicator.errors import NotFound
from replicator.runtime.port import EntryKind, File, Scan, Stat, Volume

OPEN_FILES_LIMIT: Final = 64


class ProtectedFiles:
    """Reads files below a root by inode.

    Arguments
    ---------
    volume, root: where the protected set is.
    """

    def __init__(self, volume: Volume, root: str) -> None:
        self._volume = volume
        self._root = root.rstrip("/")
        self._open: dict[int, File] = {}

    async def read_at(self, path: str, inode: int, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes of the file that had this inode; none when it is gone."""
        file = self._file(path, inode)
        return b"" if file is None else await file.read_at(offset, length)

    async def scan(self, path: str, inode: int, scan: Scan) -> list[bytes]:
        """What a function says of each piece of a range of such a file; nothing without it."""
        file = self._file(path, inode)
        return [] if file is None else await file.scan(scan)

    def _file(self, path: str, inode: int) -> File | None:
        file = self._open.get(inode)
        if file is None:
            file = self._open_at(self._root + path, inode) or self._search(self._root, inode)
            if file is None:
                return None
            while len(self._open) >= OPEN_FILES_LIMIT:
                self._open.pop(next(iter(self._open))).close()
            self._open[inode] = file
        return file

    def _open_at(self, path: str, inode: int) -> File | None:
        """The file, if the path stands for it both before and after it was opened."""
        try:
            if not self._is(path, inode):
                return None
            file = self._volume.open(path, read_only=True)
            if self._is(path, inode):
                return file
            file.close()
        except NotFound:
            pass  # renamed or removed just now
        return None

    def _is(self, path: str, inode: int) -> bool:
        stat = self._volume.stat(path)
        return stat.kind == EntryKind.FILE and stat.inode == inode

    def _search(self, directory: str, inode: int) -> File | None:
        """Look through all names: the file was renamed."""
        stack = [directory]
        while stack:
            here = stack.pop()
            try:
                for name in self._volume.list(here):
                    path = f"{here}/{name}"
                    stat = self._volume.stat(path)
                    if stat.kind == EntryKind.DIRECTORY:
                        stack.append(path)
                    elif stat.kind == EntryKind.FILE and stat.inode == inode:
                        found = self._open_at(path, inode)
                        if found is not None:
                            return found
            except NotFound:
                continue  # removed while we looked
        return None

    def names(self) -> Iterator[tuple[str, Stat]]:
        """(path, what it stands for) of all that is there now, below the root."""
        stack = [""]
        while stack:
            here = stack.pop()
            try:
                for name in self._volume.list(self._root + here or "/"):
                    path = f"{here}/{name}"
                    stat = self._volume.stat(self._root + path)
                    if stat.kind == EntryKind.DIRECTORY:
                        stack.append(path)
                    yield path, stat
            except NotFound:
                continue  # removed while we looked

    def close(self) -> None:
        """Give all handles back."""
        for file in self._open.values():
            file.close()
        self._open.clear()
