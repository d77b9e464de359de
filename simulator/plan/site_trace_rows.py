"""Rows of I/O traces: the time and length of each write, format by format.

Each reader is a generator over lines and holds one at a time.  Times are seconds from the begin
of the trace, or for formats that know the date, of the clock (:mod:`.site_curve`).

* Exchange 2007 (ETW as CSV): columns by the names between ``BeginHeader`` and ``EndHeader``;
  ``TimeStamp`` of a ``DiskWrite`` is its completion, so ``ElapsedTime`` is taken off; both in
  microseconds, ``IOSize`` in hexadecimal.  Other events are skipped.
* MSR Cambridge: Windows time (100 ns since 1601, UTC) of issue, no header.
* blkparse: queued (Q), issued (D) and completed (C) writes are one and the same; the first kind of
  C, D, Q that the trace has at all counts.
* MQSim: nanoseconds, type 0 is a write, sectors of 512 bytes; DiskSim has fractions of
  milliseconds and the same columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from replicator.errors import BadInput
from simulator.plan.site_curve import EPOCH, plausible
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import read_lines, refuse
from simulator.traces import SECTOR_BYTES, read_writes

ETW_BEGIN: Final = "BeginHeader"
ETW_END: Final = "EndHeader"
VSCSI_COLUMNS: Final = frozenset(("version", "time", "op", "size", "lbn"))
MSR: Final = re.compile(
    r"(\d{15,20}),([^,]{1,64}),(\d{1,6}),([Rr]ead|[Ww]rite),(\d{1,20}),(\d{1,12}),(\d{1,20})"
)
BLKPARSE: Final = re.compile(
    r"\s*(\d+,\d+)\s+\d+\s+\d+\s+(\d{1,12}\.\d{1,12})\s+\d+\s+([A-Z]{1,2})\s+([A-Z]+)\b(.*)"
)
_BLKPARSE_RANGE: Final = re.compile(r"\s+(\d{1,18})\s+\+\s+(\d{1,9})\b")
_BLKPARSE_ACTIONS: Final = ("C", "D", "Q")
_BLKPARSE_SUMMARY: Final = re.compile(r"(CPU\d+|Total) \(")
MQSIM: Final = re.compile(
    r"\s*(\d{1,18}(?:\.\d{1,12})?)\s+(\d{1,6})\s+(\d{1,18})\s+(\d{1,9})\s+(\d{1,2})\s*"
)
_FILETIME_EPOCH_SECONDS: Final = (EPOCH - datetime(1601, 1, 1)).total_seconds()
_MOST_WRITE_BYTES: Final = 1 << 30
_LONGEST_TRACE_SECONDS: Final = 400 * 86_400.0
_HEADER_LINES: Final = 10_000
_REMEDY: Final = (
    "Compare the line with the original trace (the file may have been cut or edited), or leave it "
    "out."
)


class Write(NamedTuple):
    """One write of a trace; a read is one without length, so that its time is not lost.

    Attributes
    ----------
    seconds: when.
    length_bytes: how much.
    kind: of several tellings of one write, which (blkparse); else empty.
    """

    seconds: float
    length_bytes: int
    kind: str = ""


@dataclass
class TraceNotes:
    """What a reader met beside writes.

    Attributes
    ----------
    rows: of the trace, whatever they are.
    skipped: rows of other kinds than reads and writes.
    other_disks: writes to disks that were not asked for.
    """

    rows: int = 0
    skipped: int = 0
    other_disks: int = 0
    skipped_names: dict[str, int] = field(default_factory=dict)

    def skip(self, name: str) -> None:
        """Count a row that is neither read nor write."""
        self.skipped += 1
        if name in self.skipped_names or len(self.skipped_names) < 50:
            self.skipped_names[name] = self.skipped_names.get(name, 0) + 1


Rows = Callable[[str, SiteOptions, TraceNotes], Iterator[Write]]


def vscsi_writes(path: str, options: SiteOptions, notes: TraceNotes) -> Iterator[Write]:
    """CloudPhysics vscsi."""
    size = max(1, Path(path).stat().st_size)
    for write in read_writes(path):
        notes.rows += 1
        if options.progress is not None and notes.rows % 65_536 == 0:
            options.progress(min(size, notes.rows * size // (notes.rows + 1)), size)
        yield Write(write.time_ns / 1e9, write.length_bytes)


def _sized(path: str, line: int, size: int) -> int:
    if size > _MOST_WRITE_BYTES:
        refuse(path, f"a write of {size:,} bytes is larger than any disk takes", _REMEDY, line)
    return size


def _within(path: str, line: int, seconds: float) -> float:
    if not 0 <= seconds <= _LONGEST_TRACE_SECONDS:
        refuse(path, f"the time, {seconds:,.0f} s from the begin, cannot be", _REMEDY, line)
    return seconds


# -- Exchange 2007, ETW ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _EtwColumns:
    fields: int
    time: int
    size: int
    elapsed: int
    disk: int


def _etw_columns(names: Sequence[str], path: str, line: int) -> _EtwColumns:
    wanted = ("timestamp", "iosize", "elapsedtime", "disknum")
    plain = [name.lower() for name in names]
    missing = [name for name in wanted if name not in plain]
    if missing:
        refuse(path, f"the header of DiskWrite lacks the column {missing[0]}", _REMEDY, line)
    return _EtwColumns(len(names), *(plain.index(name) for name in wanted))


def _etw_number(text: str, path: str, line: int, name: str) -> int:
    try:
        value = int(text, 16 if text[:2].lower() == "0x" else 10) if len(text) <= 20 else -1
    except ValueError:
        value = -1
    if value < 0:
        refuse(path, f"{name} is no number: {text[:40]!r}", _REMEDY, line)
    return value


def etw_writes(path: str, options: SiteOptions, notes: TraceNotes) -> Iterator[Write]:
    """Exchange 2007, Microsoft Production Server Traces."""
    columns: _EtwColumns | None = None
    in_header, ended = False, False
    line = 0
    for line, text in read_lines(path, options.progress):
        stripped = text.strip()
        if not ended:
            if stripped == ETW_BEGIN:
                in_header = True
            elif stripped == ETW_END:
                ended = True
            elif in_header and columns is None and stripped.startswith("DiskWrite,"):
                columns = _etw_columns([each.strip() for each in stripped.split(",")], path, line)
            if line > _HEADER_LINES:
                break
            continue
        if not stripped:
            continue
        notes.rows += 1
        event = stripped.split(",", 1)[0].strip()
        if event != "DiskWrite":
            notes.skip(event[:40])
            continue
        if columns is None:
            refuse(path, "the header does not name the columns of DiskWrite", _REMEDY, line)
        # The file's name comes last and may hold commas.
        fields = [each.strip() for each in stripped.split(",", columns.fields - 1)]
        if len(fields) < columns.fields:
            refuse(
                path,
                f"the line has {len(fields)} fields, the header of DiskWrite {columns.fields}",
                _REMEDY,
                line,
            )
        if options.disks and fields[columns.disk] not in options.disks:
            notes.other_disks += 1
            continue
        completed = _etw_number(fields[columns.time], path, line, "TimeStamp")
        elapsed = _etw_number(fields[columns.elapsed], path, line, "ElapsedTime")
        size = _etw_number(fields[columns.size], path, line, "IOSize")
        issued = max(0, completed - elapsed) / 1e6
        yield Write(_within(path, line, issued), _sized(path, line, size))
    if not ended:
        refuse(path, f"there is no line {ETW_END}", _REMEDY, max(1, line))


# -- MSR Cambridge -----------------------------------------------------------------------------


def msr_writes(path: str, options: SiteOptions, notes: TraceNotes) -> Iterator[Write]:
    """MSR Cambridge block traces."""
    first: float | None = None
    for line, text in read_lines(path, options.progress):
        if not text.strip():
            continue
        found = MSR.fullmatch(text.strip())
        if found is None:
            refuse(path, "the line is none of an MSR Cambridge trace", _REMEDY, line)
        notes.rows += 1
        writes = found[4].lower() == "write"
        if options.disks and not {found[3], f"{found[2]}/{found[3]}"} & set(options.disks):
            notes.other_disks += writes
            continue
        seconds = int(found[1]) / 1e7 - _FILETIME_EPOCH_SECONDS + options.utc_offset_seconds
        first = seconds if first is None else first
        if not plausible(seconds) or abs(seconds - first) > _LONGEST_TRACE_SECONDS:
            refuse(path, f"{found[1]} is no time of this trace", _REMEDY, line)
        yield Write(seconds, _sized(path, line, int(found[6])) if writes else 0)


# -- blkparse, MQSim ---------------------------------------------------------------------------


def blkparse_writes(path: str, options: SiteOptions, notes: TraceNotes) -> Iterator[Write]:
    """Text of blkparse; ends where its summary begins."""
    for line, text in read_lines(path, options.progress):
        if not text.strip():
            continue
        found = BLKPARSE.fullmatch(text)
        if found is None:
            if _BLKPARSE_SUMMARY.match(text.strip()):
                return
            refuse(path, "the line is none of blkparse", _REMEDY, line)
        notes.rows += 1
        action, flags = found[3], found[4]
        if action not in _BLKPARSE_ACTIONS:
            notes.skip(action)
            continue
        if "W" not in flags:
            yield Write(_within(path, line, float(found[2])), 0, action)
            continue
        if options.disks and found[1] not in options.disks:
            notes.other_disks += 1
            continue
        sectors = _BLKPARSE_RANGE.match(found[5])
        if sectors is None:  # a flush alone has no sectors
            notes.skip(f"{action} {flags}")
            continue
        size = _sized(path, line, int(sectors[2]) * SECTOR_BYTES)
        yield Write(_within(path, line, float(found[2])), size, action)


def counted_kind(kinds: Sequence[str]) -> str:
    """Of several tellings of each write, the one to count."""
    return next((each for each in _BLKPARSE_ACTIONS if each in kinds), "")


def mqsim_writes(path: str, options: SiteOptions, notes: TraceNotes) -> Iterator[Write]:
    """MQSim, or DiskSim where times have fractions."""
    unit = 0.0
    for line, text in read_lines(path, options.progress):
        if not text.strip():
            continue
        found = MQSIM.fullmatch(text)
        if found is None:
            refuse(path, "the line has not five numbers", _REMEDY, line)
        notes.rows += 1
        unit = unit or (1e-3 if "." in found[1] else 1e-9)
        if ("." in found[1]) != (unit == 1e-3):
            refuse(path, "some times have fractions, some not", _REMEDY, line)
        if int(found[5]) & 1:
            yield Write(_within(path, line, float(found[1]) * unit), 0)
            continue
        if options.disks and found[2] not in options.disks:
            notes.other_disks += 1
            continue
        size = _sized(path, line, int(found[4]) * SECTOR_BYTES)
        yield Write(_within(path, line, float(found[1]) * unit), size)


def guarded(rows: Iterator[Write], path: str) -> Iterator[Write]:
    """The same; an error of the system becomes BadInput."""
    try:
        yield from rows
    except OSError as error:
        raise BadInput(f"the trace cannot be read: {error.strerror}", path=path) from None
