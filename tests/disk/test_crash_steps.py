"""A crash at each storage step, followed by a power loss: what is left is legal, too.

And the faults of a disk, one by one: syncs that fail, syncs that lie, write-back, files
without a name.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.errors import NoSpace, SyncFailed
from replicator.runtime import Crashed
from simulator.device import INSTANT, DiskModel
from simulator.disk import METADATA_COMMIT_NS
from simulator.host import keep_everything, lose_everything
from simulator.volume import SimFile
from tests.disk.bench import Bench, Choices, recount
from tests.disk.reference import FileModel, NamesModel

SURVIVALS = (
    lose_everything,
    keep_everything,
    *(Choices(numbers) for numbers in ([1] * 99, [2, 1, 0] * 33, [0, 2, 1, 1] * 25, [9, 0] * 49)),
)


class Program:
    """A log that is written, synced and rolled by rename; the model goes along.

    The model follows each plain call although a crash may be reported inside of it: the
    crash happens at the end of the step, with the change in the cache.
    """

    def __init__(self, bench: Bench, names: NamesModel) -> None:
        self.bench = bench
        self.names = names
        self.files: dict[int, FileModel] = {}

    def create(self, path: str) -> SimFile:
        number = self.bench.disk.names.next_number
        self.files[number] = FileModel()
        try:
            return self.bench.volume.create(path)
        finally:
            self.names.add(path, number, "FILE ")

    def write(self, file: SimFile, offset: int, data: bytes) -> None:
        self.files[file.inode.number].write(offset, data)
        file.write_at(offset, data)

    def truncate(self, file: SimFile, size: int) -> None:
        self.files[file.inode.number].truncate(size)
        file.truncate(size)

    def sync(self, file: SimFile) -> None:
        self.files[file.inode.number].sync()
        self.bench.wait(file.sync())

    def sync_root(self) -> None:
        self.names.sync("/")
        self.bench.wait(self.bench.volume.sync_directory("/"))

    def run(self) -> None:
        log = self.create("/log")
        self.write(log, 0, b"1" * 700)
        self.sync(log)
        self.sync_root()
        self.write(log, 700, b"2" * 500)
        self.sync(log)
        self.names.rename("/log", "/log1")
        self.bench.volume.rename("/log", "/log1")
        fresh = self.create("/log")
        self.write(fresh, 0, b"3" * 8300)
        self.truncate(fresh, 8200)
        self.write(log, 100, b"4" * 600)
        self.sync(fresh)
        self.sync_root()
        self.names.remove("/log1")
        self.bench.volume.unlink("/log1")
        self.write(log, 0, b"5" * 10)
        self.sync(log)
        self.sync_root()


@pytest.mark.parametrize("metadata", ["ordered", "any"])
def test_power_loss_at_each_step_leaves_a_legal_state(metadata: str) -> None:
    step, survivals = 0, 0
    while True:
        step += 1
        bench = Bench(replace(INSTANT, metadata=metadata))
        program = Program(bench, NamesModel(metadata == "ordered"))
        bench.disk.crash_at_step = step
        try:
            program.run()
        except Crashed:
            assert bench.process.dead and bench.disk.steps == step
        else:
            break
        for choose in SURVIVALS:
            survivals += 1
            after = bench.fork()
            after.lose_power(choose)
            tree = after.tree()
            legal = (program.names.state(chosen) for chosen in program.names.legal_choices())
            assert tree in list(legal)
            for path, (number, _kind, _attributes) in tree.items():
                assert program.files[number].allows(after.content(path), 512)
    assert (step, survivals) == (18, 17 * len(SURVIVALS))


def test_a_crash_of_the_process_keeps_the_cache() -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    bench.disk.crash_at_step = bench.disk.steps + 1
    with pytest.raises(Crashed):
        file.write_at(0, b"kept")
    with pytest.raises(Crashed):
        file.write_at(0, b"not any more")
    bench.restart()
    assert bench.content("/f") == b"kept"


@pytest.mark.parametrize(("keeps", "left"), [(0.0, b""), (0.5, b"ke"), (1.0, b"kept")])
def test_a_crash_inside_a_write_may_keep_a_part_of_it(keeps: float, left: bytes) -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    bench.disk.crash_keeps = keeps
    bench.disk.crash_at_step = bench.disk.steps + 1
    with pytest.raises(Crashed):
        file.write_at(0, b"kept")
    bench.restart()
    assert bench.content("/f") == left
    bench.lose_power(keep_everything)
    assert bench.content("/f") == left


# -- files without a name ----------------------------------------------------------


def test_an_unlinked_file_comes_back_as_long_as_its_removal_is_not_durable() -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    file.write_at(0, b"abc")
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    bench.volume.unlink("/f")
    file.write_at(0, b"x")
    bench.wait(file.sync())
    kept = bench.fork()
    kept.lose_power(keep_everything)
    assert not kept.volume.exists("/f") and kept.disk.used_blocks == 0
    bench.lose_power(lose_everything)
    assert bench.content("/f") == b"xbc" and bench.disk.used_blocks == 1


def test_an_unlinked_file_is_forgotten_once_its_removal_is_durable() -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    file.write_at(0, b"abc")
    bench.volume.unlink("/f")
    bench.wait(bench.volume.sync_directory("/"))
    assert bench.disk.dirty_bytes == 0
    file.write_at(0, b"still usable")
    assert bench.wait(file.read_at(0, 99)) == b"still usable"
    bench.lose_power(keep_everything)
    assert bench.tree() == {} and recount(bench.disk) == (0, 0)


def test_one_name_of_a_hard_link_lost_is_not_the_file_lost() -> None:
    bench = Bench()
    file = bench.volume.create("/first")
    file.write_at(0, b"abc")
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    bench.volume.link("/first", "/second")
    bench.lose_power(lose_everything)
    assert list(bench.tree()) == ["/first"] and bench.content("/first") == b"abc"
    bench.volume.unlink("/first")
    assert bench.disk.used_blocks == 0


# -- syncs that fail or lie --------------------------------------------------------


def test_a_failed_sync_makes_nothing_durable_and_fails_once() -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    bench.wait(bench.volume.sync_directory("/"))
    file.write_at(0, b"abc")
    failures = iter([True])
    bench.disk.sync_fails = lambda path: path == "/f" and next(failures, False)
    with pytest.raises(SyncFailed):
        bench.wait(file.sync())
    with pytest.raises(SyncFailed):
        bench.wait(file.sync())
    lost = bench.fork()
    lost.lose_power(lose_everything)
    assert lost.content("/f") == b""
    other = bench.volume.create("/g")
    bench.wait(other.sync())
    assert recount(bench.disk) == (bench.disk.used_blocks, bench.disk.dirty_bytes)


def test_a_lying_sync_returns_and_makes_nothing_durable() -> None:
    bench = Bench()
    bench.disk.drive_cache.lies = True
    file = bench.volume.create("/f")
    file.write_at(0, b"abc")
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    assert bench.clock.now() == 0
    honest, lost = bench.fork(), bench.fork()
    honest.lose_power(keep_everything)
    assert honest.content("/f") == b"abc"
    lost.lose_power(lose_everything)
    assert lost.tree() == {}
    bench.disk.drive_cache.lies = False
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    bench.lose_power(lose_everything)
    assert bench.content("/f") == b"abc"


# -- what becomes durable by itself ------------------------------------------------

SLOW = DiskModel(bytes_per_second=1_000_000, positioning_ns=1_000_000, dirty_limit_bytes=100_000)


def survivors(bench: Bench, path: str) -> bytes:
    """The file's bytes if the power went now and took all that it may."""
    fork = bench.fork()
    fork.lose_power(lose_everything)
    return fork.content(path) if fork.volume.exists(path) else b""


