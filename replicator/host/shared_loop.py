"""An asyncio loop in a thread of its own, whose world other threads may enter.

Everything our kernel and adapters own belongs to the loop's thread.  Here that thread holds a
lock, the *turn*, whenever it runs anything, and gives it back while it waits for events.  Who
holds the turn in another thread finds the loop between two callbacks, and may do what a
callback may: make plain calls, notify signals, arm timers.  So a plain call of a program costs
taking a lock (0.1 us when nobody else wants it), not a way to another thread and back (60 us).
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


class _TurnSelector(selectors.DefaultSelector):
    """Gives the turn back while it waits."""

    def __init__(self, turn: threading.Lock) -> None:
        super().__init__()
        self._turn = turn

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turn.release()
        try:
            return super().select(timeout)
        finally:
            self._turn.acquire()


class SharedLoop(asyncio.SelectorEventLoop):
    """A loop that is run by one thread and entered by others, one at a time.

    ``turn`` is held by whoever is inside.  :meth:`run` takes it for the loop's own thread.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._owner: int | None = None
        super().__init__(_TurnSelector(self.turn))

    def run(self) -> None:
        """Run until stopped, in this thread."""
        with self.turn:
            self._owner = threading.get_ident()
            self.run_forever()

    @property
    def _entered(self) -> bool:
        """Whether another thread than the loop's is inside."""
        return self._owner is not None and threading.get_ident() != self._owner

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As the loop's own; from another thread that has the turn it also wakes the loop."""
        if self._entered:
            return self.call_soon_threadsafe(callback, *args, context=context)
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As the loop's own; from another thread that has the turn it also wakes the loop."""
        handle = super().call_at(when, callback, *args, context=context)
        if self._entered:
            self.call_soon_threadsafe(_nothing)
        return handle


def _nothing() -> None:
    """Only wakes the loop, which then looks at its timers."""
