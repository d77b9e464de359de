"""Limits of a plan: what is advised holds when it is followed, and a little less does not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd
import pytest

from simulator.plan import plan_limits
from simulator.plan.answers import size_to_buy
from simulator.plan.capacity import PlannedLink
from simulator.plan.organisation import parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, night_rewrite, protections_of
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_limits import DEFRAGMENTATION, LINE_RATE, STREAMS, VOLUMES, validity_of
from simulator.plan.plan_spool_words import advised_bytes
from simulator.plan.plan_units import format_volume
from simulator.plan.sensitivity import with_input
from simulator.plan.waiting_volume import ruled_volume_bytes
from tests.plan import plans

SHORT = ("horizon=1w", "draws=100", 'outages.lengths=["1h"]', "outages.events=[]")
SHIPPED = ("protection.kind=log shipping", "protection.spool=1TB")
"""Log shipping; the log volume counts, where one is given."""


@cache
def case_of(*overrides: str) -> PlanCase:
    """The example's inputs for a week."""
    read = parse_organisation(plans.EXAMPLE, [*SHORT, *overrides])
    own = next(iter(protections_of(read).values()))
    return PlanCase.of(read, change_of(read), link_of(read), own)


def planned(case: PlanCase, line: float, *overrides: str) -> PlanCase:
    """A plan made anew with another line, its windows in proportion."""
    read = parse_organisation(plans.EXAMPLE, [*SHORT, *overrides])
    own = next(iter(protections_of(read).values()))
    return PlanCase.of(read, change_of(read), link_of(read).at_rate(line), own)


def limits(case: PlanCase) -> pd.DataFrame:
    return validity_of(case).set_index("input")


# -- one meaning of a line rate ------------------------------------------------------------------


def test_a_line_rate_takes_its_schedule_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of()
    assert case.curve.link.windows
    faster = 1.5 * case.link.bits_per_second
    moved, anew = with_input(case, LINE_RATE, faster), planned(case, faster)
    assert moved.outputs() == pytest.approx(anew.outputs())

    def base_alone(link: PlannedLink, bits_per_second: float) -> PlannedLink:
        return replace(link, bits_per_second=bits_per_second)

    # The other meaning gives other figures: what would be found if the two were mixed.
    monkeypatch.setattr(PlannedLink, "at_rate", base_alone)
    case.curve.known.clear()
    assert (moved.outputs()["rpo_seconds"] or 0.0) > 1.1 * (anew.outputs()["rpo_seconds"] or 0.0)
    case.curve.known.clear()


# -- what would hold does -----------------------------------------------------------------------


def test_a_line_and_a_volume_together() -> None:
    case = case_of()
    assert {*case.broken()} == {"RPO", "spool"}
    row = limits(case).loc[LINE_RATE]
    rate, size = row["together_at"], row["together_volume_bytes"]
    assert rate is not None and size is not None
    assert not planned(case, rate, f"protection.spool={round(size)}B").broken()
    # A little less of either does not do.
    assert planned(case, rate, f"protection.spool={round(0.99 * size)}B").broken()
    assert planned(case, 0.97 * rate, f"protection.spool={round(size)}B").broken()


def test_a_volume_alone() -> None:
    case = case_of("link.bandwidth=200Mbit/s", "link.schedule=[]", "protection.spool=20GB")
    assert {*case.broken()} == {"spool"}
    found = limits(case)
    size = found.loc[VOLUMES["spool"], "would_hold_at"]
    fast = ("link.bandwidth=200Mbit/s", "link.schedule=[]")
    assert not case_of(*fast, f"protection.spool={round(size)}B").broken()
    assert case_of(*fast, f"protection.spool={round(0.99 * size)}B").broken()
    assert found.loc[LINE_RATE, "together_at"] is None
    # What is large enough is a limit, too.
    enough = limits(case_of(*fast, "protection.spool=200GB")).loc[VOLUMES["spool"]]
    assert enough["holds_until"] == size and "spool" in enough["breaks"]


def test_of_a_volume_that_nobody_gave_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of()
    assert [each.input for each in plan_limits._volume(case, case.broken(), {})] == [
        VOLUMES["spool"]
    ]
    monkeypatch.setattr(case.curve, "volume", replace(case.curve.volume, given_bytes=None))
    assert plan_limits._volume(case, case.broken(), {}) == []


def test_streams_alone() -> None:
    lossy = (
        "link.bandwidth=200Mbit/s",
        "link.schedule=[]",
        "link.rtt=60ms",
        "link.loss=0.5%",
        "protection.spool=500GB",
    )
    case = case_of(*lossy)
    assert case.broken()
    number = limits(case).loc[STREAMS, "would_hold_at"]
    assert number == int(number) > 1
    assert not case_of(*lossy, f"link.streams={int(number)}").broken()
    assert case_of(*lossy, f"link.streams={int(number) - 1}").broken()


