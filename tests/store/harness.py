"""Runs a short life of a small store on a :class:`MemoryVolume`, and judges what is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from replicator.runtime import Kernel, group
from simulator.exchange.ledger import Ledger, LedgerVerdict
from simulator.exchange.small_files import ALL_SAFEGUARDS, Safeguards
from simulator.exchange.small_store import SmallStore, SmallStoreConfig
from simulator.exchange.store import Message, MountReport, StoreUnmountable
from simulator.runtime import SimClock
from tests.store.memory_volume import Medium, MemoryVolume

DIRECTORY = "/store"
CONFIG = SmallStoreConfig(
    log_size_bytes=10_000,
    checkpoint_depth_bytes=12_000,
    database_capacity_bytes=(3 + 24) * 8192,
    mailboxes=3,
)
POWER_LOSSES: dict[str, tuple[int, ...]] = {
    "nothing unsynced survives": (0,),
    "everything survives": (99,),
    "names survive, data does not": (99, 0, 0, 0, 0, 0, 0),
    "data survives, names do not": (0, 99, 99, 99, 99, 99, 99),
    "every other sector": (1, 1, 0),
    "sizes without sectors": (99, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "first sectors of each page": (99, 99, *([99] * 8), *([0] * 8)),
}
SIZES = (700, 9_000, 40, 3_000, 17_000, 0, 6_000, 2_500, 500, 8_152, 1_000, 12_000)


@dataclass
class Life:
    """What one run left behind."""

    medium: Medium
    ledger: Ledger
    steps: list[str]
    died: bool
    error: BaseException | None = None
    reports: list[MountReport] = field(default_factory=list)


def payload(message_id: int, size: int) -> bytes:
    """Bytes that differ between any two messages and any two sectors."""
    words = (f"<{message_id}:{i}>".encode() for i in range(size // 4 + 1))
    return b"".join(words)[:size]


def run(
    medium: Medium,
    script: Callable[[SmallStore, Ledger], Awaitable[None]],
    *,
    ledger: Ledger | None = None,
    crash_at: int | None = None,
    safeguards: Safeguards = ALL_SAFEGUARDS,
    config: SmallStoreConfig = CONFIG,
    hops: Callable[[], int] | None = None,
    sync_fails: bool = False,
) -> Life:
    """Run ``script`` to its end or its crash."""
    ledger = ledger if ledger is not None else Ledger()
    clock = SimClock()
    kernel = Kernel(clock, hops)
    volume = MemoryVolume(medium, crash_at, sync_fails=sync_fails)
    store = SmallStore(volume, DIRECTORY, now_ns=clock.now, config=config, safeguards=safeguards)

    async def body() -> None:
        await script(store, ledger)

    task = kernel.run_task(body(), "script")
    clock.run_until_idle()
    died = kernel.dead
    error = task.error if task.done else None
    assert died or task.done, "the script hangs"
    kernel.close()
    return Life(medium, ledger, volume.steps, died, error)


async def deliver(
    store: SmallStore, ledger: Ledger, messages: Sequence[Message], remove: Sequence[int]
) -> None:
    number = ledger.begin(messages, remove, 0)
    await store.deliver(messages, remove)
    ledger.acknowledge(number, 0)


async def short_life(store: SmallStore, ledger: Ledger) -> None:
    """Mount, deliver with rolls, checkpoints and deletions, dismount, mount, deliver."""
    await store.mount()
    ids = iter(range(1, 1000))
    async with group() as g:
        g.spawn(store.run(), "store")
        for first in range(0, len(SIZES), 2):
            async with group() as pair:
                for size in SIZES[first : first + 2]:
                    pair.spawn(_one(store, ledger, ids, size), "deliver")
        await store.dismount()
    await store.mount()
    async with group() as g:
        g.spawn(store.run(), "store")
        for size in (600, 8_500, 300):
            await _one(store, ledger, ids, size)
        g.cancel()


async def _one(store: SmallStore, ledger: Ledger, ids: Iterator[int], size: int) -> None:
    message_id = next(ids)
    live = [i for i, _size in ledger.live()]
    remove = live[: max(0, len(live) - 4)]
    message = Message(message_id, message_id % 3, payload(message_id, size))
    await deliver(store, ledger, [message], remove)


@dataclass
class Recovery:
    verdict: LedgerVerdict | None
    contents: dict[int, bytes] | None
    steps: int
    refused: str = ""
    report: MountReport | None = None


def recover(medium: Medium, ledger: Ledger, safeguards: Safeguards = ALL_SAFEGUARDS) -> Recovery:
    """Mount what is on the medium and judge it."""
    found: list[tuple[dict[int, bytes], MountReport]] = []

    async def script(store: SmallStore, _ledger: Ledger) -> None:
        report = await store.mount()
        found.append((await store.contents(), report))

    life = run(medium, script, ledger=ledger, safeguards=safeguards)
    if isinstance(life.error, StoreUnmountable):
        return Recovery(None, None, len(life.steps), refused=str(life.error))
    if life.error is not None:
        raise life.error
    contents, report = found[0]
    return Recovery(ledger.judge(contents), contents, len(life.steps), report=report)


def breach(medium: Medium, ledger: Ledger, safeguards: Safeguards = ALL_SAFEGUARDS) -> str:
    """Why what is on the medium is not what it must be; empty if it is."""
    recovery = recover(medium, ledger, safeguards)
    if recovery.verdict is None:
        return recovery.refused
    return recovery.verdict.reason


def failed_sync_states(
    safeguards: Safeguards = ALL_SAFEGUARDS,
) -> Iterator[tuple[str, Medium, Ledger]]:
    """Every state that a process can leave in the page cache that dies of a failed sync."""
    whole = run(Medium(), short_life, safeguards=safeguards)
    for crash_at, step in enumerate(whole.steps, 1):
        if step.startswith("sync ") and "." in step:  # of a file
            life = run(
                Medium(), short_life, crash_at=crash_at, safeguards=safeguards, sync_fails=True
            )
            yield f"failed in step {crash_at} ({step})", life.medium, life.ledger


def crash_states(
    safeguards: Safeguards = ALL_SAFEGUARDS,
    script: Callable[[SmallStore, Ledger], Awaitable[None]] = short_life,
    power_losses: Sequence[str] = tuple(POWER_LOSSES),
    stride: int = 1,
) -> Iterator[tuple[str, Medium, Ledger]]:
    """Every state that a crash in any storage step can leave, each on a medium of its own."""
    whole = run(Medium(), script, safeguards=safeguards)
    assert whole.error is None, whole.error
    for crash_at in range(1, len(whole.steps) + 1, stride):
        life = run(Medium(), script, crash_at=crash_at, safeguards=safeguards)
        assert life.died
        where = f"crash in step {crash_at} ({life.steps[-1]})"
        yield f"{where}, power stays", life.medium.copy(), life.ledger
        for name in power_losses:
            medium = life.medium.copy()
            medium.lose_power(POWER_LOSSES[name])
            yield f"{where}, {name}", medium, life.ledger
