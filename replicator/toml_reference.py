"""JSON Schema of a kind of TOML file, and the tables of its reference page.

Both are made from the declarations of the keys, so that they cannot say anything else than
what is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

QUANTITIES: Final = """\
Quantities are text with a unit:

| kind | examples | units |
|---|---|---|
| size | `"2GiB"`, `"64KiB"`, `"1MB"` | B; kB MB GB TB PB (1000); KiB MiB GiB TiB PiB (1024) |
| duration | `"60ms"`, `"1h30m"`, `"2d"` | ns us ms s m h d w |
"""
"""The kinds that every TOML file of ours may use."""


def toml_json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema (2020-12) of the TOML document that a model describes."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
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


def _accepts(node: dict[str, Any]) -> str:
    """What a value may be, for the second column."""
    if "const" in node:
        return f"`{_spelled(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{_spelled(choice)}`" for choice in node["enum"])
    if "examples" in node and ("pattern" in node or "anyOf" in node):
        return f"{node['title']}"
    if node.get("type") == "boolean":
        return "`true`, `false`"
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
    words["object"] = "table"
    return words[node["type"]] + bounds


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
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


def reference_section(title: str, model: dict[str, Any], note: str = "") -> Iterator[str]:
    """Lines of one table of keys: a heading, what the table is, a row for each key."""
    yield f"\n## {title}\n"
    summary = " ".join(model.get("description", "").split("\n\n")[0].split())
    yield " ".join(part for part in (summary, note) if part) + "\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, node in model["properties"].items():
        default = _default(name, node, model.get("required", []))
        yield f"| `{name}` | {_accepts(node)} | {default} | {node['description']} |"
