"""The emulated disk: a volume behind the storage port that can lose its power.

Models: a page cache over a medium (reads see every write at once; a sync, or write-back in
the order of age once too much is dirty, makes changes durable), names and sizes that
survive as a file system would keep them, torn writes at sector boundaries, service times
of one device, dirty limit with back-pressure, a full volume, locks between processes,
syncs that fail or lie on request.  Each plain call and each end of a sync is one *step*
at which a crash can be asked for.

Leaves out: EIO on read and write (only syncs fail), eviction (what was read or written since
boot stays in memory), read-ahead, delayed allocation other than zeros beyond what was written,
quotas, access rights, holes as a property of their own, names longer than a directory block, a
file system that refuses to mount (a torn superblock).

Harsher than real: sizes and data survive independently of each other, file by file; an
fsync of a file never makes its name durable.  Kinder than real: write-back of old data is
taken to reach the medium (a drive whose cache lies is a fault to be asked for); within a
sector, bytes never mix; a sync of the parent makes attributes durable; after a failed sync of a
directory the file system goes on, where a real one may turn read-only.

Compared with Linux 6.18 over logged block devices, cut at any point (``tests/ground_truth``):
5,700 states of ext4 and 1,500 of xfs (both ``ordered``), 2,000 of btrfs (``any``); each is among
the legal outcomes here.  What only this disk allows is in ``docs/ground-truth.md``; the rules
of one file are in :mod:`simulator.survival`, the reasons in ``docs/decisions/0002-disk-model.md``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from replicator.errors import Locked, SyncFailed
from replicator.runtime import Completion, Crashed
from simulator.blocks import BLOCK_BYTES
from simulator.device import Device, DiskModel
from simulator.drive_cache import DriveCache
from simulator.event_trace import CHUNK_NUMBERS, EventTrace
from simulator.inode import Choose, Inode
from simulator.namespace import Edit, Namespace
from simulator.runtime import SimClock
from simulator.shared_page import Holder, PageMemory
from simulator.survival import lost_by_failure, power_loss

WRITE_BACK_CHUNK_BYTES = 4 << 20
METADATA_COMMIT_NS = 30_000_000_000
"""Names older than this are durable without a sync: file systems commit by themselves
(ext4 and xfs within 5 to 30 s by default)."""


class Disk:
    """The medium with its cache; survives the hosts that mount it.

    Arguments
    ---------
    clock: the simulated clock that service times are booked on.
    model: sizes and times.
    name: for messages, events and lock names.
    trace: where each step is noted, under the disk's name.
    """

    def __init__(
        self,
        clock: SimClock,
        model: DiskModel,
        name: str,
        trace: EventTrace | None = None,
    ) -> None:
        self.clock = clock
        self.model = model
        self.nearly_full_bytes = model.size_bytes - 2 * BLOCK_BYTES
        """Above it a write must look block by block how much of it fits."""
        self._write_back_above_bytes = model.dirty_limit_bytes // 2
        self.name = name
        self._sound_model = model
        self.device = Device(model)
        self.names = Namespace()
        self.used_blocks = 0
        self.dirty_bytes = 0
        self.steps = 0
        self.crash_at_step: int | None = None
        self.crash_keeps = 1.0
        """How much of a write is kept when the crash happens inside of it."""
        self.on_crash: Callable[[], None] | None = None
        """Called when the step asked for is reached, before Crashed is raised."""
        self.sync_fails: Callable[[str], bool] | None = None
        """Fault: says for the path of a file or directory whether this sync of it fails.

        For a file see :meth:`sync_failed`.  Of a directory no name becomes durable by it; for
        this process it fails for ever, and what another process syncs of it, or the file system
        commits by itself, is durable as ever: names live in a journal, not in clean pages.
        """
        self.drive_cache = DriveCache(self)
        """What syncs have put into the drive's own cache, while that lies."""
        self.refused = (0, -1)
        """Number of the last file that found no room for all that it was to take, and when."""
        self.foreign_blocks = 0
        """Fault: blocks that somebody else's files take."""
        self.misdirect: Callable[[Inode, int], None] | None = None
        """Fault: called with a file and the number below which its changes become durable now."""
        self.boots = 0
        self.watch_allocate: Callable[[], None] | None = None
        """Called when room has been reserved for a file."""
        self.watch_sync: Callable[[int, Holder], None] | None = None
        """Called when a sync begins: number of the file or directory, and whose sync it is."""
        self._trace = trace
        self._record = None if trace is None else trace.recorder(name)
        self._write_code = 0 if trace is None else trace.code(f"{name} write")
        self._inodes: dict[int, Inode] = {}
        self._dirty: dict[int, Inode] = {}
        self._writing_back = False
        self._admission: list[Completion[None]] = []
        self._locks: dict[str, Holder] = {}
        self.pages: dict[str, PageMemory] = {}
        """Memory that the processes which mount this disk share, by name."""
        self._unlinked: dict[int, Inode] = {}
        self._nameless_open: dict[int, Inode] = {}
        self._name_times: deque[int] = deque()
        self._names_settled = 0

    def free_bytes(self) -> int:
        self.reclaim()
        return self.model.size_bytes - self.used_blocks * BLOCK_BYTES

    # -- faults --------------------------------------------------------------------

    def power_loss(self, choose: Choose) -> None:
        """Lose the cache; ``choose`` decides what of the unsynced changes survives."""
        self.names.power_loss(choose, self.model.metadata == "ordered")
        for inode in list(self._inodes.values()):
            power_loss(inode, choose, self.model.sector_bytes)
        self._dirty.clear()
        self.dirty_bytes = 0
        self._writing_back = False
        self.device.reset()
        self.boots += 1
        self._admission.clear()
        self._locks.clear()
        self._inodes = {inode.number: inode for inode in _inodes_of(self.names)}
        for page in self.pages.values():
            page.lose_power()
        self._unlinked.clear()
        self._nameless_open.clear()
        self._name_times.clear()
        self._names_settled = self.names.changes
        self.drive_cache.lose_power()
        self.used_blocks = self.foreign_blocks
        self.used_blocks += sum(self._charge(inode) for inode in self._inodes.values())

    def fork(self, clock: SimClock, model: DiskModel) -> Disk:
        """A copy-on-write overlay; this disk must not change while the fork is in use.

        Nobody has anything open there, so what has no name takes no space.
        """
        fork = Disk(clock, model, self.name)
        fork.names = self.names.fork()
        nameless = sum(inode.charged_blocks for inode in self._nameless_open.values())
        fork.used_blocks = self.used_blocks - self.foreign_blocks - nameless
        for inode in _inodes_of(fork.names):
            fork._inodes[inode.number] = inode
            if not inode.links:
                inode.charged_blocks = 0
                inode.reserved.clear()
            fork.dirty_bytes += inode.dirty_bytes
            if inode.changes:
                fork._dirty[inode.number] = inode
        return fork

    def let_go(self) -> None:
        """Nobody needs it any more: handles that are still open hold no file in memory."""
        for inode in self._inodes.values():
            inode.handles.clear()

    def fill(self, free_bytes: int) -> int:
        """Somebody else's files take all room but so much; returns how many blocks they are."""
        more = max(0, (self.free_bytes() - free_bytes) // BLOCK_BYTES)
        self.foreign_blocks += more
        self.used_blocks += more
        return more

    def give_room(self, blocks: int) -> None:
        """So much of somebody else's files is gone again."""
        self.foreign_blocks -= blocks
        self.used_blocks -= blocks

    def find(self, number: int) -> Inode | None:
        """The file of a number; None when it is gone."""
        return self._inodes.get(number)

    def files(self) -> list[Inode]:
        """All files that have a name, by number."""
        return sorted(_inodes_of(self.names), key=lambda inode: inode.number)

    def copy(self) -> Disk:
        """What programs see here now, as a medium of its own; it stays as it is."""
        copy = self.fork(self.clock, self.model)
        copy.names.log.clear()
        for inode in _inodes_of(copy.names):
            inode.detach()
        return copy

    def put_back(self, copy: Disk) -> None:
        """The medium holds what was seen when ``copy`` was made; nothing may run here."""
        self.names = copy.names
        self._inodes = {inode.number: inode for inode in _inodes_of(self.names)}
        self.power_loss(lambda _outcomes: 0)

    def set_slowness(self, factor: float) -> None:
        """Each request takes so many times as long as the device's own figures say."""
        sound = self._sound_model
        self.model = self.device.model = replace(
            self.model,
            positioning_ns=round(sound.positioning_ns * factor),
            bytes_per_second=max(1, int(sound.bytes_per_second / factor)),
            sync_overhead_ns=round(sound.sync_overhead_ns * factor),
        )

    def when_served(self, end_ns: int, fn: Callable[[], None]) -> None:
        """Call ``fn`` when a request is done that is to be so at ``end_ns``.

        Later by as long as the device has stood still in between.
        """
        device = self.device
        stalled_ns = device.stalled_ns

        def served() -> None:
            if device.stalled_ns == stalled_ns:
                fn()
            else:
                self.when_served(self.clock.now() + device.stalled_ns - stalled_ns, fn)

        self.clock.at(end_ns, served)

    def name_step(self, event: str, *values: int) -> None:
        """A step that changed names; old changes of names settle by themselves."""
        now_ns = self.clock.now()
        if self.names.changes > self._names_settled + len(self._name_times):
            self._name_times.append(now_ns)
        while self._name_times and self._name_times[0] < now_ns - METADATA_COMMIT_NS:
            self._name_times.popleft()
            self._names_settled += 1
        if self.names.settle_prefix(self._names_settled):
            self.collect_unlinked()
        self.step(event, *values)

    def collect_unlinked(self) -> None:
        """Forget the bytes of files whose last name is gone for good."""
        if not self._unlinked:
            return
        named = {inode.number for inode in _inodes_in_log(self.names)}
        for number in [n for n in self._unlinked if n not in named]:
            inode = self._unlinked.pop(number)
            if inode.links == 0:
                self.dirty_bytes -= inode.settle(inode.change_count())
                self._dirty.pop(number, None)
                self._inodes.pop(number, None)

    @staticmethod
    def _charge(inode: Inode) -> int:
        inode.charged_blocks = inode.held_blocks if inode.links else 0
        return inode.charged_blocks

    # -- steps and time ------------------------------------------------------------

    def step(self, event: str, *values: int) -> None:
        """Count one storage step; the crash that was asked for happens here."""
        self.steps += 1
        if self._record is not None:
            self._record(event, *values)
        if self.crash_at_step is not None:
            self._crash_if_due()

    def _crash_if_due(self) -> None:
        if self.crash_at_step is not None and self.steps >= self.crash_at_step:
            self.crash_at_step = None
            if self.on_crash is not None:
                self.on_crash()
            raise Crashed(f"{self.name}: crash at storage step {self.steps}")

    def changed(self, inode: Inode, length: int, new_blocks: int) -> None:
        """Account for dirty data and space; starts write-back when much is dirty."""
        self.used_blocks += new_blocks
        self.dirty_bytes += length
        if inode.number not in self._dirty:
            self._dirty[inode.number] = inode
        if self.dirty_bytes > self._write_back_above_bytes and not self._writing_back:
            self._write_back()

    def wrote(self, inode: Inode, offset: int, length: int, new_blocks: int) -> None:
        """A write: :meth:`changed` and :meth:`step` in one, for there is none more frequent."""
        number = inode.number
        if new_blocks:
            self.used_blocks += new_blocks
        self.dirty_bytes += length
        if number not in self._dirty:
            self._dirty[number] = inode
        if self.dirty_bytes > self._write_back_above_bytes and not self._writing_back:
            self._write_back()
        self.steps += 1
        trace = self._trace
        if trace is not None:
            numbers = trace.numbers
            numbers += (self.clock.now(), self._write_code, number, offset, length)
            if len(numbers) > CHUNK_NUMBERS:
                trace.flush()
            if trace.watch is not None:
                trace.watch(f"{self.name} write", (number, offset, length))
        if self.crash_at_step is not None:
            self._crash_if_due()

    def settle(self, inode: Inode, up_to: int) -> None:
        """The changes numbered below ``up_to`` have reached the medium."""
        if self.misdirect is not None:
            self.misdirect(inode, up_to)
        self._forget(inode, up_to)

    def _forget(self, inode: Inode, up_to: int) -> None:
        """The changes numbered below ``up_to`` are not dirty any more."""
        self.dirty_bytes -= inode.settle(up_to)
        if not inode.changes:
            self._dirty.pop(inode.number, None)
        if self._admission and self.dirty_bytes < self.model.dirty_limit_bytes:
            waiting, self._admission = self._admission, []
            for completion in waiting:
                completion.set(None)

    def sync_failed(self, inode: Inode, up_to: int, error: SyncFailed) -> None:
        """A sync of the changes numbered below ``up_to`` has failed, for good.

        All handles of the file hear of it.  Its pages count as clean from here on: reads show
        the bytes until the next boot, a later sync through a new handle writes nothing of them
        and succeeds, and what the medium holds of them is for a power loss to choose.
        """
        lost = lost_by_failure(inode, up_to, self.model.sector_bytes)
        self._forget(inode, up_to)
        inode.lost = lost
        inode.poison(error)

    def _write_back(self) -> None:
        inode = next((i for i in self._dirty.values() if i.changes), None)
        if inode is None:
            self._dirty.clear()
            self._writing_back = False
            return
        self._writing_back = True
        size, count, runs, end = 0, 0, 0, -1
        for offset, length, data, _before, _size_before, _size_after in inode.changes:
            count += 1
            if data is not None:
                runs += offset != end
                end = offset + length
                size += length
            if size >= WRITE_BACK_CHUNK_BYTES:
                break
        up_to, boot = inode.first_change + count, self.boots
        done_ns = self.device.book(self.clock.now(), size, runs)

        def written() -> None:
            if self.boots != boot:
                return  # the power went away meanwhile
            self._writing_back = False
            self.settle(inode, up_to)
            if self.dirty_bytes > self._write_back_above_bytes:
                self._write_back()

        self.when_served(done_ns, written)

    def may_admit(self, size_bytes: int) -> bool:
        """Whether so much may be written without passing the dirty limit."""
        limit = self.model.dirty_limit_bytes
        return self.dirty_bytes + size_bytes <= limit or self.dirty_bytes == 0

    def wait_for_admission(self) -> Completion[None]:
        completion: Completion[None] = Completion()
        self._admission.append(completion)
        if not self._writing_back:
            self._write_back()
        return completion

    def create(self, path: str) -> Inode:
        """A new empty file under the path."""
        inode = Inode(self.names.next_number)
        self.names.add(path, inode)
        self.names.next_number += 1
        self._inodes[inode.number] = inode
        return inode

    def lost_a_name(self, inode: Inode) -> None:
        """Without any name a file is gone once it is not open (its bytes stay for an undo)."""
        if inode.links == 0:
            self._unlinked[inode.number] = inode
            if inode.is_open:
                self._nameless_open[inode.number] = inode
            else:
                self._give_back(inode)

    def reclaim(self) -> None:
        """Give back the space of files without a name that nobody has open any more.

        To be called before space counts: a process that dies closes nothing by itself.
        """
        if self._nameless_open:
            for inode in list(self._nameless_open.values()):
                if not inode.is_open:
                    self._give_back(inode)

    def _give_back(self, inode: Inode) -> None:
        self._nameless_open.pop(inode.number, None)
        self.used_blocks -= inode.charged_blocks
        inode.charged_blocks = 0
        inode.reserved.clear()

    def lock(self, name: str, holder: Holder, path: str) -> None:
        """Take the lock of a name; ``path`` is what the error calls it."""
        owner = self._locks.get(name)
        if owner is not None and not owner.dead:
            raise Locked("another process holds the lock", path=path)
        self._locks[name] = holder

    def unlock(self, name: str, holder: Holder) -> None:
        if self._locks.get(name) is holder:
            del self._locks[name]


def _inodes_in_log(names: Namespace) -> list[Inode]:
    found: list[Inode] = []
    for change in names.log:
        for edit in change.edits:
            if isinstance(edit, Edit):
                found.extend(n for n in (edit.before, edit.after) if isinstance(n, Inode))
    return found


def _inodes_of(names: Namespace) -> list[Inode]:
    found: dict[int, Inode] = {}
    for _path, node in names.walk("/"):
        if isinstance(node, Inode):
            found[node.number] = node
    for inode in _inodes_in_log(names):
        found[inode.number] = inode
    return list(found.values())
