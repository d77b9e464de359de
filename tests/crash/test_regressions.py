"""Plans that once found a defect, kept as they were drawn; each must pass.

The last line of a plan names the seed it was drawn with.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.measures import Verdict
from simulator.run import run_scenario
from simulator.scenario import parse_scenario

PLANS = sorted((Path(__file__).parent / "regressions").glob("*.toml"))


def test_there_are_plans() -> None:
    assert PLANS


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_plan(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    seed = int(text.rsplit("# seed ", 1)[1])
    result = run_scenario(parse_scenario(text), seed)
    reasons = [reason for reason in result.reasons if "never happened" not in reason]
    assert result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), reasons
    assert not reasons, reasons
