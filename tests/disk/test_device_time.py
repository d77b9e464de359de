"""The time that the emulated disk takes, and how much it lets pile up unwritten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.runtime import Kernel, sleep_ns
from simulator.device import Device, DiskModel
from simulator.disk import Disk
from simulator.host import keep_everything
from simulator.runtime import SimClock
from simulator.volume import SimVolume
from tests.disk.bench import Bench

MS = 1_000_000
SECOND = 1_000 * MS
MODEL = DiskModel(bytes_per_second=1_000_000, positioning_ns=10 * MS, sync_overhead_ns=2 * MS)


def time_of_sync(*writes: tuple[int, int], model: DiskModel = MODEL) -> int:
    """How long the sync of these (offset, length) writes takes."""
    bench = Bench(model)
    file = bench.volume.create("/f")
    for offset, length in writes:
        file.write_at(offset, b"x" * length)
    assert bench.clock.now() == 0  # plain calls take no device time
    bench.wait(file.sync())
    return bench.clock.now()


def test_a_sync_costs_positioning_bytes_and_overhead() -> None:
    assert time_of_sync((0, 8000)) == 10 * MS + 8 * MS + 2 * MS
    assert time_of_sync() == 2 * MS


def test_sequential_writes_position_once_random_ones_each_time() -> None:
    sequential = [(i * 1000, 1000) for i in range(50)]
    scattered = [((i * 7 % 50) * 1000, 1000) for i in range(50)]
    assert time_of_sync(*sequential) == 10 * MS + 50 * MS + 2 * MS
    assert time_of_sync(*scattered) == 50 * 10 * MS + 50 * MS + 2 * MS


def test_a_faster_disk_is_faster_in_proportion() -> None:
    ten_times = replace(MODEL, bytes_per_second=10_000_000, positioning_ns=MS, sync_overhead_ns=0)
    assert time_of_sync((0, 8000), (20000, 2000), model=ten_times) == 2 * MS + MS


def test_the_device_serves_in_the_order_of_booking() -> None:
    device = Device(MODEL)
    assert device.book(0, 1000, 1) == 11 * MS
    assert device.book(5 * MS, 1000, 0) == 12 * MS
    assert device.book(0, 0, 0) == 12 * MS
    assert device.book(20 * MS, 1000, 1) == 31 * MS
    device.reset()
    assert device.book(25 * MS, 1000, 0) == 26 * MS


def test_syncs_of_two_files_queue_up_first_come_first_served() -> None:
    clock = SimClock()
    kernel = Kernel(clock)
    volume = SimVolume(Disk(clock, MODEL, "disk"), kernel)
    ends: dict[str, int] = {}

    async def program(name: str, size: int) -> None:
        file = volume.create(f"/{name}")
        file.write_at(0, b"x" * size)
        await file.sync()
        ends[name] = clock.now()

    for name, size in (("large", 100_000), ("small", 1_000), ("empty", 0)):
        kernel.run_task(program(name, size), name)
    clock.run_until_idle()
    assert ends == {"large": 112 * MS, "small": 123 * MS, "empty": 123 * MS}


def test_each_sync_pays_for_what_was_written_since_the_last() -> None:
    """The stretches already on the medium do not count again, however long the file is busy."""
    clock = SimClock()
    kernel = Kernel(clock)
    volume = SimVolume(Disk(clock, MODEL, "disk"), kernel)
    file = volume.create("/f")
    times: list[int] = []

    async def writer() -> None:
        for number in range(60):
            file.write_at(number % 2 * 50_000, b"x" * 1000)
            await sleep_ns(5 * MS)

    async def syncer() -> None:
        await sleep_ns(1)
        for _ in range(10):
            start = clock.now()
            await file.sync()
            times.append(clock.now() - start)

    kernel.run_task(writer(), "writer")
    kernel.run_task(syncer(), "syncer")
    clock.run_until_idle()
    # Each sync of n runs takes 11 n + 2 ms, in which n' = time / 5 ms more are written.
    written = sum(round((each - 2 * MS) / (11 * MS)) for each in times)
    assert written == 60


def test_a_sync_while_another_is_under_way_waits_for_its_own_writes_too() -> None:
    clock = SimClock()
    kernel = Kernel(clock)
    disk = Disk(clock, MODEL, "disk")
    volume = SimVolume(disk, kernel)
    file = volume.create("/f")
    left: list[tuple[int, int]] = []

    async def syncs(delay: int) -> None:
        await sleep_ns(delay)
        file.write_at(delay, b"x" * 1000)
        await file.sync()
        left.append((clock.now(), disk.dirty_bytes))

    kernel.run_task(syncs(0), "first")
    kernel.run_task(syncs(1 * MS), "second")
    clock.run_until_idle()
    assert [each[1] for each in left] == [1000, 0]
    assert left[0][0] == 13 * MS and left[1][0] > 24 * MS


def test_a_directory_sync_is_one_small_write() -> None:
    bench = Bench(MODEL)
    bench.wait(bench.volume.sync_directory("/"))
    assert bench.clock.now() == 10 * MS + 4_096_000 + 2 * MS


def test_reads_are_from_memory_until_a_reboot_and_again_once_read() -> None:
    bench = Bench(MODEL)
    file = bench.volume.create("/f")
    file.write_at(0, b"x" * 50_000)
    bench.wait(file.read_at(0, 50_000))
    assert bench.clock.now() == 0
    bench.lose_power(keep_everything)
    file = bench.volume.open("/f")
    bench.wait(file.read_at(0, 10_000))
    assert bench.clock.now() == 20 * MS
    bench.wait(file.read_at(0, 99_000))
    assert bench.clock.now() == 20 * MS + 60 * MS
    bench.wait(file.read_at(0, 50_000))
    assert bench.clock.now() == 80 * MS


def test_a_power_loss_clears_the_queue_of_the_device() -> None:
    bench = Bench(MODEL)
    file = bench.volume.create("/f")
    file.write_at(0, b"x" * 1_000_000)
    sync = file.sync()
    sync.send(None)
    bench.lose_power(keep_everything)
    with pytest.raises(RuntimeError):
        sync.throw(RuntimeError())
    bench.wait(bench.volume.open("/f").sync())
    assert bench.clock.now() == 2 * MS


@pytest.mark.parametrize("size", [1_000, 8_192, 60_000])
def test_the_dirty_limit_bounds_what_a_writer_can_pile_up(size: int) -> None:
    """A writer that asks is slowed to the speed of the disk, and memory stays bounded."""
    limit = 256_000
    clock = SimClock()
    kernel = Kernel(clock)
    disk = Disk(clock, replace(MODEL, dirty_limit_bytes=limit), "disk")
    volume = SimVolume(disk, kernel)
    total = 3_000_000
    most = [0, 0]

    async def writer() -> None:
        file = volume.create("/f")
        for number in range(total // size):
            await volume.admit(size)
            file.write_at(number * size, b"x" * size)
            kept = sum(length for _, length, *_ in file.inode.changes)
            most[:] = [max(most[0], disk.dirty_bytes), max(most[1], kept)]

    task = kernel.run_task(writer(), "writer")
    clock.run_until_idle()
    task.result()
    assert limit * 3 // 4 < most[0] <= limit
    assert most[1] <= limit
    at_disk_speed = (total - limit) * SECOND // MODEL.bytes_per_second
    assert at_disk_speed <= clock.now() < at_disk_speed + SECOND


def test_two_writers_held_at_the_limit_both_go_on() -> None:
    clock = SimClock()
    kernel = Kernel(clock)
    disk = Disk(clock, replace(MODEL, dirty_limit_bytes=100_000), "disk")
    volume = SimVolume(disk, kernel)

    async def writer(name: str) -> None:
        file = volume.create(name)
        for number in range(100):
            await volume.admit(10_000)
            file.write_at(number * 10_000, b"x" * 10_000)

    tasks = [kernel.run_task(writer(name), name) for name in ("/a", "/b", "/c")]
    clock.run_until_idle()
    assert all(task.done and task.error is None for task in tasks)
    assert disk.dirty_bytes <= 100_000
