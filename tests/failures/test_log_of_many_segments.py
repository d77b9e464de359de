"""A log has more segments than a process may have files open; it keeps few of them open.

What must not come of it: a file that is closed and opened again knows nothing of a write-back
that failed meanwhile, so what was written must be synced through the file that wrote.
"""

from __future__ import annotations

from typing import Any

import pytest

from replicator import open_segments
from replicator.board import Board
from replicator.catalogue import Catalogue
from replicator.errors import StorageError, SyncFailed
from replicator.journal import LogKind, Position, SegmentedLog
from replicator.open_segments import MOST_OPEN_SEGMENTS, MOST_UNSYNCED_SEGMENTS, OpenSegments
from replicator.operation import write_prefix
from replicator.records import RecordType
from replicator.runtime import TimedOut, deadline, group, yield_now
from replicator.runtime.port import Volume
from replicator.segments import Segment
from replicator.spool import Spool
from simulator.host import World, lose_everything, run_offline
from simulator.systems.byte_level import REPLICA
from tests.disk.bench import Bench
from tests.failures.worlds import (
    KIB,
    MIB,
    MS,
    FailureWorld,
    Handles,
    blocks,
    content,
    counted_handles,
    payload,
    slow,
    spoil,
)

SEGMENTS = 120
BOUND = MOST_OPEN_SEGMENTS + MOST_UNSYNCED_SEGMENTS + 1
"""And the last one."""
NO_BOUND = 1 << 30
SEGMENT = 2 * KIB
RECORD = 1200
"""One in each segment."""


def log_over(volume: Volume) -> SegmentedLog:
    return SegmentedLog(volume, "/log", LogKind.JOURNAL, "set", SEGMENT, 64 * MIB)


def append(log: SegmentedLog, number: int) -> None:
    log.append(RecordType.BATCH, 1, number, number - 1, b"", payload(number, RECORD))


async def filled(volume: Volume, segments: int = SEGMENTS) -> SegmentedLog:
    """A log with so many segments, synced, as its owner is to write it."""
    volume.mkdir("/log")
    log = log_over(volume)
    for number in range(1, segments + 1):
        if log.crowded:
            await log.sync()
        append(log, number)
    await log.sync()
    await volume.sync_directory("/")
    assert len(log.segments) == segments, "each record has a segment of its own"
    return log


async def recovered(volume: Volume) -> SegmentedLog:
    log = log_over(volume)
    assert await log.recover(lambda _record, _position: None) is None
    return log


async def records(log: SegmentedLog) -> int:
    """How many can be read, one after the other."""
    count, position = 0, log.start
    while (found := await log.read(position, log.end, 1 << 20))[0]:
        count, position = count + 1, found[2]
    return count


# -- how many are open ------------------------------------------------------------------


