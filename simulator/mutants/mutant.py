"""What a mutant is: a rule taken away by replacing functions while a plan runs.

Modules of this package say which ones there are, by the part whose rule it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from replicator.safeguards import ALL_SAFEGUARDS, Safeguards

Patch = tuple[Any, str, Callable[[Any], Any]]
"""A class or a module, the name of one of its functions, and what makes another one of it."""


@dataclass(frozen=True)
class Mutant:
    """One rule taken away.

    Arguments
    ---------
    name: short, of the rule.
    meaning: what is broken, in half a sentence.
    patches: what is replaced; none when ``safeguards`` says it.
    """

    name: str
    meaning: str
    patches: tuple[Patch, ...] = ()
    safeguards: Safeguards = ALL_SAFEGUARDS


@dataclass(frozen=True)
class Enumerated:
    """A mutant that drawn plans of a campaign hardly find, and what finds it instead.

    Arguments
    ---------
    mutant: the rule taken away.
    why: drawn plans hardly meet what it is for, in a sentence.
    test: file and function, of a test that makes the instant and finds the breach.
    """

    mutant: Mutant
    why: str
    test: str


def nothing(_original: Any) -> Any:
    """A coroutine that does nothing."""

    async def nothing(*_arguments: object, **_named: object) -> None:
        return None

    return nothing


def does_nothing(_original: Any) -> Any:
    """A plain call that does nothing."""
    return lambda *_arguments, **_named: None
