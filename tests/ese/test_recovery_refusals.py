"""What keeps a store from recovery: the engine's number for it, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from replicator.ese import recovered_database, recovery_checks
from replicator.ese.checkpoint import new_checkpoint
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.errors import EseError
from replicator.ese.header_copies import sealed
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_header import SEGMENT_BYTES
from replicator.ese.log_need import OTHER_TIME_EVENTS
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.values import BackupInfo, LogPosition, LogTime, Signature
from replicator.ese_recovery_report import lines_of, recovery_document
from tests.ese.logs import with_header
from tests.ese.redoing import (
    CLEAN,
    FIRST,
    GENERATIONS,
    LATER,
    PAGE_BYTES,
    difference,
    pages_of,
)
from tests.ese.samples import load, place
from tests.ese.small_ese_store import (
    DATABASE,
    DIRECTORY,
    LOG_SIGNATURE,
    RecoveryRun,
    run_recovery,
)
from tests.ese.test_recovery import (
    breach,
    database,
    header_of,
    page_of,
    prepared,
    recovered,
    rows,
    store,
)
from tests.store.memory_volume import Inode, Medium
from tests.strides import strided

CLOSED, CURRENT = f"{DIRECTORY}/E0000000001.log", f"{DIRECTORY}/E00.log"
OTHER = Signature(77)


def content(medium: Medium, path: str) -> bytes:
    inode = medium.names[path]
    assert inode is not None
    return bytes(inode.data)


def put(medium: Medium, path: str, data: bytes) -> None:
    """A file, all of it durable."""
    inode = Inode(1000 + len(medium.names), bytearray(data), data)
    medium.names[path] = medium.durable_names[path] = inode


def remove(medium: Medium, path: str) -> None:
    del medium.names[path], medium.durable_names[path]


def with_database_header(medium: Medium, **changes: object) -> Medium:
    """Both copies of the database's header, some fields changed."""
    header: DatabaseHeader = replace(header_of(medium), **changes)  # type: ignore[arg-type]
    block = sealed(header.encode(), PAGE_BYTES)
    put(medium, DATABASE, block * 2 + database(medium)[2 * PAGE_BYTES :])
    return medium


def with_log_header(path: str, **changes: object) -> Medium:
    medium = store()
    put(medium, path, with_header(content(medium, path), **changes))
    return medium


def with_page(pgno: int, dbtime: int) -> Medium:
    """The store with another dbtime on a page, its checksum put right."""
    medium = store()
    page, data = page_of(medium, pgno), bytearray(database(medium))
    page.dbtime = dbtime
    at = page_offset(pgno, PAGE_BYTES)
    data[at : at + PAGE_BYTES] = page.sealed_bytes()
    put(medium, DATABASE, bytes(data))
    return medium


def damaged(path: str, at: int, size: int = 64) -> Medium:
    medium = store()
    data, junk = content(medium, path), Random(at).randbytes(size)  # no pattern sums to nothing
    put(medium, path, data[:at] + junk + data[at + size :])
    return medium


def without(path: str) -> Medium:
    medium = store()
    remove(medium, path)
    return medium


def current_lost() -> Medium:
    """Not as between the two renames of a roll: no next log was in preparation."""
    medium = without(CURRENT)
    remove(medium, f"{DIRECTORY}/E00tmp.log")
    return medium


def zeros(size: int) -> Medium:
    medium = store()
    put(medium, DATABASE, bytes(size))
    return medium


def with_a_copy() -> Medium:
    medium = store()
    put(medium, f"{DIRECTORY}/mail - Kopie.edb", database(medium))
    return medium


def renamed() -> Medium:
    medium = store()
    data = content(medium, CLOSED)
    remove(medium, CLOSED)
    put(medium, f"{DIRECTORY}/E0000000003.log", data)
    return medium


def with_checkpoint(position: LogPosition, signature: Signature) -> Medium:
    medium = store()
    block = sealed(new_checkpoint(position, signature).encode(), 4096)
    put(medium, f"{DIRECTORY}/E00.chk", block * 2)
    return medium


def patched(**changes: object) -> Medium:
    return with_database_header(store(), **changes)


BACKUP = BackupInfo(LogPosition(1, 2, 3), log_time_at(10**18), 1, 2)