async def whole_life(volume: Volume, handles: Handles) -> None:
    """Append, roll, read, sync, recover, write again, free: all that is done with segments."""
    log = await filled(volume)
    assert await records(log) == SEGMENTS
    log.close()
    assert handles.open["?"] == 0
    log = await recovered(volume)
    await log.write_again()
    await log.sync()
    assert await records(log) == log.sequence == SEGMENTS
    append(log, SEGMENTS + 1)
    await log.sync()
    assert log.free_through(SEGMENTS // 2)
    assert await records(log) == SEGMENTS // 2 + 1
    assert log.free_through(SEGMENTS)
    assert handles.open["?"] == len(log.segments) == 1
    log.close()
    assert handles.open["?"] == 0


def peak() -> int:
    with counted_handles() as handles:
        bench = Bench()
        bench.wait(whole_life(bench.volume, handles))
    return handles.peak["?"]


def test_few_segments_are_open_at_a_time() -> None:
    assert peak() <= BOUND


@pytest.mark.parametrize("bound", ["MOST_OPEN_SEGMENTS", "MOST_UNSYNCED_SEGMENTS"])
def test_without_a_bound_all_are(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_segments, bound, NO_BOUND)
    assert peak() > BOUND, "this test means nothing"


def peak_of_a_spool(pins: bool = False) -> int:
    with counted_handles() as handles:
        bench = Bench()
        bench.volume.mkdir("/log")
        board = Board(bench.volume, "/board", 1)
        spool = Spool(bench.volume, "/log", board, "set", SEGMENT, 8 * MIB)
        spool.log._is_synced = pins
        spool.begin_epoch(1, Catalogue())
        for number in range(1, SEGMENTS):
            data = payload(number, RECORD)
            spool.append(write_prefix(1, 0, RECORD, 0), data)
            spool.complete()
        assert len(spool.log.segments) == SEGMENTS - 1
        spool.close()
    assert handles.open["?"] == 0
    return handles.peak["?"]


def test_a_spool_which_nobody_syncs_has_few_open_too() -> None:
    assert peak_of_a_spool() <= MOST_OPEN_SEGMENTS + 2


def test_a_spool_that_waited_for_a_sync_would_have_all_open() -> None:
    assert peak_of_a_spool(pins=True) >= SEGMENTS - 1, "this test means nothing"


def test_nobody_syncs_a_log_by_mistake_that_does_not_expect_it() -> None:
    bench = Bench()
    log = SegmentedLog(bench.volume, "/", LogKind.SPOOL, "set", SEGMENT, 8 * MIB, is_synced=False)
    with pytest.raises(RuntimeError, match="nobody syncs"):
        bench.wait(log.sync())


def peak_of_a_replica() -> int:
    """A replica gets hundreds of batches at once, while a sync of its disk takes long."""
    with counted_handles() as handles:
        world = FailureWorld(
            blocks("/db", 0, 250, every_ms=0, size=8 * KIB),
            disks={f"{REPLICA}/data": slow(30)},
            source={"batch_bytes": 8 * KIB},
            journal=(16 * MIB, 8 * KIB),
            spool=(16 * MIB, 64 * KIB),
        ).start()
        world.converge(judge_every_ms=500)
        world.close()
    return handles.peak[REPLICA]


def test_a_replica_that_gets_much_at_once_syncs_in_between() -> None:
    assert peak_of_a_replica() <= BOUND + 10, "segments, and a few files of image and state"


def test_without_that_it_has_them_all_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_segments, "MOST_UNSYNCED_SEGMENTS", NO_BOUND)
    assert peak_of_a_replica() > BOUND + 10, "this test means nothing"


# -- what is closed comes back as it was --------------------------------------------------


def test_a_torn_end_behind_many_segments_is_erased() -> None:
    bench = Bench()

    async def act() -> None:
        log = await filled(bench.volume)
        last = log.segments[-1]
        log.close()
        spoil(bench.disk, last.path, last.end, b"torn")
        log = await recovered(bench.volume)
        assert log.tail_was_torn and log.sequence == SEGMENTS
        append(log, SEGMENTS + 1)
        await log.sync()
        assert await records(log) == SEGMENTS + 1

    bench.wait(act())
    bench.lose_power(lose_everything)
    assert bench.wait(recovered(bench.volume)).sequence == SEGMENTS + 1


def test_damage_among_many_segments_is_set_aside() -> None:
    bench, good = Bench(), SEGMENTS // 2

    async def act() -> None:
        log = await filled(bench.volume)
        bad = log.segments[good]
        log.close()
        data = content(bench.disk, bad.path)
        spoil(bench.disk, bad.path, bad.end - 9, bytes([data[bad.end - 9] ^ 1]))
        again = log_over(bench.volume)
        damage = await again.recover(lambda _record, _position: None)
        assert damage is not None and damage.path == bad.path
        bench.volume.mkdir("/damaged")
        await again.set_aside("/damaged")
        assert len(bench.volume.list("/damaged")) == SEGMENTS - good
        await again.write_again()
        append(again, good + 1)
        await again.sync()
        assert await records(again) == good + 1

    bench.wait(act())
    bench.lose_power(lose_everything)
    assert bench.wait(recovered(bench.volume)).sequence == good + 1


def read_at_once(count: int, free: bool = False) -> tuple[int, list[str]]:
    """So many tasks read a segment each, from a medium that takes its time.

    Arguments
    ---------
    free: all segments but the last are freed meanwhile.

    Returns how many got it, and what the others were told.
    """
    world = World(network=False)
    machine = world.machine("machine")
    disk = machine.add_disk("data", slow(1, positioning_ns=MS))
    host = machine.start()
    got: list[bool] = []
    told: list[str] = []

    async def read(log: SegmentedLog, position: Position) -> None:
        try:
            got.append(bool((await log.read(position, log.end, 1 << 20))[0]))
        except StorageError as error:
            told.append(str(error))

    async def all_at_once() -> None:
        volume = host.volume("data")
        (await filled(volume, count)).close()
        log = await recovered(volume)
        for segment in log.segments:
            disk.names.node(segment.path).resident = False
        async with group() as g:
            for segment in log.segments:
                g.spawn(read(log, Position(segment.number, segment.data_start)), "read")
            await yield_now()
            if free:
                log.free_through(count)
        log.close()

    with counted_handles() as handles:
        task = host.kernel.run_task(all_at_once(), "all")
        world.clock.run_until_idle()
        task.result()
        assert handles.open["machine"] == 0
    world.close()
    return sum(got), told


