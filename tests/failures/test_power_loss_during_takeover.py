"""The replica loses its power while it takes over: what people have decided stays decided."""

from __future__ import annotations

from pathlib import Path

from simulator.measures import Verdict
from simulator.run import run_scenario
from simulator.scenario import load_scenario

CAMPAIGN = Path(__file__).resolve().parents[2] / "scenarios/campaign.toml"


def test_the_decision_is_not_waited_for_again() -> None:
    scenario = load_scenario(
        CAMPAIGN,
        [
            'faults=[{kind="loss", at="1s", host="source"},'
            ' {kind="power_loss", at="3s", host="replica", when="checkpoint", survive="all"}]',
            'replica.restart="20s"',
        ],
    )
    result = run_scenario(scenario)
    assert result.verdict is Verdict.PASS, result.reasons
    loss, power = sorted(result.faults, key=lambda mark: mark.start_seconds)
    assert (loss.kind, power.kind) == ("loss", "power_loss")
    recovery = result.recovery
    assert recovery is not None
    decided_seconds = loss.start_seconds + recovery.detect + recovery.decide
    # It struck when everything was decided, and cost its restart, no second decision.
    assert power.start_seconds >= decided_seconds
    assert recovery.decide == scenario.failover.decide_ns / 1e9
    assert recovery.detect < 2 * scenario.failover.detect_ns / 1e9
    assert 20 <= recovery.recover < 30
