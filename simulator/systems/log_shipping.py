"""Log shipping on two emulated machines: LCR, CCR, SCR and a DAG in file mode, by our services.

The source machine runs two processes: the store, and beside it the server of its closed logs
(:mod:`replicator.logship_source`).  The replica machine runs the copy (:mod:`replicator.logship`).
That is the very code that hosts would run.

Models: the seed of the copy, brought "by courier" before the time of the run begins: the
store is made, shut down clean, and its databases are on both machines when the clock starts.
Circular logging is that of continuous replication: with ``stream.circular`` the server deletes
what neither the store's recovery nor the copy needs, and the engine itself deletes nothing.

Leaves out: seeding over the link, and anew after the two have parted; the last logs of a source
that still answers; a choice among several copies; block mode.  The published behaviour that it
was compared with is that of ``exchange.md`` section 2.

What is judged: the copy's files are none of the source's.  They must mount by the engine's own
recovery, what is in them must be what a prefix of the transactions leaves, and all that was
acknowledged before the last inspected generation was closed must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from replicator.ese.log_names import LogNames
from replicator.ese.recovery_files import joined
from replicator.logship import LogShippingCopy
from replicator.logship_options import (
    ALL_SAFEGUARDS,
    LogCopyOptions,
    LogServerOptions,
    LogShipSafeguards,
)
from replicator.logship_queue import QueueReport
from replicator.logship_replay import CopyPlace
from replicator.logship_source import LogServer
from replicator.logship_status import SERVICE_DOWN, CopyState
from replicator.runtime import group, sleep_ns, yield_now
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.stores import make_store
from simulator.host import Host, Machine, World, run_offline
from simulator.inode import Inode
from simulator.runtime import SimClock
from simulator.shipped_truth import EPOCH, ShippedTruth
from simulator.systems.interface import ImageReport, Recovered, SystemReport
from simulator.systems.two_machines import (
    HOME_DISK,
    HOME_ROOT,
    PROGRAMS,
    REPLICA,
    SENDER,
    OtherSystem,
)
from simulator.workload import Workload

ADDRESS: Final = "source:64327"
SET_ID: Final = "first storage group"
COPY_ROOT: Final = HOME_ROOT.rpartition("/")[0]
SEED_ROOT: Final = f"{COPY_ROOT}/seed"
INSPECTION_ROOT: Final = f"{COPY_ROOT}/inspection"
BASE: Final = "E00"
_LOOK_NS: Final = 100_000_000
_NOT_CAPTURED: Final = "nothing is captured: the store's own logs are copied"
_NO_EPOCHS: Final = (
    "a source that comes back after a failover is not fenced, and that is not simulated"
)


@dataclass(frozen=True, slots=True)
class LogShippingOptions:
    """The settings of both ends, and the rules that a test may take away."""

    server: LogServerOptions = field(
        default_factory=lambda: LogServerOptions(set_id=SET_ID, address=ADDRESS)
    )
    copy: LogCopyOptions = field(
        default_factory=lambda: LogCopyOptions(set_id=SET_ID, source_address=ADDRESS)
    )
    safeguards: LogShipSafeguards = ALL_SAFEGUARDS


class LogShippingSystem(OtherSystem):
    """The two ends; see :class:`simulator.systems.interface.ProtectionSystem`.

    Arguments
    ---------
    world: machines ``source`` and ``replica`` with their disks ``data`` must have been fitted.
    workload: the source's programs, with a store of ``store``.
    store: its figures, without circular logging of its own.
    options: of both ends.
    until_ns: when the programs end their work.
    """

    no_other_replica = "there is one copy"

    def __init__(
        self,
        world: World,
        workload: Workload,
        store: EngineStoreConfig,
        options: LogShippingOptions,
        until_ns: int,
    ) -> None:
        super().__init__(world, workload, until_ns)
        self.options = options
        seed_by_courier(self.source_machine, self.replica_machine, store, workload.root)
        self.shipped = ShippedTruth(self.source_machine.disks["data"], "data", workload.root)
        self.copy: LogShippingCopy | None = None
        """Of the newest process of the replica."""

    # -- what it is ------------------------------------------------------------------

    @property
    def truth(self) -> ShippedTruth:
        return self.shipped

    @property
    def not_judged(self) -> Mapping[str, str]:
        return {"capture is complete": _NOT_CAPTURED, "one source": _NO_EPOCHS}

    @property
    def areas(self) -> tuple[tuple[str, str], ...]:
        return (
            (HOME_ROOT, "image"),
            (INSPECTION_ROOT, "logs to be inspected"),
            (SEED_ROOT, "log of the seed"),
            (self.workload.root, "protected files"),
        )

    @property
    def resynchronizations(self) -> int:
        """The copy is seeded once."""
        return 1

    # -- processes -------------------------------------------------------------------

    def start_source(self) -> None:
        """Start the store and the server of its logs, as far as they do not run."""
        machine = self.source_machine
        if not machine.powered and machine.incarnations:
            self.shipped.power_lost()
        if PROGRAMS not in machine.processes:
            self.shipped.resumed()
            host = machine.start(PROGRAMS, networked=False)
            host.start(self._programs_main(host), PROGRAMS)
        if SENDER not in machine.processes:
            host = machine.start(SENDER)
            host.start(self._server_main(host), SENDER)

    async def _programs_main(self, host: Host) -> None:
        await self.run_programs(host, host.volume("data"))

    async def _server_main(self, host: Host) -> None:
        server = LogServer(
            host,
            host.volume("data"),
            self.workload.root,
            BASE,
            self.options.server,
            self.options.safeguards,
        )
        await server.run()

    def start_replica(self) -> Host:
        host = self.replica_machine.start(REPLICA)
        host.start(self._copy_main(host), REPLICA)
        return host

    async def _copy_main(self, host: Host) -> None:
        self.copy = self.copy_on(host)
        await self.copy.run()

    def copy_on(self, host: Host) -> LogShippingCopy:
        """The copy's service on a host: the machine's own, or an oracle's copy of it."""
        options = self.options
        return LogShippingCopy(host, place_on(host), options.copy, options.safeguards)

    def replica_down(self) -> None:
        self.copy = None

    # -- state -----------------------------------------------------------------------

    def doubts(self) -> None:
        """What it says against itself is its state; an image is judged all the same."""

    @property
    def queues(self) -> QueueReport | None:
        """What the copy says of its queues; None when it does not run, or has not looked yet."""
        return None if self.copy is None else self.copy.report().queue

    def report(self) -> SystemReport:
        if self.copy is None:
            return SystemReport(SERVICE_DOWN)
        report = self.copy.report()
        queue, image, durable = report.queue, None, None
        if queue is not None:
            durable = EPOCH, self.shipped.operation_of(queue.inspected)
            if queue.inspected_as_of_ns is not None:
                image = ImageReport(*durable, queue.inspected_as_of_ns)
        return SystemReport(report.state.value, report.cause, durable, image=image, queues=queue)

    @property
    def converged(self) -> bool:
        """Whether every closed log is inspected, and replayed as far as it is due."""
        copy = self.copy
        if copy is None or copy.queue is None or copy.status.state is not CopyState.HEALTHY:
            return False
        queue = copy.queue
        due = queue.due(copy.runtime.now_ns(), self.options.copy.delay)
        return queue.inspected >= self.shipped.newest and queue.replayed >= due

    # -- the image -------------------------------------------------------------------

    async def recover(self, host: Host) -> Recovered:
        """What a start of the copy finds, made a store that can be mounted."""
        copy = self.copy_on(host)
        await copy.look()
        return await self._activated(copy, paced=False)

    async def take_over(self, host: Host) -> Recovered:
        """The copy is activated: its replay queue comes first."""
        while self.copy is None:
            await sleep_ns(_LOOK_NS)
        return await self._activated(self.copy, paced=True)

    async def _activated(self, copy: LogShippingCopy, *, paced: bool) -> Recovered:
        """What an activation makes of what is inspected or replayed, whichever is newer."""
        inspected = 0 if copy.queue is None else copy.queue.inspected
        replayed = await copy.activate(paced=paced)
        operation = self.shipped.operation_of(max(inspected, replayed))
        return Recovered(EPOCH, operation, by_content=True)

    @property
    def kept_roots(self) -> tuple[str, str]:
        """The store; and all of the copy, what waits to be inspected included."""
        return self.workload.root, COPY_ROOT


