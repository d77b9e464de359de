"""Byte-level replication by the reference replicator, on two emulated machines.

The source machine runs two processes: the programs, which capture what they write, and the
sender; either can be killed alone.  The replica machine runs the replica.  Restarting runs
exactly what an operator's services would run: recovery first, then the programs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from replicator.batch import Compressor
from replicator.board import Board
from replicator.capture import Capture, SpoolPolicy
from replicator.capture_lock import keep_while_nobody_captures
from replicator.captured_set import captured_set
from replicator.failover import FailoverOptions, FailoverProgress, FailoverReport, fail_over
from replicator.history import HistoryKeeper
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from replicator.runtime import group, sleep_ns
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from replicator.service import is_fenced, send_until_fenced
from replicator.source import Source, SourceOptions, SourceState
from replicator.source_place import SourcePlace, SpoolOptions
from simulator.host import Host, World
from simulator.link import Link
from simulator.systems.interface import (
    ImageReport,
    KeptTree,
    LagReport,
    OtherReplica,
    Recovered,
    ReplicaDoubts,
    SecondSourceMachine,
    SystemReport,
)
from simulator.systems.two_machines import (
    HOME_DISK,
    HOME_ROOT,
    PROGRAMS,
    REPLICA,
    REPLICA_ROOT,
    SENDER,
    SOURCE,
    TwoMachines,
)
from simulator.truth import Truth
from simulator.witness import WitnessedVolume
from simulator.workload import Workload

REPLICA_ADDRESS = "replica:7000"
SPOOL_ROOT = "/spool"
JOURNAL_ROOT = "/journal"
"""Of a journal that has a volume of its own."""
SET_ID = "first storage group"
_LOCK_PATIENCE_NS = 10_000_000_000
_LOOK_NS = 100_000_000


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
    pack: Callable[[bytes], bytes] | None = None
    """Compresses batches, with the same outcome; None for the replicator's own contexts."""


