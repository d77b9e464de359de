"""The HTML page of a run: figures in words, tables and the plot, in one file.

The template holds all markup; here only its values are prepared.  Jinja escapes every
value; the one thing put in as markup is the SVG, whose texts matplotlib has escaped.  A
content security policy in the page forbids scripts and requests in case both fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from simulator.measures import FaultMark, LossMeasure, RunResult, Verdict
from simulator.report import ink, words
from simulator.report.figure import draw_run
from simulator.report.output import directory_for, write_atomically
from simulator.units import (
    count_of,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
)

REPORT_NAME = "report.html"

_MOST_LOSSES, _MOST_FAULTS, _MOST_ROWS = 30, 60, 200
"""Longer tables are cut, and say so: the JSON record has every row."""

_KEPT = "\n\t\N{NO-BREAK SPACE}"

_TONE = {
    Verdict.PASS: "good",
    Verdict.OBJECTIVE: "poor",
    Verdict.INCONCLUSIVE: "open",
    Verdict.UNRECOVERABLE: "bad",
    Verdict.LIVENESS: "bad",
    Verdict.SAFETY: "bad",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the large figures below the headline."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class RecoveryPart:
    """One part of the recovery time and its share of the bar."""

    name: str
    duration: str
    percent: float


def render(result: RunResult, directory: Path, *, command: str | None = None) -> Path:
    """Writes the page; raises BadInput when the directory refuses it."""
    text = page_text(result, command)
    path = directory / REPORT_NAME
    with directory_for(directory, "--report"):
        write_atomically(path, text, "--report")
    return path


def page_text(result: RunResult, command: str | None = None) -> str:
    """The page as HTML text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        bytes=format_bytes,
        count=format_count,
        duration=format_duration,
        plain=plain,
        spoken=words.spoken,
    )
    source = files("simulator.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(_values(result, command))


def _values(result: RunResult, command: str | None) -> dict[str, Any]:
    return {
        "result": result,
        "title": words.VERDICT_TITLE[result.verdict],
        "tone": _TONE[result.verdict],
        "headline": unbroken(" ".join(words.headline(result))),
        "tiles": _tiles(result),
        "figure": Markup(draw_run(result)),
        "light": Markup(ink.css_variables(dark=False)),
        "dark": Markup(ink.css_variables(dark=True)),
        "losses": _worst_losses(result.losses),
        "recovery": _recovery_parts(result),
        "objectives": words.objective_rows(result),
        "invariants": words.invariant_rows(result),
        "checks_sentence": words.checks_sentence(result),
        "faults": result.faults[:_MOST_FAULTS],
        "most_rows": _MOST_ROWS,
        "live": words.live_sentences(result),
        "command": command or words.repeat_command(result),
        "fault_end": _fault_end,
        "speed": _speed(result),
    }


def unbroken(text: str) -> str:
    """With no line break between a number and its unit."""
    return re.sub(r"(?<=\d) (?=[A-Za-zµ%])", "\N{NO-BREAK SPACE}", text)


def plain(text: str) -> str:
    """Without control characters, which HTML forbids and a reader cannot see."""
    return "".join(c if c.isprintable() or c in _KEPT else "\ufffd" for c in text)


def _worst_losses(losses: list[LossMeasure]) -> list[LossMeasure]:
    """In the order of time; of very many only the worst."""
    worst = sorted(losses, key=lambda loss: (-loss.seconds, -loss.bytes))[:_MOST_LOSSES]
    return sorted(worst, key=lambda loss: loss.at_seconds)


def _recovery_parts(result: RunResult) -> list[RecoveryPart]:
    recovery = result.recovery
    if recovery is None:
        return []
    parts = {name: float(getattr(recovery, name)) for name in words.RECOVERY_PARTS}
    total = recovery.total or 1.0
    return [
        RecoveryPart(
            words.RECOVERY_PARTS[name], format_duration(seconds), round(100.0 * seconds / total, 3)
        )
        for name, seconds in parts.items()
    ]


def _tiles(result: RunResult) -> list[Tile]:
    worst = result.worst_loss
    tiles = [
        Tile(
            "work lost (RPO)",
            "unknown" if worst is None else format_duration(worst.seconds),
            "nothing failed" if worst is None else _loss_note(worst),
        )
    ]
    if result.recovery is not None:
        tiles.append(
            Tile(
                "time to recover (RTO)",
                format_duration(result.recovery.total),
                "until users were back",
            )
        )
    tiles += [
        _waiting_tile(result),
        Tile(
            "sent over the link",
            format_bytes(result.wire_bytes),
            f"{format_percent(result.wire_bytes, result.captured_bytes)} of "
            f"{format_bytes(result.captured_bytes)} written",
        ),
    ]
    return tiles


def _waiting_tile(result: RunResult) -> Tile:
    """What waited for the replica: logs, or bytes of the spool."""
    queues, limit = result.queue_peaks, result.spool_limit_bytes
    if queues is not None:
        return Tile(
            "copy queue at its peak",
            count_of(queues.copy_queue_logs, "log"),
            f"{count_of(queues.replay_queue_logs, 'log')} to be replayed at most",
        )
    return Tile(
        "spool at its peak",
        format_bytes(result.spool_peak_bytes),
        f"{format_percent(result.spool_peak_bytes, limit)} of {format_bytes(limit)}"
        if limit
        else "no limit set",
    )


def _loss_note(worst: LossMeasure) -> str:
    messages = words.messages_of(worst)
    if messages:
        return f"{messages}, {format_bytes(worst.bytes)}"
    return f"{count_of(worst.operations, 'operation')}, {format_bytes(worst.bytes)}"


def _fault_end(fault: FaultMark) -> str:
    if fault.end_seconds is None:
        return "never ended"
    length = fault.end_seconds - fault.start_seconds
    return format_duration(length) if length > 0 else "an instant"


def _speed(result: RunResult) -> str:
    """How much faster than the world the simulator was; nothing for real time."""
    if result.live is not None or result.wall_seconds <= 0 or result.simulated_seconds <= 0:
        return ""
    return f"{format_count(result.simulated_seconds / result.wall_seconds)} times real time"
