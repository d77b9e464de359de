"""Faults in the figure: a lane of bars above the curves, shaded through all of them.

A few faults are named one by one, each in the first lane with room for its bar and name.
Many are grouped, one lane for each kind and place, then for each kind: a thousand resets
of one link are one fact, not a thousand labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from matplotlib.axes import Axes

from simulator.measures import FaultMark
from simulator.report import ink
from simulator.report.axes import CHARACTER_OF_AXIS, SMALL_POINTS, TimeScale, short, title
from simulator.report.series import COLUMNS, fault_spans
from simulator.units import format_count

_MOST_NAMED = 14
_MOST_LANES = 7
_MOST_EDGES = 60
_LONGEST_NAME = 44
_LONGEST_NAME_AT_END = 26


@dataclass(frozen=True, slots=True)
class _Bar:
    start_seconds: float
    end_seconds: float
    name: str = ""
    name_before: bool = False
    """The name stands left of the bar, because there is no room right of it."""


@dataclass(slots=True)
class Lane:
    """One row of bars; ``name`` stands at its right end when its bars have no names."""

    bars: list[_Bar] = field(default_factory=list)
    name: str = ""
    free_from: float = 0.0
    """Share of the time axis from which on the lane is free."""


def fault_lanes(faults: list[FaultMark], time: TimeScale) -> list[Lane]:
    """The lanes to draw, none without faults."""
    if len(faults) <= _MOST_NAMED:
        lanes = _named_lanes(faults, time)
        if len(lanes) <= _MOST_LANES:
            return lanes
    lanes = _grouped_lanes(faults, time, _kind_and_place)
    if len(lanes) > _MOST_LANES:
        lanes = _grouped_lanes(faults, time, lambda fault: fault.kind)
    if len(lanes) > _MOST_LANES:
        lanes = _grouped_lanes(faults, time, lambda fault: "all faults")
    return lanes


def _kind_and_place(fault: FaultMark) -> str:
    return f"{fault.kind} · {fault.where}"


def _spoken(name: str, longest: int) -> str:
    return short(name.replace("_", " "), longest)


def _end_of(fault: FaultMark, time: TimeScale) -> float:
    ended = time.end_seconds if fault.end_seconds is None else fault.end_seconds
    end = min(ended, time.end_seconds)
    return max(end, fault.start_seconds)


def _named_lanes(faults: list[FaultMark], time: TimeScale) -> list[Lane]:
    lanes: list[Lane] = []
    for fault in sorted(faults, key=lambda mark: mark.start_seconds):
        name = _spoken(_kind_and_place(fault), _LONGEST_NAME)
        start, end = time.share(fault.start_seconds), time.share(_end_of(fault, time))
        width = CHARACTER_OF_AXIS * len(name) + 0.02
        before = end + width > 1.12 and start - width > 0
        left, right = (start - width, end) if before else (start, end + width)
        lane = next((lane for lane in lanes if lane.free_from <= left), None)
        if lane is None:
            lane = Lane()
            lanes.append(lane)
        lane.free_from = right + 0.01
        lane.bars.append(_Bar(fault.start_seconds, _end_of(fault, time), name, before))
    return lanes


def _grouped_lanes(
    faults: list[FaultMark], time: TimeScale, key: Callable[[FaultMark], str]
) -> list[Lane]:
    groups: dict[str, list[FaultMark]] = {}
    for fault in sorted(faults, key=lambda mark: mark.start_seconds):
        groups.setdefault(key(fault), []).append(fault)
    lanes = []
    for name, group in groups.items():
        spans = fault_spans(group, time.end_seconds, time.end_seconds / COLUMNS)
        times = f" ({format_count(len(group))})" if len(group) > 1 else ""
        lanes.append(
            Lane(
                [_Bar(start, end) for start, end in spans],
                _spoken(name, _LONGEST_NAME_AT_END - len(times)) + times,
            )
        )
    return lanes


def draw_lanes(axes: Axes, lanes: list[Lane], time: TimeScale) -> None:
    """Draws the lanes from the top down."""
    axes.set_ylim(len(lanes), 0)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    title(axes, "Faults")
    narrowest = time.end_seconds / 400
    for row, lane in enumerate(lanes):
        axes.broken_barh(
            [
                (
                    time.place(bar.start_seconds),
                    time.place(max(bar.end_seconds - bar.start_seconds, narrowest)),
                )
                for bar in lane.bars
            ],
            (row + 0.18, 0.64),
            facecolor=ink.FAULT.stand_in,
            linewidth=0,
            clip_on=False,
        )
        for bar in lane.bars:
            _name_bar(axes, bar, row, time, narrowest)
        if lane.name:
            _write(axes, time.place(time.end_seconds), row, lane.name, before=False)


def _name_bar(axes: Axes, bar: _Bar, row: int, time: TimeScale, narrowest: float) -> None:
    if bar.name:
        end = max(bar.end_seconds, bar.start_seconds + narrowest)
        at = bar.start_seconds if bar.name_before else end
        _write(axes, time.place(at), row, bar.name, before=bar.name_before)


def _write(axes: Axes, place: float, row: int, text: str, *, before: bool) -> None:
    axes.annotate(
        text,
        (place, row + 0.5),
        xytext=(-4 if before else 5, 0),
        textcoords="offset points",
        ha="right" if before else "left",
        va="center",
        fontsize=SMALL_POINTS,
        color=ink.INK.stand_in,
        annotation_clip=False,
    )


def shade(panels: list[Axes], faults: list[FaultMark], time: TimeScale) -> None:
    """The times of faults through all panels; an instant is a thin line."""
    gap = time.end_seconds / COLUMNS
    spans = fault_spans(faults, time.end_seconds, gap)
    edges = len(spans) <= _MOST_EDGES
    for axes in panels:
        for start, end in spans:
            long = end - start > gap
            if edges or not long:
                axes.axvline(
                    time.place(start),
                    color=ink.FAULT.stand_in,
                    linewidth=0.8,
                    alpha=0.7 if edges else 0.15,
                    zorder=1,
                )
            if long:
                axes.axvspan(
                    time.place(start),
                    time.place(end),
                    color=ink.FAULT.stand_in,
                    alpha=0.1,
                    linewidth=0,
                    zorder=0,
                )