def test_what_is_being_read_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_at_once(30) == (30, [])
    monkeypatch.setattr(OpenSegments, "_close_idle", without_users)
    got, told = read_at_once(30)
    assert got < 30 and "closed" in told[0], "this test means nothing"


def test_what_is_freed_while_it_is_read_is_not_left_open() -> None:
    got, told = read_at_once(3, free=True)
    assert got == 1 and len(told) == 2 and all("closed" in each for each in told)


def without_users(files: OpenSegments) -> None:
    """Closes what somebody reads as if it were nothing."""
    idle = [each for each in files._open.values() if not each.pinned and each is not files._last]
    for segment in idle[:-MOST_OPEN_SEGMENTS]:
        files._close(segment)


# -- syncs that fail ----------------------------------------------------------------------


def without_pins(files: OpenSegments) -> None:
    """Closes what was written and not synced as if it were nothing."""
    idle = [each for each in files._open.values() if not each.users and each is not files._last]
    for segment in idle[:-1]:
        files._close(segment)


def promised_and_kept(by_another_process: bool) -> tuple[int, int]:
    """One sync fails, later ones do not: records promised in the end, and found after a power loss.

    Arguments
    ---------
    by_another_process: the segments were found, not written, by who syncs them.
    """
    bench, segments = Bench(), 20
    bench.wait(filled(bench.volume, 1 if not by_another_process else 0))

    async def act() -> int:
        log = await recovered(bench.volume)
        if by_another_process:
            append_all(log, 1, segments)
            bench.restart()
            log = await recovered(bench.volume)
        else:
            append_all(log, 2, segments)
        bench.disk.sync_fails = lambda path: path == log.segments[4].path
        with pytest.raises(SyncFailed):
            await log.sync()
        bench.disk.sync_fails = None
        for each in log.segments:  # others are used meanwhile
            if each is not log.segments[4]:
                with log._files.use(each):
                    pass
        append(log, segments + 1)
        try:
            await log.sync()
        except SyncFailed:
            return 0
        return log.sequence

    promised = bench.wait(act())
    bench.lose_power(lose_everything)
    return promised, bench.wait(sequence_of_what_is_left(bench.volume))


def append_all(log: SegmentedLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        append(log, number)


async def sequence_of_what_is_left(volume: Volume) -> int:
    log = log_over(volume)
    await log.recover(lambda _record, _position: None)
    return log.sequence


@pytest.mark.parametrize("by_another_process", [False, True], ids=["written", "found"])
def test_a_failed_sync_is_not_forgotten_when_many_others_are_used(
    by_another_process: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert promised_and_kept(by_another_process)[0] == 0
    monkeypatch.setattr(OpenSegments, "_close_idle", without_pins)
    promised, kept = promised_and_kept(by_another_process)
    assert (promised, kept) == (21, 4), "this test means nothing"


# -- syncs that are cancelled ---------------------------------------------------------------


def found_after_a_cancelled_sync() -> int:
    """Records that a power loss leaves; the sync before was cancelled, the one after it was not."""
    world = World(network=False)
    machine = world.machine("machine")
    machine.add_disk("data", slow(10))
    done: list[bool] = []

    async def write(volume: Volume) -> None:
        volume.mkdir("/log")
        await volume.sync_directory("/")
        append_all(log_over(volume), 1, 20)

    async def sync_twice(volume: Volume) -> None:
        log = await recovered(volume)
        with pytest.raises(TimedOut):
            async with deadline(55 * MS):
                await log.sync()
        await log.sync()
        done.append(True)

    for step in (write, sync_twice):
        host = machine.start(step.__name__)
        host.start(step(host.volume("data")), step.__name__)
        world.clock.run_until_idle()
        machine.crash_process()
    assert done
    machine.lose_power(lose_everything)
    found = run_offline(machine.disks, lambda again: sequence_of_what_is_left(again.volume("data")))
    world.close()
    return found


def test_a_cancelled_sync_leaves_everything_to_the_next_one() -> None:
    assert found_after_a_cancelled_sync() == 20


def test_a_sync_that_forgets_before_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgetful(files: Any, segments: list[Segment]) -> None:
        for segment in segments:
            files._unsynced.remove(segment)
            with files.use(segment) as file:
                await file.sync()

    monkeypatch.setattr(OpenSegments, "_sync", forgetful)
    assert found_after_a_cancelled_sync() < 20, "this test means nothing"
