"""Every storage step of a short life of an instance as the one to die in, and what recovery finds.

The control is at the end: with a safeguard switched off the same enumeration finds a breach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise

import pytest

from replicator.errors import NotFound
from replicator.ese.log_options import Durability
from simulator.exchange.ese.instance_options import EngineSafeguards, InstanceConfig
from tests.store import memory_volume
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    CONFIG,
    NAMES,
    PAGE_BYTES,
    TINY_CACHE,
    Ledger,
    Life,
    content_breach,
    crash_states,
    judge,
    new_medium,
    of_pages,
    recover_only,
    run,
    short_life,
    without,
)

KEEPS_ORDER = ("power stays", "nothing unsynced survives", "everything survives")
TORN_LOG = ("-501 ", "-566 ", "-567 ")
"""Where a disk has kept segments of a log and lost older ones, recovery says so."""

FEW = ("nothing unsynced survives", "every other sector")
FLUSH = replace(CONFIG, durability=Durability.FLUSH)
LAZY = replace(CONFIG, durability=Durability.LAZY, waypoint_latency=1)
LATE = replace(CONFIG, durability=Durability.LAZY, waypoint_latency=3, circular=False)
OLD = replace(CONFIG, log_version=7, log_file_bytes=80 * 512)
EX2007 = of_pages("exchange 2007", 7, 160 * 512)
EX2010 = of_pages("exchange 2010", 8, 80 * 4096)


def tiny(config: InstanceConfig) -> InstanceConfig:
    """With next to no pages in memory: each statement drives pages out and reads others."""
    return replace(config, cache_pages=TINY_CACHE)


SMALL_CACHES = [
    pytest.param(tiny(CONFIG), id="4 KiB"),
    pytest.param(tiny(EX2007), id="2007, 8 KiB"),
    pytest.param(tiny(EX2010), id="2010, 32 KiB"),
    pytest.param(tiny(LATE), id="lazy, three logs late"),
]


@pytest.fixture(autouse=True)
def sectors_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is written whole or not, as on a disk with such sectors."""
    monkeypatch.setattr(memory_volume, "SECTOR", PAGE_BYTES)


def breaches(
    config: InstanceConfig = CONFIG,
    *,
    losses: Sequence[str] = tuple(POWER_LOSSES),
    stride: int = 1,
    first: int = 1,
    required_only: bool = False,
) -> Iterator[str]:
    states = crash_states(config=config, losses=losses, stride=stride, first=first)
    for where, medium, ledger in states:
        lost = config.durability is Durability.LAZY and "power stays" not in where
        judged = judge(medium, ledger, config=config, required_only=required_only, may_lose=lost)
        if judged.breach:
            yield f"{where}: {judged.breach}"


def test_the_short_life_reaches_what_it_is_meant_to_reach() -> None:
    medium = new_medium()
    life = run(medium, short_life)
    assert life.error is None
    steps = "\n".join(life.steps)
    assert steps.count("rename /store/E00.log") >= 4
    assert steps.count("write /store/E00.chk") >= 10
    assert "rename /store/E0000000001.log" in steps  # used again: circular logging
    for name in NAMES:
        assert steps.count(f"write /store/{name} ") >= 20
        assert life.ledger.confirmed[name] == len(life.ledger.states[name]) - 1 >= 14
    states = life.ledger.states[NAMES[0]]
    assert any(6 in before and 6 not in after for before, after in pairwise(states))
    assert judge(medium, life.ledger).breach == ""


@pytest.mark.parametrize("stride", [71, pytest.param(1, marks=pytest.mark.full)])
def test_a_crash_in_any_step_loses_nothing_that_was_committed(stride: int) -> None:
    assert list(breaches(stride=stride)) == []


@pytest.mark.parametrize("stride", [61, pytest.param(1, marks=pytest.mark.full)])
def test_the_logs_that_the_headers_require_suffice(stride: int) -> None:
    assert list(breaches(stride=stride, losses=FEW, required_only=True)) == []


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(FLUSH, id="flush"),
        pytest.param(LAZY, id="lazy"),
        pytest.param(LATE, id="lazy, three logs late"),
    ],
)
@pytest.mark.parametrize("stride", [193, pytest.param(1, marks=pytest.mark.full)])
def test_without_a_sync_for_each_segment_the_log_may_be_torn_but_nothing_is_wrong(
    config: InstanceConfig, stride: int
) -> None:
    """A disk that keeps the order of segments loses no consistency; any other is found out."""
    for found in breaches(config, stride=stride):
        where, _, what = found.partition(": ")
        assert not where.endswith(KEEPS_ORDER), found
        assert what.startswith("refused: "), found
        assert any(number in what for number in TORN_LOG), found


