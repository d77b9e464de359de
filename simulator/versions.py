"""Which bytes of which file the source had after which operation: to explain an image.

An image that no digest of the truth matches is a mixture.  To say of what, it is compared block
by block with what each file of the source held at each instant: what an image shows of a file is
*as of* a stretch of instants, and two files whose stretches do not meet are the breach.

The record is one row of four numbers for each block that a write touched (32 bytes) and one for
each change of a name; blocks are known by 64 bits of their hash.  It grows with the number of
operations, as the truth's digests do, and not with the size of the store.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from simulator.blocks import BLOCK_BYTES
from simulator.digest import refresh
from simulator.disk import Disk
from simulator.inode import Inode

_SHORT: Final = (1 << 64) - 1
_NOTHING: Final = 0
"""The number of a path that names nothing."""


class Stretch(NamedTuple):
    """A part of an image, and between which instants the source had just that."""

    path: str
    what: str
    """``bytes``, ``size``, ``name`` (it is there) or ``no name`` (it is not)."""
    offset: int
    """Of bytes: where in the file."""
    first: int
    """Instant from which on the source had it, the last time that it did."""
    last: int
    """Until which instant."""


class Versions:
    """The history of a protected set, block by block.

    Arguments
    ---------
    root: the directory that it is in.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._names: dict[str, list[tuple[int, int]]] = {}
        self._present: dict[str, int] = {}
        self._columns = tuple(array("Q") for _ in range(4))
        self._sizes: dict[int, list[tuple[int, int]]] = {}
        self._index: dict[int, dict[int, tuple[Any, Any]]] = {}
        self._indexed = -1

    # -- recording -----------------------------------------------------------------------

    def content(self, inode: Inode, offset: int, length: int, instant: int) -> None:
        """A write to a file, whose hashes have been taken anew."""
        first, last = offset // BLOCK_BYTES, (offset + max(1, length) - 1) // BLOCK_BYTES
        for block in range(first, last + 1):
            self._row(instant, inode.number, block, inode.hashes.get(block, 0))
        self._size(inode, instant)

    def whole(self, inode: Inode, instant: int) -> None:
        """Anything of a file may have changed."""
        refresh(inode)
        known = self._newest(inode.number)
        for block in {*known, *range(-(-inode.size // BLOCK_BYTES))}:
            found = inode.hashes.get(block, 0)
            if known.get(block, 0) != found & _SHORT:
                self._row(instant, inode.number, block, found)
        self._size(inode, instant)

    def names(self, disk: Disk, instant: int, content_too: bool = False) -> None:
        """Names may have changed; ``content_too``: so may all files."""
        present: dict[str, int] = {}
        for path, node in disk.names.walk(self._root):
            name = path[len(self._root) :]
            present[name] = node.number
            if isinstance(node, Inode) and (content_too or node.number not in self._sizes):
                self.whole(node, instant)
        for name in {*present, *self._present}:
            number = present.get(name, _NOTHING)
            if number != self._present.get(name, _NOTHING):
                self._names.setdefault(name, []).append((instant, number))
        self._present = present

    def _row(self, *values: int) -> None:
        for column, value in zip(self._columns, values, strict=True):
            column.append(value & _SHORT)

    def _size(self, inode: Inode, instant: int) -> None:
        sizes = self._sizes.setdefault(inode.number, [])
        if not sizes or sizes[-1][1] != inode.size:
            sizes.append((instant, inode.size))

    # -- looking up ----------------------------------------------------------------------

    def _blocks(self, number: int) -> dict[int, tuple[Any, Any]]:
        """Of a file: block to the instants at which it changed, and its hashes from then on."""
        if self._indexed != len(self._columns[0]):
            self._index, self._indexed = {}, len(self._columns[0])
        if number not in self._index:
            instants, numbers, blocks, hashes = (
                np.frombuffer(c, dtype=np.uint64) if c else np.zeros(0, np.uint64)
                for c in (array("Q", column) for column in self._columns)
            )
            rows = np.flatnonzero(numbers == number)
            rows = rows[np.lexsort((rows, blocks[rows]))]
            edges = np.flatnonzero(np.diff(blocks[rows])) + 1
            self._index[number] = {
                int(blocks[part[0]]): (instants[part], hashes[part])
                for part in np.split(rows, edges)
                if len(part)
            }
        return self._index[number]

    def _newest(self, number: int) -> dict[int, int]:
        return {b: int(hashes[-1]) for b, (_at, hashes) in self._blocks(number).items()}

    def stretches(self, disk: Disk, root: str, now: int) -> Iterator[Stretch]:
        """Each part of the image below a directory of a disk; ``now``: the newest instant.

        A part that the source never had has ``first`` -1.
        """
        image = {path[len(root.rstrip("/")) :]: node for path, node in disk.names.walk(root)}
        for path in sorted({*image, *self._names}):
            node = image.get(path)
            spans = list(self._spans(path, now))
            there = [(a, b) for a, b, number in spans if (number != _NOTHING) == (node is not None)]
            yield _latest(path, "no name" if node is None else "name", 0, there)
            if isinstance(node, Inode) and any(number for _a, _b, number in spans):
                yield from self._of_file(path, node, spans)

    def ever_named(self, path: str) -> bool:
        """Whether the source ever had a file of this name."""
        return path in self._names

    def _spans(self, path: str, now: int) -> Iterator[tuple[int, int, int]]:
        """(first instant, last instant, file number) of what a path named."""
        start, number = 0, _NOTHING
        for instant, following in self._names.get(path, ()):
            if instant > start:
                yield start, instant - 1, number
            start, number = instant, following
        yield start, now, number

    def _of_file(
        self, path: str, node: Inode, spans: list[tuple[int, int, int]]
    ) -> Iterator[Stretch]:
        refresh(node)
        blocks = set(range(-(-node.size // BLOCK_BYTES)))
        sizes: list[tuple[int, int]] = []
        for first, last, number in spans:
            blocks.update(self._blocks(number) if number else ())
            sizes += _where(self._sizes.get(number, []), node.size, first, last)
        yield _latest(path, "size", 0, sizes)
        for block in sorted(blocks):
            wanted = node.hashes.get(block, 0) & _SHORT
            found: list[tuple[int, int]] = []
            for first, last, number in spans:
                if number:
                    at, hashes = self._blocks(number).get(block, ((), ()))
                    changes = [(0, 0), *((int(i), int(h)) for i, h in zip(at, hashes, strict=True))]
                    found += _where(changes, wanted, first, last)
            yield _latest(path, "bytes", block * BLOCK_BYTES, found)


def _where(
    changes: list[tuple[int, int]], wanted: int, first: int, last: int
) -> list[tuple[int, int]]:
    """The stretches between two instants in which a value that changes is the one wanted."""
    found: list[tuple[int, int]] = []
    for index, (instant, value) in enumerate(changes):
        until = changes[index + 1][0] - 1 if index + 1 < len(changes) else last
        start, end = max(first, instant), min(last, until)
        if value != wanted or start > end:
            continue
        if found and found[-1][1] + 1 >= start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _latest(path: str, what: str, offset: int, found: list[tuple[int, int]]) -> Stretch:
    if not found:
        return Stretch(path, what, offset, -1, -1)
    merged = found[-1]
    for start, end in reversed(found[:-1]):
        if end + 1 < merged[0]:
            break
        merged = (start, merged[1])
    return Stretch(path, what, offset, *merged)
