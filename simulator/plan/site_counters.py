r"""The change curve of a performance-counter log (perfmon, typeperf, relog) as text.

Theory
------
The first cell names the format, ``(PDH-CSV 4.0) (time zone)(bias)``, the others the counters; each
row is a time of the server's clock and the values then.  A rate belongs to the time *before* its
sample, back to the one before: bytes are the rate times that interval, so no even spacing is
needed.  A count since the start (``Log Files Generated``) is differenced; where it falls the
service was restarted, and it counts from zero.

What is missing is filled from beside it, in proportion to time, and told: a blank (the first
sample of a rate always is), -1 (no sample), an interval far longer than the others.  So is a value
that cannot be, each named with its line and told at once.  A
clock that is set back in autumn repeats an hour; its samples are averaged with those of the first
pass, since a plan's day has 24 hours.

Files are read twice: first to learn how this country writes numbers and dates
(:mod:`.site_values`), then for the values.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from simulator.plan.change import LOG_FILE_BYTES, ChangeCurve
from simulator.plan.fluid import cumulative
from simulator.plan.grid import Floats, TimeGrid
from simulator.plan.site_counter_catalogue import Role
from simulator.plan.site_counter_names import Chosen, choose_columns
from simulator.plan.site_curve import (
    Found,
    curve_of,
    grid_over,
    plausible,
    seconds_of,
    spread,
    told,
)
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import delimiter_of, fields_of, read_lines, refuse
from simulator.plan.site_values import DateEvidence, NumberEvidence, find_date, number
from simulator.units import format_duration

FORMAT: Final = re.compile(r"\(PDH-[CT]SV 4\.0\)", re.IGNORECASE)
NO_SAMPLE: Final = -1.0
"""What a counter log has in place of a sample that it could not take."""
LONG_INTERVAL: Final = 3.0
"""An interval so many times as long as the usual one is a gap: samples are missing."""
_PDH_TIME: Final = re.compile(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d\.\d{3}")
_ALL_CELLS_ROWS: Final = 200
"""In so many rows every cell is asked for its decimal mark, later those that are read."""
_MOST_NAMED: Final = 5
_MOST_BACKWARDS: Final = 0.5
"""Of the rows, before the row above: more is no clock that was set back."""
_EXPORT_REMEDY: Final = "Export the log anew: relog LOG.blg -f CSV -o LOG.csv."


def is_counter_header(line: str) -> bool:
    """Whether a file that begins so is a counter log."""
    if FORMAT.search(line[:200]):
        return True
    cells = re.split(r"[,;\t]", line)
    return len(cells) > 1 and re.match(r'"?\\\\?[^\\]+\\', cells[1].strip()) is not None


@dataclass(slots=True)
class _Table:
    """What the first pass learned."""

    path: str
    header: list[str]
    delimiter: str
    chosen: Chosen
    mark: str
    day_first: bool


def _rows(
    path: str, table_fields: int, delimiter: str, options: SiteOptions, skipped: list[int]
) -> Iterator[tuple[int, list[str]]]:
    """Rows after the header; those of tools' messages at the end are counted in ``skipped``."""
    for line_number, line in read_lines(path, options.progress):
        if line_number == 1:
            continue
        if not line.strip():
            continue
        fields = fields_of(line, delimiter, path, line_number)
        if len(fields) == table_fields and not _is_message(line):
            yield line_number, fields
            continue
        if find_date(fields[0] if fields else "") is None:
            skipped.append(line_number)
            continue
        reason = f"the line has {len(fields)} values, the header {table_fields}"
        if len(fields) > table_fields and delimiter == ",":
            refuse(
                path,
                f"{reason}: decimal commas stand between commas",
                "Export with a quote around each value, or with ';' between them: relog LOG.blg "
                "-f CSV writes quotes.",
                line_number,
            )
        refuse(path, reason, f"The line was cut: leave it out. {_EXPORT_REMEDY}", line_number)


def _is_message(line: str) -> bool:
    """Whether a line is what the tool says at its end, not a sample."""
    return line.lstrip()[:1].isalpha() and find_date(line) is None


