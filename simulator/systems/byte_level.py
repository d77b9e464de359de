"""Byte-level replication by the reference replicator, on two emulated machines.

The source machine runs the programs through the capturing volume and the sender in one
process; the replica machine runs the replica.  Restarting a machine runs exactly what an
operator's service would run: recovery first, then the programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from replicator.capture import Capture, CapturedVolume, SpoolPolicy
from replicator.replica import Replica
from replicator.replica_store import ReplicaStore
from replicator.runtime import group
from replicator.safeguards import ALL_SAFEGUARDS, ReplicaOptions, Safeguards
from replicator.slots import StateSlots
from replicator.source import Source, SourceOptions, SourceState
from replicator.spool import Spool
from simulator.host import Host, Machine, World
from simulator.truth import Truth, TruthVolume
from simulator.workload import Workload

SOURCE, REPLICA = "source", "replica"
REPLICA_ADDRESS = "replica:7000"
REPLICA_ROOT = "/replica"
SPOOL_ROOT = "/spool"
JOURNAL_ROOT = "/journal"
"""Of a journal that has a volume of its own."""
SET_ID = "first storage group"


@dataclass(frozen=True, slots=True)
class ByteLevelOptions:
    """The reference replicator's settings for one protected set."""

    spool_limit_bytes: int = 1 << 30
    spool_segment_bytes: int = 8 << 20
    spool_policy: SpoolPolicy = SpoolPolicy.RESYNCHRONIZE
    source: SourceOptions = field(
        default_factory=lambda: SourceOptions(SET_ID, SOURCE, REPLICA_ADDRESS)
    )
    replica: ReplicaOptions = field(default_factory=lambda: ReplicaOptions(SET_ID, REPLICA))
    safeguards: Safeguards = ALL_SAFEGUARDS


class ByteLevelSystem:
    """The two ends and what they stand on.

    Arguments
    ---------
    world: machines ``source`` and ``replica`` with their disks must have been fitted:
        ``data`` on both, and, if they are to be apart, ``spool`` and ``journal``.
    workload: the source's programs.
    options: settings of the replicator.
    until_ns: when the programs end their work.
    """

    def __init__(
        self, world: World, workload: Workload, options: ByteLevelOptions, until_ns: int
    ) -> None:
        self.world = world
        self.workload = workload
        self.options = options
        self.until_ns = until_ns
        self.source_machine: Machine = world.machine(SOURCE)
        self.replica_machine: Machine = world.machine(REPLICA)
        self.truth = Truth(self.source_machine.disks["data"], "data", workload.root)
        self.source: Source | None = None
        self.replica: Replica | None = None
        self.programs_run = False
        self.resynchronizations = 0
        self.spool_bytes = 0
        self._truth_check: Callable[[Capture], None] | None = None
        self.on_programs_failed: Callable[[BaseException], None] | None = None
        world.observers.append(self._observe)

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if machine == SOURCE and event == "epoch":
            assert isinstance(values[0], int)
            self.truth.begin_epoch(values[0])
        elif machine == SOURCE and event == "continue":
            assert isinstance(values[0], int)
            if values[0] not in self.truth.epochs and values[1] == 0:
                # The crash hit while the epoch was begun; no program has written since.
                self.truth.begin_epoch(values[0])
        elif machine == SOURCE and event == "synchronized":
            self.resynchronizations += 1

    # -- source --------------------------------------------------------------------

    def start_source(self) -> Host:
        """Boot the source machine's software."""
        if self.source_machine.powered and self.source_machine.incarnations:
            self._truth_check = self.truth.before_restart()
        else:
            self._truth_check = None
            if self.source_machine.incarnations:
                self.truth.power_lost()
        self.source = None
        host = self.source_machine.boot()
        host.start(self._source_main(host), "source")
        return host

    def spool_volume_name(self) -> str:
        return "spool" if "spool" in self.source_machine.disks else "data"

    def journal_volume_name(self) -> str:
        return "journal" if "journal" in self.replica_machine.disks else "data"

    async def _source_main(self, host: Host) -> None:
        options = self.options
        volume, spool_volume = host.volume("data"), host.volume(self.spool_volume_name())
        if spool_volume.disk is volume.disk:
            spool_volume = volume
        for where, path in (
            (volume, self.workload.root),
            (spool_volume, SPOOL_ROOT),
            (spool_volume, SPOOL_ROOT + "/segments"),
        ):
            if not where.exists(path):
                where.mkdir(path)
                await where.sync_directory(path.rpartition("/")[0] or "/")
        lock = spool_volume.lock(SPOOL_ROOT + "/lock")
        spool = Spool(
            spool_volume,
            SPOOL_ROOT + "/segments",
            options.source.set_id,
            options.spool_segment_bytes,
            options.spool_limit_bytes,
        )
        capture = Capture(host, volume, self.workload.root, spool, options.spool_policy)
        self.truth.capture = capture
        slots = StateSlots(spool_volume, SPOOL_ROOT + "/source")
        source = Source(host, capture, slots, options.source)
        await source.start()
        self.source = source
        if self._truth_check is not None:
            self._truth_check(capture)
        programs = TruthVolume(self.truth, CapturedVolume(capture))
        async with group() as g:
            g.spawn(source.run(), "replication")
            await self.workload.run(host, programs, self.until_ns)
            host.emit("programs_done")
        lock.release()

    # -- replica -------------------------------------------------------------------

    def open_store(self, host: Host) -> ReplicaStore:
        """The replica's storage on a host: the machine's own, or an oracle's copy."""
        disks = host.machine.disks
        volume = host.volume("data")
        journal = host.volume("journal") if "journal" in disks else volume
        return ReplicaStore(
            host,
            volume,
            REPLICA_ROOT,
            journal,
            REPLICA_ROOT if journal is volume else JOURNAL_ROOT,
            self.options.replica,
            self.options.safeguards,
        )

    def start_replica(self) -> Host:
        """Boot the replica machine's software."""
        host = self.replica_machine.boot()
        host.start(self._replica_main(host), "replica")
        return host

    async def _replica_main(self, host: Host) -> None:
        store = self.open_store(host)
        await store.open()
        options = self.options.source
        self.replica = Replica(
            host, store, REPLICA_ADDRESS, options.heartbeat_ns, options.heartbeat_misses
        )
        await self.replica.run()

    # -- state ---------------------------------------------------------------------

    @property
    def converged(self) -> bool:
        """Whether the replica has applied everything that the source captured."""
        source, replica = self.source, self.replica
        if source is None or replica is None or not source.capture.capturing:
            return False
        return (
            source.state == SourceState.STREAMING
            and replica.store.epoch == source.spool.epoch
            and replica.store.applied == source.spool.completed
            and not replica.store.damage
        )

    def wire_bytes(self, link: Any) -> tuple[int, int]:
        """Bytes from source to replica and back."""
        toward = "to_b" if link.b_name == REPLICA else "to_a"
        return link.sent_bytes(toward), link.sent_bytes("to_a" if toward == "to_b" else "to_b")


__all__ = ["REPLICA", "SOURCE", "ByteLevelOptions", "ByteLevelSystem"]
