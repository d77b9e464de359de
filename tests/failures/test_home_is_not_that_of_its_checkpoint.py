"""A file of the copy is gone, or somebody's is in the way: the replica says so and begins anew.

A disk that lied loses names as well as bytes, and people clean up directories.  A replica that
ended over it would end over it at each start, for ever.  What is left is the image of nothing; the
source brings another one, of an epoch that nothing at the replica knows of.
"""

from __future__ import annotations

from typing import Any

import pytest

from replicator import replica_recovery
from replicator.errors import DamagedImage
from replicator.home import HomeImage
from replicator.image import UNVERIFIED, ReplicaImage
from replicator.replica_apply import ReplicaApply
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from simulator.disk import Disk
from simulator.host import keep_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import (
    IMAGE,
    MIB,
    MS,
    ROOT,
    FailureWorld,
    blocks,
    files_below,
    put_file,
    void,
)

RARE = {"checkpoint_bytes": 64 * MIB, "checkpoint_interval_ns": 10**12}
"""Checkpoints are rare: a start has much to redo."""


def removed(disk: Disk, path: str = "/db") -> None:
    disk.names.remove(IMAGE + path, directory_wanted=False)
    disk.names.settle_prefix(disk.names.changes)


def streaming() -> FailureWorld:
    """With operations at the replica that a start has to redo."""
    world = FailureWorld(blocks("/db", 0, 80, every_ms=1), replica=RARE).start()
    world.run_to(60)
    assert world.store.checkpointed < world.store.applied
    return world


def fall(world: FailureWorld) -> None:
    world.note_acknowledged()
    world.system.replica_machine.crash_process()
    world.system.replica = None


def start(world: FailureWorld) -> None:
    void(world.system.start_replica())
    while world.system.replica is None and not world.failures:
        world.clock.run_until(world.clock.now() + 20_000)


def test_a_file_that_is_gone_at_the_start_is_brought_anew() -> None:
    world = streaming()
    epoch = world.store.epoch
    fall(world)
    removed(world.disk(REPLICA))
    start(world)
    assert not world.failures
    assert "/db: a file of the image is gone" in world.store.damage
    assert (world.store.epoch, world.store.applied) == (0, 0), "it claims nothing"
    fall(world)
    start(world)
    assert "a file of the image is gone" in world.store.damage, "and does not forget that"
    world.run_until(lambda: world.programs.finished and world.system.converged)
    assert world.said("repaired", REPLICA) and world.store.epoch > epoch
    world.oracle.void(None)  # what it had promised is gone with its file
    world.converge()
    fall(world)
    start(world)
    assert not world.store.damage, "old records of the journal raise no doubt"
    world.close()


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_that_nobody_writes_any_more_is_missed_at_the_start(
    checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"/old.log": b"a log that is closed", "/old/er.log": b"another one"}
    world = FailureWorld(blocks("/db", 0, 40, every_ms=1), files=files).start()
    world.run_to(60)
    fall(world)
    removed(world.disk(REPLICA), "/old/er.log")
    if not checked:
        monkeypatch.setattr(HomeImage, "check_names", lambda _home: None)
    start(world)
    assert ("/old/er.log: a file of the image is gone" in world.store.damage) == checked
    world.run_until(lambda: world.programs.finished and world.system.converged)
    there = files_below(world.disk(REPLICA), IMAGE)
    assert (f"{IMAGE}/old/er.log" in there) == checked, "only a comparison would find it"
    world.close()


def test_a_directory_in_the_place_of_a_file_is_no_file() -> None:
    world = FailureWorld(blocks("/db", 0, 10), files={"/log": b"closed"}).start()
    world.run_to(60)
    fall(world)
    removed(world.disk(REPLICA), "/log")
    put_file(world.disk(REPLICA), IMAGE + "/log/stranger", b"?")
    start(world)
    assert "/log: a file of the image has become a directory" in world.store.damage
    world.oracle.void(None)
    world.converge()
    world.close()


def test_without_the_rule_no_start_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(_store: Any, damaged: Exception, _newest: Any) -> None:
        raise damaged

    monkeypatch.setattr(replica_recovery, "_begin_anew", again)
    world = streaming()
    fall(world)
    removed(world.disk(REPLICA))
    for _ in range(2):
        start(world)
        [failure] = world.failures
        assert "a file of the image is gone" in failure
        world.failures.clear()
        world.system.replica_machine.crash_process()
    world.close()


