"""Plans that campaigns found defects with, shrunk: each is a scenario of its own and must pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.measures import Verdict
from simulator.run import run_scenario
from simulator.scenario import load_scenario

FOUND = sorted((Path(__file__).parent / "found").glob("*.toml"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(path: Path) -> None:
    result = run_scenario(load_scenario(path))
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.faults, "it really happened"
