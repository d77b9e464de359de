"""When a first copy begins best: what waits meanwhile, by the hour of the week of its begin.

Theory
------
While the first copy is made all changes wait, and the line's slow hours make it longer: begun on a
Monday it meets the working day twice, as load and as a narrow line; begun at the weekend neither.
So the same copy may need several times the spool.  A few begins tell it: of each weekday midnight
and the end of the working day (:data:`HOURS`), within the week that follows the planned begin.  The
best of all hours may be somewhat better still.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import pandas as pd

from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, Floats
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_curves import seed_rates
from simulator.plan.outages import OutageModel
from simulator.plan.protection import Protection
from simulator.plan.run_outages import AnyOutages
from simulator.plan.seeding import compare_seedings, seed_by_courier, seed_over_wire

HOURS: Final = (0, 18)
"""Of each weekday: midnight, and when a working day has ended [A]."""
_WEEK_SECONDS: Final = 7 * DAY_SECONDS


def begins_after(week_seconds: float, begin_seconds: float) -> list[float]:
    """Each weekday's :data:`HOURS` within the week after a begin, in seconds of the grid.

    Arguments
    ---------
    week_seconds: of the grid's begin, from the last Monday, midnight.
    begin_seconds: of the begin, from that of the grid.
    """
    of_week = [day * DAY_SECONDS + hour * HOUR_SECONDS for day in range(7) for hour in HOURS]
    now = week_seconds + begin_seconds
    return sorted(begin_seconds + (each - now) % _WEEK_SECONDS for each in of_week)


def copy_begins(
    organisation: Organisation,
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    model: AnyOutages,
) -> pd.DataFrame:
    """The first copy on the planned way, begun at each weekday's :data:`HOURS`.

    Arguments
    ---------
    change: on a grid that goes on behind the plan.
    capacity_bytes: of the line in each step of that grid; it catches up.
    model: of the outages on that grid.

    A row for each begin, in the order of time; columns as
    :class:`~simulator.plan.seeding.Seeding`.  Empty where no size is known, or the kind keeps no
    spool.
    """
    if change.stored_bytes is None or not isinstance(model, OutageModel):
        return compare_seedings()
    rates = seed_rates(organisation)
    seed = seed_over_wire if organisation.first_copy.by == "wire" else seed_by_courier
    begins = begins_after(change.grid.begin_of_week_seconds, rates.begin_seconds)
    return compare_seedings(
        *(seed(protection, change, capacity_bytes, at, rates=rates, model=model) for at in begins)
    )


def best_begin(begins: pd.DataFrame) -> dict[Hashable, Any] | None:
    """The row of the begin while which least waits, of those that converge; None for none."""
    known = begins[begins["converges_after_seconds"].notna()]
    if known.empty:
        return None
    best: dict[Hashable, Any] = known.loc[
        known["spool_peak_bytes"].astype(float).idxmin()
    ].to_dict()
    return best
