"""The replica's volumes run full: it lives, says so, promises what it can, and goes on."""

from __future__ import annotations

import pytest

from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.source import Refused, SourceState
from replicator.status import replica_status
from simulator.digest import image_digest
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import (
    BLOCK,
    FAST,
    IMAGE,
    KIB,
    MIB,
    MS,
    ROOT,
    Event,
    FailureWorld,
    blocks,
    payload,
)

OWN_JOURNAL = {f"{REPLICA}/journal": FAST}
"""With a journal on a volume of its own the data volume alone can be full."""


Refusals = list[tuple[str, str]]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """Code and message of all refusals that a source heard."""
    heard: Refusals = []
    init = Refused.__init__

    def note(self: Refused, message: str, code: str, remedy: str) -> None:
        heard.append((code, message))
        init(self, message, code, remedy)

    monkeypatch.setattr(Refused, "__init__", note)
    return heard


def codes(refused: Refusals) -> list[str]:
    return [code for code, _message in refused]


def stalled(world: FailureWorld) -> bool:
    return world.system.replica is not None and bool(world.store.stalled)


def fill_at(world: FailureWorld, ms: float, free_blocks: int) -> FailureWorld:
    world.start()
    world.run_to(ms)
    world.fill(REPLICA, "data", free_blocks)
    return world


def enlarge(world: FailureWorld, disk: str = "data") -> None:
    world.resize(REPLICA, disk, 64 * MIB)


def test_apply_stands_still_and_says_why_until_there_is_room() -> None:
    world = FailureWorld(blocks("/db", 0, 150), disks=OWN_JOURNAL)
    fill_at(world, 60, 5)
    world.run_until(lambda: stalled(world), judge_every_ms=10)
    world.run_to(world.now_ms + 20, judge_every_ms=10)
    applied, durable = world.store.applied, world.source.durable
    assert "volume replica/data" in world.store.stalled or "the volume took" in world.store.stalled
    assert world.source.replica_stalled == world.store.stalled
    assert world.source.state == SourceState.STREAMING
    world.run_to(world.now_ms + 100, judge_every_ms=10)
    assert world.store.applied == applied, "there is no room to apply"
    assert world.source.durable > durable + 30, "what is in the journal is promised all the same"
    assert world.source.durable > world.store.applied + 30
    enlarge(world)
    world.converge(judge_every_ms=10)
    world.run_to(world.now_ms + 50)
    assert world.store.stalled == "" == world.source.replica_stalled
    assert len(world.system.truth.epochs) == 1, "the history has no gap"
    world.close()


def test_a_full_journal_behind_a_full_volume_leaves_it_to_the_spool() -> None:
    world = FailureWorld(blocks("/db", 0, 200), disks=OWN_JOURNAL, journal=(256 * KIB, 64 * KIB))
    fill_at(world, 60, 5)
    world.run_until(lambda: world.programs.finished, judge_every_ms=20)
    world.run_to(world.now_ms + 100, judge_every_ms=20)
    durable, completed = world.source.durable, world.spool.completed
    assert stalled(world)
    assert world.source.durable < completed - 50, "the journal is full"
    assert world.spool.waiting_bytes > 50 * BLOCK, "the spool keeps what the journal cannot take"
    assert world.store.journal.used_bytes <= 256 * KIB
    world.run_to(world.now_ms + 500)
    assert (world.source.durable, world.spool.completed) == (durable, completed)
    assert world.capture.capturing
    enlarge(world)
    world.converge(judge_every_ms=10)
    assert len(world.system.truth.epochs) == 1, "the history has no gap"
    world.close()


@pytest.mark.parametrize("free_blocks", range(1, 8))
def test_a_write_that_is_cut_short_is_carried_out_again(free_blocks: int) -> None:
    """Each write needs three new blocks, and here and there only some of them fit."""
    world = FailureWorld(blocks("/db", 0, 60, size=3 * BLOCK), disks=OWN_JOURNAL)
    fill_at(world, 40, free_blocks)
    world.run_until(lambda: stalled(world), judge_every_ms=10)
    cause = world.store.stalled
    world.run_to(world.now_ms + 100, judge_every_ms=10)
    assert stalled(world)
    assert ("the volume took" in cause) == (free_blocks % 3 != 0 and world.store.applied > 0) or (
        "is full" in cause
    )
    enlarge(world)
    world.converge(judge_every_ms=10)
    world.close()


