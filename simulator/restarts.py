"""Processes that end by themselves: started again, as a service manager would, and judged.

The replicator is made to end with an error when its storage fails, and to recover at the
next start.  So an end that a fault of the same machine explains is no defect, if the next
start lasts.  One that nothing explains, or that comes again, leaves the set unprotected
until somebody acts: a breach of liveness.  Programs that end for want of room are not the
replicator: while somebody else fills a volume of their machine they may do so each time.

Which faults explain an end, and for how long: :data:`EXPLAINS`.  A crash, a slow processor or a
clock that jumps explain none: they are what it must be able to take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from simulator.measures import FaultMark, Verdict

SECOND_NS = 1_000_000_000
AFTERWARDS_SECONDS = 10.0
"""So long after a fault of storage is over a process may still end by what it left."""


class Lasting(Enum):
    """How long a fault explains that a process ends."""

    WHILE_IT_LASTS = "while it lasts, and shortly afterwards"
    FOR_EVER = "for ever: what it has damaged is found when it is read"


EXPLAINS: Final = {
    "sync_failure": Lasting.FOR_EVER,
    "disk_full": Lasting.WHILE_IT_LASTS,
    "disk_stall": Lasting.WHILE_IT_LASTS,
    "lost_flush": Lasting.FOR_EVER,
    "bit_rot": Lasting.FOR_EVER,
    "misdirected_write": Lasting.FOR_EVER,
}
"""Kinds of faults that the software of a machine may end by."""
PROGRAMS = "programs"
"""The process of what writes at the source."""


class Restarts:
    """Keeps count.

    Arguments
    ---------
    faults: the faults that have happened so far.
    """

    def __init__(self, faults: Callable[[], Iterable[FaultMark]]) -> None:
        self._faults = faults
        self._ended: set[str] = set()
        self.found: list[tuple[Verdict, str]] = []
        """Ends that count against the replicator."""
        self.given_up = False
        """A process has ended twice: there is nothing more to see."""

    def ended(
        self, machine: str, process: str, why: str, now_ns: int, for_good: bool = False
    ) -> bool:
        """A process has ended by itself; returns whether to start it again.

        Arguments
        ---------
        why: its last words.
        for_good: it asks not to be started again.
        """
        if process == PROGRAMS and self._is_full(machine, now_ns / SECOND_NS):
            return not for_good
        again = process in self._ended
        self._ended.add(process)
        if again or for_good:
            self.given_up = True
            reason = "a second time" if again else "for good"
        elif any(self._explains(fault, machine, now_ns / SECOND_NS) for fault in self._faults()):
            return True
        else:
            reason = "and no fault explains it"
        at = f"at {now_ns / SECOND_NS:.1f} s"
        self.found.append(
            (Verdict.LIVENESS, f"the {process} ended by itself {at}, {reason}: {why}")
        )
        return not self.given_up

    @staticmethod
    def _explains(fault: FaultMark, machine: str, now_seconds: float) -> bool:
        """Whether a process of the machine may have to end by a fault."""
        if fault.where != machine or fault.kind not in EXPLAINS:
            return False
        lasts = EXPLAINS[fault.kind] is Lasting.FOR_EVER or fault.end_seconds is None
        return lasts or now_seconds <= (fault.end_seconds or 0) + AFTERWARDS_SECONDS

    def _is_full(self, machine: str, now_seconds: float) -> bool:
        return any(
            fault.kind == "disk_full"
            and fault.where == machine
            and fault.start_seconds <= now_seconds <= (fault.end_seconds or now_seconds)
            for fault in self._faults()
        )
