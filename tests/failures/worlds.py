"""Small worlds in which one thing goes wrong, and what can be asked of them afterwards.

The code under test is the replicator's own; machines, disks and the link are emulated.  A
world can be judged at any instant: the oracle recovers a copy of the replica's disks, robbed
of what was not synced, and compares the image with the truth.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from replicator.capture import Capture, SpoolPolicy
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.source import Source, SourceOptions
from replicator.spool import Spool
from simulator.blocks import BLOCK_BYTES as BLOCK
from simulator.device import DiskModel
from simulator.digest import image_digest
from simulator.disk import Disk
from simulator.host import Host, World, lose_everything
from simulator.inode import Choose, Inode
from simulator.link import Link, LinkModel
from simulator.namespace import Directory
from simulator.oracle import Oracle
from simulator.systems.byte_level import (
    REPLICA,
    REPLICA_ADDRESS,
    SET_ID,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)
from simulator.volume import SimFile, SimVolume

MS = 1_000_000
SECOND = 1_000_000_000
KIB, MIB = 1 << 10, 1 << 20
ROOT = "/data"
IMAGE = "/replica/image"

FAST = DiskModel(
    size_bytes=64 * MIB, bytes_per_second=10**12, positioning_ns=1000, sync_overhead_ns=1000
)


def slow(sync_ms: float, **fields: Any) -> DiskModel:
    """A disk whose every sync takes so long."""
    return replace(FAST, sync_overhead_ns=int(sync_ms * MS), **fields)


def payload(number: int, size: int = BLOCK) -> bytes:
    """Bytes that no other number gives and that no compression makes smaller."""
    return random.Random(number).randbytes(size)


class Event(NamedTuple):
    """What a host's software reported."""

    time_ns: int
    machine: str
    name: str
    values: tuple[int | str, ...]


Steps = Callable[["FailureWorld", Runtime, Volume], Awaitable[None]]


class Programs:
    """The source's programs: one coroutine, told by the test."""

    root = ROOT
    ledger = None

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.world: FailureWorld | None = None
        self.finished = False

    async def run(self, runtime: Runtime, volume: Volume, _until_ns: int) -> None:
        assert self.world is not None
        await self.steps(self.world, runtime, volume)
        self.finished = True
        while True:  # the process stays
            await sleep_ns(SECOND)

    async def mounts(self, *_arguments: Any, **_named: Any) -> None:
        return None


async def nothing(_world: FailureWorld, _runtime: Runtime, _volume: Volume) -> None:
    """Programs that do nothing."""


