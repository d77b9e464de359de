"""Log and database out of step: the engine's number for it, in soft and in hard recovery.

One table, for logs of both versions.  ``docs/store-recovery.md`` has the same one, for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from replicator.ese.backup_trailer import BackupTrailer
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.errors import ERRORS, EseError
from replicator.ese.header_copies import sealed
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import LogHeader
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.log_page_records import NO_DBTIME
from replicator.ese.log_segments import SegmentScan
from replicator.ese.log_v7 import SectorScan
from replicator.ese.log_v7_checksum import fill_pattern
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.page_touches import touches
from replicator.ese.reader import BytesReader
from replicator.ese.values import BackupInfo, LogPosition, Signature
from tests.ese.logs import with_header
from tests.ese.streaming_backup import BACKUP, NAME, content, header_in, put, remove
from tests.ese.test_restore import VERSIONS, backup, recovered, restored
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import DIRECTORY, PAGE_BYTES

MANUAL = (Path(__file__).resolve().parents[2] / "docs/store-recovery.md").read_text("utf-8")
OTHER = Signature(77)
ANOTHER_TIME = log_time_at(5 * 10**17)


@dataclass
class Files:
    """The set that is recovered: a crashed store, or a backup's."""

    medium: Medium
    directory: str

    @property
    def database(self) -> str:
        return f"{self.directory}/{NAME}"

    @property
    def header(self) -> DatabaseHeader:
        return header_in(content(self.medium, self.database))

    def log(self, place: int, directory: str | None = None) -> str:
        """The path of a log by its place, the current one is the last."""
        where = f"{directory or self.directory}/"
        found = []
        for path in self.medium.digest(where):
            name = parse_log_name(path.removeprefix(where))
            if name and name.role in (LogRole.CLOSED, LogRole.CURRENT):
                found.append((name.generation or 1 << 30, path))
        return sorted(found)[place][1]

    def generation(self, path: str) -> int:
        return LogHeader.decode(content(self.medium, path)[:4096]).generation

    def of(self, generation: int, directory: str | None = None) -> str:
        """The path of a generation."""
        place = 0
        while self.generation(path := self.log(place, directory)) != generation:
            place += 1
        return path

    def drop(self, path: str) -> None:
        remove(self.medium, path)
        if parse_log_name(path.rpartition("/")[2]).role is LogRole.CURRENT:  # type: ignore[union-attr]
            temporary = path.replace("E00.log", "E00tmp.log")
            if self.medium.names.get(temporary):
                remove(self.medium, temporary)  # else it looks like a crash between two names

    def change_log(self, path: str, **changes: object) -> None:
        put(self.medium, path, with_header(content(self.medium, path), **changes))

    def change(self, path: str, at: int, data: bytes) -> None:
        old = content(self.medium, path)
        put(self.medium, path, old[:at] + data + old[at + len(data) :])

    def change_header(self, **changes: object) -> None:
        header: DatabaseHeader = replace(self.header, **changes)  # type: ignore[arg-type]
        self.change(self.database, 0, sealed(header.encode(), PAGE_BYTES) * 2)

    def change_trailer(self, **changes: object) -> None:
        data = content(self.medium, self.database)
        trailer = replace(BackupTrailer.decode(data[-PAGE_BYTES:]), **changes)  # type: ignore[arg-type]
        self.change(self.database, len(data) - PAGE_BYTES, sealed(trailer.encode(), PAGE_BYTES))

    def touched(self) -> Iterator[tuple[int, int, int, int]]:
        """Page, its dbtime in the file, and the dbtimes before and after: of each logged change."""
        generation = self.generation(first_needed(self))
        pages = content(self.medium, self.database)
        last = self.generation(self.log(-1))
        for each in range(generation, last + 1):
            data = content(self.medium, self.of(each))
            for record in LogFile(BytesReader(data), closed=False).records():
                made = record.content
                for touch in touches(made):
                    at = page_offset(touch.pgno, PAGE_BYTES) + 8
                    now = int.from_bytes(pages[at : at + 8], "little")
                    yield touch.pgno, now, touch.before, getattr(made, "dbtime", 0)

    def set_dbtime(self, pgno: int, dbtime: int) -> None:
        pages = content(self.medium, self.database)
        at = page_offset(pgno, PAGE_BYTES)
        page = PageEditor.load(pages[at : at + PAGE_BYTES], pgno)
        page.dbtime = dbtime
        self.change(self.database, at, page.sealed_bytes())


def with_a_foreign_change(files: Files) -> None:
    """A page that the logs still have to change has one more that is not in them."""
    pgno, now = next(
        (pgno, now)
        for pgno, now, before, after in files.touched()
        if now == before > 0 and after > now + 1
    )
    files.set_dbtime(pgno, now + 1)


