"""Copies that went different ways: the one that gives way takes over pages and logs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pytest

from replicator.errors import ReplicatorError
from replicator.ese.database_header import State
from replicator.ese.database_state import without_last_log
from replicator.ese.errors import EseError
from replicator.ese.header_copies import sealed
from replicator.ese.log_header import LogHeader
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.recovery import recover
from replicator.ese.recovery_checks import RecoveryRequest, plan_recovery
from replicator.ese.recovery_files import find_logs
from replicator.ese.reseed import ReseedResult, remove_last_log, reseed
from replicator.ese.reseed_checks import PageSet, ReseedPlan, ReseedRequest, plan_reseed
from replicator.ese.values import LogTime, Signature
from replicator.runtime import Kernel
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.runtime import SimClock
from tests.ese.redoing import difference
from tests.ese.streaming_backup import KEPT, KEPT_7, NAME, content, header_in, put, remove
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium, MemoryVolume
from tests.store_ese.engine_harness import (
    DIRECTORY,
    PAGE_BYTES,
    Draws,
    Life,
    Mailbox,
    Rows,
    body,
    new_medium,
    rows_of,
    run,
)

OLD, ACTIVE = "/old", "/active"
"""The copy whose machine was lost, and the one that took over without its last logs."""
LATENT = replace(KEPT, waypoint_latency=3)
CONFIGS = {"version 8": KEPT, "version 7": KEPT_7, "waypoint three logs back": LATENT}


@dataclass
class Copies:
    """Both copies, dead, on one medium.

    Attributes
    ----------
    common: the last generation that both have.
    rows: what was committed in the active copy.
    lost: what only the old one has.
    """

    medium: Medium
    common: int
    rows: Rows
    lost: Rows


@lru_cache(maxsize=3)
def prepared(name: str) -> Copies:
    config = CONFIGS[name]
    common = 0
    seed: dict[str, bytes] = {}
    old = new_medium()
    lost: Rows = {}

    async def work(life: Life, box: Mailbox, numbers: range, size: int) -> None:
        session = box.instance.session(box.one)
        for number in numbers:
            session.begin()
            await box.put(session, number, body(number + size, size))
            await box.commit(session)
        await session.end()

    async def first(life: Life) -> None:
        nonlocal common
        instance = await life.open()
        one = await instance.create_database(NAME, initial_pages=34)
        life.ledger.created(NAME)
        box = Mailbox(life, instance, one, NAME)
        await box.make()
        await work(life, box, range(24), 500)
        await instance.write_old_pages()
        await instance.move_checkpoint()
        await work(life, box, range(10, 30), 400)
        # The passive copy has the database as it is now, and the logs that are closed.
        seed[NAME] = content(life.volume.medium, f"{DIRECTORY}/{NAME}")
        await instance.log.roll("shipped")
        common = instance.log.generation - 1
        await work(life, box, range(5, 40), 700)
        await instance.write_old_pages()
        await work(life, box, range(60, 75), 300)
        lost.update(box.rows)
        instance.abandon()

    life = run(old, first, config=config)
    assert life.error is None, life.error
    active = new_medium()
    for path, data in old.digest(f"{DIRECTORY}/").items():
        shipped = path.endswith(".log") and LogHeader.decode(data[:4096]).generation <= common
        if shipped and "tmp" not in path:
            put(active, path, data)
    put(active, f"{DIRECTORY}/{NAME}", seed[NAME])
    rows: Rows = {}

    async def take_over(life: Life) -> None:
        wanted = RecoveryRequest(
            log_directory=DIRECTORY, closed_logs_suffice=True, allow_lost_logs=True
        )
        plan, errors = await plan_recovery(life.volume, wanted)  # type: ignore[arg-type]
        assert plan is not None, errors
        draws = life.draws
        await recover(
            life.volume,  # type: ignore[arg-type]
            plan,
            now=draws.now,
            flush_signature=draws.signature,
        )
        life.ledger.created(NAME)
        there = dict(rows_of(content(life.volume.medium, f"{DIRECTORY}/{NAME}")) or {})
        instance = await life.open()
        one = await instance.attach(NAME)
        box = Mailbox(life, instance, one, NAME)
        await box.open()
        box.rows = there
        await work(life, box, range(200, 212), 600)
        await instance.write_old_pages()
        await work(life, box, range(0, 12), 450)
        rows.update(box.rows)
        instance.abandon()

    life = run(active, take_over, config=config, ticks=10**5)
    assert life.error is None, life.error
    both = new_medium()
    for directory, medium in ((OLD, old), (ACTIVE, active)):
        both.names[directory] = both.durable_names[directory] = None
        for path, data in medium.digest(f"{DIRECTORY}/").items():
            put(both, path.replace(DIRECTORY, directory, 1), data)
    return Copies(both, common, rows, lost)


@dataclass
class Run:
    steps: list[str]
    died: bool = False
    result: Any = None
    errors: tuple[EseError, ...] = ()
    error: BaseException | None = None


def on(
    medium: Medium,
    work: Callable[[MemoryVolume, Run, Draws], Coroutine[Any, Any, None]],
    crash_at: int | None = None,
) -> Run:
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(medium, crash_at)
    found = Run([])
    task = kernel.run_task(work(volume, found, Draws(10**6)), "work")
    clock.run_until_idle()
    found.steps, found.died = volume.steps, kernel.dead
    if task.done and not kernel.dead:
        found.error = task.error
        assert isinstance(found.error, EseError | ReplicatorError | None), found.error
    kernel.close()
    return found


def reseeded(
    medium: Medium,
    crash_at: int | None = None,
    change: Callable[[ReseedPlan], ReseedPlan] = lambda plan: plan,
) -> Run:
    async def work(volume: Any, found: Run, draws: Draws) -> None:
        plan, found.errors = await plan_reseed(
            volume, ReseedRequest(directory=OLD, active_directory=ACTIVE)
        )
        if plan is not None:
            found.result = await reseed(
                volume, change(plan), now=draws.now, flush_signature=draws.signature
            )

    return on(medium, work, crash_at)


def recovered(medium: Medium, directory: str, **request: Any) -> Run:
    async def work(volume: Any, found: Run, draws: Draws) -> None:
        wanted = RecoveryRequest(log_directory=directory, **request)
        plan, found.errors = await plan_recovery(volume, wanted)
        if plan is not None:
            found.result = await recover(
                volume, plan, now=draws.now, flush_signature=draws.signature
            )

    return on(medium, work)


def breach(medium: Medium, copies: Copies) -> str:
    """What keeps the old copy from being what the active one is; empty when nothing does."""
    after = recovered(medium, OLD)
    if after.result is None:
        return f"refused: {after.errors or after.error}"
    mine = content(medium, f"{OLD}/{NAME}")
    if rows_of(mine) != copies.rows:
        return "rows differ"
    other = medium.copy()
    assert recovered(other, ACTIVE).result is not None
    theirs = content(other, f"{ACTIVE}/{NAME}")
    for pgno in range(1, len(theirs) // PAGE_BYTES - 1):
        at = page_offset(pgno, PAGE_BYTES)
        wanted, data = theirs[at : at + PAGE_BYTES], mine[at : at + PAGE_BYTES]
        if any(wanted) and difference(PageEditor.load(data, pgno), wanted):
            return f"page {pgno} differs"
    return ""


@pytest.mark.parametrize("name", CONFIGS)
def test_the_copies_have_diverged(name: str) -> None:
    copies = prepared(name)
    assert copies.lost != copies.rows
    header = header_in(content(copies.medium, f"{OLD}/{NAME}"))
    assert (header.last_required_generation > copies.common) == (name != "waypoint three logs back")
    # Each by itself is a sound store; with the other's logs it is not.
    medium = copies.medium.copy()
    assert recovered(medium, OLD).result is not None
    assert rows_of(content(medium, f"{OLD}/{NAME}")) == copies.lost
    medium = copies.medium.copy()
    put(medium, f"{ACTIVE}/{NAME}", content(medium, f"{OLD}/{NAME}"))
    mixed = recovered(medium, ACTIVE)
    assert mixed.result is None


@pytest.mark.parametrize("name", ["version 8", "version 7"])
def test_pages_of_the_diverged_logs_are_taken_from_the_active_copy(name: str) -> None:
    copies = prepared(name)
    medium = copies.medium.copy()
    before = medium.digest(ACTIVE)
    result: ReseedResult = reseeded(medium).result
    assert result.diverged == copies.common + 1
    [database] = result.databases
    assert (database.state_before, database.state) == ("DirtyShutdown", "DirtyAndPatchedShutdown")
    pages = len(content(medium, f"{OLD}/{NAME}")) // PAGE_BYTES - 2
    assert 0 < database.pages < pages
    header = header_in(content(medium, f"{OLD}/{NAME}"))
    assert (header.reseed_count, header.page_patch_count) == (1, database.pages)
    assert min(result.removed) == min(result.copied) == copies.common + 1
    assert medium.digest(ACTIVE) == before
    assert breach(medium, copies) == ""


def test_where_no_page_has_a_change_of_the_lost_logs_they_are_taken_away() -> None:
    """Lost log resilience: the header requires nothing that the active copy never had."""
    copies = prepared("waypoint three logs back")
    medium = copies.medium.copy()
    result: ReseedResult = reseeded(medium).result
    [database] = result.databases
    assert (database.state, database.pages) == ("DirtyShutdown", 0)
    assert min(result.removed) == copies.common + 1
    assert breach(medium, copies) == ""


def test_without_the_pages_it_is_not_the_same_database() -> None:
    copies = prepared("version 8")
    medium = copies.medium.copy()

    def without_pages(plan: ReseedPlan) -> ReseedPlan:
        return replace(plan, databases=tuple(replace(d, pages=PageSet()) for d in plan.databases))

    assert reseeded(medium, change=without_pages).result is not None
    assert breach(medium, copies) != ""


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.full)])
def test_a_crash_in_any_step_is_made_good_by_the_next_reseed(
    stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.store.memory_volume.SECTOR", PAGE_BYTES)
    copies = prepared("version 8")
    steps = len(reseeded(copies.medium.copy()).steps)
    for step in range(1, steps + 1, stride):
        medium = copies.medium.copy()
        crashed = reseeded(medium, crash_at=step)
        assert crashed.died
        for name in (None, "nothing unsynced survives", "every other sector"):
            after = medium.copy()
            if name is not None:
                after.lose_power(POWER_LOSSES[name])
            where = f"step {step} ({crashed.steps[-1]}), {name}"
            again = reseeded(after)
            assert again.result is not None, (where, again.errors, again.error)
            assert breach(after, copies) == "", where


def test_while_it_is_under_way_the_database_is_refused() -> None:
    copies = prepared("version 8")
    medium = copies.medium.copy()
    assert reseeded(medium, crash_at=12).died
    assert -1226 in [error.number for error in recovered(medium, OLD).errors]


def with_header(medium: Medium, directory: str, **changes: Any) -> None:
    path = f"{directory}/{NAME}"
    data = content(medium, path)
    block = sealed(replace(header_in(data), **changes).encode(), PAGE_BYTES)
    put(medium, path, block * 2 + data[2 * PAGE_BYTES :])


def log_of(medium: Medium, directory: str, generation: int) -> str:
    for path, data in medium.digest(f"{directory}/").items():
        is_log = path.endswith(".log") and "tmp" not in path
        if is_log and LogHeader.decode(data[:4096]).generation == generation:
            return path
    raise AssertionError(f"no generation {generation}")


def clean_elsewhere(medium: Medium, copies: Copies) -> None:
    """The old copy was shut down in good order, in its own history."""
    assert recovered(medium, OLD).result is not None


def damaged_page(medium: Medium, copies: Copies) -> None:
    data = bytearray(content(medium, f"{ACTIVE}/{NAME}"))
    for pgno in range(1, len(data) // PAGE_BYTES - 1):
        data[page_offset(pgno, PAGE_BYTES) + 100] ^= 0xFF
    put(medium, f"{ACTIVE}/{NAME}", bytes(data))


REFUSED: dict[str, tuple[Callable[[Medium, Copies], None], int]] = {
    "another log set": (
        lambda m, c: (
            [
                put(m, path, _with_log_header(data, log_signature=Signature(7)))
                for path, data in m.digest(f"{ACTIVE}/").items()
                if path.endswith(".log") and "tmp" not in path
            ]
            and None
        ),
        -530,
    ),
    "another database": (
        lambda m, c: with_header(m, ACTIVE, database_signature=Signature(7)),
        -1227,
    ),
    "clean in its own history": (clean_elsewhere, -1227),
    "a diverged log is missing": (lambda m, c: remove(m, log_of(m, OLD, c.common + 1)), -1228),
    "the active copy lacks a log": (
        lambda m, c: remove(m, log_of(m, ACTIVE, c.common)),
        -528,
    ),
    "a page of the active copy is damaged": (damaged_page, -1018),
}


def _with_log_header(data: bytes, **changes: object) -> bytes:
    from tests.ese.logs import with_header as changed

    return changed(data, **changes)


@pytest.mark.parametrize("situation", REFUSED)
def test_what_has_to_be_seeded_anew(situation: str) -> None:
    copies = prepared("version 8")
    medium = copies.medium.copy()
    change, number = REFUSED[situation]
    change(medium, copies)
    before = medium.digest(OLD)
    found = reseeded(medium)
    assert found.result is None
    told = [error.number for error in found.errors]
    told += [found.error.number] if isinstance(found.error, EseError) else []
    assert number in told, (found.errors, found.error)
    assert medium.digest(OLD) == before


def test_without_a_look_at_the_pages_first_the_copy_that_gives_way_is_of_no_use_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_look(*_arguments: object) -> list[EseError]:
        return []

    copies = prepared("version 8")
    medium = copies.medium.copy()
    damaged_page(medium, copies)
    before = medium.digest(OLD)
    monkeypatch.setattr("replicator.ese.reseed_checks._unusable_pages", no_look)
    assert reseeded(medium).result is None
    assert medium.digest(OLD) != before


def test_a_reseed_of_what_has_not_diverged_brings_the_logs() -> None:
    """A passive copy that was behind: it only gets what it lacks."""
    copies = prepared("version 8")
    medium = copies.medium.copy()
    assert reseeded(medium).result is not None
    again: ReseedResult = reseeded(medium).result
    assert again.diverged is None
    assert again.removed == ()
    assert [each.pages for each in again.databases] == [0]
    assert breach(medium, copies) == ""


# -- the last committed log --------------------------------------------------------------


def removed_last(medium: Medium) -> Run:
    async def work(volume: Any, found: Run, draws: Draws) -> None:
        logs = await find_logs(volume, OLD)
        found.result = await remove_last_log(volume, f"{OLD}/{NAME}", logs.logs, draws.signature)

    return on(medium, work)


def test_the_last_log_that_is_not_required_can_be_taken_out() -> None:
    copies = prepared("waypoint three logs back")
    medium = copies.medium.copy()
    header = header_in(content(medium, f"{OLD}/{NAME}"))
    current = LogHeader.decode(content(medium, f"{OLD}/E00.log")[:4096]).generation
    with_header(medium, OLD, last_committed_generation=current)
    for generation in range(current, header.last_required_generation, -1):
        assert removed_last(medium).result == generation
        now = header_in(content(medium, f"{OLD}/{NAME}"))
        assert now.last_committed_generation == generation - 1
        created = LogHeader.decode(
            content(medium, log_of(medium, OLD, generation - 1))[:4096]
        ).created
        assert now.last_committed_created == created
    refused = removed_last(medium)
    assert isinstance(refused.error, EseError)
    assert refused.error.number == -543
    assert recovered(medium, OLD, closed_logs_suffice=True).result is not None


def test_what_allow_lost_logs_does_for_a_database_that_requires_nothing_of_them() -> None:
    """eseutil's /a: the database comes to rest where the logs that are left end."""
    copies = prepared("waypoint three logs back")
    medium = copies.medium.copy()
    header = header_in(content(medium, f"{OLD}/{NAME}"))
    current = LogHeader.decode(content(medium, f"{OLD}/E00.log")[:4096]).generation
    for generation in range(current, header.last_required_generation, -1):
        remove(medium, log_of(medium, OLD, generation))
    if f"{OLD}/E00tmp.log" in medium.names:
        remove(medium, f"{OLD}/E00tmp.log")
    assert {-528} <= {error.number for error in recovered(medium, OLD).errors}
    result = recovered(medium, OLD, allow_lost_logs=True).result
    assert result.last_generation == header.last_required_generation
    found = rows_of(content(medium, f"{OLD}/{NAME}"))
    assert found is not None
    assert header_in(content(medium, f"{OLD}/{NAME}")).state is State.CLEAN_SHUTDOWN
    assert found.items() < {**copies.lost, **found}.items()
    assert 74 not in found  # the last commit stood in the logs that were lost
    assert set(range(24)) <= set(found)


