"""The log files of a folder, set by set, with what their headers tell.

A set is the logs of one base name (``E00``) in one folder.  Its logs have consecutive generations,
and one signature: another one means that the logs were begun anew, and generations of the two
histories cannot be counted across.

A header's creation time is preferred to the time of the last write where every header of a set is
whole, because it survives copying; one kind of time for a set, since the two need not agree.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.log_header import LogHeader, read_log_header
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.reader import FileReader
from simulator.plan.site_curve import plausible, seconds_of, told
from simulator.plan.site_listings import MOST_LOGS, StampedLog
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import refuse

_PROGRESS_LOGS: Final = 1_000


@dataclass(slots=True)
class LogSet:
    """The logs of one base name in one folder, oldest generation first.

    Attributes
    ----------
    starts: time at which a log was begun, where headers told: generation to seconds.
    """

    name: str
    base: str
    logs: list[StampedLog] = field(default_factory=list)
    starts: dict[int, float] = field(default_factory=dict)


def logs_in(path: str | Path, options: SiteOptions) -> tuple[list[StampedLog], dict[str, str]]:
    """Closed logs of a folder, and the file name of the log underway of each base."""
    logs, current = [], {}
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = parse_log_name(entry.name)
                if name is None or not entry.is_file():
                    continue
                if name.role is LogRole.CURRENT and name.base is not None:
                    current[name.base] = entry.name
                if name.role is LogRole.CLOSED:
                    info = entry.stat()
                    seconds = info.st_mtime + options.utc_offset_seconds
                    if not plausible(seconds):
                        refuse(
                            entry.path,
                            "the time of its last write cannot be that of a log",
                            "Copy the logs with their times, or give a listing of the original.",
                        )
                    logs.append(StampedLog("", name, seconds, info.st_size or None))
    except OSError as error:
        refuse(path, f"the folder cannot be read: {error.strerror}", "Check its permissions.")
    if not logs:
        refuse(
            path,
            "the folder holds no closed transaction log (as E0000000001.log)",
            "Give the folder that the store writes its logs to, or a listing of it.",
        )
    if len(logs) > MOST_LOGS:
        refuse(path, f"the folder has more than {MOST_LOGS:,} logs", "Give a listing of a part.")
    return logs, current


def sets_of(logs: Sequence[StampedLog], path: str) -> list[LogSet]:
    """Logs by folder and base name; raises BadInput for one generation with two times."""
    sets: dict[tuple[str, str], dict[int, StampedLog]] = {}
    for log in logs:
        base, generation = log.name.base or "", log.name.generation or 0
        known = sets.setdefault((log.folder.lower(), base), {})
        other = known.setdefault(generation, log)
        if other.seconds != log.seconds:
            refuse(
                path,
                f"{log.name.name} is listed twice, with times {told(other.seconds)} and "
                f"{told(log.seconds)}",
                "List each log set once; logs of two servers go in two listings.",
                log.line,
            )
    several = len({folder for folder, _ in sets}) > 1
    return [
        LogSet(
            f"{base} in {next(iter(known.values())).folder}" if several else base,
            base,
            [known[generation] for generation in sorted(known)],
        )
        for (_, base), known in sorted(sets.items())
    ]


# -- headers ---------------------------------------------------------------------------------


def _header(path: Path) -> LogHeader | None:
    try:
        with FileReader(path) as reader:
            return read_log_header(reader)
    except EseError:
        return None


def read_headers(
    folder: Path, log_set: LogSet, current: str | None, options: SiteOptions
) -> list[str]:
    """Fill ``starts`` where every header of the set is whole; say so where not."""
    starts: dict[int, float] = {}
    unread = 0
    signatures: dict[bytes, str] = {}
    names = [(log.name.name, log.name.generation) for log in log_set.logs]
    if current is not None:
        names.append((current, None))
    in_utc = 0
    for count, (name, generation) in enumerate(names):
        if options.progress is not None and count % _PROGRESS_LOGS == 0:
            options.progress(count, len(names))
        header = _header(folder / name)
        moment = None if header is None else header.created.moment
        if header is None or moment is None or generation not in (None, header.generation):
            unread += generation is not None
            continue
        signatures.setdefault(header.log_signature.encode(), name)
        shift = 0.0
        if moment.tzinfo is not None:
            in_utc += 1
            shift, moment = options.utc_offset_seconds, moment.replace(tzinfo=None)
        seconds = seconds_of(moment) + shift
        if not plausible(seconds):
            unread += 1
            continue
        starts[header.generation] = seconds
    if len(signatures) > 1:
        first, other = list(signatures.values())[:2]
        refuse(
            folder,
            f"{first} and {other} belong to two histories (their log signatures differ)",
            "Move the logs of the older history to a folder of their own and give one of both.",
        )
    if unread or not starts:
        return [
            f"{log_set.name}: {unread:,} of {len(log_set.logs):,} headers could not be read, so "
            "last-write times were taken"
        ]
    log_set.starts = starts
    if in_utc and options.utc_offset_hours is None:
        return [f"{log_set.name}: creation times from headers, in UTC: give utc_offset_hours"]
    return [f"{log_set.name}: creation times from headers"]