def test_an_epoch_that_the_journal_knows_would_be_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The records of the lost image are still there: theirs is no number for another one."""

    def forgets(store: Any, damaged: Exception, _newest: Any) -> None:
        store.image.lose(str(damaged))

    monkeypatch.setattr(replica_recovery, "_begin_anew", forgets)
    world = streaming()
    epoch = world.store.epoch
    fall(world)
    removed(world.disk(REPLICA))
    start(world)
    world.run_until(lambda: world.store.epoch > 0)
    assert world.store.epoch == epoch, "the same number again"
    world.close()


def test_one_that_has_taken_over_keeps_its_image_and_tells_the_doubt() -> None:
    """No source would bring another one."""
    world = streaming()
    store = world.store
    before = store.epoch, store.applied
    assert before[0] > 0
    store.marks.promoted = True
    replica_recovery._begin_anew(store, DamagedImage("a file is gone", path="/db"), {})
    assert (store.epoch, store.applied) == before
    assert store.damage == "/db: a file is gone"
    store.marks.promoted = False
    replica_recovery._begin_anew(store, DamagedImage("a file is gone", path="/db"), {7: 1})
    assert (store.epoch, store.applied, store.promised_epoch) == (0, 0, 8)
    world.close()


def test_a_file_that_goes_while_it_runs_ends_the_process_once() -> None:
    async def steps(world: FailureWorld, runtime: Runtime, volume: Volume) -> None:
        await blocks("/db", 0, 20)(world, runtime, volume)
        volume.rename(ROOT + "/db", ROOT + "/db2")
        await sleep_ns(100 * MS)
        await blocks("/db2", 20, 20)(world, runtime, volume)

    world = FailureWorld(steps, replica=RARE).start()
    world.run_to(90)
    assert world.store.image.home.catalogue.entries.keys() == {"/db2"}
    world.host(REPLICA).kernel.run_task(world.store.image.home.sync(), "sync")
    world.store.image.home.reset(world.store.image.home.catalogue)
    removed(world.disk(REPLICA), "/db2")
    while not world.failures:
        world.clock.run_until(world.clock.now() + MS)
    [failure] = world.failures
    assert failure.startswith("replica: DamagedImage('a file of the image is gone")
    world.failures.clear()
    fall(world)
    start(world)
    world.run_until(lambda: world.programs.finished and world.system.converged)
    world.oracle.void(None)
    world.converge()
    world.close()


def test_a_stranger_s_file_in_a_directory_that_the_source_removes() -> None:
    async def steps(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        volume.mkdir(ROOT + "/old")
        await sleep_ns(60 * MS)
        volume.rmdir(ROOT + "/old")

    world = FailureWorld(steps).start()
    world.run_to(50)
    put_file(world.disk(REPLICA), IMAGE + "/old/note.txt", b"who wrote this?")
    while not world.failures:
        world.clock.run_until(world.clock.now() + MS)
    [failure] = world.failures
    assert "rmdir does not fit the image: the directory is not empty" in failure
    world.failures.clear()
    fall(world)
    start(world)
    world.oracle.void(None)
    world.converge()
    world.close()


@pytest.mark.parametrize("safeguard", [True, False])
def test_an_image_that_becomes_home_at_a_start_is_not_verified(
    safeguard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages were compared with what the disk said before the power failed."""
    world = FailureWorld(blocks("/db", 0, 10), files={"/db": bytes(20_000)}).start()
    switch = ReplicaApply._switch_image

    async def never(_apply: ReplicaApply, _record: Any) -> None:
        while True:
            await sleep_ns(MS)

    monkeypatch.setattr(ReplicaApply, "_switch_image", never)
    world.run_to(5)
    world.run_until(lambda: world.store.committed_epoch > 0)
    assert not world.store.epoch
    monkeypatch.setattr(ReplicaApply, "_switch_image", switch)
    world.system.replica_machine.lose_power(keep_everything)
    world.system.replica = None
    if not safeguard:
        monkeypatch.setattr(ReplicaImage, "not_compared", lambda _image: None)
    start(world)
    assert world.store.epoch > 0, "it has become home"
    assert world.store.image.unverified == (UNVERIFIED if safeguard else "")
    world.converge()
    world.run_to(world.now_ms + 200)
    assert bool(world.said("verified", REPLICA)) == safeguard
    world.close()
