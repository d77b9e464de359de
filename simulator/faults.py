"""Faults made to happen: the scenario's list, injected into the emulated world.

Each fault leaves a mark of when it really happened (:mod:`simulator.fault_marks`).  Power losses
and crashes that strike in the middle of a storage call: :mod:`simulator.step_faults`.

Loss and power loss are the machine's: they happen also while none of its processes runs, and
what was to start those again does not.  A process crash, or a pause, of a host that is down
cannot happen, and is said so.

What befalls disks is in :mod:`simulator.disk_faults`, what befalls the link in
:mod:`simulator.link_faults`.  The process that gives up because of a sync that failed is
started again after the host's restart time.

Leaves out, of the field's list: an upgrade in the middle, a rewind under load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

from replicator.errors import BadInput, ReplicatorError
from replicator.source import SourceState
from replicator.units import spell_duration
from simulator.disk import Disk
from simulator.disk_faults import DiskFaults
from simulator.fault_marks import FaultMarks, why_not
from simulator.host import Machine, World, keep_everything, lose_everything, seeded_choice
from simulator.inode import Choose
from simulator.link import Link
from simulator.link_faults import LinkFaults
from simulator.measures import FaultMark
from simulator.medium import Flip
from simulator.scenario_faults import (
    ClockJump,
    DiskFault,
    Fault,
    LinkFault,
    Loss,
    MachineFault,
    OrderedFailover,
    Pause,
    PowerLoss,
    ProcessCrash,
    ReplicaRestored,
    SecondSource,
    SlowProcessor,
    WrongTarget,
)
from simulator.scenario_keys import spell_signed_duration
from simulator.step_faults import StepFaults
from simulator.systems.byte_level import REPLICA
from simulator.systems.interface import OtherReplica
from simulator.systems.other_replica import OTHER
from simulator.systems.second_source import SECOND


def _no_operator() -> str:
    raise NotImplementedError("in this world nobody fails over while the source lives")


def _no_other() -> OtherReplica:
    raise NotImplementedError("in this world there is no other replica")


def _nobody() -> Callable[[], None]:
    raise NotImplementedError("in this world there is no second source")


_THROUGH = (SourceState.SYNCHRONIZING.value, SourceState.STREAMING.value)
"""States of a source that has the replica's ear."""


