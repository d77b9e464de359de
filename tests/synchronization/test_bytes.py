"""What a synchronization costs on the wire: of one pass, of ten broken ones, on a full volume."""

from __future__ import annotations

import random

import pytest

from replicator.digests import EXTENT_BYTES, PAGE_BYTES
from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.synchronization.worlds import MS, Bench, Writer

MIB = 1 << 20
IMAGE_BYTES = 64 * MIB


def image(seed: int, size_bytes: int = IMAGE_BYTES) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def with_changes(data: bytes, share: float) -> tuple[bytes, int]:
    """The image with some of its pages changed, and how many bytes that are."""
    numbers = random.Random(7)
    changed = bytearray(data)
    pages = numbers.sample(range(len(data) // PAGE_BYTES), int(len(data) // PAGE_BYTES * share))
    for page in pages:
        changed[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = numbers.randbytes(PAGE_BYTES)
    return bytes(changed), len(pages) * PAGE_BYTES


def test_one_percent_of_the_pages_costs_little_more_than_they():
    new = image(1)
    old, changed_bytes = with_changes(new, 0.01)
    bench = Bench({"/db": new}, {"/db": old})
    bench.converge()
    assert bench.file(REPLICA, "/db") == new
    source, replica = bench.system.source, bench.system.replica
    assert source.block_traffic == replica.block_traffic
    assert source.block_traffic.data_pages * PAGE_BYTES == changed_bytes
    assert source.block_traffic.total_bytes <= 1.06 * changed_bytes
    assert bench.wire_bytes <= 1.1 * changed_bytes
    bench.close()


def test_equal_images_cost_their_extents_digests_only():
    data = image(1)
    bench = Bench({"/db": data}, {"/db": data})
    bench.converge()
    assert bench.system.source.block_traffic.data_bytes == 0
    assert bench.wire_bytes < 5000
    bench.close()


def broken_ten_times(bench: Bench, total_bytes: int) -> None:
    """Break it after each eleventh of what a single pass costs, each time in another way."""
    for number in range(1, 11):
        goal = number * total_bytes // 11
        bench.run(lambda goal=goal: bench.wire_bytes >= goal, step_ns=MS_TENTH)
        assert not bench.system.converged
        way = number % 4
        if way == 0:
            bench.restart_sender()
        elif way == 1:
            bench.link.reset()
        elif way == 2:
            bench.restart_replica()
        else:
            bench.restart_replica(lose_everything)
    bench.converge()


MS_TENTH = 100_000


@pytest.mark.parametrize("rtt_ms", [1, 50])
def test_broken_ten_times_it_costs_no_twentieth_more(rtt_ms):
    new = image(1)

    def bench() -> Bench:
        return Bench({"/db": new}, {}, rtt_ns=rtt_ms * 10**6)

    single = bench()
    single.converge()
    total_bytes = single.wire_bytes
    single.close()
    broken = bench()
    broken_ten_times(broken, total_bytes)
    assert broken.file(REPLICA, "/db") == new
    assert broken.wire_bytes <= 1.05 * total_bytes, broken.wire_bytes / total_bytes
    assert broken.system.resynchronizations == 1
    print(f"{rtt_ms} ms: {broken.wire_bytes / total_bytes:.4f} of a single pass")
    broken.close()


def refused(bench: Bench) -> bool:
    """Whether the source has been told that the replica's volume is full."""
    source = bench.system.source
    return source is not None and ("full" in source.cause or "took" in source.cause)


@pytest.mark.parametrize("disk_mib", [6, 15])
def test_a_volume_that_is_too_small_is_found_before_the_old_image_is_touched(disk_mib):
    """Too small for the pages; and large enough for them, but not for the image besides."""
    old = {"/db": image(2, MIB), "/log": image(3, MIB)}
    bench = Bench({"/db": image(1, 8 * MIB)}, old, replica_disk_bytes=disk_mib * MIB)
    for _ in range(2):  # it is tried again, and nothing is worn down
        bench.run(lambda: refused(bench))
        bench.run(lambda: not refused(bench))
    for path, data in old.items():
        assert bench.file(REPLICA, path) == data
    assert not any(event[1] == "stalled" and event[2][0] for event in bench.events)
    bench.close()


def test_a_volume_with_room_for_both_is_large_enough():
    bench = Bench({"/db": image(1, 8 * MIB)}, {"/db": image(2, MIB)}, replica_disk_bytes=28 * MIB)
    bench.converge()
    assert bench.file(REPLICA, "/db") == image(1, 8 * MIB)
    bench.close()


@pytest.mark.parametrize("torn", [False, True])
def test_a_source_power_loss_that_lost_a_page_is_repaired_at_the_replica(torn):
    """What the source lost must be lost at the replica, too: its image is operation 0 now."""

    def write(offset: int, number: int):
        def step(volume) -> None:
            file = volume.open("/data/db")
            file.write_at(offset, image(number, PAGE_BYTES))
            file.close()

        return step

    data = image(1, 4 * EXTENT_BYTES)
    places = [3 * PAGE_BYTES, 40 * PAGE_BYTES, 100 * PAGE_BYTES]
    writer = Writer([write(place, 10 + n) for n, place in enumerate(places)], pause_ns=5 * MS)
    bench = Bench({"/db": data}, {"/db": data}, writer)
    bench.converge()
    bench.run(lambda: bench.system.replica.store.applied >= 3)
    assert bench.file(REPLICA, "/db") == bench.file(SOURCE, "/db") != data
    machine = bench.world.machine(SOURCE)
    machine.lose_power(random.Random(3).randrange if torn else lose_everything)
    after = bench.file(SOURCE, "/db")
    assert after != bench.file(REPLICA, "/db")
    bench.system.source = None
    bench.system.start_source()
    bench.converge()
    assert bench.file(REPLICA, "/db") == after
    bench.close()
