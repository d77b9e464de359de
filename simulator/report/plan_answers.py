"""What the answer depends on, in two pictures: catching up by line rate, and a tornado.

Catching up runs over three powers of ten in both directions, hence two logarithmic axes with plain
ticks.  The line rates at which it never ends are a shaded region, not a high value.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from simulator.plan.plan_objectives import LINE_ITEM, needs_of
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_units import (
    FORMATS,
    format_input,
    format_line,
    input_name,
    output_name,
)
from simulator.plan.planner import Plan
from simulator.plan.waiting_volume import volume_name
from simulator.report import ink
from simulator.report.axes import title
from simulator.report.plan_axes import axis_name, mark, panels, say, time_ticks
from simulator.units import DAY, HOUR, format_duration

_LEAST_SECONDS: Final = 60.0
_ROUND: Final = (1.0, 2.0, 3.0, 5.0)
MOST_BARS: Final = 7


def draw_catch_up(plan: Plan) -> Figure:
    """Time to catch up after the planned outage, by line rate."""
    (axes,) = panels([3.2])
    figure = axes.figure
    assert isinstance(figure, Figure)
    length = format_duration(plan.organisation.outages.planned_ns / 1e9)
    title(axes, f"Catching up after {length} of outage at its worst hour, by line rate")
    rows = frame_rows(plan.catch_up_by_rate)
    known = [row for row in rows if row["catch_up_seconds"] is not None]
    rates = np.array([row["bits_per_second"] for row in known])
    # At once, and on a logarithmic axis: the least that is shown.
    times = np.array([max(_LEAST_SECONDS, row["catch_up_seconds"]) for row in known])
    if not known:
        fastest = format_line(max(row["bits_per_second"] for row in rows))
        say(axes, f"never, up to {fastest}")
        return figure
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(rows[0]["bits_per_second"], rows[-1]["bits_per_second"])
    low, high = float(times.min()) / 1.6, float(times.max()) * 1.8
    axes.set_ylim(low, high)
    time_ticks(axes, low, high)
    axes.plot(rates, times, color=ink.LAG.stand_in, linewidth=2.2, zorder=4)
    _never(axes, [row["bits_per_second"] for row in rows], float(rates[0]))
    planned = float(plan.link.bits_per_second)
    if planned >= rates[0]:
        at = float(np.exp(np.interp(np.log(planned), np.log(rates), np.log(times))))
        _upright(axes, planned)
        text = f"planned {format_line(planned)}: {format_duration(at)}"
        mark(axes, (planned, at), text, ink.LAG, left=True, below=True)
    else:
        _upright(axes, planned)
        _name_upright(axes, planned, "planned " + format_line(planned))
    line = next(each for each in needs_of(plan) if each.item == LINE_ITEM)
    if line.needed is not None and rows[0]["bits_per_second"] < line.needed <= rates[-1]:
        _upright(axes, line.needed, dashed=True)
        _name_upright(axes, line.needed, f"for the RPO alone {format_line(line.needed)}")
    ticks = [
        power * each
        for power in 10.0 ** np.arange(0, 14)
        for each in _ROUND
        if rows[0]["bits_per_second"] <= power * each <= rows[-1]["bits_per_second"]
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: format_line(rate)))
    outside = " outside of its schedule" if plan.link.windows else ""
    axis_name(axes, f"line rate{outside} (logarithmic)")
    return figure


def _never(axes: Axes, rates: list[float], first: float) -> None:
    """Shades the rates below the first one that catches up, and says what they are."""
    before = [rate for rate in rates if rate < first]
    if not before:
        return
    edge = float(np.sqrt(before[-1] * first))
    axes.axvspan(rates[0], edge, color=ink.BOUND.stand_in, alpha=0.18, linewidth=0, zorder=1)
    middle = float(np.sqrt(rates[0] * edge))
    upright = np.log(edge / rates[0]) < 0.15 * np.log(rates[-1] / rates[0])
    axes.text(
        middle,
        float(np.sqrt(np.prod(axes.get_ylim()))),
        "never",
        ha="center",
        va="center",
        rotation=90 if upright else 0,
        fontsize=13,
        fontweight="bold",
        color=ink.BOUND.stand_in,
    )


def _upright(axes: Axes, rate: float, *, dashed: bool = False) -> None:
    axes.axvline(
        rate,
        color=(ink.BOUND if dashed else ink.MUTED).stand_in,
        linewidth=1.3,
        linestyle=(0, (5, 3)) if dashed else "solid",
        zorder=2,
    )


def _name_upright(axes: Axes, rate: float, text: str) -> None:
    low, high = axes.get_xlim()
    late = np.log(rate / low) > 0.7 * np.log(high / low)
    axes.annotate(
        text,
        (rate, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if late else 6, 0),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        fontsize=9.5,
        color=ink.BOUND.stand_in,
    )


def draw_tornado(plan: Plan) -> Figure:
    """For each answer that there is, the inputs that move it most, the largest first."""
    rows = frame_rows(plan.tornado)
    outputs = list(dict.fromkeys(row["output"] for row in rows if row["base"] is not None))
    chosen = {name: _bars(rows, name) for name in outputs}
    heights = [0.3 * max(2, len(bars)) + 0.15 for bars in chosen.values()] or [1.0]
    axes = panels(heights, gap=0.62, below=0.3, left=0.345, right=0.97)
    figure = axes[0].figure
    assert isinstance(figure, Figure)
    if not outputs:
        title(axes[0], "What the answer depends on")
        say(axes[0], "never, as it is planned" if rows else "no input was varied")
    for panel, (name, bars) in zip(axes, chosen.items(), strict=False):
        words, unit = output_name(name, volume_name(plan.protection))
        _tornado(panel, words, unit, bars)
    return figure


def _bars(rows: list[dict[str, Any]], output: str) -> list[dict[str, Any]]:
    """The inputs that move an answer, the largest swing first; "never" before all."""
    moving = [row for row in rows if row["output"] == output and row["swing"] != 0]
    return moving[:MOST_BARS]


def _tornado(axes: Axes, words: str, unit: str, bars: list[dict[str, Any]]) -> None:
    if not bars:
        title(axes, words)
        return say(axes, "no input moves it")
    base = bars[0]["base"]
    spelled = _hours if unit == "seconds" else FORMATS[unit]
    title(axes, words, f"as planned {spelled(base)}")
    ends = [row[key] for row in bars for key in ("at_low", "at_high") if row[key] is not None]
    low, high = min([base, *ends]), max([base, *ends])
    room = 0.24 * (high - low or base or 1.0)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.axvline(base, color=ink.INK.stand_in, linewidth=1.2, zorder=5)
    for place, row in enumerate(bars):
        _bar(axes, place, row, base, spelled)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(bars)))))
    axes.set_yticklabels([_input(row) for row in bars], fontsize=9.5)
    return None


def _hours(seconds: float) -> str:
    """Days in hours with a decimal: ends of a bar differ by less than an hour."""
    return f"{seconds / HOUR:,.1f} h" if seconds >= DAY else format_duration(seconds)


def _input(row: dict[str, Any]) -> str:
    low, high = (format_input(row["input"], row[key]) for key in ("low_input", "high_input"))
    return f"{input_name(row['input'])}: {low} to {high}"


def _bar(axes: Axes, place: int, row: dict[str, Any], base: float, spelled: Any) -> None:
    """Both ends from the planned value; the end of the lower input blue, of the higher orange."""
    ends = [("at_low", ink.SPOOL), ("at_high", ink.BOUND)]
    moved = {key: abs((row[key] if row[key] is not None else base) - base) for key, _ in ends}
    # The longer one first: both may lie on the same side.
    ends.sort(key=lambda end: -moved[end[0]])
    for number, (key, role) in enumerate(ends):
        value = row[key]
        if value is None:
            side = -1 if key == "at_low" else 1
            edge = axes.get_xlim()[0 if side < 0 else 1]
            what = "never" if not row["reason"].startswith(("0", "1", "2")) else "not possible"
            axes.text(
                edge,
                place,
                what,
                ha="left" if side < 0 else "right",
                va="center",
                fontsize=9.5,
                fontweight="bold",
                color=ink.BOUND.stand_in,
            )
            continue
        if value == base:
            continue
        axes.barh(place, value - base, left=base, height=0.62, color=role.stand_in, zorder=3)
        longer = row[ends[0][0]]
        if number and longer is not None and (longer - base) * (value - base) > 0:
            continue  # the longer one's label stands there
        axes.annotate(
            spelled(value),
            (value, place),
            xytext=(4 if value > base else -4, 0),
            textcoords="offset points",
            ha="left" if value > base else "right",
            va="center",
            fontsize=8.5,
            color=ink.INK.stand_in,
            zorder=6,
        )
