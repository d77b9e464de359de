"""A full volume is no reason to die: stand still, say why, and try again.

What was promised stays in the journal meanwhile, so nothing is lost by waiting; and a process
that ended instead would find the same volume at its next start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from replicator.errors import NoSpace
from replicator.replica_marks import ReplicaMarks
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime

T = TypeVar("T")


class Patience:
    """Takes steps that need room on the replica's volumes.

    Arguments
    ---------
    runtime: for events.
    marks: where it stands why nothing goes on (``stalled``).
    retry_ns: how long to wait before a step is tried again.
    """

    def __init__(self, runtime: Runtime, marks: ReplicaMarks, retry_ns: int) -> None:
        self._runtime = runtime
        self._marks = marks
        self._retry_ns = retry_ns

    async def with_room(self, step: Callable[[], Awaitable[T]]) -> T:
        """Take a step that can be repeated, again and again while it raises NoSpace."""
        while True:
            try:
                done = await step()
            except NoSpace as full:
                self._stall(full.advice)
                await sleep_ns(self._retry_ns)
            else:
                self._stall("")
                return done

    def _stall(self, cause: str) -> None:
        if cause != self._marks.stalled:
            self._marks.stalled = cause
            self._runtime.emit("stalled", cause)
            self._marks.tell()
