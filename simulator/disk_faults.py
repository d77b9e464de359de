"""Faults of emulated disks: full, slow, standing still, lying, rotting, failing, astray.

Each tells :class:`~simulator.fault_marks.FaultMarks` when it really happened, or that it
never did: a slow disk that nobody asked for anything was not slow.  What they do to a disk
is said at :class:`~simulator.disk.Disk` and in :mod:`simulator.medium`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from random import Random
from typing import Final

from replicator.units import format_bytes, spell_duration
from simulator.disk import Disk
from simulator.fault_marks import FaultMarks
from simulator.host import Machine, World
from simulator.inode import Inode
from simulator.medium import Flip, misdirect_next, rot
from simulator.scenario_faults import (
    BitRot,
    DiskFault,
    DiskFull,
    DiskSlow,
    DiskStall,
    LostFlush,
    MisdirectedWrite,
    SyncFailure,
)
from simulator.systems.byte_level import JOURNAL_ROOT, REPLICA, REPLICA_ROOT, SPOOL_ROOT

_IDLE: Final = "nobody asked these disks for anything in that time"


@dataclass(slots=True, eq=False)
class _FailingSyncs:
    fault: SyncFailure
    left: int


class DiskFaults:
    """Carries out what befalls the hosts' disks.

    Arguments
    ---------
    world: whose machines' disks.
    marks: where each is noted.
    """

    def __init__(self, world: World, marks: FaultMarks, seed: int) -> None:
        self._world = world
        self._seed = seed
        self._marks = marks
        self._failing: list[_FailingSyncs] = []
        self._unanswered: set[str] = set()
        """Hosts of which a sync has failed since their software was last started again."""
        self._astray: list[tuple[MisdirectedWrite, list[Disk]]] = []
        """Those whose write has not come yet, and on which disks it may be."""
        self._slow: dict[Disk, list[float]] = {}
        self._lying: dict[Disk, int] = {}
        self._rots = 0
        self.rotten_journal: list[tuple[str, int]] = []
        """Paths and offsets of what has changed in the journal and no recovery has met yet."""
        self.rotten: list[Flip] = []
        """What has rotted at the replica, and what writes that went astray have changed."""
        self.rotten_at_source: list[Flip] = []
        """The same of the source."""
        self.source_changed: Callable[[list[str]], None] = lambda _paths: None
        """Called with the paths when that has become more."""

    @property
    def still_waiting(self) -> list[str]:
        """Faults that wait for what never came, in words."""
        waiting = [
            f"{each.left} of {each.fault.count} failing syncs of the {each.fault.host} from "
            f"{spell_duration(each.fault.at_ns)} on never happened: it synced no more than that"
            for each in self._failing
            if each.left
        ]
        return waiting + [
            f"the misdirected write of the {each.host} from {spell_duration(each.at_ns)} on "
            "never happened: none came that could go astray"
            for each, _disks in self._astray
        ]

    def begin(self, fault: DiskFault) -> None:
        """It happens, or begins, now."""
        machine = self._world.machine(fault.host)
        if isinstance(fault, SyncFailure):
            self._failing.append(_FailingSyncs(fault, fault.count))
            for disk in machine.disks.values():
                disk.sync_fails = partial(self._sync_fails, fault.host)
        elif isinstance(fault, LostFlush):
            self._lie(machine, fault)
        elif isinstance(fault, BitRot):
            self._rot(machine, fault)
        else:
            disks = disks_of(machine, fault.volume)
            if isinstance(fault, DiskFull):
                self._fill(disks, fault)
            elif isinstance(fault, DiskSlow):
                self._slow_down(disks, fault)
            elif isinstance(fault, DiskStall):
                self._stall(disks, fault)
            else:
                self._misdirect(disks, fault)

    def lies(self, host: str) -> bool:
        """Whether a disk of the host says of syncs now that they are done, and they are not."""
        return any(disk.drive_cache.lies for disk in self._world.machine(host).disks.values())

    # -- room and time -----------------------------------------------------------------

    def _fill(self, disks: list[Disk], fault: DiskFull) -> None:
        taken = [(disk, disk.fill(fault.free_bytes)) for disk in disks]
        if not any(blocks for _disk, blocks in taken):
            left = format_bytes(max(disk.free_bytes() for disk in disks))
            self._marks.impossible(fault, f"no more than {left} were free anyway")
            return

        def end() -> None:
            for disk, blocks in taken:
                disk.give_room(blocks)

        note = f"all but {format_bytes(fault.free_bytes)}"
        self._marks.lasting("disk_full", fault.host, fault.duration_ns, end, note)

    def _slow_down(self, disks: list[Disk], fault: DiskSlow) -> None:
        for disk in disks:
            factors = self._slow.setdefault(disk, [])
            factors.append(fault.factor)
            disk.set_slowness(prod(factors))

        def end() -> None:
            for disk in disks:
                factors = self._slow[disk]
                factors.remove(fault.factor)
                disk.set_slowness(prod(factors))

        self._while_used(disks, fault, end, f"{fault.factor:g} times as slow")

    def _stall(self, disks: list[Disk], fault: DiskStall) -> None:
        now_ns = self._world.clock.now()
        for disk in disks:
            disk.device.stall(now_ns, now_ns + fault.duration_ns)
        self._while_used(disks, fault, lambda: None, "")

    def _while_used(
        self,
        disks: list[Disk],
        fault: DiskSlow | DiskStall,
        end: Callable[[], None],
        note: str,
    ) -> None:
        """It lasts, and has happened if a request fell into it or waited when it began."""
        now_ns = self._world.clock.now()
        still_ns = fault.duration_ns if isinstance(fault, DiskStall) else 0
        waiting = any(disk.device.busy_until_ns > now_ns + still_ns for disk in disks)
        before = [disk.device.busy_until_ns for disk in disks]

        def over() -> None:
            end()
            if not waiting and before == [disk.device.busy_until_ns for disk in disks]:
                self._marks.withdraw(mark, fault, _IDLE)

        mark = self._marks.lasting(fault.kind, fault.host, fault.duration_ns, over, note)

    # -- syncs that lie or fail --------------------------------------------------------

    def _lie(self, machine: Machine, fault: LostFlush) -> None:
        disks = list(machine.disks.values())
        before = sum(disk.drive_cache.times_lied for disk in disks)
        for disk in disks:
            self._lying[disk] = self._lying.get(disk, 0) + 1
            disk.drive_cache.lies = True

        def end() -> None:
            for disk in disks:
                self._lying[disk] -= 1
                disk.drive_cache.lies = self._lying[disk] > 0
                if not disk.drive_cache.lies:
                    disk.drive_cache.drain()
            lies = sum(disk.drive_cache.times_lied for disk in disks) - before
            mark.note = f"{lies:,} syncs"
            if not lies:
                self._marks.withdraw(mark, fault, "nothing was synced in that time")

        mark = self._marks.lasting("lost_flush", fault.host, fault.duration_ns, end)

    def _sync_fails(self, host: str, path: str) -> bool:
        """Whether this sync of a host is one that has to fail."""
        for each in self._failing:
            if each.fault.host == host and each.left:
                each.left -= 1
                self._unanswered.add(host)
                self._marks.instant("sync_failure", host, f"of {path}")
                return True
        return False

    def explains(self, host: str) -> bool:
        """Whether a sync of the host has failed since this was asked last."""
        if host not in self._unanswered:
            return False
        self._unanswered.discard(host)
        return True

    # -- bytes on the medium -----------------------------------------------------------

    def _rot(self, machine: Machine, fault: BitRot) -> None:
        self._rots += 1
        random = Random(f"{self._seed}/bit rot/{self._rots}")
        flips = rot(files_of(machine, fault.where), fault.count, random)
        said = [f"{flip.path} at byte {flip.offset:,}" for flip in flips]
        self._have_changed(machine, flips)
        if not said:
            self._marks.impossible(fault, f"nothing was on the medium of the {fault.where}")
            return
        more = f" and {len(said) - 3} more" if len(said) > 3 else ""
        note = f"{fault.where}: {', '.join(said[:3])}{more}"
        self._marks.instant("bit_rot", fault.host, note)

    def _have_changed(self, machine: Machine, flips: list[Flip]) -> None:
        if machine.name != REPLICA:
            self.rotten_at_source += flips
            self.source_changed([flip.path for flip in flips])
            return
        journal = {path for path, _inode in files_of(machine, "journal")}
        self.rotten_journal += [(f.path, f.offset) for f in flips if f.path in journal]
        self.rotten += flips

    def _misdirect(self, disks: list[Disk], fault: MisdirectedWrite) -> None:
        self._astray.append((fault, disks))
        self._watch()

    def _watch(self) -> None:
        """Have the disks tell of the next write that can go astray, one fault after the other."""
        for fault, disks in reversed(self._astray):
            for disk in disks:
                misdirect_next(disk, partial(self._went_astray, fault))

    def _went_astray(self, fault: MisdirectedWrite, note: str, flips: list[Flip]) -> None:
        [found] = [each for each in self._astray if each[0] is fault]
        self._astray.remove(found)
        for disk in found[1]:
            disk.misdirect = None
        self._have_changed(self._world.machine(fault.host), flips)
        self._marks.instant("misdirected_write", fault.host, note)
        self._watch()


def disks_of(machine: Machine, volume: str) -> list[Disk]:
    """The disks that a fault names; a spool or journal without a disk of its own is on ``data``."""
    if volume == "all":
        return list(machine.disks.values())
    return [machine.disks.get(volume, machine.disks["data"])]


def files_of(machine: Machine, where: str) -> list[tuple[str, Inode]]:
    """The files of a part of the replicator, by path."""
    volume, prefix = {
        "spool": ("spool", f"{SPOOL_ROOT}/segments/"),
        "journal": ("journal", "/journal/"),
        "checkpoint": ("data", f"{REPLICA_ROOT}/checkpoint."),
        "home": ("data", f"{REPLICA_ROOT}/image/"),
        "staging": ("data", f"{REPLICA_ROOT}/staging/"),
    }[where]
    [disk] = disks_of(machine, volume)
    if where == "journal":
        prefix = (JOURNAL_ROOT if volume in machine.disks else REPLICA_ROOT) + prefix
    return [
        (path, node)
        for path, node in disk.names.walk("/")
        if isinstance(node, Inode) and path.startswith(prefix)
    ]
