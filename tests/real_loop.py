"""A real asyncio loop with our kernel on it, bounded in real time, for tests of the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from replicator.host.clock import AsyncioClock
from replicator.runtime import Kernel, Task

T = TypeVar("T")

PATIENCE_S = 30.0
"""Real time after which something on the loop counts as hung."""


class RealLoop:
    """Runs coroutines of ours to their end on a loop of its own.

    Arguments
    ---------
    hops: extra turns at each wake-up (see Kernel).
    """

    def __init__(self, hops: Callable[[], int] | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self.kernel = Kernel(AsyncioClock(self.loop), hops)
        self.defects: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _loop, context: self.defects.append(context))

    def start(self, coro: Coroutine[Any, Any, T], name: str = "root") -> Task[T]:
        return self.kernel.run_task(coro, name, lambda _task: self.loop.stop())

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine to its end and give its result."""
        task = self.start(coro)
        self.run_until(lambda: task.done)
        return task.result()

    def run_until(self, reached: Callable[[], bool]) -> None:
        """Run until the condition holds; AssertionError when it does not in time."""
        give_up_s = self.loop.time() + PATIENCE_S

        def look() -> None:
            nonlocal timer
            timer = self.loop.call_later(0.01, look)
            if reached() or self.loop.time() > give_up_s:
                self.loop.stop()

        timer = self.loop.call_soon(look)
        try:
            while not reached():
                assert self.loop.time() <= give_up_s, "the program waits for ever"
                self.loop.run_forever()
                assert not self.defects, self.defects
        finally:
            timer.cancel()

    def close(self) -> None:
        self.kernel.close()
        self.loop.close()
        assert not self.defects, self.defects
