"""Real directory trees: their image digest, and a comparison byte by byte.

The digest is that of :mod:`simulator.digest`, taken from files of this machine: two trees have
one digest exactly when they show the same bytes, names and attributes.  Attributes are read as
:mod:`replicator.host.volume` gives them, so that an image and its source agree.

:class:`TreeDigest` keeps the block hashes of its files: after a write only the blocks that it
touched are read and hashed again, about 10 us for an aligned page.
"""

from __future__ import annotations

import os
import stat as mode_bits
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from replicator.host.volume import ATTRIBUTE_BITS, NEW_DIRECTORY_MODE, NEW_FILE_MODE
from simulator.blocks import BLOCK_BYTES
from simulator.digest import MASK, attribute_term, block_hash, entry_term, path_key, size_term
from simulator.namespace import Symlink

_COMPARED_AT_ONCE: Final = 1 << 20


class Entry(NamedTuple):
    """One name below a root."""

    name: str
    """Below the root, with a slash in front."""
    path: str
    stat: os.stat_result

    @property
    def is_file(self) -> bool:
        return mode_bits.S_ISREG(self.stat.st_mode)

    @property
    def is_directory(self) -> bool:
        return mode_bits.S_ISDIR(self.stat.st_mode)

    @property
    def attributes(self) -> int:
        """As the port tells them."""
        bits = mode_bits.S_IMODE(self.stat.st_mode)
        new = NEW_DIRECTORY_MODE if self.is_directory else NEW_FILE_MODE
        return 0 if bits == new else bits & ATTRIBUTE_BITS


def entries(root: str | Path) -> Iterator[Entry]:
    """All names below a root, in order; nothing when there is no such directory."""
    start = os.fspath(root).rstrip("/")
    waiting = [""]
    while waiting:
        name = waiting.pop()
        if name:
            yield (found := Entry(name, start + name, os.lstat(start + name)))
            if not found.is_directory:
                continue
        if os.path.isdir(start + name):
            below = sorted(os.listdir(start + name), reverse=True)
            waiting += [f"{name}/{each}" for each in below]


class _FileHashes:
    """The blocks of one file that do not read as zeros."""

    __slots__ = ("hashes", "size_bytes", "total")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.hashes: dict[int, int] = {}
        self.total = 0

    @property
    def term(self) -> int:
        """What the file adds to the digest, but for its name."""
        return size_term(self.size_bytes) + self.total

    def note(self, number: int, block: bytes) -> None:
        """A block has this content now."""
        new, old = block_hash(number, block), self.hashes.get(number, 0)
        if new != old:
            self.total = (self.total + new - old) & MASK
            if new:
                self.hashes[number] = new
            else:
                del self.hashes[number]


class TreeDigest:
    """The digest of a tree, kept up to date by whoever changes it.

    Arguments
    ---------
    root: the directory; :meth:`scan` reads it.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.value = 0
        self._files: dict[int, _FileHashes] = {}
        self._keys: dict[int, int] = {}
        """Sum of the keys of a file's names, by inode number."""

    def scan(self) -> int:
        """Read everything anew; returns the digest."""
        self._files.clear()
        return self.names_changed()

    def names_changed(self) -> int:
        """Read the names anew, and what files are not known; returns the digest."""
        total, keys, known = 0, dict[int, int](), dict[int, _FileHashes]()
        for entry in entries(self.root):
            total += attribute_term(entry.name, entry.attributes) if not _is_link(entry) else 0
            if entry.is_file:
                number, key = entry.stat.st_ino, path_key(entry.name)
                file = known.get(number) or self._files.get(number) or self._read(entry.path)
                known[number] = file
                keys[number] = keys.get(number, 0) + key
                total += key * file.term
            elif entry.is_directory:
                total += path_key(entry.name + "/")
            else:
                total += entry_term(entry.name, Symlink(0, os.readlink(entry.path)))
        self._files, self._keys, self.value = known, keys, total & MASK
        return self.value

    def _read(self, path: str) -> _FileHashes:
        file = _FileHashes()
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            file.size_bytes = os.fstat(fd).st_size
            for first, last in _data_ranges(fd, file.size_bytes):
                for number in range(first // BLOCK_BYTES, -(-last // BLOCK_BYTES)):
                    file.note(number, os.pread(fd, BLOCK_BYTES, number * BLOCK_BYTES))
        finally:
            os.close(fd)
        return file

    def content_changed(self, fd: int, offset: int, length: int, zeroed: bool = False) -> None:
        """A file was changed in a range, and perhaps in size: look at it, through ``fd``.

        ``zeroed``: nothing in the range has come to hold more than before.
        """
        found = os.fstat(fd)
        file = self._files.get(found.st_ino)
        if file is None:
            self.names_changed()
            return
        before, old_size = file.term, file.size_bytes
        file.size_bytes = found.st_size
        kept_bytes = min(old_size, found.st_size)
        for number in self._touched(file, offset, length, kept_bytes, zeroed):
            file.note(number, os.pread(fd, BLOCK_BYTES, number * BLOCK_BYTES))
        key = self._keys.get(found.st_ino, 0)
        self.value = (self.value + key * (file.term - before)) & MASK

    def _touched(
        self, file: _FileHashes, offset: int, length: int, kept_bytes: int, zeroed: bool
    ) -> Iterator[int]:
        first, last = offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES)
        if zeroed:  # perhaps a long range, of which little held anything
            yield from [n for n in file.hashes if first <= n < last]
        else:
            yield from range(first, last)
        if kept_bytes < offset or not length:  # cut off, or grown: the old end shows otherwise
            edge = kept_bytes // BLOCK_BYTES
            yield from [n for n in file.hashes if n >= edge and not first <= n < last]


def _is_link(entry: Entry) -> bool:
    return mode_bits.S_ISLNK(entry.stat.st_mode)


def _data_ranges(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Where a file holds something, holes left out."""
    at = 0
    while at < size_bytes:
        try:
            first = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole follows
            return
        at = os.lseek(fd, first, os.SEEK_HOLE)
        yield first, at


def tree_digest(root: str | Path) -> int:
    """The digest of a tree as it is now."""
    return TreeDigest(os.fspath(root)).scan()


def first_difference(one: Path, other: Path) -> str:
    """Where two trees differ first, in words; empty when they are alike byte by byte."""
    left = {entry.name: entry for entry in entries(one)}
    right = {entry.name: entry for entry in entries(other)}
    for name in sorted(left.keys() ^ right.keys()):
        return f"{name} is in {one if name in left else other} only"
    for name, entry in left.items():
        twin = right[name]
        if mode_bits.S_IFMT(entry.stat.st_mode) != mode_bits.S_IFMT(twin.stat.st_mode):
            return f"{name} is of another kind"
        if _is_link(entry):
            if os.readlink(entry.path) != os.readlink(twin.path):
                return f"{name} leads elsewhere"
        elif entry.attributes != twin.attributes:
            return f"{name} has the attributes {twin.attributes:o}, not {entry.attributes:o}"
        elif entry.is_file:
            place = _first_different_byte(Path(entry.path), Path(twin.path))
            if place is not None:
                return f"{name} differs from byte {place} on"
    return ""


def _first_different_byte(one: Path, other: Path) -> int | None:
    at = 0
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            a, b = left.read(_COMPARED_AT_ONCE), right.read(_COMPARED_AT_ONCE)
            if a != b:
                pairs = enumerate(zip(a, b, strict=False))
                first = next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))
                return at + first
            if not a:
                return None
            at += len(a)
