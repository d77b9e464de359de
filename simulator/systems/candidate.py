"""Somebody else's replicator on the two emulated machines.

What it is made of is an :class:`Adapter`'s business (``simulator/candidates``): a class over the
port, an asyncio program, an external command.  Here stands what all of them have in common: which
processes there are, when they are started, how the image is recovered and taken over, and what
cannot be judged of a replicator that does not number its operations.

Processes: the programs and, beside them, the candidate's source in a process of its own.  A
candidate with a *tap* sits between the programs and their volume: then both run in one process
and die together, as nobody may write past the tap.  The candidate's objects live as long as the
process that they were made in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from replicator.errors import ReplicatorError
from replicator.runtime import Task, TimedOut, deadline, group, sleep_ns
from replicator.runtime.port import Volume
from replicator.units import spell_duration
from simulator.candidates import guards
from simulator.candidates.failure import CandidateFailed
from simulator.counted_truth import CountedTruth
from simulator.digest import image_digest
from simulator.host import Host, World, run_offline
from simulator.runtime import TimeStandsStill
from simulator.systems.interface import Recovered, SystemReport
from simulator.systems.two_machines import (
    HOME_DISK,
    HOME_ROOT,
    PROGRAMS,
    REPLICA,
    SENDER,
    SOURCE,
    OtherSystem,
)
from simulator.workload import Workload

_LOOK_NS = 1_000_000
_RECOVERY_NS = 24 * 3600 * 1_000_000_000
"""A recovery that takes longer than a day is none."""
_NO_NUMBERS = (
    "what a candidate has acknowledged is not known; of an image that it calls doubtful itself "
    "the doubt is noted"
)
_NO_REPORTS = "a candidate reports nothing of itself"
_NO_EPOCHS = "a candidate has no epochs, and nobody fails over from a source of its that lives"
_NO_CAPTURE = "what a candidate notes of the operations is its own affair"
SYNCHRONIZED = "synchronized"
"""The event by which a candidate says that its first copy is whole."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a candidate says of its image after its recovery.

    Arguments
    ---------
    root: where it is; empty for where it always is.
    operation: epoch and operation that it is said to be of; None when nothing is said.
    doubt: why it says itself that the image is of no use at the moment.
    """

    root: str = ""
    operation: tuple[int, int] | None = None
    doubt: str = ""


class Adapter(Protocol):
    """A candidate's two ends, whatever they are written in."""

    @property
    def has_tap(self) -> bool:
        """Whether it sits between the programs and their volume."""

    @property
    def judged_from_start(self) -> bool:
        """Whether its image counts from the start, or from its first synchronization."""

    @property
    def claims(self) -> bool:
        """Whether it says of which operation its image is."""

    def prepare(self, system: CandidateSystem) -> None:
        """The system is ready; nothing has started."""

    async def source_with_tap(
        self, host: Host, programs: Callable[[Volume], Awaitable[None]]
    ) -> None:
        """Its source, with ``programs`` to be run on the volume that the tap makes."""

    async def source(self, host: Host) -> None:
        """Its source, in a process of its own."""

    async def replica(self, host: Host) -> None:
        """Its replica, after recovery."""

    async def recover(self, host: Host) -> Image:
        """What its service does at a restart before the image can be used."""

    @property
    def recovers(self) -> bool:
        """Whether recovery does anything at all."""

    def close(self) -> None:
        """The run is over."""


