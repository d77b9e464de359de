"""The replicator itself over real files and a real connection: one run from end to end."""

from __future__ import annotations

import random
from pathlib import Path

from replicator.captured_volume import CapturedVolume
from replicator.host.world import HostRuntime, run_on_host
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from replicator.runtime import deadline, group, sleep_ns
from replicator.runtime.port import Volume
from replicator.source import Source, SourceOptions
from replicator.source_place import SourcePlace, SpoolOptions
from tests.real_tree import tree

MILLISECOND_NS = 1_000_000
PATIENCE_NS = 30_000 * MILLISECOND_NS


async def programs(volume: Volume, seed: int, operations: int) -> None:
    """A little of everything a store does; ends with all of it synced."""
    numbers = random.Random(seed)
    root = f"/set/{seed}"
    volume.mkdir(root)
    database = volume.create(root + "/database")
    log = volume.create(root + "/log")
    end = 0
    for number in range(operations):
        await volume.admit(20_000)
        end += log.write_at(end, numbers.randbytes(numbers.randrange(1, 3000)))
        database.write_at(numbers.randrange(300) * 8192, numbers.randbytes(8192))
        if number % 20 == 19:
            await log.sync()
            log.close()
            volume.rename(root + "/log", f"{root}/log-{number}")
            log, end = volume.create(root + "/log"), 0
            await volume.sync_directory(root)
        if number % 50 == 49:
            volume.unlink(f"{root}/log-{number // 20 * 20 - 21}")
            database.zero_range(numbers.randrange(2_000_000), 30_000)
            volume.symlink("database", f"{root}/link-{number}")
            volume.link(root + "/database", f"{root}/second-{number}")
    database.truncate(2_000_000)
    await database.sync()
    database.close()
    log.close()


def test_a_replica_of_real_files_over_a_real_connection(tmp_path: Path) -> None:
    ends = {name: tmp_path / name for name in ("source", "replica")}
    for directory in ends.values():
        directory.mkdir()
    port: list[int] = []

    async def replicate(runtime: HostRuntime) -> None:
        listener = await runtime.listen("127.0.0.1:0")
        port[:] = [int(listener.address.rpartition(":")[2])]
        listener.close()
        address = f"127.0.0.1:{port[0]}"
        data = runtime.volume("source", str(ends["source"]))
        copy = runtime.volume("replica", str(ends["replica"]))
        place = SourcePlace(
            runtime, data, "/set", data, "/spool", "set", "source", SpoolOptions(64 << 20, 1 << 20)
        )
        await place.prepare()
        board = place.board()
        keeper = place.keeper(board)
        options = SourceOptions("set", "source", address, reconnect_ns=20 * MILLISECOND_NS)
        source = Source(runtime, place.reader(board), place.files(), options)
        store = ReplicaStore(
            runtime, copy, "/home", copy, "/home", ReplicaOptions("set", "replica")
        )
        await store.open()
        await keeper.open()
        spool, seed = keeper.capture.spool, runtime.incarnation
        async with deadline(PATIENCE_NS), group() as g:
            g.spawn(Replica(runtime, store, address).run(), "replica")
            g.spawn(source.run(), "source")
            g.spawn(keeper.serve(), "keeper")
            await programs(CapturedVolume(keeper.capture), seed, 200)
            while not (
                store.epoch == spool.epoch and store.applied == spool.completed and store.applied
            ):
                await sleep_ns(5 * MILLISECOND_NS)
            g.cancel()

    for incarnation in (1, 2):  # the second start goes on with what the first left
        run_on_host(replicate, incarnation=incarnation)
        assert tree(ends["replica"] / "home" / "image") == tree(ends["source"] / "set")
    assert {"1/database", "2/database"} <= set(tree(ends["source"] / "set"))
