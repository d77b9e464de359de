"""Drawn recoveries: sums of their parts, reproducible, and around what is planned."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from replicator.errors import BadInput
from simulator.plan.change import ChangeCurve
from simulator.plan.distributions import Fixed, Lognormal, Uniform
from simulator.plan.grid import TimeGrid
from simulator.plan.protection import ByteLevel, LogShipping, NightlyBackup
from simulator.plan.recovery_draws import UncertainRecovery, recovery_draws
from simulator.plan.recovery_time import PARTS, RecoveryFigures, recovery_time

GRID = TimeGrid(60)
CHANGE = ChangeCurve(GRID, *(np.full(GRID.steps, 1e6) for _ in range(3)), stored_bytes=30e9)
CERTAIN = UncertainRecovery(**{part: Fixed(1.0) for part in PARTS})


def test_each_part_has_a_distribution() -> None:
    assert tuple(each.name for each in fields(UncertainRecovery)) == PARTS


@pytest.mark.parametrize("kind", [ByteLevel(), LogShipping(), NightlyBackup()])
def test_what_is_certain_is_what_is_planned(kind) -> None:
    found = recovery_draws(kind, CHANGE, uncertain=CERTAIN, draws=3)
    planned = recovery_time(kind, CHANGE)
    assert found["total_seconds"].tolist() == pytest.approx([planned.total_seconds] * 3)
    for part in PARTS:
        assert found[part].tolist() == pytest.approx([getattr(planned, part)] * 3)


def test_the_total_is_the_sum_of_its_parts() -> None:
    found = recovery_draws(ByteLevel(), CHANGE, draws=200)
    assert found["total_seconds"].to_numpy() == pytest.approx(found[list(PARTS)].sum(axis=1))
    assert found["total_seconds"].nunique() == 200


def test_the_distribution_is_the_one_that_was_asked_for() -> None:
    only_decided = replace(CERTAIN, decide_seconds=Lognormal(1.0, 2.0))
    figures = RecoveryFigures(decide_seconds=600.0)
    found = recovery_draws(ByteLevel(), CHANGE, figures, only_decided, draws=20_000)
    median, upper = found["decide_seconds"].quantile([0.5, 0.8413])
    # A standard error of these quantiles is below 1.5 % at so many draws.
    assert median == pytest.approx(600, rel=0.05)
    assert upper == pytest.approx(1_200, rel=0.05)
    assert found["mount_seconds"].nunique() == 1


def test_a_planned_recovery_is_often_exceeded() -> None:
    """The long tails of people make the median of the sum more than the sum of the medians."""
    found = recovery_draws(ByteLevel(), CHANGE)["total_seconds"]
    planned = recovery_time(ByteLevel(), CHANGE).total_seconds
    assert float(found.median()) > planned
    assert float((found <= planned).mean()) < 0.5


def test_a_seed_names_the_draws_and_parts_do_not_disturb_each_other() -> None:
    one = recovery_draws(ByteLevel(), CHANGE, draws=50, seed=4)
    assert one.equals(recovery_draws(ByteLevel(), CHANGE, draws=50, seed=4))
    assert not one.equals(recovery_draws(ByteLevel(), CHANGE, draws=50, seed=5))
    other = UncertainRecovery(detect_seconds=Uniform(1.0, 9.0))
    moved = recovery_draws(ByteLevel(), CHANGE, uncertain=other, draws=50, seed=4)
    assert [part for part in PARTS if not moved[part].equals(one[part])] == ["detect_seconds"]


def test_what_is_not_known_is_refused() -> None:
    unknown = replace(CHANGE, stored_bytes=None)
    with pytest.raises(BadInput, match="nothing says how much is to be restored") as error:
        recovery_draws(NightlyBackup(), unknown)
    assert "database_size" in str(error.value.remedy)


@pytest.mark.parametrize("draws", [0, -1, 1_000_001])
def test_draws_are_some(draws: int) -> None:
    with pytest.raises(ValueError, match="draws"):
        recovery_draws(ByteLevel(), CHANGE, draws=draws)


def test_no_part_takes_a_negative_time() -> None:
    backwards = replace(CERTAIN, mount_seconds=Uniform(-1.0, 0.5))
    with pytest.raises(ValueError, match="mount_seconds"):
        recovery_draws(ByteLevel(), CHANGE, uncertain=backwards, draws=50)
