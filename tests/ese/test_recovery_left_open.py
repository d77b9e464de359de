"""A database that a recovery passed over and that comes back later is refused, or is right."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from replicator.ese import recovery_checks
from replicator.ese.database_header import State
from replicator.ese.errors import EseError
from replicator.ese.log_set import LogSet, LogSummary
from replicator.ese.recovery_files import FoundDatabase
from replicator.ese.recovery_left_open import check_left_open
from replicator.runtime.port import Volume
from tests.ese.small_ese_engine import rows_in
from tests.ese.small_ese_store import DATABASE, DIRECTORY, crashed_store, key_of, run_recovery
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
from tests.ese.test_recovery_refusals import content, put, remove
from tests.store.memory_volume import Medium


def brought_back(version: int = 8) -> Medium:
    """Its logs were recovered without it, and there it is again."""
    medium = store() if version == 8 else crashed_store(version).medium
    before = database(medium)
    remove(medium, DATABASE)
    assert recovered(medium, ignore_missing_databases=True).result is not None
    put(medium, DATABASE, before)
    return medium


@pytest.mark.parametrize("version", [7, 8])
def test_it_is_refused_and_nothing_is_changed(version: int) -> None:
    medium = brought_back(version)
    before = medium.digest(DIRECTORY)
    for options in ({}, {"ignore_missing_databases": True}, {"undo": False}):
        run = run_recovery(medium, **options)  # type: ignore[arg-type]
        assert [each.number for each in run.errors] == [-1216], run
        assert "without taking back their changes" in run.errors[0].detail
        assert "2 of its transactions" in run.errors[0].detail
        assert run.errors[0].path == DATABASE
        assert "before they were recovered without it" in run.errors[0].remedy
        assert medium.digest(DIRECTORY) == before


def test_without_the_check_it_has_what_nobody_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def off(
        volume: Volume,
        logs: LogSet,
        usable: Sequence[LogSummary],
        databases: Collection[FoundDatabase],
    ) -> list[EseError]:
        return []

    monkeypatch.setattr(recovery_checks, "check_left_open", off)
    medium = brought_back()
    recovered(medium)
    assert header_of(medium).state is State.CLEAN_SHUTDOWN
    assert rows(medium) != prepared().committed
    assert b"never there" in rows(medium).values()


def test_with_the_logs_of_before_it_is_recovered() -> None:
    medium, untouched = brought_back(), store()
    assert run_recovery(medium).errors
    for path in list(medium.names):
        if path.rpartition("/")[2].startswith("E00"):
            remove(medium, path)
    for path in untouched.names:
        if path.endswith(".log"):
            put(medium, path, content(untouched, path))
    recovered(medium)
    assert breach(medium) == ""


def test_one_in_which_nothing_was_open_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed is all in the logs: no recovery without it changes that."""
    monkeypatch.setattr("tests.ese.small_ese_store._late_work", lambda engine: engine.commit(2))
    made = crashed_store()
    medium, before = made.medium, database(made.medium)
    remove(medium, DATABASE)
    recovered(medium, ignore_missing_databases=True)
    put(medium, DATABASE, before)
    recovered(medium)
    assert header_of(medium).state is State.CLEAN_SHUTDOWN
    found = rows_in(lambda pgno: page_of(medium, pgno))
    assert found == {**made.committed, key_of(6): b"not committed"}  # here it was


def test_a_recovery_that_stops_before_undo_ends_nothing() -> None:
    medium = store()
    before = database(medium)
    remove(medium, DATABASE)
    recovered(medium, ignore_missing_databases=True, undo=False)
    put(medium, DATABASE, before)
    recovered(medium)
    assert breach(medium) == ""


@pytest.mark.parametrize("version", [7, 8])
def test_a_recovery_that_died_behind_its_shutdown_record_is_repeated(version: int) -> None:
    """The logs detach the database, its header does not say so yet; all of it is taken back."""
    made = store() if version == 8 else crashed_store(version).medium
    whole = run_recovery(made.copy()).steps
    looked_at = 0
    for crash_at in range(len(whole) - 20, len(whole)):
        medium = made.copy()
        run = run_recovery(medium, crash_at=crash_at)
        if not run.died:
            continue
        medium.sync_names()
        medium.lose_power((0,))
        looked_at += header_of(medium).state is State.DIRTY_SHUTDOWN
        recovered(medium)
        assert breach(medium) == ""
    assert looked_at


def test_the_check_reads_no_record_of_a_store_that_crashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the logs do not leave attached is worth a second reading."""
    from replicator.ese import recovery_left_open

    def never(*_arguments: object) -> object:
        raise AssertionError("the logs were read")

    monkeypatch.setattr(recovery_left_open, "LogFile", never)
    assert check_left_open is recovery_checks.check_left_open
    recovered(store())
