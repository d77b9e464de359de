"""A site's own day: the hourly statistics of its transaction logs, read from a CSV file.

Exchange administrators gather them with a public script that, once an hour, notes the newest
log generation of each database; its analysis writes ``<database>-Analyzed.csv`` and
``AllDatabases-Analyzed.csv`` with one row for each hour of the day.  That file is read here as
it is, quotes, type line and byte order mark included.

The weight of an hour is its logs per second of sampling.  The percentages are written by the
same script, so they must say the same: a file in which they do not was edited or cut, and is
refused.  They stand in one of two columns: ``PercentDailyUsagePer60Minutes`` is of logs per second;
other copies of the script have ``PercentDailyUsageForCalc`` in its place, which is of the logs
themselves, as a share of 1 [T-LOGSTATS] (a percentage is understood as well).

The row of an hour in ``AllDatabases`` adds up the seconds of all databases as well as their logs:
its logs per second are those of the mean database.  For the shape of a day that makes no
difference; for its volume see :mod:`simulator.plan.site_hours`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from math import fsum, isfinite
from pathlib import Path
from typing import Final, NoReturn

from replicator.errors import BadInput

COLUMNS: Final = (
    "Hour",
    "TotalLogsCreated",
    "TotalSampleIntervalSeconds",
    "NumberOfSamples",
    "AverageSample",
    "PercentDailyUsage",
    "AverageSamplePer60Minutes",
    "PercentDailyUsagePer60Minutes",
)
FOR_CALC: Final = "PercentDailyUsageForCalc"
"""What other copies of the script have in place of the last of :data:`COLUMNS`."""

_LOGS, _SECONDS = "TotalLogsCreated", "TotalSampleIntervalSeconds"
_LINE_LIMIT_BYTES: Final = 4096
_LINES_LIMIT: Final = 1000
_ROUNDING_PERCENT: Final = 0.1
"""How far a percentage may be from what logs and seconds say: the script rounds."""
_LEAST_PERCENT_IN_ALL: Final = 10.0
"""Of all hours together; below it they are shares of 1."""

_REMEDY: Final = (
    "Take the file as the script wrote it (<database>-Analyzed.csv, one row for each hour 0 to "
    "23); docs/mail-load.md shows one."
)


def load_hourly_shares(path: str | Path) -> tuple[float, ...]:
    """Share of the day's logs in each hour, 24 numbers that add up to 1.

    Raises BadInput, with file and line, for anything that cannot be right.
    """
    reader = _Reader(str(path))
    try:
        with open(path, "rb") as stream:
            while line := stream.readline(_LINE_LIMIT_BYTES):
                reader.take(line)
    except OSError as error:
        raise BadInput(
            f"the log statistics cannot be read: {error.strerror}",
            path=str(path),
            remedy="Check the name, and that the file may be read.",
        ) from None
    return reader.shares()


class _Reader:
    """Takes one line after the other and knows where it is."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._line = 0
        self._places: dict[str, int] | None = None
        self._percent = COLUMNS[-1]
        self._fields = 0
        self._rates: dict[int, float] = {}
        self._logs_of: dict[int, float] = {}
        self._lines: dict[int, int] = {}
        self._told_percent: dict[int, tuple[float, int]] = {}
        self._logs = 0.0
        self._seconds = 0.0

    def _bad(self, reason: str, remedy: str = _REMEDY, line: int | None = None) -> NoReturn:
        at = self._line if line is None else line
        raise BadInput(reason, path=self._path, line=at, remedy=remedy)

    def take(self, raw: bytes) -> None:
        self._line += 1
        if self._line == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                self._bad(
                    "the file is written in UTF-16",
                    "Write it again as text: Export-Csv -Encoding ASCII, or Save as CSV UTF-8.",
                )
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if self._line > _LINES_LIMIT or len(raw) == _LINE_LIMIT_BYTES:
            self._bad("the file is far longer than statistics of 24 hours")
        text = raw.decode("ascii", "replace").strip()
        if not text or (text.startswith("#TYPE") and self._places is None):
            return
        fields = self._split(text)
        if self._places is None:
            self._header(fields)
        else:
            self._hour(fields, self._places)

    def _split(self, text: str) -> list[str]:
        try:
            rows: Iterator[list[str]] = csv.reader([text], strict=True)
            return [field.strip() for field in next(rows)]
        except csv.Error as error:
            self._bad(f"the line is no CSV: {error}")

    def _header(self, fields: list[str]) -> None:
        if COLUMNS[-1] not in fields and FOR_CALC in fields:
            self._percent = FOR_CALC
        columns = (*COLUMNS[:-1], self._percent)
        missing = [column for column in columns if column not in fields]
        if missing and any(";" in field or "\t" in field for field in fields):
            self._bad(
                "the columns are not parted by commas",
                "Write the file with commas: Export-Csv -Delimiter ',' (an office program: save as "
                "CSV with the comma as separator).",
            )
        if missing:
            self._bad(f"the header lacks the column {missing[0]!r}")
        self._places = {column: fields.index(column) for column in columns}
        self._fields = len(fields)

    def _hour(self, fields: list[str], places: dict[str, int]) -> None:
        if len(fields) != self._fields:
            self._bad(f"the line has {len(fields)} fields, the header {self._fields}")
        values = {column: self._number(column, fields[at]) for column, at in places.items()}
        hour = values["Hour"]
        if hour not in range(24):
            self._bad(f"there is no hour {fields[places['Hour']]} in a day")
        if hour in self._rates:
            self._bad(f"hour {int(hour)} stands twice")
        seconds = values[_SECONDS]
        if not seconds or not values["NumberOfSamples"]:
            self._bad(
                f"hour {int(hour)} was never sampled",
                "Let the hourly job run for at least a day, better a working week, and analyze "
                "again.",
            )
        self._lines[int(hour)] = self._line
        self._rates[int(hour)] = values[_LOGS] / seconds
        self._logs_of[int(hour)] = values[_LOGS]
        self._told_percent[int(hour)] = (values[self._percent], self._line)
        self._logs += values[_LOGS]
        self._seconds += seconds

    def _number(self, column: str, field: str) -> float:
        try:
            value = float(field)
        except ValueError:
            remedy = _REMEDY
            if "," in field:
                remedy = f'Write "." as the decimal mark: {field.replace(",", ".")[:40]}.'
            self._bad(f"{column} is no number: {field[:40]!r}", remedy)
        if not isfinite(value) or value < 0:
            self._bad(f"{column} cannot be {field[:40]}")
        return value

    def shares(self) -> tuple[float, ...]:
        if self._places is None:
            self._bad("the file is empty", line=max(1, self._line))
        missing = [hour for hour in range(24) if hour not in self._rates]
        if missing:
            # The first line behind the gap; of an hour that would be the last, the end.
            behind = [line for hour, line in self._lines.items() if hour > missing[0]]
            self._bad(
                f"hour {missing[0]} is missing ({len(self._rates)} of 24 are there)",
                line=min(behind, default=self._line),
            )
        if not self._logs:
            self._bad("no log was created at all", "Take statistics of a store that is used.")
        self._check_percentages()
        total = fsum(self._rates.values())
        return tuple(self._rates[hour] / total for hour in range(24))

    def _check_percentages(self) -> None:
        """Refuses a file whose percentages are not those of its logs and seconds."""
        whole = fsum(told for told, _ in self._told_percent.values())
        # A share of 1 where all hours together are far below 100.
        per = 100.0 if self._percent == FOR_CALC and whole < _LEAST_PERCENT_IN_ALL else 1.0
        mean_rate = self._logs / self._seconds
        for hour, (told, line) in sorted(self._told_percent.items()):
            if self._percent == FOR_CALC:
                counted, of = 100 * self._logs_of[hour] / self._logs, "logs make"
            else:
                counted = 100 * self._rates[hour] * 3600 / (mean_rate * 86_400)
                of = "logs and seconds make"
            if abs(told * per - counted) > _ROUNDING_PERCENT:
                self._bad(
                    f"hour {hour}: {self._percent} is {told:g}, but {of} it {counted / per:.4g}",
                    line=line,
                )
