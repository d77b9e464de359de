"""The small store on the emulated disk: many crashes and power losses under load in a row."""

from __future__ import annotations

import random

import pytest

from replicator.runtime import Kernel, group
from simulator.device import DiskModel
from simulator.disk import Disk
from simulator.exchange.ledger import Ledger
from simulator.exchange.load import LoadConfig, MailLoad
from simulator.exchange.small_store import SmallStore, SmallStoreConfig
from simulator.runtime import SimClock
from simulator.traces import TracePlayer, read_writes
from simulator.volume import SimVolume
from tests.test_traces import EXCERPT

LOAD = LoadConfig(
    messages_per_second=40,
    mailboxes=10,
    message_size_bytes=6_000,
    largest_bytes=100_000,
    retention_bytes=1 << 20,
)
STORE = SmallStoreConfig(
    log_size_bytes=64 << 10,
    checkpoint_depth_bytes=256 << 10,
    database_capacity_bytes=4 << 20,
    mailboxes=10,
)


@pytest.mark.parametrize("metadata", ["ordered", "any"])
@pytest.mark.parametrize("seed", range(2))
def test_a_store_under_load_survives_crash_after_crash(seed: int, metadata: str) -> None:
    draw = random.Random(seed)
    clock = SimClock()
    disk = Disk(clock, DiskModel(metadata=metadata, positioning_ns=200_000), "store")
    ledger = Ledger()
    load = MailLoad(LOAD, ledger, random.Random(seed + 100).random)
    prefixes: list[int] = []

    async def life(store: SmallStore) -> None:
        await store.mount()
        verdict = ledger.judge(await store.contents())
        assert verdict.ok, verdict
        prefixes.append(verdict.transactions)
        ledger.continue_from(verdict.transactions)
        async with group() as g:
            g.spawn(store.run(), "store")
            await load.run(store, clock.now)

    for _round in range(25):
        kernel = Kernel(clock)
        disk.crash_at_step = disk.steps + draw.choice((3, 30, 300, 1000)) + draw.randrange(20)
        store = SmallStore(SimVolume(disk, kernel), "/store", now_ns=clock.now, config=STORE)
        task = kernel.run_task(life(store), "life")
        while not kernel.dead and not task.done:
            clock.run_until(clock.now() + 10_000_000)
        assert kernel.dead, task.error
        kernel.close()
        if draw.random() < 0.7:
            disk.power_loss(draw.randrange)
    assert prefixes == sorted(prefixes)
    assert prefixes[-1] > 300


def test_the_excerpt_plays_on_the_emulated_disk() -> None:
    clock = SimClock()
    disk = Disk(clock, DiskModel(), "disk")
    kernel = Kernel(clock)
    player = TracePlayer(read_writes(EXCERPT), speed=10.0)
    task = kernel.run_task(player.play(SimVolume(disk, kernel), clock.now), "player")
    clock.run_until_idle()
    task.result()
    assert player.figures.writes == 3592
    assert player.figures.latest_ns == 0  # the page cache takes it all at once
