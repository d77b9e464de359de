"""Each safeguard of the replica is switched off once, and the oracles find the breach.

A safeguard without such a test may be dead code.  The chain is tested with a spool whose
bytes rot at the source: with the check the history is ended and the image brought over
anew; without it wrong bytes become the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from replicator.safeguards import ALL_SAFEGUARDS
from replicator.spool_reader import SpoolReader
from simulator.link import Link
from simulator.systems.byte_level import REPLICA, ByteLevelSystem
from tests.crash.harness import Outcome, Plan, create, gap, log_rolls, run, write

WITH_GAP = [*log_rolls()[:8], gap, *log_rolls()[8:]]
CONTENT = [create("/db"), *(write("/db", 0, number) for number in range(1, 25))]
"""No change of names: a home that is ahead of its journal by one is named as damage."""

MUTANTS = {
    "journal_before_apply": "prefix",
    "sync_before_acknowledge": "durable means durable",
    "apply_in_order": "prefix",
    "barrier_at_names": "prefix",
    "sequence_check": "prefix",
    "stable_file_ids": "prefix",
    "atomic_resynchronization": "prefix",
}
"""Each safeguard, and the invariant that rests on it: another alarm would be a chance hit."""


def plans(safeguard: str) -> Iterator[Plan]:
    """Small plans, the likely ones first."""
    safeguards = replace(ALL_SAFEGUARDS, **{safeguard: False})
    steps = {"atomic_resynchronization": WITH_GAP, "journal_before_apply": CONTENT}.get(
        safeguard, log_rolls()
    )
    for survival in ("none", "all", "some", "other"):
        for step in range(1, 140):
            yield Plan(steps, host=REPLICA, crash_at=step, survival=survival, safeguards=safeguards)


@pytest.mark.parametrize(("safeguard", "invariant"), MUTANTS.items())
def test_switched_off_it_is_missed(safeguard: str, invariant: str) -> None:
    for tried, plan in enumerate(plans(safeguard), 1):
        outcome = run(plan)
        if outcome.broken:
            print(f"{safeguard}: found after {tried} plans: {outcome.broken[0]}")
            assert any(b.startswith(f"{invariant}: ") for b in outcome.broken), outcome.broken
            return
    pytest.fail(f"{safeguard} can be switched off and nobody notices")


def rot(system: ByteLevelSystem, _wire: Link) -> None:
    """One byte of what the sender reads from the spool is not what was written."""
    original = SpoolReader.read_batch
    spoiled: list[int] = []

    async def read_batch(spool: SpoolReader, cursor: Any, max_bytes: int) -> Any:
        data, last = await original(spool, cursor, max_bytes)
        if spool.epoch == 1 and len(data) > 4000:
            spoiled.append(1)
            data = data[:2000] + bytes([data[2000] ^ 1]) + data[2001:]
        return data, last

    def observe(machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if event == "epoch" and system.source is not None:
            spool = system.source.spool
            spool.read_batch = read_batch.__get__(spool)  # type: ignore[method-assign]

    system.world.observers.append(observe)


def run_with_rot(chain_check: bool) -> Outcome:
    safeguards = replace(ALL_SAFEGUARDS, chain_check=chain_check)
    return run(Plan(log_rolls(), safeguards=safeguards, meddle=rot))


def test_rotten_spool_is_noticed_and_repaired_by_a_new_epoch() -> None:
    outcome = run_with_rot(chain_check=True)
    assert outcome.good, outcome
    assert outcome.epochs == 2


def test_without_the_chain_a_rotten_spool_becomes_the_image() -> None:
    outcome = run_with_rot(chain_check=False)
    assert any("prefix" in breach for breach in outcome.broken), outcome
