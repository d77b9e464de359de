"""Emulated disks made real: the directory trees of a short run, as files of this machine.

``copy_tree`` writes what programs on an emulated disk see now; :func:`run_directories` plays a
small store through the replicator and leaves the source's spool and the replica's root as an
operator would find them on two hosts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from replicator.replica_options import ReplicaOptions
from replicator.source import SourceOptions
from simulator.device import DiskModel
from simulator.disk import Disk
from simulator.exchange.load import LoadConfig
from simulator.exchange.small_store import SmallStoreConfig
from simulator.host import World
from simulator.inode import Inode
from simulator.link import Link, LinkModel
from simulator.namespace import Directory
from simulator.systems.byte_level import (
    REPLICA,
    REPLICA_ADDRESS,
    SET_ID,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)
from simulator.workload import StoreWorkload

SECOND_NS = 1_000_000_000


def copy_tree(disk: Disk, path: str, target: Path, without: str | None = None) -> Path:
    """Copies everything below ``path`` of an emulated disk into ``target``, which is made.

    ``without``: a path below which nothing is copied.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name, node in disk.names.walk(path):
        if without is not None and name.startswith(without):
            continue
        place = target / name.removeprefix(path).lstrip("/")
        if isinstance(node, Directory):
            place.mkdir(parents=True, exist_ok=True)
        elif isinstance(node, Inode):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(node.read(0, node.size))
    return target


@dataclass
class Bench:
    """Two machines, a link and a small store under load."""

    seconds: int = 30
    segment_bytes: int = 32 << 10
    spool_limit_bytes: int = 1 << 30
    journal_limit_bytes: int = 4 << 20
    checkpoint_bytes: int = 256 << 10
    messages_per_second: float = 4.0
    world: World = field(default_factory=lambda: World(seed=1))

    def __post_init__(self) -> None:
        world = self.world
        for machine in (SOURCE, REPLICA):
            world.machine(machine).add_disk("data", DiskModel())
        self.link = Link(
            world.clock, SOURCE, REPLICA, LinkModel(bits_per_second=10_000_000, rtt_ns=60_000_000)
        )
        world.network.add_link(self.link)
        load = LoadConfig(messages_per_second=self.messages_per_second, mailboxes=2)
        workload = StoreWorkload(SmallStoreConfig(mailboxes=2), load, world.random("load"))
        options = ByteLevelOptions(
            spool_limit_bytes=self.spool_limit_bytes,
            spool_segment_bytes=self.segment_bytes,
            source=SourceOptions(SET_ID, SOURCE, REPLICA_ADDRESS, batch_bytes=16 << 10),
            replica=ReplicaOptions(
                SET_ID,
                REPLICA,
                journal_limit_bytes=self.journal_limit_bytes,
                segment_bytes=self.segment_bytes,
                checkpoint_bytes=self.checkpoint_bytes,
            ),
        )
        self.system = ByteLevelSystem(world, workload, options, self.seconds * SECOND_NS)
        self.system.start_replica()
        self.system.start_source()

    def run_until(self, seconds: float) -> None:
        self.world.clock.run_until(int(seconds * SECOND_NS))

    def spool(self, target: Path) -> Path:
        """The source's spool root: segments and state."""
        return copy_tree(self.world.machine(SOURCE).disks["data"], "/spool", target)

    def replica(self, target: Path) -> Path:
        """The replica's root: journal, checkpoint, staging; not the image, which is large."""
        disk = self.world.machine(REPLICA).disks["data"]
        return copy_tree(disk, "/replica", target, without="/replica/image")


def run_directories(target: Path, cut_off_at: float = 12.0, until: float = 16.0) -> Bench:
    """A run whose link fails at ``cut_off_at``: ``target/spool`` and ``target/replica``.

    So the replica has applied a part, its journal holds what the last checkpoint lacks, and
    the spool what came after.
    """
    bench = Bench()
    bench.run_until(cut_off_at)
    bench.link.partition()
    bench.run_until(until)
    bench.spool(target / "spool")
    bench.replica(target / "replica")
    return bench
