"""What a power loss leaves of one file.

Chosen in this order, each by ``choose(n)``:

1. The size: a prefix of the unsynced changes of size survives (a journalling file system
   commits them in order).  Of a growth that does not survive a part may: up to the end of a
   page, or up to the end of any unsynced change (write-back of a range moves the size that
   far, and an append fills the rest of the last page).
2. Sectors: each unsynced write survives not at all, whole, or in any subset of its sectors.
   A sector that survives shows the file as it stood right after that write, earlier unsynced
   writes to it included, because the cache holds one copy of it.
3. Zeros where the surviving size reaches beyond what was written.

A truncation that was lost still had its way with the cache: the rest of the page that it cut
may be zero on the medium, in any subset of its sectors, and writes after it survive like any
other, into the blocks that the file still has.

After a failed sync (:mod:`simulator.failed_sync`) the medium's size and sectors are chosen
first from what it may hold.

Kinder than real: bytes never mix within a sector; a page is 4 KiB.  Harsher: sizes, data and
files are independent of one another; behind a lost cut, sectors may show later writes that
a real file system would have put into new blocks.
"""

from __future__ import annotations

from bisect import bisect_left

from simulator.blocks import BLOCK_BYTES, PAGE_BYTES, page_end
from simulator.failed_sync import LostBytes, touched_pages
from simulator.inode import Change, Choose, Inode

LOST, TORN, WHOLE = range(3)


def power_loss(inode: Inode, choose: Choose, sector_bytes: int) -> None:
    """Lose the cache: go back to the medium, then let a legal part of the changes survive."""
    changes, lost = inode.undo(), inode.lost
    inode.lost = None
    if changes or lost is not None:
        cache = inode.fork()  # replays every change: what the cache held after each one
        sizes = [] if lost is None else lost.sizes
        size, lost_cut = _surviving_size(inode.size, sizes, changes, choose, sector_bytes)
        if lost is not None:
            for number in lost.pages:  # the fork must not see how these change below it
                block = number * PAGE_BYTES // BLOCK_BYTES
                cache.blocks[block] = cache.blocks.get(block) or b""
            _keep_old_sectors(inode, lost, choose, sector_bytes)
        _keep_changes(inode, cache, changes, lost_cut, choose, sector_bytes)
        inode.truncate(size)
    inode.reboot()


def medium_of(inode: Inode, sector_bytes: int) -> Inode:
    """A copy of the file as it is on the medium, at greatest loss."""
    medium = inode.fork()
    power_loss(medium, lambda _outcomes: 0, sector_bytes)
    return medium


def lost_by_failure(inode: Inode, up_to: int, sector_bytes: int) -> LostBytes:
    """What is lost when the changes numbered below ``up_to`` count as written and are not."""
    failed = list(inode.changes)[: max(0, up_to - inode.first_change)]
    medium = medium_of(inode, sector_bytes)
    known = inode.lost or LostBytes({}, [])
    pages = {
        number: medium.read(number * PAGE_BYTES, PAGE_BYTES)
        for number in touched_pages(failed).union(known.pages)
    }
    sizes = list(known.sizes)
    for *_, before, after in failed:
        if before != after:
            sizes.append(before)
    return LostBytes(pages, sizes)


def _surviving_size(
    base: int, earlier: list[int], changes: list[Change], choose: Choose, sector_bytes: int
) -> tuple[int, int]:
    """The size, and the number of the first change that is a truncation and does not survive.

    Arguments
    ---------
    base: the size before the changes.
    earlier: sizes that the medium may have kept instead.
    """
    resizing = [i for i, (*_, before, after) in enumerate(changes) if after != before]
    sizes = [*earlier, base, *(changes[i][5] for i in resizing)]
    chosen = choose(len(sizes))
    size = sizes[chosen]
    if chosen + 1 < len(sizes) and size < sizes[chosen + 1]:
        step = max(PAGE_BYTES, sector_bytes)
        size = _part_of_growth(size, sizes[chosen + 1], changes, choose, step)
    for index in resizing[max(0, chosen - len(earlier)) :]:
        if changes[index][2] is None:
            return size, index
    return size, len(changes)


def _part_of_growth(
    before: int, after: int, changes: list[Change], choose: Choose, step: int
) -> int:
    """A size within a growth that did not survive as a whole: ``before``, or part of it.

    Arguments
    ---------
    step: bytes of a page, or of a sector where that is larger.
    """
    pages = range(before // step * step + step, after, step)
    ends = {offset + length for offset, length, *_ in changes}
    others = sorted(end for end in ends if before < end < after and end % step)
    if not pages and not others:
        return before
    number = choose(1 + len(pages) + len(others)) - 1
    if number < 0:
        return before
    # A growth may have millions of pages: the sizes are merged by their ranks alone.
    ranks = [i + len(range(pages.start, end, step)) for i, end in enumerate(others)]
    at = bisect_left(ranks, number)
    if at < len(ranks) and ranks[at] == number:
        return others[at]
    return pages[number - at]


def _keep_old_sectors(inode: Inode, lost: LostBytes, choose: Choose, sector_bytes: int) -> None:
    """Of what a failed sync was to write, let any subset of the sectors be on the medium."""
    step = min(sector_bytes, PAGE_BYTES)
    sector, survives = -1, True
    for number, held in sorted(lost.pages.items()):
        for at in range(0, PAGE_BYTES, step):
            offset = number * PAGE_BYTES + at
            if offset // sector_bytes != sector:
                sector, survives = offset // sector_bytes, choose(2) != 0
            if not survives:
                inode.write(offset, held[at : at + step].ljust(step, b"\0"))


def _keep_changes(
    inode: Inode,
    cache: Inode,
    changes: list[Change],
    lost_cut: int,
    choose: Choose,
    sector_bytes: int,
) -> None:
    """Let a part of the changes happen again; the size is set right by the caller."""
    for index, (offset, length, data, _before, size_before, size_after) in enumerate(changes):
        end = offset + length
        if data is not None:
            cache.write(offset, data if isinstance(data, bytes) else b"".join(data))
        else:
            cache.truncate(offset)
            if index < lost_cut:
                if size_after < inode.size:
                    inode.truncate(offset)
                continue
            end = page_end(offset)  # the rest of that page is zero in the cache now
            if size_after >= size_before or offset == end:
                continue
        fate = choose(3)
        if fate == LOST:
            continue
        first = offset // sector_bytes
        last = (end - 1) // sector_bytes
        for start, stop in _surviving_runs(first, last + 1, fate, choose):
            at = start * sector_bytes
            kept = cache.read(at, stop * sector_bytes - at)
            if index >= lost_cut:
                # The file may still be longer than the cache had it: of a sector that is
                # written, the rest is zero.
                kept = kept.ljust(stop * sector_bytes - at, b"\0")
            inode.write(at, kept)


def _surviving_runs(first: int, end: int, fate: int, choose: Choose) -> list[tuple[int, int]]:
    if fate == WHOLE:
        return [(first, end)]
    runs: list[tuple[int, int]] = []
    for sector in range(first, end):
        if choose(2):
            if runs and runs[-1][1] == sector:
                runs[-1] = (runs[-1][0], sector + 1)
            else:
                runs.append((sector, sector + 1))
    return runs
