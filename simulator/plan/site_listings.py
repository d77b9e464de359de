"""Listings of a folder of logs: names, sizes and times, as the usual commands print them.

``dir`` in any language, ``ls -l --time-style=full-iso``, ``Get-ChildItem`` (its table, or through
``Export-Csv``), and any delimited text whose header names the columns.  In what has no header a
line counts if it holds the name of a log; its date is the only one in the line and its size the
largest number that is left.  Sizes are whole bytes, so a mark between groups of three digits parts
thousands, whatever the country.

The wall clock is taken as printed: ``+0100`` behind a time says that it is the site's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from replicator.ese.log_names import LogName, LogRole, parse_log_name
from simulator.plan.site_curve import plausible, seconds_of
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import delimiter_of, fields_of, read_lines, refuse
from simulator.plan.site_values import DateEvidence, WrittenDate, find_date, whole_number

MOST_LOGS: Final = 5_000_000
_FOLDER_LINE_LIMIT: Final = 1_024
_NAME: Final = re.compile(
    r"(?<![\w.-])(\w{3}(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{5})?\.(?:log|jtx))(?![\w.])", re.IGNORECASE
)
_FOLDER: Final = re.compile(r"(?:^|\s)([A-Za-z]:\\[^\t\"*?<>|]*|\\\\[^\t\"*?<>|]+|/[^\t:]*(?=:$))")
_NUMBER: Final = re.compile(r"\d{1,3}(?:[.,'\u00a0\u202f\ufffd]\d{3})+(?!\d)|\d+")
_PARTED: Final = re.compile(
    r"[\s,;|]*(\d{1,3}(?:[ .,'\u00a0\u202f\ufffd\u00ff]\d{3}){1,5}|\d{1,18})(?![\d.,])"
)
"""Blanks between thousands, one of which is 0xFF in the code pages of the command line."""
LEAST_LOG_BYTES: Final = 32 << 10
"""The smallest log file that the store's engine makes; less is a size in another unit."""
_NAME_COLUMNS: Final = ("fullname", "name", "pschildname", "filename", "file", "path")
_SIZE_COLUMNS: Final = ("length", "size", "bytes", "sizebytes")
_TIME_COLUMNS: Final = ("lastwritetime", "lastwritetimeutc", "modified", "datemodified", "mtime")
_TIME_FALLBACKS: Final = ("time", "date", "datetime", "timestamp")
TIME_REMEDY: Final = (
    "List the folder with dir, with ls -l --time-style=full-iso, or with Get-ChildItem | "
    "Select-Object Name,Length,LastWriteTime | Export-Csv."
)


@dataclass(frozen=True, slots=True)
class StampedLog:
    """A closed log and when it was full.

    Attributes
    ----------
    folder: where it lies; empty when the listing does not say.
    name: of the file.
    seconds: last write, on the site's clock.
    size_bytes: None when unknown.
    line: of the listing; None for a real file.
    """

    folder: str
    name: LogName
    seconds: float
    size_bytes: int | None
    line: int | None = None


@dataclass(slots=True)
class _Row:
    folder: str
    name: LogName
    date: WrittenDate
    utc: bool
    size_bytes: int | None
    line: int


@dataclass(frozen=True, slots=True)
class _Columns:
    delimiter: str
    name: int
    size: int | None
    time: int
    utc: bool
    fields: int


def names_a_log(text: str) -> bool:
    """Whether a line of text holds the name of a closed log."""
    return any(
        (parsed := parse_log_name(found[1])) is not None and parsed.role is LogRole.CLOSED
        for found in _NAME.finditer(text)
    )


def _columns(header: str, path: str, line: int) -> _Columns | None:
    """The columns of a header; None when the line is no header."""
    delimiter = delimiter_of(header)
    names = [
        re.sub(r"[^a-z]", "", field.lower()) for field in fields_of(header, delimiter, path, line)
    ]

    def at(wanted: tuple[str, ...]) -> int | None:
        return next((names.index(each) for each in wanted if each in names), None)

    name, time = at(_NAME_COLUMNS), at(_TIME_COLUMNS)
    if time is None:
        time = at(_TIME_FALLBACKS)
    if name is None or time is None or len(names) < 2:
        return None
    return _Columns(
        delimiter, name, at(_SIZE_COLUMNS), time, names[time].endswith("utc"), len(names)
    )


def _size_in(line: str, date: tuple[int, int], name: tuple[int, int]) -> int | None:
    """The size that stands in a line without columns; None when there is none.

    What ``dir`` prints between time and name may be parted by blanks.  Elsewhere numbers beside
    each other are different things, and the largest is the size.
    """
    if date[1] <= name[0]:
        between = _PARTED.match(line[date[1] : name[0]])
        if between is not None:
            return int(re.sub(r"\D", "", between[1]))
    first, second = sorted((date, name))
    rest = "\t".join((line[: first[0]], line[first[1] : second[0]], line[second[1] :]))
    sizes = [whole_number(each[0].replace("\ufffd", "")) for each in _NUMBER.finditer(rest)]
    return max((size for size in sizes if size is not None), default=None)


