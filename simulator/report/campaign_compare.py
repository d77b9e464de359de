"""Two campaigns side by side: tables in the terminal, and a page with their distributions."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, PercentFormatter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from replicator.command_line import printable
from simulator.campaign.comparison import Comparison, Difference, Values
from simulator.campaign.summary import CONFIDENCE, MEASURES
from simulator.report import ink
from simulator.report.axes import dress, format_tick, title
from simulator.report.campaign_junit import replay_line
from simulator.report.output import directory_for, write_atomically
from simulator.units import (
    bytes_axis,
    count_of,
    format_bytes,
    format_count,
    format_duration,
    time_axis,
)

COMPARE_NAME: Final = "compare.html"
SHOWN_CHANGES: Final = 20
"""So many changed verdicts are listed in the terminal; the JSON record has all."""
PAGE_CHANGES: Final = 500
_POINTS: Final = 400
"""Of a curve: a hundred thousand steps are no sharper."""
_FAR: Final = 30.0
"""A largest value so many times above the median is drawn on a logarithmic axis."""
_LABEL: Final = "Distribution of each measure in both campaigns"


def _form(measure: str, value: float) -> str:
    if not measure.endswith("bytes"):
        return format_duration(value)
    return f"-{format_bytes(-value)}" if value < 0 else format_bytes(value)


def _figure_words(figure: str) -> str:
    return "mean" if figure == "mean" else f"{100 * float(figure):g} % below"


def _between(each: Difference) -> str:
    if each.low is None or each.high is None:
        return "?"
    return f"{_form(each.measure, each.low)} to {_form(each.measure, each.high)}"


def setting_words(value: Any) -> str:
    """A value of a scenario, or that it is not set."""
    return "not set" if value is None else str(value)


def failure_sentence(found: Comparison) -> str:
    """How many plans failed where, and whether that tells anything."""
    f = found.failures
    text = f"failed: {format_count(f.a)} in a, {format_count(f.b)} in b"
    if f.only_a is not None and f.only_b is not None:
        text += f"; {format_count(f.only_a)} only in a, {format_count(f.only_b)} only in b"
    return f"{text}: {f.words} (by chance alone: {f.chance:.2g})"


def kind_sentence(found: Comparison) -> str:
    """How the two were compared."""
    if found.paired:
        return f"{count_of(found.plans[0], 'plan')} that both ran, plan by plan"
    return (
        f"{count_of(found.plans[0], 'plan')} against {count_of(found.plans[1], 'plan')}, as two "
        "independent samples"
    )


# -- terminal ----------------------------------------------------------------------------


def print_comparison(console: Console, found: Comparison) -> None:
    """What differs, which verdicts changed, and by how much the figures differ."""
    for letter, path in (("a", found.a), ("b", found.b)):
        console.print(Text(printable(f"{letter}: {path}")), soft_wrap=True)
    console.print(Text(kind_sentence(found)), soft_wrap=True)
    _print_settings(console, found)
    console.print(Text(failure_sentence(found)), soft_wrap=True)
    _print_changes(console, found)
    table = Table(
        title=f"Figures; b - a lies between these with {100 * CONFIDENCE:g} % confidence",
        title_justify="left",
    )
    for name in ("measure", "figure"):
        table.add_column(name)
    for name in ("a", "b", "b - a"):
        table.add_column(name, justify="right")
    table.add_column("so")
    last = ""
    for each in found.differences:
        told = each.words.startswith("b is")
        table.add_row(
            MEASURES[each.measure] if each.measure != last else "",
            _figure_words(each.figure),
            _form(each.measure, each.a),
            _form(each.measure, each.b),
            _between(each),
            Text(each.words, style="bold" if told else "dim"),
        )
        last = each.measure
    console.print(table)
    for measure, sides in found.sides.items():
        if sides.larger_in_a or sides.larger_in_b:
            console.print(
                f"{MEASURES[measure]}: larger in a in {count_of(sides.larger_in_a, 'plan')}, in b "
                f"in {format_count(sides.larger_in_b)}, the same in {format_count(sides.equal)}",
                soft_wrap=True,
            )


def _print_settings(console: Console, found: Comparison) -> None:
    if not found.settings:
        console.print("the scenarios are the same")
        return
    table = Table(title="What differs between the scenarios", title_justify="left")
    for name in ("key", "a", "b"):
        table.add_column(name)
    for each in found.settings:
        words = (each.key, setting_words(each.a), setting_words(each.b))
        table.add_row(*(Text(printable(word)) for word in words))
    console.print(table)


def _print_changes(console: Console, found: Comparison) -> None:
    if not found.paired:
        return
    changes = found.changes
    console.print(Text(f"{count_of(len(changes), 'plan')} ended with another verdict"))
    for change in changes[:SHOWN_CHANGES]:
        line = f"  plan {change.number}: {change.a} -> {change.b}"
        console.print(Text(line))
        side = found.b if change.b != "pass" else found.a
        console.print(Text(printable(f"    {replay_line(side, change.number)}")), soft_wrap=True)
    if len(changes) > SHOWN_CHANGES:
        more = f"  and {format_count(len(changes) - SHOWN_CHANGES)} more, in the JSON record"
        console.print(Text(more))


# -- the page ----------------------------------------------------------------------------


def write_comparison(found: Comparison, directory: Path, command: str) -> Path:
    """Write ``compare.html`` into a directory; raises BadInput when it refuses."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("simulator.report").joinpath("compare.html.j2").read_text(encoding="utf-8")
    text = environment.from_string(source).render(
        found=found,
        light=Markup(ink.css_variables(dark=False)),
        dark=Markup(ink.css_variables(dark=True)),
        figure=Markup(draw_comparison(found)),
        kind=kind_sentence(found),
        failures=failure_sentence(found),
        settings=[(s.key, setting_words(s.a), setting_words(s.b)) for s in found.settings],
        changes=[
            (c.number, c.a, c.b, replay_line(found.b if c.b != "pass" else found.a, c.number))
            for c in found.changes[:PAGE_CHANGES]
        ],
        more_changes=max(0, len(found.changes) - PAGE_CHANGES),
        rows=[
            (
                MEASURES[each.measure],
                _figure_words(each.figure),
                _form(each.measure, each.a),
                _form(each.measure, each.b),
                _between(each),
                each.words,
            )
            for each in found.differences
        ],
        confidence=f"{100 * CONFIDENCE:g}",
        command=command,
    )
    path = directory / COMPARE_NAME
    with directory_for(directory, "--report"):
        write_atomically(path, text, "--report")
    return path


