"""For suites of one's own: a pytest plugin, Hypothesis strategies, a state machine, fakes.

What is public is listed here and nowhere else; ``docs/suites.md`` shows how it is used:

=====================================  =====================================================
``simulator.testing.plugin``           the pytest plugin (found by itself once installed)
:class:`PlannedRun`                    a scenario under one fault plan, as the fixture
                                       ``bench_run`` gives it
:class:`Event`                         what a host's software reported during a run
:mod:`~simulator.testing.strategies`   Hypothesis strategies: hosts, times, faults, fault plans
:class:`ReplicationWorld`              a replicating pair in simulated time, led by hand
:class:`ReplicationMachine`            the same as a Hypothesis state machine
:class:`FakeWorld`, :class:`FakeHost`  a runtime, volumes and streams for one's own coroutines
=====================================  =====================================================

Names are loaded when they are first used: pytest imports this package at each start, also for
people who do not use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.testing import strategies
    from simulator.testing.fakes import FakeHost, FakeWorld
    from simulator.testing.machine import ReplicationMachine
    from simulator.testing.planned_run import PlannedRun
    from simulator.testing.reached import Event
    from simulator.testing.world import ReplicationWorld

_HOMES = {
    "Event": "reached",
    "FakeHost": "fakes",
    "FakeWorld": "fakes",
    "PlannedRun": "planned_run",
    "ReplicationMachine": "machine",
    "ReplicationWorld": "world",
    "strategies": "strategies",
}

__all__ = [
    "Event",
    "FakeHost",
    "FakeWorld",
    "PlannedRun",
    "ReplicationMachine",
    "ReplicationWorld",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    return module if name == _HOMES[name] else getattr(module, name)
