"""Soft recovery: whatever was open is taken back, whatever crashes in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.database_header import DatabaseHeader, State, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import RecoveryUndo2, decode_record
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.recovered_database import RecoverySafeguards
from replicator.ese.undo import undo_all
from replicator.ese.values import LogPosition
from replicator.ese.verification import Verdict, judge_page
from tests.ese.logs import log_set
from tests.ese.redoing import PAGE_BYTES, MemoryPages, Recorder, redo, run_now
from tests.ese.small_ese_engine import rows_in
from tests.ese.small_ese_store import (
    DATABASE,
    DIRECTORY,
    CrashedStore,
    RecoveryRun,
    crashed_store,
    key_of,
    run_recovery,
)
from tests.store import memory_volume
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium


@pytest.fixture(autouse=True)
def sectors_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of 4096 bytes is written whole or not, as on a disk with such sectors."""
    monkeypatch.setattr(memory_volume, "SECTOR", PAGE_BYTES)


@lru_cache(maxsize=1)
def prepared() -> CrashedStore:
    return crashed_store()


def store() -> Medium:
    return prepared().medium.copy()


def database(medium: Medium) -> bytes:
    inode = medium.names[DATABASE]
    assert inode is not None
    return bytes(inode.data)


def header_of(medium: Medium) -> DatabaseHeader:
    return read_database_header(BytesReader(database(medium)))[0]


def page_of(medium: Medium, pgno: int) -> PageEditor:
    size = header_of(medium).page_size
    at = page_offset(pgno, size)
    return PageEditor.load(database(medium)[at : at + size], pgno)


def rows(medium: Medium) -> dict[bytes, bytes]:
    return rows_in(lambda pgno: page_of(medium, pgno))


def breach(medium: Medium) -> str:
    """What is wrong with a store that was recovered; empty when nothing is."""
    data = database(medium)
    header = header_of(medium)
    if header.state is not State.CLEAN_SHUTDOWN:
        return f"its state is {header.state_title}"
    size = header.page_size
    for at in range(2 * size, len(data), size):
        pgno = at // size - 1
        verdict = judge_page(data[at : at + size], pgno).verdict
        if verdict not in (Verdict.GOOD, Verdict.ZERO):
            return f"page {pgno} is {verdict.name}"
        if PageEditor.load(data[at : at + size], pgno).dbtime > header.dbtime:
            return f"page {pgno} is newer than the header"
    try:
        found = rows(medium)
    except AssertionError:
        return "the tree is broken"
    wanted = prepared().committed
    if found != wanted:
        differ = sorted(key for key in found | wanted if found.get(key) != wanted.get(key))
        return f"rows differ: {differ}"
    files = {
        path.removeprefix(f"{DIRECTORY}/"): content
        for path, content in medium.digest(f"{DIRECTORY}/E").items()
    }
    errors = log_set(files).errors
    return str(errors[0]) if errors else ""


def recovered(medium: Medium, **options: object) -> RecoveryRun:
    run = run_recovery(medium, **options)  # type: ignore[arg-type]
    assert run.result is not None, (run.errors, run.error)
    return run


def test_all_that_was_not_committed_is_taken_back() -> None:
    medium = store()
    assert header_of(medium).state is State.DIRTY_SHUTDOWN
    assert header_of(medium).last_required_generation == 1
    result = recovered(medium).result
    assert result is not None
    assert breach(medium) == ""
    assert len(prepared().committed) == 11
    assert prepared().committed[key_of(3)] == b"three"
    assert (result.first_generation, result.last_generation) == (1, 2)
    assert result.transactions == 2
    assert result.undone == 9
    assert not result.clean_log


def test_the_header_says_where_it_was_shut_down() -> None:
    medium = store()
    before = header_of(medium)
    recovered(medium)
    header = header_of(medium)
    assert header.consistent_position == header.detach_position > LogPosition(2, 1, 0)
    assert header.attach_position == before.attach_position
    generations = (header.first_required_generation, header.last_required_generation)
    assert generations == (0, 0)
    assert header.last_committed_generation == header.recovering_generation == 0
    assert header.extend_count == before.extend_count + 1
    assert len(database(medium)) == (20 + 2) * PAGE_BYTES


def test_a_second_recovery_changes_nothing() -> None:
    medium = store()
    recovered(medium)
    once = medium.digest(DIRECTORY)
    result = recovered(medium).result
    assert result is not None
    assert result.clean_log
    assert (result.redone_pages, result.undone) == (0, 0)
    assert medium.digest(DIRECTORY) == once


def test_it_does_with_few_pages_in_memory() -> None:
    medium = store()
    result = recovered(medium, limit_pages=1).result
    assert result is not None
    assert breach(medium) == ""
    assert result.databases[0].written_pages > 8


@pytest.mark.parametrize(
    ("version", "page_bytes"), [(7, 4096), (7, 8192), (8, 2048), (8, 8192), (8, 16384), (8, 32768)]
)
def test_so_it_is_with_other_logs_and_pages(version: int, page_bytes: int) -> None:
    medium = crashed_store(version, page_bytes).medium
    assert header_of(medium).page_size == page_bytes
    result = recovered(medium).result
    assert result is not None
    assert (result.undone, result.transactions) == (9, 2)
    assert breach(medium) == ""
    once = medium.digest(DIRECTORY)
    again = recovered(medium).result
    assert again is not None
    assert again.clean_log
    assert medium.digest(DIRECTORY) == once


