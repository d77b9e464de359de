"""The rules of judgement, each with the breach that it is there for.

First the rules themselves, over a truth made by hand; then the oracle over the disks of a run
that has ended well, so that each alarm is the planted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from simulator.device import DiskModel
from simulator.exchange.store import Message
from simulator.host import Host, World, lose_everything, run_offline
from simulator.judgement import (
    FOR_EVER_NS,
    Claim,
    complete_before_ns,
    durable_check,
    kept_check,
    loss_measure,
    prefix_check,
)
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from simulator.systems.byte_level import HOME_DISK
from simulator.systems.interface import Recovered
from tests.test_run import BASE

SECOND = 1_000_000_000


@dataclass
class MadeTruth:
    """Epoch 1 begins at instant 0, epoch 2 at instant 3; an operation's digest is its instant."""

    times_ns: Sequence[int] = tuple(n * SECOND for n in range(6))
    written_bytes: Sequence[int] = tuple(n * 100 for n in range(6))
    instant = 5

    def _known(self, epoch: int) -> range:
        return {1: range(4), 2: range(3, 6)}.get(epoch, range(0))

    def digest_of(self, epoch: int, operation: int) -> int | None:
        known = self._known(epoch)
        return known[operation] if 0 <= operation < len(known) else None

    def instant_of(self, epoch: int, operation: int) -> int:
        known = self._known(epoch)
        return min(self.instant, known.start + operation) if known else 0

    def find(self, epoch: int, digest: int) -> list[int]:
        return [i for i, each in enumerate(self._known(epoch)) if each == digest]


TRUTH = MadeTruth()


def test_an_image_is_that_of_the_operation_that_is_claimed() -> None:
    assert prefix_check(Claim(1, 2, 2), TRUTH)[0]
    assert prefix_check(Claim(2, 0, 3), TRUTH)[0]
    assert prefix_check(Claim(0, 0, 99), TRUTH)[0], "nothing was synchronized"
    held, text = prefix_check(Claim(1, 2, 1), TRUTH)
    assert not held and "after [1]" in text
    for wrong in (Claim(1, 2, 9), Claim(1, 4, 4), Claim(3, 0, 0)):
        assert not prefix_check(wrong, TRUTH)[0], wrong
    assert not prefix_check(Claim(1, 2, 2, failure="it crashed"), TRUTH)[0]


@pytest.mark.parametrize(
    ("claim", "durable", "holds"),
    [
        (Claim(1, 5, 0), {1: 5}, True),
        (Claim(1, 6, 0), {1: 5}, True),
        (Claim(1, 4, 0), {1: 5}, False),
        (Claim(1, 9, 0), {1: 5, 2: 3}, False),
        (Claim(1, 9, 0), {1: 5, 2: 0}, False),
        (Claim(0, 0, 0), {1: 0}, False),
        (Claim(2, 0, 0), {1: 5, 2: 0}, True),
        (Claim(2, 0, 0), {1: 5}, None),
        (Claim(0, 0, 0), {}, None),
        (Claim(1, 9, 0, damage="rot"), {}, False),
        (Claim(0, 0, 0, failure="it crashed"), {1: 5}, None),
    ],
)
def test_durable_means_durable(claim: Claim, durable: dict[int, int], holds: bool | None) -> None:
    found = durable_check(claim, durable)
    assert (None if found is None else found[0]) is holds


def test_what_was_there_stays_there() -> None:
    assert kept_check(Claim(1, 5, 0), Claim(1, 5, 0))[0]
    assert kept_check(Claim(2, 0, 0), Claim(1, 5, 0))[0]
    assert not kept_check(Claim(1, 4, 0), Claim(1, 5, 0))[0]
    assert not kept_check(Claim(1, 9, 0), Claim(2, 0, 0))[0]


def test_an_image_must_have_all_that_was_finished_before_the_next_change() -> None:
    assert complete_before_ns(TRUTH, 1, 2) == 3 * SECOND
    assert complete_before_ns(TRUTH, 2, 2) == FOR_EVER_NS


def lost(claim: Claim, **how: Any) -> tuple[float, int, int]:
    measure = loss_measure(TRUTH, claim, failure="f", now_ns=7 * SECOND, messages=None, **how)
    return measure.seconds, measure.operations, measure.bytes


def test_a_loss_reaches_back_to_the_first_change_that_is_missing() -> None:
    assert lost(Claim(2, 2, 5)) == (0, 0, 0)
    assert lost(Claim(1, 2, 2)) == (4, 3, 300)
    assert lost(Claim(1, 2, 2), last=3) == (4, 1, 100)
    assert lost(Claim(2, 2, 5), last=3) == (0, 0, 0)
    assert lost(Claim(0, 0, 0)) == (6, 5, 500)


def test_of_an_image_that_is_not_as_claimed_only_what_it_is_counts() -> None:
    assert lost(Claim(2, 2, 4)) == lost(Claim(2, 1, 4)) == (2, 1, 100)
    assert lost(Claim(2, 2, 99)) == lost(Claim(0, 0, 0))


# -- the oracle over real disks of the emulated world ------------------------------


