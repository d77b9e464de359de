"""Mutants: the replicator and the store with one safeguard taken away, to test the bench.

A bench that finds nothing may be blind.  Each mutant here breaks one rule that the promises
rest on, as a careless change would; a campaign has to notice (``simulator killmatrix``).  The
rules that the replicator can switch off itself (:mod:`replicator.safeguards`) are mutants by
name; the others replace one function while a plan runs, in this process only.  Those are taken away
that the scenario has: of the reference replicator and of its store (the small one's, or those of
Exchange's engine), or, where logs are shipped, those of log shipping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Final
from unittest.mock import patch

from replicator.errors import BadInput
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.mutants.mutant import Enumerated, Mutant
from simulator.mutants.of_log_shipping import LOG_SHIPPING_ENUMERATED, LOG_SHIPPING_MUTANTS
from simulator.mutants.of_one_source import ONE_SOURCE_MUTANTS
from simulator.mutants.of_the_engine import (
    ENGINE_ENUMERATED,
    ENGINE_MUTANTS,
    STREAMING_MUTANTS,
)
from simulator.mutants.of_the_log import LOG_MUTANTS
from simulator.mutants.of_the_replica import REPLICA_MUTANTS
from simulator.mutants.of_the_source import SOURCE_MUTANTS
from simulator.mutants.of_the_store import STORE_MUTANTS
from simulator.mutants.of_the_telling import TELLING_MUTANTS
from simulator.scenario_log_shipping import KIND as LOG_SHIPPING
from simulator.scenario_model import Scenario, StoreStream

REPLICATOR_MUTANTS: Final[tuple[Mutant, ...]] = (
    *REPLICA_MUTANTS,
    *LOG_MUTANTS,
    *SOURCE_MUTANTS,
    *TELLING_MUTANTS,
)
MUTANTS: Final[tuple[Mutant, ...]] = (*REPLICATOR_MUTANTS, *STORE_MUTANTS)
"""Each is found by plans that are drawn: the kill matrix of the small store is of these."""
BY_PLAN: Final[tuple[Mutant, ...]] = ONE_SOURCE_MUTANTS
"""Found by plans of one's own: what they need is not drawn (``tests/test_one_source.py``)."""
ALL_MUTANTS: Final[tuple[Mutant, ...]] = (
    *MUTANTS,
    *BY_PLAN,
    *ENGINE_MUTANTS,
    *(each.mutant for each in ENGINE_ENUMERATED),
    *LOG_SHIPPING_MUTANTS,
    *(each.mutant for each in LOG_SHIPPING_ENUMERATED),
)


def mutant_named(name: str) -> Mutant:
    """The mutant of this name; raises BadInput."""
    for mutant in ALL_MUTANTS:
        if mutant.name == name:
            return mutant
    raise BadInput(
        f"there is no mutant {name!r}",
        remedy=f"Name one of: {', '.join(each.name for each in ALL_MUTANTS)}.",
    )


def mutants_for(scenario: Scenario) -> tuple[Mutant, ...]:
    """Those that drawn plans find and whose rules a scenario has.

    Of a store's rules only those of the store that it runs: where another one writes, the mutant
    would be the program as it is, and live for ever.  Where logs are shipped only those of log
    shipping: the store's own are tried where each of its writes is replicated.  Of somebody else's
    replicator none is known.
    """
    if scenario.candidate is not None:
        return ()
    if scenario.protection.kind == LOG_SHIPPING:
        return LOG_SHIPPING_MUTANTS
    stream = scenario.stream
    if not isinstance(stream, StoreStream):
        return REPLICATOR_MUTANTS
    if stream.format == "small":
        return MUTANTS
    store = stream.store
    streaming = isinstance(store, EngineStoreConfig) and store.streaming_file
    return (*REPLICATOR_MUTANTS, *ENGINE_MUTANTS, *(STREAMING_MUTANTS if streaming else ()))


def _hardly_found(scenario: Scenario) -> tuple[Mutant, ...]:
    """Those whose rules a scenario has, and that its drawn plans hardly find."""
    if scenario.candidate is not None:
        return ()
    if scenario.protection.kind == LOG_SHIPPING:
        return tuple(each.mutant for each in LOG_SHIPPING_ENUMERATED)
    stream = scenario.stream
    of_exchange = isinstance(stream, StoreStream) and stream.format != "small"
    return (*BY_PLAN, *(each.mutant for each in ENGINE_ENUMERATED if of_exchange))


def chosen_mutants(scenario: Scenario, names: Sequence[str]) -> tuple[Mutant, ...]:
    """Some of those of a scenario, in their order; all when none is named.

    Arguments
    ---------
    names: in full, or patterns with ``*``.

    Raises BadInput for one that none of them has, and for a scenario that has none.
    """
    there = mutants_for(scenario)
    if not there:
        raise BadInput(
            "a candidate runs in this scenario, and mutants take rules of the reference replicator "
            "and of its store away",
            remedy="Name a scenario without [candidate]; 'simulator campaign' finds what a "
            "candidate breaks.",
        )
    for name in names:
        if not any(fnmatchcase(each.name, name) for each in there):
            raise BadInput(
                f"no mutant that plans of this scenario find is called {name!r}",
                remedy=f"Name some of: {', '.join(each.name for each in there)}.",
            )
    return tuple(
        each for each in there if not names or any(fnmatchcase(each.name, n) for n in names)
    )


def check_mutant(name: str, scenario: Scenario) -> None:
    """Raises BadInput for a mutant that does not exist, or whose rule no run of a scenario has."""
    there = chosen_mutants(scenario, ())
    if mutant_named(name) not in (*there, *_hardly_found(scenario)):
        raise BadInput(
            f"mutant {name!r} takes a rule away that this scenario does not have",
            remedy="'simulator killmatrix' tells those of a scenario; the rules are those of its "
            "protection and of the format of its store.",
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


__all__ = [
    "ALL_MUTANTS",
    "BY_PLAN",
    "ENGINE_ENUMERATED",
    "ENGINE_MUTANTS",
    "LOG_SHIPPING_ENUMERATED",
    "LOG_SHIPPING_MUTANTS",
    "MUTANTS",
    "STREAMING_MUTANTS",
    "Enumerated",
    "Mutant",
    "check_mutant",
    "chosen_mutants",
    "mutant_named",
    "mutants_for",
    "mutated",
]
