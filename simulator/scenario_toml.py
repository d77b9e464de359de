"""Changes to a scenario from the command line: ``--set key.path=value``."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from typing import Any

from replicator.toml_text import KeyPath, dotted


class OverrideError(ValueError):
    """A ``--set`` argument that names no place in the scenario, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def _override_value(text: str) -> Any:
    """A TOML value if it is one (``1``, ``true``, ``"x"``, ``{...}``), else the text itself."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if set(document) == {"value"} else text


def _step(container: Any, part: str, trail: KeyPath) -> str | int:
    """The key or index that ``part`` means inside ``container``."""
    if isinstance(container, list):
        if not (part.isascii() and part.isdigit() and int(part[:9]) < len(container)):
            last = len(container) - 1
            if last < 0:
                raise OverrideError(
                    f"{dotted(trail)} is empty, there is no {part}",
                    f"Add an entry to {dotted(trail)} in the file first.",
                )
            raise OverrideError(
                f"{dotted(trail)} has the entries 0 to {last}, there is no {part}",
                f"Count from 0, as in {dotted(trail)}.{last}.",
            )
        return int(part)
    if not isinstance(container, dict):
        raise OverrideError(
            f"{dotted(trail)} is no table, so it has no key {part!r}",
            f"Set the whole of it: {dotted(trail)}=...",
        )
    return part


def apply_override(document: dict[str, Any], argument: str) -> KeyPath:
    """Carry out ``key.path=value`` on the parsed document; returns the path that it sets."""
    name, equals, text = argument.partition("=")
    parts = [part.strip() for part in name.split(".")]
    if not equals or not all(parts):
        raise OverrideError(
            "is not of the form key=value: write for instance link.rtt=60ms",
            "Write key=value without spaces, or in quotes: --set link.rtt=60ms",
        )
    container: Any = document
    trail: KeyPath = ()
    for part, behind in pairwise(parts):
        step = _step(container, part, trail)
        if isinstance(container, dict):
            if part not in container and behind.isascii() and behind.isdigit():
                there = dotted((*trail, part))
                raise OverrideError(
                    f"{there} is not there, so it has no {behind}",
                    f"Add an entry to {there} in the file first.",
                )
            container.setdefault(part, {})
        container = container[step]
        trail += (step,)
    step = _step(container, parts[-1], trail)
    container[step] = _override_value(text.strip())
    return (*trail, step)
