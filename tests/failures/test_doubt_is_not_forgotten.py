"""Recovery finds the journal damaged, and sets aside what shows it: the doubt has to outlive that.

Its power fails again at each storage call of that recovery; or the checkpoint that was written last
rots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replicator.checkpoints import Checkpoints
from simulator.measures import RunResult, Verdict
from simulator.plans.plan import FaultPlan, planned
from simulator.run import run_scenario
from simulator.scenario import load_scenario

CAMPAIGN = load_scenario(Path(__file__).resolve().parents[2] / "scenarios" / "campaign.toml")
DOWN_AT, ROTTEN_AT, BACK_AT = "2.05s", "2.25s", "2350001us"
SEED = 8
"""Of those whose rot hits a record that other ones say was safe, and that is behind the place from
which the checkpoint redoes: where it is before that, each later start finds anew what is gone.
"""


def run(*later: dict[str, Any]) -> RunResult:
    faults: list[dict[str, Any]] = [
        {"kind": "power_loss", "host": "replica", "at": DOWN_AT, "survive": "all"},
        {"kind": "bit_rot", "host": "replica", "where": "journal", "at": ROTTEN_AT},
        *later,
    ]
    plan = FaultPlan.model_validate({"format": 1, "seed": SEED, "faults": faults})
    return run_scenario(planned(CAMPAIGN, plan))


def in_recovery(calls: int) -> dict[str, Any]:
    return {"kind": "power_loss", "host": "replica", "at": BACK_AT, "calls": calls}


def test_the_damage_is_found() -> None:
    result = run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert any("in doubt" in check.detail for check in result.checks), "this means nothing"


@pytest.mark.parametrize(
    "calls", [n if n % 3 else pytest.param(n, marks=pytest.mark.full) for n in range(1, 31)]
)
def test_whenever_the_power_fails_in_that_recovery(calls: int) -> None:
    result = run(in_recovery(calls))
    assert result.verdict is Verdict.PASS, result.reasons


def test_a_doubt_that_is_noted_after_its_witness_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def later(_checkpoints: Checkpoints, _state: dict[str, Any]) -> None:
        return None

    monkeypatch.setattr(Checkpoints, "write_both", later)
    found = (run(in_recovery(calls)).verdict for calls in range(1, 31))
    assert Verdict.SAFETY in found, "this means nothing"