def place_on(host: Host) -> CopyPlace:
    """Where the copy lies on a host."""
    return CopyPlace(
        volume=host.volume(HOME_DISK),
        log_directory=HOME_ROOT,
        inspection_directory=INSPECTION_ROOT,
        base=BASE,
        seed_directory=SEED_ROOT,
    )


def seed_by_courier(source: Machine, replica: Machine, store: EngineStoreConfig, root: str) -> None:
    """Make a store, shut it down, and have its databases on both machines; takes no time.

    The log that it was shut down with comes along, for a copy that is activated before any other
    has come.
    """

    async def make(host: Host) -> Disk:
        made = make_store(store, host, host.volume("data"), root)
        await made.mount()
        async with group() as tasks:
            tasks.spawn(made.run(), "store")
            await yield_now()
            await made.dismount()
        return host.machine.disks["data"].copy()

    made = run_offline({"data": Disk(SimClock(), INSTANT, "courier")}, make)
    files = {
        path.rpartition("/")[2]: node.read(0, node.size)
        for path, node in made.names.walk(root)
        if isinstance(node, Inode)
    }
    names = LogNames(BASE)
    brought = {name: HOME_ROOT for name in files if name.endswith(".edb")}
    brought |= dict.fromkeys((names.current, names.checkpoint), SEED_ROOT)

    async def bring(host: Host) -> Disk:
        volume = host.volume("data")
        for directory in (COPY_ROOT, HOME_ROOT, INSPECTION_ROOT, SEED_ROOT):
            volume.mkdir(directory)
        for name, directory in brought.items():
            file = volume.create(joined(directory, name))
            file.write_at(0, files[name])
            file.close()
        return host.machine.disks["data"].copy()

    source.disks["data"].put_back(made)
    replica.disks[HOME_DISK].put_back(
        run_offline({"data": Disk(SimClock(), INSTANT, "courier")}, bring)
    )


__all__ = ["LogShippingOptions", "LogShippingSystem", "place_on", "seed_by_courier"]
