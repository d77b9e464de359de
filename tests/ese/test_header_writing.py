"""Database headers and checkpoints as they are written: both copies, states, every crash."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import StorageError
from replicator.ese.attachments import EngineParameters, attachment
from replicator.ese.checkpoint import Checkpoint, new_checkpoint, read_checkpoint
from replicator.ese.checkpoint_file import CheckpointFile
from replicator.ese.checksum import header_checksum
from replicator.ese.database_header import DatabaseHeader, State, read_database_header
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import (
    DATABASE_FORMATS,
    attached,
    check_generations,
    created,
    detached,
    raised,
    recovering,
)
from replicator.ese.errors import EseError
from replicator.ese.header_copies import ALL_SAFEGUARDS, HeaderSafeguards, sealed
from replicator.ese.log_encoding import log_time_at
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import Kernel
from simulator.runtime import SimClock
from tests.ese.samples import load
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium, MemoryVolume

TIME = log_time_at(10**18)
DATABASE = Signature(1, TIME)
LOGS = Signature(2, TIME)
PATH = "/store/priv1.edb"
SMALL = "exchange 2003"
CHECKPOINT_PATH = "/store/E00.chk"

Script = Callable[[MemoryVolume], Coroutine[Any, Any, None]]


def flush_signatures() -> Callable[[], Signature]:
    numbers = iter(range(1, 1000))
    return lambda: Signature(next(numbers), TIME)


def run(
    medium: Medium, script: Script, crash_at: int | None = None, *, sync_fails: bool = False
) -> MemoryVolume:
    clock = SimClock()
    kernel = Kernel(clock)
    medium.names["/store"] = medium.durable_names["/store"] = None
    volume = MemoryVolume(medium, crash_at, sync_fails=sync_fails)
    task = kernel.run_task(script(volume), "script")
    clock.run_until_idle()
    died = kernel.dead
    kernel.close()
    assert died or task.error is None, task.error
    return volume


def fresh(name: str = "exchange 2016") -> DatabaseHeader:
    return created(DATABASE_FORMATS[name], signature=DATABASE, dbid=1, log_signature=LOGS)


def dirty(generation: int = 5, name: str = "exchange 2016") -> DatabaseHeader:
    position = LogPosition(generation, 1, 0x268)
    return attached(fresh(name), position=position, time=TIME, generation_created=TIME)


# -- the changes of a header ----------------------------------------------------------


@pytest.mark.parametrize("name", DATABASE_FORMATS)
def test_a_new_header_is_read_and_leaves_what_old_readers_do_not_sum_empty(name: str) -> None:
    header = fresh(name)
    block = sealed(header.encode(), header.page_size)
    found, reading = read_database_header(BytesReader(block * 2))
    assert reading.equal
    assert found == replace(header, checksum=found.checksum)
    assert not any(block[668:])
    assert header_checksum(block[:668]) == found.checksum
    assert found.state is State.JUST_CREATED
    assert len(block) == DATABASE_FORMATS[name].page_size


def test_the_life_of_a_header() -> None:
    header = dirty(5)
    assert header.state is State.DIRTY_SHUTDOWN
    fields = "first_required", "first_consistent", "last_required", "last_committed"

    def generations(header: DatabaseHeader) -> tuple[int, ...]:
        return tuple(getattr(header, f"{field}_generation") for field in fields)

    assert generations(header) == (5, 5, 5, 5)
    header = raised(header, last=6, committed=8, committed_created=TIME, dbtime=70)
    assert (generations(header), header.dbtime) == ((5, 5, 6, 8), 70)
    header = raised(header, first=6)
    assert generations(header) == (6, 6, 6, 8)
    header = recovering(header, 7)
    assert header.recovering_generation == 7
    position = LogPosition(8, 3, 40)
    header = detached(header, position=position, time=TIME, dbtime=90, last_objid=12)
    assert header.is_clean
    assert generations(header) == (0, 0, 0, 0)
    assert header.consistent_position == header.detach_position == LogPosition(8, 3, 0)
    assert header.last_committed_created.is_zero
    again = attached(
        header, position=LogPosition(9, 1, 616), time=TIME, generation_created=TIME, dbid=2
    )
    assert (again.detach_position, again.consistent_position) == (
        LogPosition(),
        LogPosition(8, 3, 0),
    )
    assert again.dbid == 2


def test_a_clean_end_is_written_as_the_engine_wrote_it() -> None:
    real, _ = read_database_header(BytesReader(load("srum-server2022-later/SRUDB.dat")))
    before = replace(
        real,
        state_number=State.DIRTY_SHUTDOWN,
        first_required_generation=5,
        first_consistent_generation=5,
        last_required_generation=5,
        last_committed_generation=5,
        last_committed_created=TIME,
        consistent_position=LogPosition(4, 6, 0),
        detach_position=LogPosition(),
        dbtime=1,
        last_objid=1,
    )
    after = detached(
        before,
        position=real.consistent_position,
        time=real.detach_time,
        dbtime=real.dbtime,
        last_objid=real.last_objid,
    )
    assert after == real


def test_formats_without_the_consistent_generation_leave_it_zero() -> None:
    header = raised(dirty(5, "exchange 2003"), first=6, last=6, committed=6, committed_created=TIME)
    assert header.first_consistent_generation == 0
    assert header.first_required_generation == 6


@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["first", "consistent", "last", "committed"]), st.integers(1, 12)
        ),
        max_size=12,
    )
)
def test_generations_stay_in_order_and_never_fall(changes: list[tuple[str, int]]) -> None:
    header = dirty(3)
    for name, value in changes:
        try:
            changed = raised(header, **{name: value})  # type: ignore[arg-type]
        except ValueError:
            continue
        check_generations(changed)
        first, last = changed.first_required_generation, changed.last_required_generation
        assert header.first_required_generation <= first <= last
        assert last <= changed.last_committed_generation
        assert first <= changed.first_consistent_generation <= last
        header = changed


def test_what_no_engine_does_is_refused() -> None:
    clean = detached(dirty(), position=LogPosition(5, 2, 40), time=TIME, dbtime=1, last_objid=1)
    with pytest.raises(ValueError, match="requires no generations"):
        raised(clean, last=7)
    with pytest.raises(ValueError, match="not recovered"):
        recovering(clean, 7)
    with pytest.raises(ValueError, match="no step leads"):
        detached(clean, position=LogPosition(), time=TIME, dbtime=1, last_objid=1)
    with pytest.raises(ValueError, match="no step leads"):
        attached(dirty(), position=LogPosition(6), time=TIME, generation_created=TIME)
    with pytest.raises(ValueError, match="does not fall"):
        raised(dirty(5), committed=4)
    with pytest.raises(ValueError, match="out of order"):
        raised(dirty(5), last=7)
    with pytest.raises(ValueError, match="when was generation 0x9 created"):
        raised(dirty(5), committed=9)


# -- the file -------------------------------------------------------------------------


async def life(volume: MemoryVolume, safeguards: HeaderSafeguards = ALL_SAFEGUARDS) -> None:
    """Create, attach, raise and detach; then find it again and attach once more."""
    file = volume.create(PATH)
    draw = flush_signatures()
    kept = await DatabaseHeaderFile.create(volume, file, fresh(SMALL), draw, safeguards)
    await volume.sync_directory("/store")
    await kept.write(dirty(5, SMALL))
    await kept.write(raised(kept.header, last=6, committed=6, committed_created=TIME))
    position = LogPosition(6, 2, 40)
    await kept.write(detached(kept.header, position=position, time=TIME, dbtime=9, last_objid=3))
    await _go_on(volume, safeguards)


async def _go_on(volume: MemoryVolume, safeguards: HeaderSafeguards = ALL_SAFEGUARDS) -> None:
    file = volume.open(PATH)
    kept = await DatabaseHeaderFile.open(volume, file, flush_signatures(), safeguards)
    dbtime = kept.header.dbtime + 1
    for _ in range(2):
        # The flush signature makes each write another one; the rest may stay.
        dbtime += 1
        await kept.write(replace(kept.header, dbtime=dbtime))


def dbtimes(medium: Medium) -> tuple[int, State | None]:
    inode = medium.names.get(PATH)
    assert inode is not None
    header, _ = read_database_header(BytesReader(bytes(inode.data), PATH))
    return header.dbtime, header.state


def header_breach(safeguards: HeaderSafeguards = ALL_SAFEGUARDS) -> str:
    """Crash in each step, in two lives, with every power loss: a header must be readable."""

    async def script(volume: MemoryVolume) -> None:
        await life(volume, safeguards)

    async def second(volume: MemoryVolume) -> None:
        await _go_on(volume, safeguards)

    steps = run(Medium(), script).steps
    begun = next(n for n, step in enumerate(steps, 1) if step == "sync /store")
    for crash_at in range(begun + 1, len(steps) + 1):
        for sync_fails in (False, True):
            medium = Medium()
            volume = run(medium, script, crash_at, sync_fails=sync_fails)
            done = sum(step.endswith(" 4096 +4096") for step in volume.steps[:-1])
            for name, choices in {"power stays": (), **POWER_LOSSES}.items():
                first = medium.copy()
                if choices:
                    first.lose_power(choices)
                where = f"{steps[crash_at - 1]} in step {crash_at}, {name}"
                try:
                    dbtimes(first)
                except EseError as error:
                    return f"{where}: {error}"
                if name not in ("power stays", "every other sector"):
                    continue
                if done < 1:
                    continue
                again = run(first.copy(), second).steps
                for next_crash in range(1, len(again) + 1):
                    twice = first.copy()
                    run(twice, second, next_crash)
                    for loss in ("nothing unsynced survives", "every other sector"):
                        dark = twice.copy()
                        dark.lose_power(POWER_LOSSES[loss])
                        try:
                            dbtimes(dark)
                        except EseError as error:
                            return f"{where}, then step {next_crash}, {loss}: {error}"
    return ""


def test_a_header_is_readable_after_a_crash_in_any_step_and_another_one() -> None:
    assert header_breach() == ""


@pytest.mark.parametrize("name", ["sync_between_copies", "repair_at_open"])
def test_without_a_safeguard_a_header_is_lost(name: str) -> None:
    assert header_breach(replace(ALL_SAFEGUARDS, **{name: False}))


@pytest.mark.parametrize("sync_at_end", [True, False])
def test_what_was_written_survives_a_power_loss(sync_at_end: bool) -> None:
    async def script(volume: MemoryVolume) -> None:
        await life(volume, replace(ALL_SAFEGUARDS, sync_at_end=sync_at_end))

    medium = Medium()
    run(medium, script)
    expected = dbtimes(medium)
    inode = medium.names[PATH]
    assert inode is not None
    before = bytes(inode.data)
    medium.lose_power(POWER_LOSSES["nothing unsynced survives"])
    assert dbtimes(medium) == expected  # the first copy is always durable
    assert (bytes(medium.names[PATH].data) == before) is sync_at_end  # type: ignore[union-attr]


def test_a_step_that_no_engine_takes_is_not_written() -> None:
    async def script(volume: MemoryVolume) -> None:
        file = volume.create(PATH)
        kept = await DatabaseHeaderFile.create(volume, file, fresh(), flush_signatures())
        steps = len(volume.steps)
        wrong = {
            "page size": replace(dirty(), page_size_field=4096),
            "signature": replace(dirty(), database_signature=LOGS),
            "no step leads": replace(dirty(), state_number=3),
            "does not follow": replace(dirty(), state_number=77),
            "out of order": replace(dirty(), last_required_generation=2),
            "generations in state": replace(fresh(), last_required_generation=2),
        }
        for words, header in wrong.items():
            with pytest.raises(ValueError, match=words):
                await kept.write(header)
        assert len(volume.steps) == steps
        await kept.write(dirty())

    run(Medium(), script)


def test_after_a_failed_write_no_header_is_written() -> None:
    class Failing(MemoryVolume):
        fails = False

        def step(self, what: str) -> bool:
            died = super().step(what)
            if self.fails:
                raise StorageError("the disk failed", path=what)
            return died

    medium = Medium()
    medium.names["/store"] = None
    volume = Failing(medium)
    clock = SimClock()
    kernel = Kernel(clock)

    async def script() -> None:
        file = volume.create(PATH)
        kept = await DatabaseHeaderFile.create(volume, file, fresh(), flush_signatures())
        log = await CheckpointFile.open(volume, "/store", "E00.chk")
        volume.fails = True
        with pytest.raises(StorageError):
            await kept.write(dirty())
        with pytest.raises(StorageError):
            await log.write(new_checkpoint(LogPosition(3), LOGS))
        volume.fails = False
        with pytest.raises(EseError) as caught:
            await kept.write(dirty())
        assert (caught.value.number, caught.value.events) == (-1022, (439,))
        with pytest.raises(EseError) as caught:
            await log.write(new_checkpoint(LogPosition(3), LOGS))
        assert caught.value.number == -1022

    task = kernel.run_task(script(), "script")
    clock.run_until_idle()
    kernel.close()
    assert task.error is None, task.error


# -- checkpoints ----------------------------------------------------------------------


def test_a_real_checkpoint_comes_out_as_it_was() -> None:
    data = load("srum-server2022-later/SRU.chk")
    real, _ = read_checkpoint(BytesReader(data))
    made = new_checkpoint(real.position, real.log_signature, real.parameters)
    made = replace(
        made,
        parameter_bytes=real.parameter_bytes,
        last_full_backup_checkpoint=real.last_full_backup_checkpoint,
    )
    assert sealed(made.encode(), 4096) == data[:4096]


def test_a_checkpoint_with_attachments_vouches_for_them() -> None:
    paths = ("C:\\a.edb", "C:\\b.edb")
    entries = [attachment(path, dbid=number) for number, path in enumerate(paths, 1)]
    made = new_checkpoint(LogPosition(7, 1), LOGS, EngineParameters(sessions=5))
    assert Checkpoint.decode(sealed(made.encode(), 4096)).attachments is None
    block = sealed(made.with_attachments(entries).encode(), 4096)
    found, reading = read_checkpoint(BytesReader(block * 2))
    assert reading.equal
    assert [each.path for each in found.attachments or ()] == [*paths]
    assert found.parameters.sessions == 5


async def checkpoints(volume: MemoryVolume) -> None:
    kept = await CheckpointFile.open(volume, "/store", "E00.chk")
    start = 0 if kept.checkpoint is None else kept.checkpoint.position.generation
    for generation in range(start + 1, start + 4):
        await kept.write(new_checkpoint(LogPosition(generation, 1), LOGS))
    kept.close()


def test_the_checkpoint_is_there_after_a_crash_in_any_step_and_never_moves_back() -> None:
    def at(medium: Medium) -> int:
        inode = medium.names.get(CHECKPOINT_PATH)
        if inode is None:
            return 0
        try:
            return read_checkpoint(BytesReader(bytes(inode.data)))[0].position.generation
        except EseError:
            return 0

    steps = run(Medium(), checkpoints).steps
    for crash_at in range(1, len(steps) + 1):
        medium = Medium()
        volume = run(medium, checkpoints, crash_at)
        writes = sum(step.startswith("write") for step in volume.steps[:-1])
        durable = writes // 2 if "sync /store" in volume.steps[:-1] else 0
        for name, choices in POWER_LOSSES.items():
            dark = medium.copy()
            dark.lose_power(choices)
            found = at(dark)
            sure = durable - (volume.steps[-1].startswith("sync") and writes % 2 == 0)
            assert sure <= found <= durable + 1, f"step {crash_at}, {name}"
            run(dark, checkpoints)
            assert at(dark) == found + 3


def test_a_checkpoint_that_would_move_back_is_refused() -> None:
    async def script(volume: MemoryVolume) -> None:
        kept = await CheckpointFile.open(volume, "/store", "E00.chk")
        await kept.write(new_checkpoint(LogPosition(4, 2), LOGS))
        with pytest.raises(ValueError, match="lies before"):
            await kept.write(new_checkpoint(LogPosition(4, 1), LOGS))
        await kept.write(new_checkpoint(LogPosition(1), Signature(9)))  # of another log set

    run(Medium(), script)


def test_a_damaged_checkpoint_is_begun_anew() -> None:
    medium = Medium()
    run(medium, checkpoints)
    inode = medium.names[CHECKPOINT_PATH]
    assert inode is not None
    inode.data[100] ^= 1
    inode.data[5000] ^= 1

    async def script(volume: MemoryVolume) -> None:
        kept = await CheckpointFile.open(volume, "/store", "E00.chk")
        assert kept.checkpoint is None
        await kept.write(new_checkpoint(LogPosition(1), LOGS))

    run(medium, script)
    assert read_checkpoint(BytesReader(bytes(inode.data)))[1].equal


def test_times_of_a_wall_clock() -> None:
    time = log_time_at(1_697_597_309_310_999_999)
    assert str(time) == "2023-10-18 02:48:29.310Z"
    assert time != LogTime()
