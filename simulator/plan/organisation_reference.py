"""The reference page of an organisation's keys, made from their declarations.

So it cannot say anything else than what is checked; a test compares ``docs/planning-keys.md`` with
:func:`organisation_reference_markdown`.  To renew the page::

    .venv/bin/python -m simulator.plan.organisation_reference > docs/planning-keys.md
"""

from __future__ import annotations

import sys
from typing import Any, Final

from replicator.toml_reference import QUANTITIES, reference_section
from simulator.plan.organisation import organisation_json_schema

_INTRODUCTION: Final = f"""\
# Capacity plans: all keys

An organisation is one TOML file: what is written, the line, how the stores are protected, which
outages are feared, and what is promised. `simulator plan FILE` makes its plan, `--set
link.bandwidth=50Mbit/s` changes one key for a single plan. Unknown keys are errors. Figures with
a mark have no published source: [A] is assumed, [M] from memory, [V] a vendor's rule, [D] derived
from such figures; put your own in their place. This page is made from the same declarations that
the check uses (`simulator/plan/organisation.py`, `organisation_change.py`).

{QUANTITIES}| rate | `"10Mbit/s"`, `"20MB/s"` | bit/s or B/s with the prefixes of sizes |
| ratio | `"15%"`, `0.15` | % or a plain number from 0 to 1 |
| time of day | `"08:00"`, `"18:30:15"` | 00:00 to 24:00 |
"""
_SECTIONS: Final = (
    ("Top level", "Organisation", "Keys before the first table."),
    ("[[mailboxes]]", "Mailboxes", ""),
    ("[change]", "Change", ""),
    ("[link]", "Link", ""),
    (
        "Entries of link.schedule",
        "RateEntry",
        'For instance `schedule = [{from = "08:00", to = "18:00", bandwidth = "4Mbit/s"}]`, or '
        '`taken = "6Mbit/s"` in place of the bandwidth.',
    ),
    ("[protection]", "Protection", ""),
    ("[outages]", "Outages", ""),
    ("[[outages.events]]", "OutageEvent", ""),
    ("[first_copy]", "FirstCopy", ""),
    ("[failover]", "Recovery", ""),
    ("[objectives]", "Objectives", ""),
)


def organisation_reference_markdown() -> str:
    """The text of ``docs/planning-keys.md``."""
    schema = organisation_json_schema()
    lines = [_INTRODUCTION.rstrip("\n")]
    for title, name, note in _SECTIONS:
        model = schema if name == "Organisation" else schema["$defs"][name]
        lines += reference_section(title, _explained(model, schema["$defs"]), note)
    return "\n".join(lines) + "\n"


def _explained(model: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """The model with a meaning for each key: pydantic leaves it out where it is the table's own."""
    keys = {}
    for key, node in model["properties"].items():
        table = tables.get(node.get("$ref", "").rpartition("/")[2], {})
        keys[key] = {"description": table.get("description", ""), **node}
    return {**model, "properties": keys}


if __name__ == "__main__":
    sys.stdout.write(organisation_reference_markdown())