REFUSED: tuple[tuple[str, Callable[[], Medium], int, tuple[int, ...]], ...] = (
    ("a required log is missing", lambda: without(CLOSED), -543, (452,)),
    ("a committed log is missing", lambda: without(CURRENT), -582, (523, 528)),
    ("the current log is missing", current_lost, -528, (455,)),
    ("the last log is damaged", lambda: damaged(CURRENT, SEGMENT_BYTES + 90), -586, (525,)),
    ("a required log is damaged", lambda: damaged(CLOSED, SEGMENT_BYTES + 90), -501, (465, 440)),
    ("its header is damaged", lambda: damaged(CLOSED, 80), -501, (412,)),
    ("a log of another set", lambda: with_log_header(CURRENT, log_signature=OTHER), -530, (457,)),
    (
        "a log of another time",
        lambda: with_log_header(CURRENT, previous_created=log_time_at(5 * 10**17)),
        -515,
        (458,),
    ),
    (
        "another log before",
        lambda: with_log_header(CURRENT, previous_accumulated_checksum=1),
        -590,
        (543,),
    ),
    ("a wrong name", renamed, -513, ()),
    ("a backup's copy", lambda: patched(current_full_backup=BACKUP), -544, (619,)),
    ("a snapshot's copy", lambda: patched(current_snapshot_backup=BACKUP), -581, ()),
    (
        "a reseed underway",
        lambda: patched(state_number=State.INCREMENTAL_RESEED_IN_PROGRESS),
        -1226,
        (),
    ),
    ("never finished", lambda: patched(state_number=State.JUST_CREATED), -1206, (447, 467, 542)),
    (
        "generations out of order",
        lambda: patched(first_required_generation=0x7F),
        -1206,
        (447, 467, 542),
    ),
    (
        "another order of generations",
        lambda: patched(first_consistent_generation=0x7F),
        -1206,
        (447, 467, 542),
    ),
    (
        "attached behind the last log",
        lambda: patched(attach_position=LogPosition(3, 1, 0)),
        -1206,
        (447, 467, 542),
    ),
    (
        "consistent behind the last log",
        lambda: patched(consistent_position=LogPosition(3, 1, 0)),
        -1206,
        (447, 467, 542),
    ),
    (
        "attached where no attach stands",
        lambda: patched(attach_position=LogPosition(1, 1, 0x269)),
        -1206,
        (447, 467, 542),
    ),
    (
        "attached in a record of another kind",
        lambda: patched(attach_position=LogPosition(2, 1, 40)),
        -1206,
        (447, 467, 542),
    ),
    (
        "shut down behind the attach",
        lambda: patched(consistent_position=LogPosition(2, 1, 0)),
        -1206,
        (447, 467, 542),
    ),
    ("an empty database", lambda: zeros(0), -1206, (447, 467, 542)),
    ("a database of zeros", lambda: zeros(100), -1206, (447, 467, 542)),
    ("a copy of the database", with_a_copy, -1222, ()),
    ("no database", lambda: without(DATABASE), -1216, (494, 495)),
    ("another database", lambda: patched(database_signature=OTHER), -1216, (494, 495)),
    ("another log set", lambda: with_checkpoint(LogPosition(1, 1, 0), OTHER), -532, ()),
    ("a damaged header", lambda: damaged(DATABASE, 0, 2 * PAGE_BYTES - 4), -1216, (494, 495)),
)


@pytest.mark.parametrize(
    ("broken", "number", "events"),
    [each[1:] for each in REFUSED],
    ids=[each[0] for each in REFUSED],
)
def test_it_is_refused_before_anything_is_changed(
    broken: Callable[[], Medium], number: int, events: tuple[int, ...]
) -> None:
    medium = broken()
    before = medium.digest(DIRECTORY)
    run = run_recovery(medium)
    assert run.result is None
    found = {error.number: error for error in run.errors}
    assert number in found, run.errors
    assert found[number].events == events
    assert medium.digest(DIRECTORY) == before


def test_an_empty_database_is_named_where_the_logs_end_in_rest() -> None:
    """They leave nothing attached then, so that nothing is missed."""
    medium = store()
    recovered(medium)
    put(medium, DATABASE, b"")
    run = run_recovery(medium)
    assert [(error.number, error.path) for error in run.errors] == [(-1206, DATABASE)]
    assert "the file has nothing: no header" in run.errors[0].detail


def test_where_no_database_is_at_all_that_is_told() -> None:
    medium = store()
    recovered(medium)
    remove(medium, DATABASE)
    result = recovered(medium).result
    assert result is not None
    assert result.databases == ()
    assert [note.number for note in result.notes] == [-1811]


