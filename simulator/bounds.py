"""Bounds: spool and journal never take more of a disk than their limit.

What they take is measured on the emulated disks themselves and not asked of who keeps the account:
whenever room is reserved for a file of theirs, so that no peak is missed, and at each sample.
"""

from __future__ import annotations

from replicator.units import format_bytes
from simulator.blocks import BLOCK_BYTES
from simulator.disk_faults import files_of
from simulator.expectations import BOUNDS
from simulator.host import Machine
from simulator.inode import Inode
from simulator.measures import Check


class BoundsWatch:
    """Looks at what the segments of spool and journal take.

    Arguments
    ---------
    source, replica: the machines.
    spool_limit_bytes, journal_limit_bytes: what they may take.
    """

    def __init__(
        self, source: Machine, replica: Machine, spool_limit_bytes: int, journal_limit_bytes: int
    ) -> None:
        self._watched = [
            ("spool", source, spool_limit_bytes),
            ("journal", replica, journal_limit_bytes),
        ]
        self.peaks_bytes = {"spool": 0, "journal": 0}
        for machine in (source, replica):
            for disk in machine.disks.values():
                disk.watch_allocate = self.look

    def look(self) -> None:
        """Measure both now."""
        for name, machine, _limit in self._watched:
            if not machine.lost:
                taken = sum(_taken_bytes(inode) for _path, inode in files_of(machine, name))
                self.peaks_bytes[name] = max(self.peaks_bytes[name], taken)

    def check(self, at_seconds: float) -> Check:
        """Whether either ever took more than its limit."""
        found = [
            f"the {name} took {format_bytes(self.peaks_bytes[name])} of {format_bytes(limit)}"
            for name, _machine, limit in self._watched
        ]
        holds = all(self.peaks_bytes[name] <= limit for name, _machine, limit in self._watched)
        return Check(BOUNDS, at_seconds, "every reservation", holds, ", ".join(found))


def _taken_bytes(inode: Inode) -> int:
    """What a file takes, what is reserved for it included; a last block counts as begun."""
    return max(inode.size, (inode.charged_blocks - 1) * BLOCK_BYTES)
