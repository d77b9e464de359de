"""What happens on a medium behind everybody's back, and a device that serves nothing."""

from __future__ import annotations

from random import Random

import pytest

from simulator.blocks import BLOCK_BYTES
from simulator.device import DiskModel
from simulator.host import keep_everything, lose_everything
from simulator.inode import Inode
from simulator.medium import SECTOR_BYTES, Flip, misdirect_next, rot, settled_blocks
from tests.disk.bench import Bench

MS = 1_000_000
MODEL = DiskModel(bytes_per_second=1_000_000, positioning_ns=10 * MS, sync_overhead_ns=2 * MS)
BLOCKS = [bytes([letter]) * BLOCK_BYTES for letter in b"abcdefgh"]


def bench_with(*blocks: bytes, path: str = "/f") -> tuple[Bench, Inode]:
    """A file whose blocks are durable."""
    bench = Bench()
    file = bench.volume.create(path)
    for number, block in enumerate(blocks):
        file.write_at(number * BLOCK_BYTES, block)
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    return bench, file.inode


def differing(one: bytes, other: bytes) -> list[int]:
    return [n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


# -- rot -----------------------------------------------------------------------------------


def test_one_bit_of_what_is_durable_flips_and_stays_so() -> None:
    bench, inode = bench_with(*BLOCKS[:4])
    before = bench.content("/f")
    [said] = rot([("/f", inode)], 1, Random(1))
    after = bench.content("/f")
    [at] = differing(before, after)
    assert (said.path, said.offset, said.inode_number) == ("/f", at, inode.number)
    assert (before[at] ^ after[at]).bit_count() == 1
    bench.lose_power(keep_everything)
    assert bench.content("/f") == after


@pytest.mark.parametrize("byte_by_byte", [False, True])
@pytest.mark.parametrize("written", ["nothing", "beside it", "over it"])
def test_a_flip_is_taken_back_where_it_is_still_there(written: str, byte_by_byte: bool) -> None:
    """By whole sectors, or byte by byte where the sector was written to beside it."""
    bench, inode = bench_with(*BLOCKS[:2])
    before = bench.content("/f")
    [flip] = rot([("/f", inode)], 1, Random(1))
    beside = flip.offset ^ 1  # in the same sector
    new = bytes([before[beside] ^ 0xFF])
    if written != "nothing":
        inode.write(flip.offset if written == "over it" else beside, new)
    after = bench.content("/f")
    flip.heal(inode, byte_by_byte)
    healed = bench.content("/f")
    if written == "nothing":
        assert healed == before
    elif written == "beside it" and byte_by_byte:
        assert differing(before, healed) == [beside]
    else:
        assert healed == after


@pytest.mark.parametrize("choose", [lose_everything, keep_everything])
def test_what_is_unsynced_never_rots(choose: object) -> None:
    """Neither what is to be written, nor the durable bytes below it."""
    bench, inode = bench_with(*BLOCKS[:4])
    before = bench.content("/f")
    file = bench.volume.open("/f")
    file.write_at(BLOCK_BYTES, b"new")
    file.write_at(4 * BLOCK_BYTES, BLOCKS[4])
    assert settled_blocks(inode) == [0, 2, 3]
    rot([("/f", inode)], 200, Random(1))
    bench.lose_power(choose)  # type: ignore[arg-type]
    after = bench.content("/f")
    assert after[BLOCK_BYTES + 3 : 2 * BLOCK_BYTES] == before[BLOCK_BYTES + 3 : 2 * BLOCK_BYTES]
    assert differing(before[:BLOCK_BYTES], after[:BLOCK_BYTES])


def test_what_a_truncation_may_bring_back_does_not_rot() -> None:
    bench, inode = bench_with(*BLOCKS[:4])
    bench.volume.open("/f").truncate(BLOCK_BYTES + 5)
    assert settled_blocks(inode) == [0]
    bench.lose_power(lose_everything)
    assert bench.content("/f") == b"".join(BLOCKS[:4])


def test_nothing_durable_is_nothing_to_rot() -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    file.write_at(0, BLOCKS[0])
    assert rot([("/f", file.inode)], 3, Random(1)) == []


# -- astray --------------------------------------------------------------------------------


def test_an_overwrite_lands_in_the_next_block() -> None:
    bench, _inode = bench_with(*BLOCKS[:4])
    file = bench.volume.open("/f")
    said: list[str] = []
    flips: list[Flip] = []

    def happened(note: str, changed: list[Flip]) -> None:
        said.append(note)
        flips.extend(changed)

    misdirect_next(bench.disk, happened)
    file.write_at(BLOCK_BYTES, BLOCKS[7])
    bench.wait(file.sync())
    a, b, c, d = (bench.content("/f")[n : n + 1] for n in range(0, 4 * BLOCK_BYTES, BLOCK_BYTES))
    assert (a, b, c, d) == (b"a", b"b", b"h", b"d")
    assert len(said) == 1 and bench.disk.misdirect is None
    assert {flip.path for flip in flips} == {"/f"} and len(flips) == 2 * BLOCK_BYTES // SECTOR_BYTES
    for flip in flips:
        flip.heal(file.inode, byte_by_byte=False)
    assert bench.content("/f") == BLOCKS[0] + BLOCKS[7] + BLOCKS[2] + BLOCKS[3]
    for flip in flips:
        file.inode.write(flip.offset, flip.now)
    file.write_at(0, BLOCKS[6])
    bench.wait(file.sync())
    assert bench.content("/f")[:1] == b"g", "only one went astray"


def test_the_end_of_a_log_lands_in_the_neighbour_and_leaves_zeros() -> None:
    bench, _inode = bench_with(*BLOCKS[:2])
    log = bench.volume.create("/log")
    log.write_at(0, b"first")
    bench.wait(log.sync())
    said: list[str] = []
    misdirect_next(bench.disk, lambda note, _changed: said.append(note))
    log.write_at(5, b"second")
    bench.wait(log.sync())
    assert bench.content("/log") == b"first" + bytes(6)
    assert bench.content("/f")[:13] == b"firstsecondaa"
    bench.lose_power(lose_everything)
    assert bench.content("/f")[:13] == b"firstsecondaa"


def test_a_write_that_did_not_reach_the_medium_went_nowhere() -> None:
    bench, _inode = bench_with(*BLOCKS[:2])
    said: list[str] = []
    misdirect_next(bench.disk, lambda note, _changed: said.append(note))
    bench.volume.open("/f").write_at(0, BLOCKS[7])
    assert bench.content("/f")[:1] == b"h" and said == []


# -- lies ----------------------------------------------------------------------------------


def test_a_lie_is_made_good_when_the_drive_drains() -> None:
    for drains in (False, True):
        bench, _inode = bench_with(BLOCKS[0])
        bench.disk.drive_cache.lies = True
        file = bench.volume.open("/f")
        file.write_at(0, BLOCKS[1])
        bench.wait(file.sync())
        bench.volume.create("/g").close()
        bench.wait(bench.volume.sync_directory("/"))
        file.write_at(0, b"later")
        if drains:
            bench.disk.drive_cache.lies = False
            bench.disk.drive_cache.drain()
        bench.lose_power(lose_everything)
        assert bench.content("/f")[:5] == (b"bbbbb" if drains else b"aaaaa")
        assert bench.volume.exists("/g") is drains


# -- room ----------------------------------------------------------------------------------


def test_foreign_files_take_room_until_they_are_gone_over_a_power_loss_too() -> None:
    model = DiskModel(size_bytes=10 * BLOCK_BYTES)
    bench = Bench(model)
    assert bench.disk.fill(3 * BLOCK_BYTES) == 7
    assert bench.volume.free_bytes() == 3 * BLOCK_BYTES
    assert bench.disk.fill(3 * BLOCK_BYTES) == 0
    bench.lose_power(lose_everything)
    assert bench.volume.free_bytes() == 3 * BLOCK_BYTES
    fork = bench.disk.fork(bench.clock, model)
    assert fork.free_bytes() == 10 * BLOCK_BYTES, "an oracle has room"
    bench.disk.give_room(7)
    assert bench.volume.free_bytes() == 10 * BLOCK_BYTES


# -- time ----------------------------------------------------------------------------------


def stalled_sync(stalls: list[tuple[int, int]]) -> int:
    """When a sync of 8 ms of bytes ends that begins at 0, with stalls (from, until) in ms."""
    bench = Bench(MODEL)
    file = bench.volume.create("/f")
    file.write_at(0, b"x" * 8000)
    device = bench.disk.device
    for begin, end in stalls:
        bench.clock.at(begin * MS, lambda b=begin, e=end: device.stall(b * MS, e * MS))
    bench.wait(file.sync())
    return bench.clock.now() // MS


def test_what_is_under_way_is_late_by_the_stall() -> None:
    assert stalled_sync([]) == 20
    assert stalled_sync([(5, 105)]) == 120
    assert stalled_sync([(5, 105), (50, 60)]) == 120, "within the other"
    assert stalled_sync([(5, 105), (50, 150)]) == 165, "longer than the other"
    assert stalled_sync([(30, 60)]) == 20


def test_what_comes_during_a_stall_is_served_after_it_also_after_a_power_loss() -> None:
    bench = Bench(MODEL)
    bench.disk.device.stall(0, 100 * MS)
    assert bench.disk.device.book(40 * MS, 0, 1) == 110 * MS
    bench.lose_power(lose_everything)
    assert bench.disk.device.book(40 * MS, 0, 1) == 110 * MS
    assert bench.disk.device.book(300 * MS, 0, 1) == 310 * MS


def test_a_slow_disk_takes_the_factor_of_each_figure_and_keeps_its_size() -> None:
    bench = Bench(MODEL)
    bench.disk.set_slowness(3)
    file = bench.volume.create("/f")
    file.write_at(0, b"x" * 8000)
    bench.wait(file.sync())
    assert bench.clock.now() == pytest.approx(60 * MS, rel=1e-4)
    bench.disk.set_slowness(1)
    assert bench.disk.model == MODEL == bench.disk.device.model


# -- copies --------------------------------------------------------------------------------


def test_an_old_copy_stays_as_it_was_and_can_be_put_back() -> None:
    bench, _inode = bench_with(*BLOCKS[:3])
    bench.volume.open("/f").write_at(0, b"seen, not synced")
    copy = bench.disk.copy()
    file = bench.volume.open("/f")
    file.write_at(0, BLOCKS[6] * 2)
    file.truncate(BLOCK_BYTES)
    bench.volume.create("/g").close()
    bench.volume.rename("/f", "/h")
    bench.disk.put_back(copy)
    bench.restart()
    assert bench.volume.list("/") == ["f"]
    assert bench.content("/f") == b"seen, not synced" + b"".join(BLOCKS[:3])[16:]
    bench.lose_power(lose_everything)
    assert bench.content("/f")[:4] == b"seen"
    assert bench.disk.used_blocks == 3
