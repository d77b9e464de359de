"""A prepared scenario: under any plan just what a run of its own gives."""

from __future__ import annotations

import gc
import sys
import weakref
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.batch import Compressor
from replicator.compression import contexts, decompress
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.disk import Disk
from simulator.exchange.engine_store import EngineStore
from simulator.fault_marks import Fault
from simulator.host import Host
from simulator.known import ImageContents, KnownImages, KnownPacks
from simulator.measures import RunResult, Verdict
from simulator.oracle import Oracle
from simulator.payload import PayloadPool
from simulator.prepared import PreparedScenario, prepare
from simulator.remembered import Remembered
from simulator.run import ScenarioRun
from simulator.scenario import (
    LinkBandwidth,
    LinkOutage,
    LinkReset,
    Loss,
    Pause,
    PowerLoss,
    ProcessCrash,
    Scenario,
    SyncFailure,
    load_scenario,
)

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = load_scenario(ROOT / "scenarios/campaign.toml", ["duration=2s"])
SMALL = load_scenario(ROOT / "tests/campaign/small.toml", ["duration=2s"])
MS_NS = 1_000_000

TIMES = st.integers(0, 1_999).map(lambda ms: ms * MS_NS)
DURATIONS = st.integers(1, 900).map(lambda ms: ms * MS_NS)
HOSTS = st.sampled_from(["source", "replica"])


def _table(kind: type[Any], name: str, **fields: st.SearchStrategy[Any]) -> Any:
    def make(**values: Any) -> Any:
        return kind.model_construct(kind=name, **values)

    return st.builds(make, at_ns=TIMES, **fields)


FAULTS: st.SearchStrategy[Fault] = st.one_of(
    _table(
        LinkOutage,
        "link_outage",
        duration_ns=DURATIONS,
        direction=st.sampled_from(["both", "to_replica", "to_source"]),
    ),
    _table(LinkReset, "link_reset"),
    _table(
        LinkBandwidth,
        "link_bandwidth",
        duration_ns=DURATIONS,
        bits_per_second=st.sampled_from([100_000, 1_000_000]),
    ),
    _table(
        PowerLoss,
        "power_loss",
        host=HOSTS,
        survive=st.sampled_from(["seeded", "none", "all"]),
        when=st.sampled_from([None, None, "apply", "checkpoint"]),
        restart_ns=st.none() | DURATIONS,
    ),
    _table(ProcessCrash, "process_crash", host=HOSTS),
    _table(Pause, "pause", host=HOSTS, duration_ns=DURATIONS),
    _table(SyncFailure, "sync_failure", host=HOSTS, count=st.integers(1, 3)),
)
LOSSES = _table(Loss, "loss", host=HOSTS)
PLANS = st.tuples(st.lists(FAULTS, max_size=4), st.lists(LOSSES, max_size=1)).map(
    lambda drawn: tuple(drawn[0] + drawn[1])
)


def alone(
    faults: tuple[Fault, ...],
    seed: int,
    safeguards: Safeguards = ALL_SAFEGUARDS,
    scenario: Scenario = SCENARIO,
) -> RunResult:
    """What the run gives without any help from others."""
    return ScenarioRun(scenario.model_copy(update={"faults": faults}), seed, safeguards).run()


def fields(result: RunResult) -> dict[str, Any]:
    return asdict(replace(result, wall_seconds=0.0))


PREPARED, PREPARED_SMALL = prepare(SCENARIO), prepare(SMALL)
"""One for all examples: each takes over what those before it have found out."""


@given(faults=PLANS, seed=st.integers(1, 2))
@settings(max_examples=10)
def test_equals_a_run_of_its_own(faults: tuple[Fault, ...], seed: int) -> None:
    assert fields(PREPARED.run(faults, seed)) == fields(alone(faults, seed))


