"""Scenarios: read from TOML, checked, with every error at its file, line and key.

:func:`load_scenario` is the way in.  Whatever the bytes of the file, it returns a
:class:`Scenario` or raises :class:`BadScenario`, which lists *all* that is wrong::

    quickstart.toml:12: link: unknown key 'bandwith': did you mean 'bandwidth'?
    quickstart.toml:14: link.rtt: '60 millis' has the unknown unit 'millis': ...
    --set faults.0.at=3: faults.0.at: '3' has no unit: write for instance 60ms or 1h30m

The models stand in :mod:`simulator.scenario_model`, the reference page is made by
:mod:`simulator.scenario_reference`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from replicator.errors import BadInput
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
    dotted,
    line_of,
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
    "load_scenario",
    "parse_scenario",
    "scenario_json_schema",
    "scenario_reference_markdown",
]

LARGEST_FILE_BYTES: Final = 1 << 20
"""No scenario is that long: refuse a trace or an image given by mistake."""


class BadScenario(BadInput):
    """A scenario that cannot be used; ``errors`` holds one BadInput for each thing wrong."""

    def __init__(self, errors: Sequence[BadInput]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        if len(self.errors) == 1:
            super().__init__(first.message, path=first.path, offset=first.offset, line=first.line)
        else:
            lines = "\n".join(f"  {error}" for error in self.errors)
            super().__init__(f"{len(self.errors)} errors in the scenario:\n{lines}")


def load_scenario(
    path: str | Path, overrides: Sequence[str] = (), *, check_files: bool = True
) -> Scenario:
    """Read a scenario file; ``overrides`` are ``key.path=value`` as given to ``--set``.

    ``check_files=False`` accepts a trace file that does not exist (yet).
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _bad(str(path), f"cannot be read: {reason}") from error
    return parse_scenario(
        content, overrides, origin=str(path), directory=path.parent, check_files=check_files
    )


def parse_scenario(
    content: bytes | str,
    overrides: Sequence[str] = (),
    *,
    origin: str = "scenario",
    directory: Path | None = None,
    check_files: bool = True,
) -> Scenario:
    """As :func:`load_scenario`, from memory; ``origin`` names the text in errors."""
    text = _decode(content, origin)
    document = _parse_toml(text, origin)
    overridden: dict[KeyPath, str] = {}
    for argument in overrides:
        try:
            overridden[apply_override(document, argument)] = argument
        except OverrideError as error:
            raise _bad(_set_place(argument), str(error)) from error
    places = _Places(origin, locate(text), overridden)
    oversized = [places.error(path, "is no 64-bit number") for path in _huge_numbers(document)]
    if oversized:
        raise BadScenario(oversized)
    context = {"directory": directory or Path(), "check_files": check_files}
    try:
        return Scenario.model_validate(document, context=context)
    except ValidationError as error:
        found = [
            places.error(path, message)
            for details in error.errors(include_url=False)
            for path, message in _explain(details, document)
        ]
    raise BadScenario(sorted(found, key=lambda each: (each.line or 1 << 30, each.message)))


def _bad(path: str, message: str, line: int | None = None) -> BadScenario:
    return BadScenario([BadInput(message, path=path, line=line)])


def _decode(content: bytes | str, origin: str) -> str:
    if len(content) > LARGEST_FILE_BYTES:
        raise _bad(origin, "is larger than 1 MiB: this is no scenario")
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        message = f"column {column}: not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise _bad(origin, message, line) from error


def _parse_toml(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise _bad(origin, "not TOML: nested too deeply", 1) from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        message = str(error)
        place = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)$", message)
        if place is not None:
            message = f"column {place[2]}: not TOML: {message[: place.start()]}"
            raise _bad(origin, message, int(place[1])) from error
        lines = text.splitlines() or [""]
        message = message.removesuffix(" (at end of document)")
        at_end = f"column {len(lines[-1]) + 1}: not TOML: {message} (the text ends here)"
        raise _bad(origin, at_end, len(lines)) from error


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


def _set_place(argument: str) -> str:
    return f"--set {argument}" if len(argument) <= 80 else f"--set {argument[:77]}..."


class _Places:
    """Names the place of a path: a line of the file, or the ``--set`` argument."""

    def __init__(
        self, origin: str, lines: dict[KeyPath, int], overridden: Mapping[KeyPath, str]
    ) -> None:
        self.origin = origin
        self.lines = lines
        self.overridden = overridden

    def error(self, path: KeyPath, message: str) -> BadInput:
        text = f"{dotted(path)}: {message}" if path else message
        for set_path, argument in self.overridden.items():
            if path[: len(set_path)] == set_path:
                return BadInput(text, path=_set_place(argument))
        return BadInput(text, path=self.origin, line=line_of(self.lines, path))


# --- what pydantic found, in our words ----------------------------------------------------


