"""Faults that strike inside a storage call: a plain call is cut in its middle.

A crash at an instant of time falls between two calls, since calls take no time of their own.
What befalls real programs falls anywhere: after the intent was written and before the file
was, in the middle of a rename and what makes it durable.  Two ways lead there:

* ``when``: the fault waits until its host says that it is in an activity, and strikes at one of
  the next storage steps, drawn by seed;
* ``calls``: it strikes at the so-manieth storage step of the host after its time.

Steps are counted on the host's data disk.  A host that goes down by something else first:
what waited for an activity waits for the next one, what counted calls never happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.fault_marks import FaultMarks
from simulator.host import Machine, World, seeded_choice
from simulator.scenario_faults import PowerLoss, ProcessCrash

STEPS_INTO_ACTIVITY: Final = 24
"""A fault that waits for an activity strikes within so many storage steps of it."""

StepFault = PowerLoss | ProcessCrash
Strike = Callable[[StepFault, int, str], None]


class StepFaults:
    """The faults that wait for their storage step.

    Arguments
    ---------
    strike: called as ``strike(fault, number, note)`` inside the call; right after it the call
        raises Crashed.
    seed: names the step of a fault that waits for an activity.
    """

    def __init__(self, world: World, marks: FaultMarks, strike: Strike, seed: int) -> None:
        self._world = world
        self._marks = marks
        self._strike = strike
        self._seed = seed
        self._waiting: list[tuple[PowerLoss, int]] = []
        self._armed: list[tuple[StepFault, int]] = []
        world.observers.append(self._observe)

    @property
    def still_waiting(self) -> list[str]:
        """Those whose step has not come, in words."""
        found = [*self._waiting, *self._armed]
        return [self._in_words(fault) for fault, _number in found]

    def _in_words(self, fault: StepFault) -> str:
        what = f"the {fault.kind.replace('_', ' ')} of the {fault.host}"
        if isinstance(fault, PowerLoss) and fault.when is not None:
            return (
                f"{what} in the middle of '{fault.when}' never happened, because it never got there"
            )
        return f"{what} never happened: there were no {fault.calls} storage calls any more"

    def wait(self, fault: PowerLoss, number: int) -> None:
        """Strike in the midst of the activity that the fault names."""
        self._waiting.append((fault, number))

    def count(self, fault: StepFault, number: int) -> None:
        """Strike in the so-manieth storage call from now on."""
        machine = self._world.machine(fault.host)
        if machine.disks["data"].crash_at_step is not None:
            self._marks.impossible(fault, "another fault was about to strike in a storage call")
            return
        assert fault.calls is not None
        self._arm(machine, fault, number, fault.calls, f"in storage call {fault.calls}")

    def _observe(self, name: str, event: str, values: tuple[int | str, ...]) -> None:
        """A host says what it is doing: is a fault waiting for just that?"""
        if event != "activity" or not self._waiting:
            return
        for waiting in self._waiting:
            fault, number = waiting
            machine = self._world.machine(fault.host)
            armed = machine.disks["data"].crash_at_step is not None
            if fault.host == name and values[0] == fault.when and not armed:
                self._waiting.remove(waiting)
                draw = seeded_choice(f"{self._seed}/power loss step/{number}")
                steps = 1 + draw(STEPS_INTO_ACTIVITY)
                self._arm(machine, fault, number, steps, f"in {fault.when}")
                return

    def _arm(self, machine: Machine, fault: StepFault, number: int, steps: int, note: str) -> None:
        disk = machine.disks["data"]
        disk.crash_at_step = disk.steps + steps
        self._armed.append((fault, number))

        def strike() -> None:
            self._armed.remove((fault, number))
            self._strike(fault, number, note)

        disk.on_crash = strike

    def disarm(self, machine: Machine) -> None:
        """The machine goes down by something else."""
        for fault, number in [each for each in self._armed if each[0].host == machine.name]:
            self._armed.remove((fault, number))
            machine.disks["data"].crash_at_step = machine.disks["data"].on_crash = None
            if isinstance(fault, PowerLoss) and fault.when is not None:
                self._waiting.append((fault, number))
            else:
                self._marks.impossible(fault, "the host went down by something else before")