@pytest.mark.parametrize("stride", [193, pytest.param(1, marks=pytest.mark.full)])
def test_so_it_is_with_logs_of_version_7(stride: int) -> None:
    assert list(breaches(OLD, stride=stride)) == []


@pytest.mark.parametrize(
    "config", [pytest.param(EX2007, id="2007"), pytest.param(EX2010, id="2010")]
)
@pytest.mark.parametrize("stride", [227, pytest.param(3, marks=pytest.mark.full)])
def test_so_it_is_with_larger_pages(
    config: InstanceConfig, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_volume, "SECTOR", config.store_format.page_bytes)
    assert list(breaches(config, stride=stride)) == []


@pytest.mark.parametrize("config", SMALL_CACHES)
@pytest.mark.parametrize("stride", [227, pytest.param(3, marks=pytest.mark.full)])
def test_so_it_is_when_pages_go_from_memory_at_every_statement(
    config: InstanceConfig, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_volume, "SECTOR", config.store_format.page_bytes)
    lazy = config.durability is Durability.LAZY
    losses = KEEPS_ORDER[1:] if lazy else tuple(POWER_LOSSES)
    assert list(breaches(config, stride=stride, losses=losses)) == []


def second_crashes(medium: Medium, ledger: Ledger, stride: int) -> Iterator[str]:
    """Crash in steps of the recovery too; the next one must come to the same rows."""
    steps = judge(medium.copy(), ledger).steps
    for step in range(1, steps + 1, stride):
        crashed = medium.copy()
        run(crashed, recover_only, ledger=ledger, crash_at=step, ticks=10**6)
        for loss in ("", *FEW):
            after = crashed.copy()
            if loss:
                after.lose_power(POWER_LOSSES[loss])
            found = judge(after, ledger).breach
            if found:
                yield f"then step {step}, {loss or 'power stays'}: {found}"


@pytest.mark.parametrize(
    ("stride", "second"), [(227, 13), pytest.param(9, 1, marks=pytest.mark.full)]
)
def test_a_crash_in_recovery_is_made_good_by_the_next_one(stride: int, second: int) -> None:
    for where, medium, ledger in crash_states(losses=FEW[1:], stride=stride):
        found = next(second_crashes(medium, ledger, second), None)
        assert found is None, f"{where}; {found}"


@pytest.mark.parametrize("stride", [71, pytest.param(3, marks=pytest.mark.full)])
def test_a_recovered_store_goes_on(stride: int) -> None:
    """The engine opens what a crash left, attaches or makes each database, and is shut down."""

    async def go_on(life: Life) -> None:
        instance = await life.open()
        for name in NAMES:
            try:
                await instance.attach(name)
            except NotFound:
                made.append(name)
                await instance.create_database(name, initial_pages=34)
        await instance.close()

    seen = 0
    made: list[str] = []
    for where, medium, ledger in crash_states(losses=FEW, stride=stride, first=5):
        life = run(medium, go_on, ledger=ledger, ticks=10**6)
        assert life.error is None, f"{where}: {life.error}"
        assert content_breach(medium, ledger) == "", where
        seen += 1
    assert seen > 20
    assert len(made) >= 4


WHERE: dict[str, tuple[int, bool]] = {
    "log_before_pages": (45, False),
    "waypoint": (105, False),
    "before_images": (210, False),
    "sync_before_checkpoint": (120, True),
    "sync_before_clean": (380, False),
    "wait_for_pages": (215, False),
    "wait_for_transactions": (320, False),
    "flush_at_commit": (90, False),
    "log_before_eviction": (160, False),
}
"""From which step on a safeguard is needed, to be quick; whether only required logs are left."""
STREAMING = {"stream_before_commit", "keep_deleted_clusters"}
"""Those of the streaming file, see ``test_streaming_file.py``."""


def test_what_goes_from_memory_unwritten_is_missed_at_once() -> None:
    config = without("write_before_eviction", cache_pages=TINY_CACHE)
    assert run(new_medium(), short_life, config=config).error is not None


def test_no_safeguard_is_left_out() -> None:
    others = {"write_before_eviction", *STREAMING}
    assert {field.name for field in fields(EngineSafeguards)} == {*WHERE, *others}


@pytest.mark.parametrize("name", WHERE)
def test_each_safeguard_is_needed(name: str) -> None:
    first, required_only = WHERE[name]
    more = {"cache_pages": TINY_CACHE} if name.endswith("_eviction") else {}
    found = breaches(without(name, **more), losses=FEW, first=first, required_only=required_only)
    assert next(found, None) is not None
