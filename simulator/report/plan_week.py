"""The week with the largest lag: what is to be carried, what waits, how old the copy is.

Reading downwards tells the story: where more is to be carried than the line takes, bytes wait, and
what waits grows old.  Rates are means of ten minutes (of a step, where that is longer), amounts and
lags the largest of them, so that no peak is lost.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from simulator.plan.grid import DAY_SECONDS, Floats
from simulator.plan.link_use import offered_bytes
from simulator.plan.plan_units import format_line, format_volume, volume_axis
from simulator.plan.planner import Plan
from simulator.plan.waiting_volume import given_volume, volume_name
from simulator.report import ink
from simulator.report.axes import EndName, bound_line, name_ends, title, value_axis
from simulator.report.ink import Role
from simulator.report.plan_axes import axis_name, mark, panels
from simulator.units import AxisUnit, format_duration, rate_axis, time_axis

BIN_SECONDS: Final = 600.0
_DAYS: Final = 7
_HEADROOM: Final = 1.25
_FAR: Final = 3.0
"""A bound more than so many times above the curve is written, not drawn."""


def week_of(plan: Plan) -> slice:
    """The steps of the calendar week (from Monday on) in which the lag is largest; of a shorter
    plan all of it."""
    grid = plan.change.grid
    width = round(_DAYS * DAY_SECONDS / grid.step_seconds)
    if grid.steps <= width:
        return slice(0, grid.steps)
    at = int(np.argmax(plan.course.lag_seconds))
    since_monday = round(float(grid.seconds_of_week()[at]) / grid.step_seconds)
    first = min(max(0, at - since_monday), grid.steps - width)
    return slice(first, first + width)


def draw_week(plan: Plan) -> Figure:
    """Three panels over the same week."""
    week = week_of(plan)
    grid = plan.change.grid
    width = max(1, round(BIN_SECONDS / grid.step_seconds))
    axes = panels([1.9, 1.5, 1.5], gap=0.42)
    days = (week.stop - week.start) * grid.step_seconds / DAY_SECONDS
    _rates(axes[0], plan, week, width)
    _waiting(axes[1], plan, week, width)
    _lag(axes[2], plan, week, width)
    begin = grid.time_at(week.start)
    into_day = (begin - begin.replace(hour=0, minute=0, second=0)).total_seconds() / DAY_SECONDS
    midnights = [day - into_day for day in range(int(days + into_day) + 1) if day >= into_day]
    for each in axes:
        each.set_xlim(0, days)
        each.xaxis.set_major_locator(FixedLocator(midnights))
        each.grid(axis="x", color=ink.GRID.stand_in, linewidth=0.8)
        each.xaxis.set_major_formatter(
            FuncFormatter(lambda at, _: (begin + timedelta(days=at)).strftime("%a %d"))
        )
    axis_name(axes[2], f"day, from {begin:%d %B %Y} on; lines stand at midnight")
    figure = axes[0].figure
    assert isinstance(figure, Figure)
    return figure


def _bins(values: Floats, width: int, how: np.ufunc) -> Floats:
    """Of each bin the sum, or the largest."""
    first = np.arange(0, len(values), width)
    found: Floats = how.reduceat(values, first).astype(np.float64)
    return found


def _days(count: int, width: int, step_seconds: float) -> Floats:
    found: Floats = np.arange(count, dtype=np.float64) * (width * step_seconds / DAY_SECONDS)
    return found


def _rates(axes: Axes, plan: Plan, week: slice, width: int) -> None:
    """What is to be carried against what can be."""
    grid = plan.change.grid
    # Runs carry at once what they may: what they would like says nothing beside a line.
    sends_in_order = bool(plan.spools)
    asked = (
        offered_bytes(plan.protection, plan.change) if sends_in_order else plan.course.carried_bytes
    )
    name = "to be carried" if sends_in_order else "carried"
    per_second = width * grid.step_seconds  # of a bin
    wanted = _bins(asked[week], width, np.add) / per_second
    could = _bins(plan.capacity_bytes[week], width, np.add) / per_second
    top = _HEADROOM * max(float(wanted.max()), float(could.max()), 1.0)
    unit = rate_axis(top)
    days = _days(len(wanted), width, grid.step_seconds)
    title(
        axes,
        f"What is {name}, and what the line takes",
        f"means of {format_duration(per_second)}, compressed",
    )
    value_axis(axes, top / unit.divisor, unit)
    axes.fill_between(
        days, wanted / unit.divisor, color=ink.WIRE.stand_in, alpha=0.25, linewidth=0, zorder=2
    )
    axes.plot(days, wanted / unit.divisor, color=ink.WIRE.stand_in, linewidth=1.2, zorder=3)
    axes.step(
        days,
        could / unit.divisor,
        where="post",
        color=ink.BOUND.stand_in,
        linewidth=1.6,
        zorder=4,
    )
    _peak(axes, days, wanted, unit, format_line(8 * float(wanted.max())), ink.WIRE)
    name_ends(
        axes,
        [
            EndName(float(wanted[-1]) / unit.divisor, name, ink.WIRE),
            EndName(float(could[-1]) / unit.divisor, "the line takes", ink.BOUND),
        ],
    )


def _waiting(axes: Axes, plan: Plan, week: slice, width: int) -> None:
    waiting = _bins(plan.course.waiting_bytes[week], width, np.maximum)
    limit, name = given_volume(plan.organisation, plan.protection), volume_name(plan.protection)
    peak = float(waiting.max())
    drawn = limit is not None and limit <= _FAR * max(peak, 1.0)
    top = _HEADROOM * max(peak, float(limit or 0) if drawn else 0.0, 1.0)
    notes = [f"the {name} of {format_volume(limit)} is far above"] if limit and not drawn else []
    most = float(plan.course.waiting_bytes.max())
    if format_volume(most) != format_volume(peak):
        notes.append(f"in another week {format_volume(most)}")
    far = "; ".join(notes)
    title(axes, "What waits at the source" + (f" ({name})" if plan.spools else ""), far)
    unit = volume_axis(top)
    bound = (float(limit), f"{name} {format_volume(limit)}") if limit and drawn else None
    _curve(axes, plan, waiting, width, top, unit, ink.SPOOL, format_volume(peak), bound)


def _lag(axes: Axes, plan: Plan, week: slice, width: int) -> None:
    lag = _bins(plan.course.lag_seconds[week], width, np.maximum)
    wanted = plan.organisation.objectives.rpo_ns / 1e9
    peak = float(lag.max())
    drawn = wanted <= _FAR * max(peak, 1.0)
    top = _HEADROOM * max(peak, wanted if drawn else 0.0, 1.0)
    far = "" if drawn else f"the RPO of {format_duration(wanted)} is far above"
    title(axes, "How old the copy is (lag)", far)
    unit = time_axis(top)
    bound = (wanted, f"RPO {format_duration(wanted)}") if drawn else None
    _curve(axes, plan, lag, width, top, unit, ink.LAG, format_duration(peak), bound)


def _curve(
    axes: Axes,
    plan: Plan,
    values: Floats,
    width: int,
    top: float,
    unit: AxisUnit,
    role: Role,
    peak: str,
    bound: tuple[float, str] | None,
) -> None:
    days = _days(len(values), width, plan.change.grid.step_seconds)
    value_axis(axes, top / unit.divisor, unit)
    shown = values / unit.divisor
    axes.fill_between(days, shown, color=role.stand_in, alpha=0.2, linewidth=0, zorder=2)
    axes.plot(days, shown, color=role.stand_in, linewidth=1.5, zorder=3)
    _peak(axes, days, values, unit, peak, role)
    if bound is not None:
        bound_line(axes, bound[0] / unit.divisor)
        name_ends(axes, [EndName(bound[0] / unit.divisor, bound[1], ink.BOUND)])


def _peak(axes: Axes, days: Floats, values: Floats, unit: AxisUnit, text: str, role: Role) -> None:
    at = int(np.argmax(values))
    if values[at] > 0:
        late = bool(days[at] > 0.8 * days[-1])
        mark(axes, (float(days[at]), float(values[at]) / unit.divisor), text, role, left=late)
