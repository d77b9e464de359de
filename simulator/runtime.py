"""The kernel's clock on SimPy's event heap.

Models: integer nanoseconds; callbacks of one instant run in the order in which they were
asked for.  Leaves out: nothing of the :class:`replicator.runtime.kernel.Clock` contract;
compared with the asyncio clock by ``tests/kernel``, which runs on both.
"""

from __future__ import annotations

from collections.abc import Callable

import simpy
from simpy.events import NORMAL, Event


class SimClock:
    """Three primitives over a SimPy environment whose time is integer nanoseconds.

    A bare, already triggered :class:`simpy.events.Event` is scheduled for each call,
    which is the cheapest thing that SimPy's heap can hold; SimPy processes and resources
    work beside it in the same environment.
    """

    def __init__(self, env: simpy.Environment | None = None) -> None:
        self.env = env if env is not None else simpy.Environment(initial_time=0)

    def now(self) -> int:
        return self.env.now  # type: ignore[return-value]

    def soon(self, fn: Callable[[], None]) -> None:
        event = Event(self.env)
        event._ok = True
        event._value = None
        event.callbacks.append(lambda _event: fn())
        self.env.schedule(event, NORMAL, 0)

    def at(self, time_ns: int, fn: Callable[[], None]) -> None:
        event = Event(self.env)
        event._ok = True
        event._value = None
        event.callbacks.append(lambda _event: fn())
        self.env.schedule(event, NORMAL, max(0, time_ns - self.env.now))  # type: ignore[arg-type]

    def run_until(self, time_ns: int) -> None:
        """Run all events up to and including ``time_ns``."""
        env = self.env
        while env.peek() <= time_ns:
            env.step()
        if env.now < time_ns:
            env._now = time_ns  # type: ignore[assignment]

    def run_until_idle(self) -> None:
        """Run until no event is left."""
        env = self.env
        while env.peek() != float("inf"):
            env.step()
