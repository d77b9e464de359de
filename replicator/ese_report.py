"""What ``replicator ese verify`` says of files of the store: as JSON and in words.

The JSON has the schema ``replicator-ese-verify/1``; docs/store-files.md describes it.  Keys are
only ever added; the number changes when one goes away or changes its meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from replicator.errors import ExitCode
from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.database import Database
from replicator.ese.database_check import Ahead, DatabaseCheck, Progress, check_database
from replicator.ese.database_header import FileType, State, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FlushMap
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.reader import FileReader
from replicator.ese.streaming_file import PAGE_BYTES as STREAM_PAGE_BYTES
from replicator.ese.streaming_file import check_page, check_pair, page_at, stream_places
from replicator.ese.verification import Verdict
from replicator.ese_files import FLUSH_MAP_SUFFIX, identify
from replicator.ese_findings import as_replicator_error, finding_document

VERIFY_SCHEMA: Final = "replicator-ese-verify/1"
DATABASE_SUFFIX: Final = ".edb"
_OF_STATE: Final[dict[State | None, str]] = {
    State.DIRTY_SHUTDOWN: "recover before use",
    State.DIRTY_AND_PATCHED_SHUTDOWN: "recover before use",
    State.INCREMENTAL_RESEED_IN_PROGRESS: "end the reseed first",
}
FINDINGS_MOST: Final = 1000
"""More than so many of one file are only counted."""


@dataclass(frozen=True)
class FileVerdict:
    """What was found about one file.

    Arguments
    ---------
    path: the file.
    type: what it is.
    findings: errors, in the order of the file; at most the first thousand.
    finding_count: how many there are in all.
    check: the pages of a database.
    notes: what is no fault but good to know.
    unchecked: there is nothing that its pages could be held against.
    """

    path: str
    type: FileType
    findings: list[EseError]
    finding_count: int
    check: DatabaseCheck | None = None
    notes: tuple[str, ...] = ()
    unchecked: bool = False

    @property
    def verdict(self) -> str:
        """``sound``, ``mendable``, ``damaged`` or ``nothing to verify``."""
        unchecked = self.unchecked or (self.check is not None and self.check.unchecked)
        if unchecked and not self.finding_count:
            return "nothing to verify"
        if not self.finding_count:
            return "sound"
        if self.check is not None and self.finding_count == self.check.mended:
            return "mendable"
        return "damaged"

    @property
    def exit_code(self) -> ExitCode:
        codes = {"sound": ExitCode.PASS, "nothing to verify": ExitCode.INCONCLUSIVE}
        return codes.get(self.verdict, ExitCode.BROKEN)


def verify_file(
    path: Path, *, contents: bool, progress: Progress, ahead: Ahead = map
) -> FileVerdict:
    """Verify a database with the flush map beside it, a log, a checkpoint, or a flush map.

    Arguments
    ---------
    path: the file.
    contents: also hold the tags and keys of each page against its size.
    progress: called with bytes done and bytes in all.
    ahead: goes through the chunks of a database, several at a time or one by one.

    Raises BadInput for what is no file of the store; damage is in what is returned.
    """
    try:
        with FileReader(path) as reader:
            kind = identify(reader, str(path))
            try:
                if kind is FileType.DATABASE:
                    check = partial(
                        check_database, contents=contents, progress=progress, ahead=ahead
                    )
                    return _verify_database(path, reader, check)
                if kind is FileType.STREAMING_FILE:
                    return _verify_stream(path, reader, progress)
                if kind is FileType.LOG:
                    return _verify_log(path, reader)
                return _verify_small(path, kind, reader)
            except EseError as error:
                error.path = error.path or str(path)
                return FileVerdict(str(path), kind, [error], 1)
    except EseError as error:
        raise as_replicator_error(error) from error


def _beside(path: Path, suffix: str) -> Path:
    """The file of another kind that goes with one, its suffix in the same case."""
    return path.with_suffix(suffix.upper() if path.suffix.isupper() else suffix)


def _verify_database(
    path: Path, reader: FileReader, run: Callable[..., DatabaseCheck]
) -> FileVerdict:
    beside = _beside(path, FLUSH_MAP_SUFFIX)
    notes = []
    flush_map = None
    if beside != path and beside.is_file():
        with FileReader(beside) as map_reader:
            try:
                flush_map = FlushMap(map_reader)
            except EseError as error:
                notes.append(f"the flush map is not used: {error}")
            check = run(reader, flush_map)
    else:
        check = run(reader)
    for damage in check.map_damage:
        notes.append(f"the flush map is not used where it is damaged (event 640): {damage}")
    if check.newer_than_map:
        notes.append(
            "newer than the flush map, which is written behind the pages: "
            f"{check.newer_than_map:,}; whether a write of one was lost, recovery tells"
        )
    if check.foreign_flush_map:
        notes.append("the flush map is not used: it is of another database or state (event 640)")
    if check.unchecked:
        notes.append("a temporary database: its pages carry no checksums")
    if check.has_trailer:
        notes.append("the last page is the trailer of a streaming backup")
    if check.no_catalog is not None:
        notes.append(f"no tree was followed, for the catalog cannot be read: {check.no_catalog}")
    if check.rest_bytes:
        notes.append(f"{check.rest_bytes:,} bytes stand behind the last whole page")
    if not check.header.is_clean:
        advice = _OF_STATE.get(check.header.state, "this file was never finished, restore it")
        notes.append(f"the state is {check.header.state_title}: {advice}")
    return FileVerdict(
        str(path),
        FileType.DATABASE,
        check.findings,
        check.finding_count,
        check,
        tuple(notes),
    )


def _verify_stream(path: Path, reader: FileReader, progress: Progress) -> FileVerdict:
    """A streaming file: its pages are held against the checksums that its database has of them."""
    _, reading = read_database_header(reader)
    findings: list[EseError] = []
    count = 0
    if reading.events:
        detail = "one copy of the header is damaged or differs; the other one counts"
        findings.append(EseError(-1018, detail, path=str(path), events=reading.events))
        count += 1
    beside = _beside(path, DATABASE_SUFFIX)
    notes = []
    unchecked = True
    if not beside.is_file():
        notes.append(f"its pages are not verified: {beside.name} with their checksums is not there")
    else:
        with FileReader(beside) as database_reader:
            database_header, _ = read_database_header(database_reader)
            check_pair(database_header, reader, str(path))
            if database_header.is_clean:
                database = Database(database_reader)
                bad, pages = _check_stream_pages(database, reader, progress, findings)
                count += bad
                notes.append(f"{pages:,} pages that {beside.name} names were read")
                unchecked = False
            else:
                notes.append(
                    f"its pages are not verified: {beside.name} is in state "
                    f"{database_header.state_title}: recover it first"
                )
    return FileVerdict(
        str(path),
        FileType.STREAMING_FILE,
        findings,
        count,
        notes=tuple(notes),
        unchecked=unchecked,
    )


def _check_stream_pages(
    database: Database, reader: FileReader, progress: Progress, findings: list[EseError]
) -> tuple[int, int]:
    """Verify the pages that a database names: how many are bad, and how many there are.

    Arguments
    ---------
    findings: the first errors are added.
    """
    bad = pages = 0
    for _, place in stream_places(database):
        for number, expected in zip(place.pages(), place.checksums, strict=True):
            try:
                page = bytes(reader.read_at(page_at(number), STREAM_PAGE_BYTES))
                check_page(page, number, expected, reader.path)
            except EseError as error:
                bad += 1
                if len(findings) < FINDINGS_MOST:
                    findings.append(error)
            pages += 1
        progress(min(pages * STREAM_PAGE_BYTES, reader.size_bytes), reader.size_bytes)
    return bad, pages


def _verify_log(path: Path, reader: FileReader) -> FileVerdict:
    """All that a log's checksums cover; by its name it is closed or not."""
    name = parse_log_name(path.name)
    log = LogFile(reader, closed=name is not None and name.role is LogRole.CLOSED)
    notes = tuple(note.detail for note in log.notes())
    return FileVerdict(str(path), FileType.LOG, [], 0, None, notes)