def test_stopping_before_undo_leaves_all_to_be_done() -> None:
    medium = store()
    result = recovered(medium, undo=False).result
    assert result is not None
    assert result.stopped_before_undo
    header = header_of(medium)
    assert header.state is State.DIRTY_SHUTDOWN
    assert header.recovering_generation == header.last_required_generation == 2
    assert result.undone == 0
    again = recovered(medium).result
    assert again is not None
    assert again.undone == 9
    assert breach(medium) == ""


def crash_breaches(
    safeguards: RecoverySafeguards, limit_pages: int, *, backwards: bool = False, stride: int = 1
) -> Iterator[str]:
    """Recover with a crash in one storage step after the other, then again; what is wrong.

    The second recovery starts with what the crash left, and with what a power loss leaves of it,
    in each of several ways.
    """
    whole = recovered(store(), safeguards=safeguards, limit_pages=limit_pages)
    steps = range(1, len(whole.steps) + 1, stride)
    seen = set()
    for step in reversed(steps) if backwards else steps:
        medium = store()
        run = run_recovery(medium, crash_at=step, safeguards=safeguards, limit_pages=limit_pages)
        assert run.died
        for name, choices in {"power stays": None, **POWER_LOSSES}.items():
            after = medium.copy()
            if choices is not None:
                after.lose_power(choices)
            content = frozenset(after.digest("/").items())
            if content in seen:
                continue  # the second recovery sees the files alone
            seen.add(content)
            where = f"step {step} ({run.steps[-1]}), {name}"
            second = run_recovery(after, safeguards=safeguards, limit_pages=limit_pages)
            if second.result is None:
                yield f"{where}: {second.errors or second.error}"
            elif wrong := breach(after):
                yield f"{where}: {wrong}"


def test_a_crash_in_any_step_is_made_good_by_the_next_recovery() -> None:
    assert list(crash_breaches(RecoverySafeguards(), limit_pages=64)) == []


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.full)])
def test_so_it_is_where_pages_are_written_all_the_time(stride: int) -> None:
    assert list(crash_breaches(RecoverySafeguards(), limit_pages=1, stride=stride)) == []


def failed_sync_breaches(safeguards: RecoverySafeguards) -> Iterator[str]:
    """Recover with one sync of the database after the other that fails, which ends the process;
    then again, and then the power is lost; what is wrong after one more recovery."""
    whole = recovered(store(), safeguards=safeguards)
    for step, what in enumerate(whole.steps, 1):
        if what != f"sync {DATABASE}":
            continue
        medium = store()
        run = run_recovery(medium, crash_at=step, sync_fails=True, safeguards=safeguards)
        assert run.died
        second = run_recovery(medium, safeguards=safeguards)
        assert second.result is not None, second.error
        medium.lose_power(POWER_LOSSES["nothing unsynced survives"])
        # The header that says "clean" may be what the failed sync took: then redo does it all.
        third = run_recovery(medium, safeguards=safeguards)
        if third.result is None or (wrong := breach(medium)):
            yield f"step {step}: {third.error if third.result is None else wrong}"


def test_a_sync_that_failed_in_recovery_takes_nothing_after_the_next_one() -> None:
    assert list(failed_sync_breaches(RecoverySafeguards())) == []


@pytest.mark.parametrize("safeguard", [field.name for field in fields(RecoverySafeguards)])
def test_each_safeguard_is_needed(safeguard: str) -> None:
    without = replace(RecoverySafeguards(), **{safeguard: False})
    if safeguard == "write_again":
        assert next(failed_sync_breaches(without), None) is not None
        return
    at_the_end = safeguard == "sync_before_clean"
    found = crash_breaches(without, limit_pages=64 if at_the_end else 1, backwards=at_the_end)
    assert next(found, None) is not None


def test_a_lost_write_of_recovery_itself_is_noticed() -> None:
    """A page that goes back to an older content, behind what the header promised."""
    medium = store()
    old = database(medium)[page_offset(5, PAGE_BYTES) :][:PAGE_BYTES]
    recovered(medium)
    assert breach(medium) == ""
    inode = medium.names[DATABASE]
    assert inode is not None
    inode.write(page_offset(5, PAGE_BYTES), old)
    assert breach(medium) != ""


@lru_cache(maxsize=1)
def logged() -> tuple[LogRecord, ...]:
    files = prepared().medium.digest(f"{DIRECTORY}/E00")
    logs = [files[name] for name in sorted(files, reverse=True) if files[name][:4] != bytes(4)]
    opened = [LogFile(BytesReader(log), closed=False) for log in logs if any(log)]
    opened.sort(key=lambda log: log.generation)
    return tuple(record for log in opened for record in log.records())


@settings(max_examples=300)
@given(
    which=st.integers(0, 200),
    changes=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_no_record_makes_redo_or_undo_fall_over(which: int, changes: list[tuple[int, int]]) -> None:
    """Bytes that verify and make no sense: an error of the engine's, or pages that are pages."""
    records = list(logged())
    which %= len(records)
    data = bytearray(records[which].data)
    for at, value in changes:
        data[at % len(data)] = value
    records[which] = LogRecord(records[which].position, bytes(data))
    pages = MemoryPages()
    try:
        decode_record(bytes(data))  # a log gives no record that has not its type's length
        run = redo(records, pages)
        run_now(undo_all(run, Recorder(), RecoveryUndo2(number=Kind.RECOVERY_UNDO2)))
    except EseError as error:
        assert error.number in (-338, -500, -501, -566, -567, -1206)
        return
    for page in pages.pages.values():
        page.sealed_bytes()
