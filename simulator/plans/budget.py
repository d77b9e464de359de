"""A fault budget: how much may go wrong at most, so that everything must still be recovered.

Two sites hold the data.  As long as one of them is whole, what was acknowledged can be had again;
who damages both at a time, or a disk in a way that nobody can notice, must expect a loss.  A
budget draws that line:

- ``weakest``: the weakest cell of the table fault by invariant (:mod:`simulator.expectations`)
  that a fault may have: ``holds``, ``detected`` (damage that is named, and repaired from the other
  side), or ``by design``;
- ``damaged_sites``: of how many sites the data may be damaged at a time;
- ``repair``: so long after a fault its site counts as damaged: the other one has to be spared.

Within the budget a run that ends *unrecoverable* has failed.  Beyond it the verdict is allowed,
and names what was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from replicator.toml_errors import Remark
from replicator.toml_keys import Duration, Table, key
from replicator.units import spell_duration
from simulator.expectations import (
    DURABLE,
    INVARIANTS,
    MOUNTABLE,
    PREFIX,
    USABLE,
    Expectation,
    row_of,
)
from simulator.scenario_faults import Fault, Loss

_OF_THE_DATA: Final = (PREFIX, DURABLE, MOUNTABLE, USABLE)
_LEVELS: Final = {
    "holds": Expectation.HOLDS,
    "detected": Expectation.DETECTED,
    "by design": Expectation.BY_DESIGN,
}
FOR_EVER_NS: Final = 1 << 62


class Budget(Table):
    """How much may go wrong at most."""

    weakest: Literal["holds", "detected", "by design"] = key(
        None, "The weakest cell of docs/invariants.md that a fault may have.", "detected"
    )
    damaged_sites: int = key(None, "Sites whose data may be damaged at a time.", 1, ge=0, le=2)
    repair_ns: Duration = key("repair", "So long after a fault its site counts as damaged.", "30s")

    @property
    def must_recover(self) -> bool:
        """Whether a run within it may not lose anything for good."""
        return self.weakest != "by design" and self.damaged_sites < 2


@dataclass(frozen=True, slots=True)
class Excess:
    """A fault that is beyond a budget."""

    index: int
    """In the list of faults."""
    why: str
    with_index: int | None = None
    """The earlier fault that it collides with."""


def weakest_cell(fault: Fault) -> tuple[Expectation, str, str]:
    """How far the weakest invariant can be kept under a fault; which one, and why no better."""
    row = row_of(fault)
    found = [(row.cell(name).expectation, name, row.cell(name).why) for name in INVARIANTS]
    return max(found, key=lambda each: each[0])


def damages(fault: Fault) -> bool:
    """Whether it damages what its site holds: the data of one side are not to be relied on."""
    row = row_of(fault)
    weak = any(row.cell(name).expectation > Expectation.HOLDS for name in _OF_THE_DATA)
    return weak or isinstance(fault, Loss)


def excesses(faults: Sequence[Fault], budget: Budget) -> Iterator[Excess]:
    """The faults beyond a budget, in the order of their times; those are not counted further."""
    damaged: list[tuple[int, int, str]] = []  # index, until when, whose site
    level = _LEVELS[budget.weakest]
    for index, fault in sorted(enumerate(faults), key=lambda pair: pair[1].at_ns):
        expectation, invariant, why = weakest_cell(fault)
        if expectation > level:
            yield Excess(index, f"{invariant} is {expectation.words} under it ({why})")
            continue
        if not damages(fault):
            continue
        site = getattr(fault, "host", "")
        others = [each for each in damaged if each[1] > fault.at_ns and each[2] != site]
        if len({each[2] for each in others}) + 1 > budget.damaged_sites:
            earlier = others[-1] if others else None
            if earlier is None:
                yield Excess(index, f"it damages the {site}, and no site may be damaged")
                continue
            yield Excess(
                index,
                f"it damages the {site} while the {earlier[2]} is not repaired yet",
                earlier[0],
            )
            continue
        lasts_ns = getattr(fault, "duration_ns", 0) + budget.repair_ns
        until_ns = FOR_EVER_NS if isinstance(fault, Loss) else fault.at_ns + lasts_ns
        damaged.append((index, until_ns, site))


def remarks(faults: Sequence[Fault], budget: Budget) -> Iterator[Remark]:
    """The same as remarks on a plan, to be told with their places."""
    for excess in excesses(faults, budget):
        keys: list[tuple[str | int, ...]] = [("faults", excess.index)]
        if excess.with_index is not None:
            keys.append(("faults", excess.with_index, "at"))
        fault = faults[excess.index]
        yield Remark(
            tuple(keys),
            f"the {fault.kind.replace('_', ' ')} at {spell_duration(fault.at_ns)} is beyond the "
            f"budget: {excess.why}",
            "Take the fault out, move it behind the repair, or give [budget] more.",
        )


def within(faults: tuple[Fault, ...], budget: Budget) -> tuple[Fault, ...]:
    """The faults that stay within a budget: what goes beyond is left out."""
    beyond = {excess.index for excess in excesses(faults, budget)}
    return tuple(fault for index, fault in enumerate(faults) if index not in beyond)
