"""Mutants: the replicator and the store with one safeguard taken away, to test the bench.

A bench that finds nothing may be blind.  Each mutant here breaks one rule that the promises
rest on, as a careless change would; a campaign has to notice (``simulator killmatrix``).  The
rules that the replicator can switch off itself (:mod:`replicator.safeguards`) are mutants by
name; the others replace one function while a plan runs, in this process only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from unittest.mock import patch

from replicator.errors import BadInput
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.mutants.mutant import Mutant
from simulator.mutants.of_one_source import ONE_SOURCE_MUTANTS
from simulator.mutants.of_the_log import LOG_MUTANTS
from simulator.mutants.of_the_replica import REPLICA_MUTANTS
from simulator.mutants.of_the_source import SOURCE_MUTANTS
from simulator.mutants.of_the_store import STORE_MUTANTS
from simulator.mutants.of_the_telling import TELLING_MUTANTS

MUTANTS: Final[tuple[Mutant, ...]] = (
    *REPLICA_MUTANTS,
    *LOG_MUTANTS,
    *SOURCE_MUTANTS,
    *TELLING_MUTANTS,
    *STORE_MUTANTS,
)
"""Each is found by plans that are drawn: the kill matrix is of these."""
BY_PLAN: Final[tuple[Mutant, ...]] = ONE_SOURCE_MUTANTS
"""Found by plans of one's own: what they need is not drawn (``tests/test_one_source.py``)."""


def mutant_named(name: str) -> Mutant:
    """The mutant of this name; raises BadInput."""
    for mutant in (*MUTANTS, *BY_PLAN):
        if mutant.name == name:
            return mutant
    raise BadInput(
        f"there is no mutant {name!r}",
        remedy=f"Name one of: {', '.join(each.name for each in (*MUTANTS, *BY_PLAN))}.",
    )


@contextmanager
def mutated(name: str) -> Iterator[Safeguards]:
    """Take the rule away while the block runs; yields the switches to run a replica with.

    An empty name: nothing is taken away.
    """
    if not name:
        yield ALL_SAFEGUARDS
        return
    mutant = mutant_named(name)
    with ExitStack() as stack:
        for owner, function, other in mutant.patches:
            stack.enter_context(patch.object(owner, function, other(getattr(owner, function))))
        yield mutant.safeguards


__all__ = ["BY_PLAN", "MUTANTS", "Mutant", "mutant_named", "mutated"]