def _path_without_tags(location: Iterable[str | int], document: Mapping[str, Any]) -> KeyPath:
    """Pydantic puts the chosen ``kind`` of a union into the location: take it out."""
    parts = list(location)
    tag_at = {"stream": 1, "faults": 2}.get(str(parts[0])) if parts else None
    if tag_at is not None and len(parts) > tag_at:
        del parts[tag_at]
    return tuple(parts)


def _value_at(document: Any, path: KeyPath) -> Any:
    for part in path:
        in_list = isinstance(document, list) and isinstance(part, int) and part < len(document)
        if not in_list and not (isinstance(document, dict) and part in document):
            return None
        document = document[part]
    return document


def _schema_at(path: KeyPath, document: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of what stands at ``path``; empty when nothing may stand there."""
    root = scenario_json_schema()

    def resolve(node: dict[str, Any], value: Any) -> dict[str, Any]:
        mapping = node.get("discriminator", {}).get("mapping")
        if mapping is not None:
            kind = value.get("kind") if isinstance(value, dict) else None
            node = {"$ref": mapping[kind]} if isinstance(kind, str) and kind in mapping else {}
        if "$ref" in node:
            definition = node["$ref"].removeprefix("#/$defs/")
            node = {**root["$defs"][definition], **{k: v for k, v in node.items() if k != "$ref"}}
        return node

    node: dict[str, Any] = root
    for length, part in enumerate(path, start=1):
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {})
        node = node if isinstance(part, int) else node.get(part, {})
        node = resolve(node, _value_at(document, path[:length]))
    return node


def _shown(value: object) -> str:
    """The value for a message: short, and never a traceback of its own."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else repr(value[:57] + "...")
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _word(value: object) -> str:
    return value if isinstance(value, str) else _shown(value)


def _nearest(wrong: str, right: Sequence[str]) -> str:
    """``: did you mean 'x'?``, else all that is right."""
    near = get_close_matches(wrong[:100].lower(), right, n=1, cutoff=0.6)
    return f": did you mean {near[0]!r}?" if near else f": known are {', '.join(right)}"


_SHAPES: Final = {
    "int": "a whole number",
    "float": "a number",
    "string": "text in quotes",
    "tuple": "a list",
    "model": "a table",
    "dict": "a table",
}


def _explain(details: ErrorDetails, document: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """The key to blame and the message, for one finding of pydantic."""
    kind = details["type"]
    path = _path_without_tags(details["loc"], document)
    given = details["input"]
    context = details.get("ctx", {})
    if kind == "contradiction":
        yield from context["found"]
    elif kind == "extra_forbidden":
        known = sorted(_schema_at(path[:-1], document).get("properties", {}))
        where = f"in [{dotted(path[:-1])}]" if path[:-1] else "at the top level"
        wrong = str(path[-1])[:60]
        yield path, f"unknown key {wrong!r} {where}{_nearest(wrong, known)}"
    elif kind == "missing":
        examples = _schema_at(path, document).get("examples")
        hint = f": write for instance {path[-1]} = {_toml(examples[0])}" if examples else ""
        yield path, f"this key is missing{hint}"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        yield from _explain_kind(path, given)
    elif kind == "literal_error":
        known = [str(choice) for choice in _schema_at(path, document).get("enum", [])]
        known = known or [str(_schema_at(path, document).get("const", context["expected"]))]
        yield path, f"{_shown(given)} is not known here{_nearest(_word(given), known)}"
    elif kind == "value_error":
        yield path, str(context["error"])
    else:
        yield path, f"{_shown(given)} {_shape(kind, context, details['msg'])}"


def _explain_kind(path: KeyPath, given: object) -> Iterator[tuple[KeyPath, str]]:
    known = _kinds(path)
    if not isinstance(given, dict):
        yield path, f"{_shown(given)} is not a table"
    elif "kind" not in given:
        yield (*path, "kind"), f"this key is missing: write one of {', '.join(known)}"
    else:
        wrong = given["kind"]
        near = _nearest(_word(wrong), known)
        yield (*path, "kind"), f"{_shown(wrong)} is not known here{near}"


def _kinds(path: KeyPath) -> list[str]:
    properties = scenario_json_schema()["properties"]
    node = properties["stream"] if path[0] == "stream" else properties["faults"]["items"]
    return sorted(node["discriminator"]["mapping"])


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _shape(kind: str, context: Mapping[str, Any], message: str) -> str:
    """What the value should have been, for the types that scenarios use."""
    bounds = {
        "greater_than": ("must be more than", "gt"),
        "greater_than_equal": ("must be at least", "ge"),
        "less_than_equal": ("must be at most", "le"),
    }
    if kind in bounds:
        words, name = bounds[kind]
        return f"{words} {context[name]}"
    if kind in ("string_too_short", "string_too_long"):
        return "is empty" if kind == "string_too_short" else "is too long"
    wanted = _SHAPES.get(kind.split("_")[0])
    return f"is not {wanted}" if wanted else f"does not fit: {message}"
