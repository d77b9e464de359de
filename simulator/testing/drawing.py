"""Plans drawn for a suite: a pure function of the base seed, the test's name and a number.

Kinds are drawn as a campaign draws them (:mod:`simulator.plans.draw`).  A suite is about
something, so it may say more: only these kinds, with these keys, within this time, beside
these faults that every plan has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from replicator.errors import BadInput
from replicator.toml_writer import toml_document
from replicator.units import parse_duration_ns, spell_duration
from simulator.plans.draw import DEFAULT_WEIGHTS, Draw, PlanSpace, draw_plan, space_of
from simulator.plans.plan import BadPlan, FaultPlan
from simulator.scenario import Scenario
from simulator.testing.fault_documents import (
    Document,
    has_key,
    plan_from,
    table_kind,
)

ATTEMPTS: Final = 50
"""Plans that contradict the scenario are drawn again, so often."""


@dataclass(frozen=True)
class Wishes:
    """What a suite's plans are drawn from.

    Arguments
    ---------
    kinds: one table for each thing that may happen: its kind, and those of its keys that are not
        to be drawn.  Each is as likely as another.  Empty: all kinds of a campaign, each plan
        from a random half of them.
    always: faults that every plan has, whole.
    fewest, most: faults of a plan, those apart.
    begin_ns, end_ns: faults that are drawn begin within; ``end_ns`` None: the scenario's end.
    """

    kinds: tuple[Document, ...] = ()
    always: tuple[Document, ...] = ()
    fewest: int = 1
    most: int = 6
    begin_ns: int = 0
    end_ns: int | None = None


def draw_wished(name: str, scenario: Scenario, wishes: Wishes) -> FaultPlan:
    """The plan of this name: the same one each time, on every machine.

    Raises BadInput when no plan of this kind fits the scenario, with what is wrong with it.
    """
    seed = Draw(name).below(1 << 31)
    refused: BadPlan | None = None
    for attempt in range(ATTEMPTS):
        drawn = _faults(f"{name} attempt {attempt}", scenario, wishes)
        try:
            return plan_from([*wishes.always, *drawn], scenario, seed=seed, name=name)
        except BadPlan as error:
            refused = error
            if not drawn:
                break
    assert refused is not None
    raise BadInput(
        f"no plan fits the scenario: {refused.errors[0].message}", remedy=refused.errors[0].remedy
    )


def _faults(name: str, scenario: Scenario, wishes: Wishes) -> list[dict[str, Any]]:
    space = space_of(scenario)
    end_ns = scenario.duration_ns if wishes.end_ns is None else wishes.end_ns
    space = replace(
        space,
        horizon_ns=max(space.grid_ns, end_ns - wishes.begin_ns),
        fewest=wishes.fewest,
        most=wishes.most,
    )
    if wishes.kinds:
        drawn = _of_kinds(name, space, wishes.kinds)
    else:
        drawn = [toml_document(fault) for fault in draw_plan(name, space).faults]
    if wishes.begin_ns:
        drawn = [each | {"at": _later(each["at"], wishes.begin_ns)} for each in drawn]
    return _while_it_lives(drawn)


def _of_kinds(name: str, space: PlanSpace, kinds: Sequence[Document]) -> list[dict[str, Any]]:
    draw = Draw(name)
    count = space.fewest + draw.below(space.most - space.fewest + 1)
    return [_one(f"{name} fault {at}", space, draw.one(kinds)) for at in range(count)]


def _one(name: str, space: PlanSpace, wish: Document) -> dict[str, Any]:
    """A fault of a kind, with those keys drawn that the wish does not give."""
    kind = wish["kind"]
    if kind in DEFAULT_WEIGHTS:
        only = replace(
            space, weights={kind: 1.0}, fewest=1, most=1, swarm=False, lose_the_source=0.0
        )
        document = toml_document(draw_plan(name, only).faults[0])
    else:
        draw = Draw(name)
        steps = max(1, space.horizon_ns // space.grid_ns)
        document = {"at": spell_duration(draw.below(steps) * space.grid_ns)}
        if has_key(kind, "host"):
            document["host"] = draw.one(("source", "replica"))
        if has_key(kind, "duration"):
            longest = max(1, space.longest_ns // space.grid_ns)
            document["duration"] = spell_duration((1 + draw.below(longest)) * space.grid_ns)
    return document | dict(wish) | {"kind": table_kind(kind)}


def _later(at: str, by_ns: int) -> str:
    return spell_duration(parse_duration_ns(at) + by_ns)


def _while_it_lives(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the faults of a host that is lost by then."""
    lost: dict[str, int] = {}
    kept = []
    for each in sorted(documents, key=lambda d: (parse_duration_ns(d["at"]), d["kind"] == "loss")):
        host, at_ns = str(each.get("host", "")), parse_duration_ns(each["at"])
        if host in lost and at_ns >= lost[host]:
            continue
        if each["kind"] == "loss":
            lost[host] = at_ns
        kept.append(each)
    return kept
