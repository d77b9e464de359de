"""Reading and playing vscsi traces; what is wrong with one is named with its place."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from replicator.runtime import Kernel
from simulator.payload import POOL_BYTES, PayloadPool
from simulator.runtime import SimClock
from simulator.traces import DISK_PATH, TracedWrite, TracePlayer, read_writes
from tests.store.memory_volume import Medium, MemoryVolume

EXCERPT = Path(__file__).parent.parent / "scenarios" / "data" / "vscsi-excerpt.csv"
HEADER = "version,time,op,size,lbn\n"


def trace(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace.csv"
    path.write_bytes(text.encode("latin-1"))
    return path


def test_the_excerpt_reads_as_its_origin_says() -> None:
    writes = list(read_writes(EXCERPT))
    assert len(writes) == 3592
    assert sum(w.length_bytes for w in writes) == 50_579_456
    assert writes[-1].time_ns == 700_684_289_000
    assert max(w.offset_bytes + w.length_bytes for w in writes) == 33_584_807_424
    assert all(a.time_ns <= b.time_ns for a, b in itertools.pairwise(writes))
    on_page = sum(w.offset_bytes % 4096 == 0 for w in writes)
    assert on_page < len(writes) // 5


def test_reads_and_empty_writes_are_left_out_and_columns_go_by_name(tmp_path: Path) -> None:
    path = trace(
        tmp_path,
        "lbn,op,time,size,version,note\n"
        "8,28,1000,4096,1,read\n"
        "8,2A,1500,512,1,\n"
        "9,2a,1400,1024,1,a little out of order\n"
        "9,2a,1600,0,1,\n",
    )
    assert list(read_writes(path)) == [
        TracedWrite(500_000, 4096, 512),
        TracedWrite(500_000, 4608, 1024),
    ]


@pytest.mark.parametrize(
    ("text", "reason", "line", "offset"),
    [
        ("", "empty", 1, 0),
        ("time,op\n", "lacks the column 'version'", 1, 0),
        ("\x00\xff\x80garbage\n", "lacks the column", 1, 0),
        (HEADER + "1,5,2a,512\n", "4 fields", 2, 25),
        (HEADER + "1,5,2a,512,9\n1,6,2a,5", "cut off", 3, 38),
        (HEADER + "1,5,2a,512,9\n1,6,2a,512,99", "cut off", 3, 38),
        (HEADER + "1,x,2a,512,9\n", "not a number", 2, 25),
        (HEADER + "1,5,zz,512,9\n", "not a number", 2, 25),
        (HEADER + "1,5,2a,-512,9\n", "negative", 2, 25),
        (HEADER + "1,5,2a,513,9\n", "no multiple of 512", 2, 25),
        (HEADER + "1,5,2a,1073741824,9\n", "larger than any disk", 2, 25),
        (HEADER + "1,5,2a,512,999999999999999\n", "beyond any disk", 2, 25),
        (HEADER + "1,5000000,2a,512,9\n1,5,2a,512,9\n", "goes back by 4999 ms", 3, 44),
        (HEADER + "1,5,2a,512,9\n1,99999999999999999,2a,512,9\n", "jumps ahead", 3, 38),
        (HEADER + "1" * 5000 + "\n", "longer than any command", 2, 25),
        (HEADER + "\n", "1 fields", 2, 25),
    ],
)
def test_damage_is_named_with_file_line_and_byte(
    tmp_path: Path, text: str, reason: str, line: int, offset: int
) -> None:
    path = trace(tmp_path, text)
    with pytest.raises(BadInput, match=reason) as caught:
        list(read_writes(path))
    error = caught.value
    assert (error.path, error.line, error.offset) == (str(path), line, offset)
    assert f"{path}:{line}: " in str(error)


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        list(read_writes(tmp_path / "none.csv"))


@given(st.binary(max_size=200))
def test_any_bytes_give_writes_or_bad_input(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(HEADER.encode() + data)
    try:
        for write in read_writes(path):
            assert write.length_bytes > 0
    except BadInput as error:
        assert error.line is not None


def test_memory_does_not_grow_with_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as out:
        out.write(HEADER)
        for i in range(50_000):
            out.write(f"1,{i * 1000},2a,512,{i}\n")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_writes(path)) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


# -- the player ------------------------------------------------------------------------


def steady(count: int, step_ns: int = 1_000_000) -> Iterator[TracedWrite]:
    return (TracedWrite(i * step_ns, i * 4096 + 512, 1024) for i in range(count))


def play(player: TracePlayer, medium: Medium, crash_at: int | None = None, **how: int) -> int:
    """Play on a new host; returns the simulated time it took."""
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(medium, crash_at)
    task = kernel.run_task(player.play(volume, clock.now, **how), "player")
    clock.run_until_idle()
    if not kernel.dead:
        task.result()
    kernel.close()
    return clock.now()


def stamps(medium: Medium) -> dict[int, int]:
    """Offset -> operation number of the writes that are on the disk."""
    data = medium.names[DISK_PATH].data
    return {
        at: int.from_bytes(data[at : at + 8], "little")
        for at in range(512, len(data), 4096)
        if any(data[at : at + 8])
    }


@pytest.mark.parametrize(("speed", "took_ns"), [(1.0, 99_000_000), (2.0, 49_500_000)])
def test_writes_are_played_at_their_times(speed: float, took_ns: int) -> None:
    medium, player = Medium(), TracePlayer(steady(100), speed=speed)
    assert play(player, medium) == took_ns
    assert (player.figures.writes, player.figures.written_bytes) == (100, 102_400)
    assert player.finished
    assert stamps(medium) == {i * 4096 + 512: i + 1 for i in range(100)}


def test_a_player_goes_on_after_a_crash_with_the_next_writes() -> None:
    medium, player = Medium(), TracePlayer(steady(100))
    play(player, medium, crash_at=32)  # the file's creation and thirty writes went before
    assert player.figures.writes == 31
    assert player.next_time_ns == 31_000_000
    assert play(player, medium, from_time_ns=40_500_000, until_time_ns=60_000_000) == 18_500_000
    assert player.figures.skipped == 10
    assert play(player, medium) == 39_000_000
    assert player.finished and player.figures.writes == 90
    found = stamps(medium)
    assert len(set(found.values())) == len(found)
    assert found[41 * 4096 + 512] == 32 and found[99 * 4096 + 512] == 90


def test_offsets_fold_into_a_smaller_disk() -> None:
    disk_bytes = 64 << 20
    writes = iter([TracedWrite(0, 33_584_807_424 - 65536, 65536), TracedWrite(0, 512, 512)])
    medium, player = Medium(), TracePlayer(writes, disk_bytes=disk_bytes)
    play(player, medium)
    assert len(medium.names[DISK_PATH].data) <= disk_bytes
    with pytest.raises(ValueError, match="whole sectors"):
        TracePlayer(iter([]), disk_bytes=1000)


# -- payloads --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "low", "high"), [(0.0, 0.99, 1.01), (0.5, 1.8, 2.1), (0.9, 6, 12)]
)
def test_payloads_shrink_by_the_share_that_was_asked(share: float, low: float, high: float) -> None:
    pool = PayloadPool(share)
    compressor = zstandard.ZstdCompressor(level=3)
    for batch in (1, 64):
        data = b"".join(pool.take(i, 8192) for i in range(batch))
        assert low < len(data) / len(compressor.compress(data)) < high


@given(st.lists(st.integers(0, 100_000), max_size=20))
def test_payloads_have_their_size_and_stamp(sizes: list[int]) -> None:
    pool = PayloadPool(0.5)
    for stamp, size in enumerate(sizes):
        data = pool.take(stamp, size)
        assert len(data) == size
        assert data[:8] == stamp.to_bytes(8, "little")[:size]


def test_a_payload_larger_than_the_pool_is_whole() -> None:
    pool = PayloadPool(0.5)
    assert len(pool.take(1, 3 * POOL_BYTES + 77)) == 3 * POOL_BYTES + 77
    assert len(pool.take(2, 100)) == 100