def test_figures_as_they_are_spelled_hold() -> None:
    """Rounded to three digits, on the side on which the plan holds."""
    case = case_of("link.bandwidth=200Mbit/s", "link.schedule=[]", "protection.spool=200GB")
    assert not case.broken()
    for name, row in limits(case).iterrows():
        if name in VOLUMES.values() or not row["breaks"]:
            continue
        value = float(row["holds_until"])
        assert name == "outage_hours" or value == float(f"{value:.3g}")
        assert not with_input(case, str(name), value).broken(), name


# -- log shipping --------------------------------------------------------------------------------


def test_log_shipping_speaks_of_logs() -> None:
    case = case_of(*SHIPPED)
    assert case.change_gb_per_day == 0.0
    assert case.logs_gb_per_day == pytest.approx(
        case.curve.change.first(case.curve.steps).log_bytes_per_day / 1e9
    )
    twice = with_input(case, case.amount, 2 * case.logs_gb_per_day)
    assert twice.changed().log_bytes.sum() == pytest.approx(2 * case.changed().log_bytes.sum())
    assert "change_gb_per_day" not in limits(case).index


def test_a_log_volume_is_for_backups_too() -> None:
    plan = plans.plan("protection.kind=log shipping", "link.bandwidth=4Mbit/s", "link.schedule=[]")
    told = " ".join(answer_of(plan))
    rule = format_volume(ruled_volume_bytes(plan.change, plan.protection))
    assert f"the 3 busiest days of logs, as the rule has it, are {rule}, less than that" in told
    assert "the log volume that the planned outage needs depends most on" in told
    assert "logs <= " in told and "change <= " not in told


# -- the margin ----------------------------------------------------------------------------------


def test_the_margin_is_on_the_larger_task() -> None:
    plan = plans.plan()
    outages = plan.spools[0]
    copies = plan.first_copy.assign(spool_peak_bytes=[1.1 * outages.needed_bytes, 1e9])
    larger = replace(plan, first_copy=copies)
    advised = size_to_buy(1.1 * outages.needed_bytes, 0.2)
    assert advised_bytes(larger, outages) == advised >= 1.32 * outages.needed_bytes
    size, need = format_volume(advised), format_volume(1.1 * outages.needed_bytes)
    told = answer_of(larger)[0]
    assert f"at least {size} on its own volume: the first copy over the line needs {need}" in told
    smaller = replace(plan, first_copy=copies.assign(spool_peak_bytes=[1e9, 1e9]))
    assert advised_bytes(smaller, outages) == outages.recommended_bytes


# -- the night's defragmentation ----------------------------------------------------------------


def test_the_limits_name_the_share_of_the_night_s_defragmentation() -> None:
    case = case_of("link.bandwidth=200Mbit/s", "link.schedule=[]", "protection.spool=75GB")
    row = limits(case).loc[DEFRAGMENTATION]
    most = float(row["holds_until"])
    assert row["planned"] == 0.1 < most < 1.0
    assert not with_input(case, DEFRAGMENTATION, most).broken()
    assert "spool" in with_input(case, DEFRAGMENTATION, 1.03 * most).broken()
    told = [each for each in answer_of(plans.sound()) if each.startswith("This holds while")]
    assert "defragmentation <= " in told[0] and " % a night" in told[0]
    # Never shipped, or not told apart: no limit.
    assert DEFRAGMENTATION not in limits(case_of(*SHIPPED)).index
    assert DEFRAGMENTATION not in limits(case_of("change.defragmentation=0%")).index


def test_a_plan_that_a_smaller_defragmentation_would_heal_is_told_so() -> None:
    case = case_of("link.bandwidth=20Mbit/s", "link.schedule=[]", "protection.spool=200GB")
    assert set(case.broken()) == {"RPO"}
    heals = float(limits(case).loc[DEFRAGMENTATION]["would_hold_at"])
    assert 0.0 <= heals < 0.1
    assert not with_input(case, DEFRAGMENTATION, heals).broken()


def test_a_night_takes_its_share_of_the_size_that_is_given() -> None:
    def night(*overrides: str) -> float:
        read = parse_organisation(plans.EXAMPLE, [*plans.QUICK, *overrides])
        change = change_of(read)
        share, written = night_rewrite(read, change)
        assert share == 0.1 and change.stored_bytes is not None
        # A pass of the first night, which growth has hardly touched.
        first = float(written[: round(86_400 / change.grid.step_seconds)].sum())
        assert first == pytest.approx(share * change.stored_bytes, rel=1e-3)
        return float(written.sum())

    twice = 2 * float(change_of(parse_organisation(plans.EXAMPLE, plans.QUICK)).stored_bytes or 0)
    assert night(f"change.database_size={twice:.0f}B") == pytest.approx(2 * night(), rel=1e-6)