def test_a_clean_database_that_was_attached_behind_its_end() -> None:
    medium = store()
    recovered(medium)
    before = header_of(medium).consistent_position
    with_database_header(medium, attach_position=LogPosition(before.generation, 9, 0))
    assert [error.number for error in run_recovery(medium).errors] == [-1206]


def number_of(run: RecoveryRun) -> int:
    assert run.result is None
    assert isinstance(run.error, EseError), (run.error, run.errors)
    return run.error.number


def test_no_logs_at_all() -> None:
    medium = without(CLOSED)
    remove(medium, CURRENT)
    remove(medium, f"{DIRECTORY}/E00tmp.log")
    assert number_of(run_recovery(medium)) == -1811


def test_a_database_of_another_log_set_is_refused_when_it_is_named() -> None:
    medium = patched(log_signature=OTHER)
    run = run_recovery(medium, databases=(DATABASE,))
    assert -539 in [error.number for error in run.errors]


def test_committed_logs_may_be_lost_when_that_is_allowed() -> None:
    medium = without(CURRENT)
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert (tuple(result.lost), result.removed) == ((2,), ())
    assert breach(medium) == ""  # what was committed stood in the first generation
    assert rows(medium) == prepared().committed


def test_as_many_logs_may_be_lost_as_a_header_can_say() -> None:
    """They are told as a range: their numbers alone would fill the memory."""
    result = recovered(patched(last_committed_generation=0xFFFFFFFF), allow_lost_logs=True).result
    assert result is not None
    assert (result.lost[0], result.lost[-1]) == (3, 0xFFFFFFFF)
    document = recovery_document(result, (), "/store")
    assert document["lost_generations"] == [[3, 0xFFFFFFFF]]
    assert "generations 0x3 to 0xFFFFFFFF;" in " ".join(lines_of(result))


def test_a_damaged_committed_log_is_removed_when_that_is_allowed() -> None:
    medium = damaged(CURRENT, SEGMENT_BYTES + 90)
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert (tuple(result.lost), result.removed) == ((2,), (2,))
    assert breach(medium) == ""


def without_its_header(kind: str) -> Medium:
    """A store whose current log does not tell its generation any more, as after a power loss."""
    medium = damaged(CURRENT, 100)
    if kind == "emptied":
        put(medium, CURRENT, b"")
    elif kind == "zeros":
        put(medium, CURRENT, bytes(len(content(medium, CURRENT))))
    return medium


@pytest.mark.parametrize("kind", ["damaged", "emptied", "zeros"])
def test_a_current_log_without_its_header_is_removed_when_that_is_allowed(kind: str) -> None:
    medium = without_its_header(kind)
    assert -501 in [error.number for error in run_recovery(medium).errors]
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert (tuple(result.lost), result.removed) == ((2,), (2,))
    assert breach(medium) == ""
    again = recovered(medium).result
    assert again is not None
    assert again.clean_log


def test_it_is_told_where_no_header_counts_it() -> None:
    """genMaxCommitted may lag; what the log held is gone all the same."""
    medium = with_database_header(
        without_its_header("damaged"),
        last_committed_generation=1,
        last_committed_created=LogTime(),
    )
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert (tuple(result.lost), result.removed) == ((2,), (2,))
    assert recovery_document(result, (), "/store")["warnings"] == [585, 587]


@strided(3)
@pytest.mark.parametrize("kind", ["emptied", "missing"])
def test_crashes_while_committed_logs_are_given_up_are_made_good(kind: str, stride: int) -> None:
    """The new log has the number of the lost one and another time; the header follows later.

    A second crash, in the same step of the second run, is made good as well.
    """

    def lost() -> Medium:
        return without(CURRENT) if kind == "missing" else without_its_header(kind)

    steps = recovered(lost(), allow_lost_logs=True).steps
    for step in range(1, len(steps) + 1, stride):
        where = f"step {step} ({steps[step - 1]})"
        medium = lost()
        assert run_recovery(medium, crash_at=step, allow_lost_logs=True).died
        run_recovery(medium, crash_at=step, allow_lost_logs=True)
        run = run_recovery(medium, allow_lost_logs=True)
        assert run.result is not None, f"{where}: {run.errors or run.error}"
        assert breach(medium) == "", where


def test_without_leave_the_log_of_another_time_is_refused() -> None:
    medium = with_database_header(store(), last_committed_created=log_time_at(5 * 10**17))
    before = medium.digest(DIRECTORY)
    (error,) = run_recovery(medium).errors
    assert (error.number, error.events) == (-543, (496,))
    required = with_database_header(medium, last_required_generation=2)
    (error,) = run_recovery(required, allow_lost_logs=True).errors
    assert error.events == (496,)
    assert before[f"{CURRENT}"] == medium.digest(DIRECTORY)[CURRENT]