class _ListingReader:
    """Takes one line after the other."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = ""
        self._columns: _Columns | None = None
        self._begun = False
        self.rows: list[_Row] = []
        self.other_lines = 0

    def take(self, number: int, line: str) -> None:
        if not line.strip() or line.startswith("#TYPE"):
            return
        if self._columns is not None:
            self._delimited(number, line, self._columns)
            return
        found = [each for each in _NAME.finditer(line)]
        if not found:
            if not self._begun and any(mark in line for mark in "\t;|,"):
                self._columns = _columns(line, self._path, number)
                if self._columns is not None:
                    return
            folder = _FOLDER.search(line) if len(line) <= _FOLDER_LINE_LIMIT else None
            if folder is not None and find_date(line) is None:
                self._folder = folder[1].strip().rstrip("\\/")
            self.other_lines += 1
            return
        self._begun = True
        name = parse_log_name(found[-1][1])
        if name is None or name.role is not LogRole.CLOSED:
            self.other_lines += 1
            return
        start = found[-1].start()
        self._free(number, line, name, start)

    def _free(self, number: int, line: str, name: LogName, start: int) -> None:
        date = find_date(line)
        if date is None:
            refuse(
                self._path,
                f"no date with a year and a time stands beside {name.name}",
                TIME_REMEDY,
                number,
            )
        if find_date(line[date.span[1] :]) is not None:
            refuse(
                self._path,
                "the line holds two times, and no header names them",
                TIME_REMEDY,
                number,
            )
        size = _size_in(line, date.span, (start, start + len(name.name)))
        self.rows.append(_Row(self._folder, name, date, date.utc, size or None, number))

    def _delimited(self, number: int, line: str, columns: _Columns) -> None:
        fields = fields_of(line, columns.delimiter, self._path, number)
        if len(fields) != columns.fields:
            refuse(
                self._path,
                f"the line has {len(fields)} fields, the header {columns.fields}",
                "Export the listing anew, with a quote around each field.",
                number,
            )
        whole = re.split(r"[\\/]", fields[columns.name].strip())
        name = parse_log_name(whole[-1])
        if name is None or name.role is not LogRole.CLOSED:
            self.other_lines += 1
            return
        date = find_date(fields[columns.time])
        if date is None:
            refuse(
                self._path,
                f"{fields[columns.time][:40]!r} is no date and time",
                TIME_REMEDY,
                number,
            )
        size = None
        if columns.size is not None:
            size = whole_number(fields[columns.size])
            if size is None:
                refuse(
                    self._path,
                    f"{fields[columns.size][:40]!r} is no number of bytes",
                    "Export the size in bytes (Length).",
                    number,
                )
        folder = "\\".join(whole[:-1])
        utc = columns.utc or date.utc
        self.rows.append(_Row(folder, name, date, utc, size or None, number))


def read_listing(
    path: str | Path, options: SiteOptions
) -> tuple[list[StampedLog], tuple[str, ...]]:
    """The closed logs that a listing names, and remarks.

    Raises BadInput, with file and line, for a log without a time, dates that can be read in two
    ways, and a file that lists no logs.
    """
    name = str(path)
    reader = _ListingReader(name)
    for number, line in read_lines(path, options.progress):
        reader.take(number, line)
        if len(reader.rows) > MOST_LOGS:
            refuse(path, f"the listing has more than {MOST_LOGS:,} logs", "Give a part of it.")
    if not reader.rows:
        refuse(path, "no closed transaction log (as E0000000001.log) is listed", TIME_REMEDY)
    dates = DateEvidence(ordered=True)
    for row in reader.rows:
        dates.note(row.date, row.line)
    day_first = dates.day_first(options.day_order, name)
    for row in reader.rows:
        if row.size_bytes is not None and row.size_bytes < LEAST_LOG_BYTES:
            refuse(
                path,
                f"{row.name.name} has {row.size_bytes:,} bytes: no log file is so small",
                "List sizes in bytes, or leave them out and say log_file_bytes.",
                row.line,
            )
    remarks = []
    if reader.other_lines:
        lines = "1 line" if reader.other_lines == 1 else f"{reader.other_lines:,} lines"
        remarks.append(
            f"{lines} without a closed log {'was' if reader.other_lines == 1 else 'were'} skipped"
        )
    in_utc = sum(row.utc for row in reader.rows)
    if in_utc:
        remarks.append(_utc_remark(options, in_utc))
    return list(_stamped(reader.rows, day_first, options, name)), tuple(remarks)


def _utc_remark(options: SiteOptions, count: int) -> str:
    if options.utc_offset_hours is None:
        return f"{count:,} times are in UTC, and so is the curve: give utc_offset_hours"
    return f"{count:,} times in UTC were shifted by {options.utc_offset_hours:+g} h"


def _stamped(
    rows: list[_Row], day_first: bool, options: SiteOptions, path: str
) -> Iterator[StampedLog]:
    for row in rows:
        moment = row.date.moment(day_first)
        seconds = None if moment is None else seconds_of(moment)
        if seconds is not None and row.utc:
            seconds += options.utc_offset_seconds
        if seconds is None or not plausible(seconds):
            refuse(path, "there is no such date and time", TIME_REMEDY, row.line)
        yield StampedLog(row.folder, row.name, seconds, row.size_bytes, row.line)
