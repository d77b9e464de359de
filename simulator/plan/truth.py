"""The truth of a plan: the fluid plan and the event simulation of the same case, side by side.

Three figures of each case: the largest spool, and the lag that is not exceeded half of the time
and 95 % of the time.  Both sides are seen at the same instants, once a second, and mean the same
by spool (what the source must keep) and lag (the age of the oldest operation that is not known to
be durable at the copy).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.answers import answer_frame
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


def compare(case: TruthCase) -> tuple[list[Row], list[Simulated]]:
    """Run both, and set them side by side.  Raises BadInput when the case's trace is missing."""
    simulated = [simulate(each) for each in case.runs()]
    planned = [plan(each, ran) for each, ran in zip(case.runs(), simulated, strict=True)]
    return rows_of(case, planned, simulated), simulated


def rows_of(
    case: TruthCase, planned: Sequence[Planned], simulated: Sequence[Simulated]
) -> list[Row]:
    """A row for each figure, of all runs of the case together."""
    ours, theirs = _figures(planned), _figures(simulated)
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


def _figures(runs: Sequence[Planned] | Sequence[Simulated]) -> dict[str, float]:
    spool = max(float(run.spool_bytes.max()) for run in runs)
    lag = np.concatenate([run.lag_seconds for run in runs])
    median, late = np.quantile(lag, (0.5, 0.95))
    return {"spool peak": spool, "median lag": float(median), "95 % lag": float(late)}


def truth_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A row for each figure; the columns are those of :class:`Row`."""
    return answer_frame(rows, Row.__dataclass_fields__)


__all__ = ["ALLOWED", "Row", "compare", "row_of", "rows_of", "truth_frame"]