def test_an_old_log_in_the_place_of_the_current_one_is_no_loss() -> None:
    """To go on with it would leave two logs of one generation."""
    medium = store()
    put(medium, CURRENT, content(medium, CLOSED))
    before = medium.digest(DIRECTORY)
    run = run_recovery(medium, allow_lost_logs=True)
    assert [error.number for error in run.errors] == [-513]
    assert medium.digest(DIRECTORY) == before


def test_else_recovery_goes_on_with_two_logs_of_one_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery_checks, "_is_misplaced_current", lambda _error: False)
    medium = store()
    put(medium, CURRENT, content(medium, CLOSED))
    assert run_recovery(medium, allow_lost_logs=True).result is not None
    assert [error.number for error in run_recovery(medium).errors] == [-513]


def header_keeps_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the log that was given up, whose number the new one has."""
    raised = recovered_database.raised

    def as_it_is(header: DatabaseHeader, **more: Any) -> DatabaseHeader:
        if more["committed"] == header.last_committed_generation:
            more["committed_created"] = None
        return raised(header, **more)

    monkeypatch.setattr(recovered_database, "raised", as_it_is)


def other_time_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of another time is refused, whatever may be lost."""
    is_loss = recovery_checks._is_loss

    def refused(error: EseError, headers: Mapping[str, DatabaseHeader]) -> bool:
        return error.events != OTHER_TIME_EVENTS and is_loss(error, headers)

    monkeypatch.setattr(recovery_checks, "_is_loss", refused)