@given(faults=PLANS, seed=st.integers(1, 2))
@settings(max_examples=40)
def test_equals_a_run_of_its_own_with_the_small_store(faults: tuple[Fault, ...], seed: int) -> None:
    expected = alone(faults, seed, scenario=SMALL)
    assert fields(PREPARED_SMALL.run(faults, seed)) == fields(expected)


CRASH = (ProcessCrash.model_construct(kind="process_crash", at_ns=1_300 * MS_NS, host="replica"),)
POWER = (
    PowerLoss.model_construct(
        kind="power_loss",
        at_ns=900 * MS_NS,
        host="source",
        survive="none",
        when=None,
        restart_ns=None,
    ),
)


class Counted:
    """How often stores were mounted and images examined."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mounts = self.examinations = 0
        mount, examine = EngineStore.mount, Oracle.examine

        async def counted_mount(store: EngineStore) -> Any:
            self.mounts += 1
            return await mount(store)

        def counted_examine(oracle: Oracle, *arguments: Any, **named: Any) -> Any:
            self.examinations += 1
            return examine(oracle, *arguments, **named)

        monkeypatch.setattr(EngineStore, "mount", counted_mount)
        monkeypatch.setattr(Oracle, "examine", counted_examine)

    def take(self) -> tuple[int, int]:
        counts = self.mounts, self.examinations
        self.mounts = self.examinations = 0
        return counts


def test_images_that_were_examined_before_are_not_mounted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted, prepared = Counted(monkeypatch), prepare(SCENARIO)
    first = prepared.run(CRASH, 1)
    mounts, examinations = counted.take()
    assert mounts > 3 and examinations > 3
    assert fields(prepared.run(CRASH, 1)) == fields(first)
    again_mounts, again_examinations = counted.take()
    assert again_mounts == 1  # the source's own store
    # Those after the crash depend on the plan, and are made.
    assert 0 < again_examinations < examinations
    alone(CRASH, 1)
    assert counted.take() == (mounts, examinations)


def test_what_is_missing_is_seen_in_an_image_that_is_known() -> None:
    """The contents of an image are remembered, not whether they are all that must be there."""
    prepared = prepare(SCENARIO)
    assert prepared.run((), 1).verdict is Verdict.PASS
    unsafe = replace(ALL_SAFEGUARDS, sync_before_acknowledge=False)
    plan = tuple(
        PowerLoss.model_construct(
            kind="power_loss",
            at_ns=at_ms * MS_NS,
            host="replica",
            survive="none",
            when=None,
            restart_ns=None,
        )
        for at_ms in (500, 1_450)
    )
    results = [prepared.run(plan, 1, unsafe) for _time in range(2)]
    assert fields(results[0]) == fields(results[1]) == fields(alone(plan, 1, unsafe))
    assert results[0].verdict is Verdict.SAFETY
    assert prepared.run(plan, 1).verdict is Verdict.PASS


def test_a_store_that_has_lost_something_is_told_from_the_one_before() -> None:
    """Two histories of one seed have images with other digests, and are judged apart."""
    prepared = prepare(SCENARIO)
    for plan in (POWER, CRASH, POWER + CRASH, POWER):
        assert fields(prepared.run(plan, 2)) == fields(alone(plan, 2))


def test_remembers_no_more_than_its_limit() -> None:
    table: Remembered[int, str] = Remembered(limit=10)
    for number in range(5):
        table.keep(number, "x", weight=3)
    assert table.get(0) is None and table.get(1) is None and table.get(2) == "x"
    table.keep(5, "x", weight=3)
    assert table.get(3) is None, "that was not used for longest"
    assert table.get(2) == "x" and len(table) == 3 and table.weight == 9
    table.keep(2, "y", weight=1)
    assert table.get(2) == "y" and table.weight == 7
    table.keep(6, "z", weight=11)
    assert table.get(6) is None
    assert len(table) == 3 and table.weight == 7, "one that is too heavy drives no other out"
    table.keep(2, "z", weight=11)
    assert table.get(2) is None, "the value before it is not the one that was kept last"
    assert len(table) == 2 and table.weight == 6


def test_images_count_by_their_messages() -> None:
    known = KnownImages(limit_messages=100)
    for digest in range(50):
        known.note(digest, ImageContents({number: b"" for number in range(9)}))
    assert len(known) == 10
    assert known.weight == 100


def test_packs_a_batch_once_and_to_the_same_bytes() -> None:
    known, data = KnownPacks(limit_bytes=1 << 20), b"a batch of records " * 500
    packed = known.packing(1)(data)
    assert packed == contexts(1).compress(data) and decompress(packed) == data
    assert known.pack(1, bytes(data)) is packed
    assert known.pack(3, data) == contexts(3).compress(data)
    assert (known.hits, known.misses) == (1, 2)
    other = Compressor(1, pack=known.packing(1))
    assert other(data) == Compressor(1)(data) == (packed, True)


def test_runs_share_the_pool_of_payloads() -> None:
    one, other = PayloadPool(0.25, 7), PayloadPool(0.25, 7)
    assert one._pool is other._pool
    assert one.take(1, 9_000) == other.take(1, 9_000) != PayloadPool(0.25, 8).take(1, 9_000)


def test_a_run_leaves_the_collector_as_it_was() -> None:
    prepared = prepare(SCENARIO)
    for switch, collects in ((gc.disable, False), (gc.enable, True)):
        switch()
        try:
            prepared.run(CRASH, 1)
            assert gc.isenabled() is collects
        finally:
            gc.enable()


def test_garbage_is_looked_for_when_a_run_is_gone() -> None:
    """Before, also while its world is being let go, a collection would walk through the rest."""
    in_a_run: list[bool] = []

    def collecting(phase: str, _info: dict[str, int]) -> None:
        frame: FrameType | None = sys._getframe()
        codes = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        in_a_run.append(phase == "start" and PreparedScenario.run.__code__ in codes)

    prepared = prepare(SCENARIO)
    gc.callbacks.append(collecting)
    try:
        prepared.run(CRASH, 1)
        gc.collect()
    finally:
        gc.callbacks.remove(collecting)
    assert in_a_run and not any(in_a_run)


class Copies:
    """Copies of disks, as examinations make them, and how many there ever were at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[weakref.ref[Disk]] = []
        self.most = 0
        fork = Disk.fork

        def noted(disk: Disk, *arguments: Any) -> Disk:
            made = fork(disk, *arguments)
            self.made.append(weakref.ref(made))
            self.most = max(self.most, sum(copy() is not None for copy in self.made))
            return made

        monkeypatch.setattr(Disk, "fork", noted)


