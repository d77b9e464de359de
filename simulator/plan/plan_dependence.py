"""On which assumption a plan's figure depends most.

The sensitivity (:mod:`.sensitivity`) moves every input.  Some of them the planner has given; others
are defaults without a published source, marked in the reference of the keys: [A] assumed, [M] from
memory, [D] derived from such figures.  Of these the one that moves the figure most is what should
be measured first, and given as its key.  Two figures are bought: the spool (of kinds without one,
the RPO stands for it) and the line; each has an assumption of its own.

What counts as given is what the organisation's file says.  Of mailboxes what is written a day is
always derived from their profile; files of the site are measured.  Messages are measured by no
file: of mailboxes their mean size is to be given, of files how many bytes of them go with a log's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from simulator.plan.carried_amount import CHANGE, LOGS, MESSAGES
from simulator.plan.organisation import Organisation
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_sensitivity import LINE
from simulator.plan.planner import Plan

_KEYS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "defragmentation_share": ("change", "rewritten"),
        "pages_per_log_byte": ("change", "database_bytes_per_log_byte"),
        "log_share_of_writes": ("change", "log_share_of_writes"),
        "link.payload_share": ("link", "payload"),
        "protection.saving": ("protection", "saving"),
    }
)
"""Table and attribute of the organisation that an input of the sensitivity comes from."""
_MARK: Final = re.compile(r"\[([ADM])\]")
_DERIVED: Final = "[D]"


@dataclass(frozen=True)
class Dependence:
    """An assumption, and what it does to a figure.

    Attributes
    ----------
    output: "spool_bytes" or "rpo_seconds", or "line_bits_per_second".
    input: path of the input in the sensitivity.
    key: of the organisation's file that takes a figure of one's own.
    mark: why it is uncertain, as the reference of the keys has it: "[A]", "[M]" or "[D]".
    assumed, low, high: the value of the plan, and those between which it was moved.
    at_low, at_high: the figure there; None for never.
    """

    output: str
    input: str
    key: str
    mark: str
    assumed: float
    low: float
    high: float
    at_low: float | None
    at_high: float | None


def dependences_of(plan: Plan) -> list[Dependence]:
    """For the spool (or RPO), then for the line, the assumption that moves it most; none where the
    figure itself is never."""
    found = (dependence_of(plan), dependence_of(plan, LINE))
    return [each for each in found if each is not None]


def dependence_of(plan: Plan, output: str | None = None) -> Dependence | None:
    """The assumption that moves a figure most; None where none moves it, and where it is never.

    ``output``: of the sensitivity; by default the spool, or the RPO for kinds without a spool.
    """
    if output is None:
        output = "spool_bytes" if plan.spools else "rpo_seconds"
    keys = dict(_assumed(plan.organisation))
    # The largest swing first, and before it what ends in "never".
    for row in frame_rows(plan.tornado):
        if row["output"] != output or row["input"] not in keys or row["base"] is None:
            continue
        refused = row["swing"] is None and not row["reason"].startswith("never")
        if row["swing"] == 0 or refused:
            continue
        key, mark = keys[row["input"]]
        figures = (row["base_input"], row["low_input"], row["high_input"])
        return Dependence(output, row["input"], key, mark, *figures, row["at_low"], row["at_high"])
    return None


def _assumed(organisation: Organisation) -> Iterator[tuple[str, tuple[str, str]]]:
    """Inputs that nobody gave, each with its key and mark."""
    change = organisation.change
    if not change.files:
        yield CHANGE, ("change.files", _DERIVED)
        yield LOGS, ("change.files", _DERIVED)
        if change.average_message_bytes is None:
            yield MESSAGES, ("change.average_message", _DERIVED)
    elif change.message_bytes_per_log_byte is None:
        yield MESSAGES, ("change.message_bytes_per_log_byte", _DERIVED)
    for path, (table, attribute) in _KEYS.items():
        at: Any = getattr(organisation, table)
        field = type(at).model_fields[attribute]
        mark = _MARK.search(field.description or "")
        given = at.model_fields_set | ({attribute} if _follows_a_given(at, attribute) else set())
        if mark is not None and attribute not in given:
            yield path, (f"{table}.{field.alias or attribute}", mark[0])


def _follows_a_given(table: Any, attribute: str) -> bool:
    """Logs and pages are divided by their ratio where nobody gave the share: if the ratio is
    given, so is the share."""
    return (
        attribute == "log_share_of_writes"
        and "database_bytes_per_log_byte" in table.model_fields_set
    )
