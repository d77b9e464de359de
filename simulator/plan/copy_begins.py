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

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation_curves import seed_rates
from simulator.plan.outages import OutageModel
from simulator.plan.plan_parts import AFTER_SECONDS
from simulator.plan.planner import Plan
from simulator.plan.run_outages import outages_of
from simulator.plan.seeding import Seeding, seed_by_courier, seed_over_wire
from simulator.report.plan_units import format_volume
from simulator.report.units import format_duration

HOURS: Final = (0, 18)
"""Of each weekday: midnight, and when a working day has ended [A]."""
_WEEK_SECONDS: Final = 7 * DAY_SECONDS
LEAST_LESS_SHARE: Final = 0.01
"""Of what waits; begins that differ by less are the same."""


@dataclass(frozen=True)
class CopyBegins:
    """The first copy on the planned way.

    Attributes
    ----------
    planned: begun as planned.
    others: begun at each weekday's :data:`HOURS`, in the order of time.
    """

    planned: Seeding
    others: tuple[Seeding, ...]

    @property
    def best(self) -> Seeding | None:
        """The begin while which least waits, of those that converge; None where none does."""
        known = [each for each in self.others if each.converges_after_seconds is not None]
        return min(known, key=_waits, default=None)


def _waits(seeding: Seeding) -> float:
    peak = seeding.spool_peak_bytes
    return float("inf") if peak is None else peak


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


def copy_begins(plan: Plan) -> CopyBegins | None:
    """The first copy of a plan, begun at other times of the week; None where no size is known, the
    line never catches up, or the kind keeps no spool."""
    if plan.first_copy.empty or not plan.use.catches_up or not plan.spools:
        return None
    change = continued(plan.change, AFTER_SECONDS)
    grid, rates = change.grid, seed_rates(plan.organisation)
    capacity = plan.link.capacity_bytes(grid)
    model = outages_of(plan.protection, change, capacity)
    if not isinstance(model, OutageModel):
        return None
    seed = seed_over_wire if plan.organisation.first_copy.by == "wire" else seed_by_courier

    def made(begin_seconds: float) -> Seeding:
        return seed(plan.protection, change, capacity, begin_seconds, rates=rates, model=model)

    begins = begins_after(grid.begin_of_week_seconds, rates.begin_seconds)
    return CopyBegins(made(rates.begin_seconds), tuple(made(each) for each in begins))


def begin_sentences(plan: Plan) -> list[str]:
    """When the first copy begins, and how much less waits when it begins at the best time."""
    found = copy_begins(plan)
    if found is None:
        return []
    planned, best = found.planned, found.best
    whose = "the plan's begin" if plan.organisation.first_copy.begins is None else "as planned"
    told = f"That first copy begins on {_at(planned)}, {whose}"
    if best is None or best.spool_peak_bytes is None:
        return [f"{told}."]
    size = format_volume(best.spool_peak_bytes)
    if planned.spool_peak_bytes is None or planned.converges_after_seconds is None:
        return [f"{told}; begun on {_at(best)} it converges, and {size} wait meanwhile."]
    less = planned.spool_peak_bytes - best.spool_peak_bytes
    if less <= LEAST_LESS_SHARE * planned.spool_peak_bytes:
        return [f"{told}; at no other time of the week does it need less."]
    lasts = format_duration(float(best.converges_after_seconds or 0.0))
    return [
        f"{told}, and up to {format_volume(planned.spool_peak_bytes)} wait meanwhile; begun on "
        f"{_at(best)} it is {size}, {format_volume(less)} less, and it takes {lasts} "
        "(first_copy.begins)."
    ]


def _at(seeding: Seeding) -> str:
    """``Sat 2007-01-06 18:00``."""
    return f"{datetime.fromisoformat(seeding.begins_at):%a %Y-%m-%d %H:%M}"
