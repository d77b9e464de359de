"""The kernel's clock on SimPy's event heap.

Models: integer nanoseconds; callbacks of one instant run in the order in which they were
asked for.  Leaves out: nothing of the :class:`replicator.runtime.kernel.Clock` contract;
compared with the asyncio clock by ``tests/kernel``, which runs on both.

Cost
----
Most events of a simulation are plain calls of the kernel or of a device model.  Such a
call enters SimPy's own heap as a :class:`_Call`, under SimPy's own key (time, priority,
running number), so it keeps its place among the events of SimPy processes and resources.
:meth:`SimClock.run_until` recognises it and calls the function itself; an environment
that is run by SimPy's ``run`` or ``step`` meets it as an ordinary event.  Against an
:class:`simpy.events.Event` with a callback list each this halves the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final

import simpy
from simpy.events import NORMAL


class _Call(partial[None]):
    """A function on SimPy's heap, as much of an event as SimPy's ``step`` looks at.

    A ``partial``, because that is made and called without a frame of its own.
    """

    __slots__ = ()

    _ok = True
    """SimPy asks whether the event has failed."""

    @property
    def callbacks(self) -> list[Callable[[Any], None]]:
        return [lambda _event: self()]

    @callbacks.setter
    def callbacks(self, _none: None) -> None:
        """SimPy marks an event as processed so; nobody can wait for this one anyway."""


INSTANT_LIMIT: Final = 200_000
"""Events at one instant from which on it is taken for endless: the busiest ones have hundreds."""


_NEVER_NS: Final = 1 << 63


class TimeStandsStill(Exception):
    """Events at one instant bring forth each other for ever: tasks that only wake each other.

    On a host the same tasks would keep a processor busy and get nowhere.

    Arguments
    ---------
    at_ns: the instant.
    place: file and line of code that is part of it, where that is known.
    """

    def __init__(self, at_ns: int, place: str = "") -> None:
        where = f", some of them of {place}" if place else ""
        super().__init__(f"more than {INSTANT_LIMIT:,} events at {at_ns / 1e9:.9f} s{where}")
        self.at_ns = at_ns


class SimClock:
    """Three primitives over a SimPy environment whose time is integer nanoseconds."""

    __slots__ = ("_heap", "_next_id", "env")

    def __init__(self, env: simpy.Environment | None = None) -> None:
        self.env = env if env is not None else simpy.Environment(initial_time=0)
        self._heap: list[tuple[Any, int, int, Any]] = self.env._queue  # type: ignore[assignment]
        self._next_id = self.env._eid.__next__

    def now(self) -> int:
        return self.env._now  # type: ignore[return-value]

    def soon(self, fn: Callable[[], None]) -> None:
        heappush(self._heap, (self.env._now, NORMAL, self._next_id(), _Call(fn)))

    def at(self, time_ns: int, fn: Callable[[], None]) -> None:
        if time_ns < self.env._now:
            time_ns = self.env._now  # type: ignore[assignment]
        heappush(self._heap, (time_ns, NORMAL, self._next_id(), _Call(fn)))

    def run_until(self, time_ns: int) -> None:
        """Run all events up to and including ``time_ns``.

        Raises TimeStandsStill when an instant does not end.
        """
        self._run(time_ns)
        if self.env._now < time_ns:
            self.env._now = time_ns

    def run_until_idle(self) -> None:
        """Run until no event is left; raises TimeStandsStill when an instant does not end."""
        self._run(_NEVER_NS)

    def _run(self, last_ns: int) -> None:
        env, heap = self.env, self._heap
        instant_ns, events = -1, 0
        while heap:
            at_ns, _, _, event = first = heappop(heap)
            if at_ns > last_ns:
                heappush(heap, first)
                break
            if at_ns != instant_ns:
                instant_ns, events = at_ns, 0
            elif (events := events + 1) > INSTANT_LIMIT:
                heappush(heap, first)
                raise TimeStandsStill(instant_ns)
            if type(event) is _Call:
                env._now = at_ns
                event()
            else:
                heappush(heap, first)
                env.step()
