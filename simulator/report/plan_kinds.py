"""Kinds of protection side by side: what each loses, how long each takes, what each has carried.

Three panels share their rows, so that a kind is read across: one that loses little may be the one
that has much carried.  Green keeps the objective, orange does not; the dashed line is the
objective, so that no meaning rests on the colour alone.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_units import format_share, format_volume, volume_axis
from simulator.plan.planner import Plan
from simulator.report import ink
from simulator.report.axes import dress, format_tick, title
from simulator.report.ink import Role
from simulator.report.plan_axes import ROUND_TIMES, WIDTH_INCHES, axis_name
from simulator.units import format_duration

_LEAST_SECONDS: Final = 1.0
_ROW_INCHES: Final = 0.52
_TICKS: Final = (1.0, 10.0, *ROUND_TIMES)
_ROOM: Final = 1.45
"""Right of the longest bar, for its figure."""


def draw_kinds(plan: Plan) -> Figure:
    """RPO (median to 99 % of the time), RTO, and bytes carried a day, of each kind."""
    kinds = frame_rows(plan.kinds)
    recoveries = {row["protection"]: row for row in frame_rows(plan.recovery)}
    height = _ROW_INCHES * len(kinds) + 0.95
    figure = Figure(figsize=(WIDTH_INCHES, height))
    made = figure.subplots(1, 3, sharey=True)
    figure.subplots_adjust(
        left=0.135, right=0.985, top=1 - 0.36 / height, bottom=0.58 / height, wspace=0.07
    )
    names = [str(row["kind"]) for row in kinds]
    for axes in made:
        dress(axes)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.grid(axis="x", color=ink.GRID.stand_in, linewidth=0.8)
        axes.set_axisbelow(True)
    made[0].yaxis.set_major_locator(FixedLocator(list(range(len(kinds)))))
    made[0].set_yticklabels(names, fontsize=10)
    made[0].get_yticklabels()[0].set_fontweight("bold")
    _lost_work(made[0], plan, kinds)
    _recovery(made[1], plan, [recoveries[name] for name in names])
    _carried(made[2], plan, kinds)
    return figure


def _lost_work(axes: Axes, plan: Plan, kinds: list[dict[str, Any]]) -> None:
    title(axes, "Work lost (RPO)")
    wanted = plan.organisation.objectives.rpo_ns / 1e9
    share = plan.organisation.objectives.rpo_share
    largest = max((row["rpo_99_seconds"] or 0.0 for row in kinds), default=0.0)
    _time_axis(axes, _LEAST_SECONDS / 2, max(largest, wanted) * 5)
    axis_name(axes, f"half of the time to 99 %; dot: {format_share(share)}")
    _upright(axes, wanted)
    for place, row in enumerate(kinds):
        if row["rpo_99_seconds"] is None:
            _never(axes, place)
            continue
        low, high = (max(_LEAST_SECONDS, row[f"rpo_{n}_seconds"]) for n in (50, 99))
        at = plan.courses[row["kind"]].lag_at(share)
        role = ink.JOURNAL if at <= wanted else ink.BOUND
        axes.plot(
            [low, high],
            [place, place],
            color=role.stand_in,
            linewidth=7,
            alpha=0.45,
            solid_capstyle="butt",
            zorder=3,
        )
        dot = max(_LEAST_SECONDS, at)
        _dot(axes, dot, place, role)
        _figure(axes, max(dot, high), place, _time_words(at))


def _recovery(axes: Axes, plan: Plan, recoveries: list[dict[str, Any]]) -> None:
    title(axes, "Users work again (RTO)")
    wanted = plan.organisation.objectives.rto_ns / 1e9
    known = [row["total_seconds"] for row in recoveries if row["total_seconds"] is not None]
    low, high = min([*known, wanted]) / 3, max([*known, wanted]) * 2
    _time_axis(axes, low, high)
    axis_name(axes, "planned figures; the line is the objective")
    _upright(axes, wanted)
    for place, row in enumerate(recoveries):
        total = row["total_seconds"]
        if total is None:
            _never(axes, place, "not known")
            continue
        role = ink.JOURNAL if total <= wanted else ink.BOUND
        _dot(axes, total, place, role)
        late = np.log(total / low) > 0.5 * np.log(high / low)
        _figure(axes, total, place, format_duration(total), left=bool(late))


def _carried(axes: Axes, plan: Plan, kinds: list[dict[str, Any]]) -> None:
    title(axes, "Carried a day")
    largest = max(row["carried_bytes_per_day"] for row in kinds)
    unit = volume_axis(largest)
    top = _ROOM * max(largest, 1.0) / unit.divisor
    axes.set_xlim(0, top)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))
    could = float(plan.link.capacity_bytes(plan.change.grid).sum()) / plan.change.days
    axis_name(axes, f"{unit.name}; the line could carry {format_volume(could)}")
    for place, row in enumerate(kinds):
        amount = row["carried_bytes_per_day"] / unit.divisor
        axes.barh(place, amount, height=0.5, color=ink.SPOOL.stand_in, alpha=0.55, zorder=3)
        words = format_volume(row["carried_bytes_per_day"])
        if not row["catches_up"]:
            words += ", not all"
        _figure(axes, amount, place, words)


def _time_axis(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [each for each in _TICKS if low <= each <= high]
    step = 1 + len(ticks) // 5
    axes.xaxis.set_major_locator(FixedLocator(ticks[::step]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value)))


def _upright(axes: Axes, wanted: float) -> None:
    """The objective, and what it is."""
    axes.axvline(wanted, color=ink.INK.stand_in, linewidth=1.4, linestyle=(0, (5, 3)), zorder=2)
    axes.annotate(
        format_duration(wanted),
        (wanted, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -3),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=9,
        color=ink.INK.stand_in,
    )


def _dot(axes: Axes, at: float, place: int, role: Role) -> None:
    axes.plot([at], [place], "o", color=role.stand_in, markersize=7, zorder=6, clip_on=False)


def _time_words(seconds: float) -> str:
    return "at once" if seconds <= _LEAST_SECONDS else format_duration(seconds)


def _figure(axes: Axes, at: float, place: int, words: str, *, left: bool = False) -> None:
    """A figure beside the end of its bar, readable where a line crosses it."""
    axes.annotate(
        words,
        (at, place),
        xytext=(-8 if left else 8, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=9.5,
        color=ink.INK.stand_in,
        bbox={"facecolor": ink.PANEL.stand_in, "edgecolor": "none", "pad": 1.2},
        zorder=5,
    )


def _never(axes: Axes, place: int, words: str = "never: it does not catch up") -> None:
    role: Role = ink.BOUND
    middle = float(np.sqrt(np.prod(axes.get_xlim())))
    axes.text(
        middle,
        place,
        words,
        ha="center",
        va="center",
        fontsize=9.5,
        fontweight="bold",
        color=role.stand_in,
    )
