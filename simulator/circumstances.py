"""What was so at an instant of a run, and may be the reason of what was found there.

The table of :mod:`simulator.expectations` excuses little, and only under circumstances that can
be seen: that the replica itself names damage, that its disk lies just now.  Who looks for them is
here; what they excuse stands in the table.

What a fault has really taken away is no promise any more: after a power loss within a lie, or of
a replica from an old copy, the oracle counts promises anew (:meth:`~simulator.oracle.Oracle.void`)
instead of excusing all that comes.
"""

from __future__ import annotations

from replicator.slots import newest_of
from replicator.source import SourceState
from simulator.disk_faults import files_of
from simulator.expectations import (
    ANOTHERS,
    LAST_RECORD,
    NAMED,
    ROT_ALONE,
    ROTTEN,
    SOURCE_LIED,
    SOURCE_SPOILT,
    SPOILT_AFTER_TAKEOVER,
    STATE_SPOILT,
    TORN,
    TORN_AFTER_TAKEOVER,
    TORN_PAGE,
    UNVERIFIED,
)
from simulator.faults import FaultInjector
from simulator.host import Machine
from simulator.journal_rot import from_redo, goes_on, looks_torn, segment_number
from simulator.judgement import SECOND_NS, Claim, complete_before_ns
from simulator.systems.byte_level import SPOOL_ROOT
from simulator.systems.interface import ProtectionSystem

_STATE = f"{SPOOL_ROOT}/source."
"""How the paths begin of what the source keeps of its history."""


