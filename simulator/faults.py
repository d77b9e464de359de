"""Faults made to happen: the scenario's list, injected into the emulated world.

Each fault leaves a mark of when it really happened (:mod:`simulator.fault_marks`).  A power
loss that waits for an activity strikes inside of it: at one of the next storage steps after the
host says what it is doing, so that plain calls are cut in the middle.

Loss and power loss are the machine's: they happen also while none of its processes runs, and
what was to start those again does not.  A process crash, or a pause, of a host that is down
cannot happen, and is said so.

Models the faults of links and hosts, and syncs that fail: the process that gives up because of
one is started again after the host's restart time.  Leaves out, until the bench of a later step
draws whole plans: disks that lie, rot or fill, clocks that jump, operators who err.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from replicator.errors import BadInput, ReplicatorError
from replicator.units import spell_duration
from simulator.fault_marks import Fault, FaultMarks, why_not
from simulator.host import Machine, World, keep_everything, lose_everything, seeded_choice
from simulator.inode import Choose
from simulator.link import Directions, Link
from simulator.measures import FaultMark
from simulator.scenario import (
    LinkBandwidth,
    LinkOutage,
    LinkReset,
    Loss,
    Pause,
    PowerLoss,
    ProcessCrash,
    SyncFailure,
)

STEPS_INTO_ACTIVITY = 24
"""A power loss that waits for an activity strikes within so many storage steps of it."""

_DIRECTIONS: Final[dict[str, Directions]] = {
    "both": "both",
    "to_replica": "to_b",
    "to_source": "to_a",
}


@dataclass(slots=True, eq=False)
class _FailingSyncs:
    fault: SyncFailure
    left: int


class FaultInjector:
    """Carries out a list of faults.

    Arguments
    ---------
    world, link: what is to be hurt; the link runs from source (a) to replica (b).
    restart_ns: how long each host takes to come back.
    start: boots a host's software again, by machine name.
    struck: called as ``struck(kind, machine name)`` right after a host has gone down.
    seed: names what the faults leave open.
    """

    def __init__(
        self,
        world: World,
        link: Link,
        restart_ns: dict[str, int],
        start: Callable[[str], None],
        struck: Callable[[str, str], None],
        seed: int,
    ) -> None:
        self._world = world
        self._seed = seed
        self._link = link
        self._restart_ns = restart_ns
        self._struck = struck
        self._marks = FaultMarks(world.clock, start, struck)
        self._waiting: list[tuple[PowerLoss, int]] = []
        self._armed: list[tuple[PowerLoss, int]] = []
        self._failing: list[_FailingSyncs] = []
        self._unanswered: set[str] = set()
        """Hosts of which a sync has failed since their software was last started again."""
        self._count = 0
        world.observers.append(self._observe)

    @property
    def awaited(self) -> bool:
        """Whether the run must go on for a fault; see :attr:`FaultMarks.awaited`."""
        return self._marks.awaited

    @property
    def never_happened(self) -> list[str]:
        """Faults that could not happen, and those that still wait for theirs, in words."""
        never = [
            f"the power loss of the {fault.host} in the middle of '{fault.when}' never "
            "happened, because it never got there"
            for fault, _number in [*self._waiting, *self._armed]
        ]
        never += [
            f"{each.left} of {each.fault.count} failing syncs of the {each.fault.host} from "
            f"{spell_duration(each.fault.at_ns)} on never happened: it synced no more than that"
            for each in self._failing
            if each.left
        ]
        return self._marks.never_happened + never

    def marks(self) -> list[FaultMark]:
        """The faults as they happened so far."""
        return self._marks.marks()

    def schedule(self, faults: tuple[Fault, ...]) -> None:
        """Let each fault happen at its time."""
        self._marks.schedule(faults, self._begin)

    # -- one fault -----------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, LinkOutage):
            self._outage(fault)
            return
        if isinstance(fault, LinkReset):
            self._marks.instant("link_reset", "link")
            self._link.reset()
            return
        if isinstance(fault, LinkBandwidth):
            end = self._link.override_bandwidth(fault.bits_per_second)
            self._marks.lasting("link_bandwidth", "link", fault.duration_ns, end)
            return
        if isinstance(fault, PowerLoss) and fault.when is not None:
            self._count += 1
            self._waiting.append((fault, self._count))
            return
        machine = self._world.machine(fault.host)
        why = why_not(fault, lost=machine.lost, powered=machine.powered, running=machine.running)
        if why:
            self._marks.impossible(fault, why)
        elif isinstance(fault, Pause):
            self._marks.lasting("pause", fault.host, fault.duration_ns, machine.pause())
        elif isinstance(fault, PowerLoss):
            self._count += 1
            self._power_loss(fault, self._count)
        elif isinstance(fault, ProcessCrash):
            self._disarm(machine)
            machine.crash_process()
            self._marks.down("process_crash", fault.host, self._restart_ns[fault.host])
        elif isinstance(fault, SyncFailure):
            self._failing.append(_FailingSyncs(fault, fault.count))
            for disk in machine.disks.values():
                disk.sync_fails = partial(self._sync_fails, fault.host)
        else:
            assert isinstance(fault, Loss)
            self._disarm(machine)
            machine.lose()
            self._marks.gone(fault.host)

    def _outage(self, fault: LinkOutage) -> None:
        direction = _DIRECTIONS[fault.direction]
        self._link.partition(direction)

        def heal() -> None:
            self._struck("link_outage", "link")  # what would have been lost until now?
            self._link.heal(direction)

        self._marks.lasting("link_outage", "link", fault.duration_ns, heal)

    # -- syncs that fail -----------------------------------------------------------

    def _sync_fails(self, host: str, path: str) -> bool:
        """Whether this sync of a host is one that has to fail."""
        for each in self._failing:
            if each.fault.host == host and each.left:
                each.left -= 1
                self._unanswered.add(host)
                self._marks.instant("sync_failure", host, f"of {path}")
                return True
        return False

    def answers_for(self, host: str) -> bool:
        """A host's software has given up: is it because of a sync that failed here?

        If so the processes that gave up are dead now, and are started again.
        """
        machine = self._world.machine(host)
        failure = machine.failure
        if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
            return False
        if host not in self._unanswered:
            return False
        self._unanswered.discard(host)
        gave_up = [name for name, each in machine.processes.items() if each.failure is not None]
        machine.crash_process(*gave_up)
        note = f"{' and '.join(gave_up)} gave up after a sync that failed"
        self._marks.down("process_crash", host, self._restart_ns[host], note)
        return True

    # -- hosts ---------------------------------------------------------------------

    def _choose(self, fault: PowerLoss, number: int) -> Choose:
        if fault.survive == "none":
            return lose_everything
        if fault.survive == "all":
            return keep_everything
        return seeded_choice(f"{self._seed}/power loss/{number}")

    def _power_loss(self, fault: PowerLoss, number: int, note: str = "") -> None:
        machine = self._world.machine(fault.host)
        self._disarm(machine)
        machine.lose_power(self._choose(fault, number))
        restart_ns = fault.restart_ns or self._restart_ns[fault.host]
        self._marks.down("power_loss", fault.host, restart_ns, note)

    def _observe(self, name: str, event: str, values: tuple[int | str, ...]) -> None:
        """A host says what it is doing: is a fault waiting for just that?"""
        if event != "activity" or not self._waiting:
            return
        for waiting in self._waiting:
            fault, number = waiting
            armed = self._world.machine(fault.host).disks["data"].crash_at_step is not None
            if fault.host == name and values[0] == fault.when and not armed:
                self._waiting.remove(waiting)
                self._arm(self._world.machine(name), fault, number)
                return

    def _arm(self, machine: Machine, fault: PowerLoss, number: int) -> None:
        """Strike at one of the next steps of the machine's disk."""
        disk = machine.disks["data"]
        draw = seeded_choice(f"{self._seed}/power loss step/{number}")
        disk.crash_at_step = disk.steps + 1 + draw(STEPS_INTO_ACTIVITY)
        self._armed.append((fault, number))

        def strike() -> None:
            self._armed.remove((fault, number))
            self._power_loss(fault, number, f"in {fault.when}")

        disk.on_crash = strike

    def _disarm(self, machine: Machine) -> None:
        """The machine goes down by something else: what was about to strike waits again."""
        for fault, number in [each for each in self._armed if each[0].host == machine.name]:
            self._armed.remove((fault, number))
            self._waiting.append((fault, number))
            machine.disks["data"].crash_at_step = machine.disks["data"].on_crash = None