@pytest.mark.parametrize(
    ("change", "generation", "signature"),
    [
        ({"state_number": State.CLEAN_SHUTDOWN}, 9, 1),
        ({}, 8, 1),
        ({}, 9, 2),
        ({"last_required_generation": 9}, 9, 1),
    ],
)
def test_a_log_that_may_not_be_taken_out(
    change: dict[str, Any], generation: int, signature: int
) -> None:
    from replicator.ese.database_header import DatabaseHeader

    fields = {
        "state_number": State.DIRTY_SHUTDOWN,
        "log_signature": Signature(1),
        "first_required_generation": 5,
        "last_required_generation": 6,
        "last_committed_generation": 9,
        **change,
    }
    header = DatabaseHeader(**fields)
    with pytest.raises(ValueError, match=r"."):
        without_last_log(header, generation, Signature(signature), LogTime())


def test_a_set_of_pages() -> None:
    pages = PageSet()
    for pgno in (9, 1, 4000, 9, 7, 8):
        pages.add(pgno)
    assert list(pages) == [1, 7, 8, 9, 4000]
    assert len(pages) == 5


def test_configurations_differ_in_their_logs_only() -> None:
    assert isinstance(LATENT, InstanceConfig)
    assert {config.log_version for config in CONFIGS.values()} == {7, 8}
