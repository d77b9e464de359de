"""What the small store does while nothing crashes, and what it refuses to mount."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from replicator.errors import NoSpace
from replicator.runtime import Kernel, Task, group, sleep_ns
from simulator.exchange.ledger import Ledger
from simulator.exchange.load import LoadConfig, MailLoad, run_load
from simulator.exchange.small_store import SmallStore, SmallStoreConfig
from simulator.exchange.store import Message, Store, StoreClosed, StoreFull
from simulator.runtime import SimClock
from tests.store.harness import CONFIG, DIRECTORY, payload, recover, run, short_life
from tests.store.memory_volume import Medium, MemoryFile, MemoryVolume

SECOND_NS = 1_000_000_000


def conforms(store: SmallStore) -> Store:
    """Checked by mypy: the small store is a Store."""
    return store


def message(message_id: int, size: int = 1000) -> Message:
    return Message(message_id, message_id % 3, payload(message_id, size))


def lived() -> tuple[Medium, Ledger]:
    """A store that was not dismounted, with checkpoint, closed logs and deletions."""
    life = run(Medium(), short_life)
    assert life.error is None
    return life.medium, life.ledger


def refusal(medium: Medium, ledger: Ledger) -> str:
    before = medium.digest(DIRECTORY)
    refused = recover(medium, ledger).refused
    assert medium.digest(DIRECTORY) == before, "a refused store must stay as it was"
    return refused


async def with_store(store: SmallStore, body: Callable[[], Awaitable[None]]) -> None:
    await store.mount()
    async with group() as g:
        g.spawn(store.run(), "store")
        await body()
        await store.dismount()


def scripted(
    body: Callable[[SmallStore, Ledger], Awaitable[None]],
    medium: Medium | None = None,
    config: SmallStoreConfig = CONFIG,
) -> Medium:
    async def script(store: SmallStore, ledger: Ledger) -> None:
        await with_store(store, lambda: body(store, ledger))

    life = run(medium or Medium(), script, config=config)
    if life.error is not None:
        raise life.error
    return life.medium


# -- operation -------------------------------------------------------------------------


def test_concurrent_deliveries_share_one_flush() -> None:
    async def script(store: SmallStore, ledger: Ledger) -> None:
        await store.mount()
        before = len(volume.steps)
        async with group() as g:
            for i in range(1, 21):
                g.spawn(store.deliver([message(i, 100)]), "deliver")
        flushes.append(sum("sync /store/E00.log" in s for s in volume.steps[before:]))

    flushes: list[int] = []
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(Medium())
    store = SmallStore(volume, DIRECTORY, now_ns=clock.now, config=CONFIG)
    task = kernel.run_task(script(store, Ledger()), "script")
    clock.run_until_idle()
    task.result()
    assert flushes == [2]  # the first alone, the other nineteen together


def test_a_dismounted_store_mounts_clean_with_the_same_contents() -> None:
    told: list[dict[int, bytes]] = []

    async def body(store: SmallStore, _ledger: Ledger) -> None:
        for i in range(1, 5):
            await store.deliver([message(i, 5000 * i), message(100 * i, 10)])
        told.append(await store.contents())

    medium = scripted(body)

    async def look(store: SmallStore, _ledger: Ledger) -> None:
        report = await store.mount()
        assert not report.recovered and not report.created
        assert (report.transactions, report.rewritten_pages) == (4, 0)
        told.append(await store.contents())

    assert run(medium, look).error is None
    assert told[0] == told[1] and len(told[0]) == 8


def test_a_cancelled_deliverer_leaves_the_log_in_order() -> None:
    async def body(store: SmallStore, _ledger: Ledger) -> None:
        async with group() as g:
            tasks: list[Task[None]] = []
            for i in range(1, 9):
                tasks.append(g.spawn(store.deliver([message(i, 3000)]), "deliver"))
            await sleep_ns(0)
            tasks[0].cancel()
        await store.deliver([message(50)])

    medium = scripted(body)
    assert sorted(recover(medium, Ledger()).contents or ()) == [*range(1, 9), 50]


def test_the_ring_is_used_again_and_a_full_database_is_refused() -> None:
    async def body(store: SmallStore, _ledger: Ledger) -> None:
        for i in range(1, 100):
            await store.deliver([message(i, 20_000)], [i - 6] if i > 6 else [])
        with pytest.raises(StoreFull, match="the database has 24"):
            await store.deliver([message(500, 100_000)], [94])
        with pytest.raises(ValueError, match="not the oldest"):
            await store.deliver([], [96])
        with pytest.raises(ValueError, match="no such mailbox"):
            await store.deliver([Message(501, 77, b"")], [94])
        await store.deliver([message(502, 100)], [94])  # nothing was changed by those

    medium = scripted(body)
    assert sorted(recover(medium, Ledger()).contents or ()) == [95, 96, 97, 98, 99, 502]


def test_recovery_has_to_read_about_the_checkpoint_depth_at_most() -> None:
    config = SmallStoreConfig(
        log_size_bytes=64 << 10,
        checkpoint_depth_bytes=256 << 10,
        database_capacity_bytes=8 << 20,
        mailboxes=3,
    )

    async def script(store: SmallStore, _ledger: Ledger) -> None:
        await store.mount()
        async with group() as g:
            g.spawn(store.run(), "store")
            for i in range(1, 400):
                await store.deliver([message(i, 9000)], [i - 100] if i > 100 else [])
            g.cancel()

    life = run(Medium(), script, config=config)
    assert life.error is None
    closed = [name for name in life.medium.names if name.startswith("/store/E0000")]
    assert len(closed) <= 7
    report = recover(life.medium, Ledger()).report
    assert report is not None and report.recovered
    assert report.log_bytes_read < 2 * config.checkpoint_depth_bytes
    assert report.messages == 100


def test_deliverers_wait_while_too_much_is_dirty() -> None:
    config = SmallStoreConfig(
        log_size_bytes=1 << 20,
        checkpoint_depth_bytes=64 << 20,
        database_capacity_bytes=32 << 20,
        mailboxes=3,
        dirty_limit_bytes=1 << 20,
    )
    most = 0

    async def body(store: SmallStore, _ledger: Ledger) -> None:
        nonlocal most
        for i in range(1, 300):
            await store.deliver([message(i, 80_000)], [i - 10] if i > 10 else [])
            most = max(most, store.dirty_bytes)

    scripted(body, config=config)
    assert most <= 1 << 20


def test_an_unmounted_store_and_a_failed_one_deliver_nothing() -> None:
    class Full(MemoryFile):
        def write_at(self, offset: int, *buffers: bytes) -> int:
            raise NoSpace("the volume is full", path=self.path)

    async def script(store: SmallStore, _ledger: Ledger) -> None:
        with pytest.raises(StoreClosed, match="not mounted"):
            await store.deliver([message(1)])
        await store.mount()
        await store.deliver([message(1)])
        files = store._files
        assert files is not None
        files.log._file.__class__ = Full
        with pytest.raises(NoSpace):
            await store.deliver([message(2)])
        with pytest.raises(StoreClosed, match="the volume is full"):
            await store.deliver([message(3)])

    life = run(Medium(), script)
    assert life.error is None
    assert list(recover(life.medium, Ledger()).contents or ()) == [1]


# -- what is refused -------------------------------------------------------------------


def newest(medium: Medium, prefix: str) -> str:
    return sorted(name for name in medium.names if name.startswith(prefix))[-1]


def flip(medium: Medium, path: str, offset: int) -> None:
    inode = medium.names[path]
    assert inode is not None
    inode.data[offset] ^= 0x10


def test_a_missing_generation_is_refused() -> None:
    medium, ledger = lived()
    path = newest(medium, "/store/E0000")
    del medium.names[path]
    assert "is needed and missing" in refusal(medium, ledger)


def test_a_missing_current_log_is_refused_when_transactions_went_with_it() -> None:
    medium, ledger = lived()
    del medium.names["/store/E00.log"]
    verdict = recover(medium, ledger).verdict
    # Nothing on disk may tell it (no page had been written); then the ledger does.
    assert verdict is None or not verdict.ok


def test_a_torn_middle_of_a_log_is_refused() -> None:
    medium, ledger = lived()
    flip(medium, newest(medium, "/store/E0000"), 600)
    assert "in a log that was closed" in refusal(medium, ledger)


def test_a_damaged_block_before_a_whole_one_is_refused() -> None:
    config = SmallStoreConfig(database_capacity_bytes=1 << 20, mailboxes=3)

    async def script(store: SmallStore, _ledger: Ledger) -> None:
        await store.mount()
        for i in range(1, 4):
            await store.deliver([message(i)])

    life = run(Medium(), script, config=config)
    flip(life.medium, "/store/E00.log", 512 + 100)
    assert "is whole" in refusal(life.medium, Ledger())


def test_both_copies_of_the_checkpoint_damaged_are_refused_one_is_not() -> None:
    medium, ledger = lived()
    flip(medium, "/store/E00.chk", 4096 + 50)
    assert recover(medium.copy(), ledger).verdict is not None
    flip(medium, "/store/E00.chk", 50)
    assert "the checkpoint is damaged: copy 1" in refusal(medium, ledger)


def test_a_lost_checkpoint_or_database_is_refused() -> None:
    medium, ledger = lived()
    without = medium.copy()
    del without.names["/store/E00.chk"]
    assert "logs but no checkpoint" in refusal(without, ledger)
    del medium.names["/store/priv1.edb"]
    assert "database file is missing" in refusal(medium, ledger)


def dismounted() -> tuple[Medium, Ledger]:
    ledger = Ledger()

    async def body(store: SmallStore, _ledger: Ledger) -> None:
        for i in range(1, 4):
            ledger.begin([message(i, 9000)], [], 0)
            await store.deliver([message(i, 9000)])
            ledger.acknowledge(i, 0)

    return scripted(body), ledger


def live_page(medium: Medium) -> int:
    inode = medium.names["/store/priv1.edb"]
    assert inode is not None
    return next(p for p in range(3, 27) if any(inode.data[p * 8192 : (p + 1) * 8192]))


def test_rot_and_lost_writes_in_live_pages_are_refused() -> None:
    medium, ledger = dismounted()
    rotten = medium.copy()
    flip(rotten, "/store/priv1.edb", live_page(medium) * 8192 + 4000)
    assert "wrong checksum, and the log does not rebuild it" in refusal(rotten, ledger)
    lost = medium.copy()
    inode = lost.names["/store/priv1.edb"]
    assert inode is not None
    at = live_page(medium) * 8192
    inode.data[at : at + 8192] = bytes(8192)
    assert "holds nothing where place" in refusal(lost, ledger)


def test_a_page_of_totals_from_an_older_time_is_refused() -> None:
    medium, ledger = dismounted()
    inode = medium.names["/store/priv1.edb"]
    assert inode is not None
    inode.data[0:8192] = bytes(8192)
    assert "mailbox 0 says 0 messages" in refusal(medium, ledger)


def test_a_page_ahead_of_the_log_is_refused() -> None:
    medium, ledger = dismounted()
    later = medium.copy()

    async def body(store: SmallStore, _ledger: Ledger) -> None:
        await store.deliver([message(9, 100)])

    scripted(body, later)
    source, target = later.names["/store/priv1.edb"], medium.names["/store/priv1.edb"]
    assert source is not None and target is not None
    target.data = bytearray(source.data)  # as if pages were replicated before logs
    assert "but the log knows no change of it after" in refusal(medium, ledger)


# -- the load --------------------------------------------------------------------------


LOAD = LoadConfig(
    messages_per_second=50,
    mailboxes=10,
    message_size_bytes=6_000,
    largest_bytes=100_000,
    retention_bytes=1 << 20,
)
LOAD_STORE = SmallStoreConfig(
    log_size_bytes=128 << 10,
    checkpoint_depth_bytes=512 << 10,
    database_capacity_bytes=8 << 20,
    mailboxes=10,
)


def generator(seed: int) -> Callable[[], float]:
    import random

    return random.Random(seed).random


def test_the_load_keeps_its_rate_its_retention_and_its_ledger() -> None:
    async def script(store: SmallStore, ledger: Ledger) -> None:
        clock = store._now_ns
        await store.mount()
        async with group() as g:
            g.spawn(store.run(), "store")
            until_ns = clock() + 40 * SECOND_NS
            load = await run_load(
                store, ledger, LOAD, now_ns=clock, random=generator(1), until_ns=until_ns
            )
            loads.append(load)
            g.cancel()

    loads: list[MailLoad] = []
    life = run(Medium(), script, config=LOAD_STORE)
    assert life.error is None
    load, ledger = loads[0], life.ledger
    assert 1800 < load.messages_begun < 2200
    assert ledger.last_acknowledged == ledger.begun == load.messages_begun
    kept_bytes = sum(size for _id, size in ledger.live())
    assert LOAD.retention_bytes - LOAD.largest_bytes < kept_bytes <= LOAD.retention_bytes
    assert max(size for _id, size in ledger.live()) <= LOAD.largest_bytes
    recovery = recover(life.medium, ledger)
    assert recovery.verdict is not None and recovery.verdict.ok, recovery
    assert recovery.verdict.transactions == ledger.begun


def test_the_load_goes_on_after_a_crash() -> None:
    medium, ledger = Medium(), Ledger()
    load = MailLoad(LOAD, ledger, generator(2))

    async def script(store: SmallStore, ledger: Ledger) -> None:
        await store.mount()
        ledger.continue_from(ledger.judge(await store.contents()).transactions)
        clock = store._now_ns
        async with group() as g:
            g.spawn(store.run(), "store")
            await load.run(store, clock, clock() + 5 * SECOND_NS)
            g.cancel()

    for crash_at in (700, 500, 900, None):
        life = run(medium, script, ledger=ledger, crash_at=crash_at, config=LOAD_STORE)
        assert life.error is None and life.died == (crash_at is not None)
        medium.lose_power((1, 1, 0))
        recovery = recover(medium.copy(), ledger)
        assert recovery.verdict is not None and recovery.verdict.ok, recovery
    assert load.messages_begun > 400


def test_wrong_figures_of_a_load_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        LoadConfig(messages_per_second=0)
    with pytest.raises(ValueError, match="between the smallest and the largest"):
        LoadConfig(messages_per_second=1, message_size_bytes=10)
    with pytest.raises(ValueError, match="retention"):
        LoadConfig(messages_per_second=1, retention_bytes=100)
