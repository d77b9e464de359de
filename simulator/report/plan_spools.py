"""The spool in two pictures: by length of the outage, and by its begin and length.

Where the line never catches up there is no spool that is large enough, and protections that take
snapshots have none: then the picture says so.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter

from simulator.plan.plan_units import format_volume, volume_axis
from simulator.plan.planner import Plan, longest_lasting, worst_spool
from simulator.plan.waiting_volume import given_volume, volume_name
from simulator.report import ink
from simulator.report.axes import EndName, bound_line, format_tick, name_ends, title, value_axis
from simulator.report.plan_axes import axis_name, mark, panels, say
from simulator.units import format_duration, time_axis

_HEADROOM: Final = 1.12
_WEAKEST, _STRONGEST = 0.06, 0.55
"""Opacity of cells; letters stay readable on the strongest."""


def _nothing(plan: Plan) -> str:
    """Why there is no picture of a spool; empty when there is one."""
    if not plan.spools:
        return f"{plan.protection.name} has no spool: its runs carry what changed"
    return f"no spool is large enough: {plan.no_size}" if plan.no_size else ""


def _name(plan: Plan) -> str:
    return volume_name(plan.protection).capitalize()


def draw_spool_by_length(plan: Plan) -> Figure:
    """The spool needed at the worst and at the best hour, against rule of thumb and volume."""
    (axes,) = panels([3.4])
    figure = axes.figure
    assert isinstance(figure, Figure)
    title(axes, f"{_name(plan)} that an outage needs, by its length")
    nothing, worst = _nothing(plan), worst_spool(plan)
    if nothing or worst is None:
        say(axes, nothing)
        return figure
    groups = plan.surface.groupby("length_seconds")["spool_bytes"]
    most, least = groups.max(), groups.min()
    seconds = np.concatenate(([0.0], most.index.to_numpy(dtype=float)))
    steady = float(plan.course.waiting_bytes.min())
    high = np.concatenate(([_at_once(plan)], most.to_numpy(dtype=float)))
    low = np.concatenate(([steady], least.to_numpy(dtype=float)))
    volume, kind = given_volume(plan.organisation, plan.protection), volume_name(plan.protection)
    rule = worst.rule_of_thumb_bytes
    bounds = [
        (float(value), name) for value, name in ((volume, kind), (rule, "10 % rule")) if value
    ]
    top = _HEADROOM * max(float(high.max()), *(value for value, _ in bounds), 1.0)
    unit, across = volume_axis(top), time_axis(float(seconds[-1]))
    value_axis(axes, top / unit.divisor, unit)
    x = seconds / across.divisor
    axes.fill_between(
        x,
        low / unit.divisor,
        high / unit.divisor,
        color=ink.SPOOL.stand_in,
        alpha=0.18,
        linewidth=0,
    )
    axes.plot(x, high / unit.divisor, color=ink.SPOOL.stand_in, linewidth=2.2, zorder=4)
    axes.plot(x, low / unit.divisor, color=ink.SPOOL.stand_in, linewidth=1.2, zorder=4)
    names = [
        EndName(float(high[-1]) / unit.divisor, "at the worst hour", ink.SPOOL),
        EndName(float(low[-1]) / unit.divisor, "at the best hour", ink.SPOOL),
    ]
    for value, name in bounds:
        bound_line(axes, value / unit.divisor)
        names.append(EndName(value / unit.divisor, f"{name} {format_volume(value)}", ink.BOUND))
    axes.set_xlim(0, x[-1])
    _hour_ticks(axes, float(x[-1]), across.name)
    planned = worst.length_seconds / across.divisor
    text = f"{format_duration(worst.length_seconds)}: {format_volume(worst.needed_bytes)}"
    late = planned > 0.7 * x[-1]
    mark(axes, (planned, worst.needed_bytes / unit.divisor), text, ink.SPOOL, left=not late)
    lasts = longest_lasting(plan)
    if volume is not None and lasts is not None and lasts <= seconds[-1]:
        place = (lasts / across.divisor, volume / unit.divisor)
        mark(axes, place, f"full after {format_duration(lasts)}", ink.BOUND, below=True)
    axis_name(axes, f"length of the outage ({across.name})")
    name_ends(axes, names)
    return figure


def _at_once(plan: Plan) -> float:
    """What waits at most without an outage: an outage of no length needs that."""
    return float(plan.protection.course(plan.change, _usual(plan)).waiting_bytes.max())


def _usual(plan: Plan) -> np.ndarray:
    return plan.link.capacity_bytes(plan.change.grid)


def _hour_ticks(axes: Axes, end: float, unit: str) -> None:
    steps = {"h": (1, 2, 3, 4, 6, 12, 24), "min": (5, 10, 15, 30, 60)}.get(unit, (1, 2, 5, 7, 14))
    step = next((each for each in steps if end / each <= 12), steps[-1])
    axes.xaxis.set_major_locator(FixedLocator(list(np.arange(0, end + step / 2, step))))
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))


def draw_heat_map(plan: Plan) -> Figure:
    """The spool needed by hour of the begin and by length; what the volume cannot hold stands
    out."""
    lengths = sorted({each.length_seconds for each in plan.spools})
    (axes,) = panels([max(1.2, 0.44 * len(lengths))], below=0.85, right=0.985)
    figure = axes.figure
    assert isinstance(figure, Figure)
    nothing = _nothing(plan)
    if nothing:
        title(axes, f"{_name(plan)} by hour of the begin and length of the outage")
        say(axes, nothing)
        return figure
    surface = plan.surface.loc[plan.surface["length_seconds"].isin(lengths)]
    largest = max(float(surface["spool_bytes"].max()), 1.0)
    unit = volume_axis(largest)
    title(
        axes, f"{_name(plan)} needed in {unit.name}, by hour of the begin and length of the outage"
    )
    volume = given_volume(plan.organisation, plan.protection)
    rows = {length: place for place, length in enumerate(lengths)}
    for length, hour, spool in zip(
        surface["length_seconds"], surface["hour"], surface["spool_bytes"], strict=True
    ):
        _cell(axes, int(hour), rows[length], float(spool), largest, unit.divisor, volume)
    axes.set_xlim(-0.5, 23.5)
    axes.set_ylim(-0.5, len(lengths) - 0.5)
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.set_major_locator(FixedLocator(list(range(0, 24, 2))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda hour, _: f"{int(hour):02d}:00"))
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(lengths)))))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda place, _: format_duration(lengths[int(place)]))
    )
    axis_name(axes, "hour of the day at which the line goes down")
    _legend(axes, volume, volume_name(plan.protection))
    return figure


def _cell(
    axes: Axes,
    hour: int,
    row: int,
    spool: float,
    largest: float,
    divisor: float,
    volume: float | None,
) -> None:
    over = volume is not None and spool > volume
    role = ink.BOUND if over else ink.SPOOL
    alpha = _WEAKEST + (_STRONGEST - _WEAKEST) * spool / largest
    axes.add_patch(
        Rectangle(
            (hour - 0.48, row - 0.46),
            0.96,
            0.92,
            facecolor=role.stand_in,
            alpha=alpha,
            linewidth=0,
        )
    )
    value = spool / divisor
    axes.text(
        hour,
        row,
        f"{value:.0f}" if value >= 9.95 else f"{value:.1f}",
        ha="center",
        va="center",
        fontsize=8.5,
        fontweight="bold" if over else "normal",
        color=ink.INK.stand_in,
    )


def _legend(axes: Axes, volume: float | None, name: str) -> None:
    """What the two colours say; the numbers that do not fit are bold too."""
    if volume is None:
        return
    text = f"blue: fits the {name} of {format_volume(volume)}; orange and bold: does not"
    axes.text(
        1.0,
        -0.30 * 1.9 / max(1.2, 0.44 * len(axes.get_yticks())) - 0.02,
        text,
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=ink.INK.stand_in,
    )
