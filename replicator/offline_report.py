"""What the offline commands say: the examination of a directory, as JSON and in words.

The JSON of ``verify`` has the schema ``replicator-journal-verify/1``, that of ``inspect``
``replicator-journal-inspect/1``; docs/journal.md describes both.  Keys are only ever added
to a schema; its number changes when one goes away or changes its meaning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from replicator.errors import DamagedLog, ExitCode
from replicator.journal import LogKind
from replicator.offline import LogReading, Progress, read_log
from replicator.offline_place import (
    Finding,
    FindingKind,
    Place,
    SlotPair,
    check_against_state,
    check_staging,
    locate,
    read_slots,
)
from replicator.segments import Position

VERIFY_SCHEMA: Final = "replicator-journal-verify/1"
INSPECT_SCHEMA: Final = "replicator-journal-inspect/1"


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was found out about one directory."""

    place: Place
    readings: list[LogReading]
    states: list[SlotPair]
    findings: list[Finding]

    @property
    def verdict(self) -> str:
        """``broken``, ``nothing to verify``, ``torn tail`` or ``sound``."""
        kinds = {finding.kind for finding in self.findings}
        if any(finding.broken for finding in self.findings):
            return "broken"
        if FindingKind.ELSEWHERE in kinds or not self.readings:
            return "nothing to verify"
        return "torn tail" if FindingKind.TORN in kinds else "sound"

    @property
    def exit_code(self) -> ExitCode:
        if self.verdict == "broken":
            return ExitCode.BROKEN
        elsewhere = any(finding.kind == FindingKind.ELSEWHERE for finding in self.findings)
        return ExitCode.INCONCLUSIVE if elsewhere else ExitCode.PASS

    def state(self, name: str) -> SlotPair | None:
        return next((pair for pair in self.states if pair.name == name), None)


def examine(directory: Path, progress: Progress) -> Examination:
    """Read all of a directory; raises BadInput and ForeignLog."""
    place = locate(directory)
    states = [read_slots(base) for base in place.states]
    findings = [finding for pair in states for finding in pair.findings]
    checkpoint = next((pair for pair in states if pair.name == "checkpoint"), None)
    readings: list[LogReading] = []
    for log in place.logs:
        redo_from, set_id = Position(0, 0), ""
        if checkpoint is not None and log.name == "journal":
            redo_from = Position(checkpoint.number("segment"), checkpoint.number("offset"))
            set_id = str((checkpoint.state or {}).get("set", ""))
        try:
            reading = read_log(log, redo_from, progress, set_id)
        except DamagedLog as damaged:
            findings.append(
                Finding(
                    FindingKind.DAMAGE,
                    damaged.message,
                    damaged.path or str(log),
                    damaged.offset,
                    "none",
                    damaged.remedy,
                )
            )
            continue
        readings.append(reading)
        findings += reading.findings
        if checkpoint is not None and checkpoint.state is not None:
            for epoch, commit in reading.survey.commits.items():
                if epoch > checkpoint.number("epoch"):
                    findings += check_staging(place, commit)[1]
    for pair in states:
        findings += _check_against_state(place, pair, readings, findings)
    if place.set_aside:
        count = len(place.set_aside)
        message = f"an earlier start set {count} damaged segment{'s' * (count > 1)} aside"
        findings.append(
            Finding(
                FindingKind.NOTE,
                message,
                str(place.set_aside[0].parent),
                remedy="Delete them once nobody wants to look into them any more.",
            )
        )
    return Examination(place, readings, states, findings)


def _check_against_state(
    place: Place, pair: SlotPair, readings: list[LogReading], findings: list[Finding]
) -> list[Finding]:
    """What the state says and the log lacks; nothing when the log is known to be damaged."""
    name = "segments" if pair.name == "source" else "journal"
    directory = place.root / name
    if any(f.broken and Path(f.path).is_relative_to(directory) for f in findings):
        return []
    ends: dict[int, int] | None = None
    if directory in place.logs:
        [ends] = [r.ends for r in readings if r.directory == directory]
    elif place.logs:
        return []  # a log that was named alone, and does not bear its usual name
    return check_against_state(place, pair, ends)


# -- JSON ------------------------------------------------------------------------------


def verify_document(found: Examination) -> dict[str, Any]:
    """The JSON of ``replicator journal verify``."""
    return {
        "schema": VERIFY_SCHEMA,
        "directory": str(found.place.directory),
        "verdict": found.verdict,
        "exit_code": int(found.exit_code),
        "logs": [_log_document(reading) for reading in found.readings],
        "state": [_state_document(pair) for pair in found.states],
        "findings": [{**asdict(f), "kind": f.kind.value} for f in found.findings],
    }


def inspect_document(found: Examination) -> dict[str, Any]:
    """The JSON of ``replicator journal inspect``: that of verify, segments and words."""
    document = verify_document(found)
    document["schema"] = INSPECT_SCHEMA
    for log, reading in zip(document["logs"], found.readings, strict=True):
        log["segment_list"] = [
            {
                **asdict(segment),
                "records": dict(segment.records),
                "operations": [
                    {"epoch": epoch, **asdict(held)} for epoch, held in segment.operations.items()
                ],
            }
            for segment in reading.survey.segments
        ]
    document["meaning"] = [line for reading in found.readings for line in explain(found, reading)]
    return document


