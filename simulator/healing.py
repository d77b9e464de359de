"""Whether an image is right but for what a medium has changed behind everybody's back.

An image that is not what the source had may be so for a bit that has rotted at the replica, or for
a write of either end's disk that went astray (:mod:`simulator.medium`).  Then it is right once that
is taken back; and where the *source's* own files were hit, once the same is done to the image, for
what its programs wrote is in the copy, and in their own files it is not.

A later write may have brought a place in order, or just the bytes that it has changed to.  So parts
of what has changed are tried, too, block by block and in their order, as long as they are few.

A file of the source that has another name in the image is taken for the one that has most of its
bytes in that place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, groupby, product
from typing import Final

from simulator.digest import image_digest
from simulator.disk import Disk
from simulator.inode import Inode
from simulator.medium import SECTOR_BYTES, Flip

CHANGES_AT_MOST: Final = 6
"""Of so many changes of a block at most each part is tried: 63, and none."""
RENAMED_AT_MOST: Final = 3
"""Of so many at most each file is looked for under its name and without, alone; else all are."""


def healed_digests(
    disk: Disk, root: str, ours: list[Flip], theirs: list[Flip], their_root: str
) -> Iterator[int]:
    """The digests that an image has without what media have changed.

    Arguments
    ---------
    disk, root: where the image is; it stays as it is.
    ours, theirs: what has changed at the replica, and in the source's own files.
    their_root: where those are.
    """
    theirs = [flip for flip in theirs if flip.path.startswith(their_root + "/")]
    for their_part, by_names in _named_parts_of(theirs):
        for our_part in _parts_of(ours) if not their_part else [ours]:
            for byte_by_byte in (False, True) if our_part == ours and ours else (False,):
                fork = disk.fork(disk.clock, disk.model)
                files = {p: n for p, n in fork.names.walk(root) if isinstance(n, Inode)}
                by_number = {inode.number: inode for inode in files.values()}
                for flip in reversed(our_part):
                    if flip.inode_number in by_number:
                        flip.heal(by_number[flip.inode_number], byte_by_byte)
                for change, by_name in zip(_changes_of(their_part), by_names, strict=True):
                    name = root + change[0].path.removeprefix(their_root)
                    _spoil(_of(files, name, change, by_name), change)
                yield image_digest(fork, root)


def _named_parts_of(flips: list[Flip]) -> Iterator[tuple[list[Flip], tuple[bool, ...]]]:
    """Parts of what has changed; and which files have still the name that they had."""
    for part in _parts_of(flips):
        count = len(_changes_of(part))
        if count <= RENAMED_AT_MOST:
            yield from ((part, names) for names in product((True, False), repeat=count))
        else:
            yield from ((part, (same,) * count) for same in (True, False))


def _of(files: dict[str, Inode], name: str, change: list[Flip], by_name: bool) -> Inode | None:
    """The file of an image that is the changed one of the source's, as far as can be told."""
    if by_name:
        return files.get(name)
    others = [inode for path, inode in files.items() if path != name]
    return max(others, key=lambda inode: sum(_has(inode, flip) for flip in change), default=None)


def _has(inode: Inode, flip: Flip) -> bool:
    """Whether it has there what the source's file had."""
    return inode.read(flip.offset // SECTOR_BYTES * SECTOR_BYTES, len(flip.was)) == flip.was


def _spoil(inode: Inode | None, change: list[Flip]) -> None:
    """Do to a file what the source's disk did to its own, where nobody has written since."""
    for flip in change:
        if inode is not None and _has(inode, flip):
            inode.write(flip.offset // SECTOR_BYTES * SECTOR_BYTES, flip.now)


def _changes_of(flips: list[Flip]) -> list[list[Flip]]:
    """What one event has done to one block, each."""
    return [list(group) for _block, group in groupby(flips, key=lambda flip: flip.block)]


def _parts_of(flips: list[Flip]) -> Iterator[list[Flip]]:
    """All, then what is left without some of the changes of a block; none last."""
    yield flips
    changes = _changes_of(flips)
    if len(changes) <= CHANGES_AT_MOST:
        for count in range(len(changes) - 1, 0, -1):
            for kept in combinations(changes, count):
                yield [flip for group in kept for flip in group]
    if flips:
        yield []
