"""The kernel's clock on an asyncio event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class AsyncioClock:
    """Three primitives over a running loop; time is ``time.monotonic_ns``, never float.

    asyncio's own timers are rounded to the loop's clock resolution, so a timer that fires
    a little early is armed again: ``at`` never calls before its instant.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> int:
        return time.monotonic_ns()

    def soon(self, fn: Callable[[], None]) -> None:
        self._loop.call_soon(fn)

    def at(self, time_ns: int, fn: Callable[[], None]) -> None:
        remaining_ns = time_ns - time.monotonic_ns()
        if remaining_ns <= 0:
            self._loop.call_soon(fn)
        else:
            self._loop.call_later(remaining_ns / 1e9, self.at, time_ns, fn)
