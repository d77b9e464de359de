"""Processes that end by themselves: started again, as a service manager would, and judged.

The replicator is made to end with an error when its storage fails, and to recover at the
next start.  So an end that a fault of the same machine explains is no defect, if the next
start lasts.  One that nothing explains, or that comes again, leaves the set unprotected
until somebody acts: a breach of liveness.  Programs that end for want of room are not the
replicator: while somebody else fills a volume of their machine they may do so each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from simulator.measures import FaultMark, Verdict

SECOND_NS = 1_000_000_000
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
        elif any(fault.where == machine for fault in self._faults()):
            return True
        else:
            reason = "and no fault explains it"
        at = f"at {now_ns / SECOND_NS:.1f} s"
        self.found.append(
            (Verdict.LIVENESS, f"the {process} ended by itself {at}, {reason}: {why}")
        )
        return not self.given_up

    def _is_full(self, machine: str, now_seconds: float) -> bool:
        return any(
            fault.kind == "disk_full"
            and fault.where == machine
            and fault.start_seconds <= now_seconds <= (fault.end_seconds or now_seconds)
            for fault in self._faults()
        )