def blocks(path: str, first: int, count: int, every_ms: float = 2, size: int = BLOCK) -> Steps:
    """Write ``count`` pieces one behind the other, each of its own content."""

    async def steps(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        full = ROOT + path
        file = volume.open(full) if volume.exists(full) else volume.create(full)
        for number in range(first, first + count):
            await volume.admit(size)
            file.write_at(number * size, payload(number + 1, size))
            await sleep_ns(int(every_ms * MS))

    return steps


class FailureWorld:
    """Source and replica with a link, the truth, and an oracle.

    Arguments
    ---------
    steps: what the source's programs do.
    disks: models by ``machine/disk``; ``data`` of both machines is there in any case.
    files: what is in the protected set before the source starts for the first time.
    """

    def __init__(
        self,
        steps: Steps = nothing,
        *,
        disks: dict[str, DiskModel] | None = None,
        files: dict[str, bytes] | None = None,
        policy: SpoolPolicy = SpoolPolicy.RESYNCHRONIZE,
        spool: tuple[int, int] = (4 * MIB, 64 * KIB),
        journal: tuple[int, int] = (4 * MIB, 64 * KIB),
        source: dict[str, Any] | None = None,
        replica: dict[str, Any] | None = None,
        link: LinkModel | None = None,
    ) -> None:
        self.world = World(seed=1)
        self.clock = self.world.clock
        fitted = {f"{SOURCE}/data": FAST, f"{REPLICA}/data": FAST} | (disks or {})
        for name, model in fitted.items():
            machine, disk = name.split("/")
            self.world.machine(machine).add_disk(disk, model)
        assert self.world.network is not None
        model = link or LinkModel(bits_per_second=10**9, rtt_ns=MS)
        self.link = self.world.network.add_link(Link(self.clock, SOURCE, REPLICA, model))
        for path, data in (files or {}).items():
            put_file(self.disk(SOURCE), ROOT + path, data)
        self.programs = Programs(steps)
        self.programs.world = self
        source_options = {
            "batch_bytes": 16 * KIB,
            "heartbeat_ns": 20 * MS,
            "reconnect_ns": 10 * MS,
        } | (source or {})
        replica_options = {
            "journal_limit_bytes": journal[0],
            "segment_bytes": journal[1],
            "checkpoint_bytes": 30_000,
            "checkpoint_interval_ns": 100 * MS,
            "retry_ns": 30 * MS,
        } | (replica or {})
        options = ByteLevelOptions(
            spool_limit_bytes=spool[0],
            spool_segment_bytes=spool[1],
            spool_policy=policy,
            source=SourceOptions(SET_ID, SOURCE, REPLICA_ADDRESS, **source_options),
            replica=ReplicaOptions(SET_ID, REPLICA, **replica_options),
        )
        self.system = ByteLevelSystem(self.world, self.programs, options, 10 * SECOND)
        self.oracle = Oracle(
            self.system.truth, self.programs, self.system.recover, self.system.home
        )
        self.events: list[Event] = []
        self.failures: list[str] = []
        self.closed: list[str] = []
        """Programs that ended because their replica has taken over: as it is meant."""
        self.on_event: Callable[[Event], None] | None = None
        self.world.observers.append(self._observe)

    def _observe(self, machine: str, name: str, values: tuple[int | str, ...]) -> None:
        event = Event(self.clock.now(), machine, name, values)
        self.events.append(event)
        if name == "failed":
            fenced = str(values[0]).startswith("SourceFenced") and self.said("fence_kept", machine)
            (self.closed if fenced else self.failures).append(f"{machine}: {values[0]}")
        if self.on_event is not None:
            self.on_event(event)

    # -- what is there -------------------------------------------------------------

    @property
    def now_ms(self) -> float:
        return self.clock.now() / MS

    @property
    def source(self) -> Source:
        assert self.system.source is not None
        return self.system.source

    @property
    def replica(self) -> Replica:
        assert self.system.replica is not None
        return self.system.replica

    @property
    def store(self) -> ReplicaStore:
        return self.replica.store

    @property
    def capture(self) -> Capture:
        assert self.system.capture is not None
        return self.system.capture

    @property
    def spool(self) -> Spool:
        return self.capture.spool

    def host(self, process: str) -> Host:
        """The process of that name, on whichever machine it runs."""
        machine = REPLICA if process == REPLICA else SOURCE
        return self.world.machine(machine).processes[process]

    def disk(self, machine: str, name: str = "data") -> Disk:
        return self.world.machine(machine).disks[name]

    def said(self, name: str, machine: str = "") -> list[tuple[int | str, ...]]:
        """The values of all events of that name."""
        return [e.values for e in self.events if e.name == name and machine in ("", e.machine)]

    # -- time ----------------------------------------------------------------------

    def start(self) -> FailureWorld:
        self.system.start_replica()
        self.system.start_source()
        return self

    def at(self, ms: float, act: Callable[[], None]) -> None:
        self.clock.at(int(ms * MS), act)

    def run_to(self, ms: float, judge_every_ms: float = 0) -> None:
        """Let time pass up to ``ms``; judge all along when asked to."""
        end = int(ms * MS)
        step = int((judge_every_ms or 5) * MS)
        while self.clock.now() < end:
            self.clock.run_until(min(end, self.clock.now() + step))
            self._after_step(bool(judge_every_ms))

    def run_until(
        self, condition: Callable[[], bool], within_ms: float = 20_000, judge_every_ms: float = 0
    ) -> None:
        """Let time pass until a condition holds; fails when it does not in time."""
        end = self.clock.now() + int(within_ms * MS)
        step = int((judge_every_ms or 2) * MS)
        while not condition():
            assert self.clock.now() < end, f"waited in vain since {within_ms} ms: {self.describe()}"
            self.clock.run_until(self.clock.now() + step)
            self._after_step(bool(judge_every_ms))

    def _after_step(self, judge: bool) -> None:
        self.note_acknowledged()
        assert not self.failures, self.failures
        if judge:
            self.judge()

    def note_acknowledged(self) -> None:
        source = self.system.source
        if source is not None and source.committed:
            self.oracle.acknowledged(source.spool.epoch, source.durable)

    def converge(self, within_ms: float = 20_000, judge_every_ms: float = 0) -> None:
        """Until the programs are done and everything of theirs is applied; then judge."""
        self.run_until(
            lambda: self.programs.finished and self.system.converged, within_ms, judge_every_ms
        )
        self.judge()
        self.assert_sound()
        ours = image_digest(self.disk(SOURCE), ROOT)
        assert image_digest(self.disk(REPLICA), IMAGE) == ours, "the images differ"

    # -- judgement -----------------------------------------------------------------

    def judge(self) -> None:
        """Were the power of the replica lost now: is the image one that the source had?"""
        self.oracle.judge(
            self.world.machine(REPLICA).disks, lose_everything, "now", self.clock.now()
        )
        self.assert_sound()

    def assert_sound(self) -> None:
        broken = [f"{c.invariant}: {c.detail}" for c in self.oracle.checks if not c.holds]
        broken += self.system.truth.breaches + self.failures
        assert not broken, broken

    def describe(self) -> str:
        source, replica = self.system.source, self.system.replica
        parts = [f"at {self.now_ms} ms", f"programs {self.programs.finished}"]
        if source is not None:
            parts.append(
                f"source {source.state} ({source.cause}) epoch {source.spool.epoch} "
                f"completed {source.spool.completed} durable {source.durable}"
            )
        if replica is not None:
            store = replica.store
            parts.append(
                f"replica epoch {store.epoch} applied {store.applied} durable {store.durable} "
                f"stalled {store.stalled!r} cause {replica.cause!r}"
            )
        return "; ".join(parts)

    # -- faults --------------------------------------------------------------------

    def resize(self, machine: str, disk_name: str, size_bytes: int) -> None:
        """Give a volume another size."""
        disk = self.disk(machine, disk_name)
        disk.model = replace(disk.model, size_bytes=size_bytes)
        disk.nearly_full_bytes = size_bytes - 2 * BLOCK

    def fill(self, machine: str, disk_name: str, free_blocks: int) -> None:
        """Leave so many free blocks on a volume, whatever it holds."""
        used = self.disk(machine, disk_name).used_blocks
        self.resize(machine, disk_name, (used + free_blocks) * BLOCK)

    def replica_loses_power(self, down_ms: float = 5, choose: Choose = lose_everything) -> None:
        """At once; it comes back by itself."""
        self.note_acknowledged()
        self.system.replica_machine.lose_power(choose)
        self.system.replica = None
        self.oracle.judge(self.world.machine(REPLICA).disks, None, "crash", self.clock.now())
        self.at(self.now_ms + down_ms, lambda: void(self.system.start_replica()))

    def source_crashes(
        self, down_ms: float = 5, meanwhile: Callable[[], None] | None = None
    ) -> None:
        """The process only; ``meanwhile`` happens before it comes back."""
        self.note_acknowledged()
        self.system.source_machine.crash_process()
        self.system.source = None

        def restart() -> None:
            if meanwhile is not None:
                meanwhile()
            self.system.start_source()

        self.at(self.now_ms + down_ms, restart)

    def gap(self) -> None:
        """The history ends here, as by a full spool; the next one is synchronized."""
        self.capture.stop("the test wants a gap")

    def close(self) -> None:
        self.world.close()


def void(_value: object) -> None:
    """For callbacks whose result nobody wants."""


def put_file(disk: Disk, path: str, data: bytes) -> None:
    """A file that has been there for ever."""
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts)):
        parent = "/" + "/".join(parts[:depth])
        if parent not in [known for known, _node in disk.names.walk("/")]:
            number = disk.names.next_number
            disk.names.next_number += 1
            disk.names.add(parent, Directory(number))
    inode = disk.create(path)
    if data:
        disk.used_blocks += inode.write(0, data)
        inode.charged_blocks = inode.held_blocks
        inode.settle(inode.change_count())
    disk.names.settle_prefix(disk.names.changes)