@pytest.fixture(scope="module")
def module_run() -> ScenarioRun:
    run = ScenarioRun(parse_scenario(BASE, ["duration=8s"]))
    result = run.run()
    assert not result.reasons
    return run


@pytest.fixture
def ended(module_run: ScenarioRun) -> ScenarioRun:
    """With nothing judged yet."""
    oracle = module_run.oracle
    oracle.checks, oracle.losses, oracle.durable = [], [], dict(oracle.durable)
    return module_run


def broken_after_judging(run: ScenarioRun) -> list[str]:
    disks = run.system.replica_machine.disks
    run.oracle.judge(disks, lose_everything, "test", run.world.clock.now())
    return [check.invariant for check in run.oracle.checks if not check.holds]


def test_the_run_itself_gives_no_alarm(ended: ScenarioRun) -> None:
    assert broken_after_judging(ended) == []
    assert {check.invariant for check in ended.oracle.checks} == {
        "prefix",
        "durable means durable",
        "mountable",
    }


@pytest.mark.parametrize("promised", [(1, 10**6), (2, 7), (2, 0)])
def test_what_was_promised_and_is_not_there_is_found(
    ended: ScenarioRun, promised: tuple[int, int]
) -> None:
    before = dict(ended.oracle.durable)
    ended.oracle.acknowledged(*promised)
    assert broken_after_judging(ended) == ["durable means durable"]
    ended.oracle.durable = before


def test_a_promise_is_not_lowered_by_a_later_one(ended: ScenarioRun) -> None:
    before = dict(ended.oracle.durable)
    ended.oracle.acknowledged(1, 10**6)
    ended.oracle.acknowledged(1, 5)
    assert broken_after_judging(ended) == ["durable means durable"]
    ended.oracle.durable = before


def test_a_message_acknowledged_before_the_next_operation_must_be_in_the_image(
    ended: ScenarioRun,
) -> None:
    """The digest is right, so the store has acknowledged what it had not written."""
    ledger = ended.workload.ledger
    assert ledger is not None
    now_ns = ended.world.clock.now()
    number = ledger.begin((Message(10**9, 0, b"never written"),), (), now_ns)
    ledger.acknowledge(number, now_ns)
    assert broken_after_judging(ended) == ["mountable"]
    ledger.continue_from(number - 1)
    assert broken_after_judging(ended) == ["mountable"], "and the second time nothing new"


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, []),
        ({"behind": 1}, ["prefix", "durable means durable", "durable means durable"]),
        ({"damage": "rot"}, ["durable means durable"]),
    ],
)
def test_an_image_that_took_over_is_judged_as_it_stands(
    ended: ScenarioRun, change: dict[str, Any], broken: list[str]
) -> None:
    oracle, disks = ended.oracle, ended.system.replica_machine.disks
    claim = oracle.examine(disks, lose_everything, mount=False).claim
    applied = claim.operation - change.get("behind", 0)
    said = Recovered(claim.epoch, applied, change.get("damage", ""))
    found = oracle.judge_taken_over(said, disks[HOME_DISK], claim, 0)
    assert found.digest == claim.digest
    assert [check.invariant for check in oracle.checks if not check.holds] == broken


def test_the_final_loss_takes_the_place_of_the_one_at_the_instant(ended: ScenarioRun) -> None:
    oracle, disks = ended.oracle, ended.system.replica_machine.disks
    verdict = oracle.examine(disks, lose_everything, mount=True)
    oracle.lose_all("loss of source", 5 * SECOND)
    oracle.lose_all("link_outage of link", 2 * SECOND)
    oracle.final_loss(verdict.claim, verdict.mounted, "loss of source", 5 * SECOND)
    assert [(loss.failure, loss.operations > 0) for loss in oracle.losses] == [
        ("link_outage of link", True),
        ("loss of source", False),
    ]


# -- what a copy of a disk loses ---------------------------------------------------


@pytest.mark.parametrize("model", [DiskModel(sector_bytes=4096, metadata="any"), DiskModel()])
def test_a_copy_loses_in_a_power_loss_what_the_disk_would(model: DiskModel) -> None:
    disk = World(network=False).machine("m").add_disk("data", model)

    async def look(host: Host) -> DiskModel:
        return host.machine.disks["data"].model

    copied = run_offline({"data": disk}, look)
    assert (copied.sector_bytes, copied.metadata) == (model.sector_bytes, model.metadata)
    assert replace(copied, sector_bytes=512, metadata="ordered").positioning_ns == 0


@pytest.mark.parametrize("sector", [512, 4096])
def test_an_examination_tears_writes_where_the_scenarios_disk_would(
    ended: ScenarioRun, sector: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[int] = set()
    disk = ended.system.replica_machine.disks[HOME_DISK]
    monkeypatch.setattr(disk, "model", replace(disk.model, sector_bytes=sector))
    original = type(disk).power_loss

    def power_loss(self: Any, choose: Any) -> None:
        sizes.add(self.model.sector_bytes)
        original(self, choose)

    monkeypatch.setattr(type(disk), "power_loss", power_loss)
    ended.oracle.examine(ended.system.replica_machine.disks, lose_everything, mount=False)
    assert sizes == {sector}