def _first_pass(path: str, options: SiteOptions) -> _Table:
    first = next((line for _, line in read_lines(path)), "")
    delimiter = delimiter_of(first)
    header = [each.strip() for each in fields_of(first, delimiter, path, 1)]
    if len(header) < 2:
        refuse(path, "the first line names no counters", _EXPORT_REMEDY, 1)
    chosen = choose_columns(header, options, path)
    numbers, dates = NumberEvidence(), DateEvidence(ordered=True)
    pdh, rows = FORMAT.search(header[0]) is not None, 0
    for line, fields in _rows(path, len(header), delimiter, options, []):
        rows += 1
        date = find_date(fields[0])
        if date is None:
            refuse(
                path,
                f"{fields[0][:40]!r} is no date with a time",
                _EXPORT_REMEDY,
                line,
            )
        dates.note(date, line)
        pdh = pdh and _PDH_TIME.fullmatch(fields[0].strip()) is not None
        places = range(1, len(fields)) if rows <= _ALL_CELLS_ROWS else None
        for place in places or (each for each, _ in chosen.columns):
            numbers.note(fields[place], line)
    if rows < 2:
        refuse(path, f"the file has {rows} samples: two are needed", _EXPORT_REMEDY)
    # What the tools themselves write always has the month first.
    day_first = dates.day_first(options.day_order, path, default=False if pdh else None)
    mark = numbers.mark(options.decimal_mark, path)
    return _Table(path, header, delimiter, chosen, mark, day_first)


@dataclass(slots=True)
class _Samples:
    """What the second pass read.

    Attributes
    ----------
    times: of samples, seconds.
    values: of each chosen column; NaN where missing.
    glitches: values of -1, the log's own way to say that there was no sample.
    impossible: values that no store can have, each with its line.
    """

    times: Floats
    values: list[Floats]
    missing: int
    glitches: int
    impossible: list[str]
    skipped: list[int]


def _second_pass(table: _Table, options: SiteOptions) -> _Samples:
    times = array("d")
    values = [array("d") for _ in table.chosen.columns]
    missing = glitches = 0
    impossible: list[str] = []
    skipped: list[int] = []
    rows = _rows(table.path, len(table.header), table.delimiter, options, skipped)
    for line, fields in rows:
        date = find_date(fields[0])
        moment = None if date is None else date.moment(table.day_first)
        seconds = None if moment is None else seconds_of(moment)
        if seconds is None or not plausible(seconds):
            refuse(table.path, f"there is no time {fields[0][:40]!r}", _EXPORT_REMEDY, line)
        times.append(seconds)
        for (place, _), column in zip(table.chosen.columns, values, strict=True):
            text = fields[place].strip()
            value = number(text, table.mark) if text else None
            if value is None and text:
                refuse(
                    table.path,
                    f"{text[:40]!r} is no number, in the column {table.header[place][:80]}",
                    _EXPORT_REMEDY,
                    line,
                )
            if value is None:
                missing += 1
            elif value == NO_SAMPLE:
                glitches += 1
                value = None
            elif not 0 <= value <= options.most_bytes_per_second:
                impossible.append(f"line {line} has {text[:40]}")
                value = None
            column.append(float("nan") if value is None else value)
    return _Samples(
        np.array(times),
        [np.array(each) for each in values],
        missing,
        glitches,
        impossible,
        skipped,
    )


# -- from samples to bytes ---------------------------------------------------------------------


def _usual_interval(times: Floats) -> float:
    steps = np.diff(times)
    ahead = steps[steps > 0]
    return float(np.median(ahead)) if len(ahead) else 0.0


def _rates(values: Floats, times: Floats, role: Role, options: SiteOptions) -> tuple[Floats, int]:
    """Bytes a second of each interval; NaN where unknown, and how often a count began anew."""
    size = options.log_file_bytes or LOG_FILE_BYTES
    if role is Role.LOG_FILES:
        known = np.flatnonzero(np.isfinite(values))
        known = known[np.diff(times[known], append=np.inf) != 0]  # of equal times the last
        intervals, counted = np.diff(times[known]), np.diff(values[known])
        restarts = counted < 0
        counted = np.where(restarts, values[known[1:]], counted)
        rates = np.full(max(1, len(known)), np.nan)
        rates[:-1][intervals > 0] = (counted * size)[intervals > 0] / intervals[intervals > 0]
        segment = np.searchsorted(known, np.arange(len(times) - 1), "right") - 1
        return np.where(segment >= 0, rates[segment], np.nan), int(restarts.sum())
    factor = 1.0
    if role in (Role.LOG_WRITES, Role.WRITES):
        factor = options.bytes_per_write or 0.0
    return values[1:] * factor, 0


