"""Faults made to happen: the scenario's list, injected into the emulated world.

Each fault leaves a :class:`~simulator.measures.FaultMark` of when it really happened.  A
power loss that waits for an activity strikes inside of it: at one of the next storage steps
after the host says what it is doing, so that plain calls are cut in the middle.

Models the faults of links and hosts.  Leaves out, until the bench of a later step draws
whole plans: disks that lie, rot or fill, clocks that jump, operators who err.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.host import Machine, World, keep_everything, lose_everything, seeded_choice
from simulator.inode import Choose
from simulator.link import Link
from simulator.measures import FaultMark
from simulator.scenario import (
    LinkBandwidth,
    LinkOutage,
    LinkReset,
    Loss,
    Pause,
    PowerLoss,
    ProcessCrash,
)

SECOND_NS = 1_000_000_000
STEPS_INTO_ACTIVITY = 24
"""A power loss that waits for an activity strikes within so many storage steps of it."""

Fault = LinkOutage | LinkReset | LinkBandwidth | PowerLoss | ProcessCrash | Pause | Loss


@dataclass(slots=True)
class _Mark:
    kind: str
    where: str
    start_ns: int
    end_ns: int | None = None
    note: str = ""


class FaultInjector:
    """Carries out a list of faults.

    Arguments
    ---------
    world, link: what is to be hurt; the link runs from source (a) to replica (b).
    restart_ns: how long each host takes to come back.
    start: boots a host's software again, by machine name.
    struck: called as ``struck(kind, machine name)`` right after a host has gone down.
    """

    def __init__(
        self,
        world: World,
        link: Link,
        restart_ns: dict[str, int],
        start: Callable[[str], None],
        struck: Callable[[str, str], None],
    ) -> None:
        self._world = world
        self._link = link
        self._restart_ns = restart_ns
        self._start = start
        self._struck = struck
        self._marks: list[_Mark] = []
        self._waiting: list[tuple[PowerLoss, int]] = []
        self._armed: list[PowerLoss] = []
        self._outages = 0
        self._count = 0
        self._pending = 0
        world.observers.append(self._observe)

    @property
    def quiet(self) -> bool:
        """Whether no fault is still to come or under way.

        A lost machine is over; so is a fault that waits for something that may never be.
        """
        return self._pending == len(self._waiting) + len(self._armed)

    @property
    def never_happened(self) -> list[str]:
        """Faults that still wait for their activity, in words."""
        return [
            f"the power loss of the {fault.host} in the middle of '{fault.when}' never "
            "happened, because it never got there"
            for fault in [*(fault for fault, _number in self._waiting), *self._armed]
        ]

    def marks(self) -> list[FaultMark]:
        """The faults as they happened so far."""
        return [
            FaultMark(
                mark.kind,
                mark.where,
                mark.start_ns / SECOND_NS,
                None if mark.end_ns is None else mark.end_ns / SECOND_NS,
                mark.note,
            )
            for mark in self._marks
        ]

    def schedule(self, faults: tuple[Fault, ...]) -> None:
        """Let each fault happen at its time."""
        for fault in faults:
            self._pending += 1
            self._world.clock.at(fault.at_ns, lambda fault=fault: self._begin(fault))  # type: ignore[misc]

    # -- one fault -----------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, LinkOutage):
            self._outage(fault)
        elif isinstance(fault, LinkReset):
            self._note("link_reset", "link", 0)
            self._link.reset()
            self._pending -= 1
        elif isinstance(fault, LinkBandwidth):
            mark = self._note("link_bandwidth", "link", fault.duration_ns)
            self._link.set_bandwidth(fault.bits_per_second)
            self._after(fault.duration_ns, mark, lambda: self._link.set_bandwidth(None))
        elif isinstance(fault, Pause):
            machine = self._world.machine(fault.host)
            mark = self._note("pause", fault.host, fault.duration_ns)
            machine.pause()
            self._after(fault.duration_ns, mark, machine.resume)
        elif isinstance(fault, PowerLoss) and fault.when is not None:
            self._count += 1
            self._waiting.append((fault, self._count))
        elif not self._world.machine(fault.host).running:
            self._pending -= 1  # it is down already: nothing more can happen to it
        elif isinstance(fault, PowerLoss):
            self._count += 1
            self._power_loss(fault, self._count)
        elif isinstance(fault, ProcessCrash):
            self._world.machine(fault.host).crash_process()
            self._down("process_crash", fault.host, self._restart_ns[fault.host], "")
        else:
            self._world.machine(fault.host).lose()
            self._marks.append(_Mark("loss", fault.host, self._world.clock.now()))
            self._pending -= 1
            self._struck("loss", fault.host)

    def _outage(self, fault: LinkOutage) -> None:
        direction = {"both": "both", "to_replica": "to_b", "to_source": "to_a"}[fault.direction]
        mark = self._note("link_outage", "link", fault.duration_ns)
        self._outages += 1
        self._link.partition(direction)  # type: ignore[arg-type]

        def heal() -> None:
            self._struck("link_outage", "link")  # what would have been lost until now?
            self._outages -= 1
            if self._outages == 0:
                self._link.heal()

        self._after(fault.duration_ns, mark, heal)

    def _note(self, kind: str, where: str, duration_ns: int) -> _Mark:
        now_ns = self._world.clock.now()
        mark = _Mark(kind, where, now_ns, now_ns + duration_ns)
        self._marks.append(mark)
        return mark

    def _after(self, duration_ns: int, mark: _Mark, end: Callable[[], None]) -> None:
        def over() -> None:
            mark.end_ns = self._world.clock.now()
            self._pending -= 1
            end()

        self._world.clock.at(self._world.clock.now() + duration_ns, over)

    # -- hosts ---------------------------------------------------------------------

    def _choose(self, fault: PowerLoss, number: int) -> Choose:
        if fault.survive == "none":
            return lose_everything
        if fault.survive == "all":
            return keep_everything
        return seeded_choice(f"{self._world.seed}/power loss/{number}")

    def _power_loss(self, fault: PowerLoss, number: int, note: str = "") -> None:
        machine = self._world.machine(fault.host)
        machine.lose_power(self._choose(fault, number))
        restart_ns = fault.restart_ns or self._restart_ns[fault.host]
        self._down("power_loss", fault.host, restart_ns, note)

    def _down(self, kind: str, name: str, restart_ns: int, note: str) -> None:
        mark = _Mark(kind, name, self._world.clock.now(), note=note)
        self._marks.append(mark)
        self._struck(kind, name)

        def restart() -> None:
            mark.end_ns = self._world.clock.now()
            self._pending -= 1
            if not self._world.machine(name).lost:
                self._start(name)

        self._world.clock.at(self._world.clock.now() + restart_ns, restart)

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
        draw = seeded_choice(f"{self._world.seed}/power loss step/{number}")
        disk.crash_at_step = disk.steps + 1 + draw(STEPS_INTO_ACTIVITY)
        self._armed.append(fault)

        def strike() -> None:
            self._armed.remove(fault)
            self._power_loss(fault, number, f"in {fault.when}")

        disk.on_crash = strike
