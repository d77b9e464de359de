"""What a failed sync has lost: bytes that reads still show and that no later sync will write.

Linux reports a failed write-back once to each open file description and marks the pages
clean.  From then on reads show the bytes until the machine reboots, a sync through a handle
that was opened later has nothing to write and succeeds, and after a power loss each sector
holds what the medium held before, or what was to be written.  A page that is written to
again is dirty again, and the next sync takes all of it.  A size that is set again is written
again, too, though it were the same: ext4 and xfs log the inode then (``ext4_ext_truncate``,
``xfs_setattr_size``; read in their source, not tried on a disk that fails).

Leaves out: pages that the cache drops meanwhile (reads would show the medium).  Harsher than
ext4: the size that the failed changes gave the file may be lost, or not.
"""

from __future__ import annotations

from collections.abc import Iterable

from simulator.blocks import PAGE_BYTES

ChangeShape = tuple[int, int, object, object, int, int]
"""A change as :mod:`simulator.inode` keeps it; only where and how long is looked at here."""


class LostBytes:
    """For one file: the medium's content below pages that are clean and were never written.

    Arguments
    ---------
    pages: by number, what the medium holds; short where the medium's file ends.
    sizes: that the file may have on the medium instead of the one before its unsynced
        changes, the oldest first.
    """

    def __init__(self, pages: dict[int, bytes], sizes: list[int]) -> None:
        self.pages = pages
        self.sizes = sizes

    def fork(self) -> LostBytes:
        """A copy that may be changed while this one stays as it is."""
        return LostBytes(dict(self.pages), list(self.sizes))

    def after(self, changes: Iterable[ChangeShape]) -> LostBytes | None:
        """What is still lost once these changes have become durable."""
        for offset, length, data, _before, size_before, size_after in changes:
            if data is None or size_after != size_before:
                self.sizes.clear()  # the medium has got the size that the file has now
            if data is None:
                self._cut(offset)
                continue
            for number in _pages(offset, length):
                self.pages.pop(number, None)
            # Bytes are reachable only below the size, so a sync of them writes that as well.
            self.sizes = [size for size in self.sizes if size >= offset + length]
        return self if self.pages or self.sizes else None

    def _cut(self, size: int) -> None:
        keep, rest = divmod(size, PAGE_BYTES)
        for number in [number for number in self.pages if number >= keep]:
            if number == keep and rest:
                self.pages[number] = self.pages[number][:rest]
            else:
                del self.pages[number]


def touched_pages(changes: Iterable[ChangeShape]) -> set[int]:
    """The pages whose bytes these changes have changed."""
    touched: set[int] = set()
    for offset, length, data, _before, size_before, _size_after in changes:
        touched.update(_pages(offset, size_before - offset if data is None else length))
    return touched


def _pages(offset: int, length: int) -> range:
    return range(offset // PAGE_BYTES, (offset + length - 1) // PAGE_BYTES + 1)
