"""The HTML page of a timeline: one file, its script and its data inside, nothing fetched.

The template holds the markup, ``timeline.js`` draws and moves; here the values are prepared.
Texts reach the page through Jinja, which escapes them, or as JSON without any character that
HTML could mistake; the script puts them up as text only.  A content security policy allows just
this one script, by its hash, and no request.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from simulator.measures import RunResult, Verdict
from simulator.report import ink, words
from simulator.report.timeline_lanes import MARKS, SECOND_NS, Focus, Lane, lanes_of
from simulator.report.timeline_story import Story, tell
from simulator.timeline import Timeline
from simulator.units import count_of, format_count, format_duration

LARGEST_PAGE_BYTES: Final = 5_000_000
_LEAST_BUDGET: Final = 200
_KEPT: Final = "\n\t\N{NO-BREAK SPACE}"


def timeline_page(timeline: Timeline, result: RunResult, command: str | None = None) -> str:
    """The page as HTML text, below :data:`LARGEST_PAGE_BYTES`.

    Arguments
    ---------
    command: what makes the run again; by default rebuilt from the record.
    """
    story = tell(timeline, result)
    concerned = None if story.concerned is None else story.concerned.holds
    near = [round(fault.start_seconds * SECOND_NS) for fault in result.faults]
    if story.breach_ns is not None:
        near = [story.breach_ns]
    focus, budget = Focus(story.view_ns, tuple(sorted(near))), MARKS
    while True:
        lanes = lanes_of(timeline, result, focus, budget, concerned)
        text = _page(timeline, result, story, lanes, command)
        if len(text.encode("utf-8", "backslashreplace")) < LARGEST_PAGE_BYTES:
            return text
        if budget <= _LEAST_BUDGET:
            return _page(timeline, result, story, _shortened(lanes), command)
        budget //= 2


def _shortened(lanes: list[Lane]) -> list[Lane]:
    """Checks that held, without their words: there are too many of them for one page."""
    for lane in lanes:
        held = [mark for mark in lane.marks if mark.kind == "held"]
        short = {id(mark) for mark in held}
        lane.marks = [
            type(m)(m.start_ns, m.end_ns, m.kind, "", "held") if id(m) in short else m
            for m in lane.marks
        ]
    return lanes


def _page(
    timeline: Timeline, result: RunResult, story: Story, lanes: list[Lane], command: str | None
) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(plain=_plain, duration=format_duration, count=format_count)
    here = files("simulator.report")
    script = here.joinpath("timeline.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = here.joinpath("timeline.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        result=result,
        story=story,
        tone="good" if result.verdict is Verdict.PASS else "bad",
        title=words.VERDICT_TITLE[result.verdict],
        safeguards_off=timeline.safeguards_off,
        seconds=lambda ns: f"{ns / SECOND_NS:.6f} s",
        thinned=_thinned(lanes),
        recorded=format_count(sum(lane.events for lane in lanes)),
        command=command or words.repeat_command(result),
        light=Markup(ink.css_variables(dark=False)),
        dark=Markup(ink.css_variables(dark=True)),
        script=Markup(script),
        script_hash=digest,
        data=Markup(json_in_html(_data(timeline, result, story, lanes))),
    )


def _thinned(lanes: list[Lane]) -> str:
    """Which lanes are summed up in part, in words; empty when everything is shown."""
    parts = [
        f"{lane.name}: {format_count(lane.events - lane.single)} of "
        f"{count_of(lane.events, 'event')}"
        for lane in lanes
        if lane.events > lane.single
    ]
    return "; ".join(parts)


def _data(timeline: Timeline, result: RunResult, story: Story, lanes: list[Lane]) -> dict[str, Any]:
    shades = [
        [
            round(fault.start_seconds * SECOND_NS),
            timeline.end_ns if fault.end_seconds is None else round(fault.end_seconds * SECOND_NS),
            fault.where,
        ]
        for fault in result.faults
    ]
    return {
        "end": max(1, timeline.end_ns),
        "view": list(story.view_ns),
        "breach": story.breach_ns,
        "flags": [step.at_ns for step in story.steps],
        "shades": shades,
        "lanes": [lane.to_json() for lane in lanes],
    }


def json_in_html(document: dict[str, Any]) -> str:
    """JSON that may stand in a script element: no text in it can end that, or begin another."""
    text = json.dumps(document, separators=(",", ":"))  # ASCII: all else is escaped
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(text: str) -> str:
    """Without control characters, which HTML forbids and a reader cannot see."""
    return "".join(c if c.isprintable() or c in _KEPT else "\ufffd" for c in text)
