"""All plans of up to a few faults: each kind, at each host, at each instant of a grid, plainly.

The number of a plan says which one it is (combinations in lexicographic order), so that any
worker makes any plan without those before it: number 0 is the plan without a fault, then come all
plans of one fault, of two, of three.  Nothing that a fault could also be is drawn: each takes its
plainest values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb
from typing import Any, Final

from pydantic import TypeAdapter

from replicator.errors import BadInput
from simulator.plans.budget import Budget, within
from simulator.plans.plan import PLAN_FORMAT, FaultPlan
from simulator.scenario import Fault, Scenario

MOST_FAULTS: Final = 3
MOST_PLANS: Final = 5_000_000
"""Beyond that nobody waits for the end."""
INSTANTS: Final = 8
"""Of the grid, when nothing else is asked for."""

_HOSTS: Final = ({"host": "source"}, {"host": "replica"})
_PLAINEST: Final[tuple[tuple[str, tuple[dict[str, Any], ...]], ...]] = (
    ("link_outage", ({"direction": "both"},)),
    ("link_reset", ({},)),
    ("link_bandwidth", ({"bandwidth": "1Mbit/s"},)),
    ("link_latency", ({"rtt": "300ms"},)),
    ("link_loss", ({"loss": "20%"},)),
    ("link_corruption", ({"direction": "to_replica"}, {"direction": "to_source"})),
    ("process_crash", _HOSTS),
    ("power_loss", tuple({**host, "survive": "none"} for host in _HOSTS)),
    (
        "power_loss",
        tuple(
            {"host": "replica", "survive": "seeded", "when": when}
            for when in ("apply", "checkpoint", "resynchronize")
        ),
    ),
    ("pause", _HOSTS),
    ("slow_processor", tuple({**host, "factor": 100} for host in _HOSTS)),
    ("clock_jump", tuple({**host, "by": "-3s"} for host in _HOSTS)),
    ("sync_failure", _HOSTS),
    ("disk_full", _HOSTS),
    ("disk_slow", tuple({**host, "factor": 100.0} for host in _HOSTS)),
    ("disk_stall", _HOSTS),
    (
        "bit_rot",
        tuple({"host": "replica", "where": where} for where in ("journal", "checkpoint")),
    ),
    ("replica_restored", ({},)),
    ("loss", ({"host": "source"},)),
)
"""Those that plans are drawn from, too; what no design survives unharmed is left out."""
_LASTING: Final = frozenset(
    {
        "link_outage",
        "link_bandwidth",
        "link_latency",
        "link_loss",
        "link_corruption",
        "pause",
        "slow_processor",
        "disk_full",
        "disk_slow",
        "disk_stall",
    }
)
_ANY: Final[TypeAdapter[Fault]] = TypeAdapter(Fault)


@dataclass(frozen=True, slots=True)
class Enumeration:
    """All plans of up to so many faults.

    Arguments
    ---------
    horizon_ns: faults begin before this.
    most: faults of a plan, up to three.
    instants: at which a fault may begin, evenly over the horizon.
    budget: what goes beyond it is left out of each plan.
    """

    horizon_ns: int
    most: int
    instants: int = INSTANTS
    budget: Budget | None = None

    @property
    def grid_ns(self) -> int:
        """Between two instants; what lasts does so for as long."""
        return self.horizon_ns // self.instants

    @property
    def atoms(self) -> int:
        """Single faults that plans are made of."""
        return self.instants * sum(len(variants) for _kind, variants in _PLAINEST)

    @property
    def plans(self) -> int:
        """How many plans there are, the one without a fault included."""
        return sum(comb(self.atoms, faults) for faults in range(self.most + 1))

    def plan(self, number: int) -> FaultPlan:
        """The plan with this number, from 0 on."""
        atoms = _atoms(replace(self, budget=None))
        faults = tuple(atoms[index] for index in combination(len(atoms), number))
        faults = tuple(sorted(faults, key=lambda fault: fault.at_ns))
        lost = next((fault for fault in faults if fault.kind == "loss"), None)
        if lost is not None:  # nothing can happen to a machine that is gone
            faults = tuple(
                fault
                for fault in faults
                if fault is lost
                or getattr(fault, "host", "") != lost.host
                or fault.at_ns < lost.at_ns
            )
        if self.budget is not None:
            faults = within(faults, self.budget)
        # Without a budget in the file: it says what the enumeration stays inside as a whole.
        return FaultPlan(format=PLAN_FORMAT, name=f"enumerated {number}", seed=1, faults=faults)


def combination(items: int, number: int) -> tuple[int, ...]:
    """The combination of ``items`` things with this number: first none, then one, then two ...

    Raises ValueError when there are not so many.
    """
    rank, size = number, 0
    while rank >= comb(items, size):
        rank -= comb(items, size)
        size += 1
        if size > items:
            raise ValueError(f"there is no combination number {number} of {items} things")
    chosen: list[int] = []
    at = 0
    while size:
        with_this = comb(items - at - 1, size - 1)
        if rank < with_this:
            chosen.append(at)
            size -= 1
        else:
            rank -= with_this
        at += 1
    return tuple(chosen)


@lru_cache(maxsize=4)
def _atoms(space: Enumeration) -> tuple[Fault, ...]:
    return tuple(_single_faults(space))


def _single_faults(space: Enumeration) -> Iterator[Fault]:
    step_ns = space.grid_ns
    for kind, variants in _PLAINEST:
        for more in variants:
            for instant in range(space.instants):
                at_ns = instant * step_ns
                values: dict[str, Any] = {"kind": kind, "at": f"{at_ns}ns", **more}
                if kind in _LASTING:
                    values["duration"] = f"{step_ns}ns"
                if kind == "replica_restored":
                    # From a copy of one instant before; at the start there is none that is older.
                    values |= {"at": f"{at_ns + step_ns // 2}ns", "age": f"{step_ns // 2}ns"}
                yield _ANY.validate_python(values)


def enumeration_of(
    scenario: Scenario, most: int, instants: int, budget: Budget | None = None
) -> Enumeration:
    """The enumeration for a scenario; raises BadInput when it is too many plans."""
    space = Enumeration(scenario.duration_ns, most, instants, budget)
    if space.plans <= MOST_PLANS:
        return space
    fitting = max(
        (n for n in range(1, instants) if replace(space, instants=n).plans <= MOST_PLANS),
        default=None,
    )
    fewer = max(
        (n for n in range(1, most) if replace(space, most=n).plans <= MOST_PLANS), default=None
    )
    ways = []
    if fewer is not None:
        ways.append(f"--enumerate {fewer} ({replace(space, most=fewer).plans:,} plans)")
    if fitting is not None:
        ways.append(f"--instants {fitting} ({replace(space, instants=fitting).plans:,} plans)")
    raise BadInput(
        f"up to {most} of {space.atoms:,} faults are {space.plans:,} plans, more than anybody "
        f"waits for ({MOST_PLANS:,})",
        path=f"--enumerate {most}",
        remedy=f"Write {', or '.join(ways)}; or have plans drawn: --plans N.",
    )
