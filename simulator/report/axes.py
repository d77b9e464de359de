"""The look that all panels of the figure share, and the names at the ends of lines."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from simulator.report import ink
from simulator.report.ink import Role
from simulator.units import AxisUnit

SMALL_POINTS = 8.5
CHARACTER_OF_AXIS = 0.0082
"""Width of an average small character as a share of the time axis."""
_NAME_HEIGHT = 0.13
"""Room that one name needs, as a share of a panel's height."""


@dataclass(frozen=True, slots=True)
class TimeScale:
    """The time axis that all panels share; it begins at 0."""

    unit: AxisUnit
    end_seconds: float

    def place(self, seconds: float) -> float:
        """Where an instant lies, in the unit of the axis."""
        return seconds / self.unit.divisor

    def share(self, seconds: float) -> float:
        """The same as a share of the axis."""
        return seconds / self.end_seconds


@dataclass(frozen=True, slots=True)
class EndName:
    """The name of a line that ends at ``height`` (in data of the panel)."""

    height: float
    text: str
    role: Role


def dress(axes: Axes) -> None:
    """Removes what says nothing: frame, background, ticks."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(ink.MUTED.stand_in)
    axes.tick_params(colors=ink.MUTED.stand_in, labelcolor=ink.INK.stand_in, length=3)
    axes.tick_params(axis="x", labelbottom=False, bottom=False)
    axes.tick_params(axis="y", length=0)


def stacked(
    heights: list[float],
    *,
    width: float,
    gap: float,
    above: float,
    below: float,
    left: float,
    right: float,
    share_x: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, dressed, below each other.

    Arguments
    ---------
    heights: of each panel, inches.
    width: of the figure, inches.
    gap, above, below: inches: between two panels, above the first one, below the last one.
    left, right: where they begin and end, as shares of the width.
    share_x: whether they have one horizontal axis.
    """
    total = sum(heights) + gap * (len(heights) - 1) + above + below
    figure = Figure(figsize=(width, total))
    grid = figure.subplots(
        len(heights),
        1,
        sharex=share_x,
        squeeze=False,
        gridspec_kw={
            "height_ratios": heights,
            "left": left,
            "right": right,
            "top": 1 - above / total,
            "bottom": below / total,
            "hspace": gap * len(heights) / sum(heights),
        },
    )
    made: list[Axes] = list(grid[:, 0])
    for each in made:
        dress(each)
    return figure, made


def title(axes: Axes, what: str, note: str = "") -> None:
    """The panel's name at its left, and a remark at its right."""
    axes.set_title(what, loc="left", fontsize=10, fontweight="bold", color=ink.INK.stand_in, pad=5)
    if note:
        axes.set_title(note, loc="right", fontsize=SMALL_POINTS, color=ink.MUTED.stand_in, pad=5)


def format_tick(value: float, _: object = None) -> str:
    """``2.5``, ``1,500``; without the noise of floating point."""
    return f"{float(f'{value:.6g}'):,g}"


def value_axis(axes: Axes, top: float, unit: AxisUnit) -> None:
    """A linear axis from 0 to ``top`` (in ``unit``) with a quiet grid."""

    def text(value: float, _: object) -> str:
        return f"{format_tick(value)} {unit.name}" if value else "0"

    axes.set_ylim(0, top or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(text))
    axes.grid(axis="y", color=ink.GRID.stand_in, linewidth=0.8)
    axes.set_axisbelow(True)


def say_empty(axes: Axes) -> None:
    """Says in the panel that there is nothing to draw."""
    axes.set_yticks([])
    axes.text(
        0.5,
        0.5,
        "no samples were taken",
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=ink.MUTED.stand_in,
    )


def bound_line(axes: Axes, height: float) -> None:
    """A dashed line that a curve must not cross."""
    axes.axhline(height, color=ink.BOUND.stand_in, linewidth=1.3, linestyle=(0, (5, 3)), zorder=4)


def name_ends(axes: Axes, names: list[EndName]) -> None:
    """Names lines right of the panel, each at its line's end, moved apart where they meet.

    Call it after the axis has its limits.
    """
    to_share = axes.transData + axes.transAxes.inverted()
    shares = sorted(
        (float(to_share.transform((0.0, name.height))[1]), index)
        for index, name in enumerate(names)
    )
    floor = 0.03
    for share, index in shares:
        place = max(min(share, 1.0), floor)
        floor = place + _NAME_HEIGHT
        name = names[index]
        axes.annotate(
            name.text,
            (1.0, place),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL_POINTS,
            color=name.role.stand_in,
            annotation_clip=False,
        )


def short(text: str, most: int) -> str:
    """One line of at most ``most`` printable characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
