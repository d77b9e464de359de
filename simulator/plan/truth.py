"""The truth of a plan: the fluid plan and the event simulation of the same case, side by side.

Three figures of each case: the largest spool, and the lag that is not exceeded half of the time
and 95 % of the time.  Both sides are seen at the same instants, once a second, and mean the same
by spool (what the source must keep) and lag (the age of the oldest operation that is not known to
be durable at the copy).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.answers import answer_frame
from simulator.plan.grid import Floats
from simulator.plan.truth_cases import TruthCase
from simulator.plan.truth_planned import Planned, plan
from simulator.plan.truth_simulated import Simulated, simulate

ALLOWED: Final = {"spool peak": 0.05, "median lag": 0.05, "95 % lag": 0.10}
"""How far the fluid figure may be from the simulated one, as a share of that."""


@dataclass(frozen=True)
class Row:
    """One figure of one case.

    Attributes
    ----------
    case, system, figure: what it is.
    fluid, simulated: bytes, or seconds.
    difference: of the fluid one, as a share of the simulated; None where only that is 0.
    allowed: most that it may be, up or down.
    holds: whether it is not more.
    """

    case: str
    system: str
    figure: str
    fluid: float
    simulated: float
    difference: float | None
    allowed: float
    holds: bool


def compare(case: TruthCase) -> tuple[list[Row], Simulated]:
    """Run both, and set them side by side.  Raises BadInput when the case's trace is missing."""
    simulated = simulate(case)
    return rows_of(case, plan(case, simulated), simulated), simulated


def rows_of(case: TruthCase, planned: Planned, simulated: Simulated) -> list[Row]:
    """A row for each figure."""
    ours = _figures(planned.spool_bytes, planned.lag_seconds)
    theirs = _figures(simulated.spool_bytes, simulated.lag_seconds)
    return [
        row_of(case.name, case.system, name, ours[name], theirs[name], allowed)
        for name, allowed in ALLOWED.items()
    ]


def row_of(
    case: str, system: str, figure: str, fluid: float, simulated: float, allowed: float
) -> Row:
    """One figure, judged."""
    if simulated:
        difference: float | None = fluid / simulated - 1.0
    else:
        difference = 0.0 if fluid == 0 else None
    holds = difference is not None and abs(difference) <= allowed
    return Row(case, system, figure, fluid, simulated, difference, allowed, holds)


def _figures(spool: Floats, lag: Floats) -> dict[str, float]:
    median, late = np.quantile(lag, (0.5, 0.95))
    return {"spool peak": float(spool.max()), "median lag": float(median), "95 % lag": float(late)}


def truth_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A row for each figure; the columns are those of :class:`Row`."""
    return answer_frame(rows, Row.__dataclass_fields__)


__all__ = ["ALLOWED", "Row", "compare", "row_of", "rows_of", "truth_frame"]