class FaultInjector:
    """Carries out a list of faults.

    Arguments
    ---------
    world, link: what is to be hurt; the link runs from source (a) to replica (b).
    restart_ns: how long each host takes to come back.
    start: boots a host's software again, by machine name.
    struck: called as ``struck(kind, machine name)`` right after a host has gone down.
    second_source: starts one, and returns what takes it away again.
    seed: names what the faults leave open.
    other_replica: the one of another set that a source may be set up for.
    fail_over: has the replica take over; returns why it cannot, empty when it does.
    """

    def __init__(
        self,
        world: World,
        link: Link,
        restart_ns: dict[str, int],
        start: Callable[[str], None],
        struck: Callable[[str, str], None],
        second_source: Callable[[], Callable[[], None]] = _nobody,
        seed: int = 1,
        fail_over: Callable[[], str] = _no_operator,
        other_replica: Callable[[], OtherReplica] = _no_other,
    ) -> None:
        self._world = world
        self._fail_over = fail_over
        self._seed = seed
        self._restart_ns = restart_ns
        self._second_source = second_source
        self._second_came = 0
        """So often a second source has begun to stream or to synchronize."""
        self._other_replica = other_replica
        self._misled = False
        """The source is set up for another set's replica just now."""
        self._turned_away = 0
        """So often that one has turned the source away."""
        self._marks = FaultMarks(world.clock, start, struck)
        self._disks = DiskFaults(world, self._marks, seed)
        self._links = LinkFaults(world, link, self._marks, struck, seed)
        self._steps = StepFaults(world, self._marks, self._strike, seed)
        self._slow: dict[Machine, list[int]] = {}
        self._copies: dict[int, dict[str, Disk]] = {}
        """By the identity of a restoration: the disks that it will put back."""
        self._count = 0
        world.observers.append(self._observe)

    @property
    def awaited(self) -> bool:
        """Whether the run must go on for a fault; see :attr:`FaultMarks.awaited`."""
        return self._marks.awaited

    @property
    def never_happened(self) -> list[str]:
        """Faults that could not happen, and those that still wait for theirs, in words."""
        waiting = [
            *self._steps.still_waiting,
            *self._disks.still_waiting,
            *self._links.still_waiting,
        ]
        return self._marks.never_happened + waiting

    def over(self) -> None:
        """The run has ended: what has its time ahead, or had no effect, never happens."""
        self._marks.over()
        self._links.over()

    @property
    def rotten_journal(self) -> list[tuple[str, int]]:
        """Paths and offsets of bits flipped in the journal that no recovery has met yet."""
        return self._disks.rotten_journal

    @property
    def rotten(self) -> list[Flip]:
        """All bits flipped at the replica so far."""
        return self._disks.rotten

    @property
    def rotten_at_source(self) -> list[Flip]:
        """What writes that went astray have changed in files of the source."""
        return self._disks.rotten_at_source

    def when_source_changes(self, fn: Callable[[list[str]], None]) -> None:
        """Call ``fn`` with the paths that the source's disk has changed behind everybody's back."""
        self._disks.source_changed = fn

    def lies(self, host: str) -> bool:
        """Whether a disk of the host lies just now."""
        return self._disks.lies(host)

    def marks(self) -> list[FaultMark]:
        """The faults as they happened so far."""
        return self._marks.marks()

    def schedule(self, faults: tuple[Fault, ...]) -> None:
        """Let each fault happen at its time."""
        self._marks.schedule(faults, self._begin)
        for fault in faults:
            if isinstance(fault, ReplicaRestored):
                self._world.clock.at(fault.at_ns - fault.age_ns, partial(self._copy, fault))

    # -- one fault -----------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, LinkFault):
            self._links.begin(fault)
            return
        if isinstance(fault, PowerLoss) and fault.when is not None:
            self._count += 1
            self._steps.wait(fault, self._count)
            return
        machine = self._world.machine(fault.host)
        why = why_not(fault, lost=machine.lost, powered=machine.powered, running=machine.running)
        if why:
            self._marks.impossible(fault, why)
        elif isinstance(fault, DiskFault):
            self._disks.begin(fault)
        elif isinstance(fault, ReplicaRestored):
            self._restore(machine, fault)
        elif isinstance(fault, SecondSource):
            self._second(fault)
        elif isinstance(fault, WrongTarget):
            self._mislead(fault)
        elif isinstance(fault, OrderedFailover):
            if why := self._fail_over():
                self._marks.impossible(fault, why)
            else:
                self._marks.instant(fault.kind, fault.host)
        else:
            self._befall(machine, fault)

    def _befall(self, machine: Machine, fault: MachineFault) -> None:
        if isinstance(fault, Pause):
            self._marks.lasting("pause", fault.host, fault.duration_ns, machine.pause())
        elif isinstance(fault, PowerLoss | ProcessCrash):
            self._count += isinstance(fault, PowerLoss)
            if fault.calls is not None:
                self._steps.count(fault, self._count)
            else:
                self._strike(fault, self._count, "")
        elif isinstance(fault, SlowProcessor):
            self._slow_down(machine, fault)
        elif isinstance(fault, ClockJump):
            machine.jump_clock(fault.by_ns)
            note = f"by {spell_signed_duration(fault.by_ns)}"
            self._marks.instant("clock_jump", fault.host, note)
        else:
            assert isinstance(fault, Loss)
            self._steps.disarm(machine)
            machine.lose()
            self._marks.gone(fault.host)

    def answers_for(self, host: str) -> bool:
        """A host's software has given up: is it because of a sync that failed here?

        If so the processes that gave up are dead now, and are started again.
        """
        machine = self._world.machine(host)
        failure = machine.failure
        if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
            return False
        if not self._disks.explains(host):
            return False
        gave_up = [name for name, each in machine.processes.items() if each.failure is not None]
        machine.crash_process(*gave_up)
        note = f"{' and '.join(gave_up)} gave up after a sync that failed"
        self._marks.down("process_crash", host, self._restart_ns[host], note)
        return True

    # -- what lasts, and old copies -------------------------------------------------

    def _slow_down(self, machine: Machine, fault: SlowProcessor) -> None:
        factors = self._slow.setdefault(machine, [])
        factors.append(fault.factor)
        machine.slowness = prod(factors)

        def end() -> None:
            factors.remove(fault.factor)
            machine.slowness = prod(factors)

        note = f"{fault.factor} times as slow"
        self._marks.lasting("slow_processor", machine.name, fault.duration_ns, end, note)

    def _second(self, fault: SecondSource) -> None:
        if self._world.machine(SECOND).running:
            self._marks.impossible(fault, "there was one at that time already")
            return
        stop, before = self._second_source(), self._second_came

        def end() -> None:
            stop()
            if self._second_came == before:
                self._marks.withdraw(mark, fault, "it never got through to the replica")

        mark = self._marks.lasting("second_source", fault.host, fault.duration_ns, end)

    def _mislead(self, fault: WrongTarget) -> None:
        if self._misled:
            self._marks.impossible(fault, "it was set up for another one at that time already")
            return
        other, before = self._other_replica(), self._turned_away
        self._misled = True
        other.aim()

        def end() -> None:
            self._misled = False
            other.correct()
            if self._turned_away == before:
                self._marks.withdraw(mark, fault, "it never got through to the other replica")

        mark = self._marks.lasting(fault.kind, fault.host, fault.duration_ns, end)

    def _copy(self, fault: ReplicaRestored) -> None:
        """Somebody copies the replica's disks, for a day on which that copy is all there is."""
        machine = self._world.machine(fault.host)
        self._copies[id(fault)] = {name: disk.copy() for name, disk in machine.disks.items()}

    def _restore(self, machine: Machine, fault: ReplicaRestored) -> None:
        self._steps.disarm(machine)
        if machine.powered:
            machine.lose_power(lose_everything)
        for name, copy in self._copies.pop(id(fault)).items():
            machine.disks[name].put_back(copy)
        note = f"to {spell_duration(fault.age_ns)} before"
        self._marks.down("replica_restored", fault.host, self._restart_ns[fault.host], note)

    # -- hosts ---------------------------------------------------------------------

    def _choose(self, fault: PowerLoss, number: int) -> Choose:
        if fault.survive == "none":
            return lose_everything
        if fault.survive == "all":
            return keep_everything
        return seeded_choice(f"{self._seed}/power loss/{number}")

    def _strike(self, fault: PowerLoss | ProcessCrash, number: int, note: str) -> None:
        machine = self._world.machine(fault.host)
        self._steps.disarm(machine)
        restart_ns = self._restart_ns[fault.host]
        if isinstance(fault, PowerLoss):
            machine.lose_power(self._choose(fault, number))
            restart_ns = fault.restart_ns or restart_ns
        else:
            machine.crash_process()
        self._marks.down(fault.kind, fault.host, restart_ns, note)

    def _observe(self, name: str, event: str, values: tuple[int | str, ...]) -> None:
        if name == SECOND and event == "source_state" and values[0] in _THROUGH:
            self._second_came += 1
        elif name == OTHER and event == "turned_away":
            self._turned_away += 1
        elif name == REPLICA and event == "recovered":
            self._disks.rotten_journal.clear()
