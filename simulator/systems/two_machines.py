"""What systems on the machines ``source`` and ``replica`` have in common.

:class:`TwoMachines` is the ground of each: the names of machines, processes and places, who counts
what goes over the link, and where the image is.  :class:`OtherSystem` is the ground of those that
are not the reference replicator (a candidate, log shipping): the programs run beside them, people
alone notice that the source is gone and decide, and of the slips of an operator that need a second
machine with the reference replicator's protocol there are none.

What a system does, when it is started and what it says of itself is its own affair, and stands in
its own module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Final

from replicator.failover import FailoverOptions, FailoverProgress, FailoverReport
from replicator.runtime import sleep_ns
from replicator.runtime.port import Volume
from simulator.host import Host, Machine, World
from simulator.link import Link
from simulator.systems.interface import (
    Home,
    KeptTree,
    OtherReplica,
    Recovered,
    SecondSourceMachine,
)
from simulator.truth import Truth
from simulator.witness import WitnessedVolume
from simulator.workload import Workload

SOURCE: Final = "source"
REPLICA: Final = "replica"
PROGRAMS: Final = "programs"
SENDER: Final = "sender"
"""The processes of the source machine."""
REPLICA_ROOT: Final = "/replica"
HOME_DISK: Final = "data"
HOME_ROOT: Final = f"{REPLICA_ROOT}/image"
"""Where the replica's home image is."""


class TwoMachines:
    """The machines, the programs, and what is the same whatever protects them.

    Arguments
    ---------
    world: machines ``source`` and ``replica`` with their disks ``data`` must have been fitted.
    workload: the source's programs.
    until_ns: when the programs end their work.
    """

    def __init__(self, world: World, workload: Workload, until_ns: int) -> None:
        self.world = world
        self.workload = workload
        self.until_ns = until_ns
        self.source_machine: Machine = world.machine(SOURCE)
        self.replica_machine: Machine = world.machine(REPLICA)

    @property
    def home(self) -> Home:
        """Where the image is."""
        return Home(HOME_DISK, HOME_ROOT)

    def wire_bytes(self, link: Link) -> tuple[int, int]:
        """Bytes from source to replica and back."""
        there, back = link.sent_bytes("to_b"), link.sent_bytes("to_a")
        return (there, back) if link.b_name == REPLICA else (back, there)

    def watched(self, in_time: bool = True) -> AbstractContextManager[None]:
        """No guards are needed."""
        return nullcontext()

    def close(self) -> None:
        """Nothing of the real machine was used."""


class OtherSystem(TwoMachines, ABC):
    """One that is not the reference replicator.

    Arguments
    ---------
    world, workload, until_ns: as of :class:`TwoMachines`.

    Attributes
    ----------
    kept_roots: which directories of source and replica ``--keep`` writes.
    no_second_source, no_other_replica: why an operator cannot slip in that way.
    """

    no_second_source: ClassVar[str] = "a second source has the reference replicator's protocol"
    no_other_replica: ClassVar[str]

    def __init__(self, world: World, workload: Workload, until_ns: int) -> None:
        super().__init__(world, workload, until_ns)
        self._taken_over = Recovered(0, 0)

    @property
    @abstractmethod
    def truth(self) -> Truth:
        """What the source's programs did."""

    @property
    @abstractmethod
    def kept_roots(self) -> tuple[str, str]:
        """Of source and replica: below which directory ``--keep`` writes all there is."""

    @abstractmethod
    async def take_over(self, host: Host) -> Recovered:
        """End the copying, and make of the replica's image what a store can open.

        Raises ReplicatorError when there is none.
        """

    @property
    def has_our_frames(self) -> bool:
        """Its ends speak a protocol of their own."""
        return False

    async def run_programs(self, host: Host, volume: Volume) -> None:
        """Let the programs work on a volume, witnessed, until their time is over."""
        witnessed = WitnessedVolume(self.truth, volume)
        await self.workload.run(host, witnessed, self.until_ns)
        host.emit("programs_done")

    async def fail_over(
        self,
        host: Host,
        options: FailoverOptions,
        mount: Callable[[], Awaitable[None]],
        progress: FailoverProgress,
    ) -> FailoverReport | None:
        """People notice and decide; then :meth:`take_over`, and ``mount`` opens the store."""
        if progress.detected_at_ns is None:
            await sleep_ns(options.detect_ns)
            progress.detected_at_ns = host.now_ns()
        if progress.decided_at_ns is None:
            await sleep_ns(progress.detected_at_ns + options.decide_ns - host.now_ns())
            progress.decided_at_ns = host.now_ns()
        decided_ns = progress.decided_at_ns
        self._taken_over = await self.take_over(host)
        recovered_ns = host.now_ns()
        await mount()
        mounted_ns = host.now_ns()
        await sleep_ns(options.redirect_ns)
        return FailoverReport(
            progress.detected_at_ns,
            decided_ns - progress.detected_at_ns,
            recovered_ns - decided_ns,
            mounted_ns - recovered_ns,
            options.redirect_ns,
        )

    def taken_over(self) -> Recovered:
        """What :meth:`take_over` found, before the store opened it."""
        return self._taken_over

    def second_source(self, link: Link) -> SecondSourceMachine:
        """There is none: raises NotImplementedError."""
        raise NotImplementedError(self.no_second_source)

    def other_replica(self, link: Link) -> OtherReplica:
        """There is none: raises NotImplementedError."""
        raise NotImplementedError(self.no_other_replica)

    def kept(self) -> Iterator[KeptTree]:
        """The directories that ``--keep`` writes."""
        of_source, of_replica = self.kept_roots
        if not self.source_machine.lost:
            yield KeptTree(self.source_machine.disks["data"], of_source, SOURCE)
        if not self.replica_machine.lost:
            yield KeptTree(self.replica_machine.disks[HOME_DISK], of_replica, REPLICA)
