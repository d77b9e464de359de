"""The change curve of hourly log statistics: how many logs, and in which hour of the day.

The file is the one that :mod:`simulator.exchange.hourly_logs` reads for the shape of a day; its
logs and seconds give the volume too: logs a second, in each of 24 hours, times the size of a log.
The curve is one day, the mean of those that were sampled, so peaks between days are levelled; its
date stands for any, and a week made of it has seven times as much (:mod:`.site_weeks`).

Those logs a second are of *one* database.  The row of an hour in the file of all databases adds up
their seconds as well as their logs, so it has the mean of them, and their number stands nowhere in
it [T-LOGSTATS].  Whoever plans has to say it (``log_sets``), or to give the files of the single
databases.  Such a file is known by its name; where that was changed, by what no single database
has: more days than anybody gathers, or hours that were sampled a number of times that has a common
divisor, though they were not all sampled equally often.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path
from typing import Final

import numpy as np

from simulator.exchange.hourly_logs import load_hourly_shares
from simulator.plan.change import LOG_FILE_BYTES, ChangeCurve
from simulator.plan.fluid import cumulative
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, Floats
from simulator.plan.site_curve import Found, curve_of, grid_over, seconds_of, spread
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import fields_of, read_lines, refuse

_HOURS: Final = 24
MOST_LOGS_PER_SECOND: Final = 1e6
"""Of all databases together; the vendor's alarm is at some ten a second for one."""
ALL_DATABASES: Final = "alldatabases"
"""How the name of the file of all databases begins, in lower case [T-LOGSTATS]."""
MOST_DAYS_OF_ONE_DATABASE: Final = 35.0
"""Sampled in a file that nobody said the number of databases of: statistics are gathered for a week
or a month [A].  ``log_sets`` = 1 takes a file of more."""


@dataclass(frozen=True, slots=True)
class HourlyLogs:
    """What the file says.

    Attributes
    ----------
    logs_per_second: of one database, in each hour of the day.
    logs: counted in all.
    sampled_seconds: of all databases together.
    samples: in each hour of the day, of all databases together.
    """

    logs_per_second: tuple[float, ...]
    logs: float
    sampled_seconds: float
    samples: tuple[float, ...]

    def seems_of_several(self) -> str:
        """Why this can hardly be of one database; empty where it can."""
        days = self.sampled_seconds / DAY_SECONDS
        if days > MOST_DAYS_OF_ONE_DATABASE:
            return f"{days:,.0f} days were sampled"
        counts = {round(each) for each in self.samples}
        common = gcd(*counts)
        if common > 1 and len(counts) > 1:
            return f"each hour was sampled a multiple of {common:,} times, not all equally often"
        return ""


def names_all_databases(path: str | Path) -> bool:
    """Whether a file has the name that the script gives to the statistics of all databases."""
    return Path(path).name.lower().startswith(ALL_DATABASES)


def read_hourly_logs(path: str | Path) -> HourlyLogs:
    """Rates, logs and samples of hourly statistics.

    Raises BadInput, with file and line, for anything that cannot be right.
    """
    load_hourly_shares(path)  # refuses whatever is wrong; what is left is read plainly
    rates, samples, total, seconds = [0.0] * _HOURS, [0.0] * _HOURS, 0.0, 0.0
    header: list[str] | None = None
    for number, line in read_lines(path):
        if not line.strip() or (header is None and line.startswith("#TYPE")):
            continue
        fields = [each.strip() for each in fields_of(line.strip(), ",", path, number)]
        if header is None:
            header = fields
            continue
        row = dict(zip(header, fields, strict=False))
        hour, logs = int(float(row["Hour"])), float(row["TotalLogsCreated"])
        rates[hour] = logs / float(row["TotalSampleIntervalSeconds"])
        samples[hour] = float(row["NumberOfSamples"])
        total += logs
        seconds += float(row["TotalSampleIntervalSeconds"])
        if rates[hour] > MOST_LOGS_PER_SECOND:
            refuse(
                path,
                f"{logs:g} logs in {row['TotalSampleIntervalSeconds']} s: no store writes that",
                "Take the file as the script wrote it.",
                number,
            )
    return HourlyLogs(tuple(rates), total, seconds, tuple(samples))


def _databases(path: str | Path, found: HourlyLogs, options: SiteOptions) -> int:
    """Of how many databases the statistics are; refuses those that cannot tell."""
    if options.log_sets is not None:
        return options.log_sets
    named = names_all_databases(path)
    why = "so its name says" if named else found.seems_of_several()
    if not why:
        return 1
    what = "are" if named else "seem to be"
    rather = "" if named else ", or that it is of one: 1"
    refuse(
        path,
        f"these statistics {what} of several databases ({why}): they have the logs of the mean "
        "database, and not how many databases there are",
        "Give the files of the databases instead (one for each, <database>-Analyzed.csv; of copies "
        f"of a database one): they add up. Or say how many there are (log_sets){rather}.",
    )


def curve_of_hours(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """A mean day of all databases; raises BadInput for anything that cannot be right, and for
    statistics of several databases whose number is not said."""
    options = options or SiteOptions()
    found = read_hourly_logs(path)
    databases = _databases(path, found, options)
    size = options.log_file_bytes or LOG_FILE_BYTES
    remarks = [f"mean day of {found.logs:,.0f} logs: what differs from day to day is levelled"]
    if databases > 1:
        logs = sum(found.logs_per_second) * HOUR_SECONDS
        remarks.append(
            f"{logs:,.4g} logs a day of the mean database, times {databases:,} databases as given "
            f"(log_sets): {logs * databases:,.4g}"
        )
    elif options.log_sets is None:
        remarks.append("the statistics are taken to be of one database (log_sets)")
    if options.log_file_bytes is None:
        remarks.append(f"a log is taken to have {size:,} bytes: 2003 has more (log_file_size)")
    begin = seconds_of(options.begins_at.replace(hour=0, minute=0, second=0, microsecond=0))
    grid = grid_over(begin, begin + DAY_SECONDS, options.step_seconds, str(path))
    of_hours: Floats = np.array(found.logs_per_second) * HOUR_SECONDS * size * databases
    times: Floats = begin + np.arange(_HOURS + 1, dtype=np.float64) * HOUR_SECONDS
    log_bytes = spread(times, cumulative(of_hours), grid)
    made = Found(
        str(path),
        grid,
        log_bytes=log_bytes,
        log_file_bytes=size,
        log_sets=databases,
        seen_log_sets=databases,
    )
    curve = curve_of(made, options, f"hourly log statistics {Path(path).name}", remarks)
    return replace(curve, measured_seconds=found.sampled_seconds / databases, is_mean_day=True)
