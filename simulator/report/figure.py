"""The run over time: faults, spool, lag, link use and source state on one time axis.

Reading downwards at one instant tells the story: a fault begins, the link is down, the
spool grows, lag rises, the link is full until both are back.  So all panels share the axis,
and the time of every fault is shaded through all of them.

Lines carry their names at their ends instead of a legend.  A limit far above its curve is
written, not drawn: to scale it would press the curve onto the axis.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from simulator.measures import RunResult
from simulator.report import ink
from simulator.report.axes import (
    CHARACTER_OF_AXIS,
    EndName,
    TimeScale,
    bound_line,
    format_tick,
    name_ends,
    say_empty,
    short,
    stacked,
    title,
    value_axis,
)
from simulator.report.fault_lanes import draw_lanes, fault_lanes, shade
from simulator.report.ink import Role
from simulator.report.series import Curve, curve, decimate, rate, state_spans
from simulator.units import (
    DAY,
    HOUR,
    MINUTE,
    AxisUnit,
    bytes_axis,
    format_bytes,
    format_duration,
    format_rate,
    rate_axis,
    time_axis,
)

_WIDTH_INCHES = 11.0
_PANEL_INCHES = 1.75
_LANE_INCHES = 0.21
_STATE_INCHES = 0.3
_LEFT, _RIGHT = 0.072, 0.862
_HEADROOM = 1.28
"""Room above the highest point, for its label."""
_FAR_LIMIT = 3.0
"""A bound more than so many times above the curve is written instead of drawn."""
_STEEP = 30.0
"""A lag so many times above its objective is drawn logarithmically, to show both."""
_DENSE_POINTS = 600


_LABEL = "Faults, spool, lag, link use and source state over the time of the run"


def draw_run(result: RunResult) -> str:
    """The figure as an inline SVG element; says so when the run left no samples."""
    with ink.drawing():
        return ink.to_inline_svg(_figure(result), _LABEL)


def run_picture(result: RunResult) -> str:
    """The same figure as an SVG document, for pages and slides."""
    with ink.drawing():
        return ink.to_svg_file(_figure(result), _LABEL)


def _figure(result: RunResult) -> Figure:
    time = _time_scale(result)
    lanes = fault_lanes(result.faults, time)
    heights = [_LANE_INCHES * len(lanes) + 0.1] if lanes else []
    heights += [_PANEL_INCHES] * 3 + [_STATE_INCHES]
    figure, panels = stacked(
        heights,
        width=_WIDTH_INCHES,
        gap=0.42,
        above=0.3,
        below=0.55,
        left=_LEFT,
        right=_RIGHT,
        share_x=True,
    )
    spool, lag, link, state = panels[-4:]
    state.set_xlim(0, time.place(time.end_seconds))
    _draw_spool(spool, result, time)
    _draw_lag(lag, result, time)
    _draw_link(link, result, time)
    _draw_states(state, result, time)
    if lanes:
        draw_lanes(panels[0], lanes, time)
        shade(panels[1:-1], result.faults, time)
    state.xaxis.set_major_locator(FixedLocator(_time_ticks(time)))
    state.xaxis.set_major_formatter(FuncFormatter(format_tick))
    state.tick_params(axis="x", bottom=True, labelbottom=True)
    state.set_xlabel(f"simulated time ({time.unit.name})", color=ink.INK.stand_in)
    return figure


def _time_scale(result: RunResult) -> TimeScale:
    """From 0 to the end of the curves, which may be long before the end of a failover."""
    ends = list(result.samples.time_seconds[-1:]) or [result.simulated_seconds]
    ends += [fault.start_seconds for fault in result.faults]
    end_seconds = max((end for end in ends if math.isfinite(end)), default=0.0)
    end_seconds = end_seconds if end_seconds > 0 else 1.0
    return TimeScale(time_axis(end_seconds), end_seconds)


def _time_ticks(time: TimeScale) -> list[float]:
    """At most eleven ticks at round clock times: 15 and 30 s or min, 3 and 6 h."""
    end = time.place(time.end_seconds)
    steps = {"s": (1, 2, 5, 10, 15, 20), "min": (1, 2, 5, 10, 15, 20), "h": (1, 2, 3, 6, 12)}
    for step in steps.get(time.unit.name, ()):
        if 3 * step <= end <= 10 * step:
            return [float(tick) for tick in range(0, int(end) + 1, step)]
    located = MaxNLocator(nbins=10, steps=[1, 2, 5, 10]).tick_values(0.0, end)
    return [float(tick) for tick in located if 0 <= tick <= end]


def _line(
    axes: Axes, points: Curve, time: TimeScale, unit: AxisUnit, role: Role, width: float
) -> None:
    """A curve; a single sample becomes a dot, which a line would leave invisible."""
    axes.plot(
        points.seconds / time.unit.divisor,
        points.values / unit.divisor,
        color=role.stand_in,
        linewidth=width,
        marker="o" if len(points.seconds) == 1 else None,
        solid_joinstyle="round",
        zorder=3,
        clip_on=True,
    )


def _fill(axes: Axes, points: Curve, time: TimeScale, unit: AxisUnit, role: Role) -> None:
    axes.fill_between(
        points.seconds / time.unit.divisor,
        points.values / unit.divisor,
        color=role.stand_in,
        alpha=0.16,
        linewidth=0,
        zorder=2,
    )


def _mark_peak(
    axes: Axes,
    points: Curve,
    peak: float,
    text: str,
    time: TimeScale,
    role: Role,
    bound: float = 0.0,
) -> None:
    """A dot at the highest sample and its value; ``peak`` is in units of the axis.

    The value stands above the dot, or beside it where the line of the ``bound`` passes.
    """
    if points.largest <= 0:
        return
    at = float(points.seconds[int(np.nanargmax(points.values))])
    share = time.share(at)
    axes.plot([time.place(at)], [peak], "o", color=role.stand_in, markersize=5, zorder=5)
    crossed = 0.98 * peak < bound < peak + 0.15 * axes.get_ylim()[1]
    axes.annotate(
        text,
        (time.place(at), peak),
        xytext=(6 if share < 0.6 else -6, -9 if crossed else 5),
        textcoords="offset points",
        ha="left" if share < 0.6 else "right",
        fontsize=8.5,
        color=ink.INK.stand_in,
        zorder=6,
    )


def _draw_spool(axes: Axes, result: RunResult, time: TimeScale) -> None:
    samples, ships = result.samples, bool(result.samples.copy_queue_logs)
    there, here = samples.spool_bytes, samples.journal_bytes
    if ships:
        there, here = samples.copy_queue_bytes, samples.replay_queue_bytes
    spool, journal = curve(samples.time_seconds, there), curve(samples.time_seconds, here)
    limit = 0.0 if ships else float(result.spool_limit_bytes)
    peak = max(0.0 if ships else float(result.spool_peak_bytes), spool.largest)
    highest = max(peak, journal.largest)
    if not len(spool.seconds):
        title(axes, "Waiting bytes")
        return say_empty(axes)
    drawn = bool(limit) and limit <= _FAR_LIMIT * max(highest, 1.0)
    top = _HEADROOM * max(highest, limit if drawn else 0.0, 1.0)
    unit = bytes_axis(top)
    title(
        axes,
        "Waiting bytes",
        f"spool limit {format_bytes(limit)}, far above" if limit and not drawn else "",
    )
    value_axis(axes, top / unit.divisor, unit)
    spool_line, journal_line = decimate(spool), decimate(journal)
    _fill(axes, spool_line, time, unit, ink.SPOOL)
    if journal.largest > 0:
        _line(axes, journal_line, time, unit, ink.JOURNAL, 1.1)
    _line(axes, spool_line, time, unit, ink.SPOOL, 1.5)
    highest_text = f"peak {format_bytes(peak)}"
    bound = limit / unit.divisor if drawn else 0.0
    _mark_peak(axes, spool, peak / unit.divisor, highest_text, time, ink.SPOOL, bound)
    names = ["copy queue", "replay queue"] if ships else ["spool (source)", "journal (replica)"]
    ends = [EndName(_last(spool) / unit.divisor, names[0], ink.SPOOL)]
    if journal.largest > 0:
        ends.append(EndName(_last(journal) / unit.divisor, names[1], ink.JOURNAL))
    if drawn:
        bound_line(axes, limit / unit.divisor)
        ends.append(EndName(limit / unit.divisor, f"limit {format_bytes(limit)}", ink.BOUND))
    return name_ends(axes, ends)


def _last(points: Curve) -> float:
    """The last known value of a curve, where its name belongs."""
    known = points.values[np.isfinite(points.values)]
    return float(known[-1]) if known.size else 0.0


def _draw_lag(axes: Axes, result: RunResult, time: TimeScale) -> None:
    lag = curve(result.samples.time_seconds, result.samples.lag_seconds)
    if not len(lag.seconds):
        title(axes, "Lag of the replica")
        return say_empty(axes)
    wanted, _ = result.objectives.get("rpo_seconds", (math.nan, None))
    wanted = wanted if math.isfinite(wanted) and wanted > 0 else 0.0
    steep = 0 < wanted < lag.largest / _STEEP
    drawn = steep or 0 < wanted <= _FAR_LIMIT * max(lag.largest, 1e-9)
    top = _HEADROOM * max(lag.largest, wanted if drawn else 0.0) or 1.0
    unit = time_axis(top)
    linear_to = max(wanted, lag.largest / 1e6)
    notes = [f"logarithmic above {format_duration(linear_to)}"] if steep else []
    if wanted and not drawn:
        notes.append(f"RPO objective {format_duration(wanted)}, far above")
    title(axes, "Lag of the replica", "; ".join(notes))
    value_axis(axes, top / unit.divisor, unit)
    if steep:
        _logarithmic(axes, linear_to, top, unit)
    points = decimate(lag)
    _fill(axes, points, time, unit, ink.LAG)
    _line(axes, points, time, unit, ink.LAG, 1.5)
    highest_text = f"peak {format_duration(lag.largest)}"
    bound = wanted / unit.divisor if drawn else 0.0
    _mark_peak(axes, lag, lag.largest / unit.divisor, highest_text, time, ink.LAG, bound)
    if drawn:
        bound_line(axes, wanted / unit.divisor)
        text = f"RPO objective {format_duration(wanted)}"
        name_ends(axes, [EndName(wanted / unit.divisor, text, ink.BOUND)])
    return None


def _logarithmic(axes: Axes, linear_to: float, top: float, unit: AxisUnit) -> None:
    """Linear up to the objective, logarithmic above it: zero stays on the axis."""
    axes.set_yscale("symlog", linthresh=linear_to / unit.divisor, linscale=0.6)
    axes.set_ylim(0, 2.5 * top / unit.divisor)
    round_times = [10.0**power for power in range(-9, 2)]
    round_times += [MINUTE, 10 * MINUTE, HOUR, 10 * HOUR]
    round_times += [DAY * 10.0**power for power in range(1, 15)]
    fitting = [seconds for seconds in round_times if 1.5 * linear_to <= seconds <= top]
    ticks = [0.0, *fitting[:: max(1, math.ceil(len(fitting) / 4))]]
    axes.yaxis.set_major_locator(FixedLocator([tick / unit.divisor for tick in ticks]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: format_duration(float(f"{value * unit.divisor:.6g}")))
    )


def _draw_link(axes: Axes, result: RunResult, time: TimeScale) -> None:
    samples = result.samples
    used = rate(samples.time_seconds, samples.wire_bytes)
    capacity = curve(samples.time_seconds, samples.link_bytes_per_second)
    if not len(capacity.seconds):
        title(axes, "Link use")
        return say_empty(axes)
    top = _HEADROOM * max(used.largest, capacity.largest) or 1.0
    unit = rate_axis(top)
    note = f"busiest interval {format_rate(used.largest)}" if used.largest else "nothing was sent"
    title(axes, "Link use", note)
    value_axis(axes, top / unit.divisor, unit)
    points, bound = decimate(used), decimate(capacity)
    axes.fill_between(
        points.seconds / time.unit.divisor,
        points.values / unit.divisor,
        step="pre",
        color=ink.WIRE.stand_in,
        alpha=0.3,
        linewidth=0,
        zorder=2,
    )
    axes.step(
        points.seconds / time.unit.divisor,
        points.values / unit.divisor,
        where="pre",
        color=ink.WIRE.stand_in,
        linewidth=1.0 if len(points.seconds) < _DENSE_POINTS else 0.5,
        zorder=3,
    )
    axes.step(
        bound.seconds / time.unit.divisor,
        bound.values / unit.divisor,
        where="post",
        color=ink.BOUND.stand_in,
        linewidth=1.3,
        linestyle=(0, (5, 3)),
        marker="o" if len(bound.seconds) == 1 else None,
        zorder=4,
    )
    names = [EndName(_last(used) / unit.divisor, "sent", ink.WIRE)]
    if np.isfinite(capacity.values).any():
        names.append(EndName(_last(capacity) / unit.divisor, "capacity", ink.BOUND))
    return name_ends(axes, names)


def _draw_states(axes: Axes, result: RunResult, time: TimeScale) -> None:
    spans = state_spans(result.samples, time.end_seconds)
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    if not spans:
        title(axes, "State of the source")
        return say_empty(axes)
    held: dict[str, float] = {}
    for span in spans:
        held.setdefault(span.state, 0.0)
        held[span.state] += span.end_seconds - span.start_seconds
    roles = {state: ink.STATES[i % len(ink.STATES)] for i, state in enumerate(held)}
    for state, role in roles.items():
        axes.broken_barh(
            [
                (time.place(s.start_seconds), time.place(s.end_seconds - s.start_seconds))
                for s in spans
                if s.state == state
            ],
            (0, 1),
            facecolor=role.stand_in,
            linewidth=0,
        )
    title(axes, "State of the source")
    for span in spans:
        label = short(span.state, 30)
        width = time.share(span.end_seconds - span.start_seconds)
        if width > CHARACTER_OF_AXIS * (len(label) + 1):
            axes.text(
                time.place((span.start_seconds + span.end_seconds) / 2),
                0.46,
                label,
                ha="center",
                va="center",
                fontsize=8.5,
                color=ink.INK.stand_in,
            )
    _name_states(axes, list(roles.items()))
    return None


def _name_states(axes: Axes, roles: list[tuple[str, Role]]) -> None:
    """All states with their colours, above the band: narrow stretches have no name in them."""
    right = 1.0
    shown = roles[:8]
    if len(roles) > len(shown):
        shown.append((f"{len(roles) - len(shown)} more", ink.MUTED))
    for state, role in reversed(shown):
        label = short(state, 24)
        right -= CHARACTER_OF_AXIS * len(label)
        axes.text(
            right,
            1.32,
            label,
            transform=axes.transAxes,
            fontsize=8.5,
            va="center",
            color=ink.MUTED.stand_in,
        )
        axes.plot(
            [right - 0.012],
            [1.32],
            "s",
            transform=axes.transAxes,
            markersize=6,
            color=role.stand_in,
            clip_on=False,
        )
        right -= 0.034