class CandidateSystem(OtherSystem):
    """A candidate on its machines; see :class:`simulator.systems.interface.ProtectionSystem`.

    Arguments
    ---------
    world: machines ``source`` and ``replica`` with their disks ``data`` must have been fitted.
    workload: the source's programs.
    adapter: the candidate.
    until_ns: when the programs end their work.
    """

    no_other_replica = "a candidate has no names of sets"

    def __init__(self, world: World, workload: Workload, adapter: Adapter, until_ns: int) -> None:
        super().__init__(world, workload, until_ns)
        self.adapter = adapter
        self.counted = CountedTruth(self.source_machine.disks["data"], "data", workload.root)
        self.synchronized = adapter.judged_from_start
        self.resynchronizations = 0
        self._last_synchronization: tuple[int | str, ...] | None = None
        self._replica_task: Task[None] | None = None
        self._polled_instant = -1
        self._returned: set[str] = set()
        """Ends whose coroutine has come to its end without an error: nobody does their work."""
        adapter.prepare(self)
        world.observers.append(self._observe)

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if event == SYNCHRONIZED and machine in (SOURCE, REPLICA):
            self.synchronized = True
            self.resynchronizations += values != self._last_synchronization
            self._last_synchronization = values

    # -- what it is ------------------------------------------------------------------

    @property
    def truth(self) -> CountedTruth:
        return self.counted

    @property
    def not_judged(self) -> Mapping[str, str]:
        """What a replicator gives no ground to judge that neither numbers nor reports."""
        found = {"honest telemetry": _NO_REPORTS, "capture is complete": _NO_CAPTURE}
        return found | {"durable means durable": _NO_NUMBERS, "one source": _NO_EPOCHS}

    @property
    def areas(self) -> tuple[tuple[str, str], ...]:
        return (
            (HOME_ROOT, "image"),
            (self.workload.root, "protected files"),
            ("", "candidate's own files"),
        )

    # -- processes -------------------------------------------------------------------

    def start_source(self) -> None:
        """Start the source machine's software, as far as it does not run."""
        machine, truth = self.source_machine, self.counted
        if not machine.powered:
            if machine.incarnations:
                truth.power_lost()
            truth.begin_epoch(machine.boots + 1)
        elif PROGRAMS not in machine.processes:
            truth.resumed()
        if PROGRAMS not in machine.processes:
            host = machine.start(PROGRAMS, networked=self.adapter.has_tap)
            host.start(self._programs_main(host), PROGRAMS)
        if not self.adapter.has_tap and SENDER not in machine.processes:
            host = machine.start(SENDER)
            host.start(self._sender_main(host), SENDER)

    async def _sender_main(self, host: Host) -> None:
        self._returned.discard(SOURCE)
        await self.adapter.source(host)
        self._returned.add(SOURCE)

    async def _programs_main(self, host: Host) -> None:
        async def programs(volume: Volume) -> None:
            if self.adapter.has_tap:
                # A call that a crash cut short is carried out by who captured it: programs find
                # its end, not the half of it.
                self.counted.tapped()
            await self.run_programs(host, volume)

        if self.adapter.has_tap:
            await self.adapter.source_with_tap(host, programs)
        else:
            await programs(host.volume("data"))

    def start_replica(self) -> Host:
        """Boot the replica machine's software."""
        host = self.replica_machine.start(REPLICA)
        host.start(self._replica_main(host), REPLICA)
        return host

    async def _replica_main(self, host: Host) -> None:
        async with group() as g:
            self._replica_task = g.spawn(self._replica(host), "candidate's replica")

    async def _replica(self, host: Host) -> None:
        self._returned.discard(REPLICA)
        await self.adapter.recover(host)
        await self.adapter.replica(host)
        self._returned.add(REPLICA)

    def replica_down(self) -> None:
        self._replica_task = None

    # -- state -----------------------------------------------------------------------

    def doubts(self) -> None:
        """What such a system says against its image is part of its recovery only."""

    def report(self) -> SystemReport:
        process = PROGRAMS if self.adapter.has_tap else SENDER
        state = "running" if process in self.source_machine.processes else "down"
        over = " and ".join(f"{name}()" for name in (SOURCE, REPLICA) if name in self._returned)
        return SystemReport(state, cause=f"{over} returned" if over else "")

    @property
    def converged(self) -> bool:
        """Whether the image, recovered as it is, is the source's.

        Looked at only while the source's programs are quiet.
        """
        instant, before = self.counted.instant, self._polled_instant
        self._polled_instant = instant
        if instant != before or REPLICA not in self.replica_machine.processes:
            return False
        if not self.synchronized or SOURCE in self._down():
            return False
        if not self.adapter.recovers:
            disk = self.replica_machine.disks[HOME_DISK]
            return image_digest(disk, HOME_ROOT) == self.counted.digest

        async def look(host: Host) -> int:
            image = await self._recovered(host)
            return image_digest(host.machine.disks[HOME_DISK], image.root or HOME_ROOT)

        try:
            return run_offline(self.replica_machine.disks, look) == self.counted.digest
        except ReplicatorError:
            return False  # the examinations tell why

    def _down(self) -> set[str]:
        return {m.name for m in (self.source_machine, self.replica_machine) if not m.running}

    # -- the image -------------------------------------------------------------------

    async def recover(self, host: Host) -> Recovered:
        """What its recovery leaves on the disks of a host, and what it says of that."""
        image = await self._recovered(host)
        if not self.synchronized:
            return Recovered(0, 0, numbered=False)
        volume, root = host.volume(HOME_DISK), image.root or HOME_ROOT
        names = root.strip("/").split("/")
        for depth in range(len(names)):  # a store mounts in a directory that is there
            above = "/" + "/".join(names[: depth + 1])
            if not volume.exists(above):
                volume.mkdir(above)
        if image.operation is not None:
            return Recovered(*image.operation, image.doubt, root=image.root)
        return Recovered(1, 0, image.doubt, numbered=False, root=image.root)

    async def _recovered(self, host: Host) -> Image:
        """Its recovery, which must come to an end.  Raises CandidateFailed."""
        try:
            async with deadline(_RECOVERY_NS):
                return await self.adapter.recover(host)
        except TimedOut:
            raise CandidateFailed(
                f"the candidate's recover() had not ended after {spell_duration(_RECOVERY_NS)}"
            ) from None

    async def take_over(self, host: Host) -> Recovered:
        """Its replica is stopped; then it recovers its image."""
        while self._replica_task is not None and not self._replica_task.done:
            self._replica_task.cancel()
            await sleep_ns(_LOOK_NS)
        return await self.recover(host)

    @property
    def kept_roots(self) -> tuple[str, str]:
        """Everything: where it keeps what is its own affair."""
        return "/", "/"

    @contextmanager
    def watched(self, in_time: bool = True) -> Iterator[None]:
        """Around the run: the candidate must not stand in the way of simulated time."""
        clock = self.world.clock

        def go_on() -> None:
            with suppress(TimeStandsStill):
                clock.run_until(clock.now())

        with guards.watched(clock.now, in_time):
            try:
                yield
            except TimeStandsStill as endless:
                place = guards.place_of_what_goes_on(go_on)
                raise TimeStandsStill(endless.at_ns, place) from None

    def close(self) -> None:
        self.adapter.close()


__all__ = ["SYNCHRONIZED", "Adapter", "CandidateSystem", "Image"]