@pytest.mark.parametrize("switch", [header_keeps_the_time, other_time_is_no_loss])
def test_else_a_crash_while_they_are_given_up_ends_in_a_refusal(
    switch: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    switch(monkeypatch)
    for step in range(
        1, 1 + len(recovered(without_its_header("emptied"), allow_lost_logs=True).steps)
    ):
        medium = without_its_header("emptied")
        for _run in range(2):
            run_recovery(medium, crash_at=step, allow_lost_logs=True)
        found = run_recovery(medium, allow_lost_logs=True)
        if found.result is None:
            assert OTHER_TIME_EVENTS in [error.events for error in found.errors]
            return
    pytest.fail("each crash was made good")


def test_a_log_that_does_not_follow_counts_as_lost_when_that_is_allowed() -> None:
    """It is whole, but goes on from another log than the one that is there: it is not redone."""
    medium = with_log_header(CURRENT, previous_created=log_time_at(5 * 10**17))
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert (tuple(result.lost), result.removed, result.last_generation) == ((2,), (2,), 1)
    assert breach(medium) == ""


def test_a_file_is_never_cut_where_something_lies() -> None:
    """The tree of owned extents says 20 pages; a page behind them is in use all the same."""
    medium = store()
    extra = PageEditor(24, PAGE_BYTES)
    extra.start(objid=9, dbtime=3, flags=2)
    data = database(medium).ljust(page_offset(24, PAGE_BYTES), b"\0") + extra.sealed_bytes()
    put(medium, DATABASE, data)
    recovered(medium)
    assert page_of(medium, 24).objid == 9
    assert len(database(medium)) == len(data)


def test_the_loss_of_a_required_log_is_never_allowed() -> None:
    medium = with_database_header(without(CURRENT), last_required_generation=2)
    before = medium.digest(DIRECTORY)
    run = run_recovery(medium, allow_lost_logs=True)
    assert -543 in [error.number for error in run.errors]
    assert medium.digest(DIRECTORY) == before


def test_a_missing_database_may_be_passed_over() -> None:
    medium = without(DATABASE)
    result = recovered(medium, ignore_missing_databases=True).result
    assert result is not None
    assert result.databases == ()
    told = [note.detail for note in result.notes if note.number == -1216]
    assert len(told) == 1 and "not recovered with them any more (-1216)" in told[0]


def test_a_file_that_is_not_the_one_attached() -> None:
    medium = patched(database_signature=OTHER)
    run = run_recovery(medium, ignore_missing_databases=True)
    assert number_of(run) == -531


def test_a_dirty_database_that_the_logs_do_not_name_stays_dirty() -> None:
    medium = patched(database_signature=OTHER, attach_position=LogPosition(1, 1, 0x200))
    before = database(medium)
    assert number_of(run_recovery(medium, ignore_missing_databases=True)) == -550
    assert database(medium) == before


def test_a_page_newer_than_the_required_logs_allow() -> None:
    run = run_recovery(with_page(5, page_of(store(), 5).dbtime + 1))
    assert number_of(run) == -625
    assert isinstance(run.error, EseError)
    assert run.error.events == (516,)


def test_a_page_of_another_history() -> None:
    run = run_recovery(with_page(4, 14))  # the log changes it from 13 to 25
    assert number_of(run) == -567
    assert isinstance(run.error, EseError)
    assert run.error.events == (516, 538, 539)


def second_generation_only(medium: Medium) -> Medium:
    """As if all changes of the first generation were on disk."""
    block = sealed(new_checkpoint(LogPosition(2, 1, 0), LOG_SIGNATURE).encode(), 4096)
    put(medium, f"{DIRECTORY}/E00.chk", block * 2)
    return with_database_header(
        medium,
        first_required_generation=2,
        first_consistent_generation=2,
        last_required_generation=2,
    )


def test_a_page_that_missed_a_write() -> None:
    run = run_recovery(second_generation_only(store()))
    assert number_of(run) == -566
    assert isinstance(run.error, EseError)
    assert run.error.page == 5


def test_a_damaged_page_that_is_needed() -> None:
    medium = damaged(DATABASE, page_offset(5, PAGE_BYTES) + 100)
    run = run_recovery(second_generation_only(medium))
    assert number_of(run) == -1018
    assert isinstance(run.error, EseError)
    assert (run.error.path, run.error.page) == (DATABASE, 5)


def test_a_damaged_page_that_the_logs_make_anew_is_healed() -> None:
    medium = damaged(DATABASE, page_offset(5, PAGE_BYTES) + 100)
    recovered(medium)
    assert breach(medium) == ""


needs_all = pytest.mark.skipif(
    any(place(name) is None for name in (*GENERATIONS, f"{CLEAN}/SRU.log")),
    reason="needs ../shared, which CI has",
)


def real_set(**files: str) -> Medium:
    medium = Medium()
    medium.names[DIRECTORY] = medium.durable_names[DIRECTORY] = None
    names = ("SRU00001", "SRU00002", "SRU00003", "SRU00004", "SRU")
    logs = {f"{name}.log": sample for name, sample in zip(names, GENERATIONS, strict=True)}
    for name, sample in {**logs, **{key.replace("_", "."): v for key, v in files.items()}}.items():
        if sample:
            put(medium, f"{DIRECTORY}/{name}", load(sample))
    return medium


@needs_all
def test_an_older_database_with_a_newer_checkpoint() -> None:
    medium = real_set(SRUDB_dat=f"{FIRST}/SRUDB.dat", SRU_chk=f"{LATER}/SRU.chk")
    run = run_recovery(medium)
    assert number_of(run) == -551
    assert isinstance(run.error, EseError)
    assert run.error.events == (517,)
    assert "without the checkpoint file redo begins with the oldest" in run.error.detail


@needs_all
def test_a_gap_in_the_middle() -> None:
    medium = real_set(SRUDB_dat=f"{FIRST}/SRUDB.dat")
    remove(medium, f"{DIRECTORY}/SRU00003.log")
    run = run_recovery(medium)
    assert [error.number for error in run.errors] == [-528]
    assert run.errors[0].events == (450, 518, 519)


@needs_all
def test_after_a_refusal_in_the_middle_the_right_page_makes_it_good() -> None:
    """Whatever was written before the fault was met is no obstacle."""
    path = f"{DIRECTORY}/SRUDB.dat"
    medium = real_set(SRUDB_dat=f"{FIRST}/SRUDB.dat")
    remove(medium, f"{DIRECTORY}/SRU00001.log")
    at = page_offset(29, PAGE_BYTES)
    good = content(medium, path)
    put(medium, path, good[: at + 50] + b"?!" + good[at + 52 :])
    run = run_recovery(medium, limit_pages=8)
    assert number_of(run) == -1018
    assert any(path in step for step in run.steps)
    now = content(medium, path)
    put(medium, path, now[:at] + good[at : at + PAGE_BYTES] + now[at + PAGE_BYTES :])
    recovered(medium)
    later = pages_of(f"{LATER}/SRUDB.dat")
    now = content(medium, path)
    for pgno, wanted in later.items():
        start = page_offset(pgno, PAGE_BYTES)
        if any(wanted):
            page = PageEditor.load(now[start : start + PAGE_BYTES], pgno)
            assert difference(page, wanted) == []
