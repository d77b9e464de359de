"""The change curve of an I/O trace: the bytes written in each step.

A trace of a disk knows nothing of logs and pages.  Its bytes are divided by a share
(:attr:`~simulator.plan.site_options.SiteOptions.log_share_of_writes`), which the curve's remarks
tell.  Memory grows with the time that a trace covers, not with its size: a number for each step.

Two kinds are no single trace.  The table of half-hour features holds many virtual machines, of
which one is chosen by name; bytes run evenly within a half hour.  A folder of the Exchange 2007
files is one trace, each file at the time that its name tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from simulator.plan.change import ChangeCurve
from simulator.plan.fluid import cumulative
from simulator.plan.grid import Floats
from simulator.plan.site_curve import Found, curve_of, grid_over, seconds_of, spread, time_of
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import fields_of, read_lines, refuse
from simulator.plan.site_trace_rows import (
    Rows,
    TraceNotes,
    Write,
    blkparse_writes,
    counted_kind,
    etw_writes,
    guarded,
    mqsim_writes,
    msr_writes,
    vscsi_writes,
)

FORMATS: Final[Mapping[str, Rows]] = MappingProxyType(
    {
        "vscsi": vscsi_writes,
        "exchange 2007": etw_writes,
        "msr": msr_writes,
        "blkparse": blkparse_writes,
        "mqsim": mqsim_writes,
    }
)
DATED: Final = frozenset(("msr",))
"""Formats that know the date."""
FEATURE_COLUMNS: Final = ("trace", "index", "write_io_request_size_sum")
FEATURE_WINDOW_SECONDS: Final = 1_800.0
_MOST_WINDOWS: Final = 1_000_000
_MOST_NAMES: Final = 10
_MOST_STEPS: Final = 10_000_000
_CHUNK: Final = 65_536
ETW_FILE: Final = re.compile(
    r"Exchange\.(\d\d)-(\d\d)-(\d{4})\.(\d\d)-(\d\d)-([AP]M)\.trace\.csv(?:\.gz)?", re.IGNORECASE
)


class _Steps:
    """Bytes in each step, of writes that come in any order; grows as far as times go.

    Arguments
    ---------
    step_seconds: length of a step.
    """

    def __init__(self, step_seconds: float, path: str) -> None:
        self._step_seconds = step_seconds
        self._path = path
        self._sums: dict[str, Floats] = {}
        self._first = 0
        self._seen = (0, 0)

    def take(self, rows: Iterator[Write], shift_seconds: float) -> int:
        """Add writes up, each so much later; returns how many wrote something."""
        writes, chunk = 0, []
        for row in rows:
            chunk.append(row)
            writes += row.length_bytes > 0
            if len(chunk) == _CHUNK:
                self._add(chunk, shift_seconds)
                chunk = []
        if chunk:
            self._add(chunk, shift_seconds)
        return writes

    def _add(self, chunk: Sequence[Write], shift_seconds: float) -> None:
        times = np.array([write.seconds for write in chunk]) + shift_seconds
        steps = np.floor(times / self._step_seconds).astype(np.int64)
        lengths = np.array([write.length_bytes for write in chunk], dtype=np.float64)
        lowest, highest = int(steps.min()), int(steps.max())
        if not self._sums:
            self._first = lowest
            self._seen = (lowest, highest)
        self._seen = (min(lowest, self._seen[0]), max(highest, self._seen[1]))
        for kind in sorted({write.kind for write in chunk}):
            of_kind = np.array([write.kind == kind for write in chunk])
            sums = self._grown(kind, lowest, highest)
            np.add.at(sums, steps[of_kind] - self._first, lengths[of_kind])

    def _grown(self, kind: str, lowest: int, highest: int) -> Floats:
        length = max((len(each) for each in self._sums.values()), default=0)
        before = max(0, self._first - lowest)
        after = max(0, highest - self._first + 1 - length)
        if length + before + after > _MOST_STEPS:
            refuse(
                self._path,
                f"the trace covers more than {_MOST_STEPS:,} steps of {self._step_seconds:g} s",
                "Give longer steps (step_seconds), or a part of the trace.",
            )
        self._sums.setdefault(kind, np.zeros(length))
        if before or after:
            room = after + (length // 8 if after else 0)  # ahead, so that it is rarely copied
            self._sums = {
                name: np.concatenate((np.zeros(before), each, np.zeros(room)))
                for name, each in self._sums.items()
            }
            self._first -= before
        return self._sums[kind]

    def result(self) -> tuple[int, Floats, str]:
        """The first step's number, bytes from it to the last step seen, and the kind counted."""
        kind = counted_kind(sorted(self._sums)) or ""
        lowest, highest = self._seen
        return lowest, self._sums[kind][lowest - self._first : highest - self._first + 1], kind