class CircumstanceFinder:
    """Looks at the replica's machine.

    Arguments
    ---------
    system, faults: of the run.
    whole_bytes: what the source's programs need whole after a power loss of their disk.
    notice_ns: so long a source may believe that it streams though nobody hears it.
    """

    def __init__(
        self,
        system: ProtectionSystem,
        faults: FaultInjector,
        whole_bytes: int = 0,
        notice_ns: int = 0,
    ) -> None:
        self._system = system
        self._faults = faults
        self._whole_bytes = whole_bytes
        self._notice_ns = notice_ns
        self._ahead_until: dict[int, int] = {}
        """By epoch: home may hold operations up to this one that the journal has lost."""
        self._ahead_epoch = 0
        """Which of them the image is of; 0 while nobody has looked."""
        self._streamed_ns = -1
        """When the source was seen last to stream."""
        self._brought_over_ns: dict[int, int] = {}
        """When it was seen first to do so, by epoch: from then on its files are not read."""
        self._explained: set[str] = set()
        """Damage, in the replica's words, that rot in what it needed was the reason of."""
        self._opened_ns: int | None = None
        """When the store was opened at the replica, which had taken over."""

    def found(self, claim: Claim, final: bool = False) -> tuple[str, ...]:
        """What is so now.

        Arguments
        ---------
        claim: of a replica that would be started now.
        final: the run is over: what nobody has found out until now is found out by nobody.
        """
        so = self.of_damage(claim.damage, claim.rot_is_needed)
        if claim.rotten_alone:
            so.append(ROT_ALONE)
        if self.is_anothers():
            so.append(ANOTHERS)
        if claim.unverified and not final and self._nobody_knows():
            so.append(UNVERIFIED)
        if claim.rotten_end or self._may_be_ahead(claim):
            so.append(LAST_RECORD)
        truth = self._system.truth
        if claim.epoch:
            begun_ns = complete_before_ns(truth, claim.epoch, 0)
            if self._torn_before(begun_ns):
                so.append(TORN)
            newest_ns = truth.times_ns[truth.instant_of(claim.epoch, claim.operation)]
            if self._lied_before(max(begun_ns, newest_ns)):
                so.append(SOURCE_LIED)
            now_ns = truth.disk.clock.now()
            if self._source_spoilt_before(self._brought_over_ns.get(claim.epoch, now_ns)):
                so.append(SOURCE_SPOILT)
            if any(flip.path.startswith(_STATE) for flip in self._faults.rotten_at_source):
                so.append(STATE_SPOILT)
        if self._torn_at_replica():
            so.append(TORN_AFTER_TAKEOVER)
        if self._spoilt_at_replica():
            so.append(SPOILT_AFTER_TAKEOVER)
        return tuple(so)

    def of_damage(self, damage: str, rot_is_needed: bool = False) -> list[str]:
        """What is so of damage that the replica names.

        Arguments
        ---------
        damage: in its words; empty for none.
        rot_is_needed: rot was in what the recovery that names it needed.
        """
        if not damage:
            return []
        # Once named it is named until it is repaired; what rotted is set aside by then.
        if rot_is_needed:
            self._explained.add(damage)
        return [NAMED, ROTTEN] if damage in self._explained else [NAMED]

    def replica_names_damage(self, damage: str) -> None:
        """At this instant, before anything is made of it: what rotted is still in its place.

        It may have rotted since the start, which read it well: what is redone is read again.
        """
        self.of_damage(damage, self.rot_is_needed(self._system.replica_machine))

    def source_streams(self) -> None:
        """The source has reached the replica, and that has its history."""
        truth = self._system.truth
        self._streamed_ns = truth.disk.clock.now()
        self._brought_over_ns.setdefault(max(truth.epochs, default=0), self._streamed_ns)

    def is_anothers(self) -> bool:
        """Whether the copy may be that of a second source.

        It is from when that one comes until ours has reached the replica after it has gone.
        """
        system = self._system
        ends = [m.end_seconds for m in self._faults.marks() if m.kind == "second_source"]
        if not ends:
            return False
        now_ns = system.truth.disk.clock.now()
        end_ns = max(now_ns if end is None else end * SECOND_NS for end in ends)
        # Until then it may be the connection that the other one has taken from it.
        if (
            end_ns + self._notice_ns < now_ns
            and system.report().state == SourceState.STREAMING.value
        ):
            self.source_streams()
        return self._streamed_ns <= end_ns

    def store_opened(self, now_ns: int) -> None:
        """From now on the store writes the image that took over."""
        self._opened_ns = now_ns

    def own_disk_broke_it(self, number: int | None) -> str:
        """Why the source's store may refuse its own files now, in words; empty for no reason.

        ``number``: under which it refuses them; None of a store that has no numbers.
        """
        now_ns = self._system.truth.disk.clock.now()
        if number == TORN_PAGE and self._torn_before(now_ns):
            return "its disk tore a page in a power loss"
        if self._lied_before(now_ns):
            return "its disk had said that it had what was gone with the power"
        if self._source_spoilt_before(now_ns):
            return "its disk wrote to the wrong place"
        return ""

    def _torn_before(self, time_ns: int) -> bool:
        """Whether a power loss before an instant may have torn what the store needs whole.

        It finds that out by itself, and nothing that is replicated could mend it.
        """
        machine = self._system.source_machine
        tears = machine.disks["data"].model.sector_bytes < self._whole_bytes
        return tears and any(at_ns <= time_ns for at_ns in self._power_losses(machine))

    def _lied_before(self, time_ns: int) -> bool:
        """Whether the source's disk lied when its power failed, before an instant.

        Then its store may lack anything that it rests on, in any order.
        """
        machine = self._system.source_machine
        lies = [
            (mark.start_seconds, mark.end_seconds)
            for mark in self._faults.marks()
            if (mark.kind, mark.where) == ("lost_flush", machine.name)
        ]
        return any(
            at_ns <= time_ns
            and any(
                begin * SECOND_NS <= at_ns and (end is None or at_ns <= end * SECOND_NS)
                for begin, end in lies
            )
            for at_ns in self._power_losses(machine)
        )

    def _source_spoilt_before(self, time_ns: int) -> bool:
        """Whether a write of the source's disk went astray before an instant."""
        source = self._system.source_machine.name
        return any(
            (mark.kind, mark.where) == ("misdirected_write", source)
            and mark.start_seconds * SECOND_NS <= time_ns
            for mark in self._faults.marks()
        )

    def _torn_at_replica(self) -> bool:
        """The same of the replica's disk, since the store was opened there."""
        opened_ns, machine = self._opened_ns, self._system.replica_machine
        disk = machine.disks[self._system.home.disk]
        tears = disk.model.sector_bytes < self._whole_bytes
        return (
            tears
            and opened_ns is not None
            and any(at_ns >= opened_ns for at_ns in self._power_losses(machine))
        )

    def _spoilt_at_replica(self) -> bool:
        """Whether the replica's disk changed the store's files since that was opened there."""
        opened_ns, name = self._opened_ns, self._system.replica_machine.name
        return opened_ns is not None and any(
            mark.where == name
            and mark.start_seconds * SECOND_NS >= opened_ns
            and (mark.kind == "misdirected_write" or mark.note.startswith("home:"))
            for mark in self._faults.marks()
        )

    def _power_losses(self, machine: Machine) -> list[float]:
        """When there were any, in nanoseconds."""
        return [
            mark.start_seconds * SECOND_NS
            for mark in self._faults.marks()
            if (mark.kind, mark.where) == ("power_loss", machine.name)
        ]

    def _nobody_knows(self) -> bool:
        """Whether it is told at this instant, or a power loss now would lose what was promised.

        A replica that runs tells it itself; of one that is down nobody tells anything.
        """
        doubts = self._system.doubts()
        told = doubts is None or bool(doubts.unverified)
        return told or self._faults.lies(self._system.replica_machine.name)

    def starts(self) -> bool:
        """The replica is about to start: does recovery take rotten records for torn ones?

        Then its home is ahead of its journal, until the source has sent them again or another
        image has become home.
        """
        if not self.rotten_end(self._system.replica_machine):
            return False
        truth = self._system.truth
        begins = sorted(truth.epochs.items())
        ends = [*(begin for _epoch, begin in begins[1:]), truth.instant]
        self._ahead_until = {
            epoch: end - begin for (epoch, begin), end in zip(begins, ends, strict=True)
        }
        self._ahead_epoch = 0
        return True

    def _may_be_ahead(self, claim: Claim) -> bool:
        if not self._ahead_until:
            return False
        self._ahead_epoch = self._ahead_epoch or claim.epoch
        caught_up = claim.operation >= self._ahead_until.get(claim.epoch, 0)
        if claim.epoch != self._ahead_epoch or caught_up:
            self._ahead_until = {}
        return bool(self._ahead_until)

    def rot_is_needed(self, machine: Machine) -> bool:
        """Whether rot is in what recovery of the replica needs.

        In front of the place where the newest checkpoint says that redo begins all is in home
        already: nothing of that is needed, unless the newest record of all is among it and is
        rotten.  Of the checkpoint it needs one copy; the older one may begin in a segment that was
        freed, for what is freed is what the newest lets go of.

        A log that has rotted there after all may have rotted at its end, too: an end that looks
        torn is rightly named as damage then.

        Arguments
        ---------
        machine: the replica's, or a copy of it that has lost its power.
        """
        rotten = self._faults.rotten
        if not rotten or machine.lost:
            return False
        slots = [inode.read(0, inode.size) for _path, inode in files_of(machine, "checkpoint")]
        state = newest_of(slots, "checkpoint")
        if state is None:
            return any(slot.strip(b"\0") for slot in slots)
        redo_from = int(state["segment"]), int(state["offset"])
        hit_paths = {flip.path for flip in rotten}
        if any(path in hit_paths for path, _inode in files_of(machine, "staging")):
            return True
        segments = [
            (segment_number(path), path, inode) for path, inode in files_of(machine, "journal")
        ]
        one_is_left = any(newest_of([slot], "checkpoint") is None for slot in slots)
        if one_is_left and redo_from[0] not in {number for number, _path, _inode in segments}:
            return True
        newer = any(number > redo_from[0] for number, _path, _inode in segments)
        hit_before = False
        for number, path, inode in segments:
            hit = [flip.offset for flip in rotten if flip.path == path]
            if any((number, at) >= redo_from for at in hit):
                return True
            if hit and number == redo_from[0]:
                hit_before = True
                if not newer and not goes_on(inode, redo_from[1]):
                    return True
        if not hit_before:
            return False
        rotted_before, needed = from_redo(machine, rotten)
        return rotted_before and looks_torn(needed)

    def rotten_end(self, machine: Machine) -> bool:
        """Whether rot has hit records of the journal, and nothing else says that they were safe.

        Only then it looks like writes that a power loss has cut off: each record tells which ones
        had been durable before it was written, and of the newest nobody tells.

        Arguments
        ---------
        machine: the replica's, or a copy of it that has lost its power.
        """
        if not self._faults.rotten_journal or not self.rot_is_needed(machine):
            return False
        rotted_before, needed = from_redo(machine, self._faults.rotten)
        return not rotted_before and looks_torn(needed)
