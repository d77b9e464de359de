"""Shrinking a plan that fails to a smallest one that still does.

First whole faults are taken out, as delta debugging does it: halves, quarters, single ones;
then what is left is made simpler one by one: earlier, shorter, the plainest value of each key.
A fault that only delays another one until it strikes at the right instant is taken out while
that other one is moved.  Every step is one run; the outcome is a plan of which no single fault
can be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from replicator.toml_writer import toml_document
from simulator.plans.plan import FaultPlan
from simulator.scenario import Fault

MOST_RUNS: Final = 400
"""Of one shrinking; then the best plan so far is given."""

_FEW: Final = 4
"""Only with so few faults are others moved: that takes many runs."""
_FARTHEST: Final = 6
"""Faults are moved by up to 2 ** 5 steps of the grid."""

Fails = Callable[[FaultPlan], bool]

_PLAINEST: Final[dict[str, tuple[object, ...]]] = {
    "survive": ("none", "all"),
    "direction": ("both",),
    "count": (1,),
}


class Shrinker:
    """Looks for a smaller plan that still fails in the same way.

    Arguments
    ---------
    fails: runs a plan and says whether it fails as the first one did.
    grid_ns: times stay multiples of this.
    """

    def __init__(self, fails: Fails, grid_ns: int, most_runs: int = MOST_RUNS) -> None:
        self._fails = fails
        self._grid_ns = grid_ns
        self._left = most_runs
        self._known: dict[str, bool] = {}
        self.runs = 0

    def shrink(self, plan: FaultPlan) -> FaultPlan:
        """The smallest plan found; ``plan`` itself must fail."""
        plan = self._fewer(plan)
        while True:
            simpler = self._simpler(plan) or self._one_less_and_one_moved(plan)
            if simpler is None:
                return plan
            plan = self._fewer(simpler)

    def _holds(self, plan: FaultPlan) -> bool:
        """Whether this plan fails, too; each plan is run once."""
        text = repr(toml_document(plan))
        if text not in self._known:
            if not self._left:
                return False
            self._left -= 1
            self.runs += 1
            self._known[text] = self._fails(plan)
        return self._known[text]

    def _fewer(self, plan: FaultPlan) -> FaultPlan:
        """Take out as many faults as possible."""
        size = len(plan.faults)
        while size:
            at = 0
            while at < len(plan.faults):
                smaller = _with(plan, plan.faults[:at] + plan.faults[at + size :])
                if self._holds(smaller):
                    plan = smaller
                else:
                    at += size
            size //= 2
        return plan

    def _simpler(self, plan: FaultPlan) -> FaultPlan | None:
        """The plan with one fault made simpler; None when none can be."""
        for index, fault in enumerate(plan.faults):
            for simpler in self._variants(fault):
                faults = (*plan.faults[:index], simpler, *plan.faults[index + 1 :])
                candidate = _with(plan, tuple(sorted(faults, key=lambda each: each.at_ns)))
                if self._holds(candidate):
                    return candidate
        return None

    def _one_less_and_one_moved(self, plan: FaultPlan) -> FaultPlan | None:
        """The plan without one of its few faults, another one at another time."""
        if not 1 < len(plan.faults) <= _FEW:
            return None
        for index, fault in enumerate(plan.faults):
            rest = plan.faults[:index] + plan.faults[index + 1 :]
            for number, other in enumerate(rest):
                steps = [sign << power for power in range(_FARTHEST) for sign in (1, -1)]
                times = [fault.at_ns, *(other.at_ns + step * self._grid_ns for step in steps)]
                for at_ns in times:
                    if at_ns < 0 or at_ns > plan.faults[-1].at_ns + self._grid_ns:
                        continue
                    moved = other.model_copy(update={"at_ns": at_ns})
                    faults = (*rest[:number], moved, *rest[number + 1 :])
                    candidate = _with(plan, tuple(sorted(faults, key=lambda each: each.at_ns)))
                    if self._holds(candidate):
                        return candidate
        return None

    def _variants(self, fault: Fault) -> Iterator[Fault]:
        """Simpler faults, the simplest first."""
        for name, values in _PLAINEST.items():
            held = getattr(fault, name, None)
            for value in values:
                if held == value:
                    break
                if held is not None:
                    yield fault.model_copy(update={name: value})
        for name in ("duration_ns", "at_ns"):
            held = getattr(fault, name, None) or 0
            for share in (8, 4, 2):
                less = held // share // self._grid_ns * self._grid_ns
                if name == "duration_ns":
                    less = max(self._grid_ns, less)
                if less < held:
                    yield fault.model_copy(update={name: less})


def _with(plan: FaultPlan, faults: tuple[Fault, ...]) -> FaultPlan:
    return plan.model_copy(update={"faults": faults})
