"""The replicator itself over real files and a real connection: one run from end to end."""

from __future__ import annotations

import random
import stat
from collections.abc import Awaitable, Callable
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
from tests.host.unprivileged import unprivileged
from tests.real_tree import tree

MILLISECOND_NS = 1_000_000
PATIENCE_NS = 30_000 * MILLISECOND_NS
Program = Callable[[Volume, int], Awaitable[None]]


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


def ends_below(directory: Path) -> dict[str, Path]:
    """A directory for each machine."""
    ends = {name: directory / name for name in ("source", "replica")}
    for each in ends.values():
        each.mkdir()
    return ends


def replicate_once(ends: dict[str, Path], incarnation: int, program: Program) -> None:
    """Start both ends, let the program run, and wait until all of it is applied."""
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
            await program(CapturedVolume(keeper.capture), seed)
            while not (
                store.epoch == spool.epoch and store.applied == spool.completed and store.applied
            ):
                await sleep_ns(5 * MILLISECOND_NS)
            g.cancel()

    run_on_host(replicate, incarnation=incarnation)


def test_a_replica_of_real_files_over_a_real_connection(tmp_path: Path) -> None:
    ends = ends_below(tmp_path)
    for incarnation in (1, 2):  # the second start goes on with what the first left
        replicate_once(ends, incarnation, lambda volume, seed: programs(volume, seed, 200))
        assert tree(ends["replica"] / "home" / "image") == tree(ends["source"] / "set")
    assert {"1/database", "2/database"} <= set(tree(ends["source"] / "set"))


async def seals_what_it_writes(volume: Volume, seed: int) -> None:
    """Makes files and directories read-only, and goes on in what it has open."""
    if seed == 1:
        volume.create("/set/1").close()  # the rest is there already, and is synchronized
        return
    root = f"/set/{seed}"
    volume.mkdir(root)
    file = volume.create(root + "/sealed")
    file.write_at(0, b"x" * 10_000)
    volume.set_attributes(root + "/sealed", 0o444)
    volume.mkdir(root + "/directory")
    volume.create(root + "/directory/f").close()
    volume.set_attributes(root + "/directory/f", 0o400)
    volume.set_attributes(root + "/directory", 0o555)
    file.write_at(5_000, b"y" * 10_000)
    await file.sync()
    file.close()
    volume.set_attributes(root + "/directory", 0o755)
    volume.rename(root + "/directory/f", root + "/moved")
    volume.set_attributes(root + "/directory", 0o500)
    volume.unlink(root + "/moved")


def test_read_only_entries_by_a_user_whom_modes_bind(tmp_path: Path) -> None:
    ends = ends_below(tmp_path)

    def child() -> list[str]:
        old = ends["source"] / "set" / "old"
        old.mkdir(parents=True)
        (old / "f").write_bytes(b"read only" * 1000)
        (old / "f").chmod(0o444)
        old.chmod(0o555)
        for incarnation in (1, 2, 3):
            replicate_once(ends, incarnation, seals_what_it_writes)
        return sorted(tree(ends["source"] / "set"))

    assert unprivileged(child) == [
        *("1", "2", "2/directory", "2/sealed", "3", "3/directory", "3/sealed", "old", "old/f")
    ]
    copy = ends["replica"] / "home" / "image"
    assert tree(copy) == tree(ends["source"] / "set")
    assert stat.S_IMODE((copy / "3" / "sealed").stat().st_mode) == 0o444
    assert stat.S_IMODE((copy / "old").stat().st_mode) == 0o555
    for each in (*ends["source"].rglob("*/"), *ends["replica"].rglob("*/")):
        each.chmod(0o700)  # or the test's own directory could not be removed