def with_a_lost_write(files: Files) -> None:
    """A page is older than the first change of it that the logs have: a write never arrived."""
    first: dict[int, tuple[int, int]] = {}
    for pgno, now, before, _after in files.touched():
        first.setdefault(pgno, (now, before))
    pgno, before = next(
        (pgno, before)
        for pgno, (now, before) in first.items()
        if 1 < before < NO_DBTIME and now >= before
    )
    files.set_dbtime(pgno, before - 1)


def corrupt(files: Files, path: str) -> None:
    """Junk at the first record behind the header, with data behind it."""
    files.change(path, 4096 + 60, Random(3).randbytes(64))


def tear(files: Files, path: str) -> None:
    """The end of a log's data as a write leaves it that a power loss has cut off."""
    data = content(files.medium, path)
    scan = LogFile(BytesReader(data), closed=False).scan
    if isinstance(scan, SegmentScan):
        # Both its places, or the shadow would stand for it.
        files.change(path, scan.last * 4096 + 60, Random(4).randbytes(64))
        if (scan.last + 2) * 4096 <= len(data):
            files.change(path, (scan.last + 1) * 4096 + 60, Random(4).randbytes(64))
        return
    assert isinstance(scan, SectorScan)
    assert scan.last is not None
    start = scan.last.start - scan.last.start % 512
    files.change(path, start, fill_pattern(start, len(data) - start))


Change = Callable[[Files], None]


@dataclass(frozen=True)
class Case:
    """One row.

    Arguments
    ---------
    situation: as the manual has it.
    change: what is done to the set.
    soft, hard: the engine's number; 0 when it is recovered, None when it does not arise.
    options: what is asked for, beside the set.
    versions: of the logs.
    """

    situation: str
    change: Change
    soft: int | None
    hard: int | None
    options: dict[str, Any] = field(default_factory=dict)
    versions: tuple[int, ...] = (7, 8)


def committed_only(files: Files) -> None:
    """The last log is committed and not required, and it is gone."""
    header = files.header
    files.change_header(
        last_required_generation=header.last_required_generation - 1,
        first_required_generation=min(
            header.first_required_generation, header.last_required_generation - 1
        ),
        first_consistent_generation=0,
    )
    files.drop(files.log(-1))


def first_needed(files: Files) -> str:
    """The first log that must be there: by the header, or by the mark of the backup."""
    header = files.header
    mark = header.current_full_backup
    return files.of(mark.first_generation or header.first_required_generation)


def middle(files: Files) -> str:
    """A closed log that is needed and is not the first one of all."""
    return files.of(files.generation(first_needed(files)) + 1)


def wrong_name(files: Files) -> None:
    path = middle(files)
    data = content(files.medium, path)
    files.drop(path)
    put(files.medium, re.sub(r"[0-9A-F](?=\.log)", "F", path), data)


def older_database(files: Files) -> None:
    """Logs that were truncated behind the database: all up to its first one are gone."""
    files.drop(first_needed(files))
    while files.generation(files.log(0)) < files.header.first_required_generation:
        files.drop(files.log(0))


STORE: dict[str, Any] = {"store_logs": DIRECTORY}


def store_log(files: Files, place: int = 1) -> str:
    """A closed log of the store behind the backup's last one."""
    last = files.generation(files.log(-1))
    return files.of(last + place, DIRECTORY)


