"""Faults as tables of plain values, as they stand in a scenario's TOML, and back.

A suite names faults in its own text, where no TOML file is near: whatever is wrong with them
is told in the words of the scenario reader (:mod:`replicator.toml_errors`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import ValidationError

from replicator.errors import BadInput
from replicator.toml_errors import Places, Remark, explain
from replicator.toml_keys import Table
from simulator.plans.plan import GRAMMAR, PLAN_FORMAT, BadPlan, FaultPlan, wrong_with
from simulator.scenario import Fault, Scenario

Document = Mapping[str, Any]
"""One fault as ``{"kind": "link_outage", "at": "2s", "duration": "500ms"}``."""


def _models() -> Iterator[tuple[str, type[Table]]]:
    for model in get_args(get_args(Fault)[0]):
        yield get_args(model.model_fields["kind"].annotation)[0], model


MODELS: Final[Mapping[str, type[Table]]] = dict(_models())
"""By kind: the table of a fault."""
WITHIN: Final = "power_loss_within"
"""The kind, in drawing only, of a power loss that waits for an activity of its host."""
IN_A_CALL: Final = "power_loss_in_a_call"
"""The kind, in drawing only, of a power loss that strikes inside a storage call."""
CRASH_WITHIN: Final = "process_crash_within"
"""The kind, in drawing only, of a process crash that strikes inside a storage call."""
_DRAWN_AS: Final = {WITHIN: "power_loss", IN_A_CALL: "power_loss", CRASH_WITHIN: "process_crash"}
KINDS: Final = (*MODELS, *_DRAWN_AS)


def has_key(kind: str, name: str) -> bool:
    """Whether faults of a kind have a key, by its name in TOML."""
    fields = MODELS[table_kind(kind)].model_fields
    return any((field.alias or attribute) == name for attribute, field in fields.items())


def table_kind(kind: str) -> str:
    """The kind as it stands in a scenario."""
    return _DRAWN_AS.get(kind, kind)


def known_kind(kind: object) -> str:
    """The kind itself; raises BadInput, naming the nearest right one."""
    if isinstance(kind, str) and kind in KINDS:
        return kind
    near = get_close_matches(str(kind)[:100], KINDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(KINDS))}"
    raise BadInput(
        f"there is no kind of fault {kind!r}: {hint}",
        remedy="docs/scenarios.md lists the kinds of faults and their keys.",
    )


def plan_from(
    documents: Sequence[Document], scenario: Scenario, *, seed: int = 1, name: str = "fault plan"
) -> FaultPlan:
    """The plan of these faults, in the order of their times.

    Arguments
    ---------
    seed: names what the faults leave open.

    Raises BadPlan, which lists all that is wrong with them, or with them in this scenario.
    """
    document = {
        "format": PLAN_FORMAT,
        "name": name[:100] or "fault plan",
        "seed": seed,
        "faults": [dict(each) for each in documents],
    }
    remarks: list[Remark] = []
    try:
        plan = FaultPlan.model_validate(document)
    except ValidationError as error:
        places = Places(name, {}, ())
        for details in error.errors(include_url=False):
            remarks += explain(details, document, places, GRAMMAR)
    else:
        faults = tuple(sorted(plan.faults, key=lambda each: each.at_ns))
        plan = plan.model_copy(update={"faults": faults})
        remarks += wrong_with(plan, scenario)
        if not remarks:
            return plan
    places = Places(name, {}, ())
    found = [places.error(remark) for remark in remarks]
    # There is no file to have lines: whoever asked knows the place.
    raise BadPlan([BadInput(each.message, remedy=each.remedy) for each in found])
