"""What the pictures of a plan share: their size, a panel with nothing in it, marks with values.

A picture is 9.6 inches wide: on a page of 1,080 pixels its letters are 14 pixels high and more, so
that it can be read from the back of a room.
"""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from simulator.report import ink
from simulator.report.axes import short, stacked
from simulator.report.ink import Role
from simulator.units import HOUR, format_duration

WIDTH_INCHES: Final = 9.6
LEFT: Final = 0.085
RIGHT: Final = 0.84
"""Right of it stand the names of lines."""
ROUND_TIMES: Final = (
    *(60.0 * n for n in (1, 3, 10, 30)),
    *(HOUR * float(n) for n in (1, 3, 6, 12)),
    *(24.0 * HOUR * n for n in (1, 3, 7, 14, 28, 60, 120, 365)),
)
"""Ticks of logarithmic axes of time, in seconds."""


def panels(
    heights: list[float],
    *,
    gap: float = 0.5,
    below: float = 0.55,
    left: float = LEFT,
    right: float = RIGHT,
) -> list[Axes]:
    """Panels below each other, without a frame.

    Arguments
    ---------
    heights, gap, below: inches: of each panel, between two, below the last one.
    left, right: where they begin and end, as shares of the width.
    """
    _figure, made = stacked(
        heights, width=WIDTH_INCHES, gap=gap, above=0.34, below=below, left=left, right=right
    )
    return made


def say(axes: Axes, text: str) -> None:
    """Says in a panel why there is nothing in it."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.text(
        0.5,
        0.5,
        short(text, 110),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=10,
        color=ink.MUTED.stand_in,
    )


def mark(
    axes: Axes,
    place: tuple[float, float],
    text: str,
    role: Role,
    *,
    left: bool = False,
    below: bool = False,
) -> None:
    """A dot with its value beside it."""
    axes.plot([place[0]], [place[1]], "o", color=role.stand_in, markersize=6, zorder=6)
    axes.annotate(
        text,
        place,
        xytext=(-7 if left else 7, -7 if below else 5),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top" if below else "bottom",
        fontsize=9.5,
        fontweight="bold",
        color=ink.INK.stand_in,
        zorder=7,
    )


def time_ticks(axes: Axes, least_seconds: float, largest_seconds: float) -> None:
    """Round times on a logarithmic vertical axis of seconds."""
    ticks = [each for each in ROUND_TIMES if least_seconds <= each <= largest_seconds]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value)))
    axes.minorticks_off()
    axes.grid(axis="y", color=ink.GRID.stand_in, linewidth=0.8)
    axes.set_axisbelow(True)


def axis_name(axes: Axes, text: str) -> None:
    """What the horizontal axis shows, with its unit."""
    axes.set_xlabel(text, color=ink.INK.stand_in, fontsize=9.5)
    axes.tick_params(axis="x", bottom=True, labelbottom=True)