CASES = (
    Case("nothing is wrong", lambda files: None, 0, 0),
    Case("the last log ends in a torn write", lambda files: tear(files, files.log(-1)), 0, -570),
    Case("a log in the middle ends in a torn write", lambda f: tear(f, middle(f)), -501, -570),
    Case("a log in the middle is damaged", lambda f: corrupt(f, middle(f)), -501, -573),
    Case("a generation in the middle is missing", lambda f: f.drop(middle(f)), -528, -557),
    Case("the first required generation is missing", older_database, -543, -554),
    Case("the last required generation is missing", lambda f: f.drop(f.log(-1)), -543, -553),
    Case("the last log was committed, is not required, and is missing", committed_only, -582, None),
    Case(
        "a log is of another log set",
        lambda f: f.change_log(middle(f), log_signature=OTHER),
        -530,
        -555,
    ),
    Case(
        "a log goes on from another one",
        lambda f: f.change_log(middle(f), previous_created=ANOTHER_TIME),
        -515,
        -556,
    ),
    Case(
        "the log before has another content",
        lambda f: f.change_log(middle(f), previous_accumulated_checksum=1),
        -590,
        -556,
        versions=(8,),
    ),
    Case("a log has another generation than its name", wrong_name, -513, -513),
    Case(
        "the database belongs to another log set",
        lambda f: f.change_header(log_signature=OTHER),
        -539,
        -552,
        {"databases": True},
    ),
    Case(
        "the logs name another database",
        lambda f: f.change_header(database_signature=OTHER),
        -1216,
        -552,
    ),
    Case(
        "the database is a copy of a streaming backup",
        lambda f: f.change_header(current_full_backup=BackupInfo(LogPosition(1, 2, 3))),
        -544,
        None,
    ),
    Case(
        "the database is in a snapshot set",
        lambda f: f.change_header(current_snapshot_backup=BackupInfo(LogPosition(1, 2, 3))),
        -581,
        None,
    ),
    Case(
        "the database is no copy of a streaming backup",
        lambda f: f.change_header(current_full_backup=BackupInfo()),
        None,
        -615,
    ),
    Case(
        "the copy has no trailer",
        lambda f: put(f.medium, f.database, content(f.medium, f.database)[:-PAGE_BYTES]),
        None,
        -534,
    ),
    Case(
        "the trailer is damaged",
        lambda f: f.change(f.database, len(content(f.medium, f.database)) - 50, b"?"),
        None,
        -535,
    ),
    Case(
        "the trailer is of another backup",
        lambda f: f.change_trailer(backup=BackupInfo(LogPosition(1, 2, 3))),
        None,
        -552,
    ),
    Case(
        "the database was shut down elsewhere than the logs go on from",
        lambda f: f.change_header(
            state_number=State.CLEAN_SHUTDOWN,
            attach_position=LogPosition(),
            consistent_position=LogPosition(1, 1, 8),
            first_required_generation=0,
            first_consistent_generation=0,
            last_required_generation=0,
            last_committed_generation=0,
        ),
        -551,
        None,
    ),
    Case("a page has a change that is not logged", with_a_foreign_change, -567, -567),
    Case("a page misses a change: a write was lost", with_a_lost_write, -566, -566),
    Case(
        "a generation of the store's logs is missing",
        lambda f: f.drop(store_log(f)),
        None,
        -565,
        STORE,
    ),
    Case(
        "the store's current log is missing",
        lambda f: f.drop(f.log(-1, DIRECTORY)),
        None,
        -565,
        STORE,
    ),
    Case(
        "a closed log of the store ends in a torn write",
        lambda f: tear(f, store_log(f)),
        None,
        -571,
        STORE,
    ),
    Case("a log of the store is damaged", lambda f: corrupt(f, store_log(f)), None, -574, STORE),
    Case(
        "the store's logs are of another history",
        lambda f: f.change_log(store_log(f), previous_created=ANOTHER_TIME),
        None,
        -556,
        STORE,
    ),
    Case(
        "the store's current log ends in a torn write",
        lambda f: tear(f, f.log(-1, DIRECTORY)),
        None,
        0,
        STORE,
    ),
)
MODES = ("soft", "hard")
BY_MODE = [
    pytest.param(case, hard, version, id=f"{MODES[hard]}, {version}: {case.situation}")
    for case in CASES
    for hard in (False, True)
    for version in case.versions
    if (case.hard if hard else case.soft) is not None
]


@pytest.mark.parametrize(("case", "hard", "version"), BY_MODE)
def test_the_number_for_it(case: Case, hard: bool, version: int) -> None:
    files = Files(backup(version), BACKUP if hard else DIRECTORY)
    case.change(files)
    before = files.medium.digest("/")
    options = dict(case.options)
    if options.pop("databases", False):
        options["databases"] = (files.database,)
    if hard:
        run = restored(files.medium, **options)
    else:
        run = recovered(files.medium, log_directory=DIRECTORY, **options)
    expected = case.hard if hard else case.soft
    if expected == 0:
        assert run.result is not None, (run.errors, run.error)
        assert [each.state for each in run.result.databases] == ["CleanShutdown"]
        return
    assert run.result is None
    told = [*run.numbers, *([run.error.number] if isinstance(run.error, EseError) else [])]
    assert expected in told, (run.errors, run.error)
    if run.errors:
        assert files.medium.digest("/") == before  # found out before anything was changed


def test_the_manual_has_the_same_table() -> None:
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in MANUAL.splitlines()]
    rows = {cells[0]: cells[1:] for cells in table if len(cells) == 4}
    for case in CASES:
        assert case.situation in rows, case.situation
        soft, hard, _what_to_do = rows[case.situation]
        for number, shown in ((case.soft, soft), (case.hard, hard)):
            if number is None:
                assert shown == "", case.situation
            elif number == 0:
                assert shown == "recovered", case.situation
            else:
                assert shown == f"{number} {ERRORS[number].symbol.removeprefix('JET_err')}"


def test_every_case_is_tried_with_logs_of_both_versions_but_for_one_field() -> None:
    assert set(VERSIONS) == {7, 8}
    assert [case.situation for case in CASES if case.versions != (7, 8)] == [
        "the log before has another content"
    ]
