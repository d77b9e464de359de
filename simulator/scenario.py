"""Scenarios: read from TOML, checked, with every error at its file, line and key.

:func:`load_scenario` is the way in.  Whatever the bytes of the file, it returns a
:class:`Scenario` or raises :class:`BadScenario`, which lists *all* that is wrong::

    quickstart.toml:12: link: unknown key 'bandwith': did you mean 'bandwidth'?
    quickstart.toml:14: link.rtt: '60 millis' has the unknown unit 'millis': ...
    --set faults.0.at=3: faults.0.at: '3' has no unit: write for instance 60ms or 1h30m

The models stand in :mod:`simulator.scenario_model`, checks over several keys in
:mod:`simulator.scenario_checks`; the reference page is made by
:mod:`simulator.scenario_reference`.  How the text is read and the words of errors are those of
all our TOML files: :mod:`replicator.toml_document`, :mod:`replicator.toml_errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from replicator.errors import BadInput
from replicator.toml_document import Reading, read_toml_file
from replicator.toml_errors import BadDocument, Grammar, Places, set_place
from replicator.toml_text import KeyPath
from simulator.scenario_checks import contradictions, doubts
from simulator.scenario_faults import (
    BitRot,
    ClockJump,
    DiskFull,
    DiskSlow,
    DiskStall,
    Fault,
    LinkBandwidth,
    LinkCorruption,
    LinkLatency,
    LinkLoss,
    LinkOutage,
    LinkReset,
    Loss,
    LostFlush,
    MisdirectedWrite,
    OrderedFailover,
    Pause,
    PowerLoss,
    ProcessCrash,
    ReplicaRestored,
    SecondSource,
    SlowProcessor,
    SyncFailure,
    WrongTarget,
)
from simulator.scenario_hosts import DISK_PROFILES, Disk, ReplicaHost, SourceHost
from simulator.scenario_model import (
    Failover,
    Link,
    Objectives,
    Protection,
    Scenario,
    ScheduleEntry,
    StoreStream,
    Stream,
    TraceStream,
)
from simulator.scenario_reference import scenario_json_schema, scenario_reference_markdown
from simulator.scenario_toml import OverrideError, apply_override

__all__ = [
    "DISK_PROFILES",
    "BadScenario",
    "BitRot",
    "ClockJump",
    "Disk",
    "DiskFull",
    "DiskSlow",
    "DiskStall",
    "Failover",
    "Fault",
    "Link",
    "LinkBandwidth",
    "LinkCorruption",
    "LinkLatency",
    "LinkLoss",
    "LinkOutage",
    "LinkReset",
    "Loss",
    "LostFlush",
    "MisdirectedWrite",
    "Objectives",
    "OrderedFailover",
    "Pause",
    "PowerLoss",
    "ProcessCrash",
    "Protection",
    "ReplicaHost",
    "ReplicaRestored",
    "Scenario",
    "ScheduleEntry",
    "SecondSource",
    "SlowProcessor",
    "SourceHost",
    "StoreStream",
    "Stream",
    "SyncFailure",
    "TraceStream",
    "WrongTarget",
    "check_scenario",
    "load_scenario",
    "parse_scenario",
    "scenario_json_schema",
    "scenario_reference_markdown",
]


class BadScenario(BadDocument):
    """A scenario that cannot be used; ``errors`` holds one BadInput for each thing wrong."""

    noun = "scenario"
    default_remedy = (
        "Correct each of them; docs/scenarios.md lists all keys with their units and defaults."
    )


GRAMMAR: Final = Grammar(
    Scenario,
    scenario_json_schema,
    BadScenario,
    "scenarios/quickstart.toml",
    {"stream": 1, "candidate": 1, "faults": 2},
)


def load_scenario(
    path: str | Path, overrides: Sequence[str] = (), *, check_files: bool = True
) -> Scenario:
    """Read a scenario file; ``overrides`` are ``key.path=value`` as given to ``--set``.

    ``check_files=False`` accepts a trace file that does not exist (yet).
    """
    path = Path(path)
    return _parse(read_toml_file(path, GRAMMAR), overrides, str(path), path.parent, check_files)[0]


def parse_scenario(
    content: bytes | str,
    overrides: Sequence[str] = (),
    *,
    origin: str = "scenario",
    directory: Path | None = None,
    check_files: bool = True,
) -> Scenario:
    """As :func:`load_scenario`, from memory; ``origin`` names the text in errors."""
    return _parse(content, overrides, origin, directory, check_files)[0]


def check_scenario(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[Scenario, list[BadInput]]:
    """As :func:`load_scenario`, and what is allowed but doubtful, each with its place.

    Reads the beginning of a trace.
    """
    path = Path(path)
    scenario, places = _parse(
        read_toml_file(path, GRAMMAR), overrides, str(path), path.parent, True
    )
    return scenario, [places.error(remark) for remark in doubts(scenario)]


def _parse(
    content: bytes | str,
    overrides: Sequence[str],
    origin: str,
    directory: Path | None,
    check_files: bool,
) -> tuple[Scenario, Places]:
    reading = Reading(content, origin, GRAMMAR)
    overridden: list[tuple[KeyPath, str]] = []
    for argument in overrides:
        try:
            overridden.append((apply_override(reading.document, argument), argument))
        except OverrideError as error:
            raise GRAMMAR.bad(set_place(argument), str(error), error.remedy) from error
    context = {"directory": directory or Path(), "check_files": check_files}
    return reading.validate(Scenario, contradictions, overridden, context)
