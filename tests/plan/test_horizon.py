"""Steps of long plans: coarser where nothing is lost by it, and what they take is told."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.plan import horizon, organisation_doubts
from simulator.plan.horizon import plan_step_seconds, plan_steps
from simulator.plan.organisation import Organisation, check_organisation, parse_organisation
from simulator.plan.organisation_curves import change_of, grid_of, site_options
from tests.plan import plans

WIDE = ("outages.events=[]", "objectives.rpo=1h")


def organised(*overrides: str) -> Organisation:
    return parse_organisation(plans.EXAMPLE, [*WIDE, *overrides])


@pytest.mark.parametrize(
    ("overrides", "minutes"),
    [
        (("horizon=8w",), 1),
        (("horizon=104w",), 1),
        (("horizon=732d",), 1),
        (("horizon=733d",), 5),
        (("horizon=1830d",), 5),
        (("horizon=1831d",), 15),
        (("horizon=520w",), 15),
        (("horizon=520w", "objectives.rpo=15m"), 5),
        (("horizon=520w", "objectives.rpo=10m"), 1),
        (("horizon=520w", "outages.median=10m"), 5),
        (("horizon=520w", "protection.interval=3m"), 1),
        (("horizon=520w", 'outages.lengths=["8m"]'), 5),
        (("horizon=520w", "outages.planned=30s"), 1),
    ],
)
def test_a_step_is_as_the_horizon_has_it_but_never_hides_what_is_to_be_seen(
    overrides: tuple[str, ...], minutes: int
) -> None:
    assert plan_step_seconds(organised(*overrides)) == 60 * minutes


def test_the_curve_has_these_steps_and_says_so() -> None:
    # Without growth, which is taken at the begin of each step.
    long = organised("horizon=733d", "change.growth=0%")
    change = change_of(long)
    assert change.grid == grid_of(long) and change.grid.steps == 733 * 288 == plan_steps(long)
    assert site_options(long).step_seconds == 300.0
    assert any("steps of 5 min" in remark for remark in change.remarks)
    usual = change_of(organised("horizon=4w", "change.growth=0%"))
    assert usual.grid.step_seconds == 60.0
    assert not any("steps of" in remark for remark in usual.remarks)
    # What is written is the same.
    weeks = usual.written_bytes.reshape(-1, 5).sum(axis=1)
    np.testing.assert_allclose(change.written_bytes[: len(weeks)], weeks, rtol=1e-9)


def test_without_the_rule_a_plan_of_ten_years_has_steps_of_a_minute(monkeypatch) -> None:
    long = organised("horizon=520w")
    assert plan_steps(long) < 400_000
    monkeypatch.setattr(horizon, "STEPS_BY_DAYS", ((3_660, 60.0),))
    assert plan_steps(long) > 5_000_000


def test_a_long_plan_tells_what_it_takes(tmp_path, monkeypatch) -> None:
    path = tmp_path / "office.toml"
    path.write_text(plans.EXAMPLE, encoding="utf-8")

    def told(*overrides: str) -> str:
        found = check_organisation(path, [*WIDE, *overrides])[1]
        return "\n".join(str(each) for each in found)

    assert "processor time" not in told("horizon=104w")
    found = told("horizon=520w", "objectives.rpo=15m")
    assert "horizon: 9.97 years are 1,048,320 steps of 5 min" in found
    assert "s of processor time and 0." in found and "GB of memory" in found
    monkeypatch.setattr(organisation_doubts, "long_plan_doubts", lambda _: iter(()))
    assert "processor time" not in told("horizon=520w")
