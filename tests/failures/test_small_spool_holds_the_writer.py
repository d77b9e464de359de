"""A spool of two segments under the policy ``hold``: writers wait, and all go on."""

from __future__ import annotations

from contextlib import suppress

import pytest

from replicator.capture import SpoolPolicy
from replicator.errors import SpoolFull
from replicator.runtime import Task, group, sleep_ns
from replicator.runtime.port import Runtime, Volume
from simulator.systems.byte_level import PROGRAMS, SOURCE
from tests.failures.worlds import (
    FAST,
    KIB,
    MS,
    ROOT,
    FailureWorld,
    Steps,
    nothing,
    payload,
    slow,
)

SEGMENT = 64 * KIB
NEARLY = SEGMENT - 2 * KIB
"""A write that leaves hardly room for anything else in its segment."""


def held_world(steps: Steps, **fields: object) -> FailureWorld:
    return FailureWorld(
        steps,
        policy=SpoolPolicy.HOLD,
        spool=(2 * SEGMENT, SEGMENT),
        files={"/db": b""},
        **fields,  # type: ignore[arg-type]
    )


async def put(volume: Volume, number: int, size: int) -> None:
    file = volume.open(f"{ROOT}/db")
    await volume.admit(size)
    file.write_at(number * SEGMENT, payload(number + 1, size))


