"""Hard recovery of a streaming backup: pages of all ages come to the end of the logs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest

from replicator.errors import ReplicatorError
from replicator.ese.database_header import State
from replicator.ese.errors import EseError
from replicator.ese.recovery import recover
from replicator.ese.recovery_checks import RecoveryRequest, plan_recovery
from replicator.ese.recovery_result import RecoveryResult, RecoverySettings
from replicator.ese.restore import restore
from replicator.ese.restore_checks import RestoreRequest, plan_restore
from replicator.ese.values import Signature
from replicator.runtime import Kernel
from simulator.runtime import SimClock
from tests.ese.logs import log_set
from tests.ese.streaming_backup import (
    BACKUP,
    COPY,
    KEPT,
    KEPT_7,
    Backup,
    content,
    header_in,
    made_backup,
)
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium, MemoryVolume
from tests.store_ese.engine_harness import DIRECTORY, PAGE_BYTES, Draws, rows_of

VERSIONS = {7: KEPT_7, 8: KEPT}
OTHER = Signature(77)


@lru_cache(maxsize=2)
def prepared(version: int = 8) -> Backup:
    return made_backup(VERSIONS[version])


def backup(version: int = 8) -> Medium:
    return prepared(version).medium.copy()


@dataclass
class Restored:
    """One attempt; ``result`` is None when it died or failed."""

    steps: list[str]
    died: bool = False
    result: RecoveryResult | None = None
    errors: tuple[EseError, ...] = ()
    error: BaseException | None = None

    @property
    def numbers(self) -> list[int]:
        return [error.number for error in self.errors]


def restored(
    medium: Medium,
    *,
    crash_at: int | None = None,
    limit_pages: int = 64,
    undo: bool = True,
    **request: Any,
) -> Restored:
    """Restore what lies in /backup, or die in one of the storage's steps."""
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(medium, crash_at)
    run = Restored([])
    draws = Draws(10**6)

    async def work() -> None:
        wanted = RestoreRequest(directory=BACKUP, **request)
        plan, run.errors = await plan_restore(volume, wanted)  # type: ignore[arg-type]
        if plan is None:
            return
        run.result = await restore(
            volume,  # type: ignore[arg-type]
            plan,
            RecoverySettings(limit_pages=limit_pages, undo=undo),
            now=draws.now,
            flush_signature=draws.signature,
        )

    task = kernel.run_task(work(), "restore")
    clock.run_until_idle()
    run.steps, run.died = volume.steps, kernel.dead
    if task.done and not kernel.dead:
        run.error = task.error
        assert run.error is None or isinstance(run.error, EseError | ReplicatorError), run.error
    kernel.close()
    return run


def breach(medium: Medium, rows: dict[int, bytes]) -> str:
    """What is wrong with a set that was restored; empty when nothing is."""
    data = content(medium, COPY)
    header = header_in(data)
    if header.state is not State.CLEAN_SHUTDOWN:
        return f"its state is {header.state_title}"
    if not header.current_full_backup.is_zero:
        return "it still has the mark of a backup"
    if rows_of(data) != rows:
        return "rows differ"
    files = {
        path.removeprefix(f"{BACKUP}/"): data for path, data in medium.digest(f"{BACKUP}/E").items()
    }
    errors = log_set(files).errors
    return str(errors[0]) if errors else ""


def at_rest(run: Restored) -> RecoveryResult:
    assert run.result is not None, (run.errors, run.error)
    return run.result


def recovered(medium: Medium, **request: Any) -> Restored:
    """Soft recovery, of the same set where nothing else is said."""
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(medium)
    run, draws = Restored([]), Draws(10**7)

    async def work() -> None:
        wanted = RecoveryRequest(**{"log_directory": BACKUP, **request})
        plan, run.errors = await plan_recovery(volume, wanted)  # type: ignore[arg-type]
        if plan is not None:
            run.result = await recover(
                volume,  # type: ignore[arg-type]
                plan,
                now=draws.now,
                flush_signature=draws.signature,
            )

    task = kernel.run_task(work(), "recover")
    clock.run_until_idle()
    run.error = task.error
    assert run.error is None or isinstance(run.error, EseError | ReplicatorError), run.error
    kernel.close()
    return run


