"""Plans that campaigns found defects with, shrunk: each is a scenario of its own and must pass."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from replicator.home import HomeImage
from simulator.measures import Verdict
from simulator.run import run_scenario
from simulator.scenario import load_scenario

FOUND = sorted((Path(__file__).parent / "found").glob("*.toml"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(path: Path) -> None:
    result = run_scenario(load_scenario(path))
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.faults, "it really happened"


def test_without_the_sync_of_home_the_plan_is_a_breach_again() -> None:
    """The safeguard is what keeps it: what a dead process left is synced before it is a basis."""
    [path] = [path for path in FOUND if path.stem == "home_in_the_cache_only"]

    async def nothing(_home: HomeImage) -> None:
        return None

    with mock.patch.object(HomeImage, "sync_all", nothing):
        result = run_scenario(load_scenario(path))
    assert result.verdict is Verdict.SAFETY, result.reasons