def test_some_of_these_writes_are_cut_short() -> None:
    causes = []
    for free_blocks in range(1, 4):
        world = FailureWorld(blocks("/db", 0, 60, size=3 * BLOCK), disks=OWN_JOURNAL)
        fill_at(world, 40, free_blocks)
        world.run_until(lambda w=world: stalled(w))
        world.run_to(world.now_ms + 100)
        causes += [str(values[0]) for values in world.said("stalled")]
        world.close()
    assert any("the volume took" in cause for cause in causes), causes


def test_a_power_loss_in_the_middle_of_it_changes_nothing() -> None:
    hit = 0
    for after_ms in range(0, 60, 6):
        world = FailureWorld(blocks("/db", 0, 100), disks=OWN_JOURNAL)
        fill_at(world, 60, 5)
        world.run_until(lambda w=world: stalled(w))
        world.run_to(world.now_ms + after_ms)
        world.replica_loses_power()
        world.run_to(world.now_ms + 150, judge_every_ms=20)
        hit += any(values[0] for values in world.said("stalled")[1:])
        enlarge(world)
        world.converge(judge_every_ms=20)
        assert len(world.system.truth.epochs) == 1
        world.close()
    assert hit, "the volume was never full when the replica came back"


def test_a_volume_that_is_full_from_the_beginning() -> None:
    world = FailureWorld(blocks("/db", 0, 30), disks=OWN_JOURNAL)
    world.resize(REPLICA, "data", 0)
    world.start()
    world.run_to(100)
    assert [values[0] for values in world.said("stalled", REPLICA)], "it says why it does not open"
    enlarge(world)
    world.converge(judge_every_ms=10)
    world.close()


