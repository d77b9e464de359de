"""One campaign as a picture and as tables: what was lost under which kind of fault.

A row for each kind of fault that really happened, a column for each measure.  The dot is the
median, the ring the figure that 95 % of the plans stay below, and the thin line the interval in
which that one lies with 95 % confidence; where so few plans cannot tell where the interval ends, it
runs on as dots.
"""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from simulator.campaign.summary import ALL, MEASURES, NO_FAULT, Quantile, quantiles, verdicts
from simulator.report import ink
from simulator.report.axes import dress, format_tick, title
from simulator.report.plan_axes import WIDTH_INCHES, axis_name, say
from simulator.report.plan_table import Column, PlanTable
from simulator.units import AxisUnit, bytes_axis, count_of, time_axis

SHOWN: Final = ("rpo_seconds", "lag_peak_seconds", "spool_peak_bytes")
"""The RTO is left to the tables: only plans that lose the source have one."""
MOST_ROWS: Final = 14
_ROW_INCHES: Final = 0.3
_NAMES: Final = {ALL: "all plans", NO_FAULT: "no fault happened"}
_TITLES: Final = {
    "rpo_seconds": "Work lost (RPO)",
    "lag_peak_seconds": "Oldest copy (lag)",
    "spool_peak_bytes": "Fullest spool",
}
_MEDIAN, _HIGH = 0.5, 0.95


def verdict_table(frame: pd.DataFrame) -> PlanTable:
    """How many plans ended how, the worst verdict first.

    Arguments
    ---------
    frame: as :meth:`simulator.campaign.results.Results.frame` gives it.
    """
    rows = tuple(
        {"verdict": name, "plans": count, "share": count / max(1, len(frame))}
        for name, count in verdicts(frame).items()
    )
    columns = (
        Column("verdict", "Verdict"),
        Column("plans", "Plans", "count"),
        Column("share", "Share", "share"),
    )
    return PlanTable("verdicts", f"How {count_of(len(frame), 'plan')} ended", columns, rows)


def quantile_table(frame: pd.DataFrame, measure: str) -> PlanTable:
    """One measure by kind of fault: median, and the 95 % quantile with its interval.

    Arguments
    ---------
    measure: one of :data:`~simulator.campaign.summary.MEASURES`.

    Raises KeyError for another measure.
    """
    name = MEASURES[measure]
    unit = "bytes" if measure.endswith("bytes") else "seconds"
    found = [each for each in quantiles(frame) if each.measure == measure]
    at = {(each.fault, each.quantile): each for each in found}
    rows = tuple(
        {
            "fault": _fault_name(fault),
            "runs": at[fault, _MEDIAN].runs,
            "median": at[fault, _MEDIAN].value,
            "high": at[fault, _HIGH].value,
            "from": at[fault, _HIGH].low,
            "to": at[fault, _HIGH].high,
        }
        for fault in dict.fromkeys(each.fault for each in found)
    )
    columns = (
        Column("fault", "Fault that happened"),
        Column("runs", "Plans", "count"),
        Column("median", "Median", unit),
        Column("high", "95 % stay below", unit),
        Column("from", "95 % interval from", unit, missing="too few"),
        Column("to", "to", unit, missing="too few"),
    )
    return PlanTable(measure, f"{name} by kind of fault", columns, rows)


