"""An error of the engine as the commands tell it: a line, JSON, or what a command ends with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from replicator.errors import BadInput, DamagedStore, ReplicatorError
from replicator.ese.errors import EseError

INPUT_ERRORS: Final = frozenset({-1811, -1032})
"""Nothing is wrong with the store: what was asked for is not there, or may not be read."""


def as_bad_input(error: EseError) -> BadInput:
    """For a file or directory that cannot be looked into at all."""
    return BadInput(error.detail, path=error.path, remedy=error.remedy)


def as_replicator_error(error: EseError) -> ReplicatorError:
    """The engine's error as one that a command ends with."""
    message = f"{error.number} {error.symbol}: {error.detail}"
    kind = BadInput if error.number in INPUT_ERRORS else DamagedStore
    return kind(message, path=error.path, offset=error.offset, remedy=error.remedy)


def finding_line(error: EseError) -> str:
    """One line about a finding, events included."""
    events = ", ".join(map(str, error.events))
    return str(error) + (f" (event {events})" if events else "")


def finding_document(error: EseError) -> dict[str, Any]:
    """One finding as the JSON of every command has it."""
    return {
        "number": error.number,
        "symbol": error.symbol,
        "meaning": error.meaning,
        "detail": error.detail,
        "events": list(error.events),
        "path": error.path,
        "page": error.page,
        "offset": error.offset,
        "remedy": error.remedy,
    }


def remedies(errors: Iterable[EseError]) -> list[str]:
    """What to do about them, each said once, as lines."""
    return [f"what to do: {remedy}" for remedy in dict.fromkeys(each.remedy for each in errors)]