def _log_document(reading: LogReading) -> dict[str, Any]:
    survey = reading.survey
    return {
        "directory": str(reading.directory),
        "kind": survey.kind.value,
        "set": survey.set_id,
        "segments": len(reading.numbers),
        "bytes": reading.used_bytes,
        "records": sum(sum(segment.records.values()) for segment in survey.segments),
        "operations": [{"epoch": epoch, **asdict(held)} for epoch, held in survey.epochs.items()],
        "last_record": survey.newest[0].sequence if survey.newest is not None else 0,
        "ended": survey.ended,
    }


def _state_document(pair: SlotPair) -> dict[str, Any]:
    state = dict(pair.state) if pair.state is not None else None
    if state is not None and "catalogue" in state:
        state["names"] = count_names(state.pop("catalogue"))
    return {"name": pair.name, "copies": [asdict(copy) for copy in pair.copies], "state": state}


def count_names(catalogue: Any) -> int:
    """How many names a checkpoint holds."""
    entries = catalogue.get("entries") if isinstance(catalogue, dict) else None
    return len(entries) if isinstance(entries, list) else 0


# -- words -----------------------------------------------------------------------------


def wall_time(time_ns: int | None) -> str:
    """A wall clock's time as people write it; UTC, to the millisecond."""
    if not time_ns:
        return ""
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}"


def describe_state(pair: SlotPair) -> str:
    """Which copy of a state counts, and what it says, in one line."""
    newest = next((copy for copy in pair.copies if copy.newest), None)
    if newest is None or pair.state is None:
        return f"{pair.name}: no valid copy"
    others = ", ".join(
        f"{Path(copy.path).name} {copy.problem or f'is older (write {copy.generation:,})'}"
        for copy in pair.copies
        if copy is not newest
    )
    line = f"{pair.name}: {Path(newest.path).name} is the newest (write {newest.generation:,})"
    state = pair.state
    if pair.name == "source":
        content = f"epoch {state.get('epoch')}, boot {state.get('boot_id')}"
    else:
        content = (
            f"epoch {state.get('epoch')}, operation {pair.number('operation'):,} as of "
            f"{wall_time(pair.number('as_of_ns')) or 'unknown'}, redo from segment "
            f"{state.get('segment')}, {count_names(state.get('catalogue')):,} names"
        )
        content += ", TAKEN OVER (promoted)" if state.get("promoted") else ""
        content += f", in doubt: {state.get('damage')}" if state.get("damage") else ""
    return f"{line}; {others}. It says: {content}."


def explain(found: Examination, reading: LogReading) -> list[str]:
    """What the records of a log mean for the next start."""
    survey = reading.survey
    if survey.newest is None:
        return ["The log holds no record of the history."]
    epoch, number = survey.newest_operation
    record, position = survey.newest
    lines = [
        f"The newest record is number {record.sequence:,}, at byte {position.offset:,} of segment "
        f"{position.segment}."
    ]
    if number:
        captured = wall_time(survey.newest_captured_ns)
        lines.append(f"The newest operation is {number:,} of epoch {epoch}, captured {captured}.")
    if survey.kind == LogKind.SPOOL:
        return lines + _explain_spool(found, reading)
    return lines + _explain_journal(found, reading)


def _explain_spool(found: Examination, reading: LogReading) -> list[str]:
    epoch, number = reading.survey.newest_operation
    source = found.state("source")
    known = source.number("epoch") if source is not None else 0
    if any(f.broken and Path(f.path).is_relative_to(reading.directory) for f in found.findings):
        return [
            "The spool is damaged: the next start begins a new epoch and synchronizes the replica."
        ]
    if reading.survey.ended:
        return [
            "The spool was full and capture had stopped there: the next start begins a new "
            "epoch and synchronizes the replica."
        ]
    if known and epoch and known != epoch:
        return [
            f"The source has begun epoch {known} since: this history is not continued, the next "
            "start begins a new epoch and synchronizes the replica."
        ]
    if not number:
        return []
    return [
        f"A start of the source in the same boot of the machine would carry out operation "
        f"{number:,} once more (nobody knows whether it reached its file) and go on with "
        f"{number + 1:,}; after a restart of the machine it would begin a new epoch."
    ]


def _explain_journal(found: Examination, reading: LogReading) -> list[str]:
    survey = reading.survey
    checkpoint = found.state("checkpoint")
    if checkpoint is None or checkpoint.state is None:
        return [
            "There is no checkpoint beside it, so nobody can say here from where recovery would "
            "redo; name the replica's root to include it."
        ]
    epoch, operation = checkpoint.number("epoch"), checkpoint.number("operation")
    lines: list[str] = []
    pending = max((e for e in survey.commits if e > epoch), default=0)
    if pending:
        lines.append(
            f"A resynchronization to epoch {pending} is committed: recovery would finish it and "
            "take its staged blocks as the image."
        )
        epoch, operation = pending, 0
    held = survey.epochs.get(epoch)
    last = held.last if held is not None else 0
    segment = checkpoint.number("segment")
    if last > operation:
        lines.append(
            f"Recovery would redo from operation {operation + 1:,} on ({last - operation:,} "
            f"operations, found from segment {segment} on) and end at operation {last:,} of "
            f"epoch {epoch}."
        )
    else:
        lines.append(
            f"Recovery would redo nothing: the image is at operation {operation:,} of epoch "
            f"{epoch}, all of it in the checkpoint."
        )
    for other, range_ in survey.epochs.items():
        if other > epoch:
            lines.append(
                f"{range_.count:,} operations of epoch {other} belong to a synchronization that "
                "is not committed: recovery would leave them out, and the source sends them again."
            )
    return lines
