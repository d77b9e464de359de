"""The time that a disk takes, and how much unwritten data it lets programs pile up.

Models one device that serves requests in the order of booking: positioning time for each
stretch that does not continue the one before, plus bytes at the sequential rate, plus a
fixed cost of a sync.  Leaves out: the elevator (positioning is an average, so a deep
queue is served somewhat too slowly), the controller's own cache (set ``positioning_ns``
to its write time instead), rotation phase.  Figures come from exchange.md section 5.3
through the scenario's disk profiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class DiskModel:
    """The parameters of one emulated disk and its file system.

    ``metadata`` says how names survive a power loss: ``"ordered"``, a prefix of all changes
    of names on the volume (ext4, xfs, NTFS), or ``"any"``, a prefix for each name of each
    directory by itself (what POSIX allows and btrfs does; a file moved to another directory
    may then have both names).
    """

    size_bytes: int = 1 << 40
    sector_bytes: int = 512
    bytes_per_second: int = 100_000_000
    positioning_ns: int = 7_500_000
    sync_overhead_ns: int = 0
    dirty_limit_bytes: int = 256 << 20
    metadata: str = "ordered"


INSTANT = DiskModel(bytes_per_second=10**15, positioning_ns=0, sync_overhead_ns=0)
"""A disk that takes no time: for enumerations and for offline recovery by oracles."""


def without_time(model: DiskModel) -> DiskModel:
    """A disk of which a power loss leaves the same, that takes no time and has room enough.

    Room, because offline nobody would ever free any: recovery would wait for ever.
    """
    return replace(INSTANT, sector_bytes=model.sector_bytes, metadata=model.metadata)


class Device:
    """One device as a line of bookings: ``book`` returns when the work will be done."""

    __slots__ = ("_stalled_until_ns", "busy_until_ns", "model", "stalled_ns")

    def __init__(self, model: DiskModel) -> None:
        self.model = model
        self.busy_until_ns = 0
        self.stalled_ns = 0
        """How long it has stood still so far, a stall under way counted to its end."""
        self._stalled_until_ns = 0

    def stall(self, now_ns: int, until_ns: int) -> None:
        """Serve nothing until then; what is booked already is served so much later."""
        start_ns = max(now_ns, self._stalled_until_ns)
        if until_ns > start_ns:
            self.busy_until_ns = max(self.busy_until_ns, start_ns) + until_ns - start_ns
            self.stalled_ns += until_ns - start_ns
            self._stalled_until_ns = until_ns

    def book(self, now_ns: int, size_bytes: int, runs: int) -> int:
        """Add ``size_bytes`` in ``runs`` separate stretches; returns the end in ns."""
        model = self.model
        service_ns = (
            runs * model.positioning_ns + size_bytes * 1_000_000_000 // model.bytes_per_second
        )
        start = self.busy_until_ns if self.busy_until_ns > now_ns else now_ns
        self.busy_until_ns = start + service_ns
        return self.busy_until_ns

    def reset(self) -> None:
        """Forget what was under way: the power is gone; what stands still goes on to do so."""
        self.busy_until_ns = self._stalled_until_ns
