"""The change curve of hourly log statistics: how many logs, and in which hour of the day.

The file is the one that :mod:`simulator.exchange.hourly_logs` reads for the shape of a day; its
logs and seconds give the volume too: logs a second, in each of 24 hours, times the size of a log.
The curve is one day, the mean of those that were sampled, so peaks between days are levelled; its
date stands for any, and a week made of it has seven times as much (:mod:`.site_weeks`).
"""

from __future__ import annotations

from dataclasses import replace
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


def logs_per_second(path: str | Path) -> tuple[list[float], float, float]:
    """Rate of each hour of the day, how many logs were counted in all, and in how many seconds.

    Raises BadInput, with file and line, for anything that cannot be right.
    """
    load_hourly_shares(path)  # refuses whatever is wrong; what is left is read plainly
    rates, total, seconds = [0.0] * _HOURS, 0.0, 0.0
    header: list[str] | None = None
    for number, line in read_lines(path):
        if not line.strip() or (header is None and line.startswith("#TYPE")):
            continue
        fields = [each.strip() for each in fields_of(line.strip(), ",", path, number)]
        if header is None:
            header = fields
            continue
        row = dict(zip(header, fields, strict=False))
        logs = float(row["TotalLogsCreated"])
        rates[int(float(row["Hour"]))] = logs / float(row["TotalSampleIntervalSeconds"])
        total += logs
        seconds += float(row["TotalSampleIntervalSeconds"])
        if rates[int(float(row["Hour"]))] > MOST_LOGS_PER_SECOND:
            refuse(
                path,
                f"{logs:g} logs in {row['TotalSampleIntervalSeconds']} s: no store writes that",
                "Take the file as the script wrote it.",
                number,
            )
    return rates, total, seconds


def curve_of_hours(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """A mean day; raises BadInput for anything that cannot be right."""
    options = options or SiteOptions()
    rates, total, seconds = logs_per_second(path)
    size = options.log_file_bytes or LOG_FILE_BYTES
    remarks = [f"mean day of {total:,.0f} logs: what differs from day to day is levelled"]
    if options.log_file_bytes is None:
        remarks.append(f"a log is taken to have {size:,} bytes: 2003 has more (log_file_size)")
    begin = seconds_of(options.begins_at.replace(hour=0, minute=0, second=0, microsecond=0))
    grid = grid_over(begin, begin + DAY_SECONDS, options.step_seconds, str(path))
    of_hours: Floats = np.array(rates) * HOUR_SECONDS * size
    times: Floats = begin + np.arange(_HOURS + 1, dtype=np.float64) * HOUR_SECONDS
    log_bytes = spread(times, cumulative(of_hours), grid)
    found = Found(str(path), grid, log_bytes=log_bytes, log_file_bytes=size)
    curve = curve_of(found, options, f"hourly log statistics {Path(path).name}", remarks)
    return replace(curve, measured_seconds=seconds, is_mean_day=True)