def writes(count: int, size: int, every_ms: float = 1) -> Steps:
    async def steps(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        for number in range(count):
            await put(volume, number, size)
            await sleep_ns(int(every_ms * MS))

    return steps


@pytest.mark.parametrize("size", [NEARLY - 512 * n for n in range(6)] + [SEGMENT // 2, 3000])
def test_a_write_that_almost_fills_a_segment_waits_and_goes_on(size: int) -> None:
    world = held_world(writes(max(12, 12 * SEGMENT // size), size, every_ms=0)).start()
    world.converge(5000, judge_every_ms=5)
    assert world.said("writer_held"), "the spool was never full: this means nothing"
    assert len(world.said("writer_held")) == len(world.said("writer_released"))
    assert len(world.system.truth.epochs) == 1
    assert not world.capture._promises
    world.close()


def test_a_write_that_can_never_fit_is_refused_at_once_with_a_remedy() -> None:
    refused: list[SpoolFull] = []

    async def steps(_world: FailureWorld, runtime: Runtime, volume: Volume) -> None:
        for size in (SEGMENT, 3 * SEGMENT, 3000):
            before = runtime.now_ns()
            try:
                await put(volume, 1, size)
            except SpoolFull as full:
                refused.append(full)
                assert runtime.now_ns() == before, "it is refused at once"

    world = held_world(steps).start()
    world.converge(5000)
    assert len(refused) == 2, "both large ones, not the small one"
    for full in refused:
        assert "never" in full.message
        assert "at least" in full.remedy and "KiB" in full.remedy
    assert world.spool.completed == 1, "nothing was touched"
    world.close()


@pytest.mark.parametrize(
    "cache",
    [
        64 * 1024,
        pytest.param(
            16,
        ),
    ],
    ids=["page cache", "small page cache"],
)
def test_several_writers_wait_together_and_all_go_on(cache: int) -> None:
    """With a small page cache each waits once more, for the volume, after it was let in."""
    order: list[int] = []

    async def steps(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        async def writer(number: int) -> None:
            for turn in range(4):
                await put(volume, 8 * turn + number, (3, 20, 40, 60)[number % 4] * KIB)
                order.append(number)

        async with group() as g:
            for number in range(8):
                g.spawn(writer(number), f"writer {number}")

    disk = slow(0, dirty_limit_bytes=cache * KIB, bytes_per_second=20_000_000)
    world = held_world(steps, disks={f"{SOURCE}/spool": FAST, f"{SOURCE}/data": disk}).start()
    try:
        world.converge(3000, judge_every_ms=10)
    finally:
        world.close()
    assert sorted(order) == sorted([*range(8)] * 4)
    assert len(world.said("writer_held")) >= 8
    assert not world.capture._promises
    assert len(world.system.truth.epochs) == 1


def test_room_is_promised_to_one_writer_only() -> None:
    """Each of two large writes has room by itself; both are let in before either writes."""

    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        world.link.partition()
        await put(volume, 0, NEARLY)

        async def writer(number: int) -> None:
            await volume.admit(40 * KIB)
            await sleep_ns(5 * MS)
            volume.open(f"{ROOT}/db").write_at(number * SEGMENT, payload(number, 40 * KIB))

        async with group() as g:
            for number in (1, 2):
                g.spawn(writer(number), f"writer {number}")

    world = held_world(steps)
    world.at(100, world.link.heal)
    world.start()
    world.converge(3000, judge_every_ms=10)
    assert len(world.said("writer_held")) == 1
    world.close()


def cancelled_writer(world: FailureWorld, cancel_ms: float, size: int) -> list[Task[None]]:
    """A writer that is cancelled some time after it began to wait for admission."""
    host = world.host(PROGRAMS)
    assert host is not None
    tasks: list[Task[None]] = []

    async def wait() -> None:
        await world.capture.admit(size)

    tasks.append(host.start(wait(), "writer"))
    world.at(world.now_ms + cancel_ms, tasks[0].cancel)
    return tasks


def test_a_writer_cancelled_while_the_spool_is_full_leaves_no_promise() -> None:
    world = held_world(nothing).start()
    world.converge()
    world.link.partition()
    capture = world.capture
    for _segment in range(2):  # no room for another one of the kind
        capture.spool.append(b"x" * 48, b"y" * NEARLY)
    [task] = cancelled_writer(world, 50, NEARLY)
    world.run_to(world.now_ms + 20)
    assert not task.done and not capture._promises
    world.clock.run_until(world.clock.now() + 100 * MS)
    assert task.cancelled
    assert not capture._promises
    world.close()


def test_a_writer_cancelled_at_a_full_page_cache_leaves_no_promise() -> None:
    """It has its place in the spool and waits for the volume: the place must be given back.

    Otherwise a spool of two segments never again has room for a large write.
    """
    size = NEARLY - 2 * KIB
    disk = slow(1, dirty_limit_bytes=64 * KIB, bytes_per_second=200_000)
    world = held_world(nothing, disks={f"{SOURCE}/spool": FAST, f"{SOURCE}/data": disk}).start()
    world.converge()
    capture = world.capture
    outside = capture.volume.create("/outside")
    outside.write_at(0, payload(3, 60 * KIB))
    [task] = cancelled_writer(world, 20, size)
    world.run_to(world.now_ms + 10)
    assert capture._promises, "it waits for the volume: otherwise this means nothing"
    assert not task.done
    world.clock.run_until(world.clock.now() + 30 * MS)
    assert task.cancelled
    assert not capture._promises
    world.failures.clear()
    host = world.host(PROGRAMS)
    assert host is not None
    again = host.start(capture.admit(size), "writer")
    world.clock.run_until(world.clock.now() + 2000 * MS)
    assert again.done, "no writer is let in any more"
    world.close()


def test_several_writes_that_are_given_up_leave_the_promise_of_another_one() -> None:
    size = 4 * KIB
    disk = slow(1, dirty_limit_bytes=64 * KIB, bytes_per_second=200_000)
    world = held_world(nothing, disks={f"{SOURCE}/spool": FAST, f"{SOURCE}/data": disk}).start()
    world.converge()
    capture = world.capture
    host = world.host(PROGRAMS)
    assert host is not None
    single = host.start(capture.admit(size), "one write")
    world.run_to(world.now_ms + 1)
    assert single.done and len(capture._promises) == 1
    outside = capture.volume.create("/outside")
    outside.write_at(0, payload(3, 60 * KIB))
    several = host.start(capture.admit(2 * size, 2), "two writes")
    world.run_to(world.now_ms + 1)
    assert not several.done and len(capture._batch) == 2, "it waits for the volume"
    several.cancel()
    world.clock.run_until(world.clock.now() + 30 * MS)
    assert several.cancelled
    assert len(capture._promises) == 1 and not capture._batch
    world.failures.clear()
    world.close()


@pytest.mark.parametrize("cut_ms", range(0, 60, 6))
def test_a_writer_held_before_a_reconnect_is_released_after_it(cut_ms: int) -> None:
    world = held_world(writes(120, 20 * KIB)).start()
    world.at(30 + cut_ms / 3, world.link.partition)
    world.run_to(100)
    held, released = world.said("writer_held"), world.said("writer_released")
    assert len(held) == len(released) + 1, "a writer waits now"
    world.link.reset()
    world.link.heal()
    world.converge(5000, judge_every_ms=10)
    assert len(world.said("session_begin")) >= 2
    assert len(world.system.truth.epochs) == 1
    world.close()


def test_a_writer_is_held_during_a_synchronization_and_released_by_its_commit() -> None:
    """Nothing may be released before the image is committed, so the writer waits for that."""
    files = {f"/f{n}": payload(1000 + n, 64 * KIB) for n in range(20)}
    world = FailureWorld(
        writes(12, 20 * KIB),
        policy=SpoolPolicy.HOLD,
        spool=(2 * SEGMENT, SEGMENT),
        files=files | {"/db": b""},
    )
    world.link.override_bandwidth(100_000_000)
    world.start()
    world.run_until(lambda: bool(world.said("writer_held")), 200, judge_every_ms=10)
    assert not world.source.committed, "it is held by the synchronization"
    world.converge(5000, judge_every_ms=10)
    assert len(world.system.truth.epochs) == 1
    world.close()


def test_a_promise_is_used_up_by_its_write_even_when_nothing_is_captured_any_more() -> None:
    """Capture stops between admission and write; the next history owes nobody anything."""
    world = held_world(nothing).start()
    world.converge()
    capture = world.capture
    host = world.host(PROGRAMS)
    assert host is not None

    async def write() -> None:
        await capture.admit(NEARLY)
        world.gap()
        assert capture._promises, "it was promised: otherwise this means nothing"
        capture.intend(b"x" * 48, b"y" * NEARLY, "/db")  # as the captured file does

    task = host.start(write(), "writer")
    world.run_until(lambda: world.store.epoch == 2)
    assert task.done
    assert not capture._promises
    world.close()


def test_a_held_writer_is_let_go_when_capture_stops() -> None:
    """While nothing is captured programs go on working: there is nothing to wait for."""
    world = held_world(writes(120, 20 * KIB)).start()
    world.at(30, world.link.partition)
    world.run_to(100)
    held, released = world.said("writer_held"), world.said("writer_released")
    assert len(held) == len(released) + 1, "a writer waits now"
    world.gap()
    world.run_to(300)
    assert len(world.said("writer_released")) == len(held), "it waits for the link to come back"
    world.close()


def full_spool(size: int, then: Steps) -> FailureWorld:
    """Nothing leaves, and no write of a size is let in any more: then come the other calls."""

    async def steps(world: FailureWorld, runtime: Runtime, volume: Volume) -> None:
        world.link.partition()
        number = 0
        while world.capture.has_room(size):
            await put(volume, number, size)
            number += 1
        await then(world, runtime, volume)

    return held_world(steps)


async def change_names(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
    """Twelve times, with nobody's leave."""
    for _twice in range(6):
        volume.rename(f"{ROOT}/db", f"{ROOT}/other")
        volume.rename(f"{ROOT}/other", f"{ROOT}/db")


@pytest.mark.parametrize("size", range(2000, 2800, 100))
def test_changes_without_data_find_room_beside_what_was_let_in(size: int) -> None:
    world = full_spool(size, change_names)
    world.at(100, world.link.heal)
    world.start()
    world.converge(3000, judge_every_ms=10)
    assert len(world.system.truth.epochs) == 1
    world.close()


def test_without_that_room_a_change_of_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.capture.UNANNOUNCED_BYTES", 0)
    refused = 0
    for size in range(2000, 2800, 100):
        world = full_spool(size, change_names)
        world.start()
        world.clock.run_until(world.clock.now() + 50 * MS)
        refused += any("no room for 0 bytes" in each for each in world.failures)
        world.failures.clear()
        world.close()
    assert refused, "each has found room all the same"


def synced(held: list[int]) -> Steps:
    """Fill the spool to its last byte, as nobody should, and sync; adds when that has ended."""

    async def steps(world: FailureWorld, runtime: Runtime, volume: Volume) -> None:
        file = volume.open(f"{ROOT}/db")
        spool = world.capture.spool.log
        while spool.fits([500]):
            file.write_at(0, b"x" * 100)
        with suppress(SpoolFull):
            while True:
                file.truncate(SEGMENT)
        await file.sync()
        held.append(runtime.now_ns())

    return steps


def test_a_sync_waits_until_it_can_be_noted() -> None:
    ended: list[int] = []
    world = full_spool(NEARLY, synced(ended))
    world.at(100, world.link.heal)
    world.start()
    world.run_to(90)
    assert not ended, "it was noted in a spool that is full"
    world.converge(3000, judge_every_ms=10)
    assert len(ended) == 1 and len(world.system.truth.epochs) == 1
    world.close()


def test_calls_that_were_announced_may_be_made_as_one() -> None:
    """Pages that are neighbours are written together; what others were promised stays."""
    ended: list[bool] = []

    async def steps(world: FailureWorld, _runtime: Runtime, _volume: Volume) -> None:
        capture = world.capture
        await capture.admit(30 * KIB)
        await capture.admit(12 * KIB, 3)
        assert len(capture._batch) == 3
        capture.intend(b"x" * 48, b"y" * 8 * KIB, "/db")
        assert len(capture._batch) == 1
        capture.intend(b"x" * 48, b"y" * 4 * KIB, "/db")
        assert not capture._batch
        assert len(capture._promises) == 1, "that was another one's"
        ended.append(True)

    world = held_world(steps).start()
    world.run_to(50)
    assert ended
    world.close()