class ByteLevelSystem(TwoMachines):
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
        super().__init__(world, workload, until_ns)
        self.options = options
        self.truth = Truth(self.source_machine.disks["data"], "data", workload.root)
        self._replica_address = REPLICA_ADDRESS
        self.source: Source | None = None
        """The sender of the newest incarnation."""
        self.capture: Capture | None = None
        """Of whoever kept the history last."""
        self.replica: Replica | None = None
        self.programs_run = False
        self.resynchronizations = 0
        self.spool_bytes = 0
        self._truth_check: Callable[[Capture], None] | None = None
        self._kept_in_boot = 0
        """Boot of the source machine in which the history was kept last."""
        self.on_programs_failed: Callable[[BaseException], None] | None = None
        world.observers.append(self._observe)

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if machine != SOURCE:
            return
        if event == "history_opens":
            self._before_keeping()
        elif event == "epoch":
            assert isinstance(values[0], int)
            self.truth.begin_epoch(values[0])
        elif event == "continue":
            assert isinstance(values[0], int)
            if values[0] not in self.truth.epochs and values[1] == 0:
                # The crash hit while the epoch was begun; no program has written since.
                self.truth.begin_epoch(values[0])
            if self._truth_check is not None and self.capture is not None:
                self._truth_check(self.capture)
        elif event == "synchronized":
            self.resynchronizations += 1

    def _before_keeping(self) -> None:
        """Somebody is about to take over the history: what did the one before leave?"""
        boot, self._truth_check = self.source_machine.boots, None
        if boot == self._kept_in_boot:
            self._truth_check = self.truth.before_restart()
        self._kept_in_boot = boot

    @property
    def not_judged(self) -> Mapping[str, str]:
        """Everything is judged: it numbers its operations, and reports of itself."""
        return {}

    @property
    def has_our_frames(self) -> bool:
        """It is the reference replicator."""
        return True

    @property
    def areas(self) -> tuple[tuple[str, str], ...]:
        """What files below which directories are for."""
        return (
            (HOME_ROOT, "image"),
            (f"{REPLICA_ROOT}/staging", "staging"),
            (f"{REPLICA_ROOT}/journal", "journal"),
            (JOURNAL_ROOT, "journal"),
            (REPLICA_ROOT, "checkpoint"),
            (SPOOL_ROOT, "spool"),
            (self.workload.root, "protected files"),
        )

    # -- source --------------------------------------------------------------------

    def start_source(self) -> None:
        """Start the source machine's software, as far as it does not run."""
        machine = self.source_machine
        if not machine.powered and machine.incarnations:
            self.truth.power_lost()
        if PROGRAMS not in machine.processes:
            host = machine.start(PROGRAMS, networked=False)
            host.start(self._programs_main(host), PROGRAMS)
        if SENDER not in machine.processes:
            self.source = None
            self._start_sender()

    def _start_sender(self) -> None:
        host = self.source_machine.start(SENDER)
        host.start(self._sender_main(host), SENDER)

    def set_up_sender(self, replica_address: str) -> None:
        """Somebody writes another address into its configuration, and restarts the sender."""
        self._replica_address = replica_address
        if self.sender_runs:
            self.source_machine.crash_process(SENDER)
            self.source = None
            self._start_sender()

    @property
    def sender_runs(self) -> bool:
        """Whether the sender is up."""
        return SENDER in self.source_machine.processes

    def spool_volume_name(self) -> str:
        return "spool" if "spool" in self.source_machine.disks else "data"

    def journal_volume_name(self) -> str:
        return "journal" if "journal" in self.replica_machine.disks else "data"

    def place(self, host: Host) -> SourcePlace:
        """The source's parts, as a process of its machine sees them."""
        options = self.options
        volume, spool_volume = host.volume("data"), host.volume(self.spool_volume_name())
        if spool_volume.disk is volume.disk:
            spool_volume = volume
        return SourcePlace(
            host,
            volume,
            self.workload.root,
            spool_volume,
            SPOOL_ROOT,
            options.source.set_id,
            options.source.source_id,
            SpoolOptions(
                options.spool_limit_bytes, options.spool_segment_bytes, options.spool_policy
            ),
        )

    async def _programs_main(self, host: Host) -> None:
        place = self.place(host)
        patience_ns = 4 * self.options.source.heartbeat_ns + _LOCK_PATIENCE_NS

        def keeper(board: Board) -> HistoryKeeper:
            return self._keeper(place, board)

        async with captured_set(place, patience_ns, keeper) as protected:
            programs = WitnessedVolume(self.truth, protected.volume)
            await self.workload.run(host, programs, self.until_ns)
            host.emit("programs_done")

    def _keeper(self, place: SourcePlace, board: Board) -> HistoryKeeper:
        keeper = place.keeper(board)
        self.capture = self.truth.capture = keeper.capture
        return keeper

    async def _sender_main(self, host: Host) -> None:
        place = self.place(host)
        await place.prepare()
        lock = place.spool_volume.lock(place.sender_lock)
        board = place.board()
        options = replace(self.options.source, replica_address=self._replica_address)
        source = Source(host, place.reader(board), place.files(), options)
        if self.options.pack is not None:
            level = self.options.source.compression_level
            source.compress = Compressor(level, pack=self.options.pack)
        self.source = source
        if await is_fenced(place, source):
            lock.release()
            return
        async with group() as g:
            g.spawn(
                keep_while_nobody_captures(
                    place.capture_locks(),
                    board,
                    lambda: self._keeper(place, board),
                    self.options.source.heartbeat_ns,
                ),
                "caretaker",
            )
            await send_until_fenced(place, source)
            g.cancel()
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

    async def recover(self, host: Host) -> Recovered:
        """What the replica's own recovery finds on the disks of a host."""
        report = await self.open_store(host).open()
        return Recovered(
            report.epoch, report.operation, report.damage, unverified=report.unverified
        )

    async def fail_over(
        self,
        host: Host,
        options: FailoverOptions,
        mount: Callable[[], Awaitable[None]],
        progress: FailoverProgress,
    ) -> FailoverReport | None:
        """Take over on the replica's process."""
        while self.replica is None:
            await sleep_ns(_LOOK_NS)
        replica = self.replica
        if replica.silent_ns() is None:
            replica.heard()
        return await fail_over(host, replica, options, lambda: True, mount, progress)

    def taken_over(self) -> Recovered:
        """What the replica that takes over says of its image."""
        assert self.replica is not None
        store = self.replica.store
        return Recovered(
            store.epoch, store.applied, store.damage, unverified=store.image.unverified
        )

    def replica_down(self) -> None:
        """The replica's process is gone."""
        self.replica = None

    def start_replica(self) -> Host:
        """Boot the replica machine's software."""
        host = self.replica_machine.start(REPLICA)
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
        if source is None or replica is None or not self.sender_runs:
            return False
        if not source.spool.capturing:
            return False
        return (
            source.state == SourceState.STREAMING
            and replica.store.epoch == source.spool.epoch
            and replica.store.applied == source.spool.completed
            and not replica.store.damage
        )

    def doubts(self) -> ReplicaDoubts | None:
        """What the replica says against its own image."""
        if self.replica is None:
            return None
        store = self.replica.store
        switching = store.committed_epoch > store.epoch
        return ReplicaDoubts(store.damage, store.image.unverified, switching)

    def report(self) -> SystemReport:
        """What both ends say of themselves now."""
        source, replica = self.source, self.replica
        journal_bytes = 0 if replica is None else replica.store.journal.held_bytes
        image = None
        if replica is not None and not replica.store.damage:
            store = replica.store
            image = ImageReport(store.epoch, store.applied, store.as_of_ns)
        runs = self.sender_runs
        if source is None:
            state = "starting" if runs else "down"
            return SystemReport(state, journal_bytes=journal_bytes, image=image)
        return SystemReport(
            source.state.value if runs else "down",
            source.cause,
            (source.spool.epoch, source.durable) if source.committed else None,
            source.spool.waiting_bytes,
            source.spool.peak_bytes,
            journal_bytes,
            LagReport(
                (source.runtime.incarnation, source.spool.epoch),
                runs and source.state is SourceState.STREAMING,
                source.lag_ns() if runs else None,
            ),
            image,
        )

    def kept(self) -> Iterator[KeptTree]:
        """The directories that ``--keep`` writes."""
        if not self.source_machine.lost:
            disk = self.source_machine.disks[self.spool_volume_name()]
            yield KeptTree(disk, SPOOL_ROOT, SOURCE)
        if not self.replica_machine.lost:
            disks = self.replica_machine.disks
            yield KeptTree(disks["data"], REPLICA_ROOT, REPLICA)
            if self.journal_volume_name() != "data":
                # Beside the checkpoint, where the offline commands look for it.
                yield KeptTree(disks[self.journal_volume_name()], JOURNAL_ROOT, REPLICA)

    def other_replica(self, link: Link) -> OtherReplica:
        """The replica of another set, which this source may be set up for by mistake."""
        from simulator.systems.other_replica import ReplicaOfAnotherSet

        return ReplicaOfAnotherSet(self, link)

    def second_source(self, link: Link) -> SecondSourceMachine:
        """A second machine that takes this replica for its own."""
        from simulator.systems.second_source import SecondSource

        return SecondSource(self, link)


__all__ = [
    "HOME_DISK",
    "HOME_ROOT",
    "PROGRAMS",
    "REPLICA",
    "REPLICA_ROOT",
    "SENDER",
    "SOURCE",
    "ByteLevelOptions",
    "ByteLevelSystem",
]
