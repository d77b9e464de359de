"""The line that an RPO needs with inputs that are moved: as searched from nothing, and in the
tornado."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from simulator.plan.bandwidth import required_rates
from simulator.plan.lag_by_rate import least_rate
from simulator.plan.line_need import TOLERANCE
from simulator.plan.organisation import parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, protections_of
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_dependence import dependence_of, dependences_of
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_sensitivity import LINE, sensitivity_of
from tests.plan import plans

WEEK = (*plans.QUICK, "horizon=1w", "link.schedule=[]", "link.bandwidth=100Mbit/s")


def counted(from_bits: float) -> tuple[Callable[[float], bool], list[float]]:
    tried: list[float] = []

    def keeps(rate: float) -> bool:
        tried.append(rate)
        return rate >= from_bits

    return keeps, tried


@pytest.mark.parametrize("guess", [1.0, 30.0, 37.1, 40.0, 5_000.0])
def test_the_least_rate_is_found_from_any_guess(guess: float) -> None:
    keeps, _ = counted(37.0)
    rate = least_rate(keeps, guess, TOLERANCE)
    assert rate is not None and 37.0 <= rate <= 37.0 * (1 + TOLERANCE)


def test_a_guess_that_is_right_costs_two_rates_and_is_the_answer() -> None:
    keeps, tried = counted(37.0)
    assert least_rate(keeps, 37.1, TOLERANCE) == 37.1 and len(tried) == 2


def test_what_was_tried_brackets_the_rate() -> None:
    keeps, tried = counted(37.0)
    known = (1e13, 38.0, 36.0, 2.0)
    rate = least_rate(keeps, 5_000.0, TOLERANCE, known)
    assert rate is not None and 37.0 <= rate <= 37.0 * (1 + TOLERANCE)
    assert all(36.0 < each < 38.0 for each in tried[len(known) :]) and len(tried) < 10


def test_no_rate_and_any_rate() -> None:
    assert least_rate(lambda _rate: False, 5.0, TOLERANCE) is None
    assert least_rate(lambda _rate: True, 5.0, TOLERANCE) == pytest.approx(1.0, rel=1.0)


def case_of(*overrides: str) -> PlanCase:
    read = parse_organisation(plans.EXAMPLE, [*WEEK, *overrides])
    own = next(iter(protections_of(read).values()))
    return PlanCase.of(read, change_of(read), link_of(read), own)


def swings(case: PlanCase, output: str = LINE) -> dict[str, float | None]:
    table = sensitivity_of(case)
    chosen = table[table["output"] == output]
    return dict(zip(chosen["input"], chosen["swing"], strict=True))


def test_the_night_s_defragmentation_moves_the_line_as_its_key_does() -> None:
    table = sensitivity_of(case_of())
    [row] = table[(table["output"] == LINE) & (table["input"] == "defragmentation_share")].to_dict(
        "records"
    )
    for share, found in ((0.0, row["at_low"]), (0.2, row["at_high"])):
        read = parse_organisation(plans.EXAMPLE, [*WEEK, f"change.defragmentation={share}"])
        own, link = next(iter(protections_of(read).values())), link_of(read)
        [rate] = required_rates(own, change_of(read), link, 900.0, (0.95,), margin_seconds=60.0)
        assert rate.bits_per_second is not None
        assert found == pytest.approx(rate.bits_per_second, rel=2 * TOLERANCE)
    assert row["at_low"] < row["base"] < row["at_high"]


def test_what_a_kind_does_not_carry_does_not_move_its_line() -> None:
    found = swings(case_of("protection.kind=log shipping"))
    assert found["defragmentation_share"] == 0
    assert found["protection.saving"] != 0


def test_the_line_s_own_rate_and_the_outage_have_no_part_in_it() -> None:
    found = swings(case_of())
    assert found["link.bits_per_second"] == 0 and found["outage_hours"] == 0


def test_a_kind_that_no_line_helps_has_no_line_in_its_tornado() -> None:
    case = case_of("protection.kind=changed blocks", "protection.interval=6h")
    assert LINE not in set(sensitivity_of(case)["output"])


@pytest.mark.parametrize(("kind", "matters"), [("log shipping", True), ("byte level", False)])
def test_the_share_of_logs_is_an_input_where_they_were_divided(kind: str, matters: bool) -> None:
    read = parse_organisation(plans.EXAMPLE, [*WEEK, f"protection.kind={kind}"])
    written = change_of(read)
    logs = 0.3 * written.written_bytes
    divided = replace(
        written,
        log_bytes=logs,
        database_bytes=written.written_bytes - logs,
        divided_log_share=0.3,
    )
    own = next(iter(protections_of(read).values()))
    case = PlanCase.of(read, divided, link_of(read), own)
    assert case_of().log_share_of_writes == 0
    table = sensitivity_of(case)
    of_share = table[(table["input"] == "log_share_of_writes") & (table["output"] == LINE)]
    [row] = of_share.to_dict("records")
    assert (row["low_input"], row["high_input"]) == pytest.approx((1 / 3.6, 0.4))
    assert (row["swing"] > 0) is matters
    more = replace(case, log_share_of_writes=0.4).changed()
    assert more.written_bytes == pytest.approx(case.changed().written_bytes)
    assert more.log_bytes == pytest.approx(case.changed().log_bytes * 4 / 3)
    assert np.all(more.database_bytes >= 0)


def test_the_answer_names_what_the_line_depends_on_even_where_it_never_catches_up() -> None:
    plan = plans.never()
    assert dependence_of(plan) is None
    [found] = dependences_of(plan)
    assert (found.output, found.key) == (LINE, "change.defragmentation")
    told = " ".join(answer_of(plan))
    assert "the line that the RPO needs depends most on the defragmentation of a night" in told
    assert "at 0 % it is" in told and "Measure it, and give it as change.defragmentation." in told
