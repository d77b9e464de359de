"""Two clocks under one face, so that each rule of the kernel is shown on both.

A :class:`World` runs programs on a kernel: :class:`SimWorld` over SimPy's heap,
:class:`LoopWorld` over a real asyncio loop with small real delays.  A world may be given
a seed: then each wake-up is delayed by a few extra turns of the run queue, which no rule
may depend on.

The tests assert order and "at least", never "at most": a loaded machine may stall the
loop at any time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from replicator.host.clock import AsyncioClock
from replicator.runtime import Clock, Kernel, Task
from simulator.runtime import SimClock

T = TypeVar("T")

MILLISECOND_NS = 1_000_000
PATIENCE_S = 20.0
"""Real time after which a program on the asyncio loop counts as hung."""


def seeded_hops(seed: int) -> Callable[[], int]:
    """Extra turns for the kernel's ``hops`` argument."""
    stream = random.Random(seed)
    return lambda: stream.choice((0, 0, 0, 1, 2, 5))


class World:
    """A clock and a kernel; :meth:`run` checks that a program leaves nothing behind."""

    clock: Clock
    kernel: Kernel

    def __init__(self, clock: Clock, seed: int | None, unit_ns: int) -> None:
        self.clock = clock
        self.seed = seed
        self.unit_ns = unit_ns
        self.kernel = self.new_kernel()

    def new_kernel(self) -> Kernel:
        return Kernel(self.clock, None if self.seed is None else seeded_hops(self.seed))

    def units(self, count: float) -> int:
        """Nanoseconds of so many time units: far enough apart to tell instants by order."""
        return round(count * self.unit_ns)

    def start(self, coro: Coroutine[Any, Any, T]) -> Task[T]:
        return self.kernel.run_task(coro, "root")

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run to the end and give the result; no task may be left."""
        task = self.start(coro)
        self.run_until_done(task)
        assert not self.kernel._tasks, [left.name for left in self.kernel._tasks]
        return task.result()

    def run_until_done(self, task: Task[Any]) -> None:
        raise NotImplementedError

    def run_for(self, time_ns: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the world holds."""


class SimWorld(World):
    def __init__(self, seed: int | None = None) -> None:
        self.sim_clock = SimClock()
        super().__init__(self.sim_clock, seed, MILLISECOND_NS)

    def run_until_done(self, task: Task[Any]) -> None:
        self.sim_clock.run_until_idle()
        assert task.done, "the program waits for ever"

    def run_for(self, time_ns: int) -> None:
        self.sim_clock.run_until(self.sim_clock.now() + time_ns)


class LoopWorld(World):
    def __init__(self, seed: int | None = None, unit_ns: int = 3 * MILLISECOND_NS) -> None:
        self.loop = asyncio.new_event_loop()
        super().__init__(AsyncioClock(self.loop), seed, unit_ns)

    def run_until_done(self, task: Task[Any]) -> None:
        async def wait() -> None:
            give_up_s = self.loop.time() + PATIENCE_S
            while not task.done:
                assert self.loop.time() < give_up_s, "the program waits for ever"
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def run_for(self, time_ns: int) -> None:
        self.loop.run_until_complete(asyncio.sleep(time_ns / 1e9))

    def close(self) -> None:
        self.loop.close()
