"""Two runs of one plan that differ: the first event that does is found and named."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from replicator.toml_writer import toml_text
from simulator.campaign.divergence import first_divergence
from simulator.campaign.job import JUDGED_OTHERWISE, BatchJob, run_batch, run_plan
from simulator.measures import Verdict
from simulator.oracle import ImageVerdict
from simulator.plans.draw import space_of
from simulator.plans.plan import parse_plan
from simulator.prepared import prepare
from simulator.remembered import Remembered
from simulator.scenario import load_scenario
from simulator.volume import SimVolume
from tests.campaign.commands import TINY

SMALL = load_scenario(TINY)
QUIET = parse_plan("format = 1\n", SMALL)


def test_equal_runs_do_not_diverge() -> None:
    assert first_divergence(prepare(SMALL), QUIET) is None


def plant(monkeypatch: pytest.MonkeyPatch, wobble: Any) -> None:
    """The sync of a directory takes a time that depends on what it must not depend on."""
    original = SimVolume.sync_directory

    async def sync_directory(self: SimVolume, path: str) -> None:
        self._holder.kernel.charge_ns(wobble())
        await original(self, path)

    monkeypatch.setattr(SimVolume, "sync_directory", sync_directory)


def test_a_planted_dependence_on_what_ran_before_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count()
    plant(monkeypatch, lambda: next(calls) % 7)
    found = first_divergence(prepare(SMALL), QUIET)
    assert found is not None
    assert found.first != found.second
    assert len(found.before) == 3
    # The same event of both, at another time.
    assert found.first.partition(" at ")[0] == found.second.partition(" at ")[0]
    assert found.first.endswith(" s")


def test_a_campaign_tells_where_the_runs_part(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []

    def by_address() -> int:
        kept.append(object())  # kept, so that no address comes again
        return id(kept[-1]) // 16 % 1_000

    plant(monkeypatch, by_address)
    [outcome] = run_batch(BatchJob(toml_text(SMALL), 1, space_of(SMALL), 0, 1, 1))
    assert outcome.verdict is Verdict.SAFETY
    assert outcome.reasons[0].startswith("the same plan gave another trace: event ")
    assert "in one run and" in outcome.reasons[0]
    assert "before, in both: " in outcome.reasons[0]


def test_the_end_of_the_shorter_run_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.run import ScenarioRun

    ends = count()
    over = ScenarioRun._over

    def longer(self: ScenarioRun) -> bool:
        if not over(self):
            return False
        if not hasattr(self, "_extra"):
            self._extra = next(ends) % 2  # every second run goes on for a sample more
        self._extra -= 1
        return self._extra < 0

    monkeypatch.setattr(ScenarioRun, "_over", longer)
    found = first_divergence(prepare(SMALL), QUIET)
    assert found is not None
    assert found.first == "the run was over"


def test_a_record_that_depends_on_earlier_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What judges is in no trace: a verdict that is another run's shows in the record alone."""
    get = Remembered.get

    def of_another_run(table: Remembered[Any, Any], key: Any) -> Any:
        found = get(table, key)
        return replace(found, detail="as it was") if isinstance(found, ImageVerdict) else found

    monkeypatch.setattr(Remembered, "get", of_another_run)
    prepared, twice = prepare(SMALL), True
    once = run_plan(prepared, QUIET, 0, twice)
    assert once.verdict is Verdict.PASS, "nothing was known yet"
    again = run_plan(prepared, QUIET, 0, twice)
    assert again.verdict is Verdict.SAFETY
    assert again.trace_hash == once.trace_hash
    assert again.reasons == (
        "the same plan with the same trace gave another record: checks differ",
    )
    # By the traces alone nobody finds it.
    monkeypatch.setattr("simulator.campaign.job._differing", lambda *_records: [])
    assert run_plan(prepared, QUIET, 0, twice).verdict is Verdict.PASS


@pytest.mark.parametrize("number", range(3))
def test_what_excuses_is_looked_for_before_the_first_fault_as_well(number: int) -> None:
    """A mutant may name damage though no fault has happened: verdicts that are remembered until
    then have to be noted with the same circumstances as others."""
    scenario = load_scenario(Path(__file__).with_name("small.toml"))
    name = "redo_after_restart"
    [outcome] = run_batch(BatchJob(toml_text(scenario), 1, space_of(scenario), number, 1, 1, name))
    assert outcome.repeated and outcome.verdict is Verdict.SAFETY
    assert not [each for each in outcome.reasons if each.startswith(JUDGED_OTHERWISE)]
