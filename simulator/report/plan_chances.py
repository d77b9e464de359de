"""A promise as a distribution: in how many of all cases it is kept, whatever is promised.

Each line rises from left to right: at a time on the axis it tells the share of cases that are over
by then.  Losses of work and recoveries reach from seconds to days, hence the logarithmic axis; what
is shorter than its left end counts there.  What never ends never reaches the top.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from replicator.errors import BadInput
from simulator.plan import quantiles
from simulator.plan.answers import or_none
from simulator.plan.grid import Floats
from simulator.report import ink
from simulator.report.axes import title
from simulator.report.plan_axes import ROUND_TIMES, axis_name, panels
from simulator.report.plan_table import Column, PlanTable, Row
from simulator.units import format_duration

LEAST_SECONDS: Final = 1.0
"""The left end of the axis: what is shorter is as good as nothing."""
SHARES: Final = (0.5, 0.95, 0.99)
_POINTS: Final = 600
"""Of a line."""
_MOST_TICKS: Final = 8
_LINE_CHARACTERS: Final = 27
"""Of a name beside the panel."""
_TICKS: Final = (1.0, 10.0, *ROUND_TIMES)
_LOOKS: Final = (
    (ink.SPOOL, "solid"),
    (ink.BOUND, (0, (6, 2))),
    (ink.JOURNAL, (0, (2, 1.5))),
    (ink.LAG, (0, (8, 2, 2, 2))),
    (ink.INK, (0, (1, 2.2))),
    (ink.MUTED, "solid"),
)
"""Lines are told apart by colour and by dashes."""
MOST_CASES: Final = len(_LOOKS)


def check_cases(values: Mapping[str, Floats]) -> None:
    """Raises BadInput for nothing to show, and for more lines than can be told apart."""
    if not values or any(not len(each) for each in values.values()):
        raise BadInput(
            "a distribution without a value cannot be shown",
            remedy="Draw more of it, or leave it out.",
        )
    if len(values) > MOST_CASES:
        raise BadInput(
            f"{len(values)} lines in one picture cannot be told apart",
            remedy=f"Show {MOST_CASES} at most.",
        )


def chances_table(
    values: Mapping[str, Floats], wanted_seconds: float, what: str, *, drawn: bool = False
) -> PlanTable:
    """What is kept how often.

    Arguments
    ---------
    values: by name, seconds; infinity for never.
    wanted_seconds: what is promised.
    what: the promise in a word, for instance "RPO".
    drawn: whether values are independent draws: then the 95 % quantile comes with the interval
        that holds the true one with 95 % confidence.

    Raises BadInput as :func:`check_cases`.
    """
    check_cases(values)
    rows: list[Row] = []
    for name, seconds in values.items():
        ordered = np.sort(seconds)
        row: Row = {"name": name, "kept": share_within(seconds, wanted_seconds)}
        for share in SHARES:
            row[f"at_{share}"] = or_none(float(ordered[int(np.ceil(share * len(ordered))) - 1]))
        if drawn:
            found = quantiles.of_independent(seconds, 0.95)
            row |= {"low": found.low, "high": found.high}
        rows.append(row)
    columns = [
        Column("name", "Case"),
        *(
            Column(f"at_{share}", f"{100 * share:g} % stay below", "seconds", missing="never")
            for share in SHARES
        ),
    ]
    if drawn:
        columns += [
            Column("low", "95 % interval from", "seconds", missing="open"),
            Column("high", "to", "seconds", missing="open"),
        ]
    columns.append(Column("kept", f"{what} of {format_duration(wanted_seconds)} kept", "share"))
    return PlanTable("chances", f"{what} as a distribution", tuple(columns), tuple(rows))


def share_within(seconds: Floats, wanted_seconds: float) -> float:
    """In how many of all cases a promise is kept."""
    return float((seconds <= wanted_seconds).mean())


def share_words(share: float) -> str:
    """``71.6 %``; what is not all is not said to be all, nor what is something nothing."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < share < 1 else f"{100 * share:.3g} %"


def promise_sentence(seconds: Floats, wanted_seconds: float, what: str, cases: str) -> str:
    """In how many cases a promise is kept, for a contract.

    Arguments
    ---------
    seconds: of all cases; infinity for never.
    what, cases: for instance "RTO" and "recoveries".
    """
    kept = share_words(share_within(seconds, wanted_seconds))
    return f"The {what} of {format_duration(wanted_seconds)} is kept in {kept} of all {cases}."


def draw_chances(values: Mapping[str, Floats], wanted_seconds: float, what: str) -> Figure:
    """A line for each case, and the promise; arguments and errors as :func:`chances_table`."""
    check_cases(values)
    (axes,) = panels([3.5], right=0.69)
    figure = axes.figure
    assert isinstance(figure, Figure)
    promise = f"upright line: {what} of {format_duration(wanted_seconds)}"
    title(axes, f"{what}: share of cases that stay below", promise)
    finite = np.concatenate([each[np.isfinite(each)] for each in values.values()])
    largest = float(finite.max()) if len(finite) else LEAST_SECONDS
    low = _left_end(values, wanted_seconds)
    high = 1.6 * max(largest, wanted_seconds, 10 * low)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 0.95, 1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axes.grid(color=ink.GRID.stand_in, linewidth=0.8)
    axes.set_axisbelow(True)
    for place, (name, seconds) in enumerate(values.items()):
        _line(axes, place, name, seconds, wanted_seconds, high)
    axes.axvline(wanted_seconds, color=ink.INK.stand_in, linewidth=1.4, zorder=3)
    _ticks(axes, low, high)
    legend = axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        title=f"{what} of {format_duration(wanted_seconds)} is kept in",
        fontsize=9.5,
        title_fontsize=9.5,
        frameon=False,
        handlelength=3.2,
        labelspacing=0.9,
        alignment="left",
    )
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_color(ink.INK.stand_in)
    axis_name(axes, f"{what} (logarithmic)")
    return figure


def _left_end(values: Mapping[str, Floats], wanted_seconds: float) -> float:
    """A second, or later where nothing happens before."""
    least = min(float(each.min()) for each in values.values())
    return max(LEAST_SECONDS, min(least, wanted_seconds) / 1.6)


def _line(
    axes: Axes, place: int, name: str, seconds: Floats, wanted_seconds: float, high: float
) -> None:
    role, dashes = _LOOKS[place]
    shares = np.linspace(0.0, 1.0, _POINTS)
    at = np.quantile(seconds, shares, method="inverted_cdf")
    low = axes.get_xlim()[0]
    known = np.isfinite(at)
    x = np.concatenate(([low], np.maximum(at[known], low), [high]))
    last = float(np.isfinite(seconds).mean())
    y = np.concatenate(([0.0], shares[known], [last]))
    kept = share_words(share_within(seconds, wanted_seconds))
    axes.plot(
        x,
        y,
        color=role.stand_in,
        linestyle=dashes,
        linewidth=2.2,
        label="\n".join(textwrap.wrap(f"{kept}: {name}", _LINE_CHARACTERS)),
        zorder=4,
    )


def _ticks(axes: Axes, low: float, high: float) -> None:
    ticks = [each for each in _TICKS if low <= each <= high]
    ticks = ticks[:: 1 + len(ticks) // _MOST_TICKS]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(seconds: float) -> str:
    return "1 s or less" if seconds <= LEAST_SECONDS else format_duration(seconds)