@pytest.mark.parametrize("version", VERSIONS)
def test_a_copy_of_pages_of_all_ages_comes_to_the_end_of_its_logs(version: int) -> None:
    medium, made = backup(version), prepared(version)
    assert made.first < made.last
    ages = header_in(content(medium, COPY))
    assert ages.last_required_generation < made.last  # pages behind it were copied later
    result = at_rest(restored(medium))
    assert (result.first_generation, result.last_generation) == (made.first, made.last)
    assert result.redone_pages > 0 < result.skipped_pages
    assert result.transactions == 1
    assert breach(medium, made.at_end) == ""
    [database] = result.databases
    assert (database.state_before, database.state) == ("DirtyShutdown", "CleanShutdown")
    header = header_in(content(medium, COPY))
    last = header.last_full_backup
    assert (last.first_generation, last.last_generation) == (made.first, made.last)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_goes_on_with_the_logs_of_the_store(version: int) -> None:
    medium, made = backup(version), prepared(version)
    before = medium.digest(DIRECTORY)
    assert made.later != made.at_end
    result = at_rest(restored(medium, store_logs=DIRECTORY))
    assert result.last_generation > made.last
    assert breach(medium, made.later) == ""
    assert medium.digest(DIRECTORY) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_soft_recovery_refuses_such_a_copy(version: int) -> None:
    medium = backup(version)
    before = medium.digest(BACKUP)
    refused = next(error for error in recovered(medium).errors if error.number == -544)
    assert refused.events == (619,)
    assert medium.digest(BACKUP) == before


def test_without_undo_later_logs_can_still_be_redone() -> None:
    medium, made = backup(), prepared()
    result = at_rest(restored(medium, undo=False))
    assert result.stopped_before_undo
    assert header_in(content(medium, COPY)).state is State.DIRTY_SHUTDOWN
    at_rest(restored(medium, store_logs=DIRECTORY))
    assert breach(medium, made.later) == ""


def test_it_does_with_few_pages_in_memory() -> None:
    medium, made = backup(), prepared()
    at_rest(restored(medium, limit_pages=1))
    assert breach(medium, made.at_end) == ""


def crash_states(stride: int, last: int | None = None, **request: Any) -> list[str]:
    """Die in one step after the other, run it again or, once there is a current log, recover.

    Arguments
    ---------
    stride: of so many steps one.
    last: only so many at the end.
    """
    made = prepared()
    rows = made.later if request else made.at_end
    whole = restored(backup(), limit_pages=4, **request)
    found = []
    for step in range(1, len(whole.steps) + 1, stride)[-(last or 0) :]:
        medium = backup()
        run = restored(medium, crash_at=step, limit_pages=4, **request)
        assert run.died
        for name, choices in {"power stays": None, **POWER_LOSSES}.items():
            after = medium.copy()
            if choices is not None:
                after.lose_power(choices)
            again = restored(after, limit_pages=4, **request)
            if again.result is None and set(again.numbers) == {-615}:
                again = recovered(after)
            where = f"step {step} ({run.steps[-1]}), {name}"
            if again.result is None:
                found.append(f"{where}: {again.errors or again.error}")
            elif wrong := breach(after, rows):
                found.append(f"{where}: {wrong}")
    return found


def test_a_log_that_began_between_the_shutdown_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header lists the database, and no record of it takes that back."""
    monkeypatch.setattr("tests.store.memory_volume.SECTOR", PAGE_BYTES)
    assert crash_states(1, last=6, store_logs=DIRECTORY) == []


@pytest.mark.parametrize("stride", [61, pytest.param(1, marks=pytest.mark.full)])
def test_a_crash_in_any_step_is_made_good(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.store.memory_volume.SECTOR", PAGE_BYTES)
    assert crash_states(stride) == []
    assert crash_states(stride, store_logs=DIRECTORY) == []
