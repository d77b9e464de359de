"""Tables written as TOML again: what was set, each quantity with its unit.

The inverse of reading: the text gives an equal table.  Keys that were never set are left out,
so that a short file stays short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from replicator.toml_keys import Quantity, Table


def toml_text(table: Table) -> str:
    """The text of a whole file."""
    return "\n".join(_lines(table, ())).strip() + "\n"


def toml_document(table: Table) -> dict[str, Any]:
    """The same as a document of plain values, for JSON."""
    return {alias: _plain(value) for alias, value in _values(table)}


def _plain(value: object) -> Any:
    if isinstance(value, Table):
        return toml_document(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _lines(table: Table, path: tuple[str, ...]) -> Iterator[str]:
    values = list(_values(table))
    # What stands behind a table's header belongs to it: plain values come first.
    for alias, value in values:
        if not _is_nested(value):
            yield f"{alias} = {_spelled(value)}"
    for alias, value in values:
        here = (*path, alias)
        if isinstance(value, Table):
            yield from ("", f"[{'.'.join(here)}]", *_lines(value, here))
        elif _is_nested(value):
            for each in value:
                yield from ("", f"[[{'.'.join(here)}]]", *_lines(each, here))


def _is_nested(value: object) -> bool:
    return isinstance(value, Table) or (
        isinstance(value, tuple) and bool(value) and isinstance(value[0], Table)
    )


def _values(table: Table) -> Iterator[tuple[str, Any]]:
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        # The kind that tells two tables apart is written even where it is the default.
        if value is None or (name not in table.model_fields_set and name != "kind"):
            continue
        quantity = _quantity(field)
        yield field.alias or name, value if quantity is None else quantity.spell(value)


def _quantity(field: FieldInfo) -> Quantity | None:
    found: list[Any] = [*field.metadata]
    for each in get_args(field.annotation):  # of "Duration | None"
        if get_origin(each) is Annotated:
            found += get_args(each)[1:]
    return next((each for each in found if isinstance(each, Quantity)), None)


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(k))} = {_spelled(v)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_spelled(each) for each in value) + "]"
    return repr(value)