def test_write_back_makes_old_data_durable_once_the_device_has_had_the_time() -> None:
    bench = Bench(SLOW)
    file = bench.volume.create("/f")
    bench.wait(bench.volume.sync_directory("/"))
    start = bench.clock.now()
    file.write_at(0, b"a" * 50_000)
    bench.clock.run_until_idle()
    assert bench.clock.now() == start  # half the limit: nothing is written back
    file.write_at(50_000, b"b" * 1_000)
    bench.clock.run_until(start + 51_000_000)
    assert survivors(bench, "/f") == b""  # 1 ms of positioning is missing
    bench.clock.run_until(start + 52_000_000)
    assert survivors(bench, "/f") == b"a" * 50_000 + b"b" * 1_000
    assert bench.disk.dirty_bytes == 0


def test_write_back_takes_the_oldest_file_first() -> None:
    bench = Bench(SLOW)
    files = [bench.volume.create(f"/{number}") for number in range(3)]
    bench.wait(bench.volume.sync_directory("/"))
    for file in files:
        file.write_at(0, b"a" * 30_000)
    bench.clock.run_until_idle()
    assert [len(survivors(bench, f"/{number}")) for number in range(3)] == [30_000, 30_000, 0]


def test_write_back_goes_on_after_a_power_loss_in_its_midst() -> None:
    bench = Bench(replace(SLOW, dirty_limit_bytes=10_000, bytes_per_second=1_000))
    bench.volume.create("/f").write_at(0, b"a" * 10_000)
    bench.clock.run_until(1_000_000)
    bench.lose_power(lose_everything)
    file = bench.volume.create("/f")
    file.write_at(0, b"b" * 9_000)
    bench.wait(bench.volume.admit(5_000))
    assert survivors(bench, "/f") == b""  # the name is not durable
    assert bench.disk.dirty_bytes == 0


def test_names_commit_by_themselves_after_half_a_minute() -> None:
    bench = Bench()
    for name in "abc":
        bench.volume.create(f"/{name}")
        bench.volume.rename(f"/{name}", f"/{name}")  # changes nothing, and settles nothing
        bench.clock.run_until(bench.clock.now() + METADATA_COMMIT_NS // 2)
    bench.clock.run_until(bench.clock.now() + 1)
    bench.volume.create("/last")
    bench.lose_power(lose_everything)
    assert list(bench.tree()) == ["/a", "/b"]


# -- reservations ------------------------------------------------------------------


def test_a_power_loss_gives_reservations_back() -> None:
    bench = Bench(replace(INSTANT, size_bytes=10 * 8192))
    file = bench.volume.create("/f")
    bench.wait(bench.volume.sync_directory("/"))
    file.allocate(0, 10 * 8192)
    with pytest.raises(NoSpace):
        bench.volume.create("/g").write_at(0, b"x")
    bench.lose_power(keep_everything)
    assert bench.volume.free_bytes() == 10 * 8192
