"""One task at a time: a lock between the tasks of one kernel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from replicator.runtime import Signal


class Turn:
    """Held by one task at a time; the others wait."""

    def __init__(self) -> None:
        self._held = False
        self._changed = Signal()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for the turn and hold it."""
        while self._held:
            await self._changed
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._changed.notify()