def _verify_small(path: Path, kind: FileType, reader: FileReader) -> FileVerdict:
    findings: list[EseError] = []
    if kind is FileType.CHECKPOINT:
        _, reading = read_checkpoint(reader)
        if reading.events:
            detail = "one copy is damaged or differs; the other one counts"
            findings.append(EseError(-533, detail, path=str(path), events=reading.events))
    else:
        flush_map = FlushMap(reader)
        for number in range(flush_map.map_pages):
            try:
                flush_map.page(number)
            except EseError as error:
                findings.append(error)
    return FileVerdict(str(path), kind, findings, len(findings))


def worst(verdicts: list[FileVerdict]) -> ExitCode:
    """How the command ends: BROKEN before INCONCLUSIVE before PASS."""
    codes = {verdict.exit_code for verdict in verdicts}
    for code in (ExitCode.BROKEN, ExitCode.INCONCLUSIVE):
        if code in codes:
            return code
    return ExitCode.PASS


def verify_document(verdicts: list[FileVerdict]) -> dict[str, Any]:
    """The JSON of ``replicator ese verify``."""
    return {
        "schema": VERIFY_SCHEMA,
        "exit_code": int(worst(verdicts)),
        "files": [_file_document(verdict) for verdict in verdicts],
    }


def _file_document(verdict: FileVerdict) -> dict[str, Any]:
    check = verdict.check
    pages = None
    if check is not None:
        pages = {
            "all": check.pages,
            "initialised": check.initialised,
            "verified": check.verified,
            **{each.name.lower(): check.verdicts[each] for each in Verdict},
            "unreadable": check.unreadable,
            "bad_tags": check.bad_tags,
            "lost_flushes": check.lost_flushes,
            "highest_dbtime": check.highest_dbtime,
            "highest_dbtime_page": check.highest_dbtime_pgno,
        }
    return {
        "path": verdict.path,
        "type": verdict.type.name.lower(),
        "verdict": verdict.verdict,
        "pages": pages,
        "notes": list(verdict.notes),
        "finding_count": verdict.finding_count,
        "findings": [finding_document(each) for each in verdict.findings],
    }