def draw_campaign(frame: pd.DataFrame) -> Figure:
    """Medians and 95 % quantiles by kind of fault; the kinds with the largest lag first."""
    found = quantiles(frame) if len(frame) else []
    at = {(each.measure, each.fault, each.quantile): each for each in found}
    faults = _in_order(at)
    left_out = len(faults) - MOST_ROWS
    faults = faults[:MOST_ROWS]
    height = _ROW_INCHES * max(3, len(faults)) + 1.0
    figure = Figure(figsize=(WIDTH_INCHES, height))
    made = figure.subplots(1, len(SHOWN), sharey=True)
    figure.subplots_adjust(
        left=0.215, right=0.985, top=1 - 0.36 / height, bottom=0.62 / height, wspace=0.1
    )
    for axes in made:
        dress(axes)
    if not faults:
        title(made[0], "What was lost under which fault")
        for axes, text in zip(made, ("", "no plan was run", ""), strict=True):
            say(axes, text)
        return figure
    made[0].set_ylim(len(faults) - 0.5, -0.5)
    made[0].yaxis.set_major_locator(FixedLocator(list(range(len(faults)))))
    counts = [at[SHOWN[1], fault, _MEDIAN].runs for fault in faults]
    names = [f"{_fault_name(f)} ({n})" for f, n in zip(faults, counts, strict=True)]
    made[0].set_yticklabels(names, fontsize=9.5)
    for label, fault in zip(made[0].get_yticklabels(), faults, strict=True):
        label.set_fontweight("bold" if fault in _NAMES else "normal")
    for axes, measure in zip(made, SHOWN, strict=True):
        _measure(axes, measure, faults, at)
    more = f"; {left_out} kinds with smaller lags are left out" if left_out > 0 else ""
    figure.text(
        0.985,
        0.05 / height,
        f"dot: median; ring: 95 % of the plans stay below; line: its interval, dots: open{more}",
        ha="right",
        va="bottom",
        fontsize=8.5,
        color=ink.MUTED.stand_in,
    )
    return figure


def _fault_name(fault: str) -> str:
    return _NAMES.get(fault, fault.replace("_", " "))


def _in_order(at: dict[tuple[str, str, float], Quantile]) -> list[str]:
    """All plans and those without a fault first; then kinds, the largest lag first."""
    lags = {
        fault: each.value
        for (measure, fault, share), each in at.items()
        if measure == SHOWN[1] and share == _HIGH
    }
    kinds = sorted((fault for fault in lags if fault not in _NAMES), key=lambda f: (-lags[f], f))
    return [*(fault for fault in _NAMES if fault in lags), *kinds]


def _measure(
    axes: Axes, measure: str, faults: list[str], at: dict[tuple[str, str, float], Quantile]
) -> None:
    shown = [at[key] for key in at if key[0] == measure and key[1] in faults]
    largest = max((max(each.value, each.high or 0.0) for each in shown), default=0.0)
    unit = (bytes_axis if measure.endswith("bytes") else time_axis)(largest)
    right = 1.08 * max(largest / unit.divisor, 1e-9)
    title(axes, _TITLES[measure])
    axes.set_xlim(-0.04 * right, right)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))
    axes.grid(axis="x", color=ink.GRID.stand_in, linewidth=0.8)
    axes.set_axisbelow(True)
    axis_name(axes, unit.name)
    for place, fault in enumerate(faults):
        median, high = (at.get((measure, fault, share)) for share in (_MEDIAN, _HIGH))
        if median is None or high is None:
            continue
        _row(axes, place, median, high, unit, right)


def _row(
    axes: Axes, place: int, median: Quantile, high: Quantile, unit: AxisUnit, right: float
) -> None:
    colour = ink.LAG.stand_in
    low_end = high.value if high.low is None else high.low
    high_end = high.value if high.high is None else high.high
    ends = [low_end / unit.divisor, high_end / unit.divisor]
    axes.plot(ends, [place, place], color=colour, linewidth=1.6, zorder=3)
    if high.high is None:
        axes.plot(
            [ends[1], right],
            [place, place],
            color=colour,
            linewidth=1.4,
            linestyle=(0, (1, 3)),
            zorder=3,
        )
    axes.plot(
        [high.value / unit.divisor],
        [place],
        "o",
        markersize=7,
        markerfacecolor=ink.PANEL.stand_in,
        markeredgecolor=colour,
        markeredgewidth=1.6,
        zorder=4,
    )
    axes.plot([median.value / unit.divisor], [place], "o", color=ink.INK.stand_in, ms=4.5, zorder=5)
