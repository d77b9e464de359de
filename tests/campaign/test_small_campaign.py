"""Small campaigns in this process: the same plans and outcomes as with workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.errors import BadInput
from replicator.toml_writer import toml_text
from simulator.campaign.job import BatchJob, run_batch
from simulator.campaign.small import MOST_PLANS, read_campaign, run_small_campaign
from simulator.plans.draw import space_of
from simulator.scenario import load_scenario

SMALL = Path(__file__).with_name("small.toml")


def test_it_runs_the_plans_of_the_seed_and_goes_on_where_it_was(tmp_path: Path) -> None:
    results = tmp_path / "small.db"
    first = run_small_campaign(SMALL, 1, results, seed=3)
    more = run_small_campaign(SMALL, 3, results, seed=3)
    loaded = load_scenario(SMALL)
    job = BatchJob(toml_text(loaded), 3, space_of(loaded), 0, 3)
    assert list(more["trace_hash"]) == [each.trace_hash for each in run_batch(job)]
    assert list(first["wall_seconds"]) == list(more["wall_seconds"][:1]), "that was run once"
    assert read_campaign(results).equals(more)
    assert run_small_campaign(SMALL, 1, results, seed=3).equals(more.iloc[:1])


def test_a_file_of_another_campaign_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "small.db"
    run_small_campaign(SMALL, 1, results)
    with pytest.raises(BadInput, match="another campaign"):
        run_small_campaign(SMALL, 1, results, seed=2)
    with pytest.raises(BadInput, match="no such file"):
        read_campaign(tmp_path / "nothing.db")
    assert not (tmp_path / "nothing.db").exists()


@pytest.mark.parametrize("plans", [0, -3, MOST_PLANS + 1])
def test_plans_are_some_and_few(tmp_path: Path, plans: int) -> None:
    with pytest.raises(BadInput, match="small campaign"):
        run_small_campaign(SMALL, plans, tmp_path / "small.db")
    assert list(tmp_path.iterdir()) == []
