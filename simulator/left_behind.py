"""What an old source wrote after its replica had taken over: is it kept, and does it say so?

Read from the source's emulated disks, as an operator would find them: the records of its spool,
one by one, and the note that closes it (:mod:`replicator.fence`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from replicator.fence import fence_cause
from replicator.records import InvalidRecord, RecordType, decode, find_valid
from replicator.slots import newest_of
from simulator.disk_faults import disks_of, files_of
from simulator.host import Machine
from simulator.inode import Inode
from simulator.judgement import SECOND_NS, Claim, Found
from simulator.measures import FaultMark
from simulator.systems.byte_level import SOURCE, SPOOL_ROOT
from simulator.systems.interface import ProtectionSystem

_OF_THE_SPOOL: Final = frozenset({"bit_rot", "misdirected_write", "lost_flush"})
"""Faults of the source's own disk that may take what its spool held."""


def fence_on_disk(system: ProtectionSystem) -> str:
    """Why the source is closed, in the words that its disk has; empty while it is open."""
    machine = system.source_machine
    if machine.lost:
        return ""
    [disk] = disks_of(machine, "spool")
    nodes = [disk.names.find(path) for path in _SLOTS]
    slots = (n.read(0, n.size) for n in nodes if isinstance(n, Inode))
    return fence_cause(newest_of(slots, "fence"))


_SLOTS: Final = (f"{SPOOL_ROOT}/fence.a", f"{SPOOL_ROOT}/fence.b")


def kept_check(
    system: ProtectionSystem, claim: Claim, marks: Iterable[FaultMark], stopped: bool
) -> Found | None:
    """Whether the spool still has all that was captured after what the replica took over.

    Arguments
    ---------
    claim: the image that took over.
    marks: the faults as they happened.
    stopped: capture has stopped since (a full spool, for one): what followed was never in it.

    Returns None where the source's own disk or power has taken it, and where what took over is what
    is left of an image: which operations it has nobody can say.
    """
    if not claim.epoch and claim.damage:
        return None
    machine, truth = system.source_machine, system.truth
    epoch = max(truth.epochs, default=0)
    if not epoch or not machine.powered or _taken(truth.times_ns[truth.epochs[epoch]], marks):
        return None
    first = claim.operation + 1 if epoch == claim.epoch else 1
    last = truth.operations_of(epoch)
    end = truth.instant_of(epoch, last)
    uncaptured = truth.instant - end
    if last < first and not uncaptured:
        return True, f"its programs wrote nothing that the image after {claim.words} lacks"
    there = _operations(machine, epoch)
    missing = [number for number in range(first, last + 1) if number not in there]
    begun = "" if epoch == claim.epoch else ", begun with all that they had written before"
    wrote = (
        f"operations {first} to {last} of epoch {epoch}{begun}, which its programs wrote until "
        f"{truth.times_ns[end] / SECOND_NS:.3f} s"
    )
    if missing:
        return (
            None
            if stopped
            else (False, f"{wrote}, are in no copy, and its spool lacks {missing[:3]} of them")
        )
    more = f"; {uncaptured} more, until {truth.times_ns[-1] / SECOND_NS:.3f} s, in its files only"
    return True, f"{wrote}, are in its spool and in no copy{more if uncaptured else ''}"


def _taken(began_ns: int, marks: Iterable[FaultMark]) -> bool:
    """Whether a fault of the source itself may have taken what its spool held of an epoch."""
    return any(
        mark.where == SOURCE
        and (
            mark.kind in _OF_THE_SPOOL
            or (mark.kind == "power_loss" and mark.start_seconds * SECOND_NS >= began_ns)
        )
        for mark in marks
    )


def _operations(machine: Machine, epoch: int) -> set[int]:
    """Numbers of the operations of an epoch that the spool holds."""
    found: set[int] = set()
    for _path, inode in files_of(machine, "spool"):
        data, at = inode.read(0, inode.size), 0
        while at < len(data):
            try:
                record = decode(data, at)
            except InvalidRecord:
                later = find_valid(data, at + 1)
                if later is None:
                    break
                record, at = later
            if record.type == RecordType.OPERATION and record.epoch == epoch:
                found.add(record.sequence)
            at += record.size_bytes
    return found


__all__ = ["fence_on_disk", "kept_check"]
