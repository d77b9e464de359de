"""Drawn years: each outage is what it is alone; draws are those of their distributions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.plan import monte_carlo as module
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.distributions import Empirical, Fixed, Lognormal, Triangular, Uniform
from simulator.plan.fluid import backlog
from simulator.plan.grid import whole_steps
from simulator.plan.monte_carlo import (
    MEASURES,
    OutageLaw,
    UncertainInputs,
    continued,
    monte_carlo,
)
from simulator.plan.protection import ByteLevel, ChangedBlocks, LogShipping, NightlyBackup
from simulator.plan.spool_full import Spool
from tests.plan.curves import flat, mail

HOURS = OutageLaw(per_year=500.0, length_seconds=Lognormal(3_600.0, 2.0))
UNCERTAIN = UncertainInputs(
    load_factor=Triangular(0.7, 1.0, 1.5),
    saving=Uniform(0.2, 0.4),
    growth_per_year=Lognormal(0.1, 1.5),
    years_ahead=2.0,
)
LINK = PlannedLink(120e6)


def test_every_outage_is_what_a_walk_gives_for_its_own_load() -> None:
    change = mail(7.0)
    kind = ByteLevel(delay_seconds=0.0)
    found = monte_carlo(kind, change, LINK, HOURS, 8, 3, UNCERTAIN, after_days=14.0)
    longer = continued(change, 14 * 86_400.0)
    capacity = LINK.capacity_bytes(longer.grid)
    assert len(found.outages) > 40
    assert found.outages["load"].nunique() == found.outages["year"].nunique()
    for row in found.outages.iloc[::7].itertuples():
        queue = kind.queue(longer.scaled(row.load))
        begin, length = round(row.begin_seconds / 60), whole_steps(row.length_seconds, 60.0)
        hole = without(capacity * row.service, longer.grid, [(begin * 60.0, length * 60.0)])
        waiting = backlog(np.diff(queue.ready), queue.service(hole))
        empty = np.flatnonzero(waiting[begin + length - 1 :] <= 0.5)
        until = begin + length + int(empty[0]) if length else begin
        assert row.spool_peak_bytes == pytest.approx(waiting[begin:until].max(initial=0), rel=1e-6)
        assert abs(row.catch_up_seconds - (until - begin - length) * 60.0) <= 60.0
        lags = queue.course(capacity_bytes=hole).lag_seconds
        after = lags[begin + max(length, 1) - 1 : until]
        assert row.rpo_seconds == pytest.approx(after.max(initial=0), rel=1e-6, abs=1e-3)


def test_the_same_seed_gives_the_same_and_batches_do_not_matter() -> None:
    change, law = mail(7.0), replace(HOURS, per_year=2_000.0)
    first = monte_carlo(LogShipping(), change, LINK, law, 4, 5, UNCERTAIN).outages
    assert monte_carlo(LogShipping(), change, LINK, law, 4, 5, UNCERTAIN).outages.equals(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_OUTAGES_AT_ONCE", 7)
        small = monte_carlo(LogShipping(), change, LINK, law, 4, 5, UNCERTAIN).outages
    assert small.equals(first)
    other = monte_carlo(LogShipping(), change, LINK, law, 4, 6, UNCERTAIN).outages
    assert not other.equals(first)
    # Other lengths leave begins and inputs as they are.
    fixed = replace(law, length_seconds=Fixed(60.0))
    again = monte_carlo(LogShipping(), change, LINK, fixed, 4, 5, UNCERTAIN).outages
    assert again[["begin_seconds", "load"]].equals(first[["begin_seconds", "load"]])


def test_begins_follow_the_weights_of_hours() -> None:
    change = mail(14.0)
    night = tuple(1.0 if hour < 6 else 0.0 for hour in range(24))
    law = OutageLaw(per_year=5_000.0, length_seconds=Fixed(60.0), hour_weights=night)
    begins = monte_carlo(LogShipping(), change, LINK, law, 3).outages["begin_seconds"]
    hours = (begins % 86_400) // 3_600
    assert len(begins) > 400
    assert set(hours) == set(range(6))
    week = tuple(float(hour >= 5 * 24) for hour in range(168))
    weekend = replace(law, hour_weights=week)
    begins = monte_carlo(LogShipping(), change, LINK, weekend, 3).outages["begin_seconds"]
    assert set((begins % (7 * 86_400)) // 86_400) == {5, 6}


def test_quantiles_of_outages_and_years() -> None:
    change = mail(28.0)
    law = replace(HOURS, per_year=50.0)
    found = monte_carlo(ByteLevel(), change, LINK, law, 300, 1, UNCERTAIN)
    assert found.grouped
    assert 900 < len(found.outages) < 1_400  # 50 a year, 28 days, 300 times: 1,150
    table = found.of_outages()
    assert set(table["measure"]) == set(MEASURES)
    for _measure, rows in table.groupby("measure"):
        assert rows["estimate"].is_monotonic_increasing
        assert ((rows["low"] <= rows["estimate"]) & (rows["estimate"] <= rows["high"])).all()
    years = found.by_year()
    assert len(years) == 300
    assert years["outages"].sum() == len(found.outages)
    assert (years["unprotected_seconds"].sum()) == pytest.approx(
        found.outages["unprotected_seconds"].sum()
    )
    assert found.of_years()["draws"].eq(300).all()
    plain = monte_carlo(ByteLevel(), change, LINK, law, 300, 1)
    assert not plain.grouped
    assert plain.of_outages([0.5])["reason"].eq("").all()


def test_more_load_is_worse_and_more_saving_better() -> None:
    change = mail(14.0)

    def peak(**given: object) -> float:
        inputs = UncertainInputs(**given)
        return (
            monte_carlo(ByteLevel(), change, LINK, HOURS, 5, 1, inputs)
            .outages["spool_peak_bytes"]
            .sum()
        )

    usual = peak()
    assert peak(load_factor=Fixed(1.2)) > usual
    assert peak(growth_per_year=Fixed(0.2), years_ahead=1.0) == pytest.approx(
        peak(load_factor=Fixed(1.2))
    )
    assert peak(saving=Fixed(0.3)) == pytest.approx(usual)
    assert peak(saving=Fixed(0.5)) < usual


def test_what_is_never_caught_up_is_never_a_figure() -> None:
    change = mail(7.0)
    slow = PlannedLink(20e6)
    found = monte_carlo(ByteLevel(), change, slow, HOURS, 5)
    table = found.of_outages([0.5, 0.9])
    assert table["estimate"].tolist() == [None] * 8
    for readable in (found.frame()["rpo_seconds"], found.by_year()["unprotected_seconds"]):
        assert None in readable.tolist()
        assert np.inf not in readable.tolist()
    assert table["reason"].str.contains("not caught up").all()
    assert found.of_years([0.9]).set_index("measure").loc["unprotected_seconds", "estimate"] is None


def test_a_limited_spool_leaves_the_copy_unprotected_for_longer() -> None:
    change = mail(14.0)
    unlimited = monte_carlo(ByteLevel(), change, LINK, HOURS, 5)
    huge = Spool(limit_bytes=1e15, data_set_bytes=1e12)
    same = monte_carlo(ByteLevel(), change, LINK, HOURS, 5, spool=huge)
    assert same.outages.equals(unlimited.outages)
    small = replace(huge, limit_bytes=1e9)
    worse = monte_carlo(ByteLevel(), change, LINK, HOURS, 5, spool=small).outages
    column = "unprotected_seconds"
    over = unlimited.outages["spool_peak_bytes"] > 1e9 + 1
    assert (worse[column][over] > unlimited.outages[column][over]).mean() > 0.9
    assert worse[column][~over].equals(unlimited.outages[column][~over])


@pytest.mark.parametrize("kind", [ChangedBlocks(), NightlyBackup(), NightlyBackup(full=True)])
def test_protections_of_runs_are_drawn_too(kind: ChangedBlocks | NightlyBackup) -> None:
    change = mail(14.0)
    found = monte_carlo(kind, change, LINK, HOURS, 2, 1, UNCERTAIN)
    assert (found.outages["rpo_seconds"] > 0).all()
    with pytest.raises(ValueError, match="has no spool"):
        monte_carlo(kind, change, LINK, HOURS, 2, spool=Spool(limit_bytes=1, data_set_bytes=1))


def test_outages_on_top_of_each_other_are_counted() -> None:
    law = OutageLaw(per_year=20_000.0, length_seconds=Fixed(3_600.0))
    found = monte_carlo(LogShipping(), mail(7.0), LINK, law, 1)
    assert found.overlapping_share > 0.5
    rare = replace(law, per_year=100.0, length_seconds=Fixed(60.0))
    assert monte_carlo(LogShipping(), mail(7.0), LINK, rare, 20).overlapping_share < 0.1
    long = replace(law, per_year=100.0, length_seconds=Fixed(1e9))
    cut = monte_carlo(LogShipping(), mail(7.0), LINK, long, 2)
    assert cut.shortened == len(cut.outages) > 0


def test_the_curve_goes_on_with_its_last_week() -> None:
    change = mail(10.0)
    longer = continued(change, 20 * 86_400.0)
    week = 7 * 1_440
    assert longer.grid.steps == 30 * 1_440
    assert (longer.log_bytes[: change.grid.steps] == change.log_bytes).all()
    assert np.array_equal(longer.log_bytes[3 * 1_440 : -week], longer.log_bytes[3 * 1_440 + week :])
    short = continued(flat([1.0, 2.0, 3.0]), 300.0)
    assert short.log_bytes.tolist() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_distributions_draw_what_they_say() -> None:
    random = np.random.default_rng(1)
    assert set(Empirical((1.0, 5.0)).draw(random, 100)) == {1.0, 5.0}
    assert Fixed(3.0).draw(random, 2).tolist() == [3.0, 3.0]
    drawn = Lognormal(10.0, 2.0).draw(random, 20_000)
    assert np.median(drawn) == pytest.approx(10.0, rel=0.03)
    assert np.quantile(drawn, 0.841) == pytest.approx(20.0, rel=0.05)
    drawn = Triangular(0.0, 1.0, 5.0).draw(random, 20_000)
    assert drawn.mean() == pytest.approx(2.0, rel=0.03)
    assert Triangular(2.0, 2.0, 2.0).draw(random, 2).tolist() == [2.0, 2.0]
    drawn = Uniform(2.0, 4.0).draw(random, 1_000)
    assert 2.0 <= drawn.min() < drawn.max() <= 4.0


def test_what_is_refused() -> None:
    for wrong in (
        lambda: Triangular(2.0, 1.0, 3.0),
        lambda: Uniform(2.0, 1.0),
        lambda: Lognormal(0.0, 2.0),
        lambda: Lognormal(1.0, 0.5),
        lambda: Empirical(()),
        lambda: Fixed(np.nan),
        lambda: OutageLaw(per_year=-1.0, length_seconds=Fixed(1.0)),
        lambda: OutageLaw(per_year=1.0, length_seconds=Fixed(1.0), hour_weights=(1.0,)),
        lambda: OutageLaw(per_year=1.0, length_seconds=Fixed(1.0), hour_weights=(0.0,) * 24),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()
    change = mail(7.0)
    for given in (
        {"years": 0},
        {"law": replace(HOURS, length_seconds=Fixed(-1.0))},
        {"law": replace(HOURS, per_year=9e5), "years": 100_000},
        {"uncertain": UncertainInputs(load_factor=Fixed(0.0))},
        {"uncertain": UncertainInputs(saving=Fixed(1.0))},
    ):
        with pytest.raises(ValueError, match=r"years|negative|more than|positive|saving"):
            monte_carlo(
                **{"years": 2, "law": HOURS, **given},
                protection=ByteLevel(),
                change=change,
                link=LINK,
            )
    none = monte_carlo(ByteLevel(), change, LINK, replace(HOURS, per_year=0.0), 2)
    assert none.of_outages([0.5])["reason"].eq("no draws").all()
    assert none.of_years([0.5])["estimate"].eq(0.0).all()
