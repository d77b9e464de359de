"""What happens on a medium behind everybody's back: bits that rot, writes that go astray.

Models: a change of durable bytes that no program made.  It is seen at once, as if the page
cache had just dropped what it held; a page that a program still has to write is left alone,
for the write would heal it.  So only blocks are touched that no unsynced change concerns,
and after a power loss the damage is where it was.

Leaves out: damage to names, sizes and attributes (a file system's own structures), which
real ones guard by checksums or do not survive; bytes that are right in the cache and wrong
on the medium until the next boot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple

from simulator.blocks import BLOCK_BYTES, PAGE_BYTES, all_keys
from simulator.disk import Disk
from simulator.inode import APPENDED, Change, Inode

SECTOR_BYTES: Final = 512


def settled_blocks(inode: Inode) -> list[int]:
    """The numbers of the blocks that hold something durable and nothing else."""
    unsettled, cut = _touched(list(inode.changes))
    if inode.lost is not None:
        unsettled |= {number * PAGE_BYTES // BLOCK_BYTES for number in inode.lost.pages}
    blocks = inode.blocks
    return sorted(
        number
        for number in all_keys(blocks)
        if number not in unsettled
        and (cut is None or number < cut)
        and blocks.get(number)
        and number * BLOCK_BYTES < inode.size
    )


def _touched(changes: list[Change]) -> tuple[set[int], int | None]:
    """The blocks that these changes concern: a set, and all from a number on."""
    touched: set[int] = set()
    cut: int | None = None
    for offset, length, data, _before, size_before, size_after in changes:
        if data is None:
            first = min(size_before, size_after) // BLOCK_BYTES
            cut = first if cut is None else min(cut, first)
        elif length:
            touched.update(range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1))
    return touched, cut


class Flip(NamedTuple):
    """A byte that has changed, and the bytes around it that a disk writes as one."""

    path: str
    offset: int
    """Of the byte in the file; where several of a sector have changed, of the first."""
    inode_number: int
    was: bytes
    """The sector as it should be, of at most :data:`SECTOR_BYTES`."""
    now: bytes

    @property
    def block(self) -> tuple[int, int]:
        """The number of its file, and of the block in it."""
        return self.inode_number, self.offset // BLOCK_BYTES

    def heal(self, inode: Inode, byte_by_byte: bool) -> None:
        """Take it back where it is still there.

        Arguments
        ---------
        inode: of the file, or of a copy.
        byte_by_byte: also where the sector has been written to beside the byte.
        """
        begin = self.offset // SECTOR_BYTES * SECTOR_BYTES
        at = self.offset - begin
        if inode.read(begin, len(self.now)) == self.now:
            inode.write(begin, self.was)
        elif byte_by_byte and inode.read(self.offset, 1) == self.now[at : at + 1]:
            inode.write(self.offset, self.was[at : at + 1])


def rot(files: list[tuple[str, Inode]], count: int, random: Random) -> list[Flip]:
    """Flip ``count`` bits of what is durable in these files; none if nothing is."""
    places = [(path, inode, number) for path, inode in files for number in settled_blocks(inode)]
    flips = []
    for _ in range(count if places else 0):
        path, inode, number = random.choice(places)
        block = inode.blocks.get(number)
        assert block
        at = random.randrange(min(len(block), inode.size - number * BLOCK_BYTES))
        flipped = bytes([block[at] ^ 1 << random.randrange(8)])
        changed = block[:at] + flipped + block[at + 1 :]
        _put(inode, number, changed)
        sector = slice(at // SECTOR_BYTES * SECTOR_BYTES, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        offset = number * BLOCK_BYTES + at
        flips.append(Flip(path, offset, inode.number, block[sector], changed[sector]))
    return flips


def _put(inode: Inode, number: int, block: bytes) -> None:
    """The medium holds this block now."""
    inode.blocks[number] = block
    inode.touched.add(number)


def misdirect_next(disk: Disk, happened: Callable[[str, list[Flip]], None]) -> None:
    """Let the next write that can go astray do so; ``happened`` is told where it landed.

    It is told that in words, and of each sector that has not what it should have now.

    The block goes into the place of the next one of its file; where the file ends before
    that, into the first durable block of the next file that has one.  Its own place stays
    as it was.
    """

    def misdirect(inode: Inode, up_to: int) -> None:
        due = list(inode.changes)[: max(0, up_to - inode.first_change)]
        later, cut = _touched(list(inode.changes)[len(due) :])
        seen, truncated = _touched([change for change in due if change[2] is None])
        for offset, length, data, before, size_before, _size_after in due:
            if data is None or not length or cut is not None or truncated is not None:
                continue
            number = offset // BLOCK_BYTES
            again = number in seen or number in later
            seen.update(range(number, (offset + length - 1) // BLOCK_BYTES + 1))
            new = inode.blocks.get(number) or b""
            old = _before(before, new, size_before - number * BLOCK_BYTES)
            target = None if again or old == new else _neighbour(disk, inode, number)
            if target is None:
                continue
            other, place = target
            disk.misdirect = None
            _put(inode, number, old)
            have = other.blocks.get(place) or b""
            landed = new[: len(have)] + have[len(new) :]
            _put(other, place, landed)
            happened(
                f"block {number} of file {inode.number} into block {place} of file {other.number}",
                [
                    *_changed(disk, inode, number, new, old),
                    *_changed(disk, other, place, have, landed),
                ],
            )
            return

    disk.misdirect = misdirect


def _changed(disk: Disk, inode: Inode, number: int, was: bytes, now: bytes) -> Iterator[Flip]:
    """The sectors of a block that are not what they should be; none of a file without a name."""
    paths = [path for path, node in disk.names.walk("/") if node is inode]
    for begin in range(0, len(now) if paths else 0, SECTOR_BYTES):
        sector = slice(begin, begin + SECTOR_BYTES)
        differs = [at for at, each in enumerate(now[sector]) if was[begin + at] != each]
        if differs:
            offset = number * BLOCK_BYTES + begin + differs[0]
            yield Flip(paths[0], offset, inode.number, was[sector], now[sector])


def _before(before: object, new: bytes, had_bytes: int) -> bytes:
    """A block as it was before its first change, as long as it is now."""
    old: object = before
    if isinstance(before, list):
        old = before[0][1]
    elif before == APPENDED:
        old = new[: max(0, had_bytes)]
    kept = old if isinstance(old, bytes) else b""
    return kept[: len(new)] + bytes(max(0, len(new) - len(kept)))


def _neighbour(disk: Disk, inode: Inode, number: int) -> tuple[Inode, int] | None:
    if number + 1 in settled_blocks(inode):
        return inode, number + 1
    files = disk.files()
    for other in [each for each in files if each.number > inode.number] + files:
        blocks = settled_blocks(other) if other is not inode else []
        if blocks:
            return other, blocks[0]
    return None


__all__ = ["Flip", "misdirect_next", "rot", "settled_blocks"]
