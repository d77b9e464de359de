"""What a site writes, as it was found in the site's own files: logs and pages, hour by hour.

Look at it before anything is reckoned with it: a night without a backup, a day that is missing or
a peak that nobody can explain is seen here, and in no sum.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, Floats
from simulator.plan.plan_units import format_volume, volume_axis
from simulator.report import ink
from simulator.report.axes import title, value_axis
from simulator.report.ink import Role
from simulator.report.plan_axes import axis_name, mark, panels

_HEADROOM: Final = 1.25
_MOST_DAYS: Final = 28
"""A longer curve is shown by its first weeks."""
_DAYS_WITH_NAMES: Final = 10


def draw_change(curve: ChangeCurve) -> Figure:
    """Bytes of logs and of pages in each hour.

    Arguments
    ---------
    curve: as :func:`~simulator.plan.site_files.load_site` gives it.
    """
    width = max(1, round(HOUR_SECONDS / curve.grid.step_seconds))
    steps = min(curve.grid.steps, round(_MOST_DAYS * DAY_SECONDS / curve.grid.step_seconds))
    axes = panels([1.6, 1.6], gap=0.45, right=0.97)
    parts = (
        ("Transaction logs", curve.log_bytes, ink.SPOOL),
        ("Pages of the databases", curve.database_bytes, ink.JOURNAL),
    )
    for panel, (name, amounts, role) in zip(axes, parts, strict=True):
        _hours(panel, name, amounts[:steps], width, curve, role)
    axis_name(axes[1], f"day, from {curve.grid.begins_at:%d %B %Y} on; lines stand at midnight")
    figure = axes[0].figure
    assert isinstance(figure, Figure)
    return figure


def _hours(
    axes: Axes, name: str, amounts: Floats, width: int, curve: ChangeCurve, role: Role
) -> None:
    first = np.arange(0, len(amounts), width)
    by_hour = np.add.reduceat(amounts, first)
    days = first * curve.grid.step_seconds / DAY_SECONDS
    span = len(amounts) * curve.grid.step_seconds / DAY_SECONDS
    total = float(amounts.sum())
    peak = float(by_hour.max())
    unit = volume_axis(_HEADROOM * peak)
    title(axes, f"{name}, bytes in each hour", f"{format_volume(total / span)} a day")
    value_axis(axes, _HEADROOM * peak / unit.divisor, unit)
    # Steps: an hour has one figure, and its sides say when it begins and ends.
    edges, heights = np.append(days, span), by_hour / unit.divisor
    axes.stairs(heights, edges, fill=True, color=role.stand_in, alpha=0.3, linewidth=0, zorder=2)
    axes.stairs(heights, edges, color=role.stand_in, linewidth=1.3, zorder=3)
    at = int(np.argmax(by_hour))
    middle = float((edges[at] + edges[at + 1]) / 2)
    if peak > 0:
        when = curve.grid.time_at(int(first[at]))
        text = f"{format_volume(peak)} from {when:%a %H:%M}"
        mark(axes, (middle, peak / unit.divisor), text, role, left=middle > 0.75 * span)
    _midnights(axes, curve, span)


def _midnights(axes: Axes, curve: ChangeCurve, span: float) -> None:
    begin = curve.grid.begins_at
    into_day = (begin - begin.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(1)
    midnights = [day - into_day for day in range(int(span + into_day) + 1) if day >= into_day]
    step = 1 + len(midnights) // _DAYS_WITH_NAMES
    axes.set_xlim(0, span)
    axes.xaxis.set_major_locator(FixedLocator(midnights[::step]))
    axes.grid(axis="x", color=ink.GRID.stand_in, linewidth=0.8)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: (begin + timedelta(days=at)).strftime("%a %d"))
    )
