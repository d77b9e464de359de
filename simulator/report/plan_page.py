"""The HTML page of a plan: answer, what breaks first, pictures, tables, assumptions.

It is to be read from the top by somebody who has to decide, and only then by somebody who doubts
it.  The template holds all markup; here only its values are prepared.  Jinja escapes every value;
the one thing put in as markup are the SVGs, whose texts matplotlib has escaped.  A content security
policy in the page forbids scripts and requests in case both fail.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from simulator.plan.plan_answer import Topic
from simulator.plan.plan_assumed import assumed_defaults
from simulator.plan.plan_line_words import (
    largest_lag_words,
    of_the_time,
    outages_counted,
)
from simulator.plan.plan_objectives import LINE_ITEM, Outcome, holds, needs_of, outcomes_of
from simulator.plan.plan_units import format_line, format_volume
from simulator.plan.planner import Plan
from simulator.plan.schedule_words import windows_words
from simulator.plan.sizes_to_buy import sizes_to_buy
from simulator.report import ink
from simulator.report.output import directory_for, write_atomically
from simulator.report.page import Tile, plain, unbroken
from simulator.report.plan_figures import PICTURES
from simulator.report.plan_marks import MARKS, marks_line
from simulator.report.plan_story import breaks_first, figure, headline, shown_finding, wanted_words
from simulator.report.plan_table import PlanTable
from simulator.report.plan_tables import plan_tables
from simulator.units import count_of, format_count, format_duration

PLAN_NAME: Final = "plan.html"
MOST_ROWS: Final = 60
"""Longer tables are cut, and say so: the JSON record and the spreadsheet have every row."""
UNFOLDED_ROWS: Final = 24
"""Longer tables are folded; an hour of the day has a row in those that are not."""
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?")
_FIRST_TABLES: Final = ("objectives", "needs")
"""They stand before the pictures."""
_WORDS: Final = {
    "met": "good",
    "enough": "good",
    "missed": "bad",
    "not enough": "bad",
    "never": "bad",
    "grows for ever": "bad",
    "none is enough": "bad",
    "no size is enough": "bad",
    "does not hold as planned": "bad",
}


@dataclass(frozen=True)
class ShownPicture:
    """A picture as the page has it."""

    heading: str
    sentence: str
    svg: Markup


@dataclass(frozen=True)
class ShownTable:
    """A table as the page has it: rows of (text, class of its cell)."""

    title: str
    note: str
    head: list[tuple[str, str]]
    rows: list[list[tuple[str, str]]]
    left_out: int

    @property
    def is_long(self) -> bool:
        """Whether it is folded, to be opened by who wants it."""
        return len(self.rows) > UNFOLDED_ROWS


def render_plan(plan: Plan, directory: Path, topics: Sequence[Topic], command: str) -> Path:
    """Writes ``plan.html``; raises BadInput when the directory refuses it.

    Arguments
    ---------
    topics: the answer in words.
    command: that makes the plan again; the page has it with its ``--report``.
    """
    if "--report" not in shlex.split(command):
        command = f"{command} --report {shlex.quote(str(directory))}"
    text = plan_page_text(plan, topics, command)
    path = directory / PLAN_NAME
    with directory_for(directory, "--report"):
        write_atomically(path, text, "--report")
    return path


def plan_page_text(plan: Plan, topics: Sequence[Topic], command: str) -> str:
    """The page as HTML text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(plain=plain, count=format_count)
    source = files("simulator.report").joinpath("plan.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(_values(plan, topics, command))


def _values(plan: Plan, topics: Sequence[Topic], command: str) -> dict[str, Any]:
    tables = plan_tables(plan)
    grid, change = plan.change.grid, plan.change
    return {
        "name": plan.organisation.name,
        "description": plan.organisation.description,
        "title": headline(plan),
        "tone": "good" if holds(outcomes_of(plan)) else "bad",
        "span": f"{format_duration(grid.span_seconds)} from {grid.begins_at:%d %B %Y} on",
        "kind": plan.protection.name,
        "answer": [Topic(each.name, tuple(map(unbroken, each.sentences))) for each in topics],
        "marks_of_answer": marks_line(_first_texts(tables, topics)),
        "tiles": _tiles(plan),
        "breaks": [unbroken(each) for each in breaks_first(plan)],
        "first_tables": [_shown(each) for each in tables if each.key in _FIRST_TABLES],
        "pictures": [
            ShownPicture(each.heading, unbroken(each.sentence(plan)), Markup(each.inline_svg(plan)))
            for each in PICTURES
            if each.is_of(plan)
        ],
        "tables": [_shown(each) for each in tables if each.key not in _FIRST_TABLES],
        "assumed": _assumed(plan),
        "marks": MARKS,
        "origin": change.origin,
        "command": command,
        "light": Markup(ink.css_variables(dark=False)),
        "dark": Markup(ink.css_variables(dark=True)),
    }


def _first_texts(tables: Sequence[PlanTable], topics: Sequence[Topic]) -> list[str]:
    """The answer, and the tables that stand right below it."""
    texts = [sentence for topic in topics for sentence in topic.sentences]
    for table in tables:
        if table.key in _FIRST_TABLES:
            texts += [table.note, *(cell for row in table.spelled() for cell in row)]
    return texts


def _tiles(plan: Plan) -> list[Tile]:
    """The figures to buy by, one for each volume, with what it is for and what is planned."""
    found = []
    for need in needs_of(plan):
        if not need.volume:
            value = figure(need.unit, need.needed, "none does")
            name, note = f"{need.item} to have", f"planned {figure(need.unit, need.given)}"
            if need.item == LINE_ITEM and need.needed is not None:
                # "To have" would advise a slower line than is planned.
                name, windows = f"{need.item}, at least", windows_words(plan.link, need.needed)
                note = f"with {windows}; {note}" if windows else note
            found.append(Tile(name, value, note))
    for size in sizes_to_buy(plan):
        if size.size_bytes is None:
            found.append(Tile(size.volume, "none is enough", size.reason))
            continue
        others = f"; {size.others}" if size.others else ""
        planned = figure("bytes", size.given_bytes, "none")
        note = unbroken(f"for {size.task}{others}; planned {planned}")
        found.append(Tile(f"{size.volume} to have", figure("bytes", size.size_bytes), note))
    for outcome in outcomes_of(plan):
        if outcome.objective == "RPO":
            found.append(_rpo_tile(plan, outcome))
        if outcome.objective == "RTO":
            value = figure(outcome.unit, outcome.found)
            wanted = f"{wanted_words(plan, outcome)} wanted"
            found.append(Tile(f"{outcome.objective} as planned", value, wanted))
    return found


def _rpo_tile(plan: Plan, outcome: Outcome) -> Tile:
    """The RPO with its share of the time, and the largest lag beside it."""
    share, counted = of_the_time(plan), outages_counted(plan)
    name = f"RPO {share or 'at most'}, {counted}"
    wanted = f"{wanted_words(plan, outcome)} wanted"
    note = f"{largest_lag_words(plan)}; {wanted}" if share and outcome.found is not None else wanted
    return Tile(name, figure(outcome.unit, shown_finding(outcome)), note)


def _shown(table: PlanTable) -> ShownTable:
    kept = [
        index
        for index, column in enumerate(table.columns)
        if column.key != "reason" or any(row["reason"] for row in table.rows)
    ]
    rows = []
    for spelled in list(table.spelled())[:MOST_ROWS]:
        rows.append([(unbroken(spelled[i]), _class(table, i, spelled[i])) for i in kept])
    head = [(table.columns[i].name, _class(table, i, "")) for i in kept]
    return ShownTable(table.title, table.note, head, rows, max(0, len(table.rows) - MOST_ROWS))


def _class(table: PlanTable, index: int, text: str) -> str:
    words = ["number"] if table.columns[index].is_number else ["text"]
    if _MOMENT.fullmatch(text):
        words.append("when")
    if index == 0 and words == ["text"]:
        words.append("name")
    if text in _WORDS:
        words += ["word", _WORDS[text]]
    return " ".join(words)


def _assumed(plan: Plan) -> list[str]:
    """What the figures rest on: the curve's remarks, the line, the outages, what is drawn."""
    link, outages = plan.link, plan.organisation.outages
    found = list(plan.change.remarks)
    stored = plan.change.stored_bytes
    found.append(
        f"{format_volume(plan.change.written_bytes_per_day)} of logs and pages are written a day, "
        f"{format_volume(plan.change.log_bytes_per_day)} of them logs; half an hour has at most "
        f"{plan.change.peak_to_mean():.1f} times the mean"
        + ("" if stored is None else f"; the databases have {format_volume(stored)}")
    )
    streams = "stream" if link.streams == 1 else "streams"
    found.append(
        f"a line of {format_line(link.bits_per_second)}, {format_duration(link.rtt_seconds)} round "
        f"trip, {100 * link.loss:g} % loss, {link.streams} TCP {streams}, "
        f"{100 * link.payload_share:g} % of it left by headers"
        + (f", with {windows_words(link, link.bits_per_second)}" if link.windows else "")
    )
    found.append(
        f"{outages.per_year:g} outages a year, half of them longer than "
        f"{format_duration(outages.median_ns / 1e9)}, one of twenty longer than "
        f"{format_duration(outages.p95_ns / 1e9)}"
    )
    if outages.events:
        found.append(f"{count_of(len(outages.events), 'outage')} at dates in the curves")
    found += assumed_defaults(plan.organisation)
    found.append("the link's and the disks' volumes are decimal: a GB has 10^9 bytes")
    return found