def content(disk: Disk, path: str) -> bytes:
    """The bytes of a file as they are now."""
    node = disk.names.node(path)
    assert isinstance(node, Inode)
    return node.read(0, node.size)


def spoil(disk: Disk, path: str, offset: int, data: bytes) -> None:
    """Put other bytes on the medium, behind everybody's back."""
    node = disk.names.node(path)
    assert isinstance(node, Inode)
    node.write(offset, data)
    node.settle(node.change_count())


def files_below(disk: Disk, root: str) -> dict[str, bytes]:
    """Path to content of all files below a directory."""
    return {
        path: node.read(0, node.size)
        for path, node in disk.names.walk(root)
        if isinstance(node, Inode)
    }


class Handles:
    """How many files each machine holds open, and the most it ever did."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        self.peak: dict[str, int] = {}


@contextmanager
def counted_handles() -> Iterator[Handles]:
    """Count the open files of all hosts, by machine."""
    handles = Handles()
    known: set[int] = set()
    kept: list[Any] = []  # so that no id is used twice
    opened, created, closed = SimVolume.open, SimVolume.create, SimFile.close

    def name_of(holder: Any) -> str:
        return holder.machine.name if isinstance(holder, Host) else "?"

    def count(file: Any) -> Any:
        name = name_of(file._holder)
        known.add(id(file))
        kept.append(file)
        handles.open[name] = handles.open.get(name, 0) + 1
        handles.peak[name] = max(handles.peak.get(name, 0), handles.open[name])
        return file

    def close(file: Any) -> None:
        if id(file) in known:
            known.discard(id(file))
            handles.open[name_of(file._holder)] -= 1
        closed(file)

    SimVolume.open = (  # type: ignore[method-assign]
        lambda self, path, read_only=False: count(opened(self, path, read_only))
    )
    SimVolume.create = lambda self, path: count(created(self, path))  # type: ignore[method-assign]
    SimFile.close = close  # type: ignore[method-assign]
    try:
        yield handles
    finally:
        SimVolume.open, SimVolume.create = opened, created  # type: ignore[method-assign]
        SimFile.close = closed  # type: ignore[method-assign]
