"""A drive's own cache, which may lie: a sync returns, and nothing has reached the medium.

Models: while it lies, a sync returns at once; what it was to make durable is so when the cache has
been written (:meth:`DriveCache.drain`), and is gone with the power.

Leaves out: a cache that writes a part of what it holds by itself, or in another order; what
survives a power loss is drawn among the changes of the file or directory as for any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from replicator.runtime import Completion
from simulator.inode import Inode
from simulator.namespace import Directory

if TYPE_CHECKING:
    from simulator.disk import Disk


class DriveCache:
    """Of one emulated disk.

    Arguments
    ---------
    disk: whose changes it holds.
    """

    def __init__(self, disk: Disk) -> None:
        # Not held: a copy that was made for an examination is gone with it, no collector needed.
        self._owner = ref(disk)
        self.lies = False
        """Fault: syncs return at once and make nothing durable."""
        self.times_lied = 0
        self._files: dict[int, int] = {}
        """Number of a file to the number below which a sync has answered for its changes."""
        self._names: list[tuple[Directory, int]] = []

    @property
    def _disk(self) -> Disk:
        disk = self._owner()
        assert disk is not None
        return disk

    def lie_about(self, inode: Inode) -> None:
        """A sync of a file returns, and all that it was to write is here."""
        self.times_lied += 1
        self._files[inode.number] = inode.change_count()
        self._disk.step("lie", inode.number)

    def lie_about_names(self, directory: Directory) -> None:
        """A sync of a directory returns, as :meth:`lie_about`."""
        self.times_lied += 1
        self._names.append((directory, self._disk.names.changes))
        self._disk.step("lie", directory.number)

    async def answered(self) -> None:
        """A drive that lies is quick, and still another than who asks: somebody else has a turn."""
        done: Completion[None] = Completion()
        self._disk.when_served(self._disk.clock.now(), lambda: done.set(None))
        await done

    def drain(self) -> None:
        """All of it is written: what was lied about is durable now."""
        disk = self._disk
        files, self._files = self._files, {}
        names, self._names = self._names, []
        for number, up_to in files.items():
            inode = disk.find(number)
            if inode is not None and up_to > inode.first_change:
                disk.settle(inode, up_to)
        for directory, up_to in names:
            disk.names.settle(directory, up_to, disk.model.metadata == "ordered")
        disk.collect_unlinked()

    def lose_power(self) -> None:
        """What it holds is gone."""
        self._files.clear()
        self._names.clear()
