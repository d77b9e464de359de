"""Two histories bear the same epoch's number: they are never taken for one.

A source that has lost its own state begins to count epochs from 1 again, and so does a
second machine that was set up for the same protected set.
"""

from __future__ import annotations

import pytest

from replicator.runtime import group, sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.source import Source, SourceState
from replicator.source_place import SourcePlace, SpoolOptions
from simulator.digest import image_digest
from simulator.host import Host, lose_everything, run_offline
from simulator.link import Link, LinkModel
from simulator.systems.byte_level import REPLICA, SET_ID, SOURCE
from tests.failures.worlds import (
    BLOCK,
    FAST,
    IMAGE,
    KIB,
    MIB,
    MS,
    ROOT,
    FailureWorld,
    nothing,
    payload,
    put_file,
    spoil,
)

FILES = {"/db": payload(1, 4 * BLOCK), "/log": payload(2, 1000)}


def overwrites(before: int, after: int) -> object:
    """So many writes in the first life of the process, so many in the second."""
    lives: list[int] = []

    async def steps(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        lives.append(1)
        file = volume.open(f"{ROOT}/db")
        for number in range(before if len(lives) == 1 else after):
            await volume.admit(BLOCK)
            file.write_at(number % 4 * BLOCK, payload(100 * len(lives) + number))
            await sleep_ns(MS)

    return steps


def forget_state(world: FailureWorld) -> None:
    """The spool's directory is gone, segments and state."""
    names = world.disk(SOURCE).names
    for path, _node in names.walk("/spool"):
        if path.count("/") == 3 or path.startswith("/spool/source."):
            names.remove(path, directory_wanted=False)
    names.settle_prefix(names.changes)


@pytest.mark.parametrize("outside", [False, True], ids=["same files", "changed meanwhile"])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (3, 3), (3, 2), (2, 9), (0, 5)])
def test_a_source_without_memory_synchronizes_into_a_higher_epoch(
    before: int, after: int, outside: bool
) -> None:
    world = FailureWorld(overwrites(before, after), files=FILES).start()  # type: ignore[arg-type]
    world.converge()
    assert (world.store.epoch, world.store.applied) == (1, before)
    old = image_digest(world.disk(REPLICA), IMAGE)
    world.programs.finished = False

    def meanwhile() -> None:
        forget_state(world)
        if outside:
            spoil(world.disk(SOURCE), f"{ROOT}/db", 2 * BLOCK, payload(77))
            world.system.truth.power_lost()

    world.source_crashes(meanwhile=meanwhile)
    resumed: list[int] = []
    world.on_event = lambda event: (
        resumed.append(world.spool.epoch)
        if (event.name, event.values[:1]) == ("source_state", (SourceState.STREAMING,))
        else None
    )
    while not (world.programs.finished and world.system.converged):
        assert world.now_ms < 5000, world.describe()
        world.run_to(world.now_ms + 1)
        if world.store.epoch == 1:
            assert image_digest(world.disk(REPLICA), IMAGE) == old, "nothing is mixed in"
            assert world.store.applied == before
    assert set(resumed) == {2}, "it went on with the other history"
    assert [v[0] for v in world.said("epoch")] == [1, 1, 2], "the number was taken already"
    assert world.store.epoch == 2
    world.oracle.durable.pop(1, None)
    world.converge()
    world.run_to(world.now_ms + 50, judge_every_ms=10)
    world.close()


def test_it_leaves_all_numbers_behind_that_the_replica_knows() -> None:
    world = FailureWorld(overwrites(3, 3), files=FILES).start()  # type: ignore[arg-type]
    for epoch in (2, 3):
        world.converge()
        world.gap()
        world.run_until(lambda e=epoch: world.store.epoch == e, 2000)
    world.converge()
    world.programs.finished = False
    world.source_crashes(meanwhile=lambda: forget_state(world))
    world.run_until(lambda: world.programs.finished and world.system.converged, 2000)
    assert [v[0] for v in world.said("epoch")] == [1, 2, 3, 1, 4]
    assert image_digest(world.disk(REPLICA), IMAGE) == image_digest(world.disk(SOURCE), ROOT)
    world.close()


class SecondSource:
    """Another machine with other files and the same protected set's name."""

    def __init__(self, world: FailureWorld, files: dict[str, bytes], writes: int = 0) -> None:
        self.world = world
        self.machine = world.world.machine("second")
        self.disk = self.machine.add_disk("data", FAST)
        self.writes = writes
        for path, data in files.items():
            put_file(self.disk, ROOT + path, data)
        network = world.world.network
        assert network is not None
        model = LinkModel(bits_per_second=10**9, rtt_ns=MS)
        network.add_link(Link(world.clock, "second", REPLICA, model))
        self.source: Source | None = None

    def start(self) -> None:
        host = self.machine.start()
        host.start(self._main(host), "second source")

    def stop(self) -> None:
        self.machine.lose_power(lose_everything)
        self.source = None

    async def _main(self, host: Host) -> None:
        volume, options = host.volume("data"), self.world.system.options.source
        limits = SpoolOptions(4 * MIB, 64 * KIB)
        place = SourcePlace(host, volume, ROOT, volume, "/spool", SET_ID, "second", limits)
        await place.prepare()
        board = place.board()
        keeper = place.keeper(board)
        await keeper.open()
        self.source = Source(host, place.reader(board), place.files(), options)
        async with group() as g:
            g.spawn(keeper.serve(), "keeper")
            await self.source.run()

    @property
    def digest(self) -> int:
        return image_digest(self.disk, ROOT)


OTHER = {"/db": payload(51, 4 * BLOCK), "/log": payload(52, 1000)}


def test_a_second_machine_synchronizes_into_a_higher_epoch() -> None:
    world = FailureWorld(nothing, files=FILES)
    second = SecondSource(world, OTHER)
    world.start()
    world.converge()
    assert (world.store.epoch, world.store.applied) == (1, 0)
    world.system.source_machine.lose()
    world.system.source = None
    second.start()
    world.run_until(lambda: world.store.epoch > 1 and not world.store.promises.holds, 2000)
    assert second.source is not None
    assert world.store.epoch == second.source.spool.epoch == 2
    assert image_digest(world.disk(REPLICA), IMAGE) == second.digest
    assert (1,) in [v for e, m, n, v in world.events if (m, n) == ("second", "epoch")]
    world.close()


def test_two_machines_at_once_never_mix_their_files() -> None:
    """Each takes the replica from the other for a while; its image is one of the two."""
    world = FailureWorld(nothing, files=FILES)
    second = SecondSource(world, OTHER)
    world.start()
    second.start()
    either = {image_digest(world.disk(SOURCE), ROOT): 1, second.digest: 2}
    seen: list[int] = []

    def recovered() -> int:
        disks = {}
        for name, disk in world.world.machine(REPLICA).disks.items():
            disks[name] = disk.fork(disk.clock, FAST)
            disks[name].power_loss(lose_everything)
        found: list[int] = []

        async def recover(host: Host) -> None:
            report = await world.system.open_store(host).open()
            if report.epoch:
                found.append(image_digest(host.machine.disks["data"], IMAGE))

        run_offline(disks, recover)
        return either[found[0]] if found else 0  # a KeyError: of neither

    for _ in range(300):
        world.clock.run_until(world.clock.now() + MS)
        seen.append(recovered())
        assert not world.failures, world.failures
    assert {1, 2} <= set(seen), "both had their turn"
    second.stop()
    world.run_until(lambda: world.system.converged, 5000)
    assert recovered() == 1
    world.close()
