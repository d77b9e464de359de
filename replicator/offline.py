"""Reading a spool or journal while no replicator runs: what is there, and is it whole?

Nothing here decides anew what is valid.  :func:`read_log` runs the recovery of
:class:`~replicator.journal.SegmentedLog` over a volume that cannot be written
(:mod:`replicator.readonly`), so the answer *is* what a start would find, and a
:class:`~replicator.offline_survey.Survey` looks at each record on the way.

Memory: one segment at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from replicator.errors import BadInput, DamagedLog, ForeignLog
from replicator.journal import SegmentedLog
from replicator.offline_place import WHAT_TO_NAME, Finding, FindingKind
from replicator.offline_survey import Survey
from replicator.readonly import ReadOnlyVolume, run_to_end
from replicator.records import InvalidRecord, Record, RecordType, decode, find_valid
from replicator.segments import (
    RECORD_TYPES,
    Damage,
    LogKind,
    Position,
    read_segment_header,
    segment_name,
    segment_numbers,
)

Progress = Callable[[int, int], None]
"""Called with (bytes read, bytes in all)."""
Visit = Callable[[Record, Position], None]

_UNLIMITED_BYTES: Final = 1 << 60


def _open_header(volume: ReadOnlyVolume, directory: str) -> tuple[LogKind, str] | None:
    """Kind and set by the first segment header that can be read; None when there is none.

    Raises ForeignLog when it is of another release.
    """
    foreign: ForeignLog | None = None
    for number in segment_numbers(volume, directory):
        path = f"{directory}/{segment_name(number)}"
        file = volume.open(path)
        data = run_to_end(file.read_at(0, file.size_bytes))
        for kind in LogKind:
            try:
                record = read_segment_header(data, path, kind, None)
            except InvalidRecord:
                break
            except ForeignLog as error:
                foreign = error
                continue
            return kind, str(json.loads(record.payload).get("set", ""))
    if foreign is not None:
        raise foreign
    return None


@dataclass(frozen=True, slots=True)
class LogReading:
    """What was found in one log."""

    directory: Path
    survey: Survey
    findings: list[Finding]
    numbers: list[int]
    redo_from: Position
    """Where the checkpoint says that redo begins; zeros when nothing says so."""
    ends: dict[int, int] = field(default_factory=dict)
    """By number of the segment: where what a start takes over ends, in bytes."""

    @property
    def operations(self) -> int:
        return sum(held.count for held in self.survey.epochs.values())

    @property
    def used_bytes(self) -> int:
        return sum(segment.used_bytes for segment in self.survey.segments)


def read_log(
    directory: Path, redo_from: Position, progress: Progress, set_id: str = ""
) -> LogReading:
    """Check a whole log as a start would, and look at each of its records.

    Arguments
    ---------
    redo_from: from the checkpoint; segments below it were on their way out.
    set_id: of the checkpoint; "" when there is none.  A journal whose only header is in front of
        that place, and has rotted, is that set's.

    Raises ForeignLog, BadInput and DamagedLog.
    """
    volume = ReadOnlyVolume()
    opened = _open_header(volume, str(directory))
    if opened is None and set_id and redo_from.offset:
        opened = LogKind.JOURNAL, set_id
    numbers = segment_numbers(volume, str(directory))
    if opened is None:
        return _headless(volume, directory, numbers, redo_from.segment)
    survey = Survey(str(directory), *opened)
    found, ends = walk(directory, opened, redo_from, survey.visit, progress, survey.last_good)
    sizes = {n: volume.open(f"{directory}/{segment_name(n)}").size_bytes for n in numbers}
    for segment in survey.segments:
        segment.file_bytes = sizes[segment.number]
    return LogReading(directory, survey, survey.findings + found, numbers, redo_from, ends)


def _headless(
    volume: ReadOnlyVolume, directory: Path, numbers: list[int], first_segment: int
) -> LogReading:
    """No segment opens as one should: a log that was never begun, or one that is gone."""
    empty = True
    for number in numbers:
        path = f"{directory}/{segment_name(number)}"
        file = volume.open(path)
        data = run_to_end(file.read_at(0, file.size_bytes))
        empty = empty and not data.strip(b"\0")
        if find_valid(data, 0) is not None:
            raise DamagedLog("no segment has a valid header", path=path, offset=0)
    if not empty:
        raise BadInput(
            "no valid record in any segment: this is no log, or all of it was overwritten",
            path=str(directory),
            remedy=WHAT_TO_NAME,
        )
    path = f"{directory}/{segment_name(numbers[0])}"
    if len(numbers) > 1 or first_segment:
        # A second segment is begun when the first is full, and a checkpoint names a segment
        # that it has read: this log had records.
        raise DamagedLog("all that the log held was overwritten with zeros", path=path, offset=0)
    torn = Finding(FindingKind.TORN, "the log was never begun", path, 0, "none", _TORN_REMEDY)
    survey = Survey(str(directory), LogKind.JOURNAL, "")
    return LogReading(directory, survey, [torn], numbers, Position(0, 0))


def walk(
    directory: Path,
    opened: tuple[LogKind, str],
    redo_from: Position,
    visit: Visit,
    progress: Progress,
    last_good: Callable[[], str],
) -> tuple[list[Finding], dict[int, int]]:
    """Let recovery walk over a log: what it would have done, and where each segment ends for it."""
    total_bytes = sum(
        (directory / segment_name(n)).stat().st_size
        for n in segment_numbers(ReadOnlyVolume(), str(directory))
    )
    read_bytes = 0

    def opening(_path: str, size_bytes: int) -> None:
        nonlocal read_bytes
        progress(min(read_bytes, total_bytes), total_bytes)
        read_bytes += size_bytes

    volume = ReadOnlyVolume(opening)
    kind, set_id = opened
    log = SegmentedLog(volume, str(directory), kind, set_id, 1 << 20, _UNLIMITED_BYTES)
    damage = run_to_end(log.recover(visit, redo_from.segment, redo_offset=redo_from.offset))
    passed = _passed_over(log.passed_over)
    ends = {segment.number: segment.end for segment in log.segments}
    if damage is not None:
        why = "in a log that has rotted before it, too"
        if log.passed_over is None:
            why = "and records behind it say that it had been promised"
        behind = _behind(directory, kind, damage.path, damage.offset)
        finding = Finding(
            FindingKind.DAMAGE,
            f"{damage.reason}, {why}",
            damage.path,
            damage.offset,
            last_good(),
            _DAMAGE_REMEDY[kind],
        )
        return [*passed, finding, *behind], ends
    lost = [e for e in volume.erasures if int(Path(e.path).stem) >= redo_from.segment]
    torn = _torn(directory, lost[-1].path, lost[-1].offset, last_good()) if lost else []
    return [*passed, *torn], ends


def _passed_over(damage: Damage | None) -> list[Finding]:
    """What does not fit and is not needed any more."""
    if damage is None:
        return []
    message = f"{damage.reason}; the checkpoint includes it, and the next start passes over it"
    return [Finding(FindingKind.NOTE, message, damage.path, damage.offset)]


_DAMAGE_REMEDY: Final = {
    LogKind.JOURNAL: "Keep the directory as it is and start the replica: it sets the damaged "
    "segments aside and asks the source for what is missing, or synchronizes.",
    LogKind.SPOOL: "Keep the directory as it is and start the source: it begins a new epoch "
    "and synchronizes the replica.",
}
_TORN_REMEDY: Final = "Nothing: the next start erases it. None of it had been promised."


def _torn(directory: Path, path: str, offset: int, last_good: str) -> list[Finding]:
    """The torn tail that recovery would erase; nothing when it is only unused space."""
    volume = ReadOnlyVolume()
    file = volume.open(path)
    data = run_to_end(file.read_at(0, file.size_bytes))
    later = [n for n in segment_numbers(volume, str(directory)) if n > int(Path(path).stem)]
    if offset and not later and not data[offset:].strip(b"\0"):
        return []
    try:
        decode(data, offset)
        reason = "the record does not follow the one before"
    except InvalidRecord as invalid:
        reason = invalid.reason
    size = len(data) - offset
    tail = f"{size:,} bytes" + (f" and {len(later)} segments" if later else "")
    message = f"{reason}; nothing behind it was ever promised ({tail})"
    return [Finding(FindingKind.TORN, message, path, offset, last_good, _TORN_REMEDY)]


def _behind(directory: Path, kind: LogKind, path: str, offset: int) -> list[Finding]:
    """What still stands behind a damaged place, and what else is damaged there.

    A batch that was not compressed holds whole records of the source: where the batch
    itself is damaged they are found, and are not counted.
    """
    findings: list[Finding] = []
    volume = ReadOnlyVolume()
    bad_number, valid, first, last = int(Path(path).stem), 0, 0, 0
    for number in segment_numbers(volume, str(directory)):
        if number < bad_number:
            continue
        name = f"{directory}/{segment_name(number)}"
        file = volume.open(name)
        data = run_to_end(file.read_at(0, file.size_bytes))
        at = expected = offset + 1 if number == bad_number else 0
        while (found := find_valid(data, at)) is not None:
            record, start = found
            if record.type < RecordType.SEGMENT and record.type not in RECORD_TYPES[kind]:
                at = start + record.size_bytes
                continue
            if start != expected and not (number == bad_number and expected == offset + 1):
                message = f"{start - expected:,} bytes are no valid record"
                findings.append(Finding(FindingKind.DAMAGE, message, name, expected))
            at = expected = start + record.size_bytes
            if record.type < RecordType.SEGMENT:
                valid, first, last = valid + 1, first or record.sequence, record.sequence
    message = (
        f"{valid:,} records behind the damage are valid, {first:,} to {last:,}"
        if valid
        else "no record behind the damage holds anything"
    )
    return [*findings, Finding(FindingKind.NOTE, message, path, offset)]
