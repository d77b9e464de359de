"""Slow disks and cut connections: what was begun is finished by whoever comes next.

A sync that takes tens of milliseconds opens windows that fast disks never show.  Each test
cuts at many instants and counts how often its window was hit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from replicator.capture import SpoolPolicy
from replicator.replica_intake import ReplicaIntake
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.segments import segment_numbers
from replicator.source import SourceState
from replicator.spool_reader import SpoolCursor, SpoolReader
from simulator.digest import image_digest
from simulator.host import keep_everything, lose_everything
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
    content,
    payload,
    slow,
)
from tests.strides import strided

INSTANTS = 60
FILES = {f"/f{n}": payload(500 + n, 2 * BLOCK) for n in range(4)}


def grid(first_ms: float, last_ms: float, count: int = INSTANTS) -> Iterator[float]:
    """So many instants between two, not on whole milliseconds."""
    for number in range(count):
        yield first_ms + (last_ms - first_ms) * (number + 0.37) / count


def when(world: FailureWorld, name: str) -> float:
    """The first time that an event happened."""
    return next(event.time_ns for event in world.events if event.name == name) / MS


def on_session_end(world: FailureWorld, act: Callable[[ReplicaStore], None]) -> None:
    def look(event: Event) -> None:
        if event.name == "session_end" and world.system.replica is not None:
            act(world.store)

    world.on_event = look


def slow_journal() -> FailureWorld:
    return FailureWorld(
        blocks("/db", 0, 60, every_ms=5),
        disks={f"{REPLICA}/journal": slow(25)},
        journal=(8 * MIB, 1 * MIB),
        files=FILES,
    ).start()


# -- a commit that nobody waited for -----------------------------------------------------


def test_a_commit_whose_session_was_cut_before_its_sync_is_settled_by_the_next() -> None:
    undisturbed = slow_journal()
    undisturbed.converge()
    window = when(undisturbed, "image_sent") - 5, when(undisturbed, "synchronized") + 5
    undisturbed.close()
    hits = 0
    for instant in grid(*window):
        world = slow_journal()
        pending: list[int] = []
        on_session_end(world, lambda store, into=pending: into.append(store.intake._pending_commit))
        world.at(instant, world.link.reset)
        world.converge(5000, judge_every_ms=40)
        if any(pending):
            hits += 1
            assert len(world.system.truth.epochs) == 1, "it was synchronized a second time"
            assert world.source.resynchronizations == 1
        world.close()
    assert hits >= 3, "no session was cut between the record and its sync"


# -- a second attempt during the first one's switch --------------------------------------


def slow_switch(seed_ms: float) -> FailureWorld:
    return FailureWorld(
        blocks("/db", 0, 70, every_ms=3),
        disks={f"{REPLICA}/journal": slow(1), f"{REPLICA}/data": slow(seed_ms)},
        journal=(4 * MIB, 16 * KIB),
        files=FILES,
    ).start()


@pytest.mark.full
@pytest.mark.parametrize("power", [False, True], ids=["alive", "power loss"])
def test_a_second_synchronization_may_begin_while_the_first_is_being_applied(
    power: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits: Counter[str] = Counter()
    begin = ReplicaIntake.begin_synchronization

    def note(intake: ReplicaIntake, epoch: int, history: bytes) -> None:
        hits["begun during a switch"] += intake._marks.switching
        begin(intake, epoch, history)

    monkeypatch.setattr(ReplicaIntake, "begin_synchronization", note)
    undisturbed = slow_switch(20)
    undisturbed.run_until(lambda: bool(undisturbed.said("synchronized")))
    begun = when(undisturbed, "synchronized")
    undisturbed.run_until(lambda: undisturbed.store.epoch == 1)
    applied = undisturbed.now_ms
    undisturbed.close()
    assert applied - begun > 50, "the switch takes no time"
    for instant in grid(begun - 10, applied, 20 if power else 40):
        world = slow_switch(20)

        def cut(world: FailureWorld = world) -> None:
            world.gap()
            world.link.reset()

        world.at(instant, cut)
        if power:
            world.run_to(instant + 35)
            hits["power lost in it"] += world.store.committed_epoch != world.store.epoch
            world.replica_loses_power()
        world.converge(5000, judge_every_ms=100)
        seen = [values[0] for values in world.said("epoch")]
        assert world.store.epoch == seen[-1] >= 2
        world.close()
    assert hits["begun during a switch"] >= 5, hits
    assert not power or hits["power lost in it"] >= 3, hits


def test_attempts_that_follow_leave_the_staged_blocks_of_a_committed_one_alone() -> None:
    """The session ends between record and sync, other attempts begin, then the power goes."""

    def world_with_slow_switch() -> FailureWorld:
        return FailureWorld(
            blocks("/db", 0, 40, every_ms=3),
            disks={f"{REPLICA}/journal": slow(25), f"{REPLICA}/data": slow(150)},
            journal=(8 * MIB, 1 * MIB),
            files=FILES,
            replica={"checkpoint_bytes": 1 * MIB, "checkpoint_interval_ns": 10_000 * MS},
        ).start()

    undisturbed = world_with_slow_switch()
    undisturbed.run_until(lambda: bool(undisturbed.said("synchronized")))
    begun = when(undisturbed, "synchronized")
    undisturbed.close()
    hits = 0
    for instant in grid(begun - 60, begun, 20):
        world = world_with_slow_switch()
        world.run_to(instant)
        pending = world.system.replica is not None and world.store.intake._pending_commit
        for _attempt in range(3):
            world.gap()
            world.link.reset()
            world.run_to(world.now_ms + 120)
        hits += bool(pending) and (world.store.epoch, world.store.stream_epoch) == (0, 4)
        world.replica_loses_power(choose=keep_everything)
        world.converge(15_000, judge_every_ms=100)
        world.close()
    assert hits >= 3, "no switch was so slow"


# -- a segment that is released while the sender waits -----------------------------------


def test_the_sender_goes_on_where_its_segment_was_released_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hits: list[int] = []
    read_batch = SpoolReader.read_batch

    async def note(spool: SpoolReader, cursor: SpoolCursor, max_bytes: int) -> tuple[bytes, int]:
        first = min(segment_numbers(spool._volume, spool._directory))
        if cursor.segment < first:
            hits.append(cursor.segment)
        return await read_batch(spool, cursor, max_bytes)

    monkeypatch.setattr(SpoolReader, "read_batch", note)
    for sync_ms in (5, 11, 23):
        world = FailureWorld(
            blocks("/db", 0, 60, every_ms=2, size=5000),
            disks={f"{REPLICA}/journal": slow(sync_ms)},
            spool=(4 * MIB, 16 * KIB),
            source={
                "window_bytes": 4 * KIB,
                "batch_bytes": 8 * KIB,
                "release_when_checkpointed": False,
            },
        ).start()
        world.converge(10_000, judge_every_ms=50)
        assert len(world.system.truth.epochs) == 1
        world.close()
    assert len(hits) >= 3, "the sender never came too late"


# -- a writer held before a reconnect ----------------------------------------------------


def test_a_writer_is_released_by_what_was_never_acknowledged() -> None:
    """All that fills the spool is safe at the replica, and no answer came before the cut."""
    hits = 0
    for instant in grid(20, 60, 20):
        world = FailureWorld(
            blocks("/db", 0, 60, every_ms=1, size=20_000),
            policy=SpoolPolicy.HOLD,
            spool=(2 * 64 * KIB, 64 * KIB),
            files={"/db": b""},
            source={"release_when_checkpointed": False},
            replica={"checkpoint_interval_ns": 10**12, "checkpoint_bytes": 1 << 40},
        ).start()
        world.at(instant, lambda w=world: w.link.partition("to_a"))
        world.run_to(instant + 60)
        held = len(world.said("writer_held")) - len(world.said("writer_released"))
        safe = world.store.durable == world.spool.completed > world.source.durable
        hits += held == 1 and safe
        world.link.reset()
        world.link.heal()
        world.converge(3000, judge_every_ms=50)
        assert len(world.system.truth.epochs) == 1
        world.close()
    assert hits >= 5, "no writer was held by what the replica had"


# -- promotion in a synchronization ------------------------------------------------------


def world_with_gap(data_sync_ms: float = 3) -> FailureWorld:
    """A synchronization over an older image, while programs write."""

    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        file = volume.open(f"{ROOT}/f0")
        for number in range(100):
            await volume.admit(BLOCK)
            file.write_at(number % 2 * BLOCK, payload(number))
            if number == 40:
                world.gap()
            await sleep_ns(5 * MS)

    return FailureWorld(
        steps,
        disks={f"{REPLICA}/journal": slow(12), f"{REPLICA}/data": slow(data_sync_ms)},
        journal=(8 * MIB, 1 * MIB),
        files=FILES,
    ).start()


def test_promotion_at_any_instant_of_a_synchronization() -> None:
    """Before its commit the old image is opened, from the commit's record on the new one."""

    undisturbed = world_with_gap()
    undisturbed.run_until(lambda: len(undisturbed.said("image_sent")) == 2)
    sent = undisturbed.now_ms
    undisturbed.run_until(lambda: undisturbed.store.epoch == 2)
    window = sent - 30, undisturbed.now_ms + 20
    undisturbed.close()
    hits: Counter[str] = Counter()
    for instant in grid(*window):
        world = world_with_gap()
        world.run_to(instant)
        store = world.store
        if store.intake._pending_commit:
            moment = "between"
        elif store.committed_epoch == 1:
            moment = "before"
        else:
            moment = "in the switch" if store.epoch == 1 else "after"
        hits[moment] += 1
        promised = {world.spool.epoch: world.source.durable} if world.source.committed else {}
        world.note_acknowledged()
        host = world.host(REPLICA)
        assert host is not None
        task = host.start(world.replica.promote(), "promote")
        world.run_until(lambda t=task: t.done, 3000, judge_every_ms=20)
        task.result()
        assert store.promoted
        assert store.epoch == (1 if moment == "before" else 2), moment
        assert store.applied >= promised.get(store.epoch, 0)
        opened = image_digest(world.disk(REPLICA), IMAGE)
        assert opened == world.system.truth.digest_of(store.epoch, store.applied), moment
        world.run_until(lambda w=world: w.source.state == SourceState.FENCED, 3000)
        world.run_to(world.now_ms + 30)
        assert image_digest(world.disk(REPLICA), IMAGE) == opened, "nothing arrives any more"
        world.judge()
        world.close()
    assert set(hits) == {"before", "between", "in the switch", "after"}, hits


