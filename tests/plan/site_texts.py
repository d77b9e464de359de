"""Files of a site, written as the usual tools write them, from amounts that are known."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

BEGIN = datetime(2026, 11, 2)  # a Monday
MIB = 1 << 20


def log_times(log_bytes, step_seconds: float, size: int, begin: datetime = BEGIN):
    """When each log was full, if bytes of a step run evenly; the first one at the begin."""
    reached = np.concatenate(([0.0], np.cumsum(log_bytes)))
    edges = np.arange(len(reached)) * step_seconds
    fills = np.arange(0, int(reached[-1] // size) + 1) * size
    # The step in which each became full; nothing runs in one that is empty.
    step = np.maximum(np.searchsorted(reached, fills, side="left") - 1, 0)
    came = np.maximum(np.diff(reached)[step], 1)
    seconds = edges[step] + (fills - reached[step]) / came * step_seconds
    seconds[0] = 0.0
    return [begin + timedelta(seconds=float(each)) for each in seconds]


def listing_ls(times, size=MIB, base="E00", first=1, digits=8) -> str:
    return "total 12345\n" + "".join(
        f"-rwxr-xr-x 1 root root {size} {time:%Y-%m-%d %H:%M:%S.%f}000 +0100 "
        f"{base}{first + at:0{digits}X}.log\n"
        for at, time in enumerate(times)
    )


def grouped(number: int, mark: str) -> str:
    return f"{number:,}".replace(",", mark)


def listing_dir(times, size=MIB, base="E00", first=1, form="%m/%d/%Y  %I:%M %p", mark=",") -> str:
    rows = "".join(
        f"{time.strftime(form)}      {grouped(size, mark):>14} {base}{first + at:08X}.log\n"
        for at, time in enumerate(times)
    )
    return (
        " Volume in drive E is LOGS\n Directory of E:\\Logs\n\n"
        f"{BEGIN.strftime(form)}    <DIR>          .\n{rows}"
        f"               {len(times)} File(s)  {grouped(size * len(times), mark)} bytes\n"
    )


def listing_csv(times, size=MIB, base="E00", first=1, delimiter=",", form="%m/%d/%Y %H:%M:%S"):
    rows = "".join(
        f'"{base}{first + at:08X}.log"{delimiter}"{size}"{delimiter}"{time.strftime(form)}"\n'
        for at, time in enumerate(times)
    )
    return (
        "#TYPE Selected.System.IO.FileInfo\n"
        f'"Name"{delimiter}"Length"{delimiter}"LastWriteTime"\n{rows}'
    )


def counter_csv(
    times,
    columns,
    delimiter=",",
    decimal=".",
    form="%m/%d/%Y %H:%M:%S.000",
    first="(PDH-CSV 4.0) (W. Europe Standard Time)(-60)",
) -> str:
    """``columns``: name to values; None is a blank."""

    def cell(value) -> str:
        return " " if value is None else repr(float(value)).replace(".", decimal)

    lines = [delimiter.join(f'"{name}"' for name in (first, *columns))]
    for at, time in enumerate(times):
        cells = [time.strftime(form), *(cell(values[at]) for values in columns.values())]
        lines.append(delimiter.join(f'"{each}"' for each in cells))
    return "\n".join(lines) + "\n"
