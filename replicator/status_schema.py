"""The JSON Schema of ``replicator status --json``, made from the records that are printed.

A test compares ``docs/status.schema.json`` with it.  To renew the file::

    .venv/bin/python -m replicator.status_schema > docs/status.schema.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from replicator.status import FORMAT, ProgramStatus, ReplicaStatus, SourceStatus
from replicator.status_view import ProcessView, SpoolView, WishView


def _record(kind: type) -> dict[str, Any]:
    """A record: all of its fields are there, and nothing else."""
    hints = get_type_hints(kind)
    properties = {
        field.name: _plain(TypeAdapter(hints[field.name]).json_schema()) for field in fields(kind)
    }
    return _object(properties)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in ("title", "description")}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _process(name: str) -> dict[str, Any]:
    view = _record(ProcessView)
    properties = view["properties"] | {"state": {"type": "string"}}
    for figures in ("status", "last_known"):
        properties[figures] = _or_null({"$ref": f"#/$defs/{name}"})
    return _or_null(_object(properties))


def status_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the status document."""
    properties = {
        "format": {"const": FORMAT},
        "set": {"type": "string"},
        "checked_wall_ns": {"type": "integer"},
        "source": _process("SourceStatus"),
        "program": _process("ProgramStatus"),
        "spool": _or_null(_record(SpoolView)),
        "replica": _process("ReplicaStatus"),
        "fence": {"type": "string"},
        "wish": _or_null(_record(WishView)),
        "attention": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "replicator status",
        "description": "Times in nanoseconds, sizes in bytes; null is unknown.",
        **_object(properties),
        "$defs": {
            kind.__name__: _record(kind) for kind in (SourceStatus, ReplicaStatus, ProgramStatus)
        },
    }


def main() -> None:
    """Print the schema."""
    sys.stdout.write(json.dumps(status_json_schema(), indent=2) + "\n")


if __name__ == "__main__":
    main()