def curve_of_trace(path: str | Path, kind: str, options: SiteOptions | None = None) -> ChangeCurve:
    """What one trace tells.

    Arguments
    ---------
    kind: a key of :data:`FORMATS`.

    Raises BadInput, with file and line, at the first row that cannot be right, and for a trace in
    which nothing is written.
    """
    options = options or SiteOptions()
    name = str(path)
    named = ETW_FILE.fullmatch(Path(path).name) if kind == "exchange 2007" else None
    if named is not None and (begin := _etw_begin(named)) is not None:
        return _curve([(Path(path), begin)], FORMATS[kind], kind, options, name)
    return _curve([(Path(path), None)], FORMATS[kind], kind, options, name)


def curve_of_etw_folder(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """The Exchange 2007 trace, of which each file covers a quarter of an hour; raises BadInput."""
    options = options or SiteOptions()
    files = []
    try:
        entries = sorted(Path(path).iterdir())
    except OSError as error:
        refuse(path, f"the folder cannot be read: {error.strerror}", "Check its permissions.")
    for each in entries:
        named = ETW_FILE.fullmatch(each.name)
        begin = None if named is None else _etw_begin(named)
        if begin is not None:
            files.append((each, begin))
    if not files:
        refuse(path, "the folder holds no Exchange 2007 trace", "Look whether it is the right one.")
    files.sort(key=lambda file: file[1])
    return _curve(files, FORMATS["exchange 2007"], "exchange 2007", options, str(path))


def _etw_begin(named: re.Match[str]) -> datetime | None:
    month, day, year, hour, minute = (int(named[at]) for at in range(1, 6))
    try:
        return datetime(
            year, month, day, hour % 12 + (12 if named[6].upper() == "PM" else 0), minute
        )
    except ValueError:
        return None


def _curve(
    files: Sequence[tuple[Path, datetime | None]],
    rows: Rows,
    kind: str,
    options: SiteOptions,
    path: str,
) -> ChangeCurve:
    notes = TraceNotes()
    dated = kind in DATED
    steps = _Steps(options.step_seconds, path)
    writes = 0
    for file, begin in files:
        found = guarded(rows(str(file), options, notes), str(file))
        shift = 0.0 if dated else seconds_of(begin or options.begins_at)
        # A trace begins at 0, not with its first write.
        origin = () if dated or kind == "blkparse" else (Write(0.0, 0),)
        writes += steps.take(chain(origin, found), shift)
    if not writes:
        refuse(
            path,
            f"no write is among the {notes.rows:,} rows of the trace",
            "Take a trace of a disk that the store writes to"
            + (" (disks names those to take)." if options.disks else "."),
        )
    first, sums, counted = steps.result()
    begins = first * options.step_seconds
    grid = grid_over(begins, begins + len(sums) * options.step_seconds, options.step_seconds, path)
    remarks = [f"{notes.rows:,} rows"]
    if counted:
        remarks.append(f"writes are counted at their event {counted}")
    if notes.skipped:
        names = ", ".join(f"{n} {each}" for each, n in sorted(notes.skipped_names.items())[:6])
        remarks.append(f"{notes.skipped:,} rows of other events were skipped: {names}")
    if notes.other_disks:
        remarks.append(f"{notes.other_disks:,} writes to other disks were left out")
    if not dated and files[0][1] is None:
        remarks.append(
            f"the trace tells no date: its begin is set to {options.begins_at:%Y-%m-%d %H:%M}"
        )
    if dated and options.utc_offset_hours is None:
        remarks.append("times are in UTC, and so is the curve: give utc_offset_hours")
    amounts = np.zeros(grid.steps)
    amounts[: len(sums)] = sums[: grid.steps]
    where = f"{len(files):,} files of " if len(files) > 1 else ""
    return curve_of(
        Found(path, grid, written_bytes=amounts),
        options,
        f"{where}{kind} trace {Path(path).name}",
        remarks,
    )


# -- half-hour features ------------------------------------------------------------------------


def read_feature_curves(
    path: str | Path, options: SiteOptions | None = None, traces: Sequence[str] = ()
) -> dict[str, ChangeCurve]:
    """A curve of each virtual machine of the table, or of those named; by name.

    Machines in which nothing was written have none.  Raises BadInput, with file and line, for
    anything that cannot be right.
    """
    options = options or SiteOptions()
    curves = {}
    for name, windows in _features(path, options, frozenset(traces)).items():
        if any(windows.values()):
            curves[name] = _feature_curve(str(path), name, windows, options)
    return curves


def curve_of_features(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """The virtual machine that the options name; raises BadInput, naming those there are."""
    options = options or SiteOptions()
    wanted = frozenset(() if options.trace is None else (options.trace,))
    found = _features(path, options, wanted)
    if options.trace is None and len(found) == 1:
        [name] = found
    elif options.trace in found and options.trace is not None:
        name = options.trace
    else:
        known = sorted(found or _features(path, options, frozenset()))
        names = ", ".join(known[:_MOST_NAMES]) + (", ..." if len(known) > _MOST_NAMES else "")
        asked = "" if options.trace is None else f", none of them {options.trace!r}"
        refuse(
            path,
            f"the table holds {len(known):,} virtual machines{asked}",
            f"Choose one by its name (trace): {names}.",
        )
    return _feature_curve(str(path), name, found[name], options)


def _features(
    path: str | Path, options: SiteOptions, wanted: frozenset[str]
) -> dict[str, dict[int, float]]:
    """Bytes written in each half hour, by machine."""
    places: list[int] = []
    width = 0
    found: dict[str, dict[int, float]] = {}
    remedy = "Take the table as it was published, or leave the line out."
    for line, text in read_lines(path, options.progress):
        if not text.strip():
            continue
        fields = fields_of(text, ",", path, line)
        if not places:
            missing = [name for name in FEATURE_COLUMNS if name not in fields]
            if missing:
                refuse(path, f"the header lacks the column {missing[0]!r}", remedy, line)
            places, width = [fields.index(name) for name in FEATURE_COLUMNS], len(fields)
            continue
        if len(fields) != width:
            refuse(path, f"the line has {len(fields)} fields, the header {width}", remedy, line)
        name = fields[places[0]]
        if wanted and name not in wanted:
            continue
        try:
            window, amount = int(fields[places[1]]), float(fields[places[2]])
        except ValueError:
            refuse(path, "index or bytes written are no number", remedy, line)
        if not (0 <= window < _MOST_WINDOWS and 0 <= amount <= 1e18):
            refuse(path, f"window {window} with {amount:g} bytes cannot be", remedy, line)
        windows = found.setdefault(name, {})
        if window in windows:
            refuse(path, f"window {window} of {name} stands twice", remedy, line)
        windows[window] = amount
    return found


def _feature_curve(
    path: str, name: str, windows: Mapping[int, float], options: SiteOptions
) -> ChangeCurve:
    first, last = min(windows), max(windows)
    amounts = np.zeros(last - first + 1)
    for window, amount in windows.items():
        amounts[window - first] = amount
    begin = seconds_of(options.begins_at)
    edges: Floats = begin + np.arange(len(amounts) + 1, dtype=np.float64) * FEATURE_WINDOW_SECONDS
    grid = grid_over(float(edges[0]), float(edges[-1]), options.step_seconds, path)
    written = spread(edges, cumulative(amounts), grid)
    remarks = [
        f"the table tells no date: its begin is set to {time_of(begin):%Y-%m-%d %H:%M}",
        "bytes run evenly within each half hour: what bursts in less is levelled",
    ]
    if len(windows) < len(amounts):
        remarks.append(f"{len(amounts) - len(windows):,} half hours are missing: taken for idle")
    return curve_of(
        Found(path, grid, written_bytes=written),
        options,
        f"half-hour features of {name} in {Path(path).name}",
        remarks,
    )