def test_the_copies_of_an_examination_are_gone_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left in a ring would pile up, as long as nobody looks for garbage."""
    copies = Copies(monkeypatch)
    run = ScenarioRun(SMALL, 1)
    gc.disable()
    try:
        run.run()
        assert copies.made and all(copy() is None for copy in copies.made)
    finally:
        gc.enable()


def test_a_store_that_is_a_ring_does_not_pile_up_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long run looks for what is young and gone, examination after examination."""
    copies = Copies(monkeypatch)
    ScenarioRun(SCENARIO, 1).run()
    of_two = 2 * 2  # examinations, each of the image's disk and the journal's
    assert len(copies.made) > 2 * of_two and copies.most <= of_two
    copies = Copies(monkeypatch)
    monkeypatch.setattr(gc, "collect", lambda _generation=2: 0)
    ScenarioRun(SCENARIO, 1).run()
    assert copies.most > of_two, "without it they do"


def test_runs_leave_nothing_behind() -> None:
    """Neither hosts nor coroutines of a run are kept by what is remembered."""
    prepared: PreparedScenario = prepare(SCENARIO)
    prepared.run(CRASH, 1)
    gc.collect()
    before = sum(isinstance(each, Host) for each in gc.get_objects())
    for _time in range(3):
        prepared.run(CRASH, 1)
    gc.collect()
    assert sum(isinstance(each, Host) for each in gc.get_objects()) == before
