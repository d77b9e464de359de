"""The truth of a source whose closed logs are shipped: when each generation was closed.

A copy by log shipping never has the bytes that the source had: it writes its own pages.  So there
is one history, epoch 1, operation *k* of which is the k-th call of the programs that changed, or
tried to change, their files; and what a copy must have is told by a generation, the number of the
call that closed it.  What was acknowledged before the call behind that is in this generation or
in an earlier one.  No digests are kept.

Where a crash cuts a roll in half, no log is open until recovery has made one: what recovery does
before that is in no log, and belongs to the generation that was closed.

A power loss of the source does not end this history: what was closed and durable stays so.  A
generation whose new name the power loss took back is closed again later, and counts from then.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from replicator.ese.log_names import LogRole, parse_log_name
from simulator.disk import Disk
from simulator.inode import Inode
from simulator.truth import Truth

EPOCH: Final = 1
_GENERATION_AT: Final = 4
"""In the header of a log."""


class ShippedTruth(Truth):
    """As :class:`Truth`, with generations in place of digests."""

    def __init__(self, disk: Disk, disk_name: str, root: str) -> None:
        super().__init__(disk, disk_name, root)
        self.begin_epoch(EPOCH)
        self._closed: list[int] = []
        """Generations that were closed, in order."""
        self._instants: list[int] = []
        """The instant of each, or the last one before there was an open log again."""
        self._is_open = True
        """Whether there is a log that is being written."""
        self._look()

    @property
    def newest(self) -> int:
        """The newest generation that is closed; 0 for none."""
        return self._closed[-1] if self._closed else 0

    def operation_of(self, generation: int) -> int:
        """The operation that closed a generation, or the newest one before it; 0 for none."""
        place = bisect_right(self._closed, generation)
        return self._instants[place - 1] if place else 0

    def newest_at(self, time_ns: int) -> int:
        """The newest generation that was closed by a time; 0 for none."""
        newest = 0
        for generation, instant in zip(self._closed, self._instants, strict=True):
            if self.times_ns[instant] > time_ns:
                break
            newest = generation
        return newest

    def names_changed(self) -> None:
        self._note(0)
        self._look()
        self._while_none_is_open()

    def nothing_changed(self) -> None:
        self._note(0)
        self._while_none_is_open()

    def _content_changed(self, inode: Inode, length: int) -> None:
        self._note(length)
        self._while_none_is_open()

    def _while_none_is_open(self) -> None:
        """Nothing can be logged: all up to now is in the newest closed log, or an earlier one."""
        if not self._is_open and self._closed:
            self._instants[-1] = self.instant

    def _note(self, length: int) -> None:
        self.times_ns.append(self.disk.clock.now())
        self.written_bytes.append(self.written_bytes[-1] + length)

    def power_lost(self) -> None:
        """What was closed and is not any more will be closed again."""
        self._in_doubt = None
        current = self._current()
        while current and self._closed and self._closed[-1] >= current:
            self._closed.pop()
            self._instants.pop()
        self._is_open = bool(current)

    def resumed(self) -> None:
        """The programs start again: a call that was cut short may have happened."""
        self._in_doubt = None
        if any(each > self.newest for each in self._there()):
            self._note(0)
            self._look()

    def _there(self) -> list[int]:
        found = (parse_log_name(name) for name in self.disk.names.directory(self.root).entries)
        return [
            each.generation
            for each in found
            if each is not None and each.role is LogRole.CLOSED and each.generation is not None
        ]

    def _current(self) -> int:
        """The generation of the log that is being written; 0 where it is not there."""
        for name, node in self.disk.names.directory(self.root).entries.items():
            found = parse_log_name(name)
            if found is not None and found.role is LogRole.CURRENT and isinstance(node, Inode):
                return int.from_bytes(node.read(_GENERATION_AT, 4), "little")
        return 0

    def _look(self) -> None:
        for generation in sorted(each for each in self._there() if each > self.newest):
            self._closed.append(generation)
            self._instants.append(self.instant)
        self._is_open = bool(self._current())


__all__ = ["EPOCH", "ShippedTruth"]
