"""Plans at their edges: long and short outages, the last step, shares near all, nothing to be told.

Each case once was a wrong figure, a false sentence or an internal error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.plan import plan_inputs, plan_limits
from simulator.plan.bandwidth import required_rates
from simulator.plan.capacity import PlannedLink, RateWindow, without
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, TimeGrid, whole_steps
from simulator.plan.horizon import AFTER_SECONDS, after_seconds
from simulator.plan.link_choices import link_choices
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation import BadOrganisation, Organisation, parse_organisation
from simulator.plan.organisation_curves import change_of, grid_of, link_of, protections_of
from simulator.plan.outage_starts import worst_starts
from simulator.plan.outages import OutageModel, steps_of
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_assumed import growth_remarks
from simulator.plan.plan_copy_words import copy_sentences
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_limit_words import other_kinds
from simulator.plan.plan_limits import OUTAGE, validity_of
from simulator.plan.plan_line_words import largest_lag_words, of_the_time
from simulator.plan.plan_objectives import outcomes_of
from simulator.plan.plan_outage_words import breaks_of
from simulator.plan.plan_parts import drawn_outages
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_units import format_share
from simulator.plan.protection import ByteLevel, LogShipping
from simulator.plan.replica_waits import ReplicaFigures, replica_waits
from simulator.plan.run_outages import outages_of
from simulator.plan.violations import SHARES_OF_TIME, shares_of_time
from simulator.plan.volumes import NOT_APPLIED, log_volume, replica_spool, spool_lasts, spool_size
from simulator.report.plan_figures import PICTURES
from simulator.report.plan_page import _rpo_tile
from simulator.report.plan_tables import plan_tables
from tests.plan import plans
from tests.plan.curves import flat, mail

PLAIN = ByteLevel(saving=0.0, overhead=0.0)
LONG = ("horizon=64d", "outages.planned=30d", 'outages.lengths=["1h"]', "outages.events=[]")


def organised(*overrides: str) -> Organisation:
    return parse_organisation(plans.EXAMPLE, ["outages.events=[]", *overrides])


def case_of(*overrides: str) -> PlanCase:
    read = organised(*overrides)
    [own, *_] = protections_of(read).values()
    return PlanCase.of(read, change_of(read), link_of(read), own)


# -- long outages ----------------------------------------------------------------------------------


def test_an_outage_of_a_month_has_time_to_catch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert after_seconds(organised("outages.planned=8h")) == AFTER_SECONDS
    assert after_seconds(organised(*LONG)) == 60 * DAY_SECONDS
    assert case_of(*LONG, "link.bandwidth=200Mbit/s").outputs()["catch_up_seconds"] is not None
    # Where the plan is looked at no farther than four weeks behind its end, it seems never to.
    monkeypatch.setattr(plan_inputs, "after_seconds", lambda _: AFTER_SECONDS)
    assert case_of(*LONG, "link.bandwidth=200Mbit/s").outputs()["catch_up_seconds"] is None


def test_no_outage_that_is_looked_for_is_shorter_than_planned_or_too_long_to_catch_up() -> None:
    for overrides in (LONG, ("horizon=6w", "outages.planned=3w"), ("outages.planned=8h",)):
        case = case_of(*overrides)
        longest = plan_limits._longest_hours(case)
        assert longest >= case.outage_hours
        assert 2 * longest * HOUR_SECONDS <= case.curve.after_seconds


def test_of_a_fast_line_and_a_large_volume_no_outage_seems_too_long() -> None:
    case = case_of(
        "horizon=4w",
        "outages.planned=4d",
        "link.bandwidth=1Gbit/s",
        "link.streams=100",
        "link.schedule=[]",
        "protection.spool=90TB",
    )
    [row] = [each for each in frame_rows(validity_of(case)) if each["input"] == OUTAGE]
    assert row["direction"] == "up" and row["breaks"] == ""
    assert row["holds_until"] >= case.outage_hours


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("outages.planned", "400d", "a line that is down for 400d is no line"),
        ("objectives.rpo", "1ms", "knows nothing of a lag below 1s"),
        ("link.payload", "0.5%", "headers leave no room for data"),
    ],
)
def test_what_no_plan_can_tell_is_refused(key: str, value: str, told: str) -> None:
    with pytest.raises(BadOrganisation) as refused:
        organised("horizon=520w", f"{key}={value}")
    assert told in str(refused.value) and key in str(refused.value)


# -- steps -----------------------------------------------------------------------------------------


def test_a_plan_covers_its_horizon_to_the_last_second() -> None:
    """An outage in the last half minute once fell behind the end of the grid."""
    read = parse_organisation(
        plans.EXAMPLE,
        ["horizon=86429s", 'outages.events=[{at=2007-01-02T00:00:10, length="15s"}]'],
    )
    grid = grid_of(read)
    assert grid.span_seconds >= read.horizon_ns / 1e9
    left = without(np.ones(grid.steps), grid, [(86_410.0, 15.0)])
    assert left[-1] == pytest.approx(0.75)
    assert TimeGrid.of_days(7.0).steps == 7 * 1_440  # and no step more
    assert whole_steps(0.1 + 0.2, 0.1) == 3


def test_no_second_of_an_outage_is_left_out() -> None:
    """67 minutes in steps of 15 were an hour, and the spool too small by the rest."""
    grid = TimeGrid(96, step_seconds=900.0)
    begin, end = steps_of(grid, 900.0, 67 * 60.0)
    assert (end - begin).tolist() == [5]
    model = OutageModel(PLAIN.queue(flat([9.0] * 96, 900.0)), np.full(96, 100.0))
    size = spool_size(model, 67 * 60.0)
    assert size.needed_bytes >= 9.0 * 67 / 15
    assert size.at_return_bytes == size.needed_bytes
    assert model.effects(900.0, 67 * 60.0).lag_at_return_seconds[0] >= 67 * 60.0
    starts, _hours = worst_starts(model, 67 * 60.0)
    assert starts.max() + 75 * 60.0 <= grid.span_seconds
    # Even the shortest one is seen.
    assert spool_size(model, 20.0).needed_bytes == 9.0


def test_of_weeks_that_are_alike_the_first_is_the_worst() -> None:
    """Sums of weeks differ by less than a byte, and the date of an outage is no matter of that."""
    change = mail(35.0)
    model = OutageModel(ByteLevel().queue(change), PlannedLink(100e6).capacity_bytes(change.grid))
    for seconds in (HOUR_SECONDS, 8 * HOUR_SECONDS):
        size = spool_size(model, seconds, within_seconds=28 * DAY_SECONDS)
        assert size.worst_begins_at < "2007-01-08"


def test_a_spool_lasts_no_longer_than_it_takes_to_fill_it() -> None:
    """The step in which it is full once counted in full."""
    model = OutageModel(PLAIN.queue(flat([6.0] * 48, 3_600.0)), np.full(48, 100.0))
    lasts = spool_lasts(model, 15.0)["shortest_seconds"]
    assert lasts.tolist() == [2.5 * 3_600.0] * 24
    # An outage of that length needs just that spool.
    for seconds, fits in ((2 * 3_600.0, True), (3 * 3_600.0, False)):
        assert (spool_size(model, seconds).needed_bytes <= 15.0) == fits


def test_what_waits_at_the_replica_begins_within_the_plan() -> None:
    """The curve goes on behind the plan for catching up; no check of a copy begins there."""
    plan = mail(3.0)
    longer, within = continued(plan, 28 * DAY_SECONDS), plan.grid.span_seconds
    capacity = PlannedLink(100e6).capacity_bytes(longer.grid)
    last = plan.grid.time_at(plan.grid.steps).isoformat()
    figures = ReplicaFigures(apply_bytes_per_second=20e6, replay_seconds_per_log=0.5)
    for kind in (ByteLevel(), LogShipping()):
        model = outages_of(kind, longer, capacity)
        table = replica_waits(kind, longer, capacity, model, figures, 3_600.0, 3_600.0, within)
        assert all(each is not None and each < last for each in table["begins_at"])


def test_a_replica_that_is_done_after_the_plan_is_not_said_to_be_never_done() -> None:
    """Of weeks that are alike, rounding chose the last one, which the end of the curve cuts off."""
    plan = mail(7.25)
    longer = continued(plan, 28 * DAY_SECONDS)
    within = replica_spool(longer, {}, 10e6, within_seconds=plan.grid.span_seconds)
    assert within["reason"].tolist() == [""] and within["spool_bytes"][0] > 0
    # The safeguard switched off: no size would be enough.
    assert replica_spool(longer, {}, 10e6)["reason"].tolist() == [NOT_APPLIED]


def test_logs_that_take_no_time_to_replay_never_wait_for_it() -> None:
    change = mail(2.0)
    capacity = PlannedLink(100e6).capacity_bytes(change.grid)
    kind = LogShipping()
    figures = ReplicaFigures(apply_bytes_per_second=50e6, replay_seconds_per_log=0.0)
    model = outages_of(kind, change, capacity)
    table = replica_waits(kind, change, capacity, model, figures, 0.0, 3_600.0, DAY_SECONDS)
    waits = table.set_index("cause")["spool_bytes"]
    assert waits["slow replay"] == 0.0 and waits["check of the copy"] > 0


# -- figures beside each other ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (1.0, "100 %"),
        (0.9999, "99.99 %"),
        (0.99951, "99.951 %"),
        (0.99999999, "99.9999 %"),
        (0.9994, "99.9 %"),
        (0.95, "95 %"),
        (1.236, "124 %"),
        (1.2e-7, "0.000012 %"),
        (0.0, "0 %"),
    ],
)
def test_a_share_that_is_not_all_is_not_said_to_be_all(share: float, told: str) -> None:
    assert format_share(share) == told


def test_an_rpo_for_nearly_all_of_the_time_says_so() -> None:
    plan = plans.sound()
    objectives = plan.organisation.objectives.model_copy(update={"rpo_share": 0.9999})
    nearly = plan.organisation.model_copy(update={"objectives": objectives})
    assert of_the_time(replace(plan, organisation=nearly)) == "for 99.99 % of the time"


def test_the_share_of_the_time_that_is_promised_has_a_line_rate() -> None:
    assert shares_of_time(0.95) == SHARES_OF_TIME
    assert shares_of_time(0.97) == (1.0, 0.99, 0.97, 0.95, 0.90)
    plan = plans.plan("objectives.rpo_share=97%", "horizon=3d")
    rates = plan.rates.set_index("share_of_time")["bits_per_second"]
    assert rates[0.95] <= rates[0.97] <= rates[0.99]
    assert "That RPO alone needs a line of at least" in " ".join(answer_of(plan))
    # What it depends on is told of the same rate.
    of_line = plan.tornado[plan.tornado["output"] == "line_bits_per_second"]
    assert of_line["base"].tolist() == pytest.approx([rates[0.97]] * len(of_line), rel=0.02)
    assert set(plan.lags["share_of_time"]) == {1.0, 0.99, 0.97, 0.95, 0.90}


def test_shipped_logs_wait_for_the_round_trips_of_the_line_that_is_chosen() -> None:
    """They once waited for those of the planned line, whichever was compared."""
    shipped = ("protection.kind=log shipping", "change.log_sets=1", "link.rtt=1ms")
    plan = plans.plan(*shipped, "horizon=3d")
    near, far = plan.link, replace(plan.link, rtt_seconds=0.5, tcp_window_bytes=1 << 30)
    found = link_choices(plan, {"near": near, "far": far}).set_index("name")
    assert found.loc["near", "mean_utilisation"] == pytest.approx(plan.use.mean_utilisation)
    # A log of a MiB at 20 Mbit/s takes 0.3 s; six round trips of half a second take 3.
    assert found.loc["far", "mean_utilisation"] > 4 * found.loc["near", "mean_utilisation"]


def test_the_picture_of_the_week_and_the_answer_tell_one_lag() -> None:
    plan = plans.sound()
    [week] = [each for each in PICTURES if each.key == "week"]
    assert largest_lag_words(plan) in week.sentence(plan)
    assert largest_lag_words(plan) in " ".join(answer_of(plan))


def test_no_copy_is_said_to_lose_nothing_at_all() -> None:
    """Below a second nothing is known of a lag: sentences and tiles tell one of a second."""
    kind = ("protection.kind=changed blocks", "link.schedule=[]", "horizon=3d")
    plan = plans.plan(*kind, "link.bandwidth=200Mbit/s")
    assert plan.courses["object level"].lag_at(0.95) == 0.0
    told = other_kinds(plan)
    assert "object level (RPO 1 s for 95 % of the time" in told and "RPO 0 s" not in told
    sound = plans.sound()
    [outcome] = [each for each in outcomes_of(sound) if each.objective == "RPO"]
    tile = _rpo_tile(sound, replace(outcome, found=0.0))
    assert tile.value == "1 s"
    at_once = replace(plan, courses={plan.protection.name: plan.courses["object level"]})
    [table] = [each for each in plan_tables(at_once) if each.key == "objectives"]
    told = dict(zip((row["objective"] for row in table.rows), table.spelled(), strict=True))
    assert "1 s" in told["Recovery point (RPO)"] and "0 s" not in told["Recovery point (RPO)"]


def test_a_rate_that_no_line_has_is_not_blamed_on_a_schedule() -> None:
    change = flat([1e15] * 20)
    for windows in ((), (RateWindow(0.0, HOUR_SECONDS, 5e5),)):
        link = PlannedLink(1e6, windows=windows)
        [found] = required_rates(PLAIN, change, link, 60.0, (1.0,))
        assert found.bits_per_second is None
        assert ("windows" in found.reason) == bool(windows)
        assert ("more than 10 Tbit/s would be needed" in found.reason) == (not windows)


# -- nothing to be told ----------------------------------------------------------------------------


def test_without_outages_to_be_expected_none_is_drawn() -> None:
    read = organised("outages.per_year=0", "horizon=1w", "draws=100")
    [own, *_] = protections_of(read).values()
    drawn = drawn_outages(read, own, change_of(read), link_of(read))
    assert len(drawn.outages) == 0
    plan = replace(plans.plan(), drawn=drawn)
    assert "drawn" not in {table.key for table in plan_tables(plan)}
    assert "drawn" in {table.key for table in plan_tables(plans.plan())}


def test_a_volume_for_logs_that_nobody_writes_is_not_the_first_to_break() -> None:
    change = replace(flat([5.0] * 30), log_bytes=np.zeros(30), database_bytes=np.full(30, 5.0))
    found = log_volume(change, 0.0)
    assert found.shortest_days is None and found.reason == "no logs are written"
    plan = replace(plans.plan(), log_volume=found)
    assert not any("log volume" in each.what for each in breaks_of(plan))


# -- sentences -------------------------------------------------------------------------------------


def _bound(plan: Any, by: str) -> Any:
    return replace(plan, first_copy=plan.first_copy.assign(bound_by=by))


def test_what_bounds_a_first_copy_is_told_in_the_singular() -> None:
    told = " ".join(copy_sentences(_bound(plans.sound(), "disk")))
    assert "a disk of 50 MB a second bounds it (first_copy.disk_rate)" in told


@pytest.mark.parametrize(("growth", "little"), [("15%", True), ("1000%", False), ("-50%", False)])
def test_growth_that_counts_is_not_said_to_hardly_count(growth: str, little: bool) -> None:
    [told, _size] = growth_remarks(organised("horizon=8w", f"change.growth={growth}"))
    assert ("hardly counts" in told) == little
