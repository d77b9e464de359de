"""Which objectives hold, what has to be bought, and what is said of it."""

from __future__ import annotations

from simulator.plan.plan_inputs import ARRIVAL
from simulator.plan.plan_objectives import LINE_ITEM, holds, needs_of, outcomes_of, still_holds
from simulator.report.plan_story import breaks_first, headline, need_sentence
from tests.plan import plans


def test_a_plan_that_holds() -> None:
    plan = plans.sound()
    outcomes = outcomes_of(plan)
    assert [each.objective for each in outcomes] == ["catching up", "RPO", "RTO", ARRIVAL, "spool"]
    assert holds(outcomes) and headline(plan) == "the plan holds"
    assert all(each.found is not None and not each.reason for each in outcomes)
    first = breaks_first(plan)
    assert first and all(line.startswith(("It holds until", "In an outage")) for line in first)
    # The nearest first: the outage may be six times as long, the change three times as much.
    order = [line.partition(" is ")[0] for line in first]
    assert order.index("It holds until round-trip time") < order.index("It holds until packet loss")


def test_missed_objectives_say_by_how_much() -> None:
    plan = plans.plan()
    missed = {each.objective: each for each in outcomes_of(plan) if not each.met}
    assert set(missed) == {"RPO", "spool"}
    assert missed["spool"].wanted == 60e9
    assert missed["spool"].found == plan.spools[0].needed_bytes > 60e9
    assert missed["RPO"].wanted == 900.0
    assert missed["RPO"].found == plan.course.lag_at(0.95)
    assert headline(plan) == "the plan does not hold (RPO, spool)"
    told = " ".join(breaks_first(plan))
    assert "The spool of 60 GB is too small for the planned outage" in told
    # "It holds" after that would contradict it.
    assert "Catching up and the first copy hold until" in told and "It holds" not in told


def test_what_the_limits_are_about() -> None:
    plan = plans.plan()
    names = {"RPO", "spool"}
    assert {each.objective for each in outcomes_of(plan) if not each.met} == names
    assert still_holds(plan) == "Catching up and the first copy hold"
    assert still_holds(plans.sound()) == "This holds"
    late = plans.sound().organisation.objectives.model_copy(update={"rto_ns": 1})
    organisation = plans.sound().organisation.model_copy(update={"objectives": late})
    late_plan = plans.replaced(plans.sound(), organisation=organisation)
    assert still_holds(late_plan) == "Catching up, the RPO, the first copy and the spool hold"
    assert still_holds(plans.never()) == ""


def test_needs_follow_the_objective_s_share_of_the_time() -> None:
    plan = plans.plan()
    by_share = dict(zip(plan.rates["share_of_time"], plan.rates["bits_per_second"], strict=True))
    for share, row in (("95%", 0.95), ("96%", 0.99), ("50%", 0.90), ("100%", 1.0)):
        changed = plan.organisation.objectives.model_copy(
            update={"rpo_share": float(share.rstrip("%")) / 100}
        )
        organisation = plan.organisation.model_copy(update={"objectives": changed})
        line = needs_of(plans.replaced(plan, organisation=organisation))[0]
        assert line.needed == by_share[row], share
        assert line.enough == (plan.link.bits_per_second >= by_share[row])
    spool = needs_of(plan)[1]
    assert spool.item == "spool at the source" and spool.enough is False
    assert spool.advised == plan.spools[0].recommended_bytes
    assert any("NOT enough" in each for each in map(need_sentence, needs_of(plan)))


def test_never_has_no_figure() -> None:
    plan = plans.never()
    outcomes = {each.objective: each for each in outcomes_of(plan)}
    for name in ("catching up", "RPO", "spool"):
        assert outcomes[name].found is None and not outcomes[name].met
        assert "never catch up" in outcomes[name].reason
    needs = {each.item: each for each in needs_of(plan)}
    assert needs["spool at the source"].needed is None
    assert needs[LINE_ITEM].needed is not None and needs[LINE_ITEM].enough is False


def test_kinds_without_a_spool_need_none() -> None:
    plan = plans.nightly()
    assert [each.item for each in needs_of(plan)][:2] == [LINE_ITEM, "spool at the replica"]
    assert "spool" not in {each.objective for each in outcomes_of(plan)}
    line = needs_of(plan)[0]
    assert line.needed is None and "nightly backup" in line.reason