def test_a_record_is_not_made_durable_by_a_sync_that_began_before_it() -> None:
    """The commit is appended while batches are being synced; its own sync comes later."""
    world = world_with_gap()
    world.run_until(lambda: len(world.said("image_sent")) == 2)
    disk, journal = world.disk(REPLICA, "journal"), world.store.journal
    pending: list[bool] = []
    while world.store.epoch == 1:
        world.run_to(world.now_ms + 0.1)
        end = world.store.promises.durable_end
        path = journal.segment(end.segment).path
        survivor = disk.fork(disk.clock, FAST)
        survivor.power_loss(lose_everything)
        is_there, promised = content(survivor, path), content(disk, path)[: end.offset]
        assert is_there[: end.offset] == promised, "what counts as durable would be lost"
        pending.append(bool(world.store.intake._pending_commit))
    assert any(pending), "the commit was never under way"
    world.converge()
    world.close()


# -- a reconnect during the journal's sync -----------------------------------------------


def test_a_connection_cut_during_the_journals_sync_loses_and_repeats_nothing() -> None:
    hits = 0
    for instant in grid(250, 330):
        world = slow_journal()
        unsynced: list[int] = []
        on_session_end(
            world,
            lambda store, into=unsynced: into.append(
                store.journal.sequence - store.promises.durable_record
            ),
        )
        world.at(instant, world.link.reset)
        world.run_to(instant + 60, judge_every_ms=20)
        world.converge(5000)
        hits += any(unsynced)
        assert len(world.system.truth.epochs) == 1
        world.close()
    assert hits >= 5, "no connection was cut during a sync"


