"""Scenarios: read from TOML, checked, with every error at its file, line and key.

:func:`load_scenario` is the way in.  Whatever the bytes of the file, it returns a
:class:`Scenario` or raises :class:`BadScenario`, which lists *all* that is wrong::

    quickstart.toml:12: link: unknown key 'bandwith': did you mean 'bandwidth'?
    quickstart.toml:14: link.rtt: '60 millis' has the unknown unit 'millis': ...
    --set faults.0.at=3: faults.0.at: '3' has no unit: write for instance 60ms or 1h30m

The models stand in :mod:`simulator.scenario_model`, checks over several keys in
:mod:`simulator.scenario_checks`, the words of errors in :mod:`simulator.scenario_errors`; the
reference page is made by :mod:`simulator.scenario_reference`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from replicator.errors import BadInput
from simulator.scenario_checks import Remark, contradictions, doubts
from simulator.scenario_errors import BadScenario, Places, bad, explain, set_place
from simulator.scenario_hosts import DISK_PROFILES, Disk, ReplicaHost, SourceHost
from simulator.scenario_model import (
    Failover,
    Fault,
    Link,
    LinkBandwidth,
    LinkOutage,
    LinkReset,
    Loss,
    Objectives,
    Pause,
    PowerLoss,
    ProcessCrash,
    Protection,
    Scenario,
    ScheduleEntry,
    StoreStream,
    Stream,
    TraceStream,
)
from simulator.scenario_reference import scenario_json_schema, scenario_reference_markdown
from simulator.scenario_toml import (
    KeyPath,
    OverrideError,
    apply_override,
    locate,
)

__all__ = [
    "DISK_PROFILES",
    "BadScenario",
    "Disk",
    "Failover",
    "Fault",
    "Link",
    "LinkBandwidth",
    "LinkOutage",
    "LinkReset",
    "Loss",
    "Objectives",
    "Pause",
    "PowerLoss",
    "ProcessCrash",
    "Protection",
    "ReplicaHost",
    "Scenario",
    "ScheduleEntry",
    "SourceHost",
    "StoreStream",
    "Stream",
    "TraceStream",
    "check_scenario",
    "load_scenario",
    "parse_scenario",
    "scenario_json_schema",
    "scenario_reference_markdown",
]

LARGEST_FILE_BYTES: Final = 1 << 20
"""No scenario is that long: refuse a trace or an image given by mistake."""
_NAME_A_SCENARIO: Final = "Name a scenario file, for instance scenarios/quickstart.toml."
_TOML_REMEDY: Final = (
    "Correct the line: text stands in quotes, one key = value a line, each key once in its table."
)


def load_scenario(
    path: str | Path, overrides: Sequence[str] = (), *, check_files: bool = True
) -> Scenario:
    """Read a scenario file; ``overrides`` are ``key.path=value`` as given to ``--set``.

    ``check_files=False`` accepts a trace file that does not exist (yet).
    """
    path = Path(path)
    return _parse(_read(path), overrides, str(path), path.parent, check_files)[0]


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
    scenario, places = _parse(_read(path), overrides, str(path), path.parent, True)
    return scenario, [places.error(remark) for remark in doubts(scenario)]


def _parse(
    content: bytes | str,
    overrides: Sequence[str],
    origin: str,
    directory: Path | None,
    check_files: bool,
) -> tuple[Scenario, Places]:
    text = _decode(content, origin)
    document = _parse_toml(text, origin)
    overridden: list[tuple[KeyPath, str]] = []
    for argument in overrides:
        try:
            overridden.append((apply_override(document, argument), argument))
        except OverrideError as error:
            raise bad(set_place(argument), str(error), error.remedy) from error
    places = Places(origin, locate(text), overridden)
    remarks = [
        Remark((path,), "is no 64-bit number", "Write a smaller number.")
        for path in _huge_numbers(document)
    ]
    if not remarks:
        context = {"directory": directory or Path(), "check_files": check_files}
        try:
            scenario = Scenario.model_validate(document, context=context)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                remarks += explain(details, document, places)
        else:
            remarks += contradictions(scenario)
            if not remarks:
                return scenario, places
    found = [places.error(remark) for remark in remarks]
    raise BadScenario(sorted(found, key=lambda each: (each.line or 1 << 30, each.message)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise bad(str(path), f"cannot be read: {reason}", _NAME_A_SCENARIO) from error


def _decode(content: bytes | str, origin: str) -> str:
    if len(content) > LARGEST_FILE_BYTES:
        raise bad(origin, "is larger than 1 MiB: this is no scenario", _NAME_A_SCENARIO)
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        message = f"column {column}: not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise bad(origin, message, "Save the scenario as UTF-8 text.", line) from error


def _parse_toml(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise bad(origin, "not TOML: nested too deeply", _NAME_A_SCENARIO, 1) from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        message = str(error)
        place = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)$", message)
        if place is not None:
            message = f"column {place[2]}: not TOML: {message[: place.start()]}"
            raise bad(origin, message, _TOML_REMEDY, int(place[1])) from error
        lines = text.splitlines() or [""]
        message = message.removesuffix(" (at end of document)")
        at_end = f"column {len(lines[-1]) + 1}: not TOML: {message} (the text ends here)"
        raise bad(origin, at_end, _TOML_REMEDY, len(lines)) from error


def _huge_numbers(document: dict[str, Any]) -> Iterator[KeyPath]:
    """Whole numbers beyond 64 bits, which TOML does not know and messages could not show."""
    waiting: list[tuple[KeyPath, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), inner) for index, inner in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            yield path
