"""The change curve of a folder of transaction logs, or of a listing of one.

Theory
------
A log file is full, and closed, at the last write to it; with a header at hand the creation of the
next generation says the same, and survives copying.  Between the times of consecutive generations
one file of log was written, evenly.  The oldest log has no begin unless its header is readable,
so the curve begins when it was full; the log underway (``E00.log``) has no end and is left out.

Deleted logs leave gaps in the generations (backup, circular logging).  Their number is known, so
their bytes are exact and only their rhythm is lost: they are spread over the gap, and named.

Leaves out: what a database writes beside its logs; see
:class:`~simulator.plan.site_options.SiteOptions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from simulator.plan.change import LOG_FILE_BYTES, ChangeCurve
from simulator.plan.grid import Floats
from simulator.plan.site_curve import Found, curve_of, grid_over, spread, told
from simulator.plan.site_listings import read_listing
from simulator.plan.site_log_folders import LogSet, logs_in, read_headers, sets_of
from simulator.plan.site_log_times import (
    cumulative_bytes,
    disorder_remark,
    gaps_of,
    trusted_times,
)
from simulator.plan.site_options import OLD_LOG_FILE_BYTES, SiteOptions
from simulator.plan.site_text import refuse

_NEW_NAME_CHARACTERS: Final = len("E0000000001.log")
_MOST_NAMED: Final = 5


def curve_of_listing(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """What a listing of logs tells; raises BadInput, with file and line, for what cannot be."""
    options = options or SiteOptions()
    logs, remarks = read_listing(path, options)
    return _curve(
        str(path),
        sets_of(logs, str(path)),
        options,
        f"log files listed in {Path(path).name}",
        remarks,
    )


def curve_of_folder(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """What the logs in a folder tell; headers are read where they are whole.

    Raises BadInput for a folder without logs, or whose logs contradict each other.
    """
    options = options or SiteOptions()
    logs, current = logs_in(path, options)
    sets = sets_of(logs, str(path))
    remarks: list[str] = []
    for each in sets:
        remarks += read_headers(Path(path), each, current.get(each.base), options)
    if any(not each.starts for each in sets):
        if options.utc_offset_hours is None:
            remarks.append(
                "last-write times are in UTC, and so is the curve: give utc_offset_hours"
            )
        else:
            remarks.append(f"last-write times were shifted by {options.utc_offset_hours:+g} h")
    return _curve(str(path), sets, options, f"log files of the folder {Path(path).name}", remarks)


# -- the curve -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _SetCurve:
    name: str
    times: Floats
    cumulative: Floats


def _ends(log_set: LogSet) -> tuple[list[int], list[float], list[int | None]]:
    """Generations, when each was full, and sizes; a log before the oldest stands for its begin."""
    generations, times, sizes = [], [], []
    for log in log_set.logs:
        number = log.name.generation or 0
        if not log_set.starts:
            generations.append(number)
            times.append(log.seconds)
            sizes.append(log.size_bytes)
            continue
        if not generations:
            generations.append(number - 1)
            times.append(log_set.starts[number])
            sizes.append(log.size_bytes)
        elif generations[-1] < number - 1:  # a gap ends when the first log after it was begun
            generations.append(number - 1)
            times.append(log_set.starts[number])
            sizes.append(None)
        end = log_set.starts.get(number + 1)
        if end is not None:
            generations.append(number)
            times.append(end)
            sizes.append(log.size_bytes)
    return generations, times, sizes


def _usual_size(sets: Sequence[LogSet], options: SiteOptions) -> tuple[int, list[str]]:
    """Bytes of a log file, and what to say about it."""
    if options.log_file_bytes is not None:
        return options.log_file_bytes, []
    sizes = Counter(log.size_bytes for each in sets for log in each.logs if log.size_bytes)
    if sizes:
        usual, count = max(sizes.items(), key=lambda item: (item[1], item[0]))
        others = sizes.total() - count
        if others:
            return usual, [
                f"{others:,} logs have another size than {usual:,} bytes: each counts its own"
            ]
        return usual, []
    longest = max(len(log.name.name) for each in sets for log in each.logs)
    size = LOG_FILE_BYTES if longest >= _NEW_NAME_CHARACTERS else OLD_LOG_FILE_BYTES
    return size, [f"no sizes are told: {size:,} bytes a log, by the length of their names [D]"]


def _set_curve(
    log_set: LogSet, usual: int, options: SiteOptions, path: str
) -> tuple[_SetCurve | None, list[str]]:
    """Cumulative bytes of one set; None where there is no interval."""
    generations, times, sizes = _ends(log_set)
    if len(set(times)) < 2:
        if len(times) > 2:
            refuse(
                path,
                f"all {len(times):,} logs of {log_set.name} have one time, {told(times[0])}: they "
                "were copied without their times",
                "List the original folder, or copy with times kept (robocopy /COPY:DAT).",
            )
        return None, [f"{log_set.name}: too few logs to tell a rate; not counted"]
    keep, runs = trusted_times(times)
    dropped = len(times) - len(keep)
    span = times[keep[-1]] - times[keep[0]] if keep else 0.0
    if dropped > options.most_disordered_share * len(times) or span <= 0:
        refuse(
            path,
            f"{log_set.name}: the times of {dropped:,} of {len(times):,} logs contradict the order "
            "of their generations",
            "Copied or restored logs lose their times: list the original folder, or raise "
            "most_disordered_share.",
        )
    remarks = [disorder_remark(log_set.name, runs, dropped)] if dropped else []
    remarks += _gap_remarks(log_set, generations, times, keep, options, path)
    cumulative = cumulative_bytes(generations, [size or usual for size in sizes], usual)[keep]
    return (
        _SetCurve(log_set.name, np.array([times[at] for at in keep]), cumulative - cumulative[0]),
        remarks,
    )


def _gap_remarks(
    log_set: LogSet,
    generations: list[int],
    times: list[float],
    keep: list[int],
    options: SiteOptions,
    path: str,
) -> list[str]:
    found = log_set.logs
    numbers = [log.name.generation or 0 for log in found]
    gaps = gaps_of(numbers, [log.seconds for log in found])
    if not gaps:
        return []
    trusted = [times[at] for at in keep]
    at_number = [generations[at] for at in keep]
    covered = {
        place
        for first, last, *_ in gaps
        for place in range(
            max(0, int(np.searchsorted(at_number, first - 1, "right")) - 1),
            min(len(at_number) - 1, int(np.searchsorted(at_number, last))),
        )
    }
    share = sum(trusted[place + 1] - trusted[place] for place in covered) / (
        trusted[-1] - trusted[0]
    )
    named = "; ".join(
        f"0x{first:X} to 0x{last:X} between {told(begin)} and {told(end)}"
        for first, last, begin, end in gaps[:_MOST_NAMED]
    )
    more = "" if len(gaps) <= _MOST_NAMED else f" and {len(gaps) - _MOST_NAMED:,} more gaps"
    if not options.bridge_gaps or share > options.most_missing_share:
        refuse(
            path,
            f"{log_set.name}: generations are missing, {100 * share:.0f} % of the time: "
            f"{named}{more}",
            "Logs are deleted by backups and circular logging: list the folder shortly before a "
            "backup, or oftener, or accept the gaps (bridge_gaps, most_missing_share).",
        )
    missing = sum(last - first + 1 for first, last, *_ in gaps)
    return [
        f"{log_set.name}: {missing:,} logs are missing, {100 * share:.0f} % of the time; they are "
        f"counted, spread evenly over the gaps: {named}{more}"
    ]


def _chosen(sets: list[LogSet], options: SiteOptions, path: str) -> list[LogSet]:
    if not options.log_sets_taken:
        return sets
    wanted = {name.upper() for name in options.log_sets_taken}
    found = [each for each in sets if each.base in wanted]
    missing = sorted(wanted - {each.base for each in found})
    if missing:
        there = ", ".join(sorted({each.base for each in sets}))
        refuse(path, f"there is no log set {missing[0]}", f"The log sets are {there}.")
    return found


def _curve(
    path: str, sets: list[LogSet], options: SiteOptions, origin: str, remarks: Sequence[str]
) -> ChangeCurve:
    sets = _chosen(sets, options, path)
    usual, notes = _usual_size(sets, options)
    notes = [*remarks, *notes]
    curves = []
    for each in sets:
        curve, said = _set_curve(each, usual, options, path)
        notes += said
        if curve is not None:
            curves.append(curve)
    if not curves:
        refuse(
            path,
            "the logs are too few to tell a rate: two with different times are needed",
            "List the folder after a day or more of work.",
        )
    begin = max(float(each.times[0]) for each in curves)
    end = min(float(each.times[-1]) for each in curves)
    whole = max(float(each.times[-1]) for each in curves) - min(float(e.times[0]) for e in curves)
    if end - begin < (1.0 - options.most_missing_share) * whole:
        spans = "; ".join(
            f"{each.name} {told(each.times[0])} to {told(each.times[-1])}" for each in curves
        )
        refuse(
            path,
            f"the log sets hardly cover the same time: {spans}",
            "Take the sets that do (log_sets_taken), or list all folders at one time.",
        )
    if len(curves) > 1:
        notes.append(
            f"{len(curves)} log sets ({', '.join(each.name for each in curves)}) are added up, "
            f"for the time that all cover: {told(begin)} to {told(end)}"
        )
    grid = grid_over(begin, end, options.step_seconds, path)
    total = np.zeros(grid.steps)
    for one in curves:
        inside = (one.times > begin) & (one.times < end)
        held = np.interp(np.array([begin, end]), one.times, one.cumulative)
        times: Floats = np.concatenate(([begin], one.times[inside], [end]))
        reached: Floats = np.concatenate((held[:1], one.cumulative[inside], held[1:]))
        total += spread(times, reached, grid)
    found = Found(
        path,
        grid,
        log_bytes=total,
        log_file_bytes=usual,
        log_sets=len(curves),
        seen_log_sets=len(sets),  # those that are idle, too
    )
    return curve_of(found, options, origin, notes)
