"""The JSON schema of scenarios, and the reference page made from it.

Both are made from the declarations in :mod:`simulator.scenario_model`, so that they cannot
say anything else than what is checked; a test compares ``docs/scenarios.md`` with
:func:`scenario_reference_markdown`.  To renew the page::

    .venv/bin/python -m simulator.scenario_reference > docs/scenarios.md
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, Final

from replicator.toml_reference import QUANTITIES, reference_section, toml_json_schema
from simulator.scenario_hosts import DISK_PROFILES
from simulator.scenario_model import Scenario


@cache
def scenario_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a scenario's TOML document; treat it as read-only."""
    return toml_json_schema(Scenario)


_INTRODUCTION: Final = f"""\
# Scenarios: all keys

A scenario is one TOML file: what writes, how it is protected, on which disks and link, what
goes wrong, and what must be achieved. `simulator check FILE` checks one, `simulator schema`
prints its JSON Schema, `--set link.rtt=90ms` or `--set faults.0.at=3m` changes one key for a
single run. Unknown keys are errors. This page is made from the same declarations that the check
uses (`simulator/scenario_model.py`).

{QUANTITIES}| rate | `"10Mbit/s"`, `"20MB/s"` | bit/s or B/s with the prefixes of sizes |
| frequency | `"4/s"`, `"120/min"` | /s /min /h /day |
| ratio | `"0.01%"`, `0.3` | % or a plain number from 0 to 1 |
| time of day | `"08:00"`, `"18:30:15"` | 00:00 to 24:00 |
"""

_CANDIDATE: Final = (
    "In place of the reference replicator; then of `[protection]` only `heartbeat` counts, for "
    "catching up. See [candidates.md](candidates.md)."
)
_PROTECTION: Final = (
    'With `kind = "log shipping"` its other keys mean nothing, but those of the table below. See '
    "[log-shipping.md](log-shipping.md)."
)
_SECTIONS: Final = (
    ("Top level", "Scenario", "Keys before the first table."),
    ('[stream] with kind = "store"', "StoreStream", ""),
    ('[stream] with kind = "trace"', "TraceStream", ""),
    ("[protection]", "Protection", _PROTECTION),
    ("[protection.log_shipping]", "LogShipping", ""),
    ('[candidate] with kind = "port"', "PortCandidate", _CANDIDATE),
    ('[candidate] with kind = "program"', "ProgramCandidate", _CANDIDATE),
    ('[candidate] with kind = "command"', "CommandCandidate", _CANDIDATE),
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
    ('[[faults]] with kind = "link_latency"', "LinkLatency", ""),
    ('[[faults]] with kind = "link_loss"', "LinkLoss", ""),
    ('[[faults]] with kind = "link_corruption"', "LinkCorruption", ""),
    ('[[faults]] with kind = "power_loss"', "PowerLoss", ""),
    ('[[faults]] with kind = "process_crash"', "ProcessCrash", ""),
    ('[[faults]] with kind = "pause"', "Pause", ""),
    ('[[faults]] with kind = "loss"', "Loss", ""),
    ('[[faults]] with kind = "sync_failure"', "SyncFailure", ""),
    ('[[faults]] with kind = "slow_processor"', "SlowProcessor", ""),
    ('[[faults]] with kind = "clock_jump"', "ClockJump", ""),
    ('[[faults]] with kind = "disk_full"', "DiskFull", ""),
    ('[[faults]] with kind = "disk_slow"', "DiskSlow", ""),
    ('[[faults]] with kind = "disk_stall"', "DiskStall", ""),
    ('[[faults]] with kind = "lost_flush"', "LostFlush", ""),
    ('[[faults]] with kind = "bit_rot"', "BitRot", ""),
    ('[[faults]] with kind = "misdirected_write"', "MisdirectedWrite", ""),
    ('[[faults]] with kind = "replica_restored"', "ReplicaRestored", ""),
    ('[[faults]] with kind = "second_source"', "SecondSource", ""),
    ('[[faults]] with kind = "wrong_target"', "WrongTarget", ""),
    (
        '[[faults]] with kind = "failover"',
        "OrderedFailover",
        "The source goes on until it hears of it: see [split brain](invariants.md#split-brain). "
        "Of `[failover]` only `mount_per_log` and `redirect` count.",
    ),
    ("[failover]", "Failover", ""),
    ("[objectives]", "Objectives", "All may be left out."),
)


def scenario_reference_markdown() -> str:
    """The text of ``docs/scenarios.md``."""
    schema = scenario_json_schema()
    lines = [_INTRODUCTION.rstrip("\n")]
    for title, name, note in _SECTIONS:
        model = schema if name == "Scenario" else schema["$defs"][name]
        lines += reference_section(title, model, note)
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
