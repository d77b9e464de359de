"""The JSON schema of scenarios, and the reference page made from it.

Both are made from the declarations in :mod:`simulator.scenario_model`, so that they cannot
say anything else than what is checked; a test compares ``docs/scenarios.md`` with
:func:`scenario_reference_markdown`.  To renew the page::

    .venv/bin/python -m simulator.scenario_reference > docs/scenarios.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from simulator.scenario_hosts import DISK_PROFILES
from simulator.scenario_model import Scenario


@cache
def scenario_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a scenario's TOML document; treat it as read-only."""
    schema = Scenario.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **{name: _without_null(part) for name, part in schema.items()},
    }


def _without_null(node: Any) -> Any:
    """TOML has no null: an optional key may be left out, it has no empty value."""
    if isinstance(node, list):
        return [_without_null(part) for part in node]
    if not isinstance(node, dict):
        return node
    result = {name: _without_null(part) for name, part in node.items()}
    rest = [choice for choice in result.get("anyOf", []) if choice != {"type": "null"}]
    if len(rest) < len(result.get("anyOf", [])):
        for dropped in ("anyOf", "title", "default"):
            result.pop(dropped, None)
        result |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return result


_INTRODUCTION: Final = """\
# Scenarios: all keys

A scenario is one TOML file: what writes, how it is protected, on which disks and link, what
goes wrong, and what must be achieved. `simulator check FILE` checks one, `simulator schema`
prints its JSON Schema, `--set link.rtt=90ms` or `--set faults.0.at=3m` changes one key for a
single run. Unknown keys are errors. This page is made from the same declarations that the check
uses (`simulator/scenario_model.py`).

Quantities are text with a unit:

| kind | examples | units |
|---|---|---|
| size | `"2GiB"`, `"64KiB"`, `"1MB"` | B; kB MB GB TB PB (1000); KiB MiB GiB TiB PiB (1024) |
| duration | `"60ms"`, `"1h30m"`, `"2d"` | ns us ms s m h d w |
| rate | `"10Mbit/s"`, `"20MB/s"` | bit/s or B/s with the prefixes of sizes |
| frequency | `"4/s"`, `"120/min"` | /s /min /h /day |
| ratio | `"0.01%"`, `0.3` | % or a plain number from 0 to 1 |
| time of day | `"08:00"`, `"18:30:15"` | 00:00 to 24:00 |
"""

_SECTIONS: Final = (
    ("Top level", "Scenario", "Keys before the first table."),
    ('[stream] with kind = "store"', "StoreStream", ""),
    ('[stream] with kind = "trace"', "TraceStream", ""),
    ("[protection]", "Protection", ""),
    ("[source]", "SourceHost", ""),
    ("[replica]", "ReplicaHost", ""),
    (
        "Disks",
        "Disk",
        "`[source.disk]`, `[source.spool_disk]`, `[replica.disk]`, `[replica.journal_disk]`. "
        "Without a table of its own, spool or journal lies on the host's `disk`.",
    ),
    ("[link]", "Link", ""),
    (
        "Entries of link.schedule",
        "ScheduleEntry",
        'For instance `schedule = [{from = "08:00", to = "18:00", bandwidth = "4Mbit/s"}]`.',
    ),
    ('[[faults]] with kind = "link_outage"', "LinkOutage", ""),
    ('[[faults]] with kind = "link_reset"', "LinkReset", ""),
    ('[[faults]] with kind = "link_bandwidth"', "LinkBandwidth", ""),
    ('[[faults]] with kind = "power_loss"', "PowerLoss", ""),
    ('[[faults]] with kind = "process_crash"', "ProcessCrash", ""),
    ('[[faults]] with kind = "pause"', "Pause", ""),
    ('[[faults]] with kind = "loss"', "Loss", ""),
    ("[failover]", "Failover", ""),
    ("[objectives]", "Objectives", "All may be left out."),
)


def _accepts(node: dict[str, Any]) -> str:
    """What a value may be, for the second column."""
    if "const" in node:
        return f"`{_spelled(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{_spelled(choice)}`" for choice in node["enum"])
    if "examples" in node:
        return f"{node['title']}"
    if node.get("format") == "path":
        return "file name"
    if "$ref" in node or "discriminator" in node:
        return "table"
    low, high = node.get("minimum"), node.get("maximum")
    bounds = ""
    if "exclusiveMinimum" in node:
        bounds = f", more than {node['exclusiveMinimum']:.0f}, at most {high:.0f}"
    elif low is not None and high is not None:
        bounds = f", {low} to {high}" if high < 2**60 else f", from {low}"
    words = {"integer": "whole number", "number": "number", "string": "text", "array": "list"}
    return words[node["type"]] + bounds


def _spelled(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _default(name: str, node: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "**required**"
    if "x-default" in node:
        return str(node["x-default"])
    value = node.get("default")
    if value is None:
        return "none"
    if value in ({}, []):
        return "all defaults" if value == {} else "empty"
    return f"`{_spelled(value)}`"


def _section(title: str, model: dict[str, Any], note: str) -> Iterator[str]:
    yield f"\n## {title}\n"
    summary = " ".join(model.get("description", "").split("\n\n")[0].split())
    yield " ".join(part for part in (summary, note) if part) + "\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, node in model["properties"].items():
        default = _default(name, node, model.get("required", []))
        yield f"| `{name}` | {_accepts(node)} | {default} | {node['description']} |"


def scenario_reference_markdown() -> str:
    """The text of ``docs/scenarios.md``."""
    schema = scenario_json_schema()
    lines = [_INTRODUCTION.rstrip("\n")]
    for title, name, note in _SECTIONS:
        model = schema if name == "Scenario" else schema["$defs"][name]
        lines += _section(title, model, note)
        if name == "Disk":
            lines += ["\n| profile | size | sequential | positioning | sector |"]
            lines += ["|---|---|---|---|---|"]
            for profile, figures in DISK_PROFILES.items():
                columns = ("size", "sequential", "positioning", "sector")
                cells = " | ".join(str(figures[column]) for column in columns)
                lines += [f"| `{profile}` | {cells} |"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(scenario_reference_markdown())
