"""Synchronizations break again and again: what they left in the journal is no obstacle."""

from __future__ import annotations

from simulator.link import LinkModel
from tests.failures.worlds import BLOCK, KIB, MS, FailureWorld, blocks, payload

LIMIT = 1024 * KIB
FILES = {"/big": b"".join(payload(5000 + n) for n in range(128))}


def synchronizing(world: FailureWorld) -> bool:
    store = world.store
    return store.stream_epoch > store.committed_epoch


def test_the_next_one_has_the_whole_journal() -> None:
    """Each attempt fills half of the journal and breaks; the fifth one is let through."""
    world = FailureWorld(
        blocks("/db", 0, 400, every_ms=4),
        files=FILES,
        journal=(LIMIT, 64 * KIB),
        link=LinkModel(bits_per_second=30_000_000, rtt_ns=MS),
        source={"batch_bytes": 2 * BLOCK},
    )
    world.start()
    world.run_to(10)
    broken: list[int] = []
    for _attempt in range(4):
        world.run_until(
            lambda: synchronizing(world) and world.store.durable * BLOCK > LIMIT // 2, 5000
        )
        broken.append(world.store.stream_epoch)
        world.link.reset()
        world.run_until(lambda: world.store.stream_epoch > broken[-1], 5000, judge_every_ms=20)
    assert world.store.committed_epoch == 0, "none was to be completed"
    world.converge(judge_every_ms=50)
    assert not [v for v in world.said("session_end") if "too small" in str(v[0])]
    world.close()


def test_a_journal_that_cannot_hold_one_synchronization_says_so() -> None:
    """All of it belongs to the attempt that is underway: to wait would be to wait for ever."""
    world = FailureWorld(
        blocks("/db", 0, 300, every_ms=1),
        files=FILES,
        journal=(4 * 64 * KIB, 64 * KIB),
        link=LinkModel(bits_per_second=30_000_000, rtt_ns=MS),
    )
    world.start()
    world.run_to(10)
    world.run_until(lambda: any("too small" in str(v[0]) for v in world.said("session_end")), 5000)
    world.converge(judge_every_ms=50)  # when the programs have done, what is staged suffices
    world.close()
