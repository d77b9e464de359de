"""The campaign's benchmark still measures what it says; its figures judge nothing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from simulator import oracle
from simulator.campaign.job import plan_number
from simulator.plans.draw import space_of
from simulator.prepared import prepare
from simulator.run import ScenarioRun
from simulator.sampling import Sampler
from simulator.scenario import LinkReset, load_scenario
from tests.benchmarks.campaign import SCENARIO
from tests.benchmarks.campaign_phases import PhaseSampler, shares
from tests.benchmarks.campaign_pool import run_campaign


@pytest.mark.full
def test_a_whole_campaign_runs_its_plans_and_tells_of_its_workers() -> None:
    scenario = load_scenario(SCENARIO, ["duration=500ms"])
    got = run_campaign(scenario, plans=3, workers=2)
    space, prepared = space_of(scenario), prepare(scenario)
    plans = [plan_number(1, number, space) for number in range(3)]
    alone = [prepared.run(plan.faults, fault_seed=plan.seed).operations for plan in plans]
    assert (got.plans, got.operations) == (3, sum(alone))
    assert got.seconds > 0 and got.processor_seconds > 0 and got.peak_mib > 10


def test_a_sample_is_charged_to_its_phase_and_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are taken by hand where it is known what they must be charged to."""
    sampler = PhaseSampler()
    digest, sample = oracle.image_digest, Sampler.sample

    def in_an_examination(*arguments: Any) -> int:
        sampler._sample(0, sys._getframe())
        return digest(*arguments)

    def at_a_sample(self: Sampler, *arguments: Any) -> None:
        sampler._sample(0, sys._getframe())
        sample(self, *arguments)

    fault = LinkReset.model_construct(kind="link_reset", at_ns=700_000_000)
    scenario = load_scenario(SCENARIO, ["duration=1100ms"]).model_copy(update={"faults": (fault,)})
    monkeypatch.setattr(oracle, "image_digest", in_an_examination)
    monkeypatch.setattr(Sampler, "sample", at_a_sample)
    result = ScenarioRun(scenario).run()
    samples = len(result.samples.time_seconds)
    assert samples >= 3
    assert sampler.phases["from there to the first fault"] == 1  # at 500 ms
    assert sampler.phases["from the first fault to the end of programs and faults"] == 1
    assert sampler.phases["settling"] == samples - 2
    assert sampler.phases["examinations"] == sampler.counts["the judge"] >= 2
    assert sampler.phases.total() == sampler.counts.total()
    assert shares(sampler.phases, 10.0).count(" ms (") == len(sampler.phases)