def test_a_pause_of_either_end_changes_nothing() -> None:
    """Frozen in the middle of whatever it does, longer than the other one's patience."""
    hits = 0
    for name in ("source", REPLICA):
        for instant in grid(20, 250, 15):
            world = slow_journal()
            machine = world.world.machine(name)
            world.at(instant, lambda w=world, m=machine, t=instant: w.at(t + 150, m.pause()))
            world.converge(5000, judge_every_ms=60)
            hits += len(world.said("session_begin")) >= 2
            world.close()
    assert hits >= 15, "nobody lost patience"


# -- a synchronization behind records that nobody waited for -----------------------------


def cut_with_its_history(writes: int, last: int) -> FailureWorld:
    """The history and the connection break off; then a page is written once more, uncaptured.

    Arguments
    ---------
    writes: of that page before, one content after the other.
    last: which of the two contents it has at last.
    """

    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        file = volume.open(f"{ROOT}/f0")
        for number in range(writes):
            await volume.admit(BLOCK)
            file.write_at(0, payload(number % 2))
            await sleep_ns(3 * MS)
        world.gap()
        world.link.reset()
        file.write_at(0, payload(last))

    return FailureWorld(
        steps,
        disks={f"{REPLICA}/journal": slow(25), f"{REPLICA}/data": slow(1)},
        journal=(8 * MIB, 1 * MIB),
        files=FILES,
    ).start()


def synchronized_behind_unsynced_records(stride: int = 3) -> tuple[int, list[str]]:
    """Gives how often records were left unsynced, and what broke."""
    hits, broken = 0, []
    for writes in range(104, 120, stride):
        for last in (0, 1):
            world = cut_with_its_history(writes, last)
            unsynced: list[int] = []
            on_session_end(
                world,
                lambda store, into=unsynced: into.append(
                    store.journal.sequence - store.promises.durable_record
                ),
            )
            try:
                world.converge(5000, judge_every_ms=5)
            except AssertionError as breach:
                broken.append(f"{writes} writes, at last {last}: {breach}")
            else:
                assert world.source.resynchronizations == 2
            hits += any(unsynced)
            world.close()
    return hits, broken


@strided(3)
def test_home_is_compared_when_nothing_is_left_that_may_still_reach_it(stride: int) -> None:
    hits, broken = synchronized_behind_unsynced_records(stride)
    assert hits >= 5, "no connection was cut during a sync"
    assert not broken, broken[0]


def test_without_that_the_image_is_none_that_the_source_ever_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nobody(_store: ReplicaStore) -> None:
        return None

    monkeypatch.setattr(ReplicaStore, "adopt", nobody)
    _hits, broken = synchronized_behind_unsynced_records()
    assert any("nor after any other" in each for each in broken), "this means nothing"
