"""The targets at full size: 1 GiB of real files over a loopback connection."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import pytest

from replicator.host.world import HostRuntime, run_on_host
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from replicator.runtime import deadline, group, sleep_ns
from replicator.source import Source, SourceOptions
from replicator.source_place import SourcePlace, SpoolOptions

MIB = 1 << 20
PAGE_BYTES = 8192
MS = 1_000_000


def make_images(ends: Path, size_mib: int, share: float) -> int:
    """Two images that differ in a share of their pages, in bytes that nothing compresses."""
    numbers = random.Random(1)
    pages = size_mib * MIB // PAGE_BYTES
    changed = set(numbers.sample(range(pages), int(pages * share)))
    for directory in ("source/set", "replica/home/image"):
        (ends / directory).mkdir(parents=True)
    with (
        (ends / "source/set/db").open("wb") as new,
        (ends / "replica/home/image/db").open("wb") as old,
    ):
        for page in range(pages):
            data = numbers.randbytes(PAGE_BYTES)
            new.write(data)
            old.write(os.urandom(PAGE_BYTES) if page in changed else data)
    return len(changed) * PAGE_BYTES


def synchronize(ends: Path, breaks: int = 0, total_bytes: int = 0) -> tuple[int, int]:
    """Bytes on the wire, both ways, and the most memory that Python held meanwhile.

    ``breaks``: cut the connection so many times, evenly over ``total_bytes``.
    """
    result: list[int] = []

    async def main(runtime: HostRuntime) -> None:
        listener = await runtime.listen("127.0.0.1:0")
        address = f"127.0.0.1:{listener.address.rpartition(':')[2]}"
        listener.close()
        data = runtime.volume("source", str(ends / "source"))
        copy = runtime.volume("replica", str(ends / "replica"))
        place = SourcePlace(
            runtime, data, "/set", data, "/spool", "set", "s", SpoolOptions(64 * MIB, MIB)
        )
        await place.prepare()
        board = place.board()
        keeper = place.keeper(board)
        options = SourceOptions("set", "s", address, reconnect_ns=20 * MS)
        source = Source(runtime, place.reader(board), place.files(), options)
        store = ReplicaStore(runtime, copy, "/home", copy, "/home", ReplicaOptions("set", "r"))
        await store.open()
        await keeper.open()
        replica = Replica(runtime, store, address)
        left = breaks
        async with deadline(600_000 * MS), group() as g:
            g.spawn(replica.run(), "replica")
            g.spawn(source.run(), "source")
            g.spawn(keeper.serve(), "keeper")
            while not (source.committed and store.epoch == keeper.capture.spool.epoch):
                await sleep_ns(MS)
                done = breaks + 1 - left
                if left and source.block_traffic.total_bytes > done * total_bytes / (breaks + 1):
                    left -= 1
                    await replica._end_session("the test cuts it")
            assert not left
            report = await source.request_comparison().wait()
            assert report.identical
            assert report.traffic.data_bytes == 0
            g.cancel()
        result.append(source.block_traffic.total_bytes)

    tracemalloc.start()
    try:
        run_on_host(main)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for name in ("db",):
        with (
            (ends / "source/set" / name).open("rb") as one,
            (ends / "replica/home/image" / name).open("rb") as other,
        ):
            while piece := one.read(MIB):
                assert piece == other.read(MIB)
    return result[0], peak_bytes


@pytest.mark.parametrize("size_mib", [64, pytest.param(1024, marks=pytest.mark.full)])
def test_one_percent_of_the_pages(tmp_path: Path, size_mib: int) -> None:
    changed_bytes = make_images(tmp_path, size_mib, 0.01)
    total_bytes, peak_bytes = synchronize(tmp_path)
    print(f"{size_mib} MiB: {total_bytes / changed_bytes:.4f} of the changed bytes, {peak_bytes} B")
    assert total_bytes <= 1.1 * changed_bytes
    assert peak_bytes < 40 * MIB, "memory must not grow with the image"


@pytest.mark.full
@pytest.mark.parametrize("share", [0.01, 1.0])
def test_broken_ten_times(tmp_path: Path, share: float) -> None:
    changed_bytes = make_images(tmp_path / "single", 1024, share)
    single_bytes, _ = synchronize(tmp_path / "single")
    assert make_images(tmp_path / "broken", 1024, share) == changed_bytes
    broken_bytes, _ = synchronize(tmp_path / "broken", 10, single_bytes)
    print(f"{share:.0%}: {broken_bytes / single_bytes:.4f} of a single pass")
    assert broken_bytes <= 1.05 * single_bytes