def draw_comparison(found: Comparison) -> str:
    """The distributions as an inline SVG element: share of plans that stay below a value."""
    with ink.drawing():
        figure = Figure(figsize=(11.0, 6.6))
        panels = figure.subplots(2, 2).flat
        for axes, (measure, name) in zip(panels, MEASURES.items(), strict=True):
            _panel(axes, measure, name, *found.values[measure])
        figure.subplots_adjust(
            left=0.06, right=0.98, top=0.94, bottom=0.08, hspace=0.38, wspace=0.16
        )
        return ink.to_inline_svg(figure, _LABEL)


def _panel(axes: Axes, measure: str, name: str, a: Values, b: Values) -> None:
    dress(axes)
    axes.tick_params(axis="x", labelbottom=True, bottom=True)
    title(axes, name, f"{count_of(len(a), 'run')} of a, {format_count(len(b))} of b")
    if not len(a) or not len(b):
        axes.set_yticks([])
        axes.set_xticks([])
        nothing = "no run of both has this figure"
        axes.text(
            0.5, 0.5, nothing, transform=axes.transAxes, ha="center", color=ink.MUTED.stand_in
        )
        return
    shares = np.linspace(0.0, 1.0, _POINTS)
    for values, role, letter, dashes in (
        (a, ink.SPOOL, "a", "solid"),
        (b, ink.BOUND, "b", (0, (4, 2))),
    ):
        at = np.quantile(values, shares, method="inverted_cdf")
        axes.step(
            [at[0], *at],
            [0.0, *shares],
            where="post",
            color=role.stand_in,
            lw=1.8,
            ls=dashes,
            label=letter,
        )
    _value_axis(axes, measure, a, b)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(color=ink.GRID.stand_in, linewidth=0.8)
    axes.set_axisbelow(True)
    legend = axes.legend(loc="lower right", frameon=False)
    for text in legend.get_texts():
        text.set_color(ink.INK.stand_in)


def _value_axis(axes: Axes, measure: str, a: Values, b: Values) -> None:
    """From 0, or from the least value where all lie close together far from 0."""
    least, largest = float(min(a[0], b[0])), float(max(a[-1], b[-1]))
    first = 0.0 if least < largest / 2 else least
    span = max(largest - first, largest / 1_000, 1e-9)
    positive = np.concatenate([a[a > 0], b[b > 0]])
    far = len(positive) > 0 and largest > _FAR * float(np.median(positive))
    axes.set_xlim(first - 0.02 * span, largest + 0.05 * span)
    if far:
        axes.set_xscale("symlog", linthresh=float(np.quantile(positive, 0.05)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _form(measure, float(x))))
        return
    unit = (bytes_axis if measure.endswith("bytes") else time_axis)(span)

    def tick(value: float, _: object) -> str:
        return f"{format_tick(value / unit.divisor)} {unit.name}"

    places = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(
        first / unit.divisor, largest / unit.divisor
    )
    axes.xaxis.set_major_locator(FixedLocator([unit.divisor * float(place) for place in places]))
    axes.set_xlim(first - 0.02 * span, largest + 0.05 * span)
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