def names(count: int) -> object:
    """Files with long names of no pattern, all of them empty: only the checkpoint grows."""

    async def steps(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        for number in range(count):
            name = payload(number + 1, 8).hex() + payload(number + 7001, 8).hex()
            await volume.admit(0)
            volume.create(f"{ROOT}/{name}").close()
            await sleep_ns(MS)
        await volume.admit(BLOCK)
        file = volume.create(f"{ROOT}/last")
        file.write_at(0, payload(5))

    return steps


@pytest.mark.parametrize("power", [False, True])
def test_no_room_for_the_checkpoint_itself(power: bool) -> None:
    segments = (4 * MIB, 8 * KIB)
    world = FailureWorld(names(450), disks=OWN_JOURNAL, journal=segments)  # type: ignore[arg-type]
    fill_at(world, 20, 0)
    world.run_until(lambda: stalled(world))
    world.run_to(world.now_ms + 60, judge_every_ms=10)
    assert "checkpoint" in world.store.stalled, world.store.stalled
    durable = world.source.durable
    assert durable > world.store.applied
    if power:
        world.replica_loses_power()
        world.run_to(world.now_ms + 100, judge_every_ms=20)
    enlarge(world)
    world.converge(judge_every_ms=20)
    assert len(world.system.truth.epochs) == 1
    world.close()


def switch_without_room(
    seed_blocks: int, free_blocks: int, segment_bytes: int = 64 * KIB
) -> FailureWorld:
    """The staged pages fit on the volume; the image that is made of them does not.

    Room for it was reserved, but somebody else's files take it in the instant in which it is
    given back to be used.  With a negative ``free_blocks`` there is no room from the start.
    """
    files = {"/big": b"".join(payload(n + 1) for n in range(seed_blocks))}
    small = {f"{REPLICA}/data": FAST} | OWN_JOURNAL
    journal = (4 * MIB, segment_bytes)
    world = FailureWorld(blocks("/db", 0, 30), disks=small, files=files, journal=journal)
    if free_blocks < 0:
        world.resize(REPLICA, "data", (seed_blocks + free_blocks) * BLOCK)
        return world.start()

    def take_room(event: Event) -> None:
        switching = world.system.replica is not None and (
            world.store.committed_epoch > world.store.epoch
        )
        if event[1:] == (REPLICA, "activity", ("resynchronize",)) and switching:
            world.on_event = None
            world.fill(REPLICA, "data", free_blocks - seed_blocks)  # with the reserve gone

    world.on_event = take_room
    return world.start()


@pytest.mark.parametrize("power", [False, True])
def test_no_room_in_the_middle_of_the_switch(power: bool) -> None:
    world = switch_without_room(40, 20)
    world.run_until(lambda: stalled(world), judge_every_ms=5)
    assert world.store.committed_epoch == 1
    assert world.store.epoch == 0, "the image has not become the new one"
    world.run_to(world.now_ms + 100, judge_every_ms=10)
    assert world.source.replica_stalled == world.store.stalled != ""
    assert world.source.state == SourceState.STREAMING
    assert world.source.durable > 20, "promises go on"
    if power:
        world.replica_loses_power()
        world.run_to(world.now_ms + 100, judge_every_ms=10)
    enlarge(world)
    world.converge(judge_every_ms=10)
    assert len(world.system.truth.epochs) == 1, "the committed image was taken, not another"
    world.close()


def test_promotion_in_the_middle_of_such_a_switch_waits_for_room() -> None:
    """Another synchronization has begun meanwhile, and promotion wants a checkpoint at once."""
    world = switch_without_room(40, 20, segment_bytes=16 * KIB)
    world.run_until(lambda: stalled(world), judge_every_ms=5)
    world.run_to(world.now_ms + 60, judge_every_ms=20)
    world.gap()
    world.link.reset()
    world.run_to(world.now_ms + 40, judge_every_ms=20)
    store, promised = world.store, world.oracle.durable[1]
    assert promised > 20
    assert store.stream_epoch >= 2, "no other synchronization has begun"
    assert (store.committed_epoch, store.epoch) == (1, 0), "in vain"
    host = world.host(REPLICA)
    assert host is not None
    task = host.start(world.replica.promote(), "promote")
    world.run_to(world.now_ms + 100, judge_every_ms=20)
    assert not task.done
    enlarge(world)
    world.run_until(lambda: task.done, 1000, judge_every_ms=10)
    task.result()
    assert store.epoch == 1
    assert store.applied >= promised
    truth = world.system.truth.digest_of(1, store.applied)
    assert image_digest(world.disk(REPLICA), IMAGE) == truth
    world.close()


def says_so_all_along(world: FailureWorld) -> None:
    """Connected or not, whatever attempt is underway: the status names the cause."""
    seen, told = set(), set()
    for _ in range(300):
        world.run_to(world.now_ms + 1)
        status = replica_status(world.store, world.replica)
        seen.add((status.state, status.connected))
        assert status.stalled and status.stalled in (status.cause, status.refused)
        told.add(world.source.replica_stalled)
    assert seen == {("stalled", False), ("stalled", True)}
    assert any("full" in text or "took" in text for text in told), "the source hears it, too"


def assert_it_works_again(world: FailureWorld) -> None:
    world.run_to(world.now_ms + 50)
    status = replica_status(world.store, world.replica)
    assert (status.state, status.stalled, status.refused) == ("streaming", "", "")
    assert world.source.replica_stalled == ""


def test_no_room_for_staged_blocks_is_refused_by_name_and_tried_again(
    refused: Refusals,
) -> None:
    world = switch_without_room(40, -20)
    world.run_until(lambda: "NoSpace" in codes(refused), judge_every_ms=5)
    world.run_to(world.now_ms + 100, judge_every_ms=10)
    assert codes(refused).count("NoSpace") >= 2, "it tries again"
    assert world.source.state != SourceState.STREAMING
    assert "full" in refused[-1][1] or "took" in refused[-1][1]
    says_so_all_along(world)
    enlarge(world)
    world.converge(judge_every_ms=10)
    assert_it_works_again(world)
    world.close()


def test_a_full_journal_volume_is_refused_by_name_and_tried_again(refused: Refusals) -> None:
    """The volume ends before the journal's own limit does."""
    disks = {f"{REPLICA}/journal": FAST}
    world = FailureWorld(blocks("/db", 0, 150, every_ms=1), disks=disks)
    world.start()
    world.run_to(40)
    world.fill(REPLICA, "journal", 0)
    world.run_until(lambda: "NoSpace" in codes(refused), judge_every_ms=5)
    assert "replica/journal" in refused[-1][1]
    world.run_to(world.now_ms + 200, judge_every_ms=10)
    assert world.store.journal.used_bytes < 1 * MIB
    assert world.capture.capturing
    says_so_all_along(world)
    enlarge(world, "journal")
    world.converge(judge_every_ms=10)
    assert_it_works_again(world)
    assert len(world.system.truth.epochs) == 1
    world.close()


def test_a_full_journal_volume_gets_room_from_checkpoints_alone(refused: Refusals) -> None:
    disks = {f"{REPLICA}/journal": FAST}
    seldom = {"checkpoint_bytes": 16 * MIB}
    world = FailureWorld(blocks("/db", 0, 150, every_ms=1), disks=disks, replica=seldom)
    world.start()
    world.run_to(40)
    world.fill(REPLICA, "journal", 9)  # one segment more
    world.converge(judge_every_ms=10)
    assert "NoSpace" in codes(refused)
    assert len(world.system.truth.epochs) == 1
    world.close()
