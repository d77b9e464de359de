"""Any file or folder that a site has, recognised by what is in it, as a change curve.

The name of a file says little (``.csv`` is half of them), so the first lines decide.  What is
recognised but cannot be read, as a binary counter log or a workbook, is refused with the way to
export it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from replicator.ese.log_names import LogRole, parse_log_name
from simulator.plan.change import ChangeCurve
from simulator.plan.site_counters import curve_of_counters, is_counter_header
from simulator.plan.site_hours import curve_of_hours
from simulator.plan.site_listings import names_a_log
from simulator.plan.site_logs import curve_of_folder, curve_of_listing
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import decoded_head, is_packed, read_head, refuse
from simulator.plan.site_trace_rows import BLKPARSE, ETW_BEGIN, MQSIM, MSR, VSCSI_COLUMNS
from simulator.plan.site_traces import (
    ETW_FILE,
    FEATURE_COLUMNS,
    curve_of_etw_folder,
    curve_of_features,
    curve_of_trace,
)


class SiteKind(Enum):
    """What a file of a site is."""

    LOG_FOLDER = "folder of log files"
    LOG_LISTING = "listing of log files"
    HOURLY_LOGS = "hourly log statistics"
    COUNTERS = "performance counters"
    FEATURES = "half-hour features of traces"
    VSCSI = "vscsi"
    ETW = "exchange 2007"
    ETW_FOLDER = "folder of Exchange 2007 traces"
    MSR = "msr"
    BLKPARSE = "blkparse"
    MQSIM = "mqsim"


_Reader = Callable[[str | Path, SiteOptions], ChangeCurve]
_READERS: Final[Mapping[SiteKind, _Reader]] = MappingProxyType(
    {
        SiteKind.LOG_FOLDER: curve_of_folder,
        SiteKind.LOG_LISTING: curve_of_listing,
        SiteKind.HOURLY_LOGS: curve_of_hours,
        SiteKind.COUNTERS: curve_of_counters,
        SiteKind.FEATURES: curve_of_features,
        SiteKind.ETW_FOLDER: curve_of_etw_folder,
    }
)
_PLAIN_ONLY: Final = (SiteKind.VSCSI, SiteKind.HOURLY_LOGS)
_FOREIGN: Final = (
    (b"PK\x03\x04", "a workbook or an archive", "Save it as CSV, or unpack it."),
    (b"\xfd7zXZ\x00", "compressed with xz", "Unpack it (xz -d)."),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it (zstd -d)."),
    (b"BZh", "compressed with bzip2", "Unpack it (bzip2 -d)."),
    (b"ElfFile\x00", "a Windows event log", "Give a folder of logs, or a counter log."),
)
_BLG_NAME: Final = ".blg"
_BLG_REMEDY: Final = "Export it: relog LOG.blg -f CSV -o LOG.csv."
_KINDS_REMEDY: Final = (
    "Give a folder of transaction logs or a listing of one, hourly log statistics, performance "
    "counters as CSV, or an I/O trace; docs/site-data.md shows each."
)


def kind_of(path: str | Path) -> SiteKind:
    """What a file or folder is; raises BadInput when it is nothing known."""
    place = Path(path)
    if place.is_dir():
        return _kind_of_folder(place)
    head = read_head(path)
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            refuse(path, f"it is {what}", remedy)
    if not head.strip():
        refuse(path, "the file is empty", _KINDS_REMEDY)
    name = parse_log_name(place.name)
    binary = b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = decoded_head(head)
    if place.suffix.lower() == _BLG_NAME and binary:
        refuse(path, "it is a binary counter log", _BLG_REMEDY)
    if binary and "\0" in text:
        if name is not None and name.role in (LogRole.CLOSED, LogRole.CURRENT):
            refuse(path, "it is one log file", "Give the folder of all logs, or a listing of it.")
        refuse(path, "it is no text", f"{_BLG_REMEDY} {_KINDS_REMEDY}")
    return _kind_of_text(path, text)


def _kind_of_folder(place: Path) -> SiteKind:
    try:
        names = [each.name for each in place.iterdir()]
    except OSError as error:
        refuse(place, f"the folder cannot be read: {error.strerror}", "Check its permissions.")
    for name in names:
        parsed = parse_log_name(name)
        if parsed is not None and parsed.role is LogRole.CLOSED:
            return SiteKind.LOG_FOLDER
    if any(ETW_FILE.fullmatch(name) for name in names):
        return SiteKind.ETW_FOLDER
    refuse(
        place,
        f"none of the {len(names):,} entries of the folder is a closed transaction log",
        "Give the folder that the store writes its logs to (E0000000001.log and so on), or one "
        "file of another kind.",
    )


def _kind_of_text(path: str | Path, text: str) -> SiteKind:
    lines = [line for line in text.splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith("#TYPE")), "")
    columns = {each.strip().strip('"') for each in re.split("[,;\t]", first)}
    if is_counter_header(first):
        return SiteKind.COUNTERS
    if ETW_BEGIN in (line.strip() for line in lines[:5]):
        return SiteKind.ETW
    if {"Hour", "TotalLogsCreated"} <= columns:
        return SiteKind.HOURLY_LOGS
    if columns >= VSCSI_COLUMNS:
        return SiteKind.VSCSI
    if columns >= set(FEATURE_COLUMNS):
        return SiteKind.FEATURES
    for pattern, kind in (
        (MSR, SiteKind.MSR),
        (BLKPARSE, SiteKind.BLKPARSE),
        (MQSIM, SiteKind.MQSIM),
    ):
        if pattern.fullmatch(first.strip() if kind is SiteKind.MSR else first):
            return kind
    if any(names_a_log(line) for line in lines):
        return SiteKind.LOG_LISTING
    refuse(path, f"nothing known begins with {first.strip()[:60]!r}", _KINDS_REMEDY, 1)


def load_site(path: str | Path, options: SiteOptions | None = None) -> ChangeCurve:
    """The change curve of whatever a path holds.

    Raises BadInput, with file and line where there is one, and what to do, for anything that
    cannot be read or has two meanings.
    """
    options = options or SiteOptions()
    kind = kind_of(path)
    if kind in _PLAIN_ONLY and is_packed(path):
        refuse(path, "a packed file of this kind is not read", "Unpack it (gzip -d).")
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(path, options)
    return curve_of_trace(path, kind.value, options)
