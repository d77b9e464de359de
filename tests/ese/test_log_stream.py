"""The log stream: what it writes can be read, whatever crashes in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import StorageError, SyncFailed
from replicator.ese.errors import EseError
from replicator.ese.log_directory import ALL_SAFEGUARDS, LogSafeguards
from replicator.ese.log_header import LogHeader
from replicator.ese.log_options import Durability
from replicator.ese.log_stream import LogBufferFull
from replicator.ese.values import LogPosition
from replicator.runtime import Kernel, group, yield_now
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.host import run_offline
from simulator.runtime import SimClock
from simulator.volume import SimVolume
from tests.ese.log_writing import (
    DIRECTORY,
    UNDO,
    Diary,
    Logger,
    breach,
    breach_of,
    crash_states,
    files_of,
    read_back,
    run,
    second_life,
    short_life,
    unseen,
)
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium, MemoryVolume

# -- what is written can be read ------------------------------------------------------


def test_all_that_was_logged_is_read_back_where_it_was_said_to_be() -> None:
    life = run(Medium(), short_life)
    assert life.error is None, life.error
    assert breach(life.medium, life.diary) == ""
    records, errors = read_back(files_of(life.medium))
    assert not errors
    assert records == [each for each in life.diary.logged if each[0] > LogPosition(2)]
    assert life.diary.began == [1, 2, 3, 4, 5]


SIZES = st.one_of(st.integers(5, 80), st.integers(3950, 4100), st.integers(5, 18_000))
ACTIONS = st.one_of(
    st.tuples(st.just("append"), SIZES),
    st.tuples(st.just("first in a segment"), st.integers(5, 600)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("roll"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 2)),
)


@given(
    actions=st.lists(ACTIONS, max_size=40),
    durability=st.sampled_from(Durability),
    segments_a_write=st.sampled_from([1, 3, None]),
    circular=st.booleans(),
    buffer_bytes=st.sampled_from([1, 5000, 100_000]),
)
def test_records_flushes_rolls_and_restarts_in_any_order(
    actions: list[tuple[str, int]],
    durability: Durability,
    segments_a_write: int | None,
    circular: bool,
    buffer_bytes: int,
) -> None:
    deleted = 0

    async def script(logger: Logger) -> None:
        nonlocal deleted
        await logger.create()
        for action, number in actions:
            stream = logger.stream
            if action == "append":
                await stream.room(number)
                logger.append(number)
            elif action == "first in a segment":
                await stream.room(number)
                logger.append(number, new_segment=True)
            elif action == "flush":
                await stream.flush()
            elif action == "roll":
                await logger.roll()
            elif action == "delete":
                deleted = max(deleted, stream.generation - number)
                stream.delete_below(deleted)
            else:
                await stream.close()
                await logger.resume()
                logger.append_record(UNDO, new_segment=True)
        await logger.stream.close()

    def setup(logger: Logger) -> None:
        logger.segments_a_write = segments_a_write

    life = run(
        Medium(),
        script,
        setup=setup,
        durability=durability,
        circular=circular,
        buffer_bytes=buffer_bytes,
    )
    assert life.error is None, life.error
    records, errors = read_back(files_of(life.medium))
    assert not errors, errors
    kept = [each for each in life.diary.logged if each[0].generation >= deleted]
    assert records == kept
    assert life.diary.began == [*range(1, len(life.diary.began) + 1)]


# -- crashes --------------------------------------------------------------------------


def test_a_crash_in_any_step_leaves_a_chain_with_all_that_was_confirmed() -> None:
    states = 0
    for name, medium, diary in crash_states():
        states += 1
        found = breach(medium, diary)
        assert not found, f"{name}: {found}"
    assert states > 900


def test_so_it_does_with_logs_that_are_used_again() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        for size in (9000, 4000, 9000, 12_000, 300, 17_000, 9000, 13_000):
            await logger.commit(size)
            await logger.commit(100)
            logger.stream.delete_below(logger.stream.generation)

    whole = run(Medium(), script, circular=True)
    assert "rename /logs/E0000000001.log /logs/E00tmp.log" in whole.steps
    for name, medium, diary in crash_states(script=script, circular=True):
        found = breach(medium, diary)
        assert not found, f"{name}: {found}"


def go_on(name: str, medium: Medium, diary: Diary, **options: object) -> str:
    """Resume on what a crash left, write on, and judge that, also after a power loss."""
    there, errors = read_back(files_of(medium)) if diary.began else ([], [])
    if errors or not there:
        return ""  # that crash is judged elsewhere, or there is nothing to go on with
    known = [each for each in diary.logged if each[0] < there[0][0]] + there
    second = Diary(known, len(known))
    life = run(medium, second_life, diary=second, **options)  # type: ignore[arg-type]
    if life.error is not None:
        return f"{name}: {life.error}"
    found = breach(medium, second)
    if not found:
        medium.lose_power(POWER_LOSSES["nothing unsynced survives"])
        found = breach(medium, second)
    return found and f"{name}; second life: {found}"


def test_a_log_goes_on_behind_what_any_crash_has_left() -> None:
    for name, medium, diary in unseen(crash_states(stride=2)):
        found = go_on(name, medium, diary)
        assert not found, found


def test_and_it_may_crash_again() -> None:
    _crash_twice(crash_states(stride=13, power_losses=("every other sector",)), 7)


def test_a_crash_between_the_renames_and_one_in_what_follows() -> None:
    steps = run(Medium(), short_life).steps
    places = [n for n, step in enumerate(steps, 1) if step.endswith("tmp.log /logs/E00.log")]
    assert len(places) == 5
    for crash_at in places[1:]:
        life = run(Medium(), short_life, crash_at=crash_at)
        assert "/logs/E00.log" not in life.medium.names
        _crash_twice([(f"crash in step {crash_at}", life.medium, life.diary)], 1)


@pytest.mark.full
def test_and_it_may_crash_again_in_full() -> None:
    _crash_twice(crash_states(power_losses=("every other sector",)), 1)


def _crash_twice(states: Iterable[tuple[str, Medium, Diary]], second_stride: int) -> None:
    for name, medium, diary in states:
        there, _ = read_back(files_of(medium)) if diary.began else ([], [])
        if not there:
            continue
        known = [each for each in diary.logged if each[0] < there[0][0]] + there
        confirmed = diary.confirmed
        steps = len(run(medium.copy(), second_life, diary=Diary([*known], confirmed)).steps)
        for crash_at in range(1, steps + 1, second_stride):
            again = Diary([*known], confirmed)
            second = run(medium.copy(), second_life, diary=again, crash_at=crash_at)
            for loss in ("nothing unsynced survives", "every other sector"):
                dark = second.medium.copy()
                dark.lose_power(POWER_LOSSES[loss])
                found = breach(dark, second.diary)
                assert not found, f"{name}; second life step {crash_at}, {loss}: {found}"


def failed_sync_states() -> Iterator[tuple[str, Medium, Diary]]:
    """Every state that a process can leave in the page cache that dies of a failed sync."""
    whole = run(Medium(), short_life)
    for crash_at, step in enumerate(whole.steps, 1):
        if step.startswith("sync ") and "." in step:  # of a file
            life = run(Medium(), short_life, crash_at=crash_at, sync_fails=True)
            yield f"failed in step {crash_at} ({step})", life.medium, life.diary


def test_what_a_failed_sync_left_in_the_cache_alone_is_written_again() -> None:
    for name, medium, diary in failed_sync_states():
        found = go_on(name, medium, diary)
        assert not found, found


def test_lazy_flushes_lose_records_and_no_generation_that_is_required() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        for size in (9000, 12_000, 16_000, 9000, 14_000, 11_000, 300):
            await logger.commit(size)
            required = logger.stream.generation - 2
            if required > 0:
                await logger.stream.require(required)
                assert logger.stream.flushed >= LogPosition(required + 1)
                records = [each for each in logger.diary.logged if each[0].generation <= required]
                logger.diary.required = max(logger.diary.required, len(records))
        await logger.stream.harden()
        logger.diary.required = len(logger.diary.logged)

    lost = 0
    for name, medium, diary in crash_states(script=script, durability=Durability.LAZY):
        last = diary.logged[diary.required - 1][0].generation if diary.required else 0
        closed = {f"E00{generation:08X}.log" for generation in range(1, last + 1)}
        files = {name: data for name, data in files_of(medium).items() if name in closed}
        records = read_back({**files, "E00.log": b""})[0] if files else []
        wanted = [each for each in diary.logged[: diary.required] if each[0].generation <= last]
        if last and closed <= set(files):
            assert records[: len(wanted)] == wanted, name
        elif last:
            found = breach(medium, Diary(diary.logged, diary.required))
            assert not found, f"{name}: {found}"
        lost += bool(breach(medium, diary))
    assert lost > 50  # else this shows nothing


# -- each safeguard is needed ---------------------------------------------------------

ON_OTHER_STATES = {"repair_at_restart"}


@pytest.mark.parametrize(
    "name", sorted({each.name for each in fields(LogSafeguards)} - ON_OTHER_STATES)
)
def test_without_a_safeguard_the_enumeration_finds_a_breach(name: str) -> None:
    safeguards = replace(ALL_SAFEGUARDS, **{name: False})
    assert any(breach(medium, diary) for _, medium, diary in crash_states(safeguards=safeguards))


def test_without_repair_a_failed_sync_is_found_out() -> None:
    safeguards = replace(ALL_SAFEGUARDS, repair_at_restart=False)
    assert any(
        go_on(name, medium, diary, safeguards=safeguards)
        for name, medium, diary in failed_sync_states()
    )


def test_without_shadows_confirmed_records_are_lost() -> None:
    def setup(logger: Logger) -> None:
        logger.shadows = False

    states = crash_states(setup=setup, power_losses=())
    assert any("were confirmed" in breach(medium, diary) for _, medium, diary in states)


def several(logger: Logger) -> None:
    logger.segments_a_write = None


def test_several_segments_in_one_write_need_a_disk_that_tears_it_at_its_end() -> None:
    for name, medium, diary in crash_states(setup=several, power_losses=()):
        assert not breach(medium, diary), name  # a process that dies leaves its beginning
    found = [breach(medium, diary) for _, medium, diary in crash_states(setup=several)]
    assert any("-501" in each for each in found)


def test_a_roll_survives_on_disks_that_may_lose_any_name() -> None:
    states = 0
    for found in _on_a_disk_that_loses_any_name():
        states += 1
        assert not found, found
    assert states > 100


def _on_a_disk_that_loses_any_name() -> Iterator[str]:
    """Breaches after a power loss in each step of a roll on the emulated disk."""
    for crash_at in range(1, 1000):
        clock = SimClock()
        kernel = Kernel(clock)
        disk = Disk(clock, replace(INSTANT, metadata="any"), "disk")
        disk.crash_at_step = crash_at
        diary = Diary()
        volume = SimVolume(disk, kernel)
        logger = Logger(volume, diary, clock)

        async def script(logger: Logger = logger, volume: SimVolume = volume) -> None:
            volume.mkdir(DIRECTORY)
            await volume.sync_directory("/")
            await logger.create()
            await logger.commit(9000)
            await logger.commit(12_000)

        task = kernel.run_task(script(), "script")
        clock.run_until_idle()
        died = kernel.dead
        assert died or task.error is None, task.error
        kernel.close()
        if not died:
            return
        for flips in range(4):
            dark = disk.fork(clock, disk.model)
            bits = iter((flips & 1, flips >> 1) * 1000)
            dark.power_loss(lambda outcomes, bits=bits: (outcomes - 1) * next(bits))  # type: ignore[misc]
            yield breach_of(disk_files(dark), diary)


def disk_files(disk: Disk) -> dict[str, bytes]:
    """The logs on an emulated disk."""

    async def read(host: object) -> dict[str, bytes]:
        volume = host.volume("disk")  # type: ignore[attr-defined]
        if not volume.exists(DIRECTORY):
            return {}
        found = {}
        for name in volume.list(DIRECTORY):
            file = volume.open(f"{DIRECTORY}/{name}")
            found[name] = await file.read_at(0, file.size_bytes)
        return found

    return run_offline({"disk": disk}, read)


# -- failures -------------------------------------------------------------------------


class FailingVolume(MemoryVolume):
    """Fails in one step, and works before and after it, as a disk with a bad moment does."""

    fail_at = 0
    error: type[StorageError] = SyncFailed

    def step(self, what: str) -> bool:
        died = super().step(what)
        if len(self.steps) == self.fail_at:
            raise self.error("the disk failed", path=what)
        return died


@pytest.mark.parametrize("kind", ["sync /logs/", "sync /logs", "write ", "rename "])
def test_after_a_failure_the_log_is_stopped_for_ever(kind: str) -> None:
    whole = run(Medium(), short_life).steps
    began = next(n for n, step in enumerate(whole) if step.startswith("rename"))
    places = [n for n, step in enumerate(whole, 1) if step.startswith(kind) and n > began + 2]
    assert len(places) >= 4
    for fail_at in places:
        clock = SimClock()
        kernel = Kernel(clock)
        medium, diary = Medium(), Diary()
        medium.names[DIRECTORY] = medium.durable_names[DIRECTORY] = None
        volume = FailingVolume(medium)
        volume.fail_at = fail_at
        logger = Logger(volume, diary, clock)
        errors: list[int] = []

        async def script(logger: Logger = logger, errors: list[int] = errors) -> None:
            # A group raises its first failure; whoever waits beside it gets an error of its own.
            with pytest.raises(EseError) as caught:
                await short_life(logger)
            errors.append(caught.value.number)
            steps = len(logger.volume.steps)  # type: ignore[attr-defined]
            for attempt in (logger.stream.flush, logger.stream.harden, logger.stream.close):
                with pytest.raises(EseError) as caught:
                    await attempt()
                errors.append(caught.value.number)
            with pytest.raises(EseError) as caught:
                logger.append(100)
            errors.append(caught.value.number)
            assert logger.stream.stopped
            assert len(logger.volume.steps) == steps  # type: ignore[attr-defined]

        task = kernel.run_task(script(), "script")
        clock.run_until_idle()
        kernel.close()
        assert task.error is None, task.error
        assert errors == [-510] * 5
        found = breach(medium, diary)
        assert not found, f"{whole[fail_at - 1]}: {found}"


@pytest.mark.parametrize("cancel_after", range(12))
def test_a_cancelled_flush_is_taken_up_by_the_next_one(cancel_after: int) -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        logger.volume.lags = True  # type: ignore[attr-defined]
        for size in (500, 8000, 300, 9000, 12_000):
            logger.append(size)
            async with group() as g:
                g.spawn(logger.stream.flush(), "flush")
                for _turn in range(cancel_after):
                    await yield_now()
                g.cancel()
        await logger.commit(50)
        await logger.stream.close()

    life = run(Medium(), script)
    assert life.error is None, life.error
    assert breach(life.medium, life.diary) == ""
    life.medium.lose_power(POWER_LOSSES["nothing unsynced survives"])
    assert breach(life.medium, life.diary) == ""
    assert life.diary.began == [1, 2]


def test_tasks_that_wait_together_share_a_write_and_its_sync() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        logger.volume.lags = True  # type: ignore[attr-defined]
        steps = logger.volume.steps  # type: ignore[attr-defined]
        before = len(steps)
        async with group() as g:
            for _task in range(20):
                g.spawn(logger.commit(100), "commit")
        syncs = [step for step in steps[before:] if step.startswith("sync")]
        assert len(syncs) == 3, syncs  # one for the first, two (shadow) for all others
        assert logger.stream.flushed == logger.stream.written == logger.stream.tip

    life = run(Medium(), script)
    assert life.error is None, life.error


def test_the_buffer_is_bounded() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        logger.append(900)
        with pytest.raises(LogBufferFull):
            logger.append(200)
        with pytest.raises(LogBufferFull):
            logger.stream.append_together([bytes(100), bytes(100)])
        await logger.stream.room(200)
        logger.append(200)
        await logger.stream.flush()
        logger.append(5000)  # larger than the buffer, and alone in it

    assert run(Medium(), script, buffer_bytes=1000).error is None


def test_what_is_no_record_changes_nothing() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        await logger.commit(100)
        tip = logger.stream.tip
        for size in (21_000, 300_000):
            with pytest.raises(ValueError, match="record"):
                logger.append(size)
        with pytest.raises(ValueError, match="record"):
            logger.stream.append(b"")
        with pytest.raises(ValueError, match="records"):
            logger.stream.append_together([bytes(15_000), bytes(9000)])
        assert logger.stream.tip == tip
        await logger.stream.close()

    life = run(Medium(), script)
    assert life.error is None, life.error
    assert breach(life.medium, life.diary) == ""


def test_records_that_belong_together_stand_in_one_file() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        await logger.commit(12_000)
        positions = logger.stream.append_together([UNDO] * 1200)
        assert {each.generation for each in positions} == {2}

    assert run(Medium(), script).error is None


# -- a full volume --------------------------------------------------------------------


def on_a_disk(size_bytes: int, script: object) -> tuple[Disk, Diary]:
    clock = SimClock()
    kernel = Kernel(clock)
    disk = Disk(clock, replace(INSTANT, size_bytes=size_bytes), "disk")
    diary = Diary()
    volume = SimVolume(disk, kernel)
    volume.mkdir(DIRECTORY)
    task = kernel.run_task(script(Logger(volume, diary, clock)), "script")  # type: ignore[operator]
    clock.run_until_idle()
    assert task.done, "the script hangs"
    kernel.close()
    assert task.error is None, task.error
    return disk, diary


def test_on_a_full_volume_the_reserve_logs_serve_for_a_clean_end() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        while not logger.stream.must_shut_down:
            await logger.commit(3000)
        assert logger.stream.generation < 40
        await logger.commit(3000)
        await logger.commit(26)
        await logger.stream.close()

    disk, diary = on_a_disk(300_000, script)
    files = disk_files(disk)
    assert breach_of(files, diary) == ""
    assert "E00res00001.jrs" not in files
    assert "E00res00002.jrs" in files
    assert LogHeader.decode(files["E00.log"][:4096]).reserve_log_used
    before = files[f"E00{diary.began[-2]:08X}.log"]
    assert not LogHeader.decode(before[:4096]).reserve_log_used


def test_when_both_reserve_logs_are_used_the_log_ends() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        with pytest.raises(EseError) as caught:
            while logger.stream.generation < 100:
                await logger.commit(3000)
        assert caught.value.number == -529
        with pytest.raises(EseError) as caught:
            logger.append(10)
        assert caught.value.number == -529

    disk, diary = on_a_disk(300_000, script)
    files = disk_files(disk)
    assert breach_of(files, diary) == ""
    assert not [name for name in files if name.endswith(".jrs")]


def test_room_that_comes_back_in_time_is_used() -> None:
    async def script(logger: Logger) -> None:
        await logger.create()
        for _ in range(200):
            await logger.commit(3000)
            logger.stream.delete_below(logger.stream.generation - 1)
        assert not logger.stream.must_shut_down

    on_a_disk(200_000, script)


def test_there_must_be_room_for_the_reserve_logs() -> None:
    async def script(logger: Logger) -> None:
        with pytest.raises(EseError) as caught:
            await logger.create()
        assert caught.value.number == -529

    disk, _ = on_a_disk(40_000, script)
    assert not [name for name in disk_files(disk) if name == "E00.log"]


# -- starting -------------------------------------------------------------------------


def test_a_log_set_is_not_begun_where_one_is() -> None:
    life = run(Medium(), short_life)

    async def again(logger: Logger) -> None:
        with pytest.raises(ValueError, match="E00 already"):
            await logger.create()

    assert run(life.medium, again).error is None


def test_there_must_be_a_log_to_go_on_with() -> None:
    async def script(logger: Logger) -> None:
        with pytest.raises(EseError) as caught:
            await logger.resume()
        assert caught.value.number == -528

    assert run(Medium(), script).error is None


def test_a_damaged_log_is_not_continued() -> None:
    life = run(Medium(), short_life)
    log = life.medium.names["/logs/E00.log"]
    assert log is not None
    log.data[4096 + 100] ^= 255
    log.data[8192 + 100] ^= 255

    async def script(logger: Logger) -> None:
        with pytest.raises(EseError) as caught:
            await logger.resume()
        assert caught.value.number == -501

    assert run(life.medium, script).error is None


def test_the_header_of_a_continued_set_keeps_signature_and_flags() -> None:
    life = run(Medium(), short_life)
    life = run(life.medium, second_life, diary=life.diary, circular=True, circular_before=True)
    assert life.error is None, life.error
    header = LogHeader.decode(files_of(life.medium)["E00.log"][:4096])
    assert header.circular_logging
    assert header.circular_logging_before
    assert header.log_signature.random == 4711
    assert header.attachments[0].path == "C:\\store\\priv1.edb"
