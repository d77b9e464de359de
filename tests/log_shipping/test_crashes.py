"""A crash of the copy at every storage step of copying, inspection and replay.

At each of them the disks are judged as a power loss may leave them, and as the cache has them:
what the copy had promised is there and makes a store.  Then it starts again and ends with all.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.ese.errors import EseError
from replicator.logship import CopyUnusable
from replicator.logship_options import ALL_SAFEGUARDS
from replicator.logship_options import LogShipSafeguards as Guards
from simulator.exchange.store import StoreUnmountable
from simulator.host import keep_everything, lose_everything, seeded_choice
from simulator.inode import Choose
from tests.log_shipping.scenes import REPLICA, History, Pair, is_prefix
from tests.strides import strided

ENDS: dict[str, Callable[[int], Choose | None]] = {
    "process": lambda _step: None,
    "power, nothing survives": lambda _step: lose_everything,
    "power, some survives": lambda step: seeded_choice(f"step {step}"),
    "power, all survives": lambda _step: keep_everything,
}


def steps_of(history: History) -> int:
    """How many storage steps the copy makes until it has everything."""
    pair = Pair(history)
    pair.close_logs()
    pair.start_source()
    before = pair.replica_disk.steps
    pair.start_copy()
    pair.run(1)
    steps = pair.replica_disk.steps - before
    assert pair.promised == history.generations[-1]
    pair.close()
    return steps


def defects_of(history: History, step: int, end: str, guards: Guards = ALL_SAFEGUARDS) -> str:
    """What is wrong after a crash at this step; empty when nothing is."""
    pair = Pair(history, guards)
    pair.close_logs()
    pair.start_source()
    machine, disk = pair.world.machine(REPLICA), pair.replica_disk
    disk.crash_at_step = disk.steps + step
    choose = ENDS[end](step)

    def strike() -> None:
        pair.note()
        if choose is None:
            machine.crash_process()
        else:
            machine.lose_power(choose)

    disk.on_crash = strike
    pair.start_copy()
    try:
        pair.run(1)
        pair.copy = None
        if found := _judged(pair):
            return found
        if "copy" not in machine.processes:
            pair.start_copy()
        pair.run(2)
        if pair.promised < history.generations[-1]:
            return f"it stopped at generation {pair.promised}: {pair.states()[-1:]}"
        return _judged(pair)
    finally:
        pair.close()


def _judged(pair: Pair) -> str:
    try:
        generation, contents = pair.found()
    except (CopyUnusable, EseError, StoreUnmountable) as error:
        return str(error)
    if generation < pair.promised:
        return f"generation {pair.promised} was promised, {generation} is there"
    if not is_prefix(contents, pair.history, generation):
        return f"with generation {generation} there are messages {sorted(contents)}"
    return ""


@pytest.mark.parametrize("end", ENDS)
@strided(83)
def test_a_crash_at_any_step_is_made_good(short_history: History, end: str, stride: int) -> None:
    steps = steps_of(short_history)
    assert steps > 100
    offset = list(ENDS).index(end) * 10
    for step in range(1 + offset % stride, steps + 1, stride):
        assert defects_of(short_history, step, end) == "", step


def test_the_enumeration_finds_a_log_that_was_not_synced(short_history: History) -> None:
    guards, steps = Guards(sync_before_inspected=False), steps_of(short_history)
    found = (
        defects_of(short_history, step, "power, nothing survives", guards)
        for step in range(steps // 3, steps, steps // 5)
    )
    assert any(found)


def test_a_name_that_only_the_cache_knew_is_made_durable(short_history: History) -> None:
    """The process dies between rename and sync; the next one replays; then the power fails."""
    pair = Pair(short_history)
    pair.start_source()
    machine, disk = pair.world.machine(REPLICA), pair.replica_disk
    first, second = list(short_history.logs)[:2]
    pair.start_copy()
    pair.close_logs(first)
    pair.run(0.5)
    assert "E00.chk" in disk.names.directory("/copy").entries, "else its making syncs the names"
    crashed: list[int] = []
    original = disk.name_step

    def name_step(event: str, *values: int) -> None:
        original(event, *values)
        if not crashed and second in disk.names.directory("/copy").entries:
            crashed.append(disk.steps)
            machine.crash_process("copy")

    disk.name_step = name_step  # type: ignore[method-assign]
    pair.close_logs(second)
    pair.copy = None
    pair.run(0.5)
    disk.name_step = original  # type: ignore[method-assign]
    assert crashed, "it never came to the rename"
    pair.start_copy()
    pair.run(0.5)
    assert pair.promised == 2
    generation, contents = pair.found(lose_everything)
    assert generation == 2 and is_prefix(contents, short_history, 2)
    pair.close()