def _merged(ends: Floats, widths: Floats, rates: Floats, longest: float) -> tuple[Floats, Floats]:
    """Rates on a clock that never goes back: where it did, intervals that overlap are averaged.

    Returns edges of time, and the rate between consecutive ones; NaN where no sample is.
    """
    known = np.isfinite(rates) & (widths > 0) & (widths <= longest)
    begins = ends - widths
    edges = np.unique(np.concatenate((begins, ends)))
    if len(edges) < 2:
        return edges, np.empty(0)
    height, count = np.zeros(len(edges)), np.zeros(len(edges))
    at, until = np.searchsorted(edges, begins[known]), np.searchsorted(edges, ends[known])
    for sums, amount in ((height, rates[known]), (count, np.ones(int(known.sum())))):
        np.add.at(sums, at, amount)
        np.subtract.at(sums, until, amount)
    covered = np.rint(np.cumsum(count)[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean: Floats = np.where(covered > 0, np.cumsum(height)[:-1] / covered, np.nan)
    return edges, np.maximum(mean, 0.0)


def _filled(edges: Floats, rates: Floats) -> tuple[Floats, Floats]:
    """Gaps filled on a straight line between what is beside them; and which were gaps."""
    gaps = ~np.isfinite(rates)
    middle = (edges[:-1] + edges[1:]) / 2
    known = ~gaps
    filled: Floats = rates.copy()
    if gaps.any() and known.any():
        filled[gaps] = np.interp(middle[gaps], middle[known], rates[known])
    return filled, gaps.astype(np.float64)


def curve_of_counters(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """What a counter log tells.

    Raises BadInput, with file and line, for what is no counter log, has no column of written
    bytes, or can be read in two ways.
    """
    options = options or SiteOptions()
    name = str(path)
    table = _first_pass(name, options)
    samples = _second_pass(table, options)
    times = samples.times
    usual = _usual_interval(times)
    begin, end = float(times.min()), float(times.max())
    if begin == end:
        refuse(path, "all samples have one time", _EXPORT_REMEDY)
    if usual <= 0 or np.mean(np.diff(times) < 0) > _MOST_BACKWARDS:
        refuse(
            path,
            f"the times go backwards: the first row is of {told(float(times[0]))}, the last of "
            f"{told(float(times[-1]))}",
            f"Sort the rows by time, the earliest first. {_EXPORT_REMEDY}",
        )
    if end - begin < options.least_measured_seconds:
        refuse(
            path,
            f"{len(times):,} samples cover {format_duration(end - begin)}: too little for a plan, "
            f"which wants {format_duration(options.least_measured_seconds)} at least",
            "Gather a week, a sample a minute; or accept so little (change.least_measured).",
        )
    grid = grid_over(begin, end, options.step_seconds, name)
    sums: dict[Role, Floats] = {}
    remarks = [*table.chosen.remarks]
    restarts, unknown, gap_spans = 0, 0.0, None
    widths = np.diff(times)
    usual_width = np.where(widths <= 0, usual, widths)  # after a step back: as long as usual
    for (place, role), values in zip(table.chosen.columns, samples.values, strict=True):
        rates, restarted = _rates(values, times, role, options)
        rates = np.where(widths == 0, np.nan, rates)
        restarts += restarted
        longest = np.inf if role is Role.LOG_FILES else LONG_INTERVAL * usual
        edges, merged = _merged(times[1:], usual_width, rates, longest)
        inside = edges >= begin
        edges, merged = edges[inside], merged[inside[:-1]]
        if not np.isfinite(merged).any():
            refuse(
                path,
                f"the column {table.header[place][:120]} has no value at all",
                "Choose others (log_counters, database_counters), or gather anew while the "
                "store is mounted.",
            )
        filled, gaps = _filled(edges, merged)
        lasts = np.diff(edges)
        share = float((gaps * lasts).sum() / lasts.sum())
        if share > unknown or gap_spans is None:
            unknown, gap_spans = share, (edges, gaps)
        amounts = spread(edges, cumulative(filled * lasts), grid)
        sums[role] = sums[role] + amounts if role in sums else amounts
    assert gap_spans is not None
    where = _gap_times(*gap_spans)
    if unknown > options.most_missing_share:
        refuse(
            path,
            f"{100 * unknown:.0f} % of the time has no samples: {where}",
            "Take a time in which the collector ran, or accept it (most_missing_share).",
        )
    if unknown > 0:
        remarks.append(f"{100 * unknown:.2g} % of the time has no samples, filled evenly: {where}")
    remarks += _sample_remarks(samples, widths, restarts)
    warnings = [*table.chosen.warnings, *_impossible(name, samples.impossible)]
    if {Role.LOG_WRITES, Role.WRITES} & set(sums):
        remarks.append(f"each write is taken to have {options.bytes_per_write:,g} bytes, as given")
    if Role.LOG_FILES in sums and options.log_file_bytes is None:
        remarks.append(f"a log is taken to have {LOG_FILE_BYTES:,} bytes (log_file_bytes)")
    return curve_of(
        _found(name, grid, sums, table),
        options,
        f"performance counters {Path(path).name}",
        [*remarks, *warnings],
        warnings,
    )


def _impossible(path: str, values: list[str]) -> list[str]:
    """Values that cannot be, named by file and line; the first of them where they are many."""
    if not values:
        return []
    named = ", ".join(values[:_MOST_NAMED])
    more = f", and {len(values) - _MOST_NAMED:,} more" if len(values) > _MOST_NAMED else ""
    kept = "was left out" if len(values) == 1 else "were left out"
    word = "value" if len(values) == 1 else "values"
    return [f"{path}: {len(values):,} {word} that cannot be {kept}: {named}{more}"]


def _found(path: str, grid: TimeGrid, sums: dict[Role, Floats], table: _Table) -> Found:
    def added(*roles: Role) -> Floats | None:
        there = [sums[role] for role in roles if role in sums]
        return np.sum(there, axis=0) if there else None

    logs = added(Role.LOG_BYTES, Role.LOG_FILES, Role.LOG_WRITES)
    if logs is None:
        return Found(path, grid, written_bytes=added(Role.WRITTEN_BYTES, Role.WRITES))
    pages = added(Role.DATABASE_BYTES, Role.WRITES)
    sets = table.chosen
    return Found(path, grid, logs, pages, log_sets=sets.log_sets, seen_log_sets=sets.seen_log_sets)


def _gap_times(edges: Floats, gaps: Floats) -> str:
    changes = np.flatnonzero(np.diff(np.concatenate(([0.0], gaps, [0.0]))))
    spans = list(zip(changes[::2], changes[1::2], strict=True))
    named = ", ".join(f"{told(edges[a])} to {told(edges[b])}" for a, b in spans[:_MOST_NAMED])
    more = "" if len(spans) <= _MOST_NAMED else f" and {len(spans) - _MOST_NAMED:,} more"
    return named + more


def _sample_remarks(samples: _Samples, widths: Floats, restarts: int) -> list[str]:
    remarks = []
    if samples.missing:
        remarks.append(f"{samples.missing:,} values are blank")
    if samples.glitches:
        remarks.append(f"{samples.glitches:,} values are -1: no sample, and were left out")
    if restarts:
        remarks.append(f"a count began anew {restarts:,} times: the service was restarted")
    if (twice := int((widths == 0).sum())) > 0:
        remarks.append(f"{twice:,} samples have the time of the one before, and were left out")
    if (back := int((widths < 0).sum())) > 0:
        remarks.append(
            f"the clock goes back {back:,} times: samples of the same time were averaged"
        )
    if samples.skipped:
        remarks.append(
            f"{len(samples.skipped):,} lines are no samples, and were skipped (line "
            f"{samples.skipped[0]} first)"
        )
    return remarks
