"""What was so at an instant of a run, and may be the reason of what was found there.

The table of :mod:`simulator.expectations` excuses little, and only under circumstances that can
be seen: that the replica itself names damage, that its disk lies just now.  Who looks for them is
here; what they excuse stands in the table.

What a fault has really taken away is no promise any more: after a power loss within a lie, or of
a replica from an old copy, the oracle counts promises anew (:meth:`~simulator.oracle.Oracle.void`)
instead of excusing all that comes.
"""

from __future__ import annotations

from replicator.records import find_valid
from replicator.segments import RECORD_TYPES, LogKind
from simulator.disk_faults import files_of
from simulator.expectations import LAST_RECORD, NAMED, UNVERIFIED
from simulator.faults import FaultInjector
from simulator.host import Machine
from simulator.judgement import Claim
from simulator.systems.interface import ProtectionSystem


class CircumstanceFinder:
    """Looks at the replica's machine.

    Arguments
    ---------
    system, faults: of the run.
    """

    def __init__(self, system: ProtectionSystem, faults: FaultInjector) -> None:
        self._system = system
        self._faults = faults

    def found(self, claim: Claim, final: bool = False) -> tuple[str, ...]:
        """What is so now.

        Arguments
        ---------
        claim: of a replica that would be started now.
        final: the run is over: what nobody has found out until now is found out by nobody.
        """
        system = self._system
        so = []
        if claim.damage:
            so.append(NAMED)
        if claim.unverified and not final and self._nobody_knows():
            so.append(UNVERIFIED)
        if self._last_record_is_rotten(system.replica_machine):
            so.append(LAST_RECORD)
        return tuple(so)

    def _nobody_knows(self) -> bool:
        """Whether it is told at this instant, or a power loss now would lose what was promised.

        A replica that runs tells it itself; of one that is down nobody tells anything.
        """
        doubts = self._system.doubts()
        told = doubts is None or bool(doubts.unverified)
        return told or self._faults.lies(self._system.replica_machine.name)

    def _last_record_is_rotten(self, machine: Machine) -> bool:
        """Whether rot has hit a record of the journal that has no other one behind it.

        Only there it looks like a write that a power loss has cut off.
        """
        rotten = self._faults.rotten_journal
        if not rotten or machine.lost:
            return False
        files = sorted(files_of(machine, "journal"))
        for path, offset in rotten:
            later = [inode for name, inode in files if name > path]
            here = [inode for name, inode in files if name == path]
            if here and not any(
                _has_record(inode.read(at, inode.size - at))
                for inode, at in [(here[0], offset + 1), *((inode, 0) for inode in later)]
            ):
                return True
        return False


def _has_record(data: bytes) -> bool:
    """Whether a valid record of a journal begins somewhere in these bytes."""
    at = 0
    while (found := find_valid(data, at)) is not None:
        record, at = found
        if record.type in RECORD_TYPES[LogKind.JOURNAL]:
            return True
        at += record.size_bytes
    return False
