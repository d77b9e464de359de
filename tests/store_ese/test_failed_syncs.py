"""A sync of a file of the store fails, and its process dies of it; the machine goes on.

What was written reads well from the page cache, counts as written, and is not on the medium: no
later sync would write it.  The next process redoes the log and finds changes on their pages
already.  If it left these pages alone, a power loss long after that would take them, from a store
that was shut down cleanly.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replicator.errors import NotFound
from simulator.mutants import mutated
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    DIRECTORY,
    NAMES,
    Ledger,
    Life,
    content_breach,
    new_medium,
    run,
    short_life,
)

NOTHING = "nothing unsynced survives"


def failed_syncs(stride: int, of: str) -> Iterator[tuple[str, Medium, Ledger]]:
    """What a failed sync of each file whose name ends so leaves to the next process."""
    whole = run(new_medium(), short_life)
    steps = [
        number
        for number, step in enumerate(whole.steps, 1)
        if step.startswith(f"sync {DIRECTORY}/") and step.endswith(of)
    ]
    assert len(steps) > 5
    for crash_at in steps[::stride]:
        medium = new_medium()
        life = run(medium, short_life, crash_at=crash_at, sync_fails=True)
        assert life.died
        yield f"step {crash_at} ({life.steps[-1]})", medium, life.ledger


async def go_on(life: Life) -> None:
    """Opened, attached, shut down in order."""
    instance = await life.open()
    for name in NAMES:
        try:
            await instance.attach(name)
        except NotFound:
            await instance.create_database(name, initial_pages=34)
    await instance.close()


def breaches(stride: int, of: str) -> Iterator[str]:
    for where, medium, ledger in failed_syncs(stride, of):
        life = run(medium, go_on, ledger=ledger, ticks=10**6)
        assert life.error is None, f"{where}: {life.error}"
        assert content_breach(medium, ledger) == "", where
        medium.lose_power(POWER_LOSSES[NOTHING])
        found = content_breach(medium, ledger)
        if found:
            yield f"{where}: {found}"


@pytest.mark.parametrize("of", [".edb", ".log", ".chk"])
@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.full)])
def test_a_power_loss_after_it_takes_nothing_from_a_store_that_was_shut_down(
    stride: int, of: str
) -> None:
    assert list(breaches(stride, of)) == []


def test_pages_that_redo_leaves_alone_are_lost() -> None:
    with mutated("engine_recovery_write_again"):
        assert next(breaches(5, ".edb"), "")
